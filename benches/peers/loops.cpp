// What one thread's tasks cost: one round, a line a work, its name and nanoseconds each, as loops/
// measures runtimes of Rust's. CPU time of the process; "other thread" wall time.
//
//   loops ours|untracked|asio|fiber [--test]

#include <monad/async.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>
#include <unistd.h>

#if __has_include(<boost/asio/co_spawn.hpp>) && defined(__cpp_impl_coroutine)
    #include <utility> // boost/asio/awaitable.hpp of 1.74 needs it
    #include <boost/asio/awaitable.hpp>
    #include <boost/asio/co_spawn.hpp>
    #include <boost/asio/detached.hpp>
    #include <boost/asio/io_context.hpp>
    #include <boost/asio/post.hpp>
    #include <boost/asio/steady_timer.hpp>
    #include <boost/asio/use_awaitable.hpp>
    #define HAS_ASIO 1
#endif
#ifdef WITH_FIBER
    #include <boost/fiber/all.hpp>
#endif

namespace {

constexpr size_t launched = 400, among = 64, foreign = 512;
size_t times = 200, yields = 2000, nops = 400, sleepers = 10000, sleeps = 10, created = 10000,
       foreign_times = 50;

// Tasks that have ended: counted by the thread that runs them, read by others.
std::atomic<size_t> ran{0};

void count()
{
    ran.store(ran.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

double clock_ns(clockid_t which)
{
    timespec ts{};
    clock_gettime(which, &ts);
    return double(ts.tv_sec) * 1e9 + double(ts.tv_nsec);
}

double cpu()
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

// Puts the calling thread on the n-th processor that the parent may use.
void pin(unsigned n)
{
    cpu_set_t all, one;
    if (sched_getaffinity(getppid(), sizeof all, &all) != 0) {
        return;
    }
    for (unsigned c = 0; c != CPU_SETSIZE; ++c) {
        if (CPU_ISSET(c, &all) && n-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(c, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

void say(char const *work, double ns, size_t each)
{
    std::printf("%s\t%.2f\n", work, ns / double(each));
}

void must(bool ok, char const *what)
{
    if (!ok) {
        std::fprintf(stderr, "%s failed\n", what);
        std::exit(1);
    }
}

// Launches from another thread, so many at a time as there are tasks of ours.
void launch_from_afar(std::function<void(size_t)> const &launch)
{
    pin(1);
    for (size_t n = 0; n != foreign_times * foreign; ++n) {
        while (n >= ran.load(std::memory_order_acquire) + foreign) {
        }
        launch(n % foreign);
    }
    while (ran != foreign_times * foreign) {
    }
}

// --- ours

monad_async_result nothing(monad_async_task)
{
    return {0, 0, 0};
}

monad_async_result counts(monad_async_task)
{
    count();
    return {0, 0, 0};
}

monad_async_result yield(monad_async_task task)
{
    for (size_t i = 0; i != yields; ++i) {
        must(monad_async_task_suspend_for_duration(task, 0).error == 0, "a yield");
    }
    return {0, 0, 0};
}

monad_async_result sleep(monad_async_task task)
{
    for (size_t i = 0; i != sleeps; ++i) {
        must(monad_async_task_suspend_for_duration(task, 1000000).error == 0, "a sleep");
    }
    return {0, 0, 0};
}

monad_async_result nop(monad_async_task task)
{
    for (size_t i = 0; i != nops; ++i) {
        io_uring_sqe sqe{};
        sqe.opcode = IORING_OP_NOP;
        must(monad_async_task_io(task, &sqe).error == 0, "a NOP");
    }
    return {0, 0, 0};
}

struct stage {
    monad_async_executor ex = nullptr;
    std::vector<monad_async_task> tasks;

    stage(bool tracks, unsigned entries, size_t n, monad_async_result (*body)(monad_async_task))
    {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = entries;
        attr.flags = tracks ? 0 : MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING;
        must(monad_async_executor_create(&ex, &attr).error == 0, "an executor");
        for (size_t i = 0; i != n; ++i) {
            monad_async_task task = nullptr;
            must(monad_async_task_create(&task, nullptr).error == 0, "a task");
            task->user_code = body;
            tasks.push_back(task);
        }
    }
    stage(stage const &) = delete;
    ~stage()
    {
        for (auto *task : tasks) {
            must(monad_async_task_destroy(task).error == 0, "destroy");
        }
        must(monad_async_executor_destroy(ex).error == 0, "destroy");
    }
    void all()
    {
        for (auto *task : tasks) {
            must(monad_async_task_attach(ex, task).error == 0, "attach");
        }
        while (monad_async_executor_has_work(ex)) {
            must(monad_async_executor_run(ex, SIZE_MAX, nullptr).error == 0, "run");
        }
    }
};

void ours(bool tracks)
{
    {
        stage s(tracks, 0, launched, nothing);
        s.all();
        auto const begun = cpu();
        for (size_t i = 0; i != times; ++i) {
            s.all();
        }
        say("launch", cpu() - begun, times * launched);
    }
    {
        stage s(tracks, 0, among, yield);
        auto const begun = cpu();
        s.all();
        say("yield", cpu() - begun, yields * among);
    }
    {
        stage s(tracks, 128, among, nop);
        auto const begun = cpu();
        s.all();
        say("NOP", cpu() - begun, nops * among);
    }
    {
        stage s(tracks, 8, sleepers, sleep);
        auto const begun = cpu();
        s.all();
        say("sleep", cpu() - begun, sleepers * sleeps);
    }
    {
        // What others call a launch: each task is made, runs, and is gone.
        auto const begun = cpu();
        {
            stage s(tracks, 0, created, nothing);
            s.all();
        }
        say("creation", cpu() - begun, created);
    }
    ran = 0;
    stage s(tracks, 0, foreign, counts);
    auto const begun = clock_ns(CLOCK_MONOTONIC);
    std::thread other([&] {
        size_t n = 0;
        launch_from_afar([&](size_t which) {
            while (n >= foreign && !monad_async_task_has_exited(s.tasks[which])) {
            }
            ++n;
            must(monad_async_task_attach(s.ex, s.tasks[which]).error == 0, "attach");
        });
    });
    timespec const at_once{0, 0};
    while (ran != foreign_times * foreign) {
        (void)monad_async_executor_run(s.ex, SIZE_MAX, &at_once);
    }
    other.join();
    say("other thread", clock_ns(CLOCK_MONOTONIC) - begun, foreign_times * foreign);
}

// --- Boost.Asio, by coroutines

#ifdef HAS_ASIO
namespace asio = boost::asio;

asio::awaitable<void> asio_nothing()
{
    count();
    co_return;
}

asio::awaitable<void> asio_yields(asio::io_context &io)
{
    for (size_t i = 0; i != yields; ++i) {
        co_await asio::post(io, asio::use_awaitable);
    }
}

asio::awaitable<void> asio_sleeps(asio::io_context &io)
{
    asio::steady_timer timer(io);
    for (size_t i = 0; i != sleeps; ++i) {
        timer.expires_after(std::chrono::milliseconds(1));
        co_await timer.async_wait(asio::use_awaitable);
    }
}

void by_asio()
{
    asio::io_context io(1);
    auto const all = [&](size_t n, auto body) {
        auto const begun = cpu();
        for (size_t i = 0; i != n; ++i) {
            asio::co_spawn(io, body(), asio::detached);
        }
        io.run();
        io.restart();
        return cpu() - begun;
    };
    double launches = 0;
    for (size_t i = 0; i != times; ++i) {
        launches += all(launched, asio_nothing);
    }
    say("launch", launches, times * launched);
    say("yield", all(among, [&] { return asio_yields(io); }), yields * among);
    say("sleep", all(sleepers, [&] { return asio_sleeps(io); }), sleepers * sleeps);
    say("creation", all(created, asio_nothing), created);
    ran = 0;
    auto guard = asio::make_work_guard(io);
    auto const begun = clock_ns(CLOCK_MONOTONIC);
    std::thread other([&] {
        launch_from_afar([&](size_t) { asio::co_spawn(io, asio_nothing(), asio::detached); });
        guard.reset();
    });
    io.run();
    other.join();
    say("other thread", clock_ns(CLOCK_MONOTONIC) - begun, foreign_times * foreign);
}
#endif

// --- Boost.Fiber

#ifdef WITH_FIBER
void by_fiber()
{
    namespace fibers = boost::fibers;
    auto const all = [](size_t n, auto body) {
        auto const begun = cpu();
        std::vector<fibers::fiber> made;
        for (size_t i = 0; i != n; ++i) {
            made.emplace_back(body);
        }
        for (auto &one : made) {
            one.join();
        }
        return cpu() - begun;
    };
    double launches = 0;
    for (size_t i = 0; i != times; ++i) {
        launches += all(launched, count);
    }
    say("launch", launches, times * launched);
    say("yield",
        all(among,
            [] {
                for (size_t i = 0; i != yields; ++i) {
                    boost::this_fiber::yield();
                }
            }),
        yields * among);
    say("sleep",
        all(sleepers,
            [] {
                for (size_t i = 0; i != sleeps; ++i) {
                    boost::this_fiber::sleep_for(std::chrono::milliseconds(1));
                }
            }),
        sleepers * sleeps);
    say("creation", all(created, count), created);
}
#endif

} // namespace

int main(int argc, char **argv)
{
    std::string const which = argc > 1 ? argv[1] : "ours";
    if (argc > 2 && std::string(argv[2]) == "--test") {
        times = 2, yields = 20, nops = 20, sleepers = 100, sleeps = 2, created = 100,
        foreign_times = 2;
    }
    pin(0);
    if (which == "ours" || which == "untracked") {
        ours(which == "ours");
#ifdef HAS_ASIO
    } else if (which == "asio") {
        by_asio();
#endif
#ifdef WITH_FIBER
    } else if (which == "fiber") {
        by_fiber();
#endif
    } else {
        return 3; // Not here.
    }
}

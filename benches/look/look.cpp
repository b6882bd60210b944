// What it costs to be looked at, and what a coroutine costs next to a task; how long tasks are ready
// before they run, and how many items a second run, by the number of tasks. One process, in turns: the
// median of the pairs counts.
//
//   look            the tables, and the goals
//   look ROUNDS     the same of so many rounds: 3 is for a test of this program
//   look --series [TASKS]
//                   JSON for series.py: throughput of 1 to so many tasks (1,000,000), and how long
//                   they were ready

#include <monad/async.hpp>
#include <monad/async/coroutine.hpp>
#include <monad/async/metrics.h>
#include <monad/async/trace.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include <time.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

int rounds = 301;
constexpr int turns = 200, many = 64;

double now_ns(clockid_t clock = CLOCK_THREAD_CPUTIME_ID)
{
    timespec t;
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

void must(monad_async_result r)
{
    if (r.error != 0) {
        std::fprintf(stderr, "%s\n", monad_async_result_message(r));
        std::exit(EXIT_FAILURE);
    }
}

double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

// An executor of tasks that do one thing for ever, until they are told to end.
class Loop {
public:
    Loop(std::size_t tasks, std::function<void()> step) : step_(std::move(step)), tasks_(tasks)
    {
        for (auto &task : tasks_) {
            must(monad_async_task_create(&task, nullptr));
            task->user_ptr = this;
            task->user_code = [](monad_async_task self) {
                auto &loop = *static_cast<Loop *>(self->user_ptr);
                while (!loop.ends_) {
                    loop.step_();
                    ++loop.steps_;
                }
                return monad_async_make_success(0);
            };
            must(monad_async_task_attach(ex.native_handle(), task));
        }
    }
    Loop(Loop const &) = delete;
    ~Loop()
    {
        ends_ = true;
        ex.run_until_idle();
        for (auto *task : tasks_) {
            must(monad_async_task_destroy(task));
        }
    }

    // ns a step.
    double round()
    {
        auto const begun = steps_;
        double const from = now_ns();
        for (int i = 0; i != turns; ++i) {
            must(monad_async_executor_run(ex.native_handle(), SIZE_MAX, nullptr));
        }
        return (now_ns() - from) / static_cast<double>(steps_ - begun);
    }

    // From each one's next step on.
    void does(std::function<void()> step) { step_ = std::move(step); }

    ma::executor ex;

private:
    std::function<void()> step_;
    std::vector<monad_async_task> tasks_;
    std::uint64_t steps_ = 0;
    bool ends_ = false;
};

void yield()
{
    (void)monad_async_task_suspend_for_duration(monad_async_task_current(), 0);
}

void nop()
{
    io_uring_sqe sqe{};
    sqe.opcode = IORING_OP_NOP;
    must(monad_async_task_io(monad_async_task_current(), &sqe));
}

// Two of the same in turns: ns of each, the ratio, and the difference.
struct Pairs {
    double first, second, ratio, more;
    Pairs(Loop &a, Loop &b)
    {
        std::vector<double> as, bs, ratios, mores;
        for (int i = 0; i != rounds; ++i) {
            as.push_back(a.round());
            bs.push_back(b.round());
            ratios.push_back(bs.back() / as.back());
            mores.push_back(bs.back() - as.back());
        }
        first = median(as), second = median(bs), ratio = median(ratios), more = median(mores);
    }
};

void say(char const *what, Pairs const &p, double per, double goal, char const *unit)
{
    double const figure = *unit == 'n' ? p.more / per : p.ratio;
    std::printf("%-44s %8.1f %8.1f %8.2f %-16s %6.2f  %s\n", what, p.first, p.second, figure, unit,
                goal, figure <= goal ? "met" : "missed");
}

// The middle of a sorted list, and what half of it lies between.
struct Spread {
    double low, middle, high;
    explicit Spread(std::vector<double> v)
    {
        std::sort(v.begin(), v.end());
        low = v[v.size() / 4], middle = v[v.size() / 2], high = v[v.size() * 3 / 4];
    }
};

// Items of an executor before its trace, under it and after it, and of one that never has a trace; all
// in one round, and the next round the other way round. Each against the one that never has one: what
// the two differ by before the trace is where their memory lies, and the rest is the trace's.
void traced(char const *what, void (*step)(), std::vector<std::uint64_t> &memory)
{
    Loop never(many, step), loop(many, step);
    auto *const ex = loop.ex.native_handle();
    std::vector<double> ns_never, ns[3], ratios[3];
    for (int i = 0; i != rounds; ++i) {
        for (int n = 0; n != 3; ++n) {
            if (n == 1) {
                must(monad_async_trace_start(ex, memory.data(), memory.size() * 8));
            }
            double const first = i % 2 == 0 ? never.round() : loop.round();
            double const second = i % 2 == 0 ? loop.round() : never.round();
            ns[n].push_back(i % 2 == 0 ? second : first);
            ns_never.push_back(i % 2 == 0 ? first : second);
            ratios[n].push_back(ns[n].back() / ns_never.back());
            if (n == 1) {
                must(monad_async_trace_stop(ex));
            }
        }
    }
    std::vector<double> left;
    for (int i = 0; i != rounds; ++i) {
        left.push_back(ratios[2][static_cast<std::size_t>(i)] /
                       ratios[0][static_cast<std::size_t>(i)]);
    }
    char const *const when[] = {"before a trace", "under it", "after it"};
    for (int n = 0; n != 3; ++n) {
        Spread const r(ratios[n]);
        std::printf("%-44s %8.1f %8.1f %8.3f times, half of them %.3f to %.3f\n",
                    (std::string(what) + ", " + when[n]).c_str(), Spread(ns_never).middle,
                    Spread(ns[n]).middle, r.middle, r.low, r.high);
    }
    Spread const after(left);
    std::printf("%-44s %8.1f %8.1f %8.3f times, half of them %.3f to %.3f, goal 1.010: %s\n",
                (std::string(what) + ", after it / before it").c_str(), Spread(ns[0]).middle,
                Spread(ns[2]).middle, after.middle, after.low, after.high,
                after.middle <= 1.01 ? "met" : "missed");
}

void looked_at()
{
    std::vector<std::uint64_t> memory(1 << 17);
    auto const trace = [&](Loop &loop) {
        must(monad_async_trace_start(loop.ex.native_handle(), memory.data(), memory.size() * 8));
    };
    traced("a yield", yield, memory);
    traced("an inline NOP", nop, memory);
    {
        Loop off(many, yield), on(many, yield);
        trace(on);
        say("a yield, traced", Pairs(off, on), 2, 12, "ns a transition");
    }
    {
        Loop off(many, yield), on(many, yield);
        must(monad_async_metrics_start(on.ex.native_handle()));
        say("a yield, counted", Pairs(off, on), 1, 15, "ns an item");
    }
    {
        Loop off(many, nop), on(many, nop);
        trace(on);
        say("an inline NOP, traced", Pairs(off, on), 3, 12, "ns a transition");
    }
}

// gcc has the array at the end of an io_uring_sqe for a mistake in a frame.
#pragma GCC diagnostic ignored "-Wpedantic"

// Reads that suspend: of a pipe that is empty until somebody writes, among as many tasks that write.
struct Pipe {
    int fds[2];
    Pipe()
    {
        if (pipe(fds) != 0) {
            std::perror("pipe");
            std::exit(EXIT_FAILURE);
        }
    }
    Pipe(Pipe const &) = delete;
    ~Pipe() { close(fds[0]), close(fds[1]); }
};

io_uring_sqe read_of(int fd, char &c)
{
    io_uring_sqe sqe{};
    sqe.opcode = IORING_OP_READ;
    sqe.fd = fd;
    sqe.addr = reinterpret_cast<std::uint64_t>(&c);
    sqe.len = 1;
    return sqe;
}

// ns of a read that has suspended, of `count`: `body` is what reads so many bytes of a descriptor.
template <class Body> double reads(ma::executor &ex, Pipe const &pipe, int count, Body &&body)
{
    ma::task reader, writer;
    double spent = 0;
    reader.attach(ex, [&] {
        double const begun = now_ns();
        body(pipe.fds[0], count);
        spent = now_ns() - begun;
    });
    writer.attach(ex, [&] {
        for (int i = 0; i != count; ++i) {
            ma::this_task::yield(); // The reader has suspended by then.
            if (write(pipe.fds[1], "x", 1) != 1) {
                std::exit(EXIT_FAILURE);
            }
            ma::this_task::yield();
        }
    });
    ex.run_until_idle();
    reader.get(), writer.get();
    return spent / count;
}

ma::coroutine<> read_by_coroutine(int fd, int count)
{
    char c = 0;
    for (int i = 0; i != count; ++i) {
        co_await read_of(fd, c);
    }
}

void read_by_task(int fd, int count)
{
    char c = 0;
    for (int i = 0; i != count; ++i) {
        (void)ma::this_task::io(read_of(fd, c));
    }
}

void coroutines()
{
    ma::executor ex;
    Pipe const pipe;
    std::vector<double> tasks, awaits, ratios;
    for (int i = 0; i != rounds; ++i) {
        auto const by_task = [&] { tasks.push_back(reads(ex, pipe, turns, read_by_task)); };
        if (i % 2 == 0) {
            by_task();
        }
        awaits.push_back(
            reads(ex, pipe, turns, [](int fd, int n) { ma::await(read_by_coroutine(fd, n)); }));
        if (i % 2 != 0) {
            by_task();
        }
        ratios.push_back(awaits.back() / tasks.back());
    }
    double const r = median(ratios);
    std::printf("%-44s %8.1f %8.1f %8.2f %-16s %6.2f  %s\n", "a suspended read, in a coroutine",
                median(tasks), median(awaits), r, "times", 1.02, r <= 1.02 ? "met" : "missed");
}

// Items a second of the thread's processor time, and how long tasks were ready before they ran.
void measure(char const *what, std::size_t tasks, Loop const &loop)
{
    static monad_async_metrics before, after;
    auto *const ex = loop.ex.native_handle();
    must(monad_async_executor_metrics(ex, &before));
    std::uint64_t items = 0;
    double const begun = now_ns();
    double spent = 0;
    while (spent < 1e8) {
        auto const r = monad_async_executor_run(ex, SIZE_MAX, nullptr);
        must(r);
        items += static_cast<std::uint64_t>(r.value);
        spent = now_ns() - begun;
    }
    must(monad_async_executor_metrics(ex, &after));
    auto &ready = after.ready[1];
    for (std::size_t i = 0; i != MONAD_ASYNC_HISTOGRAM_BUCKETS; ++i) {
        ready.buckets[i] -= before.ready[1].buckets[i];
    }
    std::printf("  {\"what\": \"%s\", \"tasks\": %zu, \"items_per_second\": %.0f, \"ready_ns\": [",
                what, tasks, static_cast<double>(items) * 1e9 / spent);
    for (std::uint32_t n = 0; n <= 1000; n += n < 980 ? 20 : 1) {
        std::printf(
            "%s%llu", n == 0 ? "" : ", ",
            static_cast<unsigned long long>(monad_async_histogram_percentile_ns(&ready, n)));
    }
    std::fflush(stdout);
}

void series(std::size_t most)
{
    std::printf("[\n");
    for (std::size_t tasks = 1; tasks <= most; tasks *= 10) {
        Loop loop(tasks, yield);
        auto *const ex = loop.ex.native_handle();
        must(monad_async_executor_run(ex, SIZE_MAX, nullptr)); // Launched.
        must(monad_async_metrics_start(ex));
        measure("yield", tasks, loop);
        std::printf("]},\n");
        loop.does(nop);
        must(monad_async_executor_run(ex, SIZE_MAX, nullptr));
        measure("NOP", tasks, loop);
        std::printf("]}%s\n", tasks * 10 > most ? "" : ",");
    }
    std::printf("]\n");
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc > 1 && std::string(argv[1]) == "--series") {
        series(argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1'000'000);
        return 0;
    }
    if (argc > 1) {
        rounds = std::max(1, std::atoi(argv[1]));
    }
    std::printf("%-44s %8s %8s %8s %-16s %6s\n", "ns", "without", "with", "", "", "goal");
    looked_at();
    coroutines();
} catch (std::system_error const &e) {
    std::printf("skipped: %s\n", e.what()); // No io_uring here.
    return 77;
}

// What a trace shows: each kind of event, each reason of a suspension, each cause of a wake-up; several
// executors and the workers of a pool in one document; and a coroutine. See tests/c/trace_test.cpp.

#include "../support/trace_file.hpp"
#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/coroutine.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/inspect.h>
#include <monad/async/mutex.hpp>
#include <monad/async/op.h>
#include <monad/async/operation.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/trace.h>

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

using support::check;
using support::File;

namespace {

struct Traced {
    std::vector<std::uint64_t> memory = std::vector<std::uint64_t>(1 << 16);
    ma::executor ex;

    explicit Traced(char const *name, ma::executor_options options = {})
        : ex([&] {
              options.name = name;
              return options;
          }())
    {
        EXPECT_EQ(
            monad_async_trace_start(ex.native_handle(), memory.data(), memory.size() * 8).error, 0);
    }
};

ma::task_options called(char const *name)
{
    ma::task_options options;
    options.name = name;
    return options;
}

std::string address(void const *at)
{
    return "'" + std::to_string(reinterpret_cast<std::uintptr_t>(at)) + "'";
}

struct Pipe {
    int fds[2];
    Pipe() { EXPECT_EQ(pipe(fds), 0); }
    Pipe(Pipe const &) = delete;
    ~Pipe()
    {
        close(fds[0]);
        close(fds[1]);
    }
    io_uring_sqe read(char &c) const
    {
        io_uring_sqe sqe{};
        sqe.opcode = IORING_OP_READ;
        sqe.fd = fds[0];
        sqe.addr = reinterpret_cast<std::uint64_t>(&c);
        sqe.len = 1;
        return sqe;
    }
    void put() const { EXPECT_EQ(write(fds[1], "x", 1), 1); }
};

} // namespace

// One task for each reason to suspend; who ends its wait is another, the kernel, a clock or a thread.
TEST(Trace, shows_why_a_task_suspends_and_what_wakes_it)
{
    Traced traced("reasons");
    ma::executor &ex = traced.ex;
    Pipe pipe, other_pipe;
    char c = 0, d = 0;
    ma::mutex mutex;
    ma::channel<int> channel(0);
    ma::task yields(called("yields")), sleeps(called("sleeps")), forever(called("forever"));
    ma::task reads(called("reads")), operates(called("operates")), closing(called("closing"));
    ma::task joins(called("joins")), parks(called("parks")), holds(called("holds"));
    ma::task locks(called("locks")), receives(called("receives")), groups(called("groups"));
    ma::task bounded(called("bounded")), afar(called("afar")), outside(called("outside"));
    ma::task drives(called("drives"));
    yields.attach(ex, [] { ma::this_task::yield(); });
    sleeps.attach(ex, [] { ma::this_task::sleep_for(1ms); });
    forever.attach(ex, [] {
        EXPECT_EQ(monad_async_task_suspend_for_duration(ma::this_task::current(), UINT64_MAX).error,
                  ECANCELED);
    });
    reads.attach(ex, [&] { EXPECT_EQ(ma::this_task::io(pipe.read(c)), 1); });
    operates.attach(ex, [&] {
        ma::operation operation(other_pipe.read(d));
        EXPECT_EQ(operation.wait(), 1);
    });
    monad_async_op left_in_flight{};
    Pipe never;
    closing.attach(ex, [&] {
        left_in_flight.sqe = never.read(d);
        EXPECT_EQ(monad_async_op_begin(ma::this_task::current(), &left_in_flight).error, 0);
        ma::this_task::yield();
    });
    joins.attach(ex, [&] { sleeps.join(); });
    parks.attach(ex, [] { ma::this_task::park(); });
    holds.attach(ex, [&] {
        mutex.lock();
        ma::this_task::sleep_for(1ms);
        mutex.unlock();
    });
    locks.attach(ex, [&] {
        mutex.lock();
        mutex.unlock();
    });
    receives.attach(ex, [&] { EXPECT_EQ(channel.recv().value_or(0), 7); });
    groups.attach(ex, [&] {
        ma::task_group group;
        group.spawn([] {
            EXPECT_EQ(monad_async_task_set_name(ma::this_task::current(), "child").error, 0);
            ma::this_task::yield();
        });
        group.wait();
    });
    bounded.attach(ex, [] {
        ma::scope s{50ms}; // On a busy machine 1 ms may be over before it parks.
        EXPECT_THROW(ma::this_task::park(), ma::timeout_error);
    });
    afar.attach(ex, [] { ma::this_task::park(); });
    outside.attach(ex, [] { ma::this_task::park(); });
    drives.attach(ex, [&] {
        ma::this_task::yield();
        EXPECT_EQ(monad_async_task_unpark(parks.native_handle()).error, 0);
        channel.send(7);
        forever.cancel();
        std::thread([&] {
            EXPECT_EQ(monad_async_task_unpark(afar.native_handle()).error, 0);
        }).join();
        ma::this_task::sleep_for(1ms);
        pipe.put();
        other_pipe.put();
    });
    ex.poll();
    EXPECT_EQ(monad_async_task_unpark(outside.native_handle()).error, 0);
    ex.run_until_idle();
    for (ma::task *task :
         {&yields, &sleeps, &reads, &operates, &joins, &locks, &receives, &drives}) {
        task->get();
    }
    File file;
    ASSERT_EQ(monad_async_trace_write(ex.native_handle(), file.fd).error, 0);
    check(file, "mutex = '%#x' % int(" + address(mutex.native_handle()) +
                    ")\n"
                    "pipe, other, never = " +
                    std::to_string(pipe.fds[0]) + ", " + std::to_string(other_pipe.fds[0]) + ", " +
                    std::to_string(never.fds[0]) + R"(
reasons = {"yields": "yield", "sleeps": "sleep", "forever": "sleep for ever", "reads": "I/O",
           "operates": "operation", "closing": "yield", "joins": "join", "parks": "park",
           "locks": "lock, channel or group", "receives": "lock, channel or group",
           "groups": "lock, channel or group", "bounded": "park"}
for name, reason in reasons.items():
    assert then(name, reason), (name, reason, runs(name))
    assert [e["args"]["then"] for e in runs(name)][-1] == "exit", runs(name)
(reading,) = then("reads", "I/O")
assert (reading["opcode"], reading["fd"]) == ("READ", pipe), reading
(operation,) = then("operates", "operation")
assert (operation["opcode"], operation["fd"]) == ("READ", other), operation
(begun,) = args(ph="i", name="begin", **track("operates"))
(over,) = args(ph="i", name="complete", **track("operates"))
assert (begun["opcode"], begun["fd"], begun["op"]) == ("READ", other, operation["of"]), begun
assert (over["opcode"], over["result"], over["op"], over["last"]) == ("READ", 1, operation["of"], True), over
(over,) = args(ph="i", name="complete", **track("closing"))
assert over["result"] == -125, over
assert len(waits("closing", "closing")) == 1 and not waits("operates", "closing")
(join,) = then("joins", "join")
assert join["of"] == runs("sleeps")[0]["args"]["task"], join
(lock,) = then("locks", "lock, channel or group")
assert lock["of"] == mutex, (lock, mutex)
# Who or what woke it, and the arrow from whom.
def woken(name, what):
    (wait,) = waits(name, what)
    return wait["cause"], wait["outcome"]
assert woken("sleeps", "sleep") == ("timer", 0), woken("sleeps", "sleep")
assert woken("reads", "READ") == ("kernel", 1), woken("reads", "READ")
assert woken("operates", "operation")[0] == "kernel", woken("operates", "operation")
assert woken("forever", "sleep for ever")[0] == "task", woken("forever", "sleep for ever")
assert woken("parks", "park") == ("task", 0), woken("parks", "park")
assert woken("afar", "park") == ("another thread", 0), woken("afar", "park")
assert woken("outside", "park") == ("outside its tasks", 0), woken("outside", "park")
assert woken("bounded", "park") == ("deadline", -62), woken("bounded", "park")
assert woken("joins", "join") == ("task", 0), woken("joins", "join")
assert woken("locks", "lock, channel or group") == ("task", 0)
assert woken("groups", "lock, channel or group") == ("task", 0)
assert {("child", "groups"), ("sleeps", "joins"), ("drives", "parks"), ("holds", "locks"), ("drives", "receives"), ("drives", "forever")} <= arrows("wake")
assert ("drives", "forever") in arrows("cancel") and ("groups", "child") in arrows("launch")
assert of(ph="i", name="cancel", **track("forever"))
assert [a["timeout_ns"] for a in args(name="scope entered", **track("bounded"))] == [50000000]
assert [a["errno"] for a in args(name="scope fired", **track("bounded"))] == [62]
assert len(of(name="scope left", **track("bounded"))) == 1
assert {a["from"] for a in args(name="launch", ph="i")} == {"here"}
# On a busy machine all deadlines may be over whenever it looks.
assert {e["name"] for e in of(ph="X", cat="executor")} - {"sleep"} == {"run", "io_uring"}
)");
}

TEST(Trace, shows_executors_and_the_workers_of_a_pool_in_one_document)
{
    Traced first("first", ma::executor_options::compute_only());
    ma::thread_pool_options options;
    options.workers = 2;
    options.trace_bytes = 1 << 18;
    ma::thread_pool pool(options);
    std::vector<ma::future<void>> all;
    for (int i = 0; i < 20; ++i) {
        all.push_back(pool.submit([i] {
            auto const name = "pooled " + std::to_string(i);
            EXPECT_EQ(monad_async_task_set_name(ma::this_task::current(), name.c_str()).error, 0);
            ma::this_task::sleep_for(1ms);
        }));
    }
    ma::task here(called("here"));
    here.attach(first.ex, [] { ma::this_task::yield(); });
    std::thread([&] {
        Traced second("second", ma::executor_options::compute_only());
        ma::task there(called("there"));
        there.attach(second.ex, [&] { ma::this_task::yield(); });
        second.ex.run_until_idle();
        for (auto &one : all) {
            one.get();
        }
        File file;
        ASSERT_EQ(monad_async_trace_write(nullptr, file.fd).error, 0);
        check(file, R"(
assert {process(name) for name in ("first", "second", "pool worker 1", "pool worker 2")} == {1, 2, 3, 4}
assert track("there")["pid"] == process("second")
workers = {process("pool worker 1"), process("pool worker 2")}
launches = [e for e in of(ph="i", name="launch") if e["pid"] in workers]
assert len(launches) == 20 and all(e["args"]["from"] == "another thread" for e in launches), launches
slept = [e for e in of(ph="X", cat="wait", name="sleep") if e["pid"] in workers]
assert len(slept) == 20, len(slept)
)");
    }).join();
    first.ex.run_until_idle();
    options.trace_bytes = 1000;
    EXPECT_EQ(errno_thrown_by([&] { ma::thread_pool const small(options); }), EINVAL);
    options.trace_bytes = 4096;
    options.executor.time_tracking = false;
    EXPECT_EQ(errno_thrown_by([&] { ma::thread_pool const untimed(options); }), ENOTSUP);
}

// A trace that begins again does not take an earlier wait for a later one.
TEST(Trace, begun_again_knows_what_tasks_wait_for_by_then)
{
    ma::executor ex;
    Pipe pipe;
    char c = 0;
    std::vector<std::uint64_t> memory(1 << 13);
    auto const start = [&] {
        EXPECT_EQ(
            monad_async_trace_start(ex.native_handle(), memory.data(), memory.size() * 8).error, 0);
    };
    ma::task task(called("task"));
    task.attach(ex, [&] {
        ma::this_task::park();
        EXPECT_EQ(ma::this_task::io(pipe.read(c)), 1);
        ma::this_task::park();
    });
    start();
    ex.poll();
    EXPECT_EQ(monad_async_trace_stop(ex.native_handle()).error, 0);
    EXPECT_EQ(monad_async_task_unpark(task.native_handle()).error, 0);
    ex.poll();
    start();
    pipe.put();
    ex.run();
    EXPECT_EQ(monad_async_task_unpark(task.native_handle()).error, 0);
    ex.run_until_idle();
    task.get();
    File file;
    ASSERT_EQ(monad_async_trace_write(ex.native_handle(), file.fd).error, 0);
    check(file, R"(
names = [e["name"] for e in of(ph="X", cat="wait", **track("task"))]
assert len(names) == 2 and names[0] != "park" and names[1] == "park", names
)");
}

#if defined(__cpp_impl_coroutine)

    // gcc has the array at the end of an io_uring_sqe for a mistake in a frame.
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wpedantic"

TEST(Trace, shows_a_coroutine_as_the_task_that_runs_it)
{
    Traced traced("coroutines");
    ma::executor &ex = traced.ex;
    Pipe pipe;
    char c = 0;
    auto inner = [&]() -> ma::coroutine<int> {
        co_await 1ms;
        co_return 2;
    };
    auto outer = [&]() -> ma::coroutine<int> {
        EXPECT_EQ(monad_async_task_set_name(ma::this_task::current(), "coroutine").error, 0);
        int const got = co_await inner();
        co_return got + static_cast<int>(co_await pipe.read(c));
    };
    auto f = ma::run_coroutine(ex, outer());
    ex.spawn([&] {
        ma::this_task::sleep_for(2ms);
        pipe.put();
    });
    ex.run_until_idle();
    EXPECT_EQ(f.get(), 3);
    File file;
    ASSERT_EQ(monad_async_trace_write(ex.native_handle(), file.fd).error, 0);
    check(file, R"(
assert [e["args"]["then"] for e in runs("coroutine")] == ["sleep", "I/O", "exit"], runs("coroutine")
assert [w["outcome"] for w in waits("coroutine", "READ")] == [1]
assert len(of(ph="i", name="launch", **track("coroutine"))) == 1
)");
}

    #pragma GCC diagnostic pop

#endif

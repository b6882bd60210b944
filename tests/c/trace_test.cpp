// Traces: the document is read by readers of another make (python's json, jq), compared with its
// schema, and added up: see tests/support/trace_check.py. That each kind of event is there, in
// tests/cpp/trace_test.cpp.

#include "../support/trace_file.hpp"
#include "support.hpp"

#include <monad/async/file.h>
#include <monad/async/inspect.h>
#include <monad/async/op.h>
#include <monad/async/scope.h>
#include <monad/async/trace.h>

#include <string>

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

using namespace support;

namespace {

struct Trace {
    std::vector<uint64_t> memory;
    monad_async_executor ex;

    explicit Trace(monad_async_executor ex, size_t bytes = 1 << 22) : memory(bytes / 8), ex(ex)
    {
        EXPECT_EQ(monad_async_trace_start(ex, memory.data(), bytes).error, 0);
    }
    ~Trace() { EXPECT_EQ(monad_async_trace_stop(ex).error, 0); }
};

TEST(Trace, adds_up_to_what_the_executor_and_its_tasks_have_counted)
{
    Executor ex(64);
    EXPECT_EQ(monad_async_executor_set_name(ex, "the \"first\"\n\xff").error, 0);
    Trace trace(ex);
    uint64_t const run = ex->total_ticks_in_run, sleeping = ex->total_ticks_sleeping;
    uint64_t const io = ex->total_ticks_in_io_uring;
    Task reader([](monad_async_task self) {
        for (int i = 0; i < 100; ++i) {
            io_uring_sqe sqe{};
            sqe.opcode = IORING_OP_NOP;
            sqe.fd = -1;
            EXPECT_EQ(monad_async_task_io(self, &sqe).error, 0);
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
            if (i % 10 == 0) {
                EXPECT_EQ(monad_async_task_suspend_for_duration(self, ms / 10).error, 0);
            }
        }
        return success(7);
    });
    EXPECT_EQ(monad_async_task_set_name(reader, "reader").error, 0);
    Task parked([](monad_async_task self) {
        for (int i = 0; i < 20; ++i) {
            EXPECT_EQ(monad_async_task_park(self).error, 0);
        }
        return success();
    });
    EXPECT_EQ(monad_async_task_set_name(parked, "parked").error, 0);
    Task waker([&](monad_async_task self) {
        for (int i = 0; i < 20; ++i) {
            EXPECT_EQ(monad_async_task_unpark(parked).error, 0);
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        auto const joined = monad_async_task_join(self, reader);
        EXPECT_EQ(joined.value, 7);
        return joined;
    });
    EXPECT_EQ(monad_async_task_set_name(waker, "waker").error, 0);
    parked.attach(ex);
    waker.attach(ex);
    reader.attach(ex);
    ex.finish();
    File file;
    ASSERT_EQ(monad_async_trace_write(ex, file.fd).error, 0);
    auto const number = [](uint64_t n) { return std::to_string(n); };
    check(file, "assert ticks(runs('reader')) == " + number(reader->total_ticks_executed) +
                    "\n"
                    "assert ticks(runs('parked')) == " +
                    number(parked->total_ticks_executed) +
                    "\n"
                    "assert ticks(runs('waker')) == " +
                    number(waker->total_ticks_executed) +
                    "\n"
                    "own = lambda name: ticks(of(ph='X', cat='executor', name=name))\n"
                    "assert own('run') == " +
                    number(ex->total_ticks_in_run - run) +
                    "\n"
                    "assert own('sleep') == " +
                    number(ex->total_ticks_sleeping - sleeping) +
                    "\n"
                    "assert own('io_uring') == " +
                    number(ex->total_ticks_in_io_uring - io) + R"(
assert len(then("reader", "I/O")) == 100 and len(then("reader", "yield")) == 100
assert len(then("reader", "sleep")) == 10 and len(then("parked", "park")) >= 10
nop = then("reader", "I/O")[0]
assert (nop["opcode"], nop["fd"]) == ("NOP", -1), nop
assert len(of(ph="X", cat="wait", name="NOP")) == 100
(exit,) = then("reader", "exit")
assert (exit["result"], exit["error"]) == (7, 0), exit
(join,) = then("waker", "join")
assert join["of"] == exit["task"]
# Who woke whom: the waker, in one of its runs.
assert arrows("wake") >= {("waker", "parked")}
for e in of(ph="s", name="wake", **track("waker")):
    assert any(r["ts"] <= e["ts"] <= r["ts"] + r["dur"] + 0.001 for r in runs("waker")), e
assert [e["args"]["name"] for e in of(name="process_name")] == ['the "first"\n\ufffd']
assert len(of(name="launch", ph="i")) == 3
assert document["otherData"]["overwritten"] == 0
)" +
                    R"(
# The installed program: a summary, a page and a picture of the same.
import html, re, subprocess
def tool(*arguments):
    done = subprocess.run([sys.executable, ")" MONAD_ASYNC_TRACE_TOOL
                    R"(", sys.argv[1], *arguments],
                          stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()
page, picture = sys.argv[1] + ".html", sys.argv[1] + ".svg"
summary = tool("--html", page, "--svg", picture)
assert 'the "first"?\ufffd / reader' in summary and "NOP" in summary, summary
ready = [line.split() for line in summary.splitlines() if line.startswith("  normal")]
assert int(ready[0][1]) == len(of(ph="X", cat="ready")), summary
text = open(page).read()
data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
drawn = [s for t in data["tracks"] for slices in t["slices"].values() for s in slices]
assert len(drawn) == len(of(ph="X")) and len(data["arrows"]) == len(starts)
assert html.escape(summary) in text and "http" not in text.replace("http-equiv", "")
import xml.dom.minidom
shapes = xml.dom.minidom.parse(picture)
assert len(shapes.getElementsByTagName("rect")) == 1 + len(drawn)
import os
os.unlink(page), os.unlink(picture)
)");
}

// While one waits without a frame its outcome is another one, and a trace may begin then.
TEST(Trace, tells_of_a_park_that_began_before_it)
{
    Executor ex(64);
    auto const twice = [](monad_async_task self) {
        EXPECT_EQ(monad_async_task_park(self).error, 0);
        EXPECT_EQ(monad_async_task_park(self).error, 0);
        return success();
    };
    Task first(twice), second(twice);
    auto const go_on = [&] {
        for (auto *const task : {&first, &second}) {
            EXPECT_EQ(monad_async_task_unpark(*task).error, 0);
        }
        EXPECT_EQ(monad_async_executor_run(ex, no_bound, &at_once).error, 0);
    };
    first.attach(ex);
    second.attach(ex);
    EXPECT_EQ(monad_async_executor_run(ex, no_bound, &at_once).error, 0);
    go_on();
    Trace trace(ex);
    go_on();
    File file;
    ASSERT_EQ(monad_async_trace_write(ex, file.fd).error, 0);
    check(file, R"(
parks = args(ph="X", cat="wait", name="park")
assert [e["outcome"] for e in parks] == [0, 0], parks
)");
}

// A close hands over what others have begun, and takes in what is over: of that the task that closes
// is not the cause.
TEST(Trace, what_a_close_takes_in_is_not_its_tasks_doing)
{
    Executor ex(64);
    Trace trace(ex);
    constexpr int rounds = 20;
    Task reader([](monad_async_task self) {
        for (int i = 0; i < rounds; ++i) {
            io_uring_sqe sqe{};
            sqe.opcode = IORING_OP_NOP;
            sqe.fd = -1;
            EXPECT_EQ(monad_async_task_io(self, &sqe).error, 0);
        }
        return success();
    });
    Task closer([](monad_async_task self) {
        for (int i = 0; i < rounds; ++i) {
            monad_async_file const file{open("/dev/null", O_RDONLY | O_CLOEXEC), 0};
            EXPECT_EQ(monad_async_file_close(self, file).error, 0);
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        return success();
    });
    EXPECT_EQ(monad_async_task_set_name(reader, "reader").error, 0);
    EXPECT_EQ(monad_async_task_set_name(closer, "closer").error, 0);
    reader.attach(ex);
    closer.attach(ex);
    ex.finish();
    File file;
    ASSERT_EQ(monad_async_trace_write(ex, file.fd).error, 0);
    check(file, R"(
ends = [e["ts"] + e["dur"] for e in of(ph="X", cat="wait", **track("reader"))]
within = lambda t: any(r["ts"] < t < r["ts"] + r["dur"] for r in runs("closer"))
assert any(within(t) for t in ends), (ends, runs("closer"))
assert ("closer", "reader") not in arrows("wake"), arrows("wake")
)");
}

TEST(Trace, keeps_the_newest_and_tells_how_many_are_gone)
{
    Executor ex(0);
    Trace trace(ex, 8192);
    Task task([](monad_async_task self) {
        for (int i = 0; i < 10000; ++i) {
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        return success();
    });
    task.attach(ex);
    ex.finish();
    File file;
    ASSERT_EQ(monad_async_trace_write(ex, file.fd).error, 0);
    check(file, R"(
assert document["otherData"]["overwritten"] > 9000
assert len(of(ph="X", name="run", cat="task")) > 50
assert of(ph="X", name="run", cat="task")[-1]["args"]["then"] == "exit"
)");
}

TEST(Trace, shows_operations_scopes_cancels_and_launches_from_elsewhere)
{
    Executor ex(64);
    Trace trace(ex);
    bool parks = false;
    Task task([&](monad_async_task self) {
        // Long: on a busy machine it would have fired before there is anything that it can stop.
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, 100 * ms, 0).error, 0);
        monad_async_op op{};
        int pipe_fds[2];
        EXPECT_EQ(pipe(pipe_fds), 0);
        op.sqe.opcode = IORING_OP_POLL_ADD;
        op.sqe.fd = pipe_fds[0];
        op.sqe.poll32_events = POLLIN;
        EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        EXPECT_EQ(monad_async_op_wait(self, &op).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        parks = true;
        EXPECT_EQ(monad_async_task_park(self).error, ECANCELED);
        return success();
    });
    std::thread([&] { task.attach(ex); }).join();
    while (!parks) {
        ex.run();
    }
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    File file;
    ASSERT_EQ(monad_async_trace_write(ex, file.fd).error, 0);
    check(file, R"(
assert [e["args"]["from"] for e in of(name="launch", ph="i")] == ["another thread"]
assert [e["args"]["opcode"] for e in of(name="begin")] == ["POLL_ADD"]
assert len(of(name="complete")) == 1
assert [e["args"]["timeout_ns"] for e in of(name="scope entered")] == [100000000]
assert [e["args"]["errno"] for e in of(name="scope fired")] == [62]
assert len(of(name="scope left")) == 1
assert len(of(name="cancel")) == 1
)");
}

TEST(Trace, of_several_executors_in_one_document_and_after_their_end)
{
    std::vector<uint64_t> kept(65536);
    {
        Executor ex(0);
        ASSERT_EQ(monad_async_trace_start(ex, kept.data(), kept.size() * 8).error, 0);
        std::thread([] {
            Executor other(0);
            EXPECT_EQ(monad_async_executor_set_name(other, "other").error, 0);
            Trace trace(other);
            Task task([](monad_async_task) { return success(); });
            task.attach(other);
            other.finish();
            File file;
            ASSERT_EQ(monad_async_trace_write(nullptr, file.fd).error, 0);
            check(file, R"(
assert {e["args"]["name"] for e in of(name="process_name")} == {"executor 1", "other"}
assert {e["pid"] for e in events} == {1, 2}
)");
        }).join();
        Task task([](monad_async_task) { return success(); });
        task.attach(ex);
        ex.finish();
    }
    File file;
    EXPECT_EQ(monad_async_trace_write(nullptr, file.fd).error, ENOENT);
    ASSERT_EQ(monad_async_trace_write_memory(kept.data(), kept.size() * 8, file.fd).error, 0);
    check(file, "assert len(of(ph='X', name='run', cat='task')) == 1");
    EXPECT_EQ(monad_async_trace_write_memory(kept.data(), 4096, file.fd).error, EINVAL);
    kept[0] = 0;
    EXPECT_EQ(monad_async_trace_write_memory(kept.data(), kept.size() * 8, file.fd).error, EINVAL);
}

// A task of a traced process yields, and then ends the process by `end`. What it leaves is in `shared`.
struct Crash {
    static constexpr size_t bytes = 1 << 20;
    void *shared = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    File file;
    int status = 0;

    Crash() { EXPECT_NE(shared, MAP_FAILED); }
    Crash(Crash const &) = delete;
    ~Crash() { munmap(shared, bytes); }

    void in_a_child(void (*end)())
    {
        static monad_async_executor ex;
        static int written_to;
        written_to = file.fd;
        pid_t const child = fork();
        if (child == 0) {
            monad_async_executor_attr attr{};
            if (monad_async_executor_create(&ex, &attr).error != 0) {
                _exit(1);
            }
            if (monad_async_trace_start(ex, shared, bytes).error != 0) {
                _exit(2);
            }
            // On a stack of its own, as for a task that has used up its own.
            static std::vector<char> handler_stack(65536);
            stack_t const alternate{handler_stack.data(), 0, handler_stack.size()};
            sigaltstack(&alternate, nullptr);
            struct sigaction action {};
            action.sa_flags = SA_ONSTACK;
            action.sa_handler = [](int) {
                _exit(monad_async_trace_write(ex, written_to).error == 0 ? 42 : 3);
            };
            sigaction(SIGSEGV, &action, nullptr);
            monad_async_task task;
            if (monad_async_task_create(&task, nullptr).error != 0) {
                _exit(4);
            }
            task->user_ptr = reinterpret_cast<void *>(end);
            task->user_code = [](monad_async_task self) {
                if (monad_async_task_suspend_for_duration(self, 0).error == 0) {
                    reinterpret_cast<void (*)()>(self->user_ptr)();
                }
                return success();
            };
            static_cast<void>(monad_async_task_attach(ex, task));
            while (monad_async_executor_has_work(ex)) {
                static_cast<void>(monad_async_executor_run(ex, SIZE_MAX, nullptr));
            }
            _exit(5);
        }
        ASSERT_EQ(waitpid(child, &status, 0), child);
    }
    void check_what_is_left() const
    {
        File left;
        ASSERT_EQ(monad_async_trace_write_memory(shared, bytes, left.fd).error, 0);
        check(left, open_run);
    }

    static constexpr char const *open_run = R"(
assert len(of(ph="B", name="run")) == 1
assert [e["args"]["then"] for e in of(ph="X", name="run", cat="task")] == ["yield"]
)";
};

TEST(Trace, is_written_by_the_handler_of_a_crash_and_found_in_shared_memory_after_it)
{
    Crash crash;
    crash.in_a_child([] { static_cast<void>(raise(SIGSEGV)); });
    ASSERT_TRUE(WIFEXITED(crash.status) && WEXITSTATUS(crash.status) == 42) << crash.status;
    check(crash.file, Crash::open_run);
    crash.check_what_is_left();
}

TEST(Trace, is_found_in_shared_memory_of_a_process_that_was_killed)
{
    Crash crash;
    crash.in_a_child([] { static_cast<void>(raise(SIGKILL)); });
    ASSERT_TRUE(WIFSIGNALED(crash.status) && WTERMSIG(crash.status) == SIGKILL) << crash.status;
    crash.check_what_is_left();
}

TEST(Trace, refuses_what_cannot_be)
{
    uint64_t memory[512];
    Executor ex(0);
    EXPECT_EQ(monad_async_trace_start(nullptr, memory, sizeof memory).error, EINVAL);
    EXPECT_EQ(monad_async_trace_start(ex, nullptr, sizeof memory).error, EINVAL);
    EXPECT_EQ(monad_async_trace_start(ex, memory, sizeof memory - 1).error, EINVAL);
    EXPECT_EQ(monad_async_trace_start(ex, reinterpret_cast<char *>(memory) + 1, 8192).error,
              EINVAL);
    EXPECT_EQ(monad_async_trace_stop(ex).error, ENOENT);
    EXPECT_EQ(monad_async_trace_write(ex, 1).error, ENOENT);
    EXPECT_EQ(monad_async_trace_start(ex, memory, sizeof memory).error, 0);
    EXPECT_EQ(monad_async_trace_start(ex, memory, sizeof memory).error, EBUSY);
    EXPECT_EQ(monad_async_trace_write(ex, -1).error, EBADF);
    std::thread([&] { EXPECT_EQ(monad_async_trace_stop(ex).error, EPERM); }).join();
    Task task([&](monad_async_task) {
        EXPECT_EQ(monad_async_trace_stop(ex).error, EDEADLK);
        return success();
    });
    task.attach(ex);
    ex.finish();
    Executor untimed(0, MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING);
    EXPECT_EQ(monad_async_trace_start(untimed, memory, sizeof memory).error, ENOTSUP);
}

} // namespace

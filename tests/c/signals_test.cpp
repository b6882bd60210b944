// Signals a thousand times a second, on the thread that owns the executor, whatever it does: no
// call fails with EINTR, nothing is early, nothing is lost.

#include "support.hpp"

#include <atomic>
#include <csignal>

#include <sys/time.h>

using namespace support;

namespace {

std::atomic<int> signals{0};

// SIGPROF by the time the process runs, SIGALRM by the time that passes: the second reaches it
// asleep. Without SA_RESTART, so that every system call is interrupted.
class Storm {
public:
    Storm()
    {
        signals = 0;
        struct sigaction action {};
        action.sa_handler = [](int) { signals.fetch_add(1, std::memory_order_relaxed); };
        sigaction(SIGPROF, &action, nullptr);
        sigaction(SIGALRM, &action, nullptr);
        itimerval const each_ms{{0, 1000}, {0, 1000}};
        setitimer(ITIMER_PROF, &each_ms, nullptr);
        setitimer(ITIMER_REAL, &each_ms, nullptr);
    }
    ~Storm()
    {
        itimerval const never{};
        setitimer(ITIMER_PROF, &never, nullptr);
        setitimer(ITIMER_REAL, &never, nullptr);
        signal(SIGPROF, SIG_IGN);
        signal(SIGALRM, SIG_IGN);
    }
};

} // namespace

TEST(Signals, while_it_sleeps_and_works)
{
    Executor ex(16);
    Pipe pipe;
    uint64_t nops = 0, sleeps = 0, bytes_read = 0;
    uint64_t const end = boot_time_ns() + 1000 * ms;
    auto const more = [&] { return boot_time_ns() < end; };
    std::vector<Task> tasks;
    for (int i = 0; i < 20; ++i) {
        tasks.emplace_back([&](monad_async_task self) {
            for (; more(); ++nops) {
                if (auto const r = nop(self); r.error != 0) {
                    return r;
                }
                if (nops % 100 == 0) {
                    if (auto const r = sleep_ns(self, 2 * ms); r.error != 0) {
                        return r;
                    }
                }
            }
            return success();
        });
        tasks.emplace_back([&](monad_async_task self) {
            for (; more(); ++sleeps) {
                uint64_t const began = boot_time_ns();
                if (auto const r = sleep_ns(self, 3 * ms); r.error != 0) {
                    return r;
                }
                EXPECT_GE(boot_time_ns() - began, 3 * ms);
            }
            return success();
        });
    }
    uint64_t bytes_written = 0;
    tasks.emplace_back([&](monad_async_task self) {
        while (more()) {
            auto r = write_some(self, pipe.writer, "0123456789", 10);
            if (r.error == 0) {
                bytes_written += static_cast<uint64_t>(r.value);
                r = sleep_ns(self, ms);
            }
            if (r.error != 0) {
                return r;
            }
        }
        pipe.writer.reset();
        return success();
    });
    tasks.emplace_back([&](monad_async_task self) {
        for (;;) {
            char buffer[64];
            auto const r = read_some(self, pipe.reader, buffer, sizeof buffer);
            if (r.error != 0 || r.value == 0) {
                return r;
            }
            bytes_read += static_cast<uint64_t>(r.value);
        }
    });
    {
        Storm const storm;
        attach_all(tasks, ex);
        ex.finish();
    }
    for (size_t i = 0; i < tasks.size(); ++i) {
        EXPECT_EQ(tasks[i]->result.error, 0)
            << i << ": " << monad_async_result_message(tasks[i]->result);
    }
    EXPECT_EQ(bytes_read, bytes_written);
    EXPECT_GT(nops, 0u);
    EXPECT_GT(sleeps, 0u);
    EXPECT_GT(signals.load(), 100);
}

TEST(Signals, do_not_end_a_wait_before_its_time)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        Storm const storm;
        timespec const timeout{0, 100000000};
        uint64_t const began = boot_time_ns();
        EXPECT_EQ(monad_async_executor_run(ex, 1, &timeout).error, ETIME);
        EXPECT_GE(boot_time_ns() - began, 100 * ms);
        EXPECT_GT(signals.load(), 10);
    }
}

// The handler runs on whatever stack is current: a task's of the smallest size must hold its frame.
TEST(Signals, on_the_smallest_stack)
{
    Executor ex(0);
    auto const tasks = make_tasks(
        4,
        [](monad_async_task self, size_t) {
            for (int i = 0; i < 20; ++i) {
                spin_for(5 * ms);
                if (auto const r = yield(self); r.error != 0) {
                    return r;
                }
            }
            return success();
        },
        16384);
    Storm const storm;
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_GT(signals.load(), 50);
}

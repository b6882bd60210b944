// Threads that run no task and wait for one.

#include "support.hpp"

#include <monad/async/remote.h>
#include <monad/async/select.h>

#include <atomic>
#include <thread>

#include <sys/wait.h>

using namespace support;

namespace {

constexpr uint64_t for_ever = UINT64_MAX;

// An executor on a thread of its own, which runs until the object ends.
class Elsewhere {
public:
    explicit Elsewhere(unsigned entries = 8)
        : thread_([this, entries] {
              Executor ex(entries);
              EXPECT_EQ(monad_async_remote_acquire(ex, &remote_).error, 0);
              ex_ = ex;
              while (!stop_) {
                  ex.run();
              }
              ex.finish();
          })
    {
        spin_until([&] { return ex_.load() != nullptr; });
    }
    ~Elsewhere()
    {
        stop_ = true;
        (void)monad_async_remote_wake(remote_).error; // the executor may be gone by now
        thread_.join();
        monad_async_remote_release(remote_);
    }
    operator monad_async_executor() const { return ex_; }

private:
    monad_async_remote remote_ = nullptr; // set before ex_
    std::atomic<monad_async_executor> ex_{nullptr};
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

} // namespace

TEST(Wait, gives_the_result_of_the_run_under_way_or_the_last)
{
    Task task([](monad_async_task self) {
        EXPECT_EQ(sleep_ns(self, 2 * ms).error, 0);
        return success(17);
    });
    Task fails([](monad_async_task) { return monad_async_make_failure(EXDEV); });
    Elsewhere far;
    task.attach(far);
    auto r = monad_async_task_wait(task, for_ever);
    EXPECT_EQ(r.error, 0);
    EXPECT_EQ(r.value, 17);
    EXPECT_TRUE(monad_async_task_has_exited(task));
    for (uint64_t const timeout_ns : {uint64_t{0}, uint64_t{1}, for_ever}) {
        r = monad_async_task_wait(task, timeout_ns); // exited: at once
        EXPECT_EQ(r.error, 0);
        EXPECT_EQ(r.value, 17);
    }
    fails.attach(far);
    EXPECT_EQ(monad_async_task_wait(fails, for_ever).error, EXDEV);
    fails.attach(far);
    EXPECT_EQ(monad_async_task_wait(fails, for_ever).error, EXDEV);
}

TEST(Wait, times_out_and_the_task_goes_on)
{
    Task task([](monad_async_task self) {
        EXPECT_EQ(monad_async_task_park(self).error, 0);
        return success(1);
    });
    Elsewhere far;
    task.attach(far);
    EXPECT_EQ(monad_async_task_wait(task, 0).error, ETIME);
    uint64_t const begin = boot_time_ns();
    EXPECT_EQ(monad_async_task_wait(task, 2 * ms).error, ETIME);
    EXPECT_GE(boot_time_ns() - begin, 2 * ms);
    EXPECT_EQ(monad_async_task_unpark(task).error, 0);
    EXPECT_EQ(monad_async_task_wait(task, for_ever).value, 1);
}

TEST(Wait, times_out_while_the_executor_does_not_run)
{
    Executor ex(8);
    Task task([](monad_async_task) { return success(3); });
    task.attach(ex);
    std::thread([&] {
        EXPECT_EQ(monad_async_task_wait(task, 0).error, ETIME);
        for (int i = 0; i < 100; ++i) {
            EXPECT_EQ(monad_async_task_wait(task, 1000).error, ETIME);
        }
    }).join();
    ex.finish(); // what the waits left behind harms nobody
    EXPECT_EQ(task->result.value, 3);
    std::thread([&] { EXPECT_EQ(monad_async_task_wait(task, 0).value, 3); }).join();
}

TEST(Wait, refusals)
{
    EXPECT_EQ(monad_async_task_wait(nullptr, 0).error, EINVAL);
    Executor ex(0);
    Task never_attached;
    EXPECT_EQ(monad_async_task_wait(never_attached, for_ever).error, EINVAL);
    Task done([](monad_async_task) { return success(5); });
    done.attach(ex);
    EXPECT_EQ(monad_async_task_wait(done, for_ever).error, EDEADLK); // nobody would run it
    EXPECT_EQ(monad_async_task_wait(done, 1).error, EDEADLK);
    ex.finish();
    EXPECT_EQ(monad_async_task_wait(done, for_ever).value, 5); // exited: no need to
    Task inside([&](monad_async_task self) {
        EXPECT_EQ(monad_async_task_wait(self, for_ever).error, EDEADLK);
        EXPECT_EQ(monad_async_task_wait(done, 1).error, EDEADLK);
        return success();
    });
    inside.attach(ex);
    ex.finish();
}

TEST(Wait, many_waiters_get_the_one_result)
{
    constexpr unsigned count = 8;
    Executor ex(8);
    Task task([](monad_async_task self) {
        EXPECT_EQ(monad_async_task_park(self).error, 0);
        return success(9);
    });
    Task joiner([&](monad_async_task self) { return monad_async_task_join(self, task); });
    task.attach(ex);
    joiner.attach(ex);
    run_until_suspended(ex, joiner);
    std::atomic<unsigned> right{0}, late{0}, begun{0};
    std::vector<std::thread> waiters;
    for (unsigned i = 0; i < count; ++i) {
        waiters.emplace_back([&, i] {
            ++begun;
            if (i % 2 == 0) { // some give up
                late += monad_async_task_wait(task, 1000 * i).error == ETIME;
            }
            right += monad_async_task_wait(task, for_ever).value == 9;
        });
    }
    spin_until([&] {
        ex.poll();
        return begun == count && late == count / 2;
    });
    EXPECT_EQ(monad_async_task_unpark(task).error, 0);
    ex.finish();
    // Who asks after the exit needs no answer; the questions of others may be on their way.
    std::atomic<bool> joined{false};
    std::thread all([&] {
        for (auto &waiter : waiters) {
            waiter.join();
        }
        joined = true;
    });
    spin_until([&] {
        ex.poll();
        return joined.load();
    });
    all.join();
    EXPECT_EQ(right.load(), count);
    EXPECT_EQ(joiner->result.value, 9);
}

// The waiting thread frees the task at once: nothing of it may be touched after the wait has ended.
TEST(Wait, ends_after_the_last_touch_of_the_task)
{
    Elsewhere far(0);
    for (int i = 0; i < 2000; ++i) {
        Task task([i](monad_async_task) { return success(i); }, 16384);
        task.attach(far);
        EXPECT_EQ(monad_async_task_wait(task, for_ever).value, i);
    }
}

// The question comes after the executor has looked for the last time: nobody reads it, and the
// waiting thread finds the end of the run for itself.
TEST(Wait, ends_though_the_executor_never_runs_again)
{
    Executor ex(0);
    std::atomic<bool> began{false}, asked{false};
    Task task([&](monad_async_task) {
        began = true;
        spin_until([&] { return asked.load(); });
        spin_for(20 * ms); // The other thread is in its wait by then.
        return success(7);
    });
    monad_async_result waited{};
    std::thread other([&] {
        spin_until([&] { return began.load(); });
        asked = true;
        waited = monad_async_task_wait(task, for_ever);
    });
    task.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    other.join();
    EXPECT_EQ(waited.error, 0);
    EXPECT_EQ(waited.value, 7);
}

// What the parent has attached, nobody in the child of a fork can wait for.
TEST(Wait, is_refused_in_the_child_of_a_fork)
{
    Executor ex(0);
    Task task([&](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    task.attach(ex);
    ex.run();
    pid_t const child = fork();
    if (child == 0) {
        int waited = 0, joined = 0;
        std::thread([&] { waited = monad_async_task_wait(task, for_ever).error; }).join();
        std::thread([&] {
            Executor own(0);
            Task joiner([&](monad_async_task self) {
                joined = monad_async_task_join(self, task).error;
                return success();
            });
            joiner.attach(own);
            own.finish();
        }).join();
        int selected = 0;
        std::thread([&] {
            Executor own(0);
            Task joiner([&](monad_async_task self) {
                monad_async_select_case of[] = {monad_async_case_join(task)};
                (void)monad_async_select(self, of, 1);
                selected = of[0].result.error;
                return success();
            });
            joiner.attach(own);
            own.finish();
        }).join();
        _exit(waited == EPERM && joined == EPERM && selected == EPERM ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
}

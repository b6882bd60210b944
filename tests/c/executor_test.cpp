// One pass of an executor: what it waits for, how many items it runs, what it counts; waking.

#include "support.hpp"

#include <atomic>
#include <thread>

using namespace support;

TEST(Run, with_nothing_to_do_waits_its_timeout_and_says_ETIME)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        for (uint64_t ns : {uint64_t{1}, ms, 20 * ms}) {
            timespec const timeout{0, static_cast<long>(ns)};
            uint64_t const began = boot_time_ns();
            auto const r = monad_async_executor_run(ex, no_bound, &timeout);
            EXPECT_EQ(r.error, ETIME);
            EXPECT_GE(boot_time_ns() - began, ns);
        }
    }
}

TEST(Run, timeout_ends_before_a_later_timer)
{
    Executor ex;
    Task task([](monad_async_task self) { return sleep_ns(self, UINT64_MAX - 1); });
    task.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    timespec const timeout{0, 3000000};
    EXPECT_EQ(monad_async_executor_run(ex, 1, &timeout).error, ETIME);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
}

TEST(Run, longest_timeout_is_no_overflow)
{
    Executor ex;
    Task task([](monad_async_task self) { return sleep_ns(self, ms); });
    task.attach(ex);
    timespec const longest{INT64_MAX, 999999999};
    EXPECT_EQ(ex.run(1, &longest), 1);
    EXPECT_EQ(ex.run(1, &longest), 1);
    EXPECT_EQ(task->result.error, 0);
}

TEST(Run, without_timeout_waits_for_the_timer)
{
    Executor ex(0);
    Task task([](monad_async_task self) { return sleep_ns(self, 5 * ms); });
    task.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_FALSE(monad_async_executor_has_work(ex));
}

TEST(Run, max_items_is_exact_for_launches_and_resumptions)
{
    Executor ex;
    int begun = 0, resumed = 0;
    auto const tasks = make_tasks(10, [&](monad_async_task self, size_t) {
        ++begun;
        auto const r = yield(self);
        ++resumed;
        return r;
    });
    attach_all(tasks, ex);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(begun, 1);
    EXPECT_EQ(ex.run(3), 3);
    EXPECT_EQ(begun, 4);
    EXPECT_EQ(ex.run(6), 6);
    EXPECT_EQ(begun, 10);
    EXPECT_EQ(resumed, 0);
    EXPECT_EQ(ex.run(4), 4);
    EXPECT_EQ(resumed, 4);
    EXPECT_EQ(ex.run(100), 6);
    EXPECT_EQ(resumed, 10);
}

TEST(Run, max_items_0_collects_and_runs_nothing)
{
    Executor ex;
    int steps = 0;
    Task sleeper([&](monad_async_task self) {
        ++steps;
        auto const r = sleep_ns(self, ms);
        ++steps;
        return r;
    });
    sleeper.attach(ex);
    EXPECT_EQ(ex.run(0), 0);
    EXPECT_TRUE(sleeper->is_pending_launch);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_TRUE(sleeper->is_suspended_awaiting);
    spin_for(2 * ms);
    EXPECT_EQ(ex.run(0), 0);
    EXPECT_FALSE(sleeper->is_suspended_awaiting);
    EXPECT_TRUE(sleeper->is_suspended_completed);
    EXPECT_EQ(steps, 1);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(steps, 2);
}

TEST(Run, max_items_0_never_waits)
{
    Executor ex;
    Task sleeper([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    sleeper.attach(ex);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(ex.run(0), 0); // with NULL for a timeout: would wait for ever
    timespec const minute{60, 0};
    uint64_t const began = boot_time_ns();
    EXPECT_EQ(ex.run(0, &minute), 0);
    EXPECT_LT(boot_time_ns() - began, 30000 * ms);
    EXPECT_EQ(monad_async_task_cancel(ex, sleeper).error, 0);
    ex.finish();
}

TEST(Run, is_bounded_by_what_was_ready_when_it_began)
{
    Executor ex;
    bool stop = false;
    uint64_t rounds = 0;
    auto const tasks = make_tasks(5, [&](monad_async_task self, size_t) {
        while (!stop) {
            ++rounds;
            if (auto const r = yield(self); r.error != 0) {
                return r;
            }
        }
        return success();
    });
    attach_all(tasks, ex);
    for (int i = 1; i <= 100; ++i) {
        EXPECT_EQ(ex.run(), 5);
        EXPECT_EQ(rounds, 5u * static_cast<unsigned>(i));
    }
    stop = true;
    EXPECT_EQ(ex.run(), 5);
}

TEST(Run, what_a_task_attaches_counts_for_the_next_pass)
{
    Executor ex;
    bool ran = false;
    Task second([&](monad_async_task) { return ran = true, success(); });
    Task first([&](monad_async_task) { return monad_async_task_attach(ex, second); });
    first.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_FALSE(ran);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_TRUE(ran);
}

TEST(Run, higher_priority_that_comes_meanwhile_takes_the_place_of_a_lower)
{
    Executor ex;
    std::vector<char> order;
    Task urgent([&](monad_async_task) { return order.push_back('u'), success(); });
    urgent.priority(monad_async_priority_high);
    Task a([&](monad_async_task) {
        order.push_back('a');
        return monad_async_task_attach(ex, urgent);
    });
    Task b([&](monad_async_task) { return order.push_back('b'), success(); });
    a.attach(ex);
    b.attach(ex);
    EXPECT_EQ(ex.run(), 2);
    EXPECT_EQ(order, (std::vector<char>{'a', 'u'}));
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(order.back(), 'b');
}

TEST(Wake, ends_a_sleep_and_nothing_ran)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        std::thread waker([&] {
            timespec const pause{0, 20000000};
            nanosleep(&pause, nullptr);
            EXPECT_EQ(monad_async_executor_wake(ex).error, 0);
        });
        EXPECT_EQ(ex.run(), 0);
        waker.join();
    }
}

TEST(Wake, is_remembered_until_a_run_would_wait)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        EXPECT_EQ(monad_async_executor_wake(ex).error, 0);
        EXPECT_EQ(ex.run(), 0);
        EXPECT_EQ(monad_async_executor_run(ex, 1, &at_once).error, ETIME);
        timespec const short_time{0, 2000000};
        EXPECT_EQ(monad_async_executor_run(ex, 1, &short_time).error, ETIME);
    }
}

// Each wake follows a sleep of which nobody can know whether it has begun: one lost, and this
// test would not end.
TEST(Wake, none_is_lost)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        constexpr int rounds = 20000;
        std::atomic<int> woken{0};
        std::thread waker([&] {
            for (int i = 0; i < rounds; ++i) {
                EXPECT_EQ(monad_async_executor_wake(ex).error, 0);
                spin_until([&] { return woken.load() > i; });
            }
        });
        for (int i = 0; i < rounds; ++i) {
            EXPECT_EQ(ex.run(), 0);
            woken.store(i + 1);
        }
        waker.join();
    }
}

TEST(Wake, from_inside_a_task)
{
    Executor ex;
    Task task([&](monad_async_task) { return monad_async_executor_wake(ex); });
    task.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(ex.run(), 0);
}

TEST(Head, counts_tasks_by_what_they_do)
{
    Executor ex;
    size_t running = 0, pending = 0, suspended = 0;
    monad_async_task current = nullptr;
    auto const tasks = make_tasks(3, [&](monad_async_task self, size_t i) {
        if (i == 1) {
            running = ex->tasks_running;
            pending = ex->tasks_pending_launch;
            suspended = ex->tasks_suspended;
            current = ex->current_task;
        }
        return sleep_ns(self, ms);
    });
    EXPECT_FALSE(monad_async_executor_has_work(ex));
    attach_all(tasks, ex);
    EXPECT_TRUE(monad_async_executor_has_work(ex));
    EXPECT_EQ(ex->tasks_pending_launch, 3u);
    EXPECT_EQ(ex->tasks_running, 0u);
    EXPECT_EQ(ex->tasks_suspended, 0u);
    EXPECT_EQ(ex->current_task, nullptr);
    EXPECT_EQ(ex.run(), 3);
    EXPECT_EQ(running, 1u);
    EXPECT_EQ(pending, 1u);
    EXPECT_EQ(suspended, 1u);
    EXPECT_EQ(current, tasks[1]);
    EXPECT_EQ(ex->tasks_pending_launch, 0u);
    EXPECT_EQ(ex->tasks_suspended, 3u);
    EXPECT_EQ(ex->tasks_running, 0u);
    ex.finish();
    EXPECT_EQ(ex->tasks_suspended, 0u);
    EXPECT_EQ(ex->current_task, nullptr);
    EXPECT_FALSE(monad_async_executor_has_work(ex));
}

TEST(Head, counts_operations)
{
    Executor ex;
    auto const tasks = make_tasks(10, [](monad_async_task self, size_t) { return nop(self); });
    attach_all(tasks, ex);
    EXPECT_EQ(ex->total_io_submitted, 0u);
    ex.finish();
    EXPECT_EQ(ex->total_io_submitted, 10u);
    EXPECT_EQ(ex->total_io_completed, 10u);
}

// Park and unpark: one permit, from any thread, kept until it is taken.

#include "support.hpp"

#include <monad/async/scope.h>

#include <atomic>
#include <thread>

using namespace support;

namespace {

int park(monad_async_task self)
{
    return monad_async_task_park(self).error;
}

int unpark(monad_async_task task)
{
    return monad_async_task_unpark(task).error;
}

} // namespace

TEST(Park, takes_a_permit_that_came_before_without_a_suspension)
{
    Executor ex(0);
    Task other([](monad_async_task) { return success(); });
    Task task([&](monad_async_task self) {
        other.attach(ex);
        EXPECT_EQ(unpark(self), 0);
        EXPECT_EQ(park(self), 0);
        EXPECT_FALSE(monad_async_task_has_exited(other)); // it had no turn
        return success();
    });
    task.attach(ex);
    ex.finish();
}

TEST(Park, ends_by_a_permit_that_comes_later)
{
    Executor ex(0);
    int parked = -1;
    Task task([&](monad_async_task self) {
        parked = park(self);
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    ex.poll();
    EXPECT_TRUE(task->is_suspended_awaiting);
    EXPECT_EQ(unpark(task), 0);
    ex.finish();
    EXPECT_EQ(parked, 0);
}

TEST(Park, many_unparks_are_one_permit)
{
    Executor ex(0);
    Task task([](monad_async_task self) {
        EXPECT_EQ(park(self), 0);
        EXPECT_EQ(monad_async_task_park_until(self, monad_async_now_ns() + ms).error, ETIME);
        return success();
    });
    task.attach(ex);
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(unpark(task), 0); // pending launch
    }
    ex.finish();

    // Those that come after the first find the task claimed, or leave a permit: one at most.
    Task parked([](monad_async_task self) {
        EXPECT_EQ(park(self), 0);
        (void)monad_async_task_park_until(self, monad_async_now_ns() + ms).error;
        EXPECT_EQ(monad_async_task_park_until(self, monad_async_now_ns() + ms).error, ETIME);
        return success();
    });
    parked.attach(ex);
    run_until_suspended(ex, parked);
    std::thread([&] {
        for (int i = 0; i < 1000; ++i) {
            EXPECT_EQ(unpark(parked), 0);
        }
    }).join();
    ex.finish();
}

TEST(Park, permit_stays_from_one_run_to_the_next)
{
    Executor ex(0);
    Task task([](monad_async_task) { return success(); });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(unpark(task), 0); // idle
    task.body([](monad_async_task self) { return success(park(self)); });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(task->result.value, 0);
}

TEST(Park, cancelled_takes_no_permit)
{
    Executor ex(0);
    int first = -1, second = -1, third = -1;
    Task task([&](monad_async_task self) {
        first = park(self);
        EXPECT_EQ(unpark(self), 0);
        second = park(self); // cancelled still
        EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        third = park(self); // the permit is there
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    EXPECT_EQ(first, ECANCELED);
    EXPECT_EQ(second, ECANCELED);
    EXPECT_EQ(third, 0);
}

TEST(Park, unparked_first_and_cancelled_afterwards_is_a_success)
{
    Executor ex(0);
    int first = -1, second = -1;
    Task task([&](monad_async_task self) {
        first = park(self);
        second = park(self);
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(unpark(task), 0);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    EXPECT_EQ(first, 0);
    EXPECT_EQ(second, ECANCELED);
}

TEST(Park, timed_out_takes_no_permit)
{
    Executor ex(0);
    Task task([](monad_async_task self) {
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        EXPECT_EQ(park(self), ETIME);
        EXPECT_EQ(unpark(self), 0);
        EXPECT_EQ(park(self), ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        EXPECT_EQ(park(self), 0);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

TEST(Park, refusals)
{
    EXPECT_EQ(unpark(nullptr), EINVAL);
    Executor ex(0);
    Task other([](monad_async_task self) { return success(park(self)); });
    Task task([&](monad_async_task) {
        EXPECT_EQ(park(other), EPERM);
        return success(unpark(other));
    });
    EXPECT_NE(park(nullptr), 0);
    EXPECT_EQ(park(task), EPERM);
    other.attach(ex);
    run_until_suspended(ex, other);
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(other->result.value, 0);
}

// Two threads give each other a turn: a permit that is lost stops both for ever.
TEST(Park, a_hundred_thousand_turns_between_two_threads)
{
    constexpr uint32_t rounds = 100000;
    std::atomic<uint32_t> turn{0};
    std::atomic<monad_async_task> tasks[2]{};
    std::atomic<unsigned> done{0};
    auto const side = [&](uint32_t me) {
        Executor ex(me == 0 ? 8 : 0);
        Task task([&](monad_async_task self) {
            for (uint32_t i = 0; i < rounds; ++i) {
                while (turn.load(std::memory_order_relaxed) % 2 != me) {
                    EXPECT_EQ(park(self), 0);
                }
                turn.fetch_add(1, std::memory_order_relaxed);
                EXPECT_EQ(unpark(tasks[1 - me]), 0);
            }
            return success();
        });
        tasks[me] = task;
        spin_until([&] { return tasks[1 - me].load() != nullptr; });
        task.attach(ex);
        ex.finish();
        ++done;
        spin_until([&] { return done == 2; }); // the other one may unpark this task until then
    };
    std::thread other([&] { side(1); });
    side(0);
    other.join();
    EXPECT_EQ(turn.load(), 2 * rounds);
}

// Unparks, cancels and time-outs race; each unpark that was counted is seen after it.
TEST(Park, unparks_race_with_time_outs)
{
#ifdef UNDER_TSAN
    constexpr uint32_t rounds = 200; // 10 ms each, where two threads share a processor.
#else
    constexpr uint32_t rounds = 2000;
#endif
    Executor ex(0);
    std::atomic<uint32_t> asked{0}, seen{0};
    Task task([&](monad_async_task self) {
        while (seen < rounds) {
            auto const r =
                monad_async_task_park_until(self, monad_async_now_ns() + 1000 + seen % 16 * 1000);
            EXPECT_TRUE(r.error == 0 || r.error == ETIME);
            if (r.error == 0) {
                seen = asked.load();
            }
        }
        return success();
    });
    task.attach(ex);
    std::thread other([&] {
        for (uint32_t i = 1; i <= rounds; ++i) {
            asked = i;
            EXPECT_EQ(unpark(task), 0);
            spin_until([&] { return seen == i; });
        }
    });
    ex.finish();
    other.join();
}

// Scopes and cancels: shields, who may cancel what, uncancel, and what is refused.

#include "scopes.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <thread>

using namespace support;

TEST(ScopeCancel, shield_keeps_a_cancel_and_outer_scopes_out)
{
    run_one([](monad_async_task self) {
        monad_async_scope outer, shield, inner;
        EXPECT_EQ(enter(self, outer, ms), 0);
        EXPECT_EQ(monad_async_task_cancel(nullptr, self).error, 0);
        EXPECT_EQ(enter(self, shield, never, MONAD_ASYNC_SCOPE_SHIELD), 0);
        EXPECT_TRUE(monad_async_task_cancel_requested(self)); // inside a shield too
        EXPECT_EQ(sleep_ns(self, 2 * ms).error, 0);
        EXPECT_EQ(nop(self).error, 0);
        EXPECT_EQ(enter(self, inner, ms), 0); // inside it, deadlines hold
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        EXPECT_EQ(leave(self, shield), 0);
        EXPECT_EQ(sleep_ns(self, 1).error, ECANCELED); // the task is outside of the scope
        EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        EXPECT_EQ(sleep_ns(self, 1).error, ETIME);
        EXPECT_EQ(leave(self, outer), 1);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        return success();
    });
}

TEST(ScopeCancel, shield_has_a_deadline_and_a_cancel_of_its_own)
{
    run_one([](monad_async_task self) {
        EXPECT_EQ(monad_async_task_cancel(nullptr, self).error, 0);
        monad_async_scope shield;
        EXPECT_EQ(enter(self, shield, ms, MONAD_ASYNC_SCOPE_SHIELD), 0);
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_EQ(leave(self, shield), 1);
        EXPECT_EQ(enter(self, shield, never, MONAD_ASYNC_SCOPE_SHIELD), 0);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        EXPECT_EQ(scope_cancel(shield), 0);
        EXPECT_EQ(sleep_ns(self, 1).error, ECANCELED);
        EXPECT_EQ(leave(self, shield), 1);
        return success();
    });
}

TEST(ScopeCancel, cancel_of_the_task_waits_until_the_shield_is_left)
{
    Executor ex;
    int inside = -1, after = -1;
    Task task([&](monad_async_task self) {
        monad_async_scope shield;
        EXPECT_EQ(enter(self, shield, never, MONAD_ASYNC_SCOPE_SHIELD), 0);
        inside = sleep_ns(self, 5 * ms).error;
        EXPECT_EQ(leave(self, shield), 0);
        after = sleep_ns(self, never).error;
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    EXPECT_TRUE(task->is_suspended_awaiting);
    ex.finish();
    EXPECT_EQ(inside, 0);
    EXPECT_EQ(after, ECANCELED);
}

TEST(ScopeCancel, cancel_of_the_task_outside_a_shield)
{
    Executor ex;
    int inside = -1, after = -1;
    Task task([&](monad_async_task self) {
        monad_async_scope scope, shield;
        EXPECT_EQ(enter(self, scope, hour), 0);
        inside = sleep_ns(self, never).error;
        EXPECT_EQ(leave(self, scope), 0); // the task was cancelled, not the scope
        EXPECT_EQ(enter(self, shield, never, MONAD_ASYNC_SCOPE_SHIELD), 0);
        after = sleep_ns(self, 1).error; // clean-up
        EXPECT_EQ(leave(self, shield), 0);
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    EXPECT_EQ(inside, ECANCELED);
    EXPECT_EQ(after, 0);
}

TEST(ScopeCancel, uncancel_says_whether_there_was_one)
{
    run_one([](monad_async_task self) {
        EXPECT_EQ(monad_async_task_uncancel(self).value, 0);
        EXPECT_FALSE(monad_async_task_cancel_requested(self));
        EXPECT_EQ(monad_async_task_cancel(nullptr, self).error, 0);
        EXPECT_TRUE(monad_async_task_cancel_requested(self));
        EXPECT_EQ(yield(self).error, ECANCELED);
        EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        EXPECT_EQ(monad_async_task_uncancel(self).value, 0);
        EXPECT_FALSE(monad_async_task_cancel_requested(self));
        EXPECT_EQ(yield(self).error, 0);
        // A scope that has fired stays so.
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope), 0);
        EXPECT_EQ(scope_cancel(scope), 0);
        EXPECT_EQ(monad_async_task_uncancel(self).value, 0);
        EXPECT_EQ(yield(self).error, ECANCELED);
        EXPECT_EQ(leave(self, scope), 1);
        return success();
    });
}

TEST(ScopeCancel, cancelled_by_another_task_of_the_executor)
{
    Executor ex;
    monad_async_scope scope;
    int inside = -1, after = -1;
    Task waiter([&](monad_async_task self) {
        EXPECT_EQ(enter(self, scope, hour), 0);
        inside = sleep_ns(self, never).error;
        EXPECT_EQ(leave(self, scope), 1);
        after = sleep_ns(self, 1).error;
        return success();
    });
    Task canceller([&](monad_async_task) {
        EXPECT_EQ(scope_cancel(scope), 0);
        EXPECT_EQ(scope_cancel(scope), 0);
        return success();
    });
    waiter.attach(ex);
    run_until_suspended(ex, waiter);
    EXPECT_EQ(scope_cancel(scope), EPERM); // outside all tasks
    canceller.attach(ex);
    ex.finish();
    EXPECT_EQ(inside, ECANCELED);
    EXPECT_EQ(after, 0);
}

// A scope's timer is made when a call inside first suspends, or the scope is over before that.
TEST(ScopeCancel, memory_may_hold_anything_before)
{
    Executor ex;
    Task task([](monad_async_task self) {
        for (int bytes : {0, 0xff, 0x17}) {
            for (int const how : {0, 1, 2}) {
                monad_async_scope scope;
                std::memset(&scope, bytes, sizeof scope);
                EXPECT_EQ(enter(self, scope, hour), 0);
                if (how != 1) {
                    EXPECT_EQ(sleep_ns(self, 1).error, 0);
                }
                if (how != 2) {
                    EXPECT_EQ(scope_cancel(scope), 0);
                    EXPECT_EQ(yield(self).error, ECANCELED);
                }
                EXPECT_EQ(leave(self, scope), how == 2 ? 0 : 1);
                EXPECT_EQ(yield(self).error, 0);
            }
        }
        static monad_async_scope left_open;
        EXPECT_EQ(enter(self, left_open, hour), 0);
        return success();
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, EINVAL);
}

TEST(ScopeCancel, refusals)
{
    Executor ex;
    EXPECT_EQ(monad_async_scope_cancel(nullptr).error, EINVAL);
    Task other([](monad_async_task self) { return sleep_ns(self, never); });
    other.attach(ex);
    run_until_suspended(ex, other);
    Task task([&](monad_async_task self) {
        monad_async_scope outer, inner;
        EXPECT_EQ(monad_async_scope_enter(nullptr, &outer, 1, 0).error, EINVAL);
        EXPECT_EQ(monad_async_scope_enter(self, nullptr, 1, 0).error, EINVAL);
        EXPECT_EQ(enter(self, outer, 1, 2), EINVAL);
        EXPECT_EQ(enter(self, outer, 1, ~uint32_t{0}), EINVAL);
        EXPECT_EQ(enter(other, outer), EPERM);
        EXPECT_EQ(monad_async_scope_leave(self, &outer).error, EINVAL); // none is open
        EXPECT_EQ(enter(self, outer), 0);
        EXPECT_EQ(enter(self, inner), 0);
        EXPECT_EQ(monad_async_scope_leave(self, &outer).error, EINVAL); // out of order
        EXPECT_EQ(monad_async_scope_leave(self, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_scope_leave(other, &inner).error, EPERM);
        EXPECT_EQ(leave(self, inner), 0);
        EXPECT_EQ(monad_async_scope_leave(self, &inner).error, EINVAL); // twice
        EXPECT_EQ(scope_cancel(inner), EINVAL);                         // not entered
        EXPECT_EQ(leave(self, outer), 0);
        monad_async_scope strange; // never was one, but names tasks that are in others
        for (monad_async_task const named : {self, static_cast<monad_async_task>(other)}) {
            std::fill_n(strange.reserved, std::size(strange.reserved),
                        reinterpret_cast<std::uint64_t>(named));
            EXPECT_EQ(scope_cancel(strange), EINVAL);
        }
        int error = 0;
        EXPECT_EQ(enter(self, outer), 0);
        std::thread([&] { error = monad_async_scope_leave(self, &outer).error; }).join();
        EXPECT_EQ(error, EPERM);
        EXPECT_EQ(leave(self, outer), 0);
        return success();
    });
    task.attach(ex);
    monad_async_scope outside;
    EXPECT_EQ(enter(task, outside), EPERM); // not running
    while (!monad_async_task_has_exited(task)) {
        ex.run();
    }
    EXPECT_EQ(monad_async_task_cancel(ex, other).error, 0);
    ex.finish();
}

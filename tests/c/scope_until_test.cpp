// Calls with a time of their own inside scopes: whose time is up, and what a task that need not wait
// is told.

#include "scopes.hpp"

#include <monad/async/mutex.h>

#include <thread>

using namespace support;

namespace {

int interrupted(monad_async_task self)
{
    return monad_async_task_interrupted(self).error;
}

// Computes until the clock shows so much more.
void pass_time(uint64_t ns)
{
    auto const until = monad_async_now_ns() + ns;
    while (monad_async_now_ns() < until) {
    }
}

} // namespace

TEST(ScopeUntil, whose_time_is_up)
{
    Executor ex;
    monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
    Task holder([&](monad_async_task self) {
        EXPECT_EQ(monad_async_mutex_lock(self, &mutex).error, 0);
        EXPECT_EQ(sleep_ns(self, never).error, ECANCELED);
        return monad_async_mutex_unlock(self, &mutex);
    });
    Task waiter([&](monad_async_task self) {
        auto const lock_for = [&](uint64_t ns) {
            return monad_async_mutex_lock_until(self, &mutex, monad_async_now_ns() + ns).error;
        };
        monad_async_scope outer, inner;
        EXPECT_EQ(enter(self, outer, hour), 0);
        EXPECT_EQ(lock_for(ms), ETIME);
        EXPECT_EQ(interrupted(self), 0) << "its own";
        EXPECT_EQ(enter(self, inner, ms), 0);
        EXPECT_EQ(lock_for(hour), ETIME);
        EXPECT_EQ(interrupted(self), ETIME) << "the scope's";
        EXPECT_EQ(interrupted(self), ETIME) << "until it is left";
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(interrupted(self), 0);
        // A loop that asks ends, also where no call of it suspends.
        EXPECT_EQ(enter(self, inner, 5 * ms), 0);
        int tries = 0;
        while (lock_for(0) == ETIME && interrupted(self) == 0 && tries < 100000000) {
            ++tries;
        }
        EXPECT_LT(tries, 100000000);
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(leave(self, outer), 0);
        EXPECT_EQ(monad_async_task_cancel(ex, holder).error, 0);
        return success();
    });
    holder.attach(ex);
    waiter.attach(ex);
    ex.finish();
    EXPECT_EQ(holder->result.error, 0);
}

TEST(ScopeUntil, a_task_that_never_waits_is_told_of_a_deadline)
{
    run_one([](monad_async_task self) {
        monad_async_scope outer, inner;
        for (bool const armed : {false, true}) {
            EXPECT_EQ(enter(self, outer, 20 * ms), 0);
            EXPECT_EQ(enter(self, inner), 0);
            EXPECT_EQ(interrupted(self), 0);
            EXPECT_EQ(armed ? yield(self).error : 0, 0);
            pass_time(21 * ms);
            EXPECT_EQ(interrupted(self), ETIME);
            EXPECT_EQ(yield(self).error, ETIME);
            EXPECT_EQ(leave(self, inner), 0);
            EXPECT_EQ(leave(self, outer), 1);
            EXPECT_EQ(interrupted(self), 0);
        }
        EXPECT_EQ(enter(self, outer, 0), 0);
        EXPECT_EQ(interrupted(self), ETIME);
        EXPECT_EQ(leave(self, outer), 1);
        EXPECT_EQ(yield(self).error, 0);
        return success();
    });
}

TEST(ScopeUntil, a_shield_and_a_cancel_decide_as_for_a_call)
{
    run_one([](monad_async_task self) {
        monad_async_scope outer, shield, inner;
        EXPECT_EQ(enter(self, outer, 0), 0);
        EXPECT_EQ(enter(self, shield, never, MONAD_ASYNC_SCOPE_SHIELD), 0);
        EXPECT_EQ(interrupted(self), 0);
        EXPECT_EQ(monad_async_task_cancel(nullptr, self).error, 0);
        EXPECT_EQ(interrupted(self), 0);
        EXPECT_EQ(enter(self, inner), 0);
        EXPECT_EQ(scope_cancel(inner), 0);
        EXPECT_EQ(interrupted(self), ECANCELED);
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(leave(self, shield), 0);
        EXPECT_EQ(interrupted(self), ECANCELED) << "the outermost decides";
        EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        EXPECT_EQ(interrupted(self), ETIME);
        EXPECT_EQ(leave(self, outer), 1);
        EXPECT_EQ(interrupted(self), 0);
        int error = 0;
        std::thread([&] { error = interrupted(self); }).join();
        EXPECT_EQ(error, EPERM);
        return success();
    });
    Task idle([](monad_async_task) { return success(); });
    EXPECT_EQ(interrupted(idle), EPERM);
}

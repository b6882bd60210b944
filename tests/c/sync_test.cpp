// Locks and channels of the C API: what is refused, plain threads, and cycles of locks that are named.

#include "support.hpp"

#include <monad/async/barrier.h>
#include <monad/async/channel.h>
#include <monad/async/condition.h>
#include <monad/async/event.h>
#include <monad/async/inspect.h>
#include <monad/async/mutex.h>
#include <monad/async/rw_lock.h>
#include <monad/async/select.h>
#include <monad/async/semaphore.h>
#include <monad/async/wait_group.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <thread>

using namespace support;

namespace {

constexpr uint64_t never = UINT64_MAX;

} // namespace

TEST(Sync, null_is_refused)
{
    monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
    EXPECT_EQ(monad_async_mutex_lock(nullptr, nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_mutex_init(nullptr, 0).error, EINVAL);
    EXPECT_EQ(monad_async_mutex_init(&mutex, 2).error, EINVAL);
    EXPECT_EQ(monad_async_condition_wait(nullptr, nullptr, &mutex).error, EINVAL);
    EXPECT_EQ(monad_async_semaphore_release(nullptr, 1).error, EINVAL);
    EXPECT_EQ(monad_async_event_set(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_barrier_wait(nullptr, nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_wait_group_add(nullptr, 1).error, EINVAL);
    EXPECT_EQ(monad_async_rw_lock_lock(nullptr, nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_channel_close(nullptr).error, EINVAL);
    monad_async_channel channel;
    EXPECT_EQ(monad_async_channel_init(&channel, nullptr, 1, 4).error, EINVAL);
    EXPECT_EQ(monad_async_channel_init(&channel, &channel, SIZE_MAX, 4).error, EINVAL);
    EXPECT_EQ(monad_async_channel_init(&channel, nullptr, 0, 4).error, 0);
    EXPECT_EQ(monad_async_channel_try_send(&channel, nullptr).error, EINVAL);
    monad_async_barrier none = MONAD_ASYNC_BARRIER_INIT(0);
    EXPECT_EQ(monad_async_barrier_wait(nullptr, &none).error, EINVAL);
}

// Such a select copied an element there, or from there, and crashed.
TEST(Sync, a_case_without_an_element_is_refused)
{
    monad_async_channel channel, of_nothing;
    monad_async_local_channel local;
    int room[2] = {};
    ASSERT_EQ(monad_async_channel_init(&channel, room, 2, sizeof(int)).error, 0);
    ASSERT_EQ(monad_async_channel_init(&of_nothing, nullptr, 1, 0).error, 0);
    ASSERT_EQ(monad_async_local_channel_init(&local, nullptr, 0, sizeof(int)).error, 0);
    auto const try_all = [&](monad_async_task self) {
        int element = 1;
        for (auto const &wrong :
             {monad_async_case_send(&channel, nullptr), monad_async_case_recv(&channel, nullptr),
              monad_async_case_local_send(&local, nullptr),
              monad_async_case_local_recv(&local, nullptr)}) {
            monad_async_select_case cases[] = {monad_async_case_timeout(0), wrong,
                                               monad_async_case_send(&channel, &element)};
            EXPECT_EQ(monad_async_select(self, cases, 3).error, EINVAL);
        }
        EXPECT_EQ(monad_async_channel_count(&channel).value, 0) << "something happened";
        monad_async_select_case signal = monad_async_case_send(&of_nothing, nullptr);
        EXPECT_EQ(monad_async_select(self, &signal, 1).error, 0);
        signal = monad_async_case_recv(&of_nothing, nullptr);
        return monad_async_select(self, &signal, 1);
    };
    EXPECT_EQ(try_all(nullptr).error, 0);
    Executor ex(0);
    Task task(try_all);
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Sync, callers_are_checked)
{
    Executor ex(0);
    monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
    Task other([](monad_async_task) { return success(); });
    Task task([&](monad_async_task self) {
        // A thread would block, and with it the executor.
        EXPECT_EQ(monad_async_mutex_lock(nullptr, &mutex).error, EDEADLK);
        EXPECT_EQ(monad_async_mutex_try_lock(nullptr, &mutex).error, EDEADLK);
        // Not the one that runs.
        EXPECT_EQ(monad_async_mutex_lock(other, &mutex).error, EPERM);
        std::thread([&] {
            EXPECT_EQ(monad_async_mutex_lock(self, &mutex).error, EPERM);
            EXPECT_EQ(monad_async_mutex_try_lock(nullptr, &mutex).error, 0);
            EXPECT_EQ(monad_async_mutex_unlock(nullptr, &mutex).error, 0);
        }).join();
        return success();
    });
    task.attach(ex);
    ex.finish();
}

TEST(Sync, a_cycle_of_locks_is_refused_and_its_tasks_are_named)
{
    Executor ex(0);
    monad_async_mutex first = MONAD_ASYNC_MUTEX_INIT_CHECKED;
    monad_async_local_mutex second = MONAD_ASYNC_LOCAL_MUTEX_INIT_CHECKED;
    monad_async_mutex third;
    ASSERT_EQ(monad_async_mutex_init(&third, MONAD_ASYNC_MUTEX_CHECKED).error, 0);
    Task a([&](monad_async_task self) {
        EXPECT_EQ(monad_async_mutex_lock(self, &first).error, 0);
        (void)yield(self);
        EXPECT_EQ(monad_async_local_mutex_lock(self, &second).error, 0);
        EXPECT_EQ(monad_async_local_mutex_unlock(self, &second).error, 0);
        return monad_async_mutex_unlock(self, &first);
    });
    Task b([&](monad_async_task self) {
        EXPECT_EQ(monad_async_local_mutex_lock(self, &second).error, 0);
        (void)yield(self);
        EXPECT_EQ(monad_async_mutex_lock(self, &third).error, 0);
        EXPECT_EQ(monad_async_mutex_unlock(self, &third).error, 0);
        return monad_async_local_mutex_unlock(self, &second);
    });
    std::string said;
    Task c([&](monad_async_task self) {
        EXPECT_EQ(monad_async_mutex_lock(self, &third).error, 0);
        (void)yield(self);
        (void)yield(self);
        testing::internal::CaptureStderr();
        EXPECT_EQ(monad_async_mutex_lock(self, &first).error, EDEADLK); // a -> b -> c -> a
        said = testing::internal::GetCapturedStderr();
        return monad_async_mutex_unlock(self, &third);
    });
    ASSERT_EQ(monad_async_task_set_name(b, "the second").error, 0);
    for (auto *task : {&a, &b, &c}) {
        task->attach(ex);
    }
    ex.finish();
    EXPECT_NE(said.find(" \"the second\" waits for a mutex that task "), std::string::npos) << said;
    EXPECT_NE(said.find(" \"the second\" holds\n"), std::string::npos) << said;
    for (monad_async_task task : {monad_async_task(a), monad_async_task(b), monad_async_task(c)}) {
        char name[32];
        snprintf(name, sizeof name, "%#zx", reinterpret_cast<size_t>(task));
        EXPECT_NE(said.find(name), std::string::npos) << said;
        EXPECT_EQ(task->result.error, 0);
    }
}

// Of two executors on threads of their own and a thread without one, the last to wait is refused; all
// three waited for ever.
TEST(Sync, a_cycle_of_locks_of_several_threads_is_refused)
{
    std::string said;
    for (int round = 0; round < 100; ++round) {
        monad_async_mutex mutexes[3] = {MONAD_ASYNC_MUTEX_INIT_CHECKED,
                                        MONAD_ASYNC_MUTEX_INIT_CHECKED,
                                        MONAD_ASYNC_MUTEX_INIT_CHECKED};
        monad_async_barrier each_has_one = MONAD_ASYNC_BARRIER_INIT(3);
        std::atomic<int> refused{0};
        auto const play = [&](monad_async_task self, size_t n) {
            auto *const next = &mutexes[(n + 1) % 3];
            EXPECT_EQ(monad_async_mutex_lock(self, &mutexes[n]).error, 0);
            EXPECT_EQ(monad_async_barrier_wait(self, &each_has_one).error, 0);
            int const error = monad_async_mutex_lock(self, next).error;
            EXPECT_TRUE(error == 0 || error == EDEADLK) << error;
            refused += error == EDEADLK;
            if (error == 0) {
                EXPECT_EQ(monad_async_mutex_unlock(self, next).error, 0);
            }
            EXPECT_EQ(monad_async_mutex_unlock(self, &mutexes[n]).error, 0);
            return success();
        };
        auto const on_an_executor = [&](size_t n) {
            Executor ex(0);
            Task task([&](monad_async_task self) { return play(self, n); });
            EXPECT_EQ(monad_async_task_set_name(task, n == 0 ? "zero" : "one").error, 0);
            task.attach(ex);
            ex.finish();
        };
        testing::internal::CaptureStderr();
        std::thread other(on_an_executor, 1);
        std::thread third(play, nullptr, 2);
        on_an_executor(0);
        other.join();
        third.join();
        said = testing::internal::GetCapturedStderr();
        ASSERT_EQ(refused, 1) << said;
        for (auto const *line : {" \"zero\" waits for a mutex that task ",
                                 " \"one\" waits for a mutex that a thread holds\n",
                                 "a thread waits for a mutex that task "}) {
            ASSERT_NE(said.find(line), std::string::npos) << said;
        }
    }
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 3) << said;
}

// Who does not wait any more closes no cycle.
TEST(Sync, a_wait_that_is_over_closes_no_cycle)
{
    Executor ex(0);
    monad_async_mutex first = MONAD_ASYNC_MUTEX_INIT_CHECKED;
    monad_async_mutex second = MONAD_ASYNC_MUTEX_INIT_CHECKED;
    Task a([&](monad_async_task self) {
        EXPECT_EQ(monad_async_mutex_lock(self, &first).error, 0);
        EXPECT_EQ(monad_async_mutex_lock_until(self, &second, 1).error, ETIME);
        (void)yield(self);
        (void)yield(self);
        return monad_async_mutex_unlock(self, &first);
    });
    Task b([&](monad_async_task self) {
        EXPECT_EQ(monad_async_mutex_lock(self, &second).error, 0);
        (void)yield(self);
        (void)yield(self);
        EXPECT_EQ(monad_async_mutex_lock(self, &first).error, 0);
        EXPECT_EQ(monad_async_mutex_unlock(self, &first).error, 0);
        return monad_async_mutex_unlock(self, &second);
    });
    b.attach(ex);
    a.attach(ex);
    ex.finish();
    EXPECT_EQ(a->result.error, 0);
    EXPECT_EQ(b->result.error, 0);
}

TEST(Sync, tasks_that_join_each_other)
{
    Executor ex(0);
    int errors[2] = {-1, -1};
    Task *tasks[2];
    Task a([&](monad_async_task self) {
        errors[0] = monad_async_task_join(self, *tasks[1]).error;
        return success();
    });
    Task b([&](monad_async_task self) {
        errors[1] = monad_async_task_join(self, *tasks[0]).error;
        return success();
    });
    tasks[0] = &a;
    tasks[1] = &b;
    a.attach(ex);
    b.attach(ex);
    ex.finish();
    EXPECT_EQ(errors[0], 0);
    EXPECT_EQ(errors[1], EDEADLK);
}

TEST(Sync, threads_wait_and_are_served)
{
    Executor ex;
    monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
    monad_async_condition condition = MONAD_ASYNC_CONDITION_INIT;
    monad_async_semaphore semaphore = MONAD_ASYNC_SEMAPHORE_INIT(0);
    monad_async_channel channel;
    ASSERT_EQ(monad_async_channel_init(&channel, nullptr, 0, sizeof(int)).error, 0);
    bool ready = false;
    int got = 0;
    std::thread thread([&] {
        EXPECT_EQ(monad_async_mutex_lock(nullptr, &mutex).error, 0);
        while (!ready) {
            EXPECT_EQ(monad_async_condition_wait(nullptr, &condition, &mutex).error, 0);
        }
        EXPECT_EQ(monad_async_mutex_unlock(nullptr, &mutex).error, 0);
        EXPECT_EQ(monad_async_semaphore_acquire(nullptr, &semaphore, 2).error, 0);
        EXPECT_EQ(monad_async_channel_recv_until(nullptr, &channel, &got, never).error, 0);
        monad_async_select_case cases[] = {monad_async_case_recv(&channel, &got),
                                           monad_async_case_timeout(ms)};
        EXPECT_EQ(monad_async_select(nullptr, cases, 2).value, 1);
        EXPECT_EQ(monad_async_channel_recv_until(nullptr, &channel, &got, 1).error, ETIME);
    });
    Task task([&](monad_async_task self) {
        EXPECT_EQ(sleep_ns(self, ms).error, 0);
        EXPECT_EQ(monad_async_mutex_lock(self, &mutex).error, 0);
        ready = true;
        EXPECT_EQ(monad_async_condition_notify_all(&condition).error, 0);
        EXPECT_EQ(monad_async_mutex_unlock(self, &mutex).error, 0);
        EXPECT_EQ(monad_async_semaphore_release(&semaphore, 2).error, 0);
        int x = 9;
        return monad_async_channel_send(self, &channel, &x);
    });
    task.attach(ex);
    ex.finish();
    thread.join();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(got, 9);
}

namespace {

// One of each, for the tasks of one executor.
struct Locals {
    monad_async_local_barrier barrier = MONAD_ASYNC_LOCAL_BARRIER_INIT(2);
    monad_async_local_channel channel{};
    monad_async_local_condition condition = MONAD_ASYNC_LOCAL_CONDITION_INIT;
    monad_async_local_event event = MONAD_ASYNC_LOCAL_EVENT_INIT;
    monad_async_local_mutex mutex = MONAD_ASYNC_LOCAL_MUTEX_INIT;
    monad_async_local_rw_lock rw_lock = MONAD_ASYNC_LOCAL_RW_LOCK_INIT;
    monad_async_local_semaphore semaphore = MONAD_ASYNC_LOCAL_SEMAPHORE_INIT(0);
    monad_async_local_wait_group wait_group = MONAD_ASYNC_LOCAL_WAIT_GROUP_INIT(0);
    int element = 0;
    Locals() { EXPECT_EQ(monad_async_local_channel_init(&channel, nullptr, 0, 4).error, 0); }
};

struct LocalCall {
    char const *name;
    monad_async_result (*make)(monad_async_task, Locals &);
};

// NOLINTNEXTLINE: one line a call.
#define LOCAL_CALL(function, ...)                                                                  \
    {                                                                                              \
        #function, [](monad_async_task self, Locals &l) {                                          \
            (void)self;                                                                            \
            return monad_async_local_##function(__VA_ARGS__);                                      \
        }                                                                                          \
    }

LocalCall const local_calls[] = {
    LOCAL_CALL(barrier_wait, self, &l.barrier),
    LOCAL_CALL(barrier_wait_until, self, &l.barrier, never),
    LOCAL_CALL(channel_close, &l.channel),
    LOCAL_CALL(channel_count, &l.channel),
    LOCAL_CALL(channel_recv, self, &l.channel, &l.element),
    LOCAL_CALL(channel_recv_until, self, &l.channel, &l.element, never),
    LOCAL_CALL(channel_send, self, &l.channel, &l.element),
    LOCAL_CALL(channel_send_until, self, &l.channel, &l.element, never),
    LOCAL_CALL(channel_try_recv, &l.channel, &l.element),
    LOCAL_CALL(channel_try_send, &l.channel, &l.element),
    LOCAL_CALL(condition_notify_all, &l.condition),
    LOCAL_CALL(condition_notify_one, &l.condition),
    LOCAL_CALL(condition_wait, self, &l.condition, &l.mutex),
    LOCAL_CALL(condition_wait_until, self, &l.condition, &l.mutex, never),
    LOCAL_CALL(event_is_set, &l.event),
    LOCAL_CALL(event_reset, &l.event),
    LOCAL_CALL(event_set, &l.event),
    LOCAL_CALL(event_wait, self, &l.event),
    LOCAL_CALL(event_wait_until, self, &l.event, never),
    LOCAL_CALL(mutex_lock, self, &l.mutex),
    LOCAL_CALL(mutex_lock_until, self, &l.mutex, never),
    LOCAL_CALL(mutex_try_lock, self, &l.mutex),
    LOCAL_CALL(mutex_unlock, self, &l.mutex),
    LOCAL_CALL(rw_lock_lock, self, &l.rw_lock),
    LOCAL_CALL(rw_lock_lock_shared, self, &l.rw_lock),
    LOCAL_CALL(rw_lock_lock_shared_until, self, &l.rw_lock, never),
    LOCAL_CALL(rw_lock_lock_until, self, &l.rw_lock, never),
    LOCAL_CALL(rw_lock_try_lock, self, &l.rw_lock),
    LOCAL_CALL(rw_lock_try_lock_shared, self, &l.rw_lock),
    LOCAL_CALL(rw_lock_unlock, self, &l.rw_lock),
    LOCAL_CALL(rw_lock_unlock_shared, self, &l.rw_lock),
    LOCAL_CALL(semaphore_acquire, self, &l.semaphore, 1),
    LOCAL_CALL(semaphore_acquire_until, self, &l.semaphore, 1, never),
    LOCAL_CALL(semaphore_release, &l.semaphore, 1),
    LOCAL_CALL(semaphore_try_acquire, &l.semaphore, 1),
    LOCAL_CALL(wait_group_add, &l.wait_group, 1),
    LOCAL_CALL(wait_group_done, &l.wait_group, 1),
    LOCAL_CALL(wait_group_wait, self, &l.wait_group),
    LOCAL_CALL(wait_group_wait_until, self, &l.wait_group, never),
};

} // namespace

// In another executor's task on the same thread, in one of another thread, and on a thread without any;
// before its executor has used it, too.
TEST(Sync, a_local_one_used_elsewhere_is_EPERM)
{
    Executor home(0), other(0);
    for (bool const is_used : {true, false}) {
        Locals l;
        Task user([&](monad_async_task self) {
            // Each has been used: by its executor alone from here on.
            for (auto const &call : local_calls) {
                std::string_view const name = call.name;
                if (name == "channel_count" || name == "condition_notify_all" ||
                    name == "event_reset" || name == "semaphore_try_acquire" ||
                    name == "wait_group_wait" || name == "mutex_try_lock" ||
                    name == "mutex_unlock" || name == "rw_lock_try_lock" ||
                    name == "rw_lock_unlock") {
                    EXPECT_NE(call.make(self, l).error, EPERM) << name;
                }
            }
            EXPECT_EQ(monad_async_local_barrier_wait_until(self, &l.barrier, 1).error, ETIME);
            return success();
        });
        if (is_used) {
            user.attach(home);
            home.finish();
            EXPECT_EQ(user->result.error, 0);
        }
        auto const try_all = [&](monad_async_task self) {
            for (auto const &call : local_calls) {
                EXPECT_EQ(call.make(self, l).error, EPERM) << call.name;
            }
            return success();
        };
        std::thread([&] {
            (void)try_all(nullptr);
            if (is_used) {
                Executor third(0);
                Task task(try_all);
                task.attach(third);
                third.finish();
            }
        }).join();
        if (is_used) {
            Task task(try_all);
            task.attach(other);
            other.finish();
        }
    }
}

TEST(Sync, an_object_is_one_executors_or_everybodys)
{
    Executor one(0), two(0);
    monad_async_local_semaphore local = MONAD_ASYNC_LOCAL_SEMAPHORE_INIT(1);
    monad_async_semaphore shared = MONAD_ASYNC_SEMAPHORE_INIT(1);
    Task first([&](monad_async_task self) {
        return monad_async_local_semaphore_acquire(self, &local, 1);
    });
    Task second([&](monad_async_task self) {
        EXPECT_EQ(monad_async_local_semaphore_acquire(self, &local, 1).error, EPERM);
        EXPECT_EQ(monad_async_local_semaphore_release(&local, 1).error, EPERM);
        return monad_async_semaphore_acquire(self, &shared, 1);
    });
    first.attach(one);
    one.finish();
    second.attach(two);
    two.finish();
    EXPECT_EQ(first->result.error, 0);
    EXPECT_EQ(second->result.error, 0);
}

// A task by itself: its fields in every state, using it again, its stack.

#include "support.hpp"

#include <alloca.h>
#include <cstdio>

using namespace support;

namespace {

struct Flags {
    bool pending, running, awaiting, completed;
    bool operator==(Flags const &o) const
    {
        return pending == o.pending && running == o.running && awaiting == o.awaiting &&
               completed == o.completed;
    }
};

Flags flags_of(monad_async_task task)
{
    return {task->is_pending_launch, task->is_running, task->is_suspended_awaiting,
            task->is_suspended_completed};
}

constexpr Flags idle{false, false, false, false}, pending{true, false, false, false},
    running{false, true, false, false}, awaiting{false, false, true, false},
    completed{false, false, false, true};

} // namespace

TEST(Task, is_made_idle_with_normal_priorities)
{
    monad_async_task task = nullptr;
    monad_async_task_attr attr{};
    ASSERT_EQ(monad_async_task_create(&task, &attr).error, 0);
    EXPECT_EQ(task->priority.cpu, monad_async_priority_normal);
    EXPECT_EQ(task->priority.io, monad_async_priority_normal);
    EXPECT_EQ(flags_of(task), idle);
    EXPECT_EQ(task->current_executor, nullptr);
    EXPECT_EQ(task->user_code, nullptr);
    EXPECT_EQ(task->user_ptr, nullptr);
    EXPECT_EQ(task->total_ticks_executed, 0u);
    EXPECT_EQ(monad_async_task_destroy(task).error, 0);
}

TEST(Task, flags_in_every_state)
{
    Executor ex;
    Flags inside{};
    Task task([&](monad_async_task self) {
        inside = flags_of(self);
        EXPECT_EQ(self->current_executor, ex);
        return sleep_ns(self, ms);
    });
    EXPECT_EQ(flags_of(task), idle);
    task.attach(ex);
    EXPECT_EQ(flags_of(task), pending);
    EXPECT_EQ(task->current_executor, ex);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(inside, running);
    EXPECT_EQ(flags_of(task), awaiting);
    spin_for(2 * ms);
    ex.run(0);
    EXPECT_EQ(flags_of(task), completed);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(flags_of(task), idle);
    EXPECT_EQ(task->current_executor, nullptr);
}

TEST(Task, a_yielding_task_is_suspended_and_ready)
{
    Executor ex;
    Task task([](monad_async_task self) { return yield(self); });
    task.attach(ex);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(flags_of(task), completed);
    EXPECT_EQ(ex->tasks_suspended, 1u);
    EXPECT_EQ(ex.run(1), 1);
}

TEST(Task, result_is_that_of_the_last_run)
{
    Executor ex;
    Task task;
    task.body([](monad_async_task) { return monad_async_make_success(INTPTR_MIN); });
    task.attach(ex);
    EXPECT_FALSE(monad_async_task_has_exited(task));
    ex.finish();
    EXPECT_TRUE(monad_async_task_has_exited(task));
    EXPECT_EQ(task->result.value, INTPTR_MIN);
    EXPECT_TRUE(monad_async_result_has_value(task->result));
    task.body([](monad_async_task) { return monad_async_make_failure(EDOM); });
    task.attach(ex);
    EXPECT_FALSE(monad_async_task_has_exited(task));
    ex.finish();
    EXPECT_TRUE(monad_async_task_has_exited(task));
    EXPECT_EQ(task->result.error, EDOM);
    EXPECT_TRUE(monad_async_result_has_error(task->result));
}

TEST(Task, never_launched_has_not_exited)
{
    Task task([](monad_async_task) { return success(); });
    EXPECT_FALSE(monad_async_task_has_exited(task));
}

TEST(Task, launches_again_with_other_code_on_other_executors)
{
    Executor a, b(0);
    monad_async_task task = nullptr;
    monad_async_task_attr attr{};
    ASSERT_EQ(monad_async_task_create(&task, &attr).error, 0);
    intptr_t sum = 0;
    task->user_ptr = &sum;
    for (int i = 0; i < 1000; ++i) {
        task->user_code = i % 3 == 0
                              ? +[](monad_async_task self) {
                                    *static_cast<intptr_t *>(self->user_ptr) += 1;
                                    return yield(self);
                                }
                              : +[](monad_async_task self) {
                                    *static_cast<intptr_t *>(self->user_ptr) += 1000;
                                    return success();
                                };
        Executor const &ex = i % 2 == 0 ? a : b;
        ASSERT_EQ(monad_async_task_attach(ex, task).error, 0);
        ex.finish();
        ASSERT_EQ(task->result.error, 0);
    }
    EXPECT_EQ(sum, 334 + 666 * 1000);
    EXPECT_EQ(monad_async_task_destroy(task).error, 0);
}

TEST(Task, attaches_others_and_destroys_them_from_inside)
{
    Executor ex;
    int ran = 0;
    Task parent([&](monad_async_task self) {
        for (int i = 0; i < 100; ++i) {
            Task child([&](monad_async_task inner) { return ++ran, yield(inner); });
            child.attach(ex);
            auto const r = monad_async_task_join(self, child);
            if (r.error != 0) {
                return r;
            }
        }
        return success(ran);
    });
    parent.attach(ex);
    ex.finish();
    EXPECT_EQ(parent->result.value, 100);
}

TEST(Task, stack_holds_what_was_asked_for)
{
    Executor ex;
    for (size_t const bytes :
         {size_t{16} << 10, size_t{100} << 10, size_t{1} << 20, size_t{64} << 20}) {
        Task task(
            [&](monad_async_task self) {
                // Leaves 4 KiB for the frames in between.
                size_t const room = bytes - 4096;
                auto *const array = static_cast<char volatile *>(alloca(room));
                for (size_t i = 0; i < room; i += 1024) {
                    array[i] = 1;
                }
                auto const r = yield(self);
                for (size_t i = 0; i < room; i += 1024) {
                    EXPECT_EQ(array[i], 1);
                }
                return r;
            },
            bytes);
        task.attach(ex);
        ex.finish();
        EXPECT_EQ(task->result.error, 0);
    }
}

TEST(Task, smallest_stack_is_16_KiB)
{
    Executor ex;
    Task task(
        [&](monad_async_task self) {
            auto *const array = static_cast<char volatile *>(alloca(12288));
            for (int i = 0; i < 12288; ++i) {
                array[i] = 1;
            }
            return yield(self);
        },
        1);
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Task, stack_too_large_for_any_memory_is_an_error)
{
    for (size_t const bytes : {SIZE_MAX, SIZE_MAX / 2, size_t{1} << 60}) {
        monad_async_task task = nullptr;
        monad_async_task_attr attr{};
        attr.stack_size = bytes;
        int const error = monad_async_task_create(&task, &attr).error;
        EXPECT_TRUE(error == ENOMEM || error == EINVAL) << error;
        EXPECT_EQ(task, nullptr);
    }
}

// The ABI wants the stack at a multiple of 16 at every call; printf of a double faults where it is
// not. Floating point state must survive the switch too.
TEST(Task, stack_is_aligned_and_arithmetic_survives)
{
    Executor ex;
    auto const tasks = make_tasks(
        8,
        [](monad_async_task self, size_t i) {
            alignas(64) volatile char aligned[64];
            EXPECT_EQ(reinterpret_cast<uintptr_t>(aligned) % 64, 0u);
            double sum = 0;
            for (int round = 0; round < 100; ++round) {
                sum += 0.5 * static_cast<double>(i);
                if (auto const r = yield(self); r.error != 0) {
                    return r;
                }
            }
            char text[64];
            snprintf(text, sizeof text, "%.1f", sum);
            char expected[64];
            snprintf(expected, sizeof expected, "%zu.0", 50 * i);
            EXPECT_STREQ(text, expected);
            return success();
        },
        65536);
    attach_all(tasks, ex);
    ex.finish();
}

TEST(Task, thousands_at_once)
{
    Executor ex;
    size_t done = 0;
    auto const tasks = make_tasks(50000, [&](monad_async_task self, size_t) {
        auto const r = yield(self);
        ++done;
        return r;
    });
    attach_all(tasks, ex);
    EXPECT_EQ(ex->tasks_pending_launch, 50000u);
    ex.finish();
    EXPECT_EQ(done, 50000u);
}

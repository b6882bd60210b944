// Scopes: deadlines of every call that suspends, nests, and what leaving gives back.

#include "scopes.hpp"

#include <monad/async/op.h>

#include <atomic>
#include <chrono>
#include <thread>

using namespace support;

namespace {

// `call` inside a scope of a millisecond returns ETIME, and the sleep after the scope is whole.
template <class Call> void expect_deadline_ends(Call call)
{
    run_one([&](monad_async_task self) {
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, ms), 0);
        EXPECT_EQ(call(self).error, ETIME);
        EXPECT_EQ(call(self).error, ETIME); // until it is left
        EXPECT_EQ(leave(self, scope), 1);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        EXPECT_EQ(nop(self).error, 0);
        return success();
    });
}

} // namespace

TEST(Scope, deadline_ends_each_kind_of_call)
{
    Pipe pipe;
    char byte;
    expect_deadline_ends([](monad_async_task self) { return sleep_ns(self, hour); });
    expect_deadline_ends([](monad_async_task self) { return sleep_ns(self, never); });
    expect_deadline_ends([](monad_async_task self) {
        return monad_async_task_suspend_until(self, monad_async_now_ns() + hour);
    });
    expect_deadline_ends(
        [&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); });
    expect_deadline_ends([](monad_async_task self) { return monad_async_task_park(self); });
}

TEST(Scope, deadline_ends_a_join_on_this_executor_and_on_another)
{
    Executor ex;
    Task sleeper([](monad_async_task self) { return sleep_ns(self, never); });
    sleeper.attach(ex);
    Task joiner([&](monad_async_task self) {
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, ms), 0);
        EXPECT_EQ(monad_async_task_join(self, sleeper).error, ETIME);
        EXPECT_EQ(leave(self, scope), 1);
        EXPECT_EQ(monad_async_task_cancel(nullptr, sleeper).error, 0);
        EXPECT_EQ(monad_async_task_join(self, sleeper).error, ECANCELED); // its own result
        return success();
    });
    joiner.attach(ex);
    ex.finish();

    std::atomic<bool> attached{false};
    Task far_sleeper([](monad_async_task self) { return sleep_ns(self, never); });
    std::thread other([&] {
        Executor far;
        far_sleeper.attach(far);
        attached = true;
        far.finish();
    });
    spin_until([&] { return attached.load(); });
    joiner.body([&](monad_async_task self) {
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, ms), 0);
        EXPECT_EQ(monad_async_task_join(self, far_sleeper).error, ETIME);
        EXPECT_EQ(leave(self, scope), 1);
        EXPECT_EQ(monad_async_task_cancel(nullptr, far_sleeper).error, 0);
        EXPECT_EQ(monad_async_task_join(self, far_sleeper).error, ECANCELED);
        return success();
    });
    joiner.attach(ex);
    ex.finish();
    other.join();
}

TEST(Scope, deadline_ends_a_wait_for_an_operation_and_leaves_it_in_flight)
{
    Pipe pipe;
    run_one([&](monad_async_task self) {
        char byte = 0;
        monad_async_op op{};
        op.sqe = make_sqe(IORING_OP_READ, pipe.reader, &byte, 1, current_position);
        EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, ms), 0);
        EXPECT_EQ(monad_async_op_wait(self, &op).error, ETIME);
        monad_async_op *any = nullptr;
        EXPECT_EQ(monad_async_op_wait_any(self, &any).error, ETIME);
        EXPECT_EQ(any, nullptr);
        EXPECT_EQ(leave(self, scope), 1);
        EXPECT_TRUE(op.is_in_flight);
        EXPECT_EQ(write(pipe.writer, "s", 1), 1);
        EXPECT_EQ(monad_async_op_wait(self, &op).value, 1);
        EXPECT_EQ(byte, 's');
        EXPECT_FALSE(op.is_in_flight);
        return success();
    });
}

TEST(Scope, deadline_is_never_early)
{
    run_one([&](monad_async_task self) {
        for (uint64_t const timeout_ns : {ms / 1000000, ms / 1000, ms / 10, ms, 5 * ms}) {
            uint64_t const begin = monad_async_now_ns();
            monad_async_scope scope;
            EXPECT_EQ(enter(self, scope, timeout_ns), 0);
            EXPECT_EQ(sleep_ns(self, never).error, ETIME);
            EXPECT_GE(monad_async_now_ns() - begin, timeout_ns);
            EXPECT_EQ(leave(self, scope), 1);
        }
        return success();
    });
}

// One that is not exact when it is entered: neither what was computed before it counts, nor is
// what is computed in it forgotten. (The thread sleeps, as cheaper than computing.)
void computes(uint64_t ns)
{
    std::this_thread::sleep_for(std::chrono::nanoseconds{ns});
}

TEST(Scope, a_long_deadline_is_never_early)
{
    run_one([&](monad_async_task self) {
        computes(300 * ms);
        uint64_t const begin = monad_async_now_ns();
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, 1000 * ms), 0);
        computes(300 * ms);
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_GE(monad_async_now_ns() - begin, 1000 * ms);
        EXPECT_EQ(leave(self, scope), 1);
        return success();
    });
}

TEST(Scope, a_long_deadline_that_has_passed_ends_the_first_call)
{
    run_one([&](monad_async_task self) {
        monad_async_scope outer, inner;
        EXPECT_EQ(enter(self, outer, hour), 0);
        EXPECT_EQ(enter(self, inner, 1000 * ms), 0);
        computes(1300 * ms);
        EXPECT_EQ(monad_async_task_interrupted(self).error, ETIME);
        EXPECT_EQ(yield(self).error, ETIME);
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(yield(self).error, 0);
        EXPECT_EQ(leave(self, outer), 0);
        return success();
    });
}

TEST(Scope, without_a_suspension_does_not_fire)
{
    run_one([](monad_async_task self) {
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, 1), 0);
        spin_for(ms);
        EXPECT_EQ(leave(self, scope), 0);
        // The same memory again, with none.
        EXPECT_EQ(enter(self, scope), 0);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        EXPECT_EQ(leave(self, scope), 0);
        return success();
    });
}

TEST(Scope, of_no_time_ends_the_first_call_without_a_suspension)
{
    Executor ex;
    Task other([](monad_async_task) { return success(1); });
    Task task([&](monad_async_task self) {
        other.attach(ex);
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, 0), 0);
        EXPECT_EQ(yield(self).error, ETIME);
        EXPECT_EQ(nop(self).error, ETIME);
        EXPECT_FALSE(monad_async_task_has_exited(other)); // it had no turn
        EXPECT_EQ(leave(self, scope), 1);
        EXPECT_EQ(yield(self).error, 0);
        EXPECT_TRUE(monad_async_task_has_exited(other));
        return success();
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

TEST(Scope, nested_and_the_outermost_that_fired_decides)
{
    run_one([](monad_async_task self) {
        monad_async_scope outer, inner;
        EXPECT_EQ(enter(self, outer), 0);
        EXPECT_EQ(enter(self, inner, ms), 0);
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_EQ(scope_cancel(outer), 0);
        EXPECT_EQ(sleep_ns(self, never).error, ECANCELED);
        EXPECT_EQ(scope_cancel(inner), 0); // has fired: stays ETIME
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(sleep_ns(self, never).error, ECANCELED);
        EXPECT_EQ(leave(self, outer), 1);

        EXPECT_EQ(enter(self, outer, ms), 0);
        EXPECT_EQ(enter(self, inner, hour), 0);
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_EQ(leave(self, inner), 0); // the outer one did
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_EQ(leave(self, outer), 1);

        // The inner one's end is not the outer one's.
        EXPECT_EQ(enter(self, outer, hour), 0);
        EXPECT_EQ(enter(self, inner, ms), 0);
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        EXPECT_EQ(leave(self, inner), 1);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        EXPECT_EQ(leave(self, outer), 0);
        return success();
    });
}

TEST(Scope, many_deep_and_the_deadlines_of_all_are_armed)
{
    run_one([](monad_async_task self) {
        constexpr size_t depth = 64;
        monad_async_scope scopes[depth];
        for (size_t i = 0; i < depth; ++i) {
            EXPECT_EQ(enter(self, scopes[i], i == 0 ? 2 * ms : hour), 0);
        }
        EXPECT_EQ(sleep_ns(self, never).error, ETIME);
        for (size_t i = depth; i-- > 0;) {
            EXPECT_EQ(leave(self, scopes[i]), i == 0 ? 1 : 0);
        }
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        return success();
    });
}

TEST(Scope, open_at_return_is_left_and_the_result_is_EINVAL)
{
    Executor ex;
    Task task([](monad_async_task self) {
        monad_async_scope outer, inner;
        EXPECT_EQ(enter(self, outer, ms), 0);
        EXPECT_EQ(enter(self, inner, ms), 0);
        EXPECT_EQ(sleep_ns(self, 1).error, 0); // both are armed
        return success(7);
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, EINVAL);
    // Nothing of it is left: another run, for longer than the deadlines were.
    task.body([](monad_async_task self) { return sleep_ns(self, 3 * ms); });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Scope, until_forms)
{
    Executor ex;
    Pipe pipe;
    Task never_ends([](monad_async_task self) { return sleep_ns(self, never); });
    never_ends.attach(ex);
    Task task([&](monad_async_task self) {
        char byte = 0;
        auto const sqe = make_sqe(IORING_OP_READ, pipe.reader, &byte, 1, current_position);
        for (uint64_t const boot_ns : {uint64_t{0}, monad_async_now_ns() + ms}) {
            EXPECT_EQ(monad_async_task_io_until(self, &sqe, boot_ns).error, ETIME);
            EXPECT_EQ(monad_async_task_join_until(self, never_ends, boot_ns).error, ETIME);
            EXPECT_EQ(monad_async_task_park_until(self, boot_ns).error, ETIME);
        }
        EXPECT_EQ(write(pipe.writer, "u", 1), 1);
        EXPECT_EQ(monad_async_task_io_until(self, &sqe, never).value, 1);
        EXPECT_EQ(byte, 'u');
        EXPECT_EQ(monad_async_task_unpark(self).error, 0);
        EXPECT_EQ(monad_async_task_park_until(self, monad_async_now_ns() + hour).error, 0);
        EXPECT_EQ(monad_async_task_cancel(nullptr, never_ends).error, 0);
        EXPECT_EQ(monad_async_task_join_until(self, never_ends, never).error, ECANCELED);

        uint64_t const end = monad_async_now_ns() + 2 * ms;
        EXPECT_EQ(monad_async_task_suspend_until(self, end).error, 0);
        EXPECT_GE(monad_async_now_ns(), end);
        EXPECT_EQ(monad_async_task_suspend_until(self, 0).error, 0); // over: yields
        return success();
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(monad_async_timeout_until(never), never);
    EXPECT_EQ(monad_async_timeout_until(0), 0u);
    EXPECT_GT(monad_async_timeout_until(monad_async_now_ns() + hour), 0u);
}

// A deadline made of a second task that cancels hit whatever the first one did next, where both
// were due in one look. Here the byte comes at about the deadline, from another thread.
TEST(Scope, time_out_never_hits_the_call_after_the_scope)
{
    constexpr unsigned rounds = 2000;
    Executor ex;
    Pipe pipe;
    std::atomic<uint64_t> write_at{0};
    std::atomic<bool> over{false};
    std::thread writer([&] {
        while (!over) {
            uint64_t const at = write_at.exchange(0);
            if (at == 0) {
                std::this_thread::yield();
                continue;
            }
            while (boot_time_ns() < at) {
            }
            EXPECT_EQ(write(pipe.writer, "r", 1), 1);
        }
    });
    unsigned in_time = 0, late = 0;
    Task task([&](monad_async_task self) {
        for (unsigned i = 0; i < rounds; ++i) {
            char byte = 0;
            uint64_t const timeout_ns = 20000 + i % 40 * 1000;
            write_at = boot_time_ns() + 40000;
            monad_async_scope scope;
            EXPECT_EQ(enter(self, scope, timeout_ns), 0);
            auto const r = read_some(self, pipe.reader, &byte, 1);
            intptr_t const fired = leave(self, scope);
            if (r.error == 0) {
                EXPECT_EQ(r.value, 1);
                ++in_time;
            } else {
                EXPECT_EQ(r.error, ETIME);
                EXPECT_EQ(fired, 1);
                ++late;
            }
            EXPECT_EQ(nop(self).error, 0);
            EXPECT_EQ(yield(self).error, 0);
            if (r.error != 0) { // the byte was not lost
                auto const again = read_some(self, pipe.reader, &byte, 1);
                EXPECT_EQ(again.value, 1);
            }
            EXPECT_EQ(byte, 'r');
        }
        return success();
    });
    task.attach(ex);
    ex.finish();
    over = true;
    writer.join();
    EXPECT_EQ(in_time + late, rounds);
}

// A loop that forgot to leave: told, and the scope can still be left.
TEST(Scope, entered_twice_is_refused)
{
    run_one([&](monad_async_task self) {
        monad_async_scope outer, inner;
        EXPECT_EQ(enter(self, outer), 0);
        EXPECT_EQ(enter(self, inner, hour), 0);
        EXPECT_EQ(enter(self, outer), EBUSY);
        EXPECT_EQ(enter(self, inner), EBUSY);
        EXPECT_EQ(leave(self, inner), 0);
        EXPECT_EQ(leave(self, outer), 0);
        EXPECT_EQ(enter(self, outer), 0);
        EXPECT_EQ(leave(self, outer), 0);
        return success();
    });
}

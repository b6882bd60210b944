// Cancelling in every state and from any thread: sticky, one outcome a call, no byte lost.

#include "support.hpp"

#include <atomic>
#include <random>
#include <string>
#include <thread>

using namespace support;

namespace {

int cancel(monad_async_executor ex, monad_async_task task)
{
    return monad_async_task_cancel(ex, task).error;
}

// Runs one task that calls `first` and then sleeps a little; gives what both returned after
// `between` ran while the task was suspended in `first`.
struct Outcome {
    monad_async_result first, second, third;
};
template <class First, class Between>
Outcome outcome_of(Executor const &ex, First first, Between between)
{
    Outcome outcome{};
    Task task([&](monad_async_task self) {
        outcome.first = first(self);
        outcome.second = sleep_ns(self, 1);
        outcome.third = sleep_ns(self, 1);
        return success();
    });
    task.attach(ex);
    EXPECT_EQ(ex.run(1), 1);
    between(static_cast<monad_async_task>(task));
    ex.finish();
    return outcome;
}

// It is sticky: that call, and all that come after.
void expect_cancelled(Outcome const &outcome)
{
    EXPECT_EQ(outcome.first.error, ECANCELED);
    EXPECT_EQ(outcome.second.error, ECANCELED);
    EXPECT_EQ(outcome.third.error, ECANCELED);
}

// It had completed: its real result, and the next calls are cancelled.
void expect_cancelled_next(Outcome const &outcome, intptr_t value)
{
    EXPECT_EQ(outcome.first.error, 0);
    EXPECT_EQ(outcome.first.value, value);
    EXPECT_EQ(outcome.second.error, ECANCELED);
    EXPECT_EQ(outcome.third.error, ECANCELED);
}

} // namespace

TEST(Cancel, pending_launch_never_runs)
{
    Executor ex;
    bool ran = false;
    Task task([&](monad_async_task) { return ran = true, success(1); });
    task.attach(ex);
    EXPECT_EQ(cancel(ex, task), 0);
    while (!monad_async_task_has_exited(task)) {
        ex.poll();
    }
    EXPECT_FALSE(ran);
    EXPECT_EQ(task->result.error, ECANCELED);
    EXPECT_FALSE(monad_async_executor_has_work(ex));
    EXPECT_EQ(cancel(ex, task), ENOENT);
    task.attach(ex);
    ex.finish();
    EXPECT_TRUE(ran);
    EXPECT_EQ(task->result.value, 1);
}

TEST(Cancel, sleeping)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        for (uint64_t const ns : {3600000 * ms, UINT64_MAX}) {
            expect_cancelled(outcome_of(
                ex, [&](monad_async_task self) { return sleep_ns(self, ns); },
                [&](monad_async_task task) { EXPECT_EQ(cancel(ex, task), 0); }));
        }
    }
}

TEST(Cancel, slept_long_enough_and_not_resumed)
{
    Executor ex;
    expect_cancelled_next(outcome_of(
                              ex, [](monad_async_task self) { return sleep_ns(self, ms); },
                              [&](monad_async_task task) {
                                  spin_for(2 * ms);
                                  ex.run(0);
                                  EXPECT_TRUE(task->is_suspended_completed);
                                  EXPECT_EQ(cancel(ex, task), 0);
                              }),
                          0);
}

TEST(Cancel, yielded)
{
    Executor ex;
    expect_cancelled_next(outcome_of(
                              ex, [](monad_async_task self) { return yield(self); },
                              [&](monad_async_task task) { EXPECT_EQ(cancel(ex, task), 0); }),
                          0);
}

TEST(Cancel, operation_not_handed_to_the_kernel_yet)
{
    Executor ex;
    Pipe pipe;
    char byte;
    expect_cancelled(outcome_of(
        ex, [&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); },
        [&](monad_async_task task) { EXPECT_EQ(cancel(ex, task), 0); }));
}

TEST(Cancel, operation_in_flight_and_no_byte_is_lost)
{
    Executor ex;
    Pipe pipe;
    char byte = 0;
    expect_cancelled(outcome_of(
        ex, [&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); },
        [&](monad_async_task task) {
            ex.poll();
            EXPECT_TRUE(task->is_suspended_awaiting);
            EXPECT_EQ(cancel(ex, task), 0);
        }));
    EXPECT_EQ(write(pipe.writer, "y", 1), 1);
    EXPECT_EQ(read(pipe.reader, &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
}

TEST(Cancel, operation_completed_and_not_resumed)
{
    Executor ex;
    Pipe pipe;
    char bytes[8] = {};
    expect_cancelled_next(outcome_of(
                              ex,
                              [&](monad_async_task self) {
                                  return read_some(self, pipe.reader, bytes, sizeof bytes);
                              },
                              [&](monad_async_task task) {
                                  ex.poll();
                                  EXPECT_EQ(write(pipe.writer, "four", 4), 4);
                                  while (!task->is_suspended_completed) {
                                      ex.run(0);
                                  }
                                  EXPECT_EQ(cancel(ex, task), 0);
                              }),
                          4);
    EXPECT_EQ(std::string(bytes), "four");
}

// The data is there and the kernel may have given it to the operation: either outcome, but one,
// and the bytes are with the task or still in the pipe.
TEST(Cancel, operation_completing_at_that_moment)
{
    Executor ex;
    Pipe pipe;
    int read_count = 0, cancelled_count = 0;
    for (int i = 0; i < 2000; ++i) {
        char byte = 0;
        Outcome const outcome = outcome_of(
            ex, [&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); },
            [&](monad_async_task task) {
                if (i % 2 == 0) {
                    ex.poll();
                }
                ASSERT_EQ(write(pipe.writer, "z", 1), 1);
                ASSERT_EQ(cancel(ex, task), 0);
            });
        if (outcome.first.error == 0) {
            ASSERT_EQ(outcome.first.value, 1);
            ASSERT_EQ(byte, 'z');
            ++read_count;
        } else {
            ASSERT_EQ(outcome.first.error, ECANCELED);
            ASSERT_EQ(read(pipe.reader, &byte, 1), 1);
            ++cancelled_count;
        }
        ASSERT_EQ(outcome.second.error, ECANCELED);
        ASSERT_EQ(outcome.third.error, ECANCELED);
    }
    EXPECT_EQ(read_count + cancelled_count, 2000);
}

TEST(Cancel, joining)
{
    Executor ex;
    Task other([](monad_async_task self) { return sleep_ns(self, 5 * ms); });
    other.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    expect_cancelled(outcome_of(
        ex, [&](monad_async_task self) { return monad_async_task_join(self, other); },
        [&](monad_async_task task) { EXPECT_EQ(cancel(ex, task), 0); }));
    EXPECT_EQ(other->result.error, 0);
}

TEST(Cancel, itself_while_running)
{
    Executor ex;
    Outcome outcome{};
    Task task([&](monad_async_task self) {
        EXPECT_EQ(cancel(ex, self), 0);
        outcome.first = sleep_ns(self, UINT64_MAX);
        outcome.second = nop(self);
        outcome.third = yield(self);
        return success(9);
    });
    task.attach(ex);
    ex.finish();
    expect_cancelled(outcome);
    EXPECT_EQ(task->result.value, 9);
}

TEST(Cancel, itself_and_every_kind_of_call_until_it_is_taken_back)
{
    Executor ex;
    Pipe pipe;
    Task sleeper([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    sleeper.attach(ex);
    char byte;
    int yielded = -1, read_error = -1, joined = -1, parked = -1, after = -1;
    Task task([&](monad_async_task self) {
        EXPECT_FALSE(monad_async_task_cancel_requested(self));
        cancel(ex, self);
        EXPECT_TRUE(monad_async_task_cancel_requested(self));
        yielded = yield(self).error;
        read_error = read_some(self, pipe.reader, &byte, 1).error;
        joined = monad_async_task_join(self, sleeper).error;
        parked = monad_async_task_park(self).error;
        EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        EXPECT_EQ(monad_async_task_uncancel(self).value, 0);
        after = sleep_ns(self, 1).error;
        return success();
    });
    task.attach(ex);
    while (!monad_async_task_has_exited(task)) {
        ex.run();
    }
    EXPECT_EQ(yielded, ECANCELED);
    EXPECT_EQ(read_error, ECANCELED);
    EXPECT_EQ(joined, ECANCELED);
    EXPECT_EQ(parked, ECANCELED);
    EXPECT_EQ(after, 0);
    EXPECT_EQ(cancel(nullptr, sleeper), 0);
    ex.finish();
}

TEST(Cancel, of_the_last_run_does_not_reach_the_next)
{
    Executor ex;
    int error = -1;
    Task task([&](monad_async_task self) { return cancel(ex, self), success(); });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    task.body([&](monad_async_task self) { return error = sleep_ns(self, 1).error, success(); });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(error, 0);
}

TEST(Cancel, one_task_cancels_another)
{
    Executor ex;
    Task victim([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    Task killer([&](monad_async_task self) {
        auto const r = monad_async_task_cancel(ex, victim);
        return r.error != 0 ? r : monad_async_task_join(self, victim);
    });
    victim.attach(ex);
    killer.attach(ex);
    ex.finish();
    EXPECT_EQ(victim->result.error, ECANCELED);
    EXPECT_EQ(killer->result.error, ECANCELED);
}

TEST(Cancel, of_a_task_that_goes_on_regardless)
{
    Executor ex;
    int cancelled = 0;
    Task stubborn([&](monad_async_task self) {
        while (cancelled < 5) {
            cancelled += sleep_ns(self, UINT64_MAX).error == ECANCELED;
            EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        }
        return success();
    });
    stubborn.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(cancel(ex, stubborn), 0);
        EXPECT_EQ(ex.run(), 1);
    }
    EXPECT_EQ(stubborn->result.error, 0);
}

TEST(CancelElsewhere, sleeping_and_in_flight)
{
    Executor ex;
    Pipe pipe;
    char byte;
    Task sleeper([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    Task reader([&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); });
    sleeper.attach(ex);
    reader.attach(ex);
    std::thread killer([&] {
        timespec const pause{0, 5000000};
        nanosleep(&pause, nullptr);
        EXPECT_EQ(cancel(ex, sleeper), 0);
        nanosleep(&pause, nullptr);
        EXPECT_EQ(cancel(ex, reader), 0);
    });
    ex.finish();
    killer.join();
    EXPECT_EQ(sleeper->result.error, ECANCELED);
    EXPECT_EQ(reader->result.error, ECANCELED);
}

TEST(CancelElsewhere, pending_launch)
{
    Executor ex;
    bool ran = false;
    Task task([&](monad_async_task) { return ran = true, success(); });
    task.attach(ex);
    std::thread([&] { EXPECT_EQ(cancel(ex, task), 0); }).join();
    ex.finish();
    EXPECT_FALSE(ran);
    EXPECT_EQ(task->result.error, ECANCELED);
}

TEST(CancelElsewhere, not_attached_nothing_happens)
{
    Executor ex;
    Task task([](monad_async_task self) { return sleep_ns(self, 1); });
    std::thread([&] { cancel(ex, task); }).join();
    ex.poll();
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    std::thread([&] { cancel(ex, task); }).join();
    ex.poll();
    EXPECT_EQ(task->result.error, 0);
}

// A reader, a writer and a third who cancels: every byte written is read once, in order.
TEST(CancelElsewhere, race_with_completion_loses_no_byte)
{
    Executor ex;
    Pipe pipe;
    constexpr int total = 20000;
    int got = 0, cancelled = 0;
    std::atomic<bool> done{false};
    Task reader([&](monad_async_task self) {
        while (got < total) {
            unsigned char bytes[64];
            auto const r = read_some(self, pipe.reader, bytes, sizeof bytes);
            if (r.error == ECANCELED) {
                ++cancelled;
                EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
            } else if (r.error != 0) {
                return r;
            } else {
                for (int i = 0; i < r.value; ++i, ++got) {
                    EXPECT_EQ(bytes[i], static_cast<unsigned char>(got));
                }
            }
        }
        return success();
    });
    reader.attach(ex);
    EXPECT_EQ(ex.run(1), 1); // has begun: cancelled before, it would never run
    std::thread writer([&] {
        for (int i = 0; i < total; ++i) {
            auto const byte = static_cast<unsigned char>(i);
            EXPECT_EQ(write(pipe.writer, &byte, 1), 1);
        }
    });
    std::thread killer([&] {
        while (!done.load()) {
            cancel(ex, reader);
            // Without a pause a cancellation would always be there before the read is.
            timespec const pause{0, 20000};
            nanosleep(&pause, nullptr);
        }
    });
    ex.finish();
    done = true;
    writer.join();
    killer.join();
    EXPECT_EQ(got, total);
    EXPECT_EQ(reader->result.error, 0);
}

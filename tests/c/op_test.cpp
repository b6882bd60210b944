// Operations: records of which a task has any number in flight, and what they give back in which
// order.

#include "support.hpp"

#include <monad/async/op.h>
#include <monad/async/scope.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

using namespace support;

namespace {

using Op = monad_async_op;

int begin(monad_async_task self, Op &op)
{
    return monad_async_op_begin(self, &op).error;
}

monad_async_result wait(monad_async_task self, Op &op)
{
    return monad_async_op_wait(self, &op);
}

// The operation taken; NULL where there was an error.
Op *wait_any(monad_async_task self)
{
    Op *op = nullptr;
    EXPECT_EQ(monad_async_op_wait_any(self, &op).error, 0);
    return op;
}

int wait_any_error(monad_async_task self)
{
    Op *op = nullptr;
    int const error = monad_async_op_wait_any(self, &op).error;
    EXPECT_TRUE(error == 0 || op == nullptr);
    return error;
}

Op make_op(io_uring_sqe const &sqe)
{
    Op op{};
    op.sqe = sqe;
    return op;
}

Op make_read(int fd, void *to, size_t bytes)
{
    return make_op(
        make_sqe(IORING_OP_READ, fd, to, static_cast<uint32_t>(bytes), current_position));
}

void put(Pipe const &pipe, char byte)
{
    EXPECT_EQ(write(pipe.writer, &byte, 1), 1);
}

// Runs `body` as the only task of an executor, whose counters agree at the end.
void run_one(Body body, unsigned entries = 8)
{
    Executor ex(entries);
    Task task(std::move(body));
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

} // namespace

TEST(Op, begun_goes_on_and_waited_for_gives_the_result)
{
    Pipe pipe;
    run_one([&](monad_async_task self) {
        char bytes[4] = {};
        Op op = make_read(pipe.reader, bytes, sizeof bytes);
        op.user_ptr = &pipe;
        EXPECT_EQ(begin(self, op), 0);
        EXPECT_TRUE(op.is_in_flight);
        EXPECT_EQ(write(pipe.writer, "abc", 3), 3);
        auto const r = wait(self, op);
        EXPECT_EQ(r.error, 0);
        EXPECT_EQ(r.value, 3);
        EXPECT_EQ(op.result.value, 3);
        EXPECT_EQ(op.cqe_flags, 0u);
        EXPECT_FALSE(op.is_in_flight);
        EXPECT_EQ(op.user_ptr, &pipe);
        EXPECT_EQ(memcmp(bytes, "abc", 3), 0);
        // The same record again, and an error of the kernel's.
        op = make_read(-1, bytes, 1);
        EXPECT_EQ(begin(self, op), 0);
        EXPECT_EQ(wait(self, op).error, EBADF);
        EXPECT_EQ(op.result.error, EBADF);
        return success();
    });
}

TEST(Op, wait_any_takes_in_the_order_of_completion)
{
    constexpr size_t count = 4;
    Pipe pipes[count];
    run_one([&](monad_async_task self) {
        char bytes[count];
        Op ops[count];
        for (size_t i = 0; i < count; ++i) {
            ops[i] = make_read(pipes[i].reader, &bytes[i], 1);
            EXPECT_EQ(begin(self, ops[i]), 0);
        }
        // One at a time, so that the order is known; taken only when all are complete.
        size_t const order[count] = {2, 0, 3, 1};
        for (size_t const i : order) {
            EXPECT_EQ(sleep_ns(self, ms).error, 0);
            put(pipes[i], 'o');
            EXPECT_EQ(sleep_ns(self, ms).error, 0);
        }
        for (size_t const i : order) {
            EXPECT_EQ(wait_any(self), &ops[i]);
            EXPECT_EQ(ops[i].result.value, 1);
            EXPECT_FALSE(ops[i].is_in_flight);
        }
        EXPECT_EQ(wait_any_error(self), ENOENT);
        return success();
    });
}

TEST(Op, waited_for_by_name_leaves_the_order_of_the_others)
{
    constexpr size_t count = 4;
    Pipe pipes[count];
    run_one([&](monad_async_task self) {
        char bytes[count];
        Op ops[count];
        for (size_t i = 0; i < count; ++i) {
            ops[i] = make_read(pipes[i].reader, &bytes[i], 1);
            EXPECT_EQ(begin(self, ops[i]), 0);
        }
        for (size_t i = 0; i < count; ++i) {
            put(pipes[i], 'n');
            EXPECT_EQ(sleep_ns(self, ms).error, 0);
        }
        EXPECT_EQ(wait(self, ops[1]).value, 1);
        EXPECT_EQ(wait_any(self), &ops[0]);
        EXPECT_EQ(wait(self, ops[3]).value, 1);
        EXPECT_EQ(wait_any(self), &ops[2]);
        EXPECT_EQ(wait(self, ops[2]).error, ENOENT);
        return success();
    });
}

TEST(Op, refusals)
{
    Executor ex;
    Pipe pipe;
    char bytes[2];
    Op others{};
    Task other([&](monad_async_task self) {
        others = make_read(pipe.reader, bytes, 1);
        EXPECT_EQ(begin(self, others), 0);
        return wait(self, others);
    });
    other.attach(ex);
    run_until_suspended(ex, other);
    Task task([&](monad_async_task self) {
        Op op = make_read(pipe.reader, &bytes[1], 1);
        Op *any = nullptr;
        EXPECT_EQ(monad_async_op_begin(self, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_op_wait(self, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_op_wait_any(self, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_op_cancel(self, nullptr).error, EINVAL);
        EXPECT_EQ(begin(other, op), EPERM);
        EXPECT_EQ(wait(other, op).error, EPERM);
        EXPECT_EQ(monad_async_op_wait_any(other, &any).error, EPERM);
        EXPECT_EQ(monad_async_op_cancel(other, &op).error, EPERM);
        EXPECT_EQ(wait(self, op).error, ENOENT);
        EXPECT_EQ(wait_any_error(self), ENOENT);
        EXPECT_EQ(monad_async_op_cancel(self, &op).error, ENOENT);
        EXPECT_EQ(wait(self, others).error, EINVAL); // another task's
        EXPECT_EQ(begin(self, op), 0);
        EXPECT_EQ(begin(self, op), EBUSY);
        EXPECT_EQ(monad_async_op_cancel(self, &others).error, 0); // of the same executor: allowed
        EXPECT_EQ(monad_async_op_cancel(self, &op).error, 0);
        EXPECT_EQ(monad_async_op_cancel(self, &op).error, 0);
        EXPECT_EQ(wait(self, op).error, ECANCELED);
        return success();
    });
    Op outside = make_read(pipe.reader, bytes, 1);
    EXPECT_EQ(begin(task, outside), EPERM);
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(other->result.error, ECANCELED);
}

TEST(Op, entries_that_may_not_pass)
{
    run_one([](monad_async_task self) {
        auto const refused = [&](io_uring_sqe const &sqe) {
            Op op = make_op(sqe);
            EXPECT_EQ(begin(self, op), EINVAL);
            EXPECT_FALSE(op.is_in_flight);
            EXPECT_EQ(op.cqe_flags, 0u);
            EXPECT_EQ(do_io(self, sqe).error, EINVAL);
            EXPECT_EQ(monad_async_task_io_cqe_flags(self), 0u);
        };
        for (unsigned const flag :
             {IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_IO_DRAIN, IOSQE_CQE_SKIP_SUCCESS}) {
            auto sqe = make_sqe(IORING_OP_NOP);
            sqe.flags = static_cast<uint8_t>(flag);
            refused(sqe);
        }
        for (unsigned const opcode : {IORING_OP_POLL_REMOVE, IORING_OP_ASYNC_CANCEL,
                                      IORING_OP_TIMEOUT_REMOVE, IORING_OP_MSG_RING}) {
            refused(make_sqe(static_cast<uint8_t>(opcode)));
        }
        refused(make_sqe(255));
        auto accept = make_sqe(IORING_OP_ACCEPT);
        accept.ioprio = IORING_ACCEPT_MULTISHOT;
        refused(accept);
        return success();
    });
}

TEST(Op, compute_only_executor_has_none)
{
    run_one(
        [](monad_async_task self) {
            Op op = make_op(make_sqe(IORING_OP_NOP));
            EXPECT_EQ(begin(self, op), ENOTSUP);
            EXPECT_FALSE(op.is_in_flight);
            EXPECT_EQ(wait_any_error(self), ENOENT);
            return success();
        },
        0);
}

TEST(Op, more_than_the_ring_has_entries)
{
    constexpr size_t count = 500;
    run_one(
        [](monad_async_task self) {
            std::vector<Op> ops(count);
            for (auto &op : ops) {
                op = make_op(make_sqe(IORING_OP_NOP));
                EXPECT_EQ(begin(self, op), 0);
            }
            for (auto &op : ops) {
                EXPECT_TRUE(op.is_in_flight);
            }
            for (size_t i = 0; i < count; ++i) {
                Op *const op = wait_any(self);
                EXPECT_NE(op, nullptr);
                EXPECT_EQ(op->result.error, 0);
            }
            for (auto &op : ops) {
                EXPECT_FALSE(op.is_in_flight);
            }
            EXPECT_EQ(wait_any_error(self), ENOENT);
            return success();
        },
        2);
}

// The buffers are on the stack of the function that returns: it stays until the kernel let go.
TEST(Op, exit_with_operations_in_flight_cancels_and_awaits_them)
{
    for (unsigned const entries : {2u, 64u}) {
        constexpr size_t count = 16;
        Executor ex(entries);
        std::vector<Pipe> pipes(count);
        Task task([&](monad_async_task self) {
            char bytes[count];
            Op ops[count];
            for (size_t i = 0; i < count; ++i) {
                ops[i] = make_read(pipes[i].reader, &bytes[i], 1);
                EXPECT_EQ(begin(self, ops[i]), 0);
            }
            EXPECT_EQ(sleep_ns(self, ms).error, 0);
            return success(42);
        });
        Task joiner([&](monad_async_task self) { return monad_async_task_join(self, task); });
        task.attach(ex);
        joiner.attach(ex);
        ex.finish();
        EXPECT_EQ(task->result.error, 0);
        EXPECT_EQ(task->result.value, 42);
        EXPECT_EQ(joiner->result.value, 42);
        EXPECT_EQ(ex->total_io_submitted, count);
        EXPECT_EQ(ex->total_io_completed, count);
        for (auto &pipe : pipes) { // nobody reads there any more
            char byte = 0;
            put(pipe, 'e');
            EXPECT_EQ(read(pipe.reader, &byte, 1), 1);
        }
    }
}

TEST(Op, exit_is_published_when_the_last_operation_is_over)
{
    Executor ex;
    Pipe pipe;
    Task task([&](monad_async_task self) {
        char byte;
        Op op = make_read(pipe.reader, &byte, 1);
        EXPECT_EQ(begin(self, op), 0);
        EXPECT_EQ(sleep_ns(self, 1).error, 0);
        return success(1);
    });
    task.attach(ex);
    while (!monad_async_task_has_exited(task)) {
        if (!task->is_running && !task->is_pending_launch) {
            EXPECT_EQ(ex->tasks_suspended, 1u);
            EXPECT_TRUE(task->is_suspended_awaiting || task->is_suspended_completed);
            EXPECT_EQ(monad_async_task_attach(ex, task).error, EBUSY);
        }
        ex.poll();
    }
    EXPECT_EQ(ex->tasks_suspended, 0u);
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

TEST(Op, poll_stream)
{
    skip_without("multishot poll");
    Fd const event(eventfd(0, EFD_NONBLOCK));
    run_one([&](monad_async_task self) {
        Op op = make_op(make_sqe(IORING_OP_POLL_ADD, event, nullptr, IORING_POLL_ADD_MULTI));
        op.sqe.poll32_events = POLLIN;
        EXPECT_EQ(begin(self, op), 0);
        for (uint64_t i = 1; i <= 5; ++i) {
            EXPECT_EQ(write(event, &i, sizeof i), ssize_t{sizeof i});
            EXPECT_EQ(wait(self, op).value & POLLIN, POLLIN);
            EXPECT_NE(op.cqe_flags & IORING_CQE_F_MORE, 0u);
            EXPECT_TRUE(op.is_in_flight);
            uint64_t got = 0;
            EXPECT_EQ(read(event, &got, sizeof got), ssize_t{sizeof got});
            EXPECT_EQ(got, i);
        }
        // Several before the first was taken are one.
        for (uint64_t i = 1; i <= 3; ++i) {
            EXPECT_EQ(write(event, &i, sizeof i), ssize_t{sizeof i});
            EXPECT_EQ(sleep_ns(self, ms).error, 0);
        }
        EXPECT_EQ(wait_any(self), &op);
        EXPECT_EQ(op.result.value & POLLIN, POLLIN);
        EXPECT_TRUE(op.is_in_flight);
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        EXPECT_EQ(wait(self, op).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        // Its last completion has no MORE.
        EXPECT_EQ(monad_async_op_cancel(self, &op).error, 0);
        EXPECT_EQ(wait(self, op).error, ECANCELED);
        EXPECT_EQ(op.cqe_flags & IORING_CQE_F_MORE, 0u);
        EXPECT_FALSE(op.is_in_flight);
        EXPECT_EQ(wait(self, op).error, ENOENT);
        return success();
    });
}

TEST(Op, cancelled_in_each_state)
{
    Pipe pipe;
    run_one(
        [&](monad_async_task self) {
            char bytes[8];
            // In the submission queue, in the queue behind it, and in the kernel.
            for (bool const in_the_kernel : {false, true}) {
                Op ops[8];
                for (size_t i = 0; i < 8; ++i) {
                    ops[i] = make_read(pipe.reader, &bytes[i], 1);
                    EXPECT_EQ(begin(self, ops[i]), 0);
                }
                if (in_the_kernel) {
                    EXPECT_EQ(sleep_ns(self, ms).error, 0);
                }
                for (auto &op : ops) {
                    EXPECT_EQ(monad_async_op_cancel(self, &op).error, 0);
                    EXPECT_TRUE(op.is_in_flight); // until it is taken
                }
                for (auto &op : ops) {
                    EXPECT_EQ(wait(self, op).error, ECANCELED);
                    EXPECT_EQ(op.cqe_flags, 0u);
                    EXPECT_EQ(monad_async_op_cancel(self, &op).error, ENOENT);
                }
            }
            // Complete already: its real result.
            put(pipe, 'c');
            Op op = make_read(pipe.reader, bytes, 1);
            EXPECT_EQ(begin(self, op), 0);
            EXPECT_EQ(sleep_ns(self, ms).error, 0);
            EXPECT_EQ(monad_async_op_cancel(self, &op).error, 0);
            EXPECT_EQ(wait(self, op).value, 1);
            EXPECT_EQ(bytes[0], 'c');
            return success();
        },
        2);
}

TEST(Op, cancelled_wait_leaves_it_in_flight)
{
    Executor ex;
    Pipe pipe;
    char byte = 0;
    Task task([&](monad_async_task self) {
        Op op = make_read(pipe.reader, &byte, 1);
        EXPECT_EQ(begin(self, op), 0);
        EXPECT_EQ(wait(self, op).error, ECANCELED);
        EXPECT_TRUE(op.is_in_flight);
        EXPECT_EQ(wait_any_error(self), ECANCELED);
        Op late = make_op(make_sqe(IORING_OP_NOP)); // may still begin
        EXPECT_EQ(begin(self, late), 0);
        EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
        EXPECT_EQ(wait(self, late).error, 0);
        put(pipe, 'w');
        EXPECT_EQ(wait_any(self), &op);
        EXPECT_EQ(op.result.value, 1);
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    EXPECT_EQ(byte, 'w');
}

TEST(Op, task_io_goes_on_among_operations)
{
    Pipe pipe;
    run_one(
        [&](monad_async_task self) {
            char byte = 0;
            Op op = make_read(pipe.reader, &byte, 1);
            EXPECT_EQ(begin(self, op), 0);
            for (int i = 0; i < 100; ++i) {
                EXPECT_EQ(nop(self).error, 0);
            }
            EXPECT_EQ(write_some(self, pipe.writer, "t", 1).value, 1);
            EXPECT_EQ(wait_any(self), &op);
            EXPECT_EQ(byte, 't');
            return success();
        },
        2);
}

// The child of a task that forked returns from it with an operation in flight: that is the parent's,
// as the ring is, and goes on.
TEST(Op, of_a_task_that_forked_is_the_parents)
{
    skip_without("multishot poll");
    Executor ex(8);
    Pipe pipe;
    pid_t child = -1;
    Task task([&](monad_async_task self) {
        monad_async_op op{};
        // A stream: an ECANCELED that nobody asked for ends it, and shows.
        op.sqe = make_sqe(IORING_OP_POLL_ADD, pipe.reader);
        op.sqe.poll32_events = POLLIN;
        op.sqe.len = IORING_POLL_ADD_MULTI;
        EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        EXPECT_EQ(sleep_ns(self, ms).error, 0); // It is the kernel's by then.
        child = fork();
        if (child == 0) {
            return success(); // As its body does, not knowing better.
        }
        int status = -1;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
        EXPECT_EQ(sleep_ns(self, ms).error, 0); // What the child left in the ring would go now.
        EXPECT_EQ(write(pipe.writer, "x", 1), 1);
        auto const r = monad_async_op_wait(self, &op);
        EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
        EXPECT_EQ(r.value, POLLIN);
        return success();
    });
    task.attach(ex);
    while (monad_async_executor_has_work(ex)) {
        auto const r = monad_async_executor_run(ex, no_bound, nullptr);
        if (child == 0) {
            _exit(r.error == EPERM ? 0 : 1);
        }
        ASSERT_EQ(r.error, 0);
    }
}

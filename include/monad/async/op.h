#ifndef MONAD_ASYNC_OP_H
#define MONAD_ASYNC_OP_H

/** @file op.h
 *  Operations: records in the caller's memory, of which a task may have any number in flight.
 *
 *  `monad_async_task_io` is the shortest way: one operation, suspended until it is over. Here the
 *  two halves are apart: `monad_async_op_begin` does not suspend, `monad_async_op_wait` and
 *  `monad_async_op_wait_any` do.
 *
 *  @verbatim
            begin                  the kernel                wait, wait_any
      idle -------> in flight ------------------> complete ----------------> idle again
                        |                                        (the last completion was taken)
                        `-- op_cancel, the task's exit: asks the kernel; the one outcome arrives
                            as any completion does
    @endverbatim
 *
 *  An operation belongs to the task that began it, and is in flight until its last completion has
 *  been taken. Until then the record must neither move nor be freed, and what the entry refers to
 *  must live. A task that returns with operations in flight has them cancelled and awaited before
 *  its exit is published; its stack stays as it was until then. But where the run has locals
 *  (task_local.h), or its body is a callable of the C++ API, destructors are called on that stack
 *  when it has returned: the records, and what their entries refer to, then lie elsewhere than in
 *  the frames that it has left.
 *
 *  @snippet operations.c four reads at once
 *
 *  The words OWNER'S THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/* The kernel's header ends the entry with an array of no size, which ISO C++ does not know. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
/** An operation. Zero all of it first. */
typedef struct monad_async_op {
    /** What to do: yours to fill while idle; not to be touched while in flight. `user_data` is the
     *  library's; `ioprio` of reads and writes too, where it is 0. */
    struct io_uring_sqe sqe;
    /** What the completion that was taken last brought, as the result of `monad_async_task_io`. */
    monad_async_result result;
    /** `IORING_CQE_F_*` of that completion; 0 where there was none. */
    uint32_t cqe_flags;
    /** Read-only: begun, and its last completion not taken yet. */
    bool is_in_flight;
    /** The library's. */
    uint8_t reserved_bytes[3];
    /** Yours. */
    void *user_ptr;
    /** The library's. */
    uint64_t reserved[12];
} monad_async_op;
#pragma GCC diagnostic pop

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(monad_async_op, sqe, 0);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_op, result, 64);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_op, cqe_flags, 80);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_op, is_in_flight, 84);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_op, user_ptr, 88);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_op, reserved, 96);
MONAD_ASYNC_ASSERT_SIZE(monad_async_op, 192);
/** @endcond */

/** Begins an operation; the task goes on. Does not suspend, no system call, no malloc: it goes into
 *  the submission queue, or, if that is full, waits for room in the queue of the task's I/O
 *  priority. The kernel has it at the latest when `monad_async_executor_run` next asks it or
 *  returns. A task that was cancelled may begin operations still.
 *
 *  A **stream** is a multishot operation: `IORING_OP_POLL_ADD` with `IORING_POLL_ADD_MULTI`, or one
 *  that takes a buffer of a ring for each completion: buffer.h. Each of its completions is handed
 *  out by the waits, the last one without `IORING_CQE_F_MORE`; completions of a poll that come
 *  before the earlier one was taken are one, with the events of all.
 *  @param task the task that runs, which is the caller
 *  @param op an idle operation with `sqe` filled in
 *  @retval 0 begun
 *  @retval EBUSY in flight already
 *  @retval EINVAL NULL, or an entry that may not pass: links, drains, CQE-skip, multishot other
 *  than the above, an opcode that names another operation (`IORING_OP_ASYNC_CANCEL`), sends
 *  completions elsewhere (`IORING_OP_MSG_RING`), or is not known to this version
 *  @retval ENOTSUP a compute-only executor
 *  @retval EOPNOTSUPP an opcode that the kernel lacks
 *  @retval EPERM not the running task, or another thread; or filled in for a direct descriptor, or
 *  a write to an ordered file, of another executor
 *  @see monad_async_op_wait(), monad_async_op_wait_any(), monad_async_op_cancel() */
MONAD_ASYNC_API monad_async_result monad_async_op_begin(monad_async_task task,
                                                        monad_async_op *op) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS until an operation has a completion, and takes it. If it has one already: at once. A
 *  wait that is cancelled or times out leaves the operation in flight.
 *  @param task the task that runs, which is the caller
 *  @param op an operation that it began
 *  @return the completion's `res`, or its errno, as `monad_async_task_io`; `op->result` holds it
 *  too
 *  @retval ECANCELED the task or a scope was cancelled, and `op->is_in_flight` is still true; or
 *  the operation was, by `monad_async_op_cancel`
 *  @retval ETIME a scope's deadline passed
 *  @retval ENOENT not in flight
 *  @retval EINVAL NULL, or another task's
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_op_begin() */
MONAD_ASYNC_API monad_async_result monad_async_op_wait(monad_async_task task, monad_async_op *op);

/** SUSPENDS until any of the task's operations has a completion, and takes it, in the order of
 *  completion. If one has already: at once. O(1), and O(streams of buffer.h): what those bring is
 *  for `monad_async_recv_stream_next` alone.
 *  @param task the task that runs, which is the caller
 *  @param[out] op whose completion was taken; its outcome is in `result` and `cqe_flags`
 *  @retval 0 taken
 *  @retval ENOENT none but streams of buffer.h is in flight
 *  @retval ECANCELED the task or a scope was cancelled; none was taken
 *  @retval ETIME a scope's deadline passed; none was taken
 *  @retval EINVAL NULL
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_op_begin() */
MONAD_ASYNC_API monad_async_result monad_async_op_wait_any(monad_async_task task,
                                                           monad_async_op **op);

/** SUSPENDS until an operation is over, which is cancelled first, whatever scopes have fired: the
 *  clean-up that `monad_async_op_cancel` and waits in a shield would be. Nobody takes what it
 *  brings; buffers of a ring (buffer.h) go back.
 *  @param task the task that runs, which is the caller
 *  @param op an operation that it began; not in flight: nothing happens
 *  @retval 0 over
 *  @retval EINVAL NULL, or another task's
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_op_cancel() */
MONAD_ASYNC_API monad_async_result monad_async_op_end(monad_async_task task, monad_async_op *op);

/** Asks the kernel to end an operation. Does not suspend. Its one outcome, `ECANCELED` or the real
 *  result, is to be waited for as ever. Asked already, or complete: nothing happens.
 *  @param task the task that runs, which is the caller
 *  @param op an operation of a task of the same executor
 *  @retval 0 asked
 *  @retval ENOENT not in flight
 *  @retval EINVAL NULL
 *  @retval EPERM not the running task, or the operation of another executor's task
 *  @see monad_async_op_end(), monad_async_task_cancel() */
MONAD_ASYNC_API monad_async_result monad_async_op_cancel(monad_async_task task,
                                                         monad_async_op *op) MONAD_ASYNC_NOEXCEPT;

/** @cond what the functions of other headers that fill an operation share */
#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/* Word by word, as it is read again at once: a load that is wider than the stores it reads from
   waits until they have left the store buffer. Not by way of an array, which is copied in pairs of
   words that were just written one by one. */
static inline void monad_async_op_fill_word(monad_async_op *op, size_t n, uint64_t word)
{
    memcpy((unsigned char *)&op->sqe + n * sizeof word, &word, sizeof word);
}

/* `flags`: those of a handle, whose bit 31 says that it is direct, and bits 16 to 28 which executor
   knows it, as `user_data` then does. Opcode, IOSQE_FIXED_FILE and descriptor are the first
   word. */
static inline void monad_async_op_fill(monad_async_op *op, uint8_t opcode, int32_t fd,
                                       uint32_t flags, void const *address, uint64_t offset,
                                       size_t length)
{
    monad_async_op_fill_word(op, 0,
                             opcode | (uint64_t)(flags >> 31) << 8 | (uint64_t)(uint32_t)fd << 32);
    monad_async_op_fill_word(op, 1, offset);
    monad_async_op_fill_word(op, 2, (uint64_t)(uintptr_t)address);
    monad_async_op_fill_word(op, 3, length < 0x7ffff000u ? length : 0x7ffff000u);
    for (size_t n = 4; n < 8; ++n) {
        monad_async_op_fill_word(op, n, 0);
    }
    if (flags >> 31 != 0) {
        monad_async_op_fill_word(op, 4, flags & 0x9fff0000u);
    }
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif
/** @endcond */

MONAD_ASYNC_EXTERN_C_END

#endif

#ifndef MONAD_ASYNC_POLL_H
#define MONAD_ASYNC_POLL_H

/** @file poll.h
 *  Waiting for events of a descriptor that others read and write.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "op.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Waits for events of a descriptor, as `poll` of one without a time-out. SUSPENDS.
 *  @param task the task that runs
 *  @param fd any descriptor that can be polled
 *  @param events `POLLIN` and so on
 *  @return which of them there are, and `POLLERR`, `POLLHUP`; a file of a disk has all at once
 *  @retval EBADF no such descriptor
 *  @retval ECANCELED the task or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EINVAL NULL, or events that this version does not know
 *  @retval ENOTSUP a compute-only executor
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_op_poll() */
MONAD_ASYNC_API monad_async_result monad_async_poll(monad_async_task task, int fd, uint32_t events);

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** Fills an idle operation with a poll. ANY THREAD. Its result is the events there are.
 *  @param[out] op the operation
 *  @param fd any descriptor that can be polled
 *  @param events `POLLIN` and so on
 *  @see monad_async_poll(), monad_async_op_begin() */
static inline void monad_async_op_poll(monad_async_op *op, int fd, uint32_t events)
{
    monad_async_op_fill(op, IORING_OP_POLL_ADD, fd, 0, NULL, 0, 0);
    op->sqe.poll32_events = events;
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

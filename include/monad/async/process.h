#ifndef MONAD_ASYNC_PROCESS_H
#define MONAD_ASYNC_PROCESS_H

/** @file process.h
 *  Waiting for processes and signals.
 *
 *  `SIGCHLD` stays the program's own: no handler is installed, and no process is reaped but the one
 *  that is waited for.
 *
 *  The words OWNER'S THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "op.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/select.h> /* sigset_t, in ISO C too */

MONAD_ASYNC_EXTERN_C_BEGIN

/** How a child ended: what matters of a `siginfo_t`, which ISO C does not have. */
typedef struct monad_async_process_info {
    /** The child. */
    int32_t pid;
    /** `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED`. */
    int32_t code;
    /** What it exited with, or the signal's number. */
    int32_t status;
    /** Its real user. */
    uint32_t user;
} monad_async_process_info;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_process_info, 16);
/** @endcond */

/** Waits for a child and reaps it, as `waitid` with `P_PID` and `WEXITED`. SUSPENDS until it has
 *  ended. EXPENSIVE. Interrupted, it has reaped nothing. Where the kernel has no descriptors of
 *  processes (Linux 5.3; valgrind hides them), or none is left, it looks at the child, at first
 *  after 0.1 ms, then at pauses twice as long each, up to 20 ms; so it does where the child has
 *  ended and another process that traces it has not let it go. Where `SIGCHLD` is ignored, or has
 *  `SA_NOCLDWAIT`, the kernel reaps the child: then this waits for its end too, but returns
 *  `ECHILD`, or `ESRCH` if it had ended before; how is lost.
 *  @param task the task that runs, which is the caller
 *  @param pid a child of this process
 *  @param[out] info how it ended; untouched on an error
 *  @retval 0 reaped
 *  @retval ECHILD not a child, or reaped already, by the kernel too
 *  @retval ESRCH there is no such process
 *  @retval ECANCELED the task or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EINVAL NULL, or no such number
 *  @retval ENOTSUP a compute-only executor
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_signal_wait(), monad_async_op_process_wait() */
MONAD_ASYNC_API monad_async_result monad_async_process_wait(monad_async_task task, int32_t pid,
                                                            monad_async_process_info *info);

/** Waits for a signal and takes it, as `sigwaitinfo`. SUSPENDS until one of the set is pending for
 *  the process or the executor's thread. EXPENSIVE. Interrupted, it has taken none.
 *  @param task the task that runs, which is the caller
 *  @param set signals that every thread of the process has blocked: else they take the usual way
 *  @return the signal's number
 *  @retval ECANCELED the task or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EMFILE, ENFILE, ENOMEM no descriptor is left
 *  @retval EINVAL NULL
 *  @retval ENOTSUP a compute-only executor
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_process_wait() */
MONAD_ASYNC_API monad_async_result monad_async_signal_wait(monad_async_task task,
                                                           sigset_t const *set);

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** Fills an idle operation with a `waitid` of one process. ANY THREAD. Linux 6.7.
 *  @param[out] op the operation
 *  @param pid a child of this process
 *  @param info a `siginfo_t`, which ISO C does not have, or NULL: how it ended goes there
 *  @param options `WEXITED` and so on
 *  @see monad_async_process_wait(), monad_async_op_begin() */
static inline void monad_async_op_process_wait(monad_async_op *op, int32_t pid, void *info,
                                               int options)
{
    uint64_t const at = (uint64_t)(uintptr_t)info;
    /* IORING_OP_WAITID, P_PID: older headers lack the one, ISO C the other. */
    monad_async_op_fill(op, 50, pid, 0, NULL, at, 1);
    op->sqe.file_index = (uint32_t)options;
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

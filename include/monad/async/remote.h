#ifndef MONAD_ASYNC_REMOTE_H
#define MONAD_ASYNC_REMOTE_H

/** @file remote.h
 *  A counted reference to an executor, for other threads, that may outlive it.
 *
 *  The functions of executor.h and task.h that ANY THREAD may call need an executor that lives
 *  until they return. A reference needs no such care: once the executor is gone its calls return
 *  `ESHUTDOWN`, and nothing happens.
 *
 *  The words ANY THREAD, OWNER'S THREAD and EXPENSIVE are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "result.h"
#include "task.h"

MONAD_ASYNC_EXTERN_C_BEGIN

struct monad_async_remote_reference;
/** A counted reference to an executor. */
typedef struct monad_async_remote_reference *monad_async_remote;

/** Takes a reference. OWNER'S THREAD. EXPENSIVE: the first one of an executor allocates.
 *  @param ex the executor
 *  @param[out] remote the reference; untouched on an error
 *  @retval 0 taken
 *  @retval ENOMEM no memory
 *  @retval EINVAL NULL
 *  @retval EPERM another thread
 *  @see monad_async_remote_release() */
MONAD_ASYNC_API monad_async_result monad_async_remote_acquire(
    monad_async_executor ex, monad_async_remote *remote) MONAD_ASYNC_NOEXCEPT;

/** Takes another reference to the same executor. ANY THREAD that holds one. One atomic addition.
 *  @param remote a reference, or NULL
 *  @return `remote`
 *  @see monad_async_remote_release() */
MONAD_ASYNC_API monad_async_remote monad_async_remote_retain(monad_async_remote remote)
    MONAD_ASYNC_NOEXCEPT;

/** Gives a reference back; the last frees it. ANY THREAD.
 *  @param remote a reference, or NULL
 *  @see monad_async_remote_acquire() */
MONAD_ASYNC_API void monad_async_remote_release(monad_async_remote remote) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_task_attach`. ANY THREAD. Lock-free.
 *  @param remote a reference
 *  @param task an idle task whose `user_code` is set; must live until it has exited
 *  @retval 0 launched
 *  @retval ESHUTDOWN the executor is gone, or `~executor` has begun on another thread; the task is
 *  idle and its result what it was, its ticks may be those of this attempt, and who joined the run
 *  that came to nothing gets `ESRCH`
 *  @retval EBUSY it is attached
 *  @retval EINVAL NULL, or no `user_code`
 *  @retval EPERM after `fork`
 *  @see monad_async_task_attach() */
MONAD_ASYNC_API monad_async_result
monad_async_remote_attach(monad_async_remote remote, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_task_cancel`. ANY THREAD. Lock-free.
 *  @param remote a reference
 *  @param task the task; must outlive the call
 *  @retval 0 asked
 *  @retval ENOENT not attached there
 *  @retval ESHUTDOWN the executor is gone
 *  @retval EINVAL NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_task_cancel() */
MONAD_ASYNC_API monad_async_result
monad_async_remote_cancel(monad_async_remote remote, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_executor_wake`. ANY THREAD; async-signal-safe.
 *  @param remote a reference
 *  @retval 0 woken
 *  @retval ESHUTDOWN the executor is gone
 *  @retval EINVAL NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_executor_wake() */
MONAD_ASYNC_API monad_async_result monad_async_remote_wake(monad_async_remote remote)
    MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

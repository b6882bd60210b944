#ifndef MONAD_ASYNC_SEMAPHORE_H
#define MONAD_ASYNC_SEMAPHORE_H

/** @file semaphore.h
 *  A counting semaphore.
 *
 *  Who waits is served by CPU priority, then in order: who wants many permits is not passed by
 *  who wants few at the same priority, nor at a lower one. A waiter that is cancelled takes none.
 *
 *  @snippet locks.c a semaphore
 *
 *  Two forms: `monad_async_semaphore` is for every task of every executor, and for threads
 *  outside tasks, which give NULL for the task and block. `monad_async_local_semaphore` is for
 *  the tasks of one executor, the one that uses it first; it does without atomics, and elsewhere
 *  every call is `EPERM`.
 *
 *  An object is its memory: set it up by the initialiser, keep it in place while anybody uses it,
 *  and let it go. Nothing is allocated. A call on an object that is NULL is `EINVAL`.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A counting semaphore, for every thread. Its content is the library's. */
typedef struct monad_async_semaphore {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_semaphore;

/** Initialises one: `monad_async_semaphore x = MONAD_ASYNC_SEMAPHORE_INIT(3);`. */
#define MONAD_ASYNC_SEMAPHORE_INIT(permits) {{0, (permits)}}

/** A counting semaphore, for the tasks of one executor. Its content is the library's. */
typedef struct monad_async_local_semaphore {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_local_semaphore;

/** Initialises one: `monad_async_local_semaphore x = MONAD_ASYNC_LOCAL_SEMAPHORE_INIT(3);`. */
#define MONAD_ASYNC_LOCAL_SEMAPHORE_INIT(permits) {{0, (permits)}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_semaphore, 64);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_semaphore, 64);
/** @endcond */

/** Takes permits, all of them at once. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param semaphore which
 *  @param count how many; 0: done at once
 *  @retval 0 done
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EDEADLK NULL for the task inside a task, which must not block its executor
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_semaphore_release() */
MONAD_ASYNC_API monad_async_result monad_async_semaphore_acquire(
    monad_async_task task, monad_async_semaphore *semaphore, uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** Takes permits, until a time. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param semaphore which
 *  @param count how many; 0: done at once
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME too late; none was taken; or a scope's deadline passed
 *  @retval ECANCELED, EDEADLK as `monad_async_semaphore_acquire`
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_semaphore_acquire(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result
monad_async_semaphore_acquire_until(monad_async_task task, monad_async_semaphore *semaphore,
                                    uint64_t count, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Takes permits if they are there and nobody waits. ANY THREAD. Does not suspend.
 *  @param semaphore which
 *  @param count how many; 0: done, even if others wait
 *  @retval 0 done
 *  @retval EAGAIN they are not, or others wait
 *  @retval EINVAL NULL
 *  @see monad_async_semaphore_acquire() */
MONAD_ASYNC_API monad_async_result monad_async_semaphore_try_acquire(
    monad_async_semaphore *semaphore, uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** Gives permits, which need not have been taken. ANY THREAD. Does not suspend. O(those who go on).
 *  @param semaphore which
 *  @param count how many
 *  @retval 0 done
 *  @retval EOVERFLOW more than 64 bits count; nothing changed
 *  @retval EINVAL NULL
 *  @see monad_async_semaphore_acquire() */
MONAD_ASYNC_API monad_async_result monad_async_semaphore_release(
    monad_async_semaphore *semaphore, uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_semaphore_acquire`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param semaphore which
 *  @param count how many
 *  @return as `monad_async_semaphore_acquire`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_semaphore_acquire() */
MONAD_ASYNC_API monad_async_result
monad_async_local_semaphore_acquire(monad_async_task task, monad_async_local_semaphore *semaphore,
                                    uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_semaphore_acquire_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param semaphore which
 *  @param count how many
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_semaphore_acquire_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_semaphore_acquire_until() */
MONAD_ASYNC_API monad_async_result monad_async_local_semaphore_acquire_until(
    monad_async_task task, monad_async_local_semaphore *semaphore, uint64_t count,
    uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_semaphore_try_acquire`, for the tasks of one executor.
 *  @param semaphore which
 *  @param count how many
 *  @return as `monad_async_semaphore_try_acquire`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_semaphore_try_acquire() */
MONAD_ASYNC_API monad_async_result monad_async_local_semaphore_try_acquire(
    monad_async_local_semaphore *semaphore, uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_semaphore_release`, for the tasks of one executor.
 *  @param semaphore which
 *  @param count how many
 *  @return as `monad_async_semaphore_release`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_semaphore_release() */
MONAD_ASYNC_API monad_async_result monad_async_local_semaphore_release(
    monad_async_local_semaphore *semaphore, uint64_t count) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

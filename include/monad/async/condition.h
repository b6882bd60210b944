#ifndef MONAD_ASYNC_CONDITION_H
#define MONAD_ASYNC_CONDITION_H

/** @file condition.h
 *  A condition variable, for a mutex of the same form.
 *
 *  Who is notified is woken when it has the mutex again: of many that are notified none is woken
 *  in vain. Once notified, a waiter returns 0, whatever fires after that; a notification is never
 *  lost in a cancel. There are no spurious wake-ups. Always with the same mutex while anybody
 *  waits.
 *
 *  @snippet locks.c a condition
 *
 *  Two forms: `monad_async_condition` is for every task of every executor, and for threads
 *  outside tasks, which give NULL for the task and block. `monad_async_local_condition` is for
 *  the tasks of one executor, the one that uses it first; it does without atomics, and elsewhere
 *  every call is `EPERM`.
 *
 *  An object is its memory: set it up by the initialiser, or with zeros as `calloc` does, keep
 *  it in place while anybody uses it, and let it go. Nothing is allocated. A call on an object that
 *  is NULL is `EINVAL`.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "mutex.h"
#include "result.h"
#include "task.h"

#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A condition variable, for a mutex of the same form, for every thread. Its content is the
 *  library's. */
typedef struct monad_async_condition {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_condition;

/** Initialises one: `monad_async_condition x = MONAD_ASYNC_CONDITION_INIT;`. */
#define MONAD_ASYNC_CONDITION_INIT {{0}}

/** A condition variable, for a mutex of the same form, for the tasks of one executor. Its content
 *  is the library's. */
typedef struct monad_async_local_condition {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_local_condition;

/** Initialises one: `monad_async_local_condition x = MONAD_ASYNC_LOCAL_CONDITION_INIT;`. */
#define MONAD_ASYNC_LOCAL_CONDITION_INIT {{0}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_condition, 64);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_condition, 64);
/** @endcond */

/** Unlocks the mutex, waits to be notified, locks the mutex again. ANY THREAD. SUSPENDS; a thread
 *  blocks. Whatever is returned but `EPERM`, `EINVAL` and `EDEADLK`, the mutex is the caller's.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param condition which
 *  @param mutex the caller's
 *  @retval 0 done
 *  @retval EPERM the mutex is not the caller's
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EDEADLK NULL for the task inside a task, which must not block its executor
 *  @retval EINVAL NULL
 *  @see monad_async_condition_notify_one(), monad_async_mutex_lock() */
MONAD_ASYNC_API monad_async_result
monad_async_condition_wait(monad_async_task task, monad_async_condition *condition,
                           monad_async_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** Waits to be notified as `monad_async_condition_wait`, until a time. ANY THREAD. SUSPENDS; a
 *  thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param condition which
 *  @param mutex the caller's
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME nobody notified the caller before; the mutex is locked again; or a scope's
 *  deadline passed
 *  @retval EPERM, ECANCELED, EDEADLK as `monad_async_condition_wait`
 *  @retval EINVAL NULL
 *  @see monad_async_condition_wait(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result
monad_async_condition_wait_until(monad_async_task task, monad_async_condition *condition,
                                 monad_async_mutex *mutex, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Notifies the first who waits. ANY THREAD. Does not suspend.
 *  @param condition which
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @see monad_async_condition_notify_all() */
MONAD_ASYNC_API monad_async_result
monad_async_condition_notify_one(monad_async_condition *condition) MONAD_ASYNC_NOEXCEPT;

/** Notifies all who wait. ANY THREAD. Does not suspend. O(waiters).
 *  @param condition which
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @see monad_async_condition_notify_one() */
MONAD_ASYNC_API monad_async_result
monad_async_condition_notify_all(monad_async_condition *condition) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_condition_wait`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param condition which
 *  @param mutex the caller's
 *  @return as `monad_async_condition_wait`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_condition_wait() */
MONAD_ASYNC_API monad_async_result
monad_async_local_condition_wait(monad_async_task task, monad_async_local_condition *condition,
                                 monad_async_local_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_condition_wait_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param condition which
 *  @param mutex the caller's
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_condition_wait_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_condition_wait_until() */
MONAD_ASYNC_API monad_async_result monad_async_local_condition_wait_until(
    monad_async_task task, monad_async_local_condition *condition, monad_async_local_mutex *mutex,
    uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_condition_notify_one`, for the tasks of one executor.
 *  @param condition which
 *  @return as `monad_async_condition_notify_one`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_condition_notify_one() */
MONAD_ASYNC_API monad_async_result
monad_async_local_condition_notify_one(monad_async_local_condition *condition) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_condition_notify_all`, for the tasks of one executor.
 *  @param condition which
 *  @return as `monad_async_condition_notify_all`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_condition_notify_all() */
MONAD_ASYNC_API monad_async_result
monad_async_local_condition_notify_all(monad_async_local_condition *condition) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

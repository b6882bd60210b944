#ifndef MONAD_ASYNC_MUTEX_H
#define MONAD_ASYNC_MUTEX_H

/** @file mutex.h
 *  A mutex: one task, or thread, has it at a time.
 *
 *  Who waits is served by CPU priority, then in order, and owns the mutex before it is woken. A
 *  waiter that is cancelled, or whose scope ends, does not get it. Who has it may suspend, and
 *  must unlock it itself.
 *
 *  @snippet locks.c a mutex
 *
 *  Two forms: `monad_async_mutex` is for every task of every executor, and for threads outside
 *  tasks, which give NULL for the task and block. `monad_async_local_mutex` is for the tasks of
 *  one executor, the one that uses it first; it does without atomics, and elsewhere every call is
 *  `EPERM`.
 *
 *  An object is its memory: set it up by the initialiser, or with zeros as `calloc` does, keep
 *  it in place while anybody uses it, and let it go. Nothing is allocated. A call on an object that
 *  is NULL is `EINVAL`.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A flag of `monad_async_mutex_init`, for debugging: who is about to wait, and would close a cycle
 *  of up to 64 tasks and threads that wait for each other, on whatever executors, is refused with
 *  `EDEADLK`, and one line on standard error names each of them. All mutexes of the cycle must have
 *  it. A wait costs two locks of the process more, and for each link of the chain a look through
 *  all that wait for such mutexes. Who waits to get a mutex back from a condition is seen on the
 *  same executor alone; whose wait has just ended by a deadline or a cancel, on another one, may be
 *  taken for one that still waits. */
#define MONAD_ASYNC_MUTEX_CHECKED 1u

/** A mutex, for every thread. Its content is the library's. */
typedef struct monad_async_mutex {
    /** The library's. */
    uint64_t reserved[11];
} monad_async_mutex;

/** Initialises one: `monad_async_mutex x = MONAD_ASYNC_MUTEX_INIT;`. */
#define MONAD_ASYNC_MUTEX_INIT {{0}}
/** An unlocked one that looks for cycles: see `MONAD_ASYNC_MUTEX_CHECKED`. */
#define MONAD_ASYNC_MUTEX_INIT_CHECKED {{0, 0, 0, 0, 0, 0, 0, 0, 1}}

/** A mutex, for the tasks of one executor. Its content is the library's. */
typedef struct monad_async_local_mutex {
    /** The library's. */
    uint64_t reserved[11];
} monad_async_local_mutex;

/** Initialises one: `monad_async_local_mutex x = MONAD_ASYNC_LOCAL_MUTEX_INIT;`. */
#define MONAD_ASYNC_LOCAL_MUTEX_INIT {{0}}
/** An unlocked one that looks for cycles: see `MONAD_ASYNC_MUTEX_CHECKED`. */
#define MONAD_ASYNC_LOCAL_MUTEX_INIT_CHECKED {{0, 0, 0, 0, 0, 0, 0, 0, 1}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_mutex, 88);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_mutex, 88);
/** @endcond */

/** Makes an unlocked mutex, as the initialiser does. ANY THREAD. Nothing need be done at its end.
 *  @param mutex memory that nobody uses
 *  @param flags 0 or `MONAD_ASYNC_MUTEX_CHECKED`
 *  @retval 0 done
 *  @retval EINVAL flags that this version does not know
 *  @see monad_async_mutex_lock() */
MONAD_ASYNC_API monad_async_result monad_async_mutex_init(monad_async_mutex *mutex,
                                                          uint32_t flags) MONAD_ASYNC_NOEXCEPT;

/** Locks the mutex. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param mutex which
 *  @retval 0 done
 *  @retval EDEADLK the caller has it; or, checked, a cycle of locks would close. NULL for the
 *  task inside a task
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_mutex_unlock(), monad_async_mutex_try_lock(),
 *  monad_async_mutex_lock_until() */
MONAD_ASYNC_API monad_async_result
monad_async_mutex_lock(monad_async_task task, monad_async_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** Locks the mutex, unless it becomes free too late. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param mutex which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME too late; it is not locked; or a scope's deadline passed
 *  @retval EDEADLK, ECANCELED as `monad_async_mutex_lock`
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_mutex_lock(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_mutex_lock_until(
    monad_async_task task, monad_async_mutex *mutex, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Locks the mutex if it is free. ANY THREAD. Does not suspend.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param mutex which
 *  @retval 0 done
 *  @retval EBUSY somebody has it, the caller it may be
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_mutex_lock() */
MONAD_ASYNC_API monad_async_result
monad_async_mutex_try_lock(monad_async_task task, monad_async_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** Unlocks the mutex: the first who waits has it from here on. ANY THREAD. Does not suspend. Never
 *  interrupted.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param mutex which
 *  @retval 0 done
 *  @retval EPERM the caller does not have it; nothing changed
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EINVAL NULL
 *  @see monad_async_mutex_lock() */
MONAD_ASYNC_API monad_async_result
monad_async_mutex_unlock(monad_async_task task, monad_async_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_mutex_init`, for the tasks of one executor: the one that uses it first.
 *  @param mutex memory that nobody uses
 *  @param flags 0 or `MONAD_ASYNC_MUTEX_CHECKED`
 *  @return as `monad_async_mutex_init`
 *  @see monad_async_mutex_init() */
MONAD_ASYNC_API monad_async_result
monad_async_local_mutex_init(monad_async_local_mutex *mutex, uint32_t flags) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_mutex_lock`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param mutex which
 *  @return as `monad_async_mutex_lock`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_mutex_lock() */
MONAD_ASYNC_API monad_async_result monad_async_local_mutex_lock(
    monad_async_task task, monad_async_local_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_mutex_lock_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param mutex which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_mutex_lock_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_mutex_lock_until() */
MONAD_ASYNC_API monad_async_result monad_async_local_mutex_lock_until(
    monad_async_task task, monad_async_local_mutex *mutex, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_mutex_try_lock`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param mutex which
 *  @return as `monad_async_mutex_try_lock`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_mutex_try_lock() */
MONAD_ASYNC_API monad_async_result monad_async_local_mutex_try_lock(
    monad_async_task task, monad_async_local_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_mutex_unlock`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param mutex which
 *  @return as `monad_async_mutex_unlock`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_mutex_unlock() */
MONAD_ASYNC_API monad_async_result monad_async_local_mutex_unlock(
    monad_async_task task, monad_async_local_mutex *mutex) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

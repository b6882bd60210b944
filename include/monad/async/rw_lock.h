#ifndef MONAD_ASYNC_RW_LOCK_H
#define MONAD_ASYNC_RW_LOCK_H

/** @file rw_lock.h
 *  A lock that many read under, or one writes under.
 *
 *  Phases of reading and of writing alternate: a reader waits while somebody writes or waits to
 *  write, so no writer starves; after a writer come the readers that wait, unless a writer of a
 *  higher CPU priority waits. Among readers, and among writers: by CPU priority, then in order. A
 *  task that reads must not lock it again.
 *
 *  @snippet locks.c a lock for readers and writers
 *
 *  Two forms: `monad_async_rw_lock` is for every task of every executor, and for threads outside
 *  tasks, which give NULL for the task and block. `monad_async_local_rw_lock` is for the tasks of
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

/** A lock that many read under, or one writes under, for every thread. Its content is the
 *  library's. */
typedef struct monad_async_rw_lock {
    /** The library's. */
    uint64_t reserved[16];
} monad_async_rw_lock;

/** Initialises one: `monad_async_rw_lock x = MONAD_ASYNC_RW_LOCK_INIT;`. */
#define MONAD_ASYNC_RW_LOCK_INIT {{0}}

/** A lock that many read under, or one writes under, for the tasks of one executor. Its content is
 *  the library's. */
typedef struct monad_async_local_rw_lock {
    /** The library's. */
    uint64_t reserved[16];
} monad_async_local_rw_lock;

/** Initialises one: `monad_async_local_rw_lock x = MONAD_ASYNC_LOCAL_RW_LOCK_INIT;`. */
#define MONAD_ASYNC_LOCAL_RW_LOCK_INIT {{0}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_rw_lock, 128);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_rw_lock, 128);
/** @endcond */

/** Locks to read, with others that read. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @retval 0 done
 *  @retval EDEADLK the caller writes; NULL for the task inside a task
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_unlock_shared() */
MONAD_ASYNC_API monad_async_result monad_async_rw_lock_lock_shared(
    monad_async_task task, monad_async_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** Locks to read, until a time. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME too late; it is not locked; or a scope's deadline passed
 *  @retval EDEADLK, ECANCELED as without a time
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_lock_shared(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_rw_lock_lock_shared_until(
    monad_async_task task, monad_async_rw_lock *lock, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Locks to read, with others that read, if that is possible and nobody waits who comes first. ANY
 *  THREAD. Does not suspend.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @retval 0 done
 *  @retval EBUSY it is not
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_lock_shared() */
MONAD_ASYNC_API monad_async_result monad_async_rw_lock_try_lock_shared(
    monad_async_task task, monad_async_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** Ends what `monad_async_rw_lock_lock_shared` began. ANY THREAD. Does not suspend.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @retval 0 done
 *  @retval EPERM nobody reads
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_lock_shared() */
MONAD_ASYNC_API monad_async_result monad_async_rw_lock_unlock_shared(
    monad_async_task task, monad_async_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** Locks to write, alone. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @retval 0 done
 *  @retval EDEADLK the caller writes; NULL for the task inside a task
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_unlock() */
MONAD_ASYNC_API monad_async_result
monad_async_rw_lock_lock(monad_async_task task, monad_async_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** Locks to write, until a time. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME too late; it is not locked; or a scope's deadline passed
 *  @retval EDEADLK, ECANCELED as without a time
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_lock(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_rw_lock_lock_until(
    monad_async_task task, monad_async_rw_lock *lock, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Locks to write, alone, if that is possible and nobody waits who comes first. ANY THREAD. Does
 *  not suspend.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @retval 0 done
 *  @retval EBUSY it is not
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_lock() */
MONAD_ASYNC_API monad_async_result
monad_async_rw_lock_try_lock(monad_async_task task, monad_async_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** Ends what `monad_async_rw_lock_lock` began. ANY THREAD. Does not suspend.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param lock which
 *  @retval 0 done
 *  @retval EPERM the caller does not write
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EINVAL NULL
 *  @see monad_async_rw_lock_lock() */
MONAD_ASYNC_API monad_async_result
monad_async_rw_lock_unlock(monad_async_task task, monad_async_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_lock_shared`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @return as `monad_async_rw_lock_lock_shared`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_rw_lock_lock_shared() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_lock_shared(
    monad_async_task task, monad_async_local_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_lock_shared_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_rw_lock_lock_shared_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_rw_lock_lock_shared_until() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_lock_shared_until(
    monad_async_task task, monad_async_local_rw_lock *lock, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_try_lock_shared`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @return as `monad_async_rw_lock_try_lock_shared`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_rw_lock_try_lock_shared() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_try_lock_shared(
    monad_async_task task, monad_async_local_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_unlock_shared`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @return as `monad_async_rw_lock_unlock_shared`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_rw_lock_unlock_shared() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_unlock_shared(
    monad_async_task task, monad_async_local_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_lock`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @return as `monad_async_rw_lock_lock`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_rw_lock_lock() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_lock(
    monad_async_task task, monad_async_local_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_lock_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_rw_lock_lock_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_rw_lock_lock_until() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_lock_until(
    monad_async_task task, monad_async_local_rw_lock *lock, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_try_lock`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @return as `monad_async_rw_lock_try_lock`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_rw_lock_try_lock() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_try_lock(
    monad_async_task task, monad_async_local_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_rw_lock_unlock`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param lock which
 *  @return as `monad_async_rw_lock_unlock`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_rw_lock_unlock() */
MONAD_ASYNC_API monad_async_result monad_async_local_rw_lock_unlock(
    monad_async_task task, monad_async_local_rw_lock *lock) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

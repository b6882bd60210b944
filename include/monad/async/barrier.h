#ifndef MONAD_ASYNC_BARRIER_H
#define MONAD_ASYNC_BARRIER_H

/** @file barrier.h
 *  A barrier: so many wait for each other, again and again.
 *
 *  A waiter that is cancelled does not count any more; but once the last has come, all have met.
 *
 *  @snippet locks.c a barrier and a wait group
 *
 *  Two forms: `monad_async_barrier` is for every task of every executor, and for threads outside
 *  tasks, which give NULL for the task and block. `monad_async_local_barrier` is for the tasks of
 *  one executor, the one that uses it first; it does without atomics, and elsewhere every call is
 *  `EPERM`.
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

/** A barrier, for every thread. Its content is the library's. */
typedef struct monad_async_barrier {
    /** The library's. */
    uint64_t reserved[10];
} monad_async_barrier;

/** Initialises one: `monad_async_barrier x = MONAD_ASYNC_BARRIER_INIT(3);`. */
#define MONAD_ASYNC_BARRIER_INIT(parties) {{0, (parties)}}

/** A barrier, for the tasks of one executor. Its content is the library's. */
typedef struct monad_async_local_barrier {
    /** The library's. */
    uint64_t reserved[10];
} monad_async_local_barrier;

/** Initialises one: `monad_async_local_barrier x = MONAD_ASYNC_LOCAL_BARRIER_INIT(3);`. */
#define MONAD_ASYNC_LOCAL_BARRIER_INIT(parties) {{0, (parties)}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_barrier, 80);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_barrier, 80);
/** @endcond */

/** Waits for the others to arrive. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param barrier which
 *  @return value 1 for the one that came last; else 0
 *  @retval EINVAL made for 0 parties
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EDEADLK NULL for the task inside a task, which must not block its executor
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_barrier_wait_until() */
MONAD_ASYNC_API monad_async_result
monad_async_barrier_wait(monad_async_task task, monad_async_barrier *barrier) MONAD_ASYNC_NOEXCEPT;

/** Waits for the others to arrive, until a time. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param barrier which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return value 1 for the one that came last; else 0
 *  @retval ETIME not all came before; the caller does not count any more; or a scope's
 *  deadline passed
 *  @retval EINVAL, ECANCELED, EDEADLK as `monad_async_barrier_wait`
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_barrier_wait(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_barrier_wait_until(
    monad_async_task task, monad_async_barrier *barrier, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_barrier_wait`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param barrier which
 *  @return as `monad_async_barrier_wait`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_barrier_wait() */
MONAD_ASYNC_API monad_async_result monad_async_local_barrier_wait(
    monad_async_task task, monad_async_local_barrier *barrier) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_barrier_wait_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param barrier which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_barrier_wait_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_barrier_wait_until() */
MONAD_ASYNC_API monad_async_result
monad_async_local_barrier_wait_until(monad_async_task task, monad_async_local_barrier *barrier,
                                     uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

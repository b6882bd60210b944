#ifndef MONAD_ASYNC_WAIT_GROUP_H
#define MONAD_ASYNC_WAIT_GROUP_H

/** @file wait_group.h
 *  A wait group: waits until all that was added is done.
 *
 *  @snippet locks.c a barrier and a wait group
 *
 *  Two forms: `monad_async_wait_group` is for every task of every executor, and for threads
 *  outside tasks, which give NULL for the task and block. `monad_async_local_wait_group` is for
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

/** A wait group, for every thread. Its content is the library's. */
typedef struct monad_async_wait_group {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_wait_group;

/** Initialises one: `monad_async_wait_group x = MONAD_ASYNC_WAIT_GROUP_INIT(3);`. */
#define MONAD_ASYNC_WAIT_GROUP_INIT(count) {{0, (count)}}

/** A wait group, for the tasks of one executor. Its content is the library's. */
typedef struct monad_async_local_wait_group {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_local_wait_group;

/** Initialises one: `monad_async_local_wait_group x = MONAD_ASYNC_LOCAL_WAIT_GROUP_INIT(3);`. */
#define MONAD_ASYNC_LOCAL_WAIT_GROUP_INIT(count) {{0, (count)}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_wait_group, 64);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_wait_group, 64);
/** @endcond */

/** Adds to the count. ANY THREAD. Does not suspend.
 *  @param group which
 *  @param count how many
 *  @retval 0 done
 *  @retval EOVERFLOW more than 64 bits count; nothing changed
 *  @retval EINVAL NULL
 *  @see monad_async_wait_group_done(), monad_async_wait_group_wait() */
MONAD_ASYNC_API monad_async_result monad_async_wait_group_add(monad_async_wait_group *group,
                                                              uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** Takes away from the count; at 0 all who wait go on. ANY THREAD. Does not suspend. O(waiters).
 *  @param group which
 *  @param count how many
 *  @retval 0 done
 *  @retval EINVAL more than are left; nothing changed
 *  @see monad_async_wait_group_add() */
MONAD_ASYNC_API monad_async_result monad_async_wait_group_done(monad_async_wait_group *group,
                                                               uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** Waits until nothing is left; not at all if nothing is. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param group which
 *  @retval 0 done
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EDEADLK NULL for the task inside a task, which must not block its executor
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_wait_group_done() */
MONAD_ASYNC_API monad_async_result monad_async_wait_group_wait(
    monad_async_task task, monad_async_wait_group *group) MONAD_ASYNC_NOEXCEPT;

/** Waits until nothing is left, until a time. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param group which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME something was left then; or a scope's deadline passed
 *  @retval ECANCELED, EDEADLK as `monad_async_wait_group_wait`
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_wait_group_wait(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_wait_group_wait_until(
    monad_async_task task, monad_async_wait_group *group, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_wait_group_add`, for the tasks of one executor.
 *  @param group which
 *  @param count how many
 *  @return as `monad_async_wait_group_add`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_wait_group_add() */
MONAD_ASYNC_API monad_async_result monad_async_local_wait_group_add(
    monad_async_local_wait_group *group, uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_wait_group_done`, for the tasks of one executor.
 *  @param group which
 *  @param count how many
 *  @return as `monad_async_wait_group_done`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_wait_group_done() */
MONAD_ASYNC_API monad_async_result monad_async_local_wait_group_done(
    monad_async_local_wait_group *group, uint64_t count) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_wait_group_wait`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param group which
 *  @return as `monad_async_wait_group_wait`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_wait_group_wait() */
MONAD_ASYNC_API monad_async_result monad_async_local_wait_group_wait(
    monad_async_task task, monad_async_local_wait_group *group) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_wait_group_wait_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param group which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_wait_group_wait_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_wait_group_wait_until() */
MONAD_ASYNC_API monad_async_result
monad_async_local_wait_group_wait_until(monad_async_task task, monad_async_local_wait_group *group,
                                        uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

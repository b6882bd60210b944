#ifndef MONAD_ASYNC_EVENT_H
#define MONAD_ASYNC_EVENT_H

/** @file event.h
 *  An event: once set, it lets everybody pass until it is reset.
 *
 *  @snippet locks.c an event
 *
 *  Two forms: `monad_async_event` is for every task of every executor, and for threads outside
 *  tasks, which give NULL for the task and block. `monad_async_local_event` is for the tasks of
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

/** An event, for every thread. Its content is the library's. */
typedef struct monad_async_event {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_event;

/** Initialises one: `monad_async_event x = MONAD_ASYNC_EVENT_INIT;`. */
#define MONAD_ASYNC_EVENT_INIT {{0}}

/** An event, for the tasks of one executor. Its content is the library's. */
typedef struct monad_async_local_event {
    /** The library's. */
    uint64_t reserved[8];
} monad_async_local_event;

/** Initialises one: `monad_async_local_event x = MONAD_ASYNC_LOCAL_EVENT_INIT;`. */
#define MONAD_ASYNC_LOCAL_EVENT_INIT {{0}}

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_event, 64);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_event, 64);
/** @endcond */

/** Waits until the event is set; not at all if it is. ANY THREAD. SUSPENDS; a thread blocks. Who
 *  waits when it is set passes, also if it is reset at once.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param event which
 *  @retval 0 done
 *  @retval ECANCELED, ETIME the task, or a scope around the call, was cancelled, or its deadline
 *  has passed
 *  @retval EDEADLK NULL for the task inside a task, which must not block its executor
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_event_set() */
MONAD_ASYNC_API monad_async_result
monad_async_event_wait(monad_async_task task, monad_async_event *event) MONAD_ASYNC_NOEXCEPT;

/** Waits until the event is set, until a time. ANY THREAD. SUSPENDS; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param event which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 done
 *  @retval ETIME it was not set before; or a scope's deadline passed
 *  @retval ECANCELED, EDEADLK as `monad_async_event_wait`
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_event_wait(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_event_wait_until(
    monad_async_task task, monad_async_event *event, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Sets the event: all who wait go on. ANY THREAD. Does not suspend. O(waiters).
 *  @param event which
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @see monad_async_event_wait(), monad_async_event_reset() */
MONAD_ASYNC_API monad_async_result monad_async_event_set(monad_async_event *event)
    MONAD_ASYNC_NOEXCEPT;

/** Takes the event back. ANY THREAD. Does not suspend.
 *  @param event which
 *  @return value 1 if it was set; else 0
 *  @retval EINVAL NULL
 *  @see monad_async_event_set() */
MONAD_ASYNC_API monad_async_result monad_async_event_reset(monad_async_event *event)
    MONAD_ASYNC_NOEXCEPT;

/** Asks whether the event is set. ANY THREAD. Does not suspend.
 *  @param event which
 *  @return value 1 if it is set; else 0
 *  @retval EINVAL NULL
 *  @see monad_async_event_set() */
MONAD_ASYNC_API monad_async_result monad_async_event_is_set(monad_async_event *event)
    MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_event_wait`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param event which
 *  @return as `monad_async_event_wait`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_event_wait() */
MONAD_ASYNC_API monad_async_result monad_async_local_event_wait(
    monad_async_task task, monad_async_local_event *event) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_event_wait_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param event which
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_event_wait_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_event_wait_until() */
MONAD_ASYNC_API monad_async_result monad_async_local_event_wait_until(
    monad_async_task task, monad_async_local_event *event, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_event_set`, for the tasks of one executor.
 *  @param event which
 *  @return as `monad_async_event_set`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_event_set() */
MONAD_ASYNC_API monad_async_result monad_async_local_event_set(monad_async_local_event *event)
    MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_event_reset`, for the tasks of one executor.
 *  @param event which
 *  @return as `monad_async_event_reset`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_event_reset() */
MONAD_ASYNC_API monad_async_result monad_async_local_event_reset(monad_async_local_event *event)
    MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_event_is_set`, for the tasks of one executor.
 *  @param event which
 *  @return as `monad_async_event_is_set`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_event_is_set() */
MONAD_ASYNC_API monad_async_result monad_async_local_event_is_set(monad_async_local_event *event)
    MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

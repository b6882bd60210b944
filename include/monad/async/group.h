#ifndef MONAD_ASYNC_GROUP_H
#define MONAD_ASYNC_GROUP_H

/** @file group.h
 *  Groups: tasks of one executor whose ends are awaited together; and tasks that are let go.
 *
 *  A group lies in the memory of who waits for it. The first child that fails, that is, returns an
 *  error, decides the group's, and cancels the others. Nothing is allocated.
 *
 *  @snippet groups.c a group
 *
 *  The words ANY THREAD, OWNER'S THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "remote.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Told that a run of `task` has exited, with its result. On the executor's thread, after the exit
 *  was published: it may attach the task again, or destroy it. It must not suspend, nor throw, nor
 *  free a group whose child the task was; it may neither run the executor nor destroy it, both of
 *  which return `EDEADLK`. */
typedef void (*monad_async_exit)(monad_async_task task, monad_async_result result);

/** A group. Its content is the library's. It must not move, and lives until its children have
 *  exited and who is told of that has returned. */
typedef struct monad_async_group {
    /** The library's. */
    uint64_t reserved[13];
} monad_async_group;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_group, 104);
/** @endcond */

/** A flag of `monad_async_group_init`: a child that fails cancels nobody. */
#define MONAD_ASYNC_GROUP_INDEPENDENT 1u

/** Another: whom `monad_async_group_on_exit` names calls nothing of the library, and uses little
 *  stack, as it may be called on a task's: it puts the task into a list, say. Of a child that
 *  succeeded it is told between two launches then, which spares two switches. (Of a child that had
 *  returned with operations in flight any hook may be told on the stack of a task that closes.) */
#define MONAD_ASYNC_GROUP_SHORT_EXITS 2u

/** Another: all children come by one `monad_async_group_spawn_many`, and the next ones when none of
 *  them is left. Its array stays as it is until then, and the tasks are neither destroyed nor
 *  attached to anything else, though they may have exited: so the group need not list them, which
 *  makes each cheaper. */
#define MONAD_ASYNC_GROUP_AT_ONCE 4u

/** Makes a group of the executor that runs the caller. Does not suspend.
 *  @param task the task that runs, which is the caller
 *  @param group memory for it
 *  @param flags 0, or some of `MONAD_ASYNC_GROUP_INDEPENDENT`, `MONAD_ASYNC_GROUP_SHORT_EXITS` and
 *  `MONAD_ASYNC_GROUP_AT_ONCE`
 *  @retval 0 made
 *  @retval EINVAL NULL, or flags that this version does not know
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_group_spawn(), monad_async_group_wait() */
MONAD_ASYNC_API monad_async_result monad_async_group_init(monad_async_task task,
                                                          monad_async_group *group,
                                                          uint32_t flags) MONAD_ASYNC_NOEXCEPT;

/** Says who is told of each child that has exited, when it is in the group no more. OWNER'S
 *  THREAD, which is not checked. Does not suspend.
 *  @param group which
 *  @param on_exit whom; NULL: nobody. With `MONAD_ASYNC_GROUP_SHORT_EXITS` not to call the library
 *  @retval 0 done
 *  @retval EINVAL NULL for the group
 *  @see monad_async_group_spawn() */
MONAD_ASYNC_API monad_async_result
monad_async_group_on_exit(monad_async_group *group, monad_async_exit on_exit) MONAD_ASYNC_NOEXCEPT;

/** Attaches a task as a child. OWNER'S THREAD. Does not suspend; costs as
 *  `monad_async_task_attach`.
 *  @param group which
 *  @param task idle, its `user_code` set
 *  @retval 0 attached
 *  @retval ECANCELED the group was cancelled, or a child has failed; nothing changed
 *  @retval EBUSY, EINVAL as `monad_async_task_attach`; `EINVAL` of a group with
 *  `MONAD_ASYNC_GROUP_AT_ONCE`, too
 *  @retval EPERM another thread than that of the group's executor
 *  @see monad_async_group_wait(), monad_async_group_spawn_many() */
MONAD_ASYNC_API monad_async_result
monad_async_group_spawn(monad_async_group *group, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** Attaches several tasks as children, all by one stamp. OWNER'S THREAD. Does not suspend;
 *  O(count).
 *  @param group which
 *  @param tasks idle, their `user_code` set
 *  @param count how many
 *  @return how many were attached: if fewer than `count`, the one behind them was refused, and what
 *  comes after it not tried
 *  @retval ECANCELED, EBUSY, EINVAL, EPERM the first was refused: as `monad_async_group_spawn`;
 *  `EBUSY` of a group with `MONAD_ASYNC_GROUP_AT_ONCE` that has children, too
 *  @see monad_async_group_spawn() */
MONAD_ASYNC_API monad_async_result monad_async_group_spawn_many(monad_async_group *group,
                                                                monad_async_task const *tasks,
                                                                size_t count) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS until no child is left. Interrupted, it leaves the children as they are: wait again,
 *  shielded, before the group's memory goes. After it has returned the group is as new.
 *  @param self the task that runs, which is the caller, of the group's executor
 *  @param group which
 *  @return 0, or what the first child that failed returned
 *  @retval ECANCELED, ETIME interrupted by a cancel or a scope; or a child's error
 *  @retval EDEADLK the caller is a child; or a child waits for the caller, through others it may
 *  be: it joins it, as `monad_async_task_join` says, or waits for a group that it is a child of.
 *  The children stay: cancel them, and wait again
 *  @retval EBUSY another task waits
 *  @retval EINVAL NULL
 *  @retval EPERM not the running task, or another executor's
 *  @see monad_async_group_cancel() */
MONAD_ASYNC_API monad_async_result
monad_async_group_wait(monad_async_task self, monad_async_group *group) MONAD_ASYNC_NOEXCEPT;

/** Cancels all children, as `monad_async_task_cancel`. OWNER'S THREAD. Does not suspend.
 *  O(children).
 *  @param group which
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @retval EPERM another thread than that of the group's executor
 *  @see monad_async_group_wait() */
MONAD_ASYNC_API monad_async_result monad_async_group_cancel(monad_async_group *group)
    MONAD_ASYNC_NOEXCEPT;

/** Asks how many children have not exited. OWNER'S THREAD. Does not suspend.
 *  @param group which
 *  @return how many
 *  @retval EINVAL NULL
 *  @see monad_async_group_wait() */
MONAD_ASYNC_API monad_async_result monad_async_group_count(monad_async_group *group)
    MONAD_ASYNC_NOEXCEPT;

/** Attaches a task and lets it go: who is told of its end may keep it for later, or destroy it.
 *  ANY THREAD. Costs as `monad_async_task_attach`.
 *  @param ex the executor, which must outlive the call
 *  @param task idle, its `user_code` set
 *  @param on_exit who is told; NULL: nobody
 *  @return as `monad_async_task_attach`
 *  @see monad_async_group_spawn(), monad_async_remote_spawn() */
MONAD_ASYNC_API monad_async_result monad_async_task_spawn(
    monad_async_executor ex, monad_async_task task, monad_async_exit on_exit) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_task_spawn`, to an executor that may be gone. ANY THREAD.
 *  @param remote the executor
 *  @param task idle, its `user_code` set
 *  @param on_exit who is told; NULL: nobody
 *  @return as `monad_async_remote_attach`
 *  @see monad_async_task_spawn() */
MONAD_ASYNC_API monad_async_result
monad_async_remote_spawn(monad_async_remote remote, monad_async_task task,
                         monad_async_exit on_exit) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

#ifndef MONAD_ASYNC_TASK_LOCAL_H
#define MONAD_ASYNC_TASK_LOCAL_H

/** @file task_local.h
 *  What belongs to one run of a task, as thread-local variables belong to a thread. A task that is
 *  launched again begins without.
 *
 *  A local is a record in the caller's memory, next to the value that it stands for. The library
 *  keeps a list of them, and allocates nothing. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stddef.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A local of the running task. Stays in place until it is removed or destroyed. */
typedef struct monad_async_task_local {
    /** The library's. */
    struct monad_async_task_local *next;
    /** Which variable it is: the address of something that is the variable's alone; not NULL. */
    void const *key;
    /** Called with the record when the run has returned, on the task's own stack, newest first; the
     *  record may be freed in it. It may suspend, add locals and remove others; it must not leave
     *  by an exception or a jump. May be NULL. Not called for what was removed. */
    void (*destroy)(struct monad_async_task_local *local);
} monad_async_task_local;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(monad_async_task_local, key, 8);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_task_local, destroy, 16);
MONAD_ASYNC_ASSERT_SIZE(monad_async_task_local, 24);
/** @endcond */

/** Looks for a local of the running task. Does not suspend; a load for each local that is newer.
 *  @param task the task that runs, which is the caller
 *  @param key which variable
 *  @return its record; NULL: it has none, or is not the running task
 *  @see monad_async_task_local_add() */
MONAD_ASYNC_API monad_async_task_local *
monad_async_task_local_find(monad_async_task task, void const *key) MONAD_ASYNC_NOEXCEPT;

/** Gives the running task a local. Does not suspend, no malloc.
 *  @param task the task that runs, which is the caller
 *  @param local with its key and `destroy`
 *  @retval 0 done
 *  @retval EEXIST it has one of that key
 *  @retval EINVAL NULL, or without a key
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_task_local_find(), monad_async_task_local_remove() */
MONAD_ASYNC_API monad_async_result monad_async_task_local_add(
    monad_async_task task, monad_async_task_local *local) MONAD_ASYNC_NOEXCEPT;

/** Takes a local from the running task, without destroying it.
 *  @param task the task that runs, which is the caller
 *  @param key which variable
 *  @return its record, the caller's again; NULL: there was none, or it is not the running task
 *  @see monad_async_task_local_add() */
MONAD_ASYNC_API monad_async_task_local *
monad_async_task_local_remove(monad_async_task task, void const *key) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

#ifndef MONAD_ASYNC_WATCHDOG_H
#define MONAD_ASYNC_WATCHDOG_H

/** @file watchdog.h
 *  A thread that tells of a task that has kept its executor for too long: by a loop that does not
 *  suspend, or a call that blocks.
 *
 *  It costs the executors nothing: it looks at what they write anyway. The words ANY THREAD and
 *  EXPENSIVE are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "inspect.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A task that has run for too long. Valid while the callback runs; the task and the executor are
 *  names: they are in use by another thread. */
struct monad_async_watchdog_report {
    monad_async_executor executor;                  /**< Which the task keeps. */
    monad_async_task task;                          /**< That runs. */
    char executor_name[MONAD_ASYNC_NAME_BYTES + 1]; /**< Empty: none. */
    char task_name[MONAD_ASYNC_NAME_BYTES + 1];     /**< Empty: none, or `count` is 0. */
    uint64_t ran_ns;                                /**< For how long, at least. */
    void *const *pcs;                               /**< Where its frames go on, newest first. */
    size_t count; /**< How many; 0: its thread does not take the signal. */
};

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_watchdog_report, ran_ns, 88);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_watchdog_report, 112);
/** @endcond */

/** Called by the watchdog's thread, once for each run of a task that is too long.
 *  @param report what was found */
typedef void (*monad_async_watchdog_callback)(struct monad_async_watchdog_report const *report);

/** Starts the watchdog, one a process, for all its executors. ANY THREAD. EXPENSIVE.
 *
 *  The frames are found by the task's own thread, in a handler of SIGURG that is installed here,
 *  runs on the alternate stack, and passes on every signal that is not the watchdog's to the
 *  handler that was there. A system call that the signal meets is restarted, or fails with `EINTR`
 *  where the kernel does not restart it.
 *  @param limit_ns how long a task may run without suspending; told of at most a quarter later, or
 *  a millisecond
 *  @param callback NULL: a message on standard error, with the functions; a program's own have
 *  their names there if it is linked with `-rdynamic`. While it runs, the
 *  executor that is told of is not destroyed: do not wait for that in there
 *  @retval 0 it goes
 *  @retval EINVAL `limit_ns` is 0
 *  @retval EBUSY there is one
 *  @retval EAGAIN no more threads
 *  @see monad_async_watchdog_stop() */
MONAD_ASYNC_API monad_async_result monad_async_watchdog_start(
    uint64_t limit_ns, monad_async_watchdog_callback callback) MONAD_ASYNC_NOEXCEPT;

/** Ends the watchdog; the callback is not called any more when it returns. ANY THREAD. EXPENSIVE.
 *  @retval 0 ended
 *  @retval EDEADLK from the callback
 *  @retval ENOENT there is none
 *  @see monad_async_watchdog_start() */
MONAD_ASYNC_API monad_async_result monad_async_watchdog_stop(void) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

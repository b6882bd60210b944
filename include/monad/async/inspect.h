#ifndef MONAD_ASYNC_INSPECT_H
#define MONAD_ASYNC_INSPECT_H

/** @file inspect.h
 *  Names, and what a task's stack holds. Names appear in traces, in reports of the watchdog, and in
 *  the debugger.
 *
 *  The words OWNER'S THREAD, ANY THREAD and EXPENSIVE are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "result.h"
#include "task.h"

#include <stddef.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Bytes of a name that are kept, without a zero at the end. A character of UTF-8 is kept as a
 *  whole or not at all. */
#define MONAD_ASYNC_NAME_BYTES 32

/** Names a task, until it is destroyed. The first name of a task EXPENSIVE. The thread of the
 *  executor that the task is attached to; any one while the task is idle. Tasks that C++ spawns run
 *  one callable after the other, and each begins without a name.
 *  @param task the task
 *  @param text copied; NULL or empty: no name
 *  @retval 0 done
 *  @retval EINVAL `task` is NULL
 *  @retval ENOMEM no memory: it has the name that it had
 *  @retval EPERM attached, and another thread
 *  @see monad_async_task_name() */
MONAD_ASYNC_API monad_async_result monad_async_task_set_name(monad_async_task task,
                                                             char const *text) MONAD_ASYNC_NOEXCEPT;

/** The name of a task. Threads as for `monad_async_task_set_name`.
 *  @param task the task
 *  @param[out] buffer receives the name, as far as it fits, and a zero; may be NULL
 *  @param bytes of the buffer; `MONAD_ASYNC_NAME_BYTES + 1` fits every name
 *  @return the length of the name; 0: none, or it may not be asked here
 *  @see monad_async_task_set_name() */
MONAD_ASYNC_API size_t monad_async_task_name(monad_async_task task, char *buffer,
                                             size_t bytes) MONAD_ASYNC_NOEXCEPT;

/** Names an executor. OWNER'S THREAD.
 *  @param ex the executor
 *  @param text copied; NULL or empty: no name
 *  @retval 0 done
 *  @retval EINVAL `ex` is NULL
 *  @retval EPERM another thread
 *  @see monad_async_executor_name() */
MONAD_ASYNC_API monad_async_result
monad_async_executor_set_name(monad_async_executor ex, char const *text) MONAD_ASYNC_NOEXCEPT;

/** The name of an executor. ANY THREAD; while its owner sets another one, a mixture of both may be
 *  seen.
 *  @param ex the executor, which must outlive the call
 *  @param[out] buffer receives the name, as far as it fits, and a zero; may be NULL
 *  @param bytes of the buffer
 *  @return the length of the name; 0: none
 *  @see monad_async_executor_set_name() */
MONAD_ASYNC_API size_t monad_async_executor_name(monad_async_executor ex, char *buffer,
                                                 size_t bytes) MONAD_ASYNC_NOEXCEPT;

/** Where the stack lies that a task runs on, or ran on last, or was made with: a launch may begin
 *  on another than the one before, and stays on it. ANY THREAD; a few loads.
 *  @param task the task, which must not be destroyed during the call
 *  @param[out] low the lowest address
 *  @param[out] high the address above the highest one
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @see monad_async_task_stack_used() */
MONAD_ASYNC_API monad_async_result monad_async_task_stack_bounds(monad_async_task task, void **low,
                                                                 void **high) MONAD_ASYNC_NOEXCEPT;

/** How much was used at most of the stack that `monad_async_task_stack_bounds` tells of, to a page:
 *  by what of it is in memory. What other tasks have used of the same stack counts too, as stacks
 *  are used again, and what is swapped out does not. ANY THREAD. EXPENSIVE: system calls, one a
 *  MiB.
 *  @param task the task, which must not be destroyed during the call
 *  @return value: bytes
 *  @retval EINVAL NULL
 *  @retval ENOSYS, EPERM the machine forbids `mincore`
 *  @see monad_async_task_stack_bounds() */
MONAD_ASYNC_API monad_async_result monad_async_task_stack_used(monad_async_task task)
    MONAD_ASYNC_NOEXCEPT;

/** Where the frames of a task go on: what a debugger would show, for `dladdr`, `addr2line` or
 *  `backtrace_symbols`. Found by unwind information, so frames of code without it end the list. The
 *  running task's own, or that of a task that is suspended: OWNER'S THREAD of its executor.
 *  EXPENSIVE: some µs.
 *  @param task the task
 *  @param[out] pcs receives the addresses, newest first
 *  @param count how many fit
 *  @return value: how many were found; 0 for a task that is idle or pending launch
 *  @retval EINVAL NULL
 *  @retval EPERM attached, and another thread
 *  @retval EBUSY it runs, and is not the caller
 *  @retval ENOTSUP a suspended task elsewhere than on x86-64, or under AddressSanitizer
 *  @see monad_async_executor_waits_text() */
MONAD_ASYNC_API monad_async_result monad_async_task_backtrace(monad_async_task task, void **pcs,
                                                              size_t count) MONAD_ASYNC_NOEXCEPT;

/** Who waits for whom: a line for each task of the executor that is suspended and not ready, with
 *  what it waits for, the holder of a mutex included; then a line that begins with `deadlock:` for
 *  each ring of tasks that wait only for each other, by joins and mutexes. For who finds that `run`
 *  does not return: from a task, or between two runs with a time-out. OWNER'S THREAD. EXPENSIVE.
 *  @param ex the executor
 *  @param[out] buffer receives the text, as far as it fits, and a zero; may be NULL
 *  @param bytes of the buffer
 *  @return value: the length of the whole text; 0: nobody waits
 *  @retval EINVAL NULL
 *  @retval EPERM another thread
 *  @see monad_async_task_backtrace() */
MONAD_ASYNC_API monad_async_result monad_async_executor_waits_text(
    monad_async_executor ex, char *buffer, size_t bytes) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

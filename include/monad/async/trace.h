#ifndef MONAD_ASYNC_TRACE_H
#define MONAD_ASYNC_TRACE_H

/** @file trace.h
 *  What an executor and its tasks did, and when: recorded into memory of the caller's, written as
 *  the trace event format of Chrome, which https://ui.perfetto.dev opens, and `monad-async-trace`.
 *
 *  Each task is a track: when it ran, when it was ready, what it waited for, with arrows from who
 *  launched or woke it. The executor is one too: its runs, io_uring, sleep. Events are a launch
 *  (another thread's too), a resumption and a suspension with its reason, an operation with opcode,
 *  descriptor and result, a wake-up with its cause, a cancel, and the scopes. Names are those of
 *  inspect.h. Every slice has its length in ticks, so that they add up: those called `run` of a
 *  task are its `total_ticks_executed`, those of the executor its `total_ticks_in_run`,
 *  `_in_io_uring` and `_sleeping`.
 *
 *  @snippet trace.cpp a trace of some executors
 *
 *  The words OWNER'S THREAD, ANY THREAD and EXPENSIVE are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "result.h"

#include <stddef.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Starts to record, with the stamps that are taken anyway: some ns a transition. What is newer
 *  overwrites what is oldest; an event is 48 bytes, and a task that is resumed and suspends takes
 *  two. OWNER'S THREAD, outside its tasks. EXPENSIVE.
 *  @param ex the executor
 *  @param memory the executor's until the trace is stopped or the executor destroyed; shared memory
 *  of a file keeps the trace when the process dies. Aligned to 8
 *  @param bytes of it
 *  @retval 0 recording
 *  @retval EINVAL NULL, not aligned, less than 4096 bytes
 *  @retval EBUSY it has a trace
 *  @retval ENOTSUP it has no time tracking
 *  @retval EPERM another thread
 *  @retval EDEADLK inside one of its tasks
 *  @see monad_async_trace_stop(), monad_async_trace_write() */
MONAD_ASYNC_API monad_async_result monad_async_trace_start(monad_async_executor ex, void *memory,
                                                           size_t bytes) MONAD_ASYNC_NOEXCEPT;

/** Ends the trace. The memory is the caller's again, and holds what was recorded, for
 *  `monad_async_trace_write_memory`. OWNER'S THREAD, outside its tasks.
 *  @param ex the executor
 *  @retval 0 stopped
 *  @retval ENOENT there was no trace
 *  @retval EINVAL NULL
 *  @retval EPERM another thread
 *  @retval EDEADLK inside one of its tasks
 *  @see monad_async_trace_start() */
MONAD_ASYNC_API monad_async_result monad_async_trace_stop(monad_async_executor ex)
    MONAD_ASYNC_NOEXCEPT;

/** Writes what was recorded, as one JSON document; the trace goes on. Async-signal-safe: no malloc,
 *  no lock, no call but `write`, some 12 KiB of stack; so a handler of SIGSEGV may write it. ANY
 *  THREAD; what happens during the call may be missing.
 *  @param ex the executor, not destroyed during the call; NULL: the traces of all executors
 *  of the process (256 at most) in one document, none of which may be stopped during the call
 *  @param fd where to; not at an offset
 *  @retval 0 written
 *  @retval ENOENT there is no trace
 *  @return or what `write` said
 *  @see monad_async_trace_write_memory() */
MONAD_ASYNC_API monad_async_result monad_async_trace_write(monad_async_executor ex,
                                                           int fd) MONAD_ASYNC_NOEXCEPT;

/** Writes what an executor has left in its memory: after the trace was stopped, the executor
 *  destroyed, or its process gone. ANY THREAD. Async-signal-safe.
 *  @param memory as it was handed over, or a copy of it, aligned to 8
 *  @param bytes of it
 *  @param fd where to
 *  @retval 0 written
 *  @retval EINVAL no trace is in there
 *  @return or what `write` said
 *  @see monad_async_trace_write() */
MONAD_ASYNC_API monad_async_result monad_async_trace_write_memory(void const *memory, size_t bytes,
                                                                  int fd) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

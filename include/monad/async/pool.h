#ifndef MONAD_ASYNC_POOL_H
#define MONAD_ASYNC_POOL_H

/** @file pool.h
 *  The pool: threads with an executor each, which take the tasks of one queue.
 *
 *  A task that is submitted waits in the queue until a worker begins it. What has a higher CPU
 *  priority begins first, whatever came first, and the oldest among equals; so the task of the
 *  highest priority is the next that any worker begins. A task that has begun stays with its
 *  worker: it may suspend, do I/O if the workers have rings, and use everything else that a task
 *  can.
 *
 *  A task in the queue is attached (`is_pending_launch`), and of no executor yet: it can be
 *  cancelled (`monad_async_task_cancel` with NULL), joined and waited for, and moved
 *  (`monad_async_task_set_priorities`) from ANY THREAD.
 *
 *  Workers without work sleep; a submission wakes one, and that one the next if there is more. They
 *  take no signal of the process but those of their own faults, `SIGABRT`, `SIGPROF`, and `SIGURG`
 *  for the watchdog. In the child of a `fork` a pool is the parent's: every call returns `EPERM`.
 *
 *  @snippet pool.c a pool
 *
 *  What its owner may do with what is in it:
 *
 *  @snippet pool_control.c within a bound
 *  @snippet pool_control.c a task that is queued
 *  @snippet pool_control.c a job by value
 *  @snippet pool_control.c a worker
 *  @snippet pool_control.c whether the kernel refuses
 *
 *  The words ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "group.h"
#include "remote.h"
#include "result.h"
#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A pool. */
typedef struct monad_async_pool_object *monad_async_pool;

/** How to make a pool. Set all of it to 0 first (`MONAD_ASYNC_POOL_ATTR_INIT`), then what you need:
 *  fields only ever get appended, in place of `reserved`. */
struct monad_async_pool_attr {
    /** How to make each worker's executor. All 0: compute-only, without a ring. */
    struct monad_async_executor_attr executor;
    /** The CPUs of the workers: each runs on one alone, the first of those that the fewest have; so
     *  in turn, and after `monad_async_pool_resize` too. Helpers (blocking.h) and pools that it
     *  makes are not bound to it. NULL: the kernel chooses. Read during the call. */
    uint32_t const *cpus;
    /** How many there are in `cpus`. */
    uint32_t cpus_count;
    /** How many workers; 0: as many as the calling thread may use CPUs. At most 4096. */
    uint32_t workers;
    /** Each worker records a trace (trace.h) into so much memory, from its beginning to its end,
     *  for `monad_async_trace_write` with NULL; at least 4096. 0: none. */
    size_t trace_bytes;
    /** Bytes of the stacks of the tasks that posted jobs become, as for `monad_async_task_create`;
     *  0: the default. */
    size_t stack_size;
    /** Must be 0, else `EINVAL`. */
    uint64_t reserved[4];
};

/** Initialises a `monad_async_pool_attr` with the defaults: all 0. */
#define MONAD_ASYNC_POOL_ATTR_INIT MONAD_ASYNC_ALL_ZERO

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_pool_attr, cpus, 192);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_pool_attr, cpus_count, 200);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_pool_attr, workers, 204);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_pool_attr, trace_bytes, 208);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_pool_attr, stack_size, 216);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_pool_attr, reserved, 224);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_pool_attr, 256);
/** @endcond */

/** Of what so few are left: tasks that have not begun. */
#define MONAD_ASYNC_POOL_QUEUED 0u
/** Those, and the ones that have begun and not ended. Not what was launched on a worker's executor
 *  directly. */
#define MONAD_ASYNC_POOL_UNFINISHED 1u

/** How to quit: what was submitted is begun, and then the workers leave. */
#define MONAD_ASYNC_POOL_DRAIN 0u
/** How to quit: what has not begun is handed back. */
#define MONAD_ASYNC_POOL_RETURN 1u

/** Makes a pool, whose workers are there when it returns. ANY THREAD. EXPENSIVE: a thread and an
 *  executor each.
 *  @param[out] pool the pool; untouched on an error
 *  @param attr how to make it; NULL: the defaults
 *  @retval 0 made
 *  @return else as `monad_async_executor_create`, and `monad_async_last_create_error` explains it
 *  @retval EAGAIN no more threads
 *  @retval EINVAL attributes, or a CPU that the process may not use
 *  @retval ENOTSUP traces without time tracking
 *  @see monad_async_pool_submit(), monad_async_pool_quit(), monad_async_pool_destroy() */
MONAD_ASYNC_API monad_async_result monad_async_pool_create(
    monad_async_pool *pool, struct monad_async_pool_attr const *attr) MONAD_ASYNC_NOEXCEPT;

/** Has it quit (`MONAD_ASYNC_POOL_RETURN`), unless it was told to already, and waits until the
 *  workers have left: until all that they have begun, and what was launched on their executors
 *  directly, has ended, and then their thread-local objects. ANY THREAD. SUSPENDS inside a task,
 *  shielded; blocks outside. EXPENSIVE.
 *  @param pool the pool; no longer to be used, unless there is an error
 *  @return how many tasks were handed back
 *  @retval EDEADLK inside a task of one of its workers, or in a destructor of a worker's thread
 *  @retval EINVAL NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_quit() */
MONAD_ASYNC_API monad_async_result monad_async_pool_destroy(monad_async_pool pool);

/** Puts a task into the queue, at its CPU priority. ANY THREAD, inside tasks too. Does not suspend,
 *  no malloc; a lock that is held for some instructions, and a system call if a worker that sleeps
 *  is to be woken. What the caller wrote before is visible to the task.
 *  @param pool the pool
 *  @param task idle, its `user_code` set
 *  @retval 0 queued
 *  @retval EBUSY the task is attached or queued
 *  @retval EINVAL NULL, or no `user_code`
 *  @retval ESHUTDOWN the pool was told to quit; the task is as it was
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_wait(), monad_async_task_is_queued() */
MONAD_ASYNC_API monad_async_result
monad_async_pool_submit(monad_async_pool pool, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_pool_submit`, many tasks, in parts of up to 32 by one lock each: those that came
 *  first may begin while the others come. ANY THREAD. Until a task is queued a cancel finds no run
 *  of it (`ENOENT`), and who joins it in that time waits.
 *  @param pool the pool
 *  @param tasks idle, their `user_code` set
 *  @param count how many
 *  @return how many were queued: if fewer than `count`, the one behind them was refused, and what
 *  comes after it not tried
 *  @retval EBUSY, EINVAL, ESHUTDOWN, EPERM the first was refused: as `monad_async_pool_submit`
 *  @see monad_async_pool_submit() */
MONAD_ASYNC_API monad_async_result monad_async_pool_submit_many(monad_async_pool pool,
                                                                monad_async_task const *tasks,
                                                                size_t count) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_pool_submit`, and lets the task go: who is told of its end may keep it for
 *  later, or destroy it. ANY THREAD. It is told on the worker's thread; of a task that is cancelled
 *  in the queue, or handed back, on the thread that does that.
 *  @param pool the pool
 *  @param task idle, its `user_code` set
 *  @param on_exit who is told; NULL: nobody
 *  @return as `monad_async_pool_submit`
 *  @see monad_async_pool_submit() */
MONAD_ASYNC_API monad_async_result monad_async_pool_spawn(
    monad_async_pool pool, monad_async_task task, monad_async_exit on_exit) MONAD_ASYNC_NOEXCEPT;

/** How many bytes may go with a posted job. */
#define MONAD_ASYNC_POOL_JOB_BYTES 48u

/** What a worker is to do with some bytes, for `monad_async_pool_post`; it stays as long as the
 *  pool. Set all of it to 0 first, then what you need. */
struct monad_async_pool_job {
    /** The body of the task that it becomes. Its `user_ptr` points to a copy of the bytes,
     *  aligned to 8, and its own until `on_exit` has returned. It has no name, and no permit. */
    monad_async_result (*code)(monad_async_task task);
    /** Who is told of its end, as by `monad_async_pool_spawn`; the task stays the pool's. NULL:
     *  nobody. */
    monad_async_exit on_exit;
    /** Who is told if it is handed back and never begins, with the bytes, on the thread that has
     *  the pool quit. NULL: nobody. */
    void (*returned)(void *bytes);
    /** Must be 0, else `EINVAL`. */
    uint64_t reserved;
};

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_pool_job, 32);
/** @endcond */

/** Puts a job into the queue: a function, and some bytes, which are copied. It becomes a task of
 *  the worker that begins it, and can do all that a task can; until then it costs a line of memory,
 *  and has no handle: it cannot be joined, cancelled or moved. It begins in its order among the
 *  tasks of the same priority, and counts as one of them. ANY THREAD, inside tasks too. Does not
 *  suspend; no malloc once so many jobs have waited before, as the pool keeps that memory until it
 *  is destroyed; a lock that is held for some instructions, and a system call if a worker that
 *  sleeps is to be woken. What the caller wrote before is visible to the task.
 *  @param pool the pool
 *  @param priority at which it begins, and the task's CPU priority
 *  @param job what is to be done
 *  @param bytes copied during the call; NULL only with `size` 0
 *  @param size at most `MONAD_ASYNC_POOL_JOB_BYTES`
 *  @retval 0 queued
 *  @retval EINVAL NULL, no `code`, no such priority, or too many bytes
 *  @retval ESHUTDOWN the pool was told to quit
 *  @retval ENOMEM no memory
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_submit(), monad_async_pool_wait() */
MONAD_ASYNC_API monad_async_result monad_async_pool_post(monad_async_pool pool,
                                                         monad_async_priority priority,
                                                         struct monad_async_pool_job const *job,
                                                         void const *bytes,
                                                         size_t size) MONAD_ASYNC_NOEXCEPT;

/** Waits until at most so many are left. ANY THREAD. SUSPENDS inside a task; blocks outside. Others
 *  may submit more by then: it may have been so for a moment only.
 *  @param pool the pool
 *  @param at_most so many
 *  @param of `MONAD_ASYNC_POOL_QUEUED` or `MONAD_ASYNC_POOL_UNFINISHED`
 *  @retval 0 no more were left
 *  @retval ECANCELED, ETIME interrupted by a cancel or a scope
 *  @retval EDEADLK none are to be left unfinished, and the calling task was submitted to this pool:
 *  it is left itself. Others that wait so are not looked for: with two of them, at most one left
 *  never comes
 *  @retval EINVAL NULL, or no such `of`
 *  @return else what `monad_async_pool_kernel_error` gives, with more left: the kernel has refused
 *  every worker a thousand times in a row, for about a second, to go on
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_left() */
MONAD_ASYNC_API monad_async_result monad_async_pool_wait(monad_async_pool pool, size_t at_most,
                                                         uint32_t of);

/** Asks how many are left. ANY THREAD. Does not suspend.
 *  @param pool the pool
 *  @param of `MONAD_ASYNC_POOL_QUEUED` or `MONAD_ASYNC_POOL_UNFINISHED`
 *  @return how many, at this moment
 *  @retval EINVAL NULL, or no such `of`
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_wait() */
MONAD_ASYNC_API monad_async_result monad_async_pool_left(monad_async_pool pool,
                                                         uint32_t of) MONAD_ASYNC_NOEXCEPT;

/** Makes workers, or dismisses some. ANY THREAD. EXPENSIVE; blocks until the new ones are there.
 *  One that is dismissed begins nothing more, and leaves when what it has begun has ended, which
 *  this does not wait for.
 *  @param pool the pool
 *  @param workers how many there are to be, 1 to 4096
 *  @retval 0 so many begin tasks now
 *  @return else as `monad_async_pool_create`: those that could be made were
 *  @retval ESHUTDOWN the pool was told to quit
 *  @see monad_async_pool_workers() */
MONAD_ASYNC_API monad_async_result monad_async_pool_resize(monad_async_pool pool,
                                                           uint32_t workers) MONAD_ASYNC_NOEXCEPT;

/** Takes no task any more; the workers leave when they have nothing to do. ANY THREAD, while others
 *  submit too. Does not wait: see `monad_async_pool_wait`, `monad_async_pool_destroy`. What is
 *  handed back has its run over, with `ECANCELED`, and never began; who joins it is told so.
 *  @param pool the pool
 *  @param how `MONAD_ASYNC_POOL_DRAIN` or `MONAD_ASYNC_POOL_RETURN`
 *  @return how many tasks were handed back
 *  @retval EINVAL NULL, or no such `how`
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_destroy() */
MONAD_ASYNC_API monad_async_result monad_async_pool_quit(monad_async_pool pool,
                                                         uint32_t how) MONAD_ASYNC_NOEXCEPT;

/** Asks how many workers begin tasks. ANY THREAD. Does not suspend.
 *  @param pool the pool
 *  @return how many, at this moment
 *  @retval EINVAL NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_resize() */
MONAD_ASYNC_API monad_async_result monad_async_pool_workers(monad_async_pool pool)
    MONAD_ASYNC_NOEXCEPT;

/** Gives a reference to the executor of a worker, to launch tasks there directly: a listener a
 *  worker, say. ANY THREAD. The reference stays with its worker; the index is of this moment: where
 *  a worker is dismissed (`monad_async_pool_resize`) those behind it move up, in their order, and
 *  new ones come last.
 *  @param pool the pool
 *  @param index which worker, from 0 to `monad_async_pool_workers` - 1
 *  @param[out] remote the reference, to be released; it may outlive the worker, and then refuses
 *  @retval 0 given
 *  @retval ENOENT there is no such worker
 *  @retval EINVAL NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_pool_workers() */
MONAD_ASYNC_API monad_async_result monad_async_pool_worker(
    monad_async_pool pool, size_t index, monad_async_remote *remote) MONAD_ASYNC_NOEXCEPT;

/** Asks whether the kernel refuses a worker to go on: whether `monad_async_executor_run` of its
 *  executor would have returned an error in its last pass. Such a worker tries again each
 *  millisecond; until it can, what it has begun stands still, and others begin what is queued. If
 *  it lasts, `monad_async_pool_destroy` waits for what it has begun for ever; if it is so of all
 *  workers, `monad_async_pool_wait` gives up. Workers that leave (`monad_async_pool_resize`,
 *  `MONAD_ASYNC_POOL_RETURN`) are not asked: ask before. ANY THREAD. Does not suspend.
 *  @param pool the pool
 *  @param[out] index the first such worker, as for `monad_async_pool_worker`, at this moment;
 *  untouched if there is none; NULL: not wanted
 *  @return the errno; 0: there is no such worker
 *  @retval EINVAL NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_executor_run() */
MONAD_ASYNC_API monad_async_result
monad_async_pool_kernel_error(monad_async_pool pool, size_t *index) MONAD_ASYNC_NOEXCEPT;

/** Whether a task waits in the queue of a pool. ANY THREAD.
 *  @param task the task
 *  @return at this moment; false also for NULL
 *  @see monad_async_pool_submit() */
MONAD_ASYNC_API bool monad_async_task_is_queued(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

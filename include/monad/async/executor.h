#ifndef MONAD_ASYNC_EXECUTOR_H
#define MONAD_ASYNC_EXECUTOR_H

/** @file executor.h
 *  The executor: one per thread, runs tasks, owns an io_uring. */

#include "config.h"
#include "result.h"
#include "ticks.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <linux/io_uring.h>

MONAD_ASYNC_EXTERN_C_BEGIN

struct monad_async_task_head;
struct monad_async_executor_head;
typedef struct monad_async_task_head *monad_async_task;
typedef struct monad_async_executor_head *monad_async_executor;

/** The part of an executor that users may read, on the thread that owns it. */
struct monad_async_executor_head {
    /** The task that runs now; NULL outside a task. */
    monad_async_task current_task;
    /** Tasks attached and not begun; running (0 or 1); suspended. */
    size_t tasks_pending_launch, tasks_running, tasks_suspended;
    /** All ticks spent in `monad_async_executor_run`, and the four parts they divide into: running
     *  tasks from their launch to their first suspension or exit; asking the kernel without
     *  waiting; waiting; running tasks from a resumption to the next suspension or exit. */
    monad_async_cpu_ticks_count_t total_ticks_in_run, total_ticks_in_task_launch,
        total_ticks_in_io_uring, total_ticks_sleeping, total_ticks_in_task_completion;
    /** Operations that tasks handed to, and got back from, the kernel. */
    uint64_t total_io_submitted, total_io_completed;
};

/** Ticks stay 0: saves the time-stamp reads. */
#define MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING 1u

/** How to make an executor. Set all to 0 first, then what you need. */
struct monad_async_executor_attr {
    struct {
        /** Submission entries, rounded up to a power of two; 0: a compute-only executor. */
        unsigned entries;
        /** Wishes to the kernel: `flags` may hold IORING_SETUP_CQSIZE (with `cq_entries`),
         *  IORING_SETUP_CLAMP and IORING_SETUP_ATTACH_WQ (with `wq_fd`); else EINVAL. */
        struct io_uring_params params;
    } io_uring_ring;
    /** MONAD_ASYNC_EXECUTOR_*. */
    uint32_t flags;
    /** Must be 0, else EINVAL. */
    uint32_t reserved[15];
};

MONAD_ASYNC_API monad_async_result monad_async_executor_create(
    monad_async_executor *ex, struct monad_async_executor_attr const *attr) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API char const *monad_async_last_create_error(void) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API monad_async_result
monad_async_executor_destroy(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API monad_async_result monad_async_executor_run(
    monad_async_executor ex, size_t max_items, struct timespec const *timeout);
MONAD_ASYNC_API monad_async_result
monad_async_executor_wake(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API bool
monad_async_executor_has_work(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API char *
monad_async_executor_config_string(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API void monad_async_free(void *p) MONAD_ASYNC_NOEXCEPT;
/** The library's version at run time, e.g. "0.1.0"; compare with MONAD_ASYNC_VERSION_*. */
MONAD_ASYNC_API char const *monad_async_version(void) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

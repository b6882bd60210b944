#ifndef MONAD_ASYNC_METRICS_H
#define MONAD_ASYNC_METRICS_H

/** @file metrics.h
 *  What executors have done, in numbers that any thread may read, and as text for Prometheus. The
 *  executors of a pool are told of by their tasks, `task->current_executor`; for C++: metrics.hpp.
 *
 *  The words OWNER'S THREAD, ANY THREAD and EXPENSIVE are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "result.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Buckets of a histogram: one for each number up to 31, then 16 between a power of two and the
 *  next, so that a value is told to a sixteenth. */
#define MONAD_ASYNC_HISTOGRAM_BUCKETS 720

/** How often something took how long. */
typedef struct monad_async_histogram {
    /** Of all values; `monad_async_ticks_to_ns`. */
    uint64_t sum_ticks;
    /** The longest. */
    uint64_t max_ticks;
    /** How many values are in each bucket, see `monad_async_histogram_bound_ns`. */
    uint64_t buckets[MONAD_ASYNC_HISTOGRAM_BUCKETS];
} monad_async_histogram;

/** What an executor has counted since `monad_async_metrics_start`; what begins with `ticks` or
 *  `io`, since it was made. */
struct monad_async_metrics {
    uint64_t launches;                 /**< Runs of tasks that began. */
    uint64_t sleeps;                   /**< Waits with nothing ready. */
    uint64_t wakeups;                  /**< By other threads; several at once are one. */
    uint64_t enters;                   /**< Times that the kernel was asked. */
    uint64_t tasks_pending_launch;     /**< At the end of the last `run`, as the next two. */
    uint64_t tasks_running;            /**< 0 or 1. */
    uint64_t tasks_suspended;          /**< As of the executor's head. */
    uint64_t ticks_in_run;             /**< As of the executor's head, as the next four. */
    uint64_t ticks_in_task_launch;     /**< In tasks from their launch to a suspension. */
    uint64_t ticks_in_io_uring;        /**< With the kernel. */
    uint64_t ticks_sleeping;           /**< With nothing to do. */
    uint64_t ticks_in_task_completion; /**< In tasks after a resumption. */
    uint64_t io_submitted;             /**< Operations that were begun. */
    uint64_t io_completed;             /**< And that are over. */
    uint64_t stacks_in_use;            /**< Of the whole process. */
    uint64_t ticks_per_second;         /**< As `monad_async_ticks_per_second`. */
    uint64_t operations[64];           /**< That were begun, by `IORING_OP_*`. */
    /** How long a task was ready before it ran, for each priority. Its buckets' sum is the number
     *  of items that ran. */
    monad_async_histogram ready[3];
};

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_metrics, operations, 128);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_metrics, ready, 640);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_metrics, 17968);
/** @endcond */

/** Starts to count, for the executor's life: some 5 to 15 ns an item, from the stamps that are
 *  taken anyway (docs/performance.md). OWNER'S THREAD. EXPENSIVE: 18 KiB.
 *  @param ex the executor
 *  @retval 0 counting, from now on or before
 *  @retval EINVAL NULL
 *  @retval ENOMEM no memory
 *  @retval ENOTSUP it has no time tracking
 *  @retval EPERM another thread
 *  @see monad_async_executor_metrics() */
MONAD_ASYNC_API monad_async_result monad_async_metrics_start(monad_async_executor ex)
    MONAD_ASYNC_NOEXCEPT;

/** Reads what was counted. ANY THREAD; no lock but that of the stacks' pool. Each number is whole;
 *  those that change during the call may not fit each other.
 *  @param ex the executor, which must outlive the call
 *  @param[out] out untouched on an error
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @retval ENODATA `monad_async_metrics_start` was not called
 *  @see monad_async_metrics_start(), monad_async_metrics_text() */
MONAD_ASYNC_API monad_async_result monad_async_executor_metrics(
    monad_async_executor ex, struct monad_async_metrics *out) MONAD_ASYNC_NOEXCEPT;

/** Writes the metrics of some executors in the text format of Prometheus, version 0.0.4, under
 *  their names (inspect.h), or numbers from 1 in the order given. ANY THREAD. EXPENSIVE:
 *  allocates.
 *  @param executors which must outlive the call, with different names
 *  @param count of them
 *  @param[out] buffer receives the text, as far as it fits, and a zero; may be NULL
 *  @param bytes of the buffer
 *  @return value: the length of the whole text, some 6 KiB an executor
 *  @retval EINVAL NULL
 *  @retval ENOMEM no memory
 *  @retval ENODATA `monad_async_metrics_start` was not called for one of them
 *  @see monad_async_executor_metrics() */
MONAD_ASYNC_API monad_async_result monad_async_metrics_text(monad_async_executor const *executors,
                                                            size_t count, char *buffer,
                                                            size_t bytes) MONAD_ASYNC_NOEXCEPT;

/** The first number of nanoseconds that is above a bucket. ANY THREAD.
 *  @param bucket its index
 *  @return nanoseconds; above the last: some hours
 *  @see monad_async_histogram_percentile_ns() */
MONAD_ASYNC_API uint64_t monad_async_histogram_bound_ns(size_t bucket) MONAD_ASYNC_NOEXCEPT;

/** The time that so many of a thousand values do not exceed. ANY THREAD.
 *  @param histogram of an executor's metrics
 *  @param per_mille 500: the median; 1000: the longest
 *  @return nanoseconds, at most a sixteenth too many; 0 without values
 *  @see monad_async_histogram_bound_ns() */
MONAD_ASYNC_API uint64_t monad_async_histogram_percentile_ns(
    monad_async_histogram const *histogram, uint32_t per_mille) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

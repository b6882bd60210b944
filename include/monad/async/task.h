#ifndef MONAD_ASYNC_TASK_H
#define MONAD_ASYNC_TASK_H

/** @file task.h
 *  The task: a function with a stack of its own, that an executor runs. */

#include "config.h"
#include "executor.h"
#include "result.h"
#include "ticks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** One of the monad_async_priority_* constants. */
typedef uint8_t monad_async_priority;
enum {
    monad_async_priority_high = 0,
    monad_async_priority_normal = 1,
    monad_async_priority_low = 2
};

/** The part of a task that users may see; the task's own stack lies right below it. */
struct monad_async_task_head {
    /* May be set by the user while the task is not attached. */
    struct {
        monad_async_priority cpu, io;
    } priority;
    monad_async_result result;
    monad_async_result (*user_code)(struct monad_async_task_head *);
    void *user_ptr;

    /* Read-only for users from here. */
    bool is_pending_launch, is_running, is_suspended_awaiting, is_suspended_completed;
    monad_async_executor current_executor;
    monad_async_cpu_ticks_count_t ticks_when_attached, ticks_when_detached,
        ticks_when_suspended_awaiting, ticks_when_suspended_completed, ticks_when_resumed,
        total_ticks_executed;
};

/** How to make a task. Set all to 0 first. */
struct monad_async_task_attr {
    /** Bytes of stack that user_code may use; 0: the default, 128 KiB. Rounded up to pages; at
     *  least 16 KiB are given. Only what is touched takes memory. */
    size_t stack_size;
    /** Must be 0, else EINVAL. */
    uint64_t reserved[7];
};

MONAD_ASYNC_API monad_async_result monad_async_task_create(
    monad_async_task *task, struct monad_async_task_attr const *attr) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API monad_async_result
monad_async_task_destroy(monad_async_task task) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API monad_async_result
monad_async_task_attach(monad_async_executor ex, monad_async_task task) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API monad_async_result
monad_async_task_suspend_for_duration(monad_async_task task, uint64_t ns);
MONAD_ASYNC_API monad_async_result
monad_async_task_io(monad_async_task task, struct io_uring_sqe const *sqe);
MONAD_ASYNC_API monad_async_result
monad_async_task_cancel(monad_async_executor ex, monad_async_task task) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API monad_async_result
monad_async_task_join(monad_async_task self, monad_async_task other);
MONAD_ASYNC_API monad_async_result monad_async_task_set_priorities(
    monad_async_task task, monad_async_priority cpu, monad_async_priority io) MONAD_ASYNC_NOEXCEPT;
MONAD_ASYNC_API bool monad_async_task_has_exited(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** The task that runs on the calling thread; NULL outside a task. Any thread; does not suspend; a
 *  nanosecond. */
MONAD_ASYNC_API monad_async_task monad_async_task_current(void) MONAD_ASYNC_NOEXCEPT;

/** The flags of the completion that the task's last `monad_async_task_io` ended with: the buffer
 *  that IOSQE_BUFFER_SELECT chose, for one. Owner's thread. */
MONAD_ASYNC_API uint32_t
monad_async_task_io_cqe_flags(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

#ifndef MONAD_ASYNC_TASK_H
#define MONAD_ASYNC_TASK_H

/** @file task.h
 *  The task: a function with a stack of its own, that an executor runs.
 *
 *  The words ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h. A task's life:
 *
 *  @verbatim
                    attach                 run                        its function returns
      idle --------------> pending launch -----> running -------------------------------> idle again
                                                  |   ^                                (has exited)
                                        a call    |   |  run, once what it waits for is there:
                                        suspends  v   |  completed, expired, cancelled
                                                suspended
    @endverbatim
 *
 *  A started task never changes its thread. A switch keeps the registers that a call keeps, and the
 *  state of C++ exceptions; not `errno`, nor the control words of floating point (rounding, masks):
 *  what a task changes of them, the others see.
 *
 *  To the rest of the program all tasks of an executor are one thread. So a task must not suspend while
 *  it holds a mutex that another task of the thread may want, nor while it initialises a static
 *  variable of a C++ function; and what it keeps in a thread-local variable, the others change.
 *
 *  Tasks wait for each other by `monad_async_task_join`, or by a suspension until cancelled, which the
 *  other one's `monad_async_task_cancel` ends; with descriptors, by any operation on a pipe or an
 *  eventfd. A deadline of an operation is a second task that sleeps and then cancels the first. */

#include "config.h"
#include "executor.h"
#include "result.h"
#include "ticks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** One of `monad_async_priority_high`, `_normal`, `_low`. */
typedef uint8_t monad_async_priority;
/** The levels of CPU and of I/O priority. */
enum {
    monad_async_priority_high = 0,   /**< before everything else */
    monad_async_priority_normal = 1, /**< what a new task has */
    monad_async_priority_low = 2     /**< when nothing else is ready */
};

/** The part of a task that users may see; it does not move until the task is destroyed. While the task
 *  is attached, only the thread of its executor may look. */
struct monad_async_task_head {
    /** To be set while the task is idle; else with `monad_async_task_set_priorities`. Values above low
     *  count as low. */
    struct {
        /** Decides what runs next. */
        monad_async_priority cpu;
        /** Decides who gets the next free submission entry, and goes to the kernel with reads and
         *  writes. */
        monad_async_priority io;
    } priority;
    /** What the last run of `user_code` returned; `ECANCELED` if it was cancelled before it began. */
    monad_async_result result;
    /** What the task runs. To be set before the first launch, and whenever the task is idle; it stays
     *  for the next launch. Nothing may be thrown out of it: that ends the process. */
    monad_async_result (*user_code)(struct monad_async_task_head *);
    /** Yours. */
    void *user_ptr;

    /* Read-only for users from here. */

    /** Attached, not begun. */
    bool is_pending_launch;
    /** Runs now. */
    bool is_running;
    /** Suspended, and what it waits for is not there yet. */
    bool is_suspended_awaiting;
    /** Suspended, and ready to go on. */
    bool is_suspended_completed;
    /** The executor it is attached to; NULL when idle. */
    monad_async_executor current_executor;
    /** The last `monad_async_task_attach`. It sets all the following to 0. */
    monad_async_cpu_ticks_count_t ticks_when_attached;
    /** The last exit. */
    monad_async_cpu_ticks_count_t ticks_when_detached;
    /** The last suspension. */
    monad_async_cpu_ticks_count_t ticks_when_suspended_awaiting;
    /** When the last suspension's wait was seen to be over. */
    monad_async_cpu_ticks_count_t ticks_when_suspended_completed;
    /** When it was last given the CPU. */
    monad_async_cpu_ticks_count_t ticks_when_resumed;
    /** Time on the CPU since it was attached, up to the last suspension or exit. */
    monad_async_cpu_ticks_count_t total_ticks_executed;
};

/** How to make a task. Set all of it to 0 first (`MONAD_ASYNC_TASK_ATTR_INIT`): fields only ever get
 *  appended, in place of `reserved`. */
struct monad_async_task_attr {
    /** Bytes of stack that `user_code` may use; 0: the default, 128 KiB. Rounded up to pages; at
     *  least 16 KiB are given. Only what is touched takes memory. An overflow ends the process, with
     *  a message: below the stack are 16 KiB that must not be touched. A single frame may be larger
     *  (a buffer, `alloca`) and step over them into another task's stack, unless the code is compiled
     *  with `-fstack-clash-protection`. */
    size_t stack_size;
    /** Must be 0, else `EINVAL`. */
    uint64_t reserved[7];
};

/** Initialises a `monad_async_task_attr` with the defaults: all 0. */
#define MONAD_ASYNC_TASK_ATTR_INIT MONAD_ASYNC_ALL_ZERO

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, priority.cpu, 0);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, priority.io, 1);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, result, 8);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, user_code, 24);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, user_ptr, 32);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, is_pending_launch, 40);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, is_running, 41);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, is_suspended_awaiting, 42);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, is_suspended_completed, 43);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, current_executor, 48);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, ticks_when_attached, 56);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, ticks_when_detached, 64);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, ticks_when_suspended_awaiting, 72);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, ticks_when_suspended_completed, 80);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, ticks_when_resumed, 88);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, total_ticks_executed, 96);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_task_head, 104);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_attr, stack_size, 0);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_attr, reserved, 8);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_task_attr, 64);
/** @endcond */

/** Makes a task, idle, with a stack. ANY THREAD. EXPENSIVE: so keep it, and launch it again and
 *  again.
 *  @param[out] task the task; untouched on an error
 *  @param attr how to make it
 *  @return 0; `ENOMEM`: memory, address space or, before Linux 6.13, mappings; `EINVAL`: attributes */
MONAD_ASYNC_API monad_async_result monad_async_task_create(
    monad_async_task *task, struct monad_async_task_attr const *attr) MONAD_ASYNC_NOEXCEPT;

/** Gives the task's memory back. ANY THREAD. EXPENSIVE.
 *  @param task an idle task; no longer to be used, unless there is an error
 *  @return 0, or with nothing changed `EBUSY`: it is attached */
MONAD_ASYNC_API monad_async_result
monad_async_task_destroy(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** Launches an idle task: the executor will call its `user_code`, when it is the oldest of the
 *  highest priority. ANY THREAD. From the executor's own, tasks included: no lock, no atomic
 *  read-modify-write, no malloc, no system call; about 10 ns. From another: lock-free, and a system
 *  call only if the executor sleeps; the caller must have seen `monad_async_task_has_exited` where
 *  the task ran before. Of several other threads that launch one task at once, one succeeds; but the
 *  executor's own thread takes no lock and must not be one of them.
 *  @param ex the executor, which must outlive the call
 *  @param task an idle task whose `user_code` is set; must live until it has exited
 *  @return 0, or with nothing changed: `EINVAL`: no `user_code`; `EBUSY`: it is attached */
MONAD_ASYNC_API monad_async_result
monad_async_task_attach(monad_async_executor ex, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS the running task. Deadlines are kept in user space: a sleep makes no system call of its
 *  own.
 *  @param task the task that runs, which is the caller
 *  @param ns 0: yields, so that every ready task of the same or a higher priority runs first, and the
 *  kernel is not asked just for that. Else sleeps for at least so many nanoseconds of the boot-time
 *  clock, which goes on while the machine sleeps. `UINT64_MAX`: until cancelled.
 *  @return 0; `ECANCELED`: it was cancelled; `EPERM`: not the running task, or another thread */
MONAD_ASYNC_API monad_async_result
monad_async_task_suspend_for_duration(monad_async_task task, uint64_t ns);

/** SUSPENDS the running task until an operation of io_uring is complete; about 100 ns beside the
 *  operation itself when many tasks do so at once. What the entry refers to must live until the call
 *  returns, and may lie on the task's stack. A full submission queue and what the kernel cannot take
 *  at the moment are waited for: no operation is lost, reordered within one task, or failed because
 *  of them.
 *  @param task the task that runs, which is the caller
 *  @param sqe any operation that completes exactly once; copied. `user_data` is the library's;
 *  `ioprio` of reads and writes too, where it is 0
 *  @return the completion's `res` if it is not negative, else its errno. `EINVAL`: links, multishot,
 *  CQE-skip, drains; `ENOTSUP`: a compute-only executor; `ECANCELED`: cancelled before it completed (a
 *  zero-copy send is complete when its buffers are free again);
 *  `EPERM`: not the running task, or another thread */
MONAD_ASYNC_API monad_async_result
monad_async_task_io(monad_async_task task, struct io_uring_sqe const *sqe);

/** Asks a task to end. Cancelling is cooperative: the task leaves by its own returns, and may choose
 *  not to. ANY THREAD; from another than the executor's it is posted there (a malloc) and takes
 *  effect when the executor next looks.
 *
 *  - Pending launch: it never begins; its result is `ECANCELED`.
 *  - Suspended: its operation is cancelled, and the suspension returns `ECANCELED`; unless the
 *    operation had completed, then the suspension returns the real result, and the next one
 *    `ECANCELED`. Exactly one outcome: no byte count is lost.
 *  - Running: its next suspension returns `ECANCELED`.
 *
 *  A request is used up by the one `ECANCELED` that it gives, so that clean-up may suspend again. Of
 *  several that come before the task has run again, the first ends the suspension, and the others
 *  together end the next one.
 *  @param ex the executor that the task is attached to; must outlive the call
 *  @param task the task; must outlive the call
 *  @return 0; `ENOENT`: not attached to `ex` (from another thread: nothing happens then); `ENOMEM`:
 *  from another thread */
MONAD_ASYNC_API monad_async_result
monad_async_task_cancel(monad_async_executor ex, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS the running task until another one has exited, on this executor or on another.
 *  @param self the task that runs, which is the caller
 *  @param other a task that was attached at least once; must live until the call returns
 *  @return `other`'s result, at once if it has exited already; or `EDEADLK`: itself; `EINVAL`: never
 *  attached; `ECANCELED`: `self` was cancelled; `EPERM`: not the running task, or another thread;
 *  `ESRCH`: another thread launched `other` again before the question had reached its executor, and
 *  the result that was meant is gone. An errno may be either's: where it matters, ask
 *  `monad_async_task_has_exited` of `other` */
MONAD_ASYNC_API monad_async_result
monad_async_task_join(monad_async_task self, monad_async_task other);

/** Sets both priorities. They hold from the next scheduling decision on: a task that is ready goes to
 *  the end of its new level. The executor's thread; any one while the task is idle.
 *  @param task the task
 *  @param cpu decides what runs next
 *  @param io decides who gets the next free submission entry, and goes to the kernel with reads and
 *  writes that begin afterwards
 *  @return 0; `EINVAL`: no such level; `EPERM`: attached, and another thread */
MONAD_ASYNC_API monad_async_result monad_async_task_set_priorities(
    monad_async_task task, monad_async_priority cpu, monad_async_priority io) MONAD_ASYNC_NOEXCEPT;

/** Whether the task's last run is over. ANY THREAD. A load, which acquires: once true, `result` may
 *  be read, what the task wrote is visible, and it may be launched again or destroyed.
 *  @param task the task
 *  @return true after its exit until it is attached again; false before its first launch */
MONAD_ASYNC_API bool monad_async_task_has_exited(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** ANY THREAD. A nanosecond.
 *  @param task the task
 *  @return true from its launch until it has exited: it may be neither launched nor destroyed. False
 *  for NULL, and before the first launch */
MONAD_ASYNC_API bool monad_async_task_is_attached(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** The task that runs on the calling thread. ANY THREAD; a nanosecond.
 *  @return NULL outside a task */
MONAD_ASYNC_API monad_async_task monad_async_task_current(void) MONAD_ASYNC_NOEXCEPT;

/** The flags of the completion that the task's last `monad_async_task_io` ended with: the buffer that
 *  `IOSQE_BUFFER_SELECT` chose, for one. The executor's thread; a load.
 *  @param task the task
 *  @return `IORING_CQE_F_*` */
MONAD_ASYNC_API uint32_t
monad_async_task_io_cqe_flags(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

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
 *  what a task changes of them, the others see. So save `errno` before a call that SUSPENDS, if it
 *  is to be read after it: `int const why = errno;`.
 *
 *  A task has a stack reserved from the time it is made. A launch runs on one that the executor
 *  keeps warm, of the same size; a task that suspends keeps that one, and the executor gets the
 *  task's. So it is on one stack for the whole of a run, maybe on another in the next, and a task
 *  that never suspends takes hardly any memory. What a run has left on its stack, others overwrite.
 *
 *  To the rest of the program all tasks of an executor are one thread. So a task must not suspend
 *  while it holds a mutex that another task of the thread may want, nor while it initialises a
 *  static variable of a C++ function; and what it keeps in a thread-local variable, the others
 *  change.
 *
 *  Tasks wait for each other by `monad_async_task_join`, and by `monad_async_task_park`, which
 *  another one's `monad_async_task_unpark` ends; with descriptors, by any operation on a pipe or an
 *  eventfd. A deadline is a scope: scope.h. Several operations at once: op.h. */

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

/** The part of a task that users may see; it does not move until the task is destroyed. While the
 *  task is attached, only the thread of its executor may look. */
struct monad_async_task_head {
    /** To be set while the task is idle; else with `monad_async_task_set_priorities`. Values above
     *  low count as low. */
    struct {
        /** Decides what runs next. */
        monad_async_priority cpu;
        /** Decides who gets the next free submission entry, and goes to the kernel with reads and
         *  writes. */
        monad_async_priority io;
    } priority;
    /** @cond the library's: a name or a permit has come */
    uint8_t has_past_;
    /** @endcond */
    /** What the last run of `user_code` returned; `ECANCELED` if it was cancelled before it
     *  began. */
    monad_async_result result;
    /** What the task runs. To be set before the first launch, and whenever the task is idle; it
     *  stays for the next launch. Nothing may be thrown out of it: that ends the process. Nor may
     *  `longjmp` leave it: within a task it works, out of one the executor is left in the middle of
     *  a switch. */
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

/** How to make a task. Set all of it to 0 first (`MONAD_ASYNC_TASK_ATTR_INIT`): fields only ever
 *  get appended, in place of `reserved`. */
struct monad_async_task_attr {
    /** Bytes of stack that `user_code` may use; 0: the default, 128 KiB. Rounded up to pages; at
     *  least 16 KiB are given. Only what is touched takes memory, from then on until the task is
     *  destroyed. An overflow ends the process, with a message: below the stack are 16 KiB that
     *  must not be touched. A single frame may be larger (a buffer, `alloca`) and step over them
     *  into another task's stack, unless the code is compiled with `-fstack-clash-protection`.
     *
     *  Of the library's calls that SUSPEND, none takes more than 2 KiB of it in a release
     *  build, except for `monad_async_select`, 4 KiB, and those that make a helper thread, 8
     *  KiB (blocking.h, and what the ring lacks). The handler of a signal takes its frame,
     *  unless it has an alternate stack; and the dynamic loader some KiB, at the first call of
     *  a function of a shared library that is not linked with `-z now`. */
    size_t stack_size;
    /** Must be 0, else `EINVAL`. */
    uint64_t reserved[7];
};

/** Initialises a `monad_async_task_attr` with the defaults: all 0. */
#define MONAD_ASYNC_TASK_ATTR_INIT MONAD_ASYNC_ALL_ZERO

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, priority.cpu, 0);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, priority.io, 1);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_task_head, has_past_, 2);
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
 *  @param attr how to make it; NULL: the defaults
 *  @retval 0 made
 *  @retval ENOMEM no memory, no address space or, before Linux 6.13, no more mappings, of which a
 *  fifth of what a process may have is left to others
 *  @retval EINVAL NULL, or attributes that are not known
 *  @see monad_async_task_destroy(), monad_async_task_attach() */
MONAD_ASYNC_API monad_async_result monad_async_task_create(
    monad_async_task *task, struct monad_async_task_attr const *attr) MONAD_ASYNC_NOEXCEPT;

/** Gives the task's memory back. ANY THREAD. EXPENSIVE.
 *  @param task an idle task; no longer to be used, unless there is an error
 *  @retval 0 done
 *  @retval EBUSY it is attached; nothing changed
 *  @retval EINVAL NULL
 *  @see monad_async_task_has_exited() */
MONAD_ASYNC_API monad_async_result monad_async_task_destroy(monad_async_task task)
    MONAD_ASYNC_NOEXCEPT;

/** Launches an idle task: the executor will call its `user_code`, when it is the oldest of the
 *  highest priority. ANY THREAD. From the executor's own, tasks included: no lock, no atomic
 *  read-modify-write, no malloc, no system call; about 10 ns. From another: lock-free, and a system
 *  call only if the executor sleeps; the caller must have seen `monad_async_task_has_exited` where
 *  the task ran before. Of several other threads that launch one task at once, one succeeds; but
 *  the executor's own thread takes no lock and must not be one of them.
 *  @param ex the executor, which must outlive the call
 *  @param task an idle task whose `user_code` is set; must live until it has exited
 *  @retval 0 launched
 *  @retval EINVAL NULL, or no `user_code`; nothing changed
 *  @retval EBUSY it is attached; nothing changed
 *  @retval ESHUTDOWN C++'s `~executor` has begun on another thread; nothing changed
 *  @retval EPERM in the child of a `fork`
 *  @see monad_async_task_has_exited(), monad_async_task_join(), monad_async_remote_attach() */
MONAD_ASYNC_API monad_async_result
monad_async_task_attach(monad_async_executor ex, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS the running task. Deadlines are kept in user space: a sleep makes no system call of its
 *  own.
 *  @param task the task that runs, which is the caller
 *  @param ns 0: yields, so that every ready task of the same or a higher priority runs first, and
 *  the kernel is not asked just for that. Else sleeps for at least so many nanoseconds of the
 *  boot-time clock, which goes on while the machine sleeps. `UINT64_MAX`: until cancelled.
 *  @retval 0 the time has passed
 *  @retval ECANCELED the task or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_task_suspend_until(), monad_async_scope_enter() */
MONAD_ASYNC_API monad_async_result monad_async_task_suspend_for_duration(monad_async_task task,
                                                                         uint64_t ns);

/** SUSPENDS the running task until a time. As `monad_async_task_suspend_for_duration`, without the
 *  drift of a loop that measures for itself.
 *  @param task the task that runs, which is the caller
 *  @param boot_ns nanoseconds of the boot-time clock, as of `monad_async_now_ns`; what is over
 *  yields; `UINT64_MAX`: until cancelled
 *  @return as `monad_async_task_suspend_for_duration`
 *  @see monad_async_now_ns() */
MONAD_ASYNC_API monad_async_result monad_async_task_suspend_until(monad_async_task task,
                                                                  uint64_t boot_ns);

/** The boot-time clock, which goes on while the machine sleeps. ANY THREAD; no system call where
 *  the machine has a vDSO.
 *  @return nanoseconds since the machine was started
 *  @see monad_async_task_suspend_until(), monad_async_timeout_until() */
MONAD_ASYNC_API uint64_t monad_async_now_ns(void) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS the running task until an operation of io_uring is complete; about 100 ns on top of the
 *  operation itself when many tasks do so at once. What the entry refers to must live until the
 *  call returns, and may lie on the task's stack. A full submission queue and what the kernel
 *  cannot take at the moment are waited for: no operation is lost, reordered within one task, or
 *  failed because of them.
 *
 *  To close a descriptor does not end the operations on it, which hold the file open: cancel the
 *  tasks that wait, or `shutdown` the socket.
 *  @param task the task that runs, which is the caller
 *  @param sqe any operation that completes exactly once; copied before the call suspends.
 *  `user_data` is the library's; `ioprio` of reads and writes too, where it is 0
 *  @return the completion's `res` if it is not negative, else its errno. `EINTR`, and an
 *  `ECANCELED` that nobody asked for, are the kernel's own trouble: the operation is begun again;
 *  `EAGAIN` if that goes on
 *  @retval EINPROGRESS an `IORING_OP_CLOSE` was interrupted: the descriptor is closed, and what the
 *  file system had to write back may be on its way. It is not begun again, as its number may be
 *  another file's by then
 *  @retval EINVAL links, drains, CQE-skip, multishot, bundles; an opcode that names another
 *  operation (`IORING_OP_ASYNC_CANCEL`), sends completions elsewhere (`IORING_OP_MSG_RING`), or is
 *  not known to this version
 *  @retval ENOTSUP a compute-only executor
 *  @retval EOPNOTSUPP also: an opcode that the kernel lacks
 *  @retval ECANCELED the task or a scope was cancelled before the operation completed (a zero-copy
 *  send is complete when its buffers are free again)
 *  @retval ETIME a scope's deadline passed before it completed
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_task_io_until() */
MONAD_ASYNC_API monad_async_result monad_async_task_io(monad_async_task task,
                                                       struct io_uring_sqe const *sqe);

/** Asks a task to end. Cancelling is cooperative: the task leaves by its own returns, and may
 *  choose not to. ANY THREAD; no malloc. From another than the executor's, it takes effect when the
 *  executor next looks; it wakes the executor if that sleeps. Of several requests that come before
 *  it has looked, one is on its way.
 *
 *  - Pending launch: it never begins; its result is `ECANCELED`.
 *  - Else a cancel is **sticky**: from now on every suspending call of the task returns `ECANCELED`
 *    at once, outside a shield (scope.h), until the task exits or calls
 *    `monad_async_task_uncancel`. The call that it is suspended in has its operation cancelled, and
 *    returns `ECANCELED`, or the real result if that was there first: no byte count is lost.
 *
 *  Clean-up that must suspend does so in a shield. Only the run that is under way is ever
 *  cancelled, never a later one.
 *  @param ex the executor that the task is attached to, which must outlive the call; NULL: wherever
 *  it is attached
 *  @param task the task; must outlive the call
 *  @retval 0 asked
 *  @retval ENOENT not attached to `ex`, or, with NULL, to any; nothing happens
 *  @retval EINVAL `task` is NULL
 *  @retval EPERM after `fork`
 *  @see monad_async_scope_cancel() for a part of a task, monad_async_op_cancel() for an operation,
 *  monad_async_task_uncancel() */
MONAD_ASYNC_API monad_async_result
monad_async_task_cancel(monad_async_executor ex, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** Takes the cancel of the running task back: its calls suspend again. Does not suspend.
 *  @param task the task that runs, which is the caller
 *  @return value 1 if it had been cancelled, else 0
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_task_cancel_requested() */
MONAD_ASYNC_API monad_async_result monad_async_task_uncancel(monad_async_task task)
    MONAD_ASYNC_NOEXCEPT;

/** Whether the running task was cancelled: for loops that do not suspend. Inside a shield too. A
 *  load.
 *  @param task the task that runs, which is the caller
 *  @return what was seen at the last look at other threads, at the latest; false for NULL
 *  @see monad_async_task_cancel() */
MONAD_ASYNC_API bool monad_async_task_cancel_requested(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** Whether the running task is interrupted: what each of its calls that has to suspend returns at
 *  once, from here on. Does not suspend; about 1 ns, and a look at the clock for a scope with a
 *  deadline that has not fired: so a deadline counts from the moment on that it passes. A cancel by
 *  another thread counts once the executor has looked at other threads, as it does between tasks.
 *
 *  It tells whose time is up after an `ETIME` of a call that has a time of its own
 *  (`monad_async_mutex_lock_until` and the like): 0: the call's own, and it may be made again;
 *  `ETIME`: that of a scope around it, and it would return `ETIME` at once, for ever. And a loop
 *  of calls that never have to wait asks it now and then, to end with its scope.
 *
 *  @snippet scopes.c whose time is up
 *
 *  @param task the task that runs, which is the caller
 *  @retval 0 it is not
 *  @retval ECANCELED the task or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_scope_enter(), monad_async_task_cancel_requested() */
MONAD_ASYNC_API monad_async_result monad_async_task_interrupted(monad_async_task task)
    MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS until `monad_async_task_unpark`, or returns at once if there was one since the last
 *  return: one permit is kept, however many came, and stays from one run of the task to the next;
 *  not where C++ or a pool takes its task again for another body. What waits are made of: the task
 *  writes down what it waits for, parks, and looks again.
 *
 *  @snippet waiting.c a park
 *
 *  @param task the task that runs, which is the caller
 *  @retval 0 a permit was taken
 *  @retval ECANCELED the task or a scope was cancelled; no permit was taken
 *  @retval ETIME a scope's deadline passed; no permit was taken
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_task_park_until() */
MONAD_ASYNC_API monad_async_result monad_async_task_park(monad_async_task task);

/** Ends a `monad_async_task_park`, the present or the next one. ANY THREAD. Wait-free; no malloc; a
 *  system call only if the task's executor sleeps. What was written before it is visible to the
 *  task after park.
 *  @param task the task, running or not; must outlive the call
 *  @retval 0 done
 *  @retval EINVAL NULL
 *  @see monad_async_task_park() */
MONAD_ASYNC_API monad_async_result monad_async_task_unpark(monad_async_task task)
    MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS the running task until another one has exited, on this executor or on another, which
 *  must go on to be run until its answer has come, or be destroyed.
 *  @param self the task that runs, which is the caller
 *  @param other a task that was attached at least once; must live until the call returns
 *  @return the result of `other`'s run that is under way, or was the last; at once if it has exited
 *  already. An errno may be `other`'s own: where it matters, ask `monad_async_task_has_exited`
 *  @retval EDEADLK itself; or `other` joins `self`, through up to 63 others it may be, on whatever
 *  executors: of tasks that join each other the last is told so, and one of several that do at the
 *  same moment. So it is where the last of those, or `other`, waits for the group of `self`, or of
 *  one that waits for that (group.h). A join counts that a scope will end, but none that was
 *  cancelled, nor a case of `monad_async_select`
 *  @retval EINVAL NULL, or never attached
 *  @retval ESRCH another thread launched `other` again before the question had reached its
 *  executor, and the result that was meant is gone; or the launch that was meant met the end of its
 *  executor (`ESHUTDOWN`)
 *  @retval ECANCELED `self` or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EPERM not the running task, or another thread; in the child of a `fork`, `other` is
 *  attached in the parent
 *  @see monad_async_task_join_until() */
MONAD_ASYNC_API monad_async_result monad_async_task_join(monad_async_task self,
                                                         monad_async_task other);

/** Blocks the calling thread, which runs no task, until `other` has exited. ANY THREAD but one
 *  inside a task. EXPENSIVE: allocates.
 *  @param other a task that was attached at least once; must live until the call returns
 *  @param timeout_ns how long to wait at most; `UINT64_MAX`: for ever; 0: not at all
 *  @return `other`'s result: of the run that is under way, or was the last
 *  @retval ETIME it had not exited by then; or its own result
 *  @retval EDEADLK inside a task; or on its executor's own thread, where nobody would run it
 *  @retval EINVAL NULL, or never attached
 *  @retval ESRCH as `monad_async_task_join`
 *  @retval EPERM in the child of a `fork`: `other` is attached in the parent
 *  @retval ENOMEM no memory
 *  @see monad_async_task_join() */
MONAD_ASYNC_API monad_async_result monad_async_task_wait(monad_async_task other,
                                                         uint64_t timeout_ns);

/** Sets both priorities. They hold from the next scheduling decision on: a task that is ready goes
 *  to the end of its new level. The executor's thread; any one while the task is idle.
 *  @param task the task
 *  @param cpu decides what runs next
 *  @param io decides who gets the next free submission entry, and goes to the kernel with reads and
 *  writes that begin afterwards
 *  @retval 0 set
 *  @retval EINVAL NULL, or no such level
 *  @retval EPERM attached, and another thread than its executor's */
MONAD_ASYNC_API monad_async_result monad_async_task_set_priorities(
    monad_async_task task, monad_async_priority cpu, monad_async_priority io) MONAD_ASYNC_NOEXCEPT;

/** Whether the task's last run is over. ANY THREAD. A load, which acquires: once true, `result` may
 *  be read, what the task wrote is visible, and it may be launched again or destroyed.
 *  @param task the task
 *  @return true after its exit until it is attached again; false before its first launch
 *  @see monad_async_task_is_attached(), monad_async_task_join() */
MONAD_ASYNC_API bool monad_async_task_has_exited(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** Asks whether a task is attached. ANY THREAD. A nanosecond.
 *  @param task the task
 *  @return true from its launch until it has exited: it may be neither launched nor destroyed.
 *  False for NULL, and before the first launch
 *  @see monad_async_task_has_exited() */
MONAD_ASYNC_API bool monad_async_task_is_attached(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** The task that runs on the calling thread. ANY THREAD; a nanosecond.
 *  @return NULL outside a task
 *  @see monad_async_executor_run() */
MONAD_ASYNC_API monad_async_task monad_async_task_current(void) MONAD_ASYNC_NOEXCEPT;

/** The flags of the completion that the task's last `monad_async_task_io` ended with: the buffer
 *  that `IOSQE_BUFFER_SELECT` chose, for one. The executor's thread; a load.
 *  @param task the task
 *  @return `IORING_CQE_F_*`
 *  @see monad_async_task_io() */
MONAD_ASYNC_API uint32_t monad_async_task_io_cqe_flags(monad_async_task task) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

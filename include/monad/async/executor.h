#ifndef MONAD_ASYNC_EXECUTOR_H
#define MONAD_ASYNC_EXECUTOR_H

/** @file executor.h
 *  The executor: belongs to a thread, runs tasks, owns an io_uring.
 *
 *  Words used throughout:
 *  - OWNER'S THREAD: only the thread that created the executor may call; others get `EPERM`.
 *  - ANY THREAD: others may, too, while the executor lives.
 *  - EXPENSIVE: allocates or asks the kernel; not for a path that is to be fast.
 *  - SUSPENDS: other tasks run on this thread before the call returns, and may change `errno`.
 *
 *  A function that does not say SUSPENDS does not suspend; "As" another one has that one's words.
 *  One that says neither EXPENSIVE nor what it costs takes some instructions, waits for nobody but
 *  who holds an object's latch for some, and calls the kernel only to wake a thread that sleeps.
 *
 *  @include hello.c
 *
 *  Every call checks for NULL (`EINVAL`). A child after `fork` gets `EPERM`: the ring is its
 *  parent's. Forked inside a task, it is on a copy of that task's stack: it may exec, `_exit`, or
 *  return from `user_code`; then `monad_async_executor_run` returns `EPERM` in the child.
 *
 *  An executor has descriptors of its own, all of them close-on-exec: `close_range`, or a loop that
 *  closes what it does not know, must leave them open while the executor lives.
 *
 *  A thread must not be ended by `pthread_cancel` or `pthread_exit` inside
 *  `monad_async_executor_run`: they unwind the stack of the task that runs. Cancel the tasks
 *  instead, and let `run` return. */

#include "config.h"
#include "result.h"
#include "ticks.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* `<liburing.h>` has a copy of the kernel's header, with the same guard, and needs what is in its
 * own. So that one is taken where there is one; whichever is included first, the other finds the
 * guard set. To have the kernel's instead, include it before this header. */
#if __has_include(<liburing/io_uring.h>) && __has_include(<liburing/compat.h>)
    #include <liburing/compat.h>
    #include <liburing/io_uring.h>
#else
    #include <linux/io_uring.h>
#endif

MONAD_ASYNC_EXTERN_C_BEGIN

struct monad_async_task_head;
struct monad_async_executor_head;
/** A task; see task.h. */
typedef struct monad_async_task_head *monad_async_task;
/** An executor. */
typedef struct monad_async_executor_head *monad_async_executor;

/** The part of an executor that users may read, on the thread that owns it. All ticks stay 0 with
 *  `MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING`. */
struct monad_async_executor_head {
    /** The task that runs now; NULL outside a task. */
    monad_async_task current_task;
    /** Tasks that are attached and have not begun; launches of other threads from when the executor
     *  has looked at them. */
    size_t tasks_pending_launch;
    /** 1 inside a task, else 0. */
    size_t tasks_running;
    /** Tasks that have begun and are suspended, whether ready to go on or not. */
    size_t tasks_suspended;
    /** All time in `monad_async_executor_run`. The next four are parts of it, and add up to it but
     *  for what begins and ends a run: a stamp ends one span and begins the next, so the few
     *  nanoseconds that pick an item and switch to it are that item's. A running task finds them up
     *  to 64 items old. */
    monad_async_cpu_ticks_count_t total_ticks_in_run;
    /** Running tasks, each from its launch to its first suspension or its exit. */
    monad_async_cpu_ticks_count_t total_ticks_in_task_launch;
    /** Handing operations to the kernel and collecting completions, without waiting. */
    monad_async_cpu_ticks_count_t total_ticks_in_io_uring;
    /** Waiting. */
    monad_async_cpu_ticks_count_t total_ticks_sleeping;
    /** Running tasks, each from a resumption to its next suspension or its exit. */
    monad_async_cpu_ticks_count_t total_ticks_in_task_completion;
    /** Operations that tasks began; one that `monad_async_task_io` begins again counts again. */
    uint64_t total_io_submitted;
    /** Operations that are over, those that were cancelled before the kernel had them included. */
    uint64_t total_io_completed;
};

/** A flag of `monad_async_executor_attr`: every `ticks` field stays 0, and no time is spent on
 *  reading the counter. */
#define MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING 1u

/** How to make an executor. Set all of it to 0 first (`MONAD_ASYNC_EXECUTOR_ATTR_INIT`), then what
 *  you need: fields only ever get appended, in place of `reserved`. */
struct monad_async_executor_attr {
    /** The executor's io_uring. */
    struct {
        /** Submission entries, rounded up to a power of two; more than the kernel's limit of
         *  32,768 are that many, which is no error. The config string tells how many.
         *  0: a compute-only executor, without a ring. Timers, launches and wake-ups from other
         *  threads work all the same; I/O fails with `ENOTSUP`. */
        unsigned entries;
        /** Wishes to the kernel: `flags` may hold `IORING_SETUP_CQSIZE` (with `cq_entries`),
         *  `IORING_SETUP_ATTACH_WQ` (with `wq_fd`), `IORING_SETUP_CLAMP`, and what the executor
         *  asks for anyway; anything else is `EINVAL`. */
        struct io_uring_params params;
    } io_uring_ring;
    /** `MONAD_ASYNC_EXECUTOR_*`. */
    uint32_t flags;
    /** The most worker threads that the kernel makes for this ring's operations that would block:
     *  [0] on files and block devices, [1] on everything else. 0: the kernel's choice. Linux
     *  5.15. */
    uint32_t max_kernel_workers[2];
    /** Places in the ring's table of direct descriptors; 0: no table. Linux 5.19. */
    uint32_t direct_descriptors;
    /** Fairness on request, for each level of CPU priority: n guarantees that 1 item in n is of
     *  that level while it has any ready: no n items of other levels run in a row then (n + 2,
     *  where all three levels have a share). Everything else is strict priority. 0: no share. They
     *  must not add up to more than all: 1/n + 1/n + 1/n <= 1, else `EINVAL`. Costs some
     *  nanoseconds an item; nothing where no level has a share. Not for the workers of a pool,
     *  which are strict: `EINVAL`. */
    uint32_t share[3];
    /** Must be 0, else `EINVAL`. */
    uint32_t reserved[9];
};

/** Initialises a `monad_async_executor_attr` with the defaults: all 0. */
#define MONAD_ASYNC_EXECUTOR_ATTR_INIT MONAD_ASYNC_ALL_ZERO

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, current_task, 0);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, tasks_pending_launch, 8);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, tasks_running, 16);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, tasks_suspended, 24);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_ticks_in_run, 32);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_ticks_in_task_launch, 40);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_ticks_in_io_uring, 48);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_ticks_sleeping, 56);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_ticks_in_task_completion, 64);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_io_submitted, 72);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_head, total_io_completed, 80);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_executor_head, 88);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, io_uring_ring.entries, 0);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, io_uring_ring.params, 8);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, flags, 128);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, max_kernel_workers, 132);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, direct_descriptors, 140);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, share, 144);
MONAD_ASYNC_ASSERT_OFFSET(struct monad_async_executor_attr, reserved, 156);
MONAD_ASYNC_ASSERT_SIZE(struct monad_async_executor_attr, 192);
/** @endcond */

/** Makes an executor, which the calling thread owns from then on. ANY THREAD. EXPENSIVE: up to a
 *  millisecond.
 *
 *  Runs on whatever the kernel has: flags of io_uring that it refuses are done without, and
 *  `monad_async_executor_config_string` names them. Linux 6.1 and newer have all that makes the
 *  ring fast; waiting on the boot-time clock without a look every second, and guard pages without a
 *  VMA each, came with 6.12 and 6.13.
 *
 *  The first of a process installs a handler of SIGSEGV, which reports a task that overflows its
 *  stack and ends the process; every other fault goes to the handler that was there before. A
 *  thread without a signal stack is given one, of 256 KiB; on it the earlier handler runs as well,
 *  also one that was installed without `SA_ONSTACK`.
 *  @param[out] ex the executor; untouched on an error
 *  @param attr how to make it; NULL: the defaults
 *  @retval 0 made; every error is explained by `monad_async_last_create_error`
 *  @retval ENOSYS the kernel has no io_uring
 *  @retval EPERM a sysctl or a seccomp filter forbids it
 *  @retval ENOMEM no memory, or the limit of locked memory
 *  @retval EINVAL attributes that are not known, or contradict each other
 *  @retval EOPNOTSUPP the kernel lacks what `direct_descriptors` (Linux 5.19) or
 *  `max_kernel_workers` (5.15) ask for
 *  @retval EMFILE, ENFILE no more file descriptors
 *  @see monad_async_executor_destroy(), monad_async_executor_config_string() */
MONAD_ASYNC_API monad_async_result monad_async_executor_create(
    monad_async_executor *ex, struct monad_async_executor_attr const *attr) MONAD_ASYNC_NOEXCEPT;

/** Why the calling thread's last `monad_async_executor_create` that failed did, and what to do
 *  about it. ANY THREAD: each has its own.
 *  @return one plain sentence, good until the thread's next failure; empty if there was none; never
 *  NULL
 *  @see monad_async_executor_create() */
MONAD_ASYNC_API char const *monad_async_last_create_error(void) MONAD_ASYNC_NOEXCEPT;

/** Gives ring and memory back. OWNER'S THREAD, outside its tasks. EXPENSIVE: waits for the kernel
 *  to let go of operations that were cancelled.
 *  @param ex the executor; no longer to be used, unless there is an error
 *  @retval 0 done
 *  @retval EBUSY a task is attached; nothing changed
 *  @retval EDEADLK inside a task of its own, or by who is told of an exit (group.h); nothing
 *  changed
 *  @retval EPERM another thread; nothing changed
 *  @retval EINVAL NULL
 *  @see monad_async_executor_has_work() */
MONAD_ASYNC_API monad_async_result monad_async_executor_destroy(monad_async_executor ex)
    MONAD_ASYNC_NOEXCEPT;

/** One bounded pass. OWNER'S THREAD, outside all tasks.
 *
 *  Collects what completed, expired or arrived from other threads; waits for it if nothing is
 *  ready. Then runs as many items as were ready at that point: a launch is one, a resumption is
 *  one. Each pick is the oldest of the highest priority at that moment, so what becomes ready
 *  during the call at a higher priority goes first; tasks that yield in a loop cannot keep the call
 *  from returning. Completions, timers and other threads are looked at at least every 64 items. A
 *  few nanoseconds on top of the items themselves, and one system call per look at most, unless
 *  more entries wait than the submission queue holds: then as many as take a burst of 64 of them to
 *  the kernel; or the deadline of a scope has passed: then as many as bring what came before.
 *  @param ex the executor
 *  @param max_items run so many at most; 0 collects, runs nothing and returns 0
 *  @param timeout how long to wait if nothing is ready: NULL for ever, {0, 0} not at all
 *  @return how many items ran; 0 also after `monad_async_executor_wake`, when a task that the wait
 *  was for has been cancelled, and when more has come in than one pass takes in, none of it an
 *  item
 *  @retval ETIME nothing became ready in that time
 *  @retval EPERM another thread
 *  @retval EDEADLK inside a task, or by who is told of an exit (group.h)
 *  @retval EINVAL NULL, or no valid `timeout`
 *  @retval EBADR the kernel had no memory to note a completion, and no item ran
 *  @see monad_async_executor_has_work(), monad_async_executor_wake() */
MONAD_ASYNC_API monad_async_result monad_async_executor_run(monad_async_executor ex,
                                                            size_t max_items,
                                                            struct timespec const *timeout);

/** Makes a `run` that sleeps return; one that does not sleep, or the next one, will not. ANY
 *  THREAD; async-signal-safe. A system call only if it sleeps.
 *  @param ex the executor, which must outlive the call
 *  @retval 0 done
 *  @retval EPERM in the child of a `fork`
 *  @retval EINVAL NULL
 *  @see monad_async_remote_wake() */
MONAD_ASYNC_API monad_async_result monad_async_executor_wake(monad_async_executor ex)
    MONAD_ASYNC_NOEXCEPT;

/** Whether a task is attached, pending or suspended: whether running it makes sense. OWNER'S
 *  THREAD; false on any other. Before it says no it answers all who join, from elsewhere, what has
 *  exited here; so a thread that will not `run` this executor any more, and does not destroy it
 *  either, asks it once. Then EXPENSIVE; a load or two while a task is attached.
 *  @param ex the executor
 *  @return false also for NULL
 *  @see monad_async_executor_run() */
MONAD_ASYNC_API bool monad_async_executor_has_work(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;

/** What was detected and chosen: kernel, ring flags, features in use or degraded and why. OWNER'S
 *  THREAD. EXPENSIVE.
 *  @param ex the executor
 *  @return text for people, to be freed with `monad_async_free`; NULL: no memory, another thread,
 *  or `ex` is
 *  @see monad_async_free() */
MONAD_ASYNC_API char *
monad_async_executor_config_string(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;

/** The descriptor of the executor's ring, for `IORING_REGISTER_*` and for `wq_fd` of another one.
 *  It is the executor's: not to be closed, nor to be waited on with `io_uring_enter`. OWNER'S
 *  THREAD.
 *  @param ex the executor
 *  @return -1 for a compute-only executor, another thread, and NULL
 *  @see monad_async_executor_poll_fd() */
MONAD_ASYNC_API int monad_async_executor_ring_fd(monad_async_executor ex) MONAD_ASYNC_NOEXCEPT;

/** A descriptor for a foreign event loop (epoll, poll, libuv, GLib, Asio): readable whenever a
 *  `monad_async_executor_run` that does not wait has something to do, be it a completion, a
 *  deadline, another thread's launch, cancel or wake-up, or what the last `run` left over. So an
 *  executor lives in a loop that is not its own: watch the descriptor, level- or edge-triggered,
 *  and call `run` with a zero timeout when it is readable; nothing has to be read from it. It may
 *  be readable, and the `run` find nothing, but only once for each event. OWNER'S THREAD.
 *
 *  From the first call on, each `run` ends with two system calls more, and a timer is set when the
 *  nearest deadline changes: a program that waits in `run` itself has no use for it. EXPENSIVE
 *  the first time; three descriptors. The ring's own descriptor, and an eventfd that the program
 *  registers itself, do not tell of deadlines and of other threads.
 *  @param ex the executor
 *  @return the descriptor, always the same; it is the executor's, not to be read or closed
 *  @retval EPERM another thread
 *  @retval EINVAL NULL
 *  @retval EMFILE, ENFILE, ENOMEM no descriptor
 *  @retval EBUSY the program has registered an eventfd with the ring
 *  @see monad_async_executor_run() */
MONAD_ASYNC_API monad_async_result monad_async_executor_poll_fd(monad_async_executor ex)
    MONAD_ASYNC_NOEXCEPT;

/** Frees what the library allocated for the caller. ANY THREAD.
 *  @param p from `monad_async_executor_config_string`, or NULL
 *  @see monad_async_executor_config_string() */
MONAD_ASYNC_API void monad_async_free(void *p) MONAD_ASYNC_NOEXCEPT;

/** The version of the library that the program runs with. ANY THREAD.
 *  @return such as "0.1.0"; static. `MONAD_ASYNC_VERSION_MAJOR` and the others say what the program
 *  was compiled with */
MONAD_ASYNC_API char const *monad_async_version(void) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

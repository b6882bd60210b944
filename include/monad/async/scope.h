#ifndef MONAD_ASYNC_SCOPE_H
#define MONAD_ASYNC_SCOPE_H

/** @file scope.h
 *  Scopes: what a task does between two points, bounded in time and cancelled as a whole.
 *
 *  A scope is a record on the task's stack. Scopes nest; the task itself is the outermost one,
 *  which `monad_async_task_cancel` fires. A scope fires when its deadline passes, or by
 *  `monad_async_scope_cancel`. From then on until it is left, every call inside it that would
 *  suspend returns at once: `ETIME` for its deadline, `ECANCELED` for a cancel. A call that is
 *  suspended when the scope fires has its operation cancelled, and returns that error, or the
 *  operation's real result if that was there first, however late the executor is: no byte count is
 *  lost.
 *
 *  A call that need not wait, for a mutex that is free or an element that is there, does not look
 *  at the clock, and may do what it is for all the same. So a loop of such calls has to ask
 *  `monad_async_task_interrupted`, or to yield.
 *
 *  Where several have fired, the outermost decides the error. A shield keeps the scopes around it,
 *  and a cancel of the task, from the calls inside it until it is left; its own deadline holds
 *  inside.
 *
 *  A call with a time of its own, `monad_async_mutex_lock_until` for one, returns `ETIME` for that,
 *  too. Which it was, `monad_async_task_interrupted` tells: a call that is made again after a
 *  scope's deadline returns at once, and a loop around it would never end.
 *
 *  @snippet scopes.c a deadline around two operations
 *
 *  How exact a deadline is. One of less than a second is late by some microseconds, and never
 *  early. One of a second or more counts from the first suspension inside the scope, less what was
 *  computed in it until then as far as that was more than eight ticks of the kernel's clock: 32 ms
 *  at the usual 250 in a second. So it is late by what was computed, nine ticks at most. It is
 *  early only where no tick had come for more than eight of them when the scope was entered, as
 *  the whole machine stood still, and then by no more than the task had computed since it was
 *  resumed. Such a deadline is taken as the shorter ones are where an executor does not track time,
 *  where the kernel's clock is not the tick counter, and, of less than 250 ticks, where a second
 *  has fewer. When it is noticed, as any timer, depends on what else the executor runs.
 *
 *  The words OWNER'S THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A scope. Its content is the library's; it need not be initialised, and must not move between
 *  enter and leave. */
typedef struct monad_async_scope {
    /** The library's. */
    uint64_t reserved[12];
} monad_async_scope;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_scope, 96);
/** @endcond */

/** A flag of `monad_async_scope_enter`: outer scopes and cancels wait until this one is left. */
#define MONAD_ASYNC_SCOPE_SHIELD 1u

/** Enters a scope. Does not suspend, no system call, no malloc: where there is a deadline, one read
 *  of the tick counter, or, of a second and more, of the kernel's coarse clock, which takes a third
 *  of the time. The deadline's timer is armed when a call inside first suspends.
 *  @param task the task that runs, which is the caller
 *  @param scope memory that stays in place until the scope is left
 *  @param timeout_ns nanoseconds of the boot-time clock from now on; `UINT64_MAX`: no deadline.
 *  How exact it is: see the top of this file. 0: the first call inside that would suspend, a yield
 *  for one, returns `ETIME`
 *  @param flags 0 or `MONAD_ASYNC_SCOPE_SHIELD`
 *  @retval 0 entered
 *  @retval EINVAL NULL, or flags that this version does not know
 *  @retval EBUSY the task is in this very scope; nothing changed
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_scope_leave() */
MONAD_ASYNC_API monad_async_result monad_async_scope_enter(monad_async_task task,
                                                           monad_async_scope *scope,
                                                           uint64_t timeout_ns,
                                                           uint32_t flags) MONAD_ASYNC_NOEXCEPT;

/** Leaves the innermost scope. Does not suspend; O(1), or O(log n) of the armed timers.
 *
 *  A task that returns with scopes open has them left for it, and its result is `EINVAL`. Where
 *  destructors are called after its return, they must not lie in the frames that it has left, as
 *  records of operations: see op.h.
 *  @param task the task that runs, which is the caller
 *  @param scope the scope that was entered last
 *  @return value 1 if the scope has fired, by its deadline or by a cancel of its own; else 0
 *  @retval EINVAL not the innermost scope; nothing changed
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_scope_enter() */
MONAD_ASYNC_API monad_async_result
monad_async_scope_leave(monad_async_task task, monad_async_scope *scope) MONAD_ASYNC_NOEXCEPT;

/** Fires a scope, as its deadline would, with `ECANCELED`. From a task of the same executor, the
 *  scope's own task included. Does not suspend. Fired already: nothing happens.
 *  @param scope a scope that is entered
 *  @retval 0 it has fired
 *  @retval EINVAL NULL, or not entered
 *  @retval EPERM no task of this executor runs on this thread, or the scope is one of a task of
 *  another executor; also one that was left, whose task is another executor's by now
 *  @see monad_async_task_cancel() */
MONAD_ASYNC_API monad_async_result monad_async_scope_cancel(monad_async_scope *scope)
    MONAD_ASYNC_NOEXCEPT;

/** From now until `boot_ns`, as a scope takes it. ANY THREAD; reads the clock.
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return nanoseconds; 0 if that is over
 *  @see monad_async_scope_enter(), monad_async_now_ns() */
static inline uint64_t monad_async_timeout_until(uint64_t boot_ns)
{
    if (boot_ns == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t const now_ns = monad_async_now_ns();
    return boot_ns > now_ns ? boot_ns - now_ns : 0;
}

/** `monad_async_task_io` inside a scope of its own. SUSPENDS.
 *  @param task the task that runs, which is the caller
 *  @param sqe as for `monad_async_task_io`
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_task_io`
 *  @retval ETIME the deadline passed before the operation completed
 *  @see monad_async_task_io(), monad_async_task_interrupted() */
static inline monad_async_result
monad_async_task_io_until(monad_async_task task, struct io_uring_sqe const *sqe, uint64_t boot_ns)
{
    monad_async_scope scope;
    monad_async_result r =
        monad_async_scope_enter(task, &scope, monad_async_timeout_until(boot_ns), 0);
    if (!monad_async_result_has_error(r)) {
        r = monad_async_task_io(task, sqe);
        (void)monad_async_scope_leave(task, &scope);
    }
    return r;
}

/** `monad_async_task_join` inside a scope of its own. SUSPENDS.
 *  @param self the task that runs, which is the caller
 *  @param other as for `monad_async_task_join`
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_task_join`
 *  @retval ETIME the deadline passed before `other` exited; or `other`'s own result
 *  @see monad_async_task_join(), monad_async_task_interrupted() */
static inline monad_async_result
monad_async_task_join_until(monad_async_task self, monad_async_task other, uint64_t boot_ns)
{
    monad_async_scope scope;
    monad_async_result r =
        monad_async_scope_enter(self, &scope, monad_async_timeout_until(boot_ns), 0);
    if (!monad_async_result_has_error(r)) {
        r = monad_async_task_join(self, other);
        (void)monad_async_scope_leave(self, &scope);
    }
    return r;
}

/** `monad_async_task_park` inside a scope of its own. SUSPENDS.
 *  @param task the task that runs, which is the caller
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_task_park`
 *  @retval ETIME the deadline passed first; no permit was taken
 *  @see monad_async_task_park(), monad_async_task_interrupted() */
static inline monad_async_result monad_async_task_park_until(monad_async_task task,
                                                             uint64_t boot_ns)
{
    monad_async_scope scope;
    monad_async_result r =
        monad_async_scope_enter(task, &scope, monad_async_timeout_until(boot_ns), 0);
    if (!monad_async_result_has_error(r)) {
        r = monad_async_task_park(task);
        (void)monad_async_scope_leave(task, &scope);
    }
    return r;
}

MONAD_ASYNC_EXTERN_C_END

#endif

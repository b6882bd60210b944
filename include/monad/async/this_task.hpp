#ifndef MONAD_ASYNC_THIS_TASK_HPP
#define MONAD_ASYNC_THIS_TASK_HPP

/** @file this_task.hpp
 *  What a task does to itself.
 *
 *  Those that suspend throw `cancelled_error` when the task or a scope around the call was
 *  cancelled, `timeout_error` when a scope's deadline passed (scope.hpp), and `std::system_error`
 *  with `EPERM` outside a task. A cancel is sticky: every later call throws too, outside a
 *  `shield`. But while an exception unwinds the task's stack, neither is delivered, so that
 *  destructors may suspend; a call that was under way then begins anew.
 *
 *  The forms with a `std::error_code` report the same and throw nothing. */

#include "detail/runtime.hpp"
#include "detail/time.hpp"
#include "error.hpp"
#include "executor_ref.hpp"
#include "task.h"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

[[gnu::always_inline]] MONAD_ASYNC_LOCAL inline monad_async_result suspend(std::uint64_t ns)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [=] { return monad_async_task_suspend_for_duration(self, ns); });
}

[[gnu::always_inline]] MONAD_ASYNC_LOCAL inline monad_async_result do_io(io_uring_sqe const &sqe)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [self, &sqe] { return monad_async_task_io(self, &sqe); });
}

[[gnu::always_inline]] MONAD_ASYNC_LOCAL inline monad_async_result do_park()
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [self] { return monad_async_task_park(self); });
}

template <class Clock, class Duration>
MONAD_ASYNC_LOCAL monad_async_result
suspend_until(std::chrono::time_point<Clock, Duration> const &time)
{
    auto left_ns = ns_between(Clock::now(), time);
    monad_async_result r;
    do {
        r = suspend(left_ns);
        left_ns = r.error == 0 ? ns_between(Clock::now(), time) : 0;
    } while (left_ns != 0);
    return r;
}

} // namespace detail
/** @endcond */

/** Functions that act on the task that calls them, as `std::this_thread` does for threads. */
namespace this_task {

/** The task that runs. ANY THREAD; does not suspend; a nanosecond.
 *  @return the task that runs on the calling thread, for the C API; null outside a task
 *  @see monad_async_task_current() */
[[nodiscard]] inline monad_async_task current() noexcept
{
    return monad_async_task_current();
}

/** A reference to the executor that runs the calling task. Does not suspend. An atomic addition;
 *  EXPENSIVE the first time on an executor that the C API or a pool made.
 *  @return to attach other tasks to
 *  @throws std::system_error `EPERM`: outside a task; `ENOMEM`. std::bad_alloc
 *  @see executor_ref.hpp */
[[nodiscard]] inline executor_ref executor()
{
    auto *const self = monad_async_task_current();
    detail::check(self == nullptr ? EPERM : 0, "monad::async::this_task::executor");
    return executor_ref(detail::block_of(self->current_executor));
}

/** Whether the calling task was cancelled, for loops that do not suspend; inside a shield too. A
 *  load.
 *  @return false outside a task
 *  @see monad_async_task_cancel_requested() */
[[nodiscard]] inline bool cancel_requested() noexcept
{
    return monad_async_task_cancel_requested(monad_async_task_current());
}

/** Throws what a call that has to suspend would throw at once, if the calling task is interrupted:
 *  for loops of calls that never have to wait, and for those that do not suspend. Does not suspend;
 *  about 1 ns, and a look at the clock for a scope with a deadline that has not fired. While an
 *  exception unwinds the stack it throws nothing, as those calls.
 *  @throws cancelled_error, timeout_error the task or a scope around the call was cancelled; a
 *  scope's deadline passed
 *  @throws std::system_error `EPERM`: outside a task
 *  @see monad_async_task_interrupted(), scope.hpp */
MONAD_ASYNC_LOCAL inline void throw_if_interrupted()
{
    auto *const self = monad_async_task_current();
    int const error = self == nullptr ? EPERM : monad_async_task_interrupted(self).error;
    if (__builtin_expect(error != 0, false) && (self == nullptr || !detail::is_unwinding(self))) {
        detail::fail(error, "monad::async::this_task::throw_if_interrupted");
    }
}

/** Takes a cancel of the calling task back: its calls suspend again. Does not suspend.
 *  @return whether it had been cancelled; false outside a task
 *  @see monad_async_task_uncancel() */
inline bool uncancel() noexcept
{
    auto const r = monad_async_task_uncancel(monad_async_task_current());
    return r.error == 0 && r.value != 0;
}

/** SUSPENDS. Lets every ready task of the same or a higher priority run first. No system call.
 *  @see monad_async_task_suspend_for_duration() */
MONAD_ASYNC_LOCAL inline void yield()
{
    detail::check(detail::suspend(0).error, "monad::async::this_task::yield");
}

/** As the other `yield`.
 *  @param[out] ec why it was interrupted */
MONAD_ASYNC_LOCAL inline void yield(std::error_code &ec) noexcept
{
    detail::report(detail::suspend(0).error, ec);
}

/** SUSPENDS for a while, by a clock that goes on while the machine sleeps; never short.
 *  @param time zero and less yields; what exceeds 292 years sleeps until the task is cancelled
 *  @see monad_async_task_suspend_for_duration() */
template <class Rep, class Period>
MONAD_ASYNC_LOCAL void sleep_for(std::chrono::duration<Rep, Period> time)
{
    detail::check(detail::suspend(detail::to_ns(time)).error, "monad::async::this_task::sleep_for");
}

/** As the other `sleep_for`.
 *  @param time how long
 *  @param[out] ec why it was interrupted */
template <class Rep, class Period>
MONAD_ASYNC_LOCAL void sleep_for(std::chrono::duration<Rep, Period> time,
                                 std::error_code &ec) noexcept
{
    detail::report(detail::suspend(detail::to_ns(time)).error, ec);
}

/** SUSPENDS until a clock shows a time or later; at least yields. A clock that is set back in that
 *  time is waited for. One that is set forward is not noticed: the sleep is as long as it was to be
 *  when it began.
 *  @param time of any clock that has `now()`
 *  @see monad_async_task_suspend_until() */
template <class Clock, class Duration>
MONAD_ASYNC_LOCAL void sleep_until(std::chrono::time_point<Clock, Duration> time)
{
    detail::check(detail::suspend_until(time).error, "monad::async::this_task::sleep_until");
}

/** As the other `sleep_until`.
 *  @param time of any clock that has `now()`
 *  @param[out] ec why it was interrupted */
template <class Clock, class Duration>
MONAD_ASYNC_LOCAL void sleep_until(std::chrono::time_point<Clock, Duration> time,
                                   std::error_code &ec) noexcept
{
    detail::report(detail::suspend_until(time).error, ec);
}

/** SUSPENDS until `task::unpark`, or returns at once if there was one since the last return. One
 *  permit is kept, however many came.
 *  @see monad_async_task_park(), monad_async_task_unpark() */
MONAD_ASYNC_LOCAL inline void park()
{
    detail::check(detail::do_park().error, "monad::async::this_task::park");
}

/** As the other `park`.
 *  @param[out] ec why it was interrupted; then no permit was taken */
MONAD_ASYNC_LOCAL inline void park(std::error_code &ec) noexcept
{
    detail::report(detail::do_park().error, ec);
}

/** SUSPENDS until an operation of io_uring is complete. What it refers to must live as long as the
 *  call; it may lie on the task's stack.
 *
 *  @snippet exceptions.cpp an operation that fails
 *  @param sqe any operation that completes exactly once; copied; `user_data` is the library's
 *  @return the completion's `res`
 *  @throws std::system_error its errno; `EINVAL`: an entry that may not pass, as for
 *  `monad_async_task_io`; `ENOTSUP`: the executor has no io_uring
 *  @see monad_async_task_io(), operation.hpp */
MONAD_ASYNC_LOCAL inline std::intptr_t io(io_uring_sqe const &sqe)
{
    return value_or_throw(detail::do_io(sqe), "monad::async::this_task::io");
}

/** As the other `io`.
 *  @param sqe the operation
 *  @param[out] ec its error
 *  @return the completion's `res`; -1 with an error */
MONAD_ASYNC_LOCAL inline std::intptr_t io(io_uring_sqe const &sqe, std::error_code &ec) noexcept
{
    return detail::report(detail::do_io(sqe), ec);
}

} // namespace this_task

} // namespace v0
} // namespace monad::async

#endif

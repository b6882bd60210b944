#ifndef MONAD_ASYNC_THIS_TASK_HPP
#define MONAD_ASYNC_THIS_TASK_HPP

/** @file this_task.hpp
 *  What a task does to itself. Every function but `current` suspends, and throws `std::system_error`:
 *  `ECANCELED` (`std::errc::operation_canceled`) when the task was cancelled, `EPERM` outside a
 *  task. */

#include "detail/time.hpp"
#include "error.hpp"
#include "task.h"

#include <cerrno>
#include <chrono>
#include <cstdint>

namespace monad::async {

namespace detail {

inline monad_async_task running_task(char const *what)
{
    monad_async_task const task = monad_async_task_current();
    if (task == nullptr) {
        fail(EPERM, what);
    }
    return task;
}

// A call of the running task was refused. Whether there is such a task is asked only then: the C API
// takes null for an error.
[[noreturn, gnu::cold, gnu::noinline]] inline void
fail_task(monad_async_task self, int error, char const *what)
{
    fail(self == nullptr ? EPERM : error, what);
}

inline void suspend(std::uint64_t ns, char const *what)
{
    auto *const self = monad_async_task_current();
    auto const r = monad_async_task_suspend_for_duration(self, ns);
    if (r.error != 0) {
        fail_task(self, r.error, what);
    }
}

} // namespace detail

/** Functions that act on the task that calls them, as `std::this_thread` does for threads. */
namespace this_task {

/** ANY THREAD; does not suspend; a nanosecond.
 *  @return the task that runs on the calling thread, for the C API; null outside a task */
[[nodiscard]] inline monad_async_task current() noexcept
{
    return monad_async_task_current();
}

/** SUSPENDS. Lets every ready task of the same or a higher priority run first. No system call. */
inline void yield()
{
    detail::suspend(0, "monad::async::this_task::yield");
}

/** SUSPENDS for a while, by a clock that goes on while the machine sleeps; never short.
 *  @param time zero and less yields; what exceeds 292 years sleeps until the task is cancelled */
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> time)
{
    detail::suspend(detail::to_ns(time), "monad::async::this_task::sleep_for");
}

/** SUSPENDS until a clock shows a time or later, also if it is set meanwhile; at least yields.
 *  @param time of any clock that has `now()` */
template <class Clock, class Duration>
void sleep_until(std::chrono::time_point<Clock, Duration> time)
{
    auto left_ns = detail::ns_between(Clock::now(), time);
    do {
        detail::suspend(left_ns, "monad::async::this_task::sleep_until");
        left_ns = detail::ns_between(Clock::now(), time);
    } while (left_ns != 0);
}

/** SUSPENDS until an operation of io_uring is complete. What it refers to must live as long as the
 *  call; it may lie on the task's stack.
 *
 *  @snippet exceptions.cpp an operation that fails
 *  @param sqe any operation that completes exactly once; copied; `user_data` is the library's
 *  @return the completion's `res`
 *  @throws std::system_error its errno; `EINVAL`: links, multishot, CQE-skip, drains; `ENOTSUP`: the
 *  executor has no io_uring */
inline std::intptr_t io(io_uring_sqe const &sqe)
{
    auto *const self = monad_async_task_current();
    auto const r = monad_async_task_io(self, &sqe);
    if (r.error != 0) {
        detail::fail_task(self, r.error, "monad::async::this_task::io");
    }
    return r.value;
}

} // namespace this_task

} // namespace monad::async

#endif

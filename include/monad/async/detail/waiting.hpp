#ifndef MONAD_ASYNC_DETAIL_WAITING_HPP
#define MONAD_ASYNC_DETAIL_WAITING_HPP

// Calls that suspend inside a task, and block a thread outside.

#include "../error.hpp"
#include "../result.h"
#include "../task.h"
#include "runtime.hpp"
#include "time.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>

namespace monad::async {
inline namespace v0 {
namespace detail {

// `call` takes the running task, or null for a thread.
template <class Call>
[[gnu::always_inline]] MONAD_ASYNC_LOCAL inline monad_async_result waiting(Call call)
{
    auto *const self = monad_async_task_current();
    if (__builtin_expect(self == nullptr, false)) {
        return call(self);
    }
    return interruptible(self, [self, call] { return call(self); });
}

// Whether what was waited for came before the time was up; another error is thrown.
inline bool came_in_time(int error, char const *what)
{
    if (error != 0 && error != ETIME) {
        fail(error, what);
    }
    return error == 0;
}

// A time of `monad_async_now_ns`.
inline std::uint64_t boot_time_in(std::uint64_t ns) noexcept
{
    auto const now_ns = monad_async_now_ns();
    return ns < forever_ns - now_ns ? now_ns + ns : forever_ns;
}

template <class Rep, class Period>
std::uint64_t boot_time(std::chrono::duration<Rep, Period> timeout)
{
    return boot_time_in(to_ns(timeout));
}

template <class Clock, class Duration>
std::uint64_t boot_time(std::chrono::time_point<Clock, Duration> const &deadline)
{
    return boot_time_in(ns_between(Clock::now(), deadline));
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

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
#include <system_error>

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

// After an ETIME of a call that has a time of its own: 0 where that time was it. Where that of a
// scope is over, too, the scope's counts: asked again, the call would return at once, for ever.
[[gnu::cold, gnu::noinline]] MONAD_ASYNC_LOCAL inline int other_than_own_time() noexcept
{
    auto *const self = monad_async_task_current();
    auto const r = monad_async_task_interrupted(self);
    return self != nullptr && is_interruption(r) && !is_unwinding(self) ? r.error : 0;
}

[[gnu::cold, gnu::noinline]] MONAD_ASYNC_LOCAL inline void check_own_time(char const *what)
{
    check(other_than_own_time(), what);
}

// Whether what was waited for came before the call's own time was up; another error, and the end of
// a scope around it, is thrown.
MONAD_ASYNC_LOCAL inline bool came_in_time(int error, char const *what)
{
    if (__builtin_expect(error == 0, true)) {
        return true;
    }
    if (error != ETIME) {
        fail(error, what);
    }
    check_own_time(what);
    return false;
}

// The same without a throw.
MONAD_ASYNC_LOCAL inline bool came_in_time(int error, std::error_code &ec) noexcept
{
    report(error == ETIME ? other_than_own_time() : error, ec);
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

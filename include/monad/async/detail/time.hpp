#ifndef MONAD_ASYNC_DETAIL_TIME_HPP
#define MONAD_ASYNC_DETAIL_TIME_HPP

// From any chrono duration to what the C API takes. Rounded up: a sleep is never short. What does
// not fit means for ever.

#include <chrono>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace monad::async {
inline namespace v0 {
namespace detail {

// Sleeps until cancelled, waits for ever.
inline constexpr std::uint64_t forever_ns = std::numeric_limits<std::uint64_t>::max();

template <class Rep, class Period>
constexpr std::uint64_t to_ns(std::chrono::duration<Rep, Period> d)
{
    using duration = std::chrono::duration<Rep, Period>;
    // The longest that nanoseconds can hold, 292 years. Compared as seconds in floating point where
    // the caller's unit could overflow on the way to nanoseconds.
    using float_seconds = std::chrono::duration<long double>;
    constexpr auto longest = std::chrono::nanoseconds::max();
    if (!(d > duration::zero())) { // A NaN is not.
        return 0;
    }
    if (std::chrono::duration_cast<float_seconds>(d) >=
        std::chrono::duration_cast<float_seconds>(longest)) {
        return forever_ns;
    }
    auto const ns = std::chrono::ceil<std::chrono::nanoseconds>(d).count();
    return static_cast<std::uint64_t>(ns);
}

// From `now` until `time`; 0 if that is over. In the unit of `time` as far as it goes: neither the
// remote past nor the remote future need fit into that of the clock.
template <class Clock, class Now, class Duration>
constexpr std::uint64_t ns_between(std::chrono::time_point<Clock, Now> now,
                                   std::chrono::time_point<Clock, Duration> time)
{
    auto const floor = std::chrono::floor<Duration>(now);
    if (!(floor < time)) {
        return 0;
    }
    // A clock may be before its epoch: that of files is, until 2174.
    auto const since_epoch = floor.time_since_epoch();
    if (since_epoch < Duration::zero() && time.time_since_epoch() > Duration::max() + since_epoch) {
        return forever_ns;
    }
    auto const left_ns = to_ns(time - floor);
    auto const over_ns = to_ns(now - floor);
    if (left_ns == forever_ns) {
        return forever_ns;
    }
    return left_ns > over_ns ? left_ns - over_ns : 0;
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

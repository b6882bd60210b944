#ifndef MONAD_ASYNC_DETAIL_TIME_HPP
#define MONAD_ASYNC_DETAIL_TIME_HPP

// From any chrono duration to what the C API takes. Rounded up: a sleep is never short. What does
// not fit means for ever.

#include <chrono>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace monad::async::detail {

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

} // namespace monad::async::detail

#endif

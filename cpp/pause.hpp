#ifndef MONAD_ASYNC_CPP_PAUSE_HPP
#define MONAD_ASYNC_CPP_PAUSE_HPP

// How long the destructors wait between two cancels of a body that goes on: long enough that a
// clean-up which suspends comes through, short enough that one which merely ignores cancels is asked
// again soon.

#include <algorithm>
#include <cstdint>

#include <time.h>

namespace monad::async::detail {

class pause {
public:
    // 1, 2, 4, ... 128 ms.
    std::uint64_t next_ns() noexcept
    {
        auto const ns = ns_;
        ns_ = std::min<std::uint64_t>(ns_ * 2, 128'000'000);
        return ns;
    }

private:
    std::uint64_t ns_ = 1'000'000;
};

inline timespec timespec_of(std::uint64_t ns) noexcept
{
    timespec ts = {};
    ts.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    ts.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    return ts;
}

inline std::uint64_t now_ns() noexcept
{
    timespec ts = {};
    ::clock_gettime(CLOCK_MONOTONIC, &ts);
    return static_cast<std::uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(ts.tv_nsec);
}

} // namespace monad::async::detail

#endif

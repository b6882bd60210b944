// From durations to nanoseconds: rounded up, never overflowing.
#include "support.hpp"

#include <limits>

namespace {

using ma::detail::forever_ns;
using ma::detail::ns_between;
using ma::detail::to_ns;

TEST(Time, exact_where_exact_is_possible)
{
    EXPECT_EQ(to_ns(1ns), 1u);
    EXPECT_EQ(to_ns(1h), 3'600'000'000'000u);
    EXPECT_EQ(to_ns(std::chrono::duration<std::uint8_t>(255)), 255'000'000'000u);
    static_assert(to_ns(std::chrono::milliseconds{3}) == 3'000'000);
}

TEST(Time, rounds_up)
{
    EXPECT_EQ(to_ns(std::chrono::duration<int, std::pico>(1)), 1u);
    EXPECT_EQ(to_ns(std::chrono::duration<int, std::pico>(1001)), 2u);
    EXPECT_EQ(to_ns(std::chrono::duration<int, std::ratio<1, 3>>(1)), 333'333'334u);
    EXPECT_EQ(to_ns(std::chrono::duration<double>(1e-12)), 1u);
}

TEST(Time, nothing_and_less_is_0)
{
    EXPECT_EQ(to_ns(0s), 0u);
    EXPECT_EQ(to_ns(-1ns), 0u);
    EXPECT_EQ(to_ns(std::chrono::hours::min()), 0u);
    EXPECT_EQ(to_ns(std::chrono::duration<double>(-0.0)), 0u);
    EXPECT_EQ(to_ns(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())), 0u);
}

TEST(Time, what_does_not_fit_is_for_ever)
{
    EXPECT_EQ(to_ns(std::chrono::hours::max()), forever_ns);
    EXPECT_EQ(to_ns(std::chrono::seconds::max()), forever_ns);
    EXPECT_EQ(to_ns(std::chrono::nanoseconds::max()), forever_ns);
    EXPECT_EQ(to_ns(std::chrono::duration<double>(std::numeric_limits<double>::infinity())),
              forever_ns);
    EXPECT_EQ(to_ns(std::chrono::duration<double>(1e300)), forever_ns);
    EXPECT_EQ(to_ns(std::chrono::duration<std::uint64_t, std::nano>(
                  std::numeric_limits<std::uint64_t>::max())),
              forever_ns);
    // 292 years less a day.
    EXPECT_LT(to_ns(std::chrono::hours(24) * 106'750), forever_ns);
}

// Neither where the clock is before its epoch, as that of files is today: such a time was over at
// once. At compile time, where an overflow is an error.
TEST(Time, between_two_times_nothing_overflows)
{
    using time = std::chrono::system_clock::time_point;
    static_assert(ns_between(time(-1s), time::max()) == forever_ns);
    static_assert(ns_between(time(-1h), time(1h)) == to_ns(2h));
    static_assert(ns_between(time(-1h), time(-59min)) == to_ns(1min));
    static_assert(ns_between(time::min(), time::max()) == forever_ns);
    static_assert(ns_between(time::max(), time::min()) == 0);
    static_assert(ns_between(time(1h), time::min()) == 0);
    using hours = std::chrono::time_point<std::chrono::system_clock, std::chrono::hours>;
    static_assert(ns_between(time(-1ns), hours::max()) == forever_ns);
    static_assert(ns_between(time(-1ns), hours(1h)) == to_ns(1h) + 1);
    using real = std::chrono::duration<double>;
    using real_time = std::chrono::time_point<std::chrono::system_clock, real>;
    static_assert(ns_between(time(-1s), real_time(real(1.5))) == to_ns(2500ms));
    static_assert(ns_between(time(-1s), real_time::max()) == forever_ns);
}

} // namespace

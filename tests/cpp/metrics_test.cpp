// Metrics of an executor and of a pool in C++.

#include "support.hpp"

#include <monad/async/metrics.hpp>
#include <monad/async/scope.hpp>

#include <cstdint>
#include <numeric>
#include <string>
#include <thread>

namespace {

TEST(CxxMetrics, of_an_executor)
{
    ma::executor_options options;
    options.name = "front";
    ma::executor ex(options);
    ma::metrics const m(ex), again(ex);
    run_task(ex, [] {
        ma::this_task::yield();
        ma::this_task::sleep_for(2ms);
    });
    std::thread([&] { // Any thread may read.
        auto const counted = m.read();
        EXPECT_EQ(counted.launches, 1u);
        auto const &ready = counted.ready[std::size_t(ma::priority::normal)];
        EXPECT_EQ(
            std::accumulate(std::begin(ready.buckets), std::end(ready.buckets), std::uint64_t{0}),
            3u);
        EXPECT_GT(ma::metrics::percentile(ready, 1000), 0ns);
        EXPECT_LE(ma::metrics::percentile(ready, 500), ma::metrics::percentile(ready, 1000));
        EXPECT_EQ(again.read().launches, 1u) << "no second count";
    })
        .join();
    EXPECT_NE(m.text().find("executor=\"front\""), std::string::npos) << m.text();
    EXPECT_EQ(m.size(), 1u);
    EXPECT_EQ(errno_thrown_by([&] { (void)m.read(1); }), ENOENT);
    std::error_code ec;
    EXPECT_EQ(m.read(1, ec).launches, 0u);
    EXPECT_EQ(ec.value(), ENOENT);
    EXPECT_EQ(m.read(ec).launches, 1u);
    EXPECT_FALSE(ec);
    std::thread([&] {
        EXPECT_EQ(errno_thrown_by([&] { ma::metrics const bad(ex); }), EPERM);
    }).join();
}

TEST(CxxMetrics, of_a_pool_from_a_thread_and_from_a_task_of_its_own)
{
    ma::thread_pool pool(2);
    ma::metrics const m(pool);
    EXPECT_EQ(m.size(), 2u);
    for (int i = 0; i != 5; ++i) {
        pool.worker(1).submit([] { ma::this_task::yield(); }).get();
    }
    // A worker tells what it has launched when its run is over, after the results are there.
    for (int looks = 0; looks != 10000 && m.read(1).launches < 5; ++looks) {
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_EQ(m.read(1).launches, 5u);
    EXPECT_EQ(m.read(0).launches, 0u);
    auto const text = m.text();
    EXPECT_NE(text.find("executor=\"pool worker 1\""), std::string::npos);
    EXPECT_NE(text.find("executor=\"pool worker 2\""), std::string::npos);
    EXPECT_EQ(text.find('\0'), std::string::npos);
    EXPECT_EQ(text.back(), '\n') << "all of it";
    EXPECT_EQ(pool.submit([&pool] { return ma::metrics(pool).size(); }).get(), 2u);
    std::error_code ec;
    pool.submit([&] {
            ma::scope over;
            over.cancel();
            ma::metrics const none(pool, ec);
            EXPECT_EQ(none.size(), 0u);
        })
        .get();
    EXPECT_EQ(ec, ma::cancelled);
}

TEST(CxxMetrics, without_time_tracking)
{
    ma::executor_options options;
    options.time_tracking = false;
    ma::executor ex(options);
    EXPECT_EQ(errno_thrown_by([&] { ma::metrics const m(ex); }), ENOTSUP);
    std::error_code ec;
    ma::metrics const none(ex, ec);
    EXPECT_EQ(ec.value(), ENOTSUP);
    EXPECT_EQ(none.size(), 0u);
    EXPECT_EQ(none.text(), "");
}

} // namespace

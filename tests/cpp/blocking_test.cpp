// offload and resolve: results, exceptions, interruptions.
#include "support.hpp"

#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <netinet/in.h>

namespace {

TEST(offload, gives_results_and_exceptions_while_others_run)
{
    ma::executor ex;
    int steps = 0;
    bool over = false;
    ma::task ticker;
    ticker.attach(ex, [&] {
        while (!over) {
            ++steps;
            ma::this_task::sleep_for(100us);
        }
    });
    run_task(ex, [&] {
        auto const here = std::this_thread::get_id();
        auto const there = ma::offload([] {
            std::this_thread::sleep_for(5ms);
            return std::this_thread::get_id();
        });
        EXPECT_NE(here, there);
        EXPECT_GT(steps, 1);
        auto owner = ma::offload([p = std::make_unique<int>(7)]() mutable { return std::move(p); });
        EXPECT_EQ(*owner, 7);
        int seen = 0;
        ma::offload([&seen] { seen = 1; });
        EXPECT_EQ(seen, 1);
        auto const throws = []() -> int { throw std::out_of_range("from a helper"); };
        EXPECT_THROW((void)ma::offload(throws), std::out_of_range);
        over = true;
    });
    while (!ticker.done()) {
        ex.run();
    }
    EXPECT_EQ(errno_thrown_by([] { ma::offload([] {}); }), EPERM);
}

// What runs is waited for, though the scope has fired, since it uses the task's stack.
TEST(offload, what_has_begun_is_waited_for)
{
    ma::executor ex;
    std::atomic<bool> began{false};
    run_task(ex, [&] {
        bool ended = false;
        ma::scope s;
        ma::this_task::executor().spawn([&] {
            while (!began) {
                ma::this_task::sleep_for(100us);
            }
            s.cancel();
        });
        ma::offload([&] {
            began = true;
            std::this_thread::sleep_for(20ms);
            ended = true;
        });
        EXPECT_THROW(ma::this_task::yield(), ma::cancelled_error);
        EXPECT_TRUE(ended);
    });
}

TEST(resolve, finds_addresses_in_figures_and_tells_what_there_is_not)
{
    ma::executor ex;
    run_task(ex, [] {
        auto const list = ma::resolve("127.0.0.1", "80");
        ASSERT_FALSE(list.empty());
        int count = 0;
        for (auto const &one : list) {
            ++count;
            ASSERT_EQ(one.ai_family, AF_INET);
            sockaddr_in at = {};
            ASSERT_EQ(one.ai_addrlen, sizeof at);
            std::memcpy(&at, one.ai_addr, sizeof at);
            EXPECT_EQ(ntohs(at.sin_port), 80);
            EXPECT_EQ(ntohl(at.sin_addr.s_addr), INADDR_LOOPBACK);
        }
        EXPECT_EQ(count, 1);
        std::error_code ec;
        auto const none = ma::resolve("127.0.0.1", "no-such-service", SOCK_STREAM, AF_INET, ec);
        EXPECT_TRUE(none.empty());
        EXPECT_EQ(ec.value(), ENOENT);
        EXPECT_EQ(errno_thrown_by([] { (void)ma::resolve("300.1.1.1.", "80"); }) != 0, true);
        EXPECT_EQ(errno_thrown_by([] { (void)ma::resolve("", ""); }), EINVAL);
    });
    EXPECT_EQ(errno_thrown_by([] { (void)ma::resolve("127.0.0.1", "80"); }), EPERM);
}

// A cancel, or a deadline, does not wait for the name service.
TEST(connect, goes_to_a_host_by_name_and_tries_its_addresses)
{
    ma::executor ex;
    run_task(ex, [] {
        auto listener = ma::listener::tcp(0);
        auto const port = std::to_string(listener.port());
        // Of the two of localhost one listens.
        auto peer = ma::connect("localhost", port);
        EXPECT_TRUE(peer.is_open());
        EXPECT_TRUE(listener.accept().is_open());
        listener.close();
        std::error_code ec;
        EXPECT_FALSE(ma::connect("127.0.0.1", port, ec).is_open());
        EXPECT_EQ(ec.value(), ECONNREFUSED);
        EXPECT_FALSE(ma::connect("127.0.0.1", "no-such-service", ec).is_open());
        EXPECT_TRUE(ec);
        EXPECT_FALSE(ma::connect(ma::address_list(), ec).is_open());
        EXPECT_EQ(ec.value(), ENOENT);
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::connect("127.0.0.1", port); }), ECONNREFUSED);
        auto const found = ma::resolve("127.0.0.1", port);
        ma::scope const s{0s};
        EXPECT_THROW((void)ma::connect(found), ma::timeout_error);
    });
}

TEST(resolve, is_interrupted_at_once_and_leaves_nothing)
{
    ma::executor ex;
    for (int i = 0; i != 50; ++i) {
        ma::task t;
        t.attach(ex, [] { (void)ma::resolve("localhost", "80"); });
        ex.run_for(0ms);
        t.cancel();
        while (!t.done()) {
            ex.run();
        }
    }
}

} // namespace

// Stop tokens cancel scopes, and cancels ask for stops.

#include "support.hpp"

#include <monad/async/future.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/stop_token.hpp>

#if defined(__cpp_lib_jthread)

    #include <atomic>
    #include <memory>
    #include <string>
    #include <thread>

namespace {

TEST(StopToken, of_another_thread_cancels_the_scope)
{
    ma::executor ex{ma::executor_options::compute_only()};
    std::stop_source source;
    std::thread other;
    run_task(ex, [&] {
        ma::stop_scope s{source.get_token()};
        EXPECT_FALSE(s.fired());
        other = std::thread([&] { source.request_stop(); });
        EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
        EXPECT_TRUE(s.fired());
    });
    other.join();
}

TEST(StopToken, of_another_thread_comes_while_the_executor_ends)
{
    auto ex = std::make_unique<ma::executor>(ma::executor_options::compute_only());
    bool fired = false;
    ma::task t;
    t.attach(*ex, [&] {
        try {
            ma::this_task::sleep_for(1h);
        } catch (ma::cancelled_error const &) {
            ma::shield const until_it_has_come;
            std::stop_source source;
            ma::stop_scope s{source.get_token()};
            std::thread([&] { source.request_stop(); }).join();
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
            fired = s.fired();
        }
    });
    ex->run();
    ex.reset();
    EXPECT_TRUE(fired);
}

// Its message is in the executor's mail, or has arrived and not run, as all is cancelled.
TEST(StopToken, that_is_under_way_as_the_executor_ends)
{
    for (bool const arrived : {false, true}) {
        auto ex = std::make_unique<ma::executor>(ma::executor_options::compute_only());
        std::stop_source source;
        bool fired = false;
        ma::task t, other;
        t.attach(*ex, [&] {
            ma::shield const until_it_has_come;
            ma::stop_scope s{source.get_token()};
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
            fired = s.fired();
        });
        ex->run();
        other.attach(*ex, [] {});
        std::thread([&] { source.request_stop(); }).join();
        if (arrived) {
            EXPECT_EQ(monad_async_executor_run(ex->native_handle(), 1, nullptr).value, 1);
        }
        ex.reset();
        EXPECT_TRUE(fired) << arrived;
    }
}

TEST(StopToken, asked_before_or_by_another_task_cancels_too_and_not_what_comes_after)
{
    ma::executor ex{ma::executor_options::compute_only()};
    std::stop_source before;
    before.request_stop();
    run_task(ex, [&] {
        {
            ma::stop_scope s{before.get_token()};
            EXPECT_THROW(ma::this_task::yield(), ma::cancelled_error);
        }
        ma::this_task::yield();
        std::stop_source source;
        ma::executor_ref const here = ma::this_task::executor();
        here.spawn([&] { source.request_stop(); });
        {
            ma::stop_scope s{source.get_token()};
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
        }
        std::stop_source late;
        {
            ma::stop_scope s{late.get_token()};
            late.request_stop();
        }
        // Its message comes, and finds no scope.
        for (int i = 0; i < 3; ++i) {
            ma::this_task::yield();
        }
    });
    EXPECT_EQ(errno_thrown_by([&] { ma::stop_scope s{before.get_token()}; }), EPERM);
}

TEST(StopToken, is_asked_when_a_scope_fires_or_the_task_is_cancelled)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const until_stopped = [](std::stop_token token) {
        std::atomic<bool> stopped{false};
        // A thread that knows of nothing but the token.
        std::jthread const worker([&](std::stop_token const &) {
            while (!token.stop_requested()) {
                std::this_thread::yield();
            }
            stopped = true;
        });
        while (!stopped) {
            ma::this_task::sleep_for(100us);
        }
        return std::string("stopped");
    };
    run_task(ex, [&] {
        ma::scope s{2ms};
        EXPECT_EQ(ma::with_stop_token(until_stopped), "stopped");
        EXPECT_THROW(ma::this_task::yield(), ma::timeout_error);
    });
    ma::task t;
    t.attach(ex, [&] { EXPECT_EQ(ma::with_stop_token(until_stopped), "stopped"); });
    ex.poll();
    t.cancel();
    ex.run_until_idle();
    t.get();
    run_task(ex, [&] {
        EXPECT_EQ(ma::with_stop_token(
                      [](std::stop_token token) { return token.stop_requested() ? 1 : 0; }),
                  0);
        EXPECT_THROW(ma::with_stop_token([](std::stop_token) { throw std::runtime_error("its"); }),
                     std::runtime_error);
    });
}

} // namespace

#endif

// Making, running, waking, moving executors.
#include "support.hpp"

#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/inspect.h>
#include <monad/async/pool.hpp>

#include <algorithm>
#include <string>
#include <thread>
#include <type_traits>

static_assert(!std::is_copy_constructible_v<ma::executor>);
static_assert(std::is_nothrow_move_constructible_v<ma::executor>);
static_assert(std::is_nothrow_move_assignable_v<ma::executor>);

namespace {

ma::executor_options ring(unsigned entries)
{
    ma::executor_options options;
    options.io_uring_entries = entries;
    return options;
}

TEST(Executor, run_returns_how_many_items_ran)
{
    ma::executor ex;
    std::vector<ma::task> tasks(10);
    for (auto &t : tasks) {
        t.attach(ex, [] { ma::this_task::yield(); });
    }
    EXPECT_EQ(ex.run(0), 0u);
    EXPECT_EQ(ex.run(3), 3u);
    EXPECT_EQ(ex.run(), 10u) << "seven launches and three resumptions were ready";
    EXPECT_EQ(ex.run_until_idle(), 7u);
    EXPECT_FALSE(ex.has_work());
    EXPECT_EQ(ex.run_until_idle(), 0u);
}

TEST(Executor, run_returns_0_when_the_time_is_over)
{
    ma::executor ex;
    EXPECT_EQ(ex.run(ma::executor::unlimited, 0s), 0u);
    EXPECT_EQ(ex.run(ma::executor::unlimited, -1h), 0u);
    auto const begun = std::chrono::steady_clock::now();
    EXPECT_EQ(ex.run(ma::executor::unlimited, 5ms), 0u);
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 5ms);
    EXPECT_EQ(ex.run(ma::executor::unlimited, std::chrono::duration<double>(0.0005)), 0u);
}

TEST(Executor, an_endless_timeout_waits_for_ever)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { ma::this_task::sleep_for(2ms); });
    EXPECT_EQ(ex.run(1, std::chrono::hours::max()), 1u);
    EXPECT_EQ(ex.run(1, std::chrono::nanoseconds::max()), 1u);
    EXPECT_TRUE(t.done());
}

TEST(Executor, wake_ends_a_run)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { ma::this_task::sleep_for(1h); });
    ex.run(1);
    ex.wake();
    EXPECT_EQ(ex.run(), 0u) << "would sleep for an hour";
}

TEST(Executor, run_until_idle_is_refused_where_run_is)
{
    ma::executor ex;
    ma::task t;
    int error = 0;
    t.attach(ex, [&] { error = errno_thrown_by([&] { ex.run_until_idle(); }); });
    std::thread([&] { EXPECT_EQ(errno_thrown_by([&] { ex.run_until_idle(); }), EPERM); }).join();
    EXPECT_EQ(ex.run_until_idle(), 1u);
    EXPECT_EQ(error, EDEADLK);
    ma::executor const moved = std::move(ex);
    EXPECT_EQ(errno_thrown_by([&] { ex.run_until_idle(); }), EINVAL);
}

TEST(Executor, errors_are_system_errors_with_the_errno)
{
    ma::executor ex;
    EXPECT_EQ(run_task(ex, [&] { return errno_thrown_by([&] { ex.run(); }); }), EDEADLK);
    try {
        ma::executor_options options;
        options.share_workers_of = 1 << 20; // no such descriptor
        options.io_uring_entries = 8;
        ma::executor const impossible{options};
        FAIL();
    } catch (std::system_error const &e) {
        EXPECT_EQ(e.code().category(), std::system_category());
        EXPECT_NE(e.code().value(), 0);
        EXPECT_GT(std::string(e.what()).size(), e.code().message().size() + 10) << e.what();
    }
}

TEST(Executor, background_tasks_and_groups_have_the_stack_that_is_asked_for)
{
    auto options = ma::executor_options::compute_only();
    options.stack_size = 1 << 20;
    ma::executor ex{options};
    auto const bytes = [] {
        void *low = nullptr, *high = nullptr;
        EXPECT_EQ(monad_async_task_stack_bounds(ma::this_task::current(), &low, &high).error, 0);
        return static_cast<char *>(high) - static_cast<char *>(low);
    };
    std::ptrdiff_t spawned = 0, of_a_group = 0;
    ex.spawn([&] {
        spawned = bytes();
        ma::task_group group;
        group.spawn([&] { of_a_group = bytes(); });
        group.wait();
    });
    ex.run_until_idle();
    EXPECT_GE(spawned, 1 << 20);
    EXPECT_GE(of_a_group, 1 << 20);

    ma::thread_pool_options of_pool;
    of_pool.workers = 1;
    of_pool.executor.stack_size = 1 << 19;
    ma::thread_pool pool(of_pool);
    EXPECT_GE(pool.submit(bytes).get(), 1 << 19);
    EXPECT_GE(pool.worker(0).submit(bytes).get(), 1 << 19);

    options.stack_size = SIZE_MAX;
    ma::executor const absurd{options};
    EXPECT_EQ(errno_thrown_by([&] { absurd.spawn([] {}); }), EINVAL);
}

TEST(Executor, options_reach_the_ring)
{
    ma::executor const compute{ma::executor_options::compute_only()};
    ma::executor const with_ring{ring(8)};
    EXPECT_FALSE(compute.config().empty());
    EXPECT_NE(compute.config(), with_ring.config());

    auto options = ring(8);
    options.completion_entries = 256;
    ma::executor const large{options};
    EXPECT_NE(large.config(), with_ring.config());
}

TEST(Executor, ticks_are_kept_unless_told_otherwise)
{
    ma::executor_options options;
    options.time_tracking = false;
    ma::executor with;
    ma::executor without{options};
    run_task(with, [] {});
    run_task(without, [] {});
    EXPECT_GT(with.native_handle()->total_ticks_in_run, 0u);
    EXPECT_EQ(without.native_handle()->total_ticks_in_run, 0u);
}

TEST(Executor, moving_keeps_tasks_and_handles)
{
    ma::executor a;
    auto const native = a.native_handle();
    ma::task t;
    t.attach(a, [] {
        ma::this_task::yield();
        return 1;
    });
    a.run(1);
    ma::executor b = std::move(a);
    EXPECT_EQ(b.native_handle(), native);
    EXPECT_EQ(a.native_handle(), nullptr); // NOLINT(bugprone-use-after-move): that is the point
    b.run_until_idle();
    EXPECT_EQ(t.get(), 1);
    b = ma::executor{};
    EXPECT_NE(b.native_handle(), nullptr);
    EXPECT_EQ(t.get(), 1) << "a task outlives its executor";
    EXPECT_EQ(errno_thrown_by([&] { a.run(); }), EINVAL); // NOLINT(bugprone-use-after-move)
    EXPECT_FALSE(a.has_work());
    EXPECT_EQ(a.config(), "");
}

// The same by the C API's attribute, which the option fills in.
TEST(Executor, a_share_lets_a_low_task_run_beside_high_ones)
{
    auto const items = [](std::uint32_t share) {
        auto options = ma::executor_options::compute_only();
        options.share[2] = share;
        ma::executor ex(options);
        std::string text;
        auto const writes = [&text](char letter) {
            return [&text, letter] {
                for (int i = 0; i != 12; ++i) {
                    text += letter;
                    ma::this_task::yield();
                }
            };
        };
        ma::task_options high, low;
        high.priority = ma::priority::high;
        low.priority = ma::priority::low;
        ma::task first(high), second(low);
        first.attach(ex, writes('h'));
        second.attach(ex, writes('l'));
        ex.run_until_idle();
        return text;
    };
    EXPECT_EQ(items(0), std::string(12, 'h') + std::string(12, 'l'));
    auto const shared = items(4).substr(0, 12);
    for (std::size_t i = 0; i + 4 <= shared.size(); ++i) {
        EXPECT_NE(shared.substr(i, 4).find('l'), std::string::npos) << shared << ", from " << i;
    }
    EXPECT_GE(std::count(shared.begin(), shared.end(), 'h'), 8) << shared;

    monad_async_executor_attr attr = {};
    attr.share[0] = attr.share[1] = attr.share[2] = 2; // Three halves.
    monad_async_executor ex = nullptr;
    EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, EINVAL);
    EXPECT_NE(std::string(monad_async_last_create_error()).find("share"), std::string::npos);
    attr.share[0] = 0;
    ASSERT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(Executor, several_on_one_thread)
{
    ma::executor a, b;
    ma::task ta, tb;
    std::string order;
    ta.attach(a, [&] {
        order += 'a';
        ma::this_task::yield();
        EXPECT_EQ(ma::this_task::current(), ta.native_handle());
        order += 'A';
    });
    tb.attach(b, [&] {
        order += 'b';
        ma::this_task::yield();
        EXPECT_EQ(ma::this_task::current(), tb.native_handle());
        order += 'B';
    });
    a.run(1);
    b.run(1);
    a.run(1);
    b.run(1);
    EXPECT_EQ(order, "abAB");
}

} // namespace

// Coroutines on an executor.

#include "none_of_cpp.hpp"
#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/coroutine.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/operation.hpp>
#include <monad/async/scope.hpp>

#include <atomic>
#include <memory_resource>
#include <string>
#include <thread>

#include <unistd.h>

namespace {

ma::coroutine<int> add(int a, int b)
{
    co_return a + b;
}

ma::coroutine<> fails()
{
    co_await 1us;
    throw std::runtime_error("of the inner one");
}

TEST(Coroutine, awaits_others_and_gives_what_they_give)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto outer = [](int n) -> ma::coroutine<std::unique_ptr<int>> {
        int sum = 0;
        for (int i = 0; i < n; ++i) {
            sum = co_await add(sum, i);
        }
        try {
            co_await fails();
            ADD_FAILURE();
        } catch (std::runtime_error const &e) {
            EXPECT_STREQ(e.what(), "of the inner one");
        }
        co_return std::make_unique<int>(sum);
    };
    auto f = ma::run_coroutine(ex, outer(100));
    ex.run_until_idle();
    EXPECT_EQ(*f.get(), 4950);
    auto failing = ma::run_coroutine(ex.ref(), fails());
    ex.run_until_idle();
    EXPECT_THROW(failing.get(), std::runtime_error);
}

// It was no error of one that gives nothing, and of another ended the process.
TEST(Coroutine, tells_of_what_is_none_of_cpp)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const gives_nothing = []() -> ma::coroutine<> {
        co_await 1us;
        throw_none_of_cpp();
    };
    auto const gives_one = []() -> ma::coroutine<int> {
        co_await 1us;
        throw_none_of_cpp();
        co_return 1;
    };
    auto nothing = ma::run_coroutine(ex, gives_nothing());
    auto one = ma::run_coroutine(ex, gives_one());
    ex.run_until_idle();
    EXPECT_EQ(errno_thrown_by([&] { nothing.get(); }), ENOTRECOVERABLE);
    EXPECT_EQ(errno_thrown_by([&] { (void)one.get(); }), ENOTRECOVERABLE);
}

// (Not by a conditional expression: gcc 12 destroys what the branch not taken did not make.)
ma::coroutine<int> depth(int n)
{
    if (n == 0) {
        co_return 0;
    }
    int const below = co_await depth(n - 1);
    co_return below + 1;
}

TEST(Coroutine, of_a_lambda_uses_what_that_has_captured_until_its_end)
{
    ma::executor ex{ma::executor_options::compute_only()};
    int ends = 0;
    auto const kept = std::make_shared<counts_end>(ends);
    auto const text = std::string(100, 'x');
    auto f = ma::run_coroutine(ex, [kept, text]() -> ma::coroutine<std::size_t> {
        co_await 1ms;
        co_return text.size() + static_cast<std::size_t>(kept.use_count());
    });
    auto g = ma::run_coroutine(ex.ref(), [kept]() -> ma::coroutine<> { co_await 1ms; });
    EXPECT_EQ(kept.use_count(), 3);
    ex.run_until_idle();
    EXPECT_EQ(f.get(), 103u);
    g.get();
    EXPECT_EQ(kept.use_count(), 1);
}

TEST(Coroutine, that_was_moved_from_is_an_error)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const one = []() -> ma::coroutine<int> { co_return 1; };
    run_task(ex, [&] {
        auto first = one();
        auto second = std::move(first);
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::await(std::move(first)); }), EINVAL);
        auto const waits = [](ma::coroutine<int> c) -> ma::coroutine<int> {
            co_return co_await std::move(c);
        };
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::await(waits(std::move(first))); }), EINVAL);
        EXPECT_EQ(ma::await(std::move(second)), 1);
    });
}

TEST(Coroutine, however_deep_takes_no_stack)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto loop = []() -> ma::coroutine<int> {
        int sum = 0;
        for (int i = 0; i < 1000000; ++i) {
            sum += co_await add(1, 0);
        }
        co_return sum;
    };
    auto f = ma::run_coroutine(ex, loop());
    ex.run_until_idle();
    EXPECT_EQ(f.get(), 1000000);
    auto deep = ma::run_coroutine(ex, depth(100000));
    ex.run_until_idle();
    EXPECT_EQ(deep.get(), 100000);
}

// gcc has the array at the end of an io_uring_sqe for a mistake in a frame.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

TEST(Coroutine, awaits_operations_sleeps_tasks_channels_and_futures)
{
    ma::executor ex;
    ma::channel<int> numbers(4);
    ma::task other;
    other.attach(ex, [&] {
        ma::this_task::yield();
        numbers.send(3);
        numbers.send(4);
        numbers.close();
        return 5;
    });
    auto late = ex.submit([] {
        ma::this_task::sleep_for(1ms);
        return std::string("late");
    });
    int fds[2];
    ASSERT_EQ(pipe(fds), 0);
    auto all = [&]() -> ma::coroutine<int> {
        int sum = 0;
        while (auto n = co_await numbers) {
            sum += *n;
        }
        sum += static_cast<int>(co_await other);
        auto const begun = std::chrono::steady_clock::now();
        co_await 2ms;
        co_await (std::chrono::steady_clock::now() + 1ms);
        EXPECT_GE(std::chrono::steady_clock::now() - begun, 3ms);
        EXPECT_EQ(co_await late, "late");
        EXPECT_EQ(co_await ex.submit([] { return 6; }), 6);
        char c = 0;
        io_uring_sqe sqe{};
        sqe.opcode = IORING_OP_READ;
        sqe.fd = fds[0];
        sqe.addr = reinterpret_cast<std::uint64_t>(&c);
        sqe.len = 1;
        ma::operation read(sqe);
        EXPECT_TRUE(read.in_flight());
        EXPECT_EQ(write(fds[1], "x", 1), 1);
        EXPECT_EQ(co_await read, 1);
        EXPECT_EQ(write(fds[1], "y", 1), 1);
        EXPECT_EQ(co_await sqe, 1);
        EXPECT_EQ(c, 'y');
        co_return sum;
    };
    auto f = ma::run_coroutine(ex, all());
    ex.run_until_idle();
    EXPECT_EQ(f.get(), 12);
    close(fds[0]);
    close(fds[1]);
}

#pragma GCC diagnostic pop

TEST(Coroutine, is_a_task_for_cancels_scopes_and_groups)
{
    ma::executor ex{ma::executor_options::compute_only()};
    int ends = 0;
    auto sleeps = [&]() -> ma::coroutine<> {
        counts_end const guard(ends);
        co_await 1h;
    };
    auto bounded = [&]() -> ma::coroutine<> {
        ma::scope s{1ms};
        EXPECT_THROW(co_await sleeps(), ma::timeout_error);
    };
    auto f = ma::run_coroutine(ex, bounded());
    ex.run_until_idle();
    f.get();
    EXPECT_EQ(ends, 1);
    {
        auto dropped = ma::run_coroutine(ex, sleeps());
        ex.poll();
    }
    EXPECT_EQ(ends, 2) << "destroyed: cancelled and awaited";
    run_task(ex, [&] {
        ma::task_group g;
        g.spawn([&] { ma::await(sleeps()); });
        ma::this_task::yield();
        g.cancel();
        try {
            g.wait();
        } catch (ma::cancelled_error const &) {
        }
    });
    EXPECT_EQ(ends, 3);
    EXPECT_EQ(errno_thrown_by([&] { ma::await(sleeps()); }), EPERM) << "outside a task";
}

// Resumes its coroutine on another thread.
struct elsewhere {
    std::thread &thread;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h)
    {
        thread = std::thread([h] { h.resume(); });
    }
    [[nodiscard]] int await_resume() const noexcept { return 7; }
};
struct never_suspends {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
    void await_resume() const noexcept {}
};
struct has_operator {
    std::thread &thread;
    elsewhere operator co_await() const noexcept { return {thread}; }
};

TEST(Coroutine, stays_on_its_executor_whoever_resumes_it)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto body = []() -> ma::coroutine<int> {
        auto const here = std::this_thread::get_id();
        int sum = 0;
        for (int i = 0; i < 20; ++i) {
            std::thread a, b;
            sum += co_await elsewhere{a};
            sum += co_await has_operator{b};
            co_await never_suspends{};
            EXPECT_EQ(std::this_thread::get_id(), here);
            EXPECT_TRUE(ma::this_task::current() != nullptr);
            a.join();
            b.join();
        }
        co_return sum;
    };
    auto f = ma::run_coroutine(ex, body());
    ex.run_until_idle();
    EXPECT_EQ(f.get(), 280);
}

#if defined(__GNUC__) && !defined(__clang__)
    // gcc 12 without optimisation: the two are a pair.
    #pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

// (Inline, clang makes no frame at all.)
[[gnu::noinline]] ma::coroutine<int> from(std::allocator_arg_t, std::pmr::polymorphic_allocator<>,
                                          int n)
{
    co_return n;
}

struct counting : std::pmr::memory_resource {
    int live = 0, made = 0;
    void *do_allocate(std::size_t bytes, std::size_t alignment) override
    {
        ++live, ++made;
        return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    }
    void do_deallocate(void *at, std::size_t bytes, std::size_t alignment) override
    {
        --live;
        std::pmr::new_delete_resource()->deallocate(at, bytes, alignment);
    }
    [[nodiscard]] bool do_is_equal(memory_resource const &other) const noexcept override
    {
        return this == &other;
    }
};

TEST(Coroutine, takes_its_frame_from_the_allocator_given)
{
    counting memory;
    ma::executor ex{ma::executor_options::compute_only()};
    run_task(ex, [&] {
        EXPECT_EQ(ma::await(from(std::allocator_arg, &memory, 9)), 9);
        {
            auto const never_begun = from(std::allocator_arg, &memory, 1);
            EXPECT_EQ(memory.live, 1);
        }
    });
    EXPECT_EQ(memory.made, 2);
    EXPECT_EQ(memory.live, 0);
}

} // namespace

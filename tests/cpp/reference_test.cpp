// References that outlive their executor, loops that are stopped, waiting from plain threads.
#include "support.hpp"

#include <monad/async/future.hpp>
#include <monad/async/group.h>
#include <monad/async/scope.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <thread>
#include <type_traits>

#include <signal.h>
#include <unistd.h>

static_assert(std::is_nothrow_copy_constructible_v<ma::executor_ref>);
static_assert(sizeof(ma::executor_ref) == sizeof(void *));

namespace {

// A thread that runs an executor until it is told to stop.
class worker {
public:
    worker()
    {
        std::promise<ma::executor_ref> made;
        auto ready = made.get_future();
        thread_ = std::thread([&made, this] {
            ma::executor ex;
            made.set_value(ex.ref());
            ran_ = ex.run_until_stopped();
        });
        ref_ = ready.get();
    }
    ~worker() { end(); }
    worker(worker const &) = delete;
    worker &operator=(worker const &) = delete;
    void end()
    {
        if (thread_.joinable()) {
            ref_.stop();
            thread_.join();
        }
    }
    [[nodiscard]] ma::executor_ref const &ref() const { return ref_; }
    [[nodiscard]] std::size_t ran() const { return ran_; }

private:
    ma::executor_ref ref_;
    std::size_t ran_ = 0;
    std::thread thread_;
};

TEST(Reference, of_none)
{
    ma::executor_ref const none;
    EXPECT_FALSE(none);
    EXPECT_EQ(none.native_handle(), nullptr);
    EXPECT_EQ(errno_thrown_by([&] { none.wake(); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { none.stop(); }), EINVAL);
    ma::task t;
    EXPECT_EQ(errno_thrown_by([&] { t.attach(none, [] {}); }), EINVAL);
    ma::executor a;
    ma::executor const b = std::move(a);
    EXPECT_FALSE(a.ref()); // NOLINT(bugprone-use-after-move): that is the point
    EXPECT_EQ(none, a.ref());
    EXPECT_NE(none, b.ref());
}

TEST(Reference, outlives_the_executor_and_then_says_so)
{
    ma::executor_ref ref;
    ma::task t;
    int ends = 0;
    {
        ma::executor ex;
        ref = ex.ref();
        auto const copy = ref;
        EXPECT_EQ(copy, ref);
        t.attach(copy, [&] {
            EXPECT_EQ(ma::this_task::executor(), ref);
            return 5;
        });
        ex.run_until_idle();
        EXPECT_EQ(t.get(), 5);
    }
    EXPECT_TRUE(ref);
    EXPECT_EQ(errno_thrown_by([&] { ref.wake(); }), ESHUTDOWN);
    EXPECT_EQ(errno_thrown_by([&] { ref.stop(); }), ESHUTDOWN);
    EXPECT_EQ(errno_thrown_by([&] { t.attach(ref, [c = std::make_unique<counts_end>(ends)] {}); }),
              ESHUTDOWN);
    EXPECT_EQ(ends, 1) << "the callable is not kept";
    EXPECT_TRUE(t.done());
}

TEST(Reference, from_many_threads_while_the_executor_ends)
{
    for (int round = 0; round < 50; ++round) {
        auto w = std::make_unique<worker>();
        auto const ref = w->ref();
        std::atomic<int> gone{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 3; ++i) {
            threads.emplace_back([ref, &gone] {
                ma::task t;
                std::error_code ec;
                for (int n = 0; !ec; ++n) {
                    t.attach(ref, [n] { return n; }, ec);
                    if (!ec) {
                        std::error_code outcome;
                        auto const got = t.wait(outcome);
                        EXPECT_TRUE(outcome ? outcome == ma::cancelled : got == n)
                            << outcome.message();
                    }
                }
                EXPECT_EQ(ec.value(), ESHUTDOWN);
                ++gone;
            });
        }
        std::this_thread::sleep_for(std::chrono::microseconds(50 * round));
        w.reset();
        for (auto &t : threads) {
            t.join();
        }
        EXPECT_EQ(gone, 3);
    }
}

TEST(Reference, launches_by_others_are_refused_once_the_destructor_has_begun)
{
    auto ex = std::make_unique<ma::executor>();
    auto const ref = ex->ref();
    auto *const of_c = ex->native_handle();
    int refused[5] = {};
    bool own = false;
    int ends = 0;
    ma::task cleans, elsewhere;
    std::optional<ma::future<int>> result; // Whose end would wait for the executor.
    cleans.attach(*ex, [&] {
        struct clean {
            std::function<void()> up;
            ~clean() { up(); }
        } const c{[&] {
            ma::shield const until_done;
            std::thread([&] {
                refused[0] = errno_thrown_by(
                    [&] { ref.spawn([c = std::make_unique<counts_end>(ends)] {}); });
                refused[1] = errno_thrown_by([&] { result.emplace(ref.submit([] { return 1; })); });
                refused[2] = errno_thrown_by([&] { elsewhere.attach(ref, [] {}); });
                // By its bare handle, too.
                elsewhere.native_handle()->user_code = [](monad_async_task) {
                    return monad_async_make_success(0);
                };
                refused[3] = monad_async_task_attach(of_c, elsewhere.native_handle()).error;
                refused[4] = monad_async_task_spawn(of_c, elsewhere.native_handle(), nullptr).error;
                ref.wake(); // What is no launch comes as before.
            }).join();
            // Its own launch, and waits for that.
            ref.submit([&own] { own = true; }).get();
        }};
        ma::this_task::sleep_for(1h);
    });
    ex->run();
    ex.reset();
    EXPECT_EQ(refused[0], ESHUTDOWN);
    EXPECT_EQ(refused[1], ESHUTDOWN);
    EXPECT_EQ(refused[2], ESHUTDOWN);
    EXPECT_EQ(refused[3], ESHUTDOWN);
    EXPECT_EQ(refused[4], ESHUTDOWN);
    EXPECT_EQ(ends, 1) << "the callable is not kept";
    EXPECT_TRUE(own);
    // The next executor, which may have its mailbox, takes launches.
    ma::executor next;
    auto const to = next.ref();
    std::thread([&] { to.spawn([&] { ++ends; }); }).join();
    next.run_until_idle();
    EXPECT_EQ(ends, 2);
}

TEST(Reference, of_threads_that_launch_flat_out_while_the_executor_ends)
{
    for (int round = 0; round < 5; ++round) {
        auto ex = std::make_unique<ma::executor>();
        auto const ref = ex->ref();
        auto const held = std::make_shared<int>();
        std::atomic<int> refused{0};
        std::atomic<long> taken{0}, ran{0};
        std::vector<std::thread> threads;
        for (int i = 0; i < 2; ++i) {
            threads.emplace_back([ref, held, &refused, &taken, &ran] {
                int error = 0;
                while (error == 0) {
                    if (taken - ran > 5'000) {
                        std::this_thread::yield(); // Not as many stacks as the kernel has room for.
                    }
                    struct counts {
                        std::shared_ptr<int> held;
                        std::atomic<long> *ran;
                        counts(std::shared_ptr<int> h, std::atomic<long> &r) : held(h), ran(&r) {}
                        counts(counts &&) = default;
                        ~counts()
                        {
                            if (held) {
                                ++*ran;
                            }
                        }
                        void operator()() const {}
                    };
                    error = errno_thrown_by([&] { ref.spawn(counts(held, ran)); });
                    ++taken;
                }
                refused += error == ESHUTDOWN;
            });
        }
        while (taken < 1000) {
            ex->run();
        }
        ex.reset();
        for (auto &t : threads) {
            t.join();
        }
        EXPECT_EQ(refused, 2);
        EXPECT_EQ(held.use_count(), 1) << "each ran, or was cancelled or refused";
    }
}

TEST(Reference, this_tasks_executor_is_no_reference_outside_a_task)
{
    EXPECT_EQ(errno_thrown_by([] { (void)ma::this_task::executor(); }), EPERM);
}

TEST(Reference, of_an_executor_of_the_c_api)
{
    monad_async_executor native = nullptr;
    monad_async_executor_attr const attr = {};
    ASSERT_EQ(monad_async_executor_create(&native, &attr).error, 0);
    ma::executor_ref ref;
    {
        ma::task t, second;
        t.attach(native, [&] {
            ref = ma::this_task::executor();
            EXPECT_EQ(ref, ma::this_task::executor());
            second.attach(ref, [] { return 2; });
            return second.join();
        });
        while (monad_async_executor_has_work(native)) {
            ASSERT_EQ(monad_async_executor_run(native, SIZE_MAX, nullptr).error, 0);
        }
        EXPECT_EQ(t.get(), 2);
    }
    ASSERT_EQ(monad_async_executor_destroy(native).error, 0);
    EXPECT_EQ(errno_thrown_by([&] { ref.wake(); }), ESHUTDOWN);
}

TEST(Loops, stop_ends_the_one_under_way_or_the_next)
{
    ma::executor ex;
    ex.stop();
    EXPECT_EQ(ex.run_until_stopped(), 0u) << "asked before";
    ma::task t;
    t.attach(ex, [&] {
        ma::this_task::sleep_for(1ms);
        ex.stop();
    });
    EXPECT_EQ(ex.run_until_stopped(), 2u);
    EXPECT_TRUE(t.done());
    ex.stop();
    EXPECT_EQ(ex.run_for(1h), 0u);
    ex.stop();
    EXPECT_EQ(ex.run_until(std::chrono::steady_clock::now() + 1h), 0u);
    worker w;
    t.attach(w.ref(), [] {});
    t.wait();
    w.end();
    EXPECT_EQ(w.ran(), 1u);
}

TEST(Loops, run_for_takes_its_time)
{
    ma::executor ex;
    ma::task t, idle;
    t.attach(ex, [] {
        for (;;) {
            ma::this_task::sleep_for(100us);
        }
    });
    auto const begun = std::chrono::steady_clock::now();
    EXPECT_GE(ex.run_for(5ms), 1u);
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 5ms);
    ex.wake();
    auto const time = std::chrono::steady_clock::now() + 5ms;
    EXPECT_GE(ex.run_until(time), 1u);
    EXPECT_GE(std::chrono::steady_clock::now(), time);
    idle.attach(ex, [] {});
    EXPECT_GE(ex.run_for(-1h), 1u) << "one pass at least";
    EXPECT_TRUE(idle.done());
}

TEST(Loops, poll_does_not_wait)
{
    ma::executor ex;
    EXPECT_EQ(ex.poll(), 0u);
    ma::task t;
    t.attach(ex, [] { ma::this_task::sleep_for(1h); });
    EXPECT_EQ(ex.poll(), 1u);
    EXPECT_EQ(ex.poll(), 0u);
}

TEST(Loops, are_refused_where_run_is)
{
    ma::executor ex;
    run_task(ex, [&] {
        EXPECT_EQ(errno_thrown_by([&] { ex.poll(); }), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { ex.run_for(1ms); }), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { ex.run_until_stopped(); }), EDEADLK);
        std::error_code ec;
        EXPECT_EQ(ex.run_until_idle(ec), 0u);
        EXPECT_EQ(ec.value(), EDEADLK);
    });
    ma::executor const other = std::move(ex);
    EXPECT_EQ(errno_thrown_by([&] { ex.run_until_stopped(); }), EINVAL); // NOLINT
    ex.stop();                                                           // NOLINT
}

TEST(Wait, a_plain_thread_waits_for_a_task)
{
    worker w;
    ma::task t;
    t.attach(w.ref(), [] {
        ma::this_task::sleep_for(2ms);
        return 4;
    });
    EXPECT_EQ(t.wait(), 4);
    EXPECT_TRUE(t.done());
    EXPECT_EQ(t.wait(), 4) << "at once";
    t.attach(w.ref(), []() -> int { throw std::runtime_error("there"); });
    EXPECT_THROW((void)t.wait(), std::runtime_error);
    t.attach(w.ref(), [] { ma::this_task::sleep_for(1h); });
    EXPECT_THROW((void)t.wait_for(1ms), ma::timeout_error);
    std::error_code ec;
    EXPECT_EQ(t.wait_for(0s, ec), -1);
    EXPECT_EQ(ec.value(), ETIME);
    EXPECT_FALSE(t.done());
    t.cancel();
    EXPECT_THROW((void)t.wait(), ma::cancelled_error);
}

TEST(Wait, refused)
{
    ma::executor ex;
    ma::task t, sleeps;
    EXPECT_EQ(errno_thrown_by([&] { (void)t.wait(); }), EINVAL);
    sleeps.attach(ex, [] { ma::this_task::sleep_for(1h); });
    EXPECT_EQ(errno_thrown_by([&] { (void)sleeps.wait(); }), EDEADLK) << "nobody would run it";
    t.attach(ex, [&] { return errno_thrown_by([&] { (void)sleeps.wait(); }); });
    ex.run(2);
    EXPECT_EQ(t.get(), EDEADLK);
}

TEST(Park, a_permit_is_kept)
{
    worker w;
    ma::task t;
    std::atomic<int> seen{0};
    int number = 0;
    t.attach(w.ref(), [&] {
        for (int i = 1; i <= 1000; ++i) {
            ma::this_task::park();
            seen = number;
        }
        std::error_code ec;
        ma::this_task::park(ec);
        EXPECT_EQ(ec, ma::cancelled);
    });
    for (int i = 1; i <= 1000; ++i) {
        number = i;
        t.unpark();
        while (seen != i) {
            std::this_thread::yield();
        }
    }
    t.cancel();
    EXPECT_EQ(t.wait(), 0);
}

// The executor, and what refers to it.
std::uint64_t users_of(ma::executor const &ex)
{
    auto const &block = *ex.block();
    return block.users - ma::detail::executor_block::kept +
           static_cast<std::uint64_t>(block.users_here);
}

// What is taken elsewhere and given back here is counted out: the executor alone is left.
TEST(Reference, of_background_tasks_are_given_back_for_good)
{
    ma::executor ex{ma::executor_options::compute_only()};
    unsigned done = 0;
    constexpr unsigned rounds = 100, at_once = 100;
    for (unsigned i = 0; i < rounds; ++i) {
        std::thread([&done, to = ex.ref()] {
            for (unsigned j = 0; j < at_once; ++j) {
                to.spawn([&done] { ++done; });
            }
        }).join();
        ex.run_until_idle();
    }
    EXPECT_EQ(done, rounds * at_once);
    EXPECT_EQ(users_of(ex), 1U);
}

TEST(Reference, of_a_future_is_given_back_wherever_that_goes)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::task t;
    t.attach(ex, [&ex] {
        for (int i = 0; i != 3; ++i) {
            EXPECT_EQ(ex.submit([i] { return i; }).get(), i);
            ex.submit([] {}).get();
        }
    });
    ex.run_until_idle();
    EXPECT_EQ(users_of(ex), 1U);
    auto elsewhere = ex.submit([] {}), here = ex.submit([] {});
    EXPECT_EQ(users_of(ex), 3U);
    ex.run_until_idle();
    std::thread([one = std::move(elsewhere)]() mutable { one.get(); }).join();
    EXPECT_EQ(users_of(ex), 2U);
    here = {};
    EXPECT_EQ(users_of(ex), 1U);
}

#if defined(__x86_64__)

thread_local std::function<void()> *at_each_step = nullptr;

void stepped(int)
{
    if (at_each_step != nullptr) {
        (*at_each_step)();
    }
}

// Of the processor: SIGTRAP behind each instruction.
void step_by_step(bool is_on)
{
    std::uint64_t flags = __builtin_ia32_readeflags_u64();
    __builtin_ia32_writeeflags_u64(is_on ? flags | 0x100 : flags & ~std::uint64_t(0x100));
}

// An executor that works sees at once that it is to stop, and may be gone before it is woken for
// that: who stopped it was told that there was nobody to stop.
TEST(Reference, what_a_stop_has_stopped_may_be_gone_before_it_returns)
{
    std::atomic<bool> stopping{false};
    std::atomic<bool> was_stopped{false};
    std::atomic<bool> is_gone{false};
    std::promise<ma::executor_ref> made;
    std::thread thread([&] {
        {
            ma::executor ex(ma::executor_options::compute_only());
            ex.spawn([&] {
                while (!was_stopped) {
                    ma::this_task::yield();
                }
            });
            made.set_value(ex.ref());
            ex.run_until_stopped();
            was_stopped = true;
        }
        is_gone = true;
    });
    auto const ref = made.get_future().get();
    struct sigaction before;
    struct sigaction action = {};
    action.sa_handler = stepped;
    ASSERT_EQ(::sigaction(SIGTRAP, &action, &before), 0);
    // Behind each instruction of the call the executor has time to see the request, and to end.
    // A second or two in all: what is inside the call may keep the executor from its end.
    int left = 10'000;
    std::function<void()> step = [&] {
        if (stopping) {
            ::usleep(100);
            while (was_stopped && !is_gone && left-- > 0) {
                ::usleep(100);
            }
        }
    };
    std::error_code ec;
    at_each_step = &step;
    stopping = true;
    step_by_step(true);
    ref.stop(ec);
    step_by_step(false);
    stopping = false;
    at_each_step = nullptr;
    EXPECT_FALSE(ec) << ec.message();
    thread.join();
    EXPECT_EQ(::sigaction(SIGTRAP, &before, nullptr), 0);
    // Now there is nobody, and nobody asks.
    ref.stop(ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
    ref.stop(ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
}

#endif

} // namespace

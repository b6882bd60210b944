// What a join gives when more happens than that the task ends: cancels, relaunches, destruction;
// and what a task object makes of code that C gave the task.
#include "support.hpp"

#include <atomic>
#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

// Who joins runs again only after the object it joined is gone.
TEST(Join, of_a_task_that_is_destroyed_meanwhile)
{
    ma::executor ex;
    int joined = 0;
    int canceled = 0;
    int thrown = 0;
    ma::task joins_value;
    ma::task joins_canceled;
    ma::task joins_thrown;
    {
        ma::task value;
        ma::task canceled_task;
        ma::task throws;
        // Ends as it likes when it is cancelled.
        value.attach(ex, [] {
            (void)errno_thrown_by([] { ma::this_task::sleep_for(1h); });
            return 42;
        });
        canceled_task.attach(ex, [] { ma::this_task::sleep_for(1h); });
        throws.attach(ex, [] {
            (void)errno_thrown_by([] { ma::this_task::sleep_for(1h); });
            throw std::runtime_error(std::string(100, 'x'));
        });
        joins_value.attach(ex, [&] { joined = static_cast<int>(value.join()); });
        joins_canceled.attach(
            ex, [&] { canceled = errno_thrown_by([&] { (void)canceled_task.join(); }); });
        joins_thrown.attach(ex, [&] {
            try {
                (void)throws.join();
            } catch (std::runtime_error const &e) {
                thrown = static_cast<int>(std::string(e.what()).size());
            }
        });
        ex.run();
    }
    ex.run_until_idle();
    EXPECT_EQ(joined, 42);
    EXPECT_EQ(canceled, ECANCELED);
    EXPECT_EQ(thrown, 100);
}

TEST(Join, is_cancelled_and_the_task_destroyed)
{
    ma::executor ex;
    ma::task joins;
    int error = 0;
    {
        ma::task sleeps;
        sleeps.attach(ex, [] { (void)errno_thrown_by([] { ma::this_task::sleep_for(1h); }); });
        joins.attach(ex, [&] { error = errno_thrown_by([&] { (void)sleeps.join(); }); });
        ex.run();
        joins.cancel();
    }
    ex.run_until_idle();
    EXPECT_EQ(error, ECANCELED);
}

TEST(Join, of_a_task_that_moves_meanwhile)
{
    ma::executor ex;
    ma::task first;
    ma::task joins;
    std::intptr_t joined = 0;
    first.attach(ex, [] {
        ma::this_task::sleep_for(1ms);
        return 7;
    });
    joins.attach(ex, [&] { joined = first.join(); });
    ex.run();
    ma::task second = std::move(first);
    ex.run_until_idle();
    EXPECT_EQ(joined, 7);
    EXPECT_EQ(second.get(), 7);
}

TEST(Join, a_cancel_that_was_there_first_is_not_lost)
{
    ma::executor ex;
    ma::task ended;
    ended.attach(ex, [] { return 42; });
    ex.run_until_idle();
    ma::task joins;
    int error = 0;
    joins.attach(ex, [&] {
        joins.cancel();
        error = errno_thrown_by([&] { (void)ended.join(); });
    });
    ex.run_until_idle();
    EXPECT_EQ(error, ECANCELED);
}

TEST(Join, a_cancel_counts_though_the_task_ends_before_the_joiner_runs)
{
    ma::executor ex;
    ma::task ends;
    ma::task joins;
    int error = 0;
    ends.attach(ex, [] {
        ma::this_task::yield();
        return 42;
    });
    joins.attach(ex, [&] { error = errno_thrown_by([&] { (void)ends.join(); }); });
    ex.run(2);
    joins.cancel();
    ex.run_until_idle();
    EXPECT_EQ(error, ECANCELED);
}

// The first of two joiners launches the task again before the second runs.
TEST(Join, gives_the_run_that_was_joined)
{
    for (bool const again_ended : {false, true}) {
        ma::executor ex;
        ma::task t;
        ma::task first;
        ma::task second;
        std::intptr_t joined = 0;
        t.priority(again_ended ? ma::priority::high : ma::priority::low);
        first.priority(ma::priority::high);
        second.priority(ma::priority::normal);
        t.attach(ex, [] {
            ma::this_task::park(); // Not for a time: the second may come late.
            return 42;
        });
        first.attach(ex, [&] {
            (void)t.join();
            t.attach(ex, [] { return 7; });
        });
        second.attach(ex, [&] {
            t.unpark();
            joined = t.join();
        });
        ex.run_until_idle();
        EXPECT_EQ(joined, 42) << again_ended;
        EXPECT_EQ(t.get(), 7);
    }
}

TEST(Join, of_a_run_that_threw_and_was_followed_by_another)
{
    ma::executor ex;
    ma::task t;
    ma::task first;
    ma::task second;
    int error = 0;
    t.priority(ma::priority::high);
    first.priority(ma::priority::high);
    t.attach(ex, [] {
        ma::this_task::park();
        throw std::system_error(EDOM, std::system_category());
    });
    first.attach(ex, [&] {
        EXPECT_EQ(errno_thrown_by([&] { (void)t.join(); }), EDOM);
        t.attach(ex, []() -> int { throw std::runtime_error("the second run's"); });
    });
    second.attach(ex, [&] {
        t.unpark();
        error = errno_thrown_by([&] { (void)t.join(); });
    });
    ex.run_until_idle();
    EXPECT_EQ(error, EDOM) << "its errno, if not itself";
    EXPECT_THROW((void)t.get(), std::runtime_error);
}

// The task's executor is busy, so that the question of who joins arrives after the task has gone.
TEST(Join, across_threads_of_a_task_that_is_destroyed_before_its_executor_is_asked)
{
    std::atomic<ma::executor *> there{nullptr};
    std::atomic<bool> start{false};
    std::atomic<bool> began{false};
    std::atomic<bool> end{false};
    std::atomic<bool> gone{false};
    std::atomic<bool> finish{false};
    std::thread other([&] {
        ma::executor ex;
        there = &ex;
        while (!start) {
            std::this_thread::yield();
        }
        ex.run_until_idle();
        while (!finish) {
            std::this_thread::yield();
        }
    });
    while (there == nullptr) {
        std::this_thread::yield();
    }
    auto t = std::make_unique<ma::task>();
    ma::task busy;
    t->attach(*there, [&] {
        began = true;
        while (!end) {
            std::this_thread::yield();
        }
        return 42;
    });
    busy.attach(*there, [&] {
        while (!gone) {
            std::this_thread::yield();
        }
    });
    start = true;
    while (!began) {
        std::this_thread::yield();
    }
    std::intptr_t joined = 0;
    {
        ma::executor ex;
        ma::task joins;
        ma::task destroys;
        joins.attach(ex, [&] { joined = t->join(); });
        destroys.attach(ex, [&] {
            end = true;
            while (!t->done()) {
                std::this_thread::yield();
            }
            t.reset();
            gone = true;
        });
        ex.run_until_idle();
    }
    finish = true;
    other.join();
    EXPECT_EQ(joined, 42);
}

TEST(Join, what_a_launch_that_never_began_has_captured_goes_with_the_task)
{
    ma::executor ex;
    ma::task joins;
    joins.priority(ma::priority::high);
    int ends = 0;
    int error = 0;
    {
        ma::task t;
        t.priority(ma::priority::low);
        t.attach(ex, [owned = std::make_unique<counts_end>(ends)] {});
        joins.attach(ex, [&] { error = errno_thrown_by([&] { (void)t.join(); }); });
        ex.run(1);
    }
    EXPECT_EQ(ends, 1);
    ex.run_until_idle();
    EXPECT_EQ(error, ECANCELED);
}

monad_async_result nine(monad_async_task)
{
    return monad_async_make_success(9);
}

TEST(Join, a_task_with_code_of_c_that_was_never_launched)
{
    ma::task t;
    t.native_handle()->user_code = nine;
    EXPECT_TRUE(t.done());
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), EINVAL);
}

TEST(Join, code_of_c_neither_hides_nor_brings_back_what_was_thrown)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, []() -> int { throw std::runtime_error("first"); });
    ex.run_until_idle();
    auto *const head = t.native_handle();
    auto const code = std::exchange(head->user_code, nine);
    EXPECT_THROW((void)t.get(), std::runtime_error);
    ASSERT_EQ(monad_async_task_attach(ex.native_handle(), head).error, 0);
    ex.run_until_idle();
    head->user_code = code;
    EXPECT_EQ(t.get(), 9);
}

// C hands on the error of a task that threw, as a task that threw itself once.
monad_async_task other_task;
monad_async_result joins_other(monad_async_task self)
{
    return monad_async_task_join(self, other_task);
}

TEST(Join, an_error_of_anothers_throw_does_not_bring_back_ones_own)
{
    ma::executor ex;
    ma::task a;
    ma::task b;
    a.attach(ex, []() -> int { throw std::runtime_error("of a"); });
    b.attach(ex, []() -> int { throw std::logic_error("of b"); });
    ex.run_until_idle();
    other_task = a.native_handle();
    b.native_handle()->user_code = joins_other;
    ASSERT_EQ(monad_async_task_attach(ex.native_handle(), b.native_handle()).error, 0);
    ex.run_until_idle();
    EXPECT_EQ(errno_thrown_by([&] { (void)b.get(); }), ENOTRECOVERABLE);
}

// Two threads: one launches what throws, again and again; the other joins it all the while.
TEST(Join, of_throws_that_another_thread_launches_again_and_again)
{
    ma::task t;
    std::atomic<bool> stop{false};
    std::atomic<bool> finished{false};
    std::atomic<int> joined{0};
    std::thread joins([&] {
        ma::executor ex;
        ma::task joiner;
        joiner.attach(ex, [&] {
            while (!stop) {
                try {
                    (void)t.join();
                } catch (std::system_error const &) {
                    // Not launched yet, overtaken, or what was thrown is gone.
                } catch (std::runtime_error const &e) {
                    EXPECT_EQ(std::string(e.what()).size(), 100u);
                    ++joined;
                }
            }
        });
        ex.run_until_idle();
        finished = true;
    });
    ma::executor ex;
    for (int i = 0; i < 100'000 || joined < 1000; ++i) {
        t.attach(ex, []() -> int { throw std::runtime_error(std::string(100, 'x')); });
        while (!t.done()) {
            ex.run();
        }
    }
    stop = true;
    while (!finished) {
        (void)ex.run(ma::executor::unlimited, 1ms); // The last join may be on its way here.
    }
    joins.join();
}

} // namespace

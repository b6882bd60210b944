// Tasks and executors of several threads.
#include "support.hpp"

#include <monad/async/blocking.hpp>
#include <monad/async/future.hpp>

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// A thread that owns an executor and runs it until told to stop.
class worker {
public:
    worker()
    {
        std::promise<ma::executor *> made;
        auto ready = made.get_future();
        thread_ = std::thread([this, &made] {
            ma::executor ex;
            made.set_value(&ex);
            while (!stop_.load()) {
                ex.run(ma::executor::unlimited, 1h);
            }
            // The executor must outlive the call that woke it.
            std::lock_guard const woken(waking_);
        });
        ex_ = ready.get();
    }
    ~worker()
    {
        {
            std::lock_guard const waking(waking_);
            stop_.store(true);
            ex_->wake();
        }
        thread_.join();
    }
    worker(worker const &) = delete;
    worker &operator=(worker const &) = delete;

    ma::executor &ex() { return *ex_; }

private:
    std::atomic<bool> stop_{false};
    std::mutex waking_;
    ma::executor *ex_ = nullptr;
    std::thread thread_;
};

void wait_for(ma::task const &t)
{
    while (!t.done()) {
        std::this_thread::yield();
    }
}

// For ThreadSanitizer, which does not see how the library hands a call to its helpers, and back.
TEST(Threads, what_is_offloaded_sees_what_came_before_and_is_seen)
{
    ma::executor ex;
    run_task(ex, [] {
        for (int i = 0; i < 3; ++i) {
            int seen = i;
            EXPECT_EQ(ma::offload([&seen] { return ++seen; }), i + 1);
            EXPECT_EQ(seen, i + 1);
        }
    });
}

TEST(Threads, attach_from_another_thread_and_read_the_result_there)
{
    worker w;
    ma::task t;
    auto const here = std::this_thread::get_id();
    for (int i = 0; i < 1000; ++i) {
        t.attach(w.ex(), [i, here, text = std::string(100, 'x')] {
            return std::this_thread::get_id() == here ? -1 : i + static_cast<int>(text.size());
        });
        wait_for(t);
        ASSERT_EQ(t.get(), i + 100);
    }
    t.attach(w.ex(), [] { throw std::runtime_error("there"); });
    wait_for(t);
    EXPECT_THROW((void)t.get(), std::runtime_error);
}

TEST(Threads, a_task_moves_between_executors_but_not_while_it_runs)
{
    worker a, b;
    ma::task t;
    for (int i = 0; i < 200; ++i) {
        t.attach(i % 2 == 0 ? a.ex() : b.ex(), [i] {
            auto const thread = std::this_thread::get_id();
            ma::this_task::yield();
            ma::this_task::sleep_for(10us);
            return thread == std::this_thread::get_id() ? i : -1;
        });
        wait_for(t);
        ASSERT_EQ(t.get(), i);
    }
}

TEST(Threads, cancel_from_another_thread)
{
    worker w;
    ma::task t;
    t.attach(w.ex(), [] { ma::this_task::sleep_for(1h); });
    EXPECT_TRUE(t.cancel());
    wait_for(t);
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), ECANCELED);
    EXPECT_FALSE(t.cancel());
}

TEST(Threads, priorities_of_an_attached_task_are_the_owners_business)
{
    worker w;
    ma::task t;
    std::atomic<bool> go{false};
    t.attach(w.ex(), [&] {
        while (!go.load()) {
            ma::this_task::sleep_for(10us);
        }
    });
    EXPECT_EQ(errno_thrown_by([&] { t.priority(ma::priority::high, ma::priority::high); }), EPERM);
    go.store(true);
    wait_for(t);
    t.priority(ma::priority::high);
}

TEST(Threads, destroying_a_task_elsewhere_waits_for_its_end)
{
    worker w;
    std::atomic<int> ends{0};
    for (int i = 0; i < 20; ++i) {
        std::atomic<bool> begun{false};
        ma::task t;
        t.attach(w.ex(), [&] {
            struct end {
                std::atomic<int> &n;
                ~end() { ++n; }
            } const e{ends};
            begun.store(true);
            try {
                ma::this_task::sleep_for(1h);
            } catch (std::system_error const &) {
            }
            ma::this_task::sleep_for(1h); // Swallowed one; the next cancel ends it.
        });
        while (!begun.load()) {
            std::this_thread::yield();
        }
        {
            ma::task const gone = std::move(t);
        }
        EXPECT_EQ(ends.load(), i + 1) << "has ended when the destructor returns";
    }
}

TEST(Threads, destroying_a_task_elsewhere_from_inside_a_task)
{
    worker w;
    ma::executor here;
    std::atomic<int> ends{0};
    int others = 0;
    ma::task outer, other;
    other.attach(here, [&] {
        for (;;) {
            ma::this_task::sleep_for(100us);
            ++others;
        }
    });
    outer.attach(here, [&] {
        ma::task inner;
        std::atomic<bool> begun{false};
        inner.attach(w.ex(), [&] {
            begun.store(true);
            struct end {
                std::atomic<int> &n;
                ~end() { ++n; }
            } const e{ends};
            try {
                ma::this_task::sleep_for(1h);
            } catch (std::system_error const &) {
                ma::this_task::sleep_for(1h);
            }
        });
        do {
            ma::this_task::sleep_for(1ms);
        } while (!begun.load());
    });
    while (!outer.done()) {
        here.run();
    }
    EXPECT_EQ(ends.load(), 1);
    EXPECT_GT(others, 0) << "the thread went on";
}

TEST(Threads, join_across_executors)
{
    worker w;
    ma::executor here;
    ma::task there, waiter;
    there.attach(w.ex(), [] {
        ma::this_task::sleep_for(2ms);
        throw std::runtime_error("there");
    });
    waiter.attach(here, [&] { return there.join(); });
    here.run_until_idle();
    EXPECT_THROW((void)waiter.get(), std::runtime_error);
}

// The answer comes by the other thread, whose write to this executor's eventfd ThreadSanitizer
// sees, and not what orders the close after it.
TEST(Threads, an_executor_may_be_destroyed_once_a_join_from_elsewhere_is_answered)
{
    worker w;
    for (int i = 0; i < 50; ++i) {
        ma::task other;
        other.attach(w.ex(), [] { ma::this_task::sleep_for(200us); });
        ma::executor ex;
        ma::task joins;
        joins.attach(ex, [&] { other.join(); });
        while (!joins.done()) {
            ex.run(ma::executor::unlimited, 1h);
        }
    }
}

TEST(Threads, run_on_the_wrong_thread)
{
    worker w;
    EXPECT_EQ(errno_thrown_by([&] { w.ex().run(); }), EPERM);
    EXPECT_FALSE(w.ex().has_work());
}

TEST(Threads, exceptions_of_many_threads_at_once)
{
    std::vector<std::unique_ptr<worker>> workers;
    for (int i = 0; i < 4; ++i) {
        workers.push_back(std::make_unique<worker>());
    }
    std::vector<ma::task> tasks(200);
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        tasks[i].attach(workers[i % 4]->ex(), [i] {
            for (int round = 0; round < 20; ++round) {
                try {
                    throw i;
                } catch (std::size_t caught) {
                    ma::this_task::yield();
                    if (caught != i) {
                        return false;
                    }
                    try {
                        throw;
                    } catch (std::size_t again) {
                        if (again != i) {
                            return false;
                        }
                    }
                }
            }
            return true;
        });
    }
    for (auto const &t : tasks) {
        wait_for(t);
        EXPECT_TRUE(t.get());
    }
}

// The calling thread, on the first processor that it may have.
void on_one_processor()
{
    cpu_set_t all;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    int first = 0;
    while (!CPU_ISSET(first, &all)) {
        ++first;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
}

TEST(Threads, a_lock_is_had_whose_holder_waits_for_this_processor)
{
    int word = 0;
    std::atomic<bool> held{false}, wanted{false};
    unsigned attempts = 0;
    bool real_time = false;
    std::thread low([&] {
        on_one_processor();
        ma::detail::spin_lock(word);
        held.store(true);
        while (!wanted.load()) {
            std::this_thread::yield();
        }
        ma::detail::spin_unlock(word);
    });
    std::thread high([&] {
        on_one_processor();
        while (!held.load()) {
            std::this_thread::yield();
        }
        sched_param parameter = {};
        parameter.sched_priority = 1;
        real_time = sched_setscheduler(0, SCHED_FIFO, &parameter) == 0;
        wanted.store(true);
        while (!ma::detail::try_spin(word, attempts)) {
        }
    });
    low.join();
    high.join();
    if (!real_time) {
        GTEST_SKIP() << "no real-time priority";
    }
    EXPECT_LT(attempts, 1000U); // One that only spins does so until the kernel stops it.
}

TEST(Threads, a_lock_that_a_fork_has_left_closed_is_not_waited_for)
{
    ma::executor ex(ma::executor_options::compute_only());
    auto &block = *ex.block();
    ma::detail::spin_lock(block.elsewhere_lock); // As by another thread, which the child lacks.
    pid_t const child = fork();
    if (child == 0) {
        _exit(ma::detail::lock_elsewhere(block) ? 1 : 0);
    }
    ma::detail::spin_unlock(block.elsewhere_lock);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

} // namespace

// What users of tokio, Boost.Asio, Boost.Fiber, folly, TensorFlow's pool and Go's errgroup have
// complained of, tried here.
#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/condition.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/mutex.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/semaphore.hpp>
#include <monad/async/wait_group.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace {

// A send that is cancelled or too late loses what was to be sent.
TEST(Complaints, a_send_that_was_interrupted_keeps_its_value)
{
    ma::executor ex;
    ma::channel<std::unique_ptr<int>> ch;
    run_task(ex, [&] {
        auto mine = std::make_unique<int>(7);
        EXPECT_THROW(ma::with_timeout(1ms, [&] { ch.send(std::move(mine)); }), ma::timeout_error);
        ASSERT_NE(mine, nullptr);
        ma::scope s;
        s.cancel();
        std::error_code ec;
        ch.send(std::move(mine), ec);
        EXPECT_EQ(ec.value(), ECANCELED);
        ASSERT_NE(mine, nullptr);
    });
}

// A close ends who receives, but not who sends.
TEST(Complaints, a_close_ends_all_who_send_on_all_workers)
{
    ma::thread_pool pool(4);
    ma::channel<int> ch;
    std::atomic<int> refused{0};
    for (int i = 0; i != 50; ++i) {
        pool.spawn([&, i] {
            std::error_code ec;
            ch.send(int(i), ec);
            refused += ec.value() == EPIPE;
        });
    }
    while (pool.queued() != 0) {
        std::this_thread::sleep_for(100us);
    }
    ch.close();
    pool.wait();
    EXPECT_EQ(refused, 50);
}

// A try_send does not wake who waits.
TEST(Complaints, a_try_send_wakes_a_receiver)
{
    ma::executor ex;
    for (std::size_t capacity : {0, 16}) {
        ma::channel<int> ch(capacity);
        auto got = ex.submit([&] { return *ch.recv(); });
        ex.poll();
        EXPECT_TRUE(ch.try_send(3));
        ex.run_until_idle();
        EXPECT_EQ(got.get(), 3);
    }
}

// Objects inside a channel that is destroyed are not.
TEST(Complaints, what_is_inside_a_channel_ends_with_it)
{
    auto const watched = std::make_shared<int>(1);
    {
        ma::channel<std::shared_ptr<int>> ch(4);
        ASSERT_TRUE(ch.try_send(std::shared_ptr<int>(watched)));
        ASSERT_TRUE(ch.try_send(std::shared_ptr<int>(watched)));
        EXPECT_EQ(watched.use_count(), 3);
    }
    EXPECT_EQ(watched.use_count(), 1);
}

// Many that wait for a time on a condition, and one that notifies: an assertion of the scheduler's.
TEST(Complaints, notifications_and_times_that_cross_on_a_condition)
{
    ma::executor ex;
    ma::mutex m;
    ma::condition cv;
    bool stop = false;
    int notified = 0;
    std::vector<ma::future<void>> all;
    for (int i = 0; i != 6; ++i) {
        all.push_back(ex.submit([&] {
            while (!stop) {
                std::unique_lock<ma::mutex> lock(m);
                notified += cv.wait_for(lock, 200us) == std::cv_status::no_timeout;
            }
        }));
    }
    all.push_back(ex.submit([&] {
        for (int i = 0; i != 200; ++i) {
            {
                std::lock_guard<ma::mutex> const lock(m);
                cv.notify_one();
            }
            ma::this_task::sleep_for(100us);
        }
        stop = true;
    }));
    ex.run_until_idle();
    for (auto &f : all) {
        f.get();
    }
    EXPECT_GT(notified, 0);
}

// The error of a group is another's cancellation, and not what a child threw.
TEST(Complaints, a_group_tells_what_a_child_threw_though_spawning_was_refused)
{
    ma::executor ex;
    run_task(ex, [] {
        ma::task_group g;
        g.spawn([] { throw std::runtime_error("the cause"); });
        g.spawn([] { ma::this_task::sleep_for(1h); });
        ma::this_task::yield();
        ma::this_task::yield();
        EXPECT_THROW(g.spawn([] {}), ma::cancelled_error);
        try {
            g.wait();
            FAIL() << "nothing";
        } catch (std::runtime_error const &e) {
            EXPECT_STREQ(e.what(), "the cause");
        }
        g.spawn([] {}); // As new.
        g.wait();
    });
}

// A pool is destroyed right after the last result was taken.
TEST(Complaints, a_pool_ends_right_after_a_result)
{
    for (int i = 0; i != 300; ++i) {
        ma::thread_pool pool(1 + static_cast<unsigned>(i % 3));
        EXPECT_EQ(pool.submit([i] { return i; }).get(), i);
    }
}

// Tasks are made as old ones end, and the pool ends when they have.
TEST(Complaints, a_pool_ends_after_tasks_that_made_tasks)
{
    for (int i = 0; i != 300; ++i) {
        std::atomic<int> ran{0};
        {
            ma::thread_pool pool(2);
            ma::channel<int> ended(64);
            for (int n = 0; n != 4; ++n) {
                pool.spawn([&] { ended.send(1); });
            }
            for (int n = 0; n != 60; ++n) {
                (void)ended.recv();
                pool.spawn([&] {
                    ++ran;
                    ended.send(1);
                });
            }
            pool.wait();
        }
        ASSERT_EQ(ran, 60);
    }
}

// Work that is divided by tasks that submit tasks: a pool that forgets who sleeps stops.
TEST(Complaints, tasks_that_divide_themselves)
{
    for (int i = 0; i != 5; ++i) {
        ma::thread_pool pool(4);
        std::atomic<int> leaves{0};
        struct divide {
            ma::thread_pool &pool;
            std::atomic<int> &leaves;
            int level;
            void operator()() const
            {
                if (level == 0) {
                    ++leaves;
                    return;
                }
                pool.spawn(divide{pool, leaves, level - 1});
                pool.spawn(divide{pool, leaves, level - 1});
            }
        };
        pool.spawn(divide{pool, leaves, 10});
        pool.wait();
        ASSERT_EQ(leaves, 1 << 10);
    }
}

// A pool that ends while its tasks submit: refused by an error, and nothing hangs.
TEST(Complaints, tasks_that_submit_while_their_pool_ends)
{
    std::atomic<int> refused{0}, ran{0};
    for (int i = 0; i != 50; ++i) {
        ma::thread_pool pool(2);
        for (int n = 0; n != 20; ++n) {
            pool.spawn([&] {
                ++ran;
                try {
                    pool.spawn([&] { ++ran; });
                } catch (std::system_error const &e) {
                    refused += e.code().value() == ESHUTDOWN;
                }
            });
        }
    }
    EXPECT_EQ(ran + refused, 50 * 40);
}

// A wait group that is used again before the one that waited has gone on.
TEST(Complaints, a_wait_group_is_used_again_at_once)
{
    ma::executor ex;
    ma::wait_group g(1);
    int waited = 0;
    for (int i = 0; i != 3; ++i) {
        ex.spawn([&] {
            g.wait();
            ++waited;
        });
    }
    ex.poll();
    run_task(ex, [&] {
        g.done();
        g.add(1); // The three were told.
    });
    ex.poll();
    EXPECT_EQ(waited, 3);
    g.done();
}

// Who wants many is cancelled at the head of the queue: those behind it wait for ever.
TEST(Complaints, a_semaphore_whose_first_waiter_leaves)
{
    ma::executor ex;
    ma::semaphore s(1);
    auto many = ex.submit([&] { ma::with_timeout(1ms, [&] { s.acquire(5); }); });
    ex.poll();
    auto few = ex.submit([&] { s.acquire(1); });
    ex.run_until_idle();
    EXPECT_TRUE(few.ready());
    EXPECT_THROW(many.get(), ma::timeout_error);
}

// A reader that reads again while a writer waits, and one that has it already: known deadlocks are an
// error, or do not happen.
TEST(Complaints, a_mutex_that_its_owner_locks_again)
{
    ma::executor ex;
    ma::mutex m;
    run_task(ex, [&] {
        std::lock_guard<ma::mutex> const lock(m);
        EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), EDEADLK);
    });
}

// A future that nobody asks, of a task that throws, in a destructor during unwinding.
TEST(Complaints, a_future_and_a_group_end_while_the_stack_unwinds)
{
    ma::executor ex;
    EXPECT_THROW(run_task(ex,
                          [&] {
                              auto f = ma::this_task::executor().submit(
                                  [] { ma::this_task::sleep_for(1h); });
                              ma::task_group g;
                              g.spawn([] { ma::this_task::sleep_for(1h); });
                              ma::this_task::yield();
                              throw std::logic_error("on");
                          }),
                 std::logic_error);
}

} // namespace

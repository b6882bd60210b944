// More of what users of other libraries have complained of, about pools, futures and the end of what
// is shared: of Boost.Asio, BS::thread_pool, TileDB, folly, Boost.Fiber, glibc and libstdc++.
#include "support.hpp"

#include <monad/async/barrier.hpp>
#include <monad/async/channel.hpp>
#include <monad/async/event.hpp>
#include <monad/async/future.hpp>
#include <monad/async/mutex.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/semaphore.hpp>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sched.h>

namespace {

void spawn_counting(ma::thread_pool &pool, int count, std::atomic<int> &ran)
{
    for (int i = 0; i != count; ++i) {
        pool.spawn([&ran] { ++ran; });
    }
}

// A wait ends the pool, and what is submitted afterwards never runs.
TEST(PoolComplaints, a_wait_is_no_end)
{
    ma::thread_pool pool(2);
    std::atomic<int> ran{0};
    for (int round = 1; round != 50; ++round) {
        spawn_counting(pool, 10, ran);
        pool.wait();
        ASSERT_EQ(ran, 10 * round);
    }
}

// Of two that wait at a time one waits for ever.
TEST(PoolComplaints, several_wait_at_a_time)
{
    for (int round = 0; round != 200; ++round) {
        ma::thread_pool pool(1);
        std::atomic<int> ready{0};
        std::vector<std::thread> waiters;
        pool.spawn([&ready] {
            while (ready != 3) {
                std::this_thread::yield();
            }
        });
        for (int i = 0; i != 3; ++i) {
            waiters.emplace_back([&] {
                ++ready;
                pool.wait();
            });
        }
        pool.wait();
        for (auto &waiter : waiters) {
            waiter.join();
        }
        EXPECT_EQ(pool.unfinished(), 0u);
    }
}

// A pool that is made smaller and larger again and again, with work in it, forgets who sleeps.
TEST(PoolComplaints, a_pool_is_resized_between_submissions)
{
    ma::thread_pool pool(3);
    std::atomic<int> ran{0};
    for (unsigned round = 0; round != 60; ++round) {
        spawn_counting(pool, 8, ran);
        pool.resize(1 + round % 4);
    }
    pool.wait();
    EXPECT_EQ(ran, 60 * 8);
}

// A task waits for one that it submits to the only worker, with a lock held that others want: who
// waits by running other tasks on its own stack locks itself out.
TEST(PoolComplaints, the_only_worker_waits_for_its_own_tasks)
{
    ma::thread_pool pool(1);
    ma::mutex m;
    int sum = 0;
    std::vector<ma::future<void>> outer;
    for (int i = 0; i != 20; ++i) {
        outer.push_back(pool.submit([&] {
            std::lock_guard<ma::mutex> const lock(m);
            sum += pool.submit([] { return 1; }).get();
        }));
    }
    for (auto &one : outer) {
        one.get();
    }
    EXPECT_EQ(sum, 20);
    // Each waits for the next: none of them takes a thread, nor another's stack.
    struct nest {
        ma::thread_pool &pool;
        int operator()(int level) const
        {
            return level == 0 ? 0
                              : 1 + pool.submit([this, level] { return (*this)(level - 1); }).get();
        }
    };
    nest const nested{pool};
    EXPECT_EQ(pool.submit([&nested] { return nested(2000); }).get(), 2000);
}

// The destructors of what was handed back call the pool, which holds its lock.
TEST(PoolComplaints, what_is_destroyed_by_the_pool_uses_it)
{
    for (bool const drains : {false, true}) {
        ma::thread_pool pool(1);
        std::atomic<bool> open{false};
        std::atomic<int> destroyed{0};
        struct uses_pool {
            ma::thread_pool *pool;
            std::atomic<int> *destroyed;
            uses_pool(ma::thread_pool &p, std::atomic<int> &n) : pool(&p), destroyed(&n) {}
            uses_pool(uses_pool &&other) noexcept
                : pool(std::exchange(other.pool, nullptr)), destroyed(other.destroyed)
            {
            }
            uses_pool(uses_pool const &) = delete;
            uses_pool &operator=(uses_pool const &) = delete;
            uses_pool &operator=(uses_pool &&) = delete;
            ~uses_pool()
            {
                if (pool == nullptr) {
                    return;
                }
                ++*destroyed;
                (void)pool->queued();
                (void)pool->quit();
                (void)errno_thrown_by([this] { pool->spawn([] {}); });
            }
            void operator()() const {}
        };
        pool.spawn([&open] {
            while (!open) {
                std::this_thread::sleep_for(50us);
            }
        });
        for (int i = 0; i != 10; ++i) {
            pool.spawn(uses_pool(pool, destroyed));
        }
        if (!drains) {
            // The first that is destroyed hands the others back.
            EXPECT_GE(pool.quit(), 1u);
            EXPECT_EQ(destroyed, 10);
        }
        open = true;
        pool.wait();
        EXPECT_EQ(destroyed, 10);
    }
}

// A time that does not fit the clock has passed at once; one that has passed waits.
TEST(PoolComplaints, times_at_the_ends_of_their_types)
{
    ma::thread_pool pool(1);
    std::atomic<bool> open{false};
    auto slow = pool.submit([&open] {
        while (!open) {
            ma::this_task::sleep_for(100us);
        }
        return 3;
    });
    EXPECT_FALSE(slow.wait_for(0s));
    EXPECT_FALSE(slow.wait_for(std::chrono::hours::min()));
    EXPECT_FALSE(slow.wait_for(-1ns));
    std::thread opener([&open] {
        std::this_thread::sleep_for(2ms);
        open = true;
    });
    EXPECT_TRUE(slow.wait_for(std::chrono::hours::max()));
    opener.join();
    EXPECT_EQ(slow.get(), 3);
    // The same in a task, of a scope and a channel.
    ma::executor ex;
    ma::channel<int> ch(1);
    run_task(ex, [&ch] {
        ma::scope const far{std::chrono::hours::max()};
        ma::with_timeout(std::chrono::seconds::max(), [] { ma::this_task::sleep_for(1us); });
        EXPECT_THROW(ma::with_timeout(std::chrono::hours::min(), [&ch] { (void)ch.recv(); }),
                     ma::timeout_error);
    });
}

// A future is asked twice, of nothing, and assigned to itself.
TEST(PoolComplaints, a_future_that_was_got_has_nothing)
{
    ma::thread_pool pool(1);
    auto one = pool.submit([] { return 1; });
    auto &same = one;
    one = std::move(same);
    ASSERT_TRUE(one.valid());
    EXPECT_EQ(one.get(), 1);
    EXPECT_FALSE(one.valid());
    EXPECT_EQ(errno_thrown_by([&] { (void)one.get(); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { (void)one.wait_for(1ms); }), EINVAL);
    one.cancel();
    auto thrown = pool.submit([]() -> int { throw std::domain_error("once"); });
    EXPECT_THROW((void)thrown.get(), std::domain_error);
    EXPECT_FALSE(thrown.valid());
}

// Tasks that wait for each other's futures: refused on one executor, however they came there; on a
// pool they wait until one of them is cancelled.
TEST(PoolComplaints, futures_that_wait_for_each_other)
{
    std::array<ma::future<int>, 3> ring;
    auto const waits_for_next = [&](std::size_t i, auto const &begun) {
        return [&ring, i, &begun] {
            begun();
            return errno_thrown_by([&] { ring[(i + 1) % ring.size()].wait(); });
        };
    };
    for (bool const here : {true, false}) {
        ma::executor ex;
        auto const yields = [] { ma::this_task::yield(); };
        auto const submit = [&](auto to) {
            for (std::size_t i = 0; i != ring.size(); ++i) {
                ring[i] = to.submit(waits_for_next(i, yields));
            }
        };
        if (here) {
            submit(ex.ref());
        } else {
            std::thread([&, ref = ex.ref()] { submit(ref); }).join();
        }
        ex.run_until_idle();
        EXPECT_EQ(ring[2].get(), EDEADLK);
        EXPECT_EQ(ring[1].get() + ring[0].get(), 0);
    }
    ma::thread_pool pool(1);
    ma::barrier all(static_cast<unsigned>(ring.size()) + 1);
    auto const meet = [&] { all.arrive_and_wait(); };
    for (std::size_t i = 0; i != ring.size(); ++i) {
        ring[i] = pool.submit(waits_for_next(i, meet));
    }
    meet();
    ring[1].cancel();
    pool.wait();
    EXPECT_EQ(ring[0].get(), 0);
    EXPECT_EQ(ring[1].get(), ECANCELED);
    EXPECT_EQ(ring[2].get(), 0);
}

// A task that asked its own future waited for ever on a pool, and by `wait_for` on an executor.
TEST(PoolComplaints, a_future_that_its_own_task_asks_says_so)
{
    auto const asks = [](ma::future<void> &own) {
        std::error_code ec;
        EXPECT_EQ(errno_thrown_by([&] { own.get(); }), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { own.wait(); }), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { (void)own.wait_for(1h); }), EDEADLK);
        (void)own.get(ec);
        EXPECT_EQ(ec.value(), EDEADLK);
        EXPECT_TRUE(own.valid());
    };
    ma::future<void> own;
    {
        ma::thread_pool pool(1);
        ma::event is_there;
        own = pool.submit([&] {
            is_there.wait();
            asks(own);
        });
        is_there.set();
        pool.wait();
        own.get();
    }
    ma::executor ex;
    own = ex.submit([&] { asks(own); });
    ex.run_until_idle();
    own.get();
    auto const ref = ex.ref();
    std::thread([&] { own = ref.submit([&] { asks(own); }); }).join();
    ex.run_until_idle();
    own.get();
}

// A callable that is no plain copy was taken at a level that there is not.
TEST(PoolComplaints, a_level_that_there_is_not_is_refused)
{
    ma::thread_pool pool(1);
    auto const none = static_cast<ma::priority>(200);
    std::error_code ec;
    EXPECT_EQ(errno_thrown_by([&] { (void)pool.submit([] {}, none); }), EINVAL);
    EXPECT_FALSE(pool.submit([] {}, none, ec).valid());
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { pool.spawn([] {}, none); }), EINVAL);
    std::string const text;
    EXPECT_EQ(errno_thrown_by([&] { pool.spawn([text] { (void)text; }, none); }), EINVAL);
    EXPECT_EQ(pool.submit([] { return 1; }, ma::priority::low).get(), 1);
}

// A worker that a task leaves by an exception is lost, or the count of what is left is.
TEST(PoolComplaints, exceptions_cost_no_worker)
{
    std::atomic<int> told{0};
    ma::thread_pool_options options;
    options.workers = 2;
    options.executor.on_exception = [&told](std::exception_ptr const &) { ++told; };
    ma::thread_pool pool(options);
    std::vector<ma::future<int>> results;
    for (int i = 0; i != 100; ++i) {
        pool.spawn([] { throw 1; });
        pool.spawn([p = std::make_unique<int>(1)] { throw *p; });
        results.push_back(pool.submit([i]() -> int {
            if (i % 2 == 0) {
                throw i;
            }
            return i;
        }));
    }
    pool.wait();
    EXPECT_EQ(told, 200);
    for (int i = 0; i != 100; ++i) {
        if (i % 2 == 0) {
            EXPECT_THROW((void)results[static_cast<std::size_t>(i)].get(), int);
        } else {
            EXPECT_EQ(results[static_cast<std::size_t>(i)].get(), i);
        }
    }
}

// Who was waited for is still in its call when the one that waited goes on and takes the memory back.
template <class T, class Release, class Wait>
void ends_with_its_wait(ma::thread_pool &pool, Release release, Wait wait)
{
    struct place {
        alignas(T) unsigned char memory[sizeof(T)];
        std::atomic<T *> object{nullptr};
    };
    auto const waiter = pool.worker(0);
    auto const releaser = pool.worker(1);
    // By reference: a late access would find another pattern than is left there, or leave it.
    std::vector<std::unique_ptr<place>> places(300);
    for (auto &at : places) {
        at = std::make_unique<place>();
        auto &p = *at;
        auto waits = waiter.submit([&p, &wait] {
            auto *const object = ::new (static_cast<void *>(p.memory)) T;
            p.object = object;
            wait(*object);
            object->~T();
            std::memset(p.memory, 0x5a, sizeof p.memory);
        });
        auto releases = releaser.submit([&p, &release] {
            while (p.object == nullptr) {
            }
            release(*p.object);
        });
        waits.get();
        releases.get();
    }
    for (auto const &at : places) {
        for (auto const byte : at->memory) {
            ASSERT_EQ(byte, 0x5a);
        }
    }
}

// With times that cross, too: one that is granted at its time goes on by the time, not by the grant.
template <class F> auto again_and_again(F try_for)
{
    return [try_for](auto &object) {
        for (auto time = 1us;; time = std::min(time * 2, std::chrono::microseconds(40))) {
            try {
                return ma::with_timeout(time, [&] { try_for(object); });
            } catch (ma::timeout_error const &) {
            }
        }
    };
}

TEST(PoolComplaints, an_object_ends_as_soon_as_its_wait_is_over)
{
    ma::thread_pool pool(2);
    auto const set = [](ma::event &e) { e.set(); };
    auto const release = [](auto &s) { s.release(); };
    auto const wait = [](ma::event &e) { e.wait(); };
    ends_with_its_wait<ma::event>(pool, set, wait);
    ends_with_its_wait<ma::event>(pool, set, again_and_again(wait));
    struct semaphore : ma::semaphore {
        semaphore() : ma::semaphore(0) {}
    };
    auto const acquire = [](semaphore &s) { s.acquire(); };
    ends_with_its_wait<semaphore>(pool, release, acquire);
    ends_with_its_wait<semaphore>(pool, release, again_and_again(acquire));
}

// Counts its end.
struct told_of {
    int *ended;
    explicit told_of(int &n) : ended(&n) {}
    told_of(told_of &&other) noexcept : ended(std::exchange(other.ended, nullptr)) {}
    ~told_of()
    {
        if (ended != nullptr) {
            ++*ended;
        }
    }
};

// What a task has returned ends on its worker, after the future that had it, and uses what is no
// more: the worker has told of the end, and has yet to let go. On the only CPU it is kept from
// that by who it wakes.
TEST(PoolComplaints, a_result_ends_no_later_than_its_future)
{
    cpu_set_t before;
    ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
    std::uint32_t cpu = 0;
    while (!CPU_ISSET(cpu, &before)) {
        ++cpu;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    {
        ma::thread_pool pool(1);
        for (int round = 0; round != 5000; ++round) {
            int ended = 0;
            {
                auto returned = pool.submit([&ended] { return told_of(ended); });
                returned.wait();
            }
            ASSERT_EQ(ended, 1) << round;
            auto thrown = pool.submit([&ended] { throw std::make_shared<told_of>(ended); });
            EXPECT_THROW(thrown.get(), std::shared_ptr<told_of>);
            ASSERT_EQ(ended, 2) << round;
            auto dropped = pool.submit([&ended] { throw std::make_shared<told_of>(ended); });
            std::error_code ec;
            dropped.get(ec);
            EXPECT_EQ(ec.value(), ENOTRECOVERABLE);
            ASSERT_EQ(ended, 3) << round;
        }
    }
    EXPECT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

} // namespace

// What the executor of a pool's worker keeps until it ends: tasks for children, background tasks
// and futures, and what the pool's options say.
#include "support.hpp"

#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <stdexcept>
#include <thread>
#include <tuple>

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

int add_up()
{
    auto const r = ma::when_all([] { return 1; }, [] { return 2; }, [] { return 3; });
    return std::get<0>(r) + std::get<1>(r) + std::get<2>(r);
}

// Each of the workers has some warm.
void warm_all(ma::thread_pool &pool)
{
    std::vector<ma::future<int>> sums;
    for (std::size_t i = 0; i != pool.workers(); ++i) {
        sums.push_back(pool.worker(i).submit(add_up));
    }
    for (auto &sum : sums) {
        EXPECT_EQ(sum.get(), 6);
    }
}

TEST(Worker, what_it_keeps_goes_with_it)
{
    ma::thread_pool pool(1);
    auto const round = [&pool] {
        pool.resize(4);
        warm_all(pool);
        pool.resize(1);
        // Those that leave do so when they notice.
        while (pool.workers() != 1) {
            std::this_thread::yield();
        }
    };
    // Arenas, the slabs of stacks, and what threads keep.
    for (int i = 0; i != 5; ++i) {
        round();
    }
    // The last ones may be about to leave: some rounds' least.
    auto const least = [&] {
        auto bytes = mallinfo2().uordblks;
        for (int i = 0; i != 10; ++i) {
            round();
            bytes = std::min(bytes, mallinfo2().uordblks);
        }
        return bytes;
    };
    auto const before = least();
    for (int i = 0; i != 10; ++i) {
        round();
    }
    // A worker's tasks alone are three of some 700 bytes: 10 rounds of three workers would leave
    // 60 KB.
    EXPECT_LT(least(), before + 40'000);
}

TEST(Worker, a_reference_and_a_future_outlive_it)
{
    ma::executor_ref worker;
    ma::future<int> of_worker;
    {
        ma::thread_pool pool(1);
        pool.submit([&] {
                EXPECT_EQ(add_up(), 6);
                worker = ma::this_task::executor();
                of_worker = worker.submit([] { return 7; });
            })
            .get();
    }
    EXPECT_EQ(of_worker.get(), 7);
    EXPECT_EQ(errno_thrown_by([&] { worker.spawn([] {}); }), ESHUTDOWN);
    ma::thread_pool another(1);
    EXPECT_EQ(another.submit(add_up).get(), 6);
}

TEST(Worker, quits_with_what_it_keeps)
{
    ma::thread_pool pool(2);
    warm_all(pool);
    std::atomic<int> sums{0};
    std::vector<ma::future<void>> all;
    for (int i = 0; i != 200; ++i) {
        all.push_back(pool.submit([&sums] { sums += add_up(); }));
    }
    auto const back = pool.quit();
    std::size_t ran = 0;
    for (auto &one : all) {
        try {
            one.get();
            ++ran;
        } catch (ma::cancelled_error const &) {
        }
    }
    EXPECT_EQ(ran + back, all.size());
    EXPECT_EQ(static_cast<std::size_t>(sums), 6 * ran);
}

// The child has a copy of what this thread's executor keeps, and leaves it alone.
TEST(Worker, a_task_forks)
{
    ma::thread_pool pool(2);
    warm_all(pool);
    auto const forks = [] {
        EXPECT_EQ(add_up(), 6);
        auto const child = ::fork();
        if (child == 0) {
            bool const refused = errno_thrown_by([] { (void)add_up(); }) == EPERM;
            bool ran = false;
            ma::executor ex(ma::executor_options::compute_only());
            ma::task t;
            t.attach(ex, [&ran] { ran = add_up() == 6; });
            ex.run_until_idle();
            ::_exit(refused && ran ? 0 : 1);
        }
        int status = -1;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(add_up(), 6);
        return status;
    };
    EXPECT_EQ(pool.submit(forks).get(), 0);
    warm_all(pool);
}

// An object of a worker's thread forks while others use the pool: in the child, which has a copy of
// what they were in the middle of, the thread leaves all the same.
TEST(Fork, in_the_last_objects_of_a_worker)
{
    struct forks {
        std::atomic<int> *failed = nullptr;
        ~forks()
        {
            if (failed == nullptr) {
                return;
            }
            std::fflush(nullptr);
            auto const child = ::fork();
            if (child == 0) {
                // The end of its only thread is that of the process, where nobody looks for leaks.
                (void)std::atexit([] { ::_exit(0); });
                return;
            }
            int status = -1;
            if (::waitpid(child, &status, 0) != child || status != 0) {
                ++*failed;
            }
        }
    };
    std::atomic<int> failed{0};
    std::atomic<bool> stop{false};
    ma::thread_pool pool(2);
    auto const keeps_busy = [&] {
        while (!stop) {
            for (int i = 0; i != 100; ++i) {
                pool.spawn([] {});
            }
            pool.wait();
        }
    };
    std::thread busy[] = {std::thread(keeps_busy), std::thread(keeps_busy)};
    for (int i = 0; i != 40; ++i) {
        for (std::size_t worker = 0; worker != 2; ++worker) {
            pool.worker(worker)
                .submit([&failed] {
                    thread_local forks last;
                    last.failed = &failed;
                })
                .get();
        }
        pool.resize(1);
        pool.resize(2);
    }
    stop = true;
    for (auto &one : busy) {
        one.join();
    }
    EXPECT_EQ(failed, 0);
}

// What a task of a pool spawns where it runs is the pool's, too.
TEST(Worker, has_the_options_of_its_pool)
{
    std::atomic<int> told{0}, unobserved{0};
    ma::thread_pool_options options;
    options.workers = 1;
    options.executor.stack_size = 1 << 20;
    options.executor.on_exception = [&told](std::exception_ptr const &) { ++told; };
    options.executor.on_unobserved = [&unobserved](std::exception_ptr const &) { ++unobserved; };
    ma::executor_ref worker;
    {
        ma::thread_pool pool(options);
        pool.submit([&worker] {
                worker = ma::this_task::executor();
                worker.spawn([] { throw std::runtime_error("nobody waits"); });
                {
                    auto const dropped =
                        worker.submit([] { throw std::runtime_error("nobody asks"); });
                    ma::this_task::yield();
                }
                // Deeper than the default of a task's stack.
                (void)ma::when_all([] {
                    std::array<char volatile, 400'000> deep;
                    for (auto &byte : deep) {
                        byte = 1;
                    }
                });
            })
            .get();
    }
    EXPECT_EQ(told, 1);
    EXPECT_EQ(unobserved, 1);
    worker = {};
}

} // namespace

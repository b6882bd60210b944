// Plain memory that tasks of two threads hand to each other, by all that orders memory between
// them: of none of it ThreadSanitizer may say anything, with a library that tells it. `unlocked`: by
// nothing, which it must see.
#include <monad/async.hpp>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <thread>

namespace ma = monad::async;

namespace {

constexpr int rounds = 200;

// On two workers at a time.
template <class First, class Second> void both(ma::thread_pool &pool, First first, Second second)
{
    auto a = pool.worker(0).submit(std::move(first));
    auto b = pool.worker(1).submit(std::move(second));
    a.get();
    b.get();
}

template <class Lock> void locked(ma::thread_pool &pool, Lock lock)
{
    int sum = 0;
    auto const add = [&] {
        for (int i = 0; i != rounds; ++i) {
            auto const held = lock();
            ++sum;
            ma::this_task::yield();
        }
    };
    both(pool, add, add);
    if (sum != 2 * rounds) {
        std::puts("a lock did not hold");
    }
}

void locks(ma::thread_pool &pool)
{
    ma::mutex m;
    locked(pool, [&m] { return std::unique_lock<ma::mutex>(m); });
    ma::rw_lock rw;
    locked(pool, [&rw] { return std::unique_lock<ma::rw_lock>(rw); });
    int value = 0;
    both(
        pool,
        [&] {
            for (int i = 0; i != rounds; ++i) {
                std::unique_lock<ma::rw_lock> const held(rw);
                value = i;
            }
        },
        [&] {
            int seen = 0;
            while (seen != rounds - 1) {
                std::shared_lock<ma::rw_lock> const held(rw);
                seen = value;
            }
        });
}

void signals(ma::thread_pool &pool)
{
    for (int i = 0; i != rounds; ++i) {
        int value = 0;
        ma::event e;
        ma::semaphore s(0);
        ma::wait_group left(1);
        ma::barrier meeting(2);
        ma::mutex m;
        ma::condition changed;
        both(
            pool,
            [&] {
                value = 1;
                e.set();
                s.acquire();
                value = 3;
                left.done();
                meeting.arrive_and_wait();
                std::lock_guard<ma::mutex> const held(m);
                value = 5;
                changed.notify_one();
            },
            [&] {
                e.wait();
                ++value;
                s.release();
                left.wait();
                ++value;
                meeting.arrive_and_wait();
                std::unique_lock<ma::mutex> held(m);
                changed.wait(held, [&] { return value == 5; });
            });
    }
}

void channels(ma::thread_pool &pool)
{
    for (std::size_t capacity : {0, 1, 16}) {
        ma::channel<int *> there(capacity);
        ma::channel<int *> back(capacity);
        int value = 0;
        both(
            pool,
            [&] {
                for (int i = 0; i != rounds; ++i) {
                    ++value;
                    there.send(&value);
                    ++**back.recv();
                }
                there.close();
            },
            [&] {
                while (auto const sent = there.recv()) {
                    ++**sent;
                    back.send(*sent);
                }
            });
    }
}

// By C, whose functions no header of C++ wraps.
void wakes(ma::thread_pool &pool)
{
    for (int i = 0; i != rounds; ++i) {
        int value = 0;
        ma::event is_there;
        monad_async_task sleeper = nullptr;
        both(
            pool,
            [&] {
                sleeper = monad_async_task_current();
                is_there.set();
                (void)monad_async_task_park(sleeper);
                ++value;
            },
            [&] {
                is_there.wait();
                value = 1;
                (void)monad_async_task_unpark(sleeper);
            });
        pool.submit([&] { ma::offload([&] { ++value; }); }).get();
        pool.spawn([&] { ++value; });
        pool.wait();
        if (value != 4) {
            std::puts("a wake-up came too early");
        }
    }
}

void unlocked(ma::thread_pool &pool)
{
    int sum = 0;
    // Relaxed, so that the tool takes it for no order; and without it the one may have ended before the
    // other is submitted, which is one.
    std::atomic<int> begun{0};
    auto const add = [&] {
        begun.fetch_add(1, std::memory_order_relaxed);
        while (begun.load(std::memory_order_relaxed) != 2) {
            std::this_thread::yield();
        }
        // Without a yield, which may order the two: a worker's goes by the pool.
        for (int i = 0; i != 100000; ++i) {
            ++sum;
        }
    };
    both(pool, add, add);
    std::printf("%d\n", sum);
}

} // namespace

int main(int argc, char **argv)
{
    ma::thread_pool pool(2);
    if (argc == 2 && std::strcmp(argv[1], "unlocked") == 0) {
        unlocked(pool);
        return 0;
    }
    locks(pool);
    signals(pool);
    channels(pool);
    wakes(pool);
}

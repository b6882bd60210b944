// A completion, a timer or an arrival of high priority waits behind at most 64 items of low
// priority. Hundreds of low tasks keep one pass busy; each counts what ran since the event.

#include "support.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <thread>

using namespace support;

namespace {

constexpr size_t low_count = 500;
constexpr int bound = 64;

// Low-priority tasks that call `item` at each of their items until `stop`.
template <class Item> std::vector<Task> low_tasks(bool const &stop, Item item)
{
    auto tasks = make_tasks(
        low_count,
        [&stop, item](monad_async_task self, size_t) {
            while (!stop) {
                item();
                if (auto const r = yield(self); r.error != 0) {
                    return r;
                }
            }
            return success();
        },
        65536);
    for (auto &task : tasks) {
        task.priority(monad_async_priority_low);
    }
    return tasks;
}

} // namespace

TEST(Bounds, an_expired_timer)
{
    Executor ex;
    bool stop = false;
    uint64_t expired_at = 0; // at the latest: 0 until the first low item has set it
    int since = 0, worst = 0, rounds = 0;
    Task urgent([&](monad_async_task self) {
        while (rounds < 50) {
            expired_at = 0;
            since = 0;
            auto const r = sleep_ns(self, ms);
            worst = std::max(worst, since);
            ++rounds;
            if (r.error != 0) {
                return r;
            }
        }
        stop = true;
        return success();
    });
    urgent.priority(monad_async_priority_high);
    auto const tasks = low_tasks(stop, [&] {
        uint64_t const now = boot_time_ns();
        if (expired_at == 0) {
            expired_at = now + ms;
        } else if (now > expired_at) {
            ++since;
        }
        spin_for(2000);
    });
    urgent.attach(ex);
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(rounds, 50);
    EXPECT_LE(worst, bound);
}

TEST(Bounds, a_completed_operation)
{
    Executor ex;
    // No pipe: kernels before 6.5 have a thread of theirs read it, which comes when it is let run.
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    Fd const reader(ends[0]), writer(ends[1]);
    bool stop = false, written = false;
    int since = 0, worst = 0, rounds = 0, items = 0;
    Task urgent([&](monad_async_task self) {
        while (rounds < 50) {
            char byte;
            written = false;
            items = since = 0;
            auto const r = read_some(self, reader, &byte, 1);
            worst = std::max(worst, since);
            ++rounds;
            if (r.error != 0) {
                return r;
            }
        }
        stop = true;
        return success();
    });
    urgent.priority(monad_async_priority_high);
    auto const tasks = low_tasks(stop, [&] {
        // Not before the read has reached the kernel.
        if (++items == 200) {
            EXPECT_EQ(write(writer, "x", 1), 1);
            written = true;
        } else if (written) {
            ++since;
        }
    });
    urgent.attach(ex);
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(rounds, 50);
    EXPECT_LE(worst, bound);
}

TEST(Bounds, an_arrival_from_another_thread)
{
    Executor ex;
    bool stop = false;
    std::atomic<int> posted{0};
    int since = 0, worst = 0, arrived = 0;
    constexpr int rounds = 50;
    Task urgent;
    urgent.priority(monad_async_priority_high);
    urgent.body([&](monad_async_task) {
        worst = std::max(worst, since);
        since = 0;
        ++arrived;
        stop = arrived == rounds;
        return success();
    });
    auto const tasks = low_tasks(stop, [&] {
        if (posted.load() > arrived) {
            ++since;
        }
        spin_for(1000);
    });
    attach_all(tasks, ex);
    std::thread submitter([&] {
        for (int i = 0; i < rounds; ++i) {
            spin_until([&] { return i == 0 || monad_async_task_has_exited(urgent); });
            ASSERT_EQ(monad_async_task_attach(ex, urgent).error, 0);
            posted.store(i + 1);
        }
    });
    ex.finish();
    submitter.join();
    EXPECT_EQ(arrived, rounds);
    EXPECT_LE(worst, bound);
}

// What is ready already needs no look: the very next pick.
TEST(Bounds, what_a_low_task_makes_ready_goes_next)
{
    Executor ex;
    bool stop = false;
    int since = 0, items = 0, worst = 0, runs = 0;
    Task urgent([&](monad_async_task) {
        worst = std::max(worst, since);
        stop = ++runs == 20;
        return success();
    });
    urgent.priority(monad_async_priority_high);
    auto const tasks = low_tasks(stop, [&] {
        ++since;
        if (++items % 10 == 0) {
            since = 0;
            EXPECT_EQ(monad_async_task_attach(ex, urgent).error, 0);
        }
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(runs, 20);
    EXPECT_EQ(worst, 0);
}

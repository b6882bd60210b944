// Sleeping: never early on the boot-time clock, however many sleep and however oddly.

#include "support.hpp"

#include <algorithm>
#include <random>

using namespace support;

namespace {

// Sleeps and checks that it was long enough.
monad_async_result checked_sleep(monad_async_task self, uint64_t ns)
{
    uint64_t const began = boot_time_ns();
    auto const r = sleep_ns(self, ns);
    uint64_t const slept = boot_time_ns() - began;
    EXPECT_GE(slept, ns);
    return r;
}

} // namespace

TEST(Timers, never_early)
{
    for (unsigned entries : {0u, 64u}) {
        Executor ex(entries);
        for (uint64_t const ns :
             {uint64_t{1}, uint64_t{999}, uint64_t{12345}, ms - 1, ms, 3 * ms + 1}) {
            Task task([&](monad_async_task self) { return checked_sleep(self, ns); });
            task.attach(ex);
            ex.finish();
            EXPECT_EQ(task->result.error, 0);
        }
    }
}

TEST(Timers, never_early_among_thousands_of_odd_lengths)
{
    Executor ex;
    std::mt19937_64 random(1);
    std::vector<uint64_t> lengths(5000);
    for (auto &length : lengths) {
        length = 1 + random() % (30 * ms);
    }
    size_t done = 0;
    auto const tasks = make_tasks(lengths.size(), [&](monad_async_task self, size_t i) {
        for (int round = 0; round < 3; ++round) {
            if (auto const r = checked_sleep(self, lengths[i]); r.error != 0) {
                return r;
            }
        }
        ++done;
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(done, lengths.size());
}

// All are due when the executor looks: the earlier deadline is resumed first. A deadline was set
// somewhere between the start of its task and that of the next.
TEST(Timers, expire_in_the_order_of_their_deadlines)
{
    Executor ex;
    constexpr size_t count = 200;
    std::vector<uint64_t> began(count + 1);
    std::vector<size_t> order;
    auto const length = [](size_t i) { return (1 + i * 37 % count) * 100000; };
    auto const tasks = make_tasks(count, [&](monad_async_task self, size_t i) {
        began[i] = boot_time_ns();
        auto const r = sleep_ns(self, length(i));
        order.push_back(i);
        return r;
    });
    attach_all(tasks, ex);
    EXPECT_EQ(ex.run(), intptr_t{count});
    began[count] = boot_time_ns();
    spin_for(40 * ms);
    ex.finish();
    ASSERT_EQ(order.size(), count);
    for (size_t at = 1; at < count; ++at) {
        uint64_t const earliest_of_last = began[order[at - 1]] + length(order[at - 1]);
        uint64_t const latest_of_this = began[order[at] + 1] + length(order[at]);
        EXPECT_LE(earliest_of_last, latest_of_this) << at;
    }
}

TEST(Timers, ten_thousand_sleep_a_millisecond_in_a_loop)
{
    Executor ex;
    uint64_t sleeps = 0;
    auto const tasks = make_tasks(10000, [&](monad_async_task self, size_t) {
        for (int i = 0; i < 10; ++i) {
            if (auto const r = checked_sleep(self, ms); r.error != 0) {
                return r;
            }
            ++sleeps;
        }
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(sleeps, 100000u);
}

TEST(Timers, lengths_beyond_any_clock_do_not_wrap_around)
{
    Executor ex;
    for (uint64_t const ns : {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2, uint64_t{INT64_MAX}}) {
        Task task([&](monad_async_task self) { return sleep_ns(self, ns); });
        task.attach(ex);
        EXPECT_EQ(ex.run(), 1);
        timespec const a_while{0, 3000000};
        EXPECT_EQ(monad_async_executor_run(ex, 1, &a_while).error, ETIME) << ns;
        EXPECT_TRUE(task->is_suspended_awaiting) << ns;
        EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
        ex.finish();
        EXPECT_EQ(task->result.error, ECANCELED);
    }
}

TEST(Timers, a_later_shorter_sleep_moves_the_wait_forward)
{
    Executor ex;
    Task slow([](monad_async_task self) { return sleep_ns(self, UINT64_MAX - 1); });
    Task quick([](monad_async_task self) { return checked_sleep(self, 2 * ms); });
    slow.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    quick.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_TRUE(monad_async_task_has_exited(quick));
    EXPECT_EQ(monad_async_task_cancel(ex, slow).error, 0);
    ex.finish();
}

TEST(Timers, wait_beside_operations_in_flight)
{
    Executor ex;
    Pipe pipe;
    char byte = 0;
    Task reader([&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); });
    Task sleeper([&](monad_async_task self) {
        auto const r = checked_sleep(self, 2 * ms);
        return r.error != 0 ? r : write_some(self, pipe.writer, "x", 1);
    });
    reader.attach(ex);
    sleeper.attach(ex);
    ex.finish();
    EXPECT_EQ(reader->result.value, 1);
    EXPECT_EQ(byte, 'x');
}

TEST(Timers, cancelled_in_any_order)
{
    Executor ex;
    std::mt19937_64 random(2);
    auto const tasks = make_tasks(3000, [&](monad_async_task self, size_t) {
        return sleep_ns(self, 3600000 * ms + random() % ms);
    });
    attach_all(tasks, ex);
    EXPECT_EQ(ex.run(), 3000);
    std::vector<size_t> order(tasks.size());
    for (size_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), random);
    for (size_t i : order) {
        ASSERT_EQ(monad_async_task_cancel(ex, tasks[i]).error, 0);
    }
    ex.finish();
    for (auto const &task : tasks) {
        ASSERT_EQ(task->result.error, ECANCELED);
    }
}

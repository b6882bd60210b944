// Rings much too small for what is asked of them: a full submission queue and a full completion
// queue lose nothing, fail nothing, and keep each task's operations in order.

#include "support.hpp"

#include <string>

using namespace support;

TEST(SmallRing, two_entries_3000_sleepers_3000_nops)
{
    Executor ex(2);
    size_t slept = 0, nopped = 0;
    auto const sleepers = make_tasks(3000, [&](monad_async_task self, size_t i) {
        for (int round = 0; round < 3; ++round) {
            uint64_t const ns = 1 + i * 1000;
            uint64_t const began = boot_time_ns();
            auto const r = sleep_ns(self, ns);
            if (r.error != 0) {
                return r;
            }
            EXPECT_GE(boot_time_ns() - began, ns);
            ++slept;
        }
        return success();
    });
    auto const nops = make_tasks(3000, [&](monad_async_task self, size_t) {
        for (int round = 0; round < 3; ++round) {
            auto const r = nop(self);
            if (r.error != 0) {
                return r;
            }
            ++nopped;
        }
        return success();
    });
    for (size_t i = 0; i < 3000; ++i) {
        sleepers[i].attach(ex);
        nops[i].attach(ex);
    }
    ex.finish();
    EXPECT_EQ(slept, 9000u);
    EXPECT_EQ(nopped, 9000u);
    EXPECT_EQ(ex->total_io_submitted, 9000u);
    EXPECT_EQ(ex->total_io_completed, 9000u);
    for (size_t i = 0; i < 3000; ++i) {
        ASSERT_EQ(sleepers[i]->result.error, 0);
        ASSERT_EQ(nops[i]->result.error, 0);
    }
}

// 400 reads are in flight, and all complete at once into a completion queue of four.
TEST(SmallRing, completions_overflow)
{
    Executor ex(2);
    constexpr size_t count = 400;
    std::vector<Pipe> pipes(count);
    std::vector<unsigned char> got(count, 0);
    auto const readers = make_tasks(count, [&](monad_async_task self, size_t i) {
        for (int round = 0; round < 5; ++round) {
            auto const r = read_some(self, pipes[i].reader, &got[i], 1);
            if (r.error != 0 || r.value != 1) {
                return r;
            }
        }
        return success();
    });
    attach_all(readers, ex);
    EXPECT_EQ(ex.run(), intptr_t{count});
    for (unsigned char round = 0; round < 5; ++round) {
        // The reads must have reached the kernel, two entries at a time.
        for (size_t i = 0; i < count; ++i) {
            ex.poll();
        }
        for (size_t i = 0; i < count; ++i) {
            auto const byte = static_cast<unsigned char>(i + round);
            ASSERT_EQ(write(pipes[i].writer, &byte, 1), 1);
        }
        for (size_t ran = 0; ran < count;) {
            ran += static_cast<size_t>(ex.run());
        }
        for (size_t i = 0; i < count; ++i) {
            ASSERT_EQ(got[i], static_cast<unsigned char>(i + round)) << i;
        }
    }
    ex.finish();
    for (auto const &reader : readers) {
        ASSERT_EQ(reader->result.error, 0);
    }
}

TEST(SmallRing, operations_of_one_task_keep_their_order)
{
    Executor ex(1);
    Pipe pipe;
    auto const crowd = make_tasks(500, [](monad_async_task self, size_t) {
        for (int i = 0; i < 20; ++i) {
            if (auto const r = nop(self); r.error != 0) {
                return r;
            }
        }
        return success();
    });
    Task writer([&](monad_async_task self) {
        for (char c = 'a'; c <= 'z'; ++c) {
            if (auto const r = write_some(self, pipe.writer, &c, 1); r.error != 0) {
                return r;
            }
        }
        return success();
    });
    attach_all(crowd, ex);
    writer.attach(ex);
    ex.finish();
    char text[27] = {};
    EXPECT_EQ(read(pipe.reader, text, 26), 26);
    EXPECT_STREQ(text, "abcdefghijklmnopqrstuvwxyz");
}

// Those that wait for an entry are served by their I/O priority, oldest first.
TEST(SmallRing, the_next_free_entry_goes_by_io_priority)
{
    // Without time there is no look at the ring between the tasks, however long the machine takes.
    Executor ex(1, MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING);
    Pipe pipe;
    std::string const letters = "lmnhij";
    auto tasks = make_tasks(letters.size(), [&](monad_async_task self, size_t i) {
        return write_some(self, pipe.writer, &letters[i], 1);
    });
    for (size_t i = 0; i < tasks.size(); ++i) {
        tasks[i].priority(monad_async_priority_normal,
                          i < 3 ? monad_async_priority_low : monad_async_priority_high);
    }
    attach_all(tasks, ex);
    ex.finish();
    char text[7] = {};
    EXPECT_EQ(read(pipe.reader, text, 6), 6);
    // The first took the one entry before any other asked for it.
    EXPECT_STREQ(text, "lhijmn");
}

TEST(SmallRing, cancel_those_that_wait_for_an_entry)
{
    Executor ex(2);
    constexpr size_t count = 300;
    Pipe pipe;
    std::vector<char> bytes(count);
    auto const readers = make_tasks(count, [&](monad_async_task self, size_t i) {
        return read_some(self, pipe.reader, &bytes[i], 1);
    });
    attach_all(readers, ex);
    EXPECT_EQ(ex.run(), intptr_t{count});
    for (size_t i = count; i-- > 0;) {
        ASSERT_EQ(monad_async_task_cancel(ex, readers[i]).error, 0);
    }
    ex.finish();
    for (auto const &reader : readers) {
        ASSERT_EQ(reader->result.error, ECANCELED);
    }
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

TEST(LargeRing, a_hundred_thousand_at_once)
{
    Executor ex(4096);
    auto const tasks = make_tasks(20000, [](monad_async_task self, size_t) {
        for (int i = 0; i < 5; ++i) {
            if (auto const r = nop(self); r.error != 0) {
                return r;
            }
        }
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(ex->total_io_completed, 100000u);
    for (auto const &task : tasks) {
        ASSERT_EQ(task->result.error, 0);
    }
}

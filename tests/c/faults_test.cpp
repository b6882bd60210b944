// Faults of the core that were found in use, each as the order of events that showed it: between
// threads, and in what one pass takes on.

#include "support.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include <malloc.h>

using namespace support;

namespace {

constexpr uint64_t never = UINT64_MAX;

size_t heap_bytes()
{
    auto const info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

size_t count_ready(std::vector<Task> const &tasks)
{
    size_t ready = 0;
    for (auto const &task : tasks) {
        ready += task->is_suspended_completed;
    }
    return ready;
}

} // namespace

// Every cancel is asked while the body of a run runs, and returns before that body ends. The next
// run was cancelled now and then.
TEST(Faults, cancel_from_another_thread_never_hits_the_next_run)
{
    constexpr unsigned rounds = 3000;
    std::atomic<unsigned> in_body{0}, posted{0}, bodies{0};
    std::atomic<monad_async_executor> shared{nullptr};
    std::atomic<bool> stop{false};
    Task task([&](monad_async_task) {
        unsigned const k = ++bodies;
        in_body = k;
        spin_until([&] { return posted == k; });
        return success(static_cast<intptr_t>(k));
    });
    std::thread owner([&] {
        Executor ex(0);
        shared = ex;
        while (!stop) {
            ex.poll();
        }
    });
    spin_until([&] { return shared.load() != nullptr; });
    unsigned wrong = 0;
    for (unsigned k = 1; k <= rounds && wrong == 0; ++k) {
        ASSERT_EQ(monad_async_task_attach(shared, task).error, 0);
        spin_until([&] { return in_body == k || monad_async_task_has_exited(task); });
        if (in_body != k) {
            ++wrong; // it was cancelled before it began, and nobody had asked
            break;
        }
        EXPECT_EQ(monad_async_task_cancel(shared, task).error, 0);
        posted = k;
        spin_until([&] { return monad_async_task_has_exited(task); });
        for (unsigned volatile i = 0; i < k % 40; i = i + 1) {
        }
    }
    stop = true;
    owner.join();
    EXPECT_EQ(wrong, 0u);
}

// The question reaches the other executor after the run that was meant is over, and a later one is
// under way: the later one's result was given, as a success.
TEST(Faults, join_from_another_executor_gives_the_result_of_the_run_that_was_meant)
{
    constexpr intptr_t rounds = 5000;
    std::atomic<monad_async_executor> shared{nullptr};
    std::atomic<bool> stop{false};
    std::atomic<intptr_t> attached{0}; // an upper bound: written before the launch
    intptr_t runs = 0;
    Task target([&](monad_async_task self) {
        intptr_t const mine = ++runs;
        if (mine % 3 == 0) {
            EXPECT_EQ(yield(self).error, 0);
        }
        return success(mine);
    });
    std::thread owner([&] {
        Executor ex(0);
        shared = ex;
        while (!stop) {
            ex.poll();
        }
        ex.finish();
    });
    spin_until([&] { return shared.load() != nullptr; });
    std::atomic<bool> over{false};
    attached = 1;
    target.attach(shared);
    std::thread launcher([&] {
        for (intptr_t i = 2; i <= rounds; ++i) {
            spin_until([&] { return monad_async_task_has_exited(target); });
            attached = i;
            ASSERT_EQ(monad_async_task_attach(shared, target).error, 0);
        }
        spin_until([&] { return monad_async_task_has_exited(target); });
        over = true;
    });
    Executor ex(0);
    size_t right = 0, gone = 0;
    Task joiner([&](monad_async_task self) {
        while (!over) {
            auto const before = attached.load();
            auto const asked = monad_async_task_join(self, target);
            if (asked.error == ESRCH) {
                ++gone;
            } else {
                EXPECT_EQ(asked.error, 0);
                EXPECT_GE(asked.value, before - 1); // not an older run's
                EXPECT_LE(asked.value, attached.load());
                ++right;
            }
        }
        return success();
    });
    joiner.attach(ex);
    ex.finish();
    launcher.join();
    stop = true;
    owner.join();
    EXPECT_GT(right, 0u);
}

TEST(Faults, join_that_was_asked_before_a_later_launch_is_ESRCH_or_right)
{
    // The far executor looks only when the test says so: the order of events is certain.
    Executor near(0);
    std::atomic<int> step{0};
    std::atomic<monad_async_executor> shared{nullptr};
    intptr_t runs = 0;
    Task target([&](monad_async_task) { return success(++runs); });
    std::thread owner([&] {
        Executor far(0);
        shared = far;
        target.attach(far);
        step = 1;
        spin_until([&] { return step == 2; }); // the question is in the mailbox
        far.run(1);                            // run 1
        target.attach(far);                    // run 2, pending or over when the question is seen
        far.finish();
        while (step != 3) {
            far.poll();
        }
    });
    spin_until([&] { return step == 1; });
    Task joiner([&](monad_async_task self) { return monad_async_task_join(self, target); });
    joiner.attach(near);
    run_until_suspended(near, joiner);
    step = 2;
    near.finish();
    step = 3;
    owner.join();
    EXPECT_TRUE(joiner->result.error == ESRCH ||
                (joiner->result.error == 0 && joiner->result.value == 1))
        << joiner->result.error << " " << joiner->result.value;
    EXPECT_EQ(runs, 2);
}

// One pass collected all that was due: 27 ms with 300,000 timers.
TEST(Faults, one_pass_collects_a_bounded_number_of_timers)
{
    constexpr size_t count = 20000; // Kernels whose guard pages are mappings have no more stacks.
    Executor ex(0);
    // Late enough that none is due before all sleep.
    uint64_t const due = boot_time_ns() + 2000 * ms;
    auto tasks = make_tasks(count, [due](monad_async_task self, size_t) {
        return sleep_ns(self, due - std::min(boot_time_ns(), due - 1));
    });
    attach_all(tasks, ex);
    for (size_t launched = 0; launched < count;) {
        launched += static_cast<size_t>(ex.run(count - launched));
        if (ex->tasks_pending_launch == 0) {
            break;
        }
    }
    spin_until([&] { return boot_time_ns() > due + ms; });
    size_t const before = count_ready(tasks);
    size_t const exited = count - ex->tasks_suspended;
    EXPECT_EQ(ex.run(1), 1);
    size_t const after = count_ready(tasks) + (count - ex->tasks_suspended);
    EXPECT_LE(after - before - exited, 1024u); // a look's budget, or a few
    ex.finish();
}

TEST(Faults, one_pass_collects_a_bounded_number_of_launches)
{
    constexpr size_t count = 20000;
    Executor ex(0);
    auto tasks = make_tasks(
        count, [](monad_async_task, size_t i) { return success(static_cast<intptr_t>(i)); });
    std::thread([&] { attach_all(tasks, ex); }).join();
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_LE(ex->tasks_pending_launch, 1024u);
    EXPECT_EQ(tasks[0]->result.error, 0); // in order: the first one ran
    EXPECT_TRUE(monad_async_task_has_exited(tasks[0]));
    ex.finish();
    for (auto const &task : tasks) {
        EXPECT_TRUE(monad_async_task_has_exited(task));
    }
}

// The bound of 64 items had none in time: among items of 1 ms, a NOP waited for 64 of them.
TEST(Faults, high_priority_operation_waits_for_few_long_items)
{
    Executor ex(64);
    size_t items = 0;
    bool stop = false;
    std::vector<Task> hogs = make_tasks(4, [&](monad_async_task self, size_t) {
        while (!stop) {
            spin_for(ms);
            ++items;
            EXPECT_EQ(yield(self).error, 0);
        }
        return success();
    });
    for (auto &hog : hogs) {
        hog.priority(monad_async_priority_low, monad_async_priority_low);
    }
    size_t worst = 0;
    Task urgent([&](monad_async_task self) {
        for (int i = 0; i < 20; ++i) {
            size_t const before = items;
            EXPECT_EQ(nop(self).error, 0);
            worst = std::max(worst, items - before);
        }
        stop = true;
        return success();
    });
    urgent.priority(monad_async_priority_high, monad_async_priority_high);
    attach_all(hogs, ex);
    urgent.attach(ex);
    ex.finish();
    EXPECT_LE(worst, 4u);
}

// Each posted cancel was a message of its own: 6 million of them, 1.1 GB.
TEST(Faults, a_million_posted_cancels_allocate_nothing)
{
    Executor ex(8);
    Task task([](monad_async_task self) { return sleep_ns(self, never); });
    task.attach(ex);
    run_until_suspended(ex, task);
    size_t grown = 0;
    std::thread([&] {
        EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
        size_t const before = heap_bytes();
        int errors = 0;
        for (int i = 0; i < 1000000; ++i) {
            errors += monad_async_task_cancel(ex, task).error;
        }
        EXPECT_EQ(errors, 0);
        grown = heap_bytes() - before;
    }).join();
    EXPECT_EQ(grown, 0u);
    ex.finish();
    EXPECT_EQ(task->result.error, ECANCELED);
}

// Both waited for ever.
TEST(Faults, mutual_join_is_EDEADLK_to_the_last)
{
    for (size_t const count : {2, 3, 10}) {
        Executor ex(0);
        std::vector<int> errors(count, -1);
        std::vector<monad_async_task> names;
        auto tasks = make_tasks(count, [&](monad_async_task self, size_t i) {
            errors[i] = monad_async_task_join(self, names[(i + 1) % count]).error;
            return success();
        });
        for (auto const &task : tasks) {
            names.push_back(task);
        }
        attach_all(tasks, ex);
        ex.finish();
        for (size_t i = 0; i < count; ++i) {
            EXPECT_EQ(errors[i], i + 1 == count ? EDEADLK : 0);
        }
    }
}

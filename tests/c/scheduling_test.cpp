// The order in which tasks run: strict priority, first come first served within one, launches and
// resumptions alike.

#include "support.hpp"

#include <string>

using namespace support;

namespace {

constexpr monad_async_priority high = monad_async_priority_high,
                               normal = monad_async_priority_normal, low = monad_async_priority_low;

// Writes its letter at each of its `steps` steps, yielding in between.
Task writer(std::string &text, char letter, int steps, monad_async_priority cpu)
{
    Task task([&text, letter, steps](monad_async_task self) {
        for (int i = 1; i < steps; ++i) {
            text += letter;
            if (auto const r = yield(self); r.error != 0) {
                return r;
            }
        }
        text += letter;
        return success();
    });
    task.priority(cpu);
    return task;
}

} // namespace

TEST(Scheduling, launches_by_priority_then_by_age)
{
    Executor ex;
    std::string text;
    std::vector<Task> tasks;
    for (int i = 0; i < 3; ++i) {
        tasks.push_back(writer(text, static_cast<char>('l' + i), 1, low));
        tasks.push_back(writer(text, static_cast<char>('f' + i), 1, normal));
        tasks.push_back(writer(text, static_cast<char>('a' + i), 1, high));
    }
    attach_all(tasks, ex);
    EXPECT_EQ(ex.run(), 9);
    EXPECT_EQ(text, "abcfghlmn");
}

TEST(Scheduling, resumptions_by_priority_then_by_age)
{
    Executor ex;
    std::string text;
    std::vector<Task> tasks;
    tasks.push_back(writer(text, 'l', 3, low));
    tasks.push_back(writer(text, 'n', 3, normal));
    tasks.push_back(writer(text, 'm', 3, normal));
    tasks.push_back(writer(text, 'h', 3, high));
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(text, "hhhnmnmnmlll");
}

TEST(Scheduling, launches_and_resumptions_share_one_queue)
{
    Executor ex;
    std::string text;
    Task const a = writer(text, 'a', 3, normal), b = writer(text, 'b', 2, normal),
               c = writer(text, 'c', 1, normal);
    a.attach(ex);
    EXPECT_EQ(ex.run(1), 1); // a begins, yields: behind nothing
    b.attach(ex);
    c.attach(ex);
    ex.finish();
    EXPECT_EQ(text, "aabcab");
}

TEST(Scheduling, a_yield_lets_all_of_the_same_priority_run_first)
{
    Executor ex;
    std::string text;
    std::vector<Task> tasks;
    for (char letter : std::string("abcde")) {
        tasks.push_back(writer(text, letter, 4, normal));
    }
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(text, "abcdeabcdeabcdeabcde");
}

TEST(Scheduling, a_yield_does_not_let_lower_ones_run)
{
    Executor ex;
    std::string text;
    Task const l = writer(text, 'l', 1, low), h = writer(text, 'h', 10, high);
    l.attach(ex);
    h.attach(ex);
    ex.finish();
    EXPECT_EQ(text, "hhhhhhhhhhl");
}

TEST(Scheduling, priority_may_be_set_before_each_launch)
{
    Executor ex;
    std::string text;
    Task a = writer(text, 'a', 1, normal), b = writer(text, 'b', 1, normal);
    for (auto const &[pa, pb, expected] :
         {std::tuple{low, high, "ba"}, std::tuple{high, low, "ab"}, std::tuple{low, low, "ab"}}) {
        text.clear();
        a.priority(pa).attach(ex);
        b.priority(pb).attach(ex);
        ex.finish();
        EXPECT_EQ(text, expected);
    }
}

TEST(SetPriorities, of_an_idle_task)
{
    Task task([](monad_async_task) { return success(); });
    EXPECT_EQ(monad_async_task_set_priorities(task, low, high).error, 0);
    EXPECT_EQ(task->priority.cpu, low);
    EXPECT_EQ(task->priority.io, high);
}

TEST(SetPriorities, of_a_task_pending_launch)
{
    Executor ex;
    std::string text;
    Task const a = writer(text, 'a', 1, normal), b = writer(text, 'b', 1, normal),
               c = writer(text, 'c', 1, normal);
    a.attach(ex);
    b.attach(ex);
    c.attach(ex);
    EXPECT_EQ(monad_async_task_set_priorities(c, high, normal).error, 0);
    EXPECT_EQ(monad_async_task_set_priorities(a, low, normal).error, 0);
    ex.finish();
    EXPECT_EQ(text, "cba");
}

TEST(SetPriorities, puts_a_ready_task_at_the_back_of_its_new_level)
{
    Executor ex;
    std::string text;
    Task const a = writer(text, 'a', 1, high), b = writer(text, 'b', 1, high),
               c = writer(text, 'c', 1, low);
    c.attach(ex);
    a.attach(ex);
    b.attach(ex);
    EXPECT_EQ(monad_async_task_set_priorities(c, high, normal).error, 0);
    ex.finish();
    EXPECT_EQ(text, "abc");
}

TEST(SetPriorities, to_what_it_has_already_keeps_its_place)
{
    Executor ex;
    std::string text;
    Task const a = writer(text, 'a', 1, normal), b = writer(text, 'b', 1, normal);
    a.attach(ex);
    b.attach(ex);
    EXPECT_EQ(monad_async_task_set_priorities(a, normal, low).error, 0);
    EXPECT_EQ(a->priority.io, low);
    ex.finish();
    EXPECT_EQ(text, "ab");
}

TEST(SetPriorities, of_the_running_task_counts_at_its_next_suspension)
{
    Executor ex;
    std::string text;
    Task changing([&](monad_async_task self) {
        text += 'x';
        EXPECT_EQ(monad_async_task_set_priorities(self, low, normal).error, 0);
        text += 'x';
        auto const r = yield(self);
        text += 'x';
        return r;
    });
    changing.priority(high);
    Task const other = writer(text, 'n', 2, normal);
    changing.attach(ex);
    other.attach(ex);
    ex.finish();
    EXPECT_EQ(text, "xxnnx");
}

TEST(SetPriorities, of_a_sleeping_task_counts_when_it_wakes)
{
    Executor ex;
    std::string text;
    auto const sleeper = [&](char letter) {
        return Task([&text, letter](monad_async_task self) {
            auto const r = sleep_ns(self, ms);
            text += letter;
            return r;
        });
    };
    Task const a = sleeper('a'), b = sleeper('b'), c = sleeper('c');
    a.attach(ex);
    b.attach(ex);
    c.attach(ex);
    EXPECT_EQ(ex.run(), 3);
    EXPECT_EQ(monad_async_task_set_priorities(c, high, high).error, 0);
    EXPECT_EQ(monad_async_task_set_priorities(a, low, low).error, 0);
    spin_for(3 * ms);
    ex.finish();
    EXPECT_EQ(text, "cba");
}

TEST(SetPriorities, one_task_raises_another)
{
    Executor ex;
    std::string text;
    Task const waiting = writer(text, 'w', 1, low);
    Task raiser([&](monad_async_task self) {
        text += 'r';
        EXPECT_EQ(monad_async_task_set_priorities(waiting, high, normal).error, 0);
        auto const r = yield(self);
        text += 'r';
        return r;
    });
    raiser.attach(ex);
    waiting.attach(ex);
    ex.finish();
    EXPECT_EQ(text, "rwr");
}

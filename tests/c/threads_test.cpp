// Launching, waking and looking from other threads; two executors that launch on each other.

#include "support.hpp"

#include <atomic>
#include <thread>

#include <pthread.h>
#include <sys/mman.h>

using namespace support;

TEST(Threads, attach_wakes_a_sleeping_executor)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        Task task([](monad_async_task) { return success(8); });
        std::thread submitter([&] {
            timespec const pause{0, 20000000};
            nanosleep(&pause, nullptr);
            EXPECT_EQ(monad_async_task_attach(ex, task).error, 0);
        });
        // A pass may wake for the arrival before it has an item of it.
        while (!monad_async_task_has_exited(task)) {
            ex.run();
        }
        submitter.join();
        EXPECT_EQ(task->result.value, 8);
    }
}

// Each attach meets an executor about to sleep: one wake lost, and this would not end.
TEST(Threads, no_attach_is_slept_through)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        std::atomic<int> ran{0};
        Task task([&](monad_async_task) { return ++ran, success(); });
        constexpr int rounds = 20000;
        std::thread submitter([&] {
            for (int i = 0; i < rounds; ++i) {
                spin_until([&] { return i == 0 || monad_async_task_has_exited(task); });
                ASSERT_EQ(monad_async_task_attach(ex, task).error, 0);
            }
        });
        while (ran.load() < rounds) {
            ex.run();
        }
        submitter.join();
        ex.finish();
        EXPECT_EQ(ran.load(), rounds);
    }
}

TEST(Threads, launches_keep_the_order_of_each_submitter)
{
    Executor ex;
    constexpr size_t submitters = 3, each = 5000;
    std::vector<size_t> next(submitters, 0);
    bool in_order = true;
    size_t ran = 0;
    auto const tasks = make_tasks(submitters * each, [&](monad_async_task, size_t i) {
        in_order = in_order && i % each == next[i / each];
        ++next[i / each];
        ++ran;
        return success();
    });
    std::vector<std::thread> threads;
    for (size_t s = 0; s < submitters; ++s) {
        threads.emplace_back([&, s] {
            for (size_t i = 0; i < each; ++i) {
                ASSERT_EQ(monad_async_task_attach(ex, tasks[s * each + i]).error, 0);
            }
        });
    }
    while (ran < tasks.size()) {
        ex.run();
    }
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_TRUE(in_order);
    EXPECT_FALSE(monad_async_executor_has_work(ex));
}

TEST(Threads, arrivals_are_run_by_priority)
{
    Executor ex;
    std::vector<size_t> order;
    auto tasks = make_tasks(6, [&](monad_async_task, size_t i) {
        order.push_back(i);
        return success();
    });
    for (size_t i = 0; i < tasks.size(); ++i) {
        tasks[i].priority(static_cast<monad_async_priority>(2 - i % 3));
    }
    std::thread([&] { attach_all(tasks, ex); }).join();
    ex.finish();
    EXPECT_EQ(order, (std::vector<size_t>{2, 5, 1, 4, 0, 3}));
}

// Reads the result and what the body wrote without any other synchronisation.
TEST(Threads, has_exited_publishes_the_result)
{
    Executor ex;
    for (int round = 0; round < 2000; ++round) {
        int written = -1;
        Task task([&](monad_async_task) {
            written = round;
            return success(round * 3);
        });
        std::atomic<bool> attached{false};
        std::thread watcher([&] {
            EXPECT_EQ(monad_async_task_attach(ex, task).error, 0);
            spin_until([&] { return monad_async_task_has_exited(task); });
            EXPECT_EQ(task->result.value, round * 3);
            EXPECT_EQ(written, round);
            attached = true;
        });
        spin_until([&] { return ex.poll(), attached.load(); });
        watcher.join();
    }
}

TEST(Threads, a_task_goes_from_executor_to_executor)
{
    Executor here;
    std::atomic<monad_async_executor> there{nullptr};
    std::atomic<bool> stop{false};
    std::thread other([&] {
        Executor ex(0);
        there = ex;
        while (!stop) {
            ex.run();
        }
    });
    spin_until([&] { return there.load() != nullptr; });
    std::thread::id ran_on[2];
    int which = 0;
    Task task([&](monad_async_task self) {
        ran_on[which] = std::this_thread::get_id();
        auto const r = sleep_ns(self, 1000);
        // A started task never migrates.
        return r.error != 0                                  ? r
               : ran_on[which] == std::this_thread::get_id() ? success()
                                                             : monad_async_make_failure(EXDEV);
    });
    for (int i = 0; i < 300; ++i) {
        which = i % 2;
        ASSERT_EQ(monad_async_task_attach(which == 0 ? there.load() : here, task).error, 0);
        while (!monad_async_task_has_exited(task)) {
            here.poll();
        }
        ASSERT_EQ(task->result.error, 0);
    }
    EXPECT_NE(ran_on[0], ran_on[1]);
    EXPECT_EQ(ran_on[1], std::this_thread::get_id());
    stop = true;
    EXPECT_EQ(monad_async_executor_wake(there).error, 0);
    other.join();
}

TEST(Threads, two_executors_launch_on_each_other)
{
    constexpr int count = 20000;
    struct Side {
        std::atomic<monad_async_executor> ex{nullptr};
        std::atomic<int> received{0};
    } sides[2];
    std::atomic<int> finished{0};
    auto const live = [&](int me) {
        Executor ex(me == 0 ? 64 : 0);
        Side &mine = sides[me], &other = sides[1 - me];
        mine.ex = ex;
        spin_until([&] { return other.ex.load() != nullptr; });
        // Each side's tasks run on the other, in batches that are attached from inside a task.
        auto const batch = make_tasks(100, [&](monad_async_task self, size_t i) {
            auto const r = i % 2 == 0 ? yield(self) : success();
            ++other.received;
            return r;
        });
        Task launcher([&](monad_async_task self) {
            for (int done = 0; done < count; done += static_cast<int>(batch.size())) {
                for (auto const &task : batch) {
                    auto const r = monad_async_task_attach(other.ex, task);
                    if (r.error != 0) {
                        return r;
                    }
                }
                for (auto const &task : batch) {
                    auto const r = monad_async_task_join(self, task);
                    if (r.error != 0) {
                        return r;
                    }
                }
            }
            return success();
        });
        launcher.attach(ex);
        while (!monad_async_task_has_exited(launcher) || mine.received.load() < count) {
            ex.run();
        }
        EXPECT_EQ(launcher->result.error, 0);
        ++finished;
        // The other side may still be telling this one that a task has exited.
        timespec const a_while{0, 1000000};
        while (finished.load() < 2 || monad_async_executor_has_work(ex)) {
            (void)monad_async_executor_run(ex, no_bound, &a_while);
        }
    };
    std::thread thread(live, 1);
    live(0);
    thread.join();
    EXPECT_EQ(sides[0].received.load(), count);
    EXPECT_EQ(sides[1].received.load(), count);
}

TEST(Threads, each_thread_may_have_several_executors)
{
    std::vector<std::thread> threads;
    std::atomic<int> ran{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) {
                Executor a, b(0);
                auto const body = [&](monad_async_task self, size_t) { return ++ran, yield(self); };
                auto const on_a = make_tasks(10, body), on_b = make_tasks(10, body);
                attach_all(on_a, a);
                attach_all(on_b, b);
                a.finish();
                b.finish();
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(ran.load(), 4 * 20 * 20);
}

namespace {

// Threads one after the other, on one stack: with what the C library keeps of a thread in one
// place, so that they are the same pthread_t.
class SameThread {
public:
    SameThread()
        : stack_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
    {
        EXPECT_EQ(pthread_attr_init(&attr_), 0);
        EXPECT_EQ(pthread_attr_setstack(&attr_, stack_, bytes), 0);
    }
    SameThread(SameThread const &) = delete;
    ~SameThread()
    {
        pthread_attr_destroy(&attr_);
        munmap(stack_, bytes);
    }
    pthread_t run(std::function<void()> body)
    {
        pthread_t thread;
        auto const call = [](void *body) -> void * {
            return (*static_cast<std::function<void()> *>(body))(), nullptr;
        };
        EXPECT_EQ(pthread_create(&thread, &attr_, call, &body), 0);
        EXPECT_EQ(pthread_join(thread, nullptr), 0);
        return thread;
    }

private:
    static constexpr size_t bytes = 1 << 20;
    void *stack_;
    pthread_attr_t attr_;
};

} // namespace

// It was taken for the owner, and its destroy unregistered a ring of its own.
TEST(Threads, a_later_thread_with_the_same_pthread_t_is_no_owner)
{
    for (unsigned entries : {0u, 8u}) {
        SameThread thread;
        monad_async_executor gone = nullptr;
        // Attached for ever, so it cannot be destroyed.
        static auto &left_behind = *new std::vector<Task>;
        left_behind.emplace_back([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
        Task const &left = left_behind.back();
        pthread_t const first = thread.run([&] {
            monad_async_executor_attr attr{};
            attr.io_uring_ring.entries = entries;
            ASSERT_EQ(monad_async_executor_create(&gone, &attr).error, 0);
            left.attach(gone);
            ASSERT_EQ(monad_async_executor_run(gone, 1, nullptr).error, 0);
        });
        auto const calls = [&] {
            EXPECT_EQ(monad_async_executor_run(gone, 1, &at_once).error, EPERM);
            EXPECT_EQ(monad_async_executor_run(gone, 0, nullptr).error, EPERM);
            EXPECT_FALSE(monad_async_executor_has_work(gone));
            EXPECT_EQ(monad_async_task_set_priorities(left, monad_async_priority_high,
                                                      monad_async_priority_high)
                          .error,
                      EPERM);
            EXPECT_EQ(monad_async_executor_destroy(gone).error, EPERM);
        };
        pthread_t const second = thread.run([&] {
            calls(); // As a thread that has no executor.
            Executor own(entries);
            Task task(
                [&](monad_async_task self) { return entries == 0 ? yield(self) : nop(self); });
            for (int i = 0; i < 3; ++i) {
                task.attach(own);
                own.finish();
                EXPECT_EQ(task->result.error, 0);
                calls();
            }
        });
        EXPECT_TRUE(pthread_equal(first, second));
    }
}

TEST(Threads, a_task_made_here_may_be_destroyed_there)
{
    monad_async_task task = nullptr;
    monad_async_task_attr attr{};
    std::thread([&] { ASSERT_EQ(monad_async_task_create(&task, &attr).error, 0); }).join();
    task->user_code = [](monad_async_task self) { return yield(self); };
    std::thread([&] {
        Executor ex;
        ASSERT_EQ(monad_async_task_attach(ex, task).error, 0);
        ex.finish();
    }).join();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(monad_async_task_destroy(task).error, 0);
}

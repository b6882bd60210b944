// References to an executor that outlive it.

#include "support.hpp"

#include <monad/async/remote.h>

#include <atomic>
#include <thread>

using namespace support;

namespace {

// An executor that the test destroys at a point of its own.
monad_async_executor make_executor()
{
    monad_async_executor ex = nullptr;
    monad_async_executor_attr const attr{};
    EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
    return ex;
}

monad_async_remote acquire(monad_async_executor ex)
{
    monad_async_remote remote = nullptr;
    EXPECT_EQ(monad_async_remote_acquire(ex, &remote).error, 0);
    return remote;
}

} // namespace

TEST(Remote, attaches_cancels_and_wakes_from_another_thread)
{
    Executor ex(8);
    auto const remote = acquire(ex);
    bool ran = false;
    Task task([&](monad_async_task self) {
        ran = true;
        return sleep_ns(self, UINT64_MAX);
    });
    std::thread([&] {
        EXPECT_EQ(monad_async_remote_cancel(remote, task).error, ENOENT);
        EXPECT_EQ(monad_async_remote_attach(remote, task).error, 0);
        EXPECT_EQ(monad_async_remote_attach(remote, task).error, EBUSY);
    }).join();
    run_until_suspended(ex, task);
    EXPECT_TRUE(ran);
    std::thread([&] { EXPECT_EQ(monad_async_remote_cancel(remote, task).error, 0); }).join();
    ex.finish();
    EXPECT_EQ(task->result.error, ECANCELED);
    EXPECT_EQ(monad_async_remote_cancel(remote, task).error, ENOENT);

    std::thread waker([&] { EXPECT_EQ(monad_async_remote_wake(remote).error, 0); });
    EXPECT_EQ(ex.run(), 0); // would sleep for ever
    waker.join();
    monad_async_remote_release(remote);
}

TEST(Remote, on_the_owner_s_thread_and_in_its_tasks)
{
    Executor ex(0);
    auto const remote = acquire(ex);
    Task inner([](monad_async_task) { return success(2); });
    Task outer([&](monad_async_task self) {
        EXPECT_EQ(monad_async_remote_attach(remote, inner).error, 0);
        return monad_async_task_join(self, inner);
    });
    EXPECT_EQ(monad_async_remote_attach(remote, outer).error, 0);
    ex.finish();
    EXPECT_EQ(outer->result.value, 2);
    monad_async_remote_release(remote);
}

TEST(Remote, executor_gone_is_ESHUTDOWN)
{
    auto const ex = make_executor();
    auto const remote = acquire(ex);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
    bool ran = false;
    Task task([&](monad_async_task) { return ran = true, success(); });
    auto const expect_shut_down = [&] {
        EXPECT_EQ(monad_async_remote_attach(remote, task).error, ESHUTDOWN);
        EXPECT_EQ(monad_async_remote_cancel(remote, task).error, ESHUTDOWN);
        EXPECT_EQ(monad_async_remote_wake(remote).error, ESHUTDOWN);
        EXPECT_FALSE(monad_async_task_is_attached(task));
    };
    expect_shut_down();
    std::thread(expect_shut_down).join();
    // The task is as it was: another executor takes it, this one's successor in memory as well.
    Executor next(8);
    EXPECT_EQ(monad_async_remote_attach(remote, task).error, ESHUTDOWN);
    task.attach(next);
    next.finish();
    EXPECT_TRUE(ran);
    monad_async_remote_release(remote);
}

TEST(Remote, any_order_of_release)
{
    auto const ex = make_executor();
    auto const first = acquire(ex);
    auto const second = monad_async_remote_retain(first);
    EXPECT_EQ(second, first);
    auto const third = acquire(ex);
    monad_async_remote_release(first);
    EXPECT_EQ(monad_async_remote_wake(second).error, 0);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
    EXPECT_EQ(monad_async_remote_wake(second).error, ESHUTDOWN);
    monad_async_remote_release(second);
    EXPECT_EQ(monad_async_remote_wake(third).error, ESHUTDOWN);
    std::thread([&] { monad_async_remote_release(third); }).join();

    auto const again = make_executor(); // all released before the executor ends
    monad_async_remote_release(acquire(again));
    monad_async_remote_release(acquire(again));
    EXPECT_EQ(monad_async_executor_destroy(again).error, 0);
}

TEST(Remote, refusals)
{
    Executor ex(0);
    monad_async_remote remote = nullptr;
    EXPECT_EQ(monad_async_remote_acquire(nullptr, &remote).error, EINVAL);
    EXPECT_EQ(monad_async_remote_acquire(ex, nullptr).error, EINVAL);
    std::thread([&] { EXPECT_EQ(monad_async_remote_acquire(ex, &remote).error, EPERM); }).join();
    EXPECT_EQ(remote, nullptr);
    EXPECT_EQ(monad_async_remote_retain(nullptr), nullptr);
    monad_async_remote_release(nullptr);
    Task task;
    EXPECT_EQ(monad_async_remote_attach(nullptr, task).error, EINVAL);
    EXPECT_EQ(monad_async_remote_cancel(nullptr, task).error, EINVAL);
    EXPECT_EQ(monad_async_remote_wake(nullptr).error, EINVAL);
    remote = acquire(ex);
    EXPECT_EQ(monad_async_remote_attach(remote, nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_remote_cancel(remote, nullptr).error, EINVAL);
    task->user_code = nullptr;
    EXPECT_EQ(monad_async_remote_attach(remote, task).error, EINVAL);
    monad_async_remote_release(remote);
}

// Threads attach until they are told that the executor is gone; the owner destroys it as soon as
// nothing is attached. What was told 0 has run, or was cancelled before it began: it has exited.
TEST(Remote, destroy_races_with_attaching_threads)
{
    constexpr unsigned rounds = 200;
    constexpr unsigned threads = 3;
    for (unsigned round = 0; round < rounds; ++round) {
        auto const ex = make_executor();
        auto const remote = acquire(ex);
        std::vector<Task> tasks;
        std::atomic<unsigned> ran{0}, started{0};
        for (unsigned i = 0; i < threads; ++i) {
            tasks.emplace_back([&](monad_async_task) { return ++ran, success(); }, 16384);
        }
        std::vector<std::thread> attaching;
        std::atomic<unsigned> accepted{0}, cancelled{0};
        for (unsigned i = 0; i < threads; ++i) {
            monad_async_task const task = tasks[i];
            attaching.emplace_back([&, task, mine = monad_async_remote_retain(remote)] {
                ++started;
                int error;
                while ((error = monad_async_remote_attach(mine, task).error) == 0) {
                    ++accepted;
                    spin_until([&] { return monad_async_task_has_exited(task); });
                    cancelled += task->result.error == ECANCELED;
                }
                EXPECT_EQ(error, ESHUTDOWN);
                EXPECT_FALSE(monad_async_task_is_attached(task));
                monad_async_remote_release(mine);
            });
        }
        monad_async_remote_release(remote);
        spin_until([&] { return started > round % threads; });
        int error;
        do {
            (void)monad_async_executor_run(ex, no_bound, &at_once);
            error = monad_async_executor_destroy(ex).error;
        } while (error == EBUSY);
        EXPECT_EQ(error, 0);
        for (auto &thread : attaching) {
            thread.join();
        }
        EXPECT_EQ(accepted.load(), ran.load() + cancelled.load());
    }
}

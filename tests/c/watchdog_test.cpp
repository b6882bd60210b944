// The watchdog: names the task that keeps its executor, with its stack, and no other.

#include "support.hpp"

#include <atomic>
#include <mutex>
#include <string>

#include <csignal>
#include <dlfcn.h>

using namespace support;

namespace {

struct Told {
    std::string executor, task;
    monad_async_task handle;
    uint64_t ran_ns;
    std::vector<std::string> functions;
};

std::mutex mutex;
std::vector<Told> told;
std::atomic<size_t> count{0};

void tell(monad_async_watchdog_report const *report, void *user_ptr)
{
    EXPECT_EQ(user_ptr, &told);
    Told one{report->executor_name, report->task_name, report->task, report->ran_ns, {}};
    for (size_t i = 0; i < report->count; ++i) {
        Dl_info info{};
        auto *const before = static_cast<char *>(report->pcs[i]) - 1;
        bool const known = dladdr(before, &info) != 0 && info.dli_sname != nullptr;
        one.functions.push_back(known ? info.dli_sname : "");
    }
    std::lock_guard<std::mutex> const lock(mutex);
    told.push_back(one);
    ++count;
}

constexpr uint64_t limit = 20 * ms;

monad_async_result start()
{
    told.clear();
    count = 0;
    return monad_async_watchdog_start(limit, tell, &told);
}

} // namespace

// For the loader's table.
extern "C" __attribute__((noinline, visibility("default"))) void
watchdog_test_spin(std::atomic<size_t> const *until, size_t n)
{
    while (until->load() < n) {
    }
    asm volatile("" ::: "memory");
}

namespace {

TEST(Watchdog, names_the_task_that_spins_with_its_stack)
{
    Executor ex(0);
    EXPECT_EQ(monad_async_executor_set_name(ex, "kept").error, 0);
    Task spins([](monad_async_task) {
        watchdog_test_spin(&count, 1);
        return success();
    });
    EXPECT_EQ(monad_async_task_set_name(spins, "spinner").error, 0);
    // Runs as long in all, but suspends between.
    Task good([](monad_async_task self) {
        for (int i = 0; i < 20; ++i) {
            spin_for(limit / 10);
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        return success();
    });
    ASSERT_EQ(start().error, 0);
    EXPECT_EQ(monad_async_watchdog_start(limit, tell, &told).error, EBUSY);
    good.attach(ex);
    ex.finish();
    size_t const before = count; // A busy machine may have kept it from running.
    spins.body([&](monad_async_task) {
        watchdog_test_spin(&count, before + 1);
        return success();
    });
    spins.attach(ex);
    ex.finish();
    spins.attach(ex);
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    EXPECT_EQ(monad_async_watchdog_stop().error, ENOENT);
    ex.finish();
    ASSERT_EQ(told.size(), before + 1) << "once a run";
    auto const &last = told.back();
    EXPECT_EQ(last.handle, static_cast<monad_async_task>(spins));
    EXPECT_EQ(last.executor, "kept");
    EXPECT_EQ(last.task, "spinner");
    EXPECT_GE(last.ran_ns, limit);
    bool found = false;
    for (auto const &function : last.functions) {
        found = found || function == "watchdog_test_spin";
    }
    EXPECT_TRUE(found) << last.functions.size();
}

TEST(Watchdog, finds_executors_of_other_threads_and_those_made_later)
{
    ASSERT_EQ(start().error, 0);
    for (size_t i = 0; i < 3; ++i) {
        std::thread([=] {
            Executor ex(0);
            Task spins([=](monad_async_task) {
                watchdog_test_spin(&count, i + 1);
                return success();
            });
            spins.attach(ex);
            ex.finish();
        }).join();
    }
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    EXPECT_EQ(told.size(), 3u);
}

TEST(Watchdog, tells_also_where_the_signal_is_blocked)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    sigset_t before;
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    ASSERT_EQ(start().error, 0);
    Executor ex(0);
    Task spins([](monad_async_task) {
        watchdog_test_spin(&count, 1);
        return success();
    });
    spins.attach(ex);
    ex.finish();
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].functions.size(), 0u);
    ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

std::atomic<int> others{0};

TEST(Watchdog, passes_on_a_signal_that_is_not_its_own)
{
    struct sigaction action{};
    action.sa_handler = [](int) { ++others; };
    others = 0;
    ASSERT_EQ(sigaction(SIGURG, &action, nullptr), 0);
    ASSERT_EQ(start().error, 0);
    ASSERT_EQ(raise(SIGURG), 0);
    EXPECT_EQ(others, 1);
    Executor ex(0);
    Task spins([](monad_async_task) {
        watchdog_test_spin(&count, 1);
        return success();
    });
    spins.attach(ex);
    ex.finish();
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    EXPECT_EQ(others, 1) << "the watchdog's own";
    EXPECT_EQ(monad_async_watchdog_start(0, nullptr, nullptr).error, EINVAL);
}

} // namespace

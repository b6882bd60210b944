// The watchdog: names the task that keeps its executor, with its stack, and no other.

#include "support.hpp"

#include <monad/async/inspect.h>
#include <monad/async/watchdog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <csignal>
#include <dlfcn.h>
#include <sys/wait.h>

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

void tell(monad_async_watchdog_report const *report)
{
    EXPECT_EQ(monad_async_watchdog_stop().error, EDEADLK);
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

auto told_of(monad_async_task task)
{
    std::lock_guard<std::mutex> const lock(mutex);
    return std::count_if(told.begin(), told.end(),
                         [&](Told const &one) { return one.handle == task; });
}

constexpr uint64_t limit = 20 * ms;

monad_async_result start()
{
    told.clear();
    count = 0;
    return monad_async_watchdog_start(limit, tell);
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
    // Runs as long in all, but suspends between. Unless a busy machine has kept one of its runs so long.
    std::chrono::nanoseconds longest{};
    Task good([&](monad_async_task self) {
        longest = {};
        for (int i = 0; i < 20; ++i) {
            auto const begun = std::chrono::steady_clock::now();
            spin_for(limit / 10);
            longest = std::max(longest, std::chrono::steady_clock::now() - begun);
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        return success();
    });
    ASSERT_EQ(start().error, 0);
    EXPECT_EQ(monad_async_watchdog_start(limit, tell).error, EBUSY);
    for (int i = 0; i < 5; ++i) {
        size_t const before = count;
        good.attach(ex);
        ex.finish();
        if (longest < std::chrono::nanoseconds(limit / 2)) {
            EXPECT_EQ(count, before);
            break;
        }
    }
    // A busy machine may report late what the other one did.
    spins.body([&](monad_async_task self) {
        for (size_t seen = count; told_of(self) == 0; ++seen) {
            watchdog_test_spin(&count, seen + 1);
        }
        spin_for(3 * limit); // and is not named again
        return success();
    });
    spins.attach(ex);
    ex.finish();
    spins.attach(ex);
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    EXPECT_EQ(monad_async_watchdog_stop().error, ENOENT);
    ex.finish();
    ASSERT_EQ(told_of(spins), 1) << "once a run";
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
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (size_t i = 0; i < 3; ++i) {
        threads.emplace_back([=, &over] {
            Executor ex(0);
            Task spins([=](monad_async_task) {
                watchdog_test_spin(&count, i + 1);
                return success();
            });
            spins.attach(ex);
            ex.finish();
            while (!over) { // No other executor gets what this one has.
                std::this_thread::yield();
            }
        });
        while (count <= i) {
            std::this_thread::yield();
        }
    }
    over = true;
    for (auto &thread : threads) {
        thread.join();
    }
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    EXPECT_EQ(told.size(), 3u);
}

// Waits for the watchdog's signal, which is blocked. False: it came before, on a machine that is busy.
bool is_asked()
{
    sigset_t set;
    do {
        if (count != 0) {
            return false;
        }
    } while (sigpending(&set) != 0 || sigismember(&set, SIGURG) != 1);
    return true;
}

void block(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    ASSERT_EQ(pthread_sigmask(how, &set, nullptr), 0);
}

// Between the look and the signal the task goes on: what it does then is no business of the watchdog's.
TEST(Watchdog, does_not_name_a_task_that_has_gone_on_when_its_thread_is_asked)
{
    Executor ex(0);
    bool asked = false;
    Task spins([&](monad_async_task self) {
        block(SIG_BLOCK);
        asked = is_asked();
        EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        block(SIG_UNBLOCK);
        return success();
    });
    ASSERT_EQ(start().error, 0);
    spins.attach(ex);
    ex.finish();
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    // Without frames: an answer that has come too late, on a machine that is very busy.
    EXPECT_TRUE(!asked || told.empty() || told[0].functions.empty());
}

// Runs a task that keeps its executor until the watchdog has told of one.
void be_told_of_one()
{
    Executor ex(0);
    Task spins([](monad_async_task) {
        watchdog_test_spin(&count, 1);
        return success();
    });
    spins.attach(ex);
    ex.finish();
}

TEST(Watchdog, tells_also_where_the_signal_is_blocked)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    sigset_t before;
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
    ASSERT_EQ(start().error, 0);
    be_told_of_one();
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].functions.size(), 0u);
    ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

std::atomic<int> others{0};

TEST(Watchdog, passes_on_a_signal_that_is_not_its_own)
{
    struct sigaction action {};
    action.sa_handler = [](int) { ++others; };
    others = 0;
    ASSERT_EQ(sigaction(SIGURG, &action, nullptr), 0);
    ASSERT_EQ(start().error, 0);
    ASSERT_EQ(raise(SIGURG), 0);
    EXPECT_EQ(others, 1);
    be_told_of_one();
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
    EXPECT_EQ(others, 1) << "the watchdog's own";
    EXPECT_EQ(monad_async_watchdog_start(0, nullptr).error, EINVAL);
}

// One that comes to another thread while the watchdog waits for the answer of its own.
TEST(Watchdog, takes_no_other_threads_signal_for_an_answer)
{
    struct sigaction action {};
    action.sa_handler = [](int) { ++others; };
    others = 0;
    ASSERT_EQ(sigaction(SIGURG, &action, nullptr), 0);
    ASSERT_EQ(start().error, 0);
    Executor ex(0);
    Task spins([](monad_async_task) {
        block(SIG_BLOCK);
        if (is_asked()) {
            std::thread([] {
                block(SIG_UNBLOCK);
                for (int i = 0; i < 10; ++i) {
                    EXPECT_EQ(raise(SIGURG), 0);
                }
            }).join();
            EXPECT_EQ(others, 10);
        }
        block(SIG_UNBLOCK);
        return success();
    });
    spins.attach(ex);
    ex.finish();
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
}

// The callback's own stop waited for itself, where another thread's had come first.
TEST(Watchdog, is_not_stopped_by_its_callback_while_another_thread_stops_it)
{
    static std::atomic<bool> is_told;
    is_told = false;
    auto const tell_late = [](monad_async_watchdog_report const *) {
        is_told = true;
        std::this_thread::sleep_for(std::chrono::milliseconds{50}); // for the other one to be first
        EXPECT_EQ(monad_async_watchdog_stop().error, EDEADLK);
    };
    ASSERT_EQ(monad_async_watchdog_start(limit, tell_late).error, 0);
    std::thread stops([] {
        while (!is_told) {
            std::this_thread::yield();
        }
        EXPECT_EQ(monad_async_watchdog_stop().error, 0);
    });
    Executor ex(0);
    Task spins([](monad_async_task) {
        while (!is_told) {
        }
        return success();
    });
    spins.attach(ex);
    ex.finish();
    stops.join();
}

// The periods are those of a machine that lets the watchdog's thread run: one of five times is enough.
TEST(Watchdog, names_a_task_that_spins_for_a_second_within_two_periods)
{
    constexpr uint64_t period = 200 * ms;
    Executor ex(0);
    Task spins([](monad_async_task) {
        spin_for(1000 * ms);
        return success();
    });
    EXPECT_EQ(monad_async_task_set_name(spins, "for a second").error, 0);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5 && best > 2 * period; ++i) {
        told.clear();
        ASSERT_EQ(monad_async_watchdog_start(period, tell).error, 0);
        spins.attach(ex);
        ex.finish();
        ASSERT_EQ(monad_async_watchdog_stop().error, 0);
        for (auto const &one : told) {
            EXPECT_EQ(one.task, "for a second");
            EXPECT_FALSE(one.functions.empty());
            best = std::min(best, one.ran_ns);
        }
    }
    EXPECT_GE(best, period);
    EXPECT_LE(best, 2 * period);
}

// A stop that came while another thread was starting it was lost, and one of two that came together
// was not woken: each then waited for ever.
TEST(Watchdog, is_started_and_stopped_by_many_threads_at_once)
{
    std::atomic<int> begun{0}, ended{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            while (!over) {
                auto const r = monad_async_watchdog_start(1000 * ms, tell);
                EXPECT_TRUE(r.error == 0 || r.error == EBUSY) << r.error;
                begun += r.error == 0;
                over = over || begun >= 300;
                EXPECT_TRUE(monad_async_watchdog_stop().error % ENOENT == 0);
            }
        });
        threads.emplace_back([&] {
            while (!over) {
                ended += monad_async_watchdog_stop().error == 0;
            }
        });
    }
    for (auto &thread : threads) {
        thread.join();
    }
    EXPECT_GE(begun, 300);
    EXPECT_TRUE(monad_async_watchdog_stop().error % ENOENT == 0);
    ASSERT_EQ(start().error, 0);
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
}

TEST(Watchdog, of_a_parent_is_not_the_childs_which_may_have_its_own)
{
    ASSERT_EQ(start().error, 0);
    pid_t const child = fork();
    if (child == 0) {
        int failed = monad_async_watchdog_stop().error != ENOENT;
        failed += start().error != 0;
        be_told_of_one();
        failed += monad_async_watchdog_stop().error != 0;
        failed += told.size() != 1 || told[0].functions.empty();
        _exit(failed);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    ASSERT_EQ(monad_async_watchdog_stop().error, 0);
}

// In the child it runs for ever, as far as one can see, and on an executor of the parent's.
TEST(Watchdog, of_a_child_does_not_name_the_task_that_has_forked)
{
    Executor ex(0);
    Task forks([](monad_async_task) {
        pid_t const child = fork();
        if (child == 0) {
            int failed = start().error != 0;
            spin_for(5 * limit);
            failed += monad_async_watchdog_stop().error != 0;
            failed += !told.empty();
            _exit(failed);
        }
        int status = -1;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
        return success();
    });
    forks.attach(ex);
    ex.finish();
}

} // namespace

// Calls with a time of their own inside scopes: what is the scope's is thrown, and their own gives
// false.
#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>
#include <monad/async/sync.hpp>

#include <mutex>
#include <shared_mutex>
#include <stdexcept>

namespace {

using nanoseconds = std::chrono::nanoseconds;

// What a task may wait for, none of which comes; each by its name, for so long.
struct waits {
    ma::mutex mutex, of_condition;
    ma::local_mutex local_mutex;
    ma::rw_lock rw;
    ma::semaphore semaphore{0};
    ma::event event;
    ma::wait_group wait_group{1};
    ma::barrier barrier{2};
    ma::condition condition;
    ma::channel<int> channel{1};
    ma::future<void> future;

    struct wait {
        char const *name;
        std::function<bool(nanoseconds)> for_;
    };

    static std::chrono::steady_clock::time_point in(nanoseconds ns)
    {
        return std::chrono::steady_clock::now() + ns;
    }

    std::vector<wait> all()
    {
        return {
            {"mutex", [this](nanoseconds ns) { return mutex.try_lock_for(ns); }},
            {"mutex, until", [this](nanoseconds ns) { return mutex.try_lock_until(in(ns)); }},
            {"local_mutex", [this](nanoseconds ns) { return local_mutex.try_lock_for(ns); }},
            {"rw_lock", [this](nanoseconds ns) { return rw.try_lock_for(ns); }},
            {"rw_lock, shared", [this](nanoseconds ns) { return rw.try_lock_shared_for(ns); }},
            {"semaphore", [this](nanoseconds ns) { return semaphore.try_acquire_for(ns); }},
            {"event", [this](nanoseconds ns) { return event.wait_for(ns); }},
            {"wait_group", [this](nanoseconds ns) { return wait_group.wait_for(ns); }},
            {"barrier", [this](nanoseconds ns) { return barrier.arrive_and_wait_for(ns); }},
            {"condition",
             [this](nanoseconds ns) {
                 std::unique_lock<ma::mutex> lock(of_condition);
                 return condition.wait_for(lock, ns) == std::cv_status::no_timeout;
             }},
            {"condition, until",
             [this](nanoseconds ns) {
                 std::unique_lock<ma::mutex> lock(of_condition);
                 return condition.wait_until(lock, in(ns), [] { return false; });
             }},
            {"future", [this](nanoseconds ns) { return future.wait_for(ns); }},
            {"select",
             [this](nanoseconds ns) {
                 auto const at_least = std::max(ns, nanoseconds(1)); // 0 would not wait.
                 return ma::select(ma::on_recv(channel, [](auto) {}),
                                   ma::on_timeout(at_least, [] {})) == 0;
             }},
        };
    }
};

// Runs `f` in a task with each of `waits`, while another task keeps all of them waiting.
void for_each_wait(std::function<void(waits::wait const &)> const &f)
{
    ma::executor ex;
    run_task(ex, [&] {
        waits w;
        ma::task_group holder(MONAD_ASYNC_GROUP_INDEPENDENT);
        holder.spawn([&] {
            std::scoped_lock<ma::mutex, ma::local_mutex, ma::rw_lock> const all(
                w.mutex, w.local_mutex, w.rw);
            ma::this_task::sleep_for(1h);
        });
        w.future = ex.submit([] { ma::this_task::sleep_for(1h); });
        ma::this_task::yield();
        for (auto const &wait : w.all()) {
            SCOPED_TRACE(wait.name);
            f(wait);
        }
        holder.cancel();
        w.future.cancel();
    });
}

TEST(Deadline, of_a_scope_is_thrown_out_of_a_wait_with_a_longer_time)
{
    for_each_wait([](waits::wait const &wait) {
        EXPECT_THROW(ma::with_timeout(1ms, [&] { return wait.for_(1h); }), ma::timeout_error);
        ma::scope s;
        s.cancel();
        EXPECT_THROW((void)wait.for_(1h), ma::cancelled_error);
    });
}

TEST(Deadline, of_the_wait_itself_gives_false)
{
    for_each_wait([](waits::wait const &wait) {
        EXPECT_FALSE(ma::with_timeout(1h, [&] { return wait.for_(1ms); }));
        EXPECT_FALSE(ma::with_timeout(1h, [&] { return wait.for_(0ns); }));
        // The form that does not throw for its own time throws for that of a scope around it.
        EXPECT_THROW(ma::with_timeout(0ns,
                                      [&] {
                                          std::error_code ec;
                                          ma::with_timeout(0ns, [&] { (void)wait.for_(1h); }, ec);
                                      }),
                     ma::timeout_error);
        EXPECT_FALSE(wait.for_(1ms));
        ma::scope const outer{0s};
        ma::shield const s;
        EXPECT_FALSE(wait.for_(1ms)) << "the scope waits for the shield's end";
    });
}

TEST(Deadline, of_both_is_the_scopes)
{
    for_each_wait([](waits::wait const &wait) {
        ma::scope const s{0s};
        EXPECT_THROW((void)wait.for_(0ns), ma::timeout_error);
        EXPECT_THROW((void)wait.for_(0ns), ma::timeout_error);
    });
}

TEST(Deadline, ends_a_loop_of_short_waits)
{
    for_each_wait([](waits::wait const &wait) {
        for (auto const each : {nanoseconds(1ms), nanoseconds(0)}) {
            constexpr int enough = 10000000;
            int tries = 0;
            EXPECT_THROW(ma::with_timeout(5ms,
                                          [&] {
                                              while (tries < enough && !wait.for_(each)) {
                                                  ++tries;
                                              }
                                          }),
                         ma::timeout_error);
            EXPECT_LT(tries, enough);
        }
    });
}

TEST(Deadline, of_a_scope_is_not_thrown_while_an_exception_unwinds)
{
    for_each_wait([](waits::wait const &wait) {
        struct waits_at_end {
            waits::wait const &wait;
            bool &came;
            ~waits_at_end() { came = wait.for_(1ms); } // Thrown, it would end the process.
        };
        bool came = true;
        auto const leaves = [&] {
            ma::scope const s{0s};
            waits_at_end const w{wait, came};
            throw std::runtime_error("out");
        };
        EXPECT_THROW(leaves(), std::runtime_error);
        EXPECT_FALSE(came);
    });
}

TEST(Deadline, ends_a_loop_of_calls_that_need_not_wait)
{
    ma::executor ex;
    run_task(ex, [] {
        ma::semaphore free{1};
        ma::this_task::throw_if_interrupted();
        auto const never_waits = [&] {
            for (int n = 0; n < 100000000; ++n) {
                free.acquire();
                free.release();
                ma::this_task::throw_if_interrupted();
            }
        };
        EXPECT_THROW(ma::with_timeout(2ms, never_waits), ma::timeout_error);
        ma::scope s;
        s.cancel();
        EXPECT_THROW(never_waits(), ma::cancelled_error);
        struct asks_at_end {
            ~asks_at_end() { ma::this_task::throw_if_interrupted(); } // It would end the process.
        };
        auto const leaves = [] {
            asks_at_end const a;
            throw std::runtime_error("out");
        };
        EXPECT_THROW(leaves(), std::runtime_error);
    });
    EXPECT_EQ(errno_thrown_by([] { ma::this_task::throw_if_interrupted(); }), EPERM);
}

} // namespace

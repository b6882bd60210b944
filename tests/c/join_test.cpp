// Waiting for another task's exit, on this or another executor.

#include "scopes.hpp"
#include "support.hpp"

#include <monad/async/scope.h>

#include <atomic>
#include <thread>

using namespace support;

namespace {

Task joiner_of(monad_async_task other)
{
    return Task([other](monad_async_task self) { return monad_async_task_join(self, other); });
}

} // namespace

TEST(Join, gives_the_result_of_the_other)
{
    Executor ex;
    Task other([](monad_async_task self) {
        auto const r = sleep_ns(self, ms);
        return r.error != 0 ? r : success(1234567890123);
    });
    Task const joiner = joiner_of(other);
    joiner.attach(ex);
    other.attach(ex);
    ex.finish();
    EXPECT_EQ(joiner->result.error, 0);
    EXPECT_EQ(joiner->result.value, 1234567890123);
}

TEST(Join, gives_the_error_of_the_other)
{
    Executor ex;
    Task other([](monad_async_task) { return monad_async_make_failure(EXDEV); });
    Task const joiner = joiner_of(other);
    other.attach(ex);
    joiner.attach(ex);
    ex.finish();
    EXPECT_EQ(joiner->result.error, EXDEV);
}

TEST(Join, of_one_that_has_exited_gives_its_result)
{
    Executor ex;
    Task other([](monad_async_task) { return success(17); });
    other.attach(ex);
    ex.finish();
    Task const joiner = joiner_of(other);
    joiner.attach(ex);
    ex.finish();
    EXPECT_EQ(joiner->result.value, 17);
}

TEST(Join, many_wait_for_one)
{
    Executor ex;
    Task other([](monad_async_task self) {
        auto const r = sleep_ns(self, ms);
        return r.error != 0 ? r : success(5);
    });
    auto const joiners = make_tasks(
        1000, [&](monad_async_task self, size_t) { return monad_async_task_join(self, other); });
    other.attach(ex);
    attach_all(joiners, ex);
    ex.finish();
    for (auto const &joiner : joiners) {
        ASSERT_EQ(joiner->result.error, 0);
        ASSERT_EQ(joiner->result.value, 5);
    }
}

TEST(Join, chain)
{
    Executor ex;
    std::vector<Task> chain;
    chain.emplace_back([](monad_async_task self) {
        auto const r = sleep_ns(self, ms);
        return r.error != 0 ? r : success(1);
    });
    for (int i = 0; i < 200; ++i) {
        monad_async_task const before = chain.back();
        chain.emplace_back([before](monad_async_task self) {
            auto const r = monad_async_task_join(self, before);
            return r.error != 0 ? r : success(r.value + 1);
        });
    }
    attach_all(chain, ex);
    ex.finish();
    EXPECT_EQ(chain.back()->result.value, 201);
}

TEST(Join, of_one_pending_launch_that_is_cancelled)
{
    Executor ex;
    Task other([](monad_async_task) { return success(); });
    other.priority(monad_async_priority_low);
    Task const joiner = joiner_of(other);
    other.attach(ex);
    joiner.attach(ex);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(monad_async_task_cancel(ex, other).error, 0);
    ex.finish();
    EXPECT_EQ(joiner->result.error, ECANCELED);
    EXPECT_EQ(other->result.error, ECANCELED);
}

TEST(Join, cancelled_joiners_leave_the_others_waiting)
{
    Executor ex;
    Task other([](monad_async_task self) {
        auto const r = sleep_ns(self, 5 * ms);
        return r.error != 0 ? r : success(3);
    });
    auto const joiners = make_tasks(
        10, [&](monad_async_task self, size_t) { return monad_async_task_join(self, other); });
    other.attach(ex);
    attach_all(joiners, ex);
    EXPECT_EQ(ex.run(), 11);
    for (size_t i : {size_t{0}, size_t{4}, size_t{9}}) {
        EXPECT_EQ(monad_async_task_cancel(ex, joiners[i]).error, 0);
    }
    ex.finish();
    for (size_t i = 0; i < joiners.size(); ++i) {
        bool const was_cancelled = i == 0 || i == 4 || i == 9;
        EXPECT_EQ(joiners[i]->result.error, was_cancelled ? ECANCELED : 0) << i;
        EXPECT_EQ(joiners[i]->result.value, was_cancelled ? -1 : 3) << i;
    }
}

TEST(Join, across_executors_and_threads)
{
    for (int round = 0; round < 200; ++round) {
        std::atomic<bool> attached{false};
        Task other([&](monad_async_task self) {
            auto const r =
                round % 3 == 0 ? yield(self) : sleep_ns(self, 10000u * unsigned(round % 5));
            return r.error != 0 ? r : success(round);
        });
        std::thread elsewhere([&] {
            Executor ex(round % 2 == 0 ? 8 : 0);
            other.attach(ex);
            attached = true;
            ex.finish();
            // And is gone at once: a join hangs on the task, not on the executor it ran on.
        });
        Executor ex;
        spin_until([&] { return attached.load(); });
        auto const joiners = make_tasks(
            5, [&](monad_async_task self, size_t) { return monad_async_task_join(self, other); });
        attach_all(joiners, ex);
        ex.finish();
        for (auto const &joiner : joiners) {
            EXPECT_EQ(joiner->result.error, 0);
            EXPECT_EQ(joiner->result.value, round);
        }
        elsewhere.join();
    }
}

// Two executors of one thread, so that what is between them waits for as long as the test wants.
TEST(Join, of_a_run_elsewhere_that_was_over_and_followed_before_it_was_asked_about)
{
    Executor here, elsewhere;
    Task other([](monad_async_task) { return success(7); });
    Task const joiner = joiner_of(other);
    other.attach(elsewhere);
    joiner.attach(here);
    EXPECT_EQ(here.run(1), 1);
    EXPECT_EQ(monad_async_task_cancel(elsewhere, other).error, 0);
    other.attach(elsewhere);
    elsewhere.finish();
    here.finish();
    EXPECT_EQ(joiner->result.error, ECANCELED);
    EXPECT_EQ(other->result.value, 7);
}

// What a joiner sends after its question is sent once, however often and by whatever it is stopped.
TEST(Join, elsewhere_is_stopped_by_all_at_once)
{
    Executor here, elsewhere;
    Task other([](monad_async_task self) { return sleep_ns(self, never); });
    other.attach(elsewhere);
    EXPECT_EQ(elsewhere.run(1), 1);
    std::vector<monad_async_scope *> scopes(4);
    auto const joiners = make_tasks(scopes.size(), [&](monad_async_task self, size_t i) {
        monad_async_scope scope;
        scopes[i] = &scope;
        EXPECT_EQ(enter(self, scope, ms), 0);
        auto const joined = monad_async_task_join(self, other);
        leave(self, scope);
        return joined;
    });
    attach_all(joiners, here);
    EXPECT_EQ(here.run(scopes.size()), scopes.size());
    std::this_thread::sleep_for(std::chrono::milliseconds(2)); // Their deadlines are due as well.
    Task stopper([&](monad_async_task) {
        for (int again = 0; again < 3; ++again) {
            for (size_t i = 0; i < scopes.size(); ++i) {
                EXPECT_EQ(scope_cancel(*scopes[i]), 0);
                EXPECT_EQ(monad_async_task_cancel(here, joiners[i]).error, 0);
            }
        }
        return success();
    });
    stopper.attach(here);
    EXPECT_EQ(here.run(1), 1);
    EXPECT_EQ(elsewhere.run(0), 0);
    here.finish();
    for (auto const &joiner : joiners) {
        EXPECT_EQ(joiner->result.error, ECANCELED);
    }
    EXPECT_EQ(monad_async_task_cancel(elsewhere, other).error, 0);
    elsewhere.finish();
}

// thread_pool: results, exceptions, priorities, for_each, its end, and a fork.
#include "none_of_cpp.hpp"
#include "support.hpp"

#include <monad/async/blocking.hpp>
#include <monad/async/channel.hpp>
#include <monad/async/future.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.h>

#include <array>
#include <atomic>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

// Keeps a worker until it is opened.
struct gate {
    std::atomic<int> begun{0};
    std::atomic<bool> open{false};

    void pass()
    {
        ++begun;
        while (!open) {
            std::this_thread::sleep_for(50us);
        }
    }

    void wait_for(int n) const
    {
        while (begun < n) {
            std::this_thread::sleep_for(50us);
        }
    }
};

TEST(pool, gives_results_of_any_movable_type_and_exceptions)
{
    ma::thread_pool pool(2);
    EXPECT_EQ(pool.workers(), 2u);
    EXPECT_FALSE(pool.kernel_error());
    auto number = pool.submit([] { return 41 + 1; });
    auto text = pool.submit([] { return std::string(100, 'x'); }, ma::priority::high);
    auto owner = pool.submit([p = std::make_unique<int>(7)]() mutable { return std::move(p); });
    auto nothing = pool.submit([] { ma::this_task::sleep_for(1ms); });
    auto thrown = pool.submit([]() -> int { throw std::runtime_error("from a worker"); });
    EXPECT_EQ(number.get(), 42);
    EXPECT_EQ(text.get(), std::string(100, 'x'));
    EXPECT_EQ(*owner.get(), 7);
    nothing.get();
    EXPECT_THROW(thrown.get(), std::runtime_error);
    pool.wait();
    EXPECT_EQ(pool.unfinished(), 0u);
}

TEST(pool, what_is_more_urgent_begins_first)
{
    ma::thread_pool pool(1);
    gate g;
    pool.spawn([&g] { g.pass(); });
    g.wait_for(1);
    std::string order;
    for (auto const &[name, level] :
         {std::pair('l', ma::priority::low), std::pair('n', ma::priority::normal),
          std::pair('h', ma::priority::high)}) {
        pool.spawn([&order, name = name] { order += name; }, level);
    }
    EXPECT_EQ(pool.queued(), 3u);
    g.open = true;
    pool.wait();
    EXPECT_EQ(order, "hnl");
}

TEST(pool, for_each_reaches_every_element_once_inside_a_worker_too)
{
    ma::thread_pool pool(3);
    std::vector<int> numbers(10'007);
    std::iota(numbers.begin(), numbers.end(), 0);
    pool.for_each(numbers, [](int &n) { n *= 2; });
    for (std::size_t i = 0; i != numbers.size(); ++i) {
        ASSERT_EQ(numbers[i], 2 * static_cast<int>(i));
    }
    // All workers are inside one, and wait for tasks of the same pool.
    std::array<int, 6> outer = {};
    std::atomic<int> count{0};
    pool.for_each(outer, [&](int) {
        std::array<int, 50> inner = {};
        pool.for_each(inner, [&count](int) { ++count; });
    });
    EXPECT_EQ(count, 300);
    pool.for_each(std::vector<int>{}, [](int) { FAIL(); });
}

TEST(pool, for_each_throws_what_an_element_threw)
{
    ma::thread_pool pool(2);
    std::vector<int> numbers(1000, 1);
    std::atomic<int> calls{0};
    auto const bad = [&calls](int) {
        ++calls;
        throw std::invalid_argument("one of them");
    };
    EXPECT_THROW(pool.for_each(numbers, bad), std::invalid_argument);
    EXPECT_LT(calls, 1000);
}

// It was that of the first worker that had thrown, whenever that was; and what the others had taken
// went on to its end.
TEST(pool, for_each_throws_what_was_thrown_first_and_takes_no_more)
{
    ma::thread_pool pool(2);
    // A row of each worker, and more.
    std::vector<int> numbers(1600);
    std::iota(numbers.begin(), numbers.end(), 0);
    constexpr int row = 1600 / (2 * 8);
    for (int const thrower : {0, row}) {
        int const other = row - thrower;
        std::atomic<bool> both{false}, begun{false};
        std::atomic<int> calls{0};
        auto const f = [&](int n) {
            ++calls;
            if (n == thrower) {
                begun = true;
                while (!both) {
                    std::this_thread::yield();
                }
                throw std::invalid_argument("the first");
            }
            if (n == other) {
                both = true;
                while (!begun || pool.unfinished() != 1) { // That of the thrower has ended.
                    std::this_thread::yield();
                }
            }
            if (n == other + row - 1) {
                throw std::runtime_error("the second");
            }
        };
        EXPECT_THROW(pool.for_each(numbers, f), std::invalid_argument);
        EXPECT_LE(calls, 1 + row);
    }
}

TEST(pool, for_each_tells_of_what_is_none_of_cpp)
{
    ma::thread_pool pool(2);
    std::vector<int> const numbers(100);
    auto const f = [](int) { throw_none_of_cpp(); };
    EXPECT_EQ(errno_thrown_by([&] { pool.for_each(numbers, f); }), ENOTRECOVERABLE);
}

TEST(pool, its_destructor_drains)
{
    std::atomic<int> ran{0};
    {
        ma::thread_pool pool(2);
        for (int i = 0; i != 500; ++i) {
            pool.spawn([&ran] {
                ma::this_task::yield();
                ++ran;
            });
        }
    }
    EXPECT_EQ(ran, 500);
}

// One that is plain bytes waits as those, and one that is not as a task: in one order.
TEST(pool, callables_of_both_kinds_keep_their_order)
{
    ma::thread_pool pool(1);
    gate g;
    pool.spawn([&g] { g.pass(); });
    g.wait_for(1);
    std::vector<int> order;
    auto const owner = std::make_shared<int>(0);
    for (int i = 0; i != 300; ++i) {
        if (i % 3 == 0) {
            pool.spawn([&order, i, owner] { order.push_back(i + *owner); });
        } else {
            pool.spawn([&order, i] { order.push_back(i); });
        }
    }
    EXPECT_EQ(pool.queued(), 300u);
    EXPECT_EQ(pool.unfinished(), 301u);
    g.open = true;
    pool.wait();
    ASSERT_EQ(order.size(), 300u);
    for (std::size_t i = 0; i != order.size(); ++i) {
        ASSERT_EQ(order[i], static_cast<int>(i));
    }
}

TEST(pool, a_plain_callable_is_a_task_that_suspends_and_throws)
{
    std::atomic<int> ended{0}, told{0};
    ma::thread_pool_options options;
    options.workers = 2;
    options.executor.on_exception = [&told](std::exception_ptr e) {
        EXPECT_THROW(std::rethrow_exception(e), std::runtime_error);
        EXPECT_EQ(ma::this_task::current(), nullptr); // Outside the tasks, as of every other.
        ++told;
    };
    options.executor.stack_size = 256 * 1024;
    ma::thread_pool pool(options);
    std::array<long, 3> const numbers = {1, 2, 3};
    for (int i = 0; i != 100; ++i) {
        pool.spawn([&ended, numbers, i] {
            char volatile used[128 * 1024];
            used[0] = 1;
            used[sizeof used - 1] = 1;
            ma::this_task::sleep_for(std::chrono::microseconds(i));
            ended += static_cast<int>(numbers[2]);
            if (i % 2 == 0) {
                throw std::runtime_error("after a sleep");
            }
            throw ma::cancelled_error("left");
        });
    }
    pool.wait();
    EXPECT_EQ(ended, 300);
    EXPECT_EQ(told, 50);
}

// Its result is an error then, and nothing was thrown.
TEST(pool, a_plain_callable_leaves_a_scope_open)
{
    std::atomic<int> ended{0};
    monad_async_scope left; // Still there when the task ends, and its scope is closed for it.
    ma::thread_pool pool(1);
    std::array<std::uintptr_t, 3> const bytes = {1, 2, 3};
    auto const leaves = [&ended, &left, bytes] {
        EXPECT_EQ(monad_async_scope_enter(monad_async_task_current(), &left, UINT64_MAX, 0).error,
                  0);
        ended += static_cast<int>(bytes[0]);
    };
    static_assert(ma::detail::is_plain<decltype(leaves)>);
    pool.spawn(leaves);
    pool.wait();
    EXPECT_EQ(ended, 1);
}

TEST(pool, plain_callables_are_handed_back)
{
    ma::thread_pool pool(1);
    gate g;
    pool.spawn([&g] { g.pass(); });
    g.wait_for(1);
    bool ran = false;
    for (int i = 0; i != 100; ++i) {
        pool.spawn([&ran] { ran = true; });
    }
    EXPECT_EQ(pool.quit(), 100u);
    EXPECT_EQ(pool.queued(), 0u);
    EXPECT_EQ(errno_thrown_by([&] { pool.spawn([&ran] { ran = true; }); }), ESHUTDOWN);
    g.open = true;
    pool.wait();
    EXPECT_FALSE(ran);
}

TEST(pool, plain_callables_allocate_nothing_once_warm)
{
    ma::thread_pool pool(1);
    std::atomic<int> ran{0};
    auto const batch = [&] {
        gate g;
        pool.spawn([&g] { g.pass(); });
        for (int i = 0; i != 1000; ++i) {
            pool.spawn([&ran] { ++ran; });
        }
        g.open = true;
        pool.wait();
    };
    batch();
    auto const before = mallinfo2();
    for (int i = 0; i != 100; ++i) {
        batch();
    }
    EXPECT_LE(mallinfo2().uordblks, before.uordblks);
    EXPECT_EQ(ran, 101'000);
}

TEST(pool, quit_hands_back_what_has_not_begun)
{
    ma::thread_pool pool(1);
    gate g;
    auto held = pool.submit([&g] { g.pass(); });
    g.wait_for(1);
    auto ends = std::make_shared<int>(0);
    std::weak_ptr<int> const watch = ends;
    auto never = pool.submit([ends = std::move(ends)] { return *ends; });
    EXPECT_EQ(pool.quit(), 1u);
    EXPECT_TRUE(never.ready());
    EXPECT_TRUE(watch.expired()); // The callable is destroyed.
    EXPECT_THROW(never.get(), ma::cancelled_error);
    EXPECT_EQ(errno_thrown_by([&] { (void)pool.submit([] {}); }), ESHUTDOWN);
    EXPECT_EQ(errno_thrown_by([&] { pool.resize(3); }), ESHUTDOWN);
    g.open = true;
    held.get();
}

TEST(pool, quit_drains_where_it_is_told_to)
{
    ma::thread_pool pool(1);
    gate g;
    auto held = pool.submit([&g] { g.pass(); });
    g.wait_for(1);
    auto later = pool.submit([] { return 7; });
    EXPECT_EQ(pool.quit(ma::pool_quit::drain), 0u);
    EXPECT_EQ(errno_thrown_by([&] { (void)pool.submit([] {}); }), ESHUTDOWN);
    EXPECT_FALSE(later.ready());
    g.open = true;
    EXPECT_EQ(later.get(), 7);
    held.get();
    pool.wait();
}

TEST(pool, one_that_drains_may_still_hand_back)
{
    ma::thread_pool pool(1);
    gate g;
    auto held = pool.submit([&g] { g.pass(); });
    g.wait_for(1);
    auto never = pool.submit([] {});
    EXPECT_EQ(pool.quit(ma::pool_quit::drain), 0u);
    EXPECT_EQ(pool.quit(ma::pool_quit::hand_back), 1u);
    EXPECT_THROW(never.get(), ma::cancelled_error);
    g.open = true;
    held.get();
}

// A future that is let go cancels its task, in the queue too, at once.
TEST(pool, of_what_nobody_got_from_a_future_on_unobserved_is_told)
{
    std::vector<std::string> told;
    auto const note = [&](std::exception_ptr const &what) {
        try {
            std::rethrow_exception(what);
        } catch (std::exception const &e) {
            told.emplace_back(e.what());
        }
    };
    ma::thread_pool_options options;
    options.workers = 1;
    options.executor.on_unobserved = note;
    ma::thread_pool pool(options);
    ma::executor_options of_executor = ma::executor_options::compute_only();
    of_executor.on_unobserved = note;
    ma::executor ex(of_executor);
    auto const throws = [](char const *what) { return [what] { throw std::runtime_error(what); }; };
    {
        auto one = pool.submit(throws("of the pool"));
        one.wait();
        auto two = ex.submit(throws("of the executor"));
        ex.run_until_idle();
        auto asked = pool.submit(throws("asked for"));
        EXPECT_THROW(asked.get(), std::runtime_error);
        auto cancelled = ex.submit([] { ma::this_task::sleep_for(1h); });
        ex.poll();
    }
    EXPECT_EQ(told, (std::vector<std::string>{"of the executor", "of the pool"}));
}

TEST(pool, a_future_may_be_let_go_and_may_outlive_the_pool)
{
    ma::future<int> kept;
    {
        ma::thread_pool pool(1);
        gate g;
        pool.spawn([&g] { g.pass(); });
        g.wait_for(1);
        bool ran = false;
        {
            auto const dropped = pool.submit([&ran] { ran = true; });
        }
        EXPECT_EQ(pool.queued(), 0u);
        kept = pool.submit([] { return 5; });
        g.open = true;
        pool.wait();
        EXPECT_FALSE(ran);
    }
    EXPECT_EQ(kept.get(), 5);
}

// A task object whose task is queued: destroyed, it leaves the queue.
TEST(pool, a_task_object_is_destroyed_while_its_task_is_queued)
{
    ma::thread_pool pool(1);
    gate g;
    pool.spawn([&g] { g.pass(); });
    g.wait_for(1);
    bool ran = false;
    {
        ma::task t;
        t.native_handle()->user_code = [](monad_async_task self) {
            *static_cast<bool *>(self->user_ptr) = true;
            return monad_async_make_success(0);
        };
        t.native_handle()->user_ptr = &ran;
        auto const r = monad_async_pool_submit(pool.native_handle(), t.native_handle());
        ASSERT_EQ(r.error, 0);
        EXPECT_TRUE(monad_async_task_is_queued(t.native_handle()));
    }
    EXPECT_EQ(pool.queued(), 0u);
    g.open = true;
    pool.wait();
    EXPECT_FALSE(ran);
}

// A task of the C API, as the pool of the C API takes it: it returns what `user_ptr` points to.
ma::task made_for_pool(std::atomic<int> &value)
{
    ma::task t;
    t.native_handle()->user_code = [](monad_async_task self) {
        auto &own = *static_cast<std::atomic<int> *>(self->user_ptr);
        return monad_async_make_success(own);
    };
    t.native_handle()->user_ptr = &value;
    return t;
}

TEST(pool, a_select_joins_a_task_that_is_queued)
{
    ma::thread_pool pool(1);
    gate g;
    pool.spawn([&g] { g.pass(); });
    g.wait_for(1);
    std::atomic<int> value{7};
    auto t = made_for_pool(value);
    auto canceled = made_for_pool(value);
    monad_async_task const both[] = {t.native_handle(), canceled.native_handle()};
    ASSERT_EQ(monad_async_pool_submit_many(pool.native_handle(), both, 2).value, 2);
    ma::executor ex;
    run_task(ex, [&] {
        auto *const self = ma::this_task::current();
        monad_async_select_case cases[] = {monad_async_case_join(t.native_handle()),
                                           monad_async_case_join(canceled.native_handle()),
                                           monad_async_case_timeout(1'000'000)};
        EXPECT_EQ(monad_async_select(self, cases, 3).value, 2);
        EXPECT_TRUE(monad_async_task_is_queued(t.native_handle()));
        // Interrupted, it leaves nothing in the queue.
        cases[2] = monad_async_case_timeout(UINT64_MAX);
        EXPECT_EQ(errno_thrown_by([&] {
                      ma::with_timeout(1ms, [&] {
                          auto const r = monad_async_select(self, cases, 3);
                          EXPECT_EQ(r.error, ETIME);
                          ma::this_task::yield();
                      });
                  }),
                  ETIME);
        // One ends without having begun.
        auto cancels = ex.submit([&] {
            EXPECT_EQ(monad_async_task_cancel(nullptr, canceled.native_handle()).error, 0);
        });
        EXPECT_EQ(monad_async_select(self, cases, 2).value, 1);
        EXPECT_EQ(cases[1].result.error, ECANCELED);
        cancels.get();
        // The other begins while it is waited for, with a channel that nobody sends to.
        ma::channel<int> never;
        monad_async_channel *const channel = never.native_handle();
        int element = 0;
        cases[1] = monad_async_case_recv(channel, &element);
        auto opens = ex.submit([&] {
            ma::this_task::sleep_for(1ms);
            g.open = true;
        });
        EXPECT_EQ(monad_async_select(self, cases, 3).value, 0);
        EXPECT_EQ(cases[0].result.value, 7);
        opens.get();
    });
}

// The task leaves the queue, ends and is queued again during the select: what it says is of the run
// that was under way, or that this is gone. Nothing is lost, and nobody waits for ever.
TEST(pool, a_select_beside_tasks_that_come_and_go)
{
    ma::thread_pool pool(2);
    std::atomic<int> value{0};
    auto t = made_for_pool(value);
    auto *const task = t.native_handle();
    ASSERT_EQ(monad_async_pool_submit(pool.native_handle(), task).error, 0);
    std::atomic<bool> stop{false};
    std::thread again([&] {
        while (!stop) {
            ++value;
            (void)monad_async_pool_submit(pool.native_handle(), task);
            if (value % 7 == 0) {
                (void)monad_async_task_cancel(nullptr, task);
            }
        }
    });
    ma::executor ex;
    run_task(ex, [&] {
        auto *const self = ma::this_task::current();
        int joined = 0;
        for (int i = 0; i != 3000; ++i) {
            monad_async_select_case cases[] = {
                monad_async_case_join(task),
                monad_async_case_timeout(i % 5 == 0 ? 20'000 : UINT64_MAX)};
            auto const r = monad_async_select(self, cases, 2);
            ASSERT_EQ(r.error, 0);
            if (r.value == 0) {
                int const error = cases[0].result.error;
                EXPECT_TRUE(error == 0 || error == ECANCELED || error == ESRCH) << error;
                ++joined;
            }
        }
        EXPECT_GT(joined, 2000);
    });
    stop = true;
    again.join();
    pool.wait();
}

// Its run does not end before it is cancelled. A cancel that came while a worker took the task found
// it nowhere, and was lost.
TEST(pool, a_cancel_finds_a_task_that_is_being_taken)
{
    ma::thread_pool pool(2);
    ma::task t;
    auto *const task = t.native_handle();
    task->user_code = [](monad_async_task self) {
        while (monad_async_task_suspend_for_duration(self, 0).error == 0) {
        }
        return monad_async_make_success(1);
    };
    for (int i = 0; i != 5000; ++i) {
        ASSERT_EQ(monad_async_pool_submit(pool.native_handle(), task).error, 0);
        for (int spins = i % 400; spins != 0; --spins) {
            asm volatile("");
        }
        ASSERT_EQ(monad_async_task_cancel(nullptr, task).error, 0) << "round " << i;
        (void)monad_async_task_wait(task, UINT64_MAX);
    }
}

TEST(pool, a_worker_can_be_launched_on_directly)
{
    ma::thread_pool pool(2);
    auto const worker = pool.worker(1);
    auto const first = worker.submit([] { return std::this_thread::get_id(); }).get();
    auto const second = worker.submit([] { return std::this_thread::get_id(); }).get();
    EXPECT_EQ(first, second);
    EXPECT_NE(first, std::this_thread::get_id());
    EXPECT_EQ(errno_thrown_by([&] { (void)pool.worker(2); }), ENOENT);
}

// Both waited for ever.
TEST(pool, of_tasks_of_two_workers_that_join_each_other_one_is_refused)
{
    ma::thread_pool pool(2);
    for (int i = 0; i < 100; ++i) {
        std::atomic<bool> are_attached{false};
        std::atomic<int> refused{0};
        ma::task one;
        ma::task other;
        auto const joins = [&](ma::task const &whom) {
            while (!are_attached) {
                ma::this_task::yield();
            }
            int const error = errno_thrown_by([&] { whom.join(); });
            EXPECT_TRUE(error == 0 || error == EDEADLK) << error;
            refused += error == EDEADLK;
        };
        one.attach(pool.worker(0), [&] { joins(other); });
        other.attach(pool.worker(1), [&] { joins(one); });
        are_attached = true;
        one.wait();
        other.wait();
        EXPECT_EQ(refused, 1);
    }
}

TEST(pool, a_task_of_its_own_cannot_wait_until_none_is_left)
{
    ma::thread_pool pool(2);
    auto const error_of_wait = [&pool](std::size_t at_most) {
        ma::scope s;
        s.cancel(); // A wait that is not refused ends at once.
        return errno_thrown_by([&] { pool.wait(at_most); });
    };
    auto const one_is_left = pool.submit([] { ma::this_task::park(); });
    auto in_a_task = pool.submit([&] {
        // Neither of another pool, nor by a task that was not submitted.
        ma::thread_pool second(1);
        second.spawn([] { ma::this_task::sleep_for(1ms); });
        second.wait();
        int error = 0;
        ma::task child;
        child.attach(ma::this_task::executor(), [&] { error = error_of_wait(0); });
        child.join();
        EXPECT_EQ(error, ECANCELED);
        EXPECT_EQ(error_of_wait(1), ECANCELED);
        return error_of_wait(0);
    });
    EXPECT_EQ(in_a_task.get(), EDEADLK);
    std::atomic<int> in_a_job{0};
    pool.spawn([&in_a_job, &error_of_wait] { in_a_job = error_of_wait(0); });
    pool.wait(1);
    EXPECT_EQ(in_a_job, EDEADLK);
    EXPECT_EQ(pool.worker(1).submit([&] { return error_of_wait(0); }).get(), ECANCELED);
}

TEST(pool, inside_a_task_of_another_executor_its_calls_suspend)
{
    ma::executor ex;
    bool other_ran = false;
    ma::task other;
    other.attach(ex, [&other_ran] { other_ran = true; });
    run_task(ex, [&other_ran] {
        ma::thread_pool pool(1);
        auto slow = pool.submit([] { ma::this_task::sleep_for(2ms); });
        slow.get();
        EXPECT_TRUE(other_ran);
        pool.spawn([] { ma::this_task::sleep_for(1ms); });
        pool.wait();
    });
    other.get();
}

// In the child nothing of the parent's pool ever ends: calls say so, and destructors return.
TEST(pool, in_the_child_of_a_fork_nothing_waits)
{
    auto pool = std::make_unique<ma::thread_pool>(1);
    auto g = std::make_unique<gate>();
    auto waiting = pool->submit([&g] { g->pass(); });
    g->wait_for(1);
    auto const child = ::fork();
    if (child == 0) {
        bool const refused = errno_thrown_by([&] { (void)pool->submit([] {}); }) == EPERM &&
                             errno_thrown_by([&] { waiting.get(); }) == EPERM;
        {
            auto const gone = std::move(waiting);
        }
        pool.reset();
        ::_exit(refused ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    g->open = true;
    waiting.get();
}

TEST(pool, an_exception_of_a_task_that_nobody_waits_for_is_told)
{
    std::atomic<int> told{0};
    ma::thread_pool_options options;
    options.workers = 1;
    options.executor.on_exception = [&told](std::exception_ptr) { ++told; };
    {
        ma::thread_pool pool(options);
        pool.spawn([] { throw std::runtime_error("nobody waits"); });
    }
    EXPECT_EQ(told, 1);
    options.cpus = {1'000'000};
    EXPECT_EQ(errno_thrown_by([&] { ma::thread_pool const none(options); }), EINVAL);
}

int cpus_of_this_thread()
{
    cpu_set_t set;
    EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

// A helper is of the whole process, and stays: it was bound to the CPU of the worker that made it, as
// all those were that are made later by one. So were the workers of a pool that a task makes.
TEST(pool, what_a_worker_with_a_cpu_makes_is_not_bound_to_that)
{
    int const all = cpus_of_this_thread();
    int const cpu = sched_getcpu();
    ma::blocking_limits(64, 0s); // None is left of what other tests did.
    ma::thread_pool_options options;
    options.workers = 1;
    options.cpus = {static_cast<std::uint32_t>(cpu)};
    ma::thread_pool pool(options);
    EXPECT_EQ(pool.submit(&cpus_of_this_thread).get(), 1);
    EXPECT_EQ(pool.submit([] { return ma::offload(&cpus_of_this_thread); }).get(), all);
    auto const of_another = [] { return ma::thread_pool(1).submit(&cpus_of_this_thread).get(); };
    EXPECT_EQ(pool.submit(of_another).get(), all);
    ma::blocking_limits(64, 5s);
}

std::atomic<int> *told_of_end = nullptr;

struct tells_of_its_end {
    bool used = false;
    ~tells_of_its_end()
    {
        std::this_thread::sleep_for(20ms);
        ++*told_of_end;
    }
};
thread_local tells_of_its_end of_thread;

// What a task keeps for its thread may refer to what goes with the pool: who waited for the workers
// went on while those were about to end it.
TEST(pool, its_end_waits_for_what_tasks_have_kept_for_their_threads)
{
    std::atomic<int> ends{0};
    told_of_end = &ends;
    pthread_key_t key = 0;
    ASSERT_EQ(pthread_key_create(&key, [](void *to) { ++*static_cast<std::atomic<int> *>(to); }),
              0);
    auto const keep = [&] {
        of_thread.used = true;
        pthread_setspecific(key, &ends);
    };
    {
        ma::thread_pool pool(1);
        pool.spawn(keep);
    }
    EXPECT_EQ(ends, 2);
    ma::executor ex;
    run_task(ex, [&] {
        ma::thread_pool pool(1);
        pool.submit(keep).get();
    });
    EXPECT_EQ(ends, 4);
    pthread_key_delete(key);
}

// As inside one of its tasks: the worker would wait for itself.
TEST(pool, is_not_destroyed_by_what_ends_with_a_worker)
{
    static std::atomic<int> error{0};
    struct destroys {
        monad_async_pool pool = nullptr;
        ~destroys() { error = monad_async_pool_destroy(pool).error; }
    };
    {
        ma::thread_pool pool(1);
        auto *const native = pool.native_handle();
        pool.spawn([native] {
            thread_local destroys at_end;
            at_end.pool = native;
        });
    }
    EXPECT_EQ(error, EDEADLK);
}

} // namespace

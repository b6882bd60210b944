// Bodies, results, reuse, priorities, joining, cancelling.
#include "support.hpp"

#include <monad/async/inspect.h>

#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <system_error>
#include <type_traits>

static_assert(!std::is_copy_constructible_v<ma::task> && !std::is_copy_assignable_v<ma::task>);
static_assert(std::is_nothrow_move_constructible_v<ma::task>);
static_assert(std::is_nothrow_move_assignable_v<ma::task>);

namespace {

int free_function()
{
    return 7;
}

TEST(Task, returns_integers_of_every_kind)
{
    ma::executor ex;
    EXPECT_EQ(run_task(ex, [] {}), 0);
    EXPECT_EQ(run_task(ex, [] { return true; }), 1);
    EXPECT_EQ(run_task(ex, [] { return 'x'; }), 'x');
    EXPECT_EQ(run_task(ex, [] { return -1; }), -1);
    EXPECT_EQ(run_task(ex, [] { return std::numeric_limits<std::int64_t>::min(); }),
              std::numeric_limits<std::int64_t>::min());
    // The 64 bits survive; the sign is the reader's.
    EXPECT_EQ(static_cast<std::uint64_t>(
                  run_task(ex, [] { return std::numeric_limits<std::uint64_t>::max(); })),
              std::numeric_limits<std::uint64_t>::max());
}

TEST(Task, a_name_is_cut_between_characters)
{
    for (std::size_t const before : {29, 30, 31, 32}) {
        ma::task_options options;
        auto const name = std::string(before, 'x') + "\u20ac";
        options.name = name;
        ma::task const t(options);
        auto const kept =
            std::string(std::min<std::size_t>(before, 32), 'x') + (before == 29 ? "\u20ac" : "");
        EXPECT_EQ(t.name(), kept);
        char in_c[MONAD_ASYNC_NAME_BYTES + 1];
        EXPECT_EQ(monad_async_task_name(t.native_handle(), in_c, sizeof in_c), kept.size());
        EXPECT_EQ(in_c, kept);
    }
}

TEST(Task, runs_any_callable)
{
    ma::executor ex;
    EXPECT_EQ(run_task(ex, free_function), 7);
    EXPECT_EQ(run_task(ex, &free_function), 7);
    std::function<int()> erased = [] { return 8; };
    EXPECT_EQ(run_task(ex, erased), 8); // copied
    EXPECT_EQ(run_task(ex, std::move(erased)), 8);
    EXPECT_EQ(run_task(ex, std::bind(free_function)), 7);

    struct only_as_rvalue {
        int operator()() && { return 9; }
    };
    EXPECT_EQ(run_task(ex, only_as_rvalue{}), 9);

    struct overloaded {
        int operator()() && { return 1; }
        int operator()() const & { return 2; }
    };
    EXPECT_EQ(run_task(ex, overloaded{}), 1) << "called once, as an rvalue, like a thread's";

    int hits = 0;
    EXPECT_EQ(run_task(ex, [&hits]() mutable noexcept { return ++hits; }), 1);
    EXPECT_EQ(hits, 1);
}

TEST(Task, moves_move_only_state_in_and_destroys_it_when_the_body_ends)
{
    ma::executor ex;
    ma::task t;
    auto const watched = std::make_shared<int>(5);
    std::weak_ptr<int> const watch = watched;
    auto owned = std::make_unique<std::shared_ptr<int>>(watched);
    t.attach(ex, [owned = std::move(owned)] { return **owned; });
    EXPECT_EQ(owned, nullptr);
    EXPECT_EQ(watch.use_count(), 2);
    ex.run();
    ASSERT_TRUE(t.done());
    EXPECT_EQ(watch.use_count(), 1) << "destroyed with the body, not with the task";
    EXPECT_EQ(t.get(), 5);
}

TEST(Task, destroys_the_callable_on_the_tasks_own_stack)
{
    ma::executor ex;
    ma::task t;
    monad_async_task on = nullptr;
    struct looks {
        monad_async_task *on;
        explicit looks(monad_async_task *p) : on(p) {}
        looks(looks &&other) noexcept : on(std::exchange(other.on, nullptr)) {}
        looks &operator=(looks &&) = delete;
        ~looks()
        {
            if (on != nullptr) {
                *on = ma::this_task::current();
            }
        }
    };
    t.attach(ex, [look = looks{&on}] {});
    ex.run_until_idle();
    EXPECT_EQ(on, t.native_handle());
}

TEST(Task, is_reusable_with_the_same_and_with_other_code)
{
    ma::executor ex;
    ma::task t;
    auto const native = t.native_handle();
    for (int i = 0; i < 100; ++i) {
        t.attach(ex, [i] { return i; });
        ex.run_until_idle();
        EXPECT_EQ(t.get(), i);
    }
    t.attach(ex, [text = std::string(100, 'a')] { return text.size(); });
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 100);
    EXPECT_EQ(t.native_handle(), native);
}

TEST(Task, takes_callables_of_any_size_and_alignment)
{
    ma::executor ex;
    ma::task t;
    auto const sum = [&](auto const &bytes) {
        t.attach(ex, [bytes] {
            std::intptr_t n = 0;
            for (auto b : bytes) {
                n += b;
            }
            return n;
        });
        ex.run_until_idle();
        return t.get();
    };
    std::array<unsigned char, 64> small{};
    small.fill(1);
    std::array<unsigned char, 65> large{};
    large.fill(1);
    std::array<unsigned char, 20000> huge{};
    huge.fill(1);
    EXPECT_EQ(sum(small), 64);
    EXPECT_EQ(sum(large), 65);
    EXPECT_EQ(sum(huge), 20000);
    EXPECT_EQ(sum(small), 64);
    EXPECT_EQ(sum(large), 65);

    struct alignas(256) wide {
        char c = 3;
        std::uintptr_t operator()() const
        {
            return reinterpret_cast<std::uintptr_t>(this) % 256 + 3;
        }
    };
    t.attach(ex, wide{});
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 3);
    struct alignas(32) narrow {
        std::uintptr_t operator()() const { return reinterpret_cast<std::uintptr_t>(this) % 32; }
    };
    t.attach(ex, narrow{});
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 0);
}

TEST(Task, moving_leaves_the_running_task_where_it_is)
{
    ma::executor ex;
    ma::task a;
    int step = 0;
    a.attach(ex, [&] {
        step = 1;
        ma::this_task::yield();
        step = 2;
        return 3;
    });
    ex.run(1);
    EXPECT_EQ(step, 1);
    auto const native = a.native_handle();
    ma::task b = std::move(a);
    EXPECT_EQ(b.native_handle(), native);
    std::vector<ma::task> many;
    many.push_back(std::move(b));
    many.emplace_back();
    many.emplace_back();
    while (!many[0].done()) {
        ex.run();
    }
    EXPECT_EQ(step, 2);
    EXPECT_EQ(many[0].get(), 3);
}

TEST(Task, moved_from_says_so)
{
    ma::executor ex;
    ma::task a;
    ma::task const b = std::move(a);
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    EXPECT_EQ(a.native_handle(), nullptr);
    EXPECT_TRUE(a.done());
    EXPECT_EQ(errno_thrown_by([&] { a.attach(ex, [] {}); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { (void)a.get(); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { (void)a.cancel(); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { a.priority(ma::priority::low); }), EINVAL);
    try {
        a.priority(ma::priority::low);
    } catch (std::system_error const &e) {
        EXPECT_NE(std::strstr(e.what(), "monad::async::task::priority"), nullptr) << e.what();
    }
    // NOLINTEND(bugprone-use-after-move)
}

TEST(Task, moving_onto_itself_keeps_it)
{
    ma::task a;
    auto const native = a.native_handle();
    auto &same = a;
    a = std::move(same);
    EXPECT_EQ(a.native_handle(), native);
}

TEST(Task, refuses_a_second_launch_and_changes_nothing)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { return 1; });
    EXPECT_FALSE(t.done());
    auto owned = std::make_unique<int>(1);
    EXPECT_EQ(errno_thrown_by([&] { t.attach(ex, [owned = std::move(owned)] { return 2; }); }),
              EBUSY);
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), EBUSY);
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 1);
    EXPECT_EQ(t.get(), 1) << "may be asked again";
}

TEST(Task, refuses_an_executor_that_is_not_there)
{
    ma::task t;
    EXPECT_EQ(errno_thrown_by([&] { t.attach(monad_async_executor{nullptr}, [] {}); }), EINVAL);
    EXPECT_TRUE(t.done());
    ma::executor ex;
    t.attach(ex, []() -> int { throw std::runtime_error("kept"); });
    ex.run_until_idle();
    EXPECT_EQ(errno_thrown_by([&] { t.attach(monad_async_executor{nullptr}, [] {}); }), EINVAL);
    EXPECT_THROW((void)t.get(), std::runtime_error) << "nothing has changed";
    t.attach(ex, [] { return 4; });
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 4);
}

TEST(Task, a_callable_that_throws_while_it_is_moved_leaves_the_task_idle)
{
    struct refuses {
        refuses() = default;
        refuses(refuses const &) { throw std::runtime_error("no"); }
        refuses &operator=(refuses const &) = delete;
        void operator()() const {}
    };
    ma::executor ex;
    ma::task t;
    refuses const body;
    EXPECT_THROW(t.attach(ex, body), std::runtime_error);
    EXPECT_TRUE(t.done());
    EXPECT_FALSE(ex.has_work());
    t.attach(ex, [] { return 1; });
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 1);
}

TEST(Task, never_attached)
{
    ma::task t;
    EXPECT_TRUE(t.done());
    EXPECT_FALSE(t.cancel());
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([] { ma::task absurd{ma::task_options{SIZE_MAX}}; }), EINVAL);
}

TEST(Task, priorities_are_set_and_obeyed)
{
    ma::executor ex;
    ma::task low, normal, high;
    EXPECT_EQ(low.cpu_priority(), ma::priority::normal);
    EXPECT_EQ(low.io_priority(), ma::priority::normal);
    low.priority(ma::priority::low, ma::priority::high);
    EXPECT_EQ(low.cpu_priority(), ma::priority::low);
    EXPECT_EQ(low.io_priority(), ma::priority::high);
    low.priority(ma::priority::low);
    EXPECT_EQ(low.io_priority(), ma::priority::high) << "setting one leaves the other";
    high.priority(ma::priority::high);

    std::string order;
    low.attach(ex, [&] { order += 'l'; });
    normal.attach(ex, [&] { order += 'n'; });
    high.attach(ex, [&] { order += 'h'; });
    ex.run_until_idle();
    EXPECT_EQ(order, "hnl");
    EXPECT_EQ(errno_thrown_by([&] { low.priority(static_cast<ma::priority>(3)); }), EINVAL);
}

TEST(Task, join_gives_the_others_result)
{
    ma::executor ex;
    ma::task worker, waiter;
    worker.attach(ex, [] {
        ma::this_task::sleep_for(1ms);
        return 11;
    });
    waiter.attach(ex, [&] { return worker.join() + 1; });
    ex.run_until_idle();
    EXPECT_EQ(waiter.get(), 12);
    EXPECT_EQ(errno_thrown_by([&] { (void)worker.join(); }), EPERM) << "not inside a task";
}

TEST(Task, join_throws_what_the_other_threw)
{
    ma::executor ex;
    ma::task worker, waiter;
    worker.attach(ex, [] { throw std::runtime_error("broken"); });
    waiter.attach(ex, [&] {
        try {
            (void)worker.join();
        } catch (std::runtime_error const &e) {
            return std::string(e.what()) == "broken";
        }
        return false;
    });
    ex.run_until_idle();
    EXPECT_EQ(waiter.get(), 1);
    EXPECT_THROW((void)worker.get(), std::runtime_error) << "may be asked again";
}

TEST(Task, join_on_itself_is_a_deadlock_and_a_cancelled_joiner_leaves)
{
    ma::executor ex;
    ma::task self;
    self.attach(ex, [&] { return errno_thrown_by([&] { (void)self.join(); }); });
    ex.run_until_idle();
    EXPECT_EQ(self.get(), EDEADLK);

    ma::task worker, waiter;
    worker.attach(ex, [] { ma::this_task::sleep_for(1h); });
    waiter.attach(ex, [&] { return errno_thrown_by([&] { (void)worker.join(); }); });
    ex.run(2);
    EXPECT_TRUE(waiter.cancel());
    while (!waiter.done()) {
        ex.run();
    }
    EXPECT_EQ(waiter.get(), ECANCELED);
    EXPECT_FALSE(worker.done());
}

TEST(Task, a_cancelled_launch_never_calls_the_body_and_frees_it_later)
{
    ma::executor ex;
    ma::task t;
    auto const watched = std::make_shared<int>();
    bool called = false;
    t.attach(ex, [watched, &called] { called = true; });
    EXPECT_TRUE(t.cancel());
    EXPECT_TRUE(t.done());
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), ECANCELED);
    EXPECT_EQ(watched.use_count(), 2);
    t.attach(ex, [] { return 1; });
    EXPECT_EQ(watched.use_count(), 1) << "the next launch destroys it";
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 1);
    EXPECT_FALSE(called);
    t.attach(ex, [watched] {});
    t.cancel();
    t = ma::task{};
    EXPECT_EQ(watched.use_count(), 1) << "and so does its end";
}

TEST(Task, a_cancelled_sleep_throws_and_the_stack_is_cleaned_up)
{
    ma::executor ex;
    ma::task t;
    int ends = 0;
    t.attach(ex, [&] {
        counts_end const c(ends);
        ma::this_task::sleep_for(1h);
    });
    ex.run(1);
    EXPECT_TRUE(t.cancel());
    ex.run_until_idle();
    EXPECT_EQ(ends, 1);
    EXPECT_FALSE(t.cancel());
    try {
        (void)t.get();
        FAIL();
    } catch (std::system_error const &e) {
        EXPECT_EQ(e.code(), ma::cancelled);
        EXPECT_EQ(e.code(), std::errc::operation_canceled);
    }
}

} // namespace

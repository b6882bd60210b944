// Scopes, shields, time-outs, and what unwinding keeps away.
#include "support.hpp"

#include <monad/async/scope.hpp>

#include <optional>

#include <stdexcept>
#include <string>

namespace {

template <class T>
constexpr bool moves = std::is_move_constructible_v<T> || std::is_move_assignable_v<T>;
static_assert(!moves<ma::scope> && !moves<ma::shield>);

TEST(Scope, outside_a_task)
{
    EXPECT_EQ(errno_thrown_by([] { ma::scope const s{1s}; }), EPERM);
    EXPECT_EQ(errno_thrown_by([] { ma::scope const s; }), EPERM);
    EXPECT_EQ(errno_thrown_by([] { ma::shield const s; }), EPERM);
    EXPECT_EQ(errno_thrown_by([] { ma::with_timeout(1s, [] { FAIL(); }); }), EPERM);
}

TEST(Scope, its_deadline_ends_what_is_inside_and_nothing_after_it)
{
    ma::executor ex;
    run_task(ex, [] {
        {
            ma::scope const s{2ms};
            EXPECT_FALSE(s.fired());
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::timeout_error);
            EXPECT_TRUE(s.fired());
            EXPECT_THROW(ma::this_task::yield(), ma::timeout_error) << "until it is left";
        }
        ma::this_task::yield();
        ma::this_task::sleep_for(5ms);
    });
}

TEST(Scope, by_a_time_of_any_clock)
{
    ma::executor ex;
    run_task(ex, [] {
        for (int i = 0; i < 2; ++i) {
            auto const steady = std::chrono::steady_clock::now() + 2ms;
            ma::scope const s{steady};
            ma::scope const later{std::chrono::system_clock::now() + 1h};
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::timeout_error);
            EXPECT_GE(std::chrono::steady_clock::now(), steady);
            EXPECT_FALSE(later.fired());
        }
        ma::scope const over{std::chrono::steady_clock::time_point::min()};
        EXPECT_THROW(ma::this_task::yield(), ma::timeout_error);
    });
}

TEST(Scope, a_deadline_that_is_met_leaves_no_trace)
{
    ma::executor ex;
    run_task(ex, [] {
        ma::scope const s{1h};
        ma::this_task::sleep_for(1ms);
        EXPECT_FALSE(s.fired());
    });
    EXPECT_FALSE(ex.has_work());
}

TEST(Scope, is_cancelled_by_another_task)
{
    ma::executor ex;
    ma::task sleeps, cancels;
    ma::scope *scope = nullptr;
    sleeps.attach(ex, [&] {
        {
            ma::scope s;
            scope = &s;
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
            EXPECT_TRUE(s.fired());
        }
        EXPECT_FALSE(ma::this_task::cancel_requested());
        ma::this_task::yield();
        return 1;
    });
    cancels.attach(ex, [&] { scope->cancel(); });
    ex.run_until_idle();
    EXPECT_EQ(sleeps.get(), 1);
}

TEST(Scope, a_shield_keeps_a_cancel_away_until_it_ends)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [&] {
        t.cancel();
        EXPECT_THROW(ma::this_task::yield(), ma::cancelled_error);
        {
            ma::shield const s;
            EXPECT_TRUE(ma::this_task::cancel_requested());
            ma::this_task::yield();
            ma::this_task::sleep_for(1ms);
        }
        EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
        {
            ma::shield const s{1ms};
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::timeout_error) << "its own holds";
            EXPECT_TRUE(s.fired());
        }
        EXPECT_TRUE(ma::this_task::uncancel());
        EXPECT_FALSE(ma::this_task::uncancel());
        ma::this_task::yield();
        return 3;
    });
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 3);
}

TEST(Scope, with_timeout_gives_what_the_callable_gives)
{
    ma::executor ex;
    run_task(ex, [] {
        EXPECT_EQ(ma::with_timeout(1h, [] { return 5; }), 5);
        EXPECT_EQ(*ma::with_timeout(1h, [] { return std::make_unique<int>(6); }), 6);
        int n = 0;
        auto const in_an_hour = std::chrono::steady_clock::now() + 1h;
        int &r = ma::with_timeout(in_an_hour, [&]() -> int & { return n; });
        EXPECT_EQ(&r, &n);
        ma::with_timeout(1h, [&] { n = 7; });
        EXPECT_EQ(n, 7);
        auto const throws = [] { throw std::runtime_error("its own"); };
        EXPECT_THROW(ma::with_timeout(1h, throws), std::runtime_error);
        auto const sleeps = [] { ma::this_task::sleep_for(1h); };
        EXPECT_THROW(ma::with_timeout(1ms, sleeps), ma::timeout_error);
        // Swallowed inside: the callable has an answer, so it counts.
        EXPECT_EQ(ma::with_timeout(1ms,
                                   [] {
                                       std::error_code ec;
                                       ma::this_task::sleep_for(1h, ec);
                                       return ec.value();
                                   }),
                  ETIME);
        // By the C API.
        EXPECT_THROW(ma::with_timeout(1ms,
                                      [] {
                                          auto const r = monad_async_task_suspend_for_duration(
                                              ma::this_task::current(), UINT64_MAX);
                                          throw std::system_error(r.error, std::system_category());
                                      }),
                     ma::timeout_error);
        std::error_code ec = std::make_error_code(std::errc::io_error);
        ma::with_timeout(1h, [] {}, ec);
        EXPECT_FALSE(ec);
        ma::with_timeout(1ms, [] { ma::this_task::sleep_for(1h); }, ec);
        EXPECT_EQ(ec.value(), ETIME);
        ma::this_task::yield();
    });
}

TEST(Scope, with_timeout_and_a_code_gives_the_result_too)
{
    struct stays {
        stays() = default;
        stays(stays const &) = delete;
    };
    ma::executor ex;
    run_task(ex, [] {
        std::error_code ec = std::make_error_code(std::errc::io_error);
        EXPECT_EQ(ma::with_timeout(1h, [] { return 5; }, ec), std::optional(5));
        EXPECT_FALSE(ec);
        EXPECT_EQ(**ma::with_timeout(1h, [] { return std::make_unique<int>(6); }, ec), 6);
        auto const late = [] {
            ma::this_task::sleep_for(1h);
            return 5;
        };
        EXPECT_EQ(ma::with_timeout(1ms, late, ec), std::nullopt);
        EXPECT_EQ(ec.value(), ETIME);
        EXPECT_TRUE(ma::with_timeout(1h, [] {}, ec).has_value());
        EXPECT_FALSE(ec);
        EXPECT_FALSE(ma::with_timeout(0s, [&] { (void)late(); }, ec).has_value());
        int n = 1;
        ma::with_timeout(1h, [&]() -> int & { return n; }, ec)->get() = 2;
        EXPECT_EQ(n, 2);
        auto const fixed = [] { return stays(); };
        static_assert(std::is_void_v<decltype(ma::with_timeout(1h, fixed, ec))>);
        ma::with_timeout(1h, fixed, ec); // Who drops a result is not told so.
        ma::with_timeout(1h, [] { return 7; }, ec);
        EXPECT_FALSE(ec);
    });
}

TEST(Scope, a_cancel_from_outside_is_never_taken_for_a_time_out)
{
    ma::executor ex;
    ma::task t;
    std::string what;
    t.attach(ex, [&] {
        try {
            ma::with_timeout(1h, [] { ma::this_task::sleep_for(1h); });
        } catch (ma::timeout_error const &) {
            what += "time-out ";
        } catch (ma::cancelled_error const &) {
            what += "cancelled ";
        }
        // Both: the outer decides.
        std::error_code ec;
        try {
            ma::with_timeout(0s, [] { ma::this_task::sleep_for(1h); }, ec);
        } catch (ma::cancelled_error const &) {
            what += "cancelled";
        }
    });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    EXPECT_EQ(what, "cancelled cancelled");
}

TEST(Scope, the_outer_of_two_time_outs_passes_the_inner)
{
    ma::executor ex;
    run_task(ex, [] {
        bool inner = false, outer = false;
        try {
            ma::with_timeout(1ms, [&] {
                try {
                    ma::with_timeout(1h, [] { ma::this_task::sleep_for(2h); });
                } catch (ma::timeout_error const &) {
                    inner = true;
                    ma::this_task::yield(); // Throws again: it is the outer's.
                }
            });
        } catch (ma::timeout_error const &) {
            outer = true;
        }
        EXPECT_TRUE(inner);
        EXPECT_TRUE(outer);
        ma::this_task::yield();
    });
}

// A destructor that suspends, and says how that went.
struct says_goodbye {
    std::string &log;
    ~says_goodbye()
    {
        std::error_code ec;
        ma::this_task::yield(ec);
        log += ec ? "interrupted " : "yielded ";
        ma::this_task::sleep_for(1ms, ec);
        log += ec ? "interrupted" : "slept";
    }
};

TEST(Scope, no_cancel_is_delivered_while_an_exception_unwinds)
{
    // What is lost: the destructors that run for a cancel meet it again at their first suspension,
    // and without error codes they end the process.
    ma::executor ex;
    for (bool const by_deadline : {false, true}) {
        std::string log;
        ma::task t;
        t.attach(ex, [&] {
            ma::scope const s{by_deadline ? 1ms : std::chrono::milliseconds{1h}};
            says_goodbye const g{log};
            ma::this_task::sleep_for(1h);
        });
        ex.run(1);
        if (!by_deadline) {
            t.cancel();
        }
        ex.run_until_idle();
        EXPECT_EQ(log, "yielded slept");
        EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), by_deadline ? ETIME : ECANCELED);
    }
}

TEST(Scope, no_cancel_hits_a_call_that_is_under_way_while_an_exception_unwinds)
{
    ma::executor ex;
    ma::task t;
    std::string log;
    t.attach(ex, [&] {
        struct waits {
            std::string &log;
            ~waits()
            {
                std::error_code ec;
                ma::this_task::sleep_for(5ms, ec);
                log += ec ? "interrupted" : "slept";
            }
        } const w{log};
        throw std::runtime_error("out");
    });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    EXPECT_EQ(log, "slept");
    EXPECT_THROW((void)t.get(), std::runtime_error);
}

TEST(Scope, a_deadline_that_a_destructor_sets_holds_during_unwinding)
{
    ma::executor ex;
    ma::task t;
    std::string log;
    t.attach(ex, [&] {
        struct hurries {
            std::string &log;
            ~hurries()
            {
                try {
                    ma::with_timeout(1ms, [] { ma::this_task::sleep_for(1h); });
                } catch (ma::timeout_error const &) {
                    log += "in time ";
                }
                std::error_code ec;
                ma::this_task::yield(ec);
                log += ec ? "interrupted" : "yielded";
            }
        } const h{log};
        ma::this_task::sleep_for(1h);
    });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    EXPECT_EQ(log, "in time yielded");
}

TEST(Scope, nested_at_random)
{
    // Which scopes fire, and what a call inside them then throws, by a walk over a list of them.
    ma::executor ex;
    std::uint64_t state = 88172645463325252u;
    auto const draw = [&](std::uint64_t n) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state % n;
    };
    struct level {
        bool shields;
        int fired;
    };
    struct nest {
        std::vector<level> levels;
        int expected() const
        {
            int error = 0;
            for (auto l = levels.rbegin(); l != levels.rend(); ++l) {
                error = l->fired != 0 ? l->fired : error;
                if (l->shields) {
                    break;
                }
            }
            return error;
        }
    };
    run_task(ex, [&] {
        nest n;
        auto const ask = [&] {
            std::error_code ec;
            ma::this_task::yield(ec);
            EXPECT_EQ(ec.value(), n.expected());
            int const thrown = errno_thrown_by([] { ma::this_task::yield(); });
            EXPECT_EQ(thrown, n.expected());
        };
        auto const go = [&](auto const &self, int depth) -> void {
            for (auto steps = draw(4); steps > 0; --steps) {
                ask();
                auto const how = draw(5);
                if (depth == 0) {
                    continue;
                }
                if (how == 0) {
                    ma::shield const s;
                    n.levels.push_back({true, 0});
                    self(self, depth - 1);
                    EXPECT_FALSE(s.fired());
                    n.levels.pop_back();
                } else if (how == 1) {
                    // Over at once: fires at the next call, where it counts already.
                    ma::scope const s{0s};
                    std::error_code ec;
                    ma::this_task::yield(ec);
                    n.levels.push_back({false, s.fired() ? ETIME : 0});
                    if (ec.value() == 0) {
                        ADD_FAILURE() << "a deadline of 0 has to fire";
                    }
                    if (s.fired()) {
                        self(self, depth - 1);
                    }
                    n.levels.pop_back();
                } else {
                    ma::scope s;
                    n.levels.push_back({false, 0});
                    self(self, depth - 1);
                    if (how >= 3) {
                        s.cancel();
                        n.levels.back().fired = ECANCELED;
                        EXPECT_TRUE(s.fired());
                        self(self, depth - 1);
                    }
                    n.levels.pop_back();
                }
            }
        };
        for (int i = 0; i < 300; ++i) {
            go(go, 5);
            EXPECT_TRUE(n.levels.empty());
        }
        ask();
    });
}

} // namespace

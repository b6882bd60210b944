// What destruction does to tasks that are still attached: each ends, its stack cleaned up.
#include "support.hpp"

#include <string>

namespace {

TEST(Destroy, a_sleeping_task_is_cancelled_and_its_stack_cleaned_up)
{
    ma::executor ex;
    int ends = 0;
    {
        ma::task t;
        t.attach(ex, [&] {
            counts_end const c(ends);
            ma::this_task::sleep_for(1h);
        });
        ex.run(1);
        EXPECT_EQ(ends, 0);
    }
    EXPECT_EQ(ends, 1);
    EXPECT_FALSE(ex.has_work());
}

TEST(Destroy, a_pending_launch_never_begins)
{
    ma::executor ex;
    bool called = false;
    {
        ma::task t;
        t.attach(ex, [&] { called = true; });
    }
    EXPECT_FALSE(called);
    EXPECT_FALSE(ex.has_work());
}

TEST(Destroy, a_body_that_swallows_the_cancel_finds_it_at_every_call)
{
    ma::executor ex;
    int swallowed = 0;
    int ends = 0;
    {
        ma::task t;
        t.attach(ex, [&] {
            counts_end const c(ends);
            while (swallowed < 5) {
                try {
                    ma::this_task::sleep_for(1h);
                } catch (ma::cancelled_error const &) {
                    ++swallowed;
                }
            }
        });
        ex.run(1);
    }
    EXPECT_EQ(swallowed, 5);
    EXPECT_EQ(ends, 1);
}

TEST(Destroy, a_body_that_yields_in_a_loop_ends_at_its_next_yield)
{
    ma::executor ex;
    int rounds = 0;
    {
        ma::task t;
        t.attach(ex, [&] {
            for (;;) {
                ma::this_task::yield();
                ++rounds;
            }
        });
        ex.run(1);
    }
    EXPECT_LE(rounds, 2) << "the first or second yield after the cancel throws";
}

TEST(Destroy, others_run_in_that_time)
{
    ma::executor ex;
    ma::task other;
    bool ran = false;
    other.attach(ex, [&] { ran = true; });
    {
        ma::task t;
        t.attach(ex, [] { ma::this_task::sleep_for(1h); });
        ex.run(1);
    }
    EXPECT_TRUE(ran || ex.has_work());
    ex.run_until_idle();
    EXPECT_TRUE(ran);
}

TEST(Destroy, by_assignment)
{
    ma::executor ex;
    int ends = 0;
    ma::task t;
    t.attach(ex, [&] {
        counts_end const c(ends);
        ma::this_task::sleep_for(1h);
    });
    ex.run(1);
    t = ma::task{};
    EXPECT_EQ(ends, 1);
    t.attach(ex, [] { return 1; });
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 1);
}

TEST(Destroy, an_executor_ends_all_its_tasks_first)
{
    int ends = 0;
    bool called = false;
    std::vector<ma::task> tasks(20);
    ma::executor other;
    {
        ma::executor ex;
        for (std::size_t i = 0; i < 10; ++i) {
            tasks[i].attach(ex, [&] {
                counts_end const c(ends);
                ma::this_task::sleep_for(1h);
            });
        }
        ex.run();
        for (std::size_t i = 10; i < 15; ++i) {
            tasks[i].attach(ex, [&] { called = true; });
        }
        tasks[15].attach(other, [] { return 15; });
    }
    EXPECT_EQ(ends, 10);
    EXPECT_FALSE(called) << "a launch that has not begun never does";
    for (std::size_t i = 0; i < 15; ++i) {
        ASSERT_TRUE(tasks[i].done()) << i;
        EXPECT_EQ(errno_thrown_by([&] { (void)tasks[i].get(); }), ECANCELED) << i;
    }
    EXPECT_FALSE(tasks[15].done()) << "another executor's is left alone";
    other.run_until_idle();
    EXPECT_EQ(tasks[15].get(), 15);
}

TEST(Destroy, an_executor_ends_tasks_that_swallow_cancels_and_launch_others)
{
    int ends = 0;
    ma::task stubborn, late;
    {
        ma::executor ex;
        auto const native = ex.native_handle();
        stubborn.attach(ex, [&ends, &late, native] {
            counts_end const c(ends);
            for (int i = 0; i < 3; ++i) {
                try {
                    ma::this_task::sleep_for(1h);
                } catch (std::system_error const &) {
                }
            }
            late.attach(native, [&ends] {
                counts_end const d(ends);
                ma::this_task::sleep_for(1h);
            });
            ma::this_task::yield();
        });
        ex.run(1);
    }
    EXPECT_TRUE(stubborn.done());
    EXPECT_TRUE(late.done());
    EXPECT_GE(ends, 1);
}

TEST(Destroy, an_executor_ends_tasks_of_the_c_api)
{
    monad_async_task native = nullptr;
    monad_async_task_attr attr = {};
    ASSERT_EQ(monad_async_task_create(&native, &attr).error, 0);
    {
        ma::executor ex;
        native->user_code = [](monad_async_task self) {
            return monad_async_task_suspend_for_duration(self, UINT64_MAX);
        };
        ASSERT_EQ(monad_async_task_attach(ex.native_handle(), native).error, 0);
        ex.run(1);
    }
    EXPECT_TRUE(monad_async_task_has_exited(native));
    EXPECT_EQ(native->result.error, ECANCELED);
    EXPECT_EQ(monad_async_task_destroy(native).error, 0);
}

TEST(Destroy, executor_first_then_task_and_the_other_way_round)
{
    int ends = 0;
    auto const body = [&ends] {
        counts_end const c(ends);
        ma::this_task::sleep_for(1h);
    };
    {
        ma::task t;
        ma::executor ex;
        t.attach(ex, body);
        ex.run(1);
    }
    {
        ma::executor ex;
        ma::task t;
        t.attach(ex, body);
        ex.run(1);
    }
    EXPECT_EQ(ends, 2);
}

TEST(Destroy, a_task_inside_another_task_suspends_that_one)
{
    ma::executor ex;
    int ends = 0;
    std::string order;
    ma::task outer, third;
    third.attach(ex, [&] {
        for (int i = 0; i < 3; ++i) {
            ma::this_task::yield();
        }
        order += '3';
    });
    outer.attach(ex, [&] {
        {
            ma::task inner;
            inner.attach(ma::this_task::current()->current_executor, [&] {
                counts_end const c(ends);
                for (int i = 0; i < 2; ++i) {
                    try {
                        ma::this_task::sleep_for(1h);
                    } catch (std::system_error const &) {
                    }
                }
            });
            ma::this_task::yield();
        }
        EXPECT_EQ(ends, 1);
        order += 'o';
        return 6;
    });
    ex.run_until_idle();
    EXPECT_EQ(outer.get(), 6);
    EXPECT_EQ(order.size(), 2u);
}

TEST(Destroy, inside_a_task_a_cancel_of_the_caller_is_not_lost)
{
    // What is lost: the destructor suspends the calling task, and its suspension takes the cancel
    // that the task's own next suspension should have reported.
    ma::executor ex;
    ma::task outer;
    int after = -1;
    outer.attach(ex, [&] {
        {
            ma::task inner;
            inner.attach(ma::this_task::current()->current_executor, [&] {
                try {
                    ma::this_task::sleep_for(1h);
                } catch (std::system_error const &) {
                    outer.cancel();
                    ma::this_task::sleep_for(1ms);
                }
            });
            ma::this_task::yield();
        }
        after = errno_thrown_by([] { ma::this_task::sleep_for(1ms); });
    });
    ex.run_until_idle();
    EXPECT_EQ(after, ECANCELED);
}

TEST(Destroy, during_unwinding)
{
    ma::executor ex;
    int ends = 0;
    ma::task outer;
    outer.attach(ex, [&] {
        ma::task inner;
        inner.attach(ma::this_task::current()->current_executor, [&] {
            counts_end const c(ends);
            try {
                ma::this_task::sleep_for(1h);
            } catch (std::system_error const &) {
                EXPECT_EQ(std::uncaught_exceptions(), 0) << "the outer one's is not ours";
                throw;
            }
        });
        ma::this_task::yield();
        throw std::runtime_error("out");
    });
    ex.run_until_idle();
    EXPECT_EQ(ends, 1);
    EXPECT_THROW((void)outer.get(), std::runtime_error);
}

TEST(Destroy, inside_a_task_one_of_another_executor_on_the_same_thread)
{
    ma::executor a, b;
    ma::task outer;
    int ends = 0;
    outer.attach(a, [&] {
        ma::task inner;
        inner.attach(b, [&] {
            counts_end const c(ends);
            ma::this_task::sleep_for(1h);
        });
        ma::this_task::yield();
    });
    while (!outer.done()) {
        a.run(ma::executor::unlimited, 0s);
        b.run(ma::executor::unlimited, 0s);
    }
    EXPECT_EQ(ends, 1);
}

} // namespace

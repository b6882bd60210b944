// Both APIs on the same objects.
#include "support.hpp"

#include <stdexcept>

namespace {

TEST(Mixing, a_c_run_on_a_cpp_task)
{
    ma::executor ex;
    ma::task t;
    auto *const native = t.native_handle();
    native->user_code = [](monad_async_task self) {
        auto const r = monad_async_task_suspend_for_duration(self, 0);
        return r.error != 0 ? r : monad_async_make_success(5);
    };
    ASSERT_EQ(monad_async_task_attach(ex.native_handle(), native).error, 0);
    EXPECT_FALSE(t.done());
    EXPECT_EQ(errno_thrown_by([&] { t.attach(ex, [] {}); }), EBUSY);
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), EBUSY);
    ASSERT_EQ(monad_async_executor_run(ex.native_handle(), SIZE_MAX, nullptr).error, 0);
    ex.run_until_idle();
    EXPECT_TRUE(t.done());
    EXPECT_EQ(t.get(), 5);

    t.attach(ex, [] { throw std::runtime_error("cpp"); });
    ex.run_until_idle();
    EXPECT_THROW((void)t.get(), std::runtime_error);

    native->user_code = [](monad_async_task) { return monad_async_make_failure(EXDEV); };
    ASSERT_EQ(monad_async_task_attach(ex.native_handle(), native).error, 0);
    ex.run_until_idle();
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), EXDEV) << "not the older exception";
}

TEST(Mixing, c_cannot_launch_a_callable_that_is_gone)
{
    ma::executor ex;
    ma::task t;
    for (bool const throws : {false, true}) {
        t.attach(ex, [throws] {
            if (throws) {
                throw 1;
            }
        });
        ex.run_until_idle();
        EXPECT_EQ(monad_async_task_attach(ex.native_handle(), t.native_handle()).error, 0);
        ex.run_until_idle();
        EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), EINVAL);
    }
}

TEST(Mixing, c_may_relaunch_a_callable_whose_launch_was_cancelled)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { return 1; });
    t.cancel();
    ASSERT_EQ(monad_async_task_attach(ex.native_handle(), t.native_handle()).error, 0);
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 1);
}

TEST(Mixing, a_c_task_joins_a_cpp_one)
{
    ma::executor ex;
    ma::task worker, joiner;
    worker.attach(ex, [] { throw std::system_error(EDOM, std::system_category()); });
    joiner.native_handle()->user_ptr = worker.native_handle();
    joiner.native_handle()->user_code = [](monad_async_task self) {
        return monad_async_task_join(self, static_cast<monad_async_task>(self->user_ptr));
    };
    ASSERT_EQ(monad_async_task_attach(ex.native_handle(), joiner.native_handle()).error, 0);
    ex.run_until_idle();
    EXPECT_EQ(errno_thrown_by([&] { (void)joiner.get(); }), EDOM);
}

TEST(Mixing, c_calls_inside_a_cpp_body)
{
    ma::executor ex;
    EXPECT_EQ(run_task(ex,
                       [] {
                           auto *const self = ma::this_task::current();
                           EXPECT_EQ(self, monad_async_task_current());
                           EXPECT_EQ(self, self->current_executor->current_task);
                           return ma::value_or_throw(monad_async_task_suspend_for_duration(self, 1),
                                                     "nap");
                       }),
              0);
    EXPECT_EQ(errno_thrown_by([] { ma::value_or_throw(monad_async_make_failure(ENOTTY), "x"); }),
              ENOTTY);
}

TEST(Mixing, destroying_through_c_is_refused_while_attached)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] {});
    EXPECT_EQ(monad_async_task_destroy(t.native_handle()).error, EBUSY);
    EXPECT_EQ(monad_async_executor_destroy(ex.native_handle()).error, EBUSY);
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 0);
}

} // namespace

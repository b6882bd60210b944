// Where nothing is safe the process ends, and says why. Each case dies in a child.
#include "support.hpp"

#include <monad/async/future.hpp>

#include <optional>
#include <stdexcept>
#include <thread>

#include <pthread.h>

namespace {

class Death : public testing::Test {
protected:
    void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(Death, a_task_destroyed_inside_itself)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            auto t = std::make_unique<ma::task>();
            t->attach(ex, [&] { t.reset(); });
            ex.run_until_idle();
        },
        "a task was destroyed inside itself");
}

TEST_F(Death, an_executor_destroyed_inside_its_own_task)
{
    EXPECT_DEATH(
        {
            auto ex = std::make_unique<ma::executor>();
            ma::task t;
            t.attach(*ex, [&] { ex.reset(); });
            ex->run_until_idle();
        },
        "an executor was destroyed inside one of its own tasks");
}

TEST_F(Death, an_executor_destroyed_on_another_thread)
{
    EXPECT_DEATH(
        {
            auto ex = std::make_unique<ma::executor>();
            std::thread([&] { ex.reset(); }).join();
        },
        "an executor was destroyed on a thread that does not own it");
}

TEST_F(Death, pthread_exit_inside_a_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            run_task(ex, [] { ::pthread_exit(nullptr); });
        },
        "the thread was made to exit \\(pthread_exit, pthread_cancel\\) inside a task");
}

TEST_F(Death, pthread_cancel_inside_a_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            run_task(ex, [] {
                ::pthread_cancel(::pthread_self());
                ::pthread_testcancel();
            });
        },
        "the thread was made to exit");
}

// Which one is what its author has to know.
TEST_F(Death, an_exception_out_of_a_background_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ex.spawn([] { throw std::runtime_error("out of the background"); });
            ex.run_until_idle();
        },
        "on_exception is not set(.|\n)*out of the background");
}

TEST_F(Death, an_exception_out_of_a_body_of_the_c_api)
{
    // C bodies have no get(): the core lets nothing through either.
    EXPECT_DEATH(
        {
            ma::executor ex;
            ma::task t;
            t.native_handle()->user_code = [](monad_async_task) -> monad_async_result {
                throw std::runtime_error("out of C");
            };
            (void)monad_async_task_attach(ex.native_handle(), t.native_handle());
            try {
                ex.run_until_idle();
            } catch (...) {
                std::_Exit(0);
            }
        },
        "");
}

} // namespace

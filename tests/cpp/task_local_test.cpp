// Variables of which each run of a task has its own.

#include "support.hpp"

#include <monad/async/inspect.h>
#include <monad/async/task_local.hpp>

#include <string>

namespace {

ma::task_local<std::string> word;
ma::task_local<std::unique_ptr<counts_end>> guard;

TEST(TaskLocal, each_task_has_its_own)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const body = [](char const *text) {
        return [text] {
            EXPECT_EQ(word.find(), nullptr);
            *word = text;
            ma::this_task::yield();
            EXPECT_EQ(*word, text);
            EXPECT_EQ(word->size(), 1u);
        };
    };
    ma::task a, b;
    for (int i = 0; i < 2; ++i) {
        a.attach(ex, body("a"));
        b.attach(ex, body("b"));
        ex.run_until_idle();
        a.get();
        b.get();
    }
}

TEST(TaskLocal, is_destroyed_with_the_run_and_may_suspend_then)
{
    ma::executor ex{ma::executor_options::compute_only()};
    struct yields {
        int *ends;
        explicit yields(int &n) : ends(&n) {}
        yields(yields const &) = delete;
        yields &operator=(yields const &) = delete;
        ~yields()
        {
            ma::this_task::yield();
            EXPECT_TRUE(ma::this_task::current() != nullptr);
            ++*ends;
        }
    };
    static ma::task_local<yields> local;
    int ends = 0;
    run_task(ex, [&] {
        local.emplace(ends);
        EXPECT_EQ(ends, 0);
        local.emplace(ends);
        EXPECT_EQ(ends, 1) << "replaced";
    });
    EXPECT_EQ(ends, 2);
    run_task(ex, [&] {
        guard.emplace(std::make_unique<counts_end>(ends));
        guard.reset();
        EXPECT_EQ(ends, 3);
        EXPECT_EQ(guard.find(), nullptr);
    });
    EXPECT_EQ(ends, 3);
    EXPECT_THROW(run_task(ex,
                          [&] {
                              local.emplace(ends);
                              throw std::runtime_error("out of the body");
                          }),
                 std::runtime_error);
    EXPECT_EQ(ends, 4);
}

TEST(TaskLocal, outside_a_task_there_is_none)
{
    EXPECT_EQ(word.find(), nullptr);
    EXPECT_EQ(errno_thrown_by([] { word.get(); }), EPERM);
    word.reset();
}

TEST(Names, of_options_reach_the_c_api)
{
    ma::executor_options options = ma::executor_options::compute_only();
    options.name = "the executor";
    ma::executor ex{options};
    ma::task_options named;
    named.name = "the task";
    ma::task task{named};
    char name[MONAD_ASYNC_NAME_BYTES + 1];
    EXPECT_EQ(monad_async_executor_name(ex.native_handle(), name, sizeof name), 12u);
    EXPECT_STREQ(name, "the executor");
    EXPECT_EQ(monad_async_task_name(task.native_handle(), name, sizeof name), 8u);
    EXPECT_STREQ(name, "the task");
}

} // namespace

// After fork the child has copies of the parent's objects, and must be able to drop them.
#include "support.hpp"

#include <sys/wait.h>
#include <unistd.h>

namespace {

TEST(Fork, the_child_may_destroy_the_parents_objects_and_nothing_happens)
{
    ma::executor_options options;
    options.io_uring_entries = 8;
    auto ex = std::make_unique<ma::executor>(options);
    auto suspended = std::make_unique<ma::task>();
    auto pending = std::make_unique<ma::task>();
    int ends = 0;
    suspended->attach(*ex, [&] {
        counts_end const c(ends);
        ma::this_task::sleep_for(1ms);
        return 3;
    });
    ex->run(1);
    pending->attach(*ex, [] { return 4; });

    auto const child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        pending.reset();
        suspended.reset();
        ex.reset();
        // And may use the library afresh.
        ma::executor own;
        ::_exit(ends == 0 && run_task(own, [] { return 5; }) == 5 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);

    ex->run_until_idle();
    EXPECT_EQ(suspended->get(), 3);
    EXPECT_EQ(pending->get(), 4);
    EXPECT_EQ(ends, 1);
}

} // namespace

// examples/tail.cpp, where nothing can be learned of a file that it has just opened: no file that a
// test could make is of that kind.
#include <monad/async.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <list>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {
// So many succeed; then one fails.
int stats_before = -1;
} // namespace

// By the linker's --wrap.
extern "C" {
monad_async_result real_stat(monad_async_task, monad_async_file, unsigned, struct statx *) noexcept
    __asm__("__real_monad_async_file_stat");
monad_async_result failing_stat(monad_async_task, monad_async_file, unsigned,
                                struct statx *) noexcept __asm__("__wrap_monad_async_file_stat");
}

#define private public
#define main tail_main
#include "../../examples/tail.cpp"
#undef main
#undef private

monad_async_result failing_stat(monad_async_task task, monad_async_file file, unsigned mask,
                                struct statx *status) noexcept
{
    return stats_before-- == 0 ? monad_async_make_failure(EIO)
                               : real_stat(task, file, mask, status);
}

// It is followed as the file that has the name: with nothing of it, it would be taken for replaced at
// each look, and be shown again from its start.
TEST(Tail, follows_a_file_of_which_it_learned_nothing)
{
    char directory[] = "/var/tmp/monad_async_tail_XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    std::string const name = std::string(directory) + "/file", other = name + ".new";
    auto const write = [](std::string const &to, char const *text) {
        std::FILE *const f = std::fopen(to.c_str(), "a");
        ASSERT_NE(f, nullptr);
        std::fputs(text, f);
        std::fclose(f);
    };
    write(name, "one\n");
    write(other, "two\n");
    ma::executor ex;
    ma::task t;
    t.attach(ex, [&] {
        output out;
        follower f(name, 10, out);
        ASSERT_EQ(std::rename(other.c_str(), name.c_str()), 0);
        stats_before = 1; // Behind the one of the file that it has open.
        f.look();
        EXPECT_EQ(stats_before, -1) << "the other was asked";
        int const opened = f.file_.native_handle().fd;
        EXPECT_EQ(f.at_, 4);
        write(name, "three\n");
        f.look();
        EXPECT_EQ(f.at_, 10);
        EXPECT_EQ(f.file_.native_handle().fd, opened);
    });
    ex.run_until_idle();
    t.get();
    std::remove(name.c_str());
    rmdir(directory);
}

// Files and their names in C++: both forms of the calls, and what closes them.

#include "support.hpp"

#include <monad/async/file.hpp>
#include <monad/async/open_options.hpp>
#include <monad/async/ordered.hpp>
#include <monad/async/path.hpp>
#include <monad/async/scope.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

struct scratch {
    std::filesystem::path name;
    scratch()
    {
        std::string text = "/tmp/monad_async_files_XXXXXX";
        EXPECT_NE(mkdtemp(text.data()), nullptr);
        name = text;
    }
    ~scratch() { std::filesystem::remove_all(name); }
};

bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

template <class Call> int error_of(Call call)
{
    try {
        call();
        return 0;
    } catch (std::system_error const &e) {
        return e.code().value();
    }
}

} // namespace

// What stands before the 0 was opened.
// Of UTF-8, as some libraries have it: its size is that in characters.
struct utf8_text {
    std::string bytes;
    char const *c_str() const { return bytes.c_str(); }
    int size() const
    {
        return static_cast<int>(
            std::count_if(bytes.begin(), bytes.end(), [](char c) { return (c & 0xc0) != 0x80; }));
    }
};

TEST(CxxFile, a_name_whose_size_counts_characters)
{
    utf8_text const text{"a\xc3\xa9"};
    EXPECT_EQ(ma::pathname(text).c_str(), text.c_str());
    utf8_text const longer{std::string("a\0b", 3)};
    EXPECT_EQ(ma::pathname(longer).c_str(), nullptr);
}

TEST(CxxFile, a_name_with_a_0_before_its_end_names_nothing)
{
    ma::executor ex;
    scratch const in;
    ma::task task;
    task.attach(ex, [&] {
        auto const text = (in.name / "a").string();
        ma::file const a(text, O_RDWR | O_CREAT, {0600});
        auto const longer = text + '\0' + "b";
        EXPECT_EQ(error_of([&] { ma::file const f(longer, O_RDONLY); }), EINVAL);
        EXPECT_EQ(error_of([&] { ma::file const f(std::filesystem::path(longer), O_RDONLY); }),
                  EINVAL);
        EXPECT_EQ(error_of([&] { ma::path_rename(text, longer); }), EINVAL);
        EXPECT_EQ(error_of([&] { ma::path_symlink(longer, in.name / "c"); }), EINVAL);
        EXPECT_EQ(error_of([&] { ma::path_unlink(longer); }), EINVAL);
        EXPECT_EQ(error_of([&] { ma::path_unlink(text); }), 0);
    });
    ex.run_until_idle();
    task.get();
}

TEST(CxxFile, both_forms_of_each_call)
{
    ma::executor ex;
    scratch const in;
    ma::task task;
    task.attach(ex, [&] {
        auto const name = in.name / "a";
        ma::file f(name, O_RDWR | O_CREAT, {0600});
        ASSERT_TRUE(f.is_open());
        std::error_code ec(1, std::generic_category());
        std::string const text = "hello, world";
        f.write_all(text, 0);
        EXPECT_EQ(f.write_all(text, 12, ec), text.size());
        EXPECT_FALSE(ec);
        EXPECT_EQ(f.write(std::string_view("ab")), 2u);
        EXPECT_EQ(f.write(std::string_view("cd"), ma::file::current, ec), 2u);
        std::vector<char> got(12);
        EXPECT_EQ(f.read_all(got, 0), 12u);
        EXPECT_EQ(std::string(got.begin(), got.end()), "abcdo, world");
        EXPECT_EQ(f.read_all(got, 20, ec), 4u);
        EXPECT_EQ(f.read(got, 24), 0u);
        EXPECT_EQ(f.read(got, 0, ec), 12u);
        iovec const parts[] = {{got.data(), 3}, {got.data() + 3, 4}};
        EXPECT_EQ(f.readv(parts, 2, 0), 7u);
        EXPECT_EQ(f.readv(parts, 2, 0, 0, ec), 7u);
        EXPECT_EQ(f.writev(parts, 2, 24), 7u);
        EXPECT_EQ(f.writev(parts, 2, 31, 0, ec), 7u);
        EXPECT_EQ(f.stat().stx_size, 38u);
        f.truncate(30);
        EXPECT_EQ(f.stat(ec).stx_size, 30u);
        f.truncate(20, ec);
        f.allocate(0, 100);
        f.allocate(0, 200, 0, ec);
        EXPECT_EQ(ma::path_stat(name).stx_size, 200u);
        f.advise(0, 0, POSIX_FADV_RANDOM);
        f.advise(0, 0, POSIX_FADV_RANDOM, ec);
        f.sync();
        f.sync(ec);
        f.sync_data();
        f.sync_data(ec);
        f.sync_range(0, 0, SYNC_FILE_RANGE_WRITE);
        f.sync_range(0, 0, SYNC_FILE_RANGE_WRITE, ec);
        EXPECT_FALSE(ec);
        int const fd = f.native_handle().fd;
        f.close();
        EXPECT_FALSE(is_open(fd));
        EXPECT_EQ(error_of([&] { f.sync(); }), EBADF);
        f.sync(ec);
        EXPECT_EQ(ec.value(), EBADF);
        EXPECT_EQ(error_of([&] { ma::file none(in.name / "none"); }), ENOENT);
        ma::file const none(in.name / "none", O_RDONLY, {}, ec);
        EXPECT_EQ(ec.value(), ENOENT);
        EXPECT_FALSE(none.is_open());
    });
    ex.run_until_idle();
    task.get();
}

TEST(CxxFile, ordered)
{
    ma::executor ex;
    scratch const in;
    ma::task task;
    task.attach(ex, [&] {
        ma::open_options how;
        how.flags = MONAD_ASYNC_FILE_ORDERED;
        ma::file f(in.name / "a", O_RDWR | O_CREAT, how);
        f.write_all(std::string_view("one"));
        f.write_all(std::string_view("two"));
        EXPECT_EQ(ma::last_row_error(f).error, 0);
        std::error_code ec;
        ma::order(f, ec);
        EXPECT_EQ(ec.value(), EINVAL);
        f.close();
        ma::file full("/dev/full", O_WRONLY);
        ma::order(full);
        EXPECT_EQ(error_of([&] { full.write_all(std::string_view("x"), 0); }), ENOSPC);
        auto const last = ma::last_row_error(full);
        EXPECT_EQ(last.error, ENOSPC);
        EXPECT_EQ(last.offset, 0);
        EXPECT_EQ(last.canceled, 0u);
        EXPECT_EQ(ma::path_stat(in.name / "a").stx_size, 6u);
    });
    ex.run_until_idle();
    task.get();
}

TEST(CxxFile, names)
{
    ma::executor ex;
    scratch const in;
    ma::task task;
    task.attach(ex, [&] {
        std::error_code ec;
        auto const d = in.name / "d", a = d / "a", b = in.name / "b", c = in.name / "c";
        ma::path_mkdir(d);
        ma::path_mkdir(d, 0700, ec);
        EXPECT_EQ(ec.value(), EEXIST);
        (void)ma::file(a.c_str(), O_WRONLY | O_CREAT);
        ma::path_link(a.string(), b);
        ma::path_link(a, b, ec);
        EXPECT_EQ(ec.value(), EEXIST);
        ma::path_symlink("b", c);
        ma::path_symlink("b", c, ec);
        EXPECT_EQ(ec.value(), EEXIST);
        EXPECT_EQ(ma::path_stat(c).stx_nlink, 2u);
        EXPECT_TRUE(S_ISLNK(ma::path_stat(c, AT_SYMLINK_NOFOLLOW, ec).stx_mode));
        ma::path_rename(c, b);
        ma::path_rename(c, b, 0, ec);
        EXPECT_EQ(ec.value(), ENOENT);
        EXPECT_EQ(error_of([&] { ma::path_unlink(d); }), EISDIR);
        ma::path_unlink(a);
        ma::path_unlink(a, 0, ec);
        EXPECT_EQ(ec.value(), ENOENT);
        ma::path_unlink(d, AT_REMOVEDIR);
    });
    ex.run_until_idle();
    task.get();
}

TEST(CxxFile, closes_itself)
{
    ma::executor ex;
    scratch const in;
    int fd = -1, moved = -1;
    ma::file outside;
    ma::task task;
    task.attach(ex, [&] {
        {
            ma::file const f(in.name / "a", O_WRONLY | O_CREAT);
            fd = f.native_handle().fd;
        }
        EXPECT_FALSE(is_open(fd));
        // Whatever has fired.
        {
            ma::file f(in.name / "a");
            fd = f.native_handle().fd;
            ma::scope s;
            s.cancel();
            std::error_code ec;
            char byte[1];
            EXPECT_EQ(f.read(byte, 0, ec), 0u);
            EXPECT_EQ(ec.value(), ECANCELED);
            EXPECT_THROW((void)f.read(byte, 0), ma::cancelled_error);
        }
        EXPECT_FALSE(is_open(fd));
        ma::file f(in.name / "a");
        moved = f.native_handle().fd;
        outside = std::move(f);
    });
    ex.run_until_idle();
    task.get();
    EXPECT_TRUE(is_open(moved));
    std::error_code ec;
    outside.sync(ec);
    EXPECT_EQ(ec.value(), EPERM) << "no task";
    outside = ma::file();
    EXPECT_FALSE(is_open(moved));
}

// The calls on files and their names: what they do, their operations, bad input, cancelling.

#include "tries.hpp"

#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/path.h>
#include <monad/async/poll.h>
#include <monad/async/scope.h>

#include <array>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

using namespace support;

namespace {

using File = monad_async_file;

// A directory that goes with what is in it.
struct Scratch {
    std::string name;
    int fd;
    explicit Scratch(char const *where = "/tmp/monad_async_files_XXXXXX") : name(where)
    {
        if (mkdtemp(name.data()) == nullptr) {
            abort();
        }
        fd = open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    ~Scratch()
    {
        close(fd);
        EXPECT_EQ(system(("rm -rf " + name).c_str()), 0);
    }
};

void run_one(Executor const &ex, Body body)
{
    Task const task(std::move(body));
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
}

monad_async_result open_new(monad_async_task self, Scratch const &in, char const *name, File *file,
                            uint32_t flags = 0)
{
    return monad_async_file_open(self, file, in.fd, name, O_RDWR | O_CREAT, 0640, 0, flags);
}

} // namespace

TEST(File, what_is_written_is_read)
{
    Executor ex;
    Scratch const scratch;
    size_t const before = open_descriptors();
    run_one(ex, [&](monad_async_task self) {
        File f{-1, 0};
        TRY(open_new(self, scratch, "a", &f));
        EXPECT_EQ(fcntl(f.fd, F_GETFD), FD_CLOEXEC);
        auto r = monad_async_file_write(self, f, "hello", 5, 3);
        TRY(r);
        EXPECT_EQ(r.value, 5);
        char got[32] = {};
        r = monad_async_file_read(self, f, got, sizeof got, 0);
        TRY(r);
        EXPECT_EQ(std::string(got, size_t(r.value)), std::string("\0\0\0hello", 8));
        // The current position, which moves.
        TRY(monad_async_file_write(self, f, "ab", 2, -1));
        TRY(monad_async_file_write(self, f, "c", 1, -1));
        r = monad_async_file_read(self, f, got, sizeof got, -1);
        TRY(r);
        EXPECT_EQ(std::string(got, size_t(r.value)), "hello");
        r = monad_async_file_read(self, f, got, sizeof got, -1);
        TRY(r);
        EXPECT_EQ(r.value, 0) << "the end of the file";
        r = monad_async_file_read(self, f, got, 3, 0);
        TRY(r);
        EXPECT_EQ(std::string(got, 3), "abc");
        // In parts.
        char one[2], two[4];
        iovec const parts[] = {{one, sizeof one}, {two, sizeof two}};
        r = monad_async_file_readv(self, f, parts, 2, 1, 0);
        TRY(r);
        EXPECT_EQ(r.value, 6);
        EXPECT_EQ(std::string(one, 2) + std::string(two, 4), "bchell");
        r = monad_async_file_writev(self, f, parts, 2, 0, RWF_APPEND);
        TRY(r);
        EXPECT_EQ(r.value, 6);
        struct statx status {};
        TRY(monad_async_file_stat(self, f, STATX_SIZE | STATX_MODE, &status));
        EXPECT_EQ(status.stx_size, 14u);
        EXPECT_EQ(status.stx_mode & 0777u, 0640u);
        return monad_async_file_close(self, f);
    });
    EXPECT_EQ(open_descriptors(), before);
}

TEST(File, short_transfers_are_finished)
{
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        // A pipe takes and gives less than it is asked.
        Pipe const pipe;
        std::string sent(1 << 20, 'x');
        for (size_t i = 0; i < sent.size(); ++i) {
            sent[i] = char(i * 7);
        }
        Task writer([&](monad_async_task me) {
            auto const r = monad_async_file_write_all(me, monad_async_file_adopt(pipe.writer),
                                                      sent.data(), sent.size(), -1);
            EXPECT_EQ(r.value, intptr_t(sent.size()));
            return r;
        });
        TRY(monad_async_task_attach(ex, writer));
        std::string got(sent.size(), 0);
        auto r = monad_async_file_read_all(self, monad_async_file_adopt(pipe.reader), got.data(),
                                           got.size(), -1);
        TRY(r);
        EXPECT_EQ(r.value, intptr_t(got.size()));
        EXPECT_TRUE(got == sent);
        TRY(monad_async_task_join(self, writer));
        return success();
    });
}

TEST(File, lengths_and_what_the_disk_is_told)
{
    Executor ex;
    Scratch const scratch;
    run_one(ex, [&](monad_async_task self) {
        File f{-1, 0};
        TRY(open_new(self, scratch, "a", &f));
        TRY(monad_async_file_allocate(self, f, 0, 0, 10000));
        struct statx status {};
        TRY(monad_async_file_stat(self, f, STATX_SIZE, &status));
        EXPECT_EQ(status.stx_size, 10000u);
        TRY(monad_async_file_truncate(self, f, 77));
        TRY(monad_async_file_stat(self, f, STATX_SIZE, &status));
        EXPECT_EQ(status.stx_size, 77u);
        TRY(monad_async_file_sync(self, f));
        TRY(monad_async_file_sync_data(self, f));
        TRY(monad_async_file_sync_range(self, f, 0, 77, SYNC_FILE_RANGE_WRITE));
        TRY(monad_async_file_sync_range(self, f, 0, int64_t(5) << 32, SYNC_FILE_RANGE_WRITE));
        TRY(monad_async_file_advise(self, f, 0, 0, POSIX_FADV_WILLNEED));
        TRY(monad_async_file_advise(self, f, 0, int64_t(5) << 32, POSIX_FADV_DONTNEED));
        EXPECT_EQ(monad_async_file_advise(self, f, 0, 10, 12345).error, EINVAL);
        EXPECT_EQ(monad_async_file_advise(self, f, 0, int64_t(5) << 32, 12345).error, EINVAL);
        EXPECT_EQ(monad_async_file_truncate(self, f, -5).error, EINVAL);
        // What came short is told.
        char got[100];
        auto const r = monad_async_file_read_all(self, f, got, sizeof got, 0);
        TRY(r);
        EXPECT_EQ(r.value, 77);
        return monad_async_file_close(self, f);
    });
}

TEST(File, names)
{
    Executor ex;
    Scratch const scratch;
    run_one(ex, [&](monad_async_task self) {
        TRY(monad_async_path_mkdir(self, scratch.fd, "d", 0750));
        EXPECT_EQ(monad_async_path_mkdir(self, scratch.fd, "d", 0750).error, EEXIST);
        File f{-1, 0};
        TRY(open_new(self, scratch, "d/a", &f));
        TRY(monad_async_file_close(self, f));
        TRY(monad_async_path_link(self, scratch.fd, "d/a", scratch.fd, "b", 0));
        TRY(monad_async_path_symlink(self, "d/a", scratch.fd, "c"));
        struct statx status {};
        TRY(monad_async_path_stat(self, scratch.fd, "c", 0, STATX_BASIC_STATS, &status));
        EXPECT_TRUE(S_ISREG(status.stx_mode));
        EXPECT_EQ(status.stx_nlink, 2u);
        TRY(monad_async_path_stat(self, scratch.fd, "c", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status));
        EXPECT_TRUE(S_ISLNK(status.stx_mode));
        EXPECT_EQ(
            monad_async_path_rename(self, scratch.fd, "b", scratch.fd, "c", RENAME_NOREPLACE).error,
            EEXIST);
        TRY(monad_async_path_rename(self, scratch.fd, "b", scratch.fd, "e", RENAME_NOREPLACE));
        EXPECT_EQ(monad_async_path_unlink(self, scratch.fd, "d", 0).error, EISDIR);
        EXPECT_EQ(monad_async_path_unlink(self, scratch.fd, "d", AT_REMOVEDIR).error, ENOTEMPTY);
        for (char const *name : {"d/a", "c", "e"}) {
            TRY(monad_async_path_unlink(self, scratch.fd, name, 0));
        }
        TRY(monad_async_path_unlink(self, scratch.fd, "d", AT_REMOVEDIR));
        EXPECT_EQ(monad_async_path_stat(self, scratch.fd, "d", 0, STATX_TYPE, &status).error,
                  ENOENT);
        return success();
    });
}

TEST(File, the_same_by_operations)
{
    Executor ex;
    Scratch const scratch;
    size_t const before = open_descriptors();
    run_one(ex, [&](monad_async_task self) {
        monad_async_op op{};
        auto const perform = [&] {
            auto const begun = monad_async_op_begin(self, &op);
            return begun.error != 0 ? begun : monad_async_op_wait(self, &op);
        };
        monad_async_op_mkdir(&op, scratch.fd, "d", 0750);
        auto const made = perform();
        if (made.error == EOPNOTSUPP) {
            skip("directories made by an operation: not in this kernel"); // before 5.15
        }
        TRY(made);
        monad_async_op_open(&op, scratch.fd, "d/a", O_RDWR | O_CREAT, 0600, 0);
        TRY(perform());
        File const f = monad_async_file_adopt(int(op.result.value));
        EXPECT_EQ(fcntl(f.fd, F_GETFD), FD_CLOEXEC);
        monad_async_op_write(&op, f, "hello", 5, 0);
        TRY(perform());
        char got[8];
        iovec const part{got, sizeof got};
        monad_async_op_readv(&op, f, &part, 1, 1, 0);
        TRY(perform());
        EXPECT_EQ(op.result.value, 4);
        monad_async_op_writev(&op, f, &part, 1, 0, RWF_APPEND);
        TRY(perform());
        monad_async_op_read(&op, f, got, 8, 5);
        TRY(perform());
        EXPECT_EQ(std::string(got, 4), "ello");
        monad_async_op_sync(&op, f);
        TRY(perform());
        monad_async_op_sync_data(&op, f);
        TRY(perform());
        monad_async_op_sync_range(&op, f, 0, 0, SYNC_FILE_RANGE_WRITE);
        TRY(perform());
        monad_async_op_allocate(&op, f, FALLOC_FL_KEEP_SIZE, 0, 9999);
        TRY(perform());
        monad_async_op_advise(&op, f, 0, 0, POSIX_FADV_RANDOM);
        TRY(perform());
        monad_async_op_truncate(&op, f, 2);
        auto const truncated = perform();
        EXPECT_TRUE(truncated.error == 0 || truncated.error == EOPNOTSUPP) << "before 6.9";
        monad_async_op_link(&op, scratch.fd, "d/a", scratch.fd, "b", 0);
        TRY(perform());
        monad_async_op_symlink(&op, "b", scratch.fd, "c");
        TRY(perform());
        struct statx status {};
        monad_async_op_stat(&op, scratch.fd, "c", 0, STATX_BASIC_STATS, &status);
        TRY(perform());
        EXPECT_EQ(status.stx_nlink, 2u);
        EXPECT_EQ(status.stx_size, truncated.error == 0 ? 2u : 13u);
        monad_async_op_rename(&op, scratch.fd, "c", scratch.fd, "e", 0);
        TRY(perform());
        for (char const *name : {"d/a", "b", "e"}) {
            monad_async_op_unlink(&op, scratch.fd, name, 0);
            TRY(perform());
        }
        monad_async_op_unlink(&op, scratch.fd, "d", AT_REMOVEDIR);
        TRY(perform());
        return monad_async_file_close(self, f);
    });
    EXPECT_EQ(open_descriptors(), before);
}

TEST(File, poll)
{
    Executor ex;
    Pipe const pipe;
    Task waiter([&](monad_async_task self) {
        auto const r = monad_async_poll(self, pipe.reader, POLLIN);
        TRY(r);
        EXPECT_EQ(r.value, POLLIN);
        monad_async_op op{};
        monad_async_op_poll(&op, pipe.writer, POLLOUT);
        TRY(monad_async_op_begin(self, &op));
        TRY(monad_async_op_wait(self, &op));
        EXPECT_EQ(op.result.value, POLLOUT);
        EXPECT_EQ(monad_async_poll(self, -1, POLLIN).error, EBADF);
        EXPECT_EQ(monad_async_poll(self, pipe.reader, 1u << 30).error, EINVAL);
        return success();
    });
    waiter.attach(ex);
    run_until_suspended(ex, waiter);
    EXPECT_EQ(write(pipe.writer, "x", 1), 1);
    ex.finish();
    EXPECT_EQ(waiter->result.error, 0);
}

TEST(File, direct_descriptors)
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 8;
    attr.direct_descriptors = 2;
    monad_async_executor const ex = create_or_skip(attr);
    Scratch const scratch;
    size_t const before = open_descriptors();
    Task const task([&](monad_async_task self) {
        std::array<File, 2> files{};
        for (auto &f : files) {
            TRY(open_new(self, scratch, "a", &f, MONAD_ASYNC_FILE_DIRECT));
            EXPECT_NE(f.flags & MONAD_ASYNC_FILE_DIRECT, 0u);
        }
        File f{-7, 0};
        EXPECT_EQ(open_new(self, scratch, "a", &f, MONAD_ASYNC_FILE_DIRECT).error, ENFILE);
        EXPECT_EQ(f.fd, -7);
        EXPECT_EQ(open_descriptors(), before);
        TRY(monad_async_file_write_all(self, files[0], "hello", 5, 0));
        TRY(monad_async_file_sync(self, files[0]));
        char got[8];
        auto const r = monad_async_file_read_all(self, files[1], got, sizeof got, 0);
        TRY(r);
        EXPECT_EQ(std::string(got, size_t(r.value)), "hello");
        for (auto const &each : files) {
            TRY(monad_async_file_close(self, each));
            EXPECT_EQ(monad_async_file_read(self, each, got, 1, 0).error, EBADF);
            EXPECT_EQ(monad_async_file_close(self, each).error, EBADF);
        }
        // Opened, and taken by nobody: the place is free again.
        monad_async_op op{};
        monad_async_op_open(&op, scratch.fd, "a", O_RDONLY, 0, MONAD_ASYNC_FILE_DIRECT);
        TRY(monad_async_op_begin(self, &op));
        TRY(monad_async_op_end(self, &op));
        for (auto &each : files) {
            TRY(open_new(self, scratch, "a", &each, MONAD_ASYNC_FILE_DIRECT));
        }
        return success();
    });
    task.attach(ex);
    while (monad_async_executor_has_work(ex)) {
        EXPECT_EQ(monad_async_executor_run(ex, no_bound, nullptr).error, 0);
    }
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(File, bad_input)
{
    Executor ex;
    Scratch const scratch;
    run_one(ex, [&](monad_async_task self) {
        File f{-7, 0};
        auto const opened = [&](char const *path, int open_flags, uint64_t resolve = 0,
                                uint32_t flags = 0) {
            return monad_async_file_open(self, &f, scratch.fd, path, open_flags, 0600, resolve,
                                         flags)
                .error;
        };
        EXPECT_EQ(opened("none", O_RDONLY), ENOENT);
        EXPECT_EQ(opened("", O_RDONLY), ENOENT);
        EXPECT_EQ(opened(nullptr, O_RDONLY), EINVAL);
        EXPECT_EQ(opened("x", 1 << 30), EINVAL);
        EXPECT_EQ(opened("x", O_RDONLY, 1 << 30), EINVAL);
        EXPECT_EQ(opened("x", O_RDONLY, 0, 1), EINVAL);
        EXPECT_EQ(opened("/etc", O_RDONLY, 8 /* RESOLVE_BENEATH */), EXDEV);
        EXPECT_EQ(opened(std::string(5000, 'x').c_str(), O_RDONLY), ENAMETOOLONG);
        EXPECT_EQ(monad_async_file_open(self, nullptr, AT_FDCWD, "/", 0, 0, 0, 0).error, EINVAL);
        EXPECT_EQ(monad_async_file_open(self, &f, 12345, "x", 0, 0, 0, 0).error, EBADF);
        EXPECT_EQ(monad_async_file_open(nullptr, &f, AT_FDCWD, "/", 0, 0, 0, 0).error, EINVAL);
        EXPECT_EQ(f.fd, -7);
        char byte = 0;
        for (File const bad : {File{-1, 0}, File{INT32_MIN, 0}, File{9999, 0}}) {
            EXPECT_EQ(monad_async_file_read(self, bad, &byte, 1, 0).error, EBADF);
            EXPECT_EQ(monad_async_file_write(self, bad, &byte, 1, 0).error, EBADF);
            EXPECT_EQ(monad_async_file_sync(self, bad).error, EBADF);
            EXPECT_EQ(monad_async_file_truncate(self, bad, 0).error, EBADF);
            EXPECT_EQ(monad_async_file_close(self, bad).error, EBADF);
        }
        EXPECT_EQ(monad_async_file_read(self, File{0, 4}, &byte, 1, 0).error, EINVAL);
        TRY(open_new(self, scratch, "a", &f));
        EXPECT_EQ(monad_async_file_read(self, f, &byte, 1, -2).error, EINVAL);
        EXPECT_EQ(monad_async_file_write(self, f, nullptr, 8, 0).error, EFAULT);
        EXPECT_EQ(monad_async_file_readv(self, f, nullptr, 1, 0, 0).error, EINVAL);
        EXPECT_EQ(monad_async_file_readv(self, f, nullptr, -1, 0, 0).error, EINVAL);
        EXPECT_EQ(monad_async_file_stat(self, f, STATX_SIZE, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_path_unlink(self, scratch.fd, nullptr, 0).error, EINVAL);
        EXPECT_EQ(monad_async_path_rename(self, scratch.fd, "a", scratch.fd, nullptr, 0).error,
                  EINVAL);
        File r{-1, 0};
        TRY(monad_async_file_open(self, &r, scratch.fd, "a", O_RDONLY, 0, 0, 0));
        EXPECT_EQ(monad_async_file_write(self, r, &byte, 1, 0).error, EBADF);
        TRY(monad_async_file_close(self, r));
        TRY(monad_async_file_close(self, f));
        EXPECT_EQ(monad_async_file_close(self, f).error, EBADF);
        return success();
    });
    Executor const none(0);
    Task const compute([&](monad_async_task self) {
        File f{};
        EXPECT_EQ(open_new(self, scratch, "b", &f).error, ENOTSUP);
        f = monad_async_file_adopt(scratch.fd);
        char byte = 0;
        EXPECT_EQ(monad_async_file_read(self, f, &byte, 1, 0).error, ENOTSUP);
        EXPECT_EQ(monad_async_file_write(self, f, &byte, 1, 0).error, ENOTSUP);
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, 0, 0).error, 0);
        EXPECT_EQ(monad_async_file_read(self, f, &byte, 1, -1).error, ENOTSUP);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).error, 0);
        EXPECT_EQ(monad_async_path_mkdir(self, scratch.fd, "b", 0).error, ENOTSUP);
        return success();
    });
    compute.attach(none);
    none.finish();
    EXPECT_EQ(monad_async_file_close(compute, monad_async_file_adopt(0)).error, EPERM);
}

TEST(File, too_large_and_no_room)
{
    Executor ex;
    Scratch const scratch;
    size_t const before = open_descriptors();
    // Too large for the process: no SIGXFSZ ends it, as the signal is ignored here.
    signal(SIGXFSZ, SIG_IGN);
    rlimit const small{8192, RLIM_INFINITY};
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &small);
    run_one(ex, [&](monad_async_task self) {
        File f{-1, 0};
        TRY(open_new(self, scratch, "a", &f));
        std::string const data(10000, 'x');
        auto const r = monad_async_file_write_all(self, f, data.data(), data.size(), 0);
        EXPECT_EQ(r.error, EFBIG);
        EXPECT_EQ(r.value, 8192);
        return monad_async_file_close(self, f);
    });
    setrlimit(RLIMIT_FSIZE, &old);
    if (mount("none", scratch.name.c_str(), "tmpfs", 0, "size=64k") != 0) {
        printf("[  SKIPPED ] ENOSPC: no tmpfs may be mounted\n");
    } else {
        run_one(ex, [&](monad_async_task self) {
            File f{-1, 0};
            TRY(monad_async_file_open(self, &f, AT_FDCWD, (scratch.name + "/a").c_str(),
                                      O_RDWR | O_CREAT, 0600, 0, 0));
            std::string const data(100000, 'x');
            auto const r = monad_async_file_write_all(self, f, data.data(), data.size(), 0);
            EXPECT_EQ(r.error, ENOSPC);
            struct statx status {};
            TRY(monad_async_file_stat(self, f, STATX_SIZE, &status));
            EXPECT_EQ(r.value, intptr_t(status.stx_size)) << "the bytes that are there";
            EXPECT_GT(r.value, 0);
            EXPECT_EQ(monad_async_file_allocate(self, f, 0, 0, 100000).error, ENOSPC);
            return monad_async_file_close(self, f);
        });
        // The kernel lets go of a file that is closed a moment later.
        while (umount(scratch.name.c_str()) != 0) {
            ASSERT_EQ(errno, EBUSY);
            usleep(1000);
        }
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(File, cancels_and_deadlines)
{
    Executor ex;
    Scratch const scratch;
    size_t const before = open_descriptors();
    Pipe const pipe;
    char byte = 0;
    // A read that nothing ends.
    Task reader([&](monad_async_task self) {
        return monad_async_file_read(self, monad_async_file_adopt(pipe.reader), &byte, 1, -1);
    });
    Task late([&](monad_async_task self) {
        monad_async_scope scope;
        TRY(monad_async_scope_enter(self, &scope, 50 * ms, 0));
        auto const r =
            monad_async_file_read(self, monad_async_file_adopt(pipe.reader), &byte, 1, -1);
        EXPECT_EQ(r.error, ETIME);
        // From then on nothing is even begun.
        EXPECT_EQ(monad_async_path_mkdir(self, scratch.fd, "never", 0700).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        return success();
    });
    for (auto const *task : {&reader, &late}) {
        task->attach(ex);
        run_until_suspended(ex, *task);
    }
    EXPECT_EQ(monad_async_task_cancel(ex, reader).error, 0);
    ex.finish();
    EXPECT_EQ(reader->result.error, ECANCELED);
    EXPECT_EQ(late->result.error, 0);
    EXPECT_EQ(faccessat(scratch.fd, "never", F_OK, 0), -1);
    EXPECT_EQ(open_descriptors(), before + 2);
}

// The ring never reads them: their file system cannot promise that it does not wait.
TEST(File, nonblocking_files_of_proc)
{
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        File f{-1, 0};
        TRY(monad_async_file_open(self, &f, AT_FDCWD, "/proc/self/limits", O_RDONLY | O_NONBLOCK, 0,
                                  0, 0));
        char text[64] = {};
        auto r = monad_async_file_read(self, f, text, 5, 0);
        TRY(r);
        EXPECT_EQ(std::string(text, 5), "Limit");
        r = monad_async_file_read(self, f, text, 5, -1);
        TRY(r);
        EXPECT_EQ(r.value, 5);
        return monad_async_file_close(self, f);
    });
    // And a pipe waits.
    Pipe const pipe;
    fcntl(pipe.reader, F_SETFL, O_NONBLOCK);
    char byte = 0;
    Task const reader([&](monad_async_task self) {
        return monad_async_file_read(self, monad_async_file_adopt(pipe.reader), &byte, 1, -1);
    });
    reader.attach(ex);
    run_until_suspended(ex, reader);
    EXPECT_EQ(write(pipe.writer, "x", 1), 1);
    ex.finish();
    EXPECT_EQ(reader->result.error, 0);
    EXPECT_EQ(byte, 'x');
}

// As file.h says: the kernel does not wait for the other end.
TEST(File, a_fifo_is_opened_as_with_nonblock)
{
    Executor ex;
    Scratch const scratch;
    ASSERT_EQ(mkfifoat(scratch.fd, "fifo", 0600), 0);
    run_one(ex, [&](monad_async_task self) {
        File reader{-1, 0}, writer{-1, 0};
        auto const opened = [&](int how, File &f) {
            return monad_async_file_open(self, &f, scratch.fd, "fifo", how, 0, 0, 0);
        };
        EXPECT_EQ(opened(O_WRONLY, writer).error, ENXIO);
        TRY(opened(O_RDONLY, reader));
        TRY(opened(O_WRONLY, writer));
        TRY(monad_async_file_write(self, writer, "x", 1, -1));
        char byte = 0;
        TRY(monad_async_file_read(self, reader, &byte, 1, -1));
        EXPECT_EQ(byte, 'x');
        TRY(monad_async_file_close(self, reader));
        EXPECT_EQ(monad_async_file_write(self, writer, "x", 1, -1).error, EPIPE);
        return monad_async_file_close(self, writer);
    });
}

TEST(File, a_close_ends_what_is_in_flight)
{
    Executor ex;
    Pipe pipe;
    char byte = 0;
    File const f = monad_async_file_adopt(dup(pipe.reader));
    Task reader(
        [&](monad_async_task self) { return monad_async_file_read(self, f, &byte, 1, -1); });
    reader.attach(ex);
    run_until_suspended(ex, reader);
    run_one(ex, [&](monad_async_task self) { return monad_async_file_close(self, f); });
    EXPECT_EQ(reader->result.error, ECANCELED);
    EXPECT_EQ(fcntl(f.fd, F_GETFD), -1);
}

// Nobody else runs while a file is closed, inside an assignment of a pointer for one. Another task
// that has a read in flight on it has ended that when the close returns.
TEST(File, a_close_suspends_only_where_something_is_in_flight)
{
    for (bool in_flight : {false, true}) {
        Executor ex;
        Pipe pipe;
        char byte = 0;
        File const f = monad_async_file_adopt(dup(pipe.reader));
        bool has_run = false, is_out = false;
        Task reader([&](monad_async_task self) {
            auto const r = monad_async_file_read(self, f, &byte, 1, -1);
            is_out = true;
            return r;
        });
        Task other([&](monad_async_task) {
            has_run = true;
            return success();
        });
        Task closer([&](monad_async_task self) {
            other.attach(ex);
            TRY(monad_async_file_close(self, f));
            EXPECT_EQ(has_run, in_flight);
            EXPECT_EQ(is_out, in_flight);
            return success();
        });
        if (in_flight) {
            reader.attach(ex);
            run_until_suspended(ex, reader);
        }
        closer.attach(ex);
        ex.finish();
        EXPECT_EQ(closer->result.error, 0);
        if (in_flight) {
            EXPECT_EQ(reader->result.error, ECANCELED);
        }
        EXPECT_EQ(fcntl(f.fd, F_GETFD), -1);
    }
}

TEST(File, what_was_opened_for_nobody_is_closed)
{
    Executor ex;
    Scratch const scratch;
    size_t const before = open_descriptors();
    // It returns with its operations in flight; each has opened something by the time it ends.
    for (int i = 0; i < 20; ++i) {
        run_one(ex, [&](monad_async_task self) {
            static std::array<monad_async_op, 8> ops;
            for (auto &op : ops) {
                monad_async_op_open(&op, scratch.fd, "a", O_RDWR | O_CREAT, 0600, 0);
                TRY(monad_async_op_begin(self, &op));
            }
            if (i % 2 == 0) {
                TRY(yield(self));
            }
            return success();
        });
    }
    EXPECT_EQ(open_descriptors(), before);
}

// Operations on files and pipes, and what comes back: values, errors, completion flags.

#include "support.hpp"

#include <cstdlib>
#include <numeric>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>

using namespace support;

namespace {

// Runs `body` in a task of its own and gives its result.
template <class F> monad_async_result in_task(Executor const &ex, F body)
{
    Task task([&](monad_async_task self) { return body(self); });
    task.attach(ex);
    ex.finish();
    return task->result;
}

struct Directory {
    std::string path = "/tmp/monad_async_test_XXXXXX";
    Directory()
    {
        if (mkdtemp(path.data()) == nullptr) {
            abort();
        }
    }
    ~Directory()
    {
        EXPECT_EQ(unlink((path + "/file").c_str()), 0);
        EXPECT_EQ(rmdir(path.c_str()), 0);
    }
};

} // namespace

TEST(Io, file_from_open_to_close)
{
    Executor ex;
    Directory const directory;
    std::string const path = directory.path + "/file";
    std::vector<unsigned char> out(1 << 20), in(1 << 20);
    std::iota(out.begin(), out.end(), static_cast<unsigned char>(3));
    auto const r = in_task(ex, [&](monad_async_task self) {
        auto open = make_sqe(IORING_OP_OPENAT, AT_FDCWD, path.c_str(), 0600);
        open.open_flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
        auto r = do_io(self, open);
        if (r.error != 0) {
            return r;
        }
        int const fd = static_cast<int>(r.value);
        for (size_t done = 0; done < out.size(); done += static_cast<size_t>(r.value)) {
            r = do_io(self, make_sqe(IORING_OP_WRITE, fd, out.data() + done,
                                     static_cast<uint32_t>(out.size() - done), done));
            if (r.error != 0) {
                return r;
            }
        }
        r = do_io(self, make_sqe(IORING_OP_FSYNC, fd));
        EXPECT_EQ(r.error, 0);
        struct statx status {};
        auto statx_sqe = make_sqe(IORING_OP_STATX, AT_FDCWD, path.c_str(), STATX_SIZE,
                                  reinterpret_cast<uintptr_t>(&status));
        r = do_io(self, statx_sqe);
        EXPECT_EQ(r.error, 0);
        EXPECT_EQ(status.stx_size, out.size());
        for (size_t done = 0; done < in.size(); done += static_cast<size_t>(r.value)) {
            r = do_io(self, make_sqe(IORING_OP_READ, fd, in.data() + done,
                                     static_cast<uint32_t>(in.size() - done), done));
            if (r.error != 0 || r.value == 0) {
                return r;
            }
        }
        r = do_io(self, make_sqe(IORING_OP_READ, fd, in.data(), 1, in.size()));
        EXPECT_EQ(r.error, 0);
        EXPECT_EQ(r.value, 0); // end of file
        return do_io(self, make_sqe(IORING_OP_CLOSE, fd));
    });
    EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
    EXPECT_EQ(in, out);
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

TEST(Io, many_tasks_read_one_file)
{
    Executor ex(16);
    Fd const fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    struct stat st {};
    ASSERT_EQ(fstat(fd, &st), 0);
    std::vector<unsigned char> expected(static_cast<size_t>(st.st_size));
    ASSERT_EQ(pread(fd, expected.data(), expected.size(), 0), st.st_size);
    size_t const block = 4096, blocks = expected.size() / block;
    std::vector<unsigned char> got(blocks * block);
    auto tasks = make_tasks(blocks, [&](monad_async_task self, size_t i) {
        auto const r =
            do_io(self, make_sqe(IORING_OP_READ, fd, got.data() + i * block, block, i * block));
        EXPECT_EQ(r.value, intptr_t{4096});
        return r;
    });
    for (size_t i = 0; i < tasks.size(); ++i) {
        tasks[i].priority(static_cast<monad_async_priority>(i % 3),
                          static_cast<monad_async_priority>(i / 3 % 3));
    }
    attach_all(tasks, ex);
    ex.finish();
    expected.resize(got.size());
    EXPECT_TRUE(got == expected);
}

TEST(Io, negative_results_are_errors)
{
    Executor ex;
    char byte;
    auto const error = [&](io_uring_sqe const &sqe) {
        auto const r = in_task(ex, [&](monad_async_task self) { return do_io(self, sqe); });
        EXPECT_TRUE(monad_async_result_has_error(r));
        return r.error;
    };
    EXPECT_EQ(error(make_sqe(IORING_OP_READ, -1, &byte, 1)), EBADF);
    auto open = make_sqe(IORING_OP_OPENAT, AT_FDCWD, "/nonexistent/file");
    EXPECT_EQ(error(open), ENOENT);
    Pipe pipe;
    EXPECT_EQ(write(pipe.writer, "x", 1), 1);
    EXPECT_EQ(error(make_sqe(IORING_OP_READ, pipe.reader, nullptr, 1, current_position)), EFAULT);
    EXPECT_EQ(error(make_sqe(255)), EINVAL);
}

// It has no positive counterpart, and -INT32_MIN is undefined.
TEST(Io, the_lowest_result_is_an_error_too)
{
    Executor ex;
    Task task([](monad_async_task self) {
        constexpr uint32_t nop_inject_result = 1; // IORING_NOP_INJECT_RESULT, of newer headers
        auto sqe = make_sqe(IORING_OP_NOP);
        sqe.rw_flags = nop_inject_result;
        sqe.len = 0x80000000;
        return do_io(self, sqe);
    });
    task.attach(ex);
    ex.finish();
    EXPECT_GE(task->result.error, 0); // On older kernels EINVAL; 5.11 does not look.
}

TEST(Io, completion_of_a_kernel_timeout_is_ETIME)
{
    Executor ex;
    __kernel_timespec ts{0, 1000000};
    auto const r = in_task(ex, [&](monad_async_task self) {
        return do_io(self, make_sqe(IORING_OP_TIMEOUT, -1, &ts, 1));
    });
    EXPECT_EQ(r.error, ETIME);
}

TEST(Io, user_data_belongs_to_the_library)
{
    Executor ex;
    for (uint64_t const user_data : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
        auto const r = in_task(ex, [&](monad_async_task self) {
            auto sqe = make_sqe(IORING_OP_NOP);
            sqe.user_data = user_data;
            return do_io(self, sqe);
        });
        EXPECT_EQ(r.error, 0);
        EXPECT_EQ(r.value, 0);
    }
}

TEST(Io, the_sqe_may_go_out_of_scope_and_is_not_changed)
{
    Executor ex;
    Pipe pipe;
    char byte = 0;
    auto const sqe = make_sqe(IORING_OP_READ, pipe.reader, &byte, 1, current_position);
    auto const copy = sqe;
    Task reader([&](monad_async_task self) { return monad_async_task_io(self, &sqe); });
    reader.priority(monad_async_priority_normal, monad_async_priority_low);
    reader.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(memcmp(&sqe, &copy, sizeof sqe), 0);
    EXPECT_EQ(write(pipe.writer, "p", 1), 1);
    ex.finish();
    EXPECT_EQ(reader->result.value, 1);
    EXPECT_EQ(byte, 'p');
}

TEST(Io, pipe_between_two_tasks)
{
    Executor ex;
    Pipe pipe;
    constexpr size_t total = 3000000; // many times a pipe's room
    size_t wrote = 0, got = 0;
    Task writer([&](monad_async_task self) {
        std::vector<unsigned char> bytes(10007);
        while (wrote < total) {
            size_t const part = std::min(bytes.size(), total - wrote);
            for (size_t i = 0; i < part; ++i) {
                bytes[i] = static_cast<unsigned char>((wrote + i) % 251);
            }
            auto const r = write_some(self, pipe.writer, bytes.data(), part);
            if (r.error != 0) {
                return r;
            }
            wrote += static_cast<size_t>(r.value);
        }
        pipe.writer.reset();
        return success();
    });
    Task reader([&](monad_async_task self) {
        std::vector<unsigned char> bytes(7919);
        for (;;) {
            auto const r = read_some(self, pipe.reader, bytes.data(), bytes.size());
            if (r.error != 0 || r.value == 0) {
                return r;
            }
            for (intptr_t i = 0; i < r.value; ++i, ++got) {
                if (bytes[static_cast<size_t>(i)] != got % 251) {
                    return monad_async_make_failure(EILSEQ);
                }
            }
        }
    });
    reader.attach(ex);
    writer.attach(ex);
    ex.finish();
    EXPECT_EQ(writer->result.error, 0);
    EXPECT_EQ(reader->result.error, 0);
    EXPECT_EQ(got, total);
}

TEST(Io, vectors_on_the_task_s_own_stack)
{
    Executor ex;
    Pipe pipe;
    char text[9] = {};
    Task reader([&](monad_async_task self) {
        iovec parts[] = {{text, 3}, {text + 3, 5}};
        return do_io(self, make_sqe(IORING_OP_READV, pipe.reader, parts, 2, current_position));
    });
    Task writer([&](monad_async_task self) {
        char head[] = "ab", tail[] = "cdefgh";
        iovec parts[] = {{head, 2}, {tail, 6}};
        return do_io(self, make_sqe(IORING_OP_WRITEV, pipe.writer, parts, 2, current_position));
    });
    reader.attach(ex);
    writer.attach(ex);
    ex.finish();
    EXPECT_EQ(writer->result.value, 8);
    EXPECT_EQ(reader->result.value, 8);
    EXPECT_STREQ(text, "abcdefgh");
}

TEST(Io, poll_tells_what_is_ready)
{
    Executor ex;
    Pipe pipe;
    Task poller([&](monad_async_task self) {
        auto sqe = make_sqe(IORING_OP_POLL_ADD, pipe.reader);
        sqe.poll32_events = POLLIN;
        return do_io(self, sqe);
    });
    poller.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(ex.poll(), 0);
    EXPECT_EQ(write(pipe.writer, "q", 1), 1);
    ex.finish();
    EXPECT_EQ(poller->result.value & POLLIN, POLLIN);
}

TEST(Io, chosen_buffer_is_in_the_completion_flags)
{
    Executor ex;
    Pipe pipe;
    char buffers[4][64] = {};
    auto const r = in_task(ex, [&](monad_async_task self) {
        auto provide = make_sqe(IORING_OP_PROVIDE_BUFFERS, 4, buffers, sizeof buffers[0], 10);
        provide.buf_group = 7;
        auto r = do_io(self, provide);
        if (r.error != 0) {
            return r;
        }
        EXPECT_EQ(monad_async_task_io_cqe_flags(self), 0u);
        EXPECT_EQ(write(pipe.writer, "provided", 8), 8);
        auto read =
            make_sqe(IORING_OP_READ, pipe.reader, nullptr, sizeof buffers[0], current_position);
        read.flags = IOSQE_BUFFER_SELECT;
        read.buf_group = 7;
        r = do_io(self, read);
        uint32_t const flags = monad_async_task_io_cqe_flags(self);
        EXPECT_TRUE((flags & IORING_CQE_F_BUFFER) != 0);
        uint32_t const id = flags >> IORING_CQE_BUFFER_SHIFT;
        EXPECT_GE(id, 10u);
        EXPECT_LT(id, 14u);
        if (id >= 10 && id < 14) {
            EXPECT_STREQ(buffers[id - 10], "provided");
        }
        return r;
    });
    EXPECT_EQ(r.value, 8);
}

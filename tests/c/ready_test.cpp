// Calls on files by tasks with others ready behind them: such a call ends in the switch, keeps the
// words of its entry on the stack, and is looked at again only if it has failed.

#include "tries.hpp"

#include <monad/async/buffer_set.h>
#include <monad/async/file.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

using namespace support;

namespace {

using File = monad_async_file;

constexpr unsigned tasks = 16, bytes = 64;

struct Direct {
    static monad_async_executor_attr attr()
    {
        monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
        attr.io_uring_ring.entries = 64;
        attr.direct_descriptors = tasks + 2;
        return attr;
    }
};

char letter(unsigned i)
{
    return static_cast<char>('a' + i);
}

Fd blocks()
{
    Fd fd(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    for (unsigned i = 0; i < tasks; ++i) {
        std::string const data(bytes, letter(i));
        EXPECT_EQ(pwrite(fd, data.data(), bytes, i * bytes), ssize_t{bytes});
    }
    return fd;
}

// As many tasks, each of which has suspended before, and comes to its calls with others behind it.
template <class F> void run_many(monad_async_executor ex, F const &body)
{
    std::vector<std::unique_ptr<Task>> all;
    for (unsigned i = 0; i < tasks; ++i) {
        all.push_back(std::make_unique<Task>([&body, i](monad_async_task self) {
            TRY(yield(self));
            TRY(yield(self));
            return body(self, i);
        }));
        EXPECT_EQ(monad_async_task_attach(ex, *all.back()).error, 0);
    }
    while (monad_async_executor_has_work(ex)) {
        EXPECT_EQ(monad_async_executor_run(ex, SIZE_MAX, nullptr).error, 0);
    }
    for (auto const &task : all) {
        EXPECT_EQ((*task)->result.error, 0) << monad_async_result_message((*task)->result);
    }
}

} // namespace

TEST(Ready, each_read_and_write_gets_its_own_answer)
{
    Executor ex(64);
    Fd const fd = blocks(), directory(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    File const file = monad_async_file_adopt(fd);
    run_many(ex, [&](monad_async_task self, unsigned i) {
        for (unsigned n = 0; n < 20; ++n) {
            std::array<char, bytes> data{};
            auto r = monad_async_file_read(self, file, data.data(), bytes - i, i * bytes);
            TRY(r);
            EXPECT_EQ(r.value, bytes - i);
            EXPECT_EQ(std::string(data.data(), bytes - i), std::string(bytes - i, letter(i)));
            EXPECT_EQ(monad_async_file_read(self, file, data.data(), bytes, 1 << 20).value, 0);
            r = monad_async_file_read(self, monad_async_file_adopt(directory), data.data(), 8, 0);
            EXPECT_EQ(r.error, EISDIR);
            EXPECT_EQ(r.value, monad_async_make_failure(EISDIR).value);
            void *const nowhere = reinterpret_cast<void *>(8);
            EXPECT_EQ(monad_async_file_read(self, file, nowhere, bytes, 0).error, EFAULT);
            auto const nothing = monad_async_file_adopt(1 << 20);
            EXPECT_EQ(monad_async_file_read(self, nothing, data.data(), bytes, 0).error, EBADF);
            EXPECT_EQ(monad_async_file_write(self, nothing, data.data(), bytes, 0).error, EBADF);
            data.fill(letter(i));
            r = monad_async_file_write(self, file, data.data(), bytes, i * bytes);
            TRY(r);
            EXPECT_EQ(r.value, intptr_t{bytes});
        }
        return success();
    });
}

// Each reads what the next one writes, which comes later: EAGAIN first, then a poll.
TEST(Ready, what_would_not_wait_is_waited_for)
{
    Executor ex(64);
    std::array<Pipe, tasks> pipes;
    for (auto const &pipe : pipes) {
        ASSERT_EQ(fcntl(pipe.reader, F_SETFL, O_NONBLOCK), 0);
    }
    run_many(ex, [&](monad_async_task self, unsigned i) {
        unsigned const next = (i + 1) % tasks;
        for (unsigned n = 0; n < 10; ++n) {
            std::array<char, 2> data{};
            if (i == n) {
                TRY(monad_async_file_write(self, monad_async_file_adopt(pipes[next].writer), "x", 1,
                                           0));
            }
            auto const r = monad_async_file_read(self, monad_async_file_adopt(pipes[i].reader),
                                                 data.data(), 1, n % 2 == 0 ? -1 : 0);
            TRY(r);
            EXPECT_EQ(r.value, 1);
            EXPECT_EQ(data[0], 'x');
            if (i != n) {
                TRY(monad_async_file_write(self, monad_async_file_adopt(pipes[next].writer), "x", 1,
                                           0));
            }
        }
        return success();
    });
}

TEST(Ready, a_close_and_a_cancel_end_what_was_begun)
{
    Executor ex(64);
    std::array<Pipe, tasks> pipes;
    std::array<monad_async_task, tasks> selves{};
    std::array<File, tasks> files{};
    run_many(ex, [&](monad_async_task self, unsigned i) {
        if (i == tasks - 1) {
            TRY(monad_async_task_suspend_for_duration(self, 2'000'000));
            for (unsigned other = 0; other < tasks - 1; ++other) {
                if (other % 2 == 0) {
                    File const file = files[other];
                    TRY(monad_async_file_close(self, file));
                } else {
                    TRY(monad_async_task_cancel(ex, selves[other]));
                    close(files[other].fd);
                }
            }
            return success();
        }
        selves[i] = self;
        char byte = 0;
        File const file = files[i] = monad_async_file_adopt(dup(pipes[i].reader));
        EXPECT_EQ(monad_async_file_read(self, file, &byte, 1, -1).error, ECANCELED);
        return success();
    });
}

// And the buffer of each is free when its read is over, whatever came of that.
TEST(Ready, reads_into_registered_buffers_leave_them_free)
{
    auto const attr = Direct::attr();
    monad_async_executor ex;
    ASSERT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
    monad_async_buffer_set other, set;
    ASSERT_EQ(monad_async_buffers_register(ex, &other, 1, bytes).error, 0);
    ASSERT_EQ(monad_async_buffers_register(ex, &set, tasks, bytes).error, 0);
    {
        Fd const fd = blocks();
        std::array<Pipe, tasks> pipes;
        auto const open_direct = [](monad_async_task self, int fd, int flags, File *file) {
            auto const name = "/proc/self/fd/" + std::to_string(fd);
            return monad_async_file_open(self, file, AT_FDCWD, name.c_str(), flags, 0, 0,
                                         MONAD_ASYNC_FILE_DIRECT);
        };
        run_many(ex, [&](monad_async_task self, unsigned i) {
            File file{-1, 0}, pipe{-1, 0};
            if (i < 2) {
                TRY(open_direct(self, fd, O_RDONLY, &file));
            }
            TRY(open_direct(self, pipes[i].reader, O_RDONLY | O_NONBLOCK, &pipe));
            for (unsigned n = 0; n < 20; ++n) {
                monad_async_buffer buffer;
                TRY(monad_async_buffers_claim(self, set, &buffer));
                if (i < 2) {
                    memset(buffer.data, '-', bytes);
                    auto const r =
                        monad_async_file_read_fixed(self, file, &buffer, 8, 32, i * bytes);
                    TRY(r);
                    EXPECT_EQ(r.value, 32);
                    std::string const data(static_cast<char *>(buffer.data), bytes);
                    EXPECT_EQ(data, std::string(8, '-') + std::string(32, letter(i)) +
                                        std::string(24, '-'));
                }
                File const any = i < 2 ? file : pipe; // Below 0 there is nothing.
                EXPECT_EQ(monad_async_file_read_fixed(self, any, &buffer, 8, 8, -9).error, EINVAL);
                // Of no bytes, at the end: where the next buffer begins.
                EXPECT_EQ(monad_async_file_read_fixed(self, any, &buffer, bytes, 0, -9).error,
                          EINVAL);
                EXPECT_EQ(monad_async_file_read_fixed(self, pipe, &buffer, 60, 5, -1).error,
                          EINVAL);
                // It comes later.
                auto const writer = monad_async_file_adopt(pipes[(i + 1) % tasks].writer);
                if (i == n % tasks) {
                    TRY(monad_async_file_write(self, writer, "x", 1, 0));
                }
                auto const r = monad_async_file_read_fixed(self, pipe, &buffer, 3, 1, -1);
                TRY(r);
                EXPECT_EQ(r.value, 1);
                EXPECT_EQ(static_cast<char *>(buffer.data)[3], 'x');
                if (i != n % tasks) {
                    TRY(monad_async_file_write(self, writer, "x", 1, 0));
                }
                TRY(monad_async_buffers_release(&buffer));
            }
            TRY(monad_async_file_close(self, pipe));
            return i < 2 ? monad_async_file_close(self, file) : success();
        });
    }
    EXPECT_EQ(monad_async_buffers_unregister(other).error, 0);
    EXPECT_EQ(monad_async_buffers_unregister(set).error, 0);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

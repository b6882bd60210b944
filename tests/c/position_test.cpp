// The current position of a file: behind what was moved, whatever came short and whichever way the
// data took. A program found that a full disk was told as a success: the kernel leaves the position
// where it was when a write comes short, so that the rest of it was written over its beginning,
// again and again, until all was "written".

#include "support.hpp"

#include <monad/async/buffer_set.h>
#include <monad/async/direct.h>
#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/remote.h>

#include <array>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace support;

namespace {

using File = monad_async_file;

constexpr size_t limit = 4608;

// Files of the process may not grow beyond `limit`: a write comes short there, then is EFBIG.
class Limited {
public:
    Limited()
    {
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &old_);
        rlimit const small{limit, old_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &small);
    }
    ~Limited() { setrlimit(RLIMIT_FSIZE, &old_); }

private:
    rlimit old_{};
};

int nameless(int flags = 0)
{
    int const fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
    if (fd < 0) {
        skip("no file without a name in /tmp");
    }
    return fd;
}

std::string content(int fd)
{
    std::string text(65536, '\0');
    text.resize(size_t(std::max<ssize_t>(pread(fd, text.data(), text.size(), 0), 0)));
    return text;
}

off_t position(int fd)
{
    return lseek(fd, 0, SEEK_CUR);
}

void run_one(Executor const &ex, Body body)
{
    Task const task(std::move(body));
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
}

// "a" to "j", so that what lies over something else is seen.
std::string lines(size_t bytes)
{
    std::string text;
    for (size_t i = 0; i != bytes; ++i) {
        text += char('a' + i / 512 % 10);
    }
    return text;
}

} // namespace

TEST(Position, of_what_came_short)
{
    Executor ex;
    Limited const limited;
    std::string const data = lines(10000);
    for (int way = 0; way != 5; ++way) {
        Fd const fd(nameless());
        run_one(ex, [&](monad_async_task self) {
            File f = monad_async_file_adopt(fd);
            auto r = monad_async_file_write(self, f, data.data(), 100, -1);
            EXPECT_EQ(r.value, 100);
            if (way >= 3) {
                EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, 0);
            }
            if (way % 3 == 0) {
                r = monad_async_file_write(self, f, data.data() + 100, 9900, -1);
                EXPECT_EQ(r.value, intptr_t(limit - 100)) << way;
                EXPECT_EQ(r.error, way == 0 ? 0 : EFBIG) << way;
            } else if (way % 3 == 1) {
                r = monad_async_file_write_all(self, f, data.data() + 100, 9900, -1);
                EXPECT_EQ(r.value, intptr_t(limit - 100)) << way;
                EXPECT_EQ(r.error, EFBIG) << way;
            } else {
                iovec const parts[] = {{const_cast<char *>(data.data()) + 100, 5000},
                                       {const_cast<char *>(data.data()) + 5100, 4900}};
                r = monad_async_file_writev(self, f, parts, 2, -1, 0);
                EXPECT_EQ(r.value, intptr_t(limit - 100)) << way;
            }
            EXPECT_EQ(position(fd), off_t(limit)) << way;
            r = monad_async_file_write_all(self, f, "y", 1, -1);
            EXPECT_EQ(r.error, EFBIG) << way;
            return success();
        });
        EXPECT_TRUE(content(fd) == data.substr(0, limit)) << way;
        EXPECT_EQ(position(fd), off_t(limit)) << way;
    }
}

// What is only appended to goes to the end, wherever the position was.
TEST(Position, of_what_is_appended)
{
    Executor ex;
    Limited const limited;
    std::string const data = lines(8192);
    for (int way = 0; way != 4; ++way) {
        bool const is_ordered = way % 2 != 0;
        Fd const fd(nameless(O_APPEND));
        EXPECT_EQ(write(fd, data.data(), 4096), 4096);
        lseek(fd, way / 2 == 0 ? 10 : 1 << 20, SEEK_SET);
        run_one(ex, [&](monad_async_task self) {
            File f = monad_async_file_adopt(fd);
            if (is_ordered) {
                EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, 0);
            }
            auto const r = monad_async_file_write_all(self, f, data.data() + 4096, 4096, -1);
            EXPECT_EQ(r.error, EFBIG);
            EXPECT_EQ(r.value, intptr_t(limit - 4096));
            return success();
        });
        EXPECT_EQ(position(fd), off_t(limit));
        EXPECT_TRUE(content(fd) == data.substr(0, limit));
    }
}

// What a kernel has moved is not moved once more: here the ring writes, which the library asks no
// thread for, in the middle of the file.
TEST(Position, of_what_is_written_whole_is_left_to_the_kernel)
{
    Executor ex;
    std::string const data = lines(8192);
    Fd const fd(nameless(O_DSYNC));
    EXPECT_EQ(write(fd, data.data(), 8192), 8192);
    lseek(fd, 100, SEEK_SET);
    run_one(ex, [&](monad_async_task self) {
        File f = monad_async_file_adopt(fd);
        EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, 0);
        EXPECT_EQ(monad_async_file_write(self, f, "yyyyy", 5, -1).value, 5);
        EXPECT_EQ(position(fd), 105);
        std::array<monad_async_op, 3> ops{};
        for (auto &op : ops) {
            monad_async_op_write(&op, f, "zzzzz", 5, -1);
            EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        }
        for (auto &op : ops) {
            EXPECT_EQ(monad_async_op_wait(self, &op).value, 5);
        }
        return success();
    });
    EXPECT_EQ(position(fd), 120);
    EXPECT_TRUE(content(fd) ==
                data.substr(0, 100) + "yyyyy" + std::string(15, 'z') + data.substr(120));
}

// As one call asks, whatever the file was opened for. What went to the end was told to be where the
// position had been, and the next write lay over what was there.
TEST(Position, of_what_one_call_appends)
{
    Executor ex;
    Limited const limited;
    std::string const data = lines(8192);
    iovec part = {const_cast<char *>(data.data()) + 4096, 4096};
    for (bool const is_ordered : {false, true}) {
        Fd const fd(nameless());
        EXPECT_EQ(write(fd, data.data(), 4096), 4096);
        lseek(fd, 10, SEEK_SET);
        run_one(ex, [&](monad_async_task self) {
            File f = monad_async_file_adopt(fd);
            if (is_ordered) {
                EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, 0);
            }
            auto const r = monad_async_file_writev(self, f, &part, 1, -1, RWF_APPEND);
            EXPECT_EQ(r.value, intptr_t(limit - 4096));
            return success();
        });
        EXPECT_EQ(position(fd), off_t(limit)) << is_ordered;
        EXPECT_TRUE(content(fd) == data.substr(0, limit)) << is_ordered;
    }
}

// The same past the kernel's memory, and the other way round.
TEST(Position, of_what_one_call_appends_with_O_DIRECT)
{
    constexpr size_t block = 4096;
    constexpr int no_append = 0x20; // RWF_NOAPPEND, of Linux 6.9.
    std::string const name = "/tmp/monad_async_position_" + std::to_string(getpid());
    auto *const at = static_cast<char *>(aligned_alloc(block, 2 * block));
    memset(at, 'a', 2 * block);
    iovec part = {at, block};
    Executor ex;
    for (bool const is_ordered : {false, true}) {
        for (int const how : {O_DIRECT, O_DIRECT | O_APPEND}) {
            run_one(ex, [&](monad_async_task self) {
                File f{-1, 0};
                uint32_t const flags = is_ordered ? MONAD_ASYNC_FILE_ORDERED : 0;
                auto r = monad_async_file_open(self, &f, AT_FDCWD, name.c_str(),
                                               O_RDWR | O_CREAT | O_TRUNC | how, 0600, 0, flags);
                if (r.error == EINVAL) {
                    return success(); // There is no such thing here.
                }
                EXPECT_EQ(r.error, 0);
                EXPECT_EQ(pwrite(f.fd, at, 2 * block, 0), ssize_t(2 * block));
                lseek(f.fd, 0, SEEK_SET);
                int const flag = how & O_APPEND ? no_append : RWF_APPEND;
                r = monad_async_file_writev(self, f, &part, 1, -1, flag);
                if (r.error != EOPNOTSUPP) {
                    EXPECT_EQ(r.value, intptr_t(block)) << monad_async_result_message(r);
                    EXPECT_EQ(position(f.fd), off_t((how & O_APPEND ? 1 : 3) * block))
                        << is_ordered;
                }
                return monad_async_file_close(self, f);
            });
        }
    }
    unlink(name.c_str());
    free(at);
}

// In the middle of a file, too, which ends far behind.
TEST(Position, of_what_came_short_in_a_buffer_of_a_set_and_by_operations)
{
    Executor ex;
    Limited const limited;
    std::string const data = lines(8192);
    Fd const fd(nameless());
    monad_async_buffer_set set = nullptr;
    ASSERT_EQ(monad_async_buffers_register(ex, &set, 1, 8192).error, 0);
    run_one(ex, [&](monad_async_task self) {
        File const f = monad_async_file_adopt(fd);
        monad_async_buffer b{};
        EXPECT_EQ(monad_async_buffers_claim(self, set, &b).error, 0);
        memcpy(b.data, data.data(), 8192);
        auto const r = monad_async_file_write_fixed(self, f, &b, 0, 8192, -1);
        EXPECT_EQ(r.value, intptr_t(limit));
        EXPECT_EQ(position(fd), off_t(limit));
        EXPECT_EQ(monad_async_buffers_release(&b).error, 0);
        return success();
    });
    EXPECT_EQ(monad_async_buffers_unregister(set).error, 0);
    EXPECT_TRUE(content(fd) == data.substr(0, limit));
    // Ordered writes that go on, which are one for the kernel.
    EXPECT_EQ(ftruncate(fd, 0), 0);
    EXPECT_EQ(lseek(fd, 0, SEEK_SET), 0);
    run_one(ex, [&](monad_async_task self) {
        File f = monad_async_file_adopt(fd);
        EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, 0);
        std::array<monad_async_op, 8> ops{};
        for (size_t i = 0; i < ops.size(); ++i) {
            monad_async_op_write(&ops[i], f, data.data() + i * 1000, 1000, -1);
            EXPECT_EQ(monad_async_op_begin(self, &ops[i]).error, 0);
        }
        for (size_t i = 0; i < ops.size(); ++i) {
            auto const r = monad_async_op_wait(self, &ops[i]);
            EXPECT_EQ(r.error, i < 4 ? 0 : i == 4 ? EFBIG : ECANCELED) << i;
            EXPECT_EQ(ops[i].result.value, i < 4 ? 1000 : i == 4 ? 608 : 0) << i;
        }
        return success();
    });
    EXPECT_TRUE(content(fd) == data.substr(0, limit));
    EXPECT_EQ(position(fd), off_t(limit));
}

// The ring never moves the position of such a file: a loop that reads until the end read the first
// block for ever, and each write lay over the one before.
TEST(Position, of_a_file_with_O_DIRECT)
{
    constexpr size_t block = 4096, blocks = 6;
    std::string const name = "/tmp/monad_async_position_" + std::to_string(getpid());
    Executor ex;
    auto *const at = static_cast<char *>(aligned_alloc(block, block * blocks));
    for (uint32_t const flags : {0u, MONAD_ASYNC_FILE_ORDERED}) {
        run_one(ex, [&](monad_async_task self) {
            File f{-1, 0};
            int const how = O_RDWR | O_CREAT | O_TRUNC | O_DIRECT;
            auto r = monad_async_file_open(self, &f, AT_FDCWD, name.c_str(), how, 0600, 0, flags);
            if (r.error == EINVAL) {
                skip("the file system of /tmp has no O_DIRECT");
            }
            EXPECT_EQ(r.error, 0);
            for (size_t i = 0; i != blocks; ++i) {
                memset(at + i * block, char('a' + i), block);
            }
            EXPECT_EQ(monad_async_file_write(self, f, at, block, -1).value, intptr_t(block));
            EXPECT_EQ(position(f.fd), off_t(block));
            std::array<monad_async_op, 2> ops{};
            if (flags != 0) {
                for (size_t i = 0; i != 2; ++i) {
                    monad_async_op_write(&ops[i], f, at + (i + 1) * block, block, -1);
                    EXPECT_EQ(monad_async_op_begin(self, &ops[i]).error, 0);
                }
                for (auto &op : ops) {
                    EXPECT_EQ(monad_async_op_wait(self, &op).error, 0);
                    EXPECT_EQ(op.result.value, intptr_t(block));
                }
            } else {
                r = monad_async_file_write_all(self, f, at + block, 2 * block, -1);
                EXPECT_EQ(r.value, intptr_t(2 * block));
            }
            EXPECT_EQ(position(f.fd), off_t(3 * block));
            iovec const parts[] = {{at + 3 * block, 2 * block}, {at + 5 * block, block}};
            r = monad_async_file_writev(self, f, parts, 2, -1, 0);
            EXPECT_EQ(r.value, intptr_t(3 * block));
            EXPECT_EQ(position(f.fd), off_t(6 * block));
            lseek(f.fd, 0, SEEK_SET);
            for (size_t i = 0; i != blocks; ++i) {
                r = monad_async_file_read(self, f, at, block, -1);
                EXPECT_EQ(r.value, intptr_t(block));
                EXPECT_EQ(at[0], char('a' + i));
            }
            EXPECT_EQ(monad_async_file_read(self, f, at, block, -1).value, 0);
            return monad_async_file_close(self, f);
        });
    }
    unlink(name.c_str());
    free(at);
}

// An adopted descriptor whose file is ordered: reads, too, move the position, as file.h says.
TEST(Position, of_what_is_adopted_with_O_DIRECT_and_ordered)
{
    constexpr size_t block = 4096;
    Fd const fd(nameless(O_DIRECT));
    auto *const at = static_cast<char *>(aligned_alloc(block, 2 * block));
    memset(at, 'a', block);
    memset(at + block, 'b', block);
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        File f = monad_async_file_adopt(fd);
        EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, 0);
        auto r = monad_async_file_write_all(self, f, at, 2 * block, -1);
        EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
        EXPECT_EQ(position(fd), off_t(2 * block));
        lseek(fd, 0, SEEK_SET);
        for (char const next : {'a', 'b'}) {
            EXPECT_EQ(monad_async_file_read(self, f, at, block, -1).value, intptr_t(block));
            EXPECT_EQ(at[0], next);
        }
        EXPECT_EQ(position(fd), off_t(2 * block));
        return success();
    });
    free(at);
}

// The same by a direct descriptor, next to which a plain one is made for the time of the call.
TEST(Position, of_a_direct_descriptor)
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 8;
    attr.direct_descriptors = 2;
    monad_async_executor const made = create_or_skip(attr);
    Limited const limited;
    constexpr size_t block = 512;
    std::string const name = "/tmp/monad_async_position_" + std::to_string(getpid());
    auto *const at = static_cast<char *>(aligned_alloc(4096, 8192));
    memset(at, 'a', 8192);
    for (char i = 1; i != 6; ++i) {
        memset(at + i * block, 'a' + i, block);
    }
    monad_async_executor other = nullptr;
    EXPECT_EQ(monad_async_executor_create(&other, &attr).error, 0);
    monad_async_remote to = nullptr;
    EXPECT_EQ(monad_async_remote_acquire(other, &to).error, 0);
    File passed{-1, 0};
    Task const task([&](monad_async_task self) {
        File f{-1, 0};
        int const how = O_RDWR | O_CREAT | O_TRUNC;
        uint32_t const direct = MONAD_ASYNC_FILE_DIRECT;
        auto r = monad_async_file_open(self, &f, AT_FDCWD, name.c_str(), how, 0600, 0, direct);
        if (r.error != 0) {
            return r;
        }
        r = monad_async_file_write_all(self, f, at, 8192, -1);
        if (r.error == 0) {
            printf("[  SKIPPED ] a plain descriptor of a direct one: not in this kernel\n");
        } else {
            EXPECT_EQ(r.error, EFBIG);
            EXPECT_EQ(r.value, intptr_t(limit));
        }
        r = monad_async_file_close(self, f);
        EXPECT_EQ(r.error, 0);
        r = monad_async_file_open(self, &f, AT_FDCWD, name.c_str(), O_RDONLY | O_DIRECT, 0, 0,
                                  direct);
        if (r.error == EINVAL) {
            return success(); // There is no such thing here.
        }
        r = monad_async_file_read(self, f, at, block, -1);
        if (r.error == EOPNOTSUPP) {
            return monad_async_file_close(self, f);
        }
        EXPECT_EQ(at[0], 'a');
        r = monad_async_file_read(self, f, at, block, -1);
        EXPECT_EQ(at[0], 'b') << "the second block, not the first one again";
        // So do the handles that are made of it.
        File plain{-1, 0};
        EXPECT_EQ(monad_async_file_to_plain(self, f, &plain).error, 0);
        for (char const next : {'c', 'd'}) {
            EXPECT_EQ(monad_async_file_read(self, plain, at, block, -1).error, 0);
            EXPECT_EQ(at[0], next) << "by a plain descriptor";
        }
        EXPECT_EQ(monad_async_file_close(self, plain).error, 0);
        r = monad_async_file_pass(self, f, to, &passed);
        EXPECT_TRUE(r.error == 0 || r.error == EOPNOTSUPP) << r.error;
        return monad_async_file_close(self, f);
    });
    Task const elsewhere([&](monad_async_task self) {
        if (passed.fd < 0) {
            return success();
        }
        for (char const next : {'e', 'f'}) {
            EXPECT_EQ(monad_async_file_read(self, passed, at, block, -1).error, 0);
            EXPECT_EQ(at[0], next) << "by another executor";
        }
        return monad_async_file_close(self, passed);
    });
    task.attach(made);
    while (monad_async_executor_has_work(made)) {
        EXPECT_EQ(monad_async_executor_run(made, no_bound, nullptr).error, 0);
    }
    EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
    elsewhere.attach(other);
    while (monad_async_executor_has_work(other)) {
        EXPECT_EQ(monad_async_executor_run(other, no_bound, nullptr).error, 0);
    }
    EXPECT_EQ(elsewhere->result.error, 0) << monad_async_result_message(elsewhere->result);
    monad_async_remote_release(to);
    EXPECT_EQ(monad_async_executor_destroy(other).error, 0);
    EXPECT_EQ(monad_async_executor_destroy(made).error, 0);
    unlink(name.c_str());
    free(at);
}

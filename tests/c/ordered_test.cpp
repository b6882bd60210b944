// Ordered files: writes one after the other, in the order of the calls, whatever happens to some of
// them. And the bound of the kernel's threads.

#include "tries.hpp"

#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/scope.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <string>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace support;

namespace {

using File = monad_async_file;

// A file that has no name.
Fd nameless()
{
    int const fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        abort();
    }
    return Fd(fd);
}

// The same, of that number, which stays open.
void make_nameless(int number)
{
    int const fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || (fd != number && (dup2(fd, number) != number || close(fd) != 0))) {
        abort();
    }
}

std::string content(int fd)
{
    std::string text;
    char room[65536];
    for (ssize_t n; (n = pread(fd, room, sizeof room, off_t(text.size()))) > 0;) {
        text.append(room, size_t(n));
    }
    return text;
}

monad_async_result ordered(monad_async_task self, int fd, File *file)
{
    *file = monad_async_file_adopt(fd);
    return monad_async_file_set_ordered(self, file);
}

void run_one(Executor const &ex, Body body)
{
    Task const task(std::move(body));
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
}

// Fills a pipe, so that the next write waits.
size_t fill(Pipe const &pipe)
{
    fcntl(pipe.writer, F_SETFL, O_NONBLOCK);
    size_t bytes = 0;
    char const page[4096] = {};
    for (ssize_t n; (n = write(pipe.writer, page, sizeof page)) > 0;) {
        bytes += size_t(n);
    }
    fcntl(pipe.writer, F_SETFL, 0);
    return bytes;
}

std::string drain(Pipe const &pipe, size_t bytes)
{
    std::string text(bytes, 0);
    size_t done = 0;
    while (done < bytes) {
        ssize_t const n = read(pipe.reader, text.data() + done, bytes - done);
        if (n <= 0) {
            break;
        }
        done += size_t(n);
    }
    text.resize(done);
    return text;
}

} // namespace

TEST(Ordered, five_thousand_writes_of_a_hundred_tasks)
{
    constexpr uint32_t writers = 100, each = 50;
    // A file, whose writes may be merged, and a pipe, whose are linked; by calls and by operations.
    for (unsigned const way : {0u, 1u, 2u, 3u}) {
        bool const operations = (way & 1) != 0, through_pipe = (way & 2) != 0;
        Executor ex(4);
        Pipe const pipe;
        Fd const plain = nameless(), other = nameless();
        int const fd = through_pipe ? pipe.writer : plain;
        ASSERT_EQ(pwrite(other, "x", 1, 0), 1);
        File f{};
        run_one(ex, [&](monad_async_task self) { return ordered(self, fd, &f); });
        uint32_t called = 0, written = 0, read_beside = 0;
        std::vector<uint32_t> numbers(writers * each);
        auto tasks = make_tasks(
            writers,
            [&](monad_async_task self, size_t) -> monad_async_result {
                std::array<monad_async_op, each> ops{};
                for (uint32_t i = 0; i < each; ++i) {
                    auto *const number = &numbers[called];
                    *number = called++;
                    if (operations) {
                        monad_async_op_write(&ops[i], f, number, sizeof *number, -1);
                        TRY(monad_async_op_begin(self, &ops[i]));
                        if (i % 7 == 0) {
                            TRY(yield(self));
                        }
                    } else {
                        auto const r = monad_async_file_write(self, f, number, sizeof *number, -1);
                        TRY(r);
                        EXPECT_EQ(r.value, 4);
                    }
                    written += !operations;
                }
                for (auto &op : ops) {
                    if (operations) {
                        TRY(monad_async_op_wait(self, &op));
                        ++written;
                    }
                }
                return success();
            },
            32768);
        // Behind all of them in the order of the calls, and not behind them in time.
        Task const reader([&](monad_async_task self) {
            char byte = 0;
            TRY(monad_async_file_read(self, monad_async_file_adopt(other), &byte, 1, 0));
            read_beside = written;
            return success();
        });
        attach_all(tasks, ex);
        reader.attach(ex);
        ex.finish();
        EXPECT_LT(read_beside, writers * each / 2) << "a read waits for writes";
        auto const text = through_pipe ? drain(pipe, writers * each * 4) : content(fd);
        ASSERT_EQ(text.size(), writers * each * 4);
        for (uint32_t i = 0; i < writers * each; ++i) {
            uint32_t number;
            memcpy(&number, text.data() + i * 4, 4);
            ASSERT_EQ(number, i) << "not in the order of the calls";
        }
    }
}

// Each is written over by the next one of its place: what is left tells the order.
TEST(Ordered, writes_that_do_not_go_on_keep_their_order)
{
    constexpr uint32_t writers = 100, each = 50, places = 61;
    for (unsigned const way : {0u, 1u, 2u, 3u}) {
        bool const operations = (way & 1) != 0, vectored = (way & 2) != 0;
        Executor ex(way == 0 ? 4 : 64);
        Fd const fd = nameless();
        File f{};
        run_one(ex, [&](monad_async_task self) { return ordered(self, fd, &f); });
        uint32_t called = 0, last_done = 0;
        std::vector<uint32_t> numbers(writers * each);
        auto tasks = make_tasks(
            writers,
            [&](monad_async_task self, size_t) -> monad_async_result {
                std::array<monad_async_op, each> ops{};
                std::array<iovec, each * 2> parts{};
                for (uint32_t i = 0; i < each; ++i) {
                    auto *const number = &numbers[called];
                    *number = called++;
                    auto *const bytes = reinterpret_cast<char *>(number);
                    // Now and then two that go on, and one that is behind the end of the file.
                    int64_t const at = (*number % places) * 4 * (*number % 3 == 0 ? 1 : 64);
                    auto *const part = &parts[i * 2];
                    part[0] = {bytes, 1};
                    part[1] = {bytes + 1, 3};
                    if (operations) {
                        if (vectored && i % 2 == 0) {
                            monad_async_op_writev(&ops[i], f, part, 2, at, 0);
                        } else {
                            monad_async_op_write(&ops[i], f, number, 4, at);
                        }
                        TRY(monad_async_op_begin(self, &ops[i]));
                        if (i % 7 == 0) {
                            TRY(yield(self));
                        }
                        continue;
                    }
                    auto const r = vectored ? monad_async_file_writev(self, f, part, 2, at, 0)
                                            : monad_async_file_write(self, f, number, 4, at);
                    TRY(r);
                    EXPECT_EQ(r.value, 4);
                    EXPECT_GE(*number + 1, last_done) << "told of out of turn";
                    last_done = *number;
                }
                for (auto &op : ops) {
                    if (operations) {
                        TRY(monad_async_op_wait(self, &op));
                        EXPECT_EQ(op.result.value, 4);
                    }
                }
                return success();
            },
            65536);
        attach_all(tasks, ex);
        ex.finish();
        std::vector<uint32_t> expected(places * 64, 0);
        for (uint32_t n = 0; n < writers * each; ++n) {
            expected[(n % places) * (n % 3 == 0 ? 1 : 64)] = n;
        }
        auto const text = content(fd);
        std::vector<uint32_t> found(places * 64, 0);
        memcpy(found.data(), text.data(), text.size());
        EXPECT_TRUE(found == expected) << "not in the order of the calls, way " << way;
    }
}

// Ten writes of 1 KiB, one called after the other, to a file of at most 4,608 bytes. The fifth is
// begun at 4,096, and fails half-way; `at` says where they begin.
template <class At, class Then> void a_fifth_write_that_fails(int fd, At at, Then then)
{
    Executor ex;
    signal(SIGXFSZ, SIG_IGN);
    rlimit old{};
    getrlimit(RLIMIT_FSIZE, &old);
    rlimit const small{4608, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    run_one(ex, [&](monad_async_task self) {
        File f{};
        TRY(ordered(self, fd, &f));
        int64_t where = 7;
        auto broken = monad_async_file_row_error(self, f, &where);
        EXPECT_EQ(broken.error, 0);
        std::string const block(1024, 'x');
        std::array<monad_async_op, 10> ops{};
        for (size_t i = 0; i < ops.size(); ++i) {
            monad_async_op_write(&ops[i], f, block.data(), block.size(), at(i));
            TRY(monad_async_op_begin(self, &ops[i]));
        }
        for (size_t i = 0; i < 4; ++i) {
            TRY(monad_async_op_wait(self, &ops[i]));
            EXPECT_EQ(ops[i].result.value, 1024);
        }
        // The one that has failed was not taken yet: nothing is written behind it.
        TRY(sleep_ns(self, ms));
        EXPECT_EQ(monad_async_file_write(self, f, "y", 1, 0).error, ECANCELED);
        auto const failed = monad_async_op_wait(self, &ops[4]);
        EXPECT_EQ(failed.error, EFBIG);
        EXPECT_EQ(failed.value, 512) << "what was written of it";
        for (size_t i = 5; i < ops.size(); ++i) {
            EXPECT_EQ(monad_async_op_wait(self, &ops[i]).error, ECANCELED);
        }
        broken = monad_async_file_row_error(self, f, &where);
        EXPECT_EQ(broken.error, EFBIG);
        EXPECT_EQ(broken.value, 6) << "five behind it, and one called later";
        EXPECT_EQ(where, 4608);
        // From then on it goes on.
        TRY(monad_async_file_write(self, f, "z", 1, 0));
        then(self, f);
        return success();
    });
    setrlimit(RLIMIT_FSIZE, &old);
    auto const text = content(fd);
    EXPECT_EQ(text.size(), 4608u);
    EXPECT_EQ(text[0], 'z');
    EXPECT_EQ(text.find('y'), std::string::npos);
}

TEST(Ordered, an_error_among_writes_that_do_not_go_on)
{
    Fd const fd = nameless();
    auto const at = [](size_t i) { return i == 4 ? 4096 : int64_t(i % 3) * 1024; };
    a_fifth_write_that_fails(fd, at, [](monad_async_task, File) {});
}

// Cancelled, closed, abandoned by their tasks while others perform them: each ends once, what is told
// as written is, and the memory is nobody's afterwards.
TEST(Ordered, ends_of_writes_that_do_not_go_on)
{
    size_t const before = open_descriptors();
    for (unsigned round = 0; round < 60; ++round) {
        Executor ex;
        int const fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        File f{};
        run_one(ex, [&](monad_async_task self) { return ordered(self, fd, &f); });
        constexpr size_t writers = 40;
        std::vector<std::vector<char>> blocks(writers, std::vector<char>(3000, 'a'));
        std::array<bool, writers> abandons{};
        auto tasks = make_tasks(writers, [&](monad_async_task self, size_t i) {
            auto const at = int64_t(i * 7 % writers) * 8192;
            if (!abandons[i]) {
                return monad_async_file_write(self, f, blocks[i].data(), blocks[i].size(), at);
            }
            monad_async_op op{};
            monad_async_op_write(&op, f, blocks[i].data(), blocks[i].size(), at);
            auto const r = monad_async_op_begin(self, &op);
            return r.error == 0 ? yield(self) : r;
        });
        for (size_t i = 0; i < writers; ++i) {
            abandons[i] = round % 3 == 2 && i % 3 == 0;
            tasks[i].attach(ex);
        }
        for (unsigned i = 0; i < round % 5; ++i) {
            ex.poll();
        }
        if (round % 3 == 0) {
            for (size_t i = round % 4; i < writers; i += 3) {
                (void)monad_async_task_cancel(ex, tasks[i]);
            }
        }
        bool const closes = round % 3 == 1;
        Task const closer([&](monad_async_task self) { return monad_async_file_close(self, f); });
        if (closes) {
            closer.attach(ex);
        }
        ex.finish();
        for (size_t i = 0; i < writers; ++i) {
            auto const r = tasks[i]->result;
            if (abandons[i]) {
                continue;
            }
            EXPECT_TRUE(r.error == 0 || r.error == ECANCELED || (closes && r.error == EBADF))
                << r.error;
            if (r.error == 0) {
                EXPECT_EQ(r.value, 3000);
            }
            if (r.error == 0 && !closes) {
                char byte = 0;
                EXPECT_EQ(pread(fd, &byte, 1, off_t(i * 7 % writers) * 8192), 1);
                EXPECT_EQ(byte, 'a');
            }
        }
        if (closes) {
            EXPECT_EQ(closer->result.error, 0);
        } else {
            close(fd);
        }
    }
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Ordered, an_error_stops_the_row_and_says_where)
{
    Fd const fd = nameless();
    auto const at = [](size_t i) { return int64_t(i * 1024); };
    a_fifth_write_that_fails(fd, at, [](monad_async_task self, File f) {
        // The same by a call.
        std::string const block(1024, 'x');
        auto const again = monad_async_file_write_all(self, f, block.data(), 1024, 4096);
        EXPECT_EQ(again.error, EFBIG);
        EXPECT_EQ(again.value, 512);
    });
}

TEST(Ordered, one_that_is_cancelled_is_left_out)
{
    for (size_t const which : {size_t(0), size_t(1), size_t(2)}) {
        Executor ex;
        Pipe const pipe;
        size_t const full = fill(pipe);
        File f{};
        run_one(ex, [&](monad_async_task self) { return ordered(self, pipe.writer, &f); });
        std::string const letters = "abc";
        auto tasks = make_tasks(3, [&](monad_async_task self, size_t i) {
            return monad_async_file_write(self, f, &letters[i], 1, -1);
        });
        for (auto const &task : tasks) {
            task.attach(ex);
            run_until_suspended(ex, task);
        }
        ex.poll(); // The first is in the kernel.
        ASSERT_EQ(monad_async_task_cancel(ex, tasks[which]).error, 0);
        while (monad_async_task_is_attached(tasks[which])) {
            ex.run();
        }
        EXPECT_EQ(tasks[which]->result.error, ECANCELED);
        EXPECT_EQ(drain(pipe, full).size(), full);
        ex.finish();
        auto expected = letters;
        expected.erase(which, 1);
        EXPECT_EQ(drain(pipe, 2), expected);
    }
}

TEST(Ordered, a_vectored_write_is_one)
{
    Executor ex;
    Pipe const pipe;
    std::vector<std::string> const parts = {std::string(100000, 'a'), "", std::string(7, 'b'),
                                            std::string(150000, 'c')};
    File f{};
    Task const writer([&](monad_async_task self) {
        TRY(ordered(self, pipe.writer, &f));
        std::vector<iovec> vector;
        for (auto const &part : parts) {
            vector.push_back({const_cast<char *>(part.data()), part.size()});
        }
        auto const r = monad_async_file_writev(self, f, vector.data(), int(vector.size()), -1, 0);
        TRY(r);
        EXPECT_EQ(r.value, 250007);
        return success();
    });
    Task const second(
        [&](monad_async_task self) { return monad_async_file_write(self, f, "second", 6, -1); });
    writer.attach(ex);
    second.attach(ex);
    std::string got(250013, 0);
    Task const reader([&](monad_async_task self) {
        return monad_async_file_read_all(self, monad_async_file_adopt(pipe.reader), got.data(),
                                         got.size(), -1);
    });
    reader.attach(ex);
    ex.finish();
    EXPECT_EQ(writer->result.error, 0);
    EXPECT_EQ(second->result.error, 0);
    EXPECT_TRUE(got == parts[0] + parts[2] + parts[3] + "second");
}

TEST(Ordered, a_close_ends_what_waits)
{
    Executor ex;
    Pipe pipe;
    fill(pipe);
    File f{};
    size_t const before = open_descriptors();
    int const copy = dup(pipe.writer);
    run_one(ex, [&](monad_async_task self) { return ordered(self, copy, &f); });
    auto tasks = make_tasks(70, [&](monad_async_task self, size_t) {
        return monad_async_file_write(self, f, "x", 1, -1);
    });
    attach_all(tasks, ex);
    run_until_suspended(ex, tasks.back());
    ex.poll();
    run_one(ex, [&](monad_async_task self) {
        TRY(monad_async_file_close(self, f));
        EXPECT_EQ(monad_async_file_write(self, f, "x", 1, -1).error, EBADF);
        EXPECT_EQ(monad_async_file_close(self, f).error, EBADF);
        monad_async_op op{};
        monad_async_op_write(&op, f, "x", 1, -1);
        EXPECT_EQ(monad_async_op_begin(self, &op).error, EBADF);
        return success();
    });
    for (auto const &task : tasks) {
        EXPECT_EQ(task->result.error, ECANCELED);
    }
    EXPECT_EQ(open_descriptors(), before);
}

// A handle is a value: an older copy does not say that the file is ordered since. Its close is of the
// same file: what waited in the row, and what a helper was at, was written to the next of that number.
TEST(Ordered, a_close_by_an_older_handle_is_one_of_the_row)
{
    Executor ex;
    std::string const data(65536, 'x');
    for (int round = 0; round < 20; ++round) {
        int const fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        ASSERT_GE(fd, 0);
        auto const older = monad_async_file_adopt(fd);
        File f{};
        run_one(ex, [&](monad_async_task self) { return ordered(self, fd, &f); });
        auto writers = make_tasks(40, [&](monad_async_task self, size_t i) {
            return monad_async_file_write(self, f, data.data(), data.size(), int64_t(i) << 20);
        });
        attach_all(writers, ex);
        Fd next;
        run_one(ex, [&](monad_async_task self) {
            auto another = f;
            another.flags = 0;
            EXPECT_EQ(monad_async_file_set_ordered(self, &another).error, EINVAL) << "in use";
            auto const r = monad_async_file_close(self, older);
            next = nameless();
            return r;
        });
        EXPECT_EQ(int(next), fd) << "the next of that number";
        struct stat status {};
        ASSERT_EQ(fstat(next, &status), 0);
        EXPECT_EQ(status.st_size, 0) << "written to another file";
        for (auto const &task : writers) {
            EXPECT_TRUE(task->result.error == 0 || task->result.error == ECANCELED);
        }
    }
}

// The same of a pipe: more wait than a row has.
TEST(Ordered, a_close_by_an_older_handle_ends_what_waits)
{
    Executor ex;
    Pipe const pipe;
    fill(pipe);
    int const copy = dup(pipe.writer);
    auto const older = monad_async_file_adopt(copy);
    File f{};
    run_one(ex, [&](monad_async_task self) { return ordered(self, copy, &f); });
    auto tasks = make_tasks(100, [&](monad_async_task self, size_t) {
        return monad_async_file_write(self, f, "x", 1, -1);
    });
    attach_all(tasks, ex);
    run_until_suspended(ex, tasks.back());
    ex.poll();
    Fd next;
    run_one(ex, [&](monad_async_task self) {
        auto const r = monad_async_file_close(self, older);
        next = nameless();
        return r;
    });
    ex.finish();
    EXPECT_EQ(int(next), copy);
    EXPECT_EQ(content(next), "");
    for (auto const &task : tasks) {
        EXPECT_EQ(task->result.error, ECANCELED);
    }
}

// Behind the library's back: the row is none of the next file's, whose close does not wait for it.
TEST(Ordered, a_row_whose_file_is_gone_keeps_no_other_from_its_close)
{
    Executor ex;
    Pipe pipe;
    size_t const full = fill(pipe);
    int const copy = dup(pipe.writer);
    File f{};
    run_one(ex, [&](monad_async_task self) { return ordered(self, copy, &f); });
    Task const writer(
        [&](monad_async_task self) { return monad_async_file_write(self, f, "x", 1, -1); });
    writer.attach(ex);
    run_until_suspended(ex, writer);
    close(copy);
    make_nameless(copy);
    Task const closer([&](monad_async_task self) {
        return monad_async_file_close(self, monad_async_file_adopt(copy));
    });
    closer.attach(ex);
    while (monad_async_task_is_attached(closer)) {
        ex.run();
    }
    EXPECT_EQ(closer->result.error, 0);
    EXPECT_TRUE(monad_async_task_is_attached(writer));
    EXPECT_EQ(drain(pipe, full).size(), full);
    ex.finish();
    EXPECT_EQ(writer->result.error, 0);
}

TEST(Ordered, nothing_is_made_an_ordered_file)
{
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        for (int const fd : {-1, 1 << 20}) {
            auto none = monad_async_file_adopt(fd);
            EXPECT_EQ(monad_async_file_set_ordered(self, &none).error, EBADF) << fd;
            none.flags = MONAD_ASYNC_FILE_DIRECT;
            EXPECT_EQ(monad_async_file_set_ordered(self, &none).error, EBADF) << fd;
        }
        return success();
    });
}

// What a call tells of how much it has moved is right, too, where it did not begin.
TEST(Ordered, what_did_not_begin_has_moved_nothing)
{
    Executor ex;
    Fd const fd = nameless();
    run_one(ex, [&](monad_async_task self) {
        File f{};
        TRY(ordered(self, fd, &f));
        monad_async_scope scope;
        TRY(monad_async_scope_enter(self, &scope, UINT64_MAX, 0));
        TRY(monad_async_scope_cancel(&scope));
        auto r = monad_async_file_write(self, f, "x", 1, 0);
        EXPECT_EQ(r.error, ECANCELED);
        EXPECT_EQ(r.value, 0);
        TRY(monad_async_scope_leave(self, &scope));
        f.fd = -1;
        char byte = 0;
        for (auto const &file : {f, monad_async_file_adopt(-1)}) {
            r = monad_async_file_read_all(self, file, &byte, 1, 0);
            EXPECT_EQ(r.error, EBADF);
            EXPECT_EQ(r.value, 0);
            r = monad_async_file_write_all(self, file, &byte, 1, 0);
            EXPECT_EQ(r.error, EBADF);
            EXPECT_EQ(r.value, 0);
        }
        return success();
    });
}

TEST(Ordered, a_task_exits_with_writes_in_its_row)
{
    Executor ex;
    Pipe const pipe;
    size_t const full = fill(pipe);
    File f{};
    static std::array<monad_async_op, 10> ops;
    run_one(ex, [&](monad_async_task self) {
        TRY(ordered(self, pipe.writer, &f));
        EXPECT_EQ(monad_async_file_set_ordered(self, &f).error, EINVAL);
        for (auto &op : ops) {
            op = {};
            monad_async_op_write(&op, f, "x", 1, -1);
            TRY(monad_async_op_begin(self, &op));
        }
        return yield(self);
    });
    EXPECT_EQ(drain(pipe, full).size(), full);
    run_one(ex, [&](monad_async_task self) {
        TRY(monad_async_file_write(self, f, "y", 1, -1));
        File const wrong{f.fd, MONAD_ASYNC_FILE_ORDERED | 9};
        EXPECT_EQ(monad_async_file_write(self, wrong, "y", 1, -1).error, EBADF);
        File const unknown{f.fd, 9};
        EXPECT_EQ(monad_async_file_write(self, unknown, "y", 1, -1).error, EINVAL);
        EXPECT_EQ(monad_async_file_row_error(self, monad_async_file_adopt(f.fd), nullptr).error,
                  EINVAL);
        return success();
    });
    EXPECT_EQ(drain(pipe, 1), "y");
}

// A thousand of them made a thousand threads.
TEST(Ordered, the_kernels_threads_are_bounded)
{
    constexpr size_t splices = 1000, most = 8;
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 256;
    attr.max_kernel_workers[0] = most;
    attr.max_kernel_workers[1] = most;
    monad_async_executor const ex = create_or_skip(attr);
    Pipe const from, to;
    size_t const before = entries_of("/proc/self/task");
    auto const tasks = make_tasks(splices, [&](monad_async_task self, size_t) {
        auto sqe = make_sqe(IORING_OP_SPLICE, to.writer, nullptr, 4096, current_position);
        sqe.splice_fd_in = from.reader;
        sqe.splice_off_in = current_position;
        return do_io(self, sqe);
    });
    attach_all(tasks, ex);
    auto const pass = [&] { (void)monad_async_executor_run(ex, no_bound, &at_once); };
    size_t threads = before;
    for (uint64_t const end = boot_time_ns() + 300 * ms; boot_time_ns() < end;) {
        pass();
        threads = std::max(threads, entries_of("/proc/self/task"));
    }
    // This one, ".", "..", and those of the kernel's. (Those of rings before may be going.)
    EXPECT_GT(threads, size_t(3)) << "nothing is blocked";
    EXPECT_LE(threads, before + 2 * most + 1);
    for (auto const &task : tasks) {
        EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    }
    while (monad_async_executor_has_work(ex)) {
        (void)monad_async_executor_run(ex, no_bound, nullptr);
    }
    for (auto const &task : tasks) {
        EXPECT_EQ(task->result.error, ECANCELED);
    }
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

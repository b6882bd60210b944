// What users of other libraries for io_uring have complained of, about files and sockets, tried here.

#include "support.hpp"

#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/scope.h>
#include <monad/async/socket.h>

#include <array>
#include <numeric>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

using namespace support;

namespace {

using File = monad_async_file;
using Socket = monad_async_socket;

struct Two {
    Fd first, second;

    explicit Two(int type)
    {
        int fds[2];
        EXPECT_EQ(type == 0 ? pipe2(fds, O_CLOEXEC)
                            : socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds),
                  0);
        first = Fd(fds[0]);
        second = Fd(fds[1]);
    }
};

void in_task(std::function<void(monad_async_task)> const &body)
{
    Executor const ex(8);
    Task const task([&](monad_async_task self) {
        body(self);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

void expect(monad_async_result r, intptr_t value, char const *what)
{
    EXPECT_EQ(r.error, 0) << what << ": " << monad_async_result_message(r);
    EXPECT_EQ(r.value, value) << what;
}

} // namespace

// "recv of nothing waits for ever", "a read of 0 bytes is taken for the end of the file".
TEST(IoComplaints, nothing_is_moved_at_once)
{
    Two const sockets(SOCK_STREAM), ends(0);
    Fd const memory(memfd_create("memory", MFD_CLOEXEC));
    in_task([&](monad_async_task self) {
        char c = 0;
        auto const s = monad_async_socket_adopt(sockets.first);
        auto const f = monad_async_file_adopt(memory);
        expect(monad_async_socket_recv_exact(self, s, &c, 0), 0, "recv_exact");
        expect(monad_async_socket_send(self, s, &c, 0, 0), 0, "send");
        expect(monad_async_socket_send_all(self, s, &c, 0), 0, "send_all");
        expect(monad_async_file_read(self, f, &c, 0, 0), 0, "read");
        expect(monad_async_file_write(self, f, &c, 0, 0), 0, "write");
        expect(monad_async_file_read_all(self, f, &c, 0, 0), 0, "read_all");
        expect(monad_async_file_write_all(self, f, &c, 0, 0), 0, "write_all");
        expect(monad_async_file_write(self, monad_async_file_adopt(ends.second), &c, 0, -1), 0,
               "write to a pipe");
    });
}

// "Reads behind the end are errors", "a short read is the end", "offsets above 4 GiB are cut off".
TEST(IoComplaints, the_end_of_a_file_is_where_it_is)
{
    Fd const memory(memfd_create("memory", MFD_CLOEXEC));
    in_task([&](monad_async_task self) {
        auto const f = monad_async_file_adopt(memory);
        int64_t const far = (int64_t(5) << 32) + 7;
        std::array<char, 64> got{};
        expect(monad_async_file_write_all(self, f, "0123456789", 10, far), 10, "write_all");
        expect(monad_async_file_read(self, f, got.data(), got.size(), far + 4), 6, "read");
        EXPECT_EQ(std::string(got.data(), 6), "456789");
        expect(monad_async_file_read_all(self, f, got.data(), got.size(), far + 9), 1, "read_all");
        expect(monad_async_file_read(self, f, got.data(), got.size(), far + 10), 0, "at the end");
        expect(monad_async_file_read(self, f, got.data(), got.size(), far * 2), 0, "behind it");
        EXPECT_EQ(monad_async_file_read(self, f, got.data(), 1, -2).error, EINVAL);
    });
}

// "An offset of 0 reads a pipe, and -1 does not", the other way round elsewhere.
TEST(IoComplaints, what_cannot_be_sought_has_no_offset)
{
    Two const ends(0);
    Fd const event(eventfd(3, EFD_CLOEXEC));
    Fd const timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    itimerspec const soon{{0, 0}, {0, 1000000}};
    EXPECT_EQ(timerfd_settime(timer, 0, &soon, nullptr), 0);
    in_task([&](monad_async_task self) {
        auto const from = monad_async_file_adopt(ends.first),
                   to = monad_async_file_adopt(ends.second);
        std::array<char, 8> got{};
        uint64_t n = 0;
        for (int64_t const at : {int64_t(-1), int64_t(0)}) {
            expect(monad_async_file_write(self, to, "ab", 2, at), 2, "write to a pipe");
            expect(monad_async_file_read(self, from, got.data(), got.size(), at), 2,
                   "read of a pipe");
        }
        expect(monad_async_file_read(self, monad_async_file_adopt(event), &n, sizeof n, -1), 8,
               "eventfd");
        EXPECT_EQ(n, 3u);
        expect(monad_async_file_read(self, monad_async_file_adopt(timer), &n, sizeof n, -1), 8,
               "timerfd");
        EXPECT_EQ(n, 1u);
    });
}

// "An empty datagram ends the connection", "what does not fit is lost without a word".
TEST(IoComplaints, datagrams_are_whole)
{
    Two const sockets(SOCK_DGRAM);
    in_task([&](monad_async_task self) {
        auto const s = monad_async_socket_adopt(sockets.first),
                   t = monad_async_socket_adopt(sockets.second);
        std::array<char, 8> got{};
        expect(monad_async_socket_send(self, s, "", 0, 0), 0, "an empty one");
        expect(monad_async_socket_send(self, s, "0123456789", 10, 0), 10, "one that is too large");
        expect(monad_async_socket_recv(self, t, got.data(), got.size(), 0), 0, "the empty one");
        iovec part{got.data(), got.size()};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        expect(monad_async_socket_recvmsg(self, t, &m, 0), 8, "what fits");
        EXPECT_NE(m.msg_flags & MSG_TRUNC, 0);
    });
}

// "The other side has shut down, and what it had sent before is gone."
TEST(IoComplaints, what_was_sent_before_a_shutdown_comes)
{
    Two const sockets(SOCK_STREAM);
    in_task([&](monad_async_task self) {
        auto const s = monad_async_socket_adopt(sockets.first),
                   t = monad_async_socket_adopt(sockets.second);
        std::array<char, 16> got{};
        expect(monad_async_socket_send_all(self, s, "question", 8), 8, "send_all");
        expect(monad_async_socket_shutdown(self, s, SHUT_WR), 0, "shutdown");
        expect(monad_async_socket_recv_exact(self, t, got.data(), got.size()), 8,
               "all, then the end");
        expect(monad_async_socket_recv(self, t, got.data(), got.size(), 0), 0, "the end again");
        expect(monad_async_socket_send_all(self, t, "answer", 6), 6, "the other way");
        expect(monad_async_socket_recv_exact(self, s, got.data(), 6), 6, "the answer");
        EXPECT_EQ(monad_async_socket_send(self, s, "x", 1, 0).error, EPIPE);
    });
}

// "An accept for which no descriptor is left ends the server, or keeps a processor busy."
TEST(IoComplaints, an_accept_without_a_descriptor_is_told_and_the_next_is_served)
{
    Fd const listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Fd const client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto *const any = reinterpret_cast<sockaddr *>(&at);
    socklen_t length = sizeof at;
    ASSERT_EQ(bind(listener, any, length), 0);
    ASSERT_EQ(listen(listener, 4), 0);
    ASSERT_EQ(getsockname(listener, any, &length), 0);
    in_task([&](monad_async_task self) {
        auto const l = monad_async_socket_adopt(listener);
        Socket got{-7, 0};
        expect(monad_async_socket_connect(self, monad_async_socket_adopt(client), any, length), 0,
               "connect");
        rlimit old{};
        getrlimit(RLIMIT_NOFILE, &old);
        // Not one more.
        rlimit const none{rlim_t(fcntl(0, F_DUPFD_CLOEXEC, 3)), old.rlim_max};
        close(int(none.rlim_cur));
        setrlimit(RLIMIT_NOFILE, &none);
        auto const refused = monad_async_socket_accept(self, l, &got, nullptr, nullptr, 0);
        setrlimit(RLIMIT_NOFILE, &old);
        EXPECT_EQ(refused.error, EMFILE);
        EXPECT_EQ(got.fd, -7);
        expect(monad_async_socket_accept(self, l, &got, nullptr, nullptr, 0), 0, "accept");
        expect(monad_async_socket_close(self, got), 0, "close");
    });
}

// "A write to a pipe that nobody empties, and the read that would empty it, wait for each other in a
// small ring": both are in flight.
TEST(IoComplaints, both_ends_of_a_pipe_in_one_ring)
{
    Two const ends(0);
    Executor const ex(1);
    std::string const text(1 << 20, 'x');
    size_t got = 0;
    Task const writer([&](monad_async_task self) {
        expect(monad_async_file_write_all(self, monad_async_file_adopt(ends.second), text.data(),
                                          text.size(), -1),
               intptr_t(text.size()), "write_all");
        return success();
    });
    Task const reader([&](monad_async_task self) {
        std::array<char, 4096> room{};
        while (got < text.size()) {
            auto const r = monad_async_file_read(self, monad_async_file_adopt(ends.first),
                                                 room.data(), room.size(), -1);
            if (r.error != 0 || r.value <= 0) {
                return r;
            }
            got += size_t(r.value);
        }
        return success();
    });
    writer.attach(ex);
    reader.attach(ex);
    ex.finish();
    EXPECT_EQ(writer->result.error, 0);
    EXPECT_EQ(reader->result.error, 0);
    EXPECT_EQ(got, text.size());
}

// "An operation whose memory may not be written ends the process": it is EFAULT, and what was begun
// besides it goes on.
TEST(IoComplaints, memory_that_may_not_be_written_is_an_errno)
{
    Fd const memory(memfd_create("memory", MFD_CLOEXEC));
    ASSERT_EQ(pwrite(memory, "abc", 3, 0), 3);
    void *const sealed = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    in_task([&](monad_async_task self) {
        auto const f = monad_async_file_adopt(memory);
        char c = 0;
        monad_async_op bad{}, good{};
        monad_async_op_read(&bad, f, sealed, 1, 0);
        monad_async_op_read(&good, f, &c, 1, 1);
        expect(monad_async_op_begin(self, &bad), 0, "begin");
        expect(monad_async_op_begin(self, &good), 0, "begin");
        EXPECT_EQ(monad_async_op_wait(self, &bad).error, EFAULT);
        expect(monad_async_op_wait(self, &good), 1, "the other");
        EXPECT_EQ(c, 'b');
        EXPECT_EQ(monad_async_file_read(self, f, sealed, 1, 0).error, EFAULT);
    });
    munmap(sealed, 4096);
}

// "A record is used again from its own completion, and the second result is the first one's."
TEST(IoComplaints, a_record_is_used_again_at_once)
{
    Fd const memory(memfd_create("memory", MFD_CLOEXEC));
    std::string text(1000, ' ');
    std::iota(text.begin(), text.end(), char(0));
    ASSERT_EQ(pwrite(memory, text.data(), text.size(), 0), ssize_t(text.size()));
    in_task([&](monad_async_task self) {
        auto const f = monad_async_file_adopt(memory);
        std::array<monad_async_op, 3> ops{};
        std::array<char, 3> into{};
        std::array<size_t, 3> at{};
        size_t next = 0, done = 0;
        auto const begin = [&](size_t i) {
            at[i] = next++;
            into[i] = char(~text[at[i]]);
            monad_async_op_read(&ops[i], f, &into[i], 1, int64_t(at[i]));
            expect(monad_async_op_begin(self, &ops[i]), 0, "begin");
            EXPECT_EQ(monad_async_op_begin(self, &ops[i]).error, EBUSY);
        };
        for (size_t i = 0; i < ops.size(); ++i) {
            begin(i);
        }
        while (done < text.size()) {
            monad_async_op *op = nullptr;
            expect(monad_async_op_wait_any(self, &op), 0, "wait_any");
            auto const i = size_t(op - ops.data());
            expect(op->result, 1, "read");
            EXPECT_EQ(into[i], text[at[i]]);
            ++done;
            if (next < text.size()) {
                begin(i);
            }
        }
        monad_async_op *op = nullptr;
        EXPECT_EQ(monad_async_op_wait_any(self, &op).error, ENOENT);
    });
}

// "A connect that timed out leaves a socket of no use, or connects after all."
TEST(IoComplaints, a_connect_that_was_given_up_leaves_nothing_in_flight)
{
    Fd const listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Fd const full(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Fd const client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage at{};
    at.ss_family = AF_UNIX; // Given a name by the kernel.
    auto *const any = reinterpret_cast<sockaddr *>(&at);
    socklen_t length = sizeof at;
    ASSERT_EQ(bind(listener, any, sizeof at.ss_family), 0);
    ASSERT_EQ(listen(listener, 0), 0);
    ASSERT_EQ(getsockname(listener, any, &length), 0);
    ASSERT_EQ(connect(full, any, length), 0); // The one that its queue has room for.
    in_task([&](monad_async_task self) {
        auto const s = monad_async_socket_adopt(client), l = monad_async_socket_adopt(listener);
        monad_async_scope scope;
        expect(monad_async_scope_enter(self, &scope, 2000000, 0), 0, "enter");
        EXPECT_EQ(monad_async_socket_connect(self, s, any, length).error, ETIME);
        expect(monad_async_scope_leave(self, &scope), 1, "leave");
        Socket got{-1, 0};
        expect(monad_async_socket_accept(self, l, &got, nullptr, nullptr, 0), 0, "accept");
        expect(monad_async_socket_close(self, got), 0, "close");
        expect(monad_async_socket_connect(self, s, any, length), 0, "connect");
        expect(monad_async_socket_accept(self, l, &got, nullptr, nullptr, 0), 0, "accept");
        expect(monad_async_socket_send(self, s, "x", 1, 0), 1, "send");
        char c = 0;
        expect(monad_async_socket_recv(self, got, &c, 1, 0), 1, "recv");
        expect(monad_async_socket_close(self, got), 0, "close");
    });
}

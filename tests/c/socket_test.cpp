// The calls on sockets: TCP, UDP, Unix; closing; what cancels and bad input do.

#include "tries.hpp"

#include <monad/async/op.h>
#include <monad/async/scope.h>
#include <monad/async/socket.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <string>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

using namespace support;

namespace {

using Socket = monad_async_socket;

sockaddr_in loopback(uint16_t port = 0)
{
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = port;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

sockaddr *any(sockaddr_in &a)
{
    return reinterpret_cast<sockaddr *>(&a);
}

// A listener on a port that is free, and the port.
monad_async_result listen_on(monad_async_task self, Socket &listener, sockaddr_in &address,
                             int type = SOCK_STREAM)
{
    TRY(monad_async_socket_open(self, &listener, AF_INET, type, 0, 0));
    address = loopback();
    TRY(monad_async_socket_bind(self, listener, any(address), sizeof address));
    if (type == SOCK_STREAM) {
        TRY(monad_async_socket_listen(self, listener, 64));
    }
    socklen_t length = sizeof address;
    return monad_async_socket_local_address(self, listener, any(address), &length);
}

struct Pair {
    Fd a, b;
    Pair()
    {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
            abort();
        }
        a = Fd(fds[0]);
        b = Fd(fds[1]);
    }
};

void run_one(Executor const &ex, Body body)
{
    Task const task(std::move(body));
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

} // namespace

TEST(Socket, tcp_both_ways)
{
    Executor ex;
    size_t const before = open_descriptors();
    Socket listener{-1, 0};
    sockaddr_in address{};
    constexpr size_t bytes = 1 << 20;
    Task server([&](monad_async_task self) {
        TRY(listen_on(self, listener, address));
        Socket s{-1, 0};
        sockaddr_in peer{};
        socklen_t length = sizeof peer;
        TRY(monad_async_socket_accept(self, listener, &s, any(peer), &length, 0));
        EXPECT_EQ(length, sizeof peer);
        EXPECT_EQ(fcntl(s.fd, F_GETFD), FD_CLOEXEC);
        sockaddr_in same{};
        TRY(monad_async_socket_peer_address(self, s, any(same), &length));
        EXPECT_EQ(same.sin_port, peer.sin_port);
        std::string got(bytes, 0);
        auto r = monad_async_socket_recv_exact(self, s, got.data(), bytes);
        TRY(r);
        EXPECT_EQ(r.value, intptr_t(bytes));
        std::reverse(got.begin(), got.end());
        r = monad_async_socket_send_all(self, s, got.data(), bytes);
        TRY(r);
        EXPECT_EQ(r.value, intptr_t(bytes));
        // Cut short, and at the end.
        r = monad_async_socket_recv_exact(self, s, got.data(), bytes);
        TRY(r);
        EXPECT_EQ(r.value, 3);
        r = monad_async_socket_recv(self, s, got.data(), bytes, 0);
        TRY(r);
        EXPECT_EQ(r.value, 0);
        TRY(monad_async_socket_close(self, s));
        return monad_async_socket_close(self, listener);
    });
    Task client([&](monad_async_task self) {
        Socket s{-1, 0};
        TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, 0));
        EXPECT_EQ(fcntl(s.fd, F_GETFD), FD_CLOEXEC);
        int on = 1;
        TRY(monad_async_socket_option_set(self, s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
        on = 0;
        socklen_t length = sizeof on;
        TRY(monad_async_socket_option_get(self, s, IPPROTO_TCP, TCP_NODELAY, &on, &length));
        EXPECT_EQ(on, 1);
        TRY(monad_async_socket_connect(self, s, any(address), sizeof address));
        std::string sent(bytes, 0), got(bytes, 0);
        std::iota(sent.begin(), sent.end(), char(0));
        TRY(monad_async_socket_send_all(self, s, sent.data(), bytes));
        TRY(monad_async_socket_recv_exact(self, s, got.data(), bytes));
        std::reverse(got.begin(), got.end());
        EXPECT_TRUE(got == sent);
        TRY(monad_async_socket_send(self, s, "end", 3, 0));
        TRY(monad_async_socket_shutdown(self, s, SHUT_WR));
        auto const r = monad_async_socket_recv(self, s, got.data(), bytes, 0);
        EXPECT_EQ(r.value, 0);
        return monad_async_socket_close(self, s);
    });
    server.attach(ex);
    client.attach(ex);
    ex.finish();
    EXPECT_EQ(server->result.error, 0);
    EXPECT_EQ(client->result.error, 0);
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Socket, udp_messages_keep_their_bounds)
{
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        Socket a{-1, 0}, b{-1, 0};
        sockaddr_in to{}, from{};
        TRY(listen_on(self, a, to, SOCK_DGRAM));
        TRY(listen_on(self, b, from, SOCK_DGRAM));
        for (std::string const text : {"one", "", "three"}) {
            iovec part{const_cast<char *>(text.data()), text.size()};
            msghdr m{};
            m.msg_name = &to;
            m.msg_namelen = sizeof to;
            m.msg_iov = &part;
            m.msg_iovlen = 1;
            auto r = monad_async_socket_sendmsg(self, b, &m, 0);
            TRY(r);
            EXPECT_EQ(r.value, intptr_t(text.size()));
            char room[64];
            sockaddr_in sender{};
            iovec into{room, sizeof room};
            m.msg_name = &sender;
            m.msg_iov = &into;
            r = monad_async_socket_recvmsg(self, a, &m, 0);
            TRY(r);
            EXPECT_EQ(std::string(room, size_t(r.value)), text);
            EXPECT_EQ(sender.sin_port, from.sin_port);
        }
        TRY(monad_async_socket_close(self, a));
        return monad_async_socket_close(self, b);
    });
}

TEST(Socket, unix_sockets_pass_descriptors)
{
    Executor ex;
    Pair const pair;
    Pipe const pipe;
    size_t const before = open_descriptors();
    run_one(ex, [&](monad_async_task self) {
        auto const a = monad_async_socket_adopt(pair.a), b = monad_async_socket_adopt(pair.b);
        union {
            cmsghdr header;
            char room[CMSG_SPACE(sizeof(int))];
        } control{};
        char byte = 'x';
        iovec part{&byte, 1};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        int fd = pipe.writer;
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        TRY(monad_async_socket_sendmsg(self, a, &m, 0));
        control = {};
        m.msg_controllen = sizeof control;
        TRY(monad_async_socket_recvmsg(self, b, &m, 0));
        c = CMSG_FIRSTHDR(&m);
        EXPECT_NE(c, nullptr);
        if (c == nullptr) {
            return monad_async_make_failure(ENODATA);
        }
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
        Fd const passed(fd);
        EXPECT_EQ(fcntl(passed, F_GETFD), FD_CLOEXEC);
        EXPECT_EQ(write(passed, "y", 1), 1);
        return success();
    });
    char got = 0;
    EXPECT_EQ(read(pipe.reader, &got, 1), 1);
    EXPECT_EQ(got, 'y');
    EXPECT_EQ(open_descriptors(), before);
}

// A file descriptor's number is used again at once: nothing that was meant for the old one may
// reach the new one. Rings of one entry too, where readers wait for room.
TEST(Socket, close_ends_what_is_in_flight_with_ECANCELED)
{
    for (unsigned entries : {64u, 1u}) {
        Executor ex(entries);
        int fds[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        Fd const peer(fds[1]);
        auto const socket = monad_async_socket_adopt(fds[0]);
        char buffers[20][8] = {};
        auto const readers = make_tasks(20, [&](monad_async_task self, size_t i) {
            if (i % 2 == 0) {
                return monad_async_socket_recv(self, socket, buffers[i], 8, 0);
            }
            monad_async_op op{};
            monad_async_op_recv(&op, socket, buffers[i], 8, 0);
            TRY(monad_async_op_begin(self, &op));
            return monad_async_op_wait(self, &op);
        });
        Fd again, other;
        Task closer([&](monad_async_task self) {
            TRY(monad_async_socket_close(self, socket));
            int next[2];
            EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, next), 0);
            again = Fd(next[0]);
            other = Fd(next[1]);
            EXPECT_EQ(again, socket.fd) << "the lowest that is free";
            EXPECT_EQ(write(other, "new", 3), 3);
            return success();
        });
        closer.priority(monad_async_priority_low);
        attach_all(readers, ex);
        closer.attach(ex);
        ex.finish();
        EXPECT_EQ(closer->result.error, 0);
        for (auto const &reader : readers) {
            EXPECT_EQ(reader->result.error, ECANCELED);
        }
        char got[8];
        EXPECT_EQ(recv(again, got, sizeof got, MSG_DONTWAIT), 3) << "nobody took it";
        char end;
        EXPECT_EQ(recv(peer, &end, 1, MSG_DONTWAIT), 0) << "the old one is closed";
    }
}

TEST(Socket, close_of_one_descriptor_leaves_another_of_the_same_file_alone)
{
    Executor ex;
    Pair pair;
    auto const kept = monad_async_socket_adopt(pair.a);
    auto const gone = monad_async_socket_adopt(dup(pair.a));
    char got[8] = {};
    Task reader([&](monad_async_task self) {
        return monad_async_socket_recv(self, kept, got, sizeof got, 0);
    });
    Task closer([&](monad_async_task self) {
        TRY(monad_async_socket_close(self, gone));
        TRY(yield(self));
        return monad_async_socket_send(self, monad_async_socket_adopt(pair.b), "still", 5, 0);
    });
    reader.attach(ex);
    closer.attach(ex);
    ex.finish();
    EXPECT_EQ(reader->result.error, 0);
    EXPECT_EQ(reader->result.value, 5);
    EXPECT_EQ(closer->result.error, 0);
}

// The kernel has let go of the connect: begun again, it is told that the socket connects already.
TEST(Socket, close_of_one_descriptor_leaves_a_connect_by_another_alone)
{
    Executor ex;
    Fd const listener(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    auto address = loopback();
    socklen_t length = sizeof address;
    ASSERT_EQ(bind(listener, any(address), sizeof address), 0);
    ASSERT_EQ(listen(listener, 0), 0);
    ASSERT_EQ(getsockname(listener, any(address), &length), 0);
    std::vector<Fd> others; // As many as may wait to be accepted.
    for (int i = 0; i < 4; ++i) {
        others.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
        (void)connect(others.back(), any(address), sizeof address);
    }
    Fd const s(socket(AF_INET, SOCK_STREAM, 0));
    Task const connects([&](monad_async_task self) {
        return monad_async_socket_connect(self, monad_async_socket_adopt(s), any(address),
                                          sizeof address);
    });
    connects.attach(ex);
    run_until_suspended(ex, connects);
    Task const closes([&](monad_async_task self) {
        return monad_async_socket_close(self, monad_async_socket_adopt(dup(s)));
    });
    closes.attach(ex);
    while (monad_async_task_is_attached(closes)) {
        ex.run();
    }
    EXPECT_EQ(closes->result.error, 0);
    while (accept(listener, nullptr, nullptr) >= 0) {
    }
    ex.finish();
    EXPECT_EQ(connects->result.error, 0) << monad_async_result_message(connects->result);
    EXPECT_EQ(send(s, "x", 1, MSG_NOSIGNAL), 1);
}

TEST(Socket, close_is_shielded)
{
    Executor ex;
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    Fd const peer(fds[1]);
    auto const socket = monad_async_socket_adopt(fds[0]);
    Task task([&](monad_async_task self) {
        TRY(monad_async_task_cancel(ex, self));
        char byte;
        EXPECT_EQ(monad_async_socket_recv(self, socket, &byte, 1, 0).error, ECANCELED);
        return monad_async_socket_close(self, socket);
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(fcntl(fds[0], F_GETFD), -1);
}

// They were left open, to be closed by who had lost them.
TEST(Socket, descriptors_of_a_message_that_nobody_took_are_closed)
{
    Executor ex;
    Pair const pair;
    size_t const before = open_descriptors();
    struct Message {
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(3 * sizeof(int)) +
                                      CMSG_SPACE(sizeof(int))];
        char byte = 'x';
        iovec part{&byte, 1};
        msghdr header{};

        Message()
        {
            header.msg_iov = &part;
            header.msg_iovlen = 1;
            header.msg_control = control;
            header.msg_controllen = sizeof control;
        }
    } ended, left, taken, out;
    monad_async_op ending{}, leaving{}, taking{};
    int on = 1;
    ASSERT_EQ(setsockopt(pair.b, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
    // Linux 6.5: one of the sender's process comes with each.
    constexpr int passes_pidfd = 76, a_pidfd = 4;
    size_t const all = 3 + (setsockopt(pair.b, SOL_SOCKET, passes_pidfd, &on, sizeof on) == 0);
    Task task([&](monad_async_task self) {
        auto const a = monad_async_socket_adopt(pair.a), b = monad_async_socket_adopt(pair.b);
        out.header.msg_controllen = CMSG_SPACE(3 * sizeof(int));
        auto *const c = CMSG_FIRSTHDR(&out.header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(3 * sizeof(int));
        int const three[] = {pair.a, pair.a, pair.b};
        memcpy(CMSG_DATA(c), three, sizeof three);
        auto const begin = [&](monad_async_op &op, Message &m) {
            TRY(monad_async_socket_sendmsg(self, a, &out.header, 0));
            monad_async_op_recvmsg(&op, b, &m.header, 0);
            TRY(monad_async_op_begin(self, &op));
            return sleep_ns(self, ms);
        };
        TRY(begin(taking, taken));
        TRY(monad_async_op_wait(self, &taking));
        EXPECT_EQ(open_descriptors(), before + all) << "the caller's";
        for (auto *in = CMSG_FIRSTHDR(&taken.header); in; in = CMSG_NXTHDR(&taken.header, in)) {
            int fds[3];
            size_t const count = in->cmsg_type == SCM_RIGHTS ? 3 : in->cmsg_type == a_pidfd;
            memcpy(fds, CMSG_DATA(in), count * sizeof(int));
            std::for_each(fds, fds + count, [](int fd) { EXPECT_EQ(close(fd), 0); });
        }
        TRY(begin(ending, ended));
        EXPECT_EQ(open_descriptors(), before + all);
        TRY(monad_async_op_end(self, &ending));
        EXPECT_EQ(ended.header.msg_controllen, 0u);
        EXPECT_EQ(open_descriptors(), before);
        return begin(leaving, left);
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Socket, an_accept_that_nobody_took_is_closed)
{
    Executor ex;
    size_t const before = open_descriptors();
    Task task([&](monad_async_task self) {
        Socket listener{-1, 0}, client{-1, 0};
        sockaddr_in address{};
        TRY(listen_on(self, listener, address));
        // Ended with its completion there; and left to the task's end.
        monad_async_op ended{}, left{};
        monad_async_op_accept(&ended, listener, nullptr, nullptr, 0);
        TRY(monad_async_op_begin(self, &ended));
        TRY(monad_async_socket_open(self, &client, AF_INET, SOCK_STREAM, 0, 0));
        TRY(monad_async_socket_connect(self, client, any(address), sizeof address));
        TRY(sleep_ns(self, ms));
        TRY(monad_async_op_end(self, &ended));
        EXPECT_GE(ended.result.value, 0);
        char byte;
        EXPECT_EQ(monad_async_socket_recv(self, client, &byte, 1, 0).value, 0) << "hung up on";
        TRY(monad_async_socket_close(self, client));
        monad_async_op_accept(&left, listener, nullptr, nullptr, 0);
        TRY(monad_async_op_begin(self, &left));
        TRY(monad_async_socket_open(self, &client, AF_INET, SOCK_STREAM, 0, 0));
        TRY(monad_async_socket_connect(self, client, any(address), sizeof address));
        EXPECT_EQ(close(client.fd), 0);
        EXPECT_EQ(close(listener.fd), 0);
        return success();
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Socket, one_that_does_not_block_waits_all_the_same)
{
    Executor ex;
    Pair pair;
    fcntl(pair.a, F_SETFL, O_NONBLOCK);
    auto const a = monad_async_socket_adopt(pair.a), b = monad_async_socket_adopt(pair.b);
    char got[8] = {};
    Task reader([&](monad_async_task self) {
        EXPECT_EQ(monad_async_socket_recv(self, a, got, 8, MSG_DONTWAIT).error, EAGAIN);
        return monad_async_socket_recv(self, a, got, 8, 0);
    });
    Task writer([&](monad_async_task self) {
        TRY(sleep_ns(self, ms));
        return monad_async_socket_send(self, b, "late", 4, 0);
    });
    reader.attach(ex);
    writer.attach(ex);
    ex.finish();
    EXPECT_EQ(reader->result.value, 4);
    // A stream of more than the queue holds, both ends without blocking.
    fcntl(pair.b, F_SETFL, O_NONBLOCK);
    std::string const text(1 << 21, 'x');
    std::string into(text.size(), 0);
    reader.body([&](monad_async_task self) {
        return monad_async_socket_recv_exact(self, a, into.data(), into.size());
    });
    writer.body([&](monad_async_task self) {
        return monad_async_socket_send_all(self, b, text.data(), text.size());
    });
    writer.attach(ex);
    reader.attach(ex);
    ex.finish();
    EXPECT_EQ(writer->result.value, intptr_t(text.size()));
    EXPECT_EQ(reader->result.value, intptr_t(text.size()));
    EXPECT_TRUE(into == text);
}

TEST(Socket, connects_without_blocking)
{
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        Socket listener{-1, 0}, s{-1, 0};
        sockaddr_in address{};
        TRY(listen_on(self, listener, address));
        TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, 0));
        TRY(monad_async_socket_connect(self, s, any(address), sizeof address));
        TRY(monad_async_socket_close(self, s));
        TRY(monad_async_socket_close(self, listener));
        for (int flag : {0, int(SOCK_NONBLOCK)}) {
            TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM | flag, 0, 0));
            EXPECT_EQ(monad_async_socket_connect(self, s, any(address), sizeof address).error,
                      ECONNREFUSED);
            TRY(monad_async_socket_close(self, s));
        }
        return success();
    });
}

TEST(Socket, a_peer_that_is_gone_is_an_errno)
{
    Executor ex;
    run_one(ex, [&](monad_async_task self) {
        Pair pair;
        auto const a = monad_async_socket_adopt(pair.a);
        pair.b.reset();
        errno = 12345;
        EXPECT_EQ(monad_async_socket_send(self, a, "x", 1, 0).error, EPIPE);
        auto const r = monad_async_socket_send_all(self, a, "x", 1);
        EXPECT_EQ(r.error, EPIPE);
        EXPECT_EQ(r.value, 0);
        iovec part{const_cast<char *>("x"), 1};
        msghdr m{};
        m.msg_iov = &part;
        m.msg_iovlen = 1;
        EXPECT_EQ(monad_async_socket_sendmsg(self, a, &m, 0).error, EPIPE);
        int value = 0;
        EXPECT_EQ(
            monad_async_socket_option_set(self, a, SOL_SOCKET, 9999, &value, sizeof value).error,
            ENOPROTOOPT);
        EXPECT_EQ(errno, 12345);
        return success();
    });
    // Nor by a wait that comes to its end: the ring's said so by errno.
    run_one(ex, [&](monad_async_task self) {
        Pair const pair;
        monad_async_scope scope;
        errno = 12345;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        char byte = 0;
        auto const a = monad_async_socket_adopt(pair.a);
        EXPECT_EQ(monad_async_socket_recv_exact(self, a, &byte, 1).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        EXPECT_EQ(errno, 12345);
        return success();
    });
    // A reset, in the middle of what was to be received.
    run_one(ex, [&](monad_async_task self) {
        Socket listener{-1, 0}, s{-1, 0}, t{-1, 0};
        sockaddr_in address{};
        TRY(listen_on(self, listener, address));
        TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, 0));
        TRY(monad_async_socket_connect(self, s, any(address), sizeof address));
        TRY(monad_async_socket_accept(self, listener, &t, nullptr, nullptr, 0));
        linger const at_once_{1, 0};
        TRY(monad_async_socket_option_set(self, s, SOL_SOCKET, SO_LINGER, &at_once_,
                                          sizeof at_once_));
        TRY(monad_async_socket_close(self, s));
        char room[8];
        EXPECT_EQ(monad_async_socket_recv_exact(self, t, room, 8).error, ECONNRESET);
        TRY(monad_async_socket_close(self, t));
        return monad_async_socket_close(self, listener);
    });
}

TEST(Socket, byte_counts_of_a_call_that_was_stopped_add_up)
{
    Executor ex;
    Pair pair;
    std::string const text(1 << 22, 'x');
    run_one(ex, [&](monad_async_task self) {
        auto const a = monad_async_socket_adopt(pair.a);
        auto r = success();
        // On a busy machine the time may be over before anything is sent.
        for (uint64_t time = 5 * ms; r.value == 0 && time < 10000 * ms; time *= 2) {
            monad_async_scope scope;
            TRY(monad_async_scope_enter(self, &scope, time, 0));
            r = monad_async_socket_send_all(self, a, text.data(), text.size());
            EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
            EXPECT_EQ(r.error, ETIME);
        }
        EXPECT_GT(r.value, 0);
        TRY(monad_async_socket_shutdown(self, a, SHUT_WR));
        std::string into(text.size(), 0);
        auto const all = monad_async_socket_recv_exact(self, monad_async_socket_adopt(pair.b),
                                                       into.data(), into.size());
        EXPECT_EQ(all.value, r.value);
        return success();
    });
}

// The same of a receive: what came before is there, and counted.
TEST(Socket, what_came_before_a_receive_was_stopped_is_counted)
{
    Executor ex;
    Pair pair;
    run_one(ex, [&](monad_async_task self) {
        auto const a = monad_async_socket_adopt(pair.a);
        EXPECT_EQ(::send(pair.b, "abc", 3, 0), 3);
        std::string into(8, '-');
        monad_async_scope scope;
        TRY(monad_async_scope_enter(self, &scope, 5 * ms, 0));
        auto const r = monad_async_socket_recv_exact(self, a, into.data(), into.size());
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        EXPECT_EQ(r.error, ETIME);
        EXPECT_EQ(r.value, 3);
        EXPECT_EQ(into, "abc-----");
        return success();
    });
}

// "close blocks the event loop": the kernel's waits until what was sent is with the peer.
TEST(Socket, a_close_that_lingers_keeps_no_task_waiting)
{
    constexpr int linger_s = 10;
    struct monad_async_executor_attr attr = {};
    attr.io_uring_ring.entries = 64;
    attr.direct_descriptors = 2;
    monad_async_executor const ex = create_or_skip(attr);
    for (uint32_t const flags : {0u, MONAD_ASYNC_SOCKET_DIRECT}) {
        Task const task([&](monad_async_task self) {
            Socket listener{-1, 0}, s{-1, 0}, t{-1, 0};
            sockaddr_in address{};
            TRY(listen_on(self, listener, address));
            TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, flags));
            TRY(monad_async_socket_connect(self, s, any(address), sizeof address));
            TRY(monad_async_socket_accept(self, listener, &t, nullptr, nullptr, 0));
            linger const set{1, linger_s};
            TRY(monad_async_socket_option_set(self, s, SOL_SOCKET, SO_LINGER, &set, sizeof set));
            std::string room(1 << 16, 'x');
            intptr_t sent = 0, came = 0;
            auto r = success();
            while ((r = monad_async_socket_send(self, s, room.data(), room.size(), MSG_DONTWAIT))
                       .error == 0) {
                sent += r.value;
            }
            EXPECT_EQ(r.error, EAGAIN);
            auto const begun_ns = monad_async_now_ns();
            TRY(monad_async_socket_close(self, s));
            EXPECT_LT(monad_async_now_ns() - begun_ns, linger_s * 1'000'000'000ull);
            while ((r = monad_async_socket_recv(self, t, room.data(), room.size(), 0)).value > 0) {
                came += r.value;
            }
            EXPECT_EQ(r.error, 0);
            EXPECT_EQ(came, sent);
            TRY(monad_async_socket_close(self, t));
            return monad_async_socket_close(self, listener);
        });
        task.attach(ex);
        while (monad_async_executor_has_work(ex)) {
            EXPECT_EQ(monad_async_executor_run(ex, no_bound, nullptr).error, 0);
        }
        int const error = task->result.error;
        EXPECT_TRUE(error == 0 || (flags != 0 && error == EOPNOTSUPP)) << error;
    }
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(Socket, direct_ones)
{
    struct monad_async_executor_attr attr = {};
    attr.io_uring_ring.entries = 64;
    attr.direct_descriptors = 8;
    monad_async_executor const ex = create_or_skip(attr);
    size_t const before = open_descriptors();
    Task task([&](monad_async_task self) {
        Socket listener{-1, 0}, s{-1, 0}, t{-1, 0};
        sockaddr_in address{};
        TRY(listen_on(self, listener, address));
        // Again and again: each close frees its place in the table.
        for (int i = 0; i < 20; ++i) {
            TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0,
                                        MONAD_ASYNC_SOCKET_DIRECT));
            EXPECT_NE(s.flags & MONAD_ASYNC_SOCKET_DIRECT, 0u);
            TRY(monad_async_socket_connect(self, s, any(address), sizeof address));
            TRY(monad_async_socket_accept(self, listener, &t, nullptr, nullptr,
                                          MONAD_ASYNC_SOCKET_DIRECT));
            TRY(monad_async_socket_send(self, s, "direct", 6, 0));
            char room[8];
            auto const r = monad_async_socket_recv(self, t, room, 8, 0);
            TRY(r);
            EXPECT_EQ(std::string(room, size_t(r.value)), "direct");
            EXPECT_EQ(monad_async_socket_local_address(self, t, any(address), nullptr).error,
                      EINVAL);
            monad_async_op op{};
            monad_async_op_recv(&op, t, room, 8, 0);
            TRY(monad_async_op_begin(self, &op));
            TRY(monad_async_socket_close(self, t));
            EXPECT_EQ(monad_async_op_wait(self, &op).error, ECANCELED);
            TRY(monad_async_socket_close(self, s));
            // An accept that nobody takes gives its place back as well.
            monad_async_op_accept(&op, listener, nullptr, nullptr, MONAD_ASYNC_SOCKET_DIRECT);
            TRY(monad_async_op_begin(self, &op));
            TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, 0));
            TRY(monad_async_socket_connect(self, s, any(address), sizeof address));
            TRY(sleep_ns(self, ms));
            TRY(monad_async_op_end(self, &op));
            TRY(monad_async_socket_close(self, s));
        }
        int on = 1;
        TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, MONAD_ASYNC_SOCKET_DIRECT));
        auto const set =
            monad_async_socket_option_set(self, s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        if (set.error == 0) {
            on = 0;
            socklen_t length = sizeof on;
            TRY(monad_async_socket_option_get(self, s, SOL_SOCKET, SO_KEEPALIVE, &on, &length));
            EXPECT_EQ(on, 1);
        } else {
            EXPECT_TRUE(set.error == EOPNOTSUPP || set.error == EINVAL) << "before Linux 6.7";
        }
        // And by operations.
        monad_async_op op{};
        monad_async_op_option_set(&op, s, SOL_SOCKET, SO_KEEPALIVE, &(on = 0), sizeof on);
        TRY(monad_async_op_begin(self, &op));
        EXPECT_EQ(monad_async_op_wait(self, &op).error, set.error);
        on = 1;
        monad_async_op_option_get(&op, s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        TRY(monad_async_op_begin(self, &op));
        if (set.error == 0) {
            EXPECT_EQ(monad_async_op_wait(self, &op).value, intptr_t(sizeof on));
            EXPECT_EQ(on, 0);
        } else {
            EXPECT_NE(monad_async_op_wait(self, &op).error, 0);
        }
        TRY(monad_async_socket_close(self, s));
        EXPECT_EQ(monad_async_socket_close(self, s).error, EBADF);
        return monad_async_socket_close(self, listener);
    });
    task.attach(ex);
    while (monad_async_executor_has_work(ex)) {
        (void)monad_async_executor_run(ex, no_bound, nullptr);
    }
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(Socket, bad_input_is_an_error)
{
    Executor ex;
    Executor const compute_only(0);
    Pair pair;
    auto const a = monad_async_socket_adopt(pair.a);
    Task idle;
    auto const all_of = [&](monad_async_task task, Socket s) {
        char room[8] = {};
        socklen_t length = sizeof room;
        msghdr m{};
        auto *const at = reinterpret_cast<sockaddr *>(room);
        Socket out{-1, 0};
        return std::array<int, 16>{
            monad_async_socket_bind(task, s, at, sizeof room).error,
            monad_async_socket_listen(task, s, 1).error,
            monad_async_socket_accept(task, s, &out, nullptr, nullptr, 0).error,
            monad_async_socket_connect(task, s, at, sizeof room).error,
            monad_async_socket_recv(task, s, room, 8, 0).error,
            monad_async_socket_send(task, s, room, 8, 0).error,
            monad_async_socket_recv_exact(task, s, room, 8).error,
            monad_async_socket_send_all(task, s, room, 8).error,
            monad_async_socket_recvmsg(task, s, &m, 0).error,
            monad_async_socket_sendmsg(task, s, &m, 0).error,
            monad_async_socket_shutdown(task, s, SHUT_WR).error,
            monad_async_socket_option_get(task, s, 1, 1, room, &length).error,
            monad_async_socket_option_set(task, s, 1, 1, room, length).error,
            monad_async_socket_local_address(task, s, at, &length).error,
            monad_async_socket_peer_address(task, s, at, &length).error,
            monad_async_socket_close(task, s).error,
        };
    };
    auto const each = [](std::array<int, 16> const &errors, int error) {
        return std::count(errors.begin(), errors.end(), error) == 16;
    };
    EXPECT_TRUE(each(all_of(nullptr, a), EINVAL));
    EXPECT_TRUE(each(all_of(idle, a), EPERM)) << "not the running task";
    run_one(ex, [&](monad_async_task self) {
        EXPECT_TRUE(each(all_of(self, Socket{-1, 0}), EBADF));
        EXPECT_TRUE(each(all_of(self, Socket{a.fd, 1}), EINVAL));
        EXPECT_TRUE(each(all_of(idle, a), EPERM));
        Fd unused(dup(0));
        int const number = unused;
        unused.reset();
        EXPECT_TRUE(each(all_of(self, Socket{number, 0}), EBADF));
        Socket out{-1, 0};
        char room[8] = {};
        EXPECT_EQ(monad_async_socket_open(self, nullptr, AF_UNIX, SOCK_STREAM, 0, 0).error, EINVAL);
        EXPECT_EQ(monad_async_socket_open(self, &out, AF_UNIX, SOCK_STREAM, 0, 1).error, EINVAL);
        EXPECT_EQ(monad_async_socket_open(self, &out, 9999, SOCK_STREAM, 0, 0).error, EAFNOSUPPORT);
        EXPECT_EQ(out.fd, -1);
        EXPECT_EQ(monad_async_socket_accept(self, a, nullptr, nullptr, nullptr, 0).error, EINVAL);
        EXPECT_EQ(monad_async_socket_recvmsg(self, a, nullptr, 0).error, EINVAL);
        EXPECT_EQ(monad_async_socket_sendmsg(self, a, nullptr, 0).error, EINVAL);
        EXPECT_EQ(monad_async_socket_option_get(self, a, 1, 1, nullptr, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_socket_send(self, a, nullptr, 8, 0).error, EFAULT);
        EXPECT_EQ(monad_async_socket_send(self, a, room, SIZE_MAX, 0).error, EFAULT);
        return success();
    });
    run_one(compute_only, [&](monad_async_task self) {
        EXPECT_TRUE(each(all_of(self, a), ENOTSUP));
        Socket out{-1, 0};
        EXPECT_EQ(monad_async_socket_open(self, &out, AF_UNIX, SOCK_STREAM, 0, 0).error, ENOTSUP);
        return success();
    });
    EXPECT_GE(fcntl(pair.a, F_GETFD), 0) << "refused, so not closed";
}

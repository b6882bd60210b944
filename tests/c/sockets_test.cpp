// Real sockets: a pair, and TCP over loopback with server and clients in one executor.

#include "support.hpp"

#include <numeric>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

using namespace support;

namespace {

monad_async_result receive(monad_async_task self, int fd, void *to, size_t bytes)
{
    return do_io(self, make_sqe(IORING_OP_RECV, fd, to, static_cast<uint32_t>(bytes)));
}

monad_async_result send_all(monad_async_task self, int fd, void const *from, size_t bytes,
                            uint8_t opcode = IORING_OP_SEND)
{
    auto const *at = static_cast<char const *>(from);
    for (size_t sent = 0; sent < bytes;) {
        auto sqe = make_sqe(opcode, fd, at + sent, static_cast<uint32_t>(bytes - sent));
        sqe.msg_flags = MSG_NOSIGNAL;
        auto const r = do_io(self, sqe);
        if (r.error != 0) {
            return r;
        }
        sent += static_cast<size_t>(r.value);
    }
    return success(static_cast<intptr_t>(bytes));
}

struct Listener {
    Fd fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    Listener()
    {
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof address;
        EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr *>(&address), length), 0);
        EXPECT_EQ(listen(fd, 128), 0);
        EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length), 0);
    }
};

monad_async_result connect_to(monad_async_task self, int fd, sockaddr_in const &address)
{
    return do_io(self, make_sqe(IORING_OP_CONNECT, fd, &address, 0, sizeof address));
}

} // namespace

TEST(Sockets, pair_sends_and_receives_both_ways)
{
    Executor ex;
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    Fd const a(fds[0]), b(fds[1]);
    constexpr int rounds = 2000;
    Task ping([&](monad_async_task self) {
        for (int i = 0; i < rounds; ++i) {
            int got = -1;
            auto r = send_all(self, a, &i, sizeof i);
            if (r.error == 0) {
                r = receive(self, a, &got, sizeof got);
            }
            if (r.error != 0) {
                return r;
            }
            EXPECT_EQ(got, i + 1);
        }
        return success();
    });
    Task pong([&](monad_async_task self) {
        for (int i = 0; i < rounds; ++i) {
            int got = -1;
            auto r = receive(self, b, &got, sizeof got);
            ++got;
            if (r.error == 0) {
                r = send_all(self, b, &got, sizeof got);
            }
            if (r.error != 0) {
                return r;
            }
        }
        return success();
    });
    ping.attach(ex);
    pong.attach(ex);
    ex.finish();
    EXPECT_EQ(ping->result.error, 0);
    EXPECT_EQ(pong->result.error, 0);
}

TEST(Sockets, tcp_server_and_clients)
{
    Executor ex;
    Listener const listener;
    constexpr size_t clients = 50, bytes = 100000;
    size_t echoed = 0;
    auto const servers = make_tasks(
        clients,
        [&](monad_async_task self, size_t) {
            auto r = do_io(self, make_sqe(IORING_OP_ACCEPT, listener.fd));
            if (r.error != 0) {
                return r;
            }
            Fd const fd(static_cast<int>(r.value));
            char buffer[4096];
            for (;;) {
                r = receive(self, fd, buffer, sizeof buffer);
                if (r.error != 0 || r.value == 0) {
                    return r;
                }
                r = send_all(self, fd, buffer, static_cast<size_t>(r.value));
                if (r.error != 0) {
                    return r;
                }
            }
        },
        65536);
    auto const connected = make_tasks(
        clients,
        [&](monad_async_task self, size_t i) {
            Fd const fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            auto r = connect_to(self, fd, listener.address);
            if (r.error != 0) {
                return r;
            }
            for (size_t sent = 0; sent < bytes;) {
                char out[1000], in[1000];
                for (size_t k = 0; k < sizeof out; ++k) {
                    out[k] = static_cast<char>(i + sent + k);
                }
                r = send_all(self, fd, out, sizeof out);
                for (size_t got = 0; r.error == 0 && got < sizeof in;) {
                    r = receive(self, fd, in + got, sizeof in - got);
                    if (r.error == 0 && r.value == 0) {
                        return monad_async_make_failure(EPIPE);
                    }
                    got += r.error == 0 ? static_cast<size_t>(r.value) : 0;
                }
                if (r.error != 0) {
                    return r;
                }
                EXPECT_EQ(memcmp(in, out, sizeof in), 0);
                sent += sizeof out;
                echoed += sizeof out;
            }
            return success();
        },
        65536);
    attach_all(servers, ex);
    attach_all(connected, ex);
    ex.finish();
    for (auto const &task : servers) {
        EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
    }
    for (auto const &task : connected) {
        EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
    }
    EXPECT_EQ(echoed, clients * bytes);
}

TEST(Sockets, refused_connection_is_ECONNREFUSED)
{
    Executor ex;
    sockaddr_in address;
    {
        Listener const gone;
        address = gone.address;
    }
    Task client([&](monad_async_task self) {
        Fd const fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        return connect_to(self, fd, address);
    });
    client.attach(ex);
    ex.finish();
    EXPECT_EQ(client->result.error, ECONNREFUSED);
}

TEST(Sockets, cancelled_accept_leaves_the_connection_to_the_next)
{
    Executor ex;
    Listener const listener;
    auto const accept = [&](monad_async_task self) {
        auto const r = do_io(self, make_sqe(IORING_OP_ACCEPT, listener.fd));
        Fd const fd(r.error == 0 ? static_cast<int>(r.value) : -1);
        return r;
    };
    Task first(accept), second(accept);
    first.attach(ex);
    EXPECT_EQ(ex.run(), 1);
    ex.poll();
    EXPECT_EQ(monad_async_task_cancel(ex, first).error, 0);
    ex.finish();
    EXPECT_EQ(first->result.error, ECANCELED);
    Task client([&](monad_async_task self) {
        Fd const fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        return connect_to(self, fd, listener.address);
    });
    second.attach(ex);
    client.attach(ex);
    ex.finish();
    EXPECT_EQ(client->result.error, 0);
    EXPECT_EQ(second->result.error, 0);
}

// Two completions: the result, and the notification that the memory is free. The task goes on after
// the second, so what it sent from may be changed at once.
TEST(Sockets, zero_copy_send_returns_after_its_notification)
{
#if defined(IORING_CQE_F_NOTIF)
    Executor ex;
    Listener const listener;
    constexpr size_t bytes = 16384, rounds = 200;
    bool unsupported = false;
    std::string received;
    Task server([&](monad_async_task self) {
        auto r = do_io(self, make_sqe(IORING_OP_ACCEPT, listener.fd));
        if (r.error != 0) {
            return r;
        }
        Fd const fd(static_cast<int>(r.value));
        std::vector<char> buffer(65536);
        while ((r = receive(self, fd, buffer.data(), buffer.size())).error == 0 && r.value > 0) {
            received.append(buffer.data(), static_cast<size_t>(r.value));
        }
        return r;
    });
    Task client([&](monad_async_task self) {
        Fd const fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        auto r = connect_to(self, fd, listener.address);
        std::vector<char> buffer(bytes);
        for (size_t i = 0; r.error == 0 && i < rounds; ++i) {
            std::fill(buffer.begin(), buffer.end(), static_cast<char>('a' + i % 26));
            r = send_all(self, fd, buffer.data(), bytes, IORING_OP_SEND_ZC);
            unsupported = unsupported || (i == 0 && r.error == EOPNOTSUPP);
        }
        return r;
    });
    server.attach(ex);
    client.attach(ex);
    ex.finish();
    if (unsupported) {
        GTEST_SKIP() << "this kernel has no IORING_OP_SEND_ZC";
    }
    EXPECT_EQ(client->result.error, 0);
    ASSERT_EQ(received.size(), bytes * rounds);
    for (size_t i = 0; i < received.size(); ++i) {
        ASSERT_EQ(received[i], static_cast<char>('a' + i / bytes % 26)) << i;
    }
#else
    GTEST_SKIP() << "these kernel headers have no IORING_OP_SEND_ZC";
#endif
}

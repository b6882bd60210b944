// Messages, addresses and options of sockets in C++, polls, and what is made without throwing.

#include "ends.hpp"
#include "support.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/buffer_set.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/poll.hpp>
#include <monad/async/process.hpp>
#include <monad/async/socket.hpp>
#include <monad/async/socket_address.hpp>

#include <array>
#include <cstring>
#include <string>

#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

TEST(CxxMessage, a_descriptor_travels_with_it)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e(SOCK_SEQPACKET);
        std::string text = "here";
        iovec part = {text.data(), text.size()};
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room = {};
        msghdr message = {};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = room.data();
        message.msg_controllen = room.size();
        auto *const header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        int const sent = STDIN_FILENO;
        std::memcpy(CMSG_DATA(header), &sent, sizeof sent);
        EXPECT_EQ(e.a.sendmsg(message), 4u);

        room = {};
        std::array<char, 8> into = {};
        part = {into.data(), into.size()};
        EXPECT_EQ(e.b.recvmsg(message), 4u);
        EXPECT_EQ(std::string(into.data()), "here");
        auto *const came = CMSG_FIRSTHDR(&message);
        ASSERT_NE(came, nullptr);
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(came), sizeof fd);
        EXPECT_GT(fd, STDERR_FILENO);
        close(fd);

        std::error_code ec;
        message.msg_control = nullptr;
        message.msg_controllen = 0;
        EXPECT_EQ(e.b.recvmsg(message, MSG_DONTWAIT, ec), 0u);
        EXPECT_EQ(ec.value(), EAGAIN);
        part = {text.data(), text.size()};
        EXPECT_EQ(e.a.sendmsg(message, 0, ec), 4u);
        EXPECT_FALSE(ec);
        EXPECT_EQ(e.b.recvmsg(message, 0, ec), 4u);
        EXPECT_FALSE(ec);
        e.b.close();
        EXPECT_EQ(errno_thrown_by([&] { e.a.sendmsg(message); }), EPIPE);
        EXPECT_EQ(errno_thrown_by([&] { (void)e.b.recvmsg(message); }), EBADF);
    });
}

TEST(CxxMessage, flags_of_a_receive_and_a_send)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        char got[8];
        std::error_code ec;
        EXPECT_EQ(e.a.recv(got, MSG_DONTWAIT, ec), 0u);
        EXPECT_EQ(ec.value(), EAGAIN);
        EXPECT_EQ(e.b.send(std::string("x"), MSG_DONTWAIT), 1u);
        EXPECT_EQ(e.a.recv(got, MSG_PEEK), 1u);
        EXPECT_EQ(e.a.recv(got), 1u);
        EXPECT_EQ(e.b.send(std::string("y"), MSG_DONTWAIT, ec), 1u);
        EXPECT_FALSE(ec);
    });
}

TEST(CxxMessage, addresses_and_options)
{
    ma::executor ex;
    std::uint16_t port = 0;
    ma::socket kept;
    run_task(ex, [&] {
        std::error_code ec;
        ma::socket bound(AF_INET, SOCK_STREAM);
        bound.set_option(SOL_SOCKET, SO_REUSEADDR, 1);
        EXPECT_EQ(bound.option(SOL_SOCKET, SO_REUSEADDR), 1);
        bound.set_option(SOL_SOCKET, SO_RCVTIMEO, timeval{2, 0}, ec);
        EXPECT_FALSE(ec);
        EXPECT_EQ(bound.option<timeval>(SOL_SOCKET, SO_RCVTIMEO, ec).tv_sec, 2);
        EXPECT_EQ(bound.option(SOL_SOCKET, 12345, ec), 0);
        EXPECT_EQ(ec.value(), ENOPROTOOPT);
        EXPECT_EQ(errno_thrown_by([&] { bound.set_option(SOL_SOCKET, 12345, 1); }), ENOPROTOOPT);
        bound.bind(ma::socket_address::internet("127.0.0.1", 0), ec);
        EXPECT_FALSE(ec);
        EXPECT_EQ(errno_thrown_by([&] { bound.bind({}); }), EINVAL);
        EXPECT_EQ(errno_thrown_by([&] { (void)bound.peer_address(); }), ENOTCONN);
        EXPECT_TRUE(bound.peer_address(ec).empty());
        EXPECT_EQ(ec.value(), ENOTCONN);
        auto listener = ma::listener::on(std::move(bound), 4, ec);
        EXPECT_FALSE(ec);
        port = listener.port(ec);
        EXPECT_EQ(listener.local_address().family(), AF_INET);
        auto client = ma::socket::tcp("127.0.0.1", port);
        ma::socket_address from;
        auto server = listener.accept(from);
        EXPECT_EQ(from.port(), client.port());
        EXPECT_EQ(server.local_address(ec).port(), port);
        client.set_option(IPPROTO_TCP, TCP_NODELAY, 1);
        EXPECT_EQ(client.option(IPPROTO_TCP, TCP_NODELAY), 1);
        auto const second = ma::socket::tcp("127.0.0.1", port);
        EXPECT_TRUE(listener.accept(from, 0, ec).is_open());
        EXPECT_EQ(from.port(), second.port());
        EXPECT_FALSE(ma::listener::on(ma::socket(), 1, ec).is_open());
        EXPECT_EQ(ec.value(), EBADF);
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::listener::on(ma::socket()); }), EBADF);
        kept = std::move(client);
    });
    // Outside tasks addresses and options are told as well.
    EXPECT_EQ(kept.peer_address().port(), port);
    std::error_code ec;
    EXPECT_EQ(kept.option(SOL_SOCKET, SO_TYPE, ec), SOCK_STREAM);
    EXPECT_EQ(ec.value(), 0);
    EXPECT_EQ(ma::socket().port(ec), 0);
    EXPECT_EQ(ec.value(), EBADF);
}

TEST(CxxMessage, addresses_as_values)
{
    EXPECT_TRUE(ma::socket_address().empty());
    EXPECT_TRUE(ma::socket_address::internet("localhost", 1).empty());
    EXPECT_EQ(ma::socket_address::internet("::1", 7).family(), AF_INET6);
    EXPECT_EQ(ma::socket_address::internet("::1", 7).port(), 7);
    auto const local = ma::socket_address::local("/tmp/name");
    EXPECT_EQ(local.family(), AF_UNIX);
    EXPECT_EQ(local.port(), 0);
    EXPECT_TRUE(ma::socket_address::local(std::string(200, 'x').c_str()).empty());
    ma::socket_address const copy(local.native(), local.size());
    EXPECT_EQ(std::memcmp(copy.native(), local.native(), local.size()), 0);
    EXPECT_TRUE(ma::socket_address(local.native(), 4096).empty());
}

TEST(CxxMessage, a_poll)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        EXPECT_EQ(ma::poll(e.a.native_handle().fd, POLLOUT), std::uint32_t(POLLOUT));
        e.b.send_all(std::string("x"));
        std::error_code ec;
        EXPECT_EQ(ma::poll(e.a.native_handle().fd, POLLIN, ec), std::uint32_t(POLLIN));
        EXPECT_FALSE(ec);
        EXPECT_EQ(ma::poll(-1, POLLIN, ec), 0u);
        EXPECT_EQ(ec.value(), EBADF);
        EXPECT_EQ(errno_thrown_by([] { (void)ma::poll(-1, POLLIN); }), EBADF);
    });
    EXPECT_EQ(errno_thrown_by([] { (void)ma::poll(0, POLLIN); }), EPERM);
}

TEST(CxxMessage, what_is_made_without_throwing)
{
    ma::executor ex;
    std::error_code ec;
    ma::socket(AF_INET, 12345, 0, 0, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    ma::buffer_ring const none(ex, 3, 64, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    ma::buffer_ring const ring(ex, 4, 64, ec);
    EXPECT_FALSE(ec);
    ma::buffer_set const no_set(ex, 0, 64, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    ma::buffer_set const set(ex, 2, 64, ec);
    EXPECT_FALSE(ec);
    ma::buffer_set const not_shared(ex, set, ec);
    EXPECT_EQ(ec.value(), EPERM);
    {
        ma::recv_stream const outside(monad_async_socket_adopt(0), ring, 0, ec);
        EXPECT_EQ(ec.value(), EPERM);
    }
    {
        ma::signals const wrong({SIGTERM, 12345}, ec);
        EXPECT_EQ(ec.value(), EINVAL);
    }
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, nullptr, &now);
    EXPECT_EQ(sigismember(&now, SIGTERM), 0);
    run_task(ex, [&] {
        ends e;
        ma::recv_stream closed(monad_async_socket_adopt(-1), ring, 0, ec);
        EXPECT_EQ(ec.value(), EBADF);
        EXPECT_TRUE(closed.next(ec).empty());
        EXPECT_EQ(ec.value(), EINVAL);
        e.b.send_all(std::string("xyz"));
        e.b.shutdown(SHUT_WR);
        std::string got;
        auto const one = [&](auto const &socket, int error) {
            ma::recv_stream stream(socket, ring, 0, ec);
            EXPECT_EQ(ec.value(), error);
            for (auto const c : stream.next(ec)) {
                got += c;
            }
        };
        one(e.a.native_handle(), 0);
        one(e.a.native_handle().fd, 0);
        one(e.a, 0);
        one(-1, EBADF);
        one(ma::socket(), EBADF);
        EXPECT_EQ(got, "xyz");
    });
}

// A destructor that runs while an exception unwinds its cancelled task: what it sends and writes
// goes on where the cancel cut it short, and nothing is sent twice.
TEST(CxxMessage, nothing_is_sent_twice_while_a_stack_unwinds)
{
    ma::executor ex;
    ends e;
    std::string const text(1 << 20, 'x');
    std::string got;
    struct last_words {
        ma::socket &to;
        std::string const &text;
        ~last_words() { to.send_all(text); }
    };
    ma::task writer, reader;
    writer.attach(ex, [&] {
        last_words const l{e.a, text};
        throw 7;
    });
    ex.poll(); // Full, and waiting inside the destructor.
    writer.cancel();
    reader.attach(ex, [&] {
        std::array<char, 4096> part;
        while (got.size() < text.size()) {
            got.append(part.data(), e.b.recv(part));
        }
        std::error_code ec;
        ma::this_task::sleep_for(5ms);
        EXPECT_EQ(e.b.recv(part, MSG_DONTWAIT, ec), 0u) << "more than was sent";
    });
    ex.run_until_idle();
    EXPECT_THROW((void)writer.get(), int);
    EXPECT_EQ(got.size(), text.size());
}

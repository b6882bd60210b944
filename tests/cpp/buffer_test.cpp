// Receiving by view, in C++.

#include "direct.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/future.hpp>
#include <monad/async/io_batch.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/socket.hpp>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

struct Connection {
    int fds[2];
    Connection() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0); }
    ~Connection()
    {
        close(fds[0]);
        hang_up();
    }
    void send(std::string const &text) const
    {
        EXPECT_EQ(write(fds[1], text.data(), text.size()), ssize_t(text.size()));
    }
    void hang_up()
    {
        if (fds[1] >= 0) {
            close(fds[1]);
            fds[1] = -1;
        }
    }
};

} // namespace

TEST(RecvStream, gives_views_until_the_end)
{
    ma::executor ex;
    ma::buffer_ring ring(ex, 4, 64);
    EXPECT_GE(ring.group(), 0x8000);
    Connection c;
    std::string got;
    ma::task t;
    t.attach(ex, [&] {
        ma::recv_stream stream(c.fds[0], ring);
        c.send("hello ");
        while (auto data = stream.next()) {
            got.append(data.begin(), data.end());
            if (got == "hello ") {
                c.send("world");
                c.hang_up();
            }
        }
        std::error_code ec;
        EXPECT_TRUE(stream.next(ec).empty());
        EXPECT_FALSE(ec);
    });
    ex.run_until_idle();
    t.get();
    EXPECT_EQ(got, "hello world");
}

// Behind a header the connection is another's, who had not what the stream had taken.
TEST(RecvStream, hands_out_the_rest_once_it_was_stopped)
{
    ma::executor ex;
    ma::buffer_ring ring(ex, 4, 4);
    Connection c;
    std::string got;
    ma::task t;
    t.attach(ex, [&] {
        ma::recv_stream stream(c.fds[0], ring);
        c.send("head");
        c.send("er, body");
        ma::this_task::yield();
        got = std::string(stream.next().data(), 4);
        stream.stop();
        while (auto data = stream.next()) {
            got.append(data.begin(), data.end());
        }
        c.send(", rest");
        std::error_code ec;
        stream.stop(ec);
        EXPECT_FALSE(ec);
        EXPECT_TRUE(stream.next().empty());
        char rest[16];
        auto const n = read(c.fds[0], rest, sizeof rest);
        got.append(rest, n > 0 ? std::size_t(n) : 0);
    });
    ex.run_until_idle();
    t.get();
    EXPECT_EQ(got, "header, body, rest");
}

// Again and again, while a peer sends: each word comes once, by view or by a receive.
TEST(RecvStream, loses_nothing_where_it_is_stopped_while_a_peer_sends)
{
    ma::executor ex;
    ma::buffer_ring ring(ex, 64, 30); // Words lie across buffers.
    Connection c;
    std::thread sends([fd = c.fds[1]] {
        std::uint32_t words[16], n = 0;
        do {
            for (auto &word : words) {
                word = n++;
            }
        } while (send(fd, words, sizeof words, MSG_NOSIGNAL) > 0);
    });
    ma::task t;
    t.attach(ex, [&] {
        std::string come;
        std::uint32_t expected = 0;
        auto const take = [&](char const *data, std::size_t bytes) {
            come.append(data, bytes);
            std::size_t at = 0;
            for (std::uint32_t word = 0; at + sizeof word <= come.size(); at += sizeof word) {
                std::memcpy(&word, come.data() + at, sizeof word);
                ASSERT_EQ(word, expected++);
            }
            come.erase(0, at);
        };
        for (int round = 0; round < 300 && !testing::Test::HasFailure(); ++round) {
            {
                ma::recv_stream stream(c.fds[0], ring);
                for (int i = 0; i < round % 7; ++i) {
                    auto const data = stream.next();
                    take(data.data(), data.size());
                }
                if (round % 3 == 0) {
                    ma::this_task::yield();
                }
                stream.stop();
                while (auto const data = stream.next()) {
                    take(data.data(), data.size());
                }
            }
            char data[100];
            auto const n = recv(c.fds[0], data, sizeof data, 0);
            ASSERT_GT(n, 0);
            take(data, std::size_t(n));
        }
    });
    ex.run_until_idle();
    shutdown(c.fds[0], SHUT_RDWR);
    sends.join();
    t.get();
}

// What it brings is for `next`, whatever else its task waits for.
TEST(RecvStream, keeps_what_came_while_its_task_waits_for_a_batch)
{
    ma::executor ex;
    ma::buffer_ring ring(ex, 4, 64);
    Connection c, other;
    std::string got;
    ma::task t;
    t.attach(ex, [&] {
        ma::recv_stream stream(c.fds[0], ring);
        monad_async_op *op = nullptr;
        EXPECT_EQ(monad_async_op_wait_any(ma::this_task::current(), &op).error, ENOENT);
        ma::io_batch batch;
        io_uring_sqe poll = {};
        poll.opcode = IORING_OP_POLL_ADD;
        poll.fd = other.fds[0];
        poll.poll32_events = POLLIN;
        for (bool const came_before : {true, false}) {
            auto const id = batch.begin(poll);
            c.send(came_before ? "hello " : "world");
            if (came_before) {
                ma::this_task::sleep_for(std::chrono::milliseconds(1));
            }
            std::error_code ec;
            ma::scope s(std::chrono::milliseconds(1));
            EXPECT_EQ(monad_async_op_wait_any(ma::this_task::current(), &op).error, ETIME);
            ma::shield const until_it_came;
            other.send("x");
            EXPECT_EQ(batch.wait_any(ec).id, id);
            EXPECT_FALSE(ec);
            char taken = 0;
            EXPECT_EQ(read(other.fds[0], &taken, 1), 1);
            auto const data = stream.next();
            got.append(data.begin(), data.end());
        }
        c.hang_up();
        EXPECT_FALSE(stream.next());
    });
    ex.run_until_idle();
    t.get();
    EXPECT_EQ(got, "hello world");
}

// The kernel may take the last data for all that will come: Linux 6.17 and 6.18 do, from 34 buffers
// on to 66. Hangs without the look for that.
TEST(RecvStream, ends_where_much_had_come_and_its_peer_was_gone_when_it_began)
{
    for (int const messages : {1, 16, 17, 33, 34, 40, 66, 67, 200}) {
        Connection c;
        std::string const message(64, 'm');
        for (int i = 0; i < messages; ++i) {
            c.send(message);
        }
        c.hang_up();
        ma::executor ex;
        ma::buffer_ring const ring(ex, 256, 64);
        std::size_t bytes = 0;
        ma::task t;
        t.attach(ex, [&] {
            ma::recv_stream stream(c.fds[0], ring);
            while (auto const data = stream.next()) {
                bytes += data.size();
            }
        });
        ex.run_until_idle();
        t.get();
        EXPECT_EQ(bytes, std::size_t(messages) * 64);
    }
}

// The same, while its task holds all buffers: it is told that the end needs one.
TEST(RecvStream, an_end_behind_all_buffers_is_no_wait_for_ever)
{
    Connection c;
    std::string const message(64, 'm');
    for (int i = 0; i < 64; ++i) {
        c.send(message);
    }
    c.hang_up();
    ma::executor ex;
    ma::buffer_ring const ring(ex, 64, 64);
    ma::task t;
    t.attach(ex, [&] {
        ma::recv_stream stream(c.fds[0], ring, MONAD_ASYNC_RECV_STREAM_NO_WAIT);
        std::vector<ma::view> views;
        std::error_code ec;
        do {
            views.push_back(stream.next(ec));
        } while (!views.back().empty());
        EXPECT_EQ(views.size(), 65u);
        EXPECT_EQ(ec.value(), ENOBUFS);
        views.clear();
        EXPECT_TRUE(stream.next(ec).empty());
        EXPECT_FALSE(ec);
    });
    ex.run_until_idle();
    t.get();
}

// A direct socket cannot be asked: its task waits for a buffer that another has. It waited for the
// end, of which the kernel does not tell.
TEST(RecvStream, the_end_of_a_direct_socket_comes_with_the_next_buffer)
{
    SKIP_WITHOUT_TABLES();
    constexpr int kMessages = 40, kOthers = 24; // all buffers
    Connection other;
    std::string const message(64, 'm');
    int const listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {AF_UNIX, {}};
    socklen_t length = sizeof(sa_family_t); // any abstract name
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr *>(&address), length), 0);
    length = sizeof address;
    ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length), 0);
    ASSERT_EQ(listen(listener, 1), 0);
    ma::executor ex(with_table(1));
    ma::buffer_ring const ring(ex, kMessages + kOthers, 64);
    ma::task holder, t;
    bool holds = false, has_all = false;
    holder.attach(ex, [&] {
        std::vector<ma::view> views;
        ma::recv_stream stream(other.fds[0], ring);
        for (int i = 0; i < kOthers; ++i) {
            other.send(message);
            views.push_back(stream.next());
        }
        holds = true;
        while (!has_all) {
            ma::this_task::yield();
        }
        for (int i = 0; i < 10; ++i) { // by then it waits
            ma::this_task::yield();
        }
    });
    t.attach(ex, [&] {
        ma::socket direct(AF_UNIX, SOCK_STREAM, 0, MONAD_ASYNC_SOCKET_DIRECT);
        direct.connect(reinterpret_cast<sockaddr *>(&address), length);
        int const peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        for (int i = 0; i < kMessages; ++i) {
            EXPECT_EQ(write(peer, message.data(), message.size()), ssize_t(message.size()));
        }
        close(peer);
        while (!holds) {
            ma::this_task::yield();
        }
        std::vector<ma::view> views;
        ma::recv_stream stream(direct, ring);
        for (int i = 0; i < kMessages; ++i) {
            views.push_back(stream.next());
            has_all = i + 1 == kMessages;
        }
        EXPECT_TRUE(stream.next().empty());
    });
    ex.run_until_idle();
    holder.get();
    t.get();
    close(listener);
}

TEST(RecvStream, ends_with_its_task_and_gives_all_buffers_back)
{
    ma::executor ex;
    {
        ma::buffer_ring ring(ex, 2, 16);
        Connection c;
        ma::task t;
        ma::view kept;
        t.attach(ex, [&] {
            ma::recv_stream stream(c.fds[0], ring);
            c.send("one");
            kept = stream.next();
            c.send("never taken");
            ma::this_task::sleep_for(std::chrono::hours(1));
        });
        while (kept.empty()) {
            ex.run();
        }
        ex.run_for(std::chrono::milliseconds(5));
        t.cancel();
        ex.run_until_idle();
        EXPECT_THROW(t.get(), ma::cancelled_error);
        EXPECT_EQ(std::string(kept.begin(), kept.end()), "one");
    }
}

TEST(RecvStream, its_ring_and_views_may_outlive_the_executor)
{
    Connection c;
    ma::view kept;
    std::unique_ptr<ma::buffer_ring> ring;
    {
        ma::executor ex;
        ring = std::make_unique<ma::buffer_ring>(ex, 2, 16);
        ma::buffer_ring const unused(ex, 2, 16);
        ma::task t;
        t.attach(ex, [&] {
            ma::recv_stream stream(c.fds[0], *ring);
            c.send("kept");
            kept = stream.next();
        });
        ex.run_until_idle();
        t.get();
    }
    EXPECT_EQ(std::string(kept.begin(), kept.end()), "kept");
    EXPECT_EQ(monad_async_buffer_ring_destroy(ring->native_handle()).error, EBUSY);
    ma::executor another;
    run_task(another, [&] {
        EXPECT_EQ(errno_thrown_by([&] { ma::recv_stream const s(c.fds[0], *ring); }), EPERM);
    });
    std::thread([&] {
        kept.release();
        ring.reset();
    }).join();
}

TEST(RecvStream, has_errors_of_both_kinds)
{
    ma::executor ex;
    ma::buffer_ring ring(ex, 1, 16);
    EXPECT_THROW(ma::buffer_ring(ex, 3, 16), std::system_error);
    Connection c;
    EXPECT_THROW(ma::recv_stream(c.fds[0], ring), std::system_error);
    ma::task t;
    t.attach(ex, [&] {
        ma::recv_stream stream(c.fds[0], ring);
        EXPECT_THROW(
            ma::with_timeout(std::chrono::milliseconds(1), [&] { return stream.next().size(); }),
            ma::timeout_error);
        c.send("0123456789abcdefXX");
        auto const held = stream.next();
        std::error_code ec;
        EXPECT_TRUE(stream.next(ec).empty());
        EXPECT_EQ(ec.value(), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { ma::recv_stream const closed(-1, ring); }), EBADF);
    });
    ex.run_until_idle();
    t.get();
}

// A pool has no executor objects: a task of a worker makes the ring of its own.
TEST(RecvStream, has_a_ring_of_the_executor_that_runs)
{
    EXPECT_EQ(errno_thrown_by([] { ma::buffer_ring const outside(2, 16); }), EPERM);
    std::error_code ec;
    ma::buffer_ring const none(2, 16, ec);
    EXPECT_EQ(ec.value(), EPERM);
    EXPECT_EQ(none.native_handle(), nullptr);
    ma::thread_pool_options options;
    options.workers = 2;
    options.executor = ma::executor_options();
    ma::thread_pool pool(options);
    Connection c;
    pool.worker(1)
        .submit([&] {
            EXPECT_EQ(errno_thrown_by([] { ma::buffer_ring const odd(3, 16); }), EINVAL);
            ma::buffer_ring const ring(2, 16, ec);
            EXPECT_FALSE(ec);
            ma::socket const peer(monad_async_socket_adopt(dup(c.fds[0])));
            ma::recv_stream stream(peer, ring);
            c.send("by a worker");
            auto const data = stream.next();
            EXPECT_EQ(std::string(data.begin(), data.end()), "by a worker");
        })
        .get();
}

TEST(RecvStream, takes_over_a_ring_of_the_c_api)
{
    ma::executor const ex;
    monad_async_buffer_ring made = nullptr;
    ASSERT_EQ(monad_async_buffer_ring_create(ex.native_handle(), &made, 2, 16).error, 0);
    ma::buffer_ring ring(made);
    EXPECT_EQ(ring.native_handle(), made);
    ma::buffer_ring const moved(std::move(ring));
    EXPECT_EQ(moved.group(), monad_async_buffer_ring_group(made));
}

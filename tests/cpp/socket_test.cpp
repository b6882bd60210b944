// Sockets and listeners in C++: both forms of the calls, and what closes them.

#include "ends.hpp"
#include "support.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/bytes.hpp>
#include <monad/async/future.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/socket.hpp>
#include <monad/async/writer.hpp>

#include <atomic>
#include <memory>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

} // namespace

// What is taken for memory, and what is not: asked for by overloads, so it must not be an error.
struct own_memory {
    operator ma::bytes() const { return {nullptr, 0}; }
    operator ma::const_bytes() const { return {nullptr, 0}; }
};
static_assert(std::is_convertible_v<own_memory &, ma::bytes>);
static_assert(std::is_convertible_v<own_memory const &, ma::const_bytes>);
static_assert(std::is_convertible_v<std::vector<int> &, ma::bytes>);
static_assert(!std::is_convertible_v<std::string const &, ma::bytes>);
static_assert(std::is_convertible_v<std::string const &, ma::const_bytes>);
static_assert(!std::is_convertible_v<int, ma::bytes> &&
              !std::is_convertible_v<int, ma::const_bytes>);
static_assert(!std::is_convertible_v<std::vector<std::string> &, ma::bytes>);

static_assert(!std::is_convertible_v<char (&)[4], ma::const_bytes>);
#if defined(__cpp_char8_t)
static_assert(!std::is_convertible_v<char8_t const (&)[4], ma::const_bytes> &&
              !std::is_convertible_v<char8_t (&)[4], ma::const_bytes>);
static_assert(std::is_convertible_v<char8_t (&)[4], ma::bytes>);
#endif

// As it is written, without the 0 behind it.
TEST(CxxSocket, what_is_sent_of_a_text)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        std::string got(64, 0);
        std::string_view const with_0("a\0b", 3);
        e.a.send_all(with_0);
        e.a.send_all(std::string("c\0", 2));
#if defined(__cpp_consteval) && __cpp_consteval >= 201811L
        static_assert(std::is_convertible_v<char const(&)[4], ma::const_bytes>);
        e.a.send_all("def");
        std::error_code ec;
        static_assert(noexcept(e.a.send_all("", ec)));
        EXPECT_EQ(e.a.send_all("", ec), 0u);
        ma::writer out(e.a);
        out.write("ghi");
        out.flush();
        std::string_view const all("a\0bc\0defghi", 11);
#else
        std::string_view const all("a\0bc\0", 5);
#endif
        e.a.shutdown(SHUT_WR);
        std::error_code end;
        got.resize(e.b.recv_exact(got, end));
        EXPECT_EQ(got, all);
    });
}

TEST(CxxSocket, tcp_both_ways_and_the_end_of_a_stream)
{
    ma::executor ex;
    auto listener = ma::listener::tcp(0);
    EXPECT_NE(listener.port(), 0);
    ma::task server, client;
    server.attach(ex, [&] {
        auto peer = listener.accept();
        char data[64];
        while (auto const n = peer.recv(data)) {
            peer.send_all({data, n});
        }
    });
    client.attach(ex, [&] {
        auto s = ma::socket::tcp("127.0.0.1", listener.port());
        std::string const text = "hello";
        s.send_all(text);
        std::vector<char> got(text.size());
        s.recv_exact(got);
        EXPECT_EQ(std::string(got.begin(), got.end()), text);
        EXPECT_EQ(s.send(std::string_view("abc")), 3u);
        s.shutdown(SHUT_WR);
        std::error_code ec;
        EXPECT_EQ(s.recv_exact(got, ec), 3u);
        EXPECT_EQ(ec.value(), ENODATA);
        EXPECT_THROW(s.recv_exact(got), ma::end_of_stream);
        EXPECT_EQ(s.recv(got), 0u);
    });
    ex.run_until_idle();
    server.get();
    client.get();
}

TEST(CxxSocket, is_closed_with_its_object_inside_tasks_and_outside)
{
    ma::executor ex;
    int inside = -1;
    run_task(ex, [&] {
        ends e;
        inside = e.a.native_handle().fd;
        EXPECT_TRUE(is_open(inside));
        ma::socket moved(std::move(e.a));
        EXPECT_FALSE(e.a.is_open()); // NOLINT: that is what is tested
        EXPECT_EQ(moved.native_handle().fd, inside);
    });
    EXPECT_FALSE(is_open(inside));
    int outside = -1;
    {
        ends e;
        outside = e.a.native_handle().fd;
    }
    EXPECT_FALSE(is_open(outside));
    ends e;
    int const kept = e.a.release().fd;
    e.a.close();
    EXPECT_TRUE(is_open(kept));
    close(kept);
}

TEST(CxxSocket, a_listener_that_cannot_be_made_in_a_task_does_not_suspend_it)
{
    ma::executor ex;
    run_task(ex, [] {
        bool others_ran = false;
        ma::this_task::executor().spawn([&] { others_ran = true; });
        auto const first = ma::listener::tcp(0);
        std::error_code ec;
        EXPECT_FALSE(ma::listener::tcp(first.port(), "127.0.0.1", 1, ec).is_open());
        EXPECT_EQ(ec.value(), EADDRINUSE);
        EXPECT_FALSE(others_ran);
        ma::this_task::yield();
        EXPECT_TRUE(others_ran);
    });
}

// In each of these the standard library lets go of what was there before it has put in place what is
// to be there: another task that ran in that time would see it half done.
TEST(CxxSocket, a_destructor_does_not_suspend_where_nothing_is_in_flight)
{
    ma::executor ex;
    ma::task changer, other;
    auto shared = std::make_shared<ma::socket>(std::move(ends().a));
    std::map<int, ma::socket> by_number;
    std::vector<ma::socket> all;
    bool ended = false;
    int turns = 0;
    changer.attach(ex, [&] {
        for (int i = 0; i < 3; ++i) {
            ends e, f;
            by_number.emplace(2 * i, std::move(e.a));
            by_number.emplace(2 * i + 1, std::move(e.b));
            all.push_back(std::move(f.a));
            all.push_back(std::move(f.b));
        }
        auto next = std::make_shared<ma::socket>(std::move(ends().a));
        EXPECT_EQ(turns, 0) << "one end was closed";
        shared = std::move(next);
        EXPECT_EQ(turns, 0) << "shared_ptr";
        by_number.clear();
        all.erase(all.begin());
        all.clear();
        EXPECT_EQ(turns, 0) << "containers";
        ended = true;
    });
    other.attach(ex, [&] {
        for (; !ended; ma::this_task::yield()) {
            ++turns;
            EXPECT_NE(shared.use_count(), 0) << "a dying object";
            EXPECT_TRUE(by_number.empty() || by_number.begin()->second.is_open());
        }
    });
    ex.run_until_idle();
    changer.get();
    other.get();
}

// Who is in a call on it gets out of that first.
TEST(CxxSocket, a_destructor_suspends_where_something_is_in_flight)
{
    ma::executor ex;
    ends e;
    auto a = std::make_unique<ma::socket>(std::move(e.a));
    ma::task reader, closer;
    bool is_out = false;
    reader.attach(ex, [&] {
        std::error_code ec;
        char byte;
        (void)a->recv({&byte, 1}, ec);
        EXPECT_EQ(ec, ma::cancelled);
        is_out = true;
    });
    closer.attach(ex, [&] {
        ma::this_task::yield();
        a.reset();
        EXPECT_TRUE(is_out);
    });
    ex.run_until_idle();
    reader.get();
    closer.get();
}

// What the kernel has not got yet looks its descriptor up when it gets it.
TEST(CxxSocket, what_is_not_submitted_never_reaches_what_has_the_number_next)
{
    ma::executor ex;
    ends e;
    auto old = std::make_unique<ma::socket>(std::move(e.a));
    int const number = old->native_handle().fd;
    ma::task reader, closer;
    reader.attach(ex, [&] {
        std::error_code ec;
        char byte;
        EXPECT_EQ(old->recv({&byte, 1}, ec), 0u);
        EXPECT_EQ(ec, ma::cancelled);
    });
    closer.attach(ex, [&] {
        old.reset();
        ends next;
        EXPECT_EQ(next.a.native_handle().fd, number) << "the lowest that is free";
        next.b.send_all(std::string_view("x"));
        char byte;
        EXPECT_EQ(next.a.recv({&byte, 1}), 1u);
    });
    ex.run_until_idle();
    reader.get();
    closer.get();
}

TEST(CxxSocket, is_closed_by_a_task_that_was_cancelled)
{
    ma::executor ex;
    ma::task t;
    int fd = -1;
    t.attach(ex, [&] {
        ends e;
        fd = e.a.native_handle().fd;
        char byte;
        (void)e.a.recv({&byte, 1});
    });
    ex.poll();
    t.cancel();
    ex.run_until_idle();
    EXPECT_THROW((void)t.get(), ma::cancelled_error);
    EXPECT_FALSE(is_open(fd));
}

TEST(CxxSocket, a_close_ends_another_task_s_receive)
{
    ma::executor ex;
    ends e;
    ma::task reader, closer;
    reader.attach(ex, [&] {
        std::error_code ec;
        char byte;
        EXPECT_EQ(e.a.recv({&byte, 1}, ec), 0u);
        EXPECT_EQ(ec, ma::cancelled);
    });
    closer.attach(ex, [&] {
        ma::this_task::yield();
        e.a.close();
    });
    ex.run_until_idle();
    reader.get();
    closer.get();
}

TEST(CxxSocket, a_close_ends_another_task_s_stream_and_its_buffers_come_back)
{
    ma::executor ex;
    {
        ma::buffer_ring const ring(ex, 2, 64); // Ends the process if a buffer is not back.
        ends e;
        ma::task reader, closer;
        reader.attach(ex, [&] {
            ma::recv_stream stream(e.a.native_handle(), ring);
            EXPECT_EQ(stream.next().size(), 3u);
            std::error_code ec;
            EXPECT_TRUE(stream.next(ec).empty());
            EXPECT_EQ(ec, ma::cancelled);
            EXPECT_TRUE(stream.next(ec).empty());
            EXPECT_EQ(ec, ma::cancelled) << "and stays so";
        });
        closer.attach(ex, [&] {
            e.b.send_all(std::string_view("one"));
            ma::this_task::sleep_for(1ms);
            e.a.close();
        });
        ex.run_until_idle();
        reader.get();
        closer.get();
    }
}

TEST(CxxSocket, errors_in_both_forms)
{
    std::error_code ec;
    EXPECT_EQ(errno_thrown_by([] { (void)ma::listener::tcp(0, "nowhere"); }), EINVAL);
    EXPECT_FALSE(ma::listener::tcp(0, "nowhere", 1, ec).is_open());
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_EQ(errno_thrown_by([] { (void)ma::socket::tcp("127.0.0.1", 1); }), EPERM)
        << "outside a task: it waits";
    ma::executor ex;
    run_task(ex, [&] {
        ma::socket none;
        char byte = 'x';
        EXPECT_EQ(errno_thrown_by([&] { (void)none.recv({&byte, 1}); }), EBADF);
        EXPECT_EQ(none.send({&byte, 1}, ec), 0u);
        EXPECT_EQ(ec.value(), EBADF);
        none.shutdown(SHUT_WR, ec);
        EXPECT_EQ(ec.value(), EBADF);
        none.close(ec);
        EXPECT_FALSE(ec) << "there is nothing to close";
        ends e;
        e.b.close();
        EXPECT_EQ(errno_thrown_by([&] { e.a.send_all({&byte, 1}); }), EPIPE);
        EXPECT_EQ(e.a.send_all({&byte, 1}, ec), 0u);
        EXPECT_EQ(ec.value(), EPIPE);
        auto gone = ma::listener::tcp(0);
        auto const port = gone.port();
        gone.close();
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::socket::tcp("127.0.0.1", port); }), ECONNREFUSED);
        EXPECT_FALSE(ma::socket::tcp("::x", port, ec).is_open());
        EXPECT_EQ(ec.value(), EINVAL);
    });
}

namespace {

// A directory that is gone at the end, with what is in it.
struct directory {
    std::string path = "/tmp/monad_async_socket_XXXXXX";
    directory() { EXPECT_NE(mkdtemp(path.data()), nullptr); }
    ~directory()
    {
        ::unlink((path + "/s").c_str());
        ::rmdir(path.c_str());
    }
};

} // namespace

// A server makes its listeners before it runs: that waits for nothing.
TEST(CxxListener, in_the_file_system_outside_tasks_and_inside)
{
    directory const d;
    std::string const name = d.path + "/s";
    auto listener = ma::listener::local(name);
    EXPECT_EQ(listener.local_address().family(), AF_UNIX);
    std::error_code ec;
    EXPECT_FALSE(ma::listener::local(name, ec).is_open());
    EXPECT_EQ(ec.value(), EADDRINUSE);
    EXPECT_EQ(errno_thrown_by([&] { (void)ma::listener::local(name); }), EADDRINUSE);
    ma::executor ex;
    ma::task server, client;
    server.attach(ex, [&] { listener.accept().send_all(std::string_view("hello")); });
    client.attach(ex, [&] {
        auto s = ma::socket::local(name);
        char data[5];
        s.recv_exact(data);
        EXPECT_EQ(std::string_view(data, 5), "hello");
        listener.close();
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::socket::local(name); }), ECONNREFUSED)
            << "the name stays";
        ASSERT_EQ(::unlink(name.c_str()), 0);
        EXPECT_FALSE(ma::socket::local(name, ec).is_open());
        EXPECT_EQ(ec.value(), ENOENT);
        EXPECT_TRUE(ma::listener::local(name).is_open()) << "inside a task, too";
    });
    ex.run_until_idle();
    server.get();
    client.get();
}

TEST(CxxListener, names_that_are_none)
{
    ma::executor ex;
    std::error_code ec;
    std::string const longest(107, 'x'), longer(108, 'x');
    int const here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    directory const d;
    ASSERT_EQ(chdir(d.path.c_str()), 0);
    EXPECT_TRUE(ma::listener::local(longest).is_open());
    ::unlink(longest.c_str());
    EXPECT_EQ(fchdir(here), 0);
    close(here);
    run_task(ex, [&] {
        for (auto const &[name, error] :
             {std::pair(longer, ENAMETOOLONG), std::pair(std::string(), EINVAL),
              std::pair(std::string("a\0b", 3), EINVAL)}) {
            EXPECT_FALSE(ma::listener::local(name, ec).is_open());
            EXPECT_EQ(ec.value(), error) << name;
            EXPECT_FALSE(ma::socket::local(name, ec).is_open());
            EXPECT_EQ(ec.value(), error) << name;
        }
    });
    EXPECT_EQ(errno_thrown_by([] { (void)ma::listener::at(ma::socket_address()); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([] { (void)ma::socket::local("/nowhere"); }), EPERM)
        << "outside a task: it waits";
}

TEST(CxxListener, by_parts_outside_tasks)
{
    ma::socket s(AF_INET, SOCK_STREAM);
    EXPECT_EQ(fcntl(s.native_handle().fd, F_GETFD), FD_CLOEXEC);
    s.set_option(SOL_SOCKET, SO_REUSEPORT, 1);
    EXPECT_EQ(s.option(SOL_SOCKET, SO_REUSEPORT), 1);
    s.bind(ma::socket_address::internet("127.0.0.1", 0));
    errno = E2BIG;
    std::error_code ec;
    s.bind(ma::socket_address::internet("127.0.0.1", 0), ec);
    EXPECT_EQ(ec.value(), EINVAL) << "it is bound";
    EXPECT_EQ(errno, E2BIG);
    auto listener = ma::listener::on(std::move(s));
    EXPECT_FALSE(s.is_open()); // NOLINT: that is what is tested
    EXPECT_NE(listener.port(), 0);
    EXPECT_EQ(listener.option(SOL_SOCKET, SO_ACCEPTCONN), 1);
    linger const some = {1, 1};
    EXPECT_EQ(errno_thrown_by([&] { listener.set_option(SOL_SOCKET, SO_LINGER, some); }), EPERM);
    EXPECT_EQ(errno_thrown_by([] { ma::socket const none(AF_INET, 12345); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([] {
                  ma::socket const direct(AF_INET, SOCK_STREAM, 0, MONAD_ASYNC_SOCKET_DIRECT);
              }),
              EPERM);
    ma::executor ex;
    ma::task server, client;
    server.attach(ex, [&] {
        listener.set_option(SOL_SOCKET, SO_LINGER, linger{0, 0});
        EXPECT_TRUE(listener.accept().is_open());
    });
    client.attach(ex, [&] {
        ma::socket c(AF_INET, SOCK_STREAM);
        c.connect(listener.local_address());
        c.connect(listener.local_address(), ec);
        EXPECT_EQ(ec.value(), EISCONN);
    });
    ex.run_until_idle();
    server.get();
    client.get();
}

namespace {

// Messages keep their bounds: so each send can be seen.
struct seen_sends : ends {
    explicit seen_sends(int type) : ends(type) {}
    // The next one, without waiting; "-" if there is none.
    std::string next() const
    {
        char data[256];
        auto const n = ::recv(b.native_handle().fd, data, sizeof data, MSG_DONTWAIT);
        return n < 0 ? "-" : std::string(data, static_cast<std::size_t>(n));
    }
};

std::string_view operator""_b(char const *text, std::size_t n)
{
    return {text, n};
}

} // namespace

TEST(Writer, gathers_until_it_is_flushed_or_full)
{
    ma::executor ex;
    run_task(ex, [&] {
        seen_sends s(SOCK_SEQPACKET);
        ma::writer out(s.a, 8);
        out.write("one"_b);
        out.write("two"_b);
        EXPECT_EQ(out.gathered(), 6u);
        EXPECT_EQ(s.next(), "-");
        out.flush();
        EXPECT_EQ(s.next(), "onetwo");
        out.flush();
        EXPECT_EQ(s.next(), "-") << "nothing to send, so nothing is";
        out.write("12345678"_b);
        EXPECT_EQ(s.next(), "-") << "just full";
        out.write("9"_b);
        EXPECT_EQ(s.next(), "123456789") << "one send for both";
        out.write("much more than there is room for"_b);
        EXPECT_EQ(s.next(), "much more than there is room for");
        EXPECT_EQ(out.gathered(), 0u);
    });
}

TEST(Writer, is_flushed_before_its_reader_waits)
{
    ma::executor ex;
    run_task(ex, [&] {
        seen_sends s(SOCK_SEQPACKET);
        ma::writer out(s.a);
        char data[16];
        out.write("answer"_b);
        s.b.send_all("more"_b);
        EXPECT_EQ(out.recv(data), 4u);
        EXPECT_EQ(s.next(), "-") << "there was something to receive: no need to send yet";
        ma::scope soon(100ms); // A slow machine comes to it in time.
        std::error_code ec;
        EXPECT_EQ(out.recv(data, ec), 0u);
        EXPECT_EQ(ec.value(), ETIME);
        EXPECT_EQ(s.next(), "answer");
    });
}

TEST(Writer, sends_nothing_twice_and_loses_nothing_when_interrupted)
{
    ma::executor ex;
    ends e;
    std::string const text(1 << 22, 'x');
    std::string sent, got;
    ma::task writing, reading;
    writing.attach(ex, [&] {
        ma::writer out(e.a, 1000);
        std::string piece;
        std::error_code ec;
        std::size_t times = 0;
        for (int i = 0; sent.size() < text.size(); ++i) {
            piece = std::to_string(i) + std::string(static_cast<std::size_t>(i % 3000), 'x');
            sent += piece;
            ma::const_bytes rest(piece);
            do {
                ma::scope soon(50us);
                out.write(rest, ec);
                rest = ma::const_bytes(rest.data() + out.taken(), rest.size() - out.taken());
                times += ec ? 1 : 0;
            } while (ec);
        }
        out.flush();
        e.a.shutdown(SHUT_WR);
        EXPECT_GT(times, 0u) << "was interrupted";
    });
    reading.attach(ex, [&] {
        char data[10000];
        while (auto const n = e.b.recv(data)) {
            got.append(data, n);
            if (got.size() % 64 < 8) {
                ma::this_task::sleep_for(200us);
            }
        }
    });
    ex.run_until_idle();
    writing.get();
    reading.get();
    EXPECT_TRUE(got == sent);
}

TEST(Writer, drops_what_no_connection_takes)
{
    ma::executor ex;
    run_task(ex, [&] {
        ends e;
        ma::writer out(e.a);
        e.b.close();
        out.write("x"_b);
        EXPECT_EQ(errno_thrown_by([&] { out.flush(); }), EPIPE);
        EXPECT_EQ(out.gathered(), 0u);
        out.flush();
    });
}

// Direct descriptors in C++: made, used, made plain ones, passed to another executor.

#include "direct.hpp"

#include <monad/async/direct.hpp>
#include <monad/async/file.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/open_options.hpp>
#include <monad/async/socket.hpp>
#include <monad/async/socket_address.hpp>

#include <cstring>
#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

constexpr std::uint32_t direct_file = MONAD_ASYNC_FILE_DIRECT;
constexpr std::uint32_t direct_socket = MONAD_ASYNC_SOCKET_DIRECT;

ma::file temporary(std::uint32_t flags)
{
    ma::open_options options;
    options.mode = 0600;
    options.flags = flags;
    return ma::file("/tmp", O_RDWR | O_TMPFILE, options);
}

// Ends the test where the kernel is too old for it.
template <class F> void unless_old(F &&f)
{
    try {
        f();
    } catch (std::system_error const &e) {
        if (e.code().value() == EOPNOTSUPP) {
            GTEST_SKIP() << "this kernel cannot";
        }
        throw;
    }
}

} // namespace

TEST(CxxDirect, a_file_is_used_made_plain_and_closed)
{
    SKIP_WITHOUT_TABLES();
    ma::executor ex(with_table(2));
    unless_old([&] {
        run_task(ex, [&] {
            for (int i = 0; i < 5; ++i) {
                auto f = temporary(direct_file);
                EXPECT_NE(f.native_handle().flags & direct_file, 0u);
                f.write_all(std::string("hello"), 0);
                EXPECT_EQ(f.stat().stx_size, 5u);
                auto const plain = ma::to_plain(f);
                EXPECT_EQ(plain.native_handle().flags, 0u);
                std::error_code ec;
                auto const again = ma::to_plain(f, ec);
                EXPECT_FALSE(ec);
                EXPECT_NE(again.native_handle().fd, plain.native_handle().fd);
                f.close();
                char got[8];
                EXPECT_EQ(pread(plain.native_handle().fd, got, 8, 0), 5);
                EXPECT_FALSE(ma::to_plain(f, ec).is_open());
                EXPECT_EQ(ec.value(), EBADF);
                EXPECT_EQ(errno_thrown_by([&] { (void)ma::to_plain(f); }), EBADF);
            }
        });
    });
}

// The other executor has a file of its own at the same place of its table.
TEST(CxxDirect, what_one_executor_knows_no_other_touches)
{
    SKIP_WITHOUT_TABLES();
    ma::executor here(with_table(2)), there(with_table(2));
    ma::file theirs, ours;
    ma::socket of_theirs;
    unless_old([&] {
        run_task(there, [&] {
            theirs = temporary(direct_file);
            theirs.write_all(std::string("theirs"), 0);
            of_theirs = ma::socket(AF_INET, SOCK_DGRAM, 0, direct_socket);
        });
        run_task(here, [&] {
            ours = temporary(direct_file);
            ours.write_all(std::string("precious"), 0);
            auto const mine = ma::socket(AF_INET, SOCK_DGRAM, 0, direct_socket);
            ASSERT_EQ(ours.native_handle().fd, theirs.native_handle().fd);
            ASSERT_EQ(mine.native_handle().fd, of_theirs.native_handle().fd);
            char got[8];
            EXPECT_EQ(errno_thrown_by([&] { (void)theirs.read(got, 0); }), EPERM);
            EXPECT_EQ(errno_thrown_by([&] { theirs.write_all(std::string("x"), 0); }), EPERM);
            EXPECT_EQ(errno_thrown_by([&] { theirs.truncate(0); }), EPERM);
            EXPECT_EQ(errno_thrown_by([&] { (void)ma::to_plain(theirs); }), EPERM);
            EXPECT_EQ(errno_thrown_by([&] { of_theirs.set_option(SOL_SOCKET, SO_REUSEADDR, 1); }),
                      EPERM);
            EXPECT_EQ(errno_thrown_by([&] { (void)of_theirs.recv(got); }), EPERM);
            auto copy = theirs.native_handle();
            auto *const self = monad_async_task_current();
            EXPECT_EQ(monad_async_file_set_ordered(self, &copy).error, EPERM);
            EXPECT_EQ(monad_async_file_close(self, copy).error, EPERM);
            EXPECT_EQ(monad_async_socket_close(self, of_theirs.native_handle()).error, EPERM);
            EXPECT_EQ(errno_thrown_by([&] { theirs.close(); }), EPERM);
            EXPECT_EQ(errno_thrown_by([&] { of_theirs.close(); }), EPERM);
            EXPECT_EQ(ours.read(got, 0), 8u);
            EXPECT_EQ(std::string(got, 8), "precious");
            ours.close();
        });
        run_task(there, [&] {
            char got[8];
            EXPECT_EQ(theirs.read(got, 0), 6u);
            theirs.close();
            of_theirs.close();
        });
    });
}

// Its row is one executor's; the descriptor is the process's.
TEST(CxxDirect, an_ordered_file_is_written_by_its_executor_and_read_by_all)
{
    ma::executor here, there;
    auto theirs = std::make_unique<ma::file>();
    run_task(there, [&] {
        *theirs = temporary(MONAD_ASYNC_FILE_ORDERED);
        theirs->write_all(std::string("theirs"), 0);
    });
    int const fd = theirs->native_handle().fd;
    run_task(here, [&] {
        char got[8];
        EXPECT_EQ(errno_thrown_by([&] { theirs->write_all(std::string("x"), 0); }), EPERM);
        EXPECT_EQ(errno_thrown_by([&] { (void)theirs->write(std::string("x"), 0); }), EPERM);
        auto *const self = monad_async_task_current();
        EXPECT_EQ(monad_async_file_close(self, theirs->native_handle()).error, EPERM);
        EXPECT_EQ(errno_thrown_by([&] { theirs->close(); }), EPERM);
        EXPECT_EQ(theirs->read(got, 0), 6u);
        theirs.reset();
        EXPECT_EQ(fcntl(fd, F_GETFD), -1) << "a destructor leaves no descriptor behind";
    });
}

TEST(CxxDirect, sockets_are_opened_bound_and_accepted)
{
    SKIP_WITHOUT_TABLES();
    ma::executor ex(with_table(4));
    unless_old([&] {
        run_task(ex, [&] {
            ma::socket bound(AF_INET, SOCK_STREAM, 0, direct_socket);
            EXPECT_NE(bound.native_handle().flags & direct_socket, 0u);
            bound.set_option(SOL_SOCKET, SO_REUSEADDR, 1);
            bound.bind(ma::socket_address::internet("127.0.0.1", 0));
            auto listener = ma::listener::on(std::move(bound));
            EXPECT_FALSE(bound.is_open()); // NOLINT: that is what is tested
            EXPECT_NE(listener.port(), 0);
            std::error_code ec;
            ma::socket client(AF_INET, SOCK_STREAM, 0, direct_socket, ec);
            EXPECT_FALSE(ec);
            auto const at = ma::socket_address::internet("127.0.0.1", listener.port());
            client.connect(at.native(), at.size());
            auto server = listener.accept(direct_socket);
            EXPECT_NE(server.native_handle().flags & direct_socket, 0u);
            EXPECT_EQ(server.peer_address().port(), client.local_address().port());
            client.send_all(std::string("ping"));
            char got[4];
            server.recv_exact(got);
            EXPECT_EQ(std::string(got, 4), "ping");
            auto const plain = ma::to_plain(server);
            EXPECT_EQ(plain.native_handle().flags, 0u);
            EXPECT_EQ(plain.peer_address().port(), client.local_address().port());
        });
    });
}

TEST(CxxDirect, a_connection_goes_to_another_executor)
{
    SKIP_WITHOUT_TABLES();
    ma::executor here(with_table(2)), there(with_table(1));
    auto const to = there.ref();
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    monad_async_socket passed = {-1, 0};
    monad_async_file file_passed = {-1, 0};
    unless_old([&] {
        run_task(here, [&] {
            auto listener = ma::listener::tcp(0);
            auto const client = ma::socket::tcp("127.0.0.1", listener.port());
            auto server = listener.accept(direct_socket);
            std::error_code ec;
            passed = ma::pass(server, to);
            EXPECT_NE(passed.flags & direct_socket, 0u);
            EXPECT_EQ(ma::pass(server, to, ec).fd, -1);
            EXPECT_EQ(ec.value(), ENFILE);
            EXPECT_EQ(errno_thrown_by([&] { (void)ma::pass(server, here.ref()); }), EINVAL);
            auto const f = temporary(direct_file);
            file_passed = ma::pass(f, to, ec);
            EXPECT_EQ(ec.value(), ENFILE);
            EXPECT_EQ(errno_thrown_by([&] { (void)ma::pass(f, to); }), ENFILE);
            dup2(client.native_handle().fd, fds[0]);
        });
        EXPECT_EQ(write(fds[0], "ping", 4), 4);
        run_task(there, [&] {
            ma::socket mine(passed);
            char got[4];
            mine.recv_exact(got);
            EXPECT_EQ(std::string(got, 4), "ping");
        });
        char got;
        EXPECT_EQ(read(fds[0], &got, 1), 0) << "closed by its last handle";
    });
    EXPECT_EQ(file_passed.fd, -1);
    close(fds[0]);
    close(fds[1]);
}

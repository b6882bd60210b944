// Direct descriptors outside their own executor: as plain ones, in another executor's table, and what
// the kernel does for plain ones alone.

#include "tries.hpp"

#include <monad/async/direct.h>
#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/remote.h>
#include <monad/async/socket.h>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <atomic>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

using namespace support;

namespace {

using File = monad_async_file;
using Socket = monad_async_socket;

class DirectExecutor {
public:
    explicit DirectExecutor(unsigned places, unsigned entries = 64)
    {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = entries;
        attr.direct_descriptors = places;
        ex_ = create_or_skip(attr);
    }
    DirectExecutor(DirectExecutor const &) = delete;
    ~DirectExecutor() { destroy(); }
    void destroy()
    {
        if (ex_ != nullptr) {
            EXPECT_EQ(monad_async_executor_destroy(ex_).error, 0);
            ex_ = nullptr;
        }
    }
    operator monad_async_executor() const { return ex_; }
    void finish() const
    {
        while (monad_async_executor_has_work(ex_)) {
            EXPECT_EQ(monad_async_executor_run(ex_, no_bound, nullptr).error, 0);
        }
    }

private:
    monad_async_executor ex_ = nullptr;
};

// Runs it to its end; false: the kernel lacks what it is about.
bool run(DirectExecutor const &ex, Body body)
{
    Task const task(std::move(body));
    task.attach(ex);
    ex.finish();
    if (task->result.error == EOPNOTSUPP) {
        skip("this kernel cannot");
    }
    EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
    return task->result.error == 0;
}

monad_async_result open_temporary(monad_async_task self, File *f, uint32_t flags)
{
    return monad_async_file_open(self, f, AT_FDCWD, "/tmp", O_RDWR | O_TMPFILE, 0600, 0, flags);
}

monad_async_remote remote_of(monad_async_executor ex)
{
    monad_async_remote remote = nullptr;
    EXPECT_EQ(monad_async_remote_acquire(ex, &remote).error, 0);
    return remote;
}

// They were done to what had that index there, and a write to an ordered file was EBADF.
TEST(Direct, operations_by_a_handle_of_another_executor_are_refused)
{
    DirectExecutor const here(4);
    DirectExecutor const there(4);
    File direct{-1, 0};
    File ordered{-1, 0};
    File its{-1, 0};
    char data[8];
    iovec const part{data, 1};
    auto const each = [&](File f, auto const &begins) {
        monad_async_op op{};
        monad_async_op_write(&op, f, "x", 1, 0);
        begins(op);
        monad_async_op_writev(&op, f, &part, 1, 0, 0);
        begins(op);
        if ((f.flags & MONAD_ASYNC_FILE_DIRECT) != 0) {
            monad_async_op_read(&op, f, data, 1, 0);
            begins(op);
            monad_async_op_sync(&op, f);
            begins(op);
            op.sqe.flags |= IOSQE_ASYNC;
            begins(op);
        }
    };
    run(here, [&](monad_async_task self) {
        TRY(open_temporary(self, &direct, MONAD_ASYNC_FILE_DIRECT));
        return open_temporary(self, &ordered, MONAD_ASYNC_FILE_ORDERED);
    });
    run(there, [&](monad_async_task self) {
        TRY(open_temporary(self, &its, MONAD_ASYNC_FILE_DIRECT));
        EXPECT_EQ(its.fd, direct.fd) << "the same index";
        for (File const f : {direct, ordered}) {
            each(f, [&](monad_async_op &op) {
                EXPECT_EQ(monad_async_op_begin(self, &op).error, EPERM) << int(op.sqe.opcode);
                EXPECT_FALSE(op.is_in_flight);
            });
        }
        // By the index alone.
        monad_async_op op{};
        monad_async_op_read(&op, {direct.fd, MONAD_ASYNC_FILE_DIRECT}, data, 1, 0);
        TRY(monad_async_op_begin(self, &op));
        EXPECT_EQ(monad_async_op_wait(self, &op).value, 0);
        return monad_async_file_close(self, its);
    });
    run(here, [&](monad_async_task self) {
        for (File const f : {direct, ordered}) {
            each(f, [&](monad_async_op &op) {
                EXPECT_EQ(monad_async_op_begin(self, &op).error, 0) << int(op.sqe.opcode);
                EXPECT_EQ(monad_async_op_wait(self, &op).error, 0) << int(op.sqe.opcode);
            });
        }
        TRY(monad_async_file_close(self, direct));
        return monad_async_file_close(self, ordered);
    });
}

TEST(Direct, a_plain_descriptor_of_a_direct_one)
{
    DirectExecutor const ex(4);
    size_t const before = open_descriptors();
    run(ex, [&](monad_async_task self) {
        File direct{-1, 0};
        File plain{-7, 0};
        TRY(open_temporary(self, &direct, MONAD_ASYNC_FILE_DIRECT));
        auto const made = monad_async_file_to_plain(self, direct, &plain);
        if (made.error == EOPNOTSUPP) {
            return made;
        }
        TRY(made);
        EXPECT_EQ(plain.flags, 0u);
        EXPECT_NE(fcntl(plain.fd, F_GETFD) & FD_CLOEXEC, 0);
        // One open file: they share the position.
        TRY(monad_async_file_write_all(self, direct, "hello", 5, -1));
        EXPECT_EQ(lseek(plain.fd, 0, SEEK_CUR), 5);
        TRY(monad_async_file_close(self, direct));
        char got[8];
        EXPECT_EQ(pread(plain.fd, got, 8, 0), 5);
        // A plain one, too.
        File second{-7, 0};
        TRY(monad_async_file_to_plain(self, plain, &second));
        EXPECT_NE(second.fd, plain.fd);
        TRY(monad_async_file_close(self, plain));
        EXPECT_EQ(pread(second.fd, got, 8, 0), 5);
        TRY(monad_async_file_close(self, second));
        // An ordered one's loses its order.
        TRY(open_temporary(self, &direct, MONAD_ASYNC_FILE_ORDERED));
        TRY(monad_async_file_to_plain(self, direct, &plain));
        EXPECT_EQ(plain.flags, 0u);
        TRY(monad_async_file_close(self, direct));
        return monad_async_file_close(self, plain);
    });
    EXPECT_EQ(open_descriptors(), before);
}

TEST(Direct, what_the_kernel_does_for_plain_ones_alone)
{
    DirectExecutor const ex(4);
    size_t const before = open_descriptors();
    run(ex, [&](monad_async_task self) {
        File f{-1, 0};
        TRY(open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT));
        struct statx status {};
        auto const told = monad_async_file_stat(self, f, STATX_SIZE, &status);
        if (told.error == EOPNOTSUPP) {
            return told;
        }
        TRY(told);
        TRY(monad_async_file_truncate(self, f, 12345));
        TRY(monad_async_file_stat(self, f, STATX_SIZE, &status));
        EXPECT_EQ(status.stx_size, 12345u);
        TRY(monad_async_file_advise(self, f, 0, int64_t(5) << 32, POSIX_FADV_NORMAL));
        TRY(monad_async_file_close(self, f));

        Socket s{-1, 0};
        TRY(monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, MONAD_ASYNC_SOCKET_DIRECT));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        auto *const any = reinterpret_cast<sockaddr *>(&at);
        TRY(monad_async_socket_bind(self, s, any, sizeof at));
        TRY(monad_async_socket_listen(self, s, 4));
        socklen_t length = sizeof at;
        TRY(monad_async_socket_local_address(self, s, any, &length));
        EXPECT_NE(at.sin_port, 0);
        EXPECT_EQ(monad_async_socket_peer_address(self, s, any, &length).error, ENOTCONN);
        int on = 1;
        TRY(monad_async_socket_option_set(self, s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
        on = 0;
        length = sizeof on;
        TRY(monad_async_socket_option_get(self, s, IPPROTO_TCP, TCP_NODELAY, &on, &length));
        EXPECT_NE(on, 0);
        return monad_async_socket_close(self, s);
    });
    EXPECT_EQ(open_descriptors(), before) << "what was made for a call is closed";
}

// A connection that one executor accepts is served by a task of another.
TEST(Direct, passed_to_another_executor)
{
    DirectExecutor const here(4);
    DirectExecutor there(2);
    auto const to = remote_of(there);
    size_t const before = open_descriptors();
    std::array<Socket, 3> passed{};
    passed.fill({-7, 0});
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    run(here, [&](monad_async_task self) {
        // A direct one of a plain one: it is passed by a connection to ourselves.
        Socket listener{-1, 0}, client{-1, 0}, direct{-1, 0};
        TRY(monad_async_socket_open(self, &listener, AF_UNIX, SOCK_STREAM, 0, 0));
        sockaddr_un at{};
        at.sun_family = AF_UNIX; // Given a name by the kernel.
        auto *const any = reinterpret_cast<sockaddr *>(&at);
        TRY(monad_async_socket_bind(self, listener, any, sizeof at.sun_family));
        TRY(monad_async_socket_listen(self, listener, 1));
        socklen_t length = sizeof at;
        TRY(monad_async_socket_local_address(self, listener, any, &length));
        TRY(monad_async_socket_open(self, &client, AF_UNIX, SOCK_STREAM, 0, 0));
        TRY(monad_async_socket_connect(self, client, any, length));
        TRY(monad_async_socket_accept(self, listener, &direct, nullptr, nullptr,
                                      MONAD_ASYNC_SOCKET_DIRECT));
        auto const first = monad_async_socket_pass(self, direct, to, &passed[0]);
        if (first.error == EOPNOTSUPP) {
            return first;
        }
        TRY(first);
        EXPECT_NE(passed[0].flags & MONAD_ASYNC_SOCKET_DIRECT, 0u);
        // Which this one does not know.
        EXPECT_EQ(monad_async_socket_close(self, passed[0]).error, EPERM);
        monad_async_op op{};
        monad_async_op_send(&op, passed[0], "ping", 4, 0);
        EXPECT_EQ(monad_async_op_begin(self, &op).error, EPERM);
        EXPECT_FALSE(op.is_in_flight);
        TRY(monad_async_socket_pass(self, direct, to, &passed[1]));
        EXPECT_NE(passed[0].fd, passed[1].fd);
        EXPECT_EQ(monad_async_socket_pass(self, direct, to, &passed[2]).error, ENFILE);
        EXPECT_EQ(passed[2].fd, -7);
        // Its own one is open still, and may go.
        TRY(monad_async_socket_close(self, direct));
        EXPECT_EQ(monad_async_socket_pass(self, direct, to, &passed[2]).error, EBADF);
        TRY(monad_async_socket_send(self, client, "ping", 4, 0));
        TRY(monad_async_socket_close(self, listener));
        // Answered over there, by the next run of this thread.
        EXPECT_EQ(dup2(client.fd, pair[0]), pair[0]);
        return monad_async_socket_close(self, client);
    });
    run(there, [&](monad_async_task self) {
        char room[8];
        auto const r = monad_async_socket_recv(self, passed[1], room, sizeof room, 0);
        TRY(r);
        EXPECT_EQ(std::string(room, size_t(r.value)), "ping");
        TRY(monad_async_socket_send(self, passed[0], "pong", 4, 0));
        TRY(monad_async_socket_close(self, passed[0]));
        return monad_async_socket_close(self, passed[1]);
    });
    char room[8];
    EXPECT_EQ(read(pair[0], room, sizeof room), 4);
    EXPECT_EQ(read(pair[0], room, sizeof room), 0) << "the last of its handles has ended it";
    close(pair[0]);
    close(pair[1]);
    EXPECT_EQ(open_descriptors(), before);
    monad_async_remote_release(to);
}

TEST(Direct, an_executor_that_waits_or_is_gone)
{
    DirectExecutor const here(4);
    monad_async_remote to = nullptr;
    std::atomic<bool> ready{false}, over{false};
    int ring = -1;
    // It runs nothing, and only sleeps.
    std::thread other([&] {
        DirectExecutor there(16);
        to = remote_of(there);
        ring = monad_async_executor_ring_fd(there);
        ready.store(true);
        while (!over.load()) {
            (void)monad_async_executor_run(there, no_bound, nullptr);
        }
    });
    spin_until([&] { return ready.load(); });
    File passed{-7, 0};
    File f{-1, 0};
    run(here, [&](monad_async_task self) {
        TRY(open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT));
        for (int i = 0; i < 8; ++i) {
            auto const r = monad_async_file_pass(self, f, to, &passed);
            if (r.error == EOPNOTSUPP) {
                return r;
            }
            TRY(r);
        }
        monad_async_op op{};
        monad_async_op_pass(&op, f.fd, ring);
        TRY(monad_async_op_begin(self, &op));
        auto const r = monad_async_op_wait(self, &op);
        TRY(r);
        EXPECT_GE(r.value, 0);
        monad_async_op_to_plain(&op, f.fd);
        TRY(monad_async_op_begin(self, &op));
        TRY(monad_async_op_wait(self, &op));
        close(int(op.result.value));
        // The kernel's word for an index that is none, however far out.
        for (int32_t const none : {-1, 63, 64, 100'000, INT32_MAX, INT32_MIN}) {
            for (bool const passes : {false, true}) {
                monad_async_op wrong{};
                if (passes) {
                    monad_async_op_pass(&wrong, none, ring);
                } else {
                    monad_async_op_to_plain(&wrong, none);
                }
                TRY(monad_async_op_begin(self, &wrong));
                EXPECT_EQ(monad_async_op_wait(self, &wrong).error, EBADF) << none;
            }
        }
        // And by nobody's hand.
        size_t const before = open_descriptors();
        TRY(monad_async_op_begin(self, &op));
        TRY(monad_async_op_end(self, &op));
        EXPECT_EQ(open_descriptors(), before);
        return success();
    });
    over.store(true);
    EXPECT_EQ(monad_async_remote_wake(to).error, 0);
    other.join();
    run(here, [&](monad_async_task self) {
        EXPECT_EQ(monad_async_file_pass(self, f, to, &passed).error, ESHUTDOWN);
        return success();
    });
    monad_async_remote_release(to);
}

// Its thread has ended, and nobody can end the executor any more: there the kernel says EOWNERDEAD.
TEST(Direct, an_executor_whose_thread_has_ended)
{
    static DirectExecutor *left = nullptr; // It stays, and is found by who looks for leaks.
    DirectExecutor const here(4);
    monad_async_remote to = nullptr;
    int ring = -1;
    std::thread([&] {
        left = new DirectExecutor(4);
        if (*left != nullptr) {
            to = remote_of(*left);
            ring = monad_async_executor_ring_fd(*left);
        }
    }).join();
    size_t const before = open_descriptors();
    run(here, [&](monad_async_task self) {
        File f{-1, 0}, passed{-7, 0};
        TRY(open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT));
        auto const gone = monad_async_file_pass(self, f, to, &passed);
        if (gone.error != EOPNOTSUPP) {
            EXPECT_EQ(gone.error, ESHUTDOWN) << monad_async_result_message(gone);
            EXPECT_EQ(passed.fd, -7);
            monad_async_op op{};
            monad_async_op_pass(&op, f.fd, ring);
            TRY(monad_async_op_begin(self, &op));
            EXPECT_EQ(monad_async_op_wait(self, &op).error, EOWNERDEAD) << "as it is";
        }
        TRY(monad_async_file_close(self, f));
        return gone.error == EOPNOTSUPP ? gone : success();
    });
    EXPECT_EQ(open_descriptors(), before) << "the call has closed what it took";
    monad_async_remote_release(to);
}

TEST(Direct, bad_input)
{
    DirectExecutor const ex(2);
    DirectExecutor const without(0);
    Executor const compute_only(0);
    auto const own = remote_of(ex);
    auto const tableless = remote_of(without);
    auto const ringless = remote_of(compute_only);
    run(ex, [&](monad_async_task self) {
        File f{-1, 0}, plain{-1, 0}, out{-7, 0};
        Socket s{-7, 0};
        TRY(open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT));
        auto const made = monad_async_file_to_plain(self, f, &plain);
        if (made.error == EOPNOTSUPP) {
            return made;
        }
        TRY(made);
        EXPECT_EQ(monad_async_file_pass(self, f, own, &out).error, EINVAL);
        EXPECT_EQ(monad_async_file_pass(self, f, nullptr, &out).error, EINVAL);
        EXPECT_EQ(monad_async_file_pass(self, f, tableless, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_file_pass(self, f, tableless, &out).error, ENFILE);
        EXPECT_EQ(monad_async_file_pass(self, f, ringless, &out).error, ENOTSUP);
        EXPECT_EQ(monad_async_file_pass(self, plain, tableless, &out).error, EINVAL);
        EXPECT_EQ(monad_async_file_pass(nullptr, f, tableless, &out).error, EINVAL);
        EXPECT_EQ(monad_async_file_to_plain(self, f, nullptr).error, EINVAL);
        // Handles of nothing, closed ones, and places that the table does not have.
        struct statx status {};
        for (int32_t const fd : {-1, 1, 2, 1000000, INT32_MAX}) {
            File const none{fd, MONAD_ASYNC_FILE_DIRECT};
            Socket const no_socket{fd, MONAD_ASYNC_SOCKET_DIRECT};
            EXPECT_EQ(monad_async_file_to_plain(self, none, &out).error, EBADF) << fd;
            EXPECT_EQ(monad_async_file_pass(self, none, tableless, &out).error, EBADF) << fd;
            EXPECT_EQ(monad_async_socket_to_plain(self, no_socket, &s).error, EBADF) << fd;
            EXPECT_EQ(monad_async_file_close(self, none).error, EBADF) << fd;
            EXPECT_EQ(monad_async_socket_close(self, no_socket).error, EBADF) << fd;
            EXPECT_EQ(monad_async_file_read(self, none, &status, 1, 0).error, EBADF) << fd;
            EXPECT_EQ(monad_async_file_stat(self, none, STATX_SIZE, &status).error, EBADF) << fd;
            EXPECT_EQ(monad_async_socket_listen(self, no_socket, 1).error, EBADF) << fd;
            EXPECT_EQ(monad_async_socket_recv(self, no_socket, &status, 1, 0).error, EBADF) << fd;
        }
        EXPECT_EQ(out.fd, -7);
        EXPECT_EQ(s.fd, -7);
        // Without a table.
        TRY(monad_async_file_close(self, plain));
        EXPECT_EQ(monad_async_file_to_plain(self, plain, &out).error, EBADF);
        return monad_async_file_close(self, f);
    });
    run(without, [&](monad_async_task self) {
        File f{0, MONAD_ASYNC_FILE_DIRECT};
        EXPECT_EQ(monad_async_file_close(self, f).error, EBADF);
        EXPECT_EQ(monad_async_file_to_plain(self, f, &f).error, EBADF);
        EXPECT_EQ(open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT).error, ENFILE);
        return success();
    });
    monad_async_remote_release(own);
    monad_async_remote_release(tableless);
    monad_async_remote_release(ringless);
}

// A cancel at any moment leaves neither a descriptor nor a place taken behind.
TEST(Direct, cancelled_ones_leak_nothing)
{
    DirectExecutor const ex(2, 2);
    DirectExecutor const there(64);
    auto const to = remote_of(there);
    size_t const before = open_descriptors();
    for (int i = 0; i < 40; ++i) {
        File f{-1, 0}, out{-1, 0};
        bool passes = i % 2 == 0;
        monad_async_result r{};
        Task const task([&](monad_async_task self) {
            if (open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT).error != 0) {
                return success();
            }
            r = passes ? monad_async_file_pass(self, f, to, &out)
                       : monad_async_file_to_plain(self, f, &out);
            if (!passes && r.error == 0) {
                close(out.fd);
            }
            return monad_async_file_close(self, f);
        });
        task.attach(ex);
        for (int passed = 0; passed < i / 4; ++passed) {
            (void)monad_async_executor_run(ex, 1, &at_once);
        }
        (void)monad_async_task_cancel(ex, task);
        ex.finish();
        EXPECT_TRUE(r.error == 0 || r.error == ECANCELED || r.error == EOPNOTSUPP) << r.error;
        EXPECT_EQ(open_descriptors(), before) << i;
    }
    // All places are there.
    run(ex, [&](monad_async_task self) {
        File f{-1, 0};
        TRY(open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT));
        return open_temporary(self, &f, MONAD_ASYNC_FILE_DIRECT);
    });
    monad_async_remote_release(to);
}

} // namespace

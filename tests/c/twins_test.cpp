// Operations that the headers fill, and what calls leave behind: what no other test would notice.

#include "tries.hpp"

#include <monad/async/direct.h>
#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/process.h>
#include <monad/async/remote.h>
#include <monad/async/socket.h>

#include <array>
#include <cstring>
#include <filesystem>

#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

using namespace support;

namespace {

size_t descriptors()
{
    size_t count = 0;
    for (auto const &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        count += entry.is_symlink() ? 1 : 0;
    }
    return count;
}

monad_async_result perform(monad_async_task self, monad_async_op &op)
{
    auto const begun = monad_async_op_begin(self, &op);
    return begun.error == 0 ? monad_async_op_wait(self, &op) : begun;
}

class WithTable {
public:
    explicit WithTable(unsigned places)
    {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = 16;
        attr.direct_descriptors = places;
        ex_ = create_or_skip(attr);
    }
    WithTable(WithTable const &) = delete;
    ~WithTable() { EXPECT_EQ(monad_async_executor_destroy(ex_).error, 0); }
    operator monad_async_executor() const { return ex_; }
    void run(Body body) const
    {
        Task const task(std::move(body));
        task.attach(ex_);
        while (monad_async_executor_has_work(ex_)) {
            EXPECT_EQ(monad_async_executor_run(ex_, no_bound, nullptr).error, 0);
        }
        EXPECT_EQ(task->result.error, 0) << monad_async_result_message(task->result);
    }

private:
    monad_async_executor ex_ = nullptr;
};

// A direct file of one byte.
monad_async_file file_of(monad_async_task self, char byte)
{
    monad_async_file made{-1, 0};
    EXPECT_EQ(monad_async_file_open(self, &made, AT_FDCWD, "/tmp", O_RDWR | O_TMPFILE, 0600, 0,
                                    MONAD_ASYNC_FILE_DIRECT)
                  .error,
              0);
    EXPECT_EQ(monad_async_file_write(self, made, &byte, 1, 0).value, 1);
    return made;
}

struct Sockets {
    int here = -1, there = -1;
    Sockets()
    {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        here = fds[0];
        there = fds[1];
    }
    Sockets(Sockets const &) = delete;
    ~Sockets()
    {
        close(here);
        if (there >= 0) {
            close(there);
        }
    }
};

// A message of one byte, which may take a descriptor along.
struct Message {
    char byte = 'm';
    iovec part{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
    msghdr header{};
    Message()
    {
        header.msg_iov = &part;
        header.msg_iovlen = 1;
    }
    void make_room()
    {
        header.msg_control = room.data();
        header.msg_controllen = room.size();
    }
};

} // namespace

// Of the second place, not of the first.
TEST(Twins, direct_descriptors_are_named_by_their_index)
{
    WithTable const here(4), there(4), without(0);
    int32_t index = -1;
    here.run([&](monad_async_task self) {
        auto const first = file_of(self, '1'), second = file_of(self, '2');
        EXPECT_NE(first.fd, second.fd);
        char got = 0;
        monad_async_op op{};
        monad_async_op_to_plain(&op, second.fd);
        auto r = perform(self, op);
        if (r.error == EOPNOTSUPP) {
            printf("[  SKIPPED ] FIXED_FD_INSTALL: not in this kernel\n");
        } else {
            EXPECT_EQ(pread(static_cast<int>(r.value), &got, 1, 0), 1);
            EXPECT_EQ(got, '2');
            EXPECT_EQ(close(static_cast<int>(r.value)), 0);
        }
        op = {};
        monad_async_op_pass(&op, second.fd, monad_async_executor_ring_fd(there));
        r = perform(self, op);
        EXPECT_EQ(r.error, 0);
        index = static_cast<int32_t>(r.value);
        // An executor without a table has no place for one.
        monad_async_remote remote = nullptr;
        EXPECT_EQ(monad_async_remote_acquire(without, &remote).error, 0);
        monad_async_file passed{-1, 0};
        EXPECT_EQ(monad_async_file_pass(self, second, remote, &passed).error, ENFILE);
        EXPECT_EQ(passed.fd, -1);
        monad_async_remote_release(remote);
        EXPECT_EQ(monad_async_file_close(self, first).error, 0);
        return monad_async_file_close(self, second);
    });
    there.run([&](monad_async_task self) {
        char got = 0;
        monad_async_file const passed{index, MONAD_ASYNC_FILE_DIRECT};
        EXPECT_EQ(monad_async_file_read(self, passed, &got, 1, 0).value, 1);
        EXPECT_EQ(got, '2');
        return monad_async_file_close(self, passed);
    });
}

// A server and its client by operations alone, with plain descriptors and with direct ones. Where the
// kernel lacks one, `begin` says so.
TEST(Twins, a_connection_by_operations_alone)
{
    WithTable const ex(4);
    ex.run([](monad_async_task self) -> monad_async_result {
        for (uint32_t const flags : {0u, MONAD_ASYNC_SOCKET_DIRECT}) {
            monad_async_op op{}, accepts{};
            monad_async_op_socket(&op, AF_INET, SOCK_STREAM, 0, flags);
            auto r = perform(self, op);
            if (r.error == EOPNOTSUPP) {
                printf("[  SKIPPED ] SOCKET: not in this kernel\n");
                return success();
            }
            TRY(r);
            monad_async_socket const listener{static_cast<int32_t>(r.value), flags};
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            auto *const any = reinterpret_cast<sockaddr *>(&address);
            socklen_t length = sizeof address;
            monad_async_op_bind(&op, listener, any, length);
            r = perform(self, op);
            if (r.error == EOPNOTSUPP) {
                printf("[  SKIPPED ] BIND, LISTEN: not in this kernel\n");
                return monad_async_socket_close(self, listener);
            }
            TRY(r);
            monad_async_op_listen(&op, listener, 1);
            TRY(perform(self, op));
            TRY(monad_async_socket_local_address(self, listener, any, &length));
            EXPECT_NE(address.sin_port, 0);
            monad_async_op_accept(&accepts, listener, nullptr, nullptr, flags);
            TRY(monad_async_op_begin(self, &accepts));
            monad_async_op_socket(&op, AF_INET, SOCK_STREAM, 0, flags);
            r = perform(self, op);
            TRY(r);
            monad_async_socket const client{static_cast<int32_t>(r.value), flags};
            monad_async_op_connect(&op, client, any, sizeof address);
            TRY(perform(self, op));
            EXPECT_EQ(perform(self, op).error, EISCONN);
            r = monad_async_op_wait(self, &accepts);
            TRY(r);
            monad_async_socket const server{static_cast<int32_t>(r.value), flags};
            monad_async_op_send(&op, client, "x", 1, 0);
            EXPECT_EQ(perform(self, op).value, 1);
            char byte = 0;
            monad_async_op_recv(&op, server, &byte, 1, 0);
            EXPECT_EQ(perform(self, op).value, 1);
            EXPECT_EQ(byte, 'x');
            // A receive that waits is ended by the other side's shutdown.
            monad_async_op_recv(&accepts, server, &byte, 1, 0);
            TRY(monad_async_op_begin(self, &accepts));
            monad_async_op_shutdown(&op, client, SHUT_WR);
            TRY(perform(self, op));
            r = monad_async_op_wait(self, &accepts);
            EXPECT_EQ(r.error, 0);
            EXPECT_EQ(r.value, 0);
            for (auto const one : {server, client, listener}) {
                TRY(monad_async_socket_close(self, one));
            }
        }
        return success();
    });
}

TEST(Twins, the_length_of_an_option_is_told)
{
    WithTable const ex(4);
    ex.run([](monad_async_task self) {
        for (uint32_t const flags : {0u, MONAD_ASYNC_SOCKET_DIRECT}) {
            monad_async_socket s{-1, 0};
            EXPECT_EQ(monad_async_socket_open(self, &s, AF_INET, SOCK_DGRAM, 0, flags).error, 0);
            int value[4] = {};
            socklen_t length = sizeof value;
            auto const r =
                monad_async_socket_option_get(self, s, SOL_SOCKET, SO_TYPE, value, &length);
            if (r.error != EOPNOTSUPP) {
                EXPECT_EQ(r.error, 0);
                EXPECT_EQ(length, sizeof(int)) << flags;
                EXPECT_EQ(value[0], SOCK_DGRAM);
            }
            EXPECT_EQ(monad_async_socket_close(self, s).error, 0);
        }
        return success();
    });
}

// Of a peer that has gone. The signal would end the process.
TEST(Twins, no_way_of_sending_raises_SIGPIPE)
{
    auto *const before = std::signal(SIGPIPE, SIG_DFL);
    Executor ex(16);
    Task const task([](monad_async_task self) {
        Sockets s;
        close(s.there);
        s.there = -1;
        auto const socket = monad_async_socket_adopt(s.here);
        Message m;
        char const text[] = "text";
        monad_async_op send{}, sendmsg{}, write{}, writev{};
        monad_async_op_send(&send, socket, text, 4, 0);
        monad_async_op_sendmsg(&sendmsg, socket, &m.header, 0);
        monad_async_op_write(&write, monad_async_file_adopt(s.here), text, 4, -1);
        monad_async_op_writev(&writev, monad_async_file_adopt(s.here), &m.part, 1, -1, 0);
        for (auto *const op : {&send, &sendmsg, &write, &writev}) {
            EXPECT_EQ(perform(self, *op).error, EPIPE);
        }
        auto const file = monad_async_file_adopt(s.here);
        EXPECT_EQ(monad_async_socket_send(self, socket, text, 4, 0).error, EPIPE);
        EXPECT_EQ(monad_async_socket_send_all(self, socket, text, 4).error, EPIPE);
        EXPECT_EQ(monad_async_socket_sendmsg(self, socket, &m.header, 0).error, EPIPE);
        EXPECT_EQ(monad_async_file_write(self, file, text, 4, -1).error, EPIPE);
        EXPECT_EQ(monad_async_file_write_all(self, file, text, 4, -1).error, EPIPE);
        EXPECT_EQ(monad_async_file_writev(self, file, &m.part, 1, -1, 0).error, EPIPE);
        return success();
    });
    task.attach(ex);
    ex.finish();
    std::signal(SIGPIPE, before);
}

TEST(Twins, descriptors_that_come_are_closed_by_an_exec)
{
    bool const refuses = !config_says("native_workers"); // Which came with 5.12, too.
    Executor ex(16);
    Task const task([refuses](monad_async_task self) {
        for (bool const by_operation : {false, true}) {
            Sockets s;
            Message out, in;
            out.make_room();
            auto *const header = CMSG_FIRSTHDR(&out.header);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(header), &s.there, sizeof s.there);
            EXPECT_EQ(::sendmsg(s.there, &out.header, 0), 1);
            in.make_room();
            auto const from = monad_async_socket_adopt(s.here);
            monad_async_op op{};
            monad_async_op_recvmsg(&op, from, &in.header, 0);
            auto const r = by_operation ? perform(self, op)
                                        : monad_async_socket_recvmsg(self, from, &in.header, 0);
            if (by_operation && refuses && r.error == EINVAL) { // As socket.h says.
                printf("[  SKIPPED ] a message with more than data: not in this kernel's ring\n");
                return success();
            }
            EXPECT_EQ(r.value, 1);
            auto *const came = CMSG_FIRSTHDR(&in.header);
            if (came == nullptr) {
                return monad_async_make_failure(EIO);
            }
            int fd = -1;
            memcpy(&fd, CMSG_DATA(came), sizeof fd);
            EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
            EXPECT_EQ(close(fd), 0);
        }
        return success();
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Twins, waits_for_processes_and_signals_leave_no_descriptor)
{
    Executor ex(16);
    Task const task([](monad_async_task self) {
        auto const ended = [] {
            pid_t const pid = fork();
            if (pid == 0) {
                _exit(3);
            }
            return pid;
        };
        EXPECT_EQ(nop(self).error, 0);
        size_t const before = descriptors();
        monad_async_process_info info{};
        EXPECT_EQ(monad_async_process_wait(self, ended(), &info).error, 0);
        EXPECT_EQ(monad_async_process_wait(self, getppid(), &info).error, ECHILD);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
        raise(SIGUSR1);
        EXPECT_EQ(monad_async_signal_wait(self, &set).value, SIGUSR1);
        EXPECT_EQ(descriptors(), before);
        // By an operation: as `waitid` has it, options too.
        pid_t const pid = ended();
        siginfo_t told{};
        for (int const options : {WEXITED | WNOWAIT, WEXITED}) {
            monad_async_op op{};
            monad_async_op_process_wait(&op, pid, &told, options);
            auto const r = perform(self, op);
            if (r.error == EOPNOTSUPP) {
                EXPECT_EQ(waitpid(pid, nullptr, 0), pid) << "before Linux 6.7";
                return success();
            }
            EXPECT_EQ(r.error, 0) << "the first leaves it as it is";
            EXPECT_EQ(told.si_status, 3);
        }
        EXPECT_EQ(waitpid(pid, nullptr, 0), -1);
        EXPECT_EQ(descriptors(), before);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

// Tasks that are stopped in every kind of call, in every state of it: cancelled, out of time, their
// handle closed, or with what they wait for arriving at that moment. Once the task has ended, what the
// call referred to is overwritten, and what would still come is sent: nothing of it arrives there. No
// descriptor and no buffer is left.

#include "tries.hpp"

#include <monad/async/blocking.h>
#include <monad/async/buffer.h>
#include <monad/async/buffer_set.h>
#include <monad/async/direct.h>
#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/path.h>
#include <monad/async/poll.h>
#include <monad/async/process.h>
#include <monad/async/remote.h>
#include <monad/async/scope.h>
#include <monad/async/socket.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace support;

namespace {

using Result = monad_async_result;

constexpr char poison = 0x5a;
constexpr unsigned places = 4;

// With a table of direct descriptors; without, where the kernel has none.
Executor::Made with_table(bool &has_table)
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 4;
    attr.direct_descriptors = places;
    monad_async_executor ex = nullptr;
    has_table = monad_async_executor_create(&ex, &attr).error == 0;
    if (!has_table) {
        attr.direct_descriptors = 0;
        EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
    }
    return {ex};
}

// An executor whose table direct descriptors are passed to.
struct Elsewhere {
    bool has_table = false;
    Executor ex{with_table(has_table)};
    monad_async_remote remote = nullptr;

    Elsewhere() { EXPECT_EQ(monad_async_remote_acquire(ex, &remote).error, 0); }
    Elsewhere(Elsewhere const &) = delete;
    ~Elsewhere() { monad_async_remote_release(remote); }
    // Closes what was passed, if anything was; all places are free then.
    void check(monad_async_file passed)
    {
        Task const task([&](monad_async_task self) {
            if (passed.fd >= 0) {
                EXPECT_EQ(monad_async_file_close(self, passed).error, 0);
            }
            std::array<monad_async_file, places> files{};
            for (auto &file : files) {
                EXPECT_EQ(monad_async_file_open(self, &file, AT_FDCWD, "/dev/zero", O_RDONLY, 0, 0,
                                                MONAD_ASYNC_FILE_DIRECT)
                              .error,
                          0)
                    << "what was passed to nobody is open";
            }
            for (auto const &file : files) {
                EXPECT_EQ(monad_async_file_close(self, file).error, 0);
            }
            return monad_async_make_success(0);
        });
        task.attach(ex);
        ex.finish();
    }
};

// What a call may be about. Each has its own.
struct Stage {
    bool has_table = false;
    Executor ex{with_table(has_table)};
    // For what passes direct descriptors; and what was passed.
    std::optional<Elsewhere> elsewhere;
    monad_async_file passed{-1, 0};
    // For what waits for one.
    monad_async_buffer held{};
    Fd here, there, listener;
    Pipe pipe, full;
    alignas(struct statx) std::array<char, 256> room{};
    // Of paths, in a directory of its own; and what a call has had of a registered buffer.
    std::string directory = "/tmp/monad_async_stops_XXXXXX";
    std::string name, other;
    char *fixed = nullptr;
    Fd file;
    std::vector<char> much = std::vector<char>(4 << 20, 'x');
    monad_async_buffer_ring ring = nullptr;
    monad_async_buffer_set set = nullptr;
    // What a call may be about, and another close: descriptors of their own.
    monad_async_socket mine{-1, 0};
    monad_async_file row{-1, 0};
    // Connections that nobody has accepted.
    std::vector<Fd> queued;
    pid_t child = -1;
    sigset_t before{};
    bool is_blocked = false;

    explicit Stage(bool passes)
    {
        if (passes) {
            elsewhere.emplace();
        }
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        here = Fd(fds[0]);
        there = Fd(fds[1]);
        mine = monad_async_socket_adopt(dup(here));
        listener = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(listen(listener, 4), 0);
        fcntl(full.writer, F_SETFL, O_NONBLOCK);
        while (write(full.writer, much.data(), 4096) > 0) {
        }
        fcntl(full.writer, F_SETFL, 0);
        row = monad_async_file_adopt(dup(full.writer));
        EXPECT_NE(mkdtemp(directory.data()), nullptr);
        name = directory + "/a";
        other = directory + "/b";
        file = Fd(memfd_create("stops", MFD_CLOEXEC));
        EXPECT_EQ(write(file, "0123456789", 10), 10);
        EXPECT_EQ(monad_async_buffer_ring_create(ex, &ring, 2, 64).error, 0);
        EXPECT_EQ(monad_async_buffers_register(ex, &set, 1, 4096).error, 0);
    }
    ~Stage()
    {
        for (int const fd : {mine.fd, row.fd}) {
            if (fd >= 0) {
                close(fd);
            }
        }
        if (child > 0) {
            kill(child, SIGKILL);
            EXPECT_EQ(waitpid(child, nullptr, 0), child) << "it was reaped for nobody";
        }
        if (is_blocked) {
            sigset_t const awaited = signals();
            timespec const at_once{};
            while (sigtimedwait(&awaited, nullptr, &at_once) > 0) {
            }
            pthread_sigmask(SIG_SETMASK, &before, nullptr);
        }
        for (char const *const left : {"/a", "/b"}) {
            (void)std::remove((directory + left).c_str());
        }
        EXPECT_EQ(rmdir(directory.c_str()), 0);
        if (elsewhere && elsewhere->has_table) {
            elsewhere->check(passed);
        }
        (void)monad_async_buffers_release(&held);
        EXPECT_EQ(monad_async_buffer_ring_destroy(ring).error, 0) << "a buffer is held";
        EXPECT_EQ(monad_async_buffers_unregister(set).error, 0) << "a buffer is claimed";
    }
    static sigset_t signals()
    {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        return set;
    }
    void fill_socket() const
    {
        while (send(here, much.data(), much.size(), MSG_DONTWAIT) > 0) {
        }
    }
};

struct Kind {
    char const *name;
    std::function<Result(monad_async_task, Stage &)> call;
    // What a close of its handle is; empty: it has none that may be closed.
    std::function<Result(monad_async_task, Stage &)> close;
    // Has it go on; empty: a time.
    std::function<void(Stage &)> feed;
    bool passes = false;
};

void to_here(Stage &s)
{
    (void)!send(s.there, "0123456789", 10, MSG_DONTWAIT | MSG_NOSIGNAL);
}
void to_pipe(Stage &s)
{
    (void)!write(s.pipe.writer, "0123456789", 10);
}
void drain(Stage &s)
{
    char data[65536];
    fcntl(s.full.reader, F_SETFL, O_NONBLOCK);
    while (read(s.full.reader, data, sizeof data) > 0) {
    }
}
void drain_there(Stage &s)
{
    char data[65536];
    while (recv(s.there, data, sizeof data, MSG_DONTWAIT) > 0) {
    }
}
Result close_here(monad_async_task self, Stage &s)
{
    auto const closed = monad_async_socket_close(self, s.mine);
    s.mine.fd = -1;
    return closed;
}

// One operation, begun and awaited; what nobody takes is ended.
Result operate(monad_async_task self, monad_async_op &op)
{
    auto r = monad_async_op_begin(self, &op);
    if (r.error != 0) {
        return r;
    }
    r = monad_async_op_wait(self, &op);
    if (r.error != 0 && op.is_in_flight) {
        EXPECT_EQ(monad_async_op_end(self, &op).error, 0);
    }
    EXPECT_FALSE(op.is_in_flight);
    return r;
}

// The kernel is done with it, and its next claimer is not to find what it wrote later.
void poison_buffer(Stage &s, monad_async_buffer const &buffer)
{
    s.fixed = static_cast<char *>(buffer.data);
    std::fill_n(s.fixed, 64, poison);
}

// What refers to paths.
template <class F> Kind of_paths(char const *name, F call)
{
    return {name, [call](auto self, Stage &s) { return call(self, s.name.c_str(), s); }, nullptr,
            nullptr};
}

std::vector<Kind> kinds()
{
    auto const file = [](int fd) { return monad_async_file_adopt(fd); };
    return {
        {"recv",
         [](auto self, Stage &s) {
             return monad_async_socket_recv(self, s.mine, s.room.data(), 64, 0);
         },
         close_here, to_here},
        {"recv_exact",
         [](auto self, Stage &s) {
             return monad_async_socket_recv_exact(self, s.mine, s.room.data(), 10);
         },
         close_here, to_here},
        {"recvmsg",
         [](auto self, Stage &s) {
             iovec part{s.room.data(), 64};
             msghdr message{};
             message.msg_iov = &part;
             message.msg_iovlen = 1;
             return monad_async_socket_recvmsg(self, s.mine, &message, 0);
         },
         close_here, to_here},
        {"send_all",
         [](auto self, Stage &s) {
             return monad_async_socket_send_all(self, s.mine, s.much.data(), s.much.size());
         },
         close_here, drain_there},
        {"send",
         [](auto self, Stage &s) {
             s.fill_socket();
             return monad_async_socket_send(self, s.mine, s.much.data(), 100, 0);
         },
         close_here, drain_there},
        {"sendmsg",
         [](auto self, Stage &s) {
             s.fill_socket();
             iovec part{s.much.data(), 100};
             msghdr message{};
             message.msg_iov = &part;
             message.msg_iovlen = 1;
             return monad_async_socket_sendmsg(self, s.mine, &message, 0);
         },
         close_here, drain_there},
        {"connect",
         [](auto self, Stage &s) {
             sockaddr_in at{};
             socklen_t length = sizeof at;
             auto *const any = reinterpret_cast<sockaddr *>(&at);
             getsockname(s.listener, any, &length);
             // So many that the listener hears of no other.
             for (int i = 0; i < 8; ++i) {
                 s.queued.emplace_back(
                     socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
                 (void)connect(s.queued.back(), any, length);
             }
             Fd const made(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
             return monad_async_socket_connect(self, monad_async_socket_adopt(made), any, length);
         },
         nullptr, nullptr},
        {"accept",
         [](auto self, Stage &s) {
             monad_async_socket made{-1, 0};
             sockaddr_in at{};
             socklen_t length = sizeof at;
             auto const r =
                 monad_async_socket_accept(self, monad_async_socket_adopt(s.listener), &made,
                                           reinterpret_cast<sockaddr *>(&at), &length, 0);
             return r.error == 0 ? monad_async_socket_close(self, made) : r;
         },
         nullptr,
         [](Stage &s) {
             sockaddr_in at{};
             socklen_t length = sizeof at;
             auto *const any = reinterpret_cast<sockaddr *>(&at);
             getsockname(s.listener, any, &length);
             Fd const peer(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
             (void)connect(peer, any, length);
         }},
        {"poll", [](auto self, Stage &s) { return monad_async_poll(self, s.pipe.reader, 1); },
         nullptr, to_pipe},
        {"read",
         [file](auto self, Stage &s) {
             return monad_async_file_read(self, file(s.pipe.reader), s.room.data(), 64, -1);
         },
         nullptr, to_pipe},
        {"readv",
         [file](auto self, Stage &s) {
             iovec const parts[] = {{s.room.data(), 5}, {s.room.data() + 5, 59}};
             return monad_async_file_readv(self, file(s.pipe.reader), parts, 2, -1, 0);
         },
         nullptr, to_pipe},
        {"write",
         [file](auto self, Stage &s) {
             return monad_async_file_write(self, file(s.full.writer), s.much.data(), 100, -1);
         },
         nullptr, drain},
        {"writev",
         [file](auto self, Stage &s) {
             iovec const parts[] = {{s.much.data(), 5}, {s.much.data() + 5, 59}};
             return monad_async_file_writev(self, file(s.full.writer), parts, 2, -1, 0);
         },
         nullptr, drain},
        {"write_all",
         [file](auto self, Stage &s) {
             return monad_async_file_write_all(self, file(s.full.writer), s.much.data(), 100000,
                                               -1);
         },
         nullptr, drain},
        {"an ordered write",
         [](auto self, Stage &s) {
             EXPECT_EQ(monad_async_file_set_ordered(self, &s.row).error, 0);
             return monad_async_file_write(self, s.row, s.much.data(), 100000, -1);
         },
         [](auto self, Stage &s) {
             auto const closed = monad_async_file_close(self, s.row);
             s.row.fd = -1;
             return closed;
         },
         drain},
        {"an operation",
         [](auto self, Stage &s) {
             monad_async_op op{};
             monad_async_op_recv(&op, s.mine, s.room.data(), 64, 0);
             return operate(self, op);
         },
         close_here, to_here},
        {"into a registered buffer",
         [file](auto self, Stage &s) {
             monad_async_buffer buffer{};
             auto r = monad_async_buffers_claim(self, s.set, &buffer);
             if (r.error == 0) {
                 r = monad_async_file_read_fixed(self, file(s.pipe.reader), &buffer, 0, 64, -1);
                 poison_buffer(s, buffer);
                 EXPECT_EQ(monad_async_buffers_release(&buffer).error, 0);
             }
             return r;
         },
         nullptr, to_pipe},
        {"out of a registered buffer",
         [file](auto self, Stage &s) {
             monad_async_buffer buffer{};
             auto r = monad_async_buffers_claim(self, s.set, &buffer);
             if (r.error == 0) {
                 r = monad_async_file_write_fixed(self, file(s.full.writer), &buffer, 0, 64, -1);
                 poison_buffer(s, buffer);
                 EXPECT_EQ(monad_async_buffers_release(&buffer).error, 0);
             }
             return r;
         },
         nullptr, drain},
        {"claim",
         [](auto self, Stage &s) {
             auto r = monad_async_buffers_claim(self, s.set, &s.held);
             if (r.error != 0) {
                 return r;
             }
             EXPECT_EQ(monad_async_buffers_give(&s.held, nullptr).error, 0);
             monad_async_buffer buffer{};
             r = monad_async_buffers_claim(self, s.set, &buffer);
             if (r.error == 0) {
                 EXPECT_EQ(monad_async_buffers_release(&buffer).error, 0);
             }
             return r;
         },
         nullptr, [](Stage &s) { (void)monad_async_buffers_release(&s.held); }},
        {"to_plain",
         [](auto self, Stage &s) {
             monad_async_file f{-1, 0}, plain{-1, 0};
             if (!s.has_table) {
                 return monad_async_make_success(0);
             }
             auto r = monad_async_file_open(self, &f, AT_FDCWD, "/dev/zero", O_RDONLY, 0, 0,
                                            MONAD_ASYNC_FILE_DIRECT);
             if (r.error != 0) {
                 return r;
             }
             r = monad_async_file_to_plain(self, f, &plain);
             EXPECT_EQ(r.error == 0, plain.fd >= 0);
             if (r.error == 0) {
                 EXPECT_EQ(monad_async_file_close(self, plain).error, 0);
             }
             EXPECT_EQ(monad_async_file_close(self, f).error, 0);
             return r.error == EOPNOTSUPP ? monad_async_make_success(0) : r;
         },
         nullptr, nullptr},
        {"pass",
         [](auto self, Stage &s) {
             monad_async_file f{-1, 0};
             if (!s.has_table) {
                 return monad_async_make_success(0);
             }
             auto r = monad_async_file_open(self, &f, AT_FDCWD, "/dev/zero", O_RDONLY, 0, 0,
                                            MONAD_ASYNC_FILE_DIRECT);
             if (r.error != 0) {
                 return r;
             }
             r = monad_async_file_pass(self, f, s.elsewhere->remote, &s.passed);
             EXPECT_EQ(r.error == 0, s.passed.fd >= 0);
             EXPECT_EQ(monad_async_file_close(self, f).error, 0);
             return r.error == EOPNOTSUPP ? monad_async_make_success(0) : r;
         },
         nullptr, nullptr, true},
        {"resolve",
         [](auto self, Stage &) {
             std::string host = "127.0.0.1", service = "80";
             addrinfo hints{}, *list = nullptr;
             hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
             auto const r = monad_async_resolve(self, host.c_str(), service.c_str(), &hints, &list);
             EXPECT_EQ(r.error == 0, list != nullptr);
             if (r.error == 0) {
                 freeaddrinfo(list);
             }
             host.assign(host.size(), poison);
             service.assign(service.size(), poison);
             hints.ai_flags = -1;
             return r;
         },
         nullptr, nullptr},
        {"process_wait",
         [](auto self, Stage &s) {
             char name[] = "sleep", time[] = "1000";
             char *const words[] = {name, time, nullptr};
             if (posix_spawnp(&s.child, name, nullptr, nullptr, words, environ) != 0) {
                 return monad_async_make_failure(ENOENT);
             }
             monad_async_process_info info{};
             auto const r = monad_async_process_wait(self, s.child, &info);
             if (r.error == 0) {
                 s.child = -1; // Reaped.
             }
             return r;
         },
         nullptr,
         [](Stage &s) {
             if (s.child > 0) {
                 kill(s.child, SIGKILL);
                 siginfo_t ended;
                 waitid(P_PID, id_t(s.child), &ended, WEXITED | WNOWAIT);
             }
         }},
        {"signal_wait",
         [](auto self, Stage &s) {
             sigset_t const set = Stage::signals();
             s.is_blocked = pthread_sigmask(SIG_BLOCK, &set, &s.before) == 0;
             return monad_async_signal_wait(self, &set);
         },
         nullptr,
         [](Stage &s) {
             if (s.is_blocked) {
                 pthread_kill(pthread_self(), SIGUSR2);
             }
         }},
        {"by view",
         [](auto self, Stage &s) {
             monad_async_recv_stream stream{};
             auto r = monad_async_recv_stream_begin(self, &stream, s.mine, s.ring, 0);
             if (r.error == 0) {
                 monad_async_view view{};
                 r = monad_async_recv_stream_next(&stream, &view);
                 if (r.error == 0 && r.value != 0) {
                     EXPECT_EQ(monad_async_view_release(&view).error, 0);
                 }
                 EXPECT_EQ(monad_async_recv_stream_end(&stream).error, 0);
             }
             return r;
         },
         close_here, to_here},
        {"read_all",
         [file](auto self, Stage &s) {
             return monad_async_file_read_all(self, file(s.pipe.reader), s.room.data(), 10, -1);
         },
         nullptr, to_pipe},
        {"sync",
         [file](auto self, Stage &s) {
             auto const f = file(s.file);
             auto r = monad_async_file_sync(self, f);
             r = r.error == 0 ? monad_async_file_sync_data(self, f) : r;
             return r.error == 0 ? monad_async_file_sync_range(self, f, 0, 10, 0) : r;
         },
         nullptr, nullptr},
        {"allocate, truncate and advise",
         [file](auto self, Stage &s) {
             auto const f = file(s.file);
             auto r = monad_async_file_allocate(self, f, 0, 0, 4096);
             r = r.error == 0 ? monad_async_file_truncate(self, f, 100) : r;
             return r.error == 0 ? monad_async_file_advise(self, f, 0, 0, POSIX_FADV_WILLNEED) : r;
         },
         nullptr, nullptr},
        {"stat",
         [file](auto self, Stage &s) {
             auto *const status = reinterpret_cast<struct statx *>(s.room.data());
             return monad_async_file_stat(self, file(s.file), STATX_ALL, status);
         },
         nullptr, nullptr},
        of_paths("a path's stat",
                 [](auto self, char const *, Stage &s) {
                     auto *const status = reinterpret_cast<struct statx *>(s.room.data());
                     return monad_async_path_stat(self, AT_FDCWD, s.directory.c_str(), 0, STATX_ALL,
                                                  status);
                 }),
        of_paths("mkdir and rename",
                 [](auto self, char const *path, Stage &s) {
                     auto const r = monad_async_path_mkdir(self, AT_FDCWD, path, 0700);
                     return r.error == 0 ? monad_async_path_rename(self, AT_FDCWD, path, AT_FDCWD,
                                                                   s.other.c_str(), 0)
                                         : r;
                 }),
        of_paths("symlink, link and unlink",
                 [](auto self, char const *path, Stage &s) {
                     auto r = monad_async_path_symlink(self, "nowhere", AT_FDCWD, path);
                     r = r.error == 0 ? monad_async_path_link(self, AT_FDCWD, path, AT_FDCWD,
                                                              s.other.c_str(), 0)
                                      : r;
                     return r.error == 0 ? monad_async_path_unlink(self, AT_FDCWD, path, 0) : r;
                 }),
        {"shutdown",
         [](auto self, Stage &s) { return monad_async_socket_shutdown(self, s.mine, SHUT_WR); },
         close_here, nullptr},
        {"run_blocking",
         [](auto self, Stage &s) {
             return monad_async_run_blocking(
                 self,
                 [](void *room) {
                     usleep(200);
                     static_cast<char *>(room)[0] = 'x';
                     return monad_async_make_success(1);
                 },
                 s.room.data());
         },
         nullptr, nullptr},
        {"open and close",
         [](auto self, Stage &) {
             monad_async_file f{-1, 0};
             Result r{};
             for (int i = 0; i < 4 && r.error == 0; ++i) {
                 r = monad_async_file_open(self, &f, AT_FDCWD, "/dev/zero", O_RDONLY, 0, 0, 0);
                 if (r.error == 0) {
                     EXPECT_EQ(monad_async_file_close(self, f).error, 0);
                 }
             }
             return r;
         },
         nullptr, nullptr},
    };
}

enum class Stop { by_cancel, by_deadline, by_close, at_arrival, after_arrival };

// Whether the call has succeeded all the same.
bool stop(Kind const &kind, Stop how, unsigned passes)
{
    Stage s(kind.passes);
    bool const is_timed = how == Stop::by_deadline;
    Task const task([&](monad_async_task self) {
        monad_async_scope scope;
        EXPECT_EQ(
            monad_async_scope_enter(self, &scope, is_timed ? passes * 100000 : UINT64_MAX, 0).error,
            0);
        auto const r = kind.call(self, s);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).error, 0);
        // The kernel is done with it.
        s.room.fill(poison);
        std::fill(s.much.begin(), s.much.end(), poison);
        s.name.assign(s.name.size(), poison);
        s.other.assign(s.other.size(), poison);
        return r;
    });
    task.attach(s.ex);
    for (unsigned i = 0; i < passes; ++i) {
        s.ex.poll(1);
    }
    Task const closer([&](monad_async_task self) { return kind.close(self, s); });
    switch (how) {
    case Stop::by_close: closer.attach(s.ex); break;
    case Stop::after_arrival:
    case Stop::at_arrival:
        if (kind.feed) {
            kind.feed(s);
        }
        if (how == Stop::after_arrival) {
            s.ex.poll(0); // It has come, and the task has not run.
        }
        [[fallthrough]];
    case Stop::by_cancel: (void)monad_async_task_cancel(s.ex, task); break;
    case Stop::by_deadline: break;
    }
    s.ex.finish();
    auto const r = task->result;
    EXPECT_TRUE(r.error == 0 || r.error == ECANCELED || r.error == ETIME ||
                (how == Stop::by_close && (r.error == EBADF || r.error == EINVAL)))
        << monad_async_result_message(r);
    if (how == Stop::by_close) {
        EXPECT_EQ(closer->result.error, 0);
    }
    // What would still come.
    if (kind.feed && how != Stop::by_close) {
        kind.feed(s);
    }
    s.ex.poll();
    for (char const byte : s.room) {
        // Never launched: nothing was overwritten either.
        EXPECT_TRUE(byte == poison || (byte == 0 && r.error == ECANCELED))
            << "written after its call has returned";
    }
    for (int i = 0; s.fixed != nullptr && i != 64; ++i) {
        EXPECT_EQ(s.fixed[i], poison) << "written after its call has returned";
    }
    return r.error == 0;
}

} // namespace

TEST(Stops, in_every_call_and_state)
{
    size_t const before = open_descriptors();
    for (auto const &kind : kinds()) {
        unsigned succeeded = 0;
        for (auto const how : {Stop::by_cancel, Stop::by_deadline, Stop::by_close, Stop::at_arrival,
                               Stop::after_arrival}) {
            for (unsigned passes = 0; passes < 4; ++passes) {
                // Without a handle, or before there is a row to close.
                if (how == Stop::by_close && (!kind.close || passes == 0)) {
                    continue;
                }
                if (how == Stop::by_deadline && !kind.feed) {
                    continue;
                }
                SCOPED_TRACE(std::string(kind.name) + ", way " + std::to_string(int(how)) +
                             ", after " + std::to_string(passes) + " passes");
                succeeded += stop(kind, how, passes);
                ASSERT_EQ(open_descriptors(), before);
            }
        }
        // Those that need more than one go are not done by one.
        bool const takes_several = std::string(kind.name).find("_all") != std::string::npos;
        // What comes may come late, of another process above all, and the cancel be first.
        for (int more = 0; more != 200 && kind.feed && !takes_several && succeeded == 0; ++more) {
            succeeded += stop(kind, Stop::after_arrival, 3);
        }
        EXPECT_TRUE(succeeded > 0 || takes_several || !kind.feed)
            << kind.name << " is never there first";
    }
}

// Every call that may suspend, in a scope that fires: before the call, and while it waits, with
// signals without SA_RESTART all the time. What it returns is the scope's error, at once, and never
// EINTR; and what it was to do is not done. The list is compared with the headers, so that no call
// is forgotten.

#include "headers.hpp"
#include "scopes.hpp"
#include "tries.hpp"

// All of it: each call is tried.
#include <monad/async.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

using namespace support;

namespace {

using Self = monad_async_task;
using Result = monad_async_result;

// Of the executor's thread, all the time.
class Interruptions {
public:
    Interruptions()
    {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        sigaction(SIGUSR1, &action, nullptr);
        thread_ = std::thread([this, to = pthread_self()] {
            while (!ends_) {
                pthread_kill(to, SIGUSR1);
                usleep(100);
            }
        });
    }
    Interruptions(Interruptions const &) = delete;
    ~Interruptions()
    {
        ends_ = true;
        thread_.join();
        signal(SIGUSR1, SIG_DFL);
    }

private:
    std::atomic<bool> ends_{false};
    std::thread thread_;
};

monad_async_executor with_table(bool &has_table)
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 16;
    attr.direct_descriptors = 4;
    monad_async_executor ex = nullptr;
    has_table = monad_async_executor_create(&ex, &attr).error == 0;
    attr.direct_descriptors = 0;
    return has_table ? ex : create_or_skip(attr);
}

// What each call is about: nothing ever comes of it by itself.
struct Stage {
    bool has_table = false;
    Executor ex{Executor::Made{with_table(has_table)}};
    Executor other{16};
    monad_async_remote remote = nullptr;
    Fd here, there, unconnected{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    Fd listening{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    Fd file{memfd_create("fired", MFD_CLOEXEC)};
    Pipe empty, full;
    monad_async_file direct{-1, 0};
    sockaddr_in address{};
    socklen_t length = sizeof address;
    std::string directory = "/tmp/monad_async_fired_XXXXXX";
    std::string name, second;
    std::array<char, 4096> room{};
    iovec part{room.data(), 10};
    msghdr message{};
    struct statx status {};
    int option = 1;
    socklen_t option_bytes = sizeof option;
    monad_async_socket made{-1, 0};
    monad_async_file opened{-1, 0};
    monad_async_buffer_ring ring = nullptr;
    monad_async_buffer_set set = nullptr, fixed_set = nullptr;
    monad_async_buffer held{}, claimed{}, fixed{};
    monad_async_view view{};
    monad_async_process_info info{};
    addrinfo *list = nullptr;
    pid_t child = fork_one();
    sigset_t awaited{};
    Task endless{[](Self self) { return sleep_ns(self, UINT64_MAX); }};
    Task pooled{[](Self self) { return sleep_ns(self, UINT64_MAX); }};
    Task a_child{[](Self self) { return sleep_ns(self, UINT64_MAX); }};
    Task taker; // Of all there is, which it keeps.
    monad_async_pool pool = nullptr;
    monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT, own = MONAD_ASYNC_MUTEX_INIT;
    monad_async_local_mutex local_mutex = MONAD_ASYNC_LOCAL_MUTEX_INIT,
                            local_own = MONAD_ASYNC_LOCAL_MUTEX_INIT;
    monad_async_condition condition = MONAD_ASYNC_CONDITION_INIT;
    monad_async_local_condition local_condition = MONAD_ASYNC_LOCAL_CONDITION_INIT;
    monad_async_semaphore semaphore = MONAD_ASYNC_SEMAPHORE_INIT(1);
    monad_async_local_semaphore local_semaphore = MONAD_ASYNC_LOCAL_SEMAPHORE_INIT(1);
    monad_async_event event = MONAD_ASYNC_EVENT_INIT;
    monad_async_local_event local_event = MONAD_ASYNC_LOCAL_EVENT_INIT;
    monad_async_barrier barrier = MONAD_ASYNC_BARRIER_INIT(2);
    monad_async_local_barrier local_barrier = MONAD_ASYNC_LOCAL_BARRIER_INIT(2);
    monad_async_wait_group group = MONAD_ASYNC_WAIT_GROUP_INIT(1);
    monad_async_local_wait_group local_group = MONAD_ASYNC_LOCAL_WAIT_GROUP_INIT(1);
    monad_async_rw_lock lock = MONAD_ASYNC_RW_LOCK_INIT;
    monad_async_local_rw_lock local_lock = MONAD_ASYNC_LOCAL_RW_LOCK_INIT;
    monad_async_channel channel{};
    monad_async_local_channel local_channel{};
    std::atomic<bool> has_begun{false};

    Stage()
    {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        here = Fd(fds[0]);
        there = Fd(fds[1]);
        while (send(here, room.data(), room.size(), MSG_DONTWAIT) > 0) {
        }
        fcntl(full.writer, F_SETFL, O_NONBLOCK);
        while (write(full.writer, room.data(), room.size()) > 0) {
        }
        fcntl(full.writer, F_SETFL, 0);
        EXPECT_EQ(listen(listening, 4), 0);
        EXPECT_EQ(getsockname(listening, any(), &length), 0);
        EXPECT_EQ(write(file, "0123456789", 10), 10);
        EXPECT_NE(mkdtemp(directory.data()), nullptr);
        name = directory + "/a";
        second = directory + "/b";
        EXPECT_EQ(close(open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)), 0);
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        EXPECT_EQ(monad_async_remote_acquire(other, &remote).error, 0);
        EXPECT_EQ(monad_async_buffer_ring_create(ex, &ring, 2, 64).error, 0);
        EXPECT_EQ(monad_async_buffers_register(ex, &set, 1, 4096).error, 0);
        EXPECT_EQ(monad_async_buffers_register(ex, &fixed_set, 1, 4096).error, 0);
        sigemptyset(&awaited);
        sigaddset(&awaited, SIGUSR2);
        EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &awaited, nullptr), 0);
        EXPECT_EQ(monad_async_channel_init(&channel, nullptr, 0, 1).error, 0);
        EXPECT_EQ(monad_async_local_channel_init(&local_channel, nullptr, 0, 1).error, 0);
        monad_async_pool_attr attr{};
        attr.workers = 1;
        EXPECT_EQ(monad_async_pool_create(&pool, &attr).error, 0);
        EXPECT_EQ(monad_async_pool_submit(pool, pooled).error, 0);
        endless.attach(ex);
        taker.body([this](Self self) {
            EXPECT_EQ(monad_async_mutex_lock(self, &mutex).error, 0);
            EXPECT_EQ(monad_async_local_mutex_lock(self, &local_mutex).error, 0);
            EXPECT_EQ(monad_async_semaphore_acquire(self, &semaphore, 1).error, 0);
            EXPECT_EQ(monad_async_local_semaphore_acquire(self, &local_semaphore, 1).error, 0);
            EXPECT_EQ(monad_async_rw_lock_lock(self, &lock).error, 0);
            EXPECT_EQ(monad_async_local_rw_lock_lock(self, &local_lock).error, 0);
            for (auto [from, to] : {std::pair{set, &held}, std::pair{fixed_set, &fixed}}) {
                EXPECT_EQ(monad_async_buffers_claim(self, from, to).error, 0);
                EXPECT_EQ(monad_async_buffers_give(to, nullptr).error, 0);
            }
            if (has_table) {
                EXPECT_EQ(monad_async_file_open(self, &direct, AT_FDCWD, "/dev/zero", O_RDONLY, 0,
                                                0, MONAD_ASYNC_FILE_DIRECT)
                              .error,
                          0);
            }
            return success();
        });
        taker.attach(ex);
        while (!monad_async_task_has_exited(taker)) {
            ex.run();
        }
    }
    Stage(Stage const &) = delete;
    ~Stage()
    {
        for (auto *const buffer : {&held, &fixed}) {
            EXPECT_EQ(monad_async_buffers_release(buffer).error, 0);
        }
        EXPECT_EQ(monad_async_task_cancel(ex, endless).error, 0);
        ex.finish();
        EXPECT_EQ(monad_async_buffers_unregister(set).error, 0) << "one was claimed";
        EXPECT_EQ(monad_async_buffers_unregister(fixed_set).error, 0);
        EXPECT_EQ(monad_async_buffer_ring_destroy(ring).error, 0);
        monad_async_remote_release(remote);
        EXPECT_EQ(monad_async_task_cancel(nullptr, pooled).error, 0);
        EXPECT_EQ(monad_async_pool_destroy(pool).error, 0);
        EXPECT_EQ(kill(child, SIGKILL), 0);
        pid_t reaped = -1;
        do { // By signals.
            reaped = waitpid(child, nullptr, 0);
        } while (reaped < 0 && errno == EINTR);
        EXPECT_EQ(reaped, child) << "it was reaped for nobody";
        EXPECT_EQ(unlink(name.c_str()), 0);
        EXPECT_EQ(rmdir(directory.c_str()), 0) << "something was made";
        struct stat now {};
        EXPECT_EQ(fstat(file, &now), 0);
        EXPECT_EQ(now.st_size, 10) << "something was written";
        EXPECT_EQ(made.fd, -1);
        EXPECT_EQ(opened.fd, -1);
        EXPECT_EQ(list, nullptr);
        EXPECT_FALSE(has_begun);
    }

    sockaddr *any() { return reinterpret_cast<sockaddr *>(&address); }
    monad_async_socket peer() const { return monad_async_socket_adopt(here); }
    monad_async_file of(int fd) const { return monad_async_file_adopt(fd); }

private:
    static pid_t fork_one()
    {
        pid_t const parent = ::getpid();
        pid_t const pid = ::fork();
        if (pid == 0) {
            // Else it would keep what ctest reads open, should the test die.
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) {
                ::_exit(0);
            }
            for (;;) {
                pause();
            }
        }
        return pid;
    }
};

enum Kind {
    waits, // for what never comes
    asks,  // the kernel or a helper, who would answer soon
    goes   // does what it is for all the same: it need not wait, or is shielded
};

struct Call {
    std::string name;
    Kind kind;
    std::function<Result(Self, Stage &)> make;
};

// What was begun is ended, shielded.
template <class F> Result begun(Self self, Stage &s, F wait)
{
    monad_async_op op{};
    monad_async_op_read(&op, s.of(s.empty.reader), s.room.data(), 1, -1);
    EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
    auto const r = wait(&op);
    EXPECT_EQ(monad_async_op_end(self, &op).error, 0);
    return r;
}

template <class F> Result streamed(Self self, Stage &s, F next)
{
    monad_async_recv_stream stream{};
    EXPECT_EQ(monad_async_recv_stream_begin(self, &stream, s.peer(), s.ring, 0).error, 0);
    auto const r = next(&stream);
    EXPECT_EQ(monad_async_recv_stream_end(&stream).error, 0);
    return r;
}

// The element of a channel.
void *byte(Stage &s)
{
    return s.room.data();
}

// NOLINTNEXTLINE: one line a call.
#define NAMED_CALL(name, kind, function, ...)                                                      \
    calls.push_back({"monad_async_" name, kind, [](Self self, Stage &s) {                          \
                         (void)self;                                                               \
                         (void)s;                                                                  \
                         return monad_async_##function(__VA_ARGS__);                               \
                     }})
#define CALL(kind, function, ...) NAMED_CALL(#function, kind, function, __VA_ARGS__)
#define CALL_OF_NOTHING(function, ...)                                                             \
    NAMED_CALL(#function " of nothing", asks, function, __VA_ARGS__)
// With its form that has a time, far away.
#define BOTH(function, ...)                                                                        \
    CALL(waits, function, __VA_ARGS__);                                                            \
    CALL(waits, function##_until, __VA_ARGS__, monad_async_now_ns() + hour)
#define SHARED_AND_LOCAL(function, ...)                                                            \
    BOTH(function, self, &s.__VA_ARGS__);                                                          \
    BOTH(local_##function, self, &s.local_##__VA_ARGS__)

void tasks_and_operations(std::vector<Call> &calls)
{
    CALL(waits, task_suspend_for_duration, self, UINT64_MAX);
    CALL(waits, task_suspend_until, self, UINT64_MAX);
    BOTH(task_park, self);
    BOTH(task_join, self, s.endless);
    for (bool const has_time : {false, true}) {
        calls.push_back({has_time ? "monad_async_task_io_until" : "monad_async_task_io", waits,
                         [has_time](Self self, Stage &s) {
                             auto const sqe = make_sqe(IORING_OP_READ, s.empty.reader, &s.room, 1,
                                                       current_position);
                             return has_time ? monad_async_task_io_until(
                                                   self, &sqe, monad_async_now_ns() + hour)
                                             : monad_async_task_io(self, &sqe);
                         }});
    }
    calls.push_back({"monad_async_op_wait", waits, [](Self self, Stage &s) {
                         return begun(self, s,
                                      [&](auto *op) { return monad_async_op_wait(self, op); });
                     }});
    calls.push_back({"monad_async_op_wait_any", waits, [](Self self, Stage &s) {
                         return begun(self, s, [&](auto *) {
                             monad_async_op *any = nullptr;
                             return monad_async_op_wait_any(self, &any);
                         });
                     }});
    calls.push_back({"monad_async_op_end", goes, [](Self self, Stage &s) {
                         return begun(self, s,
                                      [&](auto *op) { return monad_async_op_end(self, op); });
                     }});
}

void tasks_together(std::vector<Call> &calls)
{
    SHARED_AND_LOCAL(mutex_lock, mutex);
    SHARED_AND_LOCAL(semaphore_acquire, semaphore, 1);
    SHARED_AND_LOCAL(event_wait, event);
    SHARED_AND_LOCAL(barrier_wait, barrier);
    SHARED_AND_LOCAL(wait_group_wait, group);
    SHARED_AND_LOCAL(rw_lock_lock, lock);
    SHARED_AND_LOCAL(rw_lock_lock_shared, lock);
    SHARED_AND_LOCAL(channel_send, channel, byte(s));
    SHARED_AND_LOCAL(channel_recv, channel, byte(s));
    for (bool const is_local : {false, true}) {
        for (bool const has_time : {false, true}) {
            std::string const name = std::string("monad_async_") + (is_local ? "local_" : "") +
                                     "condition_wait" + (has_time ? "_until" : "");
            calls.push_back(
                {name, waits, [=](Self self, Stage &s) {
                     auto const until = monad_async_now_ns() + hour;
                     Result r{};
                     if (is_local) {
                         auto *const m = &s.local_own;
                         auto *const c = &s.local_condition;
                         EXPECT_EQ(monad_async_local_mutex_try_lock(self, m).error, 0);
                         r = has_time ? monad_async_local_condition_wait_until(self, c, m, until)
                                      : monad_async_local_condition_wait(self, c, m);
                         EXPECT_EQ(monad_async_local_mutex_unlock(self, m).error, 0);
                     } else {
                         auto *const m = &s.own;
                         auto *const c = &s.condition;
                         EXPECT_EQ(monad_async_mutex_try_lock(self, m).error, 0);
                         r = has_time ? monad_async_condition_wait_until(self, c, m, until)
                                      : monad_async_condition_wait(self, c, m);
                         EXPECT_EQ(monad_async_mutex_unlock(self, m).error, 0);
                     }
                     return r;
                 }});
        }
    }
    calls.push_back({"monad_async_select", waits, [](Self self, Stage &s) {
                         monad_async_select_case cases[] = {
                             monad_async_case_recv(&s.channel, byte(s)),
                             monad_async_case_local_send(&s.local_channel, byte(s)),
                             monad_async_case_join(s.endless),
                             monad_async_case_timeout(UINT64_MAX)};
                         return monad_async_select(self, cases, 4);
                     }});
    calls.push_back({"monad_async_group_wait", waits, [](Self self, Stage &s) {
                         monad_async_group group;
                         EXPECT_EQ(monad_async_group_init(self, &group, 0).error, 0);
                         EXPECT_EQ(monad_async_group_spawn(&group, s.a_child).error, 0);
                         auto const r = monad_async_group_wait(self, &group);
                         EXPECT_EQ(monad_async_group_cancel(&group).error, 0);
                         monad_async_scope shield;
                         EXPECT_EQ(enter(self, shield, never, MONAD_ASYNC_SCOPE_SHIELD), 0);
                         EXPECT_EQ(monad_async_group_wait(self, &group).error, ECANCELED);
                         EXPECT_EQ(leave(self, shield), 0);
                         return r;
                     }});
    CALL(waits, pool_wait, s.pool, 0, MONAD_ASYNC_POOL_UNFINISHED);
    calls.push_back({"monad_async_pool_destroy", goes, [](Self, Stage &) {
                         monad_async_pool pool = nullptr;
                         monad_async_pool_attr attr{};
                         attr.workers = 1;
                         EXPECT_EQ(monad_async_pool_create(&pool, &attr).error, 0);
                         return monad_async_pool_destroy(pool);
                     }});
    calls.push_back({"monad_async_run_blocking", asks, [](Self self, Stage &s) {
                         return monad_async_run_blocking(
                             self,
                             [](void *has_begun) {
                                 *static_cast<std::atomic<bool> *>(has_begun) = true;
                                 return success();
                             },
                             &s.has_begun);
                     }});
    CALL(asks, resolve, self, "127.0.0.1", "80", nullptr, &s.list);
}

void files(std::vector<Call> &calls)
{
    CALL(asks, file_open, self, &s.opened, AT_FDCWD, "/dev/null", O_RDONLY, 0, 0, 0);
    calls.push_back({"monad_async_file_set_ordered", goes, [](Self self, Stage &s) {
                         auto ordered = s.of(dup(s.file));
                         auto const r = monad_async_file_set_ordered(self, &ordered);
                         EXPECT_EQ(monad_async_file_write(self, ordered, "x", 1, 0).error,
                                   monad_async_task_interrupted(self).error);
                         EXPECT_EQ(monad_async_file_close(self, ordered).error, 0);
                         return r;
                     }});
    CALL(goes, file_close, self, s.of(dup(s.file)));
    CALL(waits, file_read, self, s.of(s.empty.reader), &s.room, 10, -1);
    CALL(waits, file_readv, self, s.of(s.empty.reader), &s.part, 1, -1, 0);
    CALL(waits, file_read_all, self, s.of(s.empty.reader), &s.room, 10, -1);
    CALL(waits, file_write, self, s.of(s.full.writer), &s.room, 10, -1);
    CALL(waits, file_writev, self, s.of(s.full.writer), &s.part, 1, -1, 0);
    CALL(waits, file_write_all, self, s.of(s.full.writer), &s.room, 10, -1);
    // Of nothing they would not wait.
    CALL_OF_NOTHING(file_read_all, self, s.of(s.file), &s.room, 0, 0);
    CALL_OF_NOTHING(file_write_all, self, s.of(s.file), &s.room, 0, 0);
    CALL(waits, file_read_fixed, self, s.of(s.empty.reader), &s.fixed, 0, 10, -1);
    CALL(waits, file_write_fixed, self, s.of(s.full.writer), &s.fixed, 0, 10, -1);
    CALL(asks, file_sync, self, s.of(s.file));
    CALL(asks, file_sync_data, self, s.of(s.file));
    CALL(asks, file_sync_range, self, s.of(s.file), 0, 10, 0);
    CALL(asks, file_allocate, self, s.of(s.file), 0, 0, 100);
    CALL(asks, file_truncate, self, s.of(s.file), 5);
    CALL(asks, file_advise, self, s.of(s.file), 0, 10, POSIX_FADV_NORMAL);
    CALL(asks, file_stat, self, s.of(s.file), STATX_SIZE, &s.status);
    CALL(asks, path_unlink, self, AT_FDCWD, s.name.c_str(), 0);
    CALL(asks, path_rename, self, AT_FDCWD, s.name.c_str(), AT_FDCWD, s.second.c_str(), 0);
    CALL(asks, path_mkdir, self, AT_FDCWD, s.second.c_str(), 0700);
    CALL(asks, path_link, self, AT_FDCWD, s.name.c_str(), AT_FDCWD, s.second.c_str(), 0);
    CALL(asks, path_symlink, self, "nowhere", AT_FDCWD, s.second.c_str());
    CALL(asks, path_stat, self, AT_FDCWD, s.name.c_str(), 0, STATX_SIZE, &s.status);
    BOTH(buffers_claim, self, s.set, &s.claimed);
    // Of a plain one they need not wait.
    calls.push_back({"monad_async_file_to_plain", asks, [](Self self, Stage &s) {
                         return s.has_table ? monad_async_file_to_plain(self, s.direct, &s.opened)
                                            : monad_async_task_interrupted(self);
                     }});
    calls.push_back({"monad_async_file_pass", asks, [](Self self, Stage &s) {
                         return s.has_table
                                    ? monad_async_file_pass(self, s.direct, s.remote, &s.opened)
                                    : monad_async_task_interrupted(self);
                     }});
}

void sockets(std::vector<Call> &calls)
{
    auto const closed = [](Self self, Result r, monad_async_socket &made) {
        EXPECT_EQ(monad_async_socket_close(self, made).error, 0);
        made.fd = -1;
        return r;
    };
    calls.push_back(
        {"monad_async_socket_open", goes, [closed](Self self, Stage &s) {
             return closed(self, monad_async_socket_open(self, &s.made, AF_INET, SOCK_STREAM, 0, 0),
                           s.made);
         }});
    calls.push_back({"monad_async_socket_to_plain", goes, [closed](Self self, Stage &s) {
                         return closed(self, monad_async_socket_to_plain(self, s.peer(), &s.made),
                                       s.made);
                     }});
    calls.push_back({"monad_async_socket_pass", asks, [](Self self, Stage &s) {
                         monad_async_socket const direct{s.direct.fd, s.direct.flags};
                         return s.has_table
                                    ? monad_async_socket_pass(self, direct, s.remote, &s.made)
                                    : monad_async_task_interrupted(self);
                     }});
    calls.push_back({"monad_async_socket_bind", goes, [](Self self, Stage &) {
                         Fd const made(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
                         sockaddr_in local{};
                         local.sin_family = AF_INET;
                         return monad_async_socket_bind(self, monad_async_socket_adopt(made),
                                                        reinterpret_cast<sockaddr *>(&local),
                                                        sizeof local);
                     }});
    CALL(goes, socket_listen, self, monad_async_socket_adopt(s.listening), 4);
    CALL(waits, socket_accept, self, monad_async_socket_adopt(s.listening), &s.made, nullptr,
         nullptr, 0);
    CALL(asks, socket_connect, self, monad_async_socket_adopt(s.unconnected), s.any(), s.length);
    CALL(waits, socket_recv, self, s.peer(), &s.room, 10, 0);
    CALL(waits, socket_recv_exact, self, s.peer(), &s.room, 10);
    CALL(waits, socket_recvmsg, self, s.peer(), &s.message, 0);
    CALL(waits, socket_send, self, s.peer(), &s.room, 10, 0);
    CALL(waits, socket_send_all, self, s.peer(), &s.room, 10);
    CALL_OF_NOTHING(socket_recv_exact, self, s.peer(), &s.room, 0);
    CALL_OF_NOTHING(socket_send_all, self, s.peer(), &s.room, 0);
    CALL(waits, socket_sendmsg, self, s.peer(), &s.message, 0);
    CALL(asks, socket_shutdown, self, s.peer(), SHUT_RD);
    CALL(goes, socket_option_get, self, s.peer(), SOL_SOCKET, SO_TYPE, &s.option, &s.option_bytes);
    CALL(goes, socket_option_set, self, s.peer(), SOL_SOCKET, SO_PASSCRED, &s.option, 4);
    CALL(goes, socket_local_address, self, monad_async_socket_adopt(s.listening), s.any(),
         &s.length);
    CALL(goes, socket_peer_address, self, s.peer(), s.any(), &s.length);
    CALL(goes, socket_close, self, monad_async_socket_adopt(dup(s.here)));
    calls.push_back({"monad_async_recv_stream_next", waits, [](Self self, Stage &s) {
                         return streamed(self, s, [&](auto *stream) {
                             return monad_async_recv_stream_next(stream, &s.view);
                         });
                     }});
    calls.push_back({"monad_async_recv_stream_stop", goes, [](Self self, Stage &s) {
                         return streamed(self, s, [&](auto *stream) {
                             return monad_async_recv_stream_stop(stream);
                         });
                     }});
    calls.push_back({"monad_async_recv_stream_end", goes, [](Self self, Stage &s) {
                         return streamed(self, s, [&](auto *stream) {
                             return monad_async_recv_stream_end(stream);
                         });
                     }});
    CALL(waits, poll, self, s.empty.reader, POLLIN);
    CALL(waits, process_wait, self, s.child, &s.info);
    CALL(waits, signal_wait, self, &s.awaited);
}

std::vector<Call> all_calls()
{
    std::vector<Call> calls;
    tasks_and_operations(calls);
    tasks_together(calls);
    files(calls);
    sockets(calls);
    return calls;
}

// Each in a task of its own, which makes what stops it.
void with_each(std::function<void(Stage &, Self, Call const &)> const &body)
{
    Stage s;
    size_t const before = open_descriptors();
    for (auto const &call : all_calls()) {
        SCOPED_TRACE(call.name);
        Task const task([&](Self self) {
            body(s, self, call);
            // Of all that has happened nothing is left to the next one.
            EXPECT_EQ(monad_async_task_uncancel(self).error, 0);
            EXPECT_EQ(yield(self).error, 0);
            return success();
        });
        task.attach(s.ex);
        while (!monad_async_task_has_exited(task)) {
            EXPECT_EQ(monad_async_executor_run(s.ex, no_bound, nullptr).error, 0);
        }
        EXPECT_EQ(task->result.error, 0);
        ASSERT_EQ(open_descriptors(), before);
    }
}

void expect(Call const &call, Result r, int stopped)
{
    EXPECT_EQ(r.error, call.kind == goes ? 0 : stopped) << monad_async_result_message(r);
}

} // namespace

TEST(Fired, before_the_call_by_its_deadline)
{
    with_each([](Stage &s, Self self, Call const &call) {
        monad_async_scope scope, inner;
        EXPECT_EQ(enter(self, scope, 0), 0);
        EXPECT_EQ(enter(self, inner, hour), 0);
        EXPECT_EQ(yield(self).error, ETIME);
        for (int i = 0; i < 2; ++i) {
            expect(call, call.make(self, s), ETIME);
        }
        EXPECT_EQ(leave(self, inner), 0);
        EXPECT_EQ(leave(self, scope), 1);
    });
}

TEST(Fired, before_the_call_by_a_cancel)
{
    with_each([](Stage &s, Self self, Call const &call) {
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope), 0);
        EXPECT_EQ(scope_cancel(scope), 0);
        expect(call, call.make(self, s), ECANCELED);
        EXPECT_EQ(leave(self, scope), 1);
        // And of the task.
        EXPECT_EQ(monad_async_task_cancel(s.ex, self).error, 0);
        expect(call, call.make(self, s), ECANCELED);
    });
}

TEST(Fired, while_the_call_waits_among_signals)
{
    Interruptions const interruptions;
    with_each([](Stage &s, Self self, Call const &call) {
        if (call.kind != waits) {
            return;
        }
        for (uint64_t const in : {ms / 10, ms}) {
            monad_async_scope scope;
            EXPECT_EQ(enter(self, scope, in), 0);
            expect(call, call.make(self, s), ETIME);
            EXPECT_EQ(leave(self, scope), 1);
        }
    });
}

TEST(Fired, while_the_call_waits_by_a_cancel)
{
    with_each([](Stage &s, Self self, Call const &call) {
        if (call.kind != waits) {
            return;
        }
        for (int after = 0; after < 3; ++after) {
            monad_async_scope scope;
            EXPECT_EQ(enter(self, scope), 0);
            Task const other([&](Self other_self) {
                for (int i = 0; i < after; ++i) {
                    EXPECT_EQ(yield(other_self).error, 0);
                }
                EXPECT_EQ(scope_cancel(scope), 0);
                return success();
            });
            other.attach(s.ex);
            expect(call, call.make(self, s), ECANCELED);
            EXPECT_EQ(leave(self, scope), 1);
            EXPECT_EQ(monad_async_task_join(self, other).error, 0);
        }
    });
}

TEST(Fired, the_table_has_each_call)
{
    std::set<std::string> in_table;
    for (auto const &call : all_calls()) {
        EXPECT_TRUE(in_table.insert(call.name).second) << call.name;
    }
    auto const all = suspending_calls_and_forms();
    EXPECT_GT(all.size(), 90u);
    for (auto const &name : all) {
        EXPECT_EQ(in_table.count(name), 1u) << name << " is not tried";
    }
}

// How much of its stack a task needs for each call that SUSPENDS, in a release build: what task.h
// says, so that who chooses a stack of 16 KiB knows what is left. Each call is made on such a stack,
// which was painted before, and waits for something if it can.

#include "headers.hpp"
#include "support.hpp"

#include <monad/async/barrier.h>
#include <monad/async/blocking.h>
#include <monad/async/buffer.h>
#include <monad/async/buffer_set.h>
#include <monad/async/channel.h>
#include <monad/async/condition.h>
#include <monad/async/direct.h>
#include <monad/async/event.h>
#include <monad/async/file.h>
#include <monad/async/group.h>
#include <monad/async/inspect.h>
#include <monad/async/mutex.h>
#include <monad/async/op.h>
#include <monad/async/path.h>
#include <monad/async/poll.h>
#include <monad/async/pool.h>
#include <monad/async/process.h>
#include <monad/async/remote.h>
#include <monad/async/rw_lock.h>
#include <monad/async/scope.h>
#include <monad/async/select.h>
#include <monad/async/semaphore.h>
#include <monad/async/socket.h>
#include <monad/async/wait_group.h>

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

using namespace support;

namespace {

// As task.h has them: of a call; of a select of a few cases; of one that makes a helper thread.
constexpr size_t bound = 2048;
constexpr size_t bound_of_select = 4096;
constexpr size_t bound_with_helper = 8192;

constexpr size_t stack_bytes = 16384;
constexpr unsigned char paint = 0xa7;
// Of the frames between a call and who looks: what is used above is not told from this.
constexpr size_t margin = 400;

using Call = std::function<monad_async_result(monad_async_task)>;

// Says of a call that is not measured that it went well.
void done(monad_async_result r)
{
    EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
}

// With a table of direct descriptors.
class Direct {
public:
    Direct()
    {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = 64;
        attr.direct_descriptors = 8;
        ex_ = create_or_skip(attr);
    }
    Direct(Direct const &) = delete;
    ~Direct() { done(monad_async_executor_destroy(ex_)); }
    operator monad_async_executor() const { return ex_; }

private:
    monad_async_executor ex_ = nullptr;
};

class Measure {
public:
    // `call` by a task; `release`, by another one that runs when the first has suspended.
    void operator()(char const *name, Call call, std::function<void(monad_async_task)> release = {},
                    size_t most = bound)
    {
        names_.insert(name);
        monad_async_result result{};
        size_t used = 0;
        Task task(
            [&](monad_async_task self) {
                used = use_of(self, call, result);
                return success();
            },
            stack_bytes);
        Task other([&](monad_async_task self) {
            for (int i = 0; i < 3; ++i) {
                done(yield(self));
            }
            if (release) {
                release(self);
            }
            return success();
        });
        task.attach(ex);
        other.attach(ex);
        while (monad_async_executor_has_work(ex)) {
            done(monad_async_executor_run(ex, no_bound, nullptr));
        }
        EXPECT_EQ(result.error, expected_) << name << ": " << monad_async_result_message(result);
        EXPECT_LE(used, most) << name;
        printf("stack: %-36s %5zu\n", name, used);
        expected_ = 0;
    }
    Measure &expect(int error)
    {
        expected_ = error;
        return *this;
    }
    std::set<std::string> const &names() const { return names_; }

    Direct ex;

private:
    __attribute__((noinline)) static size_t use_of(monad_async_task self, Call const &call,
                                                   monad_async_result &result)
    {
        void *low = nullptr, *high = nullptr;
        EXPECT_EQ(monad_async_task_stack_bounds(self, &low, &high).error, 0);
        auto *const top = static_cast<unsigned char *>(__builtin_frame_address(0));
        auto *const from = static_cast<unsigned char *>(low) + 64;
        for (unsigned char volatile *at = from; at < top - margin; ++at) {
            *at = paint;
        }
        result = call(self);
        unsigned char const volatile *lowest = from;
        while (lowest < top - margin && *lowest == paint) {
            ++lowest;
        }
        return static_cast<size_t>(top - lowest);
    }

    std::set<std::string> names_;
    int expected_ = 0;
};

uint64_t soon()
{
    return monad_async_now_ns() + 200000;
}

void tasks_and_operations(Measure &measure)
{
    using T = monad_async_task;
    measure("monad_async_task_suspend_for_duration", [](T self) { return sleep_ns(self, 1000); });
    measure("monad_async_task_suspend_until",
            [](T self) { return monad_async_task_suspend_until(self, soon()); });
    Pipe pipe;
    char byte = 0;
    auto const fill = [&](T) { EXPECT_EQ(write(pipe.writer, "x", 1), 1); };
    measure(
        "monad_async_task_io", [&](T self) { return read_some(self, pipe.reader, &byte, 1); },
        fill);
    auto const sqe = make_sqe(IORING_OP_READ, pipe.reader, &byte, 1, current_position);
    measure.expect(ETIME)("monad_async_task_io_until",
                          [&](T self) { return monad_async_task_io_until(self, &sqe, soon()); });
    T parked = nullptr;
    measure(
        "monad_async_task_park",
        [&](T self) {
            parked = self;
            return monad_async_task_park(self);
        },
        [&](T) { done(monad_async_task_unpark(parked)); });
    measure.expect(ETIME)("monad_async_task_park_until",
                          [](T self) { return monad_async_task_park_until(self, soon()); });
    Task sleeper([](T self) { return sleep_ns(self, 2 * ms); });
    sleeper.attach(measure.ex);
    measure("monad_async_task_join", [&](T self) { return monad_async_task_join(self, sleeper); });
    Task later([](T self) { return sleep_ns(self, 100 * ms); });
    later.attach(measure.ex);
    measure.expect(ETIME)("monad_async_task_join_until",
                          [&](T self) { return monad_async_task_join_until(self, later, soon()); });
    monad_async_op op{};
    monad_async_op *taken = nullptr;
    auto const begin = [&](T self) {
        monad_async_op_fill(&op, IORING_OP_READ, pipe.reader, 0, &byte, current_position, 1);
        return monad_async_op_begin(self, &op);
    };
    measure(
        "monad_async_op_wait",
        [&](T self) {
            done(begin(self));
            return monad_async_op_wait(self, &op);
        },
        fill);
    measure(
        "monad_async_op_wait_any",
        [&](T self) {
            done(begin(self));
            return monad_async_op_wait_any(self, &taken);
        },
        fill);
    measure("monad_async_op_end", [&](T self) {
        done(begin(self));
        return monad_async_op_end(self, &op);
    });
    measure(
        "monad_async_poll", [&](T self) { return monad_async_poll(self, pipe.reader, 1); }, fill);
}

void tasks_together(Measure &measure)
{
    using T = monad_async_task;
    monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
    auto const held = [&](Call call) {
        return [&mutex, call](T self) {
            EXPECT_EQ(monad_async_mutex_try_lock(self, &mutex).error, 0);
            auto const r = call(self);
            done(monad_async_mutex_unlock(self, &mutex));
            return r;
        };
    };
    Task owner([&](T self) {
        done(monad_async_mutex_lock(self, &mutex));
        done(sleep_ns(self, 2 * ms));
        return monad_async_mutex_unlock(self, &mutex);
    });
    owner.attach(measure.ex);
    measure.expect(ETIME)("monad_async_mutex_lock_until", [&](T self) {
        return monad_async_mutex_lock_until(self, &mutex, soon());
    });
    owner.attach(measure.ex);
    measure("monad_async_mutex_lock", [&](T self) {
        auto const r = monad_async_mutex_lock(self, &mutex);
        done(monad_async_mutex_unlock(self, &mutex));
        return r;
    });
    monad_async_condition condition = MONAD_ASYNC_CONDITION_INIT;
    measure("monad_async_condition_wait",
            held([&](T self) { return monad_async_condition_wait(self, &condition, &mutex); }),
            [&](T) { done(monad_async_condition_notify_all(&condition)); });
    measure.expect(ETIME)("monad_async_condition_wait_until", held([&](T self) {
                              return monad_async_condition_wait_until(self, &condition, &mutex,
                                                                      soon());
                          }));
    monad_async_semaphore semaphore = MONAD_ASYNC_SEMAPHORE_INIT(0);
    measure.expect(ETIME)("monad_async_semaphore_acquire_until", [&](T self) {
        return monad_async_semaphore_acquire_until(self, &semaphore, 1, soon());
    });
    measure(
        "monad_async_semaphore_acquire",
        [&](T self) { return monad_async_semaphore_acquire(self, &semaphore, 1); },
        [&](T) { done(monad_async_semaphore_release(&semaphore, 1)); });
    monad_async_event event = MONAD_ASYNC_EVENT_INIT;
    measure.expect(ETIME)("monad_async_event_wait_until", [&](T self) {
        return monad_async_event_wait_until(self, &event, soon());
    });
    measure(
        "monad_async_event_wait", [&](T self) { return monad_async_event_wait(self, &event); },
        [&](T) { done(monad_async_event_set(&event)); });
    monad_async_barrier barrier = MONAD_ASYNC_BARRIER_INIT(2);
    measure.expect(ETIME)("monad_async_barrier_wait_until", [&](T self) {
        return monad_async_barrier_wait_until(self, &barrier, soon());
    });
    measure(
        "monad_async_barrier_wait",
        [&](T self) {
            auto r = monad_async_barrier_wait(self, &barrier);
            r.value = 0;
            return r;
        },
        [&](T self) { done(monad_async_barrier_wait(self, &barrier)); });
    monad_async_wait_group group = MONAD_ASYNC_WAIT_GROUP_INIT(1);
    measure.expect(ETIME)("monad_async_wait_group_wait_until", [&](T self) {
        return monad_async_wait_group_wait_until(self, &group, soon());
    });
    measure(
        "monad_async_wait_group_wait",
        [&](T self) { return monad_async_wait_group_wait(self, &group); },
        [&](T) { done(monad_async_wait_group_done(&group, 1)); });
    monad_async_rw_lock lock = MONAD_ASYNC_RW_LOCK_INIT;
    for (bool const shared : {false, true}) {
        Task writer([&](T self) {
            done(monad_async_rw_lock_lock(self, &lock));
            done(sleep_ns(self, ms));
            return monad_async_rw_lock_unlock(self, &lock);
        });
        auto const unlock = [&](T self) {
            return shared ? monad_async_rw_lock_unlock_shared(self, &lock)
                          : monad_async_rw_lock_unlock(self, &lock);
        };
        writer.attach(measure.ex);
        measure.expect(ETIME)(
            shared ? "monad_async_rw_lock_lock_shared_until" : "monad_async_rw_lock_lock_until",
            [&](T self) {
                return shared ? monad_async_rw_lock_lock_shared_until(self, &lock, soon())
                              : monad_async_rw_lock_lock_until(self, &lock, soon());
            });
        writer.attach(measure.ex);
        measure(shared ? "monad_async_rw_lock_lock_shared" : "monad_async_rw_lock_lock",
                [&](T self) {
                    auto const r = shared ? monad_async_rw_lock_lock_shared(self, &lock)
                                          : monad_async_rw_lock_lock(self, &lock);
                    done(unlock(self));
                    return r;
                });
    }
    monad_async_channel channel;
    EXPECT_EQ(monad_async_channel_init(&channel, nullptr, 0, 1).error, 0);
    char byte = 0, other = 0;
    measure.expect(ETIME)("monad_async_channel_send_until", [&](T self) {
        return monad_async_channel_send_until(self, &channel, &byte, soon());
    });
    measure.expect(ETIME)("monad_async_channel_recv_until", [&](T self) {
        return monad_async_channel_recv_until(self, &channel, &byte, soon());
    });
    measure(
        "monad_async_channel_send",
        [&](T self) { return monad_async_channel_send(self, &channel, &byte); },
        [&](T self) { done(monad_async_channel_recv(self, &channel, &other)); });
    measure(
        "monad_async_channel_recv",
        [&](T self) { return monad_async_channel_recv(self, &channel, &byte); },
        [&](T self) { done(monad_async_channel_send(self, &channel, &other)); });
    measure(
        "monad_async_select",
        [&](T self) {
            monad_async_select_case cases[] = {monad_async_case_recv(&channel, &byte),
                                               monad_async_case_timeout(UINT64_MAX)};
            return monad_async_select(self, cases, 2);
        },
        [&](T self) { done(monad_async_channel_send(self, &channel, &other)); }, bound_of_select);
    Task child([](T self) { return sleep_ns(self, ms); });
    measure("monad_async_group_wait", [&](T self) {
        monad_async_group children;
        EXPECT_EQ(monad_async_group_init(self, &children, 0).error, 0);
        EXPECT_EQ(monad_async_group_spawn(&children, child).error, 0);
        return monad_async_group_wait(self, &children);
    });
}

void files(Measure &measure)
{
    using T = monad_async_task;
    std::string const folder =
        testing::TempDir() + "monad_async_stack_use." + std::to_string(getpid());
    std::string const name = folder + "/a", second = folder + "/b", third = folder + "/c";
    measure("monad_async_path_mkdir",
            [&](T self) { return monad_async_path_mkdir(self, AT_FDCWD, folder.c_str(), 0700); });
    monad_async_file file{};
    measure("monad_async_file_open", [&](T self) {
        return monad_async_file_open(self, &file, AT_FDCWD, name.c_str(), O_RDWR | O_CREAT, 0600, 0,
                                     0);
    });
    char data[64] = "0123456789";
    iovec const part{data, 16};
    struct statx status;
    auto const on_file = [&](char const *what, Call call) {
        measure(what, [call](T self) {
            auto r = call(self);
            r.value = 0;
            return r;
        });
    };
    for (bool const ordered : {false, true}) {
        if (ordered) {
            measure("monad_async_file_set_ordered",
                    [&](T self) { return monad_async_file_set_ordered(self, &file); });
        }
        on_file("monad_async_file_write",
                [&](T self) { return monad_async_file_write(self, file, data, 64, 0); });
        on_file("monad_async_file_writev",
                [&](T self) { return monad_async_file_writev(self, file, &part, 1, 0, 0); });
        on_file("monad_async_file_write_all",
                [&](T self) { return monad_async_file_write_all(self, file, data, 64, 0); });
    }
    on_file("monad_async_file_read",
            [&](T self) { return monad_async_file_read(self, file, data, 64, 0); });
    on_file("monad_async_file_readv",
            [&](T self) { return monad_async_file_readv(self, file, &part, 1, 0, 0); });
    on_file("monad_async_file_read_all",
            [&](T self) { return monad_async_file_read_all(self, file, data, 64, 0); });
    on_file("monad_async_file_sync", [&](T self) { return monad_async_file_sync(self, file); });
    on_file("monad_async_file_sync_data",
            [&](T self) { return monad_async_file_sync_data(self, file); });
    on_file("monad_async_file_sync_range",
            [&](T self) { return monad_async_file_sync_range(self, file, 0, 64, 2); });
    on_file("monad_async_file_allocate",
            [&](T self) { return monad_async_file_allocate(self, file, 0, 0, 128); });
    measure(
        "monad_async_file_truncate",
        [&](T self) { return monad_async_file_truncate(self, file, 32); }, {}, bound_with_helper);
    on_file("monad_async_file_advise",
            [&](T self) { return monad_async_file_advise(self, file, 0, 0, POSIX_FADV_NORMAL); });
    on_file("monad_async_file_stat",
            [&](T self) { return monad_async_file_stat(self, file, STATX_SIZE, &status); });
    monad_async_buffer_set set = nullptr;
    monad_async_buffer first{}, buffer{};
    EXPECT_EQ(monad_async_buffers_register(measure.ex, &set, 1, 4096).error, 0);
    Task claimer([&](T self) {
        EXPECT_EQ(monad_async_buffers_claim(self, set, &first).error, 0);
        done(sleep_ns(self, ms));
        return monad_async_buffers_release(&first);
    });
    claimer.attach(measure.ex);
    measure("monad_async_buffers_claim",
            [&](T self) { return monad_async_buffers_claim(self, set, &buffer); });
    monad_async_file const plain = monad_async_file_adopt(file.fd);
    on_file("monad_async_file_write_fixed",
            [&](T self) { return monad_async_file_write_fixed(self, plain, &buffer, 0, 64, 0); });
    on_file("monad_async_file_read_fixed",
            [&](T self) { return monad_async_file_read_fixed(self, plain, &buffer, 0, 64, 0); });
    EXPECT_EQ(monad_async_buffers_release(&buffer).error, 0);
    EXPECT_EQ(monad_async_buffers_unregister(set).error, 0);
    measure("monad_async_file_close", [&](T self) { return monad_async_file_close(self, file); });
    on_file("monad_async_path_stat", [&](T self) {
        return monad_async_path_stat(self, AT_FDCWD, name.c_str(), 0, STATX_SIZE, &status);
    });
    on_file("monad_async_path_link", [&](T self) {
        return monad_async_path_link(self, AT_FDCWD, name.c_str(), AT_FDCWD, second.c_str(), 0);
    });
    on_file("monad_async_path_symlink",
            [&](T self) { return monad_async_path_symlink(self, "a", AT_FDCWD, third.c_str()); });
    on_file("monad_async_path_rename", [&](T self) {
        return monad_async_path_rename(self, AT_FDCWD, second.c_str(), AT_FDCWD, third.c_str(), 0);
    });
    on_file("monad_async_path_unlink",
            [&](T self) { return monad_async_path_unlink(self, AT_FDCWD, third.c_str(), 0); });
    Direct elsewhere;
    monad_async_remote remote = nullptr;
    done(monad_async_remote_acquire(elsewhere, &remote));
    monad_async_file direct{}, made{};
    measure("monad_async_file_open", [&](T self) {
        return monad_async_file_open(self, &direct, AT_FDCWD, name.c_str(), O_RDONLY, 0, 0,
                                     MONAD_ASYNC_FILE_DIRECT);
    });
    measure("monad_async_file_pass",
            [&](T self) { return monad_async_file_pass(self, direct, remote, &made); });
    measure("monad_async_file_to_plain",
            [&](T self) { return monad_async_file_to_plain(self, direct, &made); });
    for (auto const &one : {direct, made}) {
        measure("monad_async_file_close",
                [&](T self) { return monad_async_file_close(self, one); });
    }
    monad_async_remote_release(remote);
    std::filesystem::remove_all(folder);
}

void sockets(Measure &measure)
{
    using T = monad_async_task;
    monad_async_socket listener{}, client{}, server{};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto *const at = reinterpret_cast<sockaddr *>(&address);
    socklen_t length = sizeof address;
    auto const open = [&](T self, monad_async_socket &s) {
        return monad_async_socket_open(self, &s, AF_INET, SOCK_STREAM, 0, 0);
    };
    measure("monad_async_socket_open", [&](T self) { return open(self, listener); });
    measure("monad_async_socket_bind",
            [&](T self) { return monad_async_socket_bind(self, listener, at, length); });
    measure("monad_async_socket_listen",
            [&](T self) { return monad_async_socket_listen(self, listener, 8); });
    EXPECT_EQ(getsockname(listener.fd, at, &length), 0);
    measure(
        "monad_async_socket_accept",
        [&](T self) {
            return monad_async_socket_accept(self, listener, &server, nullptr, nullptr, 0);
        },
        [&](T self) {
            EXPECT_EQ(open(self, client).error, 0);
            EXPECT_EQ(monad_async_socket_connect(self, client, at, length).error, 0);
        });
    monad_async_socket more{};
    measure("monad_async_socket_connect", [&](T self) {
        EXPECT_EQ(open(self, more).error, 0);
        return monad_async_socket_connect(self, more, at, length);
    });
    char data[8] = "1234567";
    iovec part{data, 8};
    sockaddr_in whose{};
    auto *const told = reinterpret_cast<sockaddr *>(&whose);
    measure("monad_async_socket_local_address",
            [&](T self) { return monad_async_socket_local_address(self, client, told, &length); });
    measure("monad_async_socket_peer_address",
            [&](T self) { return monad_async_socket_peer_address(self, client, told, &length); });
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    auto const fill = [&](T) { EXPECT_EQ(send(client.fd, data, 8, 0), 8); };
    auto const moved = [&](char const *what, Call call, std::function<void(T)> release) {
        measure(
            what,
            [call](T self) {
                auto r = call(self);
                EXPECT_TRUE(r.error != 0 || r.value == 8);
                return r;
            },
            release);
    };
    moved(
        "monad_async_socket_recv",
        [&](T self) { return monad_async_socket_recv(self, server, data, 8, 0); }, fill);
    moved(
        "monad_async_socket_recv_exact",
        [&](T self) { return monad_async_socket_recv_exact(self, server, data, 8); }, fill);
    moved(
        "monad_async_socket_recvmsg",
        [&](T self) { return monad_async_socket_recvmsg(self, server, &message, 0); }, fill);
    moved("monad_async_socket_send",
          [&](T self) { return monad_async_socket_send(self, client, data, 8, 0); }, {});
    moved("monad_async_socket_send_all",
          [&](T self) { return monad_async_socket_send_all(self, client, data, 8); }, {});
    moved("monad_async_socket_sendmsg",
          [&](T self) { return monad_async_socket_sendmsg(self, client, &message, 0); }, {});
    int value = 1;
    socklen_t bytes = sizeof value;
    measure("monad_async_socket_option_set", [&](T self) {
        return monad_async_socket_option_set(self, client, SOL_SOCKET, SO_KEEPALIVE, &value, bytes);
    });
    measure("monad_async_socket_option_get", [&](T self) {
        return monad_async_socket_option_get(self, client, SOL_SOCKET, SO_KEEPALIVE, &value,
                                             &bytes);
    });
    monad_async_buffer_ring ring = nullptr;
    EXPECT_EQ(monad_async_buffer_ring_create(measure.ex, &ring, 4, 256).error, 0);
    monad_async_recv_stream stream{};
    monad_async_view view{};
    auto const stream_begin = [&](T self) {
        EXPECT_EQ(monad_async_recv_stream_begin(self, &stream, server, ring, 0).error, 0);
    };
    measure(
        "monad_async_recv_stream_next",
        [&](T self) {
            stream_begin(self);
            auto r = monad_async_recv_stream_next(&stream, &view);
            EXPECT_GT(r.value, 0);
            done(monad_async_view_release(&view));
            done(monad_async_recv_stream_end(&stream));
            return r;
        },
        fill);
    measure("monad_async_recv_stream_stop", [&](T self) {
        stream_begin(self);
        auto const r = monad_async_recv_stream_stop(&stream);
        done(monad_async_recv_stream_end(&stream));
        return r;
    });
    measure("monad_async_recv_stream_end", [&](T self) {
        stream_begin(self);
        done(yield(self));
        return monad_async_recv_stream_end(&stream);
    });
    EXPECT_EQ(monad_async_buffer_ring_destroy(ring).error, 0);
    measure("monad_async_socket_shutdown",
            [&](T self) { return monad_async_socket_shutdown(self, client, SHUT_RDWR); });
    for (auto const &socket : {client, server, more, listener}) {
        measure("monad_async_socket_close",
                [&](T self) { return monad_async_socket_close(self, socket); });
    }
}

void processes_and_helpers(Measure &measure)
{
    using T = monad_async_task;
    char const *const arguments[] = {"sh", "-c", "sleep 0.02", nullptr};
    pid_t pid = 0;
    EXPECT_EQ(posix_spawnp(&pid, "sh", nullptr, nullptr, const_cast<char **>(arguments), environ),
              0);
    monad_async_process_info info{};
    measure("monad_async_process_wait",
            [&](T self) { return monad_async_process_wait(self, pid, &info); });
    sigset_t usr;
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR2);
    measure(
        "monad_async_signal_wait",
        [&](T self) {
            auto r = monad_async_signal_wait(self, &usr);
            EXPECT_EQ(r.value, SIGUSR2);
            return r;
        },
        [](T) { kill(getpid(), SIGUSR2); });
    // The caller that makes the helper needs most.
    for (int i = 0; i < 2; ++i) {
        measure(
            "monad_async_run_blocking",
            [](T self) {
                return monad_async_run_blocking(
                    self,
                    [](void *) {
                        usleep(1000);
                        return success();
                    },
                    nullptr);
            },
            {}, i == 0 ? bound_with_helper : bound);
        measure(
            "monad_async_resolve",
            [](T self) {
                addrinfo *list = nullptr;
                auto const r = monad_async_resolve(self, "127.0.0.1", "80", nullptr, &list);
                freeaddrinfo(list);
                return r;
            },
            {}, i == 0 ? bound_with_helper : bound);
    }
    monad_async_pool pool = nullptr;
    monad_async_pool_attr attr{};
    attr.workers = 1;
    EXPECT_EQ(monad_async_pool_create(&pool, &attr).error, 0);
    Task pooled([](T self) { return sleep_ns(self, 2 * ms); });
    EXPECT_EQ(monad_async_pool_submit(pool, pooled).error, 0);
    measure("monad_async_pool_wait",
            [&](T) { return monad_async_pool_wait(pool, 0, MONAD_ASYNC_POOL_UNFINISHED); });
    measure("monad_async_pool_destroy", [&](T) { return monad_async_pool_destroy(pool); });
}

} // namespace

TEST(StackUse, of_each_call_that_suspends)
{
    if (!MONAD_ASYNC_RELEASE) {
        skip("not a release build");
    }
    sigset_t usr;
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR2);
    EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &usr, nullptr), 0);
    Measure measure;
    tasks_and_operations(measure);
    tasks_together(measure);
    files(measure);
    sockets(measure);
    processes_and_helpers(measure);
    auto const all = suspending_calls();
    EXPECT_GT(all.size(), 50u);
    for (auto const &name : all) {
        EXPECT_EQ(measure.names().count(name), 1u) << name << " is not measured";
    }
}

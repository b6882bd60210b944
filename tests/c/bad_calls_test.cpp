// Each call on files, names, sockets, buffers, processes and signals with what is no task of its own,
// no descriptor, no memory: an errno, nothing else, and nothing is left behind. The table is compared
// with the headers, so that no call is forgotten.

#include "support.hpp"

// All of it: each call is tried.
#include <monad/async.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

using namespace support;

namespace {

// What a call is made with: a handle, and memory for what goes in or out.
struct Args {
    int fd = -1;
    uint32_t flags = 0;
    void *data = nullptr;
    monad_async_buffer_set set = nullptr;
    monad_async_buffer_ring ring = nullptr;
    monad_async_remote remote = nullptr;
    char const *path = "nothing_of_this_name";

    monad_async_file file() const { return {fd, flags}; }
    monad_async_socket socket() const { return {fd, flags}; }
};

constexpr size_t bytes = 16;
// Room for the largest thing that is handed out.
alignas(64) char memory[4096];

enum Kind : unsigned {
    handle = 1,     // takes one: bad ones are EBADF
    memory_in = 2,  // NULL for memory is EINVAL or EFAULT
    quick = 4,      // does not suspend: of ended or closed ones only
    directory = 8,  // takes the descriptor of a directory
    result_out = 16 // NULL for what it hands out is EINVAL
};

struct Call {
    char const *name;
    unsigned kind;
    monad_async_result (*make)(monad_async_task, Args const &);
};

template <class T> T *as(Args const &a)
{
    return static_cast<T *>(a.data);
}

monad_async_recv_stream stream;
monad_async_op op;

// NOLINTNEXTLINE: one line a call.
#define CALL(function, kind, ...)                                                                  \
    {                                                                                              \
        "monad_async_" #function, (kind), [](monad_async_task t, Args const &a) {                  \
            (void)a;                                                                               \
            return monad_async_##function(t, __VA_ARGS__);                                         \
        }                                                                                          \
    }

Call const calls[] = {
    CALL(file_open, directory | result_out, as<monad_async_file>(a), a.fd, a.path, O_RDONLY, 0, 0,
         0),
    CALL(file_set_ordered, result_out, as<monad_async_file>(a)),
    CALL(file_row_error, handle, a.file(), as<int64_t>(a)),
    CALL(file_close, handle, a.file()),
    CALL(file_read, handle | memory_in, a.file(), a.data, bytes, 0),
    CALL(file_write, handle | memory_in, a.file(), a.data, bytes, 0),
    CALL(file_readv, handle | memory_in, a.file(), as<iovec>(a), 1, 0, 0),
    CALL(file_writev, handle | memory_in, a.file(), as<iovec>(a), 1, 0, 0),
    CALL(file_read_all, handle | memory_in, a.file(), a.data, bytes, 0),
    CALL(file_write_all, handle | memory_in, a.file(), a.data, bytes, 0),
    CALL(file_sync, handle, a.file()),
    CALL(file_sync_data, handle, a.file()),
    CALL(file_sync_range, handle, a.file(), 0, 1, 0),
    CALL(file_allocate, handle, a.file(), 0, 0, 1),
    CALL(file_truncate, handle, a.file(), 1),
    CALL(file_advise, handle, a.file(), 0, 1, POSIX_FADV_NORMAL),
    CALL(file_stat, handle | result_out, a.file(), STATX_SIZE, as<struct statx>(a)),
    CALL(path_unlink, directory, a.fd, a.path, 0),
    CALL(path_rename, directory, a.fd, a.path, a.fd, "other", 0),
    CALL(path_mkdir, directory, a.fd, a.path, 0700),
    CALL(path_link, directory, a.fd, a.path, a.fd, "other", 0),
    CALL(path_symlink, directory, "target", a.fd, a.path),
    CALL(path_stat, directory | result_out, a.fd, a.path, 0, STATX_SIZE, as<struct statx>(a)),
    CALL(socket_open, result_out, as<monad_async_socket>(a), AF_INET, SOCK_STREAM, 0, 0),
    CALL(socket_bind, handle | memory_in, a.socket(), as<sockaddr>(a), bytes),
    CALL(socket_listen, handle, a.socket(), 1),
    CALL(socket_accept, handle | result_out, a.socket(), as<monad_async_socket>(a), nullptr,
         nullptr, 0),
    CALL(socket_connect, handle | memory_in, a.socket(), as<sockaddr>(a), bytes),
    CALL(socket_recv, handle | memory_in, a.socket(), a.data, bytes, 0),
    CALL(socket_send, handle | memory_in, a.socket(), a.data, bytes, 0),
    CALL(socket_recv_exact, handle | memory_in, a.socket(), a.data, bytes),
    CALL(socket_send_all, handle | memory_in, a.socket(), a.data, bytes),
    CALL(socket_recvmsg, handle | memory_in, a.socket(), as<msghdr>(a), 0),
    CALL(socket_sendmsg, handle | memory_in, a.socket(), as<msghdr>(a), 0),
    CALL(socket_shutdown, handle, a.socket(), SHUT_RD),
    CALL(socket_option_get, handle | memory_in, a.socket(), SOL_SOCKET, SO_TYPE, a.data,
         as<socklen_t>(a)),
    CALL(socket_option_set, handle | memory_in, a.socket(), SOL_SOCKET, SO_REUSEADDR, a.data, 4),
    CALL(socket_local_address, handle | memory_in, a.socket(), as<sockaddr>(a), as<socklen_t>(a)),
    CALL(socket_peer_address, handle | memory_in, a.socket(), as<sockaddr>(a), as<socklen_t>(a)),
    CALL(socket_close, handle, a.socket()),
    CALL(recv_stream_begin, quick, a.data == nullptr ? nullptr : &stream, a.socket(), a.ring, 0),
    CALL(buffers_claim, result_out, a.set, as<monad_async_buffer>(a)),
    CALL(buffers_claim_until, result_out, a.set, as<monad_async_buffer>(a), 0),
    CALL(buffers_try_claim, result_out | quick, a.set, as<monad_async_buffer>(a)),
    CALL(file_read_fixed, result_out, a.file(), as<monad_async_buffer>(a), 0, 1, 0),
    CALL(file_write_fixed, result_out, a.file(), as<monad_async_buffer>(a), 0, 1, 0),
    CALL(poll, handle, a.fd, POLLIN),
    CALL(process_wait, result_out, 0x7fffffff, as<monad_async_process_info>(a)),
    CALL(signal_wait, result_out, as<sigset_t>(a)),
    CALL(file_to_plain, handle | result_out, a.file(), as<monad_async_file>(a)),
    CALL(socket_to_plain, handle | result_out, a.socket(), as<monad_async_socket>(a)),
    CALL(file_pass, handle | result_out, a.file(), a.remote, as<monad_async_file>(a)),
    CALL(socket_pass, handle | result_out, a.socket(), a.remote, as<monad_async_socket>(a)),
    CALL(
        run_blocking, result_out, a.data == nullptr ? nullptr : +[](void *) { return success(); },
        nullptr),
    CALL(resolve, result_out, "127.0.0.1", nullptr, nullptr, as<addrinfo *>(a)),
    CALL(op_begin, quick | result_out, a.data == nullptr ? nullptr : &op),
    CALL(op_wait, result_out, a.data == nullptr ? nullptr : &op),
    CALL(op_wait_any, result_out, as<monad_async_op *>(a)),
    CALL(op_end, result_out, a.data == nullptr ? nullptr : &op),
    CALL(op_cancel, quick | result_out, a.data == nullptr ? nullptr : &op),
};

bool is_of(Call const &call, std::initializer_list<char const *> words)
{
    std::string const name = call.name;
    return std::any_of(words.begin(), words.end(),
                       [&](char const *word) { return name.find(word) != std::string::npos; });
}

size_t descriptors()
{
    size_t count = 0;
    for (auto const &entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        count += entry.is_symlink() ? 1 : 0;
    }
    return count;
}

// The executor is as it was, and of use.
void is_well(Executor const &ex)
{
    EXPECT_EQ(ex->tasks_pending_launch + ex->tasks_suspended, 0u);
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
    Task task([](monad_async_task self) { return nop(self); });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

void on_each(std::function<void(Call const &)> const &f)
{
    for (auto const &call : calls) {
        SCOPED_TRACE(call.name);
        memset(memory, 0, sizeof memory);
        op = {};
        stream = {};
        f(call);
    }
}

Args good()
{
    Args a;
    a.data = memory;
    return a;
}

// All that a call may refer to, there and right.
class Whole {
public:
    explicit Whole(monad_async_executor ex)
    {
        args.fd = dup(0);
        EXPECT_EQ(monad_async_buffers_register(ex, &args.set, 1, 64).error, 0);
        EXPECT_EQ(monad_async_buffer_ring_create(ex, &args.ring, 1, 64).error, 0);
        EXPECT_EQ(monad_async_remote_acquire(ex, &args.remote).error, 0);
        args.data = memory;
    }
    Whole(Whole const &) = delete;
    ~Whole()
    {
        EXPECT_EQ(monad_async_buffers_unregister(args.set).error, 0);
        EXPECT_EQ(monad_async_buffer_ring_destroy(args.ring).error, 0);
        monad_async_remote_release(args.remote);
        EXPECT_EQ(close(args.fd), 0) << "a call has closed it";
    }

    Args args;
};

// Runs `body` as a task of an executor, which is well afterwards; no descriptor is left.
void in_task(std::function<void(Executor const &, monad_async_task)> const &body)
{
    Executor ex(8);
    is_well(ex);
    size_t const before = descriptors();
    Task task([&](monad_async_task self) {
        body(ex, self);
        return success();
    });
    task.attach(ex);
    ex.finish();
    is_well(ex);
    EXPECT_EQ(descriptors(), before);
}

} // namespace

TEST(BadCalls, no_task_is_EINVAL)
{
    size_t const before = descriptors();
    on_each([](Call const &call) { EXPECT_EQ(call.make(nullptr, good()).error, EINVAL); });
    EXPECT_EQ(descriptors(), before);
}

TEST(BadCalls, a_task_that_does_not_run_is_EPERM)
{
    Executor ex(8), other(8);
    Task idle([](monad_async_task) { return success(); });
    Task suspended([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    Task elsewhere([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    suspended.attach(ex);
    elsewhere.attach(other);
    run_until_suspended(ex, suspended);
    run_until_suspended(other, elsewhere);
    Whole const whole(ex);
    auto const all_are_refused = [&](monad_async_task task) {
        on_each([&](Call const &call) { EXPECT_EQ(call.make(task, whole.args).error, EPERM); });
    };
    for (monad_async_task const task :
         {idle.operator monad_async_task(), suspended.operator monad_async_task(),
          elsewhere.operator monad_async_task()}) {
        // Outside tasks, and by another task.
        all_are_refused(task);
        Task runs([&](monad_async_task) {
            all_are_refused(task);
            return success();
        });
        runs.attach(ex);
        EXPECT_EQ(ex.run(), 1);
    }
    EXPECT_EQ(monad_async_task_cancel(ex, suspended).error, 0);
    EXPECT_EQ(monad_async_task_cancel(other, elsewhere).error, 0);
    ex.finish();
    other.finish();
}

TEST(BadCalls, the_running_task_on_another_thread_is_EPERM)
{
    in_task([](Executor const &ex, monad_async_task self) {
        Whole const whole(ex);
        std::thread([&] {
            on_each([&](Call const &call) { EXPECT_EQ(call.make(self, whole.args).error, EPERM); });
        }).join();
    });
}

TEST(BadCalls, no_such_descriptor_is_EBADF)
{
    Executor const other(8); // What is passed goes to another one.
    in_task([&](Executor const &, monad_async_task self) {
        monad_async_remote remote = nullptr;
        EXPECT_EQ(monad_async_remote_acquire(other, &remote).error, 0);
        int const closed = dup(0);
        EXPECT_EQ(close(closed), 0);
        on_each([&](Call const &call) {
            for (int const fd : {-1, -2, closed, 1 << 20, INT_MAX, INT_MIN}) {
                auto a = good();
                a.fd = fd;
                a.remote = remote;
                memset(memory, 0, sizeof memory);
                iovec const part{memory + 2048, bytes};
                socklen_t const length = bytes;
                if (is_of(call, {"readv", "writev"})) {
                    memcpy(memory, &part, sizeof part);
                } else if (is_of(call, {"option_get", "address"})) {
                    memcpy(memory, &length, sizeof length);
                }
                if ((call.kind & handle) != 0) {
                    // Of direct ones, and of ordered ones alone.
                    bool const narrow = is_of(call, {"to_plain", "pass", "row_error"});
                    int const error = call.make(self, a).error;
                    EXPECT_TRUE(error == EBADF || (narrow && error == EINVAL))
                        << fd << ": " << error;
                    a.flags = MONAD_ASYNC_SOCKET_DIRECT; // No table.
                    int const direct = call.make(self, a).error;
                    EXPECT_TRUE(direct == EBADF || direct == EINVAL || direct == EOPNOTSUPP)
                        << fd << ", direct: " << direct;
                    a.flags = 1u << 20; // A flag that there is not.
                    EXPECT_EQ(call.make(self, a).error, is_of(call, {"poll"}) ? EBADF : EINVAL)
                        << fd << ", flags";
                }
                if ((call.kind & directory) != 0 && fd >= 0) {
                    EXPECT_EQ(call.make(self, a).error, EBADF) << fd;
                }
            }
        });
        monad_async_remote_release(remote);
    });
}

TEST(BadCalls, no_memory_is_EINVAL_or_EFAULT)
{
    in_task([](Executor const &, monad_async_task self) {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        EXPECT_EQ(::send(fds[1], memory, bytes, 0), ssize_t(bytes));
        int const file = memfd_create("memory", MFD_CLOEXEC);
        EXPECT_EQ(::write(file, memory, bytes), ssize_t(bytes));
        on_each([&](Call const &call) {
            Args a;
            a.fd = is_of(call, {"socket"}) ? fds[0] : file;
            if ((call.kind & (memory_in | result_out | quick)) != 0) {
                int const error = call.make(self, a).error;
                EXPECT_TRUE(error == EINVAL || error == EFAULT) << error;
            }
            if ((call.kind & directory) != 0) {
                a = good();
                a.fd = AT_FDCWD;
                a.path = nullptr;
                int const error = call.make(self, a).error;
                EXPECT_TRUE(error == EINVAL || error == EFAULT) << error;
            }
        });
        close(file);
        close(fds[0]);
        close(fds[1]);
    });
}

// The functions of those headers that take the running task first.
TEST(BadCalls, the_table_has_each_call)
{
    std::set<std::string> declared, in_table;
    for (char const *const name : {"file", "path", "socket", "buffer", "buffer_set", "poll",
                                   "process", "direct", "blocking", "op"}) {
        std::stringstream all;
        all << std::ifstream(std::string(MONAD_ASYNC_HEADERS) + "/" + name + ".h").rdbuf();
        auto const text = all.str();
        std::regex const call(R"((monad_async_\w+)\(\s*monad_async_task task,)");
        for (std::sregex_iterator at(text.begin(), text.end(), call), end; at != end; ++at) {
            declared.insert((*at)[1]);
        }
    }
    for (auto const &call : calls) {
        in_table.insert(call.name);
    }
    EXPECT_GT(declared.size(), 50u);
    EXPECT_EQ(declared, in_table);
}

// Idle connections: how many, and what each takes of the server's resident memory. Streams by view on
// rings of 64 buffers; the server's ends are direct descriptors, which no limit of the process counts,
// but a table has no more places than that limit. So there is an executor, on a thread of its own, for
// as many as that, and a process for the other ends of as many. In the end each connection has an
// answer.
//
//   idle [CONNECTIONS]     100,000 of them; fails from 6 KiB each on
#include <monad/async.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

constexpr std::size_t buffers = 64, buffer_bytes = 256, most_bytes = 6144;
constexpr char text[] = "is anybody there";

[[noreturn]] void die(char const *what)
{
    std::perror(what);
    std::_Exit(EXIT_FAILURE);
}

std::size_t resident_bytes()
{
    unsigned long all = 0, resident = 0;
    FILE *const f = std::fopen("/proc/self/statm", "r");
    if (f == nullptr || std::fscanf(f, "%lu %lu", &all, &resident) != 2) {
        die("/proc/self/statm");
    }
    std::fclose(f);
    return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

struct server {
    std::size_t count;
    int listening;
    std::uint16_t port;
    std::atomic<std::size_t> accepted{0}, answered{0};
    std::atomic<bool> ready{false}, begins{false};
    std::thread thread;

    explicit server(std::size_t how_many) : count(how_many)
    {
        listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof at;
        auto *const a = reinterpret_cast<sockaddr *>(&at);
        if (bind(listening, a, length) != 0 || listen(listening, 4096) != 0 ||
            getsockname(listening, a, &length) != 0) {
            die("listen");
        }
        port = at.sin_port;
    }

    void echo(ma::socket peer, ma::buffer_ring const &ring)
    {
        ma::recv_stream stream(peer.native_handle(), ring);
        while (auto const view = stream.next()) {
            peer.send_all({static_cast<void const *>(view.data()), view.size()});
            ++answered;
        }
    }

    void serve()
    {
        ma::executor_options options;
        options.direct_descriptors = static_cast<std::uint32_t>(count);
        options.stack_size = 16384;
        ma::executor ex(options);
        ma::buffer_ring const ring(ex, buffers, buffer_bytes);
        ready = true;
        while (!begins) {
            std::this_thread::yield();
        }
        ex.spawn([&] {
            auto const from = monad_async_socket_adopt(listening);
            auto *const self = monad_async_task_current();
            for (accepted = 0; accepted != count; ++accepted) {
                monad_async_socket peer = {-1, 0};
                auto const r = monad_async_socket_accept(self, from, &peer, nullptr, nullptr,
                                                         MONAD_ASYNC_SOCKET_DIRECT);
                if (r.error != 0) {
                    errno = r.error;
                    die("accept");
                }
                ex.spawn(
                    [this, &ring, p = ma::socket(peer)]() mutable { echo(std::move(p), ring); });
            }
        });
        ex.run_until_idle();
    }
};

// The other ends, in a process of their own: connected, told so by a byte; asked for, answered.
void ask(std::vector<std::uint16_t> const &ports, int to, int from)
{
    std::vector<int> fds;
    for (auto const port : ports) {
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        at.sin_port = port;
        fds.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (connect(fds.back(), reinterpret_cast<sockaddr *>(&at), sizeof at) != 0) {
            die("connect");
        }
    }
    char byte = 0;
    if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1) {
        _exit(EXIT_FAILURE);
    }
    for (int const fd : fds) {
        (void)!::send(fd, text, sizeof text, MSG_NOSIGNAL);
    }
    for (int const fd : fds) {
        char answer[sizeof text];
        if (::recv(fd, answer, sizeof answer, MSG_WAITALL) != sizeof answer ||
            std::memcmp(answer, text, sizeof text) != 0) {
            die("an answer");
        }
    }
    _exit(0);
}

} // namespace

int main(int argc, char **argv)
{
    std::size_t const wanted = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100000;
    rlimit limit = {};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    // Ports of one address do not suffice for more.
    std::size_t const most = std::min<std::size_t>(limit.rlim_cur - 64, 20000);
    std::vector<std::unique_ptr<server>> servers;
    std::vector<std::uint16_t> ports;
    for (std::size_t left = wanted; left != 0; left -= servers.back()->count) {
        servers.push_back(std::make_unique<server>(std::min(left, most)));
        ports.insert(ports.end(), servers.back()->count, servers.back()->port);
    }
    int connected[2], go[2], asks[2];
    if (pipe(connected) != 0 || pipe(go) != 0 || pipe(asks) != 0) {
        die("pipe");
    }
    std::vector<pid_t> children;
    for (std::size_t at = 0; at < wanted; at += most) {
        children.push_back(fork());
        if (children.back() == 0) {
            for (auto const &s : servers) {
                ::close(s->listening);
            }
            ::close(go[1]); // Or nobody is told that the parent has gone.
            ::close(asks[1]);
            char byte;
            if (read(go[0], &byte, 1) != 1) {
                _exit(EXIT_FAILURE);
            }
            auto const to = std::min(at + most, wanted);
            ask({ports.begin() + static_cast<std::ptrdiff_t>(at),
                 ports.begin() + static_cast<std::ptrdiff_t>(to)},
                connected[1], asks[0]);
        }
    }
    for (auto const &s : servers) {
        s->thread = std::thread([&s] { s->serve(); });
        while (!s->ready) {
            std::this_thread::yield();
        }
    }
    std::size_t const before = resident_bytes();
    auto const each_child = [&](int to) {
        for (std::size_t i = 0; i != children.size(); ++i) {
            char const byte = 0;
            (void)!write(to, &byte, 1);
        }
    };
    for (auto const &s : servers) {
        s->begins = true;
    }
    each_child(go[1]);
    for (std::size_t i = 0; i != children.size(); ++i) {
        char byte;
        if (read(connected[0], &byte, 1) != 1) {
            die("a child");
        }
    }
    for (auto const &s : servers) {
        while (s->accepted != s->count) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
    }
    // The last ones wait for data.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    double const each =
        static_cast<double>(resident_bytes() - before) / static_cast<double>(wanted);
    each_child(asks[1]);
    bool good = each < static_cast<double>(most_bytes);
    for (pid_t const child : children) {
        int status = 0;
        good = waitpid(child, &status, 0) == child && status == 0 && good;
    }
    std::size_t answered = 0;
    for (auto const &s : servers) {
        s->thread.join();
        answered += s->answered;
        ::close(s->listening);
    }
    good = answered == wanted && good;
    std::printf(
        "measured: %zu idle connections, %zu executors with %zu buffers each: %.0f bytes of "
        "resident memory a connection (at most %zu), %zu answered\n",
        wanted, servers.size(), buffers, each, most_bytes, answered);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

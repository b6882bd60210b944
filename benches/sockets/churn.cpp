// Connections that do not last: each is made over loopback, accepted, and closed at both ends, by
// one thread, some at a time.

#include "sockets.hpp"

#include <monad/async.hpp>

#include <cerrno>
#include <cstdint>
#include <vector>

#include <liburing.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

constexpr int churned = 6400;

struct listener {
    int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in at = {};

    listener()
    {
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof at;
        if (bind(fd, address(), length) != 0 || listen(fd, 1024) != 0 ||
            getsockname(fd, address(), &length) != 0) {
            die("listen");
        }
    }
    ~listener() { ::close(fd); }

    sockaddr *address() { return reinterpret_cast<sockaddr *>(&at); }
};

void check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        std::fprintf(stderr, "%s\n", monad_async_result_message(r));
        std::exit(EXIT_FAILURE);
    }
}

int made(int flags)
{
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) {
        die("socket");
    }
    return fd;
}

} // namespace

double churn_ours(int at_a_time)
{
    listener l;
    ma::executor ex;
    std::vector<ma::task> tasks(static_cast<std::size_t>(at_a_time));
    double const before = cpu_ns();
    for (auto &t : tasks) {
        t.attach(ex, [&l, at_a_time] {
            auto *const self = ma::this_task::current();
            for (int i = 0; i < churned / at_a_time; ++i) {
                monad_async_socket mine, theirs;
                check(monad_async_socket_open(self, &mine, AF_INET, SOCK_STREAM, 0, 0));
                check(monad_async_socket_connect(self, mine, l.address(), sizeof l.at));
                check(monad_async_socket_accept(self, monad_async_socket_adopt(l.fd), &theirs,
                                                nullptr, nullptr, 0));
                check(monad_async_socket_close(self, theirs));
                check(monad_async_socket_close(self, mine));
            }
        });
    }
    ex.run_until_idle();
    return (cpu_ns() - before) / churned;
}

double churn_raw(int at_a_time)
{
    listener l;
    io_uring ring;
    if (io_uring_queue_init(256, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) !=
        0) {
        die("io_uring_queue_init");
    }
    struct one {
        int mine, left, closing;
    };
    std::vector<one> all(static_cast<std::size_t>(at_a_time));
    enum : std::uint64_t { connected, accepted, closed, kinds };
    auto const begin = [&](std::size_t i) {
        all[i].mine = made(0);
        auto *const sqe = io_uring_get_sqe(&ring);
        io_uring_prep_connect(sqe, all[i].mine, l.address(), sizeof l.at);
        sqe->user_data = i * kinds + connected;
    };
    double const before = cpu_ns();
    for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].left = churned / at_a_time;
        begin(i);
    }
    for (int open = at_a_time; open != 0;) {
        io_uring_submit_and_wait(&ring, 1);
        unsigned head, seen = 0;
        io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            ++seen;
            if (cqe->res < 0) {
                errno = -cqe->res;
                die("a connection");
            }
            std::size_t const i = cqe->user_data / kinds;
            auto const close = [&](int fd) {
                auto *const sqe = io_uring_get_sqe(&ring);
                io_uring_prep_close(sqe, fd);
                sqe->user_data = i * kinds + closed;
            };
            switch (cqe->user_data % kinds) {
            case connected: {
                auto *const sqe = io_uring_get_sqe(&ring);
                io_uring_prep_accept(sqe, l.fd, nullptr, nullptr, SOCK_CLOEXEC);
                sqe->user_data = i * kinds + accepted;
                break;
            }
            case accepted:
                all[i].closing = 2;
                close(cqe->res);
                close(all[i].mine);
                break;
            default:
                if (--all[i].closing == 0) {
                    if (--all[i].left != 0) {
                        begin(i);
                    } else {
                        --open;
                    }
                }
            }
        }
        io_uring_cq_advance(&ring, seen);
    }
    double const spent = (cpu_ns() - before) / churned;
    io_uring_queue_exit(&ring);
    return spent;
}

double churn_epoll(int at_a_time)
{
    listener l;
    double const before = cpu_ns();
    int const ep = epoll_create1(EPOLL_CLOEXEC);
    auto const watch = [&](int fd, std::uint32_t events) {
        epoll_event e = {};
        e.events = events;
        e.data.fd = fd;
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) != 0) {
            die("epoll_ctl");
        }
    };
    watch(l.fd, EPOLLIN);
    int left = churned, open = 0, unaccepted = churned;
    auto const begin = [&] {
        if (left == 0) {
            return;
        }
        --left;
        ++open;
        int const fd = made(SOCK_NONBLOCK);
        if (connect(fd, l.address(), sizeof l.at) != 0 && errno != EINPROGRESS) {
            die("connect");
        }
        watch(fd, EPOLLOUT);
    };
    for (int i = 0; i < at_a_time; ++i) {
        begin();
    }
    while (open != 0 || unaccepted != 0) {
        epoll_event events[connections];
        int const n = epoll_wait(ep, events, connections, -1);
        for (int i = 0; i < n; ++i) {
            if (events[i].data.fd != l.fd) {
                ::close(events[i].data.fd);
                --open;
                begin();
                continue;
            }
            for (;;) {
                int const fd = accept4(l.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0) {
                    break;
                }
                ::close(fd);
                --unaccepted;
            }
        }
    }
    ::close(ep);
    return (cpu_ns() - before) / churned;
}

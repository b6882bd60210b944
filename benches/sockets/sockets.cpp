// What sockets cost next to raw io_uring and epoll, in one process, in turns: processor time of the
// server's thread. The best of the rounds counts, as only others can make one slower.

#include "sockets.hpp"

#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <liburing.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>

namespace ma = monad::async;

namespace {

constexpr int round_trips = 2000, rounds = 7;

// The servers' ends of connections whose other ends a child process keeps busy: one message at a
// time on each.
struct peers {
    std::vector<int> fds;
    pid_t child = -1;

    peers()
    {
        int const listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t length = sizeof at;
        auto *const a = reinterpret_cast<sockaddr *>(&at);
        if (bind(listener, a, length) != 0 || listen(listener, connections) != 0 ||
            getsockname(listener, a, &length) != 0) {
            die("listen");
        }
        std::vector<int> theirs;
        for (int i = 0; i < connections; ++i) {
            int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            int const on = 1;
            if (connect(fd, a, length) != 0) {
                die("connect");
            }
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            theirs.push_back(fd);
            fds.push_back(accept(listener, nullptr, nullptr));
            setsockopt(fds.back(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        ::close(listener);
        child = fork();
        if (child == 0) {
            for (int const fd : fds) {
                ::close(fd);
            }
            ask(theirs);
            _exit(0);
        }
        for (int const fd : theirs) {
            ::close(fd);
        }
    }
    ~peers() { waitpid(child, nullptr, 0); }

    static void ask(std::vector<int> const &theirs)
    {
        int const ep = epoll_create1(0);
        char data[message_bytes] = {};
        std::vector<int> left(theirs.size(), round_trips);
        for (unsigned i = 0; i < theirs.size(); ++i) {
            epoll_event e = {};
            e.events = EPOLLIN;
            e.data.u32 = i;
            epoll_ctl(ep, EPOLL_CTL_ADD, theirs[i], &e);
            (void)!::send(theirs[i], data, sizeof data, 0);
        }
        for (std::size_t open = theirs.size(); open != 0;) {
            epoll_event events[connections];
            int const n = epoll_wait(ep, events, connections, -1);
            for (int i = 0; i < n; ++i) {
                auto const at = events[i].data.u32;
                (void)!::recv(theirs[at], data, sizeof data, MSG_WAITALL);
                if (--left[at] != 0) {
                    (void)!::send(theirs[at], data, sizeof data, 0);
                } else {
                    ::close(theirs[at]);
                    --open;
                }
            }
        }
    }
};

void serve_ours(std::vector<int> const &fds)
{
    ma::executor ex;
    std::vector<ma::task> tasks(fds.size());
    for (std::size_t i = 0; i < fds.size(); ++i) {
        tasks[i].attach(ex, [fd = fds[i]] {
            ma::socket s(monad_async_socket_adopt(fd));
            char data[message_bytes];
            while (auto const n = s.recv(data)) {
                s.send_all({data, n});
            }
        });
    }
    ex.run_until_idle();
}

void serve_raw(std::vector<int> const &fds)
{
    io_uring ring;
    if (io_uring_queue_init(256, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) !=
        0) {
        die("io_uring_queue_init");
    }
    std::vector<std::array<char, message_bytes>> data(fds.size());
    auto const receive = [&](std::size_t i) {
        auto *const sqe = io_uring_get_sqe(&ring);
        io_uring_prep_recv(sqe, fds[i], data[i].data(), message_bytes, 0);
        sqe->user_data = i * 2;
    };
    for (std::size_t i = 0; i < fds.size(); ++i) {
        receive(i);
    }
    for (std::size_t open = fds.size(); open != 0;) {
        io_uring_submit_and_wait(&ring, 1);
        unsigned head, seen = 0;
        io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            ++seen;
            std::size_t const i = cqe->user_data / 2;
            if (cqe->user_data % 2 == 1) {
                receive(i);
            } else if (cqe->res > 0) {
                auto *const sqe = io_uring_get_sqe(&ring);
                io_uring_prep_send(sqe, fds[i], data[i].data(), unsigned(cqe->res), MSG_NOSIGNAL);
                sqe->user_data = i * 2 + 1;
            } else {
                ::close(fds[i]);
                --open;
            }
        }
        io_uring_cq_advance(&ring, seen);
    }
    io_uring_queue_exit(&ring);
}

void serve_epoll(std::vector<int> const &fds)
{
    watch_by_epoll(fds, [](int fd) {
        char data[message_bytes];
        auto const got = ::recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (got > 0) {
            (void)!::send(fd, data, std::size_t(got), MSG_NOSIGNAL);
        }
        return got;
    });
}

double per_round_trip(std::function<void(std::vector<int> const &)> const &serve)
{
    peers const p;
    double const before = cpu_ns();
    serve(p.fds);
    return (cpu_ns() - before) / (connections * round_trips);
}

// 64 answers of 64 bytes, again and again, to a peer that another process reads.
double per_answer(bool gathered)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        die("socketpair");
    }
    pid_t const child = fork();
    if (child == 0) {
        ::close(fds[0]);
        char data[65536];
        while (::recv(fds[1], data, sizeof data, 0) > 0) {
        }
        _exit(0);
    }
    ::close(fds[1]);
    constexpr int times = 1000, answers = 64;
    double spent = 0;
    ma::executor ex;
    ma::task t;
    t.attach(ex, [&] {
        ma::socket s(monad_async_socket_adopt(fds[0]));
        ma::writer out(s);
        char const data[message_bytes] = {};
        double const before = cpu_ns();
        for (int i = 0; i < times; ++i) {
            for (int k = 0; k < answers; ++k) {
                ma::const_bytes const answer(static_cast<void const *>(data), sizeof data);
                gathered ? out.write(answer) : s.send_all(answer);
            }
            out.flush();
        }
        spent = cpu_ns() - before;
    });
    ex.run_until_idle();
    t.get();
    waitpid(child, nullptr, 0);
    return spent / (times * answers);
}

struct side {
    char const *name;
    std::function<double()> measure;
    double best = 1e30;
};

void compare(char const *what, std::vector<side> sides)
{
    for (int i = 0; i < rounds; ++i) {
        for (auto &s : sides) {
            s.best = std::min(s.best, s.measure());
        }
    }
    std::printf("%s\n", what);
    for (auto const &s : sides) {
        std::printf("  %-12s %8.1f ns   ours / it: %.2f\n", s.name, s.best, sides[0].best / s.best);
    }
}

} // namespace

int main(int argc, char **argv)
{
    for (int const n : {1, connections}) {
        auto const what = "TCP connection made, accepted, closed at both ends, " +
                          std::to_string(n) + " at a time, processor time of one";
        compare(what.c_str(), {{"ours", [=] { return churn_ours(n); }},
                               {"raw io_uring", [=] { return churn_raw(n); }},
                               {"epoll", [=] { return churn_epoll(n); }}});
    }
    if (argc > 1 && std::string(argv[1]) == "churn") {
        return 0;
    }
    compare("TCP echo, 64 connections, 64 bytes, processor time of a round trip",
            {{"ours", [] { return per_round_trip(serve_ours); }},
             {"raw io_uring", [] { return per_round_trip(serve_raw); }},
             {"epoll", [] { return per_round_trip(serve_epoll); }}});
    for (int const burst : {1, 4}) {
        auto const what = "receiving 64 bytes that have come, 64 Unix sockets, " +
                          std::to_string(burst) + " each, processor time of a message";
        compare(what.c_str(), {{"by view", [=] { return views_there(burst); }},
                               {"raw io_uring", [=] { return raw_there(burst); }},
                               {"epoll", [=] { return epoll_there(burst); }}});
    }
    compare("the same, sent by another process meanwhile, each with its own end",
            {{"by view", by_view_meanwhile},
             {"raw io_uring", raw_meanwhile},
             {"epoll", epoll_meanwhile}});
    compare("64 answers of 64 bytes on a connection, processor time of an answer",
            {{"writer", [] { return per_answer(true); }},
             {"send each", [] { return per_answer(false); }}});
}

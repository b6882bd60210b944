// What the measurements of sockets share.

#ifndef SOCKETS_HPP
#define SOCKETS_HPP

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

constexpr int connections = 64;
constexpr std::size_t message_bytes = 64;

[[noreturn]] inline void die(char const *what)
{
    std::perror(what);
    std::exit(EXIT_FAILURE);
}

inline double cpu_ns()
{
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Calls `receive` with each descriptor that epoll reports, until each has returned 0, its end.
template <class F> void watch_by_epoll(std::vector<int> const &fds, F receive)
{
    int const ep = epoll_create1(0);
    for (int const fd : fds) {
        epoll_event e = {};
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
    for (std::size_t open = fds.size(); open != 0;) {
        epoll_event events[connections];
        int const n = epoll_wait(ep, events, connections, -1);
        for (int i = 0; i < n; ++i) {
            if (receive(events[i].data.fd) == 0) {
                ::close(events[i].data.fd);
                --open;
            }
        }
    }
    ::close(ep);
}

// views.cpp: processor time of a message, in nanoseconds, that is received by view, by a raw ring,
// and by epoll: one that has come, `burst` of each connection at a time, or that another process
// sends meanwhile.
double views_there(int burst);
double raw_there(int burst);
double epoll_there(int burst);
double by_view_meanwhile();
double raw_meanwhile();
double epoll_meanwhile();

// churn.cpp: processor time, in nanoseconds, of a connection that is made, accepted and closed at
// both ends, so many at a time.
double churn_ours(int at_a_time);
double churn_raw(int at_a_time);
double churn_epoll(int at_a_time);

#endif

// A TCP echo server on one epoll loop, as a careful one is written: says its port, and serves until it
// is killed.
#include <cstdio>
#include <cstdlib>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

int main()
{
    int const listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ep = epoll_create1(0);
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    auto *const a = reinterpret_cast<sockaddr *>(&at);
    if (bind(listener, a, length) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, a, &length) != 0) {
        return EXIT_FAILURE;
    }
    auto const add = [ep](int fd) {
        epoll_event e = {};
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    };
    add(listener);
    std::printf("port %d\n", ntohs(at.sin_port));
    std::fflush(stdout);
    for (;;) {
        epoll_event events[64];
        int const n = epoll_wait(ep, events, 64, -1);
        for (int i = 0; i < n; ++i) {
            int const fd = events[i].data.fd;
            if (fd == listener) {
                int const peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
                int const on = 1;
                setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                add(peer);
                continue;
            }
            char data[4096];
            auto const got = recv(fd, data, sizeof data, MSG_DONTWAIT);
            if (got > 0) {
                (void)!send(fd, data, static_cast<size_t>(got), MSG_NOSIGNAL);
            } else if (got == 0) {
                close(fd);
            }
        }
    }
}

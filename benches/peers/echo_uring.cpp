// A TCP echo server on a bare io_uring, by liburing: says its port, and serves until it is killed.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int main()
{
    int const listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof at;
    auto *const a = reinterpret_cast<sockaddr *>(&at);
    io_uring ring;
    if (bind(listener, a, length) != 0 || listen(listener, 128) != 0 ||
        getsockname(listener, a, &length) != 0 ||
        io_uring_queue_init(256, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) !=
            0) {
        return EXIT_FAILURE;
    }
    enum : unsigned long long { accepted, received, sent };
    std::vector<std::array<char, 4096>> data(1024);
    auto const entry = [&](unsigned long long what, int fd) {
        auto *const sqe = io_uring_get_sqe(&ring);
        sqe->user_data = what | static_cast<unsigned long long>(fd) << 2;
        return sqe;
    };
    auto const begin = [&](io_uring_sqe *sqe, auto prepare, auto... arguments) {
        auto const user_data = sqe->user_data;
        prepare(sqe, arguments...);
        sqe->user_data = user_data;
    };
    auto const receive = [&](int fd) {
        begin(entry(received, fd), io_uring_prep_recv, fd, data[static_cast<size_t>(fd)].data(),
              4096, 0);
    };
    auto const listen_on = [&] {
        begin(entry(accepted, listener), io_uring_prep_accept, listener, nullptr, nullptr,
              SOCK_CLOEXEC);
    };
    std::printf("port %d\n", ntohs(at.sin_port));
    std::fflush(stdout);
    for (listen_on();;) {
        io_uring_submit_and_wait(&ring, 1);
        unsigned head, seen = 0;
        io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            ++seen;
            int const fd = static_cast<int>(cqe->user_data >> 2);
            switch (cqe->user_data & 3) {
            case accepted: {
                int const on = 1;
                setsockopt(cqe->res, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                receive(cqe->res);
                listen_on();
                break;
            }
            case received:
                if (cqe->res > 0) {
                    begin(entry(sent, fd), io_uring_prep_send, fd,
                          data[static_cast<size_t>(fd)].data(), static_cast<size_t>(cqe->res),
                          MSG_NOSIGNAL);
                } else {
                    close(fd);
                }
                break;
            default: receive(fd);
            }
        }
        io_uring_cq_advance(&ring, seen);
    }
}

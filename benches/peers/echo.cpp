// TCP echo servers compared: 64 connections, 64 bytes, one message at a time on each. All
// servers run from the beginning, pinned to one processor; the one whose turn it is is asked from
// another. What counts is the processor time of the server's process a round trip; the median of the
// rounds.
//
//   echo ROUNDS ROUND_TRIPS PROGRAM...     each says "port N" on its standard output; the first is compared with
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

constexpr int connections = 64;
constexpr std::size_t message_bytes = 64;

void pin_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

struct server {
    std::string name;
    pid_t pid = -1;
    in_port_t port = 0;
    std::vector<double> ns{};
};

bool start(server &s)
{
    int out[2];
    if (pipe(out) != 0 || (s.pid = fork()) < 0) {
        return false;
    }
    if (s.pid == 0) {
        pin_to(0);
        dup2(out[1], 1);
        execl(s.name.c_str(), s.name.c_str(), static_cast<char *>(nullptr));
        _exit(EXIT_FAILURE);
    }
    close(out[1]);
    std::string said;
    for (char c; read(out[0], &c, 1) == 1 && c != '\n';) {
        said += c;
    }
    close(out[0]);
    s.port = static_cast<in_port_t>(said.rfind("port ", 0) == 0 ? std::atoi(said.c_str() + 5) : 0);
    return s.port != 0;
}

double cpu_ns(pid_t pid)
{
    clockid_t clock;
    timespec t = {};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
        return -1;
    }
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// ns of the server's a round trip; below 0: it went wrong.
double ask(server const &s, int round_trips)
{
    std::vector<int> fds;
    int const ep = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i != connections; ++i) {
        sockaddr_in at = {};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        at.sin_port = htons(s.port);
        int const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
        if (connect(fd, reinterpret_cast<sockaddr *>(&at), sizeof at) != 0) {
            return -1;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        epoll_event e = {};
        e.events = EPOLLIN;
        e.data.u32 = static_cast<unsigned>(i);
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        fds.push_back(fd);
    }
    char data[message_bytes] = {};
    double before = 0;
    // A first round trip each, so that all are accepted.
    for (int const trips : {1, round_trips}) {
        before = cpu_ns(s.pid);
        std::vector<int> left(fds.size(), trips);
        for (int const fd : fds) {
            (void)!send(fd, data, sizeof data, MSG_NOSIGNAL);
        }
        for (auto open = fds.size(); open != 0;) {
            epoll_event events[connections];
            int const n = epoll_wait(ep, events, connections, -1);
            for (int i = 0; i < n; ++i) {
                auto const at = events[i].data.u32;
                if (recv(fds[at], data, sizeof data, MSG_WAITALL) != sizeof data) {
                    return -1;
                }
                if (--left[at] == 0) {
                    --open;
                } else {
                    (void)!send(fds[at], data, sizeof data, MSG_NOSIGNAL);
                }
            }
        }
    }
    double const spent = cpu_ns(s.pid) - before;
    for (int const fd : fds) {
        close(fd);
    }
    close(ep);
    return spent / (connections * round_trips);
}

double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

} // namespace

int main(int argc, char **argv)
{
    int const rounds = argc > 1 ? std::atoi(argv[1]) : 0;
    int const round_trips = argc > 2 ? std::atoi(argv[2]) : 0;
    std::vector<server> servers;
    for (int i = 3; i < argc; ++i) {
        servers.push_back({argv[i]});
        if (!start(servers.back())) {
            std::printf("skipped: %s does not start\n", argv[i]);
            servers.pop_back();
        }
    }
    pin_to(1);
    bool good = !servers.empty() && rounds > 0 && round_trips > 0;
    for (int r = 0; good && r != rounds; ++r) {
        for (auto &s : servers) {
            s.ns.push_back(ask(s, round_trips));
            good = good && s.ns.back() >= 0;
        }
    }
    for (auto const &s : servers) {
        kill(s.pid, SIGKILL);
        waitpid(s.pid, nullptr, 0);
    }
    if (!good) {
        std::fprintf(stderr, "usage: echo ROUNDS ROUND_TRIPS PROGRAM...; or a server went wrong\n");
        return EXIT_FAILURE;
    }
    std::printf(
        "| TCP echo, 64 connections, 64 bytes: the server's processor time a round trip | ns | "
        "ours / it |\n|---|--:|--:|\n");
    for (auto const &s : servers) {
        auto const name = s.name.substr(s.name.rfind('/') + 1);
        std::printf("| %s | %.0f | %.2f |\n", name.c_str(), median(s.ns),
                    median(servers[0].ns) / median(s.ns));
    }
}

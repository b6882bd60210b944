// An HTTP/1.1 server of the files below a directory: GET and HEAD, ranges, conditional requests,
// keep-alive. A pool of threads, each with a listener of its own; a task a connection. SIGTERM ends
// it with every answer that was begun sent; SIGUSR1 prints what it has done, --stats at the end
// too, with the metrics of the executors for Prometheus.
//
//   http_server [--port N] [--threads N] [--connections N] [--idle MS] [--log FILE] [--stats]
//               DIRECTORY
//
// Requests are read by Boost.Beast's parser: http_connection.hpp.
#include "http_connection.hpp"

#include <monad/async.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <optional>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <system_error>
#include <utility>
#include <vector>

namespace ma = monad::async;
using namespace std::chrono_literals;

namespace {

[[noreturn]] void die(char const *what)
{
    std::perror(what);
    std::exit(EXIT_FAILURE);
}

// A socket of the port, which others share: the kernel spreads the connections.
ma::listener listening(std::uint16_t port)
{
    ma::socket s(AF_INET, SOCK_STREAM);
    s.set_option(SOL_SOCKET, SO_REUSEADDR, 1);
    s.set_option(SOL_SOCKET, SO_REUSEPORT, 1);
    s.bind(ma::socket_address::internet("127.0.0.1", port));
    return ma::listener::on(std::move(s), 4096);
}

// What runs on each worker, until it is cancelled.
void serve(ma::listener listener)
{
    clock_text clock;
    // Its end cancels the connections that are idle, and waits for the others.
    ma::task_group connections(MONAD_ASYNC_GROUP_INDEPENDENT);
    for (std::error_code ec; ec != std::errc::bad_file_descriptor;) { // Until it is closed.
        auto peer = listener.accept(ec);
        if (ec == std::errc::operation_canceled) {
            return;
        }
        if (ec) { // No descriptor, no memory, or the peer is gone already: it may be better soon.
            ma::this_task::sleep_for(10ms, ec);
            if (ec == std::errc::operation_canceled) {
                return;
            }
            continue;
        }
        auto taken = take_seat();
        if (taken == nullptr) {
            done.refused.fetch_add(1);
            continue; // Closed.
        }
        int const on = 1;
        (void)::setsockopt(peer.native_handle().fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto serving = [peer = std::move(peer), taken = std::move(taken), &clock]() mutable {
            connection(std::move(peer), clock).serve();
        };
        connections.spawn(std::move(serving), ec); // Without memory it is closed, and others go on.
        (ec ? done.refused : done.connections).fetch_add(1, std::memory_order_relaxed);
    }
}

void read_arguments(int argc, char **argv)
{
    option const long_options[] = {{"port", 1, nullptr, 'p'},        {"threads", 1, nullptr, 't'},
                                   {"connections", 1, nullptr, 'c'}, {"idle", 1, nullptr, 'i'},
                                   {"log", 1, nullptr, 'l'},         {"stats", 0, nullptr, 's'},
                                   {nullptr, 0, nullptr, 0}};
    for (int o; (o = ::getopt_long(argc, argv, "", long_options, nullptr)) != -1;) {
        switch (o) {
        case 'p': set.port = static_cast<std::uint16_t>(std::atoi(optarg)); break;
        case 't': set.threads = static_cast<unsigned>(std::atoi(optarg)); break;
        case 'c': set.connections = std::atoi(optarg); break;
        case 'i': set.idle = std::chrono::milliseconds(std::atoi(optarg)); break;
        case 'l': set.log = optarg; break;
        case 's': set.stats = true; break;
        default: optind = argc; break;
        }
    }
    if (optind + 1 != argc) {
        std::fprintf(stderr,
                     "usage: %s [--port N] [--threads N] [--connections N] [--idle MS] "
                     "[--log FILE] [--stats] DIRECTORY\n",
                     argv[0]);
        std::exit(2);
    }
    set.directory = ::open(argv[optind], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (set.directory < 0) {
        die(argv[optind]);
    }
}

} // namespace

int main(int argc, char **argv)
try {
    read_arguments(argc, argv);
    rlimit files = {};
    (void)::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
    ma::signals signals{SIGTERM, SIGINT, SIGUSR1}; // Before there are threads.

    ma::thread_pool_options options;
    options.workers = set.threads;
    options.executor = ma::executor_options();
    ma::thread_pool pool(options);
    //! [metrics of the workers of a pool]
    std::optional<ma::metrics> counted;
    if (set.stats) {
        counted.emplace(pool); // From now on.
    }
    //! [metrics of the workers of a pool]
    int const log =
        set.log == nullptr ? -1 : ::open(set.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (set.log != nullptr && log < 0) {
        die(set.log);
    }
    std::vector<ma::future<void>> serving;
    std::uint16_t port = set.port;
    for (std::size_t i = 0; i != pool.workers(); ++i) {
        auto listener = listening(port);
        port = listener.port();
        serving.push_back(
            pool.worker(i).submit([l = std::move(listener)]() mutable { serve(std::move(l)); }));
    }
    std::printf("port %u\n", port);
    std::fflush(stdout);

    ma::executor ex;
    ma::task logging, ending;
    logging.attach(ex, [log] {
        if (log < 0) {
            return;
        }
        ma::file file(monad_async_file_adopt(log));
        std::string lines;
        while (auto line = log_lines.recv()) {
            lines = std::move(*line);
            while (lines.size() < block_bytes && (line = log_lines.try_recv())) {
                lines += *line;
            }
            file.write_all(lines);
        }
    });
    ending.attach(ex, [&] {
        while (signals.wait() == SIGUSR1) {
            done.print();
        }
        for (auto &one : serving) {
            one.cancel();
        }
        std::error_code first;
        for (auto &one : serving) {
            std::error_code ec;
            (void)one.get(ec);
            first = first ? first : ec;
        }
        log_lines.close(); // Whatever became of them: the log waits for it.
        if (first) {
            throw std::system_error(first, "a listener ended badly");
        }
    });
    ex.run_until_idle();
    logging.get();
    ending.get();
    if (set.stats) {
        done.print();
        std::fputs(counted->text().c_str(), stderr);
    }
} catch (std::exception const &e) {
    std::fprintf(stderr, "http_server: %s\n", e.what());
    return EXIT_FAILURE;
}

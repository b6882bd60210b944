// An HTTP/1.1 server of the files below a directory: GET and HEAD, ranges, conditional requests,
// keep-alive. A pool of threads, each with a listener of its own; a task a connection. SIGTERM ends it
// with every answer that was begun sent; SIGUSR1 prints what it has done, --stats at the end too, with
// the metrics of the executors for Prometheus.
//
//   http_server [--port N] [--threads N] [--connections N] [--idle MS] [--log FILE] [--stats] DIRECTORY
//
// Requests are read by Boost.Beast's parser; everything else is below.
#include "http_answer.hpp"

#include <monad/async.hpp>
#include <monad/async/metrics.h>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <getopt.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <vector>

namespace ma = monad::async;
namespace beast = boost::beast;
using namespace std::chrono_literals;

namespace {

struct settings {
    std::uint16_t port = 8080;
    unsigned threads = 0;
    int connections = 10'000;
    std::chrono::milliseconds idle = 30s;
    char const *log = nullptr;
    bool stats = false;
    int directory = -1;
} set;

constexpr std::size_t header_bytes_max = 8192, block_bytes = 65536;

struct counts {
    std::atomic<unsigned long> connections{0}, refused{0}, bytes{0}, log_lines_dropped{0};
    std::atomic<int> open{0};
    std::array<std::atomic<unsigned long>, 6> answers{}; // By the first digit.

    void print() const
    {
        std::fprintf(stderr, "connections %lu, open %d, refused %lu; answers", connections.load(),
                     open.load(), refused.load());
        for (std::size_t digit = 2; digit != answers.size(); ++digit) {
            std::fprintf(stderr, " %zuxx %lu", digit, answers[digit].load());
        }
        std::fprintf(stderr, "; body bytes %lu; log lines dropped %lu\n", bytes.load(),
                     log_lines_dropped.load());
    }
} done;

//! [metrics of the workers of a pool]
// What each worker counts, from now on.
std::vector<monad_async_executor> start_metrics(ma::thread_pool const &pool)
{
    std::vector<monad_async_executor> executors;
    for (std::size_t i = 0; i != pool.workers(); ++i) {
        executors.push_back(pool.worker(i)
                                .submit([] {
                                    auto *const ex = ma::this_task::current()->current_executor;
                                    return monad_async_metrics_start(ex).error == 0 ? ex : nullptr;
                                })
                                .get());
    }
    return executors;
}

void print_metrics(std::vector<monad_async_executor> const &executors)
{
    std::string text(executors.size() * 16384, ' ');
    auto const r =
        monad_async_metrics_text(executors.data(), executors.size(), text.data(), text.size());
    if (r.error == 0) {
        std::fputs(text.c_str(), stderr);
    }
}
//! [metrics of the workers of a pool]

// Lines for the access log. A disk that is slower than the requests costs lines, not answers.
ma::channel<std::string> log_lines{4096};

std::string_view view(beast::string_view text)
{
    return {text.data(), text.size()};
}

[[noreturn]] void die(char const *what)
{
    std::perror(what);
    std::exit(EXIT_FAILURE);
}

// One connection: a buffer of what came and was not parsed, and one for the answer.
class connection {
public:
    connection(ma::socket peer, clock_text &clock) : peer_(std::move(peer)), clock_(clock) {}

    void serve()
    {
        try {
            while (serve_one()) {
            }
        } catch (ma::timeout_error const &) {   // Idle, or reading the answer too slowly.
        } catch (ma::cancelled_error const &) { // The server ends.
        } catch (std::system_error const &) {   // The peer is gone.
        }
    }

private:
    using parser_type = beast::http::request_parser<beast::http::empty_body>;

    // False: the connection is to be closed.
    bool serve_one()
    {
        parser_type parser;
        parser.header_limit(header_bytes_max);
        parser.body_limit(0);
        beast::error_code parsed;
        // A peer that sends its header byte by byte has as long as one that sends nothing.
        bool const came = ma::with_timeout(set.idle, [&] { return read_header(parser, parsed); });
        // What was asked is answered, also when the server ends.
        ma::shield const answering;
        if (!came) {
            return parsed && refuse(status_of(parsed));
        }
        auto const &request = parser.get();
        int const wrong = check(parser);
        if (wrong != 0) {
            return refuse(wrong, request);
        }
        return answer_with_file(request, parser.keep_alive());
    }

    // False: it ended before, or is no header.
    bool read_header(parser_type &parser, beast::error_code &ec)
    {
        bool passed = false, begins = true; // (Beast takes a first line whole.)
        while (!parser.is_header_done()) {
            // One empty line before a request is passed over (RFC 9112, 2.2).
            if (begins && !passed && in_.compare(0, 2, "\r\n") == 0) {
                in_.erase(0, 2);
                passed = true;
            }
            auto const line_end = begins ? in_.find('\n') : in_.npos;
            if (line_end != in_.npos && (line_end == 0 || in_[line_end - 1] != '\r')) {
                ec = beast::http::error::bad_line_ending; // Beast takes it for a bad version.
                return false;
            }
            if (!in_.empty() && !(begins && in_ == "\r")) {
                std::size_t const n = parser.put(boost::asio::buffer(in_), ec);
                in_.erase(0, n);
                begins = begins && n == 0;
                if (ec && ec != beast::http::error::need_more) {
                    return false;
                }
                ec = {};
                if (parser.is_header_done()) {
                    break;
                }
            }
            char block[4096];
            std::size_t const n = peer_.recv(block);
            if (n == 0) {
                return false;
            }
            in_.append(block, n);
            if (in_.size() > header_bytes_max + sizeof block) {
                ec = beast::http::error::header_limit;
                return false;
            }
        }
        return true;
    }

    static int status_of(beast::error_code const &ec)
    {
        using beast::http::error;
        if (ec == error::header_limit || ec == error::buffer_overflow) {
            return 431;
        }
        if (ec == error::body_limit) {
            return 413;
        }
        return ec == error::bad_version ? 505 : 400;
    }

    // 0, or the status of a request that is not answered with a file.
    static int check(parser_type const &parser)
    {
        auto const &request = parser.get();
        using beast::http::field, beast::http::verb;
        if (request.version() >= 20 || request.version() < 10) {
            return 505;
        }
        if (request.version() == 11 && request.count(field::host) != 1) {
            return 400;
        }
        if (parser.chunked() || parser.content_length().value_or(0) != 0) {
            return 413;
        }
        bool const known = request.method() == verb::get || request.method() == verb::head;
        return known ? 0 : 405;
    }

    bool refuse(int status) { return refuse(status, {}); }

    bool refuse(int status, beast::http::header<true> const &request)
    {
        answer a;
        a.status = status;
        a.method = view(request.method_string());
        a.target = view(request.target());
        return send(a, request.method() == beast::http::verb::head, false, nullptr);
    }

    bool answer_with_file(beast::http::header<true> const &request, bool keep_alive)
    {
        using beast::http::field;
        bool const head = request.method() == beast::http::verb::head;
        answer a;
        a.method = view(request.method_string());
        a.target = view(request.target());
        ma::file file;
        std::string path;
        if (!path_of(a.target, path)) {
            a.status = 400;
        } else {
            a.status = open(path, file, a);
        }
        if (a.status == 200) {
            auto const said = [&](field f) { return view(request[f]); };
            conditions const c{
                said(field::if_match),          said(field::if_none_match),
                said(field::if_modified_since), said(field::if_unmodified_since),
                said(field::if_range),          head ? std::string_view() : said(field::range)};
            decide(c, a);
        }
        return send(a, head, keep_alive, &file);
    }

    // The status.
    int open(std::string const &path, ma::file &file, answer &a)
    {
        ma::open_options options;
        options.directory = set.directory;
        options.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS; // Whatever the path says.
        bool const is_directory = path.empty() || path.back() == '/';
        std::string const name = is_directory ? path + "index.html" : path;
        std::error_code ec;
        file = ma::file(name, O_RDONLY | O_NONBLOCK, options, ec);
        // By a system call: of an open file the kernel has it at hand, and a ring would have one of its
        // threads fetch it.
        struct stat status = {};
        if (!ec && ::fstat(file.native_handle().fd, &status) != 0) {
            ec = std::error_code(errno, std::generic_category());
        }
        if (ec) {
            return ec.value() == EACCES || ec.value() == EPERM                            ? 403
                   : ec.value() == EMFILE || ec.value() == ENFILE || ec.value() == ENOMEM ? 503
                   : ec.value() == ENAMETOOLONG                                           ? 414
                                                                                          : 404;
        }
        if (S_ISDIR(status.st_mode)) {
            a.location = a.target.substr(0, a.target.find('?'));
            // Two slashes at its begin would name another host.
            a.location.erase(0, std::min(a.location.find_first_not_of('/'), a.location.size()));
            a.location = (a.target[0] == '/' ? "/" : "") + a.location + '/';
            return 301;
        }
        if (!S_ISREG(status.st_mode)) {
            return 403;
        }
        a.set_file(name, status);
        return 200;
    }

    // Header and body, in blocks. False: the connection is to be closed.
    bool send(answer &a, bool head, bool keep_alive, ma::file *file)
    {
        bool const has_file = a.status == 200 || a.status == 206;
        if (!has_file) {
            a.make_page();
        }
        keep_alive = keep_alive && a.status != 400 && a.status != 503;
        out_.clear();
        a.put_header(out_, clock_, keep_alive);
        auto left = head || a.status == 304 ? 0 : a.last - a.first;
        if (!has_file && left != 0) {
            out_ += a.page;
            left = 0;
        }
        std::size_t const of_header = out_.size();
        std::size_t sent = 0;
        bool whole = true;
        auto at = a.first;
        do {
            std::size_t const begin = out_.size();
            std::size_t const most = block_bytes - std::min(begin, block_bytes / 2);
            std::size_t const room = std::min<std::uint64_t>(left, most);
            out_.resize(begin + room);
            if (room != 0) {
                std::size_t const n =
                    file->read_all(ma::bytes(out_.data() + begin, room), std::int64_t(at));
                whole = n == room; // Else it was cut since.
                out_.resize(begin + n);
                at += n;
                left -= n;
            }
            ma::with_timeout(set.idle, [&] { peer_.send_all(out_); });
            sent += out_.size();
            out_.clear();
        } while (left != 0 && whole);
        done.answers[std::size_t(a.status) / 100].fetch_add(1, std::memory_order_relaxed);
        done.bytes.fetch_add(sent - of_header, std::memory_order_relaxed);
        if (set.log != nullptr && !log_lines.try_send(a.log_line(clock_.now(), sent - of_header))) {
            done.log_lines_dropped.fetch_add(1, std::memory_order_relaxed);
        }
        if (!keep_alive) {
            linger();
        }
        return keep_alive && whole;
    }

    // So that what the peer still sends does not make its kernel throw our answer away.
    void linger()
    {
        std::error_code ec;
        peer_.shutdown(SHUT_WR, ec);
        try {
            ma::with_timeout(std::min<std::chrono::milliseconds>(set.idle, 1s), [&] {
                char block[4096];
                for (int i = 0; i != 64 && peer_.recv(block, ec) != 0; ++i) {
                }
            });
        } catch (ma::timeout_error const &) {
        }
    }

    ma::socket peer_;
    clock_text &clock_;
    std::string in_, out_;
};

// A socket of the port, which others share: the kernel spreads the connections.
int listening(std::uint16_t &port)
{
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int const on = 1;
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    socklen_t size = sizeof address;
    if (fd < 0 || ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        ::bind(fd, reinterpret_cast<sockaddr *>(&address), size) != 0 || ::listen(fd, 4096) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size) != 0) {
        die("listen");
    }
    port = ntohs(address.sin_port);
    return fd;
}

// What runs on each worker, until it is cancelled.
void serve(int fd)
{
    clock_text clock;
    ma::listener listener(monad_async_socket_adopt(fd));
    // Its end cancels the connections that are idle, and waits for the others.
    ma::task_group connections(MONAD_ASYNC_GROUP_INDEPENDENT);
    for (std::error_code ec; ec != std::errc::bad_file_descriptor;) { // Until it is closed.
        auto peer = listener.accept(ec);
        if (ec == std::errc::operation_canceled) {
            return;
        }
        if (ec) { // No descriptor, no memory, or the peer is gone already: it may be better soon.
            ma::this_task::sleep_for(10ms);
            continue;
        }
        if (done.open.fetch_add(1) >= set.connections) {
            done.open.fetch_sub(1);
            done.refused.fetch_add(1);
            continue; // Closed.
        }
        int const on = 1;
        (void)::setsockopt(peer.native_handle().fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        try {
            connections.spawn([peer = std::move(peer), &clock]() mutable {
                struct leave {
                    ~leave() { done.open.fetch_sub(1); }
                } const l;
                connection(std::move(peer), clock).serve();
            });
            done.connections.fetch_add(1, std::memory_order_relaxed);
        } catch (std::exception const &) { // No memory: it is closed, and others go on.
            done.open.fetch_sub(1);
            done.refused.fetch_add(1);
        }
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
    auto const executors = set.stats ? start_metrics(pool) : std::vector<monad_async_executor>();
    std::vector<ma::future<void>> serving;
    std::uint16_t port = set.port;
    for (std::size_t i = 0; i != pool.workers(); ++i) {
        int const fd = listening(port);
        serving.push_back(pool.worker(i).submit([fd] { serve(fd); }));
    }
    std::printf("port %u\n", port);
    std::fflush(stdout);

    ma::executor ex;
    ma::task logging, ending;
    logging.attach(ex, [] {
        if (set.log == nullptr) {
            return;
        }
        ma::file file(set.log, O_WRONLY | O_CREAT | O_APPEND);
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
        for (auto &one : serving) {
            one.get();
        }
        log_lines.close();
    });
    ex.run_until_idle();
    logging.get();
    ending.get();
    if (set.stats) {
        done.print();
        print_metrics(executors);
    }
} catch (std::exception const &e) {
    std::fprintf(stderr, "http_server: %s\n", e.what());
    return EXIT_FAILURE;
}

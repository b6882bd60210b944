// One connection of http_server: requests are read by Boost.Beast's parser, and answered with
// files.
#ifndef HTTP_CONNECTION_HPP
#define HTTP_CONNECTION_HPP

#include "http_answer.hpp"

#include <monad/async.hpp>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <linux/openat2.h>
#include <memory>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <system_error>
#include <utility>

namespace ma = monad::async;
namespace beast = boost::beast;
using namespace std::chrono_literals;

struct settings {
    std::uint16_t port = 8080;
    unsigned threads = 0;
    int connections = 10'000;
    std::chrono::milliseconds idle = 30s;
    char const *log = nullptr;
    bool stats = false;
    int directory = -1;
};
inline settings set;

inline constexpr std::size_t header_bytes_max = 8192, block_bytes = 65536;

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
};
inline counts done;

// One of the connections that may be open, until it ends: also of a task that never begins.
struct leaves_seat {
    void operator()(counts *of) const { of->open.fetch_sub(1); }
};
using seat = std::unique_ptr<counts, leaves_seat>;

// Null: there are too many.
inline seat take_seat()
{
    bool const is_free = done.open.fetch_add(1) < set.connections;
    seat taken(&done);
    return is_free ? std::move(taken) : nullptr;
}

// Lines for the access log. A disk that is slower than the requests costs lines, not answers.
inline ma::channel<std::string> log_lines{4096};

inline std::string_view view(beast::string_view text)
{
    return {text.data(), text.size()};
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
        } catch (ma::timeout_error const &) {   // Reading the answer too slowly.
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
        bool came = false, late = false;
        try { // A peer that sends its header byte by byte has as long as one that sends nothing.
            came = ma::with_timeout(set.idle, [&] { return read_header(parser, parsed); });
        } catch (ma::timeout_error const &) {
            if (in_.buffered().empty() && !parser.got_some()) { // It has asked nothing.
                return false;
            }
            late = true;
        }
        // What was asked is answered, also when the server ends.
        ma::shield const answering;
        if (late) {
            return refuse(408);
        }
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
            if (begins && !passed && in_.buffered().substr(0, 2) == "\r\n") {
                in_.consume(2);
                passed = true;
            }
            auto const came = in_.buffered();
            auto const line_end = begins ? came.find('\n') : came.npos;
            if (line_end != came.npos && (line_end == 0 || came[line_end - 1] != '\r')) {
                ec = beast::http::error::bad_line_ending; // Beast takes it for a bad version.
                return false;
            }
            if (!came.empty() && !(begins && came == "\r")) {
                auto const n = parser.put(boost::asio::buffer(came.data(), came.size()), ec);
                if (ec == beast::http::error::bad_version && !is_version(came)) {
                    ec = beast::http::error::bad_target; // As whatever else is no first line.
                }
                in_.consume(n);
                begins = begins && n == 0;
                if (ec && ec != beast::http::error::need_more) {
                    return false;
                }
                ec = {};
                if (parser.is_header_done()) {
                    break;
                }
            }
            if (in_.buffered().size() == in_.room()) {
                ec = beast::http::error::header_limit;
                return false;
            }
            if (!in_.fill()) {
                return false;
            }
        }
        return true;
    }

    // Whether the first line ends as one of HTTP does, of whatever version.
    static bool is_version(std::string_view text)
    {
        auto const line = text.substr(0, text.find("\r\n"));
        auto const is_digit = [](char c) { return c >= '0' && c <= '9'; };
        auto const is = line.substr(line.size() - std::min<std::size_t>(line.size(), 9));
        return is.size() == 9 && is.substr(0, 6) == " HTTP/" && is_digit(is[6]) && is[7] == '.' &&
               is_digit(is[8]);
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
        // RFC 9112, 3.2: nor where it is no host.
        if (view(request[field::host]).find_first_of(" \t\"#/<>?@\\^`{|}") !=
            std::string_view::npos) {
            return 400;
        }
        // Who says how the body is coded, and not where it ends, would have it read as a request.
        if (request.count(field::transfer_encoding) != 0 && !parser.chunked()) {
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
            conditions const c{values(request, field::if_match),
                               values(request, field::if_none_match),
                               values(request, field::if_modified_since),
                               values(request, field::if_unmodified_since),
                               values(request, field::if_range),
                               head ? std::string() : values(request, field::range)};
            decide(c, a);
        }
        return send(a, head, keep_alive, &file);
    }

    // What came in several lines is one list (RFC 9110, 5.3): where there may be but one value, it
    // is none.
    static std::string values(beast::http::header<true> const &request, beast::http::field name)
    {
        std::string list;
        auto const [first, last] = request.equal_range(name);
        for (auto it = first; it != last; ++it) {
            list += it == first ? "" : ", ";
            list += view(it->value());
        }
        return list;
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
        // By a system call: of an open file the kernel has it at hand, and a ring would have one of
        // its threads fetch it.
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
    ma::reader in_{peer_, header_bytes_max + 4096};
    std::string out_;
};

#endif

// What an HTTP/1.1 server of files says: paths, dates, conditions, ranges, headers. No I/O.
#ifndef HTTP_ANSWER_HPP
#define HTTP_ANSWER_HPP

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include <sys/stat.h>

// The time of an answer, made anew each second. Of one thread.
class clock_text {
public:
    std::string const &now()
    {
        std::time_t const t = std::time(nullptr);
        if (t != at_) {
            at_ = t;
            text_ = date(t);
        }
        return text_;
    }

    // Of a file: most often the one of before.
    std::string const &of(std::time_t t)
    {
        if (t != file_at_) {
            file_at_ = t;
            file_text_ = date(t);
        }
        return file_text_;
    }

    // RFC 9110, 5.6.7.
    static std::string date(std::time_t t)
    {
        std::tm parts = {};
        ::gmtime_r(&t, &parts);
        char text[64];
        return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
    }

    // Of no date nothing is known. Two forms are written no more, but read.
    static std::optional<std::time_t> parse(std::string_view text)
    {
        if (text.empty()) {
            return std::nullopt;
        }
        std::string const copy(text);
        for (char const *form :
             {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
            std::tm parts = {};
            char const *const end = ::strptime(copy.c_str(), form, &parts);
            if (end != nullptr && *end == 0) {
                return ::timegm(&parts);
            }
        }
        return std::nullopt;
    }

private:
    std::time_t at_ = -1, file_at_ = -1;
    std::string text_, file_text_ = date(-1);
};

// The path below the directory that a request's target names. False: it is no path.
inline bool path_of(std::string_view target, std::string &path)
{
    for (std::string_view const scheme : {"http://", "https://"}) {
        if (target.substr(0, scheme.size()) == scheme) {                // RFC 9112, 3.2.2.
            auto const end = target.find_first_of("/?", scheme.size()); // Of the host.
            target = end == target.npos || target[end] == '?' ? "/" : target.substr(end);
        }
    }
    target = target.substr(0, target.find('?'));
    if (target.empty() || target[0] != '/') {
        return false;
    }
    for (std::size_t i = 0; i != target.size(); ++i) {
        char c = target[i];
        if (c == '#') { // What is behind it is the client's own.
            return false;
        }
        if (c == '%') {
            unsigned char byte = 0;
            auto const *const digits = target.data() + i + 1;
            if (target.size() - i < 3 ||
                std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) {
                return false;
            }
            c = static_cast<char>(byte);
            i += 2;
        }
        if (c == 0) {
            return false;
        }
        path += c;
    }
    path.erase(0, path.find_first_not_of('/'));
    return true;
}

struct conditions {
    std::string if_match, if_none_match, if_modified_since, if_unmodified_since, if_range, range;
};

struct answer {
    int status = 0;
    std::string method, target, location;
    // Of the file.
    std::string etag;
    char const *type = "text/html";
    std::time_t modified = 0;
    std::uint64_t size = 0;
    // What of it, or of the page, is sent.
    std::uint64_t first = 0, last = 0;
    std::string page;

    void set_file(std::string_view name, struct stat const &s)
    {
        size = last = static_cast<std::uint64_t>(s.st_size);
        modified = s.st_mtim.tv_sec;
        char tag[64];
        std::snprintf(tag, sizeof tag, "\"%llx-%llx-%lx\"", static_cast<unsigned long long>(size),
                      static_cast<unsigned long long>(modified),
                      static_cast<unsigned long>(s.st_mtim.tv_nsec));
        etag = tag;
        static constexpr std::pair<std::string_view, char const *> types[] = {
            {".html", "text/html"},        {".css", "text/css"},       {".js", "text/javascript"},
            {".json", "application/json"}, {".txt", "text/plain"},     {".svg", "image/svg+xml"},
            {".png", "image/png"},         {".jpg", "image/jpeg"},     {".gif", "image/gif"},
            {".wasm", "application/wasm"}, {".pdf", "application/pdf"}};
        type = "application/octet-stream";
        for (auto const &[ending, is] : types) {
            if (name.size() >= ending.size() &&
                name.substr(name.size() - ending.size()) == ending) {
                type = is;
            }
        }
    }

    [[nodiscard]] bool has_file() const { return status == 200 || status == 206 || status == 304; }

    void make_page()
    {
        if (status == 304) {
            return;
        }
        page = std::to_string(status) + " " + reason() + "\n";
        type = "text/plain";
        first = 0;
        last = page.size();
    }

    [[nodiscard]] char const *reason() const
    {
        switch (status) {
        case 200: return "OK";
        case 206: return "Partial Content";
        case 301: return "Moved Permanently";
        case 304: return "Not Modified";
        case 400: return "Bad Request";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 416: return "Range Not Satisfiable";
        case 431: return "Request Header Fields Too Large";
        case 503: return "Service Unavailable";
        case 505: return "HTTP Version Not Supported";
        default: return "Error";
        }
    }

    // Behind what `to` has. No string is made for it.
    void put_header(std::string &to, clock_text &clock, bool keep_alive) const
    {
        auto const put = [&to](auto const &...parts) { (put_part(to, parts), ...); };
        put("HTTP/1.1 ", status, " ", reason(), "\r\nDate: ", clock.now(),
            "\r\nServer: monad_async-example\r\n");
        if (has_file()) {
            put("ETag: ", etag, "\r\nLast-Modified: ", clock.of(modified),
                "\r\nAccept-Ranges: bytes\r\n");
        }
        if (status != 304) {
            put("Content-Type: ", type, "\r\nContent-Length: ", last - first, "\r\n");
        }
        if (status == 206) {
            put("Content-Range: bytes ", first, "-", last - 1, "/", size, "\r\n");
        } else if (status == 416) {
            put("Content-Range: bytes */", size, "\r\n");
        } else if (status == 405) {
            put("Allow: GET, HEAD\r\n");
        } else if (status == 301) {
            put("Location: ", location, "\r\n");
        }
        put(keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
    }

    static void put_part(std::string &to, std::string_view text) { to += text; }
    template <class Number, class = std::enable_if_t<std::is_integral_v<Number>>>
    static void put_part(std::string &to, Number n)
    {
        char digits[24];
        to.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
    }

    // Nothing that came is written as it is: no line of the log is another's.
    [[nodiscard]] std::string log_line(std::string const &now, std::uint64_t bytes) const
    {
        std::string line = "[" + now + "] \"" + method + " ";
        for (unsigned char const c : target) {
            char escaped[8];
            if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
                std::snprintf(escaped, sizeof escaped, "\\x%02x", c);
                line += escaped;
            } else {
                line += static_cast<char>(c);
            }
        }
        return line + "\" " + std::to_string(status) + " " + std::to_string(bytes) + "\n";
    }
};

// Whether a list of entity tags has this one. RFC 9110, 8.8.3.2: `weak` compares without the W/.
inline bool has_tag(std::string_view list, std::string_view tag, bool weak)
{
    while (!list.empty()) {
        auto const from = list.find_first_not_of(" \t,");
        if (from == list.npos) {
            return false;
        }
        list.remove_prefix(from);
        if (list[0] == '*') {
            return true;
        }
        bool const is_weak = list.substr(0, 2) == "W/";
        list.remove_prefix(is_weak ? 2 : 0);
        auto const end = list.empty() || list[0] != '"' ? list.npos : list.find('"', 1);
        if (end == list.npos) {
            return false;
        }
        if (list.substr(0, end + 1) == tag && (weak || !is_weak)) {
            return true;
        }
        list.remove_prefix(end + 1);
    }
    return false;
}

// RFC 9110, 14.2: one range; several, or what is no range, count as none asked for.
inline void cut(std::string_view range, answer &a)
{
    constexpr std::string_view unit = "bytes=";
    if (range.substr(0, unit.size()) != unit) {
        return;
    }
    range.remove_prefix(unit.size());
    auto const dash = range.find('-');
    auto const number = [](std::string_view text) -> std::optional<std::uint64_t> {
        std::uint64_t n = 0;
        auto const r = std::from_chars(text.data(), text.data() + text.size(), n);
        if (text.empty() || r.ptr != text.data() + text.size()) {
            return std::nullopt;
        }
        return r.ec == std::errc() ? n : UINT64_MAX;
    };
    if (dash == range.npos) {
        return;
    }
    auto const from = range.substr(0, dash), to = range.substr(dash + 1);
    auto const first = number(from), last = number(to);
    if ((!from.empty() && !first) || (!to.empty() && !last) || (from.empty() && to.empty()) ||
        (first && last && *first > *last)) {
        return;
    }
    if (!first) { // The last so many.
        a.first = a.size - std::min(*last, a.size);
    } else {
        a.first = *first;
        a.last = last && *last < a.size ? *last + 1 : a.size;
    }
    a.status = a.first >= a.size ? 416 : 206;
}

// What becomes of a file that is there. RFC 9110, 13.2.2: in this order.
inline void decide(conditions const &c, answer &a)
{
    if (!c.if_match.empty()) {
        if (!has_tag(c.if_match, a.etag, false)) {
            a.status = 412;
            return;
        }
    } else if (auto const since = clock_text::parse(c.if_unmodified_since);
               since && a.modified > *since) {
        a.status = 412;
        return;
    }
    if (!c.if_none_match.empty()) {
        if (has_tag(c.if_none_match, a.etag, true)) {
            a.status = 304;
            return;
        }
    } else if (auto const since = clock_text::parse(c.if_modified_since);
               since && a.modified <= *since) {
        a.status = 304;
        return;
    }
    bool const same = c.if_range.empty() || c.if_range == a.etag ||
                      clock_text::parse(c.if_range) == std::optional(a.modified);
    if (!c.range.empty() && same) {
        cut(c.range, a);
    }
}

#endif

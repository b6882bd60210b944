// Lines, frames and delimiters out of a stream by way of a bounded buffer.

#include "ends.hpp"
#include "layers.hpp"

#include <monad/async/file.hpp>
#include <monad/async/reader.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/writer.hpp>

#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using namespace std::string_view_literals;

using line = std::optional<std::string_view>;

struct signed_read {
    int read(ma::bytes, std::error_code &);
};
struct nothing {};
static_assert(ma::is_readable_stream_v<ma::socket> && ma::is_writable_stream_v<ma::socket>);
static_assert(ma::is_readable_stream_v<ma::file> && ma::is_writable_stream_v<ma::file>);
static_assert(ma::is_readable_stream_v<pieces> && ma::is_writable_stream_v<pieces>);
static_assert(ma::is_readable_stream_v<ma::reader> && !ma::is_writable_stream_v<ma::reader>);
static_assert(ma::is_readable_stream_v<ma::writer> && !ma::is_writable_stream_v<ma::writer>);
static_assert(!ma::is_readable_stream_v<signed_read> && !ma::is_readable_stream_v<nothing>);
static_assert(!std::is_copy_constructible_v<ma::reader> &&
              !std::is_move_constructible_v<ma::reader>);
#if defined(__cpp_concepts) && __cpp_concepts >= 201907L
static_assert(ma::byte_stream<ma::socket> && ma::byte_stream<pieces> && ma::byte_stream<turned>);
static_assert(!ma::writable_stream<ma::reader> && !ma::readable_stream<nothing>);
#endif

TEST(Reader, lines_however_they_come)
{
    for (std::size_t const size : {1U, 2U, 3U, 5U, 100U}) {
        std::string const text = "one\ntwo\r\n\n\r\nwith\rin\nlast\n";
        pieces s;
        for (std::size_t at = 0; at < text.size(); at += size) {
            s.to_come.push_back(text.substr(at, size));
        }
        ma::reader in(s, 16);
        std::vector<std::string> lines;
        while (auto const l = in.read_line()) {
            lines.emplace_back(*l);
        }
        std::vector<std::string> const all = {"one", "two", "", "", "with\rin", "last"};
        EXPECT_EQ(lines, all) << size;
    }
}

TEST(Reader, what_is_behind_a_delimiter_is_the_next_calls)
{
    pieces s;
    s.to_come = {"head: 1\r\nhead: 2\r\n\r\nbo", "dyGET"};
    ma::reader in(s);
    EXPECT_EQ(in.read_until("\r\n\r\n"), line("head: 1\r\nhead: 2\r\n\r\n"));
    EXPECT_EQ(in.buffered(), "bo");
    EXPECT_EQ(in.read_exactly(4), line("body"));
    EXPECT_EQ(in.buffered(), "GET");
    EXPECT_EQ(in.peek(2), "GET");
    in.consume(1);
    char rest[8];
    EXPECT_EQ(in.read(rest), 2u);
    EXPECT_EQ(std::string_view(rest, 2), "ET");
    EXPECT_EQ(in.read(rest), 0u);
    EXPECT_EQ(s.reads, 3) << "it reads no more than it must";
}

// A delimiter of several bytes, in two pieces, with a false start.
TEST(Reader, a_delimiter_may_come_in_pieces)
{
    pieces s;
    s.to_come = {"aab", "a", "a", "abb", "x"};
    ma::reader in(s);
    EXPECT_EQ(in.read_until("aaab"), line("aabaaab"));
    EXPECT_EQ(in.buffered(), "b");
}

TEST(Reader, a_limit_takes_nothing_and_is_told_at_once)
{
    pieces s;
    s.to_come = {"abcd", "e\nfg\n", "0123456789abcdef", "\n"};
    ma::reader in(s, 10);
    std::error_code ec;
    EXPECT_EQ(in.read_line(4, ec), std::nullopt);
    EXPECT_EQ(ec.value(), EMSGSIZE);
    EXPECT_EQ(s.reads, 1) << "so many have come: it does not wait for more";
    EXPECT_EQ(in.buffered(), "abcd");
    EXPECT_EQ(in.read_line(5, ec), std::nullopt);
    EXPECT_EQ(ec.value(), EMSGSIZE) << "with its end it has six";
    EXPECT_EQ(in.read_line(6, ec), line("abcde"));
    EXPECT_FALSE(ec);
    EXPECT_EQ(in.read_line(), line("fg"));
    EXPECT_EQ(errno_thrown_by([&] { (void)in.read_line(); }), EMSGSIZE) << "the room is full";
    EXPECT_EQ(in.buffered(), "0123456789");
    EXPECT_EQ(errno_thrown_by([&] { (void)in.fill(); }), EMSGSIZE);
    EXPECT_EQ(errno_thrown_by([&] { (void)in.read_exactly(11); }), EMSGSIZE);
    EXPECT_EQ(errno_thrown_by([&] { (void)in.peek(11); }), EMSGSIZE);
    EXPECT_EQ(errno_thrown_by([&] { (void)in.read_until(""); }), EINVAL);
    in.consume(100);
    EXPECT_EQ(in.read_line(), line("abcdef")) << "and goes on where one wants it";
}

TEST(Reader, an_end_is_no_error_and_one_in_the_middle_is)
{
    pieces s;
    std::error_code ec(EIO, std::system_category());
    ma::reader in(s, 16);
    EXPECT_EQ(in.read_line(ec), std::nullopt);
    EXPECT_FALSE(ec);
    EXPECT_EQ(in.read_exactly(3, ec), std::nullopt);
    EXPECT_FALSE(ec);
    EXPECT_EQ(in.read_exactly(std::size_t{0}, ec), line(""));
    EXPECT_EQ(in.peek(ec), "");
    EXPECT_FALSE(ec);
    EXPECT_FALSE(in.fill());
    s.to_come = {"cut", " short"};
    EXPECT_EQ(in.read_line(ec), std::nullopt);
    EXPECT_EQ(ec.value(), ENODATA);
    EXPECT_EQ(in.buffered(), "cut short");
    EXPECT_THROW((void)in.read_until("x"), ma::end_of_stream);
    EXPECT_THROW((void)in.read_exactly(10), ma::end_of_stream);
    EXPECT_EQ(in.peek(10), "cut short");
    EXPECT_EQ(in.read_exactly(9), line("cut short"));
    char much[8];
    EXPECT_THROW(in.read_exactly(much), ma::end_of_stream) << "nothing is too little for that";
}

TEST(Reader, memory_of_any_size_is_filled)
{
    pieces s;
    std::string const text(1000, 'y');
    s.to_come = {"xx" + text.substr(0, 300), text.substr(300), "end"};
    ma::reader in(s, 16);
    EXPECT_EQ(in.read_exactly(2), line("xx"));
    std::string got(1000, 0);
    in.read_exactly(got);
    EXPECT_EQ(got, text);
    std::error_code ec;
    EXPECT_EQ(in.read_exactly(got, ec), 3u);
    EXPECT_EQ(ec.value(), ENODATA);
    EXPECT_EQ(got.substr(0, 3), "end");
}

TEST(Reader, a_call_that_is_interrupted_loses_nothing)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        ma::reader in(e.a);
        std::error_code ec;
        e.b.send_all("hal"sv);
        {
            ma::scope const soon(1ms);
            EXPECT_EQ(in.read_line(ec), std::nullopt);
            EXPECT_EQ(ec.value(), ETIME);
        }
        EXPECT_EQ(in.buffered(), "hal");
        e.b.send_all("f\nmore"sv);
        EXPECT_EQ(in.read_line(), line("half"));
        ma::scope over;
        over.cancel();
        EXPECT_EQ(in.read_exactly(4), line("more")) << "it has come: no call suspends";
        EXPECT_THROW((void)in.read_exactly(1), ma::cancelled_error);
    });
}

TEST(Reader, errors_of_a_stream_are_told_as_they_are)
{
    pieces s;
    ma::reader in(s);
    s.next = {1, layer_category::instance()};
    std::error_code ec;
    EXPECT_EQ(in.read_line(ec), std::nullopt);
    EXPECT_EQ(ec, std::error_code(1, layer_category::instance()));
    s.next = ec;
    try {
        (void)in.read_line();
        ADD_FAILURE() << "it throws";
    } catch (std::system_error const &e) {
        EXPECT_EQ(e.code(), ec);
        EXPECT_NE(std::string(e.what()).find("bad certificate"), std::string::npos) << e.what();
    }
    s.next = std::make_error_code(std::errc::operation_canceled);
    EXPECT_THROW((void)in.fill(), ma::cancelled_error) << "of the generic category, too";
    char byte;
    s.next = ec;
    EXPECT_EQ(in.read_exactly({&byte, 1}, ec), 0u);
    EXPECT_EQ(ec, std::error_code(1, layer_category::instance()));
    s.to_come = {"y"};
    in.read_exactly({&byte, 1});
    EXPECT_EQ(byte, 'y');
}

// A stream's own bug ends no process, and writes nowhere else.
struct misbehaves {
    int how = 0;
    std::size_t recv(ma::bytes to, std::error_code &)
    {
        switch (how) {
        case 0: throw std::system_error(EPROTO, std::generic_category());
        case 1: throw std::bad_alloc();
        case 2: throw 5;
        case 3: throw std::system_error(std::error_code());
        default: return to.size() + 1000;
        }
    }
};

TEST(Reader, what_a_stream_throws_is_an_error_code)
{
    misbehaves s;
    ma::reader in(s, 8);
    for (int const error : {EPROTO, ENOMEM, ENOTRECOVERABLE, ENOTRECOVERABLE}) {
        std::error_code ec;
        EXPECT_FALSE(in.fill(ec));
        EXPECT_EQ(ec.value(), error);
        ++s.how;
    }
    EXPECT_TRUE(in.fill());
    EXPECT_EQ(in.buffered().size(), 8u);
}

// What came, and why no more does, by one call.
struct tells_both {
    int calls = 0;
    std::size_t read(ma::bytes to, std::error_code &ec) noexcept
    {
        if (++calls == 1) {
            std::copy_n("abc", 3, to.data());
            ec = {ECANCELED, std::generic_category()};
            return 3;
        }
        return 0;
    }
};

TEST(Reader, bytes_that_come_with_an_error_are_not_lost)
{
    for (std::size_t const room : {16U, 4U}) { // By way of the buffer, and past it.
        tells_both s;
        ma::reader in(s, room);
        std::string got;
        for (int calls = 0; calls != 3; ++calls) {
            char some[8];
            try {
                got.append(some, in.read(some));
            } catch (ma::cancelled_error const &) {
            }
        }
        EXPECT_EQ(got, "abc") << room;
    }
    tells_both s;
    ma::reader in(s);
    std::error_code ec;
    EXPECT_EQ(in.read_line(ec), std::nullopt);
    EXPECT_EQ(ec, ma::cancelled);
    EXPECT_EQ(in.buffered(), "abc");
}

TEST(Reader, over_a_layer_a_pipe_and_a_reader)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        turned here(e.a), there(e.b);
        ma::writer out(there);
        ma::reader in(here), again(in, 4);
        out.write("secret\n"sv);
        out.flush();
        char seen[8];
        EXPECT_EQ(::recv(e.a.native_handle().fd, seen, sizeof seen, MSG_PEEK), 7);
        EXPECT_EQ(seen[0], char(~'s')) << "what the layer is for";
        EXPECT_EQ(again.read_exactly(2), line("se"));
        EXPECT_EQ(again.buffered(), "cr");
        EXPECT_EQ(in.buffered(), "et\n");
        int fds[2];
        ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
        ma::file from(monad_async_file_adopt(fds[0])), to(monad_async_file_adopt(fds[1]));
        to.write_all("a\nb\nc"sv);
        to.close();
        ma::reader lines(from);
        EXPECT_EQ(lines.read_line(), line("a"));
        EXPECT_EQ(lines.read_line(), line("b"));
        EXPECT_THROW((void)lines.read_line(), ma::end_of_stream);
        EXPECT_EQ(lines.buffered(), "c") << "the last line of a file without a newline";
    });
}

TEST(Reader, outside_tasks_is_the_streams_error)
{
    ends e;
    ma::reader in(e.a);
    EXPECT_EQ(errno_thrown_by([&] { (void)in.read_line(); }), EPERM);
}

// Against a model that has all bytes: no call loses, repeats or invents one, whatever the pieces.
TEST(Reader, is_as_a_string_that_is_cut)
{
    for (unsigned seed = 0; seed != 300; ++seed) {
        std::mt19937 random(seed);
        auto const below = [&](std::size_t n) { return random() % n; };
        std::string text;
        pieces s;
        for (std::size_t i = below(60); i != 0; --i) {
            std::string piece(1 + below(9), 0);
            for (auto &c : piece) {
                c = "ab\r\n"[below(4)];
            }
            text += piece;
            s.to_come.push_back(piece);
        }
        std::size_t const room = 1 + below(24);
        ma::reader in(s, room);
        for (std::size_t at = 0, calls = 0; calls != 300; ++calls) {
            std::string_view const rest = std::string_view(text).substr(at);
            EXPECT_EQ(in.buffered(), rest.substr(0, in.buffered().size())) << "seed " << seed;
            std::error_code ec;
            std::size_t const n = below(12);
            switch (below(6)) {
            case 0: {
                auto const most = std::min(room, n);
                auto const end = rest.substr(0, most).find('\n');
                auto const l = in.read_line(n, ec);
                if (end != rest.npos) {
                    auto want = rest.substr(0, end);
                    want.remove_suffix(!want.empty() && want.back() == '\r' ? 1 : 0);
                    EXPECT_EQ(l, line(want)) << "seed " << seed;
                    at += end + 1;
                } else {
                    EXPECT_EQ(l, std::nullopt);
                    EXPECT_EQ(ec.value(), rest.size() >= most ? EMSGSIZE
                                          : rest.empty()      ? 0
                                                              : ENODATA)
                        << "seed " << seed;
                }
                break;
            }
            case 1: {
                auto const end = rest.substr(0, room).find("\r\n");
                auto const l = in.read_until("\r\n", ec);
                EXPECT_EQ(l, end == rest.npos ? line() : line(rest.substr(0, end + 2)))
                    << "seed " << seed;
                EXPECT_EQ(ec.value(), end != rest.npos      ? 0
                                      : rest.size() >= room ? EMSGSIZE
                                      : rest.empty()        ? 0
                                                            : ENODATA)
                    << "seed " << seed;
                at += end == rest.npos ? 0 : end + 2;
                break;
            }
            case 2: {
                auto const got = in.read_exactly(n, ec);
                bool const is_there = n <= room && n <= rest.size();
                EXPECT_EQ(got, is_there ? line(rest.substr(0, n)) : line()) << "seed " << seed;
                EXPECT_EQ(ec.value(), is_there       ? 0
                                      : n > room     ? EMSGSIZE
                                      : rest.empty() ? 0
                                                     : ENODATA);
                at += is_there ? n : 0;
                break;
            }
            case 3: {
                std::string got(n, 0);
                got.resize(in.read(got, ec));
                EXPECT_EQ(got, rest.substr(0, got.size())) << "seed " << seed;
                EXPECT_EQ(got.empty(), n == 0 || rest.empty());
                EXPECT_EQ(ec.value(), 0);
                at += got.size();
                break;
            }
            case 4: {
                auto const there = in.peek(n, ec);
                EXPECT_EQ(there, rest.substr(0, there.size())) << "seed " << seed;
                EXPECT_EQ(ec.value(), n > room ? EMSGSIZE : 0);
                EXPECT_TRUE(ec || there.size() >= std::min(n, rest.size()));
                auto const taken = std::min(there.size(), below(4));
                in.consume(taken);
                at += taken;
                break;
            }
            default: {
                std::string got(n, 0);
                got.resize(in.read_exactly(got, ec));
                EXPECT_EQ(got, rest.substr(0, n)) << "seed " << seed;
                EXPECT_EQ(ec.value(), n <= rest.size() ? 0 : ENODATA);
                at += got.size();
            }
            }
        }
    }
}

TEST(WriterOfAStream, gathers_and_sends_what_the_stream_takes)
{
    pieces s;
    s.at_once = 4;
    ma::writer out(s, 8);
    out.write("abc"sv);
    out.write("def"sv);
    EXPECT_TRUE(s.written.empty());
    out.write("ghijklmnopqr"sv);
    std::vector<std::string> const sent = {"abcd", "ef", "ghij"};
    EXPECT_EQ(s.written, sent) << "what fits then is gathered";
    EXPECT_EQ(out.gathered(), 8u);
    EXPECT_EQ(out.taken(), 12u);
    s.next = {ETIME, std::generic_category()};
    EXPECT_THROW(out.flush(), ma::timeout_error);
    EXPECT_EQ(out.gathered(), 8u) << "an interruption keeps it";
    s.next = {1, layer_category::instance()};
    std::error_code ec;
    out.flush(ec);
    EXPECT_EQ(ec.value(), 1);
    EXPECT_EQ(out.gathered(), 0u) << "another error drops it";
    s.at_once = 0;
    out.write("x"sv);
    EXPECT_EQ(errno_thrown_by([&] { out.flush(); }), EIO) << "it takes nothing: not for ever";
}

// Several parts at once where the stream can.
struct vectored : pieces {
    std::size_t writev(iovec const *parts, int count, std::error_code &ec)
    {
        std::string all;
        for (int i = 0; i != count; ++i) {
            EXPECT_NE(parts[i].iov_len, 0u);
            all.append(static_cast<char const *>(parts[i].iov_base), parts[i].iov_len);
        }
        return pieces::write(all, ec);
    }
};

TEST(WriterOfAStream, writes_several_parts_where_it_can)
{
    vectored s;
    ma::writer out(s, 4);
    out.write("abc"sv);
    out.write("defghi"sv);
    std::vector<std::string> const sent = {"abcdefghi"};
    EXPECT_EQ(s.written, sent);
    char data[4];
    s.to_come = {"q"};
    out.write("z"sv);
    EXPECT_EQ(out.recv(data), 1u);
    EXPECT_EQ(s.written.back(), "z") << "nobody knows whether it would wait: sent before";
}

// As one piece, whatever the stream takes of them at a time.
TEST(SeveralParts, are_written_as_if_they_were_one)
{
    std::string all;
    std::vector<std::string> texts;
    for (int i = 0; i != 100; ++i) {
        texts.push_back(std::string(static_cast<std::size_t>(i * 7 % 5), char('a' + i % 26)));
        all += texts.back();
    }
    std::vector<ma::const_bytes> const parts(texts.begin(), texts.end());
    for (std::size_t const at_once : {1U, 2U, 3U, 7U, 1000U}) {
        vectored s;
        pieces plain;
        s.at_once = plain.at_once = at_once;
        ma::write_all(s, parts.data(), parts.size());
        ma::write_all(plain, parts.data(), parts.size());
        std::string got, got_plain;
        for (auto const &w : s.written) {
            got += w;
        }
        for (auto const &w : plain.written) {
            got_plain += w;
        }
        EXPECT_EQ(got, all) << at_once;
        EXPECT_EQ(got_plain, all) << at_once;
        if (at_once == 1000) {
            EXPECT_EQ(s.written.size(), 5u) << "80 that are not empty, 16 at a time";
        }
    }
    vectored s;
    ma::write_all(s, {});
    ma::write_all(s, {""sv, ""sv});
    EXPECT_TRUE(s.written.empty());
    s.at_once = 0;
    EXPECT_EQ(errno_thrown_by([&] { ma::write_all(s, {"x"sv}); }), EIO);
}

TEST(SeveralParts, of_a_socket_and_a_file)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e(SOCK_SEQPACKET);
        std::string const body = "body";
        ma::write_all(e.a, {"head "sv, body});
        char five[5], rest[8];
        std::error_code ec;
        EXPECT_EQ(ma::read_exactly(e.b, {five, ma::bytes(rest, 4)}, ec), 9u) << "one message";
        EXPECT_EQ(std::string_view(five, 5), "head ");
        EXPECT_EQ(std::string_view(rest, 4), "body");
        e.a.close();
        EXPECT_THROW(ma::read_exactly(e.b, {five}), ma::end_of_stream);
        int fds[2];
        ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
        ma::file from(monad_async_file_adopt(fds[0])), to(monad_async_file_adopt(fds[1]));
        EXPECT_EQ(ma::write_all(to, {"one"sv, "two"sv, "three"sv}, ec), 11u);
        ma::read_exactly(from, {five, ma::bytes(rest, 5)});
        EXPECT_EQ(std::string_view(five, 5), "onetw");
        EXPECT_EQ(std::string_view(rest, 5), "othre");
        ma::scope const soon(1ms);
        EXPECT_EQ(ma::read_exactly(from, {five}, ec), 1u) << "so many had come";
        EXPECT_EQ(ec.value(), ETIME);
    });
}

// A derived class' own calls: what it does to the bytes is not passed by.
struct marks : ma::socket {
    using ma::socket::socket;
    std::size_t send(ma::const_bytes from, std::error_code &ec) noexcept
    {
        (void)ma::socket::send("!"sv, ec);
        return ec ? 0 : ma::socket::send(from, ec);
    }
};

TEST(WriterOfAStream, calls_what_a_class_derived_from_a_socket_has)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        marks s(e.a.release());
        ma::writer out(s);
        out.write("text"sv);
        out.flush();
        char data[8];
        EXPECT_EQ(e.b.recv(data), 5u);
        EXPECT_EQ(std::string_view(data, 5), "!text");
    });
}

struct marked_file : ma::file {
    using ma::file::file;
    std::size_t write(ma::const_bytes from, std::error_code &ec) noexcept
    {
        (void)ma::file::write("!"sv, ec);
        return ec ? 0 : ma::file::write(from, ec);
    }
};

TEST(WriterOfAStream, calls_what_a_class_derived_from_a_file_has)
{
    ma::executor ex;
    run_task(ex, [] {
        int pipe[2];
        ASSERT_EQ(::pipe(pipe), 0);
        ma::file from(monad_async_file_adopt(pipe[0]));
        marked_file to(monad_async_file_adopt(pipe[1]));
        ma::writer out(to);
        out.write("text"sv);
        out.flush();
        char data[8];
        EXPECT_EQ(from.read(data), 5u);
        EXPECT_EQ(std::string_view(data, 5), "!text");
    });
}

struct write_only {
    std::size_t write(ma::const_bytes from, std::error_code &) { return from.size(); }
};

TEST(WriterOfAStream, that_cannot_be_read_says_so)
{
    write_only s;
    ma::writer out(s);
    char byte;
    EXPECT_EQ(errno_thrown_by([&] { (void)out.recv({&byte, 1}); }), EOPNOTSUPP);
}

TEST(WriterOfAStream, is_flushed_before_the_reader_over_it_waits)
{
    ma::executor ex;
    run_task(ex, [] {
        ends e;
        turned here(e.a);
        ma::writer out(here);
        ma::reader in(out);
        ma::writer asks(e.b);
        for (char const c : "1\n2\n"sv) {
            asks.write(std::string(1, char(~c)));
        }
        asks.flush();
        char seen[8];
        for (char const *const answer : {"a", "b"}) {
            EXPECT_TRUE(in.read_line());
            out.write(std::string_view(answer));
            EXPECT_EQ(::recv(e.b.native_handle().fd, seen, sizeof seen, MSG_DONTWAIT), -1);
        }
        ma::scope const soon(1ms);
        EXPECT_THROW((void)in.read_line(), ma::timeout_error);
        EXPECT_EQ(::recv(e.b.native_handle().fd, seen, sizeof seen, MSG_DONTWAIT), 2);
    });
}

} // namespace

#ifndef MONAD_ASYNC_READER_HPP
#define MONAD_ASYNC_READER_HPP

/** @file reader.hpp
 *  Lines, frames and whatever ends with a delimiter, out of a stream. Each call has two forms: one
 *  throws, one takes a `std::error_code &`.
 *
 *  @snippet lines.cpp a connection
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h. */

#include "bytes.hpp"
#include "config.h"
#include "detail/stream_calls.hpp"
#include "error.hpp"
#include "socket.hpp"
#include "stream.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** Reads a stream by way of a buffer whose size never changes: no call allocates, and no peer makes
 *  it grow. Does not move. Used by one task at a time; all calls are made by the task that runs.
 *
 *  What a call returns as text lies in the buffer, and is there until the next call that may read:
 *  who passes it to that, as a delimiter, passes a copy.
 *  What has come and was not asked for yet stays for the next call: who goes on with the stream
 *  itself takes `buffered()` first.
 *
 *  A call whose bytes have come already does not suspend, and succeeds, also where its task was
 *  cancelled. One that fails takes nothing: after `ECANCELED`, `ETIME` or `EMSGSIZE` all that came
 *  is still here. `read_exactly` into memory is the one exception: what it has filled in is taken.
 *
 *  A stream that ends is no error where nothing is begun: text that is asked for is `std::nullopt`
 *  then. In the middle of it, it is `end_of_stream`, or `ENODATA`, so that a command which was cut
 *  short is not taken for one; and `buffered()` is what came, as the last line of a file that ends
 *  without a newline. After the end the stream is asked again each time.
 *
 *  Over a `writer`, `ma::reader in(out)`, what was gathered is sent before a call suspends.
 *  @see stream.hpp, socket.hpp, file.hpp, writer.hpp */
class reader {
public:
    /** As much as there is room for: the limit that is meant where none is given. */
    static constexpr std::size_t no_limit = static_cast<std::size_t>(-1);

    /** Makes a reader of a stream. EXPENSIVE.
     *  @param stream a readable stream (stream.hpp), which must outlive it, and be read by it alone
     *  @param room how many bytes it has room for: the longest line, frame or the like
     *  @throws std::bad_alloc */
    template <class Stream>
    explicit reader(Stream &stream, std::size_t room = 16384)
        : stream_(stream), room_(room), data_(new char[room])
    {
        static_assert(is_readable_stream_v<Stream>,
                      "a stream to be read has std::size_t recv(ma::bytes, std::error_code &), or "
                      "read; see stream.hpp");
    }
    reader(reader const &) = delete;
    reader &operator=(reader const &) = delete;

    /** Does not suspend.
     *  @return what has come and was not taken */
    [[nodiscard]] std::string_view buffered() const noexcept
    {
        return {data_.get() + begin_, end_ - begin_};
    }

    /** @return how many bytes it has room for */
    [[nodiscard]] std::size_t room() const noexcept { return room_; }

    /** Takes some of what is buffered, as a parser has done with it. Does not suspend.
     *  @param count how many bytes; all, where that is more than there is */
    void consume(std::size_t count) noexcept { begin_ += std::min(count, end_ - begin_); }

    /** SUSPENDS until some more is buffered: for who looks at `buffered()`, parses as far as it
     *  goes, and calls `consume`.
     *  @return whether some came; no: the stream has ended
     *  @throws std::system_error the stream's error; `EMSGSIZE`: the buffer is full */
    MONAD_ASYNC_LOCAL bool fill()
    {
        std::error_code ec;
        bool const came = fill(ec);
        detail::check(ec, "monad::async::reader::fill");
        return came;
    }

    /** As the other `fill`.
     *  @param[out] ec the error
     *  @return whether some came; no, without an error: the stream has ended */
    MONAD_ASYNC_LOCAL bool fill(std::error_code &ec) noexcept
    {
        // What is left goes to the front where that is less than was taken since: so each byte that
        // is taken pays for one that is moved, at most.
        auto const left = end_ - begin_;
        if (begin_ != 0 && (left <= begin_ || end_ == room_)) {
            std::memmove(data_.get(), data_.get() + begin_, left);
            begin_ = 0;
            end_ = left;
        }
        if (end_ == room_) {
            detail::report(EMSGSIZE, ec);
            return false;
        }
        auto const n = stream_.read({data_.get() + end_, room_ - end_}, ec);
        end_ += n;
        return n != 0 && !ec;
    }

    /** SUSPENDS until so much is buffered, or the stream has ended. Takes nothing.
     *  @param count how many bytes there are to be
     *  @return all that is buffered; fewer: the stream has ended
     *  @throws std::system_error the stream's error; `EMSGSIZE`: there is less room */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::string_view peek(std::size_t count = 1)
    {
        std::error_code ec;
        auto const there = peek(count, ec);
        detail::check(ec, "monad::async::reader::peek");
        return there;
    }

    /** As the other `peek`.
     *  @param count how many bytes there are to be
     *  @param[out] ec the error
     *  @return all that is buffered, with an error too */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::string_view peek(std::size_t count,
                                                          std::error_code &ec) noexcept
    {
        ec.clear();
        if (count > room_) {
            detail::report(EMSGSIZE, ec);
        }
        while (!ec && end_ - begin_ < count && fill(ec)) {
        }
        return buffered();
    }

    /** As the other `peek`, of a byte.
     *  @param[out] ec the error
     *  @return all that is buffered, with an error too */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::string_view peek(std::error_code &ec) noexcept
    {
        return peek(1, ec);
    }

    /** SUSPENDS until a delimiter has come.
     *  @param delimiter what it ends with, as "\r\n\r\n"; of one byte or more
     *  @param most how many bytes it may be, with the delimiter, however large the room is
     *  @return all as far as the delimiter, which is part of it; nothing: the stream has ended
     *  @throws end_of_stream the stream ended before a delimiter, and not with nothing
     *  @throws std::system_error the stream's error; `EMSGSIZE`: so many bytes have come, or as
     *  many as there is room for, and no delimiter; `EINVAL`: the delimiter is empty */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_until(std::string_view delimiter, std::size_t most = no_limit)
    {
        std::error_code ec;
        auto const found = read_until(delimiter, most, ec);
        detail::check_read(ec, "monad::async::reader::read_until");
        return found;
    }

    /** As the other `read_until`.
     *  @param delimiter what it ends with
     *  @param most how many bytes it may be
     *  @param[out] ec the error; `ENODATA`: as `end_of_stream`
     *  @return all as far as the delimiter; nothing: an error, or without one the end */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_until(std::string_view delimiter, std::size_t most, std::error_code &ec) noexcept
    {
        return take(find(delimiter, most, ec));
    }

    /** As the other `read_until`, as long as there is room for.
     *  @param delimiter what it ends with
     *  @param[out] ec the error
     *  @return all as far as the delimiter; nothing: an error, or without one the end */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_until(std::string_view delimiter, std::error_code &ec) noexcept
    {
        return read_until(delimiter, no_limit, ec);
    }

    /** SUSPENDS until a line has come.
     *  @param most how many bytes it may be, with its end, however large the room is
     *  @return the line without its end, which is a newline, or a carriage return and a newline;
     *  nothing: the stream has ended
     *  @throws end_of_stream the stream ended within a line
     *  @throws std::system_error as `read_until` */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_line(std::size_t most = no_limit)
    {
        std::error_code ec;
        auto const line = read_line(most, ec);
        detail::check_read(ec, "monad::async::reader::read_line");
        return line;
    }

    /** As the other `read_line`.
     *  @param most how many bytes it may be, with its end
     *  @param[out] ec the error; `ENODATA`: as `end_of_stream`
     *  @return the line without its end; nothing: an error, or without one the end */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_line(std::size_t most, std::error_code &ec) noexcept
    {
        auto line = take(find("\n", most, ec));
        if (line) {
            line->remove_suffix(1);
            line->remove_suffix(!line->empty() && line->back() == '\r' ? 1 : 0);
        }
        return line;
    }

    /** As the other `read_line`, as long as there is room for.
     *  @param[out] ec the error
     *  @return the line without its end; nothing: an error, or without one the end */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_line(std::error_code &ec) noexcept
    {
        return read_line(no_limit, ec);
    }

    /** SUSPENDS until so many bytes have come: the head of a frame, for example.
     *  @param count how many bytes, as many as there is room for at most; of 0 nothing is read
     *  @return so many bytes; nothing: the stream has ended
     *  @throws end_of_stream the stream ended before so many, and not with nothing
     *  @throws std::system_error the stream's error; `EMSGSIZE`: there is less room */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view> read_exactly(std::size_t count)
    {
        std::error_code ec;
        auto const there = read_exactly(count, ec);
        detail::check_read(ec, "monad::async::reader::read_exactly");
        return there;
    }

    /** As the other `read_exactly`.
     *  @param count how many bytes
     *  @param[out] ec the error; `ENODATA`: as `end_of_stream`
     *  @return so many bytes; nothing: an error, or without one the end */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::optional<std::string_view>
    read_exactly(std::size_t count, std::error_code &ec) noexcept
    {
        auto const there = peek(count, ec).size();
        if (!ec && there < count && there != 0) {
            detail::report(ENODATA, ec);
        }
        return take(ec || there < count ? none : count);
    }

    /** SUSPENDS until all of some memory is filled: the body behind a head that told its size,
     *  which may be larger than the room. Where an error ends it, a time-out say, the other form
     *  tells how many bytes had come, which are taken.
     *  @param to where they go
     *  @throws end_of_stream the stream ended before so many, with nothing too
     *  @throws std::system_error the stream's error */
    MONAD_ASYNC_LOCAL void read_exactly(bytes to)
    {
        std::error_code ec;
        (void)read_exactly(to, ec);
        detail::check_read(ec, "monad::async::reader::read_exactly");
    }

    /** As the other `read_exactly`.
     *  @param to where they go
     *  @param[out] ec the error; `ENODATA`: as `end_of_stream`
     *  @return how many bytes came, with an error too */
    MONAD_ASYNC_LOCAL std::size_t read_exactly(bytes to, std::error_code &ec) noexcept
    {
        ec.clear();
        std::size_t done = 0;
        while (done != to.size()) {
            auto const n = read({to.data() + done, to.size() - done}, ec);
            done += n;
            if (n == 0 && !ec) {
                detail::report(ENODATA, ec);
            }
            if (ec) {
                break;
            }
        }
        return done;
    }

    /** Reads what is buffered or, if there is nothing, from the stream: SUSPENDS until there is
     *  something. Into memory as large as the room, it reads past the buffer.
     *  @param to where it goes
     *  @return how many bytes came; 0: the stream has ended
     *  @throws std::system_error the stream's error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read(bytes to)
    {
        std::error_code ec;
        auto const n = read(to, ec);
        if (n == 0) { // Else they would be lost.
            detail::check(ec, "monad::async::reader::read");
        }
        return n;
    }

    /** As the other `read`.
     *  @param to where it goes
     *  @param[out] ec the error
     *  @return how many bytes came; 0 with an error, or at the end. Of a stream that returns bytes
     *  with an error both, where it was read past the buffer */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read(bytes to, std::error_code &ec) noexcept
    {
        ec.clear();
        if (begin_ == end_ && !to.empty()) {
            if (to.size() >= room_) {
                return stream_.read(to, ec);
            }
            if (!fill(ec)) {
                return 0; // What may have come with an error stays.
            }
        }
        auto const n = std::min(to.size(), end_ - begin_);
        if (n != 0) {
            std::memcpy(to.data(), data_.get() + begin_, n);
        }
        consume(n);
        return n;
    }

private:
    static constexpr std::size_t none = no_limit;

    MONAD_ASYNC_LOCAL std::optional<std::string_view> take(std::size_t count) noexcept
    {
        if (count == none) {
            return std::nullopt;
        }
        auto const taken = buffered().substr(0, count);
        consume(count);
        return taken;
    }

    // As far as the delimiter, or `none`.
    MONAD_ASYNC_LOCAL std::size_t find(std::string_view delimiter, std::size_t most,
                                       std::error_code &ec) noexcept
    {
        ec.clear();
        if (delimiter.empty()) {
            detail::report(EINVAL, ec);
            return none;
        }
        most = std::min(most, room_);
        std::size_t looked_at = 0; // No byte twice, however few come at a time.
        do {
            auto const there = buffered().substr(0, most);
            auto const at = there.find(delimiter, looked_at);
            if (at != there.npos) {
                return at + delimiter.size();
            }
            if (there.size() == most) {
                detail::report(EMSGSIZE, ec);
                return none;
            }
            looked_at = there.size() - std::min(there.size(), delimiter.size() - 1);
        } while (fill(ec));
        if (!ec && begin_ != end_) {
            detail::report(ENODATA, ec);
        }
        return none;
    }

    detail::any_stream stream_;
    std::size_t room_;
    std::unique_ptr<char[]> data_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

} // namespace v0
} // namespace monad::async

#endif

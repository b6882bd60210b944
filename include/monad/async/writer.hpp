#ifndef MONAD_ASYNC_WRITER_HPP
#define MONAD_ASYNC_WRITER_HPP

/** @file writer.hpp
 *  Many small answers, few sends.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h. */

#include "bytes.hpp"
#include "config.h"
#include "detail/stream_calls.hpp"
#include "error.hpp"
#include "stream.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <system_error>

#include <sys/uio.h>

namespace monad::async {
inline namespace v0 {

/** Gathers what is to be sent on a connection or another stream, and sends it at once: at `flush`,
 *  when its room is full, and before its `recv` would suspend. What was not flushed when it ends is
 *  dropped.
 *
 *  A call that is interrupted keeps what was not sent, and nothing is sent twice; another error
 *  drops it, as the connection is of no use. Does not move.
 *  @see monad_async_socket_send_all(), stream.hpp, socket.hpp, reader.hpp */
class writer {
public:
    /** Makes a writer for a connection, or another stream. EXPENSIVE.
     *  @param stream a socket, or any writable stream (stream.hpp); must outlive it, and be written
     *  by it alone
     *  @param room how many bytes are gathered
     *  @throws std::bad_alloc */
    template <class Stream>
    explicit writer(Stream &stream, std::size_t room = 16384)
        : stream_(stream), room_(room), gathered_(new unsigned char[room])
    {
        static_assert(is_writable_stream_v<Stream>,
                      "a stream to be written has std::size_t send(ma::const_bytes, "
                      "std::error_code &), or write, or writev; see stream.hpp");
    }
    writer(writer const &) = delete;
    writer &operator=(writer const &) = delete;

    /** Gathers; SUSPENDS, and sends, where it does not fit.
     *  @param from copied, or sent before this returns
     *  @throws std::system_error its errno; interrupted: nothing of it was taken or sent, or some
     *  of it was, and `taken()` says how much */
    MONAD_ASYNC_LOCAL void write(const_bytes from)
    {
        std::error_code ec;
        write(from, ec);
        detail::check(ec, "monad::async::writer::write");
    }

    /** As the other `write`.
     *  @param from copied, or sent before this returns
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void write(const_bytes from, std::error_code &ec) noexcept
    {
        ec.clear();
        taken_ = 0;
        if (from.size() > room_ - end_) {
            send(from, ec);
        }
        if (!ec) {
            auto const rest = from.size() - taken_;
            std::copy_n(from.data() + taken_, rest, gathered_.get() + end_);
            end_ += rest;
            taken_ = from.size();
        }
    }

    /** @return how many bytes of the latest `write` are gathered or sent */
    [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

    /** @return how many bytes are gathered */
    [[nodiscard]] std::size_t gathered() const noexcept { return end_ - begin_; }

    /** SUSPENDS until all that was gathered is sent: one send, where the connection takes it.
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void flush()
    {
        std::error_code ec;
        flush(ec);
        detail::check(ec, "monad::async::writer::flush");
    }

    /** As the other `flush`.
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void flush(std::error_code &ec) noexcept
    {
        ec.clear();
        taken_ = 0;
        if (begin_ != end_) {
            send(const_bytes(nullptr, 0), ec);
        }
    }

    /** Receives on the same connection; flushes first where there is nothing to receive yet, as the
     *  peer may be waiting for what was gathered. Of a stream that is no `ma::socket` nobody knows
     *  that without waiting: so it flushes first. SUSPENDS. A deadline around it is for both; where
     *  sending and receiving have times of their own, `flush` first, in a scope of its own.
     *  @param to where it goes
     *  @return how many bytes came; 0: the peer sends no more
     *  @throws std::system_error its errno; `EOPNOTSUPP`: the stream can only be written */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to)
    {
        std::error_code ec;
        auto const n = recv(to, ec);
        if (n == 0) { // Else they would be lost.
            detail::check(ec, "monad::async::writer::recv");
        }
        return n;
    }

    /** As the other `recv`.
     *  @param to where it goes
     *  @param[out] ec the error
     *  @return how many bytes came; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to, std::error_code &ec) noexcept
    {
        if (begin_ != end_) {
            if (stream_.tells_at_once()) {
                auto const n = stream_.read_now(to, ec);
                if (ec.value() != EAGAIN) {
                    return n;
                }
            }
            flush(ec);
            if (ec) {
                return 0;
            }
        }
        return stream_.read(to, ec);
    }

private:
    // What was gathered, and behind it `more` as far as it would not fit then.
    MONAD_ASYNC_LOCAL void send(const_bytes more, std::error_code &ec) noexcept
    {
        while (begin_ != end_ || more.size() - taken_ > room_) {
            auto const of_more = more.size() - taken_;
            iovec parts[2] = {{gathered_.get() + begin_, end_ - begin_},
                              {const_cast<unsigned char *>(more.data()) + taken_, of_more}};
            int const first = begin_ == end_ ? 1 : 0;
            auto const n = stream_.write(parts + first, (of_more != 0 ? 2 : 1) - first, ec);
            auto const sent = std::min(n, end_ - begin_ + of_more);
            auto const of_gathered = std::min(sent, end_ - begin_);
            begin_ += of_gathered;
            taken_ += sent - of_gathered;
            if (ec) {
                if (!detail::is_interruption(ec)) {
                    begin_ = end_ = 0;
                }
                return;
            }
        }
        begin_ = end_ = 0;
    }

    detail::any_stream stream_;
    std::size_t room_;
    std::unique_ptr<unsigned char[]> gathered_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t taken_ = 0;
};

} // namespace v0
} // namespace monad::async

#endif

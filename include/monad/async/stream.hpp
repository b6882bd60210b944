#ifndef MONAD_ASYNC_STREAM_HPP
#define MONAD_ASYNC_STREAM_HPP

/** @file stream.hpp
 *  What a reader and a writer work on: a socket, a file or pipe, or a class of the user's that
 *  layers something over one, TLS for example.
 *
 *  A type is a readable stream if it has one of these calls, and a writable stream if it has one of
 *  the others; the first that it has is used.
 *
 *  - to be read: `std::size_t recv(ma::bytes to, std::error_code &ec)`, or `read` with the same
 *    parameters: some bytes; 0 without an error, the stream has ended. Besides, if it can,
 *    `std::size_t readv(iovec const *parts, int count, std::error_code &ec)`
 *  - to be written: `std::size_t writev(iovec const *parts, int count, std::error_code &ec)`;
 *    `std::size_t send(ma::const_bytes from, std::error_code &ec)`, or `write` with the same
 *    parameters: some of them, at least one byte
 *
 *  What a class inherits is one that it has. Of one derived from `ma::file` `read` and `write` are
 *  called, so that what these do to the bytes is not passed by.
 *
 *  They set or clear `ec`, of whatever category; bytes that they return with an error count all the
 *  same. `ECANCELED` and `ETIME`, in the system's or the generic category, say that the call was
 *  interrupted and may be made again. What they throw is an error as well: a `std::system_error` as
 *  its code, a `std::bad_alloc` as `ENOMEM`, anything else as `ENOTRECOVERABLE`. `ma::socket`,
 *  `ma::file` (at its current position) and, to be read, `ma::reader` and `ma::writer` are streams.
 *
 *  The word SUSPENDS is that of executor.h. */

#include "bytes.hpp"
#include "config.h"
#include "detail/stream_calls.hpp"

#include <cstddef>
#include <initializer_list>
#include <system_error>

#include <sys/uio.h>

namespace monad::async {
inline namespace v0 {

/** Whether a type can be read as a stream.
 *  @see reader.hpp */
template <class T> inline constexpr bool is_readable_stream_v = detail::has_read<T>;

/** Whether a type can be written as a stream.
 *  @see writer.hpp */
template <class T> inline constexpr bool is_writable_stream_v = detail::has_write<T>;

#if defined(__cpp_concepts) && __cpp_concepts >= 201907L
/** A type that can be read as a stream, as a concept of C++20.
 *  @see reader.hpp */
template <class T>
concept readable_stream = is_readable_stream_v<T>;

/** A type that can be written as a stream, as a concept of C++20.
 *  @see writer.hpp */
template <class T>
concept writable_stream = is_writable_stream_v<T>;

/** A type that can be read and written as a stream, as a concept of C++20.
 *  @see reader.hpp, writer.hpp */
template <class T>
concept byte_stream = readable_stream<T> && writable_stream<T>;
#endif

/** Writes all of several pieces of memory, a head and a body for example, as if they were one:
 *  `ma::write_all(peer, {head, body})`. A call for all of them, at most 16 at a time, where the
 *  stream can (a socket, a file, a `writev`), else one each. SUSPENDS until all is written; what
 *  other tasks write in that time may lie between. Nothing is copied or allocated.
 *  @param stream a writable stream
 *  @param parts what to write; empty ones are passed over
 *  @param count how many
 *  @param[out] ec the error
 *  @return how many bytes were written, with an error too
 *  @see writer.hpp, monad_async_socket_sendmsg(), monad_async_file_writev() */
template <class Stream>
MONAD_ASYNC_LOCAL std::size_t write_all(Stream &stream, const_bytes const *parts, std::size_t count,
                                        std::error_code &ec) noexcept
{
    static_assert(is_writable_stream_v<Stream>, "no writable stream: see stream.hpp");
    detail::any_stream const to(stream);
    auto const some = [&to](iovec const *some_parts, int number, std::error_code &error) {
        return to.write(some_parts, number, error);
    };
    return detail::transfer_all(parts, count, some, ec);
}

/** As the other `write_all`.
 *  @param stream a writable stream
 *  @param parts what to write
 *  @param[out] ec the error
 *  @return how many bytes were written, with an error too
 *  @see writer.hpp */
template <class Stream>
MONAD_ASYNC_LOCAL std::size_t write_all(Stream &stream, std::initializer_list<const_bytes> parts,
                                        std::error_code &ec) noexcept
{
    return write_all(stream, parts.begin(), parts.size(), ec);
}

/** As the other `write_all`.
 *  @param stream a writable stream
 *  @param parts what to write
 *  @param count how many
 *  @throws std::system_error the stream's error
 *  @see writer.hpp */
template <class Stream>
MONAD_ASYNC_LOCAL void write_all(Stream &stream, const_bytes const *parts, std::size_t count)
{
    std::error_code ec;
    (void)write_all(stream, parts, count, ec);
    detail::check(ec, "monad::async::write_all");
}

/** As the other `write_all`.
 *  @param stream a writable stream
 *  @param parts what to write
 *  @throws std::system_error the stream's error
 *  @see writer.hpp */
template <class Stream>
MONAD_ASYNC_LOCAL void write_all(Stream &stream, std::initializer_list<const_bytes> parts)
{
    write_all(stream, parts.begin(), parts.size());
}

/** Fills several pieces of memory, one after the other, as `write_all` writes them. SUSPENDS until
 *  all are full.
 *  @param stream a readable stream
 *  @param parts where it goes; empty ones are passed over
 *  @param count how many
 *  @param[out] ec the error; `ENODATA`: the stream ended before
 *  @return how many bytes came, with an error too
 *  @see reader.hpp, monad_async_socket_recvmsg(), monad_async_file_readv() */
template <class Stream>
MONAD_ASYNC_LOCAL std::size_t read_exactly(Stream &stream, bytes const *parts, std::size_t count,
                                           std::error_code &ec) noexcept
{
    static_assert(is_readable_stream_v<Stream>, "no readable stream: see stream.hpp");
    detail::any_stream const from(stream);
    auto const some = [&from](iovec const *some_parts, int number, std::error_code &error) {
        return from.read(some_parts, number, error);
    };
    return detail::transfer_all(parts, count, some, ec);
}

/** As the other `read_exactly`.
 *  @param stream a readable stream
 *  @param parts where it goes
 *  @param[out] ec the error; `ENODATA`: the stream ended before
 *  @return how many bytes came, with an error too
 *  @see reader.hpp */
template <class Stream>
MONAD_ASYNC_LOCAL std::size_t read_exactly(Stream &stream, std::initializer_list<bytes> parts,
                                           std::error_code &ec) noexcept
{
    return read_exactly(stream, parts.begin(), parts.size(), ec);
}

/** As the other `read_exactly`.
 *  @param stream a readable stream
 *  @param parts where it goes
 *  @param count how many
 *  @throws end_of_stream the stream ended before
 *  @throws std::system_error the stream's error
 *  @see reader.hpp */
template <class Stream>
MONAD_ASYNC_LOCAL void read_exactly(Stream &stream, bytes const *parts, std::size_t count)
{
    std::error_code ec;
    (void)read_exactly(stream, parts, count, ec);
    detail::check_read(ec, "monad::async::read_exactly");
}

/** As the other `read_exactly`.
 *  @param stream a readable stream
 *  @param parts where it goes
 *  @throws end_of_stream the stream ended before
 *  @throws std::system_error the stream's error
 *  @see reader.hpp */
template <class Stream>
MONAD_ASYNC_LOCAL void read_exactly(Stream &stream, std::initializer_list<bytes> parts)
{
    read_exactly(stream, parts.begin(), parts.size());
}

} // namespace v0
} // namespace monad::async

#endif

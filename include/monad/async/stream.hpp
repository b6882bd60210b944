#ifndef MONAD_ASYNC_STREAM_HPP
#define MONAD_ASYNC_STREAM_HPP

/** @file stream.hpp
 *  What a reader and a writer work on: a socket, a file or pipe, or a class of the user's that
 *  layers something over one, TLS for example.
 *
 *  A type is a readable stream if it has one of these calls, and a writable stream if it has one of
 *  those below; the first that it has is used.
 *
 *  @code{.cpp}
 *  std::size_t recv(ma::bytes to, std::error_code &ec);      // some bytes; 0 without an error: the
 *  std::size_t read(ma::bytes to, std::error_code &ec);      // stream has ended
 *
 *  std::size_t writev(iovec const *parts, int count, std::error_code &ec); // some of them, at
 *  std::size_t send(ma::const_bytes from, std::error_code &ec);            // least one byte
 *  std::size_t write(ma::const_bytes from, std::error_code &ec);
 *  @endcode
 *
 *  They set or clear `ec`, of whatever category. `ECANCELED` and `ETIME`, in the system's or the
 *  generic category, say that the call was interrupted and may be made again. What they throw all
 *  the same counts as an error: a `std::system_error` as its code, a `std::bad_alloc` as `ENOMEM`,
 *  anything else as `ENOTRECOVERABLE`. `ma::socket`, `ma::file` (at its current position) and, to
 *  be read, `ma::reader` and `ma::writer` are streams.
 *
 *  The word SUSPENDS is that of executor.h. */

#include "bytes.hpp"
#include "config.h"
#include "detail/stream_calls.hpp"

#include <cstddef>
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

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_DETAIL_STREAM_CALLS_HPP
#define MONAD_ASYNC_DETAIL_STREAM_CALLS_HPP

// The calls of a stream (stream.hpp), found by their names, and behind pointers: so that a reader
// and a writer are no templates. A call more by a pointer is nothing next to one that asks the
// kernel.

#include "../bytes.hpp"
#include "../config.h"
#include "../error.hpp"
#include "../socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

namespace monad::async {
inline namespace v0 {

class file;

namespace detail {

// Whether `Call<T>` is a `std::size_t`: braces refuse what is signed, whose -1 nobody would see.
template <template <class> class Call, class T, class = void>
inline constexpr bool has_call = false;
template <template <class> class Call, class T>
inline constexpr bool has_call<Call, T, std::void_t<Call<T>>> = true;

template <class T>
using recv_of = decltype(std::size_t{
    std::declval<T &>().recv(std::declval<bytes>(), std::declval<std::error_code &>())});
template <class T>
using read_of = decltype(std::size_t{
    std::declval<T &>().read(std::declval<bytes>(), std::declval<std::error_code &>())});
template <class T>
using readv_of = decltype(std::size_t{std::declval<T &>().readv(
    std::declval<iovec const *>(), 0, std::declval<std::error_code &>())});
template <class T>
using writev_of = decltype(std::size_t{std::declval<T &>().writev(
    std::declval<iovec const *>(), 0, std::declval<std::error_code &>())});
template <class T>
using send_of = decltype(std::size_t{
    std::declval<T &>().send(std::declval<const_bytes>(), std::declval<std::error_code &>())});
template <class T>
using write_of = decltype(std::size_t{
    std::declval<T &>().write(std::declval<const_bytes>(), std::declval<std::error_code &>())});

template <class T> inline constexpr bool has_read = has_call<recv_of, T> || has_call<read_of, T>;
template <class T>
inline constexpr bool has_write =
    has_call<writev_of, T> || has_call<send_of, T> || has_call<write_of, T>;

// The library's own, of which more is known. Not what derives from it: that may have calls of its
// own, and what it is to encrypt must not pass it by.
template <class T> inline constexpr bool is_socket = std::is_same_v<std::remove_cv_t<T>, socket>;
// So it is with `writev` and `readv` of a file, which a class with a `write` of its own inherits.
template <class T>
inline constexpr bool has_own_parts =
    std::is_same_v<std::remove_cv_t<T>, file> || !std::is_base_of_v<file, T>;

// Of a stream's call what it throws, too.
template <class Call> MONAD_ASYNC_LOCAL std::size_t as_code(Call call, std::error_code &ec) noexcept
{
    if constexpr (noexcept(call())) {
        return call();
    } else {
        try {
            return call();
        } catch (std::system_error const &e) {
            ec = e.code();
            if (!ec) { // Without one it would be taken for the end.
                report(ENOTRECOVERABLE, ec);
            }
        } catch (std::bad_alloc const &) {
            report(ENOMEM, ec);
        } catch (...) {
            report(ENOTRECOVERABLE, ec);
        }
        return 0;
    }
}

template <class T>
MONAD_ASYNC_LOCAL std::size_t read_some(void *stream, bytes to, std::error_code &ec) noexcept
{
    auto &s = *static_cast<T *>(stream);
    std::size_t n = 0;
    if constexpr (has_call<recv_of, T>) {
        n = as_code([&]() noexcept(noexcept(s.recv(to, ec))) { return s.recv(to, ec); }, ec);
    } else {
        n = as_code([&]() noexcept(noexcept(s.read(to, ec))) { return s.read(to, ec); }, ec);
    }
    return std::min(n, to.size());
}

// The same into several parts, of which none is empty; of a stream that cannot, the first.
template <class T>
MONAD_ASYNC_LOCAL std::size_t read_parts(void *stream, iovec const *parts, int count,
                                         std::error_code &ec) noexcept
{
    auto &s = *static_cast<T *>(stream);
    if constexpr (is_socket<T>) {
        msghdr message = {};
        message.msg_iov = const_cast<iovec *>(parts);
        message.msg_iovlen = static_cast<std::size_t>(count);
        return s.recvmsg(message, ec);
    } else if constexpr (has_call<readv_of, T> && has_own_parts<T>) {
        return as_code([&]() noexcept(noexcept(s.readv(
                           parts, count, ec))) -> std::size_t { return s.readv(parts, count, ec); },
                       ec);
    } else {
        return read_some<T>(stream, {parts->iov_base, parts->iov_len}, ec);
    }
}

// `EAGAIN` where nothing is there.
template <class T>
MONAD_ASYNC_LOCAL std::size_t read_now(void *stream, bytes to, std::error_code &ec) noexcept
{
    return static_cast<T *>(stream)->recv(to, MSG_DONTWAIT, ec);
}

// None of the parts is empty.
template <class T>
MONAD_ASYNC_LOCAL std::size_t write_some(void *stream, iovec const *parts, int count,
                                         std::error_code &ec) noexcept
{
    auto &s = *static_cast<T *>(stream);
    if constexpr (is_socket<T>) {
        msghdr message = {};
        message.msg_iov = const_cast<iovec *>(parts);
        message.msg_iovlen = static_cast<std::size_t>(count);
        return s.sendmsg(message, ec);
    } else if constexpr (has_call<writev_of, T> && has_own_parts<T>) {
        return as_code(
            [&]() noexcept(noexcept(s.writev(parts, count, ec))) -> std::size_t {
                return s.writev(parts, count, ec);
            },
            ec);
    } else {
        const_bytes const from(parts->iov_base, parts->iov_len);
        std::size_t n = 0;
        if constexpr (has_call<send_of, T>) {
            n = as_code([&]() noexcept(noexcept(s.send(from, ec))) { return s.send(from, ec); },
                        ec);
        } else {
            n = as_code([&]() noexcept(noexcept(s.write(from, ec))) { return s.write(from, ec); },
                        ec);
        }
        return std::min(n, from.size());
    }
}

struct stream_calls {
    // Null where it has none.
    std::size_t (*read)(void *, bytes, std::error_code &) noexcept;
    std::size_t (*read_parts)(void *, iovec const *, int, std::error_code &) noexcept;
    std::size_t (*read_now)(void *, bytes, std::error_code &) noexcept;
    std::size_t (*write)(void *, iovec const *, int, std::error_code &) noexcept;
};

template <class T> constexpr stream_calls find_stream_calls() noexcept
{
    stream_calls found = {nullptr, nullptr, nullptr, nullptr};
    if constexpr (has_read<T>) {
        found.read = &read_some<T>;
        found.read_parts = &read_parts<T>;
    }
    if constexpr (is_socket<T>) {
        found.read_now = &read_now<T>;
    }
    if constexpr (has_write<T>) {
        found.write = &write_some<T>;
    }
    return found;
}

// A stream and its calls.
class any_stream {
public:
    template <class T>
    explicit any_stream(T &stream) noexcept
        : stream_(const_cast<void *>(static_cast<void const *>(std::addressof(stream)))),
          calls_(find_stream_calls<T>())
    {
    }

    [[nodiscard]] bool tells_at_once() const noexcept { return calls_.read_now != nullptr; }

    MONAD_ASYNC_LOCAL std::size_t read(bytes to, std::error_code &ec) const noexcept
    {
        ec.clear();
        if (calls_.read == nullptr) {
            report(EOPNOTSUPP, ec);
            return 0;
        }
        return calls_.read(stream_, to, ec);
    }

    MONAD_ASYNC_LOCAL std::size_t read_now(bytes to, std::error_code &ec) const noexcept
    {
        return calls_.read_now(stream_, to, ec);
    }

    MONAD_ASYNC_LOCAL std::size_t read(iovec const *parts, int count,
                                       std::error_code &ec) const noexcept
    {
        ec.clear();
        return calls_.read_parts(stream_, parts, count, ec);
    }

    // What says that it wrote nothing, and no error, would be asked for ever.
    MONAD_ASYNC_LOCAL std::size_t write(iovec const *parts, int count,
                                        std::error_code &ec) const noexcept
    {
        ec.clear();
        auto const n = calls_.write(stream_, parts, count, ec);
        if (n == 0 && !ec) {
            report(EIO, ec);
        }
        return n;
    }

private:
    void *stream_;
    stream_calls calls_;
};

// All of some memory, by `some`, a call that reads or writes a part of what it is given, and says
// how much; none: the end. How many bytes.
template <class Bytes, class Some>
MONAD_ASYNC_LOCAL std::size_t transfer_all(Bytes const *parts, std::size_t count, Some some,
                                           std::error_code &ec) noexcept
{
    ec.clear();
    std::size_t done = 0, at = 0, of_part = 0; // Of part `at` so much is done.
    for (;;) {
        iovec some_parts[16];
        int taken = 0;
        std::size_t wanted = 0;
        for (std::size_t i = at; i != count && taken != 16; ++i) {
            auto const skip = i == at ? of_part : 0;
            if (parts[i].size() != skip) {
                void const *const from = parts[i].data() + skip;
                some_parts[taken++] = {const_cast<void *>(from), parts[i].size() - skip};
                wanted += parts[i].size() - skip;
            }
        }
        if (taken == 0) {
            return done;
        }
        auto n = std::min(some(some_parts, taken, ec), wanted);
        done += n;
        if (n == 0 && !ec) {
            report(ENODATA, ec);
        }
        if (ec) {
            return done;
        }
        for (n += of_part; at != count && n >= parts[at].size(); ++at) {
            n -= parts[at].size();
        }
        of_part = n;
    }
}

// `ETIME` by its number: C++23 deprecates `std::errc::stream_timeout`, and libc++ warns of it.
inline bool is_interruption(std::error_code const &ec) noexcept
{
    return ec == std::errc::operation_canceled ||
           ec == std::error_condition(ETIME, std::generic_category());
}

// As `check` of an errno; a stream may have errors of its own category.
inline void check(std::error_code const &ec, char const *what)
{
    if (ec) {
        if (ec.category() == std::system_category() || ec.category() == std::generic_category()) {
            fail(ec.value(), what);
        }
        throw std::system_error(ec, what);
    }
}

// And an end in the middle.
inline void check_read(std::error_code const &ec, char const *what)
{
    if (ec.value() == ENODATA && ec.category() == std::system_category()) {
        throw end_of_stream(what);
    }
    check(ec, what);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_SOCKET_HPP
#define MONAD_ASYNC_SOCKET_HPP

/** @file socket.hpp
 *  Sockets that close themselves. Each call has two forms: one throws, one takes a
 *  `std::error_code &`.
 *
 *  @snippet echo_server.cpp a connection
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of socket.h. */

#include "bytes.hpp"
#include "config.h"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "path.hpp"
#include "socket.h"
#include "socket_address.hpp"
#include "socket_handle.hpp"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <sys/socket.h>

namespace monad::async {
inline namespace v0 {

/** The peer sends no more, where more was to come. As an error code: `ENODATA`.
 *  @see monad_async_socket_recv_exact() */
class MONAD_ASYNC_API end_of_stream : public std::system_error {
public:
    /** @param what which call it was; opens the exception's text */
    explicit end_of_stream(char const *what)
        : std::system_error(ENODATA, std::system_category(), what)
    {
    }
};

/** A connection, or a socket for messages. Move-only. All calls are made by the task that runs;
 *  outside tasks they throw `EPERM`, but what never waits: to make a socket that is not direct, its
 *  addresses and options, and to bind it.
 *  @see socket.h, listener.hpp, connect.hpp, writer.hpp */
class socket : public socket_handle {
public:
    /** None. */
    socket() noexcept = default;

    /** Takes over a socket of the C API; a descriptor by `monad_async_socket_adopt(fd)`.
     *  @param native to be closed by this object */
    explicit socket(monad_async_socket native) noexcept : socket_handle(native) {}

    /** Makes a socket, inside a task or outside. EXPENSIVE.
     *  @param domain `AF_INET` and so on
     *  @param type `SOCK_STREAM` and so on
     *  @param protocol 0, or `IPPROTO_...`
     *  @param flags 0, or `MONAD_ASYNC_SOCKET_DIRECT`: SUSPENDS
     *  @throws std::system_error its errno; a direct one outside tasks: `EPERM` */
    explicit socket(int domain, int type, int protocol = 0, std::uint32_t flags = 0)
    {
        detail::check(open(domain, type, protocol, flags), "monad::async::socket");
    }

    /** As that constructor.
     *  @param domain `AF_INET` and so on
     *  @param type `SOCK_STREAM` and so on
     *  @param protocol 0, or `IPPROTO_...`
     *  @param flags 0, or `MONAD_ASYNC_SOCKET_DIRECT`
     *  @param[out] ec the error */
    socket(int domain, int type, int protocol, std::uint32_t flags, std::error_code &ec) noexcept
    {
        detail::report(open(domain, type, protocol, flags), ec);
    }

    /** As that constructor, without flags.
     *  @param domain `AF_INET` and so on
     *  @param type `SOCK_STREAM` and so on
     *  @param protocol 0, or `IPPROTO_...`
     *  @param[out] ec the error */
    socket(int domain, int type, int protocol, std::error_code &ec) noexcept
        : socket(domain, type, protocol, 0, ec)
    {
    }

    /** As that constructor, of the protocol that is the type's.
     *  @param domain `AF_INET` and so on
     *  @param type `SOCK_STREAM` and so on
     *  @param[out] ec the error */
    socket(int domain, int type, std::error_code &ec) noexcept : socket(domain, type, 0, 0, ec) {}

    /** Connects to an address in figures, by TCP; to a name: connect.hpp. SUSPENDS.
     *  @param address as `127.0.0.1` or `::1`
     *  @param port the port
     *  @return the connection
     *  @throws std::system_error its errno; `EINVAL`: not an address */
    [[nodiscard]] static MONAD_ASYNC_LOCAL socket tcp(char const *address, std::uint16_t port)
    {
        std::error_code ec;
        auto made = tcp(address, port, ec);
        detail::check(
            ec.value(),
            ec.value() == EINVAL
                ? "monad::async::socket::tcp (no address in figures? for names there is connect)"
                : "monad::async::socket::tcp");
        return made;
    }

    /** As the other `tcp`.
     *  @param address as `127.0.0.1` or `::1`
     *  @param port the port
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] static MONAD_ASYNC_LOCAL socket tcp(char const *address, std::uint16_t port,
                                                      std::error_code &ec) noexcept
    {
        auto const to = socket_address::internet(address, port);
        socket made;
        int error = to.empty() ? EINVAL : made.open(to.family(), SOCK_STREAM, 0, 0);
        if (error == 0) {
            error = made.begin_connect(to.native(), to.size()).error;
        }
        detail::report(error, ec);
        return error == 0 ? std::move(made) : socket();
    }

    /** Connects to a socket in the file system. SUSPENDS.
     *  @param path its name
     *  @return the connection
     *  @throws std::system_error its errno; `ENAMETOOLONG`: a name of 108 bytes or more; `EINVAL`:
     *  an empty one */
    [[nodiscard]] static MONAD_ASYNC_LOCAL socket local(pathname path)
    {
        std::error_code ec;
        auto made = local(path, ec);
        detail::check(ec.value(), "monad::async::socket::local");
        return made;
    }

    /** As the other `local`.
     *  @param path its name
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] static MONAD_ASYNC_LOCAL socket local(pathname path, std::error_code &ec) noexcept
    {
        socket made;
        socket_address to;
        int error = detail::local_address(path.c_str(), to);
        error = error == 0 ? made.open(AF_UNIX, SOCK_STREAM, 0, 0) : error;
        error = error == 0 ? made.begin_connect(to.native(), to.size()).error : error;
        detail::report(error, ec);
        return error == 0 ? std::move(made) : socket();
    }

    /** SUSPENDS until it is connected.
     *  @param address the peer's
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void connect(socket_address const &address)
    {
        connect(address.native(), address.size());
    }

    /** As the other `connect`.
     *  @param address the peer's
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void connect(socket_address const &address, std::error_code &ec) noexcept
    {
        connect(address.native(), address.size(), ec);
    }

    /** SUSPENDS until it is connected.
     *  @param address the peer's
     *  @param length the bytes of that
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void connect(sockaddr const *address, socklen_t length)
    {
        detail::check(begin_connect(address, length).error, "monad::async::socket::connect");
    }

    /** As the other `connect`.
     *  @param address the peer's
     *  @param length the bytes of that
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void connect(sockaddr const *address, socklen_t length,
                                   std::error_code &ec) noexcept
    {
        detail::report(begin_connect(address, length).error, ec);
    }

    /** SUSPENDS until there is data.
     *  @param to where it goes
     *  @param flags `MSG_...`
     *  @return how many bytes came; 0: the peer sends no more
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to, int flags = 0)
    {
        return size(value_or_throw(receive(to, flags), "monad::async::socket::recv"));
    }

    /** As the other `recv`.
     *  @param to where it goes
     *  @param flags `MSG_...`
     *  @param[out] ec the error
     *  @return how many bytes came; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to, int flags,
                                                     std::error_code &ec) noexcept
    {
        return counted(receive(to, flags), ec);
    }

    /** As the other `recv`.
     *  @param to where it goes
     *  @param[out] ec the error
     *  @return how many bytes came; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to, std::error_code &ec) noexcept
    {
        return counted(receive(to, 0), ec);
    }

    /** SUSPENDS until so many bytes have come. Where an error ends it, a time-out say, the other
     *  form tells how many had come.
     *  @param to where they go
     *  @throws end_of_stream the peer sends no more
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void recv_exact(bytes to)
    {
        std::error_code ec;
        (void)recv_exact(to, ec);
        if (ec.value() == ENODATA) {
            throw end_of_stream("monad::async::socket::recv_exact");
        }
        detail::check(ec.value(), "monad::async::socket::recv_exact");
    }

    /** As the other `recv_exact`.
     *  @param to where they go
     *  @param[out] ec the error; `ENODATA`: the peer sends no more
     *  @return how many bytes came, with an error too */
    MONAD_ASYNC_LOCAL std::size_t recv_exact(bytes to, std::error_code &ec) noexcept
    {
        // Made again where an exception unwinds the stack: it goes on then.
        std::size_t done = 0;
        auto const r = detail::socket_call([&](monad_async_task self) {
            auto const more =
                monad_async_socket_recv_exact(self, socket_, to.data() + done, to.size() - done);
            done += more.value > 0 ? size(more.value) : 0;
            return more;
        });
        detail::report(r.error == 0 && done < to.size() ? ENODATA : r.error, ec);
        return done;
    }

    /** SUSPENDS until some is sent.
     *  @param from what to send
     *  @param flags `MSG_...`
     *  @return how many bytes were sent
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL std::size_t send(const_bytes from, int flags = 0)
    {
        return size(value_or_throw(transmit(from, flags), "monad::async::socket::send"));
    }

    /** As the other `send`.
     *  @param from what to send
     *  @param flags `MSG_...`
     *  @param[out] ec the error
     *  @return how many bytes were sent; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t send(const_bytes from, int flags, std::error_code &ec) noexcept
    {
        return counted(transmit(from, flags), ec);
    }

    /** As the other `send`.
     *  @param from what to send
     *  @param[out] ec the error
     *  @return how many bytes were sent; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t send(const_bytes from, std::error_code &ec) noexcept
    {
        return counted(transmit(from, 0), ec);
    }

    /** SUSPENDS until all is sent; what other tasks send in that time may lie between. Where an
     *  error ends it, a time-out say, the other form tells how much was sent.
     *  @param from what to send
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void send_all(const_bytes from)
    {
        std::error_code ec;
        (void)send_all(from, ec);
        detail::check(ec.value(), "monad::async::socket::send_all");
    }

    /** As the other `send_all`.
     *  @param from what to send
     *  @param[out] ec the error
     *  @return how many bytes were sent, with an error too */
    MONAD_ASYNC_LOCAL std::size_t send_all(const_bytes from, std::error_code &ec) noexcept
    {
        std::size_t done = 0; // As in `recv_exact`.
        auto const r = detail::socket_call([&](monad_async_task self) {
            auto const more =
                monad_async_socket_send_all(self, socket_, from.data() + done, from.size() - done);
            done += more.value > 0 ? size(more.value) : 0;
            return more;
        });
        detail::report(r.error, ec);
        return done;
    }

    /** As `recvmsg`. SUSPENDS until there is a message. Descriptors that come with it are the
     *  caller's, with `FD_CLOEXEC`.
     *  @param[in,out] message where it goes
     *  @param flags `MSG_...`
     *  @return how many bytes came
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recvmsg(msghdr &message, int flags = 0)
    {
        auto const r = receive_message(message, flags);
        return size(value_or_throw(r, "monad::async::socket::recvmsg"));
    }

    /** As the other `recvmsg`.
     *  @param[in,out] message where it goes
     *  @param flags `MSG_...`
     *  @param[out] ec the error
     *  @return how many bytes came; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recvmsg(msghdr &message, int flags,
                                                        std::error_code &ec) noexcept
    {
        return counted(receive_message(message, flags), ec);
    }

    /** As the other `recvmsg`, with flags 0.
     *  @param[in,out] message as of `recvmsg`
     *  @param[out] ec the error
     *  @return how many bytes were received; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recvmsg(msghdr &message,
                                                        std::error_code &ec) noexcept
    {
        return recvmsg(message, 0, ec);
    }

    /** As `sendmsg`. SUSPENDS until there is room.
     *  @param message what to send
     *  @param flags `MSG_...`
     *  @return how many bytes were sent
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL std::size_t sendmsg(msghdr const &message, int flags = 0)
    {
        auto const r = transmit_message(message, flags);
        return size(value_or_throw(r, "monad::async::socket::sendmsg"));
    }

    /** As the other `sendmsg`.
     *  @param message what to send
     *  @param flags `MSG_...`
     *  @param[out] ec the error
     *  @return how many bytes were sent; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t sendmsg(msghdr const &message, int flags,
                                          std::error_code &ec) noexcept
    {
        return counted(transmit_message(message, flags), ec);
    }

    /** As the other `sendmsg`, with flags 0.
     *  @param message as of `sendmsg`
     *  @param[out] ec the error
     *  @return how many bytes were sent; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t sendmsg(msghdr const &message, std::error_code &ec) noexcept
    {
        return sendmsg(message, 0, ec);
    }

    /** Ends one direction, or both. SUSPENDS.
     *  @param how `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void shutdown(int how)
    {
        detail::check(end(how).error, "monad::async::socket::shutdown");
    }

    /** As the other `shutdown`.
     *  @param how `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void shutdown(int how, std::error_code &ec) noexcept
    {
        detail::report(end(how).error, ec);
    }

private:
    static std::size_t size(std::intptr_t value) noexcept
    {
        return static_cast<std::size_t>(value);
    }

    static std::size_t counted(monad_async_result r, std::error_code &ec) noexcept
    {
        detail::report(r.error, ec);
        return r.error == 0 ? size(r.value) : 0;
    }

    MONAD_ASYNC_LOCAL int open(int domain, int type, int protocol, std::uint32_t flags) noexcept
    {
        auto const r = detail::socket_call(
            flags,
            [&](monad_async_task self) {
                return monad_async_socket_open(self, &socket_, domain, type, protocol, flags);
            },
            [&] { return socket_.fd = ::socket(domain, type | SOCK_CLOEXEC, protocol); });
        return r.error;
    }

    MONAD_ASYNC_LOCAL monad_async_result begin_connect(sockaddr const *address, socklen_t length)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_connect(self, socket_, address, length);
        });
    }

    MONAD_ASYNC_LOCAL monad_async_result receive(bytes to, int flags)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_recv(self, socket_, to.data(), to.size(), flags);
        });
    }

    MONAD_ASYNC_LOCAL monad_async_result transmit(const_bytes from, int flags)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_send(self, socket_, from.data(), from.size(), flags);
        });
    }

    MONAD_ASYNC_LOCAL monad_async_result receive_message(msghdr &message, int flags)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_recvmsg(self, socket_, &message, flags);
        });
    }

    MONAD_ASYNC_LOCAL monad_async_result transmit_message(msghdr const &message, int flags)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_sendmsg(self, socket_, &message, flags);
        });
    }

    MONAD_ASYNC_LOCAL monad_async_result end(int how)
    {
        return detail::socket_call(
            [&](monad_async_task self) { return monad_async_socket_shutdown(self, socket_, how); });
    }
};

} // namespace v0
} // namespace monad::async

// One of them gives the other.
#include "listener.hpp" // IWYU pragma: export

#endif

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
#include "detail/die.hpp"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "socket.h"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace monad::async {
inline namespace v0 {

/** The peer sends no more, where more was to come. As an error code: `ENODATA`. */
class MONAD_ASYNC_API end_of_stream : public std::system_error {
public:
    /** @param what which call it was; opens the exception's text */
    explicit end_of_stream(char const *what)
        : std::system_error(ENODATA, std::system_category(), what)
    {
    }
};

/** @cond no API */
namespace detail {

// A call on a handle by the running task.
template <class Call>
[[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result socket_call(Call call)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [self, call] { return call(self); });
}

struct internet_address {
    sockaddr_storage storage = {};
    socklen_t length = 0;
    // False: not an address in figures.
    [[nodiscard]] bool parse(char const *text, std::uint16_t port) noexcept
    {
        auto *const four = reinterpret_cast<sockaddr_in *>(&storage);
        if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
            four->sin_family = AF_INET;
            four->sin_port = htons(port);
            length = sizeof(sockaddr_in);
            return true;
        }
        auto *const six = reinterpret_cast<sockaddr_in6 *>(&storage);
        if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
            six->sin6_family = AF_INET6;
            six->sin6_port = htons(port);
            length = sizeof(sockaddr_in6);
            return true;
        }
        return false;
    }
    [[nodiscard]] sockaddr *native() noexcept { return reinterpret_cast<sockaddr *>(&storage); }
};

// What a socket and a listener have in common: a handle that is closed with them.
class socket_handle {
public:
    socket_handle() noexcept = default;
    explicit socket_handle(monad_async_socket native) noexcept : socket_(native) {}
    socket_handle(socket_handle &&other) noexcept
        : socket_(std::exchange(other.socket_, monad_async_socket{-1, 0}))
    {
    }
    /** Exchanges the handles: the other closes what this one had, when it ends.
     *  @param other has what this one had
     *  @return this handle */
    socket_handle &operator=(socket_handle &&other) noexcept
    {
        std::swap(socket_, other.socket_);
        return *this;
    }

    /** SUSPENDS inside a task, whatever scopes have fired: closes it, after what any task has in
     *  flight on it was ended. Outside tasks a plain descriptor is closed, and a direct one stays
     *  until its executor ends. */
    ~socket_handle() { (void)shut(); }

    /** Closes it now; SUSPENDS as the destructor. Nothing happens where there is none.
     *  @throws std::system_error the errno of the close */
    void close() { check(shut(), "monad::async::socket::close"); }

    /** As the other `close`.
     *  @param[out] ec the error */
    void close(std::error_code &ec) noexcept { report(shut(), ec); }

    /** @return whether there is one */
    [[nodiscard]] bool is_open() const noexcept { return socket_.fd >= 0; }

    /** @return the handle of the C API; -1 in it if there is none */
    [[nodiscard]] monad_async_socket native_handle() const noexcept { return socket_; }

    /** Gives the handle up.
     *  @return the handle, to be closed by the caller */
    [[nodiscard]] monad_async_socket release() noexcept
    {
        return std::exchange(socket_, monad_async_socket{-1, 0});
    }

    /** @return the local port, in the machine's byte order; 0 where it has none
     *  @throws std::system_error as `getsockname` */
    [[nodiscard]] std::uint16_t port() const
    {
        internet_address at;
        at.length = sizeof at.storage;
        int const saved = errno;
        int const error = getsockname(socket_.fd, at.native(), &at.length) == 0 ? 0 : errno;
        errno = saved;
        check(error, "monad::async::socket::port");
        if (at.storage.ss_family == AF_INET) {
            return ntohs(reinterpret_cast<sockaddr_in *>(&at.storage)->sin_port);
        }
        if (at.storage.ss_family == AF_INET6) {
            return ntohs(reinterpret_cast<sockaddr_in6 *>(&at.storage)->sin6_port);
        }
        return 0;
    }

protected:
    monad_async_socket socket_ = {-1, 0};

private:
    MONAD_ASYNC_LOCAL int shut() noexcept
    {
        auto const socket = release();
        if (socket.fd < 0) {
            return 0;
        }
        auto *const self = monad_async_task_current();
        auto const call = [&] { return monad_async_socket_close(self, socket); };
        int const error = self != nullptr ? suspending(call).error : EPERM;
        bool const is_plain = (socket.flags & MONAD_ASYNC_SOCKET_DIRECT) == 0;
        if ((error == EPERM || error == ENOTSUP) && is_plain) {
            int const saved = errno;
            ::close(socket.fd);
            errno = saved;
            return 0;
        }
        return error;
    }
};

} // namespace detail
/** @endcond */

/** A connection, or a socket for messages. Move-only. All calls are made by the task that runs;
 *  outside tasks they throw `EPERM`. */
class socket : public detail::socket_handle {
public:
    /** None. */
    socket() noexcept = default;

    /** Takes over a socket of the C API; a descriptor by `monad_async_socket_adopt(fd)`.
     *  @param native to be closed by this object */
    explicit socket(monad_async_socket native) noexcept : detail::socket_handle(native) {}

    /** Makes a socket. EXPENSIVE.
     *  @param domain `AF_INET` and so on
     *  @param type `SOCK_STREAM` and so on
     *  @param protocol 0, or `IPPROTO_...`
     *  @throws std::system_error its errno */
    explicit socket(int domain, int type, int protocol = 0)
    {
        detail::check(open(domain, type, protocol), "monad::async::socket");
    }

    /** Connects to an address in figures, by TCP. SUSPENDS.
     *  @param address as `127.0.0.1` or `::1`
     *  @param port the port
     *  @return the connection
     *  @throws std::system_error its errno; `EINVAL`: not an address */
    [[nodiscard]] static MONAD_ASYNC_LOCAL socket tcp(char const *address, std::uint16_t port)
    {
        std::error_code ec;
        auto made = tcp(address, port, ec);
        detail::check(ec.value(), "monad::async::socket::tcp");
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
        detail::internet_address to;
        socket made;
        int error = to.parse(address, port) ? made.open(to.storage.ss_family, SOCK_STREAM, 0)
                                            : EINVAL;
        if (error == 0) {
            error = made.begin_connect(to.native(), to.length).error;
        }
        detail::report(error, ec);
        return error == 0 ? std::move(made) : socket();
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
     *  @return how many bytes came; 0: the peer sends no more
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to)
    {
        return size(value_or_throw(receive(to, 0), "monad::async::socket::recv"));
    }

    /** As the other `recv`.
     *  @param to where it goes
     *  @param[out] ec the error
     *  @return how many bytes came; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t recv(bytes to, std::error_code &ec) noexcept
    {
        return counted(receive(to, 0), ec);
    }

    /** SUSPENDS until so many bytes have come.
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
        std::size_t done = 0;
        ec.clear();
        while (done < to.size()) {
            auto const n =
                counted(receive(bytes(to.data() + done, to.size() - done), MSG_WAITALL), ec);
            if (n == 0 && !ec) {
                detail::report(ENODATA, ec);
            }
            if (ec) {
                break;
            }
            done += n;
        }
        return done;
    }

    /** SUSPENDS until some is sent.
     *  @param from what to send
     *  @return how many bytes were sent
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL std::size_t send(const_bytes from)
    {
        return size(value_or_throw(transmit(from, 0), "monad::async::socket::send"));
    }

    /** As the other `send`.
     *  @param from what to send
     *  @param[out] ec the error
     *  @return how many bytes were sent; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t send(const_bytes from, std::error_code &ec) noexcept
    {
        return counted(transmit(from, 0), ec);
    }

    /** SUSPENDS until all is sent.
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
        std::size_t done = 0;
        ec.clear();
        while (done < from.size() && !ec) {
            const_bytes const rest(from.data() + done, from.size() - done);
            done += counted(transmit(rest, MSG_WAITALL), ec);
        }
        return done;
    }

    /** SUSPENDS. Ends one direction, or both.
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

    MONAD_ASYNC_LOCAL int open(int domain, int type, int protocol) noexcept
    {
        return detail::socket_call([&](monad_async_task self) {
                   return monad_async_socket_open(self, &socket_, domain, type, protocol, 0);
               })
            .error;
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

    MONAD_ASYNC_LOCAL monad_async_result end(int how)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_shutdown(self, socket_, how);
        });
    }
};

/** A socket that listens. Move-only. Made inside tasks and outside. */
class listener : public detail::socket_handle {
public:
    /** None. */
    listener() noexcept = default;

    /** Takes over a socket of the C API that listens.
     *  @param native to be closed by this object */
    explicit listener(monad_async_socket native) noexcept : detail::socket_handle(native) {}

    /** Listens for TCP connections, with `SO_REUSEADDR`. EXPENSIVE; does not suspend.
     *  @param port the port; 0: a free one, see `port()`
     *  @param address where, in figures: `::` and `0.0.0.0` are all of the machine's
     *  @param backlog how many connections may wait
     *  @return the listener
     *  @throws std::system_error its errno; `EINVAL`: not an address */
    [[nodiscard]] static listener tcp(std::uint16_t port, char const *address = "127.0.0.1",
                                      int backlog = SOMAXCONN)
    {
        std::error_code ec;
        auto made = tcp(port, address, backlog, ec);
        detail::check(ec.value(), "monad::async::listener::tcp");
        return made;
    }

    /** As the other `tcp`.
     *  @param port the port
     *  @param address where
     *  @param backlog how many connections may wait
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener tcp(std::uint16_t port, char const *address, int backlog,
                                      std::error_code &ec) noexcept
    {
        detail::internet_address at;
        listener made;
        int const saved = errno;
        errno = EINVAL;
        int const on = 1;
        bool const listens =
            at.parse(address, port) &&
            (made.socket_.fd =
                 ::socket(at.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 &&
            setsockopt(made.socket_.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(made.socket_.fd, at.native(), at.length) == 0 &&
            listen(made.socket_.fd, backlog) == 0;
        detail::report(listens ? 0 : errno, ec);
        errno = saved;
        return listens ? std::move(made) : listener();
    }

    /** SUSPENDS until there is a connection.
     *  @return the connection
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept()
    {
        monad_async_socket made = {-1, 0};
        detail::check(take(made).error, "monad::async::listener::accept");
        return socket(made);
    }

    /** As the other `accept`.
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(std::error_code &ec) noexcept
    {
        monad_async_socket made = {-1, 0};
        detail::report(take(made).error, ec);
        return socket(made);
    }

private:
    MONAD_ASYNC_LOCAL monad_async_result take(monad_async_socket &made)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_accept(self, socket_, &made, nullptr, nullptr, 0);
        });
    }
};

} // namespace v0
} // namespace monad::async

#endif

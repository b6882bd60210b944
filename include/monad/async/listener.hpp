#ifndef MONAD_ASYNC_LISTENER_HPP
#define MONAD_ASYNC_LISTENER_HPP

/** @file listener.hpp
 *  Sockets that listen. Each call has two forms: one throws, one takes a `std::error_code &`.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of socket.h. */

#include "config.h"
#include "error.hpp"
#include "path.hpp"
#include "socket.h"
#include "socket.hpp"
#include "socket_address.hpp"
#include "socket_handle.hpp"
#include "task.h"

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace monad::async {
inline namespace v0 {

/** A socket that listens. Move-only. Made inside tasks and outside.
 *  @see monad_async_socket_accept(), socket.hpp */
class listener : public socket_handle {
public:
    /** None. */
    listener() noexcept = default;

    /** Takes over a socket of the C API that listens.
     *  @param native to be closed by this object */
    explicit listener(monad_async_socket native) noexcept : socket_handle(native) {}

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
        detail::check(ec.value(), ec.value() == EINVAL
                                      ? "monad::async::listener::tcp (no address in figures?)"
                                      : "monad::async::listener::tcp");
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
        return at(socket_address::internet(address, port), backlog, ec);
    }

    /** As the other `tcp`, with as many as may be.
     *  @param port the port
     *  @param address in figures
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener tcp(std::uint16_t port, char const *address,
                                      std::error_code &ec) noexcept
    {
        return tcp(port, address, SOMAXCONN, ec);
    }

    /** As the other `tcp`, on this machine alone, with as many as may be.
     *  @param port the port
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener tcp(std::uint16_t port, std::error_code &ec) noexcept
    {
        return tcp(port, "127.0.0.1", SOMAXCONN, ec);
    }

    /** Listens on a socket in the file system. EXPENSIVE; does not suspend. Who may connect, the
     *  process's umask says. The name stays when the listener is closed.
     *  @param path its name
     *  @param backlog how many connections may wait
     *  @return the listener
     *  @throws std::system_error its errno; `EADDRINUSE`: the name is there, of a server that runs
     *  or that left it behind: `unlink` it before, once no other is sure to run; `ENAMETOOLONG`: a
     *  name of 108 bytes or more; `EINVAL`: an empty one */
    [[nodiscard]] static listener local(pathname path, int backlog = SOMAXCONN)
    {
        std::error_code ec;
        auto made = local(path, backlog, ec);
        detail::check(ec.value(),
                      ec.value() == EADDRINUSE
                          ? "monad::async::listener::local (the name is there: of a server that "
                            "runs, or that left it behind)"
                          : "monad::async::listener::local");
        return made;
    }

    /** As the other `local`.
     *  @param path its name
     *  @param backlog how many connections may wait
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener local(pathname path, int backlog, std::error_code &ec) noexcept
    {
        socket_address to;
        int const error = detail::local_address(path.c_str(), to);
        if (error != 0) {
            detail::report(error, ec);
            return listener();
        }
        return at(to, backlog, ec);
    }

    /** As the other `local`, with as many as may be.
     *  @param path its name
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener local(pathname path, std::error_code &ec) noexcept
    {
        return local(path, SOMAXCONN, ec);
    }

    /** Listens for connections at an address of any family, with `SO_REUSEADDR`. EXPENSIVE; does
     *  not suspend. With other options: `socket`, `set_option`, `bind`, and `on`, which work
     *  outside tasks as well.
     *  @param address where
     *  @param backlog how many connections may wait
     *  @return the listener
     *  @throws std::system_error its errno; `EINVAL`: an empty address */
    [[nodiscard]] static listener at(socket_address const &address, int backlog = SOMAXCONN)
    {
        std::error_code ec;
        auto made = at(address, backlog, ec);
        detail::check(ec.value(), "monad::async::listener::at");
        return made;
    }

    /** As the other `at`.
     *  @param address where
     *  @param backlog how many connections may wait
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener at(socket_address const &address, int backlog,
                                     std::error_code &ec) noexcept
    {
        int const saved = errno;
        errno = EINVAL;
        int const on = 1;
        int fd = -1;
        bool const listens =
            !address.empty() &&
            (fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 &&
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            ::bind(fd, address.native(), address.size()) == 0 && ::listen(fd, backlog) == 0;
        detail::report(listens ? 0 : errno, ec);
        if (!listens && fd >= 0) {
            ::close(fd); // At once: nothing was ever in flight on it.
        }
        errno = saved;
        return listens ? listener(monad_async_socket_adopt(fd)) : listener();
    }

    /** As the other `at`, with as many as may be.
     *  @param address where
     *  @param[out] ec the error
     *  @return the listener; none with an error */
    [[nodiscard]] static listener at(socket_address const &address, std::error_code &ec) noexcept
    {
        return at(address, SOMAXCONN, ec);
    }

    /** Has a socket that is bound listen, inside a task or outside. EXPENSIVE; a direct one:
     *  SUSPENDS.
     *  @param bound is a listener from now on
     *  @param backlog how many connections may wait
     *  @return the listener
     *  @throws std::system_error its errno; then `bound` is as it was; a direct one outside tasks:
     *  `EPERM` */
    [[nodiscard]] static MONAD_ASYNC_LOCAL listener on(socket &&bound, int backlog = SOMAXCONN)
    {
        std::error_code ec;
        auto made = on(std::move(bound), backlog, ec);
        detail::check(ec.value(), "monad::async::listener::on");
        return made;
    }

    /** As the other `on`.
     *  @param bound is a listener from now on
     *  @param backlog how many connections may wait
     *  @param[out] ec the error
     *  @return the listener; none with an error, and `bound` is as it was */
    [[nodiscard]] static MONAD_ASYNC_LOCAL listener on(socket &&bound, int backlog,
                                                       std::error_code &ec) noexcept
    {
        auto const native = bound.native_handle();
        auto const r = detail::socket_call(
            native.flags,
            [&](monad_async_task self) { return monad_async_socket_listen(self, native, backlog); },
            [&] { return ::listen(native.fd, backlog); });
        detail::report(r.error, ec);
        return r.error == 0 ? listener(bound.release()) : listener();
    }

    /** As the other `on`, with as many as may be.
     *  @param bound is a listener from now on
     *  @param[out] ec the error
     *  @return the listener; none with an error, and `bound` is as it was */
    [[nodiscard]] static MONAD_ASYNC_LOCAL listener on(socket &&bound, std::error_code &ec) noexcept
    {
        return on(std::move(bound), SOMAXCONN, ec);
    }

    /** SUSPENDS until there is a connection.
     *  @param flags 0, or `MONAD_ASYNC_SOCKET_DIRECT`
     *  @return the connection
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(std::uint32_t flags = 0)
    {
        monad_async_socket made = {-1, 0};
        detail::check(take(made, flags).error, "monad::async::listener::accept");
        return socket(made);
    }

    /** As the other `accept`.
     *  @param flags 0, or `MONAD_ASYNC_SOCKET_DIRECT`
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(std::uint32_t flags, std::error_code &ec) noexcept
    {
        monad_async_socket made = {-1, 0};
        detail::report(take(made, flags).error, ec);
        return socket(made);
    }

    /** SUSPENDS until there is a connection.
     *  @param[out] from the peer's address
     *  @param flags 0, or `MONAD_ASYNC_SOCKET_DIRECT`
     *  @return the connection
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(socket_address &from, std::uint32_t flags = 0)
    {
        monad_async_socket made = {-1, 0};
        detail::check(take(made, flags, from).error, "monad::async::listener::accept");
        return socket(made);
    }

    /** As the other `accept`.
     *  @param[out] from the peer's address
     *  @param flags 0, or `MONAD_ASYNC_SOCKET_DIRECT`
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(socket_address &from, std::uint32_t flags,
                                                  std::error_code &ec) noexcept
    {
        monad_async_socket made = {-1, 0};
        detail::report(take(made, flags, from).error, ec);
        return socket(made);
    }

    /** As the other `accept`, with flags 0.
     *  @param[out] from the peer's address
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(socket_address &from,
                                                  std::error_code &ec) noexcept
    {
        return accept(from, 0, ec);
    }

    /** As the other `accept`.
     *  @param[out] ec the error
     *  @return the connection; none with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL socket accept(std::error_code &ec) noexcept
    {
        monad_async_socket made = {-1, 0};
        detail::report(take(made, 0).error, ec);
        return socket(made);
    }

private:
    MONAD_ASYNC_LOCAL monad_async_result take(monad_async_socket &made, std::uint32_t flags)
    {
        return detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_accept(self, socket_, &made, nullptr, nullptr, flags);
        });
    }

    MONAD_ASYNC_LOCAL monad_async_result take(monad_async_socket &made, std::uint32_t flags,
                                              socket_address &from)
    {
        auto length = static_cast<socklen_t>(from.capacity());
        auto const r = detail::socket_call([&](monad_async_task self) {
            return monad_async_socket_accept(self, socket_, &made, from.native(), &length, flags);
        });
        from.resize(r.error == 0 ? length : 0);
        return r;
    }
};

} // namespace v0
} // namespace monad::async

#endif

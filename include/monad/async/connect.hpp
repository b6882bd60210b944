#ifndef MONAD_ASYNC_CONNECT_HPP
#define MONAD_ASYNC_CONNECT_HPP

/** @file connect.hpp
 *  Connections to hosts by name.
 *
 *  The word SUSPENDS is that of executor.h. */

#include "blocking.hpp"
#include "config.h"
#include "error.hpp"
#include "socket.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include <netdb.h>

namespace monad::async {
inline namespace v0 {

/** Connects to the first of some addresses that takes the connection, tried one after the other.
 *  SUSPENDS. A time-out is a scope around it.
 *  @param addresses what `resolve` found
 *  @param[out] ec the error of the last address; `ENOENT`: there is none
 *  @return the connection; none with an error
 *  @see monad_async_socket_connect(), blocking.hpp */
[[nodiscard]] MONAD_ASYNC_LOCAL inline socket connect(address_list const &addresses,
                                                      std::error_code &ec) noexcept
{
    detail::report(ENOENT, ec);
    for (auto const &address : addresses) {
        socket made(address.ai_family, address.ai_socktype, address.ai_protocol, 0, ec);
        if (!ec) {
            made.connect(address.ai_addr, address.ai_addrlen, ec);
        }
        if (!ec) {
            return made;
        }
        if (ec == std::errc::operation_canceled || ec.value() == ETIME) {
            break;
        }
    }
    return socket();
}

/** As the other `connect`.
 *  @param addresses what `resolve` found
 *  @return the connection
 *  @throws std::system_error the errno of the last address; `ENOENT`: there is none
 *  @throws cancelled_error, timeout_error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline socket connect(address_list const &addresses)
{
    std::error_code ec;
    auto made = connect(addresses, ec);
    detail::check(ec.value(), "monad::async::connect");
    return made;
}

/** Finds the addresses of a host (`resolve`), and connects to the first that takes the connection.
 *  SUSPENDS.
 *  @param host a name, or an address in figures; empty: this machine
 *  @param service a name, or a port in figures
 *  @return the connection, by TCP
 *  @throws std::system_error as `resolve` and the other `connect`
 *  @throws cancelled_error, timeout_error
 *  @see monad_async_socket_connect(), blocking.hpp */
[[nodiscard]] MONAD_ASYNC_LOCAL inline socket connect(std::string const &host,
                                                      std::string const &service)
{
    return connect(resolve(host, service));
}

/** As the other `connect`.
 *  @param host a name, or an address in figures; empty: this machine
 *  @param service a name, or a port in figures
 *  @param[out] ec the error
 *  @return the connection; none with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline socket
connect(std::string const &host, std::string const &service, std::error_code &ec) noexcept
{
    auto const addresses = resolve(host, service, SOCK_STREAM, AF_UNSPEC, ec);
    return ec ? socket() : connect(addresses, ec);
}

} // namespace v0
} // namespace monad::async

#endif

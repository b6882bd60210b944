#ifndef MONAD_ASYNC_SOCKET_ADDRESS_HPP
#define MONAD_ASYNC_SOCKET_ADDRESS_HPP

/** @file socket_address.hpp
 *  The address of a socket, of any family. */

#include "config.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace monad::async {
inline namespace v0 {

/** Where a socket is: an Internet address with a port, a path, or what else the kernel knows.
 *  @see socket.hpp, listener.hpp */
class socket_address {
public:
    /** None. */
    socket_address() noexcept = default;

    /** Copies one; of one that is too long, nothing.
     *  @param address of any family
     *  @param length its bytes */
    socket_address(sockaddr const *address, socklen_t length) noexcept
    {
        if (length <= capacity()) {
            std::memcpy(&storage_, address, length);
            size_ = length;
        }
    }

    /** An Internet address in figures.
     *  @param text as `127.0.0.1` or `::1`
     *  @param port the port
     *  @return an empty one where that is no address */
    [[nodiscard]] static socket_address internet(char const *text, std::uint16_t port) noexcept
    {
        socket_address made;
        auto *const four = reinterpret_cast<sockaddr_in *>(&made.storage_);
        auto *const six = reinterpret_cast<sockaddr_in6 *>(&made.storage_);
        if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
            four->sin_family = AF_INET;
            four->sin_port = htons(port);
            made.size_ = sizeof *four;
        } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
            six->sin6_family = AF_INET6;
            six->sin6_port = htons(port);
            made.size_ = sizeof *six;
        }
        return made;
    }

    /** The address of a Unix socket.
     *  @param path its name
     *  @return an empty one where that is too long */
    [[nodiscard]] static socket_address local(char const *path) noexcept
    {
        socket_address made;
        auto *const local = reinterpret_cast<sockaddr_un *>(&made.storage_);
        auto const length = std::strlen(path);
        if (length < sizeof local->sun_path) {
            local->sun_family = AF_UNIX;
            std::memcpy(local->sun_path, path, length + 1);
            made.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + 1);
        }
        return made;
    }

    /** @return the port, in the machine's byte order; 0 where it has none */
    [[nodiscard]] std::uint16_t port() const noexcept
    {
        switch (family()) {
        case AF_INET: return ntohs(reinterpret_cast<sockaddr_in const *>(&storage_)->sin_port);
        case AF_INET6: return ntohs(reinterpret_cast<sockaddr_in6 const *>(&storage_)->sin6_port);
        default: return 0;
        }
    }

    /** @return `AF_INET` and so on; `AF_UNSPEC` of an empty one */
    [[nodiscard]] int family() const noexcept
    {
        return size_ != 0 ? storage_.ss_family : AF_UNSPEC;
    }

    /** @return whether there is none */
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

    /** @return its bytes */
    [[nodiscard]] socklen_t size() const noexcept { return size_; }

    /** @return how many bytes there may be */
    [[nodiscard]] static constexpr std::size_t capacity() noexcept
    {
        return sizeof(sockaddr_storage);
    }

    /** What has been written by `native()`.
     *  @param size its bytes; at most `capacity()` count */
    void resize(socklen_t size) noexcept
    {
        size_ = size <= capacity() ? size : static_cast<socklen_t>(capacity());
    }

    /** @return for a call that writes one; then `resize` */
    [[nodiscard]] sockaddr *native() noexcept { return reinterpret_cast<sockaddr *>(&storage_); }

    /** @return for a call that reads it */
    [[nodiscard]] sockaddr const *native() const noexcept
    {
        return reinterpret_cast<sockaddr const *>(&storage_);
    }

private:
    sockaddr_storage storage_ = {};
    socklen_t size_ = 0;
};

} // namespace v0
} // namespace monad::async

#endif

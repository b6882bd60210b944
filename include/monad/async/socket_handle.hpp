#ifndef MONAD_ASYNC_SOCKET_HANDLE_HPP
#define MONAD_ASYNC_SOCKET_HANDLE_HPP

/** @file socket_handle.hpp
 *  What sockets and listeners have in common. Each call has two forms: one throws, one takes a
 *  `std::error_code &`.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of socket.h. */

#include "config.h"
#include "detail/handle.hpp"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "socket.h"
#include "socket_address.hpp"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <sys/socket.h>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// A call on a handle by the running task.
template <class Call> [[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result socket_call(Call call)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [self, call] { return call(self); });
}

// The same where nothing waits: outside tasks by the system call itself, of what is a descriptor.
template <class Call, class Otherwise>
[[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result socket_call(std::uint32_t flags, Call call,
                                                               Otherwise otherwise)
{
    if (monad_async_task_current() != nullptr) {
        return socket_call(call);
    }
    if (flags != 0) {
        return monad_async_make_failure(EPERM);
    }
    int const saved = errno;
    int const value = otherwise();
    int const error = value >= 0 ? 0 : std::exchange(errno, saved);
    return error == 0 ? monad_async_make_success(value) : monad_async_make_failure(error);
}

// The errno of a name that is none: null, empty or too long.
[[nodiscard]] inline int local_address(char const *path, socket_address &address) noexcept
{
    if (path == nullptr || *path == 0) { // One that is empty would be a name beside all paths.
        return EINVAL;
    }
    address = socket_address::local(path);
    return address.empty() ? ENAMETOOLONG : 0;
}

} // namespace detail
/** @endcond */

/** What a socket and a listener have in common: a handle that is closed with them, addresses and
 *  options. Move-only.
 *  @see socket.hpp, listener.hpp */
class socket_handle {
public:
    /** None. */
    socket_handle() noexcept = default;

    /** Takes over a socket of the C API.
     *  @param native to be closed by this object */
    explicit socket_handle(monad_async_socket native) noexcept : socket_(native) {}

    /** Takes the handle over.
     *  @param other is left without one */
    socket_handle(socket_handle &&other) noexcept
        : socket_(std::exchange(other.socket_, monad_async_socket{-1, 0}))
    {
    }

    /** Exchanges the handles, and closes nothing: what this one had is closed when `other` ends.
     *  Where `other` is a variable that lives on, call `close` before, or `other.close()` after.
     *  @param other has what this one had
     *  @return this handle */
    socket_handle &operator=(socket_handle &&other) noexcept
    {
        std::swap(socket_, other.socket_);
        return *this;
    }

    /** Closes it, after what any task has in flight on it was ended. SUSPENDS inside a task,
     *  whatever scopes have fired, if there is something, or it lingers (`SO_LINGER`); else no
     *  other task runs in that time. Outside tasks a plain descriptor is closed, and a direct one
     *  stays until its executor ends; so it does where a task of another executor ends it. */
    ~socket_handle() { (void)shut(false); }

    /** Closes it now; SUSPENDS as the destructor. Nothing happens where there is none.
     *  @throws std::system_error the errno of the close; `EPERM`: a direct one of another executor,
     *  which stays open */
    void close() { detail::check(shut(true), "monad::async::socket::close"); }

    /** As the other `close`.
     *  @param[out] ec the error */
    void close(std::error_code &ec) noexcept { detail::report(shut(true), ec); }

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
     *  @throws std::system_error as `getsockname`; a direct one outside tasks: `EPERM` */
    [[nodiscard]] std::uint16_t port() const
    {
        std::error_code ec;
        auto const found = port(ec);
        detail::check(ec.value(), "monad::async::socket::port");
        return found;
    }

    /** As the other `port`.
     *  @param[out] ec the error
     *  @return the local port; 0 with an error */
    [[nodiscard]] std::uint16_t port(std::error_code &ec) const noexcept
    {
        return address_of(monad_async_socket_local_address, getsockname, ec).port();
    }

    /** @return its own address
     *  @throws std::system_error as `getsockname`; a direct one outside tasks: `EPERM` */
    [[nodiscard]] socket_address local_address() const
    {
        std::error_code ec;
        auto const found = local_address(ec);
        detail::check(ec.value(), "monad::async::socket::local_address");
        return found;
    }

    /** As the other `local_address`.
     *  @param[out] ec the error
     *  @return its own address; an empty one with an error */
    [[nodiscard]] socket_address local_address(std::error_code &ec) const noexcept
    {
        return address_of(monad_async_socket_local_address, getsockname, ec);
    }

    /** @return the peer's address
     *  @throws std::system_error as `getpeername`; a direct one outside tasks: `EPERM` */
    [[nodiscard]] socket_address peer_address() const
    {
        std::error_code ec;
        auto const found = peer_address(ec);
        detail::check(ec.value(), "monad::async::socket::peer_address");
        return found;
    }

    /** As the other `peer_address`.
     *  @param[out] ec the error
     *  @return the peer's address; an empty one with an error */
    [[nodiscard]] socket_address peer_address(std::error_code &ec) const noexcept
    {
        return address_of(monad_async_socket_peer_address, getpeername, ec);
    }

    /** Binds it, inside a task or outside. EXPENSIVE; a direct one: SUSPENDS.
     *  @param address where it is to be
     *  @throws std::system_error its errno; a direct one outside tasks: `EPERM` */
    MONAD_ASYNC_LOCAL void bind(socket_address const &address)
    {
        detail::check(place(address).error, "monad::async::socket::bind");
    }

    /** As the other `bind`.
     *  @param address where it is to be
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void bind(socket_address const &address, std::error_code &ec) noexcept
    {
        detail::report(place(address).error, ec);
    }

    /** As `getsockopt`, of an option of that type, inside a task or outside. EXPENSIVE; a direct
     *  one: SUSPENDS.
     *  @tparam T `int`, `timeval` and so on
     *  @param level `SOL_SOCKET` and so on
     *  @param name `SO_...` and so on
     *  @return the option; what the kernel does not fill is 0
     *  @throws std::system_error its errno; a direct one outside tasks: `EPERM` */
    template <class T = int> [[nodiscard]] MONAD_ASYNC_LOCAL T option(int level, int name) const
    {
        T value = {};
        detail::check(read_option(level, name, &value, sizeof value).error,
                      "monad::async::socket::option");
        return value;
    }

    /** As the other `option`.
     *  @tparam T `int`, `timeval` and so on
     *  @param level `SOL_SOCKET` and so on
     *  @param name `SO_...` and so on
     *  @param[out] ec the error
     *  @return the option; zeros with an error */
    template <class T = int>
    [[nodiscard]] MONAD_ASYNC_LOCAL T option(int level, int name,
                                             std::error_code &ec) const noexcept
    {
        T value = {};
        detail::report(read_option(level, name, &value, sizeof value).error, ec);
        return ec ? T{} : value;
    }

    /** As `setsockopt`, inside a task or outside. EXPENSIVE; a direct one: SUSPENDS.
     *  @param level `SOL_SOCKET` and so on
     *  @param name `SO_...` and so on
     *  @param value the option
     *  @throws std::system_error its errno; outside tasks, a direct one, or `SO_LINGER`, of which
     *  the library has to know: `EPERM` */
    template <class T> MONAD_ASYNC_LOCAL void set_option(int level, int name, T const &value)
    {
        detail::check(write_option(level, name, &value, sizeof value).error,
                      "monad::async::socket::set_option");
    }

    /** As the other `set_option`.
     *  @param level `SOL_SOCKET` and so on
     *  @param name `SO_...` and so on
     *  @param value the option
     *  @param[out] ec the error */
    template <class T>
    MONAD_ASYNC_LOCAL void set_option(int level, int name, T const &value,
                                      std::error_code &ec) noexcept
    {
        detail::report(write_option(level, name, &value, sizeof value).error, ec);
    }

protected:
    /** -1 in it if there is none. */
    monad_async_socket socket_ = {-1, 0};

private:
    template <class Call, class Otherwise>
    MONAD_ASYNC_LOCAL socket_address address_of(Call call, Otherwise otherwise,
                                                std::error_code &ec) const noexcept
    {
        socket_address found;
        auto length = static_cast<socklen_t>(found.capacity());
        int const error =
            detail::socket_call(
                socket_.flags,
                [&](monad_async_task self) { return call(self, socket_, found.native(), &length); },
                [&] { return otherwise(socket_.fd, found.native(), &length); })
                .error;
        found.resize(error == 0 ? length : 0);
        detail::report(error, ec);
        return found;
    }

    MONAD_ASYNC_LOCAL monad_async_result place(socket_address const &address)
    {
        return detail::socket_call(
            socket_.flags,
            [&](monad_async_task self) {
                return monad_async_socket_bind(self, socket_, address.native(), address.size());
            },
            [&] { return ::bind(socket_.fd, address.native(), address.size()); });
    }

    MONAD_ASYNC_LOCAL monad_async_result read_option(int level, int name, void *value,
                                                     std::size_t bytes) const
    {
        auto length = static_cast<socklen_t>(bytes);
        return detail::socket_call(
            socket_.flags,
            [&](monad_async_task self) {
                return monad_async_socket_option_get(self, socket_, level, name, value, &length);
            },
            [&] { return ::getsockopt(socket_.fd, level, name, value, &length); });
    }

    MONAD_ASYNC_LOCAL monad_async_result write_option(int level, int name, void const *value,
                                                      std::size_t bytes)
    {
        auto const length = static_cast<socklen_t>(bytes);
        // One that lingers is closed by another thread, if the library was told.
        bool const lingers = level == SOL_SOCKET && name == SO_LINGER;
        return detail::socket_call(
            lingers ? MONAD_ASYNC_SOCKET_DIRECT : socket_.flags,
            [&](monad_async_task self) {
                return monad_async_socket_option_set(self, socket_, level, name, value, length);
            },
            [&] { return ::setsockopt(socket_.fd, level, name, value, length); });
    }

    // `keeps`: see `detail::close_handle`.
    MONAD_ASYNC_LOCAL int shut(bool keeps) noexcept
    {
        constexpr auto direct = MONAD_ASYNC_SOCKET_DIRECT;
        return detail::close_handle(socket_, direct, direct, keeps, monad_async_socket_close);
    }
};

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_DIRECT_HPP
#define MONAD_ASYNC_DIRECT_HPP

/** @file direct.hpp
 *  Direct descriptors outside their own executor: as plain ones, and in another executor's table.
 *  Each call has two forms: one throws, one takes a `std::error_code &`.
 *
 *  They are made by `MONAD_ASYNC_FILE_DIRECT` in `open_options::flags`, and
 *  `MONAD_ASYNC_SOCKET_DIRECT` as flags of `socket` and `listener::accept`.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of direct.h. */

#include "config.h"
#include "detail/runtime.hpp"
#include "direct.h"
#include "error.hpp"
#include "executor_ref.hpp"
#include "file.hpp"
#include "path.hpp"
#include "socket.hpp"
#include "socket_handle.hpp"

#include <system_error>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

template <class Native, class Call>
[[nodiscard]] MONAD_ASYNC_LOCAL int direct_call(Call call, Native from, Native &to)
{
    return own_call([&](monad_async_task self) { return call(self, from, &to); }).error;
}

template <class Native, class Call>
[[nodiscard]] MONAD_ASYNC_LOCAL int direct_call(Call call, Native from, executor_ref const &ex,
                                                Native &to)
{
    auto const on = [&](monad_async_task self) {
        return call(self, from, ex.native_handle(), &to);
    };
    return own_call(on).error;
}

} // namespace detail
/** @endcond */

/** Makes a plain descriptor of the same open file. EXPENSIVE. A direct one: SUSPENDS, Linux 6.8.
 *  @param f stays open
 *  @return the new one
 *  @throws std::system_error its errno
 *  @see monad_async_file_to_plain() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline file to_plain(file const &f)
{
    monad_async_file made = {-1, 0};
    detail::check(detail::direct_call(monad_async_file_to_plain, f.native_handle(), made),
                  "monad::async::to_plain");
    return file(made);
}

/** As the other `to_plain`.
 *  @param f stays open
 *  @param[out] ec the error
 *  @return the new one; none with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline file to_plain(file const &f, std::error_code &ec) noexcept
{
    monad_async_file made = {-1, 0};
    detail::report(detail::direct_call(monad_async_file_to_plain, f.native_handle(), made), ec);
    return file(made);
}

/** As the `to_plain` of files.
 *  @param s stays open
 *  @return the new one
 *  @throws std::system_error its errno
 *  @see monad_async_socket_to_plain() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline socket to_plain(socket_handle const &s)
{
    monad_async_socket made = {-1, 0};
    detail::check(detail::direct_call(monad_async_socket_to_plain, s.native_handle(), made),
                  "monad::async::to_plain");
    return socket(made);
}

/** As the other `to_plain`.
 *  @param s stays open
 *  @param[out] ec the error
 *  @return the new one; none with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline socket to_plain(socket_handle const &s,
                                                       std::error_code &ec) noexcept
{
    monad_async_socket made = {-1, 0};
    detail::report(detail::direct_call(monad_async_socket_to_plain, s.native_handle(), made), ec);
    return socket(made);
}

/** Puts a direct descriptor into the table of another executor. SUSPENDS. EXPENSIVE. Linux 6.0.
 *  @param f a direct one, which stays open
 *  @param to the other executor
 *  @return for a `file` that a task of that executor makes of it: its destructor closes it there
 *  @throws std::system_error its errno
 *  @see monad_async_file_pass() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline monad_async_file pass(file const &f, executor_ref const &to)
{
    monad_async_file made = {-1, 0};
    detail::check(detail::direct_call(monad_async_file_pass, f.native_handle(), to, made),
                  "monad::async::pass");
    return made;
}

/** As the other `pass`.
 *  @param f a direct one, which stays open
 *  @param to the other executor
 *  @param[out] ec the error
 *  @return as there; -1 in it with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline monad_async_file pass(file const &f, executor_ref const &to,
                                                             std::error_code &ec) noexcept
{
    monad_async_file made = {-1, 0};
    detail::report(detail::direct_call(monad_async_file_pass, f.native_handle(), to, made), ec);
    return made;
}

/** As the `pass` of files.
 *  @param s a direct one, which stays open
 *  @param to the other executor
 *  @return for a `socket`, or a `listener`, that a task of that executor makes of it
 *  @throws std::system_error its errno
 *  @see monad_async_socket_pass() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline monad_async_socket pass(socket_handle const &s,
                                                               executor_ref const &to)
{
    monad_async_socket made = {-1, 0};
    detail::check(detail::direct_call(monad_async_socket_pass, s.native_handle(), to, made),
                  "monad::async::pass");
    return made;
}

/** As the other `pass`.
 *  @param s a direct one, which stays open
 *  @param to the other executor
 *  @param[out] ec the error
 *  @return as there; -1 in it with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline monad_async_socket
pass(socket_handle const &s, executor_ref const &to, std::error_code &ec) noexcept
{
    monad_async_socket made = {-1, 0};
    detail::report(detail::direct_call(monad_async_socket_pass, s.native_handle(), to, made), ec);
    return made;
}

} // namespace v0
} // namespace monad::async

#endif

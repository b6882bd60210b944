#ifndef MONAD_ASYNC_PATH_HPP
#define MONAD_ASYNC_PATH_HPP

/** @file path.hpp
 *  Names of files: made, changed, removed, asked about, by the task that runs. Each call has two
 *  forms: one throws, one takes a `std::error_code &`. For names below an open directory there is
 *  path.h.
 *
 *  The word SUSPENDS is that of executor.h, the rules those of file.h. */

#include "config.h"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "path.h"
#include "task.h"

#include <cstdint>
#include <cstring>
#include <system_error>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

template <class Name, class = void> inline constexpr bool has_size = false;
template <class Name>
inline constexpr bool has_size<Name, std::void_t<decltype(std::declval<Name const &>().size())>> =
    true;
template <class Name, class = void> inline constexpr bool has_native = false;
template <class Name>
inline constexpr bool
    has_native<Name, std::void_t<decltype(std::declval<Name const &>().native().size())>> = true;

// Null where it would name another file: it has a 0 before its end. Of a class of UTF-8 text `size`
// may count characters, which are fewer than the bytes.
template <class Name> char const *whole_name(Name const &name) noexcept
{
    char const *const text = name.c_str();
    if constexpr (has_native<Name>) { // std::filesystem::path
        return std::strlen(text) == name.native().size() ? text : nullptr;
    } else if constexpr (has_size<Name>) {
        return std::strlen(text) < static_cast<std::size_t>(name.size()) ? nullptr : text;
    } else {
        return text;
    }
}

} // namespace detail
/** @endcond */

/** A file's name as a call takes it: from a string, a literal, a `std::filesystem::path`. Of one
 *  that has a 0 before its end each call says `EINVAL`. Owns nothing.
 *  @see path.h */
class pathname {
public:
    /** @param text ends with a 0 */
    pathname(char const *text) noexcept : text_(text) {} // NOLINT: meant to convert

    /** @param name has a `c_str()` of plain characters */
    template <class Name,
              std::enable_if_t<std::is_convertible_v<decltype(std::declval<Name const &>().c_str()),
                                                     char const *>,
                               int> = 0>
    pathname(Name const &name) noexcept // NOLINT: meant to convert
        : text_(detail::whole_name(name))
    {
    }

    /** @return ends with a 0; null: the name has one before its end */
    [[nodiscard]] char const *c_str() const noexcept { return text_; }

private:
    char const *text_;
};

/** @cond no API */
namespace detail {

// A call of the C API by the running task.
template <class Call> [[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result own_call(Call call)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [self, call] { return call(self); });
}

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_unlink(pathname path, int flags) noexcept
{
    return own_call([&](monad_async_task self) {
               return monad_async_path_unlink(self, AT_FDCWD, path.c_str(), flags);
           })
        .error;
}

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_rename(pathname from, pathname to,
                                                      std::uint32_t flags) noexcept
{
    return own_call([&](monad_async_task self) {
               return monad_async_path_rename(self, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                                              flags);
           })
        .error;
}

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_mkdir(pathname path, std::uint32_t mode) noexcept
{
    return own_call([&](monad_async_task self) {
               return monad_async_path_mkdir(self, AT_FDCWD, path.c_str(), mode);
           })
        .error;
}

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_link(pathname from, pathname to) noexcept
{
    return own_call([&](monad_async_task self) {
               return monad_async_path_link(self, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0);
           })
        .error;
}

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_symlink(pathname target, pathname path) noexcept
{
    return own_call([&](monad_async_task self) {
               return monad_async_path_symlink(self, target.c_str(), AT_FDCWD, path.c_str());
           })
        .error;
}

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_stat(pathname path, int flags,
                                                    struct statx &to) noexcept
{
    return own_call([&](monad_async_task self) {
               return monad_async_path_stat(self, AT_FDCWD, path.c_str(), flags,
                                            STATX_BASIC_STATS | STATX_BTIME, &to);
           })
        .error;
}

} // namespace detail
/** @endcond */

/** Removes a name. SUSPENDS.
 *  @param path what goes
 *  @param flags 0, or `AT_REMOVEDIR`
 *  @throws std::system_error its errno
 *  @see monad_async_path_unlink() */
MONAD_ASYNC_LOCAL inline void path_unlink(pathname path, int flags = 0)
{
    detail::check(detail::try_unlink(path, flags), "monad::async::path_unlink");
}

/** As the other `path_unlink`.
 *  @param path what goes
 *  @param flags 0, or `AT_REMOVEDIR`
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_unlink(pathname path, int flags, std::error_code &ec) noexcept
{
    detail::report(detail::try_unlink(path, flags), ec);
}

/** As the other `path_unlink`, of a file.
 *  @param path its name
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_unlink(pathname path, std::error_code &ec) noexcept
{
    path_unlink(path, 0, ec);
}

/** Renames. SUSPENDS.
 *  @param from the old name
 *  @param to the new name
 *  @param flags 0, or `RENAME_...`
 *  @throws std::system_error its errno
 *  @see monad_async_path_rename() */
MONAD_ASYNC_LOCAL inline void path_rename(pathname from, pathname to, std::uint32_t flags = 0)
{
    detail::check(detail::try_rename(from, to, flags), "monad::async::path_rename");
}

/** As the other `path_rename`.
 *  @param from the old name
 *  @param to the new name
 *  @param flags 0, or `RENAME_...`
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_rename(pathname from, pathname to, std::uint32_t flags,
                                          std::error_code &ec) noexcept
{
    detail::report(detail::try_rename(from, to, flags), ec);
}

/** As the other `path_rename`, with flags 0.
 *  @param from its name
 *  @param to its new name
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_rename(pathname from, pathname to, std::error_code &ec) noexcept
{
    path_rename(from, to, 0, ec);
}

/** Makes a directory. SUSPENDS.
 *  @param path its name
 *  @param mode of it, without what the umask takes
 *  @throws std::system_error its errno
 *  @see monad_async_path_mkdir() */
MONAD_ASYNC_LOCAL inline void path_mkdir(pathname path, std::uint32_t mode = 0777)
{
    detail::check(detail::try_mkdir(path, mode), "monad::async::path_mkdir");
}

/** As the other `path_mkdir`.
 *  @param path its name
 *  @param mode of it
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_mkdir(pathname path, std::uint32_t mode,
                                         std::error_code &ec) noexcept
{
    detail::report(detail::try_mkdir(path, mode), ec);
}

/** As the other `path_mkdir`, with mode 0777.
 *  @param path its name
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_mkdir(pathname path, std::error_code &ec) noexcept
{
    path_mkdir(path, 0777, ec);
}

/** Gives a file one name more. SUSPENDS.
 *  @param from the name there is
 *  @param to the name there is to be
 *  @throws std::system_error its errno
 *  @see monad_async_path_link() */
MONAD_ASYNC_LOCAL inline void path_link(pathname from, pathname to)
{
    detail::check(detail::try_link(from, to), "monad::async::path_link");
}

/** As the other `path_link`.
 *  @param from the name there is
 *  @param to the name there is to be
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_link(pathname from, pathname to, std::error_code &ec) noexcept
{
    detail::report(detail::try_link(from, to), ec);
}

/** Makes a symbolic link. SUSPENDS.
 *  @param target what the link says
 *  @param path the link's name
 *  @throws std::system_error its errno
 *  @see monad_async_path_symlink() */
MONAD_ASYNC_LOCAL inline void path_symlink(pathname target, pathname path)
{
    detail::check(detail::try_symlink(target, path), "monad::async::path_symlink");
}

/** As the other `path_symlink`.
 *  @param target what the link says
 *  @param path the link's name
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void path_symlink(pathname target, pathname path,
                                           std::error_code &ec) noexcept
{
    detail::report(detail::try_symlink(target, path), ec);
}

/** Asks what a name stands for. SUSPENDS.
 *  @param path the file's name
 *  @param flags 0, or `AT_SYMLINK_NOFOLLOW` and so on
 *  @return what is known of it
 *  @throws std::system_error its errno
 *  @see monad_async_path_stat() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline struct statx path_stat(pathname path, int flags = 0)
{
    struct statx status = {};
    detail::check(detail::try_stat(path, flags, status), "monad::async::path_stat");
    return status;
}

/** As the other `path_stat`.
 *  @param path the file's name
 *  @param flags 0, or `AT_SYMLINK_NOFOLLOW` and so on
 *  @param[out] ec the error
 *  @return what is known of it; zeros with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline struct statx path_stat(pathname path, int flags,
                                                              std::error_code &ec) noexcept
{
    struct statx status = {};
    detail::report(detail::try_stat(path, flags, status), ec);
    return status;
}

/** As the other `path_stat`, with flags 0.
 *  @param path its name
 *  @param[out] ec the error
 *  @return what is known of it; zeros with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline struct statx path_stat(pathname path,
                                                              std::error_code &ec) noexcept
{
    return path_stat(path, 0, ec);
}

} // namespace v0
} // namespace monad::async

#endif

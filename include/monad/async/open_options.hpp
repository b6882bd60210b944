#ifndef MONAD_ASYNC_OPEN_OPTIONS_HPP
#define MONAD_ASYNC_OPEN_OPTIONS_HPP

/** @file open_options.hpp
 *  What may be said of how a file is opened. */

#include "file.h"

#include <cerrno>
#include <cstdint>

#include <fcntl.h>

namespace monad::async {
inline namespace v0 {

/** What may be said of how a file is opened.
 *  @see file.hpp, monad_async_file_open() */
struct open_options {
    /** Of a file that is made, without what the umask takes. */
    std::uint32_t mode = 0666;
    /** Where a relative path begins: a descriptor. */
    int directory = AT_FDCWD;
    /** `RESOLVE_...` of `<linux/openat2.h>`. */
    std::uint64_t resolve = 0;
    /** `MONAD_ASYNC_FILE_DIRECT`, `MONAD_ASYNC_FILE_ORDERED`. */
    std::uint32_t flags = 0;
};

/** @cond no API */
namespace detail {

// What the text of an exception says of an error of such a call.
inline char const *opening(int error, open_options const &options) noexcept
{
    bool const has_no_place = error == ENFILE && (options.flags & MONAD_ASYNC_FILE_DIRECT) != 0;
    return has_no_place ? "monad::async::file (its executor's table of direct descriptors is full, "
                          "or there is none)"
                        : "monad::async::file";
}

} // namespace detail
/** @endcond */

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_ORDERED_HPP
#define MONAD_ASYNC_ORDERED_HPP

/** @file ordered.hpp
 *  Files whose writes are done one after the other, in the order of the calls: opened with
 *  `MONAD_ASYNC_FILE_ORDERED` in `open_options::flags`, or by `order`. How they behave says file.h.
 *
 *  The word EXPENSIVE is that of executor.h. */

#include "config.h"
#include "error.hpp"
#include "file.h"
#include "file.hpp"
#include "path.hpp"

#include <cstddef>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** How a row of writes was ended by an error.
 *  @see monad_async_file_row_error() */
struct row_error {
    /** The errno of the write that failed; 0: none has. */
    int error = 0;
    /** How many writes were cancelled for it. */
    std::size_t canceled = 0;
    /** Where writing stopped, in bytes from the start of the file; -1: at its current position. */
    std::int64_t offset = 0;
};

/** @cond no API */
namespace detail {

[[nodiscard]] MONAD_ASYNC_LOCAL inline int try_order(file &f) noexcept
{
    auto native = f.native_handle();
    int const error = own_call([&](monad_async_task self) {
                          return monad_async_file_set_ordered(self, &native);
                      }).error;
    if (error == 0) {
        (void)f.release();
        f = file(native);
    }
    return error;
}

} // namespace detail
/** @endcond */

/** Makes a file an ordered one. EXPENSIVE.
 *  @param f open, and not ordered
 *  @throws std::system_error its errno
 *  @see monad_async_file_set_ordered() */
MONAD_ASYNC_LOCAL inline void order(file &f)
{
    detail::check(detail::try_order(f), "monad::async::order");
}

/** As the other `order`.
 *  @param f open, and not ordered
 *  @param[out] ec the error */
MONAD_ASYNC_LOCAL inline void order(file &f, std::error_code &ec) noexcept
{
    detail::report(detail::try_order(f), ec);
}

/** How a row of an ordered file was last ended by an error.
 *  @param f ordered
 *  @return all 0 where none was, or where the file is not ordered
 *  @see monad_async_file_row_error() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline row_error last_row_error(file const &f) noexcept
{
    std::int64_t offset = INT64_MIN; // Written only where there is a row.
    auto const r = detail::own_call([&](monad_async_task self) {
        return monad_async_file_row_error(self, f.native_handle(), &offset);
    });
    if (offset == INT64_MIN) {
        return {};
    }
    return {r.error, static_cast<std::size_t>(r.value), offset};
}

} // namespace v0
} // namespace monad::async

#endif

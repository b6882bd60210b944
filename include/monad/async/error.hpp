#ifndef MONAD_ASYNC_ERROR_HPP
#define MONAD_ASYNC_ERROR_HPP

/** @file error.hpp
 *  From results to exceptions. */

#include "config.h"
#include "result.h"

#include <cstdint>
#include <system_error>

#if !defined(__cpp_exceptions)
    #error "the C++ API of monad_async reports errors by exceptions; without them, use the C API"
#endif

namespace monad::async {

/** What an operation that was cancelled throws, for comparison:
 *  `catch (std::system_error const &e) { if (e.code() == cancelled) ... }`. */
inline constexpr std::errc cancelled = std::errc::operation_canceled;

namespace detail {

// Out of the way: a hot call's good path stays one compare.
[[noreturn, gnu::cold, gnu::noinline]] inline void fail(int error, char const *what)
{
    throw std::system_error(error, std::system_category(), what);
}

} // namespace detail

/** The value of a result of the C API, or its error as an exception: for those who mix both APIs.
 *  Any thread; costs a compare.
 *  @param r what a `monad_async_` function returned
 *  @param what which operation it was; opens the exception's text
 *  @return `r.value`
 *  @throws std::system_error with the errno in `std::system_category` */
inline std::intptr_t value_or_throw(monad_async_result r, char const *what)
{
    if (monad_async_result_has_error(r)) {
        detail::fail(r.error, what);
    }
    return r.value;
}

} // namespace monad::async

#endif

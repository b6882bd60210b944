#ifndef MONAD_ASYNC_ERROR_HPP
#define MONAD_ASYNC_ERROR_HPP

/** @file error.hpp
 *  From results to exceptions and error codes.
 *
 *  Every call that can fail in daily work has two forms, as in `<filesystem>`: one throws
 *  `std::system_error`; the other takes a `std::error_code &` as its last argument, which it clears
 *  or sets, and does not throw. Both carry the errno in `std::system_category`. */

#include "config.h"
#include "executor.h"
#include "result.h"
#include "task.h"

#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

#if !defined(__cpp_exceptions)
    #error "the C++ API of monad_async reports errors by exceptions; without them, use the C API"
#endif

/** The C++ API of monad_async. */
namespace monad::async {

/** The version of the binary interface. Its name is part of the symbols, so that two units that
 *  were compiled with different layouts do not link; it is never written in a program. */
inline namespace v0 {

/** What an operation that was cancelled reports, for comparison:
 *  `if (ec == ma::cancelled) ...`.
 *  @see task.hpp, scope.hpp */
inline constexpr std::errc cancelled = std::errc::operation_canceled;

/** `ECANCELED`: the task or a scope around the call was cancelled. A handler of I/O errors that is
 *  to let it pass catches it first: `catch (ma::cancelled_error const &) { throw; }`.
 *  @see task.hpp, scope.hpp */
class MONAD_ASYNC_API cancelled_error : public std::system_error {
public:
    /** @param what which call it was; opens the exception's text */
    explicit cancelled_error(char const *what)
        : std::system_error(ECANCELED, std::system_category(), what)
    {
    }
};

/** `ETIME`: the deadline of a scope around the call passed.
 *  @see scope.hpp */
class MONAD_ASYNC_API timeout_error : public std::system_error {
public:
    /** @param what which call it was; opens the exception's text */
    explicit timeout_error(char const *what)
        : std::system_error(ETIME, std::system_category(), what)
    {
    }
};

namespace detail {

// What an errno means where it is of the call, not of what it asked for: a file that cannot be
// opened outside tasks has all the permissions it needs.
inline char const *mistake(int error) noexcept
{
    auto *const self = monad_async_task_current();
    if (error == EPERM && self == nullptr) {
        return " (outside a task, not on the owner's thread, after a fork, or in a sandbox)";
    }
    if (error == EDEADLK) {
        return " (it would wait for itself)";
    }
    if (error == ESHUTDOWN) {
        return " (the executor, or the pool, is gone, about to go or told to quit)";
    }
    bool const without_ring = error == ENOTSUP && self != nullptr &&
                              monad_async_executor_ring_fd(self->current_executor) < 0;
    return without_ring ? " (this task's executor has no ring)" : "";
}

// Out of the way: a hot call's good path stays one compare.
[[noreturn, gnu::cold, gnu::noinline]] inline void fail(int error, char const *what)
{
    if (error == ECANCELED) {
        throw cancelled_error(what);
    }
    if (error == ETIME) {
        throw timeout_error(what);
    }
    std::string text(what);
    text += mistake(error);
    throw std::system_error(error, std::system_category(), text);
}

inline void check(int error, char const *what)
{
    if (error != 0) {
        fail(error, what);
    }
}

// For what makes an executor: the sentence that explains it says all.
inline void check_created(int error)
{
    if (error != 0) {
        throw std::system_error(error, std::system_category(), monad_async_last_create_error());
    }
}

// 0 clears it.
inline void report(int error, std::error_code &ec) noexcept
{
    ec.assign(error, std::system_category());
}

// The value, or -1.
inline std::intptr_t report(monad_async_result r, std::error_code &ec) noexcept
{
    report(r.error, ec);
    return r.error == 0 ? r.value : -1;
}

} // namespace detail

/** The value of a result of the C API, or its error as an exception: for those who mix both APIs.
 *  ANY THREAD; costs a compare.
 *  @param r what a `monad_async_` function returned
 *  @param what which operation it was; opens the exception's text
 *  @return `r.value`
 *  @throws cancelled_error, timeout_error for `ECANCELED` and `ETIME`
 *  @throws std::system_error any other errno
 *  @see monad_async_result_has_error(), monad_async_result_message() */
inline std::intptr_t value_or_throw(monad_async_result r, char const *what)
{
    detail::check(r.error, what);
    return r.value;
}

} // namespace v0
} // namespace monad::async

#endif

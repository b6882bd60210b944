#ifndef MONAD_ASYNC_RESULT_H
#define MONAD_ASYNC_RESULT_H

/** @file result.h
 *  What every fallible call returns: a value or a positive errno, 16 bytes, in two registers. */

#include "config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A value or an error. Errors are never reported through `errno`: a task may resume after other
 *  tasks ran. The compiler warns where a function's result is dropped; a cast to `void` says that
 *  it is meant. */
__extension__ typedef struct MONAD_ASYNC_NODISCARD monad_async_result {
    /** What the call is for; -1 with an error, or, with `reserved`, what a body in C++ threw. */
    intptr_t value;
    /** 0: success. Else a positive errno. */
    int32_t error;
    /** 0; else see `value`. */
    int32_t reserved;
} monad_async_result;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_OFFSET(monad_async_result, value, 0);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_result, error, 8);
MONAD_ASYNC_ASSERT_OFFSET(monad_async_result, reserved, 12);
MONAD_ASYNC_ASSERT_SIZE(monad_async_result, 16);
/** @endcond */

/** The result of a success. ANY THREAD.
 *  @param value what it is to hold
 *  @see monad_async_make_failure() */
static inline monad_async_result monad_async_make_success(intptr_t value)
{
    monad_async_result r;
    r.value = value;
    r.error = 0;
    r.reserved = 0;
    return r;
}

/** The result of a failure. ANY THREAD.
 *  @param errno_ a positive errno
 *  @see monad_async_make_success() */
static inline monad_async_result monad_async_make_failure(int errno_)
{
    monad_async_result r;
    r.value = -1;
    r.error = errno_;
    r.reserved = 0;
    return r;
}

/** True if `r` is a success, its value to be used. ANY THREAD.
 *  @param r any result
 *  @see monad_async_result_has_error() */
static inline bool monad_async_result_has_value(monad_async_result r)
{
    return r.error == 0;
}

/** True if `r` is a failure, its error to be looked at. ANY THREAD.
 *  @param r any result
 *  @see monad_async_result_message() */
static inline bool monad_async_result_has_error(monad_async_result r)
{
    return r.error != 0;
}

/** What the error of `r` means, in English whatever the locale. ANY THREAD; async-signal-safe; a
 *  load.
 *  @param r any result
 *  @return static text, never to be freed; "Success" where there is no error, "Unknown error" for a
 *  number that is no errno of Linux
 *  @see monad_async_result_has_error() */
MONAD_ASYNC_API char const *monad_async_result_message(monad_async_result r) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

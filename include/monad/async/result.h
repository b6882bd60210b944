#ifndef MONAD_ASYNC_RESULT_H
#define MONAD_ASYNC_RESULT_H

/** @file result.h
 *  What every fallible call returns: a value or a positive errno, 16 bytes, in two registers. */

#include "config.h"

#include <stdbool.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A value or an error. `error` 0 is success, else a positive errno; `errno` itself is never
 *  written, since a task may resume after other tasks ran. */
typedef struct monad_async_result {
    intptr_t value;
    int32_t error;
    int32_t reserved;
} monad_async_result;

/** The result of a success. Any thread. */
static inline monad_async_result monad_async_make_success(intptr_t value)
{
    monad_async_result r;
    r.value = value;
    r.error = 0;
    r.reserved = 0;
    return r;
}

/** The result of a failure; `errno_` is a positive errno. Any thread. */
static inline monad_async_result monad_async_make_failure(int errno_)
{
    monad_async_result r;
    r.value = -1;
    r.error = errno_;
    r.reserved = 0;
    return r;
}

static inline bool monad_async_result_has_value(monad_async_result r)
{
    return r.error == 0;
}

static inline bool monad_async_result_has_error(monad_async_result r)
{
    return r.error != 0;
}

/** The text of `r`'s error, or "Success". Any thread; the string is static and never freed. */
MONAD_ASYNC_API char const *monad_async_result_message(monad_async_result r) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

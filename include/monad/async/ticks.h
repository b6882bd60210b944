#ifndef MONAD_ASYNC_TICKS_H
#define MONAD_ASYNC_TICKS_H

/** @file ticks.h
 *  The CPU's time-stamp counter: the unit of every `ticks` field. */

#include "config.h"

#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A count of the time-stamp counter: TSC on x86-64, CNTVCT_EL0 on AArch64. It runs at one rate
 *  whatever the CPU's clock does. */
typedef uint64_t monad_async_cpu_ticks_count_t;

/** The counter now. ANY THREAD. About 10 ns; orders no memory, so for a span that is to hold
 *  exactly some code, put what fences that code needs around it.
 *  @return ticks since some moment before the machine started; never goes back on one thread
 *  @see monad_async_ticks_to_ns() */
MONAD_ASYNC_API monad_async_cpu_ticks_count_t monad_async_get_ticks_count(void)
    MONAD_ASYNC_NOEXCEPT;

/** How fast the counter runs. ANY THREAD. A load; the first call of a process may take up to 10 ms
 *  where neither CPU nor kernel states the frequency and it has to be measured.
 *  @return ticks per second, right to 0.1%
 *  @see monad_async_ticks_to_ns() */
MONAD_ASYNC_API monad_async_cpu_ticks_count_t monad_async_ticks_per_second(void)
    MONAD_ASYNC_NOEXCEPT;

/** A span of ticks in nanoseconds. ANY THREAD. As `monad_async_ticks_per_second`, and a
 *  multiplication.
 *  @param ticks a difference of two counts
 *  @return nanoseconds; `UINT64_MAX` where they do not fit
 *  @see monad_async_ticks_per_second() */
MONAD_ASYNC_API uint64_t monad_async_ticks_to_ns(monad_async_cpu_ticks_count_t ticks)
    MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

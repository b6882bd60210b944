#ifndef MONAD_ASYNC_TICKS_H
#define MONAD_ASYNC_TICKS_H

/** @file ticks.h
 *  The CPU's time-stamp counter: the unit of every `ticks` field. */

#include "config.h"

#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** A count of the time-stamp counter (TSC on x86-64, CNTVCT_EL0 on AArch64). */
typedef uint64_t monad_async_cpu_ticks_count_t;

/** The counter now. Any thread; about 8 to 10 ns; does not order memory. */
MONAD_ASYNC_API monad_async_cpu_ticks_count_t monad_async_get_ticks_count(void)
    MONAD_ASYNC_NOEXCEPT;

/** Ticks in a second, right to 0.1%. Any thread. The first call of a process may calibrate for up
 *  to 10 ms where neither CPU nor kernel states the frequency; later calls cost a load. */
MONAD_ASYNC_API monad_async_cpu_ticks_count_t monad_async_ticks_per_second(void)
    MONAD_ASYNC_NOEXCEPT;

/** `ticks` as nanoseconds. Any thread; as `monad_async_ticks_per_second`, then a multiplication. */
MONAD_ASYNC_API uint64_t monad_async_ticks_to_ns(monad_async_cpu_ticks_count_t ticks)
    MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

#ifndef MONAD_ASYNC_DETAIL_SPIN_LOCK_HPP
#define MONAD_ASYNC_DETAIL_SPIN_LOCK_HPP

// A lock in one word that is zero when it is free, held for a few instructions.

#include "../config.h"

#include <ctime>

namespace monad::async {
inline namespace v0 {
namespace detail {

// After so many attempts its holder is thought to wait for this processor; and under SCHED_FIFO a
// yield lets no thread of a lower priority on, but a sleep does.
inline constexpr unsigned spins_before_sleep = 100;

// One attempt more, after a while if it was not the first. False: not yet.
inline void spin(unsigned &attempts) noexcept
{
    if (++attempts > spins_before_sleep) {
        constexpr unsigned longest = 10; // A millisecond.
        unsigned const sleeps = attempts - spins_before_sleep;
        timespec const moment = {0, 1000L << (sleeps < longest ? sleeps : longest)};
        (void)::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr); // Leaves errno alone.
    }
}

inline bool try_spin(int &word, unsigned &attempts) noexcept
{
    if (__builtin_expect(__atomic_exchange_n(&word, 1, __ATOMIC_ACQUIRE) == 0, true)) {
        return true;
    }
    spin(attempts);
    return false;
}

inline void spin_lock(int &word) noexcept
{
    unsigned attempts = 0;
    while (!try_spin(word, attempts)) {
    }
}

inline void spin_unlock(int &word) noexcept
{
    __atomic_store_n(&word, 0, __ATOMIC_RELEASE);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_BARRIER_HPP
#define MONAD_ASYNC_BARRIER_HPP

/** @file barrier.hpp
 *  Where tasks wait for each other.
 *
 *  The rules are those of barrier.h. The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <chrono>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** The two forms of a barrier: `barrier` and `local_barrier`.
 *  @see barrier.h, wait_group.hpp */
template <class Objects> class basic_barrier {
public:
    /** The record of the C API. */
    using native_type = typename Objects::barrier;

    /** Makes a barrier. ANY THREAD.
     *  @param parties how many wait for each other; where it is 0 a wait is `EINVAL` */
    constexpr explicit basic_barrier(std::uint64_t parties) noexcept : native_{{0, parties}} {}
    basic_barrier(basic_barrier const &) = delete;
    basic_barrier &operator=(basic_barrier const &) = delete;

    /** SUSPENDS until all have come; a thread blocks.
     *  @return true for the one that came last
     *  @throws std::system_error `EINVAL`: for nobody; `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted: the caller does not count
     *  */
    bool arrive_and_wait()
    {
        return value_or_throw(do_wait(detail::forever_ns), "monad::async::barrier") != 0;
    }

    /** As the other `arrive_and_wait`.
     *  @param[out] ec the error
     *  @return true for the one that came last */
    bool arrive_and_wait(std::error_code &ec) noexcept
    {
        return detail::report(do_wait(detail::forever_ns), ec) == 1;
    }

    /** SUSPENDS until all have come, for so long at most.
     *  @param timeout from now on
     *  @return false: too late, and the caller does not count
     *  @throws std::system_error, cancelled_error, timeout_error as `arrive_and_wait` */
    template <class Rep, class Period>
    [[nodiscard]] bool arrive_and_wait_for(std::chrono::duration<Rep, Period> timeout)
    {
        return detail::came_in_time(do_wait(detail::boot_time(timeout)).error,
                                    "monad::async::barrier");
    }

    /** As the other `arrive_and_wait_for`.
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return whether all have come; else the caller does not count */
    template <class Rep, class Period>
    [[nodiscard]] bool arrive_and_wait_for(std::chrono::duration<Rep, Period> timeout,
                                           std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_wait(detail::boot_time(timeout)).error, ec);
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    monad_async_result do_wait(std::uint64_t boot_ns)
    {
        return detail::waiting([this, boot_ns](monad_async_task self) {
            return Objects::barrier_wait_until(self, &native_, boot_ns);
        });
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using barrier = basic_barrier<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_barrier = basic_barrier<detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

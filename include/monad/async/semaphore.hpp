#ifndef MONAD_ASYNC_SEMAPHORE_HPP
#define MONAD_ASYNC_SEMAPHORE_HPP

/** @file semaphore.hpp
 *  A counting semaphore that suspends the task.
 *
 *  The rules are those of semaphore.h. The words ANY THREAD and SUSPENDS are those of executor.h.
 *  */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** The two forms of a counting semaphore: `semaphore` and `local_semaphore`.
 *  @see semaphore.h, mutex.hpp */
template <class Objects> class basic_semaphore {
public:
    /** The record of the C API. */
    using native_type = typename Objects::semaphore;

    /** Makes a semaphore. ANY THREAD.
     *  @param permits how many there are */
    constexpr explicit basic_semaphore(std::uint64_t permits) noexcept : native_{{0, permits}} {}
    basic_semaphore(basic_semaphore const &) = delete;
    basic_semaphore &operator=(basic_semaphore const &) = delete;

    /** SUSPENDS until it has the permits; a thread blocks.
     *  @param count how many, all at once
     *  @throws std::system_error `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void acquire(std::uint64_t count = 1)
    {
        detail::check(do_acquire(count, detail::forever_ns).error,
                      "monad::async::semaphore::acquire");
    }

    /** As the other `acquire`, of one.
     *  @param[out] ec the error */
    void acquire(std::error_code &ec) noexcept { acquire(1, ec); }

    /** As the other `acquire`.
     *  @param count how many, all at once
     *  @param[out] ec the error */
    void acquire(std::uint64_t count, std::error_code &ec) noexcept
    {
        detail::report(do_acquire(count, detail::forever_ns).error, ec);
    }

    /** SUSPENDS until it has the permits, or for so long.
     *  @param timeout from now on
     *  @param count how many, all at once
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `acquire` */
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout,
                                       std::uint64_t count = 1)
    {
        return acquire_by(count, detail::boot_time(timeout));
    }

    /** As the other `try_acquire_for`, of one.
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return whether it has it */
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout,
                                       std::error_code &ec) noexcept
    {
        return try_acquire_for(timeout, 1, ec);
    }

    /** As the other `try_acquire_for`.
     *  @param timeout from now on
     *  @param count how many, all at once
     *  @param[out] ec the error; none where the time is over
     *  @return whether it has them */
    template <class Rep, class Period>
    [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout,
                                       std::uint64_t count, std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_acquire(count, detail::boot_time(timeout)).error, ec);
    }

    /** SUSPENDS until it has the permits, or until a time.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param count how many, all at once
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `acquire` */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                         std::uint64_t count = 1)
    {
        return acquire_by(count, detail::boot_time(deadline));
    }

    /** As the other `try_acquire_until`, of one.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param[out] ec the error; none where the time is over
     *  @return whether it has it */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                         std::error_code &ec) noexcept
    {
        return try_acquire_until(deadline, 1, ec);
    }

    /** As the other `try_acquire_until`.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param count how many, all at once
     *  @param[out] ec the error; none where the time is over
     *  @return whether it has them */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                         std::uint64_t count, std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_acquire(count, detail::boot_time(deadline)).error, ec);
    }

    /** Takes permits if they are there. Does not suspend.
     *  @param count how many
     *  @return whether they were there, nobody waited, and they are the caller's now
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] bool try_acquire(std::uint64_t count = 1)
    {
        int const error = Objects::semaphore_try_acquire(&native_, count).error;
        if (error != 0 && error != EAGAIN) {
            detail::fail(error, "monad::async::semaphore::try_acquire");
        }
        return error == 0;
    }

    /** As the other `try_acquire`, of one.
     *  @param[out] ec the error; none where it was not there
     *  @return whether it is the caller's now */
    [[nodiscard]] bool try_acquire(std::error_code &ec) noexcept { return try_acquire(1, ec); }

    /** As the other `try_acquire`.
     *  @param count how many
     *  @param[out] ec the error; none where they were not there
     *  @return whether they are the caller's now */
    [[nodiscard]] bool try_acquire(std::uint64_t count, std::error_code &ec) noexcept
    {
        int const error = Objects::semaphore_try_acquire(&native_, count).error;
        detail::report(error == EAGAIN ? 0 : error, ec);
        return error == 0;
    }

    /** Gives permits, which need not have been taken. Does not suspend.
     *  @param count how many
     *  @throws std::system_error `EOVERFLOW`; `EPERM`: a local one, elsewhere */
    void release(std::uint64_t count = 1)
    {
        detail::check(Objects::semaphore_release(&native_, count).error,
                      "monad::async::semaphore::release");
    }

    /** As the other `release`, of one.
     *  @param[out] ec the error */
    void release(std::error_code &ec) noexcept { release(1, ec); }

    /** As the other `release`.
     *  @param count how many
     *  @param[out] ec the error */
    void release(std::uint64_t count, std::error_code &ec) noexcept
    {
        detail::report(Objects::semaphore_release(&native_, count).error, ec);
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    monad_async_result do_acquire(std::uint64_t count, std::uint64_t boot_ns)
    {
        return detail::waiting([this, count, boot_ns](monad_async_task self) {
            return Objects::semaphore_acquire_until(self, &native_, count, boot_ns);
        });
    }

    bool acquire_by(std::uint64_t count, std::uint64_t boot_ns)
    {
        return detail::came_in_time(do_acquire(count, boot_ns).error,
                                    "monad::async::semaphore::acquire");
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using semaphore = basic_semaphore<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_semaphore = basic_semaphore<detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

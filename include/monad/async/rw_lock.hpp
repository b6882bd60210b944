#ifndef MONAD_ASYNC_RW_LOCK_HPP
#define MONAD_ASYNC_RW_LOCK_HPP

/** @file rw_lock.hpp
 *  A lock that many read under, or one writes under. Fits `std::shared_lock` and
 *  `std::unique_lock`.
 *
 *  The rules are those of rw_lock.h. The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** The two forms of a lock for readers and writers: `rw_lock` and `local_rw_lock`.
 *  @see rw_lock.h, mutex.hpp */
template <class Objects> class basic_rw_lock {
public:
    /** The record of the C API. */
    using native_type = typename Objects::rw_lock;

    /** Unlocked. ANY THREAD. */
    constexpr basic_rw_lock() noexcept = default;
    basic_rw_lock(basic_rw_lock const &) = delete;
    basic_rw_lock &operator=(basic_rw_lock const &) = delete;

    /** SUSPENDS until it may write; a thread blocks.
     *  @throws std::system_error `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void lock() { detail::check(do_lock(detail::forever_ns).error, "monad::async::rw_lock::lock"); }

    /** As the other `lock`.
     *  @param[out] ec the error */
    void lock(std::error_code &ec) noexcept
    {
        detail::report(do_lock(detail::forever_ns).error, ec);
    }

    /** SUSPENDS until it may write, or for so long.
     *  @param timeout from now on
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `lock` */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout)
    {
        return lock_by(detail::boot_time(timeout));
    }

    /** As the other `try_lock_for`.
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return whether the caller may write now */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout,
                                    std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_lock(detail::boot_time(timeout)).error, ec);
    }

    /** SUSPENDS until it may write, or until a time.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `lock` */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> const &deadline)
    {
        return lock_by(detail::boot_time(deadline));
    }

    /** As the other `try_lock_until`.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param[out] ec the error; none where the time is over
     *  @return whether the caller may write now */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                      std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_lock(detail::boot_time(deadline)).error, ec);
    }

    /** Locks it to write, if that is possible. Does not suspend.
     *  @return whether the caller may write now
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] bool try_lock()
    {
        int const error = Objects::rw_lock_try_lock(monad_async_task_current(), &native_).error;
        if (error != 0 && error != EBUSY) {
            detail::fail(error, "monad::async::rw_lock::try_lock");
        }
        return error == 0;
    }

    /** As the other `try_lock`.
     *  @param[out] ec the error; none where that is not possible
     *  @return whether the caller may write now */
    [[nodiscard]] bool try_lock(std::error_code &ec) noexcept
    {
        int const error = Objects::rw_lock_try_lock(monad_async_task_current(), &native_).error;
        detail::report(error == EBUSY ? 0 : error, ec);
        return error == 0;
    }

    /** Does not suspend, and is never interrupted.
     *  @throws std::system_error `EPERM`: the caller does not write */
    void unlock()
    {
        detail::check(Objects::rw_lock_unlock(monad_async_task_current(), &native_).error,
                      "monad::async::rw_lock::unlock");
    }

    /** As the other `unlock`.
     *  @param[out] ec the error */
    void unlock(std::error_code &ec) noexcept
    {
        detail::report(Objects::rw_lock_unlock(monad_async_task_current(), &native_).error, ec);
    }

    /** SUSPENDS until it may read; a thread blocks.
     *  @throws std::system_error `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void lock_shared()
    {
        detail::check(do_lock_shared(detail::forever_ns).error,
                      "monad::async::rw_lock::lock_shared");
    }

    /** As the other `lock_shared`.
     *  @param[out] ec the error */
    void lock_shared(std::error_code &ec) noexcept
    {
        detail::report(do_lock_shared(detail::forever_ns).error, ec);
    }

    /** SUSPENDS until it may read, or for so long.
     *  @param timeout from now on
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `lock_shared` */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_shared_for(std::chrono::duration<Rep, Period> timeout)
    {
        return lock_shared_by(detail::boot_time(timeout));
    }

    /** As the other `try_lock_shared_for`.
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return whether the caller may read now */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_shared_for(std::chrono::duration<Rep, Period> timeout,
                                           std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_lock_shared(detail::boot_time(timeout)).error, ec);
    }

    /** SUSPENDS until it may read, or until a time.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `lock_shared` */
    template <class Clock, class Duration>
    [[nodiscard]] bool
    try_lock_shared_until(std::chrono::time_point<Clock, Duration> const &deadline)
    {
        return lock_shared_by(detail::boot_time(deadline));
    }

    /** As the other `try_lock_shared_until`.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param[out] ec the error; none where the time is over
     *  @return whether the caller may read now */
    template <class Clock, class Duration>
    [[nodiscard]] bool
    try_lock_shared_until(std::chrono::time_point<Clock, Duration> const &deadline,
                          std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_lock_shared(detail::boot_time(deadline)).error, ec);
    }

    /** Locks it to read, if that is possible. Does not suspend.
     *  @return whether the caller may read now
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] bool try_lock_shared()
    {
        int const error =
            Objects::rw_lock_try_lock_shared(monad_async_task_current(), &native_).error;
        if (error != 0 && error != EBUSY) {
            detail::fail(error, "monad::async::rw_lock::try_lock_shared");
        }
        return error == 0;
    }

    /** As the other `try_lock_shared`.
     *  @param[out] ec the error; none where that is not possible
     *  @return whether the caller may read now */
    [[nodiscard]] bool try_lock_shared(std::error_code &ec) noexcept
    {
        int const error =
            Objects::rw_lock_try_lock_shared(monad_async_task_current(), &native_).error;
        detail::report(error == EBUSY ? 0 : error, ec);
        return error == 0;
    }

    /** Does not suspend, and is never interrupted.
     *  @throws std::system_error `EPERM`: nobody reads */
    void unlock_shared()
    {
        detail::check(Objects::rw_lock_unlock_shared(monad_async_task_current(), &native_).error,
                      "monad::async::rw_lock::unlock_shared");
    }

    /** As the other `unlock_shared`.
     *  @param[out] ec the error */
    void unlock_shared(std::error_code &ec) noexcept
    {
        detail::report(Objects::rw_lock_unlock_shared(monad_async_task_current(), &native_).error,
                       ec);
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    monad_async_result do_lock(std::uint64_t boot_ns)
    {
        return detail::waiting([this, boot_ns](monad_async_task self) {
            return Objects::rw_lock_lock_until(self, &native_, boot_ns);
        });
    }

    bool lock_by(std::uint64_t boot_ns)
    {
        return detail::came_in_time(do_lock(boot_ns).error, "monad::async::rw_lock::lock");
    }

    monad_async_result do_lock_shared(std::uint64_t boot_ns)
    {
        return detail::waiting([this, boot_ns](monad_async_task self) {
            return Objects::rw_lock_lock_shared_until(self, &native_, boot_ns);
        });
    }

    bool lock_shared_by(std::uint64_t boot_ns)
    {
        return detail::came_in_time(do_lock_shared(boot_ns).error,
                                    "monad::async::rw_lock::lock_shared");
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using rw_lock = basic_rw_lock<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_rw_lock = basic_rw_lock<detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_CONDITION_HPP
#define MONAD_ASYNC_CONDITION_HPP

/** @file condition.hpp
 *  A condition variable that suspends the task.
 *
 *  The rules are those of condition.h. The words ANY THREAD and SUSPENDS are those of
 *  executor.h. */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"
#include "mutex.hpp"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** The two forms of a condition variable: `condition` and `local_condition`. Who is notified goes
 *  on when it has the mutex again. No spurious wake-ups.
 *  @see condition.h, mutex.hpp */
template <class Objects> class basic_condition {
public:
    /** The record of the C API. */
    using native_type = typename Objects::condition;
    /** What it is for. */
    using mutex_type = basic_mutex<Objects>;

    /** Nobody waits. ANY THREAD. */
    constexpr basic_condition() noexcept = default;
    basic_condition(basic_condition const &) = delete;
    basic_condition &operator=(basic_condition const &) = delete;

    /** SUSPENDS until notified; the mutex is unlocked until then, and locked again whatever
     *  happens.
     *  @param lock of the mutex, which the caller has
     *  @throws std::system_error `EPERM`: it has not
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void wait(std::unique_lock<mutex_type> &lock)
    {
        detail::check(do_wait(lock, detail::forever_ns).error, "monad::async::condition::wait");
    }

    /** As the other `wait`.
     *  @param lock of the mutex, which the caller has
     *  @param[out] ec the error */
    void wait(std::unique_lock<mutex_type> &lock, std::error_code &ec) noexcept
    {
        detail::report(do_wait(lock, detail::forever_ns).error, ec);
    }

    /** SUSPENDS until `ready()` is true.
     *  @param lock of the mutex, which the caller has
     *  @param ready called with the mutex locked
     *  @throws std::system_error, cancelled_error, timeout_error as the other `wait` */
    template <class Predicate> void wait(std::unique_lock<mutex_type> &lock, Predicate ready)
    {
        while (!ready()) {
            wait(lock);
        }
    }

    /** As the other `wait`.
     *  @param lock of the mutex, which the caller has
     *  @param ready called with the mutex locked
     *  @param[out] ec the error; none: `ready()` was true */
    template <class Predicate>
    void wait(std::unique_lock<mutex_type> &lock, Predicate ready, std::error_code &ec)
    {
        (void)ready_by(lock, detail::forever_ns, ready, ec);
    }

    /** SUSPENDS until notified, or until a time.
     *  @param lock of the mutex, which the caller has
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @return which it was
     *  @throws std::system_error, cancelled_error, timeout_error as `wait` */
    template <class Clock, class Duration>
    std::cv_status wait_until(std::unique_lock<mutex_type> &lock,
                              std::chrono::time_point<Clock, Duration> const &deadline)
    {
        return check(do_wait(lock, detail::boot_time(deadline)));
    }

    /** As the other `wait_until`.
     *  @param lock of the mutex, which the caller has
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param[out] ec the error; none where the time is over
     *  @return which it was; with an error not `timeout` */
    template <class Clock, class Duration>
    std::cv_status wait_until(std::unique_lock<mutex_type> &lock,
                              std::chrono::time_point<Clock, Duration> const &deadline,
                              std::error_code &ec) noexcept
    {
        return status(do_wait(lock, detail::boot_time(deadline)), ec);
    }

    /** SUSPENDS until `ready()` is true, or until a time.
     *  @param lock of the mutex, which the caller has
     *  @param deadline of any clock that has `now()`
     *  @param ready called with the mutex locked
     *  @return the last `ready()`
     *  @throws std::system_error, cancelled_error, timeout_error as `wait` */
    template <class Clock, class Duration, class Predicate>
    bool wait_until(std::unique_lock<mutex_type> &lock,
                    std::chrono::time_point<Clock, Duration> const &deadline, Predicate ready)
    {
        return ready_by(lock, detail::boot_time(deadline), ready);
    }

    /** As the other `wait_until`.
     *  @param lock of the mutex, which the caller has
     *  @param deadline of any clock that has `now()`
     *  @param ready called with the mutex locked
     *  @param[out] ec the error; none where the time is over
     *  @return the last `ready()`; false with an error */
    template <class Clock, class Duration, class Predicate>
    bool wait_until(std::unique_lock<mutex_type> &lock,
                    std::chrono::time_point<Clock, Duration> const &deadline, Predicate ready,
                    std::error_code &ec)
    {
        return ready_by(lock, detail::boot_time(deadline), ready, ec);
    }

    /** SUSPENDS until notified, for so long at most.
     *  @param lock of the mutex, which the caller has
     *  @param timeout from now on
     *  @return which it was
     *  @throws std::system_error, cancelled_error, timeout_error as `wait` */
    template <class Rep, class Period>
    std::cv_status wait_for(std::unique_lock<mutex_type> &lock,
                            std::chrono::duration<Rep, Period> timeout)
    {
        return check(do_wait(lock, detail::boot_time(timeout)));
    }

    /** As the other `wait_for`.
     *  @param lock of the mutex, which the caller has
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return which it was; with an error not `timeout` */
    template <class Rep, class Period>
    std::cv_status wait_for(std::unique_lock<mutex_type> &lock,
                            std::chrono::duration<Rep, Period> timeout,
                            std::error_code &ec) noexcept
    {
        return status(do_wait(lock, detail::boot_time(timeout)), ec);
    }

    /** SUSPENDS until `ready()` is true, for so long at most.
     *  @param lock of the mutex, which the caller has
     *  @param timeout from now on
     *  @param ready called with the mutex locked
     *  @return the last `ready()`
     *  @throws std::system_error, cancelled_error, timeout_error as `wait` */
    template <class Rep, class Period, class Predicate>
    bool wait_for(std::unique_lock<mutex_type> &lock, std::chrono::duration<Rep, Period> timeout,
                  Predicate ready)
    {
        return ready_by(lock, detail::boot_time(timeout), ready);
    }

    /** As the other `wait_for`.
     *  @param lock of the mutex, which the caller has
     *  @param timeout from now on
     *  @param ready called with the mutex locked
     *  @param[out] ec the error; none where the time is over
     *  @return the last `ready()`; false with an error */
    template <class Rep, class Period, class Predicate>
    bool wait_for(std::unique_lock<mutex_type> &lock, std::chrono::duration<Rep, Period> timeout,
                  Predicate ready, std::error_code &ec)
    {
        return ready_by(lock, detail::boot_time(timeout), ready, ec);
    }

    /** Notifies the first who waits. Does not suspend.
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    void notify_one()
    {
        detail::check(Objects::condition_notify_one(&native_).error,
                      "monad::async::condition::notify_one");
    }

    /** As the other `notify_one`.
     *  @param[out] ec the error */
    void notify_one(std::error_code &ec) noexcept
    {
        detail::report(Objects::condition_notify_one(&native_).error, ec);
    }

    /** Notifies all who wait. Does not suspend.
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    void notify_all()
    {
        detail::check(Objects::condition_notify_all(&native_).error,
                      "monad::async::condition::notify_all");
    }

    /** As the other `notify_all`.
     *  @param[out] ec the error */
    void notify_all(std::error_code &ec) noexcept
    {
        detail::report(Objects::condition_notify_all(&native_).error, ec);
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    static std::cv_status check(monad_async_result r)
    {
        return detail::came_in_time(r.error, "monad::async::condition::wait")
                   ? std::cv_status::no_timeout
                   : std::cv_status::timeout;
    }

    static std::cv_status status(monad_async_result r, std::error_code &ec) noexcept
    {
        return detail::came_in_time(r.error, ec) || ec ? std::cv_status::no_timeout
                                                       : std::cv_status::timeout;
    }

    monad_async_result do_wait(std::unique_lock<mutex_type> &lock, std::uint64_t boot_ns)
    {
        if (!lock.owns_lock()) {
            return monad_async_make_failure(EPERM);
        }
        auto &m = *lock.mutex()->native_handle();
        return detail::waiting([this, &m, boot_ns](monad_async_task self) {
            return Objects::condition_wait_until(self, &native_, &m, boot_ns);
        });
    }

    template <class Predicate>
    bool ready_by(std::unique_lock<mutex_type> &lock, std::uint64_t boot_ns, Predicate &ready)
    {
        while (!ready()) {
            if (check(do_wait(lock, boot_ns)) == std::cv_status::timeout) {
                return ready();
            }
        }
        return true;
    }

    template <class Predicate>
    bool ready_by(std::unique_lock<mutex_type> &lock, std::uint64_t boot_ns, Predicate &ready,
                  std::error_code &ec)
    {
        ec.clear();
        while (!ready()) {
            if (!detail::came_in_time(do_wait(lock, boot_ns).error, ec)) {
                return !ec && ready();
            }
        }
        return true;
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using condition = basic_condition<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_condition = basic_condition<detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

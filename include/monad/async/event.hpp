#ifndef MONAD_ASYNC_EVENT_HPP
#define MONAD_ASYNC_EVENT_HPP

/** @file event.hpp
 *  An event that tasks wait for: once set, it lets everybody pass until it is reset.
 *
 *  The rules are those of event.h. The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <chrono>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** The two forms of an event: `event` and `local_event`.
 *  @see event.h, condition.hpp */
template <class Objects> class basic_event {
public:
    /** The record of the C API. */
    using native_type = typename Objects::event;

    /** Not set. ANY THREAD. */
    constexpr basic_event() noexcept = default;
    basic_event(basic_event const &) = delete;
    basic_event &operator=(basic_event const &) = delete;

    /** SUSPENDS until it is set; a thread blocks.
     *  @throws std::system_error `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void wait() { detail::check(do_wait(detail::forever_ns).error, "monad::async::event::wait"); }

    /** As the other `wait`.
     *  @param[out] ec the error */
    void wait(std::error_code &ec) noexcept
    {
        detail::report(do_wait(detail::forever_ns).error, ec);
    }

    /** SUSPENDS until it is set, or for so long.
     *  @param timeout from now on
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `wait` */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout)
    {
        return wait_by(detail::boot_time(timeout));
    }

    /** As the other `wait_for`.
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return whether it is set */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout,
                                std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_wait(detail::boot_time(timeout)).error, ec);
    }

    /** SUSPENDS until it is set, or until a time.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @return false: too late
     *  @throws std::system_error, cancelled_error, timeout_error as `wait` */
    template <class Clock, class Duration>
    [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> const &deadline)
    {
        return wait_by(detail::boot_time(deadline));
    }

    /** As the other `wait_until`.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param[out] ec the error; none where the time is over
     *  @return whether it is set */
    template <class Clock, class Duration>
    [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                  std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_wait(detail::boot_time(deadline)).error, ec);
    }

    /** Sets it: all who wait go on. Does not suspend.
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    void set() { detail::check(Objects::event_set(&native_).error, "monad::async::event::set"); }

    /** As the other `set`.
     *  @param[out] ec the error */
    void set(std::error_code &ec) noexcept
    {
        detail::report(Objects::event_set(&native_).error, ec);
    }

    /** Takes it back. Does not suspend.
     *  @return whether it was set
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    bool reset()
    {
        return value_or_throw(Objects::event_reset(&native_), "monad::async::event::reset") != 0;
    }

    /** As the other `reset`.
     *  @param[out] ec the error
     *  @return whether it was set; false with an error */
    bool reset(std::error_code &ec) noexcept
    {
        return detail::report(Objects::event_reset(&native_), ec) == 1;
    }

    /** @return whether it is set
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] bool is_set()
    {
        return value_or_throw(Objects::event_is_set(&native_), "monad::async::event::is_set") != 0;
    }

    /** As the other `is_set`.
     *  @param[out] ec the error
     *  @return whether it is set; false with an error */
    [[nodiscard]] bool is_set(std::error_code &ec) noexcept
    {
        return detail::report(Objects::event_is_set(&native_), ec) == 1;
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    monad_async_result do_wait(std::uint64_t boot_ns)
    {
        return detail::waiting([this, boot_ns](monad_async_task self) {
            return Objects::event_wait_until(self, &native_, boot_ns);
        });
    }

    bool wait_by(std::uint64_t boot_ns)
    {
        return detail::came_in_time(do_wait(boot_ns).error, "monad::async::event::wait");
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using event = basic_event<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_event = basic_event<detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

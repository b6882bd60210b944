#ifndef MONAD_ASYNC_WAIT_GROUP_HPP
#define MONAD_ASYNC_WAIT_GROUP_HPP

/** @file wait_group.hpp
 *  Waits until all that was added is done.
 *
 *  The rules are those of wait_group.h. The words ANY THREAD and SUSPENDS are those of executor.h.
 *  */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <chrono>
#include <cstdint>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** The two forms of a wait group: `wait_group` and `local_wait_group`.
 *  @see wait_group.h, group.hpp */
template <class Objects> class basic_wait_group {
public:
    /** The record of the C API. */
    using native_type = typename Objects::wait_group;

    /** Makes a count. ANY THREAD.
     *  @param count how many are to be done at first */
    constexpr explicit basic_wait_group(std::uint64_t count = 0) noexcept : native_{{0, count}} {}
    basic_wait_group(basic_wait_group const &) = delete;
    basic_wait_group &operator=(basic_wait_group const &) = delete;

    /** SUSPENDS until nothing is left; a thread blocks.
     *  @throws std::system_error `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void wait()
    {
        detail::check(do_wait(detail::forever_ns).error, "monad::async::wait_group::wait");
    }

    /** As the other `wait`.
     *  @param[out] ec the error */
    void wait(std::error_code &ec) noexcept
    {
        detail::report(do_wait(detail::forever_ns).error, ec);
    }

    /** SUSPENDS until nothing is left, or for so long.
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
     *  @return whether nothing is left */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout,
                                std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_wait(detail::boot_time(timeout)).error, ec);
    }

    /** SUSPENDS until nothing is left, or until a time.
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
     *  @return whether nothing is left */
    template <class Clock, class Duration>
    [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                  std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_wait(detail::boot_time(deadline)).error, ec);
    }

    /** Adds. Does not suspend.
     *  @param count how many
     *  @throws std::system_error `EOVERFLOW`; `EPERM`: a local one, elsewhere */
    void add(std::uint64_t count = 1)
    {
        detail::check(Objects::wait_group_add(&native_, count).error,
                      "monad::async::wait_group::add");
    }

    /** As the other `add`, of one.
     *  @param[out] ec the error */
    void add(std::error_code &ec) noexcept { add(1, ec); }

    /** As the other `add`.
     *  @param count how many
     *  @param[out] ec the error */
    void add(std::uint64_t count, std::error_code &ec) noexcept
    {
        detail::report(Objects::wait_group_add(&native_, count).error, ec);
    }

    /** Takes away; at 0 all who wait go on. Does not suspend.
     *  @param count how many
     *  @throws std::system_error `EINVAL`: more than are left; `EPERM`: a local one, elsewhere */
    void done(std::uint64_t count = 1)
    {
        detail::check(Objects::wait_group_done(&native_, count).error,
                      "monad::async::wait_group::done");
    }

    /** As the other `done`, of one.
     *  @param[out] ec the error */
    void done(std::error_code &ec) noexcept { done(1, ec); }

    /** As the other `done`.
     *  @param count how many
     *  @param[out] ec the error */
    void done(std::uint64_t count, std::error_code &ec) noexcept
    {
        detail::report(Objects::wait_group_done(&native_, count).error, ec);
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    monad_async_result do_wait(std::uint64_t boot_ns)
    {
        return detail::waiting([this, boot_ns](monad_async_task self) {
            return Objects::wait_group_wait_until(self, &native_, boot_ns);
        });
    }

    bool wait_by(std::uint64_t boot_ns)
    {
        return detail::came_in_time(do_wait(boot_ns).error, "monad::async::wait_group::wait");
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using wait_group = basic_wait_group<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_wait_group = basic_wait_group<detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

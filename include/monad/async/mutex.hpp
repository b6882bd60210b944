#ifndef MONAD_ASYNC_MUTEX_HPP
#define MONAD_ASYNC_MUTEX_HPP

/** @file mutex.hpp
 *  A mutex that suspends the task. Fits `std::lock_guard`, `std::unique_lock`, and
 *  `std::scoped_lock` of one; several are locked by `scoped_lock`. `std::lock`, as
 *  `std::scoped_lock` of several, locks one, tries the others, and gives it back where one is not
 *  free. As who waits has a mutex before it runs, three tasks that lock two of them in different
 *  orders may go round for ever.
 *
 *  The rules are those of mutex.h. The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <system_error>

namespace monad::async {
inline namespace v0 {

/** Says that a mutex is to look for cycles: `ma::mutex m{ma::checked};`.
 *  @see mutex.h */
struct checked_t {
    explicit checked_t() = default;
};
/** The one there is.
 *  @see mutex.h */
inline constexpr checked_t checked{};

/** The two forms of a mutex: `mutex` and `local_mutex`. Who waits is served by CPU priority, then
 *  in order, and has the mutex when it goes on.
 *  @see mutex.h, condition.hpp, rw_lock.hpp */
template <class Objects> class basic_mutex {
public:
    /** The record of the C API. */
    using native_type = typename Objects::mutex;

    /** Unlocked. ANY THREAD. */
    constexpr basic_mutex() noexcept = default;

    /** Unlocked, for debugging: who would close a cycle of such ones by `lock` is refused with
     *  `EDEADLK`, and a line on standard error names each task of it. ANY THREAD.
     *  @see MONAD_ASYNC_MUTEX_CHECKED */
    explicit constexpr basic_mutex(checked_t) noexcept
        : native_{{0, 0, 0, 0, 0, 0, 0, 0, MONAD_ASYNC_MUTEX_CHECKED}}
    {
    }
    basic_mutex(basic_mutex const &) = delete;
    basic_mutex &operator=(basic_mutex const &) = delete;

    /** SUSPENDS until it is the caller's; a thread blocks.
     *  @throws std::system_error `EDEADLK`: it is already, or, checked, a cycle of locks would
     *  close; `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted: it is not locked */
    void lock() { detail::check(do_lock(detail::forever_ns).error, "monad::async::mutex::lock"); }

    /** As the other `lock`.
     *  @param[out] ec the error */
    void lock(std::error_code &ec) noexcept
    {
        detail::report(do_lock(detail::forever_ns).error, ec);
    }

    /** Locks it if it is free. Does not suspend.
     *  @return whether it was free, and is the caller's now
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] bool try_lock()
    {
        int const error = Objects::mutex_try_lock(monad_async_task_current(), &native_).error;
        if (error != 0 && error != EBUSY) {
            detail::fail(error, "monad::async::mutex::try_lock");
        }
        return error == 0;
    }

    /** As the other `try_lock`.
     *  @param[out] ec the error; none where it is not free
     *  @return whether it was free, and is the caller's now */
    [[nodiscard]] bool try_lock(std::error_code &ec) noexcept
    {
        int const error = Objects::mutex_try_lock(monad_async_task_current(), &native_).error;
        detail::report(error == EBUSY ? 0 : error, ec);
        return error == 0;
    }

    /** SUSPENDS, for so long at most.
     *  @param timeout from now on
     *  @return whether it is the caller's now
     *  @throws std::system_error, cancelled_error, timeout_error as `lock` */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout)
    {
        return locked_by(detail::boot_time(timeout));
    }

    /** As the other `try_lock_for`.
     *  @param timeout from now on
     *  @param[out] ec the error; none where the time is over
     *  @return whether it is the caller's now */
    template <class Rep, class Period>
    [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout,
                                    std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_lock(detail::boot_time(timeout)).error, ec);
    }

    /** SUSPENDS, until a time at most.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @return whether it is the caller's now
     *  @throws std::system_error, cancelled_error, timeout_error as `lock` */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> const &deadline)
    {
        return locked_by(detail::boot_time(deadline));
    }

    /** As the other `try_lock_until`.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @param[out] ec the error; none where the time is over
     *  @return whether it is the caller's now */
    template <class Clock, class Duration>
    [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> const &deadline,
                                      std::error_code &ec) noexcept
    {
        return detail::came_in_time(do_lock(detail::boot_time(deadline)).error, ec);
    }

    /** Hands it to the first who waits. Does not suspend, and is never interrupted.
     *  @throws std::system_error `EPERM`: it is not the caller's */
    void unlock()
    {
        detail::check(Objects::mutex_unlock(monad_async_task_current(), &native_).error,
                      "monad::async::mutex::unlock");
    }

    /** As the other `unlock`.
     *  @param[out] ec the error */
    void unlock(std::error_code &ec) noexcept
    {
        detail::report(Objects::mutex_unlock(monad_async_task_current(), &native_).error, ec);
    }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    monad_async_result do_lock(std::uint64_t boot_ns)
    {
        return detail::waiting([this, boot_ns](monad_async_task self) {
            return Objects::mutex_lock_until(self, &native_, boot_ns);
        });
    }

    bool locked_by(std::uint64_t boot_ns)
    {
        return detail::came_in_time(do_lock(boot_ns).error, "monad::async::mutex::try_lock_until");
    }

    native_type native_ = {{0}};
};

/** For every task and thread. */
using mutex = basic_mutex<detail::shared_objects>;
/** For the tasks of one executor: no atomics. */
using local_mutex = basic_mutex<detail::local_objects>;

/** Locks several, and unlocks them at the end of the block. Whatever order they are given in, it
 *  locks them by their addresses, the lowest first: so those that lock the same ones by it never
 *  wait for each other in a circle, and each has its turn. Who holds one of them and then locks
 *  another without it keeps to that order. Does not move.
 *
 *  In place of `std::scoped_lock` of several, which locks one, tries the others, and gives it back
 *  where one is not free: three tasks that want two may go round so for ever.
 *  @tparam Lockables `mutex`, `local_mutex`, `rw_lock`, to write, and what else has `lock` and
 *  `unlock`
 *  @see rw_lock.hpp */
template <class... Lockables> class [[nodiscard]] scoped_lock {
public:
    /** SUSPENDS until all are the caller's; a thread blocks.
     *  @param all which; they outlive this object
     *  @throws std::system_error `EDEADLK`: one is the caller's already, to write, or given twice;
     *  `EPERM`: a local one, elsewhere. Then none is locked. For an `rw_lock` that the caller reads
     *  it waits for ever
     *  @throws cancelled_error, timeout_error the wait was interrupted: none is locked */
    explicit scoped_lock(Lockables &...all) : each_{one::of(all)...}
    {
        std::sort(each_.begin(), each_.end());
        std::size_t locked = 0;
        try {
            for (; locked != each_.size(); ++locked) {
                each_[locked].lock(each_[locked].at);
            }
        } catch (...) {
            while (locked != 0) {
                --locked;
                each_[locked].unlock(each_[locked].at);
            }
            throw;
        }
    }

    /** Unlocks them. Does not suspend. */
    ~scoped_lock()
    {
        for (auto const &it : each_) {
            it.unlock(it.at);
        }
    }
    scoped_lock(scoped_lock const &) = delete;
    scoped_lock &operator=(scoped_lock const &) = delete;

private:
    struct one {
        void *at;
        void (*lock)(void *);
        void (*unlock)(void *);

        template <class Lockable> static one of(Lockable &lockable) noexcept
        {
            return {std::addressof(lockable), [](void *it) { static_cast<Lockable *>(it)->lock(); },
                    [](void *it) { static_cast<Lockable *>(it)->unlock(); }};
        }

        friend bool operator<(one const &a, one const &b) noexcept
        {
            return std::less<void *>()(a.at, b.at);
        }
    };

    std::array<one, sizeof...(Lockables)> each_;
};

} // namespace v0
} // namespace monad::async

#endif

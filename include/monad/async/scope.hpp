#ifndef MONAD_ASYNC_SCOPE_HPP
#define MONAD_ASYNC_SCOPE_HPP

/** @file scope.hpp
 *  Scopes and shields: what a task does between two points, bounded in time and cancelled as a
 *  whole.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h, the rules those of scope.h. */

#include "config.h"
#include "detail/die.hpp"
#include "detail/runtime.hpp"
#include "detail/time.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"
#include "scope.h"
#include "task.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

MONAD_ASYNC_API bool scope_has_fired(monad_async_scope const *scope) noexcept;
// Whether `task` was this process's parent's, and what its stack holds is a copy.
MONAD_ASYNC_API bool is_of_a_parent(monad_async_task task) noexcept;

// A scope of the C API that is entered while it lives. Entered during unwinding, it shields: what
// is around it is not delivered then (runtime.hpp, rule 2).
class entered_scope {
public:
    entered_scope() = default;
    entered_scope(entered_scope const &) = delete;
    entered_scope &operator=(entered_scope const &) = delete;

    // The errno.
    MONAD_ASYNC_LOCAL int enter(std::uint64_t timeout_ns, std::uint32_t flags) noexcept
    {
        auto *const self = monad_async_task_current();
        if (self == nullptr) {
            return EPERM;
        }
        int const uncaught = std::uncaught_exceptions();
        if (__builtin_expect(uncaught != 0, false)) {
            flags |= MONAD_ASYNC_SCOPE_SHIELD;
        }
        int const error = monad_async_scope_enter(self, &scope_, timeout_ns, flags).error;
        if (error == 0) {
            noted_.task = self;
            noted_.uncaught = uncaught;
            if (__builtin_expect(uncaught != 0, false)) {
                auto *const first = unwinding_scopes();
                noted_.next = std::exchange(*first, &noted_);
            }
        }
        return error;
    }

    MONAD_ASYNC_LOCAL ~entered_scope()
    {
        if (noted_.task == nullptr) {
            return;
        }
        if (noted_.uncaught != 0) {
            auto **at = unwinding_scopes();
            while (*at != nullptr && *at != &noted_) {
                at = &(*at)->next;
            }
            if (*at != nullptr) {
                *at = noted_.next;
            }
        }
        int const error = monad_async_scope_leave(noted_.task, &scope_).error;
        if (error != 0 && !is_of_a_parent(noted_.task)) {
            die("a scope ended that was not the innermost one of the task that runs");
        }
    }

    [[nodiscard]] bool has_fired() const noexcept
    {
        return noted_.task != nullptr && scope_has_fired(&scope_);
    }

    [[nodiscard]] int cancel() noexcept { return monad_async_scope_cancel(&scope_).error; }

private:
    monad_async_scope scope_;
    // `task` is null while it is not entered.
    unwinding_scope noted_ = {nullptr, nullptr, 0};
};

} // namespace detail
/** @endcond */

/** A part of what the running task does, from its construction to its end. It fires when its
 *  deadline passes, or by `cancel`. From then on every call inside it that would suspend throws at
 *  once: `timeout_error` for its deadline, `cancelled_error` for a cancel. One that need not wait
 *  may return all the same: see `this_task::throw_if_interrupted`. The call that is suspended when
 *  it fires has its operation cancelled, and throws that, or returns its real result if that was
 *  there first.
 *
 *  Lies on the task's stack; scopes end in the opposite order of their beginning. Costs a few
 *  nanoseconds if nothing inside suspends.
 *
 *  @snippet scopes.cpp a deadline around two operations
 *  @see scope.h, stop_token.hpp */
class [[nodiscard]] scope {
public:
    /** Without a deadline: to be cancelled.
     *  @throws std::system_error `EPERM`: outside a task */
    [[nodiscard]] scope() { begin(detail::forever_ns); }

    /** With a deadline.
     *  @param timeout from now on, by a clock that goes on while the machine sleeps; how exact that
     *  is, says scope.h. Zero and less: the first call inside that would suspend throws
     *  @throws std::system_error `EPERM`: outside a task */
    template <class Rep, class Period>
    [[nodiscard]] explicit scope(std::chrono::duration<Rep, Period> timeout)
    {
        begin(detail::to_ns(timeout));
    }

    /** With a deadline.
     *  @param deadline of any clock that has `now()`, which is asked once
     *  @throws std::system_error `EPERM`: outside a task */
    template <class Clock, class Duration>
    [[nodiscard]] explicit scope(std::chrono::time_point<Clock, Duration> deadline)
    {
        begin(detail::ns_between(Clock::now(), deadline));
    }

    /** Does not suspend. Ends the process, with a message, where the scope is not the innermost one
     *  of the task that runs. */
    ~scope() = default;

    scope(scope const &) = delete;
    scope &operator=(scope const &) = delete;
    /** @cond no API */
    static void *operator new(std::size_t) = delete;
    static void *operator new[](std::size_t) = delete;
    /** @endcond */

    /** The task's executor's thread. A load.
     *  @return whether it has fired: by `cancel`, or a call inside found the deadline passed */
    [[nodiscard]] bool fired() const noexcept { return scope_.has_fired(); }

    /** Fires it, as its deadline would, with `cancelled_error`. Does not suspend. From any task of
     *  the same executor, its own included. Fired already: nothing happens.
     *  @throws std::system_error `EPERM`: no task of its executor runs on this thread */
    void cancel() { detail::check(scope_.cancel(), "monad::async::scope::cancel"); }

    /** As the other `cancel`.
     *  @param[out] ec the error */
    void cancel(std::error_code &ec) noexcept { detail::report(scope_.cancel(), ec); }

private:
    MONAD_ASYNC_LOCAL void begin(std::uint64_t timeout_ns)
    {
        detail::check(scope_.enter(timeout_ns, 0), "monad::async::scope");
    }

    detail::entered_scope scope_;
};

/** Keeps the scopes around it, and a cancel of the task, from the calls inside until it ends: for
 *  clean-up that has to suspend. Its own deadline, if there is one, holds. As `scope` in everything
 *  else.
 *  @see monad_async_scope_enter() */
class [[nodiscard]] shield {
public:
    /** Without a deadline.
     *  @throws std::system_error `EPERM`: outside a task */
    [[nodiscard]] shield() { begin(detail::forever_ns); }

    /** With a deadline.
     *  @param timeout as for `scope`
     *  @throws std::system_error `EPERM`: outside a task */
    template <class Rep, class Period>
    [[nodiscard]] explicit shield(std::chrono::duration<Rep, Period> timeout)
    {
        begin(detail::to_ns(timeout));
    }

    /** As that of `scope`. */
    ~shield() = default;

    shield(shield const &) = delete;
    shield &operator=(shield const &) = delete;
    /** @cond no API */
    static void *operator new(std::size_t) = delete;
    static void *operator new[](std::size_t) = delete;
    /** @endcond */

    /** As `scope::fired`.
     *  @return whether its own deadline has passed */
    [[nodiscard]] bool fired() const noexcept { return scope_.has_fired(); }

private:
    MONAD_ASYNC_LOCAL void begin(std::uint64_t timeout_ns)
    {
        detail::check(scope_.enter(timeout_ns, MONAD_ASYNC_SCOPE_SHIELD), "monad::async::shield");
    }

    detail::entered_scope scope_;
};

/** Calls `f` inside a scope with a deadline. SUSPENDS as `f` does. A cancel from outside passes as
 *  `cancelled_error`, and is never taken for a time-out.
 *  @param timeout a duration, or a time of any clock
 *  @param f called without arguments
 *  @return what `f` returns, also where it finished although the deadline had passed
 *  @throws timeout_error the deadline passed, and `f` left by the error of a call that was cut
 *  short
 *  @throws std::system_error `EPERM`: outside a task
 *  @throws what else `f` throws
 *  @see monad_async_scope_enter(), monad_async_scope_leave() */
template <class Timeout, class F>
MONAD_ASYNC_LOCAL decltype(auto) with_timeout(Timeout timeout, F &&f)
{
    scope s{timeout};
    try {
        return std::forward<F>(f)();
    } catch (timeout_error const &) {
        throw;
    } catch (std::system_error const &e) {
        // As one who calls the C API may throw it.
        if (s.fired() && e.code() == std::error_code(ETIME, std::system_category())) {
            throw timeout_error("monad::async::with_timeout");
        }
        throw;
    }
}

/** @cond no API */
namespace detail {

// What can be kept of a result; nothing, of what can be neither moved nor referred to.
template <class R, class = void> struct kept_result {
    using type = std::conditional_t<std::is_move_constructible_v<R>,
                                    std::optional<std::remove_cv_t<R>>, void>;
};
template <> struct kept_result<void> {
    using type = std::optional<std::monostate>;
};
template <class R> struct kept_result<R &> {
    using type = std::optional<std::reference_wrapper<R>>;
};
template <class R> struct kept_result<R &&> : kept_result<R> {};

template <class F> using result_in_time = typename kept_result<std::invoke_result_t<F>>::type;

} // namespace detail
/** @endcond */

/** As the other `with_timeout`, where a time-out is nothing to throw for.
 *  @param timeout a duration, or a time of any clock
 *  @param f called without arguments
 *  @param[out] ec `ETIME` where the other form throws `timeout_error`; else cleared
 *  @return what `f` returns, as a `std::optional`; of nothing a `std::monostate`, of a reference a
 *  `std::reference_wrapper`; nothing with an error. Of what cannot be moved: void
 *  @throws cancelled_error a cancel from outside
 *  @throws what else `f` throws */
template <class Timeout, class F>
MONAD_ASYNC_LOCAL detail::result_in_time<F> with_timeout(Timeout timeout, F &&f,
                                                         std::error_code &ec)
{
    using result = detail::result_in_time<F>;
    std::conditional_t<std::is_void_v<result>, char, result> kept{};
    ec.clear();
    {
        scope s{timeout};
        try {
            if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
                std::forward<F>(f)();
                kept.emplace();
            } else if constexpr (std::is_void_v<result>) {
                (void)std::forward<F>(f)();
            } else {
                kept.emplace(std::forward<F>(f)());
            }
        } catch (std::system_error const &e) {
            if (!s.fired() || e.code() != std::error_code(ETIME, std::system_category())) {
                throw;
            }
            ec = e.code();
        }
    }
    if (ec) {
        detail::check_own_time("monad::async::with_timeout"); // That of a scope around it, too?
    }
    if constexpr (!std::is_void_v<result>) {
        return kept;
    }
}

} // namespace v0
} // namespace monad::async

#endif

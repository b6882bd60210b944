#ifndef MONAD_ASYNC_COROUTINE_HPP
#define MONAD_ASYNC_COROUTINE_HPP

/** @file coroutine.hpp
 *  Coroutines of C++20 on an executor.
 *
 *  A coroutine is run by a task, on the task's stack: one that `run_coroutine` takes from the store
 *  of background tasks, or the one that calls `await`. Where the coroutine awaits, the task
 *  suspends, as in any of its calls. So a coroutine is a task for scopes, groups, cancels, names,
 *  and traces, what it calls may suspend like a task does, and a suspended read costs what it costs
 *  a task. Coroutines that await each other are run by one task, and need no stack of their own,
 *  however deep they are and however often they await, in a build for debugging too. Where many are
 *  to go on at once, begin each with `run_coroutine`. Before C++20 this header is empty.
 *
 *  @snippet coroutines.cpp coroutines
 *
 *  What can be awaited:
 *
 *  | expression | gives |
 *  |---|---|
 *  | a `coroutine` | what it returns |
 *  | an `io_uring_sqe` | `this_task::io` of it (gcc's `-Wpedantic` warns of one in a frame) |
 *  | an `operation` | `wait()` of it |
 *  | a `std::chrono` duration, or a time | nothing, then or later |
 *  | a `task` | `join()` of it |
 *  | a `future` | `get()` of it |
 *  | a `channel` | `recv()` of it: an optional, empty when it is closed |
 *  | any other awaitable | what it gives, resumed on any thread; a cancel waits for it |
 *
 *  Errors, cancels and deadlines are the exceptions of the calls that stand on the right.
 *
 *  A coroutine that is a lambda uses what it has captured, which is gone with the lambda: in
 *  `run_coroutine(ex, [text]() -> ma::coroutine<> { ... }())` at the semicolon. Without the last
 *  pair of brackets `run_coroutine` takes the lambda itself, and keeps it until the coroutine has
 *  ended. The words
 *  SUSPENDS and ANY THREAD are those of executor.h. */

#include "config.h"

#if defined(__cpp_impl_coroutine)

    #include "detail/coroutine_promise.hpp"
    #include "error.hpp"
    #include "executor.hpp"
    #include "executor_ref.hpp"
    #include "future.hpp"
    #include "task.hpp"

    #include <coroutine>
    #include <exception>
    #include <functional>
    #include <optional>
    #include <type_traits>
    #include <utility>

namespace monad::async {
inline namespace v0 {

template <class T> class coroutine;

/** @cond no API */
namespace detail {

template <class T> T run_to_end(coroutine<T> &&c);

template <class C> struct result_of_coroutine {};
template <class T> struct result_of_coroutine<coroutine<T>> {
    using type = T;
};
// Of the coroutine that a callable gives.
template <class F>
using coroutine_result =
    typename result_of_coroutine<std::invoke_result_t<std::decay_t<F> &>>::type;

} // namespace detail
/** @endcond */

/** A coroutine that has not begun. Begins when it is awaited, by another coroutine, or by `await`
 *  or `run_coroutine`; once. Its frame comes from `operator new`, or from the allocator that the
 *  coroutine takes as its first two parameters, `std::allocator_arg_t` and the allocator. (gcc 12
 *  without optimisation warns of that by mistake: `-Wmismatched-new-delete`.)
 *  Move-only; the destructor destroys the frame, also of one that never began. One that was moved
 *  from is not there to be awaited: `EINVAL`.
 *  @see executor.hpp, operation.hpp */
template <class T = void> class [[nodiscard]] coroutine {
    static_assert(!std::is_reference_v<T>,
                  "what a coroutine returns is moved out of its frame: return a pointer");

public:
    /** For the compiler. */
    using promise_type = detail::coroutine_promise<T>;

    /** Takes `other`'s place.
     *  @param other is empty afterwards */
    coroutine(coroutine &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

    /** Takes `other`'s place.
     *  @param other is empty afterwards
     *  @return this object */
    coroutine &operator=(coroutine &&other) noexcept
    {
        if (this != &other) {
            std::swap(handle_, other.handle_);
            coroutine(std::move(other));
        }
        return *this;
    }
    coroutine(coroutine const &) = delete;
    coroutine &operator=(coroutine const &) = delete;

    /** The frame goes, if it has one. */
    ~coroutine()
    {
        if (handle_) {
            handle_.destroy();
        }
    }

private:
    friend promise_type;
    friend detail::promise_base;
    template <class U> friend U detail::run_to_end(coroutine<U> &&);

    using handle = std::coroutine_handle<promise_type>;
    explicit coroutine(handle h) noexcept : handle_(h) {}

    struct awaiter {
        coroutine of;
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> by) const noexcept
        {
            auto &promise = of.handle_.promise();
            promise.continuation = by;
            promise.next = by.promise().next;
            *promise.next = of.handle_;
        }
        T await_resume() { return of.handle_.promise().take(); }
    };
    awaiter awaited() &&
    {
        detail::check(handle_ ? 0 : EINVAL, "monad::async::coroutine");
        return awaiter{std::move(*this)};
    }

    handle handle_;
};

/** @cond no API */
namespace detail {

template <class T> coroutine<T> coroutine_promise<T>::get_return_object() noexcept
{
    return coroutine<T>(std::coroutine_handle<coroutine_promise>::from_promise(*this));
}

inline coroutine<void> coroutine_promise<void>::get_return_object() noexcept
{
    return coroutine<void>(std::coroutine_handle<coroutine_promise>::from_promise(*this));
}

template <class T> T run_to_end(coroutine<T> &&c)
{
    auto const mine = std::move(c);
    check(mine.handle_ ? 0 : EINVAL, "monad::async::await"); // Moved from.
    // They suspend the task where they await, so the last one comes back at its end.
    std::coroutine_handle<> next = mine.handle_;
    mine.handle_.promise().next = &next;
    while (next) {
        std::exchange(next, nullptr).resume();
    }
    return mine.handle_.promise().take();
}

} // namespace detail
/** @endcond */

/** Runs a coroutine to its end, in the task that calls. SUSPENDS where the coroutine awaits.
 *  @param c which has not begun
 *  @return what it returns
 *  @throws what it throws
 *  @throws std::system_error `EPERM`: outside a task; `EINVAL`: it was moved from
 *  @see this_task.hpp */
template <class T> T await(coroutine<T> c)
{
    if (monad_async_task_current() == nullptr) {
        detail::fail(EPERM, "monad::async::await");
    }
    return detail::run_to_end(std::move(c));
}

/** Runs a coroutine in a background task of an executor. ANY THREAD.
 *  @param ex the executor
 *  @param c which has not begun
 *  @return its result, as of `executor::submit`: destroyed before it is done, it cancels and waits
 *  @throws as `executor::submit`
 *  @see future.hpp */
template <class T> [[nodiscard]] future<T> run_coroutine(executor const &ex, coroutine<T> c)
{
    return ex.submit([c = std::move(c)]() mutable -> T { return await(std::move(c)); });
}

/** As the other `run_coroutine`.
 *  @param ex refers to the executor
 *  @param c which has not begun
 *  @return its result
 *  @throws as `executor_ref::submit` */
template <class T> [[nodiscard]] future<T> run_coroutine(executor_ref const &ex, coroutine<T> c)
{
    return ex.submit([c = std::move(c)]() mutable -> T { return await(std::move(c)); });
}

/** Runs the coroutine that a callable gives, most often a lambda, and keeps the callable, with what
 *  it has captured, until the coroutine has ended. ANY THREAD.
 *  @param ex the executor
 *  @param f called without arguments, by the task; returns a `coroutine`
 *  @return its result
 *  @throws as `executor::submit`
 *  @see future.hpp */
template <class F>
[[nodiscard]] future<detail::coroutine_result<F>> run_coroutine(executor const &ex, F &&f)
{
    return ex.submit(
        [f = std::decay_t<F>(std::forward<F>(f))]() mutable { return await(std::invoke(f)); });
}

/** As the other `run_coroutine`.
 *  @param ex refers to the executor
 *  @param f called without arguments, by the task; returns a `coroutine`
 *  @return its result
 *  @throws as `executor_ref::submit` */
template <class F>
[[nodiscard]] future<detail::coroutine_result<F>> run_coroutine(executor_ref const &ex, F &&f)
{
    return ex.submit(
        [f = std::decay_t<F>(std::forward<F>(f))]() mutable { return await(std::invoke(f)); });
}

} // namespace v0
} // namespace monad::async

#endif // coroutines

#endif

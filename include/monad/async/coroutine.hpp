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

#include "channel.hpp"
#include "error.hpp"
#include "event.h"
#include "executor.hpp"
#include "executor_ref.hpp"
#include "future.hpp"
#include "operation.hpp"
#include "scope.hpp"
#include "task.hpp"
#include "this_task.hpp"

#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace monad::async {
inline namespace v0 {

template <class T> class coroutine;

/** @cond no API */
namespace detail {

// What is there at once: the task has suspended, and the coroutine need not.
template <class F> struct now {
    F call;
    [[nodiscard]] bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    decltype(auto) await_resume() { return call(); }
};
template <class F> now(F) -> now<F>;

template <class T> decltype(auto) awaiter_of(T &&value)
{
    if constexpr (requires { std::forward<T>(value).operator co_await(); }) {
        return std::forward<T>(value).operator co_await();
    } else if constexpr (requires { operator co_await(std::forward<T>(value)); }) {
        return operator co_await(std::forward<T>(value));
    } else {
        return std::forward<T>(value);
    }
}

template <class T> concept is_awaitable = requires(T &&value) {
    awaiter_of(std::forward<T>(value)).await_ready();
    awaiter_of(std::forward<T>(value)).await_resume();
};

// Stands for the coroutine where an awaitable of others keeps a handle: to be resumed by any
// thread, once. It then has the task go on.
struct stand_in {
    struct promise_type {
        stand_in get_return_object() noexcept
        {
            return stand_in{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
        [[nodiscard]] std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };
    std::coroutine_handle<promise_type> handle;
};

// Suspended at its end before the task is told, so that the task may destroy it.
struct tells {
    monad_async_event *event;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept
    {
        (void)monad_async_event_set(event);
    }
    void await_resume() const noexcept {}
};

inline stand_in make_stand_in(monad_async_event *event)
{
    co_await tells{event};
}

struct destroys_stand_in {
    std::coroutine_handle<stand_in::promise_type> handle;
    destroys_stand_in(destroys_stand_in const &) = delete;
    destroys_stand_in &operator=(destroys_stand_in const &) = delete;
    explicit destroys_stand_in(stand_in of) noexcept : handle(of.handle) {}
    ~destroys_stand_in() { handle.destroy(); }
};

// SUSPENDS the task until an awaitable of others has resumed its handle. It cannot be withdrawn.
template <class Awaiter> MONAD_ASYNC_LOCAL void await_foreign(Awaiter &awaiter)
{
    if (awaiter.await_ready()) {
        return;
    }
    monad_async_event event = MONAD_ASYNC_EVENT_INIT;
    destroys_stand_in const proxy(make_stand_in(&event));
    auto const handle = std::coroutine_handle<>(proxy.handle);
    using result = decltype(awaiter.await_suspend(handle));
    if constexpr (std::is_same_v<result, bool>) {
        if (!awaiter.await_suspend(handle)) {
            return;
        }
    } else if constexpr (std::is_void_v<result>) {
        awaiter.await_suspend(handle);
    } else {
        awaiter.await_suspend(handle).resume();
    }
    shield const until_it_comes;
    auto *const self = monad_async_task_current();
    (void)suspending([&] { return monad_async_event_wait(self, &event); });
}

template <class Awaiter> struct foreign {
    Awaiter awaiter;
    bool await_ready()
    {
        await_foreign(awaiter);
        return true;
    }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    decltype(auto) await_resume() { return awaiter.await_resume(); }
};

// The allocator that a frame came from, or none, lies behind the frame.
struct frame_end {
    void (*release)(void *frame, std::size_t bytes) noexcept;
};

inline constexpr std::size_t frame_unit = alignof(std::max_align_t);

constexpr std::size_t frame_bytes(std::size_t bytes) noexcept
{
    return (bytes + frame_unit - 1) / frame_unit * frame_unit;
}

struct alignas(std::max_align_t) frame_block {
    std::byte bytes[frame_unit];
};

template <class Allocator> struct frames_of {
    using allocator =
        typename std::allocator_traits<Allocator>::template rebind_alloc<frame_block>;
    struct end : frame_end {
        allocator from;
    };
    static constexpr std::size_t end_bytes = frame_bytes(sizeof(end));

    static void *allocate(std::size_t bytes, Allocator const &given)
    {
        allocator from(given);
        auto const room = frame_bytes(bytes);
        auto const count = (room + end_bytes) / frame_unit;
        void *const at = std::allocator_traits<allocator>::allocate(from, count);
        ::new (static_cast<std::byte *>(at) + room) end{{&release}, std::move(from)};
        return at;
    }
    static void release(void *frame, std::size_t bytes) noexcept
    {
        auto const room = frame_bytes(bytes);
        auto *const at = std::launder(
            reinterpret_cast<end *>(static_cast<std::byte *>(frame) + room));
        allocator from(std::move(at->from));
        at->~end();
        std::allocator_traits<allocator>::deallocate(
            from, static_cast<frame_block *>(frame), (room + end_bytes) / frame_unit);
    }
};

struct promise_base {
    // Who awaits it; null: the task, by `run_to_end`. The next coroutine that runs is left in
    // `*next`, for the loop there: what is resumed inside of `await_suspend` would take stack
    // wherever the compiler does not make a jump of it, unoptimised for one.
    std::coroutine_handle<> continuation = nullptr;
    std::coroutine_handle<> *next = nullptr;

    static void *operator new(std::size_t bytes)
    {
        return frames_of<std::allocator<std::byte>>::allocate(bytes, {});
    }
    // `coroutine<T> f(std::allocator_arg_t, Allocator, ...)`
    template <class Allocator, class... Arguments>
    static void *operator new(std::size_t bytes, std::allocator_arg_t, Allocator const &allocator,
        Arguments const &...)
    {
        return frames_of<Allocator>::allocate(bytes, allocator);
    }
    // The same of a member function.
    template <class Object, class Allocator, class... Arguments>
    static void *operator new(std::size_t bytes, Object const &, std::allocator_arg_t,
        Allocator const &allocator, Arguments const &...)
    {
        return frames_of<Allocator>::allocate(bytes, allocator);
    }
    static void operator delete(void *frame, std::size_t bytes) noexcept
    {
        auto *const at = static_cast<std::byte *>(frame) + frame_bytes(bytes);
        std::launder(reinterpret_cast<frame_end *>(at))->release(frame, bytes);
    }

    struct to_continuation {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> h) const noexcept
        {
            auto &promise = h.promise();
            *promise.next = promise.continuation;
        }
        void await_resume() const noexcept {}
    };
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] to_continuation final_suspend() const noexcept { return {}; }

    template <class T> auto await_transform(coroutine<T> &&c) const
    {
        return std::move(c).awaited();
    }
    auto await_transform(io_uring_sqe const &sqe) const noexcept
    {
        return now{[&sqe] { return this_task::io(sqe); }};
    }
    auto await_transform(operation &op) const noexcept
    {
        return now{[&op] { return op.wait(); }};
    }
    template <class Rep, class Period>
    auto await_transform(std::chrono::duration<Rep, Period> duration) const noexcept
    {
        return now{[duration] { this_task::sleep_for(duration); }};
    }
    template <class Clock, class Duration>
    auto await_transform(std::chrono::time_point<Clock, Duration> time) const noexcept
    {
        return now{[time] { this_task::sleep_until(time); }};
    }
    auto await_transform(task &t) const noexcept
    {
        return now{[&t] { return t.join(); }};
    }
    template <class R> auto await_transform(future<R> &f) const noexcept
    {
        return now{[&f]() -> R { return f.get(); }};
    }
    template <class R> auto await_transform(future<R> &&f) const noexcept
    {
        return now{[&f]() -> R { return f.get(); }};
    }
    template <class T, class Objects>
    auto await_transform(channel<T, Objects> &c) const noexcept
    {
        return now{[&c] { return c.recv(); }};
    }
    template <class Awaitable>
        requires is_awaitable<Awaitable>
    auto await_transform(Awaitable &&awaitable) const
    {
        using awaiter = decltype(awaiter_of(std::forward<Awaitable>(awaitable)));
        return foreign<awaiter>{awaiter_of(std::forward<Awaitable>(awaitable))};
    }
};

template <class T> struct coroutine_promise : promise_base {
    std::variant<std::monostate, T, std::exception_ptr> result;

    coroutine<T> get_return_object() noexcept;
    template <class U> void return_value(U &&value)
    {
        result.template emplace<1>(std::forward<U>(value));
    }
    void unhandled_exception() noexcept { result.template emplace<2>(std::current_exception()); }
    T take()
    {
        if (result.index() == 2) {
            std::rethrow_exception(std::get<2>(std::move(result)));
        }
        return std::get<1>(std::move(result));
    }
};

template <> struct coroutine_promise<void> : promise_base {
    std::exception_ptr thrown;

    coroutine<void> get_return_object() noexcept;
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { thrown = std::current_exception(); }
    void take() const
    {
        if (thrown) {
            std::rethrow_exception(thrown);
        }
    }
};

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
 *  from is not there to be awaited: `EINVAL`. */
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
        std::swap(handle_, other.handle_);
        coroutine(std::move(other));
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
 *  @throws std::system_error `EPERM`: outside a task; `EINVAL`: it was moved from */
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
 *  @throws as `executor::submit` */
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
 *  @throws as `executor::submit` */
template <class F>
[[nodiscard]] future<detail::coroutine_result<F>> run_coroutine(executor const &ex, F &&f)
{
    return ex.submit([f = std::decay_t<F>(std::forward<F>(f))]() mutable {
        return await(std::invoke(f));
    });
}

/** As the other `run_coroutine`.
 *  @param ex refers to the executor
 *  @param f called without arguments, by the task; returns a `coroutine`
 *  @return its result
 *  @throws as `executor_ref::submit` */
template <class F>
[[nodiscard]] future<detail::coroutine_result<F>> run_coroutine(executor_ref const &ex, F &&f)
{
    return ex.submit([f = std::decay_t<F>(std::forward<F>(f))]() mutable {
        return await(std::invoke(f));
    });
}

} // namespace v0
} // namespace monad::async

#endif // coroutines

#endif

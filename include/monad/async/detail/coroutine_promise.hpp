#ifndef MONAD_ASYNC_DETAIL_COROUTINE_PROMISE_HPP
#define MONAD_ASYNC_DETAIL_COROUTINE_PROMISE_HPP

// What a coroutine of coroutine.hpp is made of: its frame and the allocator that it came from, what
// it awaits, and where it goes on.

#include "../config.h"

#if defined(__cpp_impl_coroutine)

    #include "../channel.hpp"
    #include "../error.hpp"
    #include "../event.h"
    #include "../executor.hpp"
    #include "../executor_ref.hpp"
    #include "../future.hpp"
    #include "../operation.hpp"
    #include "../scope.hpp"
    #include "../task.hpp"
    #include "../this_task.hpp"

    #include <cerrno>
    #include <chrono>
    #include <coroutine>
    #include <cstddef>
    #include <exception>
    #include <memory>
    #include <new>
    #include <type_traits>
    #include <utility>
    #include <variant>

namespace monad::async {
inline namespace v0 {

template <class T> class coroutine;

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

template <class T>
concept is_awaitable = requires(T &&value) {
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

    // gcc sees a null pointer of its own making in each coroutine.
    #ifndef __clang__
        #pragma GCC diagnostic push
        #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #endif
inline stand_in make_stand_in(monad_async_event *event)
{
    co_await tells{event};
}
    #ifndef __clang__
        #pragma GCC diagnostic pop
    #endif

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
    using allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<frame_block>;
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
        auto *const at =
            std::launder(reinterpret_cast<end *>(static_cast<std::byte *>(frame) + room));
        allocator from(std::move(at->from));
        at->~end();
        std::allocator_traits<allocator>::deallocate(from, static_cast<frame_block *>(frame),
                                                     (room + end_bytes) / frame_unit);
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
        template <class Promise> void await_suspend(std::coroutine_handle<Promise> h) const noexcept
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
    template <class T, class Objects> auto await_transform(channel<T, Objects> &c) const noexcept
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
    void unhandled_exception() noexcept { result.template emplace<2>(caught()); }
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
    void unhandled_exception() noexcept { thrown = caught(); }
    void take() const
    {
        if (thrown) {
            std::rethrow_exception(thrown);
        }
    }
};

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif
#endif

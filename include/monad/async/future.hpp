#ifndef MONAD_ASYNC_FUTURE_HPP
#define MONAD_ASYNC_FUTURE_HPP

/** @file future.hpp
 *  Results of background tasks; `executor::spawn` and `executor::submit`.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/executor_block.hpp"
#include "detail/future_state.hpp"
#include "detail/runtime.hpp"
#include "detail/spawn.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"
#include "event.h"
#include "executor.hpp"
#include "executor_ref.hpp"
#include "scope.h"
#include "task.h"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// The errno, or `no_room`. Throws what moving the callable does.
template <class R, bool here, class Target, class F>
MONAD_ASYNC_LOCAL int submit_by(executor_block &block, Target target, F &&body, future_base *&made)
{
    static_assert(!std::is_reference_v<R>,
                  "what a submitted callable returns is moved into its future: return a pointer");
    using state_type = future_state<R>;
    int error = 0;
    auto *const taken = take_spawned(block, here, error);
    if (__builtin_expect(taken == nullptr, false)) {
        return error;
    }
    auto &s = *taken;
    struct guard { // What is not launched goes back.
        spawned *s;
        state_type *state = nullptr;
        ~guard()
        {
            if (s != nullptr) {
                if (state != nullptr) {
                    end_future<state_type>(*state);
                }
                keep_spawned(*s, here);
            }
        }
    } g{taken};
    state_type *state = nullptr;
    if constexpr (fits_spawned<state_type>) {
        state = ::new (static_cast<void *>(s.future_room)) state_type;
    } else {
        state = new (std::nothrow) state_type;
        if (state == nullptr) {
            return no_room;
        }
    }
    g.state = state;
    state->of = &s;
    if constexpr (!ends_by_itself<state_type>) {
        state->end = &end_future<state_type>;
    }
    bool fits = false;
    if constexpr (std::is_void_v<R>) {
        fits = detail::put_body(s, std::forward<F>(body));
    } else {
        fits = detail::put_body(s, [state, f = std::decay_t<F>(std::forward<F>(body))]() mutable {
            state->value.emplace(std::invoke(std::move(f)));
        });
    }
    if (!fits) {
        return no_room;
    }
    if constexpr (here) {
        state->is_joined = true;
        // The future may outlive the executor.
        s.holds_block = true;
        block.use_here();
        error = monad_async_task_attach(block.head, s.head).error;
    } else {
        s.of = static_cast<future_base *>(state);
        s.on_done = &future_done;
        error = target == nullptr ? EINVAL : start(target, s.head).error;
    }
    if (__builtin_expect(error == 0, true)) {
        g.s = nullptr;
        made = state;
    }
    return error;
}

// As `submit_by`, of one that the thread may not own.
template <class R, class F>
[[gnu::noinline]] MONAD_ASYNC_LOCAL int submit_elsewhere(executor_block &block, F &&body,
                                                         future_base *&made)
{
    return detail::submit_by<R, false>(block, background_target{&block, false},
                                       std::forward<F>(body), made);
}

// A null block: of an object that was moved from. `how` as in `settle_spawn`; null where that is
// reported.
template <class R, class F, class How>
MONAD_ASYNC_LOCAL future_base *submit_to(executor_block *block, F &&body, How &how)
{
    future_base *made = nullptr;
    int error = EINVAL;
    if (block != nullptr) {
        if (__builtin_expect(is_here(*block), true)) {
            error = detail::submit_by<R, true>(*block, background_target{block, true},
                                               std::forward<F>(body), made);
        } else {
            future_base *there = nullptr;
            error = detail::submit_elsewhere<R>(*block, std::forward<F>(body), there);
            made = there;
        }
    }
    detail::settle_spawn(error, how);
    return made;
}

} // namespace detail
/** @endcond */

/** The result of a task that `submit` began. Move-only. One thread at a time may use the object,
 *  except where ANY THREAD is said, and there while no other one gets, moves or destroys it.
 *  Destroyed before the task has ended, it cancels the task and waits for its end. What the task
 *  returned or threw ends on the thread of the object, with it or with the `get`. Of an exception
 *  that nobody got from it `executor_options::on_unobserved` is told. Of what was submitted on the
 *  executor's own thread: a plain thread allocates to wait for it; and a callable that never began
 *  is destroyed when the object lets go of it.
 *  @see executor.hpp, pool.hpp */
template <class R> class [[nodiscard]] future {
public:
    /** Of nothing. */
    future() noexcept = default;

    /** @param other is of nothing afterwards */
    future(future &&other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

    /** Takes `other`'s place, and ends what it had as the destructor.
     *  @param other is of nothing afterwards
     *  @return this object */
    future &operator=(future &&other) noexcept
    {
        if (this != &other) {
            auto *const before = std::exchange(state_, std::exchange(other.state_, nullptr));
            if (before != nullptr) {
                end(before);
            }
        }
        return *this;
    }

    /** SUSPENDS, shielded, where the task has not ended: cancels it and waits. On another thread
     *  it blocks; on the executor's, outside all tasks, it runs the executor. Inside a task of
     *  another executor of that thread it waits until who runs that one has run this one.
     *  Ends the process, with a message, inside its own task; but where that called `exit`, which
     *  destroys a static one, it leaves the task as it is, as it does where `exit` was called by
     *  another thread than that of the task's executor, or inside a task of another one. */
    ~future()
    {
        if (auto *const before = std::exchange(state_, nullptr); before != nullptr) {
            end(before);
        }
    }

    future(future const &) = delete;
    future &operator=(future const &) = delete;

    /** @return whether there is a result to wait for */
    [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }

    /** @return whether the task has ended, and `get` returns at once. ANY THREAD */
    [[nodiscard]] bool ready() const noexcept { return state_ != nullptr && state_->is_done(); }

    /** SUSPENDS until the task has ended; outside a task it blocks.
     *  @return what the callable returned; the future is of nothing then
     *  @throws what the callable threw; cancelled_error: it was cancelled before it began
     *  @throws cancelled_error, timeout_error the wait was interrupted: the future is as before
     *  @throws std::system_error `EINVAL`: of nothing, or another task of the thread has taken the
     *  result while this one waited; `EDEADLK`: inside the task itself, in one of the same executor
     *  that it waits for, through others of it maybe, or on the executor's thread outside its
     *  tasks, while it has not ended; `EPERM`: in the child of a fork, which it did not end before.
     *  Tasks of a pool, or of several executors, that wait for each other's futures are not
     *  refused, as joins are (task.h): they wait until one is cancelled or out of time */
    R get()
    {
        auto *const state = state_;
        detail::check(state == nullptr ? EINVAL : 0,
                      "monad::async::future::get (of nothing, or its result was taken)");
        bool const here = detail::is_here(*state->of->block);
        if (__builtin_expect(!here || !state->is_joined, false)) {
            return get_from_elsewhere(here);
        }
        if (!state->is_done(true)) {
            await_here();
            if (!detail::is_here(*state->of->block)) { // Its executor has ended meanwhile.
                return get_from_elsewhere(false);
            }
        }
        if (int const error = state->error_of_end(); __builtin_expect(error != 0, false)) {
            fail(error, true);
        }
        struct release {
            future *of;
            ~release() { detail::release_here<R>(*std::exchange(of->state_, nullptr)); }
        } const r{this};
        if constexpr (!std::is_void_v<R>) {
            return std::move(*static_cast<detail::future_state<R> *>(state)->value);
        }
    }

    /** What the callable returns; `std::monostate` for nothing. */
    using value_type = std::conditional_t<std::is_void_v<R>, std::monostate, R>;

    /** As the other `get`.
     *  @param[out] ec the error; of what the callable threw: its errno, `ENOMEM` for a
     *  `std::bad_alloc`, `ENOTRECOVERABLE` for what has none. The future is of nothing then, too;
     *  still `valid`: the wait was interrupted
     *  @return what the callable returned; nothing with an error */
    std::optional<value_type>
    get(std::error_code &ec) noexcept(std::is_nothrow_move_constructible_v<value_type>)
    {
        int error = await(detail::forever_ns);
        std::optional<value_type> value;
        if (error == 0) {
            auto *const state = std::exchange(state_, nullptr);
            error = state->error_of_end();
            struct release {
                detail::future_base *state;
                ~release()
                {
                    drop(*state);
                    state->let_go(detail::is_here(*state->of->block));
                }
            } const r{state};
            if (error == 0) {
                if constexpr (std::is_void_v<R>) {
                    value.emplace();
                } else {
                    value.emplace(std::move(*static_cast<detail::future_state<R> *>(state)->value));
                }
            }
        }
        detail::report(error, ec);
        return value;
    }

    /** SUSPENDS until the task has ended; outside a task it blocks.
     *  @throws std::system_error, cancelled_error, timeout_error as `get`, of the wait alone */
    void wait() { detail::check(await(detail::forever_ns), "monad::async::future::wait"); }

    /** As the other `wait`.
     *  @param[out] ec the error of the wait */
    void wait(std::error_code &ec) noexcept { detail::report(await(detail::forever_ns), ec); }

    /** SUSPENDS until the task has ended, for so long at most; outside a task it blocks.
     *  @param timeout from now on
     *  @return whether it has ended
     *  @throws std::system_error, cancelled_error, timeout_error as `get`, of the wait alone */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout)
    {
        return detail::came_in_time(await(detail::boot_time(timeout)),
                                    "monad::async::future::wait_for");
    }

    /** As the other `wait_for`.
     *  @param timeout from now on
     *  @param[out] ec the error of the wait; none where the time is over
     *  @return whether it has ended */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout,
                                std::error_code &ec) noexcept
    {
        return detail::came_in_time(await(detail::boot_time(timeout)), ec);
    }

    /** Asks the task to end. ANY THREAD. Its result is to be waited for as ever. */
    void cancel() noexcept
    {
        if (state_ != nullptr && !state_->is_done()) {
            (void)monad_async_task_cancel(nullptr, state_->of->head);
        }
    }

    /** @cond no API */
    explicit future(detail::future_base *state) noexcept : state_(state) {}
    /** @endcond */

private:
    static constexpr char const *what_get = "monad::async::future::get";

    // As `await`, of `get`. Of a call in line, those that need not wait would save the registers.
    [[gnu::noinline]] MONAD_ASYNC_LOCAL void await_here()
    {
        auto *const self = monad_async_task_current();
        detail::check(self != nullptr ? join(self, detail::forever_ns)
                                      : await(detail::forever_ns, true),
                      what_get);
    }

    [[gnu::noinline]] R get_from_elsewhere(bool here)
    {
        if (!state_->is_done()) {
            detail::check(await(detail::forever_ns, here), what_get);
        }
        if (int const error = state_->error_of_end(); error != 0) {
            fail(error, here);
        }
        struct release {
            future *of;
            bool here;
            ~release()
            {
                auto *const state = std::exchange(of->state_, nullptr);
                drop(*state);
                state->let_go(here);
            }
        } const r{this, here};
        if constexpr (!std::is_void_v<R>) {
            return std::move(*static_cast<detail::future_state<R> *>(state_)->value);
        }
    }

    // It ended so.
    [[noreturn, gnu::cold, gnu::noinline]] void fail(int error, bool here)
    {
        auto const thrown = std::exchange(state_->of->thrown, nullptr);
        std::exchange(state_, nullptr)->let_go(here);
        if (thrown) {
            std::rethrow_exception(thrown);
        }
        detail::fail(error, what_get);
    }

    int await(std::uint64_t boot_ns)
    {
        if (state_ == nullptr) {
            return EINVAL;
        }
        return state_->is_done() ? 0 : await(boot_ns, detail::is_here(*state_->of->block));
    }

    // Not done; `here` as of now.
    MONAD_ASYNC_LOCAL int await(std::uint64_t boot_ns, bool here)
    {
        auto *const self = monad_async_task_current();
        if (__builtin_expect(self == nullptr, false)) {
            if (!state_->of->block->is_of_this_process()) {
                return EPERM;
            }
            if (here) {
                return EDEADLK;
            }
        } else if (__builtin_expect(state_->is_own_of(self), false)) {
            return EDEADLK;
        }
        if (state_->is_joined || (boot_ns == detail::forever_ns && state_->is_joined_by(self))) {
            return self == nullptr ? state_->block_thread(boot_ns) : join(self, boot_ns);
        }
        auto *const state = state_;
        if (!state->announce()) {
            return 0;
        }
        auto *const done = &state->of->done;
        ++state->waiters;
        int error = detail::waiting([done, boot_ns](monad_async_task caller) {
                        return monad_async_event_wait_until(caller, done, boot_ns);
                    }).error;
        // What the task did comes before, ThreadSanitizer sees here: the event is the library's.
        error = state_ != state ? EINVAL : state->is_done() ? 0 : error;
        state->waited_for();
        return error;
    }

    // SUSPENDS `self`. The errno; EINVAL: another task of this thread has taken the result, or
    // moved it elsewhere, during the wait.
    MONAD_ASYNC_LOCAL int join(monad_async_task self, std::uint64_t boot_ns)
    {
        auto *const state = state_;
        ++state->waiters;
        auto const r = state->join(self, boot_ns);
        int const error = state_ != state ? EINVAL : state->joined(r);
        state->waited_for();
        return error;
    }

    // Done. What it returned or threw ends with the future, on its thread: a worker that has told
    // of the end may have yet to let go.
    static void drop(detail::future_base &state) noexcept
    {
        if constexpr (!std::is_void_v<R>) {
            static_cast<detail::future_state<R> &>(state).value.reset();
        }
        state.of->thrown = nullptr;
    }

    // Of a future that is of nothing, or another's, by now.
    [[gnu::noinline]] static void end(detail::future_base *state) noexcept
    {
        if (!state->is_done()) {
            if (state->is_left_alone()) {
                return;
            }
            (void)monad_async_task_cancel(nullptr, state->of->head);
            state->wait_for_sure();
        }
        if (state->is_done()) {
            state->tell_of_thrown();
            drop(*state);
        }
        state->let_go(detail::is_here(*state->of->block));
    }

    detail::future_base *state_ = nullptr;
};

/** @cond as declared */
template <class F> void executor::spawn(F &&body) const
{
    detail::settle_spawn(detail::spawn_background(block_, std::forward<F>(body)),
                         "monad::async::executor::spawn");
}

template <class F>
void executor::spawn(F &&body, std::error_code &ec) const
    noexcept(detail::moves_twice_without_throw<F>)
{
    detail::settle_spawn(detail::spawn_background(block_, std::forward<F>(body)), ec);
}

template <class F> future<std::invoke_result_t<std::decay_t<F>>> executor::submit(F &&body) const
{
    using result = std::invoke_result_t<std::decay_t<F>>;
    constexpr char const *what = "monad::async::executor::submit";
    return future<result>(detail::submit_to<result>(block_, std::forward<F>(body), what));
}

template <class F>
future<std::invoke_result_t<std::decay_t<F>>> executor::submit(F &&body, std::error_code &ec) const
    noexcept(detail::moves_twice_without_throw<F>)
{
    using result = std::invoke_result_t<std::decay_t<F>>;
    return future<result>(detail::submit_to<result>(block_, std::forward<F>(body), ec));
}

template <class F> void executor_ref::spawn(F &&body) const
{
    detail::settle_spawn(detail::spawn_background(block_, std::forward<F>(body)),
                         "monad::async::executor_ref::spawn");
}

template <class F>
void executor_ref::spawn(F &&body, std::error_code &ec) const
    noexcept(detail::moves_twice_without_throw<F>)
{
    detail::settle_spawn(detail::spawn_background(block_, std::forward<F>(body)), ec);
}

template <class F>
future<std::invoke_result_t<std::decay_t<F>>> executor_ref::submit(F &&body) const
{
    using result = std::invoke_result_t<std::decay_t<F>>;
    constexpr char const *what = "monad::async::executor_ref::submit";
    return future<result>(detail::submit_to<result>(block_, std::forward<F>(body), what));
}

template <class F>
future<std::invoke_result_t<std::decay_t<F>>> executor_ref::submit(F &&body,
                                                                   std::error_code &ec) const
    noexcept(detail::moves_twice_without_throw<F>)
{
    using result = std::invoke_result_t<std::decay_t<F>>;
    return future<result>(detail::submit_to<result>(block_, std::forward<F>(body), ec));
}
/** @endcond */

} // namespace v0
} // namespace monad::async

#endif

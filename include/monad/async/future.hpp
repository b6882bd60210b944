#ifndef MONAD_ASYNC_FUTURE_HPP
#define MONAD_ASYNC_FUTURE_HPP

/** @file future.hpp
 *  Results of background tasks; `executor::spawn` and `executor::submit`.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/executor_block.hpp"
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
#include <type_traits>
#include <utility>
#include <variant>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// What a task and the future of its result share. Held by both; the last gives the task back.
//
// 1. A task of the executor that the waiter runs on is joined. All other waiters announce
//    themselves (`waited`), and wait for the event: so a task that nobody waits for so sets none.
// 2. Who lets go second has seen that the other did: `task_left` and `future_left`.
struct future_base {
    // Of `marks`.
    static constexpr unsigned over = 1, waited = 2, task_left = 4, future_left = 8;

    // Who announces itself first sets it up: most futures need none, and it is a line of its own.
    monad_async_event done;
    spawned *of = nullptr;
    std::exception_ptr thrown;
    int error = 0;
    // Atomic. With `over` all of the above may be read.
    unsigned marks = 0;
    void (*end)(future_base &) noexcept = nullptr;

    [[nodiscard]] bool is_done() const noexcept
    {
        return (__atomic_load_n(&marks, __ATOMIC_ACQUIRE) & over) != 0;
    }

    // Done, and its future goes without having asked what was thrown.
    void tell_of_thrown() const noexcept
    {
        auto const *const told = of->block->on_unobserved();
        if (thrown && error != ECANCELED && told != nullptr) {
            (*told)(thrown);
        }
    }

    void finished() noexcept
    {
        unsigned before = 0;
        // The common case: nobody has waited, nor let go.
        if (!__atomic_compare_exchange_n(&marks, &before, over | task_left, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            if ((__atomic_fetch_or(&marks, over, __ATOMIC_ACQ_REL) & waited) != 0) {
                (void)monad_async_event_set(&done);
            }
            leave(task_left, future_left);
        }
    }

    void release() noexcept { leave(future_left, task_left); }

    void leave(unsigned own, unsigned others) noexcept
    {
        if ((__atomic_load_n(&marks, __ATOMIC_ACQUIRE) & others) != 0 ||
            (__atomic_fetch_or(&marks, own, __ATOMIC_ACQ_REL) & others) != 0) {
            auto &s = *of;
            end(*this); // It may lie in `s`.
            keep_spawned(s, is_here(*s.block));
        }
    }

    // Whether it is to be waited for by the event; false: it is done. One thread at a time waits.
    bool announce() noexcept
    {
        if ((__atomic_load_n(&marks, __ATOMIC_RELAXED) & waited) == 0) {
            done = MONAD_ASYNC_EVENT_INIT;
        }
        return (__atomic_fetch_or(&marks, waited, __ATOMIC_ACQ_REL) & over) == 0;
    }

    // Rule 1.
    [[nodiscard]] bool is_of(monad_async_task self) const noexcept
    {
        return self != nullptr && self->current_executor == of->block->head;
    }

    // SUSPENDS, or blocks, until it is done; nothing interrupts it.
    MONAD_ASYNC_LOCAL void wait_for_sure() noexcept
    {
        auto *const self = monad_async_task_current();
        if (self != nullptr) {
            monad_async_scope shield;
            (void)monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD);
            if (is_of(self)) {
                (void)suspending([this, self] { return monad_async_task_join(self, of->head); });
                while (__builtin_expect(!is_done(), false)) {
                    // Refused, as it waits for this one, shielded: until it no longer does.
                    constexpr std::uint64_t moment_ns = 1'000'000;
                    (void)suspending(
                        [self] { return monad_async_task_suspend_for_duration(self, moment_ns); });
                }
            } else if (announce()) {
                (void)suspending([this, self] { return monad_async_event_wait(self, &done); });
            }
            (void)monad_async_scope_leave(self, &shield);
            return;
        }
        bool const here = is_here(*of->block);
        // The child of a fork: it is the parent's, and never done here.
        while (!is_done() && of->block->is_of_this_process()) {
            if (here) {
                int why_not = 0;
                (void)executor_run(of->block->head, SIZE_MAX, forever_ns, why_not);
                if (why_not == EPERM) {
                    return; // The child of a fork: it is the parent's, and never done here.
                }
            } else if (announce()) {
                (void)monad_async_event_wait(nullptr, &done);
            }
        }
    }
};

template <class R> struct future_state : future_base {
    std::optional<std::conditional_t<std::is_void_v<R>, std::monostate, R>> value;
};

inline void future_done(spawned &s, monad_async_result r) noexcept
{
    auto &shared = *static_cast<future_base *>(s.of);
    if (__builtin_expect(s.thrown != nullptr, false)) {
        shared.thrown = std::exchange(s.thrown, nullptr);
    }
    shared.error = r.error;
    s.clear(); // A callable that never ran.
    shared.finished();
}

template <class State>
inline constexpr bool fits_spawned =
    sizeof(State) <= sizeof(spawned::future_room) && alignof(State) <= alignof(std::max_align_t);

template <class State> void end_future(future_base &base) noexcept
{
    auto *const state = static_cast<State *>(&base);
    if constexpr (fits_spawned<State>) {
        state->~State();
    } else {
        delete state;
    }
}

template <class R, class Target, class F>
MONAD_ASYNC_LOCAL future_base *submit_by(executor_block &block, bool here, Target target, F &&body,
                                         char const *what)
{
    static_assert(!std::is_reference_v<R>,
                  "what a submitted callable returns is moved into its future: return a pointer");
    using state_type = future_state<R>;
    auto &s = take_or_throw(block, here, what);
    state_type *state = nullptr;
    try {
        if constexpr (fits_spawned<state_type>) {
            state = ::new (static_cast<void *>(s.future_room)) state_type;
        } else {
            state = new state_type;
        }
        state->of = &s;
        state->end = &end_future<state_type>;
        s.of = static_cast<future_base *>(state);
        hold_block(s, here); // The future may outlive the executor.
        s.on_done = &future_done;
        auto call = [state, f = std::decay_t<F>(std::forward<F>(body))]() mutable {
            if constexpr (std::is_void_v<R>) {
                std::invoke(std::move(f));
                state->value.emplace();
            } else {
                state->value.emplace(std::invoke(std::move(f)));
            }
        };
        if (!detail::put_body(s, std::move(call))) {
            throw std::bad_alloc();
        }
        check(target == nullptr ? EINVAL : start(target, s.head).error, what);
    } catch (...) {
        if (state != nullptr) {
            end_future<state_type>(*state);
        }
        keep_spawned(s, here);
        throw;
    }
    return state;
}

template <class R, class F>
MONAD_ASYNC_LOCAL future_base *submit_to(executor_block *block, F &&body, char const *what)
{
    check(block == nullptr ? EINVAL : 0, what);
    bool const here = is_here(*block);
    return detail::submit_by<R>(*block, here, background_target{block, here}, std::forward<F>(body),
                                what);
}

} // namespace detail
/** @endcond */

/** The result of a task that `submit` began. Move-only. One thread at a time may use the object,
 *  except where ANY THREAD is said, and there while no other one gets, moves or destroys it.
 *  Destroyed before the task has ended, it cancels the task and waits for its end. Of an exception
 *  that nobody got from it `executor_options::on_unobserved` is told.
 *  @see executor.hpp, pool.hpp */
template <class R> class [[nodiscard]] future {
public:
    /** Of nothing. */
    future() noexcept = default;

    /** @param other is of nothing afterwards */
    future(future &&other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

    /** As the destructor, then takes `other`'s place.
     *  @param other is of nothing afterwards
     *  @return this object */
    future &operator=(future &&other) noexcept
    {
        if (this != &other) {
            abandon();
            state_ = std::exchange(other.state_, nullptr);
        }
        return *this;
    }

    /** SUSPENDS, shielded, where the task has not ended: cancels it and waits. On another thread
     *  it blocks; on the executor's, outside its tasks, it runs the executor. */
    ~future() { abandon(); }

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
     *  @throws std::system_error `EINVAL`: of nothing; `EDEADLK`: on the executor's thread outside
     *  its tasks, while it has not ended; `EPERM`: in the child of a fork, which it did not end
     *  before */
    R get()
    {
        detail::check(await(detail::forever_ns), "monad::async::future::get");
        struct release {
            future *of;
            ~release() { std::exchange(of->state_, nullptr)->release(); }
        } const r{this};
        if (state_->thrown) {
            std::rethrow_exception(state_->thrown);
        }
        detail::check(state_->error, "monad::async::future::get");
        if constexpr (!std::is_void_v<R>) {
            return std::move(*static_cast<detail::future_state<R> *>(state_)->value);
        }
    }

    /** SUSPENDS until the task has ended; outside a task it blocks.
     *  @throws std::system_error, cancelled_error, timeout_error as `get`, of the wait alone */
    void wait() { detail::check(await(detail::forever_ns), "monad::async::future::wait"); }

    /** SUSPENDS until the task has ended, for so long at most; outside a task it blocks.
     *  @param timeout from now on
     *  @return whether it has ended
     *  @throws std::system_error, cancelled_error as `get`, of the wait alone */
    template <class Rep, class Period>
    [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout)
    {
        int const error = await(detail::boot_time(timeout));
        if (error != 0 && error != ETIME) {
            detail::fail(error, "monad::async::future::wait_for");
        }
        return error == 0;
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
    int await(std::uint64_t boot_ns)
    {
        if (state_ == nullptr) {
            return EINVAL;
        }
        if (state_->is_done()) {
            return 0;
        }
        if (!state_->of->block->is_of_this_process()) {
            return EPERM;
        }
        auto *const self = monad_async_task_current();
        if (self == nullptr && detail::is_here(*state_->of->block)) {
            return EDEADLK;
        }
        if (boot_ns == detail::forever_ns && state_->is_of(self)) {
            auto *const task = state_->of->head;
            auto const r = detail::interruptible(
                self, [self, task] { return monad_async_task_join(self, task); });
            return state_->is_done() ? 0 : r.error; // The error may be the task's own.
        }
        if (!state_->announce()) {
            return 0;
        }
        auto *const done = &state_->done;
        int const error = detail::waiting([done, boot_ns](monad_async_task caller) {
                              return monad_async_event_wait_until(caller, done, boot_ns);
                          }).error;
        // What the task did comes before, ThreadSanitizer sees here: the event is the library's.
        return state_->is_done() ? 0 : error;
    }

    void abandon() noexcept
    {
        if (state_ != nullptr) {
            if (!state_->is_done()) {
                cancel();
                state_->wait_for_sure();
            }
            if (state_->is_done()) {
                state_->tell_of_thrown();
            }
            std::exchange(state_, nullptr)->release();
        }
    }

    detail::future_base *state_ = nullptr;
};

/** @cond as declared */
template <class F> void executor::spawn(F &&body) const
{
    detail::spawn_background(block_, std::forward<F>(body), "monad::async::executor::spawn");
}

template <class F> future<std::invoke_result_t<std::decay_t<F>>> executor::submit(F &&body) const
{
    using result = std::invoke_result_t<std::decay_t<F>>;
    return future<result>(
        detail::submit_to<result>(block_, std::forward<F>(body), "monad::async::executor::submit"));
}

template <class F> void executor_ref::spawn(F &&body) const
{
    detail::spawn_background(block_, std::forward<F>(body), "monad::async::executor_ref::spawn");
}

template <class F>
future<std::invoke_result_t<std::decay_t<F>>> executor_ref::submit(F &&body) const
{
    using result = std::invoke_result_t<std::decay_t<F>>;
    return future<result>(detail::submit_to<result>(block_, std::forward<F>(body),
                                                    "monad::async::executor_ref::submit"));
}
/** @endcond */

} // namespace v0
} // namespace monad::async

#endif

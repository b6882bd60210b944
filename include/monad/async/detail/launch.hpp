#ifndef MONAD_ASYNC_DETAIL_LAUNCH_HPP
#define MONAD_ASYNC_DETAIL_LAUNCH_HPP

// How a task object launches a callable, and how others wait for its end.

#include "../executor.h"
#include "../remote.h"
#include "../result.h"
#include "../task.h"
#include "executor_block.hpp"
#include "runtime.hpp"
#include "task_state.hpp"
#include "trampoline.hpp"
#include "tsan.hpp"

#include <cerrno>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {
namespace detail {

inline monad_async_result start(monad_async_executor ex, monad_async_task task) noexcept
{
    return monad_async_task_attach(ex, task);
}

inline monad_async_result start(monad_async_remote ex, monad_async_task task) noexcept
{
    return monad_async_remote_attach(ex, task);
}

// What `launch` returns for want of room for the callable: a std::bad_alloc, or ENOMEM.
inline constexpr int no_room = -1;

// Says what is wrong with a task's body, which is not instantiated then: so that is the only
// message. True: nothing.
template <class F> constexpr bool is_body() noexcept
{
    using body_type = std::decay_t<F>;
    constexpr bool moves = std::is_constructible_v<body_type, F>;
    static_assert(moves,
                  "a task's body is moved in: pass an rvalue, or something that can be copied");
    constexpr bool ends = std::is_nothrow_destructible_v<body_type>;
    static_assert(ends,
                  "a task's body is destroyed where nobody could catch what its destructor throws");
    constexpr bool is_called = std::is_invocable_v<body_type>;
    static_assert(is_called, "a task's body is called without arguments");
    if constexpr (is_called) {
        constexpr bool returns = is_result<std::invoke_result_t<body_type>>();
        static_assert(returns, "a task's body returns nothing or an integer");
        return moves && ends && returns;
    }
    return false;
}

// Has the next run of a task, which is idle and has no callable, call `body`. False: no room.
// Throws what moving the callable does.
template <class F>
MONAD_ASYNC_LOCAL bool put_body(task_state &state, F &&body) noexcept(moves_without_throw<F>)
{
    if constexpr (is_body<F>()) {
        using body_type = std::decay_t<F>;
        if (!state.prepare<body_type>()) {
            return false;
        }
        ::new (state.place<body_type>()) body_type(std::forward<F>(body));
        state.drop = &drop_callable<body_type>;
        auto *const head = state.head;
        head->user_ptr = &state;
        head->user_code = &trampoline<body_type>;
        tsan_release(head);
        return true;
    }
    return false;
}

// The errno, or `no_room`. Throws what moving the callable does.
template <class F, class Executor>
MONAD_ASYNC_LOCAL int launch(task_state *of, executor_block *block, Executor ex,
                             F &&body) noexcept(moves_without_throw<F>)
{
    if (of == nullptr || ex == nullptr) {
        return EINVAL;
    }
    auto &state = *of;
    if (state.is_attached()) {
        return EBUSY;
    }
    state.clear();
    auto const code_before = state.head->user_code;
    if (!detail::put_body(state, std::forward<F>(body))) {
        return no_room;
    }
    state.tell_from_now_on(block);
    __atomic_store_n(&state.begun, false, __ATOMIC_RELAXED);
    int const error = start(ex, state.head).error;
    if (error != 0) {
        state.head->user_code = code_before;
        state.clear();
    }
    return error;
}

// Waits for the end of `state`'s run by `wait`, a call of the C API, and gives `outcome` its
// result.
template <class Wait, class Outcome>
MONAD_ASYNC_LOCAL auto await(task_state &state, Wait wait, Outcome outcome)
{
    state_use const use(state);
    monad_async_result const r = wait(state.head);
    // From here on the task object may be no more.
    tsan_acquire(state.head);
    // Destroyed before the question reached its executor: only we know how it ended.
    bool const overtaken = r.error == ESRCH && state.is_closed();
    return outcome(state, overtaken ? state.last : r);
}

// The two ways to wait. A null state is a task object that was moved from.
MONAD_ASYNC_LOCAL inline auto joining() noexcept
{
    return [self = monad_async_task_current()](monad_async_task other) {
        return interruptible(self, [=] { return monad_async_task_join(self, other); });
    };
}

MONAD_ASYNC_LOCAL inline auto blocking(std::uint64_t time_ns) noexcept
{
    return [=](monad_async_task other) { return monad_async_task_wait(other, time_ns); };
}

template <class Wait>
MONAD_ASYNC_LOCAL std::intptr_t await_or_throw(task_state *state, Wait wait, char const *what)
{
    check(state == nullptr ? EINVAL : 0, what);
    return await(*state, wait,
                 [what](task_state const &s, monad_async_result r) { return s.outcome(r, what); });
}

template <class Wait>
MONAD_ASYNC_LOCAL std::intptr_t await_or_report(task_state *state, Wait wait,
                                                std::error_code &ec) noexcept
{
    if (state == nullptr) {
        return report(monad_async_make_failure(EINVAL), ec);
    }
    return await(*state, wait,
                 [&ec](task_state const &s, monad_async_result r) { return s.outcome(r, ec); });
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

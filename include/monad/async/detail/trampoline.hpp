#ifndef MONAD_ASYNC_DETAIL_TRAMPOLINE_HPP
#define MONAD_ASYNC_DETAIL_TRAMPOLINE_HPP

// From the C function that an executor calls to the callable that the user gave, and the one place
// where exceptions stop.

#include "../error.hpp"
#include "../result.h"
#include "../task.h"
#include "die.hpp"
#include "runtime.hpp"
#include "task_state.hpp"
#include "tsan.hpp"

#include <cerrno>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

#if defined(__GLIBCXX__)
    #include <cxxabi.h>
#endif

namespace monad::async {
inline namespace v0 {
namespace detail {

template <class T> constexpr bool is_result() noexcept
{
    if constexpr (std::is_integral_v<T>) {
        return sizeof(T) <= sizeof(std::intptr_t);
    } else {
        return std::is_void_v<T>;
    }
}

// What a joiner that speaks C sees of an exception: its errno where it has one.
inline int errno_of(std::error_code const &code) noexcept
{
    bool const has_errno =
        code.category() == std::system_category() || code.category() == std::generic_category();
    return has_errno && code.value() > 0 ? code.value() : ENOTRECOVERABLE;
}

[[gnu::cold, gnu::noinline]] inline monad_async_result keep_exception(task_state &state,
                                                                      int error) noexcept
{
    return state.threw(caught(), error);
}

// The C API launched the task again after its body had run, and was destroyed.
[[gnu::cold, gnu::noinline]] inline monad_async_result nothing_to_call() noexcept
{
    return monad_async_make_failure(EINVAL);
}

template <class F> void drop_callable(task_state &state) noexcept
{
    state.drop = nullptr;
    state.callable<F>().~F();
}

template <class F> monad_async_result call(task_state &state)
{
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
        std::invoke(std::move(state.callable<F>()));
        return monad_async_make_success(0);
    } else {
        return monad_async_make_success(
            static_cast<std::intptr_t>(std::invoke(std::move(state.callable<F>()))));
    }
}

// What `call` returns; or, of what it threw, `keep`, with an errno, inside the handler. noexcept
// twice over: whatever is thrown is kept, and what cannot be kept ends the process here.
//
// The undefined behaviour sanitizer does not look at it: what is caught of a forced unwind is a
// reference to nothing, and it would end the process before we say why it ends. (gcc heeds no
// narrower name there.)
template <class Call, class Keep>
__attribute__((no_sanitize("undefined")))
MONAD_ASYNC_TSAN_SWITCHES MONAD_ASYNC_LOCAL monad_async_result
guarded(Call call, Keep keep) noexcept
{
#if defined(MONAD_ASYNC_TSAN_FIBERS)
    tsan_run const run;
#endif
    try {
        return call();
    }
#if defined(__GLIBCXX__)
    catch (abi::__forced_unwind &) {
        // pthread_exit or pthread_cancel: would unwind the executor's frames too, and other tasks
        // would never end.
        die("the thread was made to exit (pthread_exit, pthread_cancel) inside a task");
    }
#endif
    catch (std::system_error const &e) {
        return keep(errno_of(e.code()));
    } catch (std::bad_alloc const &) {
        return keep(ENOMEM);
    } catch (...) {
        return keep(ENOTRECOVERABLE);
    }
}

// The user_code of every task that runs a callable: what that throws is kept for get().
template <class F> MONAD_ASYNC_LOCAL monad_async_result trampoline(monad_async_task head) noexcept
{
    tsan_acquire(head);
    auto &state = *static_cast<task_state *>(head->user_ptr);
    if (state.drop == nullptr) {
        return nothing_to_call();
    }
    __atomic_store_n(&state.begun, true, __ATOMIC_RELAXED);
    monad_async_result const r =
        guarded([&state] { return call<F>(state); },
                [&state](int error) { return keep_exception(state, error); });
    drop_callable<F>(state);
    tsan_release(head);
    return r;
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

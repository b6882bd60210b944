#ifndef MONAD_ASYNC_DETAIL_RUNTIME_HPP
#define MONAD_ASYNC_DETAIL_RUNTIME_HPP

// What the calling module's C++ runtime knows of exceptions, around calls that suspend.
//
// 1. A task's exceptions are its own. The core keeps those of one C++ runtime apart, the one that
// the
//    library is linked with. A plugin may have a second one inside (-static-libstdc++). Its own
//    state is kept here, around each suspending call of the C++ API. What suspends through the C
//    API directly is not covered.
// 2. While an exception unwinds a task's stack, cancellation is not delivered: the destructors that
// run
//    may suspend. A call that was interrupted all the same is made again, in a shield. A scope that
//    such a destructor enters holds: it is a shield itself, and noted, so that its own time-out
//    counts.
//
// Everything here is hidden: it must speak of the module that it is compiled into.

#include "../config.h"
#include "../result.h"
#include "../scope.h"
#include "../task.h"
#include "tsan.hpp"

#include <cerrno>
#include <cstdint>
#include <exception>
#include <system_error>
#include <utility>

#include <cxxabi.h>

#if !defined(__GLIBCXX__)
namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals *__cxa_get_globals();
} // namespace __cxxabiv1
#endif

// Of functions and variables: each module has its own.
#define MONAD_ASYNC_LOCAL __attribute__((visibility("hidden")))

namespace monad::async {
inline namespace v0 {
namespace detail {

// The state of the runtime that the core keeps for each task; null where the library found none.
MONAD_ASYNC_API void *library_exceptions() noexcept;

// Itanium C++ ABI, 2.2.2.
struct exception_state {
    void *caught;
    unsigned uncaught;
};

MONAD_ASYNC_LOCAL inline exception_state *own_exceptions() noexcept
{
    return reinterpret_cast<exception_state *>(__cxxabiv1::__cxa_get_globals());
}

// Rule 1. False until this module's static variables are initialised: then nothing is suspended
// yet.
MONAD_ASYNC_LOCAL inline bool const has_own_runtime =
    static_cast<void *>(own_exceptions()) != library_exceptions();

template <class Call>
[[gnu::cold, gnu::noinline]] MONAD_ASYNC_LOCAL auto with_exceptions_kept(Call call)
{
    struct kept {
        exception_state *const of_thread = own_exceptions();
        exception_state const state = std::exchange(*of_thread, exception_state{nullptr, 0});
        ~kept() { *of_thread = state; }
    } const k;
    return call();
}

// A call during which other tasks may run. It goes to the cold functions by value: so its captures
// need not be in memory where it is called here.
template <class Call> [[gnu::always_inline]] MONAD_ASYNC_LOCAL inline auto suspending(Call call)
{
#if defined(MONAD_ASYNC_TSAN_FIBERS)
    tsan_left const left;
#endif
    if (__builtin_expect(has_own_runtime, false)) {
        return with_exceptions_kept(call);
    }
    return call();
}

// In a handler: what it has caught. Of what is none of C++, and of which nobody could be told by
// that, a std::system_error says so.
[[gnu::cold, gnu::noinline]] MONAD_ASYNC_LOCAL inline std::exception_ptr caught() noexcept
{
    auto what = std::current_exception();
    if (what == nullptr) {
        try {
            throw std::system_error(ENOTRECOVERABLE, std::system_category(),
                                    "monad::async (what was thrown is none of C++)");
        } catch (...) {
            what = std::current_exception();
        }
    }
    return what;
}

// A scope that was entered during unwinding: on its task's stack, in a list of its thread.
struct unwinding_scope {
    unwinding_scope *next;
    monad_async_task task;
    int uncaught;
};

// The first of the calling thread's.
MONAD_ASYNC_API unwinding_scope **unwinding_scopes() noexcept;

// Rule 2: an exception unwinds the stack, and no scope was entered since it was thrown.
[[gnu::cold, gnu::noinline]] MONAD_ASYNC_LOCAL inline bool
is_unwinding(monad_async_task self) noexcept
{
    int const uncaught = std::uncaught_exceptions();
    if (uncaught == 0) {
        return false;
    }
    for (auto const *s = *unwinding_scopes(); s != nullptr; s = s->next) {
        if (s->task == self && s->uncaught >= uncaught) {
            return false;
        }
    }
    return true;
}

MONAD_ASYNC_LOCAL inline bool is_interruption(monad_async_result r) noexcept
{
    return r.error == ECANCELED || r.error == ETIME;
}

template <class Call>
[[gnu::cold, gnu::noinline]] MONAD_ASYNC_LOCAL monad_async_result
again_if_unwinding(monad_async_task self, monad_async_result r, Call call)
{
    if (self == nullptr) {
        return monad_async_make_failure(EPERM); // The C API takes null for a wrong argument.
    }
    auto const yield = [self] { return monad_async_task_suspend_for_duration(self, 0); };
    // The error may be the outcome, a joined task's for one: a yield tells.
    if (!is_interruption(r) || !is_unwinding(self) || !is_interruption(suspending(yield))) {
        return r;
    }
    monad_async_scope shield;
    auto const entered =
        monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD);
    if (entered.error != 0) {
        return r;
    }
    r = suspending(call);
    (void)monad_async_scope_leave(self, &shield);
    return r;
}

// A suspending call of the C API by the running task `self`; null is EPERM.
template <class Call>
[[gnu::always_inline]] MONAD_ASYNC_LOCAL inline monad_async_result
interruptible(monad_async_task self, Call call)
{
    monad_async_result const r = suspending(call);
    return __builtin_expect(r.error == 0, true) ? r : again_if_unwinding(self, r, call);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

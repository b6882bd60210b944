// What the scopes, operations and references of the headers need of the library.

#include "monad-async/src/bridge.rs.h"
#include "monad/async/buffer.h"
#include "monad/async/buffer_set.h"
#include "monad/async/executor.h"
#include "monad/async/scope.h"
#include "monad/async/task.h"
#include "thread_lists.hpp"

#include <cerrno>

extern "C" void *monad_async_cxa_globals(void) noexcept; // cxa_globals.cpp

namespace monad::async_cpp {

namespace {

// initial-exec: see current.cpp.
__attribute__((tls_model("initial-exec"))) thread_local thread_lists lists;

} // namespace

thread_lists &lists_of_this_thread() noexcept
{
    return lists;
}

} // namespace monad::async_cpp

namespace monad::async {
inline namespace v0 {
namespace detail {

using async_cpp::lists_of_this_thread;

MONAD_ASYNC_API unwinding_scope **unwinding_scopes() noexcept
{
    return &lists_of_this_thread().scopes;
}

MONAD_ASYNC_API batch_link **batches() noexcept
{
    return &lists_of_this_thread().batches;
}

MONAD_ASYNC_API executor_block *find_block(monad_async_executor ex) noexcept
{
    auto *block = lists_of_this_thread().executors;
    while (block != nullptr && block->head != ex) {
        block = block->next;
    }
    return block;
}

MONAD_ASYNC_API std::uint32_t process_number() noexcept
{
    return async_bridge::process_number();
}

MONAD_ASYNC_API void *library_exceptions() noexcept
{
    return monad_async_cxa_globals();
}

MONAD_ASYNC_API bool scope_has_fired(monad_async_scope const *scope) noexcept
{
    return async_bridge::scope_has_fired(scope);
}

MONAD_ASYNC_API bool is_of_a_parent(monad_async_task task) noexcept
{
    // A child after fork runs no task, even on a copy of a task's stack.
    if (monad_async_task_current() != nullptr) {
        return false;
    }
    auto *const ex = __atomic_load_n(&task->current_executor, __ATOMIC_ACQUIRE);
    return ex != nullptr && monad_async_executor_wake(ex).error == EPERM;
}

MONAD_ASYNC_API bool is_of_a_parent(monad_async_buffer_ring ring) noexcept
{
    return async_bridge::ring_is_of_a_parent(ring);
}

MONAD_ASYNC_API bool is_of_a_parent(monad_async_buffer_set set) noexcept
{
    return async_bridge::set_is_of_a_parent(set);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

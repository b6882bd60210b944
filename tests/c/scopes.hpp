// What the tests of scopes share: the calls without their ceremony.
#ifndef MONAD_ASYNC_TESTS_C_SCOPES_HPP
#define MONAD_ASYNC_TESTS_C_SCOPES_HPP

#include "support.hpp"

#include <monad/async/scope.h>

namespace support {

constexpr uint64_t never = UINT64_MAX;
constexpr uint64_t hour = 3600000 * ms;

inline int enter(monad_async_task self, monad_async_scope &scope, uint64_t timeout_ns = never,
                 uint32_t flags = 0)
{
    return monad_async_scope_enter(self, &scope, timeout_ns, flags).error;
}

// 1 if it fired; -1 if it could not be left.
inline intptr_t leave(monad_async_task self, monad_async_scope &scope)
{
    auto const r = monad_async_scope_leave(self, &scope);
    return r.error == 0 ? r.value : -1;
}

inline int scope_cancel(monad_async_scope &scope)
{
    return monad_async_scope_cancel(&scope).error;
}

// Runs `body` as the only task of an executor.
inline void run_one(Body body)
{
    Executor ex(8);
    Task task(std::move(body));
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

} // namespace support

#endif

#ifndef MONAD_ASYNC_DETAIL_POSTED_HPP
#define MONAD_ASYNC_DETAIL_POSTED_HPP

// Callables that are plain bytes, which a pool takes by value: each becomes a task where it begins.

#include "../config.h"
#include "../error.hpp"
#include "../pool.h"
#include "../task.h"
#include "executor_block.hpp"
#include "spawn.hpp"
#include "trampoline.hpp"
#include "tsan.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {
namespace detail {

// What a worker has of one. The block outlives the pool's workers.
template <class F> struct posted {
    // The address of the block; odd once the callable has thrown. The result does not tell: that
    // of a task that leaves a scope open is an error, too.
    std::uintptr_t block;
    // Room for the callable; once that has been called, for what it threw.
    alignas(std::exception_ptr) unsigned char room[MONAD_ASYNC_POOL_JOB_BYTES - sizeof(block)];
};

// Of what goes with one, in whole words: those are copied without a call.
template <class F>
inline constexpr std::size_t posted_bytes =
    std::is_empty_v<F> ? offsetof(posted<F>, room)
                       : (offsetof(posted<F>, room) + sizeof(F) + 7) / 8 * 8;

template <class F>
inline constexpr bool is_plain =
    std::is_trivially_copyable_v<F> && std::is_copy_constructible_v<F> &&
    sizeof(F) <= sizeof(posted<F>::room) && alignof(F) <= alignof(std::exception_ptr);

template <class F> MONAD_ASYNC_LOCAL monad_async_result posted_code(monad_async_task task) noexcept
{
    auto &p = *static_cast<posted<F> *>(task->user_ptr);
    tsan_acquire(reinterpret_cast<void *>(p.block));
    return guarded(
        [&p] {
            (void)std::invoke(std::move(*std::launder(reinterpret_cast<F *>(p.room))));
            return monad_async_make_success(0);
        },
        [&p](int error) {
            ::new (static_cast<void *>(p.room)) std::exception_ptr(caught());
            p.block |= 1;
            return monad_async_make_failure(error);
        });
}

template <class F>
MONAD_ASYNC_LOCAL void posted_exited(monad_async_task task, monad_async_result r) noexcept
{
    auto &p = *static_cast<posted<F> *>(task->user_ptr);
    if (__builtin_expect((p.block & 1) == 0, true)) {
        return;
    }
    auto const &block = *reinterpret_cast<executor_block const *>(p.block & ~std::uintptr_t(1));
    auto *const at = std::launder(reinterpret_cast<std::exception_ptr *>(p.room));
    auto const thrown = std::exchange(*at, nullptr);
    at->~exception_ptr();
    left_by_exception(block, thrown, r.error);
}

// Each module's own, as the functions are: one for the whole process would be called by all of
// them, and keep its own from being unloaded.
template <class F>
MONAD_ASYNC_LOCAL inline constexpr monad_async_pool_job posted_job{&posted_code<F>,
                                                                   &posted_exited<F>, nullptr, 0};

// The errno.
template <class F>
MONAD_ASYNC_LOCAL int post(executor_block &block, monad_async_pool pool, monad_async_priority at,
                           F const &body) noexcept
{
    posted<F> p;
    p.block = reinterpret_cast<std::uintptr_t>(&block);
    ::new (static_cast<void *>(p.room)) F(body);
    tsan_release(&block);
    return monad_async_pool_post(pool, at, &posted_job<F>, &p, posted_bytes<F>).error;
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_DETAIL_EXECUTOR_BLOCK_HPP
#define MONAD_ASYNC_DETAIL_EXECUTOR_BLOCK_HPP

// What stands behind an executor object and its references: counted, so that it may outlive the
// executor.
//
//      executor ---.                         +------------------+
//      executor_ref --> executor_block ----> | remote (counted) | --> the core's executor, while it
//      lives task_state --'   head, stop, ...      +------------------+
//
// `head`, `owner` and `next` belong to the executor's thread. `users` and `stop` are atomic,
// `remote`, `on_unobserved`, `on_exception` and `stack_size` do not change.

#include "../config.h"
#include "../error.hpp"
#include "../executor.h"
#include "../remote.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <utility>

namespace monad::async_bridge {
struct Executor; // Rust's; never seen through.
}

namespace monad::async {
inline namespace v0 {
namespace detail {

struct spawned;

// Differs between a process and its children; no system call.
MONAD_ASYNC_API std::uint32_t process_number() noexcept;

struct executor_block {
    monad_async_executor head = nullptr;
    // Null where the C API made the executor.
    async_bridge::Executor *owner = nullptr;
    monad_async_remote remote = nullptr;
    // The next executor object of this thread.
    executor_block *next = nullptr;
    // See executor_options.
    std::function<void(std::exception_ptr)> on_unobserved;
    std::function<void(std::exception_ptr)> on_exception;
    std::size_t stack_size = 0;
    // Tasks that are kept for the next spawn; see spawn.hpp. Of the owner's thread, and of others,
    // under the lock.
    spawned *warm = nullptr;
    spawned *elsewhere = nullptr;
    int elsewhere_lock = 0;
    void (*drop_spawned)(executor_block &) noexcept = nullptr;
    unsigned users = 1;
    // Of `users`, so many are nobody's yet: the owner's thread takes them and gives them back
    // without an atomic operation.
    unsigned spare_users = 0;
    std::uint32_t const process = process_number();
    // Asked for, and no loop has answered it yet.
    bool stop = false;

    executor_block() = default;
    executor_block(executor_block const &) = delete;
    executor_block &operator=(executor_block const &) = delete;
    ~executor_block()
    {
        forget_spawned();
        monad_async_remote_release(remote);
    }

    // None is attached.
    void forget_spawned() noexcept
    {
        if (drop_spawned != nullptr) {
            drop_spawned(*this);
        }
    }

    // False in the child of a fork: what is not over there never will be.
    [[nodiscard]] bool is_of_this_process() const noexcept { return process == process_number(); }

    void use() noexcept { __atomic_fetch_add(&users, 1, __ATOMIC_RELAXED); }

    void leave() noexcept
    {
        if (__atomic_fetch_sub(&users, 1, __ATOMIC_ACQ_REL) == 1) {
            delete this;
        }
    }

    // OWNER'S THREAD, while there is an executor object: as `use` and `leave`. What others have
    // taken may be given back here, so both have a bound: neither number may run over.
    static constexpr unsigned at_once = 1024;
    void use_here() noexcept
    {
        if (spare_users == 0) {
            __atomic_fetch_add(&users, at_once, __ATOMIC_RELAXED);
            spare_users = at_once;
        }
        --spare_users;
    }

    void leave_here() noexcept
    {
        if (++spare_users == 2 * at_once) {
            spare_users = at_once;
            __atomic_fetch_sub(&users, at_once, __ATOMIC_RELEASE);
        }
    }

    // The executor object lets go.
    void leave_with_spare() noexcept
    {
        __atomic_fetch_sub(&users, std::exchange(spare_users, 0), __ATOMIC_RELEASE);
        leave();
    }

    // ANY THREAD. The errno.
    int ask_to_stop() noexcept
    {
        __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
        return monad_async_remote_wake(remote).error;
    }

    // What a loop asks before each pass; true once for each request.
    bool is_to_stop() noexcept
    {
        return __atomic_load_n(&stop, __ATOMIC_RELAXED) &&
               __atomic_exchange_n(&stop, false, __ATOMIC_ACQUIRE);
    }
};

// All that crosses into the library is plain data, or not looked into: no exception, and nothing of
// std.

// Makes the executor that `block` is for. The calling thread owns it.
MONAD_ASYNC_API monad_async_result
executor_open(monad_async_executor_attr const *attr, executor_block *block) noexcept;
// Cancels what is attached, runs it to its end, destroys. False: the executor is the parent
// process's, or this process is about to exit and the executor cannot be run here; everything stays
// as it was. Ends the process where it is impossible.
MONAD_ASYNC_API bool executor_close(executor_block *block) noexcept;
// Gives the block of an executor object of the calling thread; null for an executor of the C API.
MONAD_ASYNC_API executor_block *find_block(monad_async_executor ex) noexcept;

// Counted. OWNER'S THREAD.
inline executor_block *block_of(monad_async_executor ex)
{
    if (auto *const known = find_block(ex)) {
        known->use();
        return known;
    }
    auto made = std::make_unique<executor_block>();
    made->head = ex;
    check(monad_async_remote_acquire(ex, &made->remote).error, "monad::async::executor_ref");
    return made.release();
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

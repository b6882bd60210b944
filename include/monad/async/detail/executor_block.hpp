#ifndef MONAD_ASYNC_DETAIL_EXECUTOR_BLOCK_HPP
#define MONAD_ASYNC_DETAIL_EXECUTOR_BLOCK_HPP

// What stands behind an executor object and its references: counted, so that it may outlive the
// executor.
//
//      executor ---.                         +------------------+
//      executor_ref --> executor_block ----> | remote (counted) | --> the core's executor, while it
//      lives task_state --'   head, stop, ...      +------------------+
//
// `head`, `owner`, `is_kept` and `next` belong to the executor's thread. `users` and `stop` are
// atomic, `remote`, `functions` and `stack_size` do not change.
//
// An executor keeps one block for its life, in a list of its thread: that of the executor object;
// or, where the C API or a pool made it, the one that the library makes when C++ asks for the first
// time. Other blocks of it are those of a pool's references to its workers.
//
// The library makes blocks and drops what is warm: so nothing of it points into the module that
// spawned, which may be unloaded before. Of std there is nothing in a block but behind `functions`.

#include "../config.h"
#include "../error.hpp"
#include "../executor.h"
#include "../group.h"
#include "../remote.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

namespace monad::async_bridge {
struct Executor; // Rust's; never seen through.
}

struct monad_async_pool_object;

namespace monad::async {
inline namespace v0 {
namespace detail {

struct spawned;
struct executor_block;

// Whether a callable is moved to where it waits without a throw.
template <class F>
inline constexpr bool moves_without_throw = std::is_nothrow_constructible_v<std::decay_t<F>, F>;
// The same where it is moved on, into a callable of ours.
template <class F>
inline constexpr bool moves_twice_without_throw =
    moves_without_throw<F> && std::is_nothrow_move_constructible_v<std::decay_t<F>>;

// Differs between a process and its children; no system call.
MONAD_ASYNC_API std::uint32_t process_number() noexcept;

// Of executor_options: of the module that said them, as their kind of std is. Counted.
struct executor_functions {
    unsigned users = 1;
    void (*const end)(executor_functions *) noexcept;
    std::function<void(std::exception_ptr)> on_unobserved;
    std::function<void(std::exception_ptr)> on_exception;

    void leave() noexcept
    {
        if (__atomic_fetch_sub(&users, 1, __ATOMIC_ACQ_REL) == 1) {
            end(this);
        }
    }
};

// The block's own end, and the executor's. None is attached.
MONAD_ASYNC_API void drop_spawned(executor_block *block) noexcept;

struct executor_block {
    monad_async_executor head = nullptr;
    // Null where the C API made the executor.
    async_bridge::Executor *owner = nullptr;
    monad_async_remote remote = nullptr;
    // The next one that is kept by an executor of this thread.
    executor_block *next = nullptr;
    // See executor_options. Null: neither is set.
    executor_functions *functions = nullptr;
    std::size_t stack_size = 0;
    // Tasks that are kept for the next spawn; see spawn.hpp. Of the owner's thread, and of others,
    // under the lock.
    spawned *warm = nullptr;
    spawned *elsewhere = nullptr;
    int elsewhere_lock = 0;
    // Atomic: there was one.
    bool has_spawned = false;
    // Its executor, and who else uses it. Of the latter those are apart that the owner's thread
    // counts, without an atomic operation, while it is kept: fewer than none, where more of what
    // others have taken was given back here. Meanwhile the executor counts as `kept`, so that
    // nobody else is the last. None of them runs over, with 64 bits.
    std::uint64_t users = 1;
    std::int64_t users_here = 0;
    std::uint32_t const process = process_number();
    // Asked for, and no loop has answered it yet.
    bool stop = false;
    // In the list of the executor's thread.
    bool is_kept = false;
    // Atomic: how many of those were answered.
    unsigned stops_seen = 0;

    executor_block() = default;
    executor_block(executor_block const &) = delete;
    executor_block &operator=(executor_block const &) = delete;
    ~executor_block()
    {
        forget_spawned();
        monad_async_remote_release(remote);
        if (functions != nullptr) {
            functions->leave();
        }
    }

    void forget_spawned() noexcept
    {
        // Atomic: a reference may spawn on another thread; the last user asks again.
        if (__atomic_load_n(&has_spawned, __ATOMIC_RELAXED)) {
            drop_spawned(this);
        }
    }

    // Before anybody uses it.
    void set_functions(std::function<void(std::exception_ptr)> const &on_unobserved,
                       std::function<void(std::exception_ptr)> const &on_exception)
    {
        if (on_unobserved || on_exception) {
            auto *const end = +[](executor_functions *f) noexcept { delete f; };
            functions = new executor_functions{1, end, on_unobserved, on_exception};
        }
    }

    void set_options_of(executor_block const &other) noexcept
    {
        stack_size = other.stack_size;
        functions = other.functions;
        if (functions != nullptr) {
            __atomic_fetch_add(&functions->users, 1, __ATOMIC_RELAXED);
        }
    }

    // Null: nobody is told.
    [[nodiscard]] std::function<void(std::exception_ptr)> const *on_unobserved() const noexcept
    {
        return functions != nullptr && functions->on_unobserved ? &functions->on_unobserved
                                                                : nullptr;
    }

    [[nodiscard]] std::function<void(std::exception_ptr)> const *on_exception() const noexcept
    {
        return functions != nullptr && functions->on_exception ? &functions->on_exception : nullptr;
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

    // OWNER'S THREAD, while it is kept: as `use` and `leave`.
    void use_here() noexcept { ++users_here; }
    void leave_here() noexcept { --users_here; }

    static constexpr std::uint64_t kept = std::uint64_t(1) << 62;

    // Its executor keeps it from now on.
    void keep() noexcept
    {
        is_kept = true;
        __atomic_fetch_add(&users, kept, __ATOMIC_RELAXED);
    }

    // The executor lets go.
    void leave_kept() noexcept
    {
        auto const here = static_cast<std::uint64_t>(std::exchange(users_here, 0));
        __atomic_fetch_sub(&users, kept - here, __ATOMIC_RELEASE);
        leave();
    }

    // ANY THREAD. The errno.
    int ask_to_stop() noexcept
    {
        unsigned const before = __atomic_load_n(&stops_seen, __ATOMIC_ACQUIRE);
        __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
        int const error = monad_async_remote_wake(remote).error;
        // One that runs may have stopped, and ended, before it could be woken: that was asked for.
        bool const was_seen = __atomic_load_n(&stops_seen, __ATOMIC_ACQUIRE) != before;
        return error == ESHUTDOWN && was_seen ? 0 : error;
    }

    // What a loop asks before each pass; true once for each request.
    bool is_to_stop() noexcept
    {
        if (!__atomic_load_n(&stop, __ATOMIC_RELAXED) ||
            !__atomic_exchange_n(&stop, false, __ATOMIC_ACQUIRE)) {
            return false;
        }
        __atomic_fetch_add(&stops_seen, 1, __ATOMIC_RELEASE);
        return true;
    }
};

// All that crosses into the library is plain data, or not looked into: no exception, and nothing of
// std.

// Makes the executor that `block` is for. The calling thread owns it.
MONAD_ASYNC_API monad_async_result executor_open(monad_async_executor_attr const *attr,
                                                 executor_block *block) noexcept;
// Cancels what is attached, runs it to its end, destroys. False: the executor is the parent
// process's, or this process is about to exit and the executor cannot be run here; everything stays
// as it was. Ends the process where it is impossible.
MONAD_ASYNC_API bool executor_close(executor_block *block) noexcept;
// ANY THREAD. As `monad_async_remote_spawn`, of a task that is a message: also while the executor
// is being closed. The errno.
MONAD_ASYNC_API int spawn_message(executor_block const &block, monad_async_task task,
                                  monad_async_exit on_exit) noexcept;
// A pass for who runs the executor in a loop: where few are ready, it runs what becomes ready, too.
// Waits so long for the first; how many items ran. `error` is set where it is refused, or ETIME.
MONAD_ASYNC_API std::size_t executor_run_on(monad_async_executor ex, std::uint64_t wait_ns,
                                            int &error) noexcept;
// Gives the block that an executor of the calling thread keeps, or null.
MONAD_ASYNC_API executor_block *find_block(monad_async_executor ex) noexcept;
// Has an executor of the calling thread keep a block, until it ends. Null: no memory. EXPENSIVE.
MONAD_ASYNC_API executor_block *keep_block(monad_async_executor ex) noexcept;
// Has each worker's block say what this one says, which outlives the workers.
MONAD_ASYNC_API void set_block_of_pool(monad_async_pool_object *pool,
                                       executor_block *block) noexcept;

// The one that the executor keeps, as long as it has tasks. OWNER'S THREAD.
inline executor_block &block_here(monad_async_executor ex)
{
    auto *block = find_block(ex);
    if (__builtin_expect(block == nullptr, false)) {
        block = keep_block(ex);
        if (block == nullptr) {
            fail(ENOMEM, "monad::async::executor_ref");
        }
    }
    return *block;
}

// Counted. OWNER'S THREAD.
inline executor_block *block_of(monad_async_executor ex)
{
    auto &block = block_here(ex);
    block.use();
    return &block;
}

} // namespace detail
} // namespace v0
} // namespace monad::async

// The library's own.
namespace monad::async_cpp {

// The executor that keeps the block is gone.
void executor_ended(async::detail::executor_block *block) noexcept;

} // namespace monad::async_cpp

#endif

#ifndef MONAD_ASYNC_DETAIL_SPAWNED_HPP
#define MONAD_ASYNC_DETAIL_SPAWNED_HPP

// A task that no object stands for, and the lock of those that other threads keep: see spawn.hpp.
// The library includes this, too.

#include "../event.h"
#include "executor_block.hpp"
#include "spin_lock.hpp"
#include "task_state.hpp"

#include <cstddef>

namespace monad::async {
inline namespace v0 {
namespace detail {

struct spawned : task_state {
    // Told of the exit, on the executor's thread; then `of` has it. Null: a background task.
    void (*on_done)(spawned &, monad_async_result) noexcept = nullptr;
    void *of = nullptr;
    // What stands behind a future, where it fits: a line, for most.
    alignas(line_bytes) unsigned char future_room[192];
    // For who waits for a future of another thread's. Set up by the first who does.
    monad_async_event done;
};

// False: this is the child of a fork, and a thread that it does not have holds it for ever.
inline bool lock_elsewhere(executor_block &block) noexcept
{
    unsigned attempts = 0;
    while (!try_spin(block.elsewhere_lock, attempts)) {
        if (attempts > spins_before_sleep && !block.is_of_this_process()) {
            return false;
        }
    }
    return true;
}

inline void unlock_elsewhere(executor_block &block) noexcept
{
    spin_unlock(block.elsewhere_lock);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

// What the executor class needs of the library: opening, and the orderly end.

#include "monad-async/src/bridge.rs.h"
#include "monad/async/detail/die.hpp"
#include "monad/async/detail/executor_block.hpp"
#include "monad/async/detail/spawned.hpp"
#include "patience.hpp"
#include "thread_lists.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace monad::async {
inline namespace v0 {
namespace detail {

using async_cpp::die_of;
using async_cpp::is_in_exit;
using async_cpp::lists_of_this_thread;
using async_cpp::patience;
using async_cpp::run_inside_another;
using async_cpp::suspend_shielded;
using async_cpp::timespec_of;

namespace {

// Why it cannot be closed here, or null.
char const *obstacle(monad_async_executor ex, int error) noexcept
{
    if (error != 0 && error != EBUSY && error != EDEADLK) {
        return "an executor was destroyed on a thread that does not own it";
    }
    return error == EDEADLK || ex->current_task != nullptr
               ? "an executor was destroyed inside one of its own tasks"
               : nullptr;
}

// Lets the executor make progress: by running it; inside a task of another one, by a pass that does
// not wait, and suspending that task.
void make_progress(monad_async_executor ex, std::uint64_t ns, std::uint64_t &pause_ns) noexcept
{
    auto *const self = monad_async_task_current();
    if (self == nullptr) {
        auto const timeout = timespec_of(ns);
        auto const r = monad_async_executor_run(ex, SIZE_MAX, &timeout);
        if (r.error != 0 && r.error != ETIME) {
            die_of("an executor could not be run to its end", r.error);
        }
        return;
    }
    // From a yield to 1 ms: nobody tells that task when the executor has something to do.
    constexpr std::uint64_t longest_ns = 1'000'000;
    pause_ns = run_inside_another(ex) != 0 ? 0 : std::min(pause_ns * 2 + 10'000, longest_ns);
    suspend_shielded(self, std::min(pause_ns, ns));
}

void list(executor_block *block) noexcept
{
    auto &first = lists_of_this_thread().executors;
    block->next = first;
    block->keep();
    first = block;
}

void forget(executor_block *block) noexcept
{
    block->is_kept = false;
    for (auto **at = &lists_of_this_thread().executors; *at != nullptr; at = &(*at)->next) {
        if (*at == block) {
            *at = block->next;
            return;
        }
    }
}

} // namespace

monad_async_result executor_open(monad_async_executor_attr const *attr,
                                 executor_block *block) noexcept
{
    std::int32_t error = 0;
    auto *const opened = async_bridge::open_executor(attr, error);
    if (opened == nullptr) {
        return monad_async_make_failure(error);
    }
    block->head = opened->head();
    auto const referred = monad_async_remote_acquire(block->head, &block->remote);
    if (referred.error != 0) {
        auto ex = rust::Box<async_bridge::Executor>::from_raw(opened);
        (void)ex->close();
        return referred;
    }
    block->owner = opened;
    list(block);
    return monad_async_make_success(0);
}

executor_block *keep_block(monad_async_executor ex) noexcept
{
    auto *const block = new (std::nothrow) executor_block;
    if (block == nullptr) {
        return nullptr;
    }
    block->head = ex;
    if (monad_async_remote_acquire(ex, &block->remote).error != 0) {
        delete block;
        return nullptr;
    }
    if (auto const *const of_pool = async_bridge::block_of_pool(ex)) {
        block->set_options_of(*of_pool);
    }
    list(block);
    async_bridge::tell_end(ex, block);
    return block;
}

void set_block_of_pool(monad_async_pool_object *pool, executor_block *block) noexcept
{
    async_bridge::set_block_of_pool(pool, block);
}

// What is kept has no callable and has thrown nothing: nothing of it is a module's own, and no
// destructor need run.
void drop_spawned(executor_block *block) noexcept
{
    if (!lock_elsewhere(*block)) {
        return;
    }
    spawned *lists[] = {std::exchange(block->warm, nullptr),
                        std::exchange(block->elsewhere, nullptr)};
    unlock_elsewhere(*block);
    for (auto *list : lists) {
        while (auto *const s = list) {
            list = s->next;
            if (task_close(s)) {
                ::operator delete(s->heap, std::align_val_t{s->heap_alignment});
                ::operator delete(static_cast<void *>(s), std::align_val_t{alignof(spawned)});
            }
        }
    }
}

std::size_t executor_run_on(monad_async_executor ex, std::uint64_t wait_ns, int &error) noexcept
{
    return async_bridge::run_on(ex, wait_ns, error);
}

int spawn_message(executor_block const &block, monad_async_task task,
                  monad_async_exit on_exit) noexcept
{
    return async_bridge::spawn_message(block.remote, task,
                                       reinterpret_cast<std::uintptr_t>(on_exit));
}

bool executor_close(executor_block *block) noexcept
{
    auto &ex = *block->owner;
    if (!ex.is_of_this_process()) {
        return false; // The parent's, and so are its tasks.
    }
    patience until_told("~executor");
    std::uint64_t pause_ns = 0;
    bool begun = false;
    for (;;) {
        int const error = ex.close();
        if (error == 0) {
            forget(block);
            block->owner = nullptr;
            (void)rust::Box<async_bridge::Executor>::from_raw(&ex);
            return true;
        }
        if (!begun) {
            begun = true;
            char const *const why_not = obstacle(block->head, error);
            if ((why_not != nullptr || monad_async_task_current() != nullptr) && is_in_exit()) {
                return false;
            }
            if (why_not != nullptr) {
                die(why_not);
            }
            ex.refuse_launches();
        }
        if (ex.awaited() == nullptr) {
            // Those that were launched since, too.
            if (int const refused = ex.cancel_all(); refused != 0) {
                die_of("an executor's tasks could not be cancelled", refused);
            }
        }
        if (monad_async_executor_has_work(block->head)) {
            make_progress(block->head, until_told.left_ns(), pause_ns);
            auto *const task = static_cast<monad_async_task>(ex.awaited());
            if (task != nullptr || monad_async_executor_has_work(block->head)) {
                until_told.look(task);
            }
        }
    }
}

} // namespace detail
} // namespace v0
} // namespace monad::async

namespace monad::async_cpp {

void executor_ended(async::detail::executor_block *block) noexcept
{
    async::detail::forget(block);
    block->forget_spawned();
    block->leave_kept();
}

} // namespace monad::async_cpp

#ifndef MONAD_ASYNC_DETAIL_SPAWN_HPP
#define MONAD_ASYNC_DETAIL_SPAWN_HPP

// Tasks that no object stands for: children of groups, background tasks, those behind futures. Each
// executor keeps the ones that have ended, warm, for the next.
//
//      executor_block -- warm -------> spawned -> spawned       owner's thread
//                     '- elsewhere --> spawned -> spawned       any thread, under a lock
//
// One comes from the list of the thread that spawns, and goes back there, when its task has exited
// and nobody wants to know of it any more.

#include "../config.h"
#include "../error.hpp"
#include "../group.h"
#include "../task.h"
#include "die.hpp"
#include "executor_block.hpp"
#include "launch.hpp"
#include "spawned.hpp"
#include "task_state.hpp"

#include <cerrno>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {
namespace detail {

// The calling thread owns the executor, which is there and keeps the block.
inline bool is_here(executor_block const &block) noexcept
{
    return find_block(block.head) == &block;
}

// Null: no memory, or another errno.
[[gnu::cold, gnu::noinline]] inline spawned *make_spawned(executor_block &block, bool here,
                                                          int &error) noexcept
{
    auto *const s = new (std::nothrow) spawned;
    if (s == nullptr) {
        error = no_room;
        return nullptr;
    }
    monad_async_task_attr attr = {};
    attr.stack_size = block.stack_size;
    error = task_open(&attr, s).error;
    if (error != 0) {
        delete s;
        return nullptr;
    }
    s->is_from_elsewhere = !here;
    s->block = &block;
    __atomic_store_n(&block.has_spawned, true, __ATOMIC_RELAXED);
    return s;
}

inline spawned *take_from_elsewhere(executor_block &block) noexcept
{
    if (!lock_elsewhere(block)) {
        return nullptr;
    }
    auto *const s = block.elsewhere;
    if (s != nullptr) {
        block.elsewhere = s->next;
    }
    unlock_elsewhere(block);
    return s;
}

// As any task begins: the body before may have changed its own priorities, and have left a name and
// a permit.
inline void begin_anew(spawned const &s) noexcept
{
    auto *const head = s.head;
    head->priority = {monad_async_priority_normal, monad_async_priority_normal};
    if (__builtin_expect(__atomic_load_n(&head->has_past_, __ATOMIC_RELAXED) != 0, false)) {
        task_forget_past(head);
    }
}

// Null: no memory, or another errno.
[[gnu::always_inline]] inline spawned *take_spawned(executor_block &block, bool here,
                                                    int &error) noexcept
{
    spawned *s = nullptr;
    if (here) {
        s = block.warm;
        if (s != nullptr) {
            block.warm = s->next;
        }
    } else {
        s = take_from_elsewhere(block);
    }
    if (__builtin_expect(s == nullptr, false)) {
        int why = 0; // Not `error`, which is in a register as long as it is in no call.
        s = make_spawned(block, here, why);
        if (s == nullptr) {
            error = why;
            return nullptr;
        }
    }
    begin_anew(*s);
    // Elsewhere the executor may end during the call.
    if (!here && !std::exchange(s->holds_block, true)) {
        block.use();
    }
    return s;
}

// To the list that it was taken from.
inline void put_back(spawned &s, executor_block &block) noexcept
{
    s.next = block.warm;
    block.warm = &s;
}

// As `keep_spawned`, of one that was taken on the executor's thread, which this is, and that tells
// nobody.
inline void keep_here(spawned &s) noexcept
{
    auto &block = *s.block;
    s.clear();
    put_back(s, block);
    if (std::exchange(s.holds_block, false)) {
        block.leave_here();
    }
}

// Its task is idle. `here`: the calling thread owns the executor.
inline void keep_spawned(spawned &s, bool here) noexcept
{
    s.on_done = nullptr;
    if (__builtin_expect(here && !s.is_from_elsewhere && s.block->is_kept, true)) {
        return keep_here(s);
    }
    auto &block = *s.block;
    bool const holds_block = std::exchange(s.holds_block, false);
    s.clear();
    if (!s.is_from_elsewhere && here) {
        put_back(s, block);
    } else {
        s.is_from_elsewhere = true;
        if (lock_elsewhere(block)) { // Else it is left to lie.
            s.next = block.elsewhere;
            block.elsewhere = &s;
            unlock_elsewhere(block);
        }
    }
    if (!holds_block) {
        return;
    }
    if (here && block.is_kept) {
        block.leave_here();
    } else {
        block.leave();
    }
}

inline spawned &spawned_of(monad_async_task task) noexcept
{
    return *static_cast<spawned *>(static_cast<task_state *>(task->user_ptr));
}

[[gnu::cold, gnu::noinline]] inline void
left_by_exception(executor_block const &block, std::exception_ptr const &thrown, int error) noexcept
{
    if (error == ECANCELED) {
        return; // A cancelled task's way to leave.
    }
    auto const *const told = block.on_exception();
    if (told == nullptr) {
        try {
            std::rethrow_exception(thrown);
        } catch (...) { // So that the terminate handler sees it, and says what it is.
            die("an exception left a background task, and executor_options::on_exception is not "
                "set");
        }
    }
    (*told)(thrown);
}

// Nobody asks for what a child of a group threw, unless that is a cancelled task's way to leave.
[[gnu::cold, gnu::noinline]] inline void dropped(executor_block const &block, bool is_cancelled,
                                                 std::exception_ptr const &thrown) noexcept
{
    auto const *const told = block.on_unobserved();
    if (told != nullptr && !is_cancelled && block.is_of_this_process()) {
        (*told)(thrown);
    }
}

// The monad_async_exit of all of them.
inline void spawned_exited(monad_async_task task, monad_async_result r) noexcept
{
    auto &s = spawned_of(task);
    tsan_acquire(task);
    if (s.on_done != nullptr) {
        return s.on_done(s, r);
    }
    if (s.thrown) {
        left_by_exception(*s.block, s.thrown, r.error);
    }
    keep_spawned(s, true);
}

// Where `launch` attaches to.
struct group_target {
    monad_async_group *group;
    friend bool operator==(group_target const &t, std::nullptr_t) { return t.group == nullptr; }
};

struct background_target {
    executor_block *block;
    bool here;
    friend bool operator==(background_target const &t, std::nullptr_t)
    {
        return t.block == nullptr;
    }
};

// By another thread, as a message.
struct message_target {
    executor_block *block;
    friend bool operator==(message_target const &t, std::nullptr_t) { return t.block == nullptr; }
};

inline monad_async_result start(message_target to, monad_async_task task) noexcept
{
    return monad_async_make_failure(spawn_message(*to.block, task, &spawned_exited));
}

inline monad_async_result start(group_target to, monad_async_task task) noexcept
{
    return monad_async_group_spawn(to.group, task);
}

inline monad_async_result start(background_target to, monad_async_task task) noexcept
{
    return to.here ? monad_async_task_spawn(to.block->head, task, &spawned_exited)
                   : monad_async_remote_spawn(to.block->remote, task, &spawned_exited);
}

// What nobody asks for is dropped, where a task could not return it.
template <class F> constexpr bool returns_too_much() noexcept
{
    if constexpr (std::is_invocable_v<F>) {
        return !is_result<std::invoke_result_t<F>>();
    } else {
        return false; // `put_body` says so.
    }
}

// Launches `body` by `s`, which was taken, and goes back where it cannot. The errno, or `no_room`.
// Throws what moving the callable does.
template <class Target, class F>
MONAD_ASYNC_LOCAL int launch_spawned(spawned &s, Target target, F &&body)
{
    struct guard {
        spawned *s;
        bool here;
        ~guard()
        {
            if (s != nullptr) {
                keep_spawned(*s, here);
            }
        }
    } g{&s, !s.is_from_elsewhere};
    using body_type = std::decay_t<F>;
    bool fits = false;
    if constexpr (returns_too_much<body_type>()) {
        fits = detail::put_body(s, [f = body_type(std::forward<F>(body))]() mutable {
            (void)std::invoke(std::move(f));
        });
    } else {
        fits = detail::put_body(s, std::forward<F>(body));
    }
    if (!fits) {
        return no_room;
    }
    int const error = target == nullptr ? EINVAL : start(target, s.head).error;
    if (__builtin_expect(error == 0, true)) {
        g.s = nullptr;
    }
    return error;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_to_spawn(int error, char const *what)
{
    if (error == no_room) {
        throw std::bad_alloc();
    }
    fail(error, what);
}

// What came of it, as `how` wants it: thrown, with the name of the call, or reported.
inline void settle_spawn(int error, char const *how)
{
    if (__builtin_expect(error != 0, false)) {
        fail_to_spawn(error, how);
    }
}

inline void settle_spawn(int error, std::error_code &how) noexcept
{
    report(error == no_room ? ENOMEM : error, how);
}

inline spawned &take_or_throw(executor_block &block, bool here, char const *what)
{
    int error = 0;
    auto *const s = take_spawned(block, here, error);
    if (__builtin_expect(s == nullptr, false)) {
        fail_to_spawn(error, what);
    }
    return *s;
}

// Takes one and launches `body` by it. The errno, or `no_room`. Throws what moving the callable
// does.
template <class Target, class F>
MONAD_ASYNC_LOCAL int spawn_by(executor_block &block, bool here, Target target, F &&body)
{
    int error = 0;
    auto *const s = take_spawned(block, here, error);
    return __builtin_expect(s == nullptr, false)
               ? error
               : detail::launch_spawned(*s, target, std::forward<F>(body));
}

// As `spawn_by`. A null block: of an object that was moved from.
template <class F> MONAD_ASYNC_LOCAL int spawn_background(executor_block *block, F &&body)
{
    if (block == nullptr) {
        return EINVAL;
    }
    bool const here = is_here(*block);
    return detail::spawn_by(*block, here, background_target{block, here}, std::forward<F>(body));
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

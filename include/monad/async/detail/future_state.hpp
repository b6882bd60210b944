#ifndef MONAD_ASYNC_DETAIL_FUTURE_STATE_HPP
#define MONAD_ASYNC_DETAIL_FUTURE_STATE_HPP

// What stands behind a future.

#include "../config.h"
#include "../event.h"
#include "../executor.h"
#include "../executor.hpp"
#include "../result.h"
#include "../scope.h"
#include "../task.h"
#include "die.hpp"
#include "executor_block.hpp"
#include "runtime.hpp"
#include "spawn.hpp"
#include "time.hpp"
#include "tsan.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include <time.h>

namespace monad::async {
inline namespace v0 {
namespace detail {

// What a task and the future of its result share.
//
// 1. Of a task that was submitted on its executor's own thread (`is_joined`) the exit says all that
//    there is to say, and who waits joins it: nobody is told of it, and it is the future's to give
//    back.
// 2. All others are held by both, and the last gives the task back: who lets go second has seen
//    that the other did (`task_left`, `future_left`).
// 3. Of those, a task of the executor that the waiter runs on is joined. All other waiters announce
//    themselves (`waited`), and wait for the event: so a task that nobody waits for so sets none.
struct future_base {
    // Of `marks`.
    static constexpr unsigned over = 1, waited = 2, task_left = 4, future_left = 8;

    spawned *of = nullptr;
    // Null: there is nothing to do.
    void (*end)(future_base &) noexcept = nullptr;
    // Atomic. With `over` all that is here may be read, and what was thrown.
    unsigned marks = 0;
    int error = 0;
    // This and `is_let_go` are of the thread that has the future: tasks of it that wait, for whom
    // this stays; and whether the future has let go since, so that the last of them does in its
    // place.
    unsigned waiters = 0;
    bool is_let_go = false;
    bool is_joined = false;

    // ANY THREAD.
    [[nodiscard]] bool is_done() const noexcept
    {
        return is_joined ? of->has_exited()
                         : (__atomic_load_n(&marks, __ATOMIC_ACQUIRE) & over) != 0;
    }

    // `here`: the calling thread owns the executor. A load, not a call, in the common case.
    [[nodiscard]] bool is_done(bool here) const noexcept
    {
        if (!here || !is_joined) {
            return is_done();
        }
        bool const has_exited = of->head->current_executor == nullptr;
        if (has_exited) {
            tsan_acquire(of->head);
        }
        return has_exited;
    }

    // Done.
    [[nodiscard]] int error_of_end() const noexcept
    {
        return is_joined ? of->head->result.error : error;
    }

    // Done, and its future goes without having asked what was thrown.
    void tell_of_thrown() const noexcept
    {
        auto const *const told = of->block->on_unobserved();
        if (of->thrown && error_of_end() != ECANCELED && told != nullptr) {
            (*told)(of->thrown);
        }
    }

    void finished() noexcept
    {
        unsigned before = 0;
        // The common case: nobody has waited, nor let go.
        if (!__atomic_compare_exchange_n(&marks, &before, over | task_left, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            if ((__atomic_fetch_or(&marks, over, __ATOMIC_ACQ_REL) & waited) != 0) {
                (void)monad_async_event_set(&of->done);
            }
            leave(task_left, future_left);
        }
    }

    // The future's. `here` as in `is_done`.
    void release(bool here) noexcept
    {
        if (!is_joined) {
            leave(future_left, task_left);
        } else if (is_done()) {
            give_back(here);
        } // Else this is the child of a fork, and all of it the parent's: left to lie.
    }

    // As `release`, where other tasks of the thread may wait.
    void let_go(bool here) noexcept
    {
        if (waiters != 0) {
            is_let_go = true;
        } else {
            release(here);
        }
    }

    // One that waited goes on.
    void waited_for() noexcept
    {
        if (--waiters == 0 && is_let_go) {
            release(is_here(*of->block));
        }
    }

    void leave(unsigned own, unsigned others) noexcept
    {
        if ((__atomic_load_n(&marks, __ATOMIC_ACQUIRE) & others) != 0 ||
            (__atomic_fetch_or(&marks, own, __ATOMIC_ACQ_REL) & others) != 0) {
            give_back(is_here(*of->block));
        }
    }

    void give_back(bool here) noexcept
    {
        auto &s = *of;
        if (end != nullptr) {
            end(*this); // It may lie in `s`.
        }
        keep_spawned(s, here);
    }

    // Whether it is to be waited for by the event; false: it is done. One thread at a time waits.
    bool announce() noexcept
    {
        if ((__atomic_load_n(&marks, __ATOMIC_RELAXED) & waited) == 0) {
            of->done = MONAD_ASYNC_EVENT_INIT;
        }
        return (__atomic_fetch_or(&marks, waited, __ATOMIC_ACQ_REL) & over) == 0;
    }

    // The task that asks is the one that has not ended.
    [[nodiscard]] bool is_own_of(monad_async_task self) const noexcept
    {
        return self != nullptr && self == of->head;
    }

    // Not done, and its future goes. True: `exit` destroys that, where it cannot wait for the end,
    // as of static tasks: inside the task itself, or where another executor would have to be run,
    // which nobody may be doing. A pool runs until it is destroyed.
    [[nodiscard, gnu::cold, gnu::noinline]] bool is_left_alone() const noexcept
    {
        auto *const self = monad_async_task_current();
        auto const &block = *of->block;
        bool const is_own = is_own_of(self);
        bool const is_of_pool = block.head == nullptr;
        bool const is_run_here =
            self != nullptr ? self->current_executor == block.head : is_here(block);
        if (!is_own && (is_of_pool || is_run_here)) {
            return false;
        }
        if (process_exits()) {
            return true;
        }
        if (is_own) {
            die("a future was destroyed inside its own task");
        }
        return false;
    }

    // Rules 1 and 3.
    [[nodiscard]] bool is_joined_by(monad_async_task self) const noexcept
    {
        return is_joined || (self != nullptr && self->current_executor == of->block->head);
    }

    // SUSPENDS `self`.
    [[gnu::always_inline]] MONAD_ASYNC_LOCAL inline monad_async_result
    join(monad_async_task self) const noexcept
    {
        auto *const task = of->head;
        return interruptible(self, [self, task] { return monad_async_task_join(self, task); });
    }

    MONAD_ASYNC_LOCAL monad_async_result join(monad_async_task self,
                                              std::uint64_t boot_ns) const noexcept
    {
        if (boot_ns == forever_ns) {
            return join(self);
        }
        auto *const task = of->head;
        return interruptible(self, [self, task, boot_ns] {
            return monad_async_task_join_until(self, task, boot_ns);
        });
    }

    // The errno of a wait, of what a join has returned. An error may be the task's own.
    int joined(monad_async_result r) const noexcept
    {
        if (__builtin_expect(r.error != 0, false)) {
            return is_done() ? 0 : r.error;
        }
        tsan_acquire(of->head);
        return 0;
    }

    // Blocks a thread that is not its executor's. The errno.
    [[gnu::cold, gnu::noinline]] int block_thread(std::uint64_t boot_ns) const noexcept
    {
        int why = 0;
        while (!is_done()) {
            std::uint64_t left_ns = forever_ns;
            if (boot_ns != forever_ns) {
                auto const now_ns = monad_async_now_ns();
                left_ns = boot_ns > now_ns ? boot_ns - now_ns : 0;
            }
            why = monad_async_task_wait(of->head, left_ns).error;
            if (is_done()) {
                break;
            }
            if (why != ENOMEM || left_ns == 0) {
                return why == ENOMEM ? ETIME : why;
            }
            timespec const moment = {0, 100'000};
            (void)::clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr); // Leaves errno alone.
        }
        return 0;
    }

    // SUSPENDS, or blocks, until it is done; nothing interrupts it.
    MONAD_ASYNC_LOCAL void wait_for_sure() noexcept
    {
        auto *const self = monad_async_task_current();
        if (self != nullptr) {
            monad_async_scope shield;
            (void)monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD);
            if (is_joined_by(self)) {
                (void)suspending([this, self] { return monad_async_task_join(self, of->head); });
                while (__builtin_expect(!is_done(), false)) {
                    // Refused, as it waits for this one, shielded: until it no longer does.
                    constexpr std::uint64_t moment_ns = 1'000'000;
                    (void)suspending(
                        [self] { return monad_async_task_suspend_for_duration(self, moment_ns); });
                }
            } else if (announce()) {
                (void)suspending([this, self] { return monad_async_event_wait(self, &of->done); });
            }
            (void)monad_async_scope_leave(self, &shield);
            return;
        }
        bool const here = is_here(*of->block);
        // The child of a fork: it is the parent's, and never done here.
        while (!is_done() && of->block->is_of_this_process()) {
            if (here) {
                int why_not = 0;
                (void)executor_run_again(of->block->head, forever_ns, why_not);
                if (why_not == EPERM) {
                    return; // The child of a fork: it is the parent's, and never done here.
                }
            } else if (is_joined) {
                (void)block_thread(forever_ns);
            } else if (announce()) {
                (void)monad_async_event_wait(nullptr, &of->done);
            }
        }
    }
};

template <class R> struct future_state : future_base {
    std::optional<R> value;
};

template <> struct future_state<void> : future_base {};

inline void future_done(spawned &s, monad_async_result r) noexcept
{
    auto &shared = *static_cast<future_base *>(s.of);
    shared.error = r.error;
    if (s.drop != nullptr) {
        s.drop(s); // A callable that never ran.
    }
    shared.finished();
}

template <class State>
inline constexpr bool fits_spawned =
    sizeof(State) <= sizeof(spawned::future_room) && alignof(State) <= alignof(std::max_align_t);

// Such a state needs no end.
template <class State>
inline constexpr bool ends_by_itself =
    fits_spawned<State> && std::is_trivially_destructible_v<State>;

template <class State> void end_future(future_base &base) noexcept
{
    auto *const state = static_cast<State *>(&base);
    if constexpr (fits_spawned<State>) {
        state->~State();
    } else {
        delete state;
    }
}

// As `let_go`, in line, of a future<R> by rule 1, on the executor's thread, whose task has ended
// without an error: so it has called what it was given, and that has thrown nothing.
template <class R> void release_here(future_base &base) noexcept
{
    if (__builtin_expect(base.waiters != 0, false)) {
        if constexpr (!std::is_void_v<R>) {
            static_cast<future_state<R> &>(base).value.reset();
        }
        base.is_let_go = true;
        return;
    }
    auto &s = *base.of;
    auto &block = *s.block;
    end_future<future_state<R>>(base);
    put_back(s, block);
    s.holds_block = false;
    block.leave_here();
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

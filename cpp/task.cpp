// What the task class needs of the library: opening, and the orderly end.

#include "monad-async/src/bridge.rs.h"
#include "monad/async/detail/die.hpp"
#include "monad/async/detail/task_state.hpp"
#include "monad/async/pool.h"
#include "monad/async/scope.h"
#include "patience.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace monad::async {
inline namespace v0 {
namespace detail {

using async_cpp::die_of;
using async_cpp::is_in_exit;
using async_cpp::patience;
using async_cpp::run_inside_another;
using async_cpp::suspend_shielded;
using async_cpp::timespec_of;

namespace {

// Where nobody tells when to go on.
constexpr std::uint64_t step_ns = 100'000;

// Suspends the running task until `other` has exited, for at most `ns`.
void join_shielded(monad_async_task self, monad_async_task other, std::uint64_t ns) noexcept
{
    monad_async_scope shield;
    int error = monad_async_scope_enter(self, &shield, ns, MONAD_ASYNC_SCOPE_SHIELD).error;
    if (error == 0) {
        (void)monad_async_task_join(self, other);
        (void)monad_async_scope_leave(self, &shield);
    }
    if (monad_async_task_is_attached(other)) {
        suspend_shielded(self, step_ns); // Waits for us itself; or its exit is being published.
    }
}

// Lets the task come nearer to its end, for at most `ns`. On the executor's thread, by running it;
// from another task or another thread, by getting out of the way. EPERM where the kernel refuses to
// go on with the executor, on its thread; else 0.
int make_progress(monad_async_executor ex, task_state const &state, std::uint64_t ns) noexcept
{
    auto const timeout = timespec_of(ns);
    auto const r = monad_async_executor_run(ex, SIZE_MAX, &timeout);
    if (r.error == 0 || r.error == ETIME) {
        return 0;
    }
    bool const is_here = r.error == EDEADLK;
    if (is_here && ex->current_task == state.head) {
        die("a task was destroyed inside itself");
    }
    if (!is_here && r.error != EPERM) {
        die_of("a task's executor could not be run", r.error);
    }
    // On another thread it never has work.
    int const refused = r.error == EPERM && monad_async_executor_has_work(ex) ? EPERM : 0;
    auto const self = monad_async_task_current();
    if (self == nullptr) {
        (void)monad_async_task_wait(state.head, ns);
        if (state.is_attached()) {
            auto const ts = timespec_of(std::min(ns, step_ns)); // No memory for it, say.
            ::nanosleep(&ts, nullptr);
        }
    } else if (is_here && ex->current_task == nullptr) {
        // Another executor's, on this thread: nobody else may be running it.
        suspend_shielded(self, run_inside_another(ex) != 0 ? 0 : std::min(ns, step_ns));
    } else {
        join_shielded(self, state.head, ns);
    }
    return refused;
}

// False: the task is the parent process's, or nobody will run it, and no business of ours.
bool stop(task_state &state, async_bridge::Task const &task) noexcept
{
    patience until_told("~task");
    bool looked = false;
    std::uint64_t cancelled_run = 0;
    while (state.is_attached()) {
        auto const ex = __atomic_load_n(&state.head->current_executor, __ATOMIC_ACQUIRE);
        if (ex == nullptr) {
            // In the queue of a pool, which it leaves at once; or between the two stores that
            // publish its exit.
            if (monad_async_task_is_queued(state.head) &&
                monad_async_task_cancel(nullptr, state.head).error == EPERM) {
                return false;
            }
            continue;
        }
        if (!looked) {
            looked = true;
            // True on its own thread alone, where outside tasks it can be run to its end.
            bool const is_ours =
                monad_async_executor_has_work(ex) && monad_async_task_current() == nullptr;
            if (!is_ours && is_in_exit()) {
                return false; // The process is about to be over for who could run it, too.
            }
        }
        // Once, and again only where somebody has launched it again.
        if (auto const run = task.run(); run != cancelled_run) {
            cancelled_run = run;
            if (monad_async_task_cancel(ex, state.head).error == EPERM) {
                return false;
            }
            continue; // A launch that had not begun is over.
        }
        int const refused = make_progress(ex, state, until_told.left_ns());
        if (state.is_attached()) {
            until_told.look(state.head, refused);
        }
    }
    return true;
}

} // namespace

monad_async_result task_open(monad_async_task_attr const *attr, task_state *state) noexcept
{
    std::int32_t error = 0;
    auto *const opened = async_bridge::open_task(attr, error);
    if (opened == nullptr) {
        return monad_async_make_failure(error);
    }
    state->head = opened->head();
    state->label.head = state->head;
    state->owner = opened;
    return monad_async_make_success(0);
}

void task_forget_past(monad_async_task task) noexcept
{
    async_bridge::forget_past(task);
}

bool task_close(task_state *state) noexcept
{
    if (!stop(*state, *state->owner)) {
        return false;
    }
    state->close();
    auto task = rust::Box<async_bridge::Task>::from_raw(state->owner);
    if (task->close() != 0) {
        die("a task was attached again while it was destroyed");
    }
    return true;
}

} // namespace detail
} // namespace v0
} // namespace monad::async

// What the task class needs of the library: opening, and the orderly end.

#include "monad-async/src/bridge.rs.h"
#include "monad/async/detail/die.hpp"
#include "monad/async/detail/task_state.hpp"
#include "pause.hpp"

#include <cerrno>
#include <cstdint>

namespace monad::async::detail {

namespace {

// How long to wait at a time for another thread, or another task, to make progress.
constexpr std::uint64_t step_ns = 100'000;

// Lets the task's executor make progress, for at most `ns`. On the executor's thread, by running it;
// from another task or another thread, by getting out of the way.
//
// `owed` is set where that took a cancel that the calling task had coming.
void give_way(monad_async_executor ex, task_state const &state, std::uint64_t ns, bool &owed) noexcept
{
    auto const timeout = timespec_of(ns);
    auto const r = monad_async_executor_run(ex, SIZE_MAX, &timeout);
    if (r.error == 0 || r.error == ETIME) {
        return;
    }
    if (r.error == EDEADLK && ex->current_task == state.head) {
        die("a task was destroyed inside itself");
    }
    if (r.error != EDEADLK && r.error != EPERM) {
        die("a task's executor could not be run");
    }
    auto const self = monad_async_task_current();
    auto const wait_ns = ns < step_ns ? ns : step_ns;
    if (self == nullptr) {
        auto const ts = timespec_of(wait_ns);
        ::nanosleep(&ts, nullptr);
    } else if (monad_async_task_suspend_for_duration(self, wait_ns).error == ECANCELED) {
        owed = true;
    }
}

// False: the task is the parent process's, and no business of ours.
bool stop(task_state &state) noexcept
{
    pause grace;
    bool owed = false;
    while (state.is_attached()) {
        auto const ex = __atomic_load_n(&state.head->current_executor, __ATOMIC_ACQUIRE);
        if (ex == nullptr) {
            continue; // Between the two stores that publish its exit.
        }
        if (monad_async_task_cancel(ex, state.head).error == EPERM) {
            return false;
        }
        auto const until = now_ns() + grace.next_ns();
        for (auto now = now_ns(); now < until && state.is_attached(); now = now_ns()) {
            give_way(ex, state, until - now, owed);
        }
    }
    if (owed) {
        auto const self = monad_async_task_current();
        (void)monad_async_task_cancel(self->current_executor, self);
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
    state->owner = opened;
    return monad_async_make_success(0);
}

bool task_close(task_state *state) noexcept
{
    if (!stop(*state)) {
        return false;
    }
    state->close();
    auto task = rust::Box<async_bridge::Task>::from_raw(state->owner);
    if (task->close() != 0) {
        die("a task was attached again while it was destroyed");
    }
    return true;
}

} // namespace monad::async::detail

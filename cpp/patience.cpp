#include "patience.hpp"

#include "monad/async/detail/die.hpp"
#include "monad/async/detail/task_state.hpp"
#include "monad/async/scope.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <sys/uio.h>
#include <unistd.h>
#include <unwind.h>

// current.cpp
extern "C" {
void const **monad_async_running_slot(void) noexcept;
extern __attribute__((visibility("hidden"))) monad_async_executor_head const monad_async_nobody;
}

namespace monad::async_cpp {

using async::detail::task_label;

namespace {

// The name that C++ gave a task, or nothing. Whether `user_ptr` is a task_state nobody knows who
// has only the head, so what is there is read by a call that fails where nothing is.
void name_of(monad_async_task task, char (&name)[sizeof task_label::name]) noexcept
{
    task_label label;
    label.mark = 0;
    // `label` is the state's first member.
    iovec const to = {&label, sizeof label};
    iovec const from = {task->user_ptr, sizeof label};
    auto const n = ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0);
    bool const is_one = n == static_cast<ssize_t>(sizeof label) &&
                        label.mark == task_label::is_one && label.head == task;
    std::copy_n(is_one ? label.name : "", is_one ? sizeof label.name : 1, name);
}

struct search {
    void *exit;
    bool found;
};

_Unwind_Reason_Code is_it_exit(_Unwind_Context *frame, void *arg)
{
    auto &s = *static_cast<search *>(arg);
    // The address is behind the call, which may be the end of the function: exit() does not return.
    auto const pc = _Unwind_GetIP(frame);
    if (pc != 0 && _Unwind_FindEnclosingFunction(reinterpret_cast<void *>(pc - 1)) == s.exit) {
        s.found = true;
        return _URC_END_OF_STACK;
    }
    return _URC_NO_REASON;
}

} // namespace

std::uint64_t patience::left_ns() const noexcept
{
    auto const now_ns = monad_async_now_ns();
    // Once it was said, nothing hurries.
    return until_ns_ == UINT64_MAX ? 60'000'000'000 : until_ns_ - std::min(until_ns_, now_ns);
}

void patience::look(monad_async_task task, int refused) noexcept
{
    if (monad_async_now_ns() < until_ns_) {
        return;
    }
    until_ns_ = UINT64_MAX;
    char line[200];
    int n = 0;
    if (task == nullptr) {
        n = std::snprintf(line, sizeof line,
                          "monad::async: %s has waited for 5 s: tasks are left that it has not "
                          "cancelled, or that were launched since\n",
                          who_);
    } else {
        char name[sizeof task_label::name] = {};
        name_of(task, name);
        char const *const quote = name[0] != 0 ? "\"" : "";
        char why[80] = "which was cancelled and does not end";
        if (refused != 0) {
            std::snprintf(why, sizeof why,
                          "whose executor's ring the kernel refuses to enter (errno %d)", refused);
        }
        n = std::snprintf(
            line, sizeof line, "monad::async: %s has waited for 5 s for task %p%s%s%s%s, %s\n",
            who_, static_cast<void *>(task), name[0] != 0 ? " " : "", quote, name, quote, why);
    }
    if (::write(STDERR_FILENO, line, static_cast<std::size_t>(n)) < 0) {
        return; // A courtesy.
    }
}

void die_of(char const *why, int error) noexcept
{
    char line[120];
    std::snprintf(line, sizeof line, "%s (errno %d)", why, error);
    async::detail::die(line);
}

bool is_in_exit() noexcept
{
    // No flag could tell: a handler of atexit that runs before the destructor of a static object
    // has to be registered after its construction.
    search s = {reinterpret_cast<void *>(&::exit), false};
    _Unwind_Backtrace(is_it_exit, &s);
    return s.found;
}

std::size_t run_inside_another(monad_async_executor ex) noexcept
{
    if (ex->current_task != nullptr) {
        return 0; // Further down this stack: it goes on when what runs in here has ended.
    }
    // For the time of the pass this thread is not in the other executor's run. The running task's
    // stack carries it, as it does any call; what of `ex` runs in that pass cannot suspend the
    // running task, since it is not current, and the other executor's lists are whole, since it is
    // in the middle of an item.
    auto **const slot = monad_async_running_slot();
    auto const *const outer = *slot;
    *slot = &monad_async_nobody;
    timespec const at_once = {};
    auto const r = monad_async_executor_run(ex, SIZE_MAX, &at_once);
    *slot = outer;
    return r.error == 0 ? static_cast<std::size_t>(r.value) : 0;
}

void suspend_shielded(monad_async_task self, std::uint64_t ns) noexcept
{
    monad_async_scope shield;
    bool const shielded =
        monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD).error == 0;
    (void)monad_async_task_suspend_for_duration(self, ns);
    if (shielded) {
        (void)monad_async_scope_leave(self, &shield);
    }
}

} // namespace monad::async_cpp

namespace monad::async {
inline namespace v0 {
namespace detail {

bool process_exits() noexcept
{
    return async_cpp::is_in_exit();
}

} // namespace detail
} // namespace v0
} // namespace monad::async

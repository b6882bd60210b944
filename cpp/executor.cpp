// What the executor class needs of the library: opening, and the orderly end.

#include "monad-async/src/bridge.rs.h"
#include "monad/async/detail/die.hpp"
#include "monad/async/executor.hpp"
#include "pause.hpp"

#include <cerrno>
#include <cstdint>

namespace monad::async::detail {

namespace {

// Runs `ex` for `ns`, or until nothing is attached.
void run_for(monad_async_executor ex, std::uint64_t ns) noexcept
{
    auto const until = now_ns() + ns;
    for (auto now = until - ns; now < until && monad_async_executor_has_work(ex); now = now_ns()) {
        auto const timeout = timespec_of(until - now);
        auto const r = monad_async_executor_run(ex, SIZE_MAX, &timeout);
        if (r.error != 0 && r.error != ETIME) {
            die("an executor could not be run to its end");
        }
    }
}

} // namespace

monad_async_result executor_open(monad_async_executor_attr const *attr, executor_handle *out) noexcept
{
    std::int32_t error = 0;
    auto *const opened = async_bridge::open_executor(attr, error);
    if (opened == nullptr) {
        return monad_async_make_failure(error);
    }
    out->head = opened->head();
    out->owner = opened;
    return monad_async_make_success(0);
}

void executor_close(executor_handle handle) noexcept
{
    auto ex = rust::Box<async_bridge::Executor>::from_raw(handle.owner);
    if (!ex->is_of_this_process()) {
        return; // The parent's, and so are its tasks.
    }
    pause grace;
    for (;;) {
        switch (ex->close()) {
        case 0:
            return;
        case EBUSY:
            break;
        case EDEADLK:
            die("an executor was destroyed inside one of its own tasks");
        default:
            die("an executor was destroyed on a thread that does not own it");
        }
        if (ex->cancel_all() != 0) {
            die("an executor's tasks could not be cancelled");
        }
        run_for(handle.head, grace.next_ns());
    }
}

} // namespace monad::async::detail

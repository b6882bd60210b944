#ifndef MONAD_ASYNC_CPP_PATIENCE_HPP
#define MONAD_ASYNC_CPP_PATIENCE_HPP

// What the two destructors that wait share: how long without a word, for whom, and when not at all.

#include "monad/async/executor.h"
#include "monad/async/task.h"

#include <cstdint>

#include <time.h>

// A namespace whose symbols are not the library's to export (cmake/abi.list).
namespace monad::async_cpp {

inline timespec timespec_of(std::uint64_t ns) noexcept
{
    timespec ts = {};
    ts.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    ts.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    return ts;
}

// Says once, after 5 s, which task does not end, or that there is always another one.
class patience {
public:
    explicit patience(char const *who) noexcept : who_(who) {}

    // Until there is something to say.
    [[nodiscard]] std::uint64_t left_ns() const noexcept;
    // Says it if the time has come. Null: those that were cancelled have ended, others came.
    // `refused`: why the kernel takes nothing from the ring of its executor, or 0.
    void look(monad_async_task task, int refused = 0) noexcept;

private:
    char const *who_;
    std::uint64_t until_ns_ = monad_async_now_ns() + 5'000'000'000;
};

// As `detail::die`, with the errno.
[[noreturn]] void die_of(char const *why, int error) noexcept;

// Whether exit() has called this: static objects are being destroyed.
bool is_in_exit() noexcept;

// One pass of an executor of this thread that does not run now, inside a task of another one. How
// many items ran.
std::size_t run_inside_another(monad_async_executor ex) noexcept;

// SUSPENDS the running task, shielded.
void suspend_shielded(monad_async_task self, std::uint64_t ns) noexcept;

} // namespace monad::async_cpp

#endif

#ifndef MONAD_ASYNC_POLL_HPP
#define MONAD_ASYNC_POLL_HPP

/** @file poll.hpp
 *  Waiting for a descriptor of any kind.
 *
 *  The word SUSPENDS is that of executor.h, the rules those of poll.h. */

#include "config.h"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "poll.h"
#include "task.h"

#include <cstdint>
#include <system_error>

#include <poll.h>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

[[nodiscard]] MONAD_ASYNC_LOCAL inline monad_async_result try_poll(int fd, std::uint32_t events)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [=] { return monad_async_poll(self, fd, events); });
}

} // namespace detail
/** @endcond */

/** Waits for events of a descriptor, as `poll` of one without a time-out. SUSPENDS.
 *  @param fd any descriptor that can be polled
 *  @param events `POLLIN` and so on
 *  @return which of them there are, and `POLLERR`, `POLLHUP`
 *  @throws std::system_error its errno; `EPERM`: outside a task
 *  @throws cancelled_error the task or a scope was cancelled
 *  @throws timeout_error a scope's deadline passed
 *  @see monad_async_poll() */
[[nodiscard]] MONAD_ASYNC_LOCAL inline std::uint32_t poll(int fd, std::uint32_t events)
{
    return static_cast<std::uint32_t>(
        value_or_throw(detail::try_poll(fd, events), "monad::async::poll"));
}

/** As the other `poll`.
 *  @param fd any descriptor that can be polled
 *  @param events `POLLIN` and so on
 *  @param[out] ec the error
 *  @return which of them there are; 0 with an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline std::uint32_t poll(int fd, std::uint32_t events,
                                                          std::error_code &ec) noexcept
{
    auto const r = detail::try_poll(fd, events);
    detail::report(r.error, ec);
    return r.error == 0 ? static_cast<std::uint32_t>(r.value) : 0;
}

} // namespace v0
} // namespace monad::async

#endif

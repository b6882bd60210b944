#ifndef MONAD_ASYNC_DETAIL_HANDLE_HPP
#define MONAD_ASYNC_DETAIL_HANDLE_HPP

// How the object of a file or a socket lets go of its handle.

#include "../config.h"
#include "../task.h"
#include "runtime.hpp"

#include <cerrno>
#include <cstdint>
#include <utility>

#include <unistd.h>

namespace monad::async {
inline namespace v0 {
namespace detail {

// Closes `held` by `close`, a call of the C API, which leaves nothing there. The errno. Flags of
// handles: `direct` of those that are no descriptor, `known` of those that one executor alone
// closes. What another one has to close stays where `keeps`, for it to be told; else its descriptor
// is closed, as any is outside tasks.
template <class Handle, class Close>
MONAD_ASYNC_LOCAL int close_handle(Handle &held, std::uint32_t direct, std::uint32_t known,
                                   bool keeps, Close close) noexcept
{
    auto const closed = std::exchange(held, Handle{-1, 0});
    if (closed.fd < 0) {
        return 0;
    }
    auto *const self = monad_async_task_current();
    auto const close_it = [self, closed, close] { return close(self, closed); };
    int const error = self != nullptr ? suspending(close_it).error : EPERM;
    if (error != EPERM && error != ENOTSUP) {
        return error;
    }
    bool const is_anothers = self != nullptr && error == EPERM && (closed.flags & known) != 0;
    if (keeps && is_anothers) {
        held = closed;
    }
    if ((keeps && is_anothers) || (closed.flags & direct) != 0) {
        return error;
    }
    int const saved = errno;
    ::close(closed.fd);
    errno = saved;
    return 0;
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

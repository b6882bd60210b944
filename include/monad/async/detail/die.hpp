#ifndef MONAD_ASYNC_DETAIL_DIE_HPP
#define MONAD_ASYNC_DETAIL_DIE_HPP

// The end of the process, where a mistake leaves nothing safe to do and nobody to throw to.

#include "../config.h"

namespace monad::async {
inline namespace v0 {
namespace detail {

// Says why on standard error, then std::terminate.
[[noreturn]] MONAD_ASYNC_API void die(char const *why) noexcept;
// Whether exit() has called this, so that nobody needs what cannot be done in good order.
MONAD_ASYNC_API bool process_exits() noexcept;

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

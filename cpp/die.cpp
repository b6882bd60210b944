// The last words of a process that cannot go on.

#include "monad/async/detail/die.hpp"

#include <exception>
#include <initializer_list>

#include <string.h>
#include <unistd.h>

namespace monad::async {
inline namespace v0 {
namespace detail {

void die(char const *why) noexcept
{
    for (char const *part : {"monad::async: ", why, "\n"}) {
        // A courtesy: what cannot be written is not.
        if (::write(STDERR_FILENO, part, ::strlen(part)) < 0) {
            break;
        }
    }
    std::terminate();
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#ifndef MONAD_ASYNC_DETAIL_EACH_HPP
#define MONAD_ASYNC_DETAIL_EACH_HPP

// What thread_pool::for_each is made of.

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {
namespace detail {

// By what is done with them: not every such iterator of C++20 has the tag.
template <class Begin, class End, class = void> inline constexpr bool has_random_access = false;
template <class Begin, class End>
inline constexpr bool
    has_random_access<Begin, End,
                      std::void_t<decltype(std::declval<End>() - std::declval<Begin>()),
                                  decltype(std::declval<Begin>() + std::ptrdiff_t())>> = true;

// What the workers of one for_each share: on the stack of who waits for them.
template <class Iterator, class F> struct each {
    Iterator begin;
    std::size_t size;
    std::size_t step;
    F *f;
    // Atomic: the first that nobody has taken.
    std::size_t next = 0;
    // Atomic: something was thrown. And the first that was, once all have ended.
    bool has_failed = false;
    std::exception_ptr first = nullptr;

    // What nobody has taken is left out.
    void stop() noexcept { __atomic_store_n(&next, size, __ATOMIC_RELAXED); }

    // In a handler.
    void failed() noexcept
    {
        stop();
        if (!__atomic_exchange_n(&has_failed, true, __ATOMIC_RELAXED)) {
            first = std::current_exception();
        }
    }

    // Takes some, again and again, until none is left.
    void work()
    {
        for (;;) {
            std::size_t const from = __atomic_fetch_add(&next, step, __ATOMIC_RELAXED);
            if (from >= size) {
                return;
            }
            try {
                auto at = begin + static_cast<std::ptrdiff_t>(from);
                for (std::size_t n = std::min(step, size - from); n != 0; --n, ++at) {
                    std::invoke(*f, *at);
                }
            } catch (...) {
                failed();
                if (std::current_exception() == nullptr) {
                    throw; // None of C++: the future tells of it, or it ends the process.
                }
                return;
            }
        }
    }
};

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

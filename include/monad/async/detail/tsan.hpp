#ifndef MONAD_ASYNC_DETAIL_TSAN_HPP
#define MONAD_ASYNC_DETAIL_TSAN_HPP

// Tells ThreadSanitizer what it cannot see: launching and exiting order memory, by atomics inside
// the library, which is not built with it. Nothing without it.

#if defined(__SANITIZE_THREAD__)
    #define MONAD_ASYNC_TSAN 1
#elif defined(__has_feature)
    #if __has_feature(thread_sanitizer)
        #define MONAD_ASYNC_TSAN 1
    #endif
#endif

#if defined(MONAD_ASYNC_TSAN)
extern "C" void __tsan_acquire(void *);
extern "C" void __tsan_release(void *);
#endif

namespace monad::async {
inline namespace v0 {
namespace detail {

// What came before `tsan_release(p)` on one thread comes before what follows `tsan_acquire(p)`.
inline void tsan_acquire([[maybe_unused]] void *p) noexcept
{
#if defined(MONAD_ASYNC_TSAN)
    __tsan_acquire(p);
#endif
}

inline void tsan_release([[maybe_unused]] void *p) noexcept
{
#if defined(MONAD_ASYNC_TSAN)
    __tsan_release(p);
#endif
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

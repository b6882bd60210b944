#ifndef MONAD_ASYNC_DETAIL_TSAN_HPP
#define MONAD_ASYNC_DETAIL_TSAN_HPP

// Tells ThreadSanitizer what it cannot see: launching and exiting order memory, by atomics inside
// the library, which is not built with it; and on which stack the thread is. Nothing without it.
//
// A task that runs a callable is a fiber of the tool's from its launch to its exit, and the thread
// is back on the executor's while the task is suspended. The tool has room for some 8,000 fibers
// and threads: tasks beyond `tsan_fibers_max` are not told of, and leave their frames to the
// executor's fiber. What switches must not be instrumented: it would leave another fiber than it
// entered.
//
// A library that tells of its switches itself, in C too, says so by MONAD_ASYNC_TELLS_TSAN, which
// its target and pkg-config define.

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
extern "C" void *__tsan_get_current_fiber();
extern "C" void *__tsan_create_fiber(unsigned);
extern "C" void __tsan_destroy_fiber(void *);
extern "C" void __tsan_switch_to_fiber(void *, unsigned);
#endif
#if defined(MONAD_ASYNC_TSAN) && !defined(MONAD_ASYNC_TELLS_TSAN)
    #define MONAD_ASYNC_TSAN_FIBERS 1
    #define MONAD_ASYNC_TSAN_BLIND __attribute__((no_sanitize("thread"), noinline))
    #define MONAD_ASYNC_TSAN_SWITCHES __attribute__((no_sanitize("thread")))
#else
    #define MONAD_ASYNC_TSAN_SWITCHES
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

#if defined(MONAD_ASYNC_TSAN_FIBERS)
inline constexpr int tsan_fibers_max = 7000;
inline int tsan_fibers = 0; // Atomic.

struct tsan_run;

// Whose task runs on this thread.
inline thread_local tsan_run *tsan_running = nullptr;

// On the stack of a task that was launched. No fiber: one too many.
struct tsan_run {
    void *own = nullptr;
    void *const home;
    tsan_run *const outer;

    MONAD_ASYNC_TSAN_BLIND tsan_run() noexcept
        : home(__tsan_get_current_fiber()), outer(tsan_running)
    {
        tsan_running = this;
        if (__atomic_fetch_add(&tsan_fibers, 1, __ATOMIC_RELAXED) < tsan_fibers_max) {
            own = __tsan_create_fiber(0);
            __tsan_switch_to_fiber(own, 0);
        } else {
            __atomic_fetch_sub(&tsan_fibers, 1, __ATOMIC_RELAXED);
        }
    }
    MONAD_ASYNC_TSAN_BLIND ~tsan_run()
    {
        tsan_running = outer;
        if (own != nullptr) {
            __tsan_switch_to_fiber(home, 0);
            __tsan_destroy_fiber(own);
            __atomic_fetch_sub(&tsan_fibers, 1, __ATOMIC_RELAXED);
        }
    }
    tsan_run(tsan_run const &) = delete;
    tsan_run &operator=(tsan_run const &) = delete;
};

// While a task may be suspended.
struct tsan_left {
    tsan_run *const run;

    MONAD_ASYNC_TSAN_BLIND tsan_left() noexcept : run(tsan_running)
    {
        if (run != nullptr) {
            tsan_running = run->outer;
            if (run->own != nullptr) {
                __tsan_switch_to_fiber(run->home, 0);
            }
        }
    }
    MONAD_ASYNC_TSAN_BLIND ~tsan_left()
    {
        if (run != nullptr) {
            tsan_running = run;
            if (run->own != nullptr) {
                __tsan_switch_to_fiber(run->own, 0);
            }
        }
    }
    tsan_left(tsan_left const &) = delete;
    tsan_left &operator=(tsan_left const &) = delete;
};
#endif

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

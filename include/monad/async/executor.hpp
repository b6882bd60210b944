#ifndef MONAD_ASYNC_EXECUTOR_HPP
#define MONAD_ASYNC_EXECUTOR_HPP

/** @file executor.hpp
 *  The executor as a C++ object. */

#include "config.h"
#include "detail/time.hpp"
#include "error.hpp"
#include "executor.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

namespace monad::async_bridge {
struct Executor; // Rust's; never seen through.
}

namespace monad::async {

/** How to make an executor. */
struct executor_options {
    /** Submission entries of its io_uring, rounded up to a power of two. 0: a compute-only executor;
     *  it has timers and takes work from other threads, and I/O fails with `ENOTSUP`. */
    unsigned io_uring_entries = 0;
    /** Completion entries; 0: twice as many as submission entries. */
    unsigned completion_entries = 0;
    /** The descriptor of another ring whose kernel worker threads to share; -1: none. That of an
     *  executor's stands in its `config`. Without a ring of its own: ignored. */
    int share_workers_of = -1;
    /** False: every `ticks` field stays 0, and no time is spent on reading the clock. */
    bool time_tracking = true;
};

namespace detail {

// All that crosses into the library is plain data: no exception, and nothing of std.

// What an executor object holds. `owner` keeps `head` alive.
struct executor_handle {
    monad_async_executor head = nullptr;
    async_bridge::Executor *owner = nullptr;
};

MONAD_ASYNC_API monad_async_result
executor_open(monad_async_executor_attr const *attr, executor_handle *out) noexcept;
// Cancels what is attached, runs it to its end, destroys. Ends the process where that is impossible.
MONAD_ASYNC_API void executor_close(executor_handle handle) noexcept;

// One pass; 0 where the time ran out.
inline std::size_t executor_run(monad_async_executor ex, std::size_t max_items, timespec const *timeout)
{
    auto const r = monad_async_executor_run(ex, max_items, timeout);
    if (r.error != 0) {
        if (r.error == ETIME) {
            return 0;
        }
        fail(r.error, "monad::async::executor::run");
    }
    return static_cast<std::size_t>(r.value);
}

} // namespace detail

/** Runs tasks; belongs to the thread that creates it, which alone may use it, but for what says ANY
 *  THREAD. Movable, but not by its own tasks; tasks and native handles stay valid when it is moved. */
class executor {
public:
    /** As many items as are ready. */
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    /** EXPENSIVE. A compute-only executor. @throws std::system_error as the other constructor */
    executor() : executor(executor_options{}) {}

    /** EXPENSIVE: up to a millisecond. The calling thread owns it.
     *  @param options how to make it
     *  @throws std::system_error `ENOSYS`: the kernel has no io_uring; `EPERM`: a sysctl or a sandbox
     *  forbids it; `ENOMEM`: memory or the memlock limit; `EINVAL`: options that contradict each other;
     *  `EMFILE`, `ENFILE`: no more descriptors; its text says what helps. std::bad_alloc */
    explicit executor(executor_options const &options)
    {
        monad_async_executor_attr attr = {};
        attr.io_uring_ring.entries = options.io_uring_entries;
        if (options.completion_entries != 0) {
            attr.io_uring_ring.params.flags |= IORING_SETUP_CQSIZE;
            attr.io_uring_ring.params.cq_entries = options.completion_entries;
        }
        if (options.share_workers_of >= 0) {
            attr.io_uring_ring.params.flags |= IORING_SETUP_ATTACH_WQ;
            attr.io_uring_ring.params.wq_fd = static_cast<std::uint32_t>(options.share_workers_of);
        }
        if (!options.time_tracking) {
            attr.flags |= MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING;
        }
        auto const r = detail::executor_open(&attr, &handle_);
        if (r.error != 0) {
            detail::fail(r.error, monad_async_last_create_error());
        }
    }

    /** Takes `other`'s place.
     *  @param other may only be destroyed or assigned to afterwards */
    executor(executor &&other) noexcept : handle_(std::exchange(other.handle_, {})) {}

    /** As the destructor, then takes `other`'s place.
     *  @param other may only be destroyed or assigned to afterwards
     *  @return this object */
    executor &operator=(executor &&other) noexcept
    {
        if (this != &other) {
            close();
            handle_ = std::exchange(other.handle_, {});
        }
        return *this;
    }

    /** Cancels all tasks that are attached and runs them until they have exited, so that the
     *  destructors of the objects on their stacks run; again and again, with growing pauses, those
     *  that suspend once more: a task that never ends keeps it from returning. Then gives the ring
     *  back. Ends the process, with a message, on another thread than the owner's and inside one of
     *  its own tasks: nobody could run the tasks then. In a child after `fork` it does nothing. */
    ~executor() { close(); }

    executor(executor const &) = delete;
    executor &operator=(executor const &) = delete;

    /** One bounded pass: waits until something is ready, for ever if need be, then runs what was
     *  ready at that moment, the oldest of the highest priority first.
     *  @param max_items run so many items at most: a launch is one, a resumption is one
     *  @return how many ran; 0 after `wake`
     *  @throws std::system_error `EPERM`: another thread's; `EDEADLK`: inside a task */
    std::size_t run(std::size_t max_items = unlimited)
    {
        return detail::executor_run(handle_.head, max_items, nullptr);
    }

    /** As the other `run`, with a limit to the wait.
     *  @param max_items run so many items at most
     *  @param timeout wait no longer; zero and less: not at all
     *  @return how many ran; 0 also when `timeout` has passed
     *  @throws std::system_error as the other `run` */
    template <class Rep, class Period>
    std::size_t run(std::size_t max_items, std::chrono::duration<Rep, Period> timeout)
    {
        auto const ns = detail::to_ns(timeout);
        if (ns == detail::forever_ns) {
            return run(max_items);
        }
        constexpr std::uint64_t second_ns = 1'000'000'000;
        timespec ts = {};
        ts.tv_sec = static_cast<time_t>(ns / second_ns);
        ts.tv_nsec = static_cast<long>(ns % second_ns);
        return detail::executor_run(handle_.head, max_items, &ts);
    }

    /** Runs until no task is attached, however long they sleep.
     *  @return how many items ran
     *  @throws std::system_error as `run` */
    std::size_t run_until_idle()
    {
        // Throws where it may not be run; elsewhere a look, and nothing runs.
        std::size_t items = run(0);
        while (has_work()) {
            items += run();
        }
        return items;
    }

    /** ANY THREAD. A `run` that sleeps returns; one that does not, or the next one, does not sleep.
     *  The executor must outlive the call: where its thread ends because of the call, have it wait
     *  for the call's return. A system call only if it sleeps.
     *
     *  @snippet thread_pool.cpp stopping a worker
     *  @snippet thread_pool.cpp a worker's thread
     *  @throws std::system_error `EPERM` in a child after `fork` */
    void wake()
    {
        value_or_throw(monad_async_executor_wake(handle_.head), "monad::async::executor::wake");
    }

    /** Whether running it makes sense. OWNER'S THREAD.
     *  @return true while a task is attached */
    [[nodiscard]] bool has_work() const noexcept
    {
        return monad_async_executor_has_work(handle_.head);
    }

    /** What was detected and chosen. OWNER'S THREAD. EXPENSIVE.
     *  @return kernel, ring flags, features in use or degraded and why; text for people */
    [[nodiscard]] std::string config() const
    {
        std::unique_ptr<char, void (*)(char *)> const text(
            monad_async_executor_config_string(handle_.head), [](char *p) { monad_async_free(p); });
        return text ? std::string(text.get()) : std::string();
    }

    /** The handle of the C API, which may be used beside this object but not destroyed. Its counters
     *  and ticks may be read on the owner's thread.
     *  @return null after it was moved from */
    [[nodiscard]] monad_async_executor native_handle() const noexcept { return handle_.head; }

private:
    void close() noexcept
    {
        if (handle_.owner != nullptr) {
            detail::executor_close(std::exchange(handle_, {}));
        }
    }

    detail::executor_handle handle_;
};

} // namespace monad::async

#endif

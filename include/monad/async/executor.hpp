#ifndef MONAD_ASYNC_EXECUTOR_HPP
#define MONAD_ASYNC_EXECUTOR_HPP

/** @file executor.hpp
 *  The executor as a C++ object. */

#include "config.h"
#include "detail/executor_block.hpp"
#include "detail/runtime.hpp"
#include "detail/time.hpp"
#include "error.hpp"
#include "executor.h"
#include "executor_options.hpp"
#include "executor_ref.hpp"
#include "inspect.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// One pass; 0 where the time ran out.
MONAD_ASYNC_LOCAL inline std::size_t executor_run(monad_async_executor ex, std::size_t max_items,
                                                  std::uint64_t wait_ns, int &error)
{
    constexpr std::uint64_t second_ns = 1'000'000'000;
    timespec ts = {};
    ts.tv_sec = static_cast<time_t>(wait_ns / second_ns);
    ts.tv_nsec = static_cast<long>(wait_ns % second_ns);
    auto const *const timeout = wait_ns == forever_ns ? nullptr : &ts;
    auto const r = suspending([&] { return monad_async_executor_run(ex, max_items, timeout); });
    error = r.error == ETIME ? 0 : r.error;
    return r.error == 0 ? static_cast<std::size_t>(r.value) : 0;
}

// As `executor_run`, one of many passes.
MONAD_ASYNC_LOCAL inline std::size_t executor_run_again(monad_async_executor ex,
                                                        std::uint64_t wait_ns, int &error)
{
    error = 0;
    auto const items = suspending([&] { return executor_run_on(ex, wait_ns, error); });
    error = error == ETIME ? 0 : error;
    return items;
}

} // namespace detail
/** @endcond */

/** Runs tasks; belongs to the thread that creates it, which alone may use it, except where ANY
 *  THREAD is said. Movable, but not by its own tasks; tasks and native handles stay valid when it
 *  is moved.
 *
 *  A program whose parts have a C++ runtime each (a plugin linked with `-static-libstdc++`)
 *  suspends its tasks by this API, not by the C API: only so are the exceptions of each part kept
 *  apart.
 *  @see executor.h, executor_options.hpp, executor_ref.hpp */
class executor {
public:
    /** As many items as are ready. */
    static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

    /** EXPENSIVE. With the default options: a ring of 256 entries.
     *  @throws std::system_error as the other constructor */
    executor() : executor(executor_options{}) {}

    /** EXPENSIVE: up to a millisecond. The calling thread owns it.
     *  @param options how to make it
     *  @throws std::system_error `ENOSYS`: the kernel has no io_uring; `EPERM`: a sysctl or a
     *  sandbox forbids it (`executor_options::compute_only` needs none); `ENOMEM`: memory or the
     *  memlock limit; `EINVAL`: options that contradict each other; `EOPNOTSUPP`: one that the
     *  kernel lacks; `EMFILE`, `ENFILE`: no more descriptors; its text says what helps
     *  @throws std::bad_alloc */
    explicit executor(executor_options const &options)
    {
        monad_async_executor_attr attr = {};
        detail::fill(attr, options);
        auto block = std::make_unique<detail::executor_block>();
        block->set_functions(options.on_unobserved, options.on_exception);
        block->stack_size = options.stack_size;
        auto const r = detail::executor_open(&attr, block.get());
        detail::check_created(r.error);
        block_ = block.release();
        char name[MONAD_ASYNC_NAME_BYTES + 1] = {};
        std::copy_n(options.name.data(),
                    std::min(options.name.size(), std::size_t{MONAD_ASYNC_NAME_BYTES}), name);
        static_cast<void>(monad_async_executor_set_name(native_handle(), name));
    }

    /** Takes `other`'s place.
     *  @param other may only be destroyed or assigned to afterwards */
    executor(executor &&other) noexcept : block_(std::exchange(other.block_, nullptr)) {}

    /** As the destructor, then takes `other`'s place.
     *  @param other may only be destroyed or assigned to afterwards
     *  @return this object */
    executor &operator=(executor &&other) noexcept
    {
        if (this != &other) {
            close();
            block_ = std::exchange(other.block_, nullptr);
        }
        return *this;
    }

    /** Cancels all tasks that are attached, once, and runs them until they have exited, so that the
     *  destructors of the objects on their stacks run. A body that has to suspend for its clean-up
     *  does so in a `shield`; it may use this executor as before, launch tasks on it included,
     *  which are cancelled once the others have exited. Other threads launch none by references:
     *  `ESHUTDOWN`. After 5 s one line on standard error names a task that does not end, or says
     *  that more are launched. Then gives the ring back.
     *
     *  Inside a task of another executor of the same thread it suspends that task again and again.
     *
     *  Ends the process, with a message, on another thread than the owner's and inside one of its
     *  own tasks: nobody could run the tasks then. But where that happens because the process exits
     *  (`exit` in a task, or on another thread, destroys a static executor), and in a child after
     *  `fork`, it does nothing. */
    ~executor() { close(); }

    executor(executor const &) = delete;
    executor &operator=(executor const &) = delete;

    /** One bounded pass: waits until something is ready, for ever if need be, then runs what was
     *  ready at that moment, the oldest of the highest priority first.
     *  @param max_items run so many items at most: a launch is one, a resumption is one
     *  @return how many ran; 0 after `wake`
     *  @throws std::system_error `EPERM`: another thread's; `EDEADLK`: inside a task; `EINVAL`:
     *  moved from */
    std::size_t run(std::size_t max_items = unlimited)
    {
        return pass(max_items, detail::forever_ns, "monad::async::executor::run");
    }

    /** As the other `run`.
     *  @param[out] ec the error
     *  @return how many ran */
    std::size_t run(std::error_code &ec) noexcept { return run(unlimited, ec); }

    /** As the other `run`.
     *  @param max_items run so many items at most
     *  @param[out] ec the error
     *  @return how many ran */
    std::size_t run(std::size_t max_items, std::error_code &ec) noexcept
    {
        return pass(max_items, detail::forever_ns, ec);
    }

    /** As the other `run`, with a limit to the wait.
     *  @param max_items run so many items at most
     *  @param timeout wait no longer; zero and less: not at all
     *  @return how many ran; 0 also when `timeout` has passed
     *  @throws std::system_error as the other `run` */
    template <class Rep, class Period>
    std::size_t run(std::size_t max_items, std::chrono::duration<Rep, Period> timeout)
    {
        return pass(max_items, detail::to_ns(timeout), "monad::async::executor::run");
    }

    /** As the other `run`, with a limit to the wait.
     *  @param max_items run so many items at most
     *  @param timeout wait no longer
     *  @param[out] ec the error
     *  @return how many ran */
    template <class Rep, class Period>
    std::size_t run(std::size_t max_items, std::chrono::duration<Rep, Period> timeout,
                    std::error_code &ec) noexcept
    {
        return pass(max_items, detail::to_ns(timeout), ec);
    }

    /** One pass that does not wait.
     *  @return how many items ran
     *  @throws std::system_error as `run` */
    std::size_t poll() { return pass(unlimited, 0, "monad::async::executor::poll"); }

    /** As the other `poll`.
     *  @param[out] ec the error
     *  @return how many items ran */
    std::size_t poll(std::error_code &ec) noexcept { return pass(unlimited, 0, ec); }

    /** Runs what is ready, and becomes ready, until the time is over or it is told to `stop`; one
     *  pass at least, without time tracking of up to 32 items that become ready. Neither a `wake`
     *  ends it, nor that no task is attached.
     *  @param time how long, by a clock that goes on while the machine sleeps
     *  @return how many items ran
     *  @throws std::system_error as `run` */
    template <class Rep, class Period> std::size_t run_for(std::chrono::duration<Rep, Period> time)
    {
        std::error_code ec;
        auto const items = run_for(time, ec);
        detail::check(ec.value(), "monad::async::executor::run_for");
        return items;
    }

    /** As the other `run_for`.
     *  @param time how long
     *  @param[out] ec the error
     *  @return how many items ran */
    template <class Rep, class Period>
    std::size_t run_for(std::chrono::duration<Rep, Period> time, std::error_code &ec) noexcept
    {
        auto const time_ns = detail::to_ns(time);
        auto const begun_ns = monad_async_now_ns();
        return run_while(ec, [=] {
            auto const over_ns = monad_async_now_ns() - begun_ns;
            return time_ns == detail::forever_ns ? time_ns : time_ns - std::min(time_ns, over_ns);
        });
    }

    /** As `run_for`, until a clock shows a time or later.
     *  @param time of any clock that has `now()`
     *  @return how many items ran
     *  @throws std::system_error as `run` */
    template <class Clock, class Duration>
    std::size_t run_until(std::chrono::time_point<Clock, Duration> time)
    {
        std::error_code ec;
        auto const items = run_until(time, ec);
        detail::check(ec.value(), "monad::async::executor::run_until");
        return items;
    }

    /** As the other `run_until`.
     *  @param time of any clock that has `now()`
     *  @param[out] ec the error
     *  @return how many items ran */
    template <class Clock, class Duration>
    std::size_t run_until(std::chrono::time_point<Clock, Duration> time,
                          std::error_code &ec) noexcept
    {
        return run_while(ec, [&] { return detail::ns_between(Clock::now(), time); });
    }

    /** Runs until no task is attached, however long they sleep.
     *  @return how many items ran
     *  @throws std::system_error as `run` */
    std::size_t run_until_idle()
    {
        std::error_code ec;
        auto const items = run_until_idle(ec);
        detail::check(ec.value(), "monad::async::executor::run_until_idle");
        return items;
    }

    /** As the other `run_until_idle`.
     *  @param[out] ec the error
     *  @return how many items ran */
    std::size_t run_until_idle(std::error_code &ec) noexcept
    {
        // Refused where it may not be run; elsewhere a look, and nothing runs.
        std::size_t items = run(0, ec);
        while (!ec && has_work()) {
            items += again(detail::forever_ns, ec);
        }
        return items;
    }

    /** Runs until it is told to `stop`, whether tasks are attached or not: what a thread does that
     *  serves others.
     *  @return how many items ran
     *  @throws std::system_error as `run` */
    std::size_t run_until_stopped()
    {
        std::error_code ec;
        auto const items = run_until_stopped(ec);
        detail::check(ec.value(), "monad::async::executor::run_until_stopped");
        return items;
    }

    /** As the other `run_until_stopped`.
     *  @param[out] ec the error
     *  @return how many items ran */
    std::size_t run_until_stopped(std::error_code &ec) noexcept
    {
        return run_while(ec, [] { return detail::forever_ns; });
    }

    /** ANY THREAD. Ends the `run_until_stopped`, `run_for` or `run_until` that is under way after
     *  its present pass, or the next one before it begins. The executor must outlive the call;
     *  where its thread may end because of it, an `executor_ref` says it better. */
    void stop() noexcept
    {
        if (block_ != nullptr) {
            (void)block_->ask_to_stop();
        }
    }

    /** ANY THREAD. A `run` that sleeps returns; one that does not, or the next one, does not sleep.
     *  The executor must outlive the call; `executor_ref` has one without that condition. A system
     *  call only if it sleeps.
     *
     *  @throws std::system_error `EPERM` in a child after `fork`; `EINVAL`: moved from */
    void wake()
    {
        detail::check(monad_async_executor_wake(native_handle()).error,
                      "monad::async::executor::wake");
    }

    /** As the other `wake`.
     *  @param[out] ec the error */
    void wake(std::error_code &ec) noexcept
    {
        detail::report(monad_async_executor_wake(native_handle()).error, ec);
    }

    /** A reference for others to keep. ANY THREAD, while the executor lives. An atomic addition.
     *
     *  @snippet workers.cpp stopping a worker
     *  @snippet workers.cpp a worker's thread
     *  @return refers to none if this object was moved from */
    [[nodiscard]] executor_ref ref() const noexcept
    {
        if (block_ != nullptr) {
            block_->use();
        }
        return executor_ref(block_);
    }

    /** Runs `body` in the background: by a task that the executor owns until it has ended, and
     *  keeps for the next. ANY THREAD. An exception that leaves it goes to
     *  `executor_options::on_exception`. The destructor cancels it and runs it to its end. To call
     *  it takes future.hpp.
     *
     *  No malloc once so many have been spawned and have ended, where the callable has at most 64
     *  bytes.
     *  @param body any callable; what it returns is dropped
     *  @throws std::system_error `ENOMEM`; `EPERM` in a child after `fork`. std::bad_alloc */
    template <class F> void spawn(F &&body) const;

    /** As the other `spawn`.
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void spawn(F &&body, std::error_code &ec) const noexcept(detail::moves_twice_without_throw<F>);

    /** As `spawn`, with an object for its result. ANY THREAD. To call it takes future.hpp.
     *  @param body any callable
     *  @return for what it returns or throws
     *  @throws as `spawn` */
    template <class F>
    [[nodiscard]] future<std::invoke_result_t<std::decay_t<F>>> submit(F &&body) const;

    /** As the other `submit`.
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too
     *  @return for what it returns or throws; of nothing with an error */
    template <class F>
    [[nodiscard]] future<std::invoke_result_t<std::decay_t<F>>> submit(F &&body,
                                                                       std::error_code &ec) const
        noexcept(detail::moves_twice_without_throw<F>);

    /** Gives back the tasks that are kept for the next `spawn`, `submit` or child of a group, with
     *  all that their stacks have come to hold: after a burst, or calls that once went deep. The
     *  process keeps 64 MiB of stacks for the next tasks. OWNER'S THREAD, also in a
     *  task. Does not suspend. EXPENSIVE: a few system calls for each. */
    void trim() noexcept
    {
        if (block_ != nullptr) {
            block_->forget_spawned();
        }
    }

    /** Whether running it makes sense. OWNER'S THREAD.
     *  @return true while a task is attached */
    [[nodiscard]] bool has_work() const noexcept
    {
        return monad_async_executor_has_work(native_handle());
    }

    /** What was detected and chosen. OWNER'S THREAD. EXPENSIVE.
     *  @return kernel, ring flags, features in use or degraded and why; text for people; empty
     *  without memory, and on another thread */
    [[nodiscard]] std::string config() const
    {
        std::unique_ptr<char, void (*)(char *)> const text(
            monad_async_executor_config_string(native_handle()),
            [](char *p) { monad_async_free(p); });
        return text ? std::string(text.get()) : std::string();
    }

    /** The descriptor of its ring, for `share_workers_of` and `IORING_REGISTER_*`. OWNER'S THREAD.
     *  @return -1 without a ring */
    [[nodiscard]] int ring_fd() const noexcept
    {
        return monad_async_executor_ring_fd(native_handle());
    }

    /** A descriptor for a foreign event loop: readable whenever `poll()` has something to do. See
     *  `monad_async_executor_poll_fd`. OWNER'S THREAD.
     *  @return the executor's, not to be read or closed
     *  @throws std::system_error `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor */
    [[nodiscard]] int poll_fd() const
    {
        return static_cast<int>(value_or_throw(monad_async_executor_poll_fd(native_handle()),
                                               "monad::async::executor::poll_fd"));
    }

    /** As the other `poll_fd`.
     *  @param[out] ec the error
     *  @return -1 with an error */
    [[nodiscard]] int poll_fd(std::error_code &ec) const noexcept
    {
        return static_cast<int>(detail::report(monad_async_executor_poll_fd(native_handle()), ec));
    }

    /** The handle of the C API, which may be used together with this object but not destroyed. Its
     *  counters and ticks may be read on the owner's thread.
     *  @return null after it was moved from */
    [[nodiscard]] monad_async_executor native_handle() const noexcept
    {
        return block_ != nullptr ? block_->head : nullptr;
    }

    /** @cond no API */
    [[nodiscard]] detail::executor_block *block() const noexcept { return block_; }
    /** @endcond */

private:
    std::size_t pass(std::size_t max_items, std::uint64_t wait_ns, char const *what)
    {
        int error = 0;
        auto const items = detail::executor_run(native_handle(), max_items, wait_ns, error);
        detail::check(error, what);
        return items;
    }

    std::size_t pass(std::size_t max_items, std::uint64_t wait_ns, std::error_code &ec) noexcept
    {
        int error = 0;
        auto const items = detail::executor_run(native_handle(), max_items, wait_ns, error);
        detail::report(error, ec);
        return items;
    }

    // A pass of a loop.
    std::size_t again(std::uint64_t wait_ns, std::error_code &ec) noexcept
    {
        int error = 0;
        auto const items = detail::executor_run_again(native_handle(), wait_ns, error);
        detail::report(error, ec);
        return items;
    }

    // Passes until `left_ns` says 0, or `stop`.
    template <class Left> std::size_t run_while(std::error_code &ec, Left left_ns) noexcept
    {
        std::size_t items = run(0, ec);
        for (auto wait_ns = left_ns(); !ec && !block_->is_to_stop();) {
            items += again(wait_ns, ec);
            if (wait_ns == 0 || (wait_ns = left_ns()) == 0) {
                break;
            }
        }
        return items;
    }

    void close() noexcept
    {
        // Whole until the last task has exited: they may look at it.
        auto const end = [this] { return detail::executor_close(block_); };
        if (block_ != nullptr && detail::suspending(end)) {
            block_->forget_spawned();
            std::exchange(block_, nullptr)->leave_kept();
        }
    }

    detail::executor_block *block_ = nullptr;
};

} // namespace v0
} // namespace monad::async

#endif

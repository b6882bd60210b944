#ifndef MONAD_ASYNC_TASK_HPP
#define MONAD_ASYNC_TASK_HPP

/** @file task.hpp
 *  The task as a C++ object. */

#include "config.h"
#include "detail/launch.hpp"
#include "detail/runtime.hpp"
#include "detail/task_state.hpp"
#include "detail/time.hpp"
#include "detail/trampoline.hpp"
#include "error.hpp"
#include "executor.hpp"
#include "executor_ref.hpp"
#include "inspect.h"
#include "priority.hpp"
#include "task.h"
#include "this_task.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

/** @cond no API */
#if defined(__cpp_concepts) && __cpp_concepts >= 201907L && __has_include(<concepts>)
    #include <concepts>
    #define MONAD_ASYNC_HAS_CONCEPTS 1
#else
    #define MONAD_ASYNC_HAS_CONCEPTS 0
#endif
/** @endcond */

namespace monad::async {
inline namespace v0 {

/** How to make a task.
 *  @see monad_async_task_create() */
struct task_options {
    /** Bytes of stack that the body may use; 0: the default, 128 KiB. */
    std::size_t stack_size = 0;
    /** Decides what runs next. */
    async::priority priority = async::priority::normal;
    /** Decides who gets the next free submission entry; goes to the kernel with reads and
     *  writes. */
    async::priority io_priority = async::priority::normal;
    /** For messages; `MONAD_ASYNC_NAME_BYTES` of it are kept. */
    std::string_view name = {};
};

#if MONAD_ASYNC_HAS_CONCEPTS
/** What a body may return: nothing, or an integer of up to 64 bits.
 *  @see task.h */
template <class T>
concept task_result = std::is_void_v<T> || (std::integral<T> && detail::is_result<T>());

/** What a task can run: can be moved into it, has a destructor that does not throw, is called
 *  without arguments, and returns nothing or an integer. What else is given to `task::attach` does
 *  not compile, with one message that says why.
 *  @see task.h */
template <class F>
concept task_body =
    std::constructible_from<std::decay_t<F>, F> && std::invocable<std::decay_t<F>> &&
    task_result<std::invoke_result_t<std::decay_t<F>>>;

#endif

/** A function with a stack of its own, that an executor runs. Reusable: attach it again when it is
 *  done. Movable, while it runs too; the task underneath never moves. One thread at a time may use
 *  the object, except where ANY THREAD is said; `join` and `wait` use it until they wait.
 *
 *  @include hello.cpp
 *  @see task.h, future.hpp, group.hpp */
class task {
public:
    /** EXPENSIVE: a stack, and one malloc. Any thread.
     *  @param options how to make it
     *  @throws std::bad_alloc
     *  @throws std::system_error `ENOMEM`; `EINVAL`: an absurd stack size, no such priority */
    explicit task(task_options const &options = {})
    {
        auto state = std::make_unique<detail::task_state>();
        monad_async_task_attr attr = {};
        attr.stack_size = options.stack_size;
        detail::check(detail::task_open(&attr, state.get()).error, "monad::async::task");
        state->set_name(options.name);
        char const *const name = state->label.name;
        state_ = state.release();
        std::error_code ec;
        priority(options.priority, options.io_priority, ec);
        if (!ec && name[0] != 0) {
            ec = std::error_code(monad_async_task_set_name(native_handle(), name).error,
                                 std::system_category());
        }
        if (ec) {
            close();
            detail::fail(ec.value(), "monad::async::task");
        }
    }

    /** Takes `other`'s place.
     *  @param other may only be destroyed or assigned to afterwards */
    task(task &&other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

    /** As the destructor, then takes `other`'s place.
     *  @param other may only be destroyed or assigned to afterwards
     *  @return this object */
    task &operator=(task &&other) noexcept
    {
        if (this != &other) {
            close();
            state_ = std::exchange(other.state_, nullptr);
        }
        return *this;
    }

    /** Still attached, the task is cancelled, once, and the destructor returns when it has exited,
     *  the objects on its stack destroyed. A body that has to suspend for its clean-up does so in a
     *  `shield`. Until then the object is whole: the body may use it. The destructor waits
     *  - on its executor's thread, by running the executor, so other tasks run in that time;
     *  - inside another task, by suspending that one, shielded;
     *  - on another thread, by blocking until the executor's thread has run it to its end: the
     *    executor must outlive the call, also where the task ends in that time.
     *
     *  After 5 s one line on standard error names the task. Inside the very task it would destroy
     *  it ends the process, with a message. Where the process exits (`exit` in a task, or on
     *  another thread, destroys a static task), and in a child after `fork`, it does nothing to a
     *  task that is attached. */
    ~task() { close(); }

    task(task const &) = delete;
    task &operator=(task const &) = delete;

    /** Has `ex` run `body`, which is moved into the task and destroyed when it returns. From any
     *  thread, one at a time.
     *
     *  The body may return nothing or an integer, or throw: see `get`. No malloc where the callable
     *  has at most 64 bytes and no stricter an alignment than `std::max_align_t`, or is no larger
     *  than one that this task ran before. On the executor's own thread no lock and no atomic
     *  read-modify-write either, unless the executor wants to know of unobserved exceptions.
     *  @param ex the executor, which must outlive the call
     *  @param body any callable
     *  @throws std::system_error with nothing changed: `EBUSY`: it is attached; `EINVAL`: `ex` or
     *  this object was moved from
     *  @throws std::bad_alloc and what moving the callable throws; then the task is idle, and what
     *  its last run threw is gone */
    template <class F> void attach(executor const &ex, F &&body)
    {
        attached(detail::launch(state_, ex.block(), ex.native_handle(), std::forward<F>(body)));
    }

    /** As the other `attach`.
     *  @param ex the executor
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void attach(executor const &ex, F &&body,
                std::error_code &ec) noexcept(detail::moves_without_throw<F>)
    {
        attached(detail::launch(state_, ex.block(), ex.native_handle(), std::forward<F>(body)), ec);
    }

    /** As the other `attach`, to an executor that may be gone.
     *  @param ex the executor
     *  @param body any callable
     *  @throws std::system_error as the other `attach`; `ESHUTDOWN`: the executor is gone, or
     *  ends and this is another thread */
    template <class F> void attach(executor_ref const &ex, F &&body)
    {
        attached(detail::launch(state_, ex.block(), ex.native_handle(), std::forward<F>(body)));
    }

    /** As the other `attach`.
     *  @param ex the executor
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void attach(executor_ref const &ex, F &&body,
                std::error_code &ec) noexcept(detail::moves_without_throw<F>)
    {
        attached(detail::launch(state_, ex.block(), ex.native_handle(), std::forward<F>(body)), ec);
    }

    /** As the other `attach`, to an executor of the C API.
     *  @param ex the executor, which must outlive the call
     *  @param body any callable
     *  @throws std::system_error as the other `attach` */
    template <class F> void attach(monad_async_executor ex, F &&body)
    {
        attached(detail::launch(state_, nullptr, ex, std::forward<F>(body)));
    }

    /** As the other `attach`.
     *  @param ex the executor
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void attach(monad_async_executor ex, F &&body,
                std::error_code &ec) noexcept(detail::moves_without_throw<F>)
    {
        attached(detail::launch(state_, nullptr, ex, std::forward<F>(body)), ec);
    }

    /** Asks whether it may be launched. ANY THREAD.
     *  @return true when no run of it is under way: its last one is over, or there was none; then
     *  `get` may be called, and `attach` */
    [[nodiscard]] bool done() const noexcept { return state_ == nullptr || !state_->is_attached(); }

    /** Asks whether its body has begun. ANY THREAD.
     *  @return true once the body of the last `attach` has begun; false still, when it is done: it
     *  was cancelled before it began */
    [[nodiscard]] bool started() const noexcept
    {
        return state_ != nullptr && __atomic_load_n(&state_->begun, __ATOMIC_RELAXED);
    }

    /** How the last run ended; may be asked again until the next `attach`.
     *
     *  @snippet exceptions.cpp get rethrows
     *  @return what the body returned, 0 if nothing
     *  @throws what the body threw
     *  @throws cancelled_error it was cancelled before it began
     *  @throws std::system_error `EBUSY`: not done; `EINVAL`: it was never attached; the errno of a
     *  run through the C API that failed */
    std::intptr_t get() const
    {
        constexpr char const *what = "monad::async::task::get";
        int const error = not_ended();
        detail::check(error, error == EBUSY
                                 ? "monad::async::task::get (it has not exited: run its executor)"
                                 : what);
        return state_->outcome(state_->head->result, what);
    }

    /** As the other `get`.
     *  @param[out] ec the error; of what the body threw: its errno, `ENOMEM` for a
     *  `std::bad_alloc`, `ENOTRECOVERABLE` for what has none
     *  @return what the body returned; -1 with an error */
    std::intptr_t get(std::error_code &ec) const noexcept
    {
        int const error = not_ended();
        return error == 0 ? state_->outcome(state_->head->result, ec)
                          : detail::report(monad_async_make_failure(error), ec);
    }

    /** SUSPENDS the calling task until this one, on the same executor or on another, is done. The
     *  object may be moved or destroyed in that time, on the caller's thread.
     *  @return as `get`, of the run that was under way, or was the last
     *  @throws as `get`; cancelled_error, timeout_error: the calling task was, or a scope around
     *  the call; std::system_error `EPERM`: not inside a task; `EDEADLK`: inside this one, or one
     *  that this one joins, as `monad_async_task_join` says; `ESRCH`: another thread has launched
     *  the task again before the join reached the executor, and the outcome that was meant is gone.
     *  Where a later run has begun before the caller runs again, what was thrown is its errno
     *  alone, as a std::system_error */
    MONAD_ASYNC_LOCAL std::intptr_t join() const
    {
        return detail::await_or_throw(state_, detail::joining(), "monad::async::task::join");
    }

    /** As the other `join`.
     *  @param[out] ec the error; as that of `get`
     *  @return what the body returned; -1 with an error */
    MONAD_ASYNC_LOCAL std::intptr_t join(std::error_code &ec) const noexcept
    {
        return detail::await_or_report(state_, detail::joining(), ec);
    }

    /** Blocks the calling thread until the task is done. ANY THREAD, outside tasks, but not the
     *  executor's own. EXPENSIVE: allocates.
     *  @return as `get`, of the run that was under way, or was the last
     *  @throws as `get`; std::system_error `EDEADLK`: inside a task, or on the executor's thread,
     *  where nobody would run it; `ESRCH`: as `join`; `ENOMEM` */
    std::intptr_t wait() const
    {
        return detail::await_or_throw(state_, detail::blocking(detail::forever_ns),
                                      "monad::async::task::wait");
    }

    /** As the other `wait`.
     *  @param[out] ec the error; as that of `get`
     *  @return what the body returned; -1 with an error */
    std::intptr_t wait(std::error_code &ec) const noexcept
    {
        return detail::await_or_report(state_, detail::blocking(detail::forever_ns), ec);
    }

    /** As `wait`, for a while.
     *  @param time how long at most
     *  @return as `wait`
     *  @throws as `wait`; timeout_error: it was not done by then */
    template <class Rep, class Period>
    std::intptr_t wait_for(std::chrono::duration<Rep, Period> time) const
    {
        return detail::await_or_throw(state_, detail::blocking(detail::to_ns(time)),
                                      "monad::async::task::wait_for");
    }

    /** As the other `wait_for`.
     *  @param time how long at most
     *  @param[out] ec the error; `ETIME`: it was not done by then
     *  @return what the body returned; -1 with an error */
    template <class Rep, class Period>
    std::intptr_t wait_for(std::chrono::duration<Rep, Period> time,
                           std::error_code &ec) const noexcept
    {
        return detail::await_or_report(state_, detail::blocking(detail::to_ns(time)), ec);
    }

    /** ANY THREAD; no malloc. A launch that has not begun never does. Else the cancel is sticky:
     *  the call that the body is suspended in throws `cancelled_error`, or returns its real result
     *  if that was there first, and every later one throws, outside a `shield`.
     *
     *  @snippet exceptions.cpp cancelling
     *  @return false: it was not attached
     *  @throws std::system_error `EINVAL`: this object was moved from; `EPERM` in a child after
     *  `fork` */
    bool cancel()
    {
        std::error_code ec;
        bool const asked = cancel(ec);
        detail::check(ec.value(), "monad::async::task::cancel");
        return asked;
    }

    /** As the other `cancel`.
     *  @param[out] ec the error
     *  @return false: it was not attached, or an error */
    bool cancel(std::error_code &ec) noexcept
    {
        int const error = monad_async_task_cancel(nullptr, native_handle()).error;
        detail::report(error == ENOENT ? 0 : error, ec);
        return error == 0;
    }

    /** Ends the body's `this_task::park`, the present or the next one. ANY THREAD. No malloc; a
     *  system call only if its executor sleeps. What was written before is visible to the body
     *  then.
     *  @throws std::system_error `EINVAL`: this object was moved from */
    void unpark()
    {
        detail::check(monad_async_task_unpark(native_handle()).error, "monad::async::task::unpark");
    }

    /** As the other `unpark`.
     *  @param[out] ec the error */
    void unpark(std::error_code &ec) noexcept
    {
        detail::report(monad_async_task_unpark(native_handle()).error, ec);
    }

    /** Sets the CPU priority; takes effect at the next scheduling decision. On the executor's
     *  thread while attached.
     *  @param cpu decides what runs next
     *  @throws std::system_error `EPERM`: another thread; `EINVAL`: no such level, or moved from */
    void priority(async::priority cpu)
    {
        auto const &own = checked("monad::async::task::priority").head->priority;
        priority(cpu, async::priority{own.io});
    }

    /** Sets both priorities.
     *  @param cpu decides what runs next
     *  @param io decides who gets the next free submission entry; for operations that begin
     *  afterwards
     *  @throws std::system_error `EPERM`: attached, and another thread; `EINVAL`: no such level, or
     *  moved from */
    void priority(async::priority cpu, async::priority io)
    {
        std::error_code ec;
        priority(cpu, io, ec);
        detail::check(ec.value(), "monad::async::task::priority");
    }

    /** As the other `priority`.
     *  @param cpu decides what runs next
     *  @param io decides who gets the next free submission entry
     *  @param[out] ec the error */
    void priority(async::priority cpu, async::priority io, std::error_code &ec) noexcept
    {
        auto const r =
            monad_async_task_set_priorities(native_handle(), static_cast<monad_async_priority>(cpu),
                                            static_cast<monad_async_priority>(io));
        detail::report(r.error, ec);
    }

    /** On the executor's thread while attached.
     *  @return the CPU priority
     *  @throws std::system_error `EINVAL`: this object was moved from */
    [[nodiscard]] async::priority cpu_priority() const
    {
        return async::priority{checked("monad::async::task::cpu_priority").head->priority.cpu};
    }

    /** On the executor's thread while attached.
     *  @return the I/O priority
     *  @throws std::system_error `EINVAL`: this object was moved from */
    [[nodiscard]] async::priority io_priority() const
    {
        return async::priority{checked("monad::async::task::io_priority").head->priority.io};
    }

    /** Its name. ANY THREAD.
     *  @return of its options; empty after it was moved from */
    [[nodiscard]] std::string_view name() const noexcept
    {
        return state_ != nullptr ? std::string_view(state_->label.name) : std::string_view();
    }

    /** The handle of the C API, which may be used together with this object but not destroyed.
     *  While the task is idle it may be given other code and attached with the C API; `done`,
     *  `get`, `join` and `cancel` then speak of that run.
     *  @return null after it was moved from */
    [[nodiscard]] monad_async_task native_handle() const noexcept
    {
        return state_ != nullptr ? state_->head : nullptr;
    }

private:
    detail::task_state &checked(char const *what) const
    {
        detail::check(state_ == nullptr ? EINVAL : 0, what); // Moved from.
        return *state_;
    }

    // Why there is no outcome, or 0.
    [[nodiscard]] int not_ended() const noexcept
    {
        if (state_ == nullptr) {
            return EINVAL;
        }
        if (state_->has_exited()) {
            return 0;
        }
        return state_->is_attached() ? EBUSY : EINVAL;
    }

    static void attached(int error)
    {
        if (error == detail::no_room) {
            throw std::bad_alloc();
        }
        if (error != 0) {
            detail::fail(error, error == EBUSY ? "monad::async::task::attach (it has not exited)"
                                               : "monad::async::task::attach");
        }
    }

    static void attached(int error, std::error_code &ec) noexcept
    {
        detail::report(error == detail::no_room ? ENOMEM : error, ec);
    }

    void close() noexcept
    {
        // Whole until the body has returned: it may look at it.
        auto const end = [this] { return detail::task_close(state_); };
        if (state_ != nullptr && detail::suspending(end)) {
            auto *const state = std::exchange(state_, nullptr);
            detail::tsan_acquire(state->head);
            state->leave();
        }
    }

    detail::task_state *state_ = nullptr;
};

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_TASK_HPP
#define MONAD_ASYNC_TASK_HPP

/** @file task.hpp
 *  The task as a C++ object. */

#include "config.h"
#include "detail/task_state.hpp"
#include "detail/trampoline.hpp"
#include "error.hpp"
#include "executor.hpp"
#include "priority.hpp"
#include "task.h"
#include "this_task.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
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

/** How to make a task. */
struct task_options {
    /** Bytes of stack that the body may use; 0: the default, 128 KiB. */
    std::size_t stack_size = 0;
};

#if MONAD_ASYNC_HAS_CONCEPTS
/** What a body may return: nothing, or an integer of up to 64 bits. */
template <class T>
concept task_result = std::is_void_v<T> || (std::integral<T> && detail::is_result<T>());

/** What a task can run: can be moved into it, has a destructor that does not throw, is called without
 *  arguments, and returns nothing or an integer. */
template <class F>
concept task_body = std::constructible_from<std::decay_t<F>, F> && std::invocable<std::decay_t<F>> &&
                    task_result<std::invoke_result_t<std::decay_t<F>>>;

#endif

/** @cond no API */
#if MONAD_ASYNC_HAS_CONCEPTS
    #define MONAD_ASYNC_TASK_BODY ::monad::async::task_body
#else
    #define MONAD_ASYNC_TASK_BODY class
#endif
/** @endcond */

/** A function with a stack of its own, that an executor runs. Reusable: attach it again when it is
 *  done. Movable, while it runs too; the task underneath never moves. One thread at a time may use
 *  the object, but for what says ANY THREAD; `join` uses it until it suspends.
 *
 *  @include hello.cpp */
class task {
public:
    /** EXPENSIVE: a stack, and one malloc. Any thread.
     *  @param options how to make it
     *  @throws std::bad_alloc, std::system_error `ENOMEM`; `EINVAL`: an absurd stack size */
    explicit task(task_options const &options = {})
    {
        auto state = std::make_unique<detail::task_state>();
        monad_async_task_attr attr = {};
        attr.stack_size = options.stack_size;
        value_or_throw(detail::task_open(&attr, state.get()), "monad::async::task");
        state_ = state.release();
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

    /** Still attached, the task is cancelled, again and again with growing pauses if its body
     *  suspends once more, and the destructor returns when it has exited, the objects on its stack
     *  destroyed:
     *  - on its executor's thread, by running the executor, so other tasks run meanwhile;
     *  - inside another task, by suspending that one; if that is a task of another executor on the same
     *    thread, somebody must run this one's for the destructor to return;
     *  - on another thread, by waiting for the executor's thread to run it: the executor must outlive
     *    the call, also where the task ends meanwhile.
     *
     *  A body that never ends keeps it from returning. Inside the very task it would destroy it ends
     *  the process, with a message. */
    ~task() { close(); }

    task(task const &) = delete;
    task &operator=(task const &) = delete;

    /** Has `ex` run `body`, which is moved into the task and destroyed when it returns. From any thread,
     *  one at a time.
     *
     *  The body may return nothing or an integer, or throw: see `get`. No malloc where the callable
     *  has at most 64 bytes and no stricter an alignment than `std::max_align_t`, or is no larger than
     *  one that this task ran before. On the executor's
     *  own thread: no lock, no atomic read-modify-write, no system call. From another thread:
     *  lock-free; a system call only if the executor sleeps. The executor must outlive the call.
     *
     *  A launch that is cancelled before it begins never calls the body; it is destroyed with the
     *  task, or by the next `attach`.
     *  @param ex the executor
     *  @param body any callable
     *  @throws std::system_error with nothing changed: `EBUSY`: it is attached; `EINVAL`: `ex` or this
     *  object was moved from
     *  @throws std::bad_alloc and what moving the callable throws; then the task is idle, and what its
     *  last run threw is gone */
    template <MONAD_ASYNC_TASK_BODY F>
    void attach(executor const &ex, F &&body)
    {
        attach(ex.native_handle(), std::forward<F>(body));
    }

    /** As the other `attach`, to an executor of the C API.
     *  @param ex the executor
     *  @param body any callable */
    template <MONAD_ASYNC_TASK_BODY F>
    void attach(monad_async_executor ex, F &&body)
    {
        using body_type = std::decay_t<F>;
        static_assert(std::is_constructible_v<body_type, F>,
            "a task's body is moved in: pass an rvalue, or something that can be copied");
        static_assert(std::is_nothrow_destructible_v<body_type>,
            "a task's body is destroyed where nobody could catch what its destructor throws");
        static_assert(std::is_invocable_v<body_type>, "a task's body is called without arguments");
        if constexpr (std::is_invocable_v<body_type>) {
            static_assert(detail::is_result<std::invoke_result_t<body_type>>(),
                "a task's body returns nothing or an integer");
        }
        auto &state = checked("monad::async::task::attach");
        if (state.is_attached() || ex == nullptr) {
            detail::fail(ex != nullptr ? EBUSY : EINVAL, "monad::async::task::attach");
        }
        state.clear();
        state.prepare<body_type>();
        ::new (state.place<body_type>()) body_type(std::forward<F>(body));
        state.drop = &detail::drop_callable<body_type>;
        state.head->user_ptr = &state;
        auto const code_before =
            std::exchange(state.head->user_code, &detail::trampoline<body_type>);
        detail::tsan_release(state.head);
        auto const r = monad_async_task_attach(ex, state.head);
        if (r.error != 0) {
            state.head->user_code = code_before;
            state.clear();
            detail::fail(r.error, "monad::async::task::attach");
        }
    }

    /** ANY THREAD.
     *  @return true when no run of it is under way: its last one is over, or there was none; then `get`
     *  may be called, and `attach` */
    [[nodiscard]] bool done() const noexcept { return state_ == nullptr || !state_->is_attached(); }

    /** How the last run ended; may be asked again until the next `attach`.
     *
     *  @snippet exceptions.cpp get rethrows
     *  @return what the body returned, 0 if nothing
     *  @throws what the body threw
     *  @throws std::system_error `ECANCELED`: it was cancelled before it began; `EBUSY`: not done;
     *  `EINVAL`: it was never attached; the errno of a run through the C API that failed */
    std::intptr_t get() const
    {
        auto &state = checked("monad::async::task::get");
        if (!state.has_exited()) {
            detail::fail(state.is_attached() ? EBUSY : EINVAL, "monad::async::task::get");
        }
        return state.outcome(state.head->result, "monad::async::task::get");
    }

    /** SUSPENDS the calling task until this one, on the same executor or on another, is done. The
     *  object may be moved or destroyed meanwhile, on the caller's thread.
     *  @return as `get`, of the run that was under way, or was the last
     *  @throws as `get`; std::system_error `EPERM`: not inside a task; `EDEADLK`: inside this one;
     *  `ECANCELED`: the calling task was cancelled; `ESRCH`: another thread has launched the task again
     *  before the join reached the executor, and the outcome that was meant is gone. Where a later run
     *  has begun before the caller runs again, what was thrown is its errno alone, as a
     *  std::system_error */
    std::intptr_t join() const
    {
        auto &state = checked("monad::async::task::join");
        auto *const self = detail::running_task("monad::async::task::join");
        detail::state_use const use(state);
        auto const r = monad_async_task_join(self, state.head);
        // From here on `this` may be no more.
        detail::tsan_acquire(state.head);
        // Destroyed before the join reached the executor: only we know how it ended.
        bool const overtaken = r.error == ESRCH && state.is_closed();
        return state.outcome(overtaken ? state.last : r, "monad::async::task::join");
    }

    /** ANY THREAD; the executor must outlive the call. A launch that has not begun never does; a
     *  suspended body's call throws `ECANCELED`, or returns its real result if that was there first,
     *  and then the next one throws.
     *
     *  @snippet exceptions.cpp cancelling
     *  @return false: it was not attached
     *  @throws std::system_error `ENOMEM`, from another thread */
    bool cancel()
    {
        auto &state = checked("monad::async::task::cancel");
        auto const ex = __atomic_load_n(&state.head->current_executor, __ATOMIC_ACQUIRE);
        if (ex == nullptr) {
            return false;
        }
        auto const r = monad_async_task_cancel(ex, state.head);
        if (r.error == ENOENT) {
            return false;
        }
        value_or_throw(r, "monad::async::task::cancel");
        return true;
    }

    /** Sets the CPU priority; takes effect at the next scheduling decision. On the executor's thread
     *  while attached.
     *  @param cpu decides what runs next
     *  @throws std::system_error `EPERM`: another thread */
    void priority(async::priority cpu)
    {
        priority(cpu, io_priority());
    }

    /** Sets both priorities.
     *  @param cpu decides what runs next
     *  @param io decides who gets the next free submission entry; for operations that begin afterwards
     *  @throws std::system_error `EPERM`: attached, and another thread */
    void priority(async::priority cpu, async::priority io)
    {
        auto &state = checked("monad::async::task::priority");
        value_or_throw(monad_async_task_set_priorities(state.head,
                           static_cast<monad_async_priority>(cpu),
                           static_cast<monad_async_priority>(io)),
            "monad::async::task::priority");
    }

    /** On the executor's thread while attached.
     *  @return the CPU priority */
    [[nodiscard]] async::priority cpu_priority() const
    {
        return async::priority{checked("monad::async::task::cpu_priority").head->priority.cpu};
    }

    /** On the executor's thread while attached.
     *  @return the I/O priority */
    [[nodiscard]] async::priority io_priority() const
    {
        return async::priority{checked("monad::async::task::io_priority").head->priority.io};
    }

    /** The handle of the C API, which may be used beside this object but not destroyed.
     *  While the task is idle it may be given other code and attached with the C API; `done`, `get`,
     *  `join` and `cancel` then speak of that run.
     *  @return null after it was moved from */
    [[nodiscard]] monad_async_task native_handle() const noexcept
    {
        return state_ != nullptr ? state_->head : nullptr;
    }

private:
    detail::task_state &checked(char const *what) const
    {
        if (state_ == nullptr) {
            detail::fail(EINVAL, what); // Moved from.
        }
        return *state_;
    }

    void close() noexcept
    {
        if (state_ != nullptr) {
            auto *const state = std::exchange(state_, nullptr);
            if (detail::task_close(state)) {
                detail::tsan_acquire(state->head);
                state->leave();
            }
        }
    }

    detail::task_state *state_ = nullptr;
};

} // namespace monad::async

#endif

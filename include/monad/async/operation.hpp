#ifndef MONAD_ASYNC_OPERATION_HPP
#define MONAD_ASYNC_OPERATION_HPP

/** @file operation.hpp
 *  One operation of io_uring that is begun and awaited apart.
 *
 *  The word SUSPENDS is that of executor.h, the rules those of op.h. */

#include "config.h"
#include "detail/die.hpp"
#include "detail/handle.hpp"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "file.h"
#include "op.h"
#include "scope.hpp"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

MONAD_ASYNC_LOCAL inline monad_async_result begin_op(monad_async_op &op) noexcept
{
    auto *const self = monad_async_task_current();
    return self != nullptr ? monad_async_op_begin(self, &op) : monad_async_make_failure(EPERM);
}

// SUSPENDS until the operation has a completion. What was cancelled itself is no interruption.
MONAD_ASYNC_LOCAL inline monad_async_result wait_for_op(monad_async_op &op)
{
    auto *const self = monad_async_task_current();
    return interruptible(self, [&] {
        return op.is_in_flight || self == nullptr ? monad_async_op_wait(self, &op) : op.result;
    });
}

// SUSPENDS, shielded, until an operation is over, which is asked to end. `task` began it.
MONAD_ASYNC_LOCAL inline void end_op(monad_async_task task, monad_async_op &op) noexcept
{
    if (!op.is_in_flight || is_of_a_parent(task)) {
        return;
    }
    if (suspending([&] { return monad_async_op_end(task, &op); }).error != 0) {
        die("an operation in flight was destroyed outside the task that began it");
    }
}

// What an entry may have opened: the library closes that where nobody takes the completion; here
// one was taken for another.
struct opener {
    std::uint8_t opcode = 0;
    std::uint32_t file_index = 0;
    // Of a direct one, whose table has it: the executor, and its number, as another may be at its
    // address by now.
    std::uint32_t home = 0;
    monad_async_executor executor = nullptr;

    opener() noexcept = default;
    opener(monad_async_op const &op, monad_async_executor ex) noexcept
        : opcode(op.sqe.opcode), file_index(op.sqe.file_index), executor(ex)
    {
        // As the library has it there (src/reactor/operation.rs).
        std::memcpy(&home, reinterpret_cast<char const *>(&op) + 180, sizeof home);
    }

    // Nobody takes that result. SUSPENDS inside a task, whatever scopes have fired. False: it is no
    // descriptor.
    MONAD_ASYNC_LOCAL bool close(monad_async_result r) const noexcept
    {
        constexpr std::uint32_t alloc = 0xffffffff;       // IORING_FILE_INDEX_ALLOC
        constexpr std::uint8_t socket = 45, install = 54; // Which older headers lack.
        bool const may_be_direct = opcode == IORING_OP_ACCEPT || opcode == IORING_OP_OPENAT ||
                                   opcode == IORING_OP_OPENAT2 || opcode == socket;
        if (r.error != 0 || (!may_be_direct && opcode != install)) {
            return false;
        }
        bool const direct = may_be_direct && file_index != 0;
        auto *const self = monad_async_task_current();
        if (direct && (self == nullptr || self->current_executor != executor)) {
            return true; // Of another's table: it stays until that one's executor ends.
        }
        bool const given = direct && file_index != alloc; // The result is 0 then.
        monad_async_file opened = {static_cast<std::int32_t>(r.value), 0};
        if (direct) {
            opened.fd = given ? static_cast<std::int32_t>(file_index - 1) : opened.fd;
            opened.flags = MONAD_ASYNC_FILE_DIRECT | home << 16;
        }
        constexpr auto flag = MONAD_ASYNC_FILE_DIRECT;
        (void)close_handle(opened, flag, flag, false, monad_async_file_close);
        return true;
    }
};

} // namespace detail
/** @endcond */

/** An operation that the running task begins, does other things, and waits for. Its destructor
 *  cancels it and waits until the kernel has let go of it. One object serves any number of
 *  operations, one after the other. It does not move; what the entry refers to must live until the
 *  operation is over.
 *
 *  Where a task has an `io_batch` too, the batch's `wait_any` may take this operation's completion;
 *  `wait` gives it then all the same, the last one of a stream. A descriptor that is the result of
 *  one that came so, and that nobody asked for by `wait`, `result` or `native_handle`, is closed at
 *  the end, or by the next `begin`; not once `native_handle` was called, whenever that was: who has
 *  the record may look. What `IORING_OP_PIPE` or a received message has put into your memory is
 *  yours to close.
 *  @see op.h, io_batch.hpp */
class operation {
public:
    /** Idle. */
    operation() noexcept = default;

    /** Begins an operation, as `begin`.
     *  @param sqe what to do
     *  @throws std::system_error as `begin` */
    explicit operation(io_uring_sqe const &sqe) { begin(sqe); }

    /** SUSPENDS while it is in flight: cancels it and waits, shielded, for its end. Ends the
     *  process, with a message, where it is in flight and another task destroys it. */
    ~operation()
    {
        if (op_.is_in_flight) {
            detail::end_op(task_, op_);
        } else {
            close_unseen();
        }
    }

    operation(operation const &) = delete;
    operation &operator=(operation const &) = delete;

    /** Begins an operation. Does not suspend, no system call, no malloc; but where the last one has
     *  brought a descriptor that nobody asked for, it first closes that, as the destructor would:
     *  SUSPENDS then, shielded, and `result` is `ECANCELED` until the next completion.
     *  @param sqe what to do; copied
     *  @throws std::system_error `EBUSY`: in flight; `EPERM`: outside a task; `ENOTSUP`: the
     *  executor has no io_uring; `EINVAL`: an entry that may not pass, as for
     *  `monad_async_op_begin` */
    void begin(io_uring_sqe const &sqe)
    {
        detail::check(start(sqe), "monad::async::operation::begin");
    }

    /** As the other `begin`.
     *  @param sqe what to do
     *  @param[out] ec the error */
    void begin(io_uring_sqe const &sqe, std::error_code &ec) noexcept
    {
        detail::report(start(sqe), ec);
    }

    /** SUSPENDS until it has a completion. Interrupted, it stays in flight.
     *  @return the completion's `res`; that of the last one where none is in flight
     *  @throws std::system_error its errno
     *  @throws cancelled_error the task or a scope was cancelled, and `in_flight` is true; or the
     *  operation was, and it is false
     *  @throws timeout_error a scope's deadline passed */
    MONAD_ASYNC_LOCAL std::intptr_t wait()
    {
        return value_or_throw(take(), "monad::async::operation::wait");
    }

    /** As the other `wait`.
     *  @param[out] ec the error
     *  @return the completion's `res`; -1 with an error */
    MONAD_ASYNC_LOCAL std::intptr_t wait(std::error_code &ec) noexcept
    {
        return detail::report(take(), ec);
    }

    /** Asks the kernel to end it. Does not suspend. Its outcome is to be waited for as ever. Not in
     *  flight, or complete: nothing happens.
     *  @throws std::system_error `EPERM`: another executor's task */
    void cancel() { detail::check(ask_to_end(), "monad::async::operation::cancel"); }

    /** As the other `cancel`.
     *  @param[out] ec the error */
    void cancel(std::error_code &ec) noexcept { detail::report(ask_to_end(), ec); }

    /** @return whether it was begun and its last completion not taken yet */
    [[nodiscard]] bool in_flight() const noexcept { return op_.is_in_flight; }

    /** @return the result of the completion that was taken last */
    [[nodiscard]] monad_async_result result() const noexcept
    {
        is_unseen_ = is_unseen_ && op_.is_in_flight;
        return op_.result;
    }

    /** @return `IORING_CQE_F_*` of the completion that was taken last */
    [[nodiscard]] std::uint32_t cqe_flags() const noexcept { return op_.cqe_flags; }

    /** The record of the C API, which may be used together with this object. From then on what
     *  operations have opened is yours to close.
     *  @return stays where it is */
    [[nodiscard]] monad_async_op *native_handle() noexcept
    {
        is_shared_ = true;
        is_unseen_ = false;
        return &op_;
    }

    /** @cond no API: the record, for calls that tell by `result` when they have taken it */
    [[nodiscard]] monad_async_op *record() noexcept { return &op_; }
    /** @endcond */

private:
    [[nodiscard]] int start(io_uring_sqe const &sqe) noexcept
    {
        if (!op_.is_in_flight) {
            close_unseen();
        }
        if (op_.is_in_flight) {
            return EBUSY;
        }
        op_.sqe = sqe;
        task_ = monad_async_task_current();
        executor_ = task_ != nullptr ? task_->current_executor : nullptr;
        int const error = detail::begin_op(op_).error;
        is_unseen_ = error == 0 && !is_shared_;
        return error;
    }

    // SUSPENDS where the completion has brought a descriptor that nobody asked for.
    MONAD_ASYNC_LOCAL void close_unseen() noexcept
    {
        if (std::exchange(is_unseen_, false) && detail::opener(op_, executor_).close(op_.result)) {
            op_.result = monad_async_make_failure(ECANCELED);
        }
    }

    // SUSPENDS until it has a completion, and takes it; one that another's wait has taken.
    MONAD_ASYNC_LOCAL monad_async_result take()
    {
        auto const r = detail::wait_for_op(op_);
        is_unseen_ = is_unseen_ && op_.is_in_flight;
        return r;
    }

    [[nodiscard]] int ask_to_end() noexcept
    {
        int const error = monad_async_op_cancel(monad_async_task_current(), &op_).error;
        return error == ENOENT || !op_.is_in_flight ? 0 : error;
    }

    // As in op.h.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
    monad_async_op op_ = {};
#pragma GCC diagnostic pop
    monad_async_task task_ = nullptr;
    monad_async_executor executor_ = nullptr; // The task's, when it began.
    // The completion was not asked for.
    mutable bool is_unseen_ = false;
    // The record was given out: whoever has it may look at any time.
    bool is_shared_ = false;
};

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_IO_BATCH_HPP
#define MONAD_ASYNC_IO_BATCH_HPP

/** @file io_batch.hpp
 *  Several operations of one task at once. */

#include "config.h"
#include "detail/die.hpp"
#include "detail/executor_block.hpp"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "op.h"
#include "operation.hpp"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <system_error>
#include <vector>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// What a batch looks like to the other batches of its thread.
struct batch_link {
    batch_link *next;
    monad_async_task task;
    // Has `batch` take a completion of its own that another batch's wait has met.
    void (*deliver)(void *batch, monad_async_op &);
    void *batch;
};

// The first of the calling thread's.
MONAD_ASYNC_API batch_link **batches() noexcept;

} // namespace detail
/** @endcond */

/** A completion of an operation of an `io_batch`.
 *  @see monad_async_op_wait_any() */
struct io_completion {
    /** What `io_batch::begin` returned. */
    std::size_t id;
    /** The outcome. */
    monad_async_result result;
    /** `IORING_CQE_F_*`. */
    std::uint32_t cqe_flags;

    /** @return the completion's `res`
     *  @throws std::system_error its errno; cancelled_error: the operation was cancelled */
    std::intptr_t value() const { return value_or_throw(result, "monad::async::io_completion"); }
};

/** Operations that one task has in flight at the same time. The destructor cancels what is left and
 *  waits until the kernel has let go of it; a descriptor that is the result of one, and that nobody
 *  took, is closed. What `IORING_OP_PIPE` or a received message has put into your memory is yours
 *  to close. Belongs to the task that first begins one.
 *
 *  @snippet scopes.cpp four reads at once
 *  @see op.h, operation.hpp */
class io_batch {
public:
    /** Without operations. ANY THREAD. */
    io_batch() = default;

    /** SUSPENDS while operations are in flight: cancels them and waits, shielded, for their end.
     *  Ends the process, with a message, where there are some and another task destroys it, and on
     *  another thread where completions were not taken. ANY THREAD once all were. */
    ~io_batch()
    {
        if (in_flight_ == 0) {
            return;
        }
        for (auto &r : records_) { // All are asked before the first is waited for.
            if (r.is_in_flight && !detail::is_of_a_parent(link_.task)) {
                (void)monad_async_op_cancel(link_.task, &r);
            }
        }
        for (auto &r : records_) {
            detail::end_op(link_.task, r);
        }
        for (; taken_ < done_.size(); ++taken_) {
            (void)done_[taken_].opens.close(done_[taken_].completion.result);
        }
        if (!unlist() && process_ == detail::process_number()) {
            detail::die("an io_batch was destroyed on another thread than its task's before its "
                        "completions were taken");
        }
    }

    io_batch(io_batch const &) = delete;
    io_batch &operator=(io_batch const &) = delete;

    /** Begins an operation. Does not suspend, no system call; allocates if more are in flight than
     *  ever before.
     *  @param sqe what to do; copied. What it refers to must live until the operation is over
     *  @return its number: 0, 1, 2, ... in the order of the calls
     *  @throws std::system_error `EPERM`: outside the task that this batch belongs to; `ENOTSUP`:
     *  the executor has no io_uring; `EINVAL`: an entry that may not pass, as for
     *  `monad_async_op_begin`
     *  @throws std::bad_alloc */
    std::size_t begin(io_uring_sqe const &sqe)
    {
        auto *const self = monad_async_task_current();
        if (self == nullptr || (link_.task != nullptr && link_.task != self)) {
            detail::fail(EPERM, "monad::async::io_batch::begin");
        }
        if (link_.task == nullptr) {
            link_.task = self;
        }
        if (idle_.empty()) {
            // Room for all of them, so that taking one back cannot fail.
            idle_.reserve(records_.size() + 1);
            idle_.push_back(&records_.emplace_back());
        }
        // And for what the wait of another batch may bring, one completion each.
        auto const room = done_.size() + in_flight_ + 1;
        if (done_.capacity() < room) {
            done_.reserve(room * 2);
        }
        auto &next = *idle_.back();
        next.sqe = sqe;
        next.user_ptr = &link_;
        next.id = begun_;
        detail::check(detail::begin_op(next).error, "monad::async::io_batch::begin");
        idle_.pop_back();
        if (in_flight_++ == 0) {
            list();
        }
        return begun_++;
    }

    /** SUSPENDS until any of the operations has a completion, and takes it, in the order of
     *  completion.
     *
     *  The completions of the task's other operations that it meets stay for whom they belong to:
     *  another batch's `wait_any`, an `operation::wait`. An operation that the same task has begun
     *  through the C API keeps its result in its record, and is no longer in flight.
     *  @return which, and how it ended
     *  @throws std::system_error `ENOENT`: none is in flight; `EPERM`: another task than began them
     *  @throws cancelled_error, timeout_error: interrupted; none was taken
     *  @throws std::bad_alloc */
    MONAD_ASYNC_LOCAL io_completion wait_any()
    {
        io_completion c = {};
        detail::check(take(c), "monad::async::io_batch::wait_any");
        return c;
    }

    /** As the other `wait_any`.
     *  @param[out] ec the error
     *  @return which, and how it ended; only without an error
     *  @throws std::bad_alloc another batch's multishot operation has brought more than that has
     *  room for; what it brought is lost */
    MONAD_ASYNC_LOCAL io_completion wait_any(std::error_code &ec)
    {
        io_completion c = {};
        detail::report(take(c), ec);
        return c;
    }

    /** Asks the kernel to end all that are in flight. Does not suspend. Their outcomes are to be
     *  waited for as ever. */
    void cancel() noexcept
    {
        for (auto &r : records_) {
            if (r.is_in_flight) {
                (void)monad_async_op_cancel(monad_async_task_current(), &r);
            }
        }
    }

    /** As the other `cancel`, for one operation. One that is over: nothing happens.
     *  @param id what `begin` returned */
    void cancel(std::size_t id) noexcept
    {
        for (auto &r : records_) {
            if (r.is_in_flight && r.id == id) {
                (void)monad_async_op_cancel(monad_async_task_current(), &r);
            }
        }
    }

    /** @return how many operations `wait_any` has to give the last completion of yet */
    [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }

private:
    // As in op.h.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
    struct record : monad_async_op {
        record() : monad_async_op() {}
        std::size_t id = 0;
    };
#pragma GCC diagnostic pop

    // A completion that another batch's wait has met.
    struct met {
        io_completion completion;
        detail::opener opens;
    };

    // Only while there are completions to take: without, it may end on any thread.
    void list() noexcept
    {
        process_ = detail::process_number();
        auto *const first = detail::batches();
        link_.next = *first;
        *first = &link_;
    }

    // False: it is in the list of another thread.
    bool unlist() noexcept
    {
        for (auto **at = detail::batches(); *at != nullptr; at = &(*at)->next) {
            if (*at == &link_) {
                *at = link_.next;
                return true;
            }
        }
        return false;
    }

    void is_over() noexcept
    {
        if (--in_flight_ == 0) {
            (void)unlist();
        }
    }

    // The errno.
    MONAD_ASYNC_LOCAL int take(io_completion &c)
    {
        if (in_flight_ == 0) {
            return ENOENT;
        }
        auto *const self = monad_async_task_current();
        if (self != link_.task) {
            return EPERM;
        }
        while (taken_ == done_.size()) {
            monad_async_op *op = nullptr;
            auto const r =
                detail::interruptible(self, [&] { return monad_async_op_wait_any(self, &op); });
            if (r.error != 0) {
                return r.error;
            }
            if (op->user_ptr == &link_) {
                c = taken(static_cast<record &>(*op));
                return 0;
            }
            for (auto *other = *detail::batches(); other != nullptr; other = other->next) {
                if (op->user_ptr == other) {
                    other->deliver(other->batch, *op);
                    break;
                }
            }
        }
        c = done_[taken_++].completion;
        if (taken_ * 2 >= done_.size()) {
            done_.erase(done_.begin(), done_.begin() + static_cast<std::ptrdiff_t>(taken_));
            taken_ = 0;
        }
        if ((c.cqe_flags & IORING_CQE_F_MORE) == 0) {
            is_over();
        }
        return 0;
    }

    io_completion taken(record &r)
    {
        if (!r.is_in_flight) {
            idle_.push_back(&r);
            is_over();
        }
        return {r.id, r.result, r.cqe_flags};
    }

    static void delivered(void *to, monad_async_op &op)
    {
        auto &batch = *static_cast<io_batch *>(to);
        auto &r = static_cast<record &>(op);
        auto *const ex = batch.link_.task->current_executor; // It runs.
        batch.done_.push_back({{r.id, r.result, r.cqe_flags}, detail::opener(r, ex)});
        if (!r.is_in_flight) {
            batch.idle_.push_back(&r);
        }
    }

    detail::batch_link link_ = {nullptr, nullptr, &delivered, this};
    std::deque<record> records_; // Which do not move.
    std::vector<record *> idle_;
    std::vector<met> done_; // Of which `taken_` were taken.
    std::size_t taken_ = 0;
    std::size_t begun_ = 0;
    std::size_t in_flight_ = 0;
    std::uint32_t process_ = 0; // Of that in which it was listed.
};

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_EXECUTOR_REF_HPP
#define MONAD_ASYNC_EXECUTOR_REF_HPP

/** @file executor_ref.hpp
 *  A reference to an executor that may outlive it. */

#include "config.h"
#include "detail/executor_block.hpp"
#include "error.hpp"
#include "remote.h"

#include <cerrno>
#include <system_error>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {

template <class R> class future;

/** Refers to an executor: what other threads keep of it. ANY THREAD may use and copy it; a copy is
 *  an atomic addition. It may outlive the executor: then its calls fail with `ESHUTDOWN`, and
 *  nothing happens; launches by other threads as soon as the destructor has begun. From
 *  `executor::ref` and `this_task::executor`; `task::attach` takes it.
 *  @see remote.h, executor.hpp */
class executor_ref {
public:
    /** Refers to none: calls fail with `EINVAL`. */
    executor_ref() noexcept = default;

    /** @param other refers to the same executor then */
    executor_ref(executor_ref const &other) noexcept : block_(other.block_)
    {
        if (block_ != nullptr) {
            block_->use();
        }
    }

    /** @param other refers to none afterwards */
    executor_ref(executor_ref &&other) noexcept : block_(std::exchange(other.block_, nullptr)) {}

    /** @param other refers to none afterwards, if it was moved
     *  @return this object */
    executor_ref &operator=(executor_ref other) noexcept
    {
        std::swap(block_, other.block_);
        return *this;
    }

    /** Never waits, and never frees the executor. */
    ~executor_ref()
    {
        if (block_ != nullptr) {
            block_->leave();
        }
    }

    /** As `executor::wake`.
     *  @throws std::system_error `ESHUTDOWN`: the executor is gone; `EPERM` in a child after
     *  `fork` */
    void wake() const { detail::check(try_wake(), "monad::async::executor_ref::wake"); }

    /** As the other `wake`.
     *  @param[out] ec the error */
    void wake(std::error_code &ec) const noexcept { detail::report(try_wake(), ec); }

    /** As `executor::stop`.
     *  @throws std::system_error `ESHUTDOWN`: the executor is gone; `EPERM` in a child after
     *  `fork` */
    void stop() const { detail::check(try_stop(), "monad::async::executor_ref::stop"); }

    /** As the other `stop`.
     *  @param[out] ec the error */
    void stop(std::error_code &ec) const noexcept { detail::report(try_stop(), ec); }

    /** As `executor::trim`, where there is no executor object: on each worker of a pool,
     *  `pool.worker(i).spawn([] { ma::this_task::executor().trim(); })`. OWNER'S THREAD, and of
     *  what `this_task::executor` or `executor::ref` gave; else it does nothing. */
    void trim() const noexcept
    {
        if (block_ != nullptr && detail::find_block(block_->head) == block_) {
            block_->forget_spawned();
        }
    }

    /** As `executor::spawn`; takes future.hpp.
     *  @param body any callable
     *  @throws std::system_error `ESHUTDOWN`: the executor is gone, or ends and this is
     *  another thread; as `executor::spawn` */
    template <class F> void spawn(F &&body) const;

    /** As the other `spawn`.
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void spawn(F &&body, std::error_code &ec) const noexcept(detail::moves_twice_without_throw<F>);

    /** As `executor::submit`; takes future.hpp.
     *  @param body any callable
     *  @return for what it returns or throws
     *  @throws std::system_error `ESHUTDOWN`: the executor is gone, or ends and this is
     *  another thread; as `executor::spawn` */
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

    /** @return false: it refers to none. True though the executor is gone */
    [[nodiscard]] explicit operator bool() const noexcept { return block_ != nullptr; }

    /** The reference of the C API; this object keeps it.
     *  @return null where it refers to none */
    [[nodiscard]] monad_async_remote native_handle() const noexcept
    {
        return block_ != nullptr ? block_->remote : nullptr;
    }

    /** @param a any
     *  @param b any
     *  @return whether both refer to the same executor, or to none */
    [[nodiscard]] friend bool operator==(executor_ref const &a, executor_ref const &b) noexcept
    {
        return a.native_handle() == b.native_handle();
    }

    /** @param a any
     *  @param b any
     *  @return the opposite of `==` */
    [[nodiscard]] friend bool operator!=(executor_ref const &a, executor_ref const &b) noexcept
    {
        return !(a == b);
    }

    /** @cond no API */
    explicit executor_ref(detail::executor_block *counted) noexcept : block_(counted) {}
    [[nodiscard]] detail::executor_block *block() const noexcept { return block_; }
    /** @endcond */

private:
    [[nodiscard]] int try_wake() const noexcept
    {
        return block_ != nullptr ? monad_async_remote_wake(block_->remote).error : EINVAL;
    }

    [[nodiscard]] int try_stop() const noexcept
    {
        return block_ != nullptr ? block_->ask_to_stop() : EINVAL;
    }

    detail::executor_block *block_ = nullptr;
};

} // namespace v0
} // namespace monad::async

#endif

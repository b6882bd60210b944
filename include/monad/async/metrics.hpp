#ifndef MONAD_ASYNC_METRICS_HPP
#define MONAD_ASYNC_METRICS_HPP

/** @file metrics.hpp
 *  What executors have counted, and as text for Prometheus. Each call has two forms: one throws,
 *  one takes a `std::error_code &`.
 *
 *  @snippet http_server.cpp metrics of the workers of a pool
 *
 *  The words OWNER'S THREAD, ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h, the rules
 *  those of metrics.h. */

#include "config.h"
#include "error.hpp"
#include "executor.hpp"
#include "future.hpp"
#include "metrics.h"
#include "pool.hpp"
#include "task.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <system_error>
#include <vector>

namespace monad::async {
inline namespace v0 {

/** The metrics of an executor, or of a pool's workers: counted for the executor's life from when
 *  this object is made, which costs some 5 to 15 ns an item. Owns nothing: the executors must
 *  outlive the calls. Of a pool that is resized, make another one. Copyable.
 *  @see monad_async_metrics_start(), executor.hpp, pool.hpp */
class metrics {
public:
    /** Has an executor count. OWNER'S THREAD. EXPENSIVE: 18 KiB. Where it counts already, nothing
     *  starts anew.
     *  @param ex the executor
     *  @throws std::system_error `ENOTSUP`: it has no time tracking; `EPERM`: another thread
     *  @throws std::bad_alloc */
    explicit metrics(executor &ex)
    {
        std::error_code ec;
        start(ex, ec);
        settle(ec, "monad::async::metrics");
    }

    /** As that constructor.
     *  @param ex the executor
     *  @param[out] ec the error; then this is of none */
    metrics(executor &ex, std::error_code &ec) noexcept { start(ex, ec); }

    /** Has the workers count that a pool has now, by a task on each. EXPENSIVE. SUSPENDS inside a
     *  task, blocks outside, until each worker has come to it.
     *  @param pool the pool
     *  @throws std::system_error `ENOTSUP`: its executors have no time tracking; `ESHUTDOWN`: it
     *  was told to quit
     *  @throws cancelled_error, timeout_error
     *  @throws std::bad_alloc */
    explicit metrics(thread_pool const &pool)
    {
        std::error_code ec;
        start(pool, ec);
        settle(ec, "monad::async::metrics");
    }

    /** As that constructor.
     *  @param pool the pool
     *  @param[out] ec the error; then this is of none */
    metrics(thread_pool const &pool, std::error_code &ec) noexcept { start(pool, ec); }

    /** @return of how many executors */
    [[nodiscard]] std::size_t size() const noexcept { return executors_.size(); }

    /** Reads what an executor has counted, 18 KiB. ANY THREAD.
     *  @param index which one; of a pool, which worker
     *  @return the numbers; those that change during the call may not fit each other
     *  @throws std::system_error `ENOENT`: there is no such one */
    [[nodiscard]] monad_async_metrics read(std::size_t index = 0) const
    {
        std::error_code ec;
        auto const counted = read(index, ec);
        detail::check(ec.value(), "monad::async::metrics::read");
        return counted;
    }

    /** As the other `read`.
     *  @param index which one
     *  @param[out] ec the error
     *  @return the numbers; zeros with an error */
    [[nodiscard]] monad_async_metrics read(std::size_t index, std::error_code &ec) const noexcept
    {
        monad_async_metrics counted = {};
        detail::report(index < size()
                           ? monad_async_executor_metrics(executors_[index], &counted).error
                           : ENOENT,
                       ec);
        return counted;
    }

    /** As the other `read`, of the first.
     *  @param[out] ec the error
     *  @return the numbers; zeros with an error */
    [[nodiscard]] monad_async_metrics read(std::error_code &ec) const noexcept
    {
        return read(0, ec);
    }

    /** All of them in the text format of Prometheus, some 6 KiB an executor, under their names or
     *  numbers from 1. ANY THREAD. EXPENSIVE.
     *  @return the text
     *  @throws std::system_error the errno of `monad_async_metrics_text`
     *  @throws std::bad_alloc */
    [[nodiscard]] std::string text() const
    {
        std::error_code ec;
        auto all = text(ec);
        settle(ec, "monad::async::metrics::text");
        return all;
    }

    /** As the other `text`.
     *  @param[out] ec the error; `ENOMEM` too
     *  @return the text; an empty one with an error */
    [[nodiscard]] std::string text(std::error_code &ec) const noexcept
    {
        std::string all;
        std::size_t wanted = 0;
        try {
            do { // It may have grown since it was asked how long it is.
                all.resize(wanted);
                auto const r = monad_async_metrics_text(executors_.data(), size(), all.data(),
                                                        all.empty() ? 0 : all.size() + 1);
                detail::report(size() == 0 ? 0 : r.error, ec);
                wanted = r.error == 0 ? static_cast<std::size_t>(r.value) : 0;
            } while (wanted > all.size());
            all.resize(wanted);
        } catch (std::bad_alloc const &) {
            detail::report(ENOMEM, ec);
            all.clear();
        }
        return all;
    }

    /** The time that so many of a thousand values do not exceed. ANY THREAD; some 700 additions.
     *  @param histogram as `read().ready[0]`: how long tasks of high priority were ready before
     *  they ran
     *  @param per_mille 500: the median; 1000: the longest
     *  @return at most a sixteenth too long; 0 without values */
    [[nodiscard]] static std::chrono::nanoseconds percentile(monad_async_histogram const &histogram,
                                                             std::uint32_t per_mille) noexcept
    {
        return std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(
            monad_async_histogram_percentile_ns(&histogram, per_mille)));
    }

private:
    static void settle(std::error_code const &ec, char const *what)
    {
        if (ec.value() == ENOMEM) {
            throw std::bad_alloc();
        }
        detail::check(ec.value(), what);
    }

    void start(executor &ex, std::error_code &ec) noexcept
    {
        detail::report(monad_async_metrics_start(ex.native_handle()).error, ec);
        keep(ex.native_handle(), ec);
    }

    void start(thread_pool const &pool, std::error_code &ec) noexcept
    {
        ec.clear();
        auto const workers = pool.workers();
        for (std::size_t i = 0; i != workers && !ec; ++i) {
            auto const worker = pool.worker(i, ec);
            if (ec) {
                break;
            }
            monad_async_executor counting = nullptr;
            auto started = worker.submit(
                [&counting] {
                    counting = monad_async_task_current()->current_executor;
                    return monad_async_metrics_start(counting).error;
                },
                ec);
            auto const error = ec ? std::nullopt : started.get(ec);
            if (error) {
                detail::report(*error, ec);
            }
            if (!ec) { // Else the task may be writing it.
                keep(counting, ec);
            }
        }
        if (ec) {
            executors_.clear();
        }
    }

    void keep(monad_async_executor ex, std::error_code &ec) noexcept
    {
        try {
            if (!ec) {
                executors_.push_back(ex);
            }
        } catch (std::bad_alloc const &) {
            detail::report(ENOMEM, ec);
        }
    }

    std::vector<monad_async_executor> executors_;
};

} // namespace v0
} // namespace monad::async

#endif

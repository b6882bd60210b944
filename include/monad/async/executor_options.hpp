#ifndef MONAD_ASYNC_EXECUTOR_OPTIONS_HPP
#define MONAD_ASYNC_EXECUTOR_OPTIONS_HPP

/** @file executor_options.hpp
 *  How to make an executor. */

#include "config.h"
#include "executor.h"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <string_view>

namespace monad::async {
inline namespace v0 {

/** How to make an executor.
 *  @see monad_async_executor_create() */
struct executor_options {
    /** Submission entries of its io_uring, rounded up to a power of two; more than the kernel's
     *  limit of 32,768 are that many. 0: a compute-only executor; it has timers and
     *  takes work from other threads, and I/O fails with `ENOTSUP`. */
    unsigned io_uring_entries = 256;
    /** Completion entries; 0: twice as many as submission entries. Streams of receives are begun
     *  anew when their completions fill the queue: as many as there are buffers in rings spare
     *  that. */
    unsigned completion_entries = 0;
    /** The descriptor of another ring whose kernel worker threads to share; -1: none. An
     *  executor gives its own by `ring_fd`. Without a ring of its own: ignored. */
    int share_workers_of = -1;
    /** False: every `ticks` field stays 0, and no time is spent on reading the clock. */
    bool time_tracking = true;
    /** The most worker threads that the kernel makes for this ring's operations that would block:
     *  on files and block devices, and on everything else. 0: the kernel's choice. */
    std::uint32_t max_kernel_workers[2] = {0, 0};
    /** Places in the ring's table of direct descriptors; 0: no table. */
    std::uint32_t direct_descriptors = 0;
    /** Fairness on request, for each level of CPU priority: n guarantees that 1 item in n is of
     *  that level while it has any ready. 0: none, as with strict priority.
     *  `monad_async_executor_attr` says more. */
    std::uint32_t share[3] = {0, 0, 0};
    /** Bytes of stack that the body of a background task (`executor::spawn`, `executor::submit`) or
     *  of a group's task may use; 0: the default, 128 KiB. With an absurd size those calls fail
     *  with `EINVAL`. */
    std::size_t stack_size = 0;

    /** Told of an exception that left a task's body and that nobody asked for with `get`, `join` or
     *  `wait`, before the task is launched again or once its object is gone; of one that nobody got
     *  from a `future`, once that is gone; and of those of a group's children that `wait`,
     *  `when_all` or `when_any` does not throw: all but the first when the child ends, and the
     *  first too, once the group is gone, if nobody waited. By the thread that does that. Not of a
     *  `cancelled_error`, with which a cancelled task leaves. Must not throw. Default: nothing. */
    std::function<void(std::exception_ptr)> on_unobserved = {};

    /** Told of an exception that left a background task (`executor::spawn`), by the executor's
     *  thread, outside its tasks. Not of a `cancelled_error`, with which a cancelled task leaves.
     *  Must not throw. Default: the end of the process, with a message. */
    std::function<void(std::exception_ptr)> on_exception = {};

    /** For traces and messages; 32 bytes of it are kept. */
    std::string_view name = {};

    /** The options of an executor without a ring, where no I/O is done or io_uring is forbidden.
     *  @return the defaults, with `io_uring_entries` 0 */
    [[nodiscard]] static executor_options compute_only()
    {
        executor_options options;
        options.io_uring_entries = 0;
        return options;
    }
};

/** @cond no API */
namespace detail {

inline void fill(monad_async_executor_attr &attr, executor_options const &options) noexcept
{
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
    attr.max_kernel_workers[0] = options.max_kernel_workers[0];
    attr.max_kernel_workers[1] = options.max_kernel_workers[1];
    attr.direct_descriptors = options.direct_descriptors;
    for (int level = 0; level != 3; ++level) {
        attr.share[level] = options.share[level];
    }
}

} // namespace detail
/** @endcond */

} // namespace v0
} // namespace monad::async

#endif

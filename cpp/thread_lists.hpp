#ifndef MONAD_ASYNC_CPP_THREAD_LISTS_HPP
#define MONAD_ASYNC_CPP_THREAD_LISTS_HPP

// What is kept for each thread: 24 bytes, which lie where a library that is loaded late finds room.

#include "monad/async/detail/executor_block.hpp"
#include "monad/async/task.h"

namespace monad::async {
inline namespace v0 {
namespace detail {
struct unwinding_scope; // detail/runtime.hpp
struct batch_link;      // io_batch.hpp
} // namespace detail
} // namespace v0
} // namespace monad::async

// As in patience.hpp.
namespace monad::async_cpp {

struct thread_lists {
    async::detail::unwinding_scope *scopes;
    async::detail::batch_link *batches;
    async::detail::executor_block *executors;
};

thread_lists &lists_of_this_thread() noexcept;

} // namespace monad::async_cpp

#endif

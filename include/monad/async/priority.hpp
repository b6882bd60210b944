#ifndef MONAD_ASYNC_PRIORITY_HPP
#define MONAD_ASYNC_PRIORITY_HPP

/** @file priority.hpp
 *  The three levels of CPU and I/O priority. */

#include "task.h"

#include <cstdint>

namespace monad::async {
inline namespace v0 {

/** Whenever an executor picks what to run, it takes the oldest ready task of the highest level.
 *  @see monad_async_task_set_priorities() */
enum class priority : std::uint8_t {
    high = monad_async_priority_high,     /**< before everything else */
    normal = monad_async_priority_normal, /**< what a new task has */
    low = monad_async_priority_low        /**< when nothing else is ready */
};

} // namespace v0
} // namespace monad::async

#endif

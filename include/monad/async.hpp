#ifndef MONAD_ASYNC_HPP
#define MONAD_ASYNC_HPP

/** @file async.hpp
 *  The whole C++ API. */

#if __cplusplus < 201703L
    #error "monad_async's C++ API needs C++17: compile with -std=c++17 or later"
#endif

#include "async.h"

#include "async/blocking.hpp"
#include "async/buffer.hpp"
#include "async/buffer_set.hpp"
#include "async/bytes.hpp"
#include "async/channel.hpp"
#include "async/connect.hpp"
#include "async/coroutine.hpp"
#include "async/error.hpp"
#include "async/direct.hpp"
#include "async/executor.hpp"
#include "async/executor_options.hpp"
#include "async/executor_ref.hpp"
#include "async/file.hpp"
#include "async/future.hpp"
#include "async/group.hpp"
#include "async/io_batch.hpp"
#include "async/listener.hpp"
#include "async/metrics.hpp"
#include "async/open_options.hpp"
#include "async/operation.hpp"
#include "async/ordered.hpp"
#include "async/path.hpp"
#include "async/poll.hpp"
#include "async/pool.hpp"
#include "async/priority.hpp"
#include "async/process.hpp"
#include "async/reader.hpp"
#include "async/scope.hpp"
#include "async/select.hpp"
#include "async/socket.hpp"
#include "async/socket_address.hpp"
#include "async/socket_handle.hpp"
#include "async/stop_token.hpp"
#include "async/stream.hpp"
#include "async/sync.hpp"
#include "async/task.hpp"
#include "async/task_local.hpp"
#include "async/this_task.hpp"
#include "async/writer.hpp"

#endif

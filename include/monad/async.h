#ifndef MONAD_ASYNC_H
#define MONAD_ASYNC_H

/** @file async.h
 *  The whole C API. */

#include "async/blocking.h"
#include "async/buffer.h"
#include "async/buffer_set.h"
#include "async/channel.h"
#include "async/direct.h"
#include "async/executor.h"
#include "async/file.h"
#include "async/group.h"
#include "async/inspect.h"
#include "async/metrics.h"
#include "async/op.h"
#include "async/path.h"
#include "async/poll.h"
#include "async/pool.h"
#include "async/process.h"
#include "async/remote.h"
#include "async/result.h"
#include "async/scope.h"
#include "async/select.h"
#include "async/socket.h"
#include "async/sync.h"
#include "async/task.h"
#include "async/task_local.h"
#include "async/ticks.h"
#include "async/trace.h"
#include "async/watchdog.h"

#endif

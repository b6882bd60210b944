#ifndef MONAD_ASYNC_BLOCKING_H
#define MONAD_ASYNC_BLOCKING_H

/** @file blocking.h
 *  Functions that block: they run on a helper thread, and only their task waits.
 *
 *  For what has no form that io_uring performs: a library that reads by itself, a compression, a
 *  name service. Helpers are made on demand, up to a bound that the process shares; beyond it calls
 *  wait, those of tasks with a higher CPU priority first. A helper without work leaves after a
 *  while.
 *
 *  A helper has a stack of 2 MiB, and takes no signal of the process but those of its own faults,
 *  `SIGABRT` and `SIGPROF`. The end of the process does not wait for a function that runs. The
 *  child of a `fork` has no helper, and makes its own; if the function itself forks, its thread
 *  ends in the child when it returns. A plugin with the archive of this library inside is not
 *  unloaded any more by `dlclose` once it has had a helper.
 *
 *  @snippet waiting.c blocking work
 *  @snippet waiting.c a name
 *
 *  The words ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stdint.h>

struct addrinfo; /* of <netdb.h> */

MONAD_ASYNC_EXTERN_C_BEGIN

/** A function that may block. It runs outside every task, and so must not call what SUSPENDS; an
 *  exception that leaves it ends the process. Where it calls `exit`, static objects end on its
 *  thread: of a static pool one of whose tasks waits for it, the two wait for each other for ever.
 *  `quick_exit` and `_exit` destroy none. */
typedef monad_async_result (*monad_async_blocking_fn)(void *ptr);

/** SUSPENDS the running task until `fn` has returned on a helper thread. What the task wrote before
 *  is visible to `fn`, and what `fn` wrote is visible to the task. EXPENSIVE: a lock that is held
 *  for some instructions, and two wake-ups; the time of a new thread where one is made.
 *
 *  A cancel, or the deadline of a scope, withdraws a call that has not begun: `fn` never runs. Once
 *  `fn` runs, the call waits for its return, however long that takes, and returns its result: so
 *  what it uses, on the task's stack for one, stays. Later calls of the task return the error.
 *  @param task the task that runs, which is the caller
 *  @param fn what to call
 *  @param ptr given to `fn`
 *  @return what `fn` returned; an errno may be its own
 *  @retval ECANCELED the task or a scope was cancelled before `fn` began
 *  @retval ETIME a scope's deadline passed before `fn` began
 *  @retval EAGAIN, ENOMEM there is no helper, and none could be made
 *  @retval EINVAL NULL for the task or the function
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_blocking_set_limits() */
MONAD_ASYNC_API monad_async_result monad_async_run_blocking(monad_async_task task,
                                                            monad_async_blocking_fn fn, void *ptr);

/** Finds the addresses of a host, the port of a service: `getaddrinfo`, on a helper thread. The
 *  helpers of names are others than those of functions: a slow name service keeps no function
 *  waiting. SUSPENDS the running task. EXPENSIVE.
 *
 *  A cancel, or the deadline of a scope, ends the call at once: the helper goes on by itself until
 *  the name service has answered, with copies of the arguments, and frees what it found.
 *  @param task the task that runs, which is the caller
 *  @param host a name, or an address in figures; NULL: as `getaddrinfo`
 *  @param service a name, or a port in figures; NULL: as `getaddrinfo`, but not both
 *  @param hints as `getaddrinfo`; NULL: none. Both structs are of <netdb.h>
 *  @param[out] list the addresses, to be freed with `freeaddrinfo`; untouched on an error
 *  @retval 0 found
 *  @retval ENOENT there is no such host or service; as with all errors of the name service, the
 *  value is `getaddrinfo`'s number, for `gai_strerror`; it is below -1, except for hints that
 *  contradict each other: -1, which errors of this library have, too
 *  @retval EAGAIN the name service does not answer for now, or there is no helper and none could be
 *  made
 *  @retval EIO the name service failed
 *  @retval ECANCELED, ETIME the task or a scope was cancelled, or a scope's deadline passed
 *  @retval EINVAL NULL, or hints that contradict each other; `EAFNOSUPPORT`: an address family or a
 *  kind of socket that there is not; `ENOMEM`
 *  @retval EPERM not the running task, or another thread
 *  @see monad_async_socket_connect() */
MONAD_ASYNC_API monad_async_result monad_async_resolve(monad_async_task task, char const *host,
                                                       char const *service,
                                                       struct addrinfo const *hints,
                                                       struct addrinfo **list);

/** Sets how many helpers the process may have, and how long one stays without work. ANY THREAD.
 *  EXPENSIVE: wakes those that are idle. Takes effect at once: those that are too many leave as
 *  soon as they have no function to run, and calls that wait get the helpers that are allowed now.
 *  @param helpers_max at most so many; 64 unless set
 *  @param idle_ns so long, in nanoseconds; 5 seconds unless set; 0: not at all
 *  @retval 0 done
 *  @retval EINVAL no helper at all
 *  @see monad_async_blocking_helpers() */
MONAD_ASYNC_API monad_async_result
monad_async_blocking_set_limits(uint32_t helpers_max, uint64_t idle_ns) MONAD_ASYNC_NOEXCEPT;

/** How many helpers there are, busy or idle. ANY THREAD.
 *  @return at this moment
 *  @see monad_async_blocking_set_limits() */
MONAD_ASYNC_API uint32_t monad_async_blocking_helpers(void) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

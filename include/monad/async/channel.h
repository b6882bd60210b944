#ifndef MONAD_ASYNC_CHANNEL_H
#define MONAD_ASYNC_CHANNEL_H

/** @file channel.h A channel: elements of one size, in the order in which they were sent, in memory
 *  of the caller's.
 *
 *  Any number of tasks may send and receive. A sender waits while the channel is full, a receiver
 *  while it is empty; who waits is served by CPU priority, then in order, and an element goes
 *  straight from the sender to a receiver that waits. With capacity 0 each sender meets a receiver.
 *  A send that is cancelled, or comes too late, has sent nothing; such a receive has taken nothing.
 *
 *  A channel that was closed gives what is inside, then `EPIPE`.
 *
 *  @snippet channels.c a channel
 *
 *  Two forms: `monad_async_channel` is for every task of every executor, and for threads outside
 *  tasks, which give NULL for the task and block. `monad_async_local_channel` is for the tasks of
 *  one executor, the one that uses it first; it does without atomics, and elsewhere every call is
 *  `EPERM`.
 *
 *  An object is its memory: set it up by `monad_async_channel_init`, keep it in place while anybody
 *  uses it, and let it go. Nothing is allocated.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Moves an element of `bytes` from one place to another: what it was at `from` has ended. Called
 *  for one element that is sent and one that is received at a time, while others may have to wait
 *  for it: it must be short, must not suspend and must not throw. */
typedef void (*monad_async_relocate)(void *to, void *from, size_t bytes);

/** A channel, for every thread. Its content is the library's. */
typedef struct monad_async_channel {
    /** The library's. */
    uint64_t reserved[24];
} monad_async_channel;

/** A channel, for the tasks of one executor. Its content is the library's. */
typedef struct monad_async_local_channel {
    /** The library's. */
    uint64_t reserved[24];
} monad_async_local_channel;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_channel, 192);
MONAD_ASYNC_ASSERT_SIZE(monad_async_local_channel, 192);
/** @endcond */

/** Makes an open, empty channel. ANY THREAD. Nothing need be done at its end; elements that are
 *  inside then are the caller's to find in `storage`, or to receive before.
 *  @param channel memory that nobody uses
 *  @param storage memory for `capacity` elements, for as long as the channel; NULL for none
 *  @param capacity how many may be inside; 0: each sender meets a receiver
 *  @param element_size bytes of an element; 0: nothing is moved
 *  @retval 0 done
 *  @retval EINVAL NULL, or more bytes than there can be
 *  @see monad_async_channel_send(), monad_async_channel_recv() */
MONAD_ASYNC_API monad_async_result
monad_async_channel_init(monad_async_channel *channel, void *storage, size_t capacity,
                         size_t element_size) MONAD_ASYNC_NOEXCEPT;

/** Says how elements are moved, before anybody uses the channel. ANY THREAD. Without it their bytes
 *  are copied.
 *  @param channel which
 *  @param relocate how; NULL: their bytes are copied
 *  @retval 0 done
 *  @retval EINVAL NULL for the channel
 *  @see monad_async_channel_init() */
MONAD_ASYNC_API monad_async_result monad_async_channel_set_relocate(
    monad_async_channel *channel, monad_async_relocate relocate) MONAD_ASYNC_NOEXCEPT;

/** Sends an element. ANY THREAD. SUSPENDS while the channel is full; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param channel which
 *  @param element which, read until the call returns; sent, it has been moved away
 *  @retval 0 sent
 *  @retval EPIPE closed
 *  @retval ECANCELED, ETIME interrupted by a cancel or a scope: not sent
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_channel_recv(), monad_async_channel_close() */
MONAD_ASYNC_API monad_async_result monad_async_channel_send(monad_async_task task,
                                                            monad_async_channel *channel,
                                                            void *element) MONAD_ASYNC_NOEXCEPT;

/** Sends an element, until a time. ANY THREAD. SUSPENDS while the channel is full, until a time; a
 *  thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param channel which
 *  @param element as for `monad_async_channel_send`
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 sent
 *  @retval ETIME too late: not sent; or a scope's deadline passed
 *  @retval EPIPE, ECANCELED, EDEADLK, EPERM, EINVAL as `monad_async_channel_send`
 *  @see monad_async_channel_send(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result
monad_async_channel_send_until(monad_async_task task, monad_async_channel *channel, void *element,
                               uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Receives an element. ANY THREAD. SUSPENDS while the channel is empty; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param channel which
 *  @param[out] element memory for one
 *  @retval 0 received
 *  @retval EPIPE closed, and nothing is inside
 *  @retval ECANCELED, ETIME interrupted by a cancel or a scope: nothing was taken
 *  @retval EDEADLK NULL for the task inside a task
 *  @retval EPERM not the running task, or another thread
 *  @retval EINVAL NULL
 *  @see monad_async_channel_send(), monad_async_channel_close() */
MONAD_ASYNC_API monad_async_result monad_async_channel_recv(monad_async_task task,
                                                            monad_async_channel *channel,
                                                            void *element) MONAD_ASYNC_NOEXCEPT;

/** Receives an element, until a time. ANY THREAD. SUSPENDS while the channel is empty, until a
 *  time; a thread blocks.
 *  @param task the task that runs, which is the caller; NULL: a thread outside every task
 *  @param channel which
 *  @param[out] element memory for one
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @retval 0 received
 *  @retval ETIME too late: nothing was taken; or a scope's deadline passed
 *  @retval EPIPE, ECANCELED, EDEADLK, EPERM, EINVAL as `monad_async_channel_recv`
 *  @see monad_async_channel_recv(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result
monad_async_channel_recv_until(monad_async_task task, monad_async_channel *channel, void *element,
                               uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** Sends an element if there is room, or a receiver waits. ANY THREAD. Does not suspend.
 *  @param channel which
 *  @param element as for `monad_async_channel_send`
 *  @retval 0 sent
 *  @retval EAGAIN it would have to wait
 *  @retval EPIPE closed
 *  @retval EINVAL NULL
 *  @see monad_async_channel_send() */
MONAD_ASYNC_API monad_async_result monad_async_channel_try_send(monad_async_channel *channel,
                                                                void *element) MONAD_ASYNC_NOEXCEPT;

/** Receives an element if there is one, or a sender waits. ANY THREAD. Does not suspend.
 *  @param channel which
 *  @param[out] element memory for one
 *  @retval 0 received
 *  @retval EAGAIN it would have to wait
 *  @retval EPIPE closed, and nothing is inside
 *  @retval EINVAL NULL
 *  @see monad_async_channel_recv() */
MONAD_ASYNC_API monad_async_result monad_async_channel_try_recv(monad_async_channel *channel,
                                                                void *element) MONAD_ASYNC_NOEXCEPT;

/** Closes the channel: nothing can be sent any more. ANY THREAD. Does not suspend. Senders that
 *  wait get `EPIPE` and keep their elements; so do receivers that wait. O(those who wait).
 *  @param channel which
 *  @return value 1 if it was open; else 0
 *  @retval EINVAL NULL
 *  @see monad_async_channel_send(), monad_async_channel_recv() */
MONAD_ASYNC_API monad_async_result monad_async_channel_close(monad_async_channel *channel)
    MONAD_ASYNC_NOEXCEPT;

/** Asks how many elements are inside, of which others may take some at once. ANY THREAD. Does not
 *  suspend.
 *  @param channel which
 *  @return how many
 *  @retval EINVAL NULL
 *  @see monad_async_channel_init() */
MONAD_ASYNC_API monad_async_result monad_async_channel_count(monad_async_channel *channel)
    MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_init`, for the tasks of one executor.
 *  @param channel memory that nobody uses
 *  @param storage memory for `capacity` elements, for as long as the channel; NULL for none
 *  @param capacity how many may be inside; 0: each sender meets a receiver
 *  @param element_size bytes of an element; 0: nothing is moved
 *  @return as `monad_async_channel_init`
 *  @see monad_async_channel_init() */
MONAD_ASYNC_API monad_async_result
monad_async_local_channel_init(monad_async_local_channel *channel, void *storage, size_t capacity,
                               size_t element_size) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_set_relocate`, for the tasks of one executor.
 *  @param channel which
 *  @param relocate how; NULL: their bytes are copied
 *  @return as `monad_async_channel_set_relocate`
 *  @see monad_async_channel_set_relocate() */
MONAD_ASYNC_API monad_async_result monad_async_local_channel_set_relocate(
    monad_async_local_channel *channel, monad_async_relocate relocate) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_send`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param channel which
 *  @param element which, read until the call returns; sent, it has been moved away
 *  @return as `monad_async_channel_send`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_channel_send() */
MONAD_ASYNC_API monad_async_result monad_async_local_channel_send(
    monad_async_task task, monad_async_local_channel *channel, void *element) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_send_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param channel which
 *  @param element as for `monad_async_channel_send`
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_channel_send_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_channel_send_until() */
MONAD_ASYNC_API monad_async_result
monad_async_local_channel_send_until(monad_async_task task, monad_async_local_channel *channel,
                                     void *element, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_recv`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param channel which
 *  @param[out] element memory for one
 *  @return as `monad_async_channel_recv`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_channel_recv() */
MONAD_ASYNC_API monad_async_result monad_async_local_channel_recv(
    monad_async_task task, monad_async_local_channel *channel, void *element) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_recv_until`, for the tasks of one executor.
 *  @param task the task that runs, which is the caller
 *  @param channel which
 *  @param[out] element memory for one
 *  @param boot_ns a time of `monad_async_now_ns`; `UINT64_MAX`: never
 *  @return as `monad_async_channel_recv_until`
 *  @retval EPERM another executor's; or no task, where one would have to wait
 *  @see monad_async_channel_recv_until() */
MONAD_ASYNC_API monad_async_result
monad_async_local_channel_recv_until(monad_async_task task, monad_async_local_channel *channel,
                                     void *element, uint64_t boot_ns) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_try_send`, for the tasks of one executor.
 *  @param channel which
 *  @param element as for `monad_async_channel_send`
 *  @return as `monad_async_channel_try_send`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_channel_try_send() */
MONAD_ASYNC_API monad_async_result monad_async_local_channel_try_send(
    monad_async_local_channel *channel, void *element) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_try_recv`, for the tasks of one executor.
 *  @param channel which
 *  @param[out] element memory for one
 *  @return as `monad_async_channel_try_recv`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_channel_try_recv() */
MONAD_ASYNC_API monad_async_result monad_async_local_channel_try_recv(
    monad_async_local_channel *channel, void *element) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_close`, for the tasks of one executor.
 *  @param channel which
 *  @return as `monad_async_channel_close`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_channel_close() */
MONAD_ASYNC_API monad_async_result
monad_async_local_channel_close(monad_async_local_channel *channel) MONAD_ASYNC_NOEXCEPT;

/** As `monad_async_channel_count`, for the tasks of one executor.
 *  @param channel which
 *  @return as `monad_async_channel_count`
 *  @retval EPERM from elsewhere than a task of its executor, or, once one has used it, its thread
 *  between two runs
 *  @see monad_async_channel_count() */
MONAD_ASYNC_API monad_async_result
monad_async_local_channel_count(monad_async_local_channel *channel) MONAD_ASYNC_NOEXCEPT;

MONAD_ASYNC_EXTERN_C_END

#endif

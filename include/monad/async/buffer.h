#ifndef MONAD_ASYNC_BUFFER_H
#define MONAD_ASYNC_BUFFER_H

/** @file buffer.h
 *  Buffers that many connections share: the kernel takes one when there is data, so that an idle
 *  connection holds none.
 *
 *  @verbatim
 *     monad_async_buffer_ring_create --> a ring of equal buffers, the kernel's to choose from
 *     monad_async_recv_stream_begin      a receive that stays armed
 *     monad_async_recv_stream_next   --> a view of the data, in the buffer that the kernel took
 *     monad_async_view_release           the buffer is the kernel's again
 *     monad_async_recv_stream_stop       takes no more; the connection goes on without it
 *   @endverbatim
 *
 *  @snippet receive_by_view.c a connection without a buffer
 *
 *  Two more ways to use a ring: an operation (op.h) with `IOSQE_BUFFER_SELECT`, `len` 0 and the
 *  ring's group in `buf_group`: `IORING_OP_RECV`, with `IORING_RECV_MULTISHOT` a stream;
 *  `IORING_OP_READ`; `IORING_OP_READ_MULTISHOT`. `monad_async_buffer_ring_view` says what its
 *  completion brought. Buffers of completions that nobody took go back to their ring when the task
 *  exits.
 *
 *  The words OWNER'S THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "op.h"
#include "result.h"
#include "socket.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

struct monad_async_buffer_ring_object;
/** A ring of buffers. */
typedef struct monad_async_buffer_ring_object *monad_async_buffer_ring;

/** Data that was received, in a buffer of a ring. Copyable; to be released once. */
typedef struct monad_async_view {
    /** The first byte; the bytes may be changed. */
    void *data;
    /** How many there are. */
    size_t length;
    /** Where the buffer goes. */
    monad_async_buffer_ring ring;
} monad_async_view;

/** `monad_async_recv_stream_begin`: with no buffer free, `next` returns `ENOBUFS` and does not
 *  wait. */
#define MONAD_ASYNC_RECV_STREAM_NO_WAIT 1u

/** `monad_async_recv_stream_begin`: what it receives is released by others, not by its task. A ring
 *  of such streams knows that from the first view on that another task has released. */
#define MONAD_ASYNC_RECV_STREAM_PASSES_ON 2u

/* The kernel's header ends the entry with an array of no size, which ISO C++ does not know. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
/** A stream of receives. Zero all of it first; it must neither move nor be freed until it has
 *  ended, or its task has exited. */
typedef struct monad_async_recv_stream {
    /** The library's; `op.is_in_flight` and `op.user_ptr` as in op.h. */
    monad_async_op op;
    /** The library's. */
    uint64_t reserved[7];
} monad_async_recv_stream;
#pragma GCC diagnostic pop

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_recv_stream, 248);
MONAD_ASYNC_ASSERT_SIZE(monad_async_view, 24);
/** @endcond */

/** Makes a ring of buffers and registers it. OWNER'S THREAD. EXPENSIVE. Memory is taken when a
 *  buffer is first filled. It stays until it is destroyed, after its executor has ended too.
 *  Before Linux 5.19 each buffer is handed to the kernel by an entry, and costs more.
 *  @param ex the executor
 *  @param[out] ring the ring; untouched on an error
 *  @param count how many buffers: a power of two, 32,768 at most
 *  @param bytes the size of each
 *  @retval 0 made
 *  @retval EINVAL NULL, or no such count or size
 *  @retval ENOTSUP a compute-only executor
 *  @retval ENOMEM memory, or the limit of locked memory
 *  @retval ENOSPC the executor has 32,767 of them
 *  @retval EPERM another thread
 *  @see monad_async_buffer_ring_destroy() */
MONAD_ASYNC_API monad_async_result
monad_async_buffer_ring_create(monad_async_executor ex, monad_async_buffer_ring *ring,
                               uint32_t count, uint32_t bytes) MONAD_ASYNC_NOEXCEPT;

/** Takes a ring away. OWNER'S THREAD, or any after its executor has ended. EXPENSIVE.
 *  @param ring the ring, or NULL
 *  @retval 0 gone
 *  @retval EBUSY a stream receives into it, a task waits for a buffer, or a view was not released
 *  @retval EPERM another thread
 *  @see monad_async_buffer_ring_create(), monad_async_view_release() */
MONAD_ASYNC_API monad_async_result monad_async_buffer_ring_destroy(monad_async_buffer_ring ring)
    MONAD_ASYNC_NOEXCEPT;

/** What an entry's `buf_group` is to hold. ANY THREAD.
 *  @param ring the ring
 *  @return its number; 0, which no ring has, for NULL
 *  @see monad_async_buffer_ring_view() */
MONAD_ASYNC_API uint16_t monad_async_buffer_ring_group(monad_async_buffer_ring ring)
    MONAD_ASYNC_NOEXCEPT;

/** What an operation's completion brought. OWNER'S THREAD; does not suspend.
 *  @param ring the ring that the operation takes its buffers from
 *  @param op the operation, whose completion was just taken by `monad_async_op_wait` or
 *  `monad_async_op_wait_any`
 *  @param[out] view the data, to be released
 *  @return the length
 *  @retval ENODATA the completion took no buffer: end of file, or an error
 *  @retval EINVAL NULL, or the ring has no such buffer out
 *  @retval EPERM another thread
 *  @see monad_async_view_release() */
MONAD_ASYNC_API monad_async_result
monad_async_buffer_ring_view(monad_async_buffer_ring ring, monad_async_op const *op,
                             monad_async_view *view) MONAD_ASYNC_NOEXCEPT;

/** Gives a buffer back to its ring, and wakes a task that waits for one. OWNER'S THREAD, inside
 *  tasks and outside, or one thread after its executor has ended; a few nanoseconds, no system
 *  call.
 *  @param view from `monad_async_recv_stream_next` or `monad_async_buffer_ring_view`; emptied
 *  @retval 0 given back
 *  @retval EINVAL NULL, or no view that is out: it was released already
 *  @retval EPERM another thread
 *  @see monad_async_recv_stream_next() */
MONAD_ASYNC_API monad_async_result monad_async_view_release(monad_async_view *view)
    MONAD_ASYNC_NOEXCEPT;

/** Begins to receive. Does not suspend, no malloc; two system calls, which ask a plain descriptor
 *  for its type and domain. From now on data is taken off the socket as it comes, as far as there
 *  are buffers.
 *
 *  Linux 6.17 to 6.19 without what was mended in 2026 ("fix multishot recv missing EOF", in 7.0
 *  and in stable releases: 6.18.44 has it) may never tell of a Unix socket's end that comes right
 *  behind data: there a peer says by a message that it has finished. So it does to a direct Unix
 *  socket on any from 6.17 on: of an end that comes behind fewer than 17 buffers in the
 *  microseconds in which the stream begins it is not told, as it cannot be asked.
 *  @param task the task that runs, which is the caller, and alone may use the stream
 *  @param stream zeroed, or one that has ended
 *  @param socket a connected stream socket; not one of messages, datagrams for example: what does
 *  not fit in a buffer would be lost, and an empty one be taken for the end. Of a direct one that
 *  is not seen
 *  @param ring where the data goes; of the same executor
 *  @param flags 0, `MONAD_ASYNC_RECV_STREAM_NO_WAIT`, `MONAD_ASYNC_RECV_STREAM_PASSES_ON`
 *  @retval 0 begun
 *  @retval EBUSY in flight: the kernel receives for it, or its last completion was not taken
 *  @retval EINVAL NULL, no such flag
 *  @retval EOPNOTSUPP a plain socket of messages: `monad_async_socket_recvmsg`
 *  @retval EBADF, ENOTSOCK no such descriptor, or of no socket
 *  @retval EPERM not the running task, or another executor's ring
 *  @see monad_async_recv_stream_next(), monad_async_recv_stream_end() */
MONAD_ASYNC_API monad_async_result monad_async_recv_stream_begin(
    monad_async_task task, monad_async_recv_stream *stream, monad_async_socket socket,
    monad_async_buffer_ring ring, uint32_t flags) MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS until there is data, and hands it out: at once where some has come already. With no
 *  buffer free it waits until one is given back. Data that has come is never lost by a cancel or a
 *  deadline: the next call has it.
 *  @param stream one that the task that runs has begun
 *  @param[out] view the data, to be released; untouched otherwise
 *  @return its length; 0: the end of the stream, to which it stays; or it was stopped, and has no
 *  more
 *  @retval ENOBUFS no buffer is free, with `MONAD_ASYNC_RECV_STREAM_NO_WAIT`
 *  @retval EDEADLK nothing is ready, and every buffer is held by a task that waits for one, this
 *  one last, or filled for another stream of such a task: release or take some. A view counts as
 *  held by who received it, until that exits; where it is another that releases it, say so to
 *  `begin`. Of a ring whose views are passed on it is only known once all tasks of the executor
 *  wait for a buffer
 *  @retval ECANCELED the task or a scope was cancelled, or the stream, or its socket was closed
 *  @retval ETIME a scope's deadline passed
 *  @retval ECONNRESET and others: as `recv`; the stream has ended
 *  @retval EINVAL NULL, or never begun
 *  @retval EPERM not its task
 *  @see monad_async_view_release() */
MONAD_ASYNC_API monad_async_result monad_async_recv_stream_next(monad_async_recv_stream *stream,
                                                                monad_async_view *view);

/** Takes no more off the socket. Does not suspend; one operation, where a receive is armed. `next`
 *  hands out what was taken, then 0, as at the end of the stream. From then on, where the peer has
 *  not ended, the rest is the socket's, for a `recv` or another reader. So a connection goes on
 *  without the stream: behind a header, with another protocol, by TLS. Stopped or ended before:
 *  nothing happens.
 *  @param stream one that the task that runs has begun
 *  @retval 0 asked
 *  @retval EINVAL NULL, or never begun
 *  @retval EPERM not its task
 *  @see monad_async_recv_stream_next(), monad_async_recv_stream_end() */
MONAD_ASYNC_API monad_async_result monad_async_recv_stream_stop(monad_async_recv_stream *stream)
    MONAD_ASYNC_NOEXCEPT;

/** SUSPENDS until the kernel has let go of a stream, whatever scopes have fired; what it has
 *  brought, and nobody took, is dropped and its buffers go back. Views that were handed out stay.
 *  @param stream one that the task that runs has begun; ended already: nothing happens
 *  @retval 0 ended
 *  @retval EINVAL NULL
 *  @retval EPERM not its task
 *  @see monad_async_recv_stream_begin(), monad_async_recv_stream_stop() */
MONAD_ASYNC_API monad_async_result monad_async_recv_stream_end(monad_async_recv_stream *stream);

MONAD_ASYNC_EXTERN_C_END

#endif

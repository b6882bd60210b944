#ifndef MONAD_ASYNC_DIRECT_H
#define MONAD_ASYNC_DIRECT_H

/** @file direct.h
 *  Direct descriptors (`MONAD_ASYNC_FILE_DIRECT`, `MONAD_ASYNC_SOCKET_DIRECT`) outside their own
 *  executor: as plain ones, and in another executor's table. What file.h says of all its calls
 *  holds for these.
 *
 *  A handle names the executor that knows it: calls by it in a task of another one return `EPERM`,
 *  and touch nothing; so does `monad_async_op_begin` of what was filled in by such a handle. An
 *  entry, or a handle, that the program has put together of an index is about what has that index
 *  there.
 *
 *  Either way there are two handles of one open file afterwards, each to be closed by itself; the
 *  file is, and a connection ends, with the last of them.
 *
 *  The words ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "file.h"
#include "op.h"
#include "remote.h"
#include "result.h"
#include "socket.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** Makes a plain descriptor of the same open file, which may be given to other libraries, with
 *  `FD_CLOEXEC`. EXPENSIVE. A direct one: SUSPENDS, Linux 6.8. A plain one is duplicated, an
 *  ordered file's without its order.
 *  @param task the task that runs
 *  @param file the file, which stays open
 *  @param[out] plain the new one; untouched on an error
 *  @retval 0 made
 *  @retval EOPNOTSUPP a direct one, and the kernel cannot
 *  @retval EMFILE no descriptor is left
 *  @see monad_async_file_pass() */
MONAD_ASYNC_API monad_async_result monad_async_file_to_plain(monad_async_task task,
                                                             monad_async_file file,
                                                             monad_async_file *plain);

/** As `monad_async_file_to_plain`, for a socket.
 *  @param task the task that runs
 *  @param socket the socket, which stays open
 *  @param[out] plain the new one; untouched on an error
 *  @retval 0 made
 *  @retval EOPNOTSUPP a direct one, and the kernel cannot
 *  @retval EMFILE no descriptor is left
 *  @see monad_async_socket_pass() */
MONAD_ASYNC_API monad_async_result monad_async_socket_to_plain(monad_async_task task,
                                                               monad_async_socket socket,
                                                               monad_async_socket *plain);

/** Puts a direct descriptor into the table of another executor of this process, for a task there.
 *  SUSPENDS. EXPENSIVE. Linux 6.0. That executor need not run for that, and is not told: how the
 *  handle comes to its task is the program's affair, a channel's say (channel.h). What nobody takes
 *  there stays open until that executor ends.
 *  @param task the task that runs
 *  @param file a direct one, which stays open
 *  @param to the other executor
 *  @param[out] passed the file for tasks of that executor alone, in no order; untouched on an error
 *  @retval 0 passed
 *  @retval EINVAL also: not a direct one, or `to` is the task's own executor
 *  @retval ENFILE that executor's table is full, or it has none
 *  @retval ESHUTDOWN that executor is gone
 *  @retval ENOTSUP also: that one is compute-only
 *  @retval EOPNOTSUPP the kernel cannot
 *  @retval EMFILE no descriptor is left, of which the call takes one
 *  @see monad_async_file_to_plain() */
MONAD_ASYNC_API monad_async_result monad_async_file_pass(monad_async_task task,
                                                         monad_async_file file,
                                                         monad_async_remote to,
                                                         monad_async_file *passed);

/** As `monad_async_file_pass`, for a socket.
 *  @param task the task that runs
 *  @param socket a direct one, which stays open
 *  @param to the other executor
 *  @param[out] passed the socket for tasks of that executor alone; untouched on an error
 *  @retval 0 passed
 *  @retval EINVAL and others: as `monad_async_file_pass`
 *  @see monad_async_socket_to_plain() */
MONAD_ASYNC_API monad_async_result monad_async_socket_pass(monad_async_task task,
                                                           monad_async_socket socket,
                                                           monad_async_remote to,
                                                           monad_async_socket *passed);

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** Fills an idle operation that makes a plain descriptor of a direct one, with `FD_CLOEXEC`, which
 *  is its result. ANY THREAD. Linux 6.8. Where nobody takes the completion, it is closed.
 *  @param[out] op the operation
 *  @param index of the direct one: `fd` of its handle, of the executor where it is begun, which an
 *  index does not tell; `EBADF` is the result where it has none such
 *  @see monad_async_file_to_plain(), monad_async_op_begin() */
static inline void monad_async_op_to_plain(monad_async_op *op, int32_t index)
{
    /* IORING_OP_FIXED_FD_INSTALL, which older headers lack. */
    monad_async_op_fill(op, 54, index, MONAD_ASYNC_FILE_DIRECT, NULL, 0, 0);
}

/** Fills an idle operation that puts a direct descriptor into the table of another ring, where its
 *  index is the result. ANY THREAD. Linux 6.0. Where nobody takes the completion, it stays there.
 *  @param[out] op the operation
 *  @param index of the direct one: `fd` of its handle, of the executor where it is begun, which an
 *  index does not tell; `EBADF` is the result where it has none such
 *  @param ring the other ring's descriptor, `monad_async_executor_ring_fd` of an executor that
 *  stays until the operation is over
 *  @see monad_async_file_pass(), monad_async_op_begin() */
static inline void monad_async_op_pass(monad_async_op *op, int32_t index, int ring)
{
    /* IORING_OP_MSG_RING, IORING_MSG_SEND_FD, IORING_FILE_INDEX_ALLOC, IORING_MSG_RING_CQE_SKIP,
     * which older headers lack; `addr3` lies where they have padding. */
    monad_async_op_fill(op, 40, ring, 0, NULL, 0, 0);
    uint64_t const source = (uint32_t)index;
    memcpy((char *)&op->sqe + 48, &source, sizeof source);
    op->sqe.addr = 1;
    op->sqe.file_index = 0xffffffffu;
    op->sqe.rw_flags = 1;
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

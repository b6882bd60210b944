#ifndef MONAD_ASYNC_BUFFER_SET_H
#define MONAD_ASYNC_BUFFER_SET_H

/** @file buffer_set.h
 *  Registered buffers: memory that the kernel has pinned once, so that a read or a write into it is
 *  cheaper than another. A task claims one, uses it, and releases it.
 *
 *  @verbatim
 *     monad_async_buffers_register --> a set of equal buffers
 *     monad_async_buffers_claim    --> one of them, the task's; waits until one is free
 *     monad_async_file_read_fixed      reads into it
 *     monad_async_buffers_release      it is anybody's again
 *   @endverbatim
 *
 *  The kernel is done with a buffer before anybody else gets it: one with operations in flight is
 *  not released (`EBUSY`). Operations and entries that were filled by hand count too, if they are
 *  `IORING_OP_READ_FIXED`, `WRITE_FIXED`, `SEND` or `SEND_ZC`; `EINVAL` if they are not inside a
 *  buffer that somebody has. Those of several parts, and commands, are not seen: who begins one
 *  releases its buffers when it is over.
 *
 *  **Several executors.** A set that was shared may be cloned to other executors, whose tasks then
 *  claim from the same buffers, and may use those that another's task has claimed. The memory is
 *  pinned once where the kernel can share it (Linux 6.13), else once for each of them. Before it is
 *  shared, a set costs no atomic operation.
 *
 *  A kernel without tables of registered buffers (before Linux 5.13) does the same as ordinary
 *  reads and writes; `monad_async_executor_config_string` says so. A ring has one such table: a
 *  program that registers its own by the ring's descriptor gets `EBUSY` from one of the two.
 *
 *  The words OWNER'S THREAD, ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "executor.h"
#include "file.h"
#include "op.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

struct monad_async_buffer_set_object;
/** A set of registered buffers, as one executor has it. */
typedef struct monad_async_buffer_set_object *monad_async_buffer_set;

/** A buffer that was claimed. Copyable; to be released once. */
typedef struct monad_async_buffer {
    /** The first byte. */
    void *data;
    /** How many there are. */
    size_t length;
    /** Where it was claimed. */
    monad_async_buffer_set set;
    /** Which one of the set. */
    uint32_t number;
    /** What `buf_index` of an entry that is filled by hand is to hold, on the executor of `set`;
     *  65,535: the kernel has no table. */
    uint16_t index;
    /** The library's. */
    uint16_t reserved;
} monad_async_buffer;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_buffer, 32);
/** @endcond */

/** Makes a set of buffers and registers it. OWNER'S THREAD. EXPENSIVE: all of its memory is pinned
 *  now. The first buffer begins at a page, the others right behind each other.
 *  @param ex the executor
 *  @param[out] set the set; untouched on an error
 *  @param count how many buffers; 1 to 16,777,216
 *  @param bytes the size of each; 1 byte to 1 GiB, a multiple of the page for direct I/O
 *  @retval 0 made
 *  @retval EINVAL NULL, no such count or size, or more than 256 GiB
 *  @retval ENOTSUP a compute-only executor
 *  @retval ENOMEM memory, or the limit of locked memory (`RLIMIT_MEMLOCK`)
 *  @retval ENOSPC the executor has 256 pieces of 1 GiB or less
 *  @retval EBUSY the program has registered buffers of its own with the ring
 *  @retval EPERM another thread
 *  @see monad_async_buffers_unregister() */
MONAD_ASYNC_API monad_async_result
monad_async_buffers_register(monad_async_executor ex, monad_async_buffer_set *set, uint32_t count,
                             uint32_t bytes) MONAD_ASYNC_NOEXCEPT;

/** From now on other executors may clone the set, and every thread may release its buffers. Not to
 *  be undone. OWNER'S THREAD; before another thread gets to see the set.
 *  @param set the set
 *  @retval 0 shared
 *  @retval EBUSY a task waits for a buffer
 *  @retval EINVAL NULL
 *  @retval EPERM another thread
 *  @see monad_async_buffers_clone() */
MONAD_ASYNC_API monad_async_result monad_async_buffers_share(monad_async_buffer_set set)
    MONAD_ASYNC_NOEXCEPT;

/** Gives another executor the same buffers. OWNER'S THREAD of that one. EXPENSIVE. `set` and its
 *  executor must stay until the call has returned.
 *  @param ex the other executor
 *  @param[out] clone its handle of the set; untouched on an error
 *  @param set any executor's handle of the set
 *  @retval 0 made
 *  @retval EPERM the set was not shared, or another thread
 *  @retval EINVAL and others: as `monad_async_buffers_register`
 *  @see monad_async_buffers_share() */
MONAD_ASYNC_API monad_async_result
monad_async_buffers_clone(monad_async_executor ex, monad_async_buffer_set *clone,
                          monad_async_buffer_set set) MONAD_ASYNC_NOEXCEPT;

/** Gives up an executor's handle of a set; the last one takes the memory along. OWNER'S THREAD, or
 *  any after the executor was destroyed. EXPENSIVE.
 *  @param set the handle, or NULL
 *  @retval 0 gone
 *  @retval EBUSY a buffer that was claimed by this handle was not released, a task waits for one,
 *          or an operation of its executor is in flight on one, by whichever handle it was claimed
 *  @retval EPERM another thread
 *  @see monad_async_buffers_register() */
MONAD_ASYNC_API monad_async_result monad_async_buffers_unregister(monad_async_buffer_set set)
    MONAD_ASYNC_NOEXCEPT;

/** Claims a buffer. SUSPENDS until one is free: those of a higher CPU priority are served first,
 *  then in order. What it holds is what its last claimer left. A few nanoseconds where one is free.
 *  @param task the task that runs
 *  @param set of the task's executor
 *  @param[out] buffer the buffer; untouched on an error
 *  @retval 0 claimed
 *  @retval EDEADLK all buffers are claimed by tasks that wait for one more here, this one among
 *  them: release some. (What a run of a task has claimed that is over is with others.)
 *  @retval ECANCELED the task or a scope was cancelled
 *  @retval ETIME a scope's deadline passed
 *  @retval EINVAL NULL
 *  @retval EPERM not the running task, or another executor's set
 *  @see monad_async_buffers_release() */
MONAD_ASYNC_API monad_async_result monad_async_buffers_claim(monad_async_task task,
                                                             monad_async_buffer_set set,
                                                             monad_async_buffer *buffer);

/** As `monad_async_buffers_claim`, until a time at most.
 *  @param task the task that runs
 *  @param set of the task's executor
 *  @param[out] buffer the buffer; untouched on an error
 *  @param boot_ns of `monad_async_now_ns`
 *  @retval 0 claimed
 *  @retval ETIME it was too late, or a scope's deadline passed
 *  @retval EDEADLK and others: as there
 *  @see monad_async_buffers_claim(), monad_async_task_interrupted() */
MONAD_ASYNC_API monad_async_result monad_async_buffers_claim_until(monad_async_task task,
                                                                   monad_async_buffer_set set,
                                                                   monad_async_buffer *buffer,
                                                                   uint64_t boot_ns);

/** Claims a buffer if one is free. Does not suspend.
 *  @param task the task that runs
 *  @param set of the task's executor
 *  @param[out] buffer the buffer; untouched on an error
 *  @retval 0 claimed
 *  @retval EAGAIN none is free, or others wait
 *  @retval EINVAL NULL
 *  @retval EPERM not the running task, or another executor's set
 *  @see monad_async_buffers_claim() */
MONAD_ASYNC_API monad_async_result
monad_async_buffers_try_claim(monad_async_task task, monad_async_buffer_set set,
                              monad_async_buffer *buffer) MONAD_ASYNC_NOEXCEPT;

/** Gives a buffer back; who waits first for one has it at once. OWNER'S THREAD; of a shared set ANY
 *  THREAD. Inside tasks and outside.
 *  @param buffer from a claim; emptied
 *  @retval 0 given back
 *  @retval EBUSY an operation on it is in flight
 *  @retval EINVAL NULL, or no claim that stands: it was released already
 *  @retval EPERM another thread, and the set is not shared
 *  @see monad_async_buffers_claim() */
MONAD_ASYNC_API monad_async_result monad_async_buffers_release(monad_async_buffer *buffer)
    MONAD_ASYNC_NOEXCEPT;

/** Says who will release a buffer, where that is not its claimer: what a task holds that waits for
 *  one more is held for nothing, and a claim may end with `EDEADLK` for it. Threads as for
 *  `monad_async_buffers_release`.
 *  @param buffer from a claim, which stands as it is
 *  @param task who has it from now on; NULL: nobody who claims
 *  @retval 0 noted
 *  @retval EDEADLK that task waits for one more here, and all others are claimed by tasks that do:
 *          the claim is whose it was, who may release it
 *  @retval EINVAL NULL, or no claim that stands
 *  @retval EPERM another thread, and the set is not shared
 *  @see monad_async_buffers_release() */
MONAD_ASYNC_API monad_async_result monad_async_buffers_give(
    monad_async_buffer const *buffer, monad_async_task task) MONAD_ASYNC_NOEXCEPT;

/** Reads into a part of a buffer, as `pread` or `read`. SUSPENDS.
 *  @param task the task that runs; of an executor that has the set
 *  @param file the file
 *  @param buffer from a claim
 *  @param at where in the buffer the part begins
 *  @param bytes its length
 *  @param offset in the file; -1: the current position
 *  @return how many bytes were read; 0: the end of the file
 *  @retval EINVAL NULL, no claim that stands, or more than the buffer has
 *  @retval EBADF no such descriptor
 *  @retval ECANCELED the task or a scope was cancelled, or the file was closed
 *  @retval ETIME a scope's deadline passed
 *  @retval EPERM not the running task, or of an executor that the set was not cloned to
 *  @see monad_async_buffers_claim(), monad_async_file_read() */
MONAD_ASYNC_API monad_async_result monad_async_file_read_fixed(monad_async_task task,
                                                               monad_async_file file,
                                                               monad_async_buffer const *buffer,
                                                               size_t at, size_t bytes,
                                                               int64_t offset);

/** Writes a part of a buffer, as `pwrite` or `write`. SUSPENDS.
 *  @param task the task that runs; of an executor that has the set
 *  @param file the file
 *  @param buffer from a claim
 *  @param at where in the buffer the part begins
 *  @param bytes its length
 *  @param offset in the file; -1: the current position
 *  @return how many bytes were written; may be fewer, on a full disk for one
 *  @retval EOPNOTSUPP an ordered file: write by the operation
 *  @retval EINVAL and others: as `monad_async_file_read_fixed`
 *  @see monad_async_buffers_claim(), monad_async_file_write() */
MONAD_ASYNC_API monad_async_result monad_async_file_write_fixed(monad_async_task task,
                                                                monad_async_file file,
                                                                monad_async_buffer const *buffer,
                                                                size_t at, size_t bytes,
                                                                int64_t offset);

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** @cond what the functions below share */
static inline void monad_async_op_fill_fixed(monad_async_op *op, uint8_t opcode,
                                             monad_async_file file,
                                             monad_async_buffer const *buffer, size_t at,
                                             size_t bytes, int64_t offset)
{
    monad_async_op_fill(op, opcode, file.fd, file.flags, (char const *)buffer->data + at,
                        (uint64_t)offset, bytes);
    op->sqe.buf_index = buffer->index;
}
/** @endcond */

/** Fills an idle operation with a read into a part of a buffer. ANY THREAD. `monad_async_op_begin`
 *  answers with `EINVAL` where that lies in no buffer that is claimed. While it is in flight, the
 *  buffer is not released.
 *  @param[out] op the operation
 *  @param file the file
 *  @param buffer from a claim
 *  @param at where in the buffer the part begins
 *  @param bytes its length
 *  @param offset in the file; -1: the current position
 *  @see monad_async_file_read_fixed(), monad_async_op_begin() */
static inline void monad_async_op_read_fixed(monad_async_op *op, monad_async_file file,
                                             monad_async_buffer const *buffer, size_t at,
                                             size_t bytes, int64_t offset)
{
    monad_async_op_fill_fixed(op, IORING_OP_READ_FIXED, file, buffer, at, bytes, offset);
}

/** Fills an idle operation with a write of a part of a buffer. ANY THREAD. As
 *  `monad_async_op_read_fixed`.
 *  @param[out] op the operation
 *  @param file the file
 *  @param buffer from a claim
 *  @param at where in the buffer the part begins
 *  @param bytes its length
 *  @param offset in the file; -1: the current position
 *  @see monad_async_file_write_fixed(), monad_async_op_begin() */
static inline void monad_async_op_write_fixed(monad_async_op *op, monad_async_file file,
                                              monad_async_buffer const *buffer, size_t at,
                                              size_t bytes, int64_t offset)
{
    monad_async_op_fill_fixed(op, IORING_OP_WRITE_FIXED, file, buffer, at, bytes, offset);
    monad_async_op_fill_row(op, file);
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

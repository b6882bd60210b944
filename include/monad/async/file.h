#ifndef MONAD_ASYNC_FILE_H
#define MONAD_ASYNC_FILE_H

/** @file file.h
 *  Files; their names are in path.h, which this includes. Each call looks like the POSIX call that
 *  it replaces, and suspends the task where that would block the thread. None raises SIGPIPE or
 *  touches errno, and none returns `EINTR`. Descriptors are made with `FD_CLOEXEC`.
 *
 *  A time-out of a call is a scope around it (scope.h). A cancel or a deadline never loses what a
 *  call has done: its real result is returned if it was there first. What the disk is doing already
 *  is not interrupted: such a call returns when it is done. A descriptor with `O_NONBLOCK`, of a
 *  pipe say, may be used: a call waits all the same, unless `RWF_NOWAIT` is among its flags.
 *
 *  What the kernel's ring cannot do is done on a helper thread (blocking.h), with the same results:
 *  `monad_async_executor_config_string` tells what that is. That takes a plain descriptor more
 *  (`EMFILE`), which a direct one has since Linux 6.8 (before it: `EOPNOTSUPP`).
 *
 *  An offset counts bytes from the file's start; -1 is the current position, which the call moves;
 *  pipes and sockets have no other. (Before Linux 6.18 a thread of the kernel's performs a write at
 *  -1, for SIGPIPE; one to a pipe waits for an empty page on 5.16 to 6.2.) The kernel's ring does
 *  not move the position of a file with `O_DIRECT`, nor, since Linux 6.0, behind a write that comes
 *  short: the calls do, by system calls. They cannot where an adopted descriptor has `O_DIRECT` and
 *  is not ordered, nor by one that is direct and ordered; and operations do not, unless the file is
 *  ordered: give offsets. Two tasks that use one position at once may begin at one place, with
 *  `O_DIRECT`, and where a write comes short or waits in its middle: one overwrites what the other
 *  wrote, or reads the same. Not so ordered writes, nor with `O_APPEND`.
 *
 *  The last functions only fill an operation (op.h): what the ring does, since the kernel version
 *  that is given (before it: `EOPNOTSUPP`), with no helper behind it. What they point to must live
 *  until it is over. None closes, as that takes several: what others have in flight ends first
 *  (`monad_async_file_close`). None has a `resolve`: fill in an `IORING_OP_OPENAT2`.
 *
 *  Common to all calls that take a task: the task is the one that runs, which is the caller.
 *  Besides the errors that are listed, each returns those of the POSIX call, and
 *  - `ECANCELED`: the task or a scope was cancelled, or the handle was closed;
 *  - `ETIME`: a scope's deadline passed;
 *  - `EBADF`: no such descriptor;
 *  - `EINVAL`: NULL (for bytes to be moved `EFAULT`), or flags that this version does not know;
 *  - `EPERM`: not the running task, or another thread; or a direct file of another executor;
 *  - `ENOTSUP`: a compute-only executor.
 *
 *  The words ANY THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "op.h"
#include "path.h"
#include "poll.h"
#include "result.h"
#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** `monad_async_file::flags`: `fd` is the index of a direct descriptor, one that only the
 *  executor's ring knows. As a flag of what opens a file: make such a one; the executor's attribute
 *  `direct_descriptors` says how many there may be (more: `ENFILE`). Elsewhere: see direct.h. */
#define MONAD_ASYNC_FILE_DIRECT 0x80000000u

/** As a flag of what opens a file, and of `monad_async_file::flags`, with the number of its row in
 *  the lower half: its writes are done one after the other.
 *
 *  Writes of any number of tasks, and operations, take their places in the order in which they are
 *  called or begun; each, or its first 0x7ffff000 bytes, is done as a whole, short transfers
 *  finished, before the next one. Reads and all else are not held up. What waits goes to the kernel
 *  in rows: in a regular file those that go on where the one before ends as one vectored write,
 *  else linked to each other; those to a regular file that do not go on, or are many, are performed
 *  by a helper thread unless the file is a direct one, has `O_DIRECT` or `O_SYNC`, or is on XFS or
 *  Btrfs, which write to memory without blocking (since Linux 6.1). A row is of one executor: by
 *  its handle others read the file, and all else, but do not write or close it (`EPERM`).
 *
 *  An error ends the row: the write that has it returns it, with how much of it was written as the
 *  value; what came behind returns `ECANCELED`, and is not written; and so does what is called
 *  until the failed call has returned to its task, which is thus the first to know.
 *  `monad_async_file_row_error` tells where. A write that is cancelled alone, by its task or a
 *  scope, is left out, and the others go on. */
#define MONAD_ASYNC_FILE_ORDERED 0x40000000u

/** An open file, by value: a descriptor that may be given to other libraries, or a direct one. */
typedef struct monad_async_file {
    /** The descriptor, or the index of a direct one. */
    int32_t fd;
    /** 0, or `MONAD_ASYNC_FILE_DIRECT`, `MONAD_ASYNC_FILE_ORDERED` with the row, and bits of the
     *  library's own. */
    uint32_t flags;
} monad_async_file;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_file, 8);
/** @endcond */

/** A descriptor as a file. ANY THREAD.
 *  @param fd any descriptor; whose it is does not change
 *  @return the file
 *  @see monad_async_file_open() */
static inline monad_async_file monad_async_file_adopt(int fd)
{
    monad_async_file file;
    file.fd = fd;
    file.flags = 0;
    return file;
}

/** Opens a file, as `openat2`, with `O_CLOEXEC`. SUSPENDS. One that a cancel comes too late for is
 *  the caller's, with success. A FIFO without a reader is `ENXIO` (its name not cached: it waits);
 *  without a writer it may be there at once, its end, too; a line's carrier is not waited for.
 *  @param task the task that runs
 *  @param[out] file untouched on an error
 *  @param directory where a relative path begins: a descriptor, or `AT_FDCWD`
 *  @param path the file's name
 *  @param open_flags `O_RDONLY` and so on; unknown ones are refused
 *  @param mode of a file that is made; without `O_CREAT` or `O_TMPFILE` not looked at
 *  @param resolve 0, or `RESOLVE_...` of `<linux/openat2.h>`
 *  @param flags 0, or `MONAD_ASYNC_FILE_DIRECT` (Linux 5.19), `MONAD_ASYNC_FILE_ORDERED`
 *  @retval 0 opened
 *  @retval ENFILE also: 65,535 ordered files of one executor */
MONAD_ASYNC_API monad_async_result monad_async_file_open(monad_async_task task,
                                                         monad_async_file *file, int directory,
                                                         char const *path, int open_flags,
                                                         uint32_t mode, uint64_t resolve,
                                                         uint32_t flags);

/** Makes a file that is open an ordered one. EXPENSIVE; does not suspend.
 *  @param task the task that runs
 *  @param[in,out] file the handle by which its writes are ordered from here on
 *  @retval 0 it is
 *  @retval EINVAL it was ordered already; or by another handle, by which it is written now
 *  @see MONAD_ASYNC_FILE_ORDERED */
MONAD_ASYNC_API monad_async_result monad_async_file_set_ordered(monad_async_task task,
                                                                monad_async_file *file);

/** How a row of an ordered file was last ended by an error. Does not suspend.
 *  @param task the task that runs
 *  @param file the file
 *  @param[out] offset where writing stopped, in bytes from the start of the file; -1: at its
 *  current position; may be NULL
 *  @return with the error: how many writes were cancelled for it
 *  @retval 0 none was
 *  @retval EINVAL not an ordered file; `offset` is untouched
 *  @see monad_async_file_set_ordered() */
MONAD_ASYNC_API monad_async_result monad_async_file_row_error(monad_async_task task,
                                                              monad_async_file file,
                                                              int64_t *offset);

/** Ends what any task of the executor has in flight on the file, with `ECANCELED` where the disk is
 *  not at it yet, and closes it. SUSPENDS, whatever scopes have fired, if something is in flight or
 *  its file system flushes (NFS, FUSE, overlayfs). What was meant for it never reaches what has its
 *  number next. The last close of a file whose name is gone frees its blocks on the executor's
 *  thread, tenths of a second for a GiB; a name removed later (path.h), on one of the kernel's.
 *  @param task the task that runs
 *  @param file not to be used any more
 *  @retval 0 closed
 *  @see monad_async_file_open() */
MONAD_ASYNC_API monad_async_result monad_async_file_close(monad_async_task task,
                                                          monad_async_file file);

/** As `pread` or `read`. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param[out] data where it goes
 *  @param bytes the room there
 *  @param offset where in the file; -1: the current position
 *  @return how many bytes were read, which may be fewer; 0: the end of the file
 *  @retval EISDIR a folder
 *  @retval EIO the disk cannot
 *  @see monad_async_file_read_all(), monad_async_file_readv() */
MONAD_ASYNC_API monad_async_result monad_async_file_read(monad_async_task task,
                                                         monad_async_file file, void *data,
                                                         size_t bytes, int64_t offset);

/** As `pwrite` or `write`. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param data what to write
 *  @param bytes how much
 *  @param offset where in the file; -1: the current position
 *  @return how many bytes were written, which may be fewer
 *  @retval ENOSPC, EDQUOT there is no room
 *  @retval EFBIG beyond what a file may be
 *  @retval EPIPE a pipe whose reader is gone; there is no SIGPIPE
 *  @see monad_async_file_write_all(), monad_async_file_writev() */
MONAD_ASYNC_API monad_async_result monad_async_file_write(monad_async_task task,
                                                          monad_async_file file, void const *data,
                                                          size_t bytes, int64_t offset);

/** As `preadv2`. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param parts where it goes, in that order
 *  @param count how many parts
 *  @param offset where in the file; -1: the current position
 *  @param flags 0, or `RWF_...`; `RWF_HIPRI` is `EINVAL` in the ring
 *  @return how many bytes were read, which may be fewer; 0: the end of the file
 *  @retval EAGAIN with `RWF_NOWAIT`: it would have to wait
 *  @see monad_async_file_read() */
MONAD_ASYNC_API monad_async_result monad_async_file_readv(monad_async_task task,
                                                          monad_async_file file,
                                                          struct iovec const *parts, int count,
                                                          int64_t offset, int flags);

/** As `pwritev2`. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param parts what to write, in that order
 *  @param count how many parts
 *  @param offset where in the file; -1: the current position
 *  @param flags 0, or `RWF_...`
 *  @return how many bytes were written, which may be fewer
 *  @retval EAGAIN with `RWF_NOWAIT`: it would have to wait
 *  @see monad_async_file_write() */
MONAD_ASYNC_API monad_async_result monad_async_file_writev(monad_async_task task,
                                                           monad_async_file file,
                                                           struct iovec const *parts, int count,
                                                           int64_t offset, int flags);

/** Reads until the room is full or the file ends. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param[out] data where it goes
 *  @param bytes how many are to come
 *  @param offset where in the file; -1: the current position
 *  @return how many bytes came, with an error too; fewer without one: the file ended
 *  @retval EISDIR, EIO as `monad_async_file_read`
 *  @see monad_async_file_read() */
MONAD_ASYNC_API monad_async_result monad_async_file_read_all(monad_async_task task,
                                                             monad_async_file file, void *data,
                                                             size_t bytes, int64_t offset);

/** Writes all. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param data what to write
 *  @param bytes how much
 *  @param offset where in the file; -1: the current position
 *  @return how many bytes were written, with an error too; without one all
 *  @retval EIO a device that takes nothing
 *  @see monad_async_file_write() */
MONAD_ASYNC_API monad_async_result monad_async_file_write_all(monad_async_task task,
                                                              monad_async_file file,
                                                              void const *data, size_t bytes,
                                                              int64_t offset);

/** As `fsync`. SUSPENDS until the file is on the disk: writes that have returned.
 *  @param task the task that runs
 *  @param file the file
 *  @retval 0 it is
 *  @retval EIO, ENOSPC a write that had returned has failed since
 *  @see monad_async_file_sync_data() */
MONAD_ASYNC_API monad_async_result monad_async_file_sync(monad_async_task task,
                                                         monad_async_file file);

/** As `fdatasync`. SUSPENDS as `monad_async_file_sync`; times and the like may be left out.
 *  @param task the task that runs
 *  @param file the file
 *  @retval 0 what is needed to read the data is on the disk
 *  @retval EIO, ENOSPC a write that had returned has failed since
 *  @see monad_async_file_sync(), monad_async_file_sync_range() */
MONAD_ASYNC_API monad_async_result monad_async_file_sync_data(monad_async_task task,
                                                              monad_async_file file);

/** As `sync_file_range`: begins, or awaits, the writing of pages; no promise that they outlive a
 *  power cut. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param offset the first byte
 *  @param bytes how many; 0: to the end
 *  @param flags `SYNC_FILE_RANGE_...`
 *  @retval 0 done
 *  @see monad_async_file_sync_data() */
MONAD_ASYNC_API monad_async_result monad_async_file_sync_range(monad_async_task task,
                                                               monad_async_file file,
                                                               int64_t offset, int64_t bytes,
                                                               uint32_t flags);

/** As `fallocate`. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param mode 0, or `FALLOC_FL_...`: holes, zeros
 *  @param offset the first byte
 *  @param bytes how many
 *  @retval 0 done
 *  @retval EOPNOTSUPP the file system cannot
 *  @see monad_async_file_truncate() */
MONAD_ASYNC_API monad_async_result monad_async_file_allocate(monad_async_task task,
                                                             monad_async_file file, int mode,
                                                             int64_t offset, int64_t bytes);

/** As `ftruncate`. SUSPENDS. Linux 6.9; before it on a helper.
 *  @param task the task that runs
 *  @param file the file
 *  @param bytes its new length
 *  @retval 0 done
 *  @see monad_async_file_allocate() */
MONAD_ASYNC_API monad_async_result monad_async_file_truncate(monad_async_task task,
                                                             monad_async_file file, int64_t bytes);

/** As `posix_fadvise`: with `POSIX_FADV_WILLNEED` it reads ahead. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param offset the first byte
 *  @param bytes how many; 0: to the end
 *  @param advice `POSIX_FADV_...`
 *  @retval 0 taken
 *  @retval ESPIPE a pipe
 *  @see monad_async_file_read() */
MONAD_ASYNC_API monad_async_result monad_async_file_advise(monad_async_task task,
                                                           monad_async_file file, int64_t offset,
                                                           int64_t bytes, int advice);

/** As `statx` of the descriptor. SUSPENDS.
 *  @param task the task that runs
 *  @param file the file
 *  @param mask `STATX_BASIC_STATS` and so on
 *  @param[out] status what is known of it
 *  @retval 0 told
 *  @retval EOPNOTSUPP a direct one, before Linux 6.8
 *  @see monad_async_file_to_plain() */
MONAD_ASYNC_API monad_async_result monad_async_file_stat(monad_async_task task,
                                                         monad_async_file file, uint32_t mask,
                                                         struct statx *status);

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** @cond by which the library knows a write, and an ordered file's row
 *  @see monad_async_file_set_ordered() */
static inline void monad_async_op_fill_row(monad_async_op *op, monad_async_file file)
{
    bool const is_ordered = (file.flags & MONAD_ASYNC_FILE_ORDERED) != 0;
    uint32_t const row = is_ordered ? file.flags & 0xffffu : 0x10000u;
    op->sqe.user_data = (uint64_t)0x6f726465u << 32 | (file.flags & 0x1fff0000u) << 1 | row;
}
/** @endcond */

/** Fills an idle operation with an `openat`, with `O_CLOEXEC`, whose result is the descriptor. ANY
 *  THREAD. Where nobody takes the completion, what was opened is closed.
 *  @param[out] op the operation
 *  @param directory where a relative path begins
 *  @param path the file's name
 *  @param open_flags `O_RDONLY` and so on
 *  @param mode of a file that is made
 *  @param flags 0 or `MONAD_ASYNC_FILE_DIRECT` */
static inline void monad_async_op_open(monad_async_op *op, int directory, char const *path,
                                       int open_flags, uint32_t mode, uint32_t flags)
{
    int const close_on_exec = 02000000; /* O_CLOEXEC, which ISO C hides */
    bool const direct = (flags & MONAD_ASYNC_FILE_DIRECT) != 0;
    monad_async_op_fill(op, IORING_OP_OPENAT, directory, 0, path, 0, 0);
    op->sqe.len = mode;
    op->sqe.open_flags =
        (uint32_t)(direct ? open_flags & ~close_on_exec : open_flags | close_on_exec);
    op->sqe.file_index = direct ? 0xffffffffu : 0; /* IORING_FILE_INDEX_ALLOC */
}

/** Fills an idle operation with a read. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param data where the data goes
 *  @param bytes the room there
 *  @param offset where in the file; -1: the current position */
static inline void monad_async_op_read(monad_async_op *op, monad_async_file file, void *data,
                                       size_t bytes, int64_t offset)
{
    monad_async_op_fill(op, IORING_OP_READ, file.fd, file.flags, data, (uint64_t)offset, bytes);
}

/** Fills an idle operation with a write. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param data what to write
 *  @param bytes how much
 *  @param offset where in the file; -1: the current position */
static inline void monad_async_op_write(monad_async_op *op, monad_async_file file, void const *data,
                                        size_t bytes, int64_t offset)
{
    monad_async_op_fill(op, IORING_OP_WRITE, file.fd, file.flags, data, (uint64_t)offset, bytes);
    monad_async_op_fill_row(op, file);
}

/** Fills an idle operation with a `preadv2`. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param parts where the data goes, in that order
 *  @param count how many parts
 *  @param offset where in the file; -1: the current position
 *  @param flags 0, or `RWF_...` */
static inline void monad_async_op_readv(monad_async_op *op, monad_async_file file,
                                        struct iovec const *parts, int count, int64_t offset,
                                        int flags)
{
    monad_async_op_fill(op, IORING_OP_READV, file.fd, file.flags, parts, (uint64_t)offset, 0);
    op->sqe.len = (uint32_t)count;
    op->sqe.rw_flags = flags;
}

/** Fills an idle operation with a `pwritev2`. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param parts what to write, in that order
 *  @param count how many parts
 *  @param offset where in the file; -1: the current position
 *  @param flags 0, or `RWF_...` */
static inline void monad_async_op_writev(monad_async_op *op, monad_async_file file,
                                         struct iovec const *parts, int count, int64_t offset,
                                         int flags)
{
    monad_async_op_fill(op, IORING_OP_WRITEV, file.fd, file.flags, parts, (uint64_t)offset, 0);
    monad_async_op_fill_row(op, file);
    op->sqe.len = (uint32_t)count;
    op->sqe.rw_flags = flags;
}

/** Fills an idle operation with an `fsync`. ANY THREAD. It is about writes that have returned, not
 *  about others in flight.
 *  @param[out] op the operation
 *  @param file the file */
static inline void monad_async_op_sync(monad_async_op *op, monad_async_file file)
{
    monad_async_op_fill(op, IORING_OP_FSYNC, file.fd, file.flags, NULL, 0, 0);
}

/** Fills an idle operation with an `fdatasync`. ANY THREAD. As `monad_async_op_sync`.
 *  @param[out] op the operation
 *  @param file the file */
static inline void monad_async_op_sync_data(monad_async_op *op, monad_async_file file)
{
    monad_async_op_sync(op, file);
    op->sqe.fsync_flags = IORING_FSYNC_DATASYNC;
}

/** Fills an idle operation with a `sync_file_range`. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param offset the first byte
 *  @param bytes how many; 0: to the end
 *  @param flags `SYNC_FILE_RANGE_...` */
static inline void monad_async_op_sync_range(monad_async_op *op, monad_async_file file,
                                             int64_t offset, uint32_t bytes, uint32_t flags)
{
    monad_async_op_fill(op, IORING_OP_SYNC_FILE_RANGE, file.fd, file.flags, NULL, (uint64_t)offset,
                        0);
    op->sqe.len = bytes;
    op->sqe.sync_range_flags = flags;
}

/** Fills an idle operation with a `fallocate`. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param mode 0, or `FALLOC_FL_...`
 *  @param offset the first byte
 *  @param bytes how many */
static inline void monad_async_op_allocate(monad_async_op *op, monad_async_file file, int mode,
                                           int64_t offset, int64_t bytes)
{
    monad_async_op_fill(op, IORING_OP_FALLOCATE, file.fd, file.flags, NULL, (uint64_t)offset, 0);
    op->sqe.addr = (uint64_t)bytes;
    op->sqe.len = (uint32_t)mode;
}

/** Fills an idle operation with an `ftruncate`. ANY THREAD. Linux 6.9.
 *  @param[out] op the operation
 *  @param file the file
 *  @param bytes its new length */
static inline void monad_async_op_truncate(monad_async_op *op, monad_async_file file, int64_t bytes)
{
    /* IORING_OP_FTRUNCATE, which older headers lack. */
    monad_async_op_fill(op, 55, file.fd, file.flags, NULL, (uint64_t)bytes, 0);
}

/** Fills an idle operation with a `posix_fadvise`. ANY THREAD.
 *  @param[out] op the operation
 *  @param file the file
 *  @param offset the first byte
 *  @param bytes how many; 0: to the end
 *  @param advice `POSIX_FADV_...` */
static inline void monad_async_op_advise(monad_async_op *op, monad_async_file file, int64_t offset,
                                         uint32_t bytes, int advice)
{
    monad_async_op_fill(op, IORING_OP_FADVISE, file.fd, file.flags, NULL, (uint64_t)offset, 0);
    op->sqe.len = bytes;
    op->sqe.fadvise_advice = (uint32_t)advice;
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

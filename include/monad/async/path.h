#ifndef MONAD_ASYNC_PATH_H
#define MONAD_ASYNC_PATH_H

/** @file path.h
 *  Names of files: made, changed, removed, asked about. What file.h says of all its calls holds for
 *  these. A relative path begins at a directory's descriptor, or, with `AT_FDCWD`, at the working
 *  directory.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"
#include "op.h"
#include "result.h"
#include "task.h"

#include <stddef.h>
#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** @cond of `<linux/stat.h>`, or `<sys/stat.h>` */
struct statx;
/** @endcond */

/** As `unlinkat`. SUSPENDS.
 *  @param task the task that runs
 *  @param directory where a relative path begins: a descriptor, or `AT_FDCWD`
 *  @param path what goes
 *  @param flags 0, or `AT_REMOVEDIR`
 *  @retval 0 gone
 *  @see monad_async_op_unlink() */
MONAD_ASYNC_API monad_async_result monad_async_path_unlink(monad_async_task task, int directory,
                                                           char const *path, int flags);

/** As `renameat2`. SUSPENDS.
 *  @param task the task that runs
 *  @param directory where a relative path begins
 *  @param path the old name
 *  @param new_directory where a relative new path begins
 *  @param new_path the new name
 *  @param flags 0, or `RENAME_...`
 *  @retval 0 renamed
 *  @see monad_async_op_rename() */
MONAD_ASYNC_API monad_async_result monad_async_path_rename(monad_async_task task, int directory,
                                                           char const *path, int new_directory,
                                                           char const *new_path, uint32_t flags);

/** As `mkdirat`. SUSPENDS. Linux 5.15; before it on a helper.
 *  @param task the task that runs
 *  @param directory where a relative path begins
 *  @param path its name
 *  @param mode of it, without what the umask takes
 *  @retval 0 made
 *  @see monad_async_op_mkdir() */
MONAD_ASYNC_API monad_async_result monad_async_path_mkdir(monad_async_task task, int directory,
                                                          char const *path, uint32_t mode);

/** As `linkat`. SUSPENDS. Linux 5.15; before it on a helper.
 *  @param task the task that runs
 *  @param directory where a relative path begins
 *  @param path the name there is
 *  @param new_directory where a relative new path begins
 *  @param new_path the name there is to be
 *  @param flags 0, or `AT_SYMLINK_FOLLOW`, `AT_EMPTY_PATH`
 *  @retval 0 linked
 *  @see monad_async_op_link() */
MONAD_ASYNC_API monad_async_result monad_async_path_link(monad_async_task task, int directory,
                                                         char const *path, int new_directory,
                                                         char const *new_path, int flags);

/** As `symlinkat`. SUSPENDS. Linux 5.15; before it on a helper.
 *  @param task the task that runs
 *  @param target what the link says
 *  @param directory where a relative path begins
 *  @param path the link's name
 *  @retval 0 made
 *  @see monad_async_op_symlink() */
MONAD_ASYNC_API monad_async_result monad_async_path_symlink(monad_async_task task,
                                                            char const *target, int directory,
                                                            char const *path);

/** As `statx`. SUSPENDS.
 *  @param task the task that runs
 *  @param directory where a relative path begins
 *  @param path the file's name
 *  @param flags 0, or `AT_SYMLINK_NOFOLLOW` and so on
 *  @param mask `STATX_BASIC_STATS` and so on
 *  @param[out] status what is known of it
 *  @retval 0 told
 *  @see monad_async_file_stat() */
MONAD_ASYNC_API monad_async_result monad_async_path_stat(monad_async_task task, int directory,
                                                         char const *path, int flags, uint32_t mask,
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

/** Fills an idle operation with a `statx`. ANY THREAD.
 *  @param[out] op the operation
 *  @param directory where a relative path begins
 *  @param path the file's name; `""` with `AT_EMPTY_PATH`: the directory's descriptor itself
 *  @param flags 0, or `AT_SYMLINK_NOFOLLOW` and so on
 *  @param mask `STATX_BASIC_STATS` and so on
 *  @param status what is known of it goes there */
static inline void monad_async_op_stat(monad_async_op *op, int directory, char const *path,
                                       int flags, uint32_t mask, struct statx *status)
{
    monad_async_op_fill(op, IORING_OP_STATX, directory, 0, path, (uint64_t)(uintptr_t)status, 0);
    op->sqe.len = mask;
    op->sqe.statx_flags = (uint32_t)flags;
}

/** Fills an idle operation with an `unlinkat`. ANY THREAD.
 *  @param[out] op the operation
 *  @param directory where a relative path begins
 *  @param path what goes
 *  @param flags 0, or `AT_REMOVEDIR` */
static inline void monad_async_op_unlink(monad_async_op *op, int directory, char const *path,
                                         int flags)
{
    monad_async_op_fill(op, IORING_OP_UNLINKAT, directory, 0, path, 0, 0);
    op->sqe.unlink_flags = (uint32_t)flags;
}

/** Fills an idle operation with a `renameat2`. ANY THREAD.
 *  @param[out] op the operation
 *  @param directory where a relative path begins
 *  @param path the old name
 *  @param new_directory where a relative new path begins
 *  @param new_path the new name
 *  @param flags 0, or `RENAME_...` */
static inline void monad_async_op_rename(monad_async_op *op, int directory, char const *path,
                                         int new_directory, char const *new_path, uint32_t flags)
{
    monad_async_op_fill(op, IORING_OP_RENAMEAT, directory, 0, path, (uint64_t)(uintptr_t)new_path,
                        0);
    op->sqe.len = (uint32_t)new_directory;
    op->sqe.rename_flags = flags;
}

/** Fills an idle operation with a `mkdirat`. ANY THREAD. Linux 5.15.
 *  @param[out] op the operation
 *  @param directory where a relative path begins
 *  @param path its name
 *  @param mode of it */
static inline void monad_async_op_mkdir(monad_async_op *op, int directory, char const *path,
                                        uint32_t mode)
{
    monad_async_op_fill(op, IORING_OP_MKDIRAT, directory, 0, path, 0, 0);
    op->sqe.len = mode;
}

/** Fills an idle operation with a `linkat`. ANY THREAD. Linux 5.15.
 *  @param[out] op the operation
 *  @param directory where a relative path begins
 *  @param path the name there is
 *  @param new_directory where a relative new path begins
 *  @param new_path the name there is to be
 *  @param flags 0, or `AT_SYMLINK_FOLLOW`, `AT_EMPTY_PATH` */
static inline void monad_async_op_link(monad_async_op *op, int directory, char const *path,
                                       int new_directory, char const *new_path, int flags)
{
    monad_async_op_fill(op, IORING_OP_LINKAT, directory, 0, path, (uint64_t)(uintptr_t)new_path, 0);
    op->sqe.len = (uint32_t)new_directory;
    op->sqe.hardlink_flags = (uint32_t)flags;
}

/** Fills an idle operation with a `symlinkat`. ANY THREAD. Linux 5.15.
 *  @param[out] op the operation
 *  @param target what the link says
 *  @param directory where a relative path begins
 *  @param path the link's name */
static inline void monad_async_op_symlink(monad_async_op *op, char const *target, int directory,
                                          char const *path)
{
    monad_async_op_fill(op, IORING_OP_SYMLINKAT, directory, 0, target, (uint64_t)(uintptr_t)path,
                        0);
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

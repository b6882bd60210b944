/* Where the example cksum finds its files: walks directories by fts(3), and keeps what it found in
 * one queue a class of size. Reads no file; starts no task. */

#define _GNU_SOURCE

#include "cksum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void put_waiting(struct job *job, struct file *file)
{
    struct queue *const queue = &job->waiting[file->class];
    file->next = NULL;
    *queue->end = file;
    queue->end = &file->next;
    ++job->waiting_count;
}

bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static void found_file(struct job *job, FTSENT const *entry)
{
    off_t const size = entry->fts_statp->st_size;
    size_t const path_bytes = strlen(entry->fts_path) + 1;
    struct file *const file = malloc(sizeof *file + path_bytes);
    if (file == NULL) {
        complain(job, entry->fts_path, "%s", strerror(ENOMEM));
        return;
    }
    file->class = size <= SMALL_BYTES   ? monad_async_priority_high
                  : size <= LARGE_BYTES ? monad_async_priority_normal
                                        : monad_async_priority_low;
    file->was_named = entry->fts_level == FTS_ROOTLEVEL;
    memcpy(file->path, entry->fts_path, path_bytes);
    put_waiting(job, file);
}

void find_files(struct job *job)
{
    while (job->walk != NULL && job->waiting_count < MAX_WAITING) {
        errno = 0;
        FTSENT *const entry = fts_read(job->walk);
        if (entry == NULL) {
            if (errno != 0) {
                complain(job, "directories", "%s", strerror(errno));
            }
            fts_close(job->walk);
            job->walk = NULL;
            return;
        }
        switch (entry->fts_info) {
        case FTS_F: found_file(job, entry); break;
        case FTS_DNR:
            if (is_shortage(entry->fts_errno) && job->in_flight > 0) {
                /* Tried again, and fewer are launched until it succeeds. What is left in fts_errno
                 * would be reported when the walk leaves the directory. */
                entry->fts_errno = 0;
                fts_set(job->walk, entry, FTS_AGAIN);
                job->may_be_in_flight = (job->in_flight + 1) / 2;
                return;
            }
            complain(job, entry->fts_path, "%s", strerror(entry->fts_errno));
            break;
        case FTS_ERR:
        case FTS_NS: complain(job, entry->fts_path, "%s", strerror(entry->fts_errno)); break;
        case FTS_DC: complain(job, entry->fts_path, "Directory contains itself"); break;
        case FTS_SLNONE: complain(job, entry->fts_path, "%s", strerror(ENOENT)); break;
        case FTS_DEFAULT:
            /* Devices, pipes and sockets: passed over below a directory, as find -type f does. */
            if (entry->fts_level == FTS_ROOTLEVEL) {
                complain(job, entry->fts_path, "Neither a regular file nor a directory");
            }
            break;
        default: /* directories on the way in and out, symbolic links */ break;
        }
    }
}

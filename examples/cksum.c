/* cksum: POSIX cksum of every regular file below the directories given, through monad_async.
 *
 * One task a file, at most 256 in flight; each opens, reads and closes its file through io_uring.
 * Small files go before large ones: among the files found so far the smallest class is launched
 * first, and a task's CPU and I/O priority is its file's class. The lines are those of cksum(1), in
 * the order in which files were done. Here are the executor and its tasks; cksum_walk.c finds the
 * files, cksum_report.c says what is to be said, posix_crc.h has the arithmetic. */

#define _GNU_SOURCE

#include "cksum.h"

#include <monad/async/metrics.h>
#include "posix_crc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is read when nothing is named; the build may name a directory. */
#ifndef CKSUM_DEFAULT_DIRECTORY
    #define CKSUM_DEFAULT_DIRECTORY "."
#endif

/* ---- One file, in its task ---- */

static monad_async_result open_file(monad_async_task task, struct file const *file,
                                    monad_async_file *opened)
{
    /* What was a file when it was found may be a pipe by now: this open does not wait for a
     * writer. */
    int const flags = O_RDONLY | O_NOCTTY | (file->was_named ? 0 : O_NOFOLLOW);
    return monad_async_file_open(task, opened, AT_FDCWD, file->path, flags, 0, 0, 0);
}

/* 0 or an errno; ENXIO: no regular file. */
static int check_opened(int fd, uint64_t *size)
{
    struct stat st;
    /* The inode is in memory since the open: a system call that cannot wait. IORING_OP_STATX would
     * go through a kernel thread each time. */
    if (fstat(fd, &st) != 0) {
        return errno;
    }
    *size = (uint64_t)st.st_size;
    return S_ISREG(st.st_mode) ? 0 : ENXIO;
}

/* 0 or an errno. Reads to the end of file, wherever that is by then: the size is no more than a
 * hint, of a file that grows or shrinks, and of one of /proc, whose size is said to be 0. */
static int sum_opened(monad_async_task task, unsigned char *buffer, monad_async_file file,
                      uint32_t *crc, uint64_t *bytes)
{
    uint64_t size = 0;
    int error = check_opened(file.fd, &size);
    if (error != 0) {
        return error;
    }
    for (;;) {
        monad_async_result const r =
            monad_async_file_read(task, file, buffer, BUFFER_BYTES, (int64_t)*bytes);
        error = r.error;
        if (error != 0 || r.value == 0) {
            break;
        }
        *crc = posix_crc_update(*crc, buffer, (size_t)r.value);
        *bytes += (uint64_t)r.value;
        /* Short and at the size it was opened with: that was the end, no need to read it again. */
        if (r.value < BUFFER_BYTES && *bytes == size) {
            break;
        }
    }
    *crc = posix_crc_finish(*crc, *bytes);
    return error;
}

static int sum_file(monad_async_task task, struct slot *slot, uint32_t *crc, uint64_t *bytes)
{
    if (slot->buffer == NULL) {
        slot->buffer = aligned_alloc(4096, BUFFER_BYTES);
        if (slot->buffer == NULL) {
            return ENOMEM;
        }
    }
    monad_async_file file;
    monad_async_result const r = open_file(task, slot->file, &file);
    if (r.error != 0) {
        return r.error;
    }
    int const error = sum_opened(task, slot->buffer, file, crc, bytes);
    /* Nothing was written, so no error of close can matter. */
    (void)monad_async_file_close(task, file);
    return error;
}

static monad_async_result task_body(monad_async_task task)
{
    struct slot *const slot = task->user_ptr;
    struct job *const job = slot->job;
    struct file *const file = slot->file;
    uint32_t crc = 0;
    uint64_t bytes = 0;
    int const error = sum_file(task, slot, &crc, &bytes);

    slot->file = NULL;
    slot->next_free = job->free_slots;
    job->free_slots = slot;
    --job->in_flight;
    if (is_shortage(error) && job->in_flight > 0) {
        /* Those in flight hold what this one lacked: fewer from now on, and this one later. */
        job->may_be_in_flight = job->in_flight;
        job->done_since_step = 0;
        put_waiting(job, file);
        return monad_async_make_failure(error);
    }
    if (error == 0) {
        say_sum(job, crc, bytes, file->path);
        ++job->files;
        job->bytes += bytes;
    } else if (error == ENXIO || error == ELOOP) {
        complain(job, file->path, "No regular file any more");
    } else {
        complain(job, file->path, "%s",
                 monad_async_result_message(monad_async_make_failure(error)));
    }
    if (++job->done_since_step >= DONE_PER_STEP_UP && job->may_be_in_flight < MAX_IN_FLIGHT) {
        job->done_since_step = 0;
        ++job->may_be_in_flight;
    }
    free(file);
    return error == 0 ? monad_async_make_success(0) : monad_async_make_failure(error);
}

/* ---- Launching tasks ---- */

/* NULL where no more tasks can be had now. */
static struct slot *free_slot(struct job *job)
{
    struct slot *slot = job->free_slots;
    if (slot != NULL) {
        job->free_slots = slot->next_free;
        return slot;
    }
    struct monad_async_task_attr attr;
    memset(&attr, 0, sizeof attr);
    slot = &job->slots[job->slots_made];
    monad_async_result const r = monad_async_task_create(&slot->task, &attr);
    if (r.error != 0) {
        if (job->in_flight == 0) {
            fprintf(stderr, "cksum: no task: %s\n", monad_async_result_message(r));
            exit(EXIT_FAILURE);
        }
        job->may_be_in_flight = job->in_flight;
        return NULL;
    }
    ++job->slots_made;
    slot->job = job;
    slot->task->user_code = task_body;
    slot->task->user_ptr = slot;
    return slot;
}

static void launch_files(struct job *job)
{
    for (int class = 0; class < 3; ++class) {
        struct queue *const queue = &job->waiting[class];
        while (queue->first != NULL && job->in_flight < job->may_be_in_flight) {
            struct slot *const slot = free_slot(job);
            if (slot == NULL) {
                return;
            }
            slot->file = queue->first;
            queue->first = slot->file->next;
            if (queue->first == NULL) {
                queue->end = &queue->first;
            }
            --job->waiting_count;
            slot->task->priority.cpu = slot->task->priority.io = slot->file->class;
            monad_async_result const r = monad_async_task_attach(job->executor, slot->task);
            if (r.error != 0) {
                fprintf(stderr, "cksum: attach: %s\n", monad_async_result_message(r));
                exit(EXIT_FAILURE);
            }
            if (++job->in_flight > job->most_in_flight) {
                job->most_in_flight = job->in_flight;
            }
        }
    }
}

static void do_job(struct job *job)
{
    struct timespec const tick = {.tv_nsec = PROGRESS_EACH_MS * 1000000L};
    struct timespec const *const patience = job->wants_progress ? &tick : NULL;
    for (;;) {
        if (job->write_error == 0) {
            find_files(job);
            launch_files(job);
        }
        if (job->in_flight == 0) {
            return; /* Nothing waits either, or nobody reads what we write. */
        }
        monad_async_result const r = monad_async_executor_run(job->executor, SIZE_MAX, patience);
        if (r.error != 0 && r.error != ETIME) {
            fprintf(stderr, "cksum: run: %s\n", monad_async_result_message(r));
            exit(EXIT_FAILURE);
        }
        show_progress(job);
    }
}

/* ---- The frame ---- */

static void make_executor(struct job *job)
{
    struct monad_async_executor_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.io_uring_ring.entries = MAX_IN_FLIGHT;
    monad_async_result const r = monad_async_executor_create(&job->executor, &attr);
    if (r.error != 0) {
        fprintf(stderr, "cksum: %s: %s\n", monad_async_result_message(r),
                monad_async_last_create_error());
        exit(EXIT_FAILURE);
    }
}

/* Each file in flight holds a descriptor. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* Where it fails, fewer will be in flight. */
    }
}

static void unmake(struct job *job)
{
    for (unsigned i = 0; i < job->slots_made; ++i) {
        (void)monad_async_task_destroy(job->slots[i].task);
        free(job->slots[i].buffer);
    }
    (void)monad_async_executor_destroy(job->executor);
    for (int class = 0; class < 3; ++class) {
        for (struct file *file = job->waiting[class].first, *next; file != NULL; file = next) {
            next = file->next;
            free(file);
        }
    }
    if (job->walk != NULL) {
        fts_close(job->walk);
    }
}

static char const usage[] =
    "usage: cksum [--stats] [--] [FILE|DIRECTORY]...\n"
    "POSIX cksum of each FILE and of every regular file below each DIRECTORY\n"
    "(default: " CKSUM_DEFAULT_DIRECTORY "). Symbolic links below a DIRECTORY are not followed.\n"
    "--stats tells on standard error where the time went.\n";

int main(int argc, char **argv)
{
    static struct job job;
    static char default_directory[] = CKSUM_DEFAULT_DIRECTORY;
    bool wants_stats = false;
    int arg = 1;
    for (; arg < argc && argv[arg][0] == '-' && argv[arg][1] != '\0'; ++arg) {
        if (strcmp(argv[arg], "--") == 0) {
            ++arg;
            break;
        }
        if (strcmp(argv[arg], "--help") == 0) {
            return fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        }
        if (strcmp(argv[arg], "--stats") != 0) {
            fprintf(stderr, "cksum: unknown option %s\n%s", argv[arg], usage);
            return EXIT_FAILURE;
        }
        wants_stats = true;
    }
    /* fts_open refuses all for one empty name. */
    char **const paths = calloc((size_t)(argc - arg) + 2, sizeof *paths);
    if (paths == NULL) {
        perror("cksum");
        return EXIT_FAILURE;
    }
    size_t path_count = 0;
    for (int i = arg; i < argc; ++i) {
        if (argv[i][0] == '\0') {
            complain(&job, "''", "%s", strerror(ENOENT));
        } else {
            paths[path_count++] = argv[i];
        }
    }
    if (arg == argc) {
        paths[path_count++] = default_directory;
    }

    posix_crc_init();
    raise_descriptor_limit();
    make_executor(&job);
    if (wants_stats && monad_async_metrics_start(job.executor).error != 0) {
        fputs("cksum: no memory to count in\n", stderr);
    }
    job.began = monad_async_get_ticks_count();
    job.wants_progress = isatty(STDERR_FILENO) == 1;
    job.progress_due = job.began + monad_async_ticks_per_second() * PROGRESS_FROM_MS / 1000;
    job.may_be_in_flight = MAX_IN_FLIGHT;
    for (int class = 0; class < 3; ++class) {
        job.waiting[class].end = &job.waiting[class].first;
    }
    if (path_count > 0) {
        job.walk = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
        if (job.walk == NULL) {
            complain(&job, "directories", "%s", strerror(errno));
        }
    }
    do_job(&job);
    hide_progress(&job);
    if (fflush(stdout) != 0 && job.write_error == 0) {
        job.write_error = errno;
    }
    if (job.write_error != 0) {
        complain(&job, "write error", "%s", strerror(job.write_error));
    }
    if (wants_stats) {
        say_stats(&job);
    }
    unmake(&job);
    free(paths);
    return job.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

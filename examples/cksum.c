/* cksum: POSIX cksum of every regular file below the directories given, through monad_async.
 *
 * One task a file, at most 256 in flight; each opens, reads and closes its file through io_uring.
 * Small files go before large ones: among the files found so far the smallest class is launched
 * first, and a task's CPU and I/O priority is its file's class. The lines are those of cksum(1), in
 * the order in which files were done. This file uses the C API, fts(3) and standard output; the
 * arithmetic is in posix_crc.h. All of it runs on one thread, so nothing here is locked. */

#define _GNU_SOURCE

#include "posix_crc.h"

#include <monad/async.h>

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
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

enum {
    MAX_IN_FLIGHT = 256,
    /* Files found and not begun: enough to choose the small ones from, little memory. */
    MAX_WAITING = 4096,
    /* Two such buffers fit a second-level cache: what the kernel copied is summed from there. */
    BUFFER_BYTES = 128 * 1024,
    SMALL_BYTES = 64 * 1024,
    LARGE_BYTES = 4 * 1024 * 1024,
    /* After a shortage, one more file in flight for so many done. */
    DONE_PER_STEP_UP = 64,
    PROGRESS_FROM_MS = 1000,
    PROGRESS_EACH_MS = 200
};

struct file {
    struct file *next;
    monad_async_priority class;
    bool was_named; /* on the command line, where a symbolic link is followed */
    char path[];
};

struct queue {
    struct file *first, **end;
};

/* A task and what it reads into; used for one file after the other. */
struct slot {
    monad_async_task task;
    struct job *job;
    struct file *file;
    unsigned char *buffer;
    struct slot *next_free;
};

struct job {
    monad_async_executor executor;
    FTS *walk; /* NULL: everything has been found */
    struct queue waiting[3]; /* by class */
    unsigned waiting_count, in_flight, most_in_flight;
    unsigned may_be_in_flight; /* falls where memory or descriptors run short */
    unsigned done_since_step;
    struct slot slots[MAX_IN_FLIGHT], *free_slots;
    unsigned slots_made;
    bool failed;
    int write_error;
    uint64_t files, bytes;
    monad_async_cpu_ticks_count_t began, progress_due;
    bool wants_progress, shows_progress;
};

/* ---- What is said, and where ---- */

static void hide_progress(struct job *job)
{
    if (job->shows_progress) {
        fputs("\r\033[K", stderr);
        job->shows_progress = false;
    }
}

/* A name with control characters must not drive the terminal that reads about it. */
__attribute__((format(printf, 3, 4))) static void
complain(struct job *job, char const *path, char const *format, ...)
{
    va_list args;
    hide_progress(job);
    job->failed = true;
    fputs("cksum: ", stderr);
    for (char const *c = path; *c != '\0'; ++c) {
        fputc((unsigned char)*c < ' ' || *c == 127 ? '?' : *c, stderr);
    }
    fputs(": ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void say_sum(struct job *job, uint32_t crc, uint64_t bytes, char const *path)
{
    hide_progress(job);
    if (printf("%" PRIu32 " %" PRIu64 " %s\n", crc, bytes, path) < 0 && job->write_error == 0) {
        job->write_error = errno;
    }
}

static double ms_of(monad_async_cpu_ticks_count_t ticks)
{
    return (double)monad_async_ticks_to_ns(ticks) / 1e6;
}

static void show_progress(struct job *job)
{
    monad_async_cpu_ticks_count_t const now = monad_async_get_ticks_count();
    if (!job->wants_progress || now < job->progress_due) {
        return;
    }
    job->progress_due = now + monad_async_ticks_per_second() * PROGRESS_EACH_MS / 1000;
    hide_progress(job);
    fflush(stdout);
    fprintf(stderr, "cksum: %" PRIu64 " files, %.1f MB, %.1f MB/s, %u in flight", job->files,
            (double)job->bytes / 1e6, (double)job->bytes / 1e3 / ms_of(now - job->began),
            job->in_flight);
    job->shows_progress = true;
}

static void say_stats(struct job *job)
{
    struct monad_async_executor_head const *const ex = job->executor;
    double const wall = ms_of(monad_async_get_ticks_count() - job->began);
    double const run = ms_of(ex->total_ticks_in_run);
    hide_progress(job);
    fprintf(stderr, "cksum: %" PRIu64 " files, %" PRIu64 " bytes in %.3f ms: %.1f MB/s\n",
            job->files, job->bytes, wall, (double)job->bytes / 1e3 / wall);
    fprintf(stderr,
            "cksum: running tasks %.3f ms (launching %.3f, completing %.3f), I/O %.3f ms, "
            "sleeping %.3f ms\n",
            ms_of(ex->total_ticks_in_task_launch) + ms_of(ex->total_ticks_in_task_completion),
            ms_of(ex->total_ticks_in_task_launch), ms_of(ex->total_ticks_in_task_completion),
            ms_of(ex->total_ticks_in_io_uring), ms_of(ex->total_ticks_sleeping));
    fprintf(stderr, "cksum: in the executor %.3f ms, finding files and the rest %.3f ms\n", run,
            wall - run);
    fprintf(stderr,
            "cksum: %" PRIu64 " operations submitted, %" PRIu64 " completed; %u tasks, "
            "at most %u in flight\n",
            ex->total_io_submitted, ex->total_io_completed, job->slots_made, job->most_in_flight);
}

/* ---- One file, in its task ---- */

static monad_async_result open_file(monad_async_task task, struct file const *file)
{
    struct io_uring_sqe sqe;
    monad_async_result r;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_OPENAT;
    sqe.fd = AT_FDCWD;
    sqe.addr = (uintptr_t)file->path;
    /* What was a file when it was found may be a pipe by now: O_NONBLOCK, or its open waits for a
     * writer. */
    sqe.open_flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
                     (file->was_named ? 0u : (unsigned)O_NOFOLLOW);
    do {
        r = monad_async_task_io(task, &sqe);
    } while (r.error == EINTR);
    return r;
}

static void close_file(monad_async_task task, int fd)
{
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_CLOSE;
    sqe.fd = fd;
    /* Nothing was written, so no error of close can matter; after EINTR the descriptor is gone. */
    (void)monad_async_task_io(task, &sqe);
}

static monad_async_result
read_file(monad_async_task task, int fd, unsigned char *buffer, uint64_t offset)
{
    struct io_uring_sqe sqe;
    monad_async_result r;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_READ;
    sqe.fd = fd;
    sqe.addr = (uintptr_t)buffer;
    sqe.len = BUFFER_BYTES;
    sqe.off = offset;
    do {
        r = monad_async_task_io(task, &sqe);
    } while (r.error == EINTR);
    return r;
}

/* 0 or an errno; ENXIO: no regular file. */
static int check_opened(int fd)
{
    struct stat st;
    /* The inode is in memory since the open: a system call that cannot wait. IORING_OP_STATX would
     * go through a kernel thread each time. */
    if (fstat(fd, &st) != 0) {
        return errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return ENXIO;
    }
    /* io_uring would give EAGAIN back for a read that has to wait for the disk. */
    return fcntl(fd, F_SETFL, 0) == 0 ? 0 : errno;
}

/* 0 or an errno. Reads to the end of file, wherever that is by then: the size seen at first is not
 * what counts for a file that grows or shrinks, nor for one of /proc, whose size is said to be 0. */
static int sum_file(monad_async_task task, struct slot *slot, uint32_t *crc, uint64_t *bytes)
{
    if (slot->buffer == NULL) {
        slot->buffer = aligned_alloc(4096, BUFFER_BYTES);
        if (slot->buffer == NULL) {
            return ENOMEM;
        }
    }
    monad_async_result r = open_file(task, slot->file);
    if (r.error != 0) {
        return r.error;
    }
    int const fd = (int)r.value;
    int error = check_opened(fd);
    *crc = 0;
    *bytes = 0;
    while (error == 0) {
        r = read_file(task, fd, slot->buffer, *bytes);
        error = r.error;
        if (error != 0 || r.value == 0) {
            break;
        }
        *crc = posix_crc_update(*crc, slot->buffer, (size_t)r.value);
        *bytes += (uint64_t)r.value;
    }
    *crc = posix_crc_finish(*crc, *bytes);
    close_file(task, fd);
    return error;
}

static void put_waiting(struct job *job, struct file *file)
{
    struct queue *const queue = &job->waiting[file->class];
    file->next = NULL;
    *queue->end = file;
    queue->end = &file->next;
    ++job->waiting_count;
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static monad_async_result task_body(monad_async_task task)
{
    struct slot *const slot = task->user_ptr;
    struct job *const job = slot->job;
    struct file *const file = slot->file;
    uint32_t crc;
    uint64_t bytes;
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

/* ---- Finding files, launching tasks ---- */

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

/* Goes on with the walk until enough files wait. */
static void find_files(struct job *job)
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
        case FTS_F:
            found_file(job, entry);
            break;
        case FTS_DNR:
            if (is_shortage(entry->fts_errno) && job->in_flight > 0) {
                /* Tried again when half of what is in flight has been given back. */
                fts_set(job->walk, entry, FTS_AGAIN);
                job->may_be_in_flight = (job->in_flight + 1) / 2;
                return;
            }
            complain(job, entry->fts_path, "%s", strerror(entry->fts_errno));
            break;
        case FTS_ERR:
        case FTS_NS:
            complain(job, entry->fts_path, "%s", strerror(entry->fts_errno));
            break;
        case FTS_DC:
            complain(job, entry->fts_path, "Directory contains itself");
            break;
        case FTS_SLNONE:
            complain(job, entry->fts_path, "%s", strerror(ENOENT));
            break;
        case FTS_DEFAULT:
            /* Devices, pipes and sockets: passed over below a directory, as find -type f does. */
            if (entry->fts_level == FTS_ROOTLEVEL) {
                complain(job, entry->fts_path, "Neither a regular file nor a directory");
            }
            break;
        default: /* directories on the way in and out, symbolic links */
            break;
        }
    }
}

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

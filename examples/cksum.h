/* What the parts of the example cksum share: cksum.c runs the tasks, cksum_walk.c finds the files,
 * cksum_report.c says what there is to say. All of it runs on one thread, so nothing is locked. */
#ifndef CKSUM_H
#define CKSUM_H

#include <monad/async.h>

#include <fts.h>
#include <stdbool.h>
#include <stdint.h>

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
    FTS *walk;               /* NULL: everything has been found */
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

/* cksum_walk.c */

/* Finds files until enough of them wait, or all have been found (job->walk is NULL then). */
void find_files(struct job *job);
void put_waiting(struct job *job, struct file *file);
/* True where fewer files in flight would help. */
bool is_shortage(int error);

/* cksum_report.c */

/* "cksum: PATH: ..." on standard error; the exit status will be 1. */
__attribute__((format(printf, 3, 4))) void complain(struct job *job, char const *path,
                                                    char const *format, ...);
void say_sum(struct job *job, uint32_t crc, uint64_t bytes, char const *path);
void show_progress(struct job *job);
void hide_progress(struct job *job);
void say_stats(struct job *job);

#endif

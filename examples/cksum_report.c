/* What the example cksum says: its lines, its complaints, a progress line on a terminal, and where
 * the time went. Reads the job and the executor's metrics; changes neither, except for what it
 * notes of its own output. */

#include "cksum.h"

#include <monad/async/metrics.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void hide_progress(struct job *job)
{
    if (job->shows_progress) {
        fputs("\r\033[K", stderr);
        job->shows_progress = false;
    }
}

/* A name with control characters must not drive the terminal that reads about it. */
void complain(struct job *job, char const *path, char const *format, ...)
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

void say_sum(struct job *job, uint32_t crc, uint64_t bytes, char const *path)
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

void show_progress(struct job *job)
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

static double us_ready(struct monad_async_metrics const *m, int class, uint32_t per_mille)
{
    return (double)monad_async_histogram_percentile_ns(&m->ready[class], per_mille) / 1e3;
}

void say_stats(struct job *job)
{
    static struct monad_async_metrics m;
    double const wall = ms_of(monad_async_get_ticks_count() - job->began);
    hide_progress(job);
    if (monad_async_executor_metrics(job->executor, &m).error != 0) {
        return; /* Nothing was counted. */
    }
    double const run = ms_of(m.ticks_in_run), launching = ms_of(m.ticks_in_task_launch);
    double const completing = ms_of(m.ticks_in_task_completion);
    fprintf(stderr, "cksum: %" PRIu64 " files, %" PRIu64 " bytes in %.3f ms: %.1f MB/s\n",
            job->files, job->bytes, wall, (double)job->bytes / 1e3 / wall);
    fprintf(stderr,
            "cksum: running tasks %.3f ms (launching %.3f, completing %.3f), I/O %.3f ms, "
            "sleeping %.3f ms\n",
            launching + completing, launching, completing, ms_of(m.ticks_in_io_uring),
            ms_of(m.ticks_sleeping));
    fprintf(stderr, "cksum: in the executor %.3f ms, finding files and the rest %.3f ms\n", run,
            wall - run);
    fprintf(stderr,
            "cksum: %" PRIu64 " operations submitted, %" PRIu64 " completed, %" PRIu64
            " reads; %u tasks, at most %u in flight\n",
            m.io_submitted, m.io_completed, m.operations[IORING_OP_READ], job->slots_made,
            job->most_in_flight);
    for (int class = 0; class < 3; ++class) {
        if (m.ready[class].sum_ticks != 0) {
            fprintf(stderr,
                    "cksum: ready before it ran, priority %d: median %.1f us, 99%% %.1f us\n",
                    class, us_ready(&m, class, 500), us_ready(&m, class, 990));
        }
    }
}

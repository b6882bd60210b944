/* An executor in GLib's main loop. Nothing is missed, and nothing spins. */
#include <monad/async.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <glib-unix.h>
#include <glib.h>

enum { sleeps = 20, from_elsewhere = 10 };

static monad_async_executor ex;
static GMainLoop *loop;
static unsigned runs, ticks, left = 1 + from_elsewhere;

static void must(monad_async_result r)
{
    if (r.error != 0) {
        fprintf(stderr, "%s\n", monad_async_result_message(r));
        exit(1);
    }
}

static gboolean run_executor(gint fd, GIOCondition condition, gpointer data)
{
    struct timespec const at_once = {0, 0};
    (void)fd, (void)condition, (void)data;
    (void)monad_async_executor_run(ex, SIZE_MAX, &at_once);
    ++runs;
    return G_SOURCE_CONTINUE;
}

static void done(void)
{
    if (--left == 0) {
        g_main_loop_quit(loop);
    }
}

static monad_async_result sleeper(monad_async_task self)
{
    for (int i = 0; i < sleeps; ++i) {
        must(monad_async_task_suspend_for_duration(self, 2000000));
    }
    done();
    return monad_async_make_success(0);
}

static monad_async_result short_one(monad_async_task self)
{
    (void)self;
    done();
    return monad_async_make_success(0);
}

static gboolean tick(gpointer data)
{
    (void)data;
    ++ticks;
    return G_SOURCE_CONTINUE;
}

static gpointer launch_from_elsewhere(gpointer tasks)
{
    for (int i = 0; i < from_elsewhere; ++i) {
        g_usleep(3000);
        must(monad_async_task_attach(ex, ((monad_async_task *)tasks)[i]));
    }
    return NULL;
}

int main(void)
{
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    attr.io_uring_ring.entries = 64;
    monad_async_result const made = monad_async_executor_create(&ex, &attr);
    if (made.error != 0) {
        printf("skipped: %s\n", monad_async_last_create_error());
        return 77;
    }
    monad_async_task tasks[1 + from_elsewhere];
    for (int i = 0; i <= from_elsewhere; ++i) {
        must(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = i == 0 ? sleeper : short_one;
    }
    loop = g_main_loop_new(NULL, FALSE);
    monad_async_result const fd = monad_async_executor_poll_fd(ex);
    must(fd);
    g_unix_fd_add((gint)fd.value, G_IO_IN, run_executor, NULL);
    g_timeout_add(1, tick, NULL);
    must(monad_async_task_attach(ex, tasks[0]));
    GThread *const other = g_thread_new("other", launch_from_elsewhere, &tasks[1]);
    g_main_loop_run(loop);
    g_thread_join(other);
    while (monad_async_executor_has_work(ex)) {
        (void)monad_async_executor_run(ex, SIZE_MAX, NULL);
    }
    printf("%u runs of the executor; %u ticks of the loop's timer\n", runs, ticks);
    for (int i = 0; i <= from_elsewhere; ++i) {
        must(monad_async_task_destroy(tasks[i]));
    }
    must(monad_async_executor_destroy(ex));
    g_main_loop_unref(loop);
    return runs > 2 * (sleeps + from_elsewhere) + 10 || ticks == 0;
}

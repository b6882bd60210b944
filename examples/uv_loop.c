/* An executor in the loop of libuv: libuv waits, also for the executor's descriptor, and has the
 * executor run what is ready. Counts how often that was, and how often for nothing. */
#define _GNU_SOURCE /* What uv.h takes for given. */
#include <monad/async.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

enum { sleeps = 20, from_elsewhere = 10 };

static monad_async_executor ex;
static unsigned runs, for_nothing, ticks, left = 1 + from_elsewhere;
static uv_poll_t executor_ready;
static uv_timer_t timer;

static void must(monad_async_result r)
{
    if (r.error != 0) {
        fprintf(stderr, "%s\n", monad_async_result_message(r));
        exit(1);
    }
}

/*! [in libuv] */
static void run_executor(uv_poll_t *handle, int status, int events)
{
    struct timespec const at_once = {0, 0};
    (void)handle, (void)status, (void)events;
    monad_async_result const r = monad_async_executor_run(ex, SIZE_MAX, &at_once);
    ++runs;
    for_nothing += r.error != 0 || r.value == 0;
}

static void watch_executor(uv_loop_t *loop)
{
    monad_async_result const fd = monad_async_executor_poll_fd(ex);
    must(fd);
    uv_poll_init(loop, &executor_ready, (int)fd.value);
    uv_poll_start(&executor_ready, UV_READABLE, run_executor);
}
/*! [in libuv] */

static void done(void)
{
    if (--left == 0) {
        uv_close((uv_handle_t *)&executor_ready, NULL);
        uv_close((uv_handle_t *)&timer, NULL);
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

static void tick(uv_timer_t *handle)
{
    (void)handle;
    ++ticks;
}

static void launch_from_elsewhere(void *tasks)
{
    for (int i = 0; i < from_elsewhere; ++i) {
        uv_sleep(3);
        must(monad_async_task_attach(ex, ((monad_async_task *)tasks)[i]));
    }
}

int main(void)
{
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    attr.io_uring_ring.entries = 64;
    must(monad_async_executor_create(&ex, &attr));
    monad_async_task tasks[1 + from_elsewhere];
    for (int i = 0; i <= from_elsewhere; ++i) {
        must(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = i == 0 ? sleeper : short_one;
    }
    uv_loop_t *const loop = uv_default_loop();
    watch_executor(loop);
    uv_timer_init(loop, &timer);
    uv_timer_start(&timer, tick, 1, 1);
    must(monad_async_task_attach(ex, tasks[0]));
    uv_thread_t other;
    uv_thread_create(&other, launch_from_elsewhere, &tasks[1]);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_thread_join(&other);
    printf("%u runs of the executor, %u for nothing; %s\n", runs, for_nothing,
           ticks != 0 ? "libuv's timer went on" : "libuv's timer stood still");
    for (int i = 0; i <= from_elsewhere; ++i) {
        must(monad_async_task_destroy(tasks[i]));
    }
    must(monad_async_executor_destroy(ex));
    uv_loop_close(loop);
    /* A launch, a sleep and a message from elsewhere are one each. */
    return runs > 2 * (sleeps + from_elsewhere) + 10 || ticks == 0;
}

/* One billion launches through the C API: every one ran, in its turn, none twice. The tasks are few
 * and launched again and again, as a program would; half of them are attached from inside a task.
 * Takes the count as an argument. */

#if defined(__STRICT_ANSI__)
    #define _POSIX_C_SOURCE 200809L
#endif

#include <monad/async.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS = 1000 };

static monad_async_executor ex;
static monad_async_task tasks[TASKS];
/* Which launch of all this task is due for, and how often it ran. */
static uint64_t ticket[TASKS], runs[TASKS];
static uint64_t next_ticket, next_to_run;

static void die(char const *what, monad_async_result r)
{
    fprintf(stderr, "billion: %s: %s\n", what, monad_async_result_message(r));
    exit(EXIT_FAILURE);
}

static void launch(size_t i)
{
    ticket[i] = next_ticket++;
    monad_async_result const r = monad_async_task_attach(ex, tasks[i]);
    if (r.error != 0) {
        die("attach", r);
    }
}

static monad_async_result body(monad_async_task task)
{
    size_t const i = (size_t)((monad_async_task *)task->user_ptr - tasks);
    /* All have one priority, so they run in the order in which they were attached: a launch lost,
     * doubled or overtaken shows at once. */
    if (ticket[i] != next_to_run) {
        fprintf(stderr, "billion: launch %" PRIu64 " ran in the place of %" PRIu64 "\n", ticket[i],
                next_to_run);
        exit(EXIT_FAILURE);
    }
    ++next_to_run;
    ++runs[i];
    /* The first half launches the second, which has exited since its last launch. */
    if (i < TASKS / 2) {
        launch(i + TASKS / 2);
    }
    return monad_async_make_success((intptr_t)ticket[i]);
}

int main(int argc, char **argv)
{
    uint64_t const count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000000;
    struct monad_async_executor_attr ex_attr;
    memset(&ex_attr, 0, sizeof ex_attr);
    ex_attr.io_uring_ring.entries = 64;
    monad_async_result r = monad_async_executor_create(&ex, &ex_attr);
    if (r.error != 0) {
        die(monad_async_last_create_error(), r);
    }
    for (size_t i = 0; i < TASKS; ++i) {
        struct monad_async_task_attr attr;
        memset(&attr, 0, sizeof attr);
        r = monad_async_task_create(&tasks[i], &attr);
        if (r.error != 0) {
            die("create", r);
        }
        tasks[i]->user_code = body;
        tasks[i]->user_ptr = &tasks[i];
    }

    monad_async_cpu_ticks_count_t const began = monad_async_get_ticks_count();
    uint64_t ran = 0;
    while (next_ticket < count) {
        for (size_t i = 0; i < TASKS / 2; ++i) {
            launch(i);
        }
        while (monad_async_executor_has_work(ex)) {
            r = monad_async_executor_run(ex, SIZE_MAX, NULL);
            if (r.error != 0) {
                die("run", r);
            }
            ran += (uint64_t)r.value;
        }
    }
    uint64_t const ns = monad_async_ticks_to_ns(monad_async_get_ticks_count() - began);

    uint64_t sum = 0;
    int even = 1;
    for (size_t i = 0; i < TASKS; ++i) {
        sum += runs[i];
        even = even && runs[i] == next_ticket / TASKS;
        even = even && tasks[i]->result.value == (intptr_t)ticket[i];
        (void)monad_async_task_destroy(tasks[i]);
    }
    int const good = even && sum == next_ticket && ran == next_ticket && next_to_run == next_ticket &&
                     next_ticket >= count;
    printf("billion: %" PRIu64 " launched, %" PRIu64 " ran, %" PRIu64
           " counted by run, %.1f ns each: %s\n",
           next_ticket, sum, ran, (double)ns / (double)next_ticket, good ? "right" : "WRONG");
    r = monad_async_executor_destroy(ex);
    return good && r.error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

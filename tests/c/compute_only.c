/* An executor without a ring, from plain C: tasks that yield, sleep, join, are cancelled, and come
 * from another thread. It needs nothing that an emulator of another processor lacks, so this is
 * also how the stack switch of the other architecture is tried. */

#if defined(__STRICT_ANSI__)
    #define _POSIX_C_SOURCE 200809L
#endif

#include <monad/async.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS = 100, ROUNDS = 50 };

static int checks_failed;

static void check(int holds, char const *what, int line)
{
    if (!holds) {
        fprintf(stderr, "compute_only.c:%d: not so: %s\n", line, what);
        ++checks_failed;
    }
}
#define CHECK(what) check((what) != 0, #what, __LINE__)

static monad_async_executor ex;
static monad_async_task tasks[TASKS];
static double sums[TASKS];

static size_t number_of(monad_async_task task)
{
    return (size_t)((monad_async_task *)task->user_ptr - tasks);
}

/* What the switch must keep: locals in registers, integers and floating point, across suspensions
 * of several depths of call. */
static double deeper(monad_async_task task, unsigned depth, double a, double b)
{
    if (depth > 0) {
        return a * 0.5 + deeper(task, depth - 1, b, a) + b * 0.5;
    }
    CHECK(monad_async_task_suspend_for_duration(task, 0).error == 0);
    return a + b;
}

static monad_async_result calculates(monad_async_task task)
{
    size_t const i = number_of(task);
    double sum = 0;
    for (unsigned round = 0; round < ROUNDS; ++round) {
        sum += deeper(task, round % 8, (double)i, (double)round);
        monad_async_result const r =
            monad_async_task_suspend_for_duration(task, round % 10 == 9 ? 1000 + i : 0);
        if (r.error != 0) {
            return r;
        }
    }
    sums[i] = sum;
    return monad_async_make_success((intptr_t)i);
}

static double expected_sum(size_t i)
{
    double sum = 0;
    for (unsigned round = 0; round < ROUNDS; ++round) {
        unsigned const depth = round % 8;
        double a = (double)i, b = (double)round;
        /* Each level adds half of both and swaps them: the sum is that of the two, and more. */
        sum += (a + b) * (1 + depth * 0.5);
    }
    return sum;
}

static monad_async_result joins_all(monad_async_task task)
{
    for (size_t i = 0; i < TASKS; ++i) {
        monad_async_result const r = monad_async_task_join(task, tasks[i]);
        CHECK(r.error == 0 && r.value == (intptr_t)i);
    }
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_NOP;
    CHECK(monad_async_task_io(task, &sqe).error == ENOTSUP);
    return monad_async_task_suspend_for_duration(task, UINT64_MAX);
}

static monad_async_task make_task(monad_async_result (*code)(monad_async_task), void *user_ptr)
{
    monad_async_task task = NULL;
    struct monad_async_task_attr attr;
    memset(&attr, 0, sizeof attr);
    if (monad_async_task_create(&task, &attr).error != 0) {
        fputs("compute_only.c: no task\n", stderr);
        exit(EXIT_FAILURE);
    }
    task->user_code = code;
    task->user_ptr = user_ptr;
    return task;
}

static void *attach_from_elsewhere(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < TASKS; i += 2) {
        CHECK(monad_async_task_attach(ex, tasks[i]).error == 0);
    }
    return NULL;
}

int main(void)
{
    struct monad_async_executor_attr attr;
    memset(&attr, 0, sizeof attr);
    if (monad_async_executor_create(&ex, &attr).error != 0) {
        fprintf(stderr, "compute_only.c: %s\n", monad_async_last_create_error());
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < TASKS; ++i) {
        tasks[i] = make_task(calculates, &tasks[i]);
        tasks[i]->priority.cpu = (monad_async_priority)(i % 3);
    }
    for (size_t i = 1; i < TASKS; i += 2) {
        CHECK(monad_async_task_attach(ex, tasks[i]).error == 0);
    }
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, attach_from_elsewhere, NULL) == 0);
    size_t exited = 0;
    while (exited < TASKS) {
        CHECK(monad_async_executor_run(ex, SIZE_MAX, NULL).error == 0);
        exited = 0;
        for (size_t i = 0; i < TASKS; ++i) {
            exited += monad_async_task_has_exited(tasks[i]);
        }
    }
    CHECK(pthread_join(thread, NULL) == 0);
    for (size_t i = 0; i < TASKS; ++i) {
        CHECK(sums[i] == expected_sum(i));
        CHECK(tasks[i]->result.error == 0);
    }

    monad_async_task const joiner = make_task(joins_all, NULL);
    CHECK(monad_async_task_attach(ex, joiner).error == 0);
    CHECK(monad_async_executor_run(ex, 1, NULL).value == 1);
    CHECK(joiner->is_suspended_awaiting);
    CHECK(monad_async_task_cancel(ex, joiner).error == 0);
    while (monad_async_executor_has_work(ex)) {
        CHECK(monad_async_executor_run(ex, SIZE_MAX, NULL).error == 0);
    }
    CHECK(joiner->result.error == ECANCELED);

    CHECK(monad_async_task_destroy(joiner).error == 0);
    for (size_t i = 0; i < TASKS; ++i) {
        CHECK(monad_async_task_destroy(tasks[i]).error == 0);
    }
    CHECK(monad_async_executor_destroy(ex).error == 0);
    if (checks_failed == 0) {
        puts("compute_only.c: all checks hold");
    }
    return checks_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

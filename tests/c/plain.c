/* The C API as a C program meets it: every function and every field once, strict C11 and C17, no
 * test library. What each does in every case is tested in the other files here. */

#if defined(__STRICT_ANSI__)
    #define _POSIX_C_SOURCE 200809L
#endif

#include <monad/async.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks_failed;

static void check(int holds, char const *what, int line)
{
    if (!holds) {
        fprintf(stderr, "plain.c:%d: not so: %s\n", line, what);
        ++checks_failed;
    }
}
#define CHECK(what) check((what) != 0, #what, __LINE__)

static struct timespec const at_once = {0, 0};

/* user_ptr's type in these tasks. */
struct notes {
    monad_async_executor ex;
    monad_async_task other;
    int steps;
};

static monad_async_result counts_and_sleeps(monad_async_task task)
{
    struct notes *const notes = task->user_ptr;
    ++notes->steps;
    CHECK(task->is_running && !task->is_pending_launch);
    CHECK(!task->is_suspended_awaiting && !task->is_suspended_completed);
    CHECK(task->current_executor == notes->ex);
    CHECK(notes->ex->current_task == task);
    CHECK(notes->ex->tasks_running == 1);
    /* Long: the executor is to sleep, on a slow machine too. */
    monad_async_result const r = monad_async_task_suspend_for_duration(task, 50000000);
    ++notes->steps;
    return monad_async_result_has_error(r) ? r : monad_async_make_success(notes->steps);
}

static monad_async_result joins_then_nops(monad_async_task task)
{
    struct notes *const notes = task->user_ptr;
    monad_async_result r = monad_async_task_join(task, notes->other);
    CHECK(monad_async_result_has_value(r) && r.value == 2);
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_NOP;
    r = monad_async_task_io(task, &sqe);
    CHECK(r.error == 0 && r.value == 0);
    CHECK(monad_async_task_io_cqe_flags(task) == 0);
    return r;
}

static monad_async_result waits_for_ever(monad_async_task task)
{
    return monad_async_task_suspend_for_duration(task, UINT64_MAX);
}

static monad_async_task make_task(monad_async_result (*code)(monad_async_task), struct notes *notes)
{
    monad_async_task task = NULL;
    struct monad_async_task_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.stack_size = 65536;
    CHECK(monad_async_task_create(&task, &attr).error == 0);
    task->user_code = code;
    task->user_ptr = notes;
    return task;
}

static monad_async_executor make_executor(uint32_t flags)
{
    monad_async_executor ex = NULL;
    struct monad_async_executor_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.io_uring_ring.entries = 8;
    attr.flags = flags;
    monad_async_result const r = monad_async_executor_create(&ex, &attr);
    if (r.error != 0) {
        fprintf(stderr, "plain.c: %s: %s\n", monad_async_result_message(r),
                monad_async_last_create_error());
        exit(EXIT_FAILURE);
    }
    return ex;
}

static void results(void)
{
    CHECK(sizeof(monad_async_result) == 16);
    monad_async_result const good = monad_async_make_success(-7);
    CHECK(good.value == -7 && good.error == 0 && good.reserved == 0);
    CHECK(monad_async_result_has_value(good) && !monad_async_result_has_error(good));
    monad_async_result const bad = monad_async_make_failure(ENOENT);
    CHECK(bad.error == ENOENT && bad.reserved == 0);
    CHECK(!monad_async_result_has_value(bad) && monad_async_result_has_error(bad));
    CHECK(strcmp(monad_async_result_message(bad), strerror(ENOENT)) == 0);
}

static void ticks(void)
{
    monad_async_cpu_ticks_count_t const a = monad_async_get_ticks_count();
    monad_async_cpu_ticks_count_t const b = monad_async_get_ticks_count();
    CHECK(b >= a);
    CHECK(monad_async_ticks_per_second() > 1000000);
    uint64_t const ns = monad_async_ticks_to_ns(monad_async_ticks_per_second());
    CHECK(ns > 999999990 && ns < 1000000010);
}

static void one_life(void)
{
    monad_async_executor const ex = make_executor(0);
    struct notes notes = {ex, NULL, 0};
    monad_async_task const task = make_task(counts_and_sleeps, &notes);
    struct notes joiner_notes = {ex, task, 0};
    monad_async_task const joiner = make_task(joins_then_nops, &joiner_notes);
    monad_async_task const waiter = make_task(waits_for_ever, NULL);

    CHECK(task->priority.cpu == monad_async_priority_normal);
    CHECK(task->priority.io == monad_async_priority_normal);
    CHECK(monad_async_task_set_priorities(task, monad_async_priority_high, monad_async_priority_low)
              .error == 0);
    CHECK(task->priority.cpu == monad_async_priority_high);
    CHECK(task->priority.io == monad_async_priority_low);
    CHECK(!monad_async_executor_has_work(ex));
    CHECK(!monad_async_task_has_exited(task));

    CHECK(monad_async_task_attach(ex, joiner).error == 0);
    CHECK(monad_async_task_attach(ex, waiter).error == 0);
    CHECK(monad_async_task_attach(ex, task).error == 0);
    CHECK(monad_async_task_attach(ex, task).error == EBUSY);
    CHECK(task->is_pending_launch && task->current_executor == ex);
    CHECK(ex->tasks_pending_launch == 3 && monad_async_executor_has_work(ex));
    CHECK(monad_async_executor_destroy(ex).error == EBUSY);
    CHECK(monad_async_task_destroy(task).error == EBUSY);

    monad_async_result r = monad_async_executor_run(ex, 1, NULL);
    CHECK(r.error == 0 && r.value == 1 && notes.steps == 1);
    CHECK(task->is_suspended_awaiting && !task->is_suspended_completed);
    CHECK(ex->tasks_suspended == 1 && ex->tasks_pending_launch == 2 && ex->tasks_running == 0);
    while (!monad_async_task_has_exited(joiner)) {
        r = monad_async_executor_run(ex, SIZE_MAX, NULL);
        CHECK(r.error == 0);
    }
    CHECK(task->result.error == 0 && task->result.value == 2);
    CHECK(ex->current_task == NULL && task->current_executor == NULL);
    CHECK(ex->total_io_submitted == 1 && ex->total_io_completed == 1);
    CHECK(task->ticks_when_attached > 0 && task->ticks_when_suspended_awaiting > 0);
    CHECK(task->ticks_when_suspended_completed > 0 && task->ticks_when_resumed > 0);
    CHECK(task->ticks_when_detached > 0 && task->total_ticks_executed > 0);
    CHECK(ex->total_ticks_in_run > 0 && ex->total_ticks_in_task_launch > 0);
    CHECK(ex->total_ticks_in_io_uring > 0 && ex->total_ticks_sleeping > 0);
    CHECK(ex->total_ticks_in_task_completion > 0);

    CHECK(monad_async_executor_wake(ex).error == 0);
    r = monad_async_executor_run(ex, 1, NULL);
    CHECK(r.error == 0 && r.value == 0);
    CHECK(monad_async_executor_run(ex, 1, &at_once).error == ETIME);
    CHECK(monad_async_task_cancel(ex, waiter).error == 0);
    while (monad_async_executor_has_work(ex)) {
        CHECK(monad_async_executor_run(ex, 1, NULL).error == 0);
    }
    CHECK(waiter->result.error == ECANCELED);
    CHECK(monad_async_task_cancel(ex, waiter).error == ENOENT);

    char *const config = monad_async_executor_config_string(ex);
    CHECK(config != NULL && strlen(config) > 0);
    monad_async_free(config);
    CHECK(monad_async_task_destroy(waiter).error == 0);
    CHECK(monad_async_task_destroy(joiner).error == 0);
    CHECK(monad_async_task_destroy(task).error == 0);
    CHECK(monad_async_executor_destroy(ex).error == 0);
}

static void without_time_tracking(void)
{
    monad_async_executor const ex = make_executor(MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING);
    struct notes notes = {ex, NULL, 0};
    monad_async_task const task = make_task(counts_and_sleeps, &notes);
    CHECK(monad_async_task_attach(ex, task).error == 0);
    while (monad_async_executor_has_work(ex)) {
        CHECK(monad_async_executor_run(ex, SIZE_MAX, NULL).error == 0);
    }
    CHECK(task->total_ticks_executed == 0 && ex->total_ticks_in_run == 0);
    CHECK(monad_async_task_destroy(task).error == 0);
    CHECK(monad_async_executor_destroy(ex).error == 0);
}

static void refused(void)
{
    monad_async_executor ex = NULL;
    struct monad_async_executor_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.reserved[sizeof attr.reserved / sizeof *attr.reserved - 1] = 1;
    CHECK(monad_async_executor_create(&ex, &attr).error == EINVAL && ex == NULL);
    char const *const why = monad_async_last_create_error();
    CHECK(why != NULL && strlen(why) > 0);
    CHECK(strlen(monad_async_version()) >= strlen("0.1.0"));
}

int main(void)
{
    results();
    ticks();
    one_life();
    without_time_tracking();
    refused();
    if (checks_failed == 0) {
        puts("plain.c: all checks hold");
    }
    return checks_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

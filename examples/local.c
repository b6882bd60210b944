/* What only the tasks of one executor share needs no atomic: the `local_` forms. Counts the words
 * of some lines: one task gives lines out, others count, one waits for the sum and prints it. */
#include <monad/async.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "local: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

enum { counters = 3, lines_n = 6 };

static char const *const text[lines_n] = {"one", "one two",          "a line of five words",
                                          "",    "three more words", "the end"};
static char const *storage[2];
static monad_async_local_channel lines;
static monad_async_local_event begun = MONAD_ASYNC_LOCAL_EVENT_INIT;
static monad_async_local_semaphore two_at_once = MONAD_ASYNC_LOCAL_SEMAPHORE_INIT(2);
static monad_async_local_mutex mutex = MONAD_ASYNC_LOCAL_MUTEX_INIT;
static monad_async_local_condition counted = MONAD_ASYNC_LOCAL_CONDITION_INIT;
static monad_async_local_barrier no_line_left = MONAD_ASYNC_LOCAL_BARRIER_INIT(counters);
static monad_async_local_wait_group left = MONAD_ASYNC_LOCAL_WAIT_GROUP_INIT(counters);
static monad_async_local_rw_lock table_lock = MONAD_ASYNC_LOCAL_RW_LOCK_INIT;
static int words, lines_counted, inside, most_inside, longest;

//! [a local channel]
static monad_async_result give_out(monad_async_task task)
{
    check(monad_async_local_event_wait(task, &begun));
    char const *line;
    for (int i = 0; i < lines_n - 1; ++i) {
        line = text[i];
        check(monad_async_local_channel_send(task, &lines, &line)); /* waits while two are inside */
    }
    /* The last one, but not for ever. */
    line = text[lines_n - 1];
    monad_async_select_case cases[] = {monad_async_case_local_send(&lines, &line),
                                       monad_async_case_timeout(10000000000ULL)};
    if (check(monad_async_select(task, cases, 2)) != 0) {
        return monad_async_make_failure(ETIME);
    }
    return monad_async_local_channel_close(&lines);
}

static char const *next_line(monad_async_task task)
{
    char const *line;
    monad_async_result const r = monad_async_local_channel_recv(task, &lines, &line);
    return r.error == EPIPE ? NULL : (check(r), line);
}
//! [a local channel]

static int words_of(char const *line)
{
    int n = 0;
    for (char const *at = line; *at != '\0'; ++at) {
        n += *at != ' ' && (at == line || at[-1] == ' ');
    }
    return n;
}

static monad_async_result count(monad_async_task task)
{
    for (char const *line; (line = next_line(task)) != NULL;) {
        check(monad_async_local_semaphore_acquire(task, &two_at_once, 1));
        most_inside = ++inside > most_inside ? inside : most_inside;
        check(monad_async_task_suspend_for_duration(task, 0)); /* others run */
        int const n = words_of(line);
        --inside;
        check(monad_async_local_semaphore_release(&two_at_once, 1));

        check(monad_async_local_rw_lock_lock_shared(task, &table_lock));
        int const is_longer = n > longest;
        check(monad_async_local_rw_lock_unlock_shared(task, &table_lock));
        if (is_longer) {
            check(monad_async_local_rw_lock_lock(task, &table_lock));
            longest = n > longest ? n : longest; /* another may have been here before */
            check(monad_async_local_rw_lock_unlock(task, &table_lock));
        }

        check(monad_async_local_mutex_lock(task, &mutex));
        words += n;
        ++lines_counted;
        check(monad_async_local_condition_notify_one(&counted));
        check(monad_async_local_mutex_unlock(task, &mutex));
    }
    intptr_t const is_last = check(monad_async_local_barrier_wait(task, &no_line_left));
    check(monad_async_local_wait_group_done(&left, 1));
    return monad_async_make_success(is_last);
}

static monad_async_result await_sum(monad_async_task task)
{
    check(monad_async_local_event_set(&begun));
    check(monad_async_local_mutex_lock(task, &mutex));
    while (lines_counted < lines_n) {
        check(monad_async_local_condition_wait(task, &counted, &mutex));
    }
    check(monad_async_local_mutex_unlock(task, &mutex));
    check(monad_async_local_wait_group_wait(task, &left));
    /* Closed and empty: one case of a select is ready at once. */
    char const *line;
    monad_async_select_case cases[] = {monad_async_case_local_recv(&lines, &line),
                                       monad_async_case_timeout(10000000000ULL)};
    intptr_t const which = check(monad_async_select(task, cases, 2));
    return monad_async_make_success(which == 0 && cases[0].result.error == EPIPE);
}

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT; /* compute-only */
    check(monad_async_executor_create(&ex, &attr));
    check(monad_async_local_channel_init(&lines, storage, 2, sizeof *storage));
    enum { tasks_n = counters + 2 };
    monad_async_task tasks[tasks_n];
    for (int i = 0; i < tasks_n; ++i) {
        check(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = i < counters ? count : i == counters ? give_out : await_sum;
        check(monad_async_task_attach(ex, tasks[i]));
    }
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    intptr_t last_ones = 0;
    for (int i = 0; i < counters; ++i) {
        last_ones += check(tasks[i]->result);
    }
    intptr_t const closed = check(tasks[tasks_n - 1]->result);
    printf("%d words in %d lines, at most %d in one; at most %d counted at once\n", words,
           lines_counted, longest, most_inside);
    for (int i = 0; i < tasks_n; ++i) {
        check(monad_async_task_destroy(tasks[i]));
    }
    check(monad_async_executor_destroy(ex));
    int const good = words == 13 && lines_counted == lines_n && longest == 5 && most_inside == 2 &&
                     last_ones == 1 && closed == 1;
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Who will not wait, or for a time only: `try_` and `_until`. A service of one task, and a client
 * that is a plain thread, which gives NULL for the task: it blocks where a task suspends. */
#include <monad/async.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "not_for_long: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

/* A time of `monad_async_now_ns`. What should not happen ends then, and does not hang. */
static uint64_t in_10_s(void)
{
    return monad_async_now_ns() + 10000000000ULL;
}
static uint64_t in_1_ms(void)
{
    return monad_async_now_ns() + 1000000;
}

static monad_async_channel requests;
static int storage[4];
static monad_async_mutex mutex;
static monad_async_condition changed = MONAD_ASYNC_CONDITION_INIT;
static monad_async_semaphore tokens = MONAD_ASYNC_SEMAPHORE_INIT(1);
static monad_async_event is_open = MONAD_ASYNC_EVENT_INIT;
static monad_async_barrier both = MONAD_ASYNC_BARRIER_INIT(2);
static monad_async_rw_lock table_lock = MONAD_ASYNC_RW_LOCK_INIT;
static monad_async_wait_group unanswered;
static int sum, busy, table;

//! [a thread that sends]
static void send_requests(void)
{
    for (int i = 1; i <= 20; ++i) {
        check(monad_async_wait_group_add(&unanswered, 1));
        monad_async_result const r = monad_async_channel_try_send(&requests, &i);
        if (r.error == EAGAIN) { /* full: as a task would suspend, the thread blocks */
            ++busy;
            check(monad_async_channel_send_until(NULL, &requests, &i, in_10_s()));
        } else {
            check(r);
        }
    }
    check(monad_async_channel_close(&requests));
    check(monad_async_wait_group_wait(NULL, &unanswered));
}
//! [a thread that sends]

static void *client(void *nothing)
{
    (void)nothing;
    check(monad_async_event_wait_until(NULL, &is_open, in_10_s()));
    if (check(monad_async_event_is_set(&is_open)) == 1) {
        check(monad_async_event_reset(&is_open)); /* nobody else waits for it */
    }
    send_requests();
    check(monad_async_mutex_lock_until(NULL, &mutex, in_10_s()));
    while (sum != 210) {
        check(monad_async_condition_wait_until(NULL, &changed, &mutex, in_10_s()));
    }
    check(monad_async_mutex_unlock(NULL, &mutex));
    check(monad_async_rw_lock_lock_shared_until(NULL, &table_lock, in_10_s()));
    int const *const seen = table == 20 ? &table : NULL;
    check(monad_async_rw_lock_unlock_shared(NULL, &table_lock));
    check(monad_async_barrier_wait_until(NULL, &both, in_10_s()));
    return (void *)seen;
}

//! [not for long]
/* At most one a millisecond: a request that finds no token waits for a time, and makes one. */
static void take_token(monad_async_task task)
{
    if (monad_async_semaphore_try_acquire(&tokens, 1).error != EAGAIN) {
        return;
    }
    monad_async_result const r = monad_async_semaphore_acquire_until(task, &tokens, 1, in_1_ms());
    if (r.error != ETIME) {
        check(r);
    }
}
//! [not for long]

static void answer(monad_async_task task, int request)
{
    take_token(task);
    if (monad_async_mutex_try_lock(task, &mutex).error == EBUSY) {
        check(monad_async_mutex_lock(task, &mutex)); /* the client has it for a moment */
    }
    sum += request;
    check(monad_async_condition_notify_all(&changed));
    check(monad_async_mutex_unlock(task, &mutex));
    if (monad_async_rw_lock_try_lock(task, &table_lock).error == EBUSY) {
        check(monad_async_rw_lock_lock_until(task, &table_lock, in_10_s()));
    }
    ++table;
    check(monad_async_rw_lock_unlock(task, &table_lock));
    check(monad_async_wait_group_done(&unanswered, 1));
}

static monad_async_result serve(monad_async_task task)
{
    check(monad_async_event_set(&is_open));
    int request;
    monad_async_result r;
    for (;;) {
        r = monad_async_channel_try_recv(&requests, &request);
        if (r.error == EAGAIN) { /* nothing is there yet */
            r = monad_async_channel_recv_until(task, &requests, &request, in_10_s());
        }
        if (r.error == EPIPE) {
            break;
        }
        check(r);
        answer(task, request);
    }
    int const left = (int)check(monad_async_channel_count(&requests));
    check(monad_async_barrier_wait(task, &both));
    check(monad_async_rw_lock_try_lock_shared(task, &table_lock)); /* nobody writes any more */
    int const answered = table;
    check(monad_async_rw_lock_unlock_shared(task, &table_lock));
    return monad_async_make_success(left == 0 ? answered : -1);
}

//! [a checked mutex]
static monad_async_mutex first = MONAD_ASYNC_MUTEX_INIT_CHECKED;
static monad_async_mutex second = MONAD_ASYNC_MUTEX_INIT_CHECKED;

/* The two in the other order than the other task: the one that closes the cycle is told, with a
 * line on standard error, and gives way. */
static monad_async_result lock_both(monad_async_task task)
{
    monad_async_mutex *const a = task->user_ptr != NULL ? &first : &second;
    monad_async_mutex *const b = task->user_ptr != NULL ? &second : &first;
    check(monad_async_mutex_lock(task, a));
    check(monad_async_task_suspend_for_duration(task, 0)); /* now the other one locks its first */
    monad_async_result const r = monad_async_mutex_lock(task, b);
    if (r.error == 0) {
        check(monad_async_mutex_unlock(task, b));
    }
    check(monad_async_mutex_unlock(task, a));
    return monad_async_make_success(r.error == EDEADLK);
}
//! [a checked mutex]

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT; /* compute-only */
    check(monad_async_executor_create(&ex, &attr));
    check(monad_async_channel_init(&requests, storage, 4, sizeof *storage));
    check(monad_async_mutex_init(&mutex, 0));
    monad_async_task tasks[3];
    for (int i = 0; i < 3; ++i) {
        check(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = i == 0 ? serve : lock_both;
        tasks[i]->user_ptr = i == 1 ? &first : NULL;
        check(monad_async_task_attach(ex, tasks[i]));
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, client, NULL) != 0) {
        return EXIT_FAILURE;
    }
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    void *seen;
    (void)pthread_join(thread, &seen);
    intptr_t const answered = check(tasks[0]->result);
    intptr_t const gave_way = check(tasks[1]->result) + check(tasks[2]->result);
    printf("%d requests, sum %d, the client waited for room %s; cycles of locks, named above: %d\n",
           (int)answered, sum, busy > 0 ? "now and then" : "never", (int)gave_way);
    for (int i = 0; i < 3; ++i) {
        check(monad_async_task_destroy(tasks[i]));
    }
    check(monad_async_executor_destroy(ex));
    return answered == 20 && sum == 210 && seen == &table && gave_way == 1 ? EXIT_SUCCESS
                                                                           : EXIT_FAILURE;
}

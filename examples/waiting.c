/* What a task waits for besides locks and channels: an unpark by a thread, a function that blocks,
 * the addresses of a host, and another task's end. */
#define _POSIX_C_SOURCE 200809L /* nanosleep, getaddrinfo */
#include <monad/async.h>

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "waiting: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

static void pause_for(long ns)
{
    struct timespec const time = {0, ns};
    (void)nanosleep(&time, NULL);
}

//! [a park]
static atomic_int answer;

/* Any thread leaves what it has, and then the permit. */
static void *think(void *waiter)
{
    pause_for(2000000);
    atomic_store(&answer, 42);
    check(monad_async_task_unpark(waiter));
    return NULL;
}

static int await_answer(monad_async_task self)
{
    while (atomic_load(&answer) == 0) {
        /* A permit that came before is taken at once, so none is missed. */
        check(monad_async_task_park(self));
    }
    return atomic_load(&answer);
}
//! [a park]

//! [blocking work]
struct sum {
    int const *numbers;
    int count;
};

/* On a helper thread: it may block, or compute for long. */
static monad_async_result add_up(void *ptr)
{
    struct sum const *const of = ptr;
    int sum = 0;
    pause_for(2000000);
    for (int i = 0; i < of->count; ++i) {
        sum += of->numbers[i];
    }
    return monad_async_make_success(sum);
}

/* Other tasks run until it has returned; it may use what lies on this stack. */
static int add_elsewhere(monad_async_task self)
{
    int const numbers[] = {1, 2, 3, 4};
    struct sum of = {numbers, 4};
    /* Of the whole process: two threads at most, and one without work leaves after a second. */
    check(monad_async_blocking_set_limits(2, 1000000000));
    return (int)check(monad_async_run_blocking(self, add_up, &of));
}
//! [blocking work]

//! [a name]
/* How many addresses it has; a name service that is slow keeps only this task waiting, and a scope
 * ends even that. */
static int count_addresses(monad_async_task self, char const *host)
{
    struct addrinfo hints = {0}, *list = NULL;
    hints.ai_socktype = SOCK_STREAM;
    monad_async_scope scope;
    check(monad_async_scope_enter(self, &scope, 10000000000ULL, 0));
    monad_async_result const r = monad_async_resolve(self, host, "80", &hints, &list);
    check(monad_async_scope_leave(self, &scope));
    check(r);
    int count = 0;
    for (struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        ++count;
    }
    freeaddrinfo(list);
    return count;
}
//! [a name]

static monad_async_result seven(monad_async_task task)
{
    (void)task;
    return monad_async_make_success(7);
}

//! [a join]
static monad_async_task other;
static monad_async_remote home; /* the executor, should it be gone when it is used */

/* Launched here or by another thread: its result, once it has exited. */
static int join_seven(monad_async_task self)
{
    check(monad_async_remote_attach(home, other));
    return (int)check(monad_async_task_join(self, other));
}
//! [a join]

static int ticks;

static monad_async_result wait_for_all(monad_async_task self)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, think, self) != 0) {
        return monad_async_make_failure(1);
    }
    int const answered = await_answer(self);
    (void)pthread_join(thread, NULL);
    int const sum = add_elsewhere(self), addresses = count_addresses(self, "127.0.0.1");
    int const helpers = (int)monad_async_blocking_helpers();
    int const joined = join_seven(self);
    printf("answer %d, sum %d, %d address, %s\n", answered, sum, addresses,
           ticks > 0 ? "and others ran" : "and nobody ran");
    return monad_async_make_success(answered == 42 && sum == 10 && addresses == 1 && ticks > 0 &&
                                    helpers <= 2 && joined == 7);
}

static monad_async_result tick(monad_async_task self)
{
    while (!monad_async_result_has_error(monad_async_task_suspend_for_duration(self, 500000))) {
        ++ticks;
    }
    return monad_async_make_success(0); /* cancelled */
}

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT; /* no ring is needed */
    attr.share[monad_async_priority_low] = 10; /* one item in 10 at least, whatever else is ready */
    monad_async_task waiting, ticking;
    check(monad_async_executor_create(&ex, &attr));
    check(monad_async_remote_acquire(ex, &home));
    check(monad_async_task_create(&other, NULL));
    other->user_code = seven;
    check(monad_async_task_create(&waiting, NULL));
    check(monad_async_task_create(&ticking, NULL));
    waiting->user_code = wait_for_all;
    ticking->user_code = tick;
    ticking->priority.cpu = monad_async_priority_low;
    check(monad_async_task_attach(ex, waiting));
    check(monad_async_task_attach(ex, ticking));
    while (!monad_async_task_has_exited(waiting)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    check(monad_async_remote_cancel(home, ticking)); /* as any thread may */
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    int const good = check(waiting->result) == 1;
    check(monad_async_task_destroy(waiting));
    check(monad_async_task_destroy(ticking));
    check(monad_async_task_destroy(other));
    check(monad_async_executor_destroy(ex));
    monad_async_remote_release(home);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

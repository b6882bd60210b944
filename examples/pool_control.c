/* What a pool's owner may do with what is in it: cancel a task that has not begun, change its
 * priority, keep within a bound, resize, launch on one worker, let a task go, ask whether the
 * kernel refuses to go on, have what waits handed back. */
#include <monad/async.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "pool_control: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

static atomic_int order, done, returned;
static atomic_bool is_computed, is_destroyed;

/* Takes the processor, and does not suspend: so what is submitted after it waits. */
static monad_async_result compute(monad_async_task task)
{
    (void)task;
    while (!atomic_load(&is_computed)) {
    }
    return monad_async_make_success(0);
}

static monad_async_result note_order(monad_async_task task)
{
    (void)task;
    return monad_async_make_success(atomic_fetch_add(&order, 1));
}

//! [a job by value]
struct addition {
    int amount;
};

static monad_async_result add(monad_async_task task)
{
    struct addition const *const job = task->user_ptr; /* the worker's copy */
    atomic_fetch_add(&done, job->amount);
    return monad_async_make_success(0);
}

static void not_begun(void *bytes)
{
    atomic_fetch_add(&returned, ((struct addition *)bytes)->amount);
}

static void post_one(monad_async_pool pool)
{
    static struct monad_async_pool_job const addition = {.code = add, .returned = not_begun};
    struct addition const one = {1};
    check(monad_async_pool_post(pool, monad_async_priority_normal, &addition, &one, sizeof one));
}
//! [a job by value]

/* On the worker's thread. */
static void destroy(monad_async_task task, monad_async_result result)
{
    check(result);
    check(monad_async_task_destroy(task));
    atomic_store(&is_destroyed, true);
}

int main(void)
{
    monad_async_pool pool;
    struct monad_async_pool_attr attr = MONAD_ASYNC_POOL_ATTR_INIT;
    attr.workers = 1;
    check(monad_async_pool_create(&pool, &attr));
    monad_async_task tasks[4];
    for (int i = 0; i < 4; ++i) {
        check(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = i == 0 ? compute : note_order;
        check(monad_async_pool_submit(pool, tasks[i]));
    }
    check(monad_async_pool_wait(pool, 3, MONAD_ASYNC_POOL_QUEUED)); /* the first has begun */

    //! [a task that is queued]
    check(monad_async_task_cancel(NULL, tasks[1])); /* never begins */
    check(monad_async_task_set_priorities(tasks[3], monad_async_priority_high,
                                          monad_async_priority_normal)); /* overtakes */
    int const one_is_queued =
        !monad_async_task_is_queued(tasks[1]) && monad_async_task_is_queued(tasks[3]);
    //! [a task that is queued]
    atomic_store(&is_computed, true);
    int const overtook = check(monad_async_task_wait(tasks[3], UINT64_MAX)) == 0 &&
                         check(monad_async_task_wait(tasks[2], UINT64_MAX)) == 1;

    //! [within a bound]
    for (int i = 0; i < 1000; ++i) {
        check(monad_async_pool_wait(pool, 15, MONAD_ASYNC_POOL_QUEUED)); /* at most 16 wait */
        post_one(pool);
    }
    check(monad_async_pool_wait(pool, 0, MONAD_ASYNC_POOL_UNFINISHED));
    //! [within a bound]

    //! [a worker]
    check(monad_async_pool_resize(pool, 2));
    monad_async_remote second;
    check(monad_async_pool_worker(pool, 1, &second)); /* its executor */
    check(monad_async_remote_attach(second, tasks[1]));
    check(monad_async_task_wait(tasks[1], UINT64_MAX));
    monad_async_remote_release(second);
    //! [a worker]

    //! [a task that is let go]
    monad_async_task background;
    check(monad_async_task_create(&background, NULL));
    background->user_code = note_order;
    check(monad_async_pool_spawn(pool, background, destroy)); /* ours no more */
    check(monad_async_pool_wait(pool, 0, MONAD_ASYNC_POOL_UNFINISHED));
    //! [a task that is let go]
    int const has_two = check(monad_async_pool_workers(pool)) == 2;

    //! [whether the kernel refuses]
    size_t which = 0;
    int const why = (int)check(monad_async_pool_kernel_error(pool, &which));
    if (why != 0) { /* a sandbox has closed, say */
        fprintf(stderr, "worker %zu stands still: %s\n", which, strerror(why));
    }
    //! [whether the kernel refuses]

    check(monad_async_pool_resize(pool, 1));
    atomic_store(&is_computed, false);
    check(monad_async_pool_submit(pool, tasks[0]));
    check(monad_async_pool_wait(pool, 0, MONAD_ASYNC_POOL_QUEUED));
    for (int i = 0; i < 5; ++i) {
        post_one(pool);
    }
    intptr_t const left = check(monad_async_pool_left(pool, MONAD_ASYNC_POOL_UNFINISHED));
    intptr_t const handed_back = check(monad_async_pool_quit(pool, MONAD_ASYNC_POOL_RETURN));
    atomic_store(&is_computed, true);
    int const refused = monad_async_pool_submit(pool, tasks[2]).error;
    check(monad_async_pool_destroy(pool));
    printf("%d were done; of %d that were left, %d were handed back\n", atomic_load(&done),
           (int)left, (int)handed_back);
    for (int i = 0; i < 4; ++i) {
        check(monad_async_task_destroy(tasks[i]));
    }
    int const good = one_is_queued && overtook && atomic_load(&done) == 1000 && left == 6 &&
                     handed_back == 5 && atomic_load(&returned) == 5 && refused == ESHUTDOWN &&
                     has_two && why == 0 && atomic_load(&is_destroyed);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

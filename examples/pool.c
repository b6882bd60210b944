// A pool: work of three priorities by two workers, and one task that waits for all of it.
#include <monad/async.h>

#include <stdatomic.h>
#include <stdio.h>

enum { tasks_n = 300 };

static atomic_ulong sum;

static monad_async_result add(monad_async_task task)
{
    atomic_fetch_add(&sum, (unsigned long)(size_t)task->user_ptr);
    return monad_async_make_success(0);
}

int main(void)
{
    //! [a pool]
    monad_async_pool pool;
    struct monad_async_pool_attr attr = MONAD_ASYNC_POOL_ATTR_INIT;
    attr.workers = 2;
    monad_async_result r = monad_async_pool_create(&pool, &attr);
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "pool: %s\n", monad_async_last_create_error());
        return 1;
    }
    static monad_async_task tasks[tasks_n];
    for (size_t i = 0; i < tasks_n; ++i) {
        r = monad_async_task_create(&tasks[i], NULL);
        if (monad_async_result_has_error(r)) {
            return 1;
        }
        tasks[i]->user_code = add;
        tasks[i]->user_ptr = (void *)i;
        tasks[i]->priority.cpu = (uint8_t)(i % 3);
    }
    r = monad_async_pool_submit_many(pool, tasks, tasks_n);
    if (r.value == tasks_n) {
        r = monad_async_pool_wait(pool, 0, MONAD_ASYNC_POOL_UNFINISHED);
    }
    r = monad_async_pool_destroy(pool);
    //! [a pool]
    for (size_t i = 0; i < tasks_n; ++i) {
        (void)monad_async_task_destroy(tasks[i]).error;
    }
    unsigned long const expected = (unsigned long)tasks_n * (tasks_n - 1) / 2;
    printf("%d tasks, sum %lu\n", tasks_n, atomic_load(&sum));
    return atomic_load(&sum) == expected && r.value == 0 ? 0 : 1;
}

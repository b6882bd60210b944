/* A task that sleeps, and the value it leaves behind. */
#include <monad/async.h>

#include <stdio.h>
#include <stdlib.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "hello: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

static monad_async_result body(monad_async_task task)
{
    printf("hello, %s\n", (char const *)task->user_ptr);
    monad_async_result r = monad_async_task_suspend_for_duration(task, 1000000000ULL);
    return monad_async_result_has_error(r) ? r : monad_async_make_success(42);
}

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr ex_attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    ex_attr.io_uring_ring.entries = 64;
    check(monad_async_executor_create(&ex, &ex_attr));

    monad_async_task task; /* expensive, reusable */
    struct monad_async_task_attr attr = MONAD_ASYNC_TASK_ATTR_INIT;
    check(monad_async_task_create(&task, &attr));
    task->priority.cpu = monad_async_priority_high;
    task->user_code = body;
    task->user_ptr = "world";
    check(monad_async_task_attach(ex, task));

    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    printf("%jd\n", (intmax_t)check(task->result));
    check(monad_async_task_destroy(task));
    check(monad_async_executor_destroy(ex));
    return EXIT_SUCCESS;
}

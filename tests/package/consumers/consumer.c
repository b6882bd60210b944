/* Uses enough of the library that a missing piece shows. */
#include <monad/async.h>

#include <stdio.h>
#include <string.h>

static monad_async_result body(monad_async_task task)
{
    monad_async_result r = monad_async_task_suspend_for_duration(task, 1000);
    return monad_async_result_has_error(r) ? r : monad_async_make_success(42);
}

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr ex_attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    monad_async_task task;
    struct monad_async_task_attr attr = MONAD_ASYNC_TASK_ATTR_INIT;
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", MONAD_ASYNC_VERSION_MAJOR,
             MONAD_ASYNC_VERSION_MINOR, MONAD_ASYNC_VERSION_PATCH);
    if (strcmp(version, monad_async_version()) != 0) {
        printf("compiled with %s, runs with %s\n", version, monad_async_version());
        return 1;
    }
    if (monad_async_executor_create(&ex, &ex_attr).error != 0 ||
        monad_async_task_create(&task, &attr).error != 0) {
        return 2;
    }
    task->user_code = body;
    if (monad_async_task_attach(ex, task).error != 0) {
        return 3;
    }
    while (monad_async_executor_has_work(ex)) {
        if (monad_async_executor_run(ex, SIZE_MAX, NULL).error != 0) {
            return 5;
        }
    }
    if (task->result.value != 42) {
        return 4;
    }
    if (monad_async_task_destroy(task).error != 0) {
        return 6;
    }
    return monad_async_executor_destroy(ex).error;
}

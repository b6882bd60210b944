/* A plugin that uses the library for itself. -DSCRATCH=bytes: it has so many thread-local ones. */
#include <monad/async.h>

#include <stddef.h>

#ifdef SCRATCH
static _Thread_local char scratch[SCRATCH];
#endif

int plug(void);

static monad_async_result body(monad_async_task task)
{
    return monad_async_task_suspend_for_duration(task, 1000);
}

/* 0: an executor ran a task, and one was refused with a sentence. */
int plug(void)
{
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    struct monad_async_task_attr task_attr = MONAD_ASYNC_TASK_ATTR_INIT;
    monad_async_executor ex;
    monad_async_task task;
#ifdef SCRATCH
    ((char volatile *)scratch)[SCRATCH - 1] = 1;
#endif
    attr.reserved[0] = 1;
    if (monad_async_executor_create(&ex, &attr).error == 0 ||
        *monad_async_last_create_error() == 0) {
        return 1;
    }
    attr.reserved[0] = 0;
    if (monad_async_executor_create(&ex, &attr).error != 0 ||
        monad_async_task_create(&task, &task_attr).error != 0) {
        return 2;
    }
    task->user_code = body;
    if (monad_async_task_attach(ex, task).error != 0) {
        return 3;
    }
    while (monad_async_executor_has_work(ex)) {
        if (monad_async_executor_run(ex, SIZE_MAX, NULL).error != 0) {
            return 4;
        }
    }
    if (task->result.error != 0 || monad_async_task_destroy(task).error != 0) {
        return 5;
    }
    return monad_async_executor_destroy(ex).error;
}

/* Counts a file's lines in a task, and gives up after a second. hello [FILE] */
#define _GNU_SOURCE

#include <monad/async.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static monad_async_result count_lines(monad_async_task task)
{
    monad_async_file in;
    monad_async_result r =
        monad_async_file_open(task, &in, AT_FDCWD, task->user_ptr, O_RDONLY, 0, 0, 0);
    if (monad_async_result_has_error(r)) {
        return r;
    }
    char data[4096];
    intptr_t lines = 0;
    do { /* others run while it waits */
        r = monad_async_file_read(task, in, data, sizeof data, -1);
        for (intptr_t i = 0; i < r.value; ++i) {
            lines += data[i] == '\n';
        }
    } while (r.value > 0);
    (void)monad_async_file_close(task, in);
    return monad_async_result_has_error(r) ? r : monad_async_make_success(lines);
}

static monad_async_result body(monad_async_task task)
{
    monad_async_scope second; /* what is called until it is left ends in time, or with ETIME */
    (void)monad_async_scope_enter(task, &second, 1000000000, 0);
    monad_async_result const r = count_lines(task);
    (void)monad_async_scope_leave(task, &second);
    return r;
}

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "hello: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

int main(int argc, char **argv)
{
    monad_async_executor ex; /* of this thread, with an io_uring of its own */
    struct monad_async_executor_attr ex_attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    ex_attr.io_uring_ring.entries = 256;
    check(monad_async_executor_create(&ex, &ex_attr));

    monad_async_task task; /* expensive, reusable */
    struct monad_async_task_attr attr = MONAD_ASYNC_TASK_ATTR_INIT;
    check(monad_async_task_create(&task, &attr));
    task->priority.cpu = monad_async_priority_high;
    task->user_code = body;
    task->user_ptr = argc > 1 ? argv[1] : "/etc/passwd";
    check(monad_async_task_attach(ex, task));

    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    printf("%jd lines\n", (intmax_t)check(task->result));
    check(monad_async_task_destroy(task));
    check(monad_async_executor_destroy(ex));
    return EXIT_SUCCESS;
}

/* A group of tasks of which one fails, so that the others are cancelled; one whose children do not
 * care; and a task that is let go. */
#include <monad/async.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "groups: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

static monad_async_result sleep_long(monad_async_task task)
{
    return monad_async_task_suspend_for_duration(task, UINT64_MAX);
}

static monad_async_result fail(monad_async_task task)
{
    check(monad_async_task_suspend_for_duration(task, 1000000));
    return monad_async_make_failure(EIO);
}

static monad_async_task children[3];

//! [a group]
static monad_async_result run_children(monad_async_task self)
{
    monad_async_group group;
    check(monad_async_group_init(self, &group, 0));
    for (int i = 0; i < 3; ++i) {
        check(monad_async_group_spawn(&group, children[i]));
    }
    /* The first error, when all have exited: those that did not fail were cancelled. */
    return monad_async_group_wait(self, &group);
}
//! [a group]

static int told;

static void child_ended(monad_async_task task, monad_async_result r)
{
    (void)task;
    told += monad_async_result_has_error(r);
}

//! [an independent group]
/* Each fails or not for itself; who does not want to wait any longer cancels what is left. */
static monad_async_result run_independent(monad_async_task self)
{
    monad_async_group group;
    check(monad_async_group_init(self, &group, MONAD_ASYNC_GROUP_INDEPENDENT));
    check(monad_async_group_on_exit(&group, child_ended));
    if (check(monad_async_group_spawn_many(&group, children, 3)) != 3) {
        return monad_async_make_failure(EBUSY);
    }
    while (check(monad_async_group_count(&group)) == 3) {
        check(monad_async_task_suspend_for_duration(self, 1000000));
    }
    check(monad_async_group_cancel(&group)); /* two still slept */
    return monad_async_group_wait(self, &group);
}
//! [an independent group]

static int let_go;

/* On the executor's thread, once the task has exited. */
static void ended(monad_async_task task, monad_async_result r)
{
    let_go += r.value == 7;
    check(monad_async_task_destroy(task));
}

static monad_async_result seven(monad_async_task task)
{
    (void)task;
    return monad_async_make_success(7);
}

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    monad_async_task parent, background[2];
    monad_async_remote remote;
    check(monad_async_executor_create(&ex, &attr));
    check(monad_async_task_create(&parent, NULL));
    for (int i = 0; i < 3; ++i) {
        check(monad_async_task_create(&children[i], NULL));
        children[i]->user_code = i == 1 ? fail : sleep_long;
    }
    parent->user_code = run_children;
    check(monad_async_task_attach(ex, parent));
    for (int i = 0; i < 2; ++i) {
        check(monad_async_task_create(&background[i], NULL));
        background[i]->user_code = seven;
    }
    check(monad_async_remote_acquire(ex, &remote));
    check(monad_async_task_spawn(ex, background[0], ended));       /* ours no more */
    check(monad_async_remote_spawn(remote, background[1], ended)); /* should the executor be gone */
    monad_async_remote_release(remote);
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    printf("the group: %s; the others: %s; let go: %d\n",
           monad_async_result_message(parent->result),
           monad_async_result_message(children[0]->result), let_go);
    int const first_failed = parent->result.error == EIO &&
                             children[0]->result.error == ECANCELED &&
                             children[2]->result.error == ECANCELED;

    parent->user_code = run_independent;
    check(monad_async_task_attach(ex, parent));
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    printf("the independent one: %s, told of %d\n", monad_async_result_message(parent->result),
           told);
    int const good = first_failed && parent->result.error == EIO && told == 3 && let_go == 2;
    for (int i = 0; i < 3; ++i) {
        check(monad_async_task_destroy(children[i]));
    }
    check(monad_async_task_destroy(parent));
    check(monad_async_executor_destroy(ex));
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

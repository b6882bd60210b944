/* What tasks wait for of each other: a mutex, a condition, a semaphore, an event, a barrier, a wait
 * group, a lock for readers and writers. Here all tasks are one executor's; a plain thread may take
 * part in the same calls, with NULL for the task. */
#include <monad/async.h>

#include <stdio.h>
#include <stdlib.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "locks: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

enum { workers = 4 };

static monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
static monad_async_condition not_empty = MONAD_ASYNC_CONDITION_INIT;
static monad_async_semaphore two_at_once = MONAD_ASYNC_SEMAPHORE_INIT(2);
static monad_async_event begun = MONAD_ASYNC_EVENT_INIT;
static monad_async_barrier meeting = MONAD_ASYNC_BARRIER_INIT(workers);
static monad_async_wait_group left = MONAD_ASYNC_WAIT_GROUP_INIT(workers);
static monad_async_rw_lock table_lock = MONAD_ASYNC_RW_LOCK_INIT;
static int balance, items, table, inside, most_inside, met;

//! [a mutex]
static void deposit(monad_async_task task, int amount)
{
    check(monad_async_mutex_lock(task, &mutex));
    int const before = balance;
    check(monad_async_task_suspend_for_duration(task, 0)); /* others run, and wait for the mutex */
    balance = before + amount;
    check(monad_async_mutex_unlock(task, &mutex));
}
//! [a mutex]

//! [a condition]
static void take_item(monad_async_task task)
{
    check(monad_async_mutex_lock(task, &mutex));
    while (items == 0) {
        check(monad_async_condition_wait(task, &not_empty, &mutex));
    }
    --items;
    check(monad_async_mutex_unlock(task, &mutex));
}
//! [a condition]

//! [a semaphore]
static void use_one_of_two(monad_async_task task)
{
    check(monad_async_semaphore_acquire(task, &two_at_once, 1));
    ++inside;
    most_inside = inside > most_inside ? inside : most_inside;
    check(monad_async_task_suspend_for_duration(task, 0));
    --inside;
    check(monad_async_semaphore_release(&two_at_once, 1));
}
//! [a semaphore]

//! [a lock for readers and writers]
static int read_or_write(monad_async_task task, int write)
{
    if (write) {
        check(monad_async_rw_lock_lock(task, &table_lock));
        ++table;
        check(monad_async_rw_lock_unlock(task, &table_lock));
        return 0;
    }
    check(monad_async_rw_lock_lock_shared(task, &table_lock));
    int const value = table;
    check(monad_async_rw_lock_unlock_shared(task, &table_lock));
    return value;
}
//! [a lock for readers and writers]

static monad_async_result work(monad_async_task task)
{
    //! [an event]
    check(monad_async_event_wait(task, &begun)); /* all begin at once */
    //! [an event]
    deposit(task, 10);
    take_item(task);
    use_one_of_two(task);
    (void)read_or_write(task, 1);
    //! [a barrier and a wait group]
    met += (int)check(monad_async_barrier_wait(task, &meeting)); /* 1 for the last that comes */
    check(monad_async_wait_group_done(&left, 1));
    //! [a barrier and a wait group]
    return monad_async_make_success(read_or_write(task, 0));
}

static monad_async_result direct(monad_async_task task)
{
    check(monad_async_event_set(&begun));
    for (int i = 0; i < workers; ++i) {
        check(monad_async_mutex_lock(task, &mutex));
        ++items;
        check(monad_async_condition_notify_one(&not_empty));
        check(monad_async_mutex_unlock(task, &mutex));
    }
    /* The same with a time: a mistake of ours would end here, and not hang. */
    return monad_async_wait_group_wait_until(task, &left, monad_async_now_ns() + 10000000000ULL);
}

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    check(monad_async_executor_create(&ex, &attr)); /* compute-only: no I/O is needed */
    monad_async_task tasks[workers + 1];
    for (int i = 0; i <= workers; ++i) {
        check(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = i < workers ? work : direct;
        check(monad_async_task_attach(ex, tasks[i]));
    }
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    printf("balance %d, items %d, at most %d inside, met %d time(s), table %d\n", balance, items,
           most_inside, met, table);
    int const good =
        balance == 40 && items == 0 && most_inside == 2 && met == 1 && table == workers;
    for (int i = 0; i <= workers; ++i) {
        check(tasks[i]->result);
        check(monad_async_task_destroy(tasks[i]));
    }
    check(monad_async_executor_destroy(ex));
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

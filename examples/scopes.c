/* A deadline around two operations: a message that has to be there, and answered, in time. Once it
 * is; once nobody writes, and the scope's deadline ends the wait; then the same task goes on. And a
 * wait for a millisecond again and again, until the scope around it is over. */
#include <monad/async.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "scopes: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

static monad_async_result read_some(monad_async_task task, int fd, void *bytes, unsigned n)
{
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_READ;
    sqe.fd = fd;
    sqe.off = (__u64)-1; /* the current position: a pipe has no other */
    sqe.addr = (__u64)(uintptr_t)bytes;
    sqe.len = n;
    return monad_async_task_io(task, &sqe);
}

static monad_async_result write_some(monad_async_task task, int fd, void const *bytes, unsigned n)
{
    struct io_uring_sqe sqe;
    memset(&sqe, 0, sizeof sqe);
    sqe.opcode = IORING_OP_WRITE;
    sqe.fd = fd;
    sqe.off = (__u64)-1;
    sqe.addr = (__u64)(uintptr_t)bytes;
    sqe.len = n;
    return monad_async_task_io(task, &sqe);
}

struct peer {
    int in, out;
};

//! [a deadline around two operations]
/* Reads a message and writes it back: both within 100 ms, or ETIME. */
static monad_async_result echo(monad_async_task task, struct peer const *peer)
{
    char message[64];
    monad_async_scope scope;
    check(monad_async_scope_enter(task, &scope, 100000000ULL, 0));
    monad_async_result r = read_some(task, peer->in, message, sizeof message);
    if (!monad_async_result_has_error(r)) {
        r = write_some(task, peer->out, message, (unsigned)r.value);
    }
    check(monad_async_scope_leave(task, &scope));
    return r;
}
//! [a deadline around two operations]

//! [whose time is up]
/* Takes one, and says so each millisecond that it waits for it; in a scope, until that is over. */
static monad_async_result take(monad_async_task task, monad_async_semaphore *semaphore, int *said)
{
    for (;;) {
        monad_async_result const r = monad_async_semaphore_acquire_until(
            task, semaphore, 1, monad_async_now_ns() + 1000000ULL);
        if (r.error != ETIME) {
            return r;
        }
        monad_async_result const scope = monad_async_task_interrupted(task);
        if (monad_async_result_has_error(scope)) {
            return scope; /* Not this call's millisecond: it would return at once from now on. */
        }
        ++*said;
    }
}
//! [whose time is up]

static monad_async_result take_in_time(monad_async_task task)
{
    monad_async_semaphore none = MONAD_ASYNC_SEMAPHORE_INIT(0);
    monad_async_scope scope;
    int said = 0;
    check(monad_async_scope_enter(task, &scope, 20000000ULL, 0));
    monad_async_result const r = take(task, &none, &said);
    check(monad_async_scope_leave(task, &scope));
    printf("waited for none: %s\n", monad_async_result_message(r));
    return r;
}

static monad_async_result body(monad_async_task task)
{
    struct peer const *const peer = task->user_ptr;
    intptr_t const n = check(echo(task, peer));
    printf("%jd bytes came and went in time\n", (intmax_t)n);
    monad_async_result const late = echo(task, peer);
    printf("nothing came: %s\n", monad_async_result_message(late));
    /* The time-out was the scope's: what comes after it is not hit. */
    check(write_some(task, peer->out, "bye", 3));
    bool const both = late.error == ETIME && take_in_time(task).error == ETIME;
    return both ? monad_async_make_success(n) : monad_async_make_failure(EPROTO);
}

int main(void)
{
    int there[2], back[2];
    if (pipe(there) != 0 || pipe(back) != 0 || write(there[1], "hello", 5) != 5) {
        perror("scopes");
        return EXIT_FAILURE;
    }
    monad_async_executor ex;
    struct monad_async_executor_attr ex_attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    ex_attr.io_uring_ring.entries = 8;
    check(monad_async_executor_create(&ex, &ex_attr));
    monad_async_task task;
    struct monad_async_task_attr attr = MONAD_ASYNC_TASK_ATTR_INIT;
    check(monad_async_task_create(&task, &attr));
    struct peer peer = {there[0], back[1]};
    task->user_code = body;
    task->user_ptr = &peer;
    check(monad_async_task_attach(ex, task));
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    intptr_t const n = check(task->result);
    char got[64];
    ssize_t const in_all = read(back[0], got, sizeof got);
    printf("the other side has, one behind the other: %.*s\n", (int)in_all, got);
    check(monad_async_task_destroy(task));
    check(monad_async_executor_destroy(ex));
    return n == 5 && in_all == 8 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A channel between two tasks, and a select over a channel, a task's end and a time-out. Elements
 * that are moved by a function. */
#include <monad/async.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "channels: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

static monad_async_channel channel;
static int storage[4];

//! [a channel]
static monad_async_result produce(monad_async_task task)
{
    for (int i = 1; i <= 10; ++i) {
        check(monad_async_channel_send(task, &channel, &i)); /* waits while it is full */
    }
    return monad_async_channel_close(&channel);
}

static monad_async_result consume(monad_async_task task)
{
    int sum = 0, x;
    monad_async_result r;
    while (!monad_async_result_has_error(r = monad_async_channel_recv(task, &channel, &x))) {
        sum += x;
    }
    /* EPIPE: closed, and all that was inside has been received. */
    return r.error == EPIPE ? monad_async_make_success(sum) : r;
}
//! [a channel]

static monad_async_result answer_slowly(monad_async_task task)
{
    check(monad_async_task_suspend_for_duration(task, 2000000));
    return monad_async_make_success(42);
}

//! [a select]
/* The answer of a task, or a message, whichever comes first; asked again every millisecond. */
static intptr_t first_of(monad_async_task self, monad_async_task other,
                         monad_async_channel *messages)
{
    int message;
    for (;;) {
        monad_async_select_case cases[] = {monad_async_case_recv(messages, &message),
                                           monad_async_case_join(other),
                                           monad_async_case_timeout(1000000)};
        switch (check(monad_async_select(self, cases, 3))) {
        case 0: return message;
        case 1: return check(cases[1].result);
        default: puts("still waiting");
        }
    }
}
//! [a select]

//! [elements that are moved]
/* A name that lies inside, or elsewhere: a copy of its bytes would point into what it was copied
 * from. */
struct name {
    char const *text;
    char inside[8];
};

static void move_name(void *to, void *from, size_t bytes)
{
    struct name *const target = to, *const source = from;
    memcpy(target, source, bytes);
    if (source->text == source->inside) {
        target->text = target->inside;
    }
}

static int pass_name(monad_async_task self)
{
    monad_async_channel names;
    struct name one_place[1], sent = {NULL, "short"}, received;
    sent.text = sent.inside;
    check(monad_async_channel_init(&names, one_place, 1, sizeof *one_place));
    check(monad_async_channel_set_relocate(&names, move_name));
    check(monad_async_channel_send(self, &names, &sent));
    sent.inside[0] = '\0';
    check(monad_async_channel_recv(self, &names, &received));
    return strcmp(received.text, "short") == 0;
}
//! [elements that are moved]

/* A message for the first who takes it; 0: nobody did in time, and it is ours. */
static int offer(monad_async_task self, monad_async_channel *messages, int message)
{
    monad_async_select_case cases[] = {monad_async_case_send(messages, &message),
                                       monad_async_case_timeout(1000000)};
    return check(monad_async_select(self, cases, 2)) == 0 && cases[0].result.error == 0;
}

static monad_async_task slow;
static monad_async_executor ex;

static monad_async_result ask(monad_async_task self)
{
    monad_async_channel nobody;
    check(monad_async_channel_init(&nobody, NULL, 0, sizeof(int))); /* senders meet receivers */
    check(monad_async_task_attach(ex, slow));
    intptr_t const answer = first_of(self, slow, &nobody);
    int const was_taken = offer(self, &nobody, 1); /* by whom? */
    return monad_async_make_success(pass_name(self) && !was_taken ? answer : 0);
}

int main(void)
{
    struct monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    monad_async_task tasks[4];
    monad_async_result (*const bodies[])(monad_async_task) = {produce, consume, ask, answer_slowly};
    check(monad_async_executor_create(&ex, &attr));
    check(monad_async_channel_init(&channel, storage, 4, sizeof *storage));
    for (int i = 0; i < 4; ++i) {
        check(monad_async_task_create(&tasks[i], NULL));
        tasks[i]->user_code = bodies[i];
    }
    slow = tasks[3];
    for (int i = 0; i < 3; ++i) {
        check(monad_async_task_attach(ex, tasks[i]));
    }
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    printf("sum %jd, answer %jd\n", (intmax_t)check(tasks[1]->result),
           (intmax_t)check(tasks[2]->result));
    int const good = tasks[1]->result.value == 55 && tasks[2]->result.value == 42;
    for (int i = 0; i < 4; ++i) {
        check(monad_async_task_destroy(tasks[i]));
    }
    check(monad_async_executor_destroy(ex));
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

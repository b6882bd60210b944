/* A TCP echo server: one task a connection, a time-out for idle ones; SIGTERM ends it with every
 * answer sent. echo_server [PORT] */
#include <monad/async.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
enum { tasks_max = 101, idle_seconds = 30 };
static monad_async_executor ex;
static monad_async_task tasks[tasks_max]; /* The first one accepts. */
static volatile sig_atomic_t ends;
static void on_sigterm(int number) { ends = number, (void)monad_async_executor_wake(ex); }
static void check(monad_async_result r) { if (r.error != 0) exit(r.error); }
//! [a connection]
static monad_async_result echo(monad_async_task task)
{
    monad_async_socket const peer = monad_async_socket_adopt((int)(intptr_t)task->user_ptr);
    char data[4096];
    monad_async_scope idle;
    for (monad_async_result r = {1, 0, 0}; r.error == 0 && r.value != 0;) {
        check(monad_async_scope_enter(task, &idle, idle_seconds * UINT64_C(1000000000), 0));
        r = monad_async_socket_recv(task, peer, data, sizeof data, 0);
        if (r.error == 0) r = monad_async_socket_send_all(task, peer, data, (size_t)r.value);
        check(monad_async_scope_leave(task, &idle));
    }
    return monad_async_socket_close(task, peer);
}
//! [a connection]
static monad_async_result serve(monad_async_task task)
{
    monad_async_socket peer, listener = monad_async_socket_adopt((int)(intptr_t)task->user_ptr);
    while (monad_async_socket_accept(task, listener, &peer, NULL, NULL, 0).error == 0) {
        int i = 1;
        while (i < tasks_max && monad_async_task_is_attached(tasks[i])) ++i;
        if (i == tasks_max && monad_async_socket_close(task, peer).error >= 0) continue; /* Full. */
        tasks[i]->user_code = echo, tasks[i]->user_ptr = (void *)(intptr_t)peer.fd;
        check(monad_async_task_attach(ex, tasks[i]));
    }
    return monad_async_socket_close(task, listener);
}
int main(int argc, char **argv)
{
    in_port_t const port = htons((in_port_t)(argc > 1 ? atoi(argv[1]) : 0));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = port};
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &(socklen_t){sizeof at}) != 0)
        return perror("echo_server"), EXIT_FAILURE;
    printf("port %d\n", ntohs(at.sin_port)), fflush(stdout);
    struct monad_async_executor_attr const attr = {.io_uring_ring.entries = 256};
    check(monad_async_executor_create(&ex, &attr));
    for (int i = 0; i < tasks_max; ++i) check(monad_async_task_create(&tasks[i], NULL));
    tasks[0]->user_code = serve, tasks[0]->user_ptr = (void *)(intptr_t)fd;
    check(monad_async_task_attach(ex, tasks[0]));
    signal(SIGTERM, on_sigterm);
    for (int told = 0; monad_async_executor_has_work(ex);) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
        for (; ends != 0 && told < tasks_max; ++told)
            if (monad_async_task_is_attached(tasks[told]))
                shutdown((int)(intptr_t)tasks[told]->user_ptr, SHUT_RD);
    }
}

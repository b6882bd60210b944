// clang-format off: sixty lines
/* A TCP echo server: a task a connection, a time-out; SIGTERM ends it, every answer sent. [PORT] */
#include <monad/async.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
enum { tasks_max = 101, idle_seconds = 30, pause_ns = 100000000 };
static monad_async_executor ex;
static monad_async_task tasks[tasks_max]; /* The first one accepts. */
static sig_atomic_t volatile ends, listening;
static void on_sigterm(int number) { ends = number, shutdown(listening, SHUT_RD); }
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
    monad_async_socket peer, from = monad_async_socket_adopt(listening);
    while (ends == 0) {
        int i = 1;
        while (i < tasks_max && monad_async_task_is_attached(tasks[i])) ++i;
        if (i == tasks_max || monad_async_socket_accept(task, from, &peer, NULL, NULL, 0).error) {
            check(monad_async_task_suspend_for_duration(task, pause_ns)); /* Full, or no fds. */
            continue;
        }
        tasks[i]->user_code = echo, tasks[i]->user_ptr = (void *)(intptr_t)peer.fd;
        check(monad_async_task_attach(ex, tasks[i]));
    }
    for (monad_async_task *t = tasks + 1; t < tasks + tasks_max; ++t)
        if (monad_async_task_is_attached(*t)) shutdown((int)(intptr_t)(*t)->user_ptr, SHUT_RD);
    return monad_async_socket_close(task, from);
}
int main(int argc, char **argv)
{
    struct sockaddr_in at = {AF_INET, htons((in_port_t)(argc > 1 ? atoi(argv[1]) : 0)), {0}, {0}};
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listening, (struct sockaddr *)&at, sizeof at) != 0 || listen(listening, 128) != 0 ||
        getsockname(listening, (struct sockaddr *)&at, &(socklen_t){sizeof at}) != 0)
        return perror("echo_server"), EXIT_FAILURE;
    printf("port %d\n", ntohs(at.sin_port)), fflush(stdout);
    struct monad_async_executor_attr const attr = {.io_uring_ring.entries = 256};
    check(monad_async_executor_create(&ex, &attr));
    for (int i = 0; i < tasks_max; ++i) check(monad_async_task_create(&tasks[i], NULL));
    tasks[0]->user_code = serve, check(monad_async_task_attach(ex, tasks[0]));
    signal(SIGTERM, on_sigterm);
    while (monad_async_executor_has_work(ex)) check(monad_async_executor_run(ex, SIZE_MAX, NULL));
}

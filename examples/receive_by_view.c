/* Receiving without a buffer for each connection: a hundred idle connections, and eight buffers
 * that they share. The kernel takes one when there is data; the task sees it in place, and gives it
 * back. Each peer sends its number, and is told the same. */

#include <monad/async.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { connections = 100, buffers = 8, buffer_bytes = 256 };

static monad_async_buffer_ring ring;

static intptr_t check(monad_async_result r)
{
    if (r.error != 0) {
        fprintf(stderr, "receive_by_view: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

//! [a connection without a buffer]
static monad_async_result echo(monad_async_task task)
{
    int const fd = (int)(intptr_t)task->user_ptr;
    monad_async_recv_stream stream;
    memset(&stream, 0, sizeof stream);
    check(monad_async_recv_stream_begin(task, &stream, monad_async_socket_adopt(fd), ring, 0));
    monad_async_view view;
    while (check(monad_async_recv_stream_next(&stream, &view)) != 0) {
        struct io_uring_sqe sqe;
        memset(&sqe, 0, sizeof sqe);
        sqe.opcode = IORING_OP_SEND;
        sqe.fd = fd;
        sqe.addr = (uintptr_t)view.data;
        sqe.len = (uint32_t)view.length;
        sqe.msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
        check(monad_async_task_io(task, &sqe));
        check(monad_async_view_release(&view));
    }
    return monad_async_recv_stream_end(&stream);
}
//! [a connection without a buffer]

int main(void)
{
    monad_async_executor ex;
    struct monad_async_executor_attr ex_attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    ex_attr.io_uring_ring.entries = 64;
    check(monad_async_executor_create(&ex, &ex_attr));
    check(monad_async_buffer_ring_create(ex, &ring, buffers, buffer_bytes));
    monad_async_task tasks[connections];
    int pairs[connections][2];
    for (int i = 0; i < connections; ++i) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]) != 0) {
            perror("socketpair");
            return EXIT_FAILURE;
        }
        struct monad_async_task_attr attr = MONAD_ASYNC_TASK_ATTR_INIT;
        check(monad_async_task_create(&tasks[i], &attr));
        tasks[i]->user_code = echo;
        tasks[i]->user_ptr = (void *)(intptr_t)pairs[i][0];
        check(monad_async_task_attach(ex, tasks[i]));
    }
    check(monad_async_executor_run(ex, SIZE_MAX, NULL)); /* All wait, and hold nothing. */
    for (int i = 0; i < connections; ++i) {
        char text[16];
        int const length = snprintf(text, sizeof text, "peer %d", i);
        if (write(pairs[i][1], text, (size_t)length) != length ||
            shutdown(pairs[i][1], SHUT_WR) != 0) {
            perror("write");
            return EXIT_FAILURE;
        }
    }
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    int right = 0;
    for (int i = 0; i < connections; ++i) {
        char text[16], answer[16] = "";
        int const length = snprintf(text, sizeof text, "peer %d", i);
        right += read(pairs[i][1], answer, sizeof answer) == length && strcmp(text, answer) == 0;
        check(tasks[i]->result);
        check(monad_async_task_destroy(tasks[i]));
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    printf("%d of %d connections were answered, through %d buffers\n", right, connections, buffers);
    check(monad_async_buffer_ring_destroy(ring));
    check(monad_async_executor_destroy(ex));
    return right == connections ? EXIT_SUCCESS : EXIT_FAILURE;
}

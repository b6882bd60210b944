/* Four reads at once: one task reads the four quarters of a file, its own program, and takes them
 * in the order in which they come. And a read of a pipe that a message on a channel ends. */
#define _GNU_SOURCE

#include <monad/async.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static intptr_t check(monad_async_result r)
{
    if (monad_async_result_has_error(r)) {
        fprintf(stderr, "operations: %s\n", monad_async_result_message(r));
        exit(EXIT_FAILURE);
    }
    return r.value;
}

struct file {
    int fd;
    unsigned bytes;
    char *content;
};

//! [four reads at once]
/* Reads a file's four quarters into its memory; how many bytes came. */
static monad_async_result read_quarters(monad_async_task task, struct file const *file)
{
    monad_async_op ops[4];
    memset(ops, 0, sizeof ops);
    unsigned const quarter = (file->bytes + 3) / 4;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned const from = i * quarter;
        ops[i].sqe.opcode = IORING_OP_READ;
        ops[i].sqe.fd = file->fd;
        ops[i].sqe.off = from;
        ops[i].sqe.addr = (__u64)(uintptr_t)(file->content + from);
        ops[i].sqe.len = i < 3 ? quarter : file->bytes - from;
        check(monad_async_op_begin(task, &ops[i])); /* does not suspend */
    }
    intptr_t sum = 0;
    for (unsigned left = 4; left > 0; --left) {
        monad_async_op *op;
        check(monad_async_op_wait_any(task, &op)); /* suspends */
        sum += check(op->result);
        printf("quarter %d: %jd bytes\n", (int)(op - ops), (intmax_t)op->result.value);
    }
    return monad_async_make_success(sum);
}
//! [four reads at once]

//! [a read or a message]
/* 1 if a message came before anything could be read. */
static int read_or_be_told(monad_async_task task, int fd, monad_async_channel *messages)
{
    char data[16];
    int message;
    monad_async_op read;
    memset(&read, 0, sizeof read);
    read.sqe.opcode = IORING_OP_READ;
    read.sqe.fd = fd;
    read.sqe.off = (__u64)-1;
    read.sqe.addr = (__u64)(uintptr_t)data;
    read.sqe.len = sizeof data;
    check(monad_async_op_begin(task, &read));
    monad_async_select_case cases[] = {monad_async_case_op(&read),
                                       monad_async_case_recv(messages, &message)};
    intptr_t const which = check(monad_async_select(task, cases, 2));
    if (which == 1) { /* the read goes on: it uses our memory until it has ended */
        check(monad_async_op_cancel(task, &read));
        return monad_async_op_wait(task, &read).error == ECANCELED;
    }
    return 0;
}
//! [a read or a message]

static monad_async_result body(monad_async_task task)
{
    monad_async_channel messages;
    int storage[1], message = 1, pipe_fds[2];
    check(monad_async_channel_init(&messages, storage, 1, sizeof *storage));
    if (pipe(pipe_fds) != 0) {
        return monad_async_make_failure(errno);
    }
    check(monad_async_channel_send(task, &messages, &message));
    int const told = read_or_be_told(task, pipe_fds[0], &messages);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return told ? read_quarters(task, task->user_ptr) : monad_async_make_failure(EIO);
}

int main(int argc, char **argv)
{
    (void)argc;
    struct file file = {open(argv[0], O_RDONLY | O_CLOEXEC), 0, NULL};
    struct stat about;
    if (file.fd < 0 || fstat(file.fd, &about) != 0 || about.st_size < 4) {
        perror(argv[0]);
        return EXIT_FAILURE;
    }
    file.bytes = (unsigned)(about.st_size < 65536 ? about.st_size : 65536);
    char *const expected = malloc(file.bytes);
    file.content = malloc(file.bytes);
    if (expected == NULL || file.content == NULL ||
        pread(file.fd, expected, file.bytes, 0) != (ssize_t)file.bytes) {
        perror("operations");
        return EXIT_FAILURE;
    }
    monad_async_executor ex;
    struct monad_async_executor_attr ex_attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
    ex_attr.io_uring_ring.entries = 8;
    check(monad_async_executor_create(&ex, &ex_attr));
    monad_async_task task;
    struct monad_async_task_attr attr = MONAD_ASYNC_TASK_ATTR_INIT;
    check(monad_async_task_create(&task, &attr));
    task->user_code = body;
    task->user_ptr = &file;
    check(monad_async_task_attach(ex, task));
    while (monad_async_executor_has_work(ex)) {
        check(monad_async_executor_run(ex, SIZE_MAX, NULL));
    }
    int const same = check(task->result) == (intptr_t)file.bytes &&
                     memcmp(file.content, expected, file.bytes) == 0;
    puts(same ? "the same bytes as by pread" : "other bytes than by pread");
    check(monad_async_task_destroy(task));
    check(monad_async_executor_destroy(ex));
    free(expected);
    free(file.content);
    close(file.fd);
    return same ? EXIT_SUCCESS : EXIT_FAILURE;
}

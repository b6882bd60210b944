#ifndef MONAD_ASYNC_SOCKET_H
#define MONAD_ASYNC_SOCKET_H

/** @file socket.h
 *  Sockets: TCP, UDP, Unix. Each call looks like the POSIX call that it replaces, and suspends the
 *  task where that would block the thread. None raises SIGPIPE or touches errno, and none returns
 *  `EINTR`. Descriptors are made with `FD_CLOEXEC`.
 *
 *  @snippet echo_server.c a connection
 *
 *  A time-out of a call is a scope around it (scope.h): `SO_RCVTIMEO` and `SO_SNDTIMEO` mean
 *  nothing to a ring. A cancel or a deadline loses nothing that a call has done.
 *
 *  A descriptor with `O_NONBLOCK` may be used: a call waits all the same, unless `MSG_DONTWAIT` is
 *  among its flags. On Linux 5.11, whose ring refuses messages with a `msg_control`, `recvmsg` and
 *  `sendmsg` of such wait by poll, and an operation, or `MSG_WAITALL`, is `EINVAL`.
 *
 *  Where several tasks send to one stream socket at once, what each sends may lie in pieces between
 *  the others', `monad_async_socket_send_all` too: let one of them send what a channel brings, or
 *  hold a mutex. Receives share in the same way what comes.
 *
 *  The last functions fill an operation (op.h). None closes, as that takes several: what others
 *  have in flight ends first (`monad_async_socket_close`).
 *
 *  Common to all calls that take a task: the task is the one that runs, which is the caller.
 *  Besides the errors that are listed, each returns those of the POSIX call, and
 *  - `ECANCELED`: the task or a scope was cancelled, or the handle was closed;
 *  - `ETIME`: a scope's deadline passed;
 *  - `EBADF`: no such descriptor;
 *  - `EINVAL`: NULL, or flags that this version does not know;
 *  - `EPERM`: not the running task, or another thread; or a direct socket of another executor;
 *  - `ENOTSUP`: a compute-only executor.
 *
 *  The words OWNER'S THREAD, EXPENSIVE and SUSPENDS are those of executor.h. */

#include "config.h"
#include "op.h"
#include "result.h"
#include "task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** `monad_async_socket::flags`: `fd` is the index of a direct descriptor, one that only the
 *  executor's ring knows (direct.h: elsewhere). As a flag of what makes a socket: make such a one;
 *  the executor's attribute `direct_descriptors` says how many there may be (more: `ENFILE`). */
#define MONAD_ASYNC_SOCKET_DIRECT 0x80000000u

/** A socket, by value: a descriptor that may be given to other libraries, or a direct one. */
typedef struct monad_async_socket {
    /** The descriptor, or the index of a direct one. */
    int32_t fd;
    /** 0, or `MONAD_ASYNC_SOCKET_DIRECT` and bits of the library's own. */
    uint32_t flags;
} monad_async_socket;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_socket, 8);
/** @endcond */

/** A descriptor as a socket. ANY THREAD.
 *  @param fd a socket's descriptor; whose it is does not change
 *  @return the socket
 *  @see monad_async_socket_open() */
static inline monad_async_socket monad_async_socket_adopt(int fd)
{
    monad_async_socket socket;
    socket.fd = fd;
    socket.flags = 0;
    return socket;
}

/** Makes a socket. EXPENSIVE. A direct one: SUSPENDS, Linux 5.19.
 *  @param task the task that runs
 *  @param[out] socket untouched on an error
 *  @param domain `AF_INET` and so on
 *  @param type `SOCK_STREAM` and so on
 *  @param protocol 0, or `IPPROTO_...`
 *  @param flags 0 or `MONAD_ASYNC_SOCKET_DIRECT`
 *  @retval 0 made
 *  @see monad_async_socket_close() */
MONAD_ASYNC_API monad_async_result monad_async_socket_open(monad_async_task task,
                                                           monad_async_socket *socket, int domain,
                                                           int type, int protocol, uint32_t flags);

/** As `bind`. EXPENSIVE; does not suspend. A direct socket: SUSPENDS, Linux 6.8.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param address where it is to be
 *  @param length the bytes of that
 *  @retval 0 bound
 *  @see monad_async_socket_listen() */
MONAD_ASYNC_API monad_async_result monad_async_socket_bind(monad_async_task task,
                                                           monad_async_socket socket,
                                                           struct sockaddr const *address,
                                                           socklen_t length);

/** As `listen`. EXPENSIVE; does not suspend. A direct socket: SUSPENDS, Linux 6.8.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param backlog how many connections may wait
 *  @retval 0 it listens
 *  @see monad_async_socket_accept() */
MONAD_ASYNC_API monad_async_result monad_async_socket_listen(monad_async_task task,
                                                             monad_async_socket socket,
                                                             int backlog);

/** As `accept`. SUSPENDS until there is a connection. A connection is never lost by a cancel.
 *  @param task the task that runs
 *  @param listener a socket that listens
 *  @param[out] socket the connection; untouched on an error
 *  @param[out] address the peer's, or NULL
 *  @param[in,out] length the room for it, then its bytes; NULL with `address`
 *  @param flags 0 or `MONAD_ASYNC_SOCKET_DIRECT`
 *  @retval 0 accepted
 *  @see monad_async_socket_listen() */
MONAD_ASYNC_API monad_async_result monad_async_socket_accept(monad_async_task task,
                                                             monad_async_socket listener,
                                                             monad_async_socket *socket,
                                                             struct sockaddr *address,
                                                             socklen_t *length, uint32_t flags);

/** As `connect`. SUSPENDS until it is connected. After an error the socket is to be closed.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param address the peer's
 *  @param length the bytes of that
 *  @retval 0 connected
 *  @see monad_async_resolve() */
MONAD_ASYNC_API monad_async_result monad_async_socket_connect(monad_async_task task,
                                                              monad_async_socket socket,
                                                              struct sockaddr const *address,
                                                              socklen_t length);

/** As `recv`. SUSPENDS until there is data.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param[out] data where it goes
 *  @param bytes the room there
 *  @param flags `MSG_...`. With `MSG_WAITALL` a kernel before Linux 6.1 loses what had come when
 *         the call is cancelled or its time is over: see monad_async_socket_recv_exact().
 *  @return how many bytes came; 0: the peer sends no more
 *  @retval EAGAIN with `MSG_DONTWAIT`: there is nothing
 *  @see monad_async_socket_recv_exact(), monad_async_recv_stream_begin() */
MONAD_ASYNC_API monad_async_result monad_async_socket_recv(monad_async_task task,
                                                           monad_async_socket socket, void *data,
                                                           size_t bytes, int flags);

/** As `send`, with `MSG_NOSIGNAL`. SUSPENDS until there is room for some.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param data what to send
 *  @param bytes how much
 *  @param flags `MSG_...`; `MSG_WAITALL` is for streams
 *  @return how many bytes were sent
 *  @retval EPIPE the connection is shut
 *  @retval EAGAIN with `MSG_DONTWAIT`: there is no room
 *  @see monad_async_socket_send_all() */
MONAD_ASYNC_API monad_async_result monad_async_socket_send(monad_async_task task,
                                                           monad_async_socket socket,
                                                           void const *data, size_t bytes,
                                                           int flags);

/** Receives until so many bytes have come. SUSPENDS.
 *  @param task the task that runs
 *  @param socket a stream socket
 *  @param[out] data where they go
 *  @param bytes how many
 *  @return how many came; fewer: the peer sends no more. With an error too, `value` says how many
 *  had come before it
 *  @retval ECONNRESET, ETIMEDOUT the connection is lost
 *  @see monad_async_socket_recv() */
MONAD_ASYNC_API monad_async_result monad_async_socket_recv_exact(monad_async_task task,
                                                                 monad_async_socket socket,
                                                                 void *data, size_t bytes);

/** Sends all. SUSPENDS until it is done; what other tasks send in that time may lie between.
 *  @param task the task that runs
 *  @param socket a stream socket
 *  @param data what to send
 *  @param bytes how much
 *  @return how many bytes were sent: all. With an error too, `value` says how many were sent
 *  before it
 *  @retval EPIPE the connection is shut
 *  @retval ECONNRESET, ETIMEDOUT the connection is lost
 *  @see monad_async_socket_send() */
MONAD_ASYNC_API monad_async_result monad_async_socket_send_all(monad_async_task task,
                                                               monad_async_socket socket,
                                                               void const *data, size_t bytes);

/** As `recvmsg`. SUSPENDS until there is a message. Descriptors that come with it are the
 *  caller's, with `FD_CLOEXEC`. Of a socket with `SO_PASSCRED` on which it has to wait, Linux (6.18
 *  for one) puts the credentials into `msg_control` twice, and counts them in `msg_controllen`
 *  once: what is behind them, descriptors too, lies beyond that. There wait for `POLLIN` before.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param[in,out] message where it goes
 *  @param flags `MSG_...`
 *  @return how many bytes came
 *  @retval EAGAIN with `MSG_DONTWAIT`: there is none
 *  @see monad_async_socket_sendmsg() */
MONAD_ASYNC_API monad_async_result monad_async_socket_recvmsg(monad_async_task task,
                                                              monad_async_socket socket,
                                                              struct msghdr *message, int flags);

/** As `sendmsg`, with `MSG_NOSIGNAL`. SUSPENDS until there is room.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param message what to send
 *  @param flags `MSG_...`; `MSG_WAITALL` is for streams
 *  @return how many bytes were sent
 *  @retval EPIPE the connection is shut
 *  @retval EAGAIN with `MSG_DONTWAIT`: there is no room
 *  @see monad_async_socket_recvmsg() */
MONAD_ASYNC_API monad_async_result monad_async_socket_sendmsg(monad_async_task task,
                                                              monad_async_socket socket,
                                                              struct msghdr const *message,
                                                              int flags);

/** As `shutdown`. SUSPENDS. Linux 5.11.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param how `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR`
 *  @retval 0 shut
 *  @see monad_async_socket_close() */
MONAD_ASYNC_API monad_async_result monad_async_socket_shutdown(monad_async_task task,
                                                               monad_async_socket socket, int how);

/** As `getsockopt`. EXPENSIVE; does not suspend. A direct socket: SUSPENDS, `SOL_SOCKET` Linux 6.7,
 *  other levels 6.8.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param level `SOL_SOCKET` and so on
 *  @param name `SO_...` and so on
 *  @param[out] value the option
 *  @param[in,out] length the room for it, then its bytes
 *  @retval 0 told
 *  @see monad_async_socket_option_set() */
MONAD_ASYNC_API monad_async_result monad_async_socket_option_get(monad_async_task task,
                                                                 monad_async_socket socket,
                                                                 int level, int name, void *value,
                                                                 socklen_t *length);

/** As `setsockopt`. EXPENSIVE; does not suspend. A direct socket: SUSPENDS, Linux 6.7.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param level `SOL_SOCKET` and so on
 *  @param name `SO_...` and so on
 *  @param value the option
 *  @param length the bytes of that
 *  @retval 0 set
 *  @see monad_async_socket_option_get() */
MONAD_ASYNC_API monad_async_result monad_async_socket_option_set(monad_async_task task,
                                                                 monad_async_socket socket,
                                                                 int level, int name,
                                                                 void const *value,
                                                                 socklen_t length);

/** As `getsockname`. EXPENSIVE; does not suspend. A direct socket: SUSPENDS, Linux 6.8.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param[out] address its own address
 *  @param[in,out] length the room for it, then its bytes
 *  @retval 0 told
 *  @retval EOPNOTSUPP a direct one, before Linux 6.8
 *  @see monad_async_socket_peer_address() */
MONAD_ASYNC_API monad_async_result monad_async_socket_local_address(monad_async_task task,
                                                                    monad_async_socket socket,
                                                                    struct sockaddr *address,
                                                                    socklen_t *length);

/** As `getpeername`. EXPENSIVE; does not suspend. A direct socket: SUSPENDS, Linux 6.8.
 *  @param task the task that runs
 *  @param socket the socket
 *  @param[out] address the peer's
 *  @param[in,out] length the room for it, then its bytes
 *  @retval 0 told
 *  @retval EOPNOTSUPP a direct one, before Linux 6.8
 *  @see monad_async_socket_local_address() */
MONAD_ASYNC_API monad_async_result monad_async_socket_peer_address(monad_async_task task,
                                                                   monad_async_socket socket,
                                                                   struct sockaddr *address,
                                                                   socklen_t *length);

/** Ends what any task of the executor has in flight on the socket, with `ECANCELED`, and closes
 *  it. SUSPENDS, whatever scopes have fired, if something is in flight or it lingers. What was
 *  meant for it never reaches what gets the same number next. Operations on others that name it
 *  (`SCM_RIGHTS`, `splice`, `epoll_ctl`) are to end first. With `SO_LINGER` and a time one of the
 *  threads lingers that `max_kernel_workers` bounds. (So closes are one system call more in a
 *  process that has set such an option, of a direct socket an operation or two; before Linux 6.7
 *  they close all direct ones then.) Set in another way, the executor's thread lingers.
 *  @param task the task that runs
 *  @param socket not to be used any more
 *  @retval 0 closed
 *  @see monad_async_socket_open() */
MONAD_ASYNC_API monad_async_result monad_async_socket_close(monad_async_task task,
                                                            monad_async_socket socket);

#if defined(__cplusplus)
    /* What is below is C. */
    #pragma GCC diagnostic push
    #pragma GCC diagnostic ignored "-Wold-style-cast"
    #pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
    #if !defined(__clang__)
        #pragma GCC diagnostic ignored "-Wuseless-cast"
    #endif
#endif

/** Fills an idle operation with a `socket`, whose result is the descriptor. ANY THREAD. Linux 5.19.
 *  Where nobody takes the completion, what was made is closed.
 *  @param[out] op the operation
 *  @param domain `AF_INET` and so on
 *  @param type `SOCK_STREAM` and so on
 *  @param protocol 0, or `IPPROTO_...`
 *  @param flags 0 or `MONAD_ASYNC_SOCKET_DIRECT` */
static inline void monad_async_op_socket(monad_async_op *op, int domain, int type, int protocol,
                                         uint32_t flags)
{
    bool const direct = (flags & MONAD_ASYNC_SOCKET_DIRECT) != 0;
    monad_async_op_fill(op, IORING_OP_SOCKET, domain, 0, NULL, 0, 0);
    unsigned const kind = (unsigned)(direct ? type : type | SOCK_CLOEXEC);
    op->sqe.off = kind;
    op->sqe.len = (uint32_t)protocol;
    op->sqe.file_index = direct ? 0xffffffffu : 0; /* IORING_FILE_INDEX_ALLOC */
}

/** Fills an idle operation with a `bind`. ANY THREAD. Linux 6.11.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param address where it is to be
 *  @param length the bytes of that */
static inline void monad_async_op_bind(monad_async_op *op, monad_async_socket socket,
                                       struct sockaddr const *address, socklen_t length)
{
    /* IORING_OP_BIND, which older headers lack. */
    monad_async_op_fill(op, 56, socket.fd, socket.flags, address, length, 0);
}

/** Fills an idle operation with a `listen`. ANY THREAD. Linux 6.11.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param backlog how many connections may wait */
static inline void monad_async_op_listen(monad_async_op *op, monad_async_socket socket, int backlog)
{
    /* IORING_OP_LISTEN, as above. */
    monad_async_op_fill(op, 57, socket.fd, socket.flags, NULL, 0, 0);
    op->sqe.len = (uint32_t)backlog;
}

/** Fills an idle operation with a receive. ANY THREAD.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param data where the data goes
 *  @param bytes the room there
 *  @param flags `MSG_...` */
static inline void monad_async_op_recv(monad_async_op *op, monad_async_socket socket, void *data,
                                       size_t bytes, int flags)
{
    monad_async_op_fill(op, IORING_OP_RECV, socket.fd, socket.flags, data, 0, bytes);
    op->sqe.msg_flags = (uint32_t)flags;
}

/** Fills an idle operation with a send, with `MSG_NOSIGNAL`. ANY THREAD.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param data what to send
 *  @param bytes how much
 *  @param flags `MSG_...`; to a datagram socket with `MSG_DONTWAIT`: docs/reliability.md */
static inline void monad_async_op_send(monad_async_op *op, monad_async_socket socket,
                                       void const *data, size_t bytes, int flags)
{
    monad_async_op_fill(op, IORING_OP_SEND, socket.fd, socket.flags, data, 0, bytes);
    op->sqe.msg_flags = (uint32_t)(flags | MSG_NOSIGNAL);
}

/** Fills an idle operation with a `recvmsg`. ANY THREAD. Where nobody takes its completion, by
 *  `monad_async_op_end` or the end of the task, descriptors that have come are closed, and the
 *  message says that nothing came with it: its `msg_controllen` is 0. For a socket with
 *  `SO_PASSCRED` set `IORING_RECVSEND_POLL_FIRST` in `sqe.ioprio` (Linux 5.19): see
 *  `monad_async_socket_recvmsg`.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param message where it goes
 *  @param flags `MSG_...` */
static inline void monad_async_op_recvmsg(monad_async_op *op, monad_async_socket socket,
                                          struct msghdr *message, int flags)
{
    monad_async_op_fill(op, IORING_OP_RECVMSG, socket.fd, socket.flags, message, 0, 1);
    op->sqe.msg_flags = (uint32_t)(flags | MSG_CMSG_CLOEXEC);
}

/** Fills an idle operation with a `sendmsg`, with `MSG_NOSIGNAL`. ANY THREAD.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param message what to send
 *  @param flags `MSG_...`; to a datagram socket with `MSG_DONTWAIT`: docs/reliability.md */
static inline void monad_async_op_sendmsg(monad_async_op *op, monad_async_socket socket,
                                          struct msghdr const *message, int flags)
{
    monad_async_op_fill(op, IORING_OP_SENDMSG, socket.fd, socket.flags, message, 0, 1);
    op->sqe.msg_flags = (uint32_t)(flags | MSG_NOSIGNAL);
}

/** Fills an idle operation with an accept, whose result is the descriptor. ANY THREAD. Where
 *  nobody takes the completion, what was accepted is closed.
 *  @param[out] op the operation
 *  @param listener a socket that listens
 *  @param address the peer's goes there, or NULL
 *  @param length the room for it, then its bytes; NULL with `address`
 *  @param flags 0 or `MONAD_ASYNC_SOCKET_DIRECT` */
static inline void monad_async_op_accept(monad_async_op *op, monad_async_socket listener,
                                         struct sockaddr *address, socklen_t *length,
                                         uint32_t flags)
{
    monad_async_op_fill(op, IORING_OP_ACCEPT, listener.fd, listener.flags, address,
                        (uint64_t)(uintptr_t)length, 0);
    if ((flags & MONAD_ASYNC_SOCKET_DIRECT) != 0) {
        op->sqe.file_index = 0xffffffffu; /* IORING_FILE_INDEX_ALLOC */
    } else {
        op->sqe.accept_flags = SOCK_CLOEXEC;
    }
}

/** Fills an idle operation with a connect. ANY THREAD. Its result is `EALREADY` where another
 *  descriptor of the socket is closed meanwhile: `monad_async_socket_connect` would wait on.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param address the peer's
 *  @param length the bytes of that */
static inline void monad_async_op_connect(monad_async_op *op, monad_async_socket socket,
                                          struct sockaddr const *address, socklen_t length)
{
    monad_async_op_fill(op, IORING_OP_CONNECT, socket.fd, socket.flags, address, length, 0);
}

/** Fills an idle operation with a `shutdown`. ANY THREAD.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param how `SHUT_RD`, `SHUT_WR` or `SHUT_RDWR` */
static inline void monad_async_op_shutdown(monad_async_op *op, monad_async_socket socket, int how)
{
    monad_async_op_fill(op, IORING_OP_SHUTDOWN, socket.fd, socket.flags, NULL, 0, 0);
    op->sqe.len = (uint32_t)how;
}

/** @cond what the two below share: IORING_OP_URING_CMD, whose fields older headers lack
 *  @see monad_async_op_option_get(), monad_async_op_option_set() */
static inline void monad_async_op_fill_option(monad_async_op *op, monad_async_socket socket,
                                              uint32_t command, int level, int name,
                                              void const *value, socklen_t length)
{
    uint64_t const at = (uint64_t)(uintptr_t)value;
    uint64_t const which = (uint32_t)level | (uint64_t)(uint32_t)name << 32;
    monad_async_op_fill(op, 46, socket.fd, socket.flags, NULL, command, 0);
    op->sqe.addr = which;
    op->sqe.file_index = length;
    memcpy((char *)&op->sqe + 48, &at, sizeof at);
}
/** @endcond */

/** Fills an idle operation with a `getsockopt`, whose result is the bytes of the option. ANY
 *  THREAD. Linux 6.7, `SOL_SOCKET` alone.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param level `SOL_SOCKET`
 *  @param name `SO_...`
 *  @param value the option goes there
 *  @param length the room for it */
static inline void monad_async_op_option_get(monad_async_op *op, monad_async_socket socket,
                                             int level, int name, void *value, socklen_t length)
{
    monad_async_op_fill_option(op, socket, 2, level, name, value, length);
}

/** Fills an idle operation with a `setsockopt`. ANY THREAD. Linux 6.7.
 *  @param[out] op the operation
 *  @param socket the socket
 *  @param level `SOL_SOCKET` and so on
 *  @param name `SO_...` and so on
 *  @param value the option
 *  @param length the bytes of that */
static inline void monad_async_op_option_set(monad_async_op *op, monad_async_socket socket,
                                             int level, int name, void const *value,
                                             socklen_t length)
{
    monad_async_op_fill_option(op, socket, 3, level, name, value, length);
}

#if defined(__cplusplus)
    #pragma GCC diagnostic pop
#endif

MONAD_ASYNC_EXTERN_C_END

#endif

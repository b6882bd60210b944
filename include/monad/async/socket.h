#ifndef MONAD_ASYNC_SOCKET_H
#define MONAD_ASYNC_SOCKET_H

/** @file socket.h
 *  A socket: what the calls on sockets take. */

#include "config.h"

#include <stdint.h>

MONAD_ASYNC_EXTERN_C_BEGIN

/** `monad_async_socket::flags`: `fd` is the index of a direct descriptor. */
#define MONAD_ASYNC_SOCKET_DIRECT 0x80000000u

/** A socket, by value: a descriptor that may be given to other libraries, or a direct one. */
typedef struct monad_async_socket {
    /** The descriptor, or the index of a direct one. */
    int32_t fd;
    /** 0, or `MONAD_ASYNC_SOCKET_DIRECT`. */
    uint32_t flags;
} monad_async_socket;

/** @cond the layout is checked here and in the library */
MONAD_ASYNC_ASSERT_SIZE(monad_async_socket, 8);
/** @endcond */

/** A descriptor as a socket. ANY THREAD.
 *  @param fd a socket's descriptor; whose it is does not change
 *  @return the socket */
static inline monad_async_socket monad_async_socket_adopt(int fd)
{
    monad_async_socket socket;
    socket.fd = fd;
    socket.flags = 0;
    return socket;
}

MONAD_ASYNC_EXTERN_C_END

#endif

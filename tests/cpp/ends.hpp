#ifndef MONAD_ASYNC_TESTS_CPP_ENDS_HPP
#define MONAD_ASYNC_TESTS_CPP_ENDS_HPP

#include "support.hpp"

#include <monad/async/socket.hpp>

#include <sys/socket.h>

// Two ends of a connection in this process.
struct ends {
    ma::socket a, b;
    explicit ends(int type = SOCK_STREAM)
    {
        int fds[2];
        EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
        a = ma::socket(monad_async_socket_adopt(fds[0]));
        b = ma::socket(monad_async_socket_adopt(fds[1]));
    }
};

#endif

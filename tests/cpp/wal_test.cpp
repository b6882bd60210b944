// The store of examples/wal.cpp, of which nothing else sees what is on the disk at the moment that a
// client is told; and its server, where what it accepted has gone, which no client can bring about.
#include <monad/async.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <sys/un.h>
#include <unistd.h>

namespace {
int accepts_to_fail = 0;
}

// By the linker's --wrap.
extern "C" {
monad_async_result real_accept(monad_async_task, monad_async_socket, monad_async_socket *,
                               sockaddr *, socklen_t *, std::uint32_t) noexcept
    __asm__("__real_monad_async_socket_accept");
monad_async_result failing_accept(monad_async_task, monad_async_socket, monad_async_socket *,
                                  sockaddr *, socklen_t *, std::uint32_t) noexcept
    __asm__("__wrap_monad_async_socket_accept");
}

#define private public
#define main wal_main
#include "../../examples/wal.cpp"
#undef main
#undef private

// Two clients of one key: one sets it a second time while the other gets it. The get waited until the
// first value was on the disk, and told the second.
TEST(Wal, what_is_told_is_on_the_disk)
{
    char directory[] = "/var/tmp/monad_async_wal_XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    ma::executor ex;
    ma::task all;
    unsigned told = 0, not_there = 0;
    all.attach(ex, [&] {
        store s(directory);
        for (unsigned i = 0; i < 30; ++i) {
            string const key = "key" + std::to_string(i);
            bool over = false;
            ma::task_group clients;
            clients.spawn([&] { s.set(key, "one"); });
            clients.spawn([&] {
                for (unsigned n = 0; n < i % 30; ++n) {
                    ma::this_task::yield();
                }
                s.set(key, "two");
                over = true;
            });
            clients.spawn([&] {
                for (; !over; ma::this_task::yield()) {
                    if (auto const value = s.get(key)) {
                        auto const &now = s.values_.at(key);
                        ++told;
                        not_there += *value == now.text && now.end > s.synced_;
                    }
                }
            });
            clients.wait();
        }
    });
    ex.run_until_idle();
    all.get();
    EXPECT_GT(told, 0u);
    EXPECT_EQ(not_there, 0u);
    std::remove((string(directory) + "/log").c_str());
    rmdir(directory);
}

monad_async_result failing_accept(monad_async_task task, monad_async_socket listener,
                                  monad_async_socket *accepted, sockaddr *from, socklen_t *size,
                                  std::uint32_t flags) noexcept
{
    auto const r = real_accept(task, listener, accepted, from, size, flags);
    if (r.error != 0 || accepts_to_fail == 0) {
        return r;
    }
    --accepts_to_fail;
    (void)monad_async_socket_close(task, *accepted);
    return monad_async_make_failure(ECONNABORTED);
}

TEST(Wal, goes_on_behind_who_has_gone)
{
    char directory[] = "/var/tmp/monad_async_wal_XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    accepts_to_fail = 2;
    ma::executor ex;
    ma::task server, clients;
    server.attach(ex, [&] { serve(directory); });
    string said;
    int gone = 0;
    clients.attach(ex, [&] {
        while (said.empty()) {
            bool connected = false; // It is not there at once.
            try {
                auto socket = connect_to(directory);
                connected = true;
                lines in(socket);
                said = ask(socket, in, "get key\n");
            } catch (std::system_error const &) {
                gone += connected;
                ma::this_task::sleep_for(std::chrono::milliseconds{1});
            }
        }
        server.cancel();
    });
    while (!server.done()) {
        ex.run();
    }
    clients.cancel();
    ex.run_until_idle();
    EXPECT_THROW(server.get(), ma::cancelled_error);
    EXPECT_EQ(said, "none");
    EXPECT_EQ(gone, 2);
    for (char const *name : {"/log", "/socket"}) {
        std::remove((string(directory) + name).c_str());
    }
    rmdir(directory);
}

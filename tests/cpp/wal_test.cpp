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

// A log of some records that the disk may have left so, or not: what is whole behind what is not.
TEST(Wal, a_torn_end_is_told_from_damage)
{
    char directory[] = "/var/tmp/monad_async_wal_XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    string const file = string(directory) + "/log";
    posix_crc_init();
    // "a" is on the disk before the others are written; `synced`: whether "b" is before "c" is.
    auto const has = [&](bool b_is_whole, bool b_was_synced) {
        string log = record_of("a", "1", 0, 0);
        auto const a = log.size();
        log += record_of("b", "2", a, a);
        auto const b = log.size();
        log += record_of("c", "3", b, b_was_synced ? b : a);
        log[b - 1] = b_is_whole ? log[b - 1] : 'x';
        std::ofstream(file, std::ios::binary) << log;
        ma::executor ex;
        ma::task opens;
        string is;
        opens.attach(ex, [&] {
            try {
                store s(directory);
                for (char const *key : {"a", "b", "c"}) {
                    is += s.get(key).value_or("-");
                }
            } catch (std::runtime_error const &e) {
                string now(log.size() + 1, 0);
                now.resize(ma::file(file, O_RDONLY).read_all(now, 0));
                EXPECT_EQ(now, log); // It is as it was.
                is = e.what();
            }
        });
        ex.run_until_idle();
        opens.get();
        return is;
    };
    EXPECT_EQ(has(true, true), "123");
    EXPECT_EQ(has(true, false), "123");
    // A crash may leave "c" on the disk, and "b" not, if neither was answered.
    EXPECT_EQ(has(false, false), "1--");
    auto const told = has(false, true);
    auto const at = std::to_string(record_of("a", "1", 0, 0).size());
    EXPECT_NE(told.find("damaged at byte " + at), string::npos) << told;
    std::remove(file.c_str());
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

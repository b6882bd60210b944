// The store of examples/wal.cpp, of which nothing else sees what is on the disk at the moment that a
// client is told.
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

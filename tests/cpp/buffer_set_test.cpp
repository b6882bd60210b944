// Registered buffers as C++ objects.

#include "support.hpp"

#include <monad/async/buffer_set.hpp>
#include <monad/async/file.h>
#include <monad/async/future.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>

#include <cstring>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include <sys/mman.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

struct file {
    int fd = memfd_create("buffers", MFD_CLOEXEC);
    ~file() { close(fd); }
    [[nodiscard]] monad_async_file handle() const { return monad_async_file_adopt(fd); }
};

} // namespace

TEST(BufferSet, a_buffer_goes_back_with_its_object)
{
    ma::executor ex;
    ma::buffer_set set(ex, 1, 64);
    file const f;
    ma::task task;
    task.attach(ex, [&] {
        for (int i = 0; i < 3; ++i) {
            auto b = set.claim();
            ASSERT_TRUE(b);
            EXPECT_EQ(b.size(), 64u);
            EXPECT_FALSE(set.try_claim());
            std::memcpy(b.data(), "fixed", 5);
            EXPECT_EQ(b.write(f.handle(), 0, 5), 5u);
            std::memset(b.data(), 0, 5);
            EXPECT_EQ(b.read(f.handle(), 0), 5u);
            EXPECT_EQ(std::memcmp(b.data(), "fixed", 5), 0);
            auto moved = std::move(b);
            EXPECT_FALSE(b); // NOLINT: what a moved one is
            moved = set.try_claim();
            EXPECT_FALSE(moved);
        }
        auto b = set.claim();
        std::error_code ec;
        EXPECT_EQ(b.read(monad_async_file_adopt(-1), 0, 1, ec), 0u);
        EXPECT_EQ(ec.value(), EBADF);
        EXPECT_THROW((void)b.write(monad_async_file_adopt(-1), 0), std::system_error);
        EXPECT_EQ(b.write(f.handle(), 0, 1, ec), 1u);
        EXPECT_FALSE(ec);
        (void)set.claim(ec);
        EXPECT_EQ(ec.value(), EDEADLK);
        // Not where another is to release it.
        b.give(nullptr);
        ma::scope const soon(1ms);
        (void)set.claim(ec);
        EXPECT_EQ(ec.value(), ETIME);
        b.give(ma::this_task::current(), ec);
        EXPECT_FALSE(ec);
        b.release();
        b.give(nullptr, ec);
        EXPECT_EQ(ec.value(), EINVAL);
    });
    ex.run_until_idle();
    task.get();
    std::error_code ec;
    EXPECT_FALSE(set.claim(ec));
    EXPECT_EQ(ec.value(), EPERM);
}

TEST(BufferSet, is_cloned_once_it_is_shared)
{
    ma::executor ex;
    ma::buffer_set set(ex, 2, 64);
    EXPECT_THROW(ma::buffer_set(ex, set), std::system_error);
    set.share();
    std::thread([&] {
        ma::executor there;
        ma::buffer_set theirs(there, set);
        ma::task task;
        task.attach(there, [&] {
            auto const one = theirs.claim();
            EXPECT_TRUE(one);
        });
        there.run_until_idle();
        task.get();
    }).join();
}

// A pool has no executor objects: a task of a worker makes the set of its own, and clones another's.
TEST(BufferSet, is_made_and_cloned_on_the_executor_that_runs)
{
    EXPECT_EQ(errno_thrown_by([] { ma::buffer_set const outside(1, 64); }), EPERM);
    std::error_code ec;
    ma::buffer_set const none(1, 64, ec);
    EXPECT_EQ(ec.value(), EPERM);
    EXPECT_EQ(none.native_handle(), nullptr);
    EXPECT_EQ(errno_thrown_by([&] { (void)none.clone(); }), EPERM);
    ma::thread_pool_options options;
    options.workers = 2;
    options.executor = ma::executor_options();
    ma::thread_pool pool(options);
    std::optional<ma::buffer_set> set;
    file const f;
    auto const on = [&](std::size_t worker, auto body) { pool.worker(worker).submit(body).get(); };
    on(0, [&] {
        EXPECT_EQ(errno_thrown_by([] { ma::buffer_set const no(0, 64); }), EINVAL);
        set.emplace(1, 64, ec);
        EXPECT_FALSE(ec);
        EXPECT_EQ(errno_thrown_by([&] { (void)set->clone(); }), EPERM); // not shared
        set->share();
        auto b = set->claim();
        std::memcpy(b.data(), "fixed", 5);
        EXPECT_EQ(b.write(f.handle(), 0, 5), 5U);
    });
    on(1, [&] {
        auto const moved = [](ma::buffer_set one) { return one; };
        auto clone = moved(set->clone());
        auto b = clone.claim();
        EXPECT_EQ(b.read(f.handle(), 0), 5U);
        EXPECT_EQ(std::memcmp(b.data(), "fixed", 5), 0);
    });
    on(0, [&] { set.reset(); });
}

TEST(BufferSet, takes_over_a_set_of_the_c_api)
{
    ma::executor const ex;
    monad_async_buffer_set made = nullptr;
    ASSERT_EQ(monad_async_buffers_register(ex.native_handle(), &made, 1, 64).error, 0);
    ma::buffer_set const set(made);
    EXPECT_EQ(set.native_handle(), made);
}

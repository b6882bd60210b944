// The forms that take an error_code: the same errors, no exception. And what is told of exceptions
// that nobody asked for.
#include "support.hpp"

#include <monad/async/file.hpp>
#include <monad/async/future.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/pool.hpp>

#include <array>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <fcntl.h>
#include <sys/mman.h>

namespace {

static_assert(std::is_base_of_v<std::system_error, ma::cancelled_error>);
static_assert(std::is_base_of_v<std::system_error, ma::timeout_error>);

// All of them can be called where nothing may be thrown.
static_assert(noexcept(ma::this_task::yield(std::declval<std::error_code &>())));
static_assert(noexcept(ma::this_task::sleep_for(std::declval<std::chrono::seconds>(),
                                                std::declval<std::error_code &>())));
static_assert(noexcept(ma::this_task::sleep_until(
    std::declval<std::chrono::steady_clock::time_point>(), std::declval<std::error_code &>())));
static_assert(noexcept(ma::this_task::park(std::declval<std::error_code &>())));
static_assert(noexcept(ma::this_task::io(std::declval<io_uring_sqe>(),
                                         std::declval<std::error_code &>())));
static_assert(noexcept(std::declval<ma::task &>().join(std::declval<std::error_code &>())));
static_assert(noexcept(std::declval<ma::task &>().get(std::declval<std::error_code &>())));
static_assert(noexcept(std::declval<ma::task &>().attach(std::declval<ma::executor &>(),
                                                         std::declval<void (*)()>(),
                                                         std::declval<std::error_code &>())));
static_assert(noexcept(std::declval<ma::executor &>().run(std::declval<std::error_code &>())));
static_assert(noexcept(std::declval<ma::executor &>().run_for(std::declval<std::chrono::seconds>(),
                                                              std::declval<std::error_code &>())));

std::error_code stale()
{
    return std::make_error_code(std::errc::io_error);
}

TEST(ErrorCode, is_cleared_by_success)
{
    ma::executor ex;
    ma::task t, other;
    std::error_code ec = stale();
    t.attach(
        ex,
        [&] {
            ec = stale();
            ma::this_task::yield(ec);
            EXPECT_FALSE(ec);
            ec = stale();
            ma::this_task::sleep_for(1us, ec);
            EXPECT_FALSE(ec);
            ec = stale();
            ma::this_task::sleep_until(std::chrono::steady_clock::now(), ec);
            EXPECT_FALSE(ec);
            ec = stale();
            io_uring_sqe nop = {};
            nop.opcode = IORING_OP_NOP;
            EXPECT_EQ(ma::this_task::io(nop, ec), 0);
            EXPECT_FALSE(ec);
            ec = stale();
            other.attach(ex, [] { return 6; }, ec);
            EXPECT_FALSE(ec);
            ec = stale();
            EXPECT_EQ(other.join(ec), 6);
            EXPECT_FALSE(ec);
            return 3;
        },
        ec);
    EXPECT_FALSE(ec);
    ec = stale();
    ex.run_until_idle(ec);
    EXPECT_FALSE(ec);
    ec = stale();
    EXPECT_EQ(t.get(ec), 3);
    EXPECT_FALSE(ec);
    for (auto const &call : {+[](ma::executor &e, std::error_code &c) { e.run(1, 0s, c); },
                             +[](ma::executor &e, std::error_code &c) { e.poll(c); },
                             +[](ma::executor &e, std::error_code &c) { e.wake(c); }}) {
        ec = stale();
        call(ex, ec);
        EXPECT_FALSE(ec);
    }
    ec = stale();
    t.priority(ma::priority::low, ma::priority::high, ec);
    EXPECT_FALSE(ec);
    ec = stale();
    EXPECT_FALSE(t.cancel(ec));
    EXPECT_FALSE(ec);
}

TEST(ErrorCode, has_the_errno_that_the_other_form_throws)
{
    ma::executor ex;
    std::error_code ec;
    ma::this_task::yield(ec);
    EXPECT_EQ(ec, std::error_code(EPERM, std::system_category()));
    (void)ma::this_task::io(io_uring_sqe{}, ec);
    EXPECT_EQ(ec.value(), EPERM);
    ma::task t, from;
    EXPECT_EQ(t.get(ec), -1);
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_EQ(t.join(ec), -1);
    EXPECT_EQ(ec.value(), EPERM);
    t.attach(ex, [] {}, ec);
    t.attach(ex, [] {}, ec);
    EXPECT_EQ(ec.value(), EBUSY);
    EXPECT_EQ(t.get(ec), -1);
    EXPECT_EQ(ec.value(), EBUSY);
    t.priority(static_cast<ma::priority>(3), ma::priority::low, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_TRUE(t.cancel(ec));
    EXPECT_EQ(t.get(ec), -1);
    EXPECT_EQ(ec, ma::cancelled);
    ma::task const to = std::move(from);
    // NOLINTBEGIN(bugprone-use-after-move): that is the point
    for (auto const &call :
         {+[](ma::task &m, std::error_code &c) { m.attach(ma::executor_ref{}, [] {}, c); },
          +[](ma::task &m, std::error_code &c) { (void)m.get(c); },
          +[](ma::task &m, std::error_code &c) { (void)m.join(c); },
          +[](ma::task &m, std::error_code &c) { (void)m.wait(c); },
          +[](ma::task &m, std::error_code &c) { (void)m.cancel(c); },
          +[](ma::task &m, std::error_code &c) { m.unpark(c); },
          +[](ma::task &m, std::error_code &c) {
              m.priority(ma::priority::low, ma::priority::low, c);
          }}) {
        ec.clear();
        call(from, ec);
        EXPECT_EQ(ec.value(), EINVAL);
    }
    // NOLINTEND(bugprone-use-after-move)
}

TEST(ErrorCode, of_a_pool)
{
    ma::thread_pool pool(1);
    std::error_code ec = stale();
    pool.resize(0, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    pool.resize(2, ec);
    EXPECT_FALSE(ec);
    pool.submit([&] { pool.wait(0, ec); }).get();
    EXPECT_EQ(ec.value(), EDEADLK);
    pool.wait(0, ec);
    EXPECT_FALSE(ec);
    ec = stale();
    pool.wait_begun(0, ec);
    EXPECT_FALSE(ec);
    pool.quit();
    pool.resize(1, ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
}

TEST(ErrorCode, of_what_a_body_threw)
{
    ma::executor ex;
    ma::task t;
    std::error_code ec;
    t.attach(ex, [] { throw std::system_error(EDOM, std::system_category()); });
    ex.run_until_idle();
    EXPECT_EQ(t.get(ec), -1);
    EXPECT_EQ(ec.value(), EDOM);
    t.attach(ex, [] { throw 1; });
    ex.run_until_idle();
    EXPECT_EQ(t.get(ec), -1);
    EXPECT_EQ(ec.value(), ENOTRECOVERABLE);
    EXPECT_THROW((void)t.get(), int) << "still";
}

TEST(Error, cancelled_and_timed_out_have_types_of_their_own)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { ma::this_task::sleep_for(1h); });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    try {
        (void)t.get();
        FAIL();
    } catch (ma::cancelled_error const &e) {
        EXPECT_EQ(e.code(), ma::cancelled);
    }
    t.attach(ex, [] {});
    t.cancel();
    EXPECT_THROW((void)t.get(), ma::cancelled_error) << "never begun";
    EXPECT_THROW(ma::value_or_throw(monad_async_make_failure(ETIME), "x"), ma::timeout_error);
    EXPECT_THROW(ma::value_or_throw(monad_async_make_failure(ECANCELED), "x"), ma::cancelled_error);
}

TEST(Task, has_a_name_and_priorities_from_its_options)
{
    ma::task_options options;
    options.name = "a name that is far longer than what is kept of it";
    options.priority = ma::priority::high;
    options.io_priority = ma::priority::low;
    ma::task t{options};
    // As many bytes as in C.
    EXPECT_EQ(t.name(), std::string(options.name.substr(0, MONAD_ASYNC_NAME_BYTES)));
    char kept[MONAD_ASYNC_NAME_BYTES + 1];
    (void)monad_async_task_name(t.native_handle(), kept, sizeof kept);
    EXPECT_EQ(t.name(), kept);
    EXPECT_EQ(t.cpu_priority(), ma::priority::high);
    EXPECT_EQ(t.io_priority(), ma::priority::low);
    options.priority = static_cast<ma::priority>(9);
    EXPECT_EQ(errno_thrown_by([&] { ma::task const absurd{options}; }), EINVAL);
    EXPECT_EQ(ma::task{}.name(), "");
}

TEST(Task, started)
{
    ma::executor ex;
    ma::task t;
    EXPECT_FALSE(t.started());
    t.attach(ex, [] { ma::this_task::yield(); });
    EXPECT_FALSE(t.started());
    ex.run(1);
    EXPECT_TRUE(t.started());
    ex.run_until_idle();
    EXPECT_TRUE(t.started());
    t.attach(ex, [] {});
    EXPECT_FALSE(t.started());
    t.cancel();
    EXPECT_TRUE(t.done());
    EXPECT_FALSE(t.started());
}

template <class F> std::string told_by(F &&f)
{
    try {
        f();
    } catch (std::system_error const &e) {
        return e.what();
    }
    return "";
}

bool says(std::string const &text, char const *part)
{
    return text.find(part) != std::string::npos;
}

// "Operation not permitted" alone, of a file that anybody may read, sends its reader the wrong way.
TEST(ErrorText, a_mistake_of_the_call_is_named)
{
    ma::executor ex;
    auto const open = [] { ma::file const f("/proc/self/stat"); };
    EXPECT_TRUE(says(told_by(open), "outside a task"));
    EXPECT_EQ(told_by([&] { run_task(ex, open); }), "");
    EXPECT_TRUE(says(told_by([] { ma::this_task::yield(); }), "outside a task"));
    EXPECT_TRUE(says(told_by([] { (void)ma::listener::tcp(0, "localhost"); }), "in figures"));
    EXPECT_TRUE(says(told_by([&] { run_task(ex, [] { (void)ma::socket::tcp("localhost", 1); }); }),
                     "connect"));

    ma::task t;
    t.attach(ex, [] { ma::this_task::yield(); });
    EXPECT_TRUE(says(told_by([&] { t.get(); }), "run its executor"));
    EXPECT_TRUE(says(told_by([&] { t.wait(); }), "wait for itself"));
    EXPECT_TRUE(says(told_by([&] { t.attach(ex, [] {}); }), "has not exited"));
    ex.run_until_idle();

    ma::future<int> none;
    EXPECT_TRUE(says(told_by([&] { none.get(); }), "of nothing"));
    ma::thread_pool pool(1);
    pool.quit();
    EXPECT_TRUE(says(told_by([&] { pool.spawn([] {}); }), "told to quit"));
    auto const direct = [] {
        ma::open_options options;
        options.flags = MONAD_ASYNC_FILE_DIRECT;
        ma::file const f("/proc/self/stat", O_RDONLY, options);
    };
    EXPECT_TRUE(says(told_by([&] { run_task(ex, direct); }), "table of direct descriptors"));

    auto without = ma::executor_options::compute_only();
    ma::executor computes{without};
    EXPECT_TRUE(says(told_by([&] { run_task(computes, open); }), "has no ring"));
}

// What the kernel says of what was asked for stays as it is.
TEST(ErrorText, of_the_kernels_refusal_nothing_is_guessed)
{
    ma::executor ex;
    auto const opened = [] { ma::file const f("/nonexistent/file"); };
    EXPECT_FALSE(says(told_by([&] { run_task(ex, opened); }), "("));
    // EPERM inside a task: a seal, which nobody may take off again.
    auto const sealed = [] {
        int const fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
        ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
        ma::file f(monad_async_file_adopt(fd));
        f.write_all(std::string_view("x"), 0);
    };
    auto const told = told_by([&] { run_task(ex, sealed); });
    EXPECT_TRUE(says(told, "not permitted")) << told;
    EXPECT_FALSE(says(told, "(")) << told;
}

class Unobserved : public testing::Test {
protected:
    Unobserved()
    {
        options.on_unobserved = [this](std::exception_ptr const &what) {
            try {
                std::rethrow_exception(what);
            } catch (std::exception const &e) {
                told += e.what();
                told += ' ';
            }
        };
    }
    static void throws(ma::task &t, ma::executor &ex, char const *what)
    {
        t.attach(ex, [what] { throw std::runtime_error(what); });
        ex.run_until_idle();
    }
    std::string told;
    ma::executor_options options;
};

TEST_F(Unobserved, is_told_before_the_next_launch_and_at_the_end)
{
    ma::executor ex{options};
    {
        ma::task t;
        throws(t, ex, "first");
        EXPECT_EQ(told, "");
        throws(t, ex, "second");
        EXPECT_EQ(told, "first ");
    }
    EXPECT_EQ(told, "first second ");
}

TEST_F(Unobserved, outlives_the_executor)
{
    ma::task t;
    {
        ma::executor ex{options};
        throws(t, ex, "late");
    }
    t = ma::task{};
    EXPECT_EQ(told, "late ");
}

TEST_F(Unobserved, is_not_told_of_what_was_asked_for_nor_of_cancels)
{
    {
        ma::executor ex{options};
        ma::task a, b, c, joins, sleeps;
        throws(a, ex, "got");
        EXPECT_THROW((void)a.get(), std::runtime_error);
        throws(b, ex, "its errno");
        std::error_code ec;
        (void)b.get(ec);
        throws(c, ex, "joined");
        joins.attach(ex, [&] { EXPECT_THROW((void)c.join(), std::runtime_error); });
        sleeps.attach(ex, [] { ma::this_task::sleep_for(1h); });
        ex.run(2);
    }
    EXPECT_EQ(told, "");
}

TEST_F(Unobserved, by_default_nobody_is_told)
{
    ma::executor ex;
    ma::task t;
    throws(t, ex, "alone");
    throws(t, ex, "alone");
    ma::executor tells{options};
    throws(t, tells, "told");
    t.attach(tells.native_handle(), [] {});
    tells.run_until_idle();
    EXPECT_EQ(told, "told ") << "the C API's handle does not know whom";
}

} // namespace

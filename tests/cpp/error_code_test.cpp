// The forms that take an error_code: the same errors, no exception. And what is told of exceptions
// that nobody asked for.
#include "support.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/buffer_set.hpp>
#include <monad/async/connect.hpp>
#include <monad/async/direct.hpp>
#include <monad/async/file.hpp>
#include <monad/async/future.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/ordered.hpp>
#include <monad/async/path.hpp>
#include <monad/async/poll.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/process.hpp>
#include <monad/async/writer.hpp>

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

static_assert(noexcept(std::declval<ma::thread_pool &>().wait(0,
                                                              std::declval<std::error_code &>())));
static_assert(
    noexcept(std::declval<ma::thread_pool &>().wait_begun(0, std::declval<std::error_code &>())));
static_assert(
    noexcept(std::declval<ma::thread_pool &>().resize(1, std::declval<std::error_code &>())));

// Each call on files, sockets, buffers, processes and signals, also with what may be left out left out.
namespace both {

extern std::error_code &ec;
extern ma::executor &ex;
extern ma::executor_ref &ref;
extern ma::bytes &to;
extern ma::const_bytes &from;
extern iovec *parts;
extern msghdr &m;
extern sockaddr *address;
extern std::string &text;
extern ma::file &f;
extern ma::socket &s;
extern ma::listener &l;
extern ma::socket_address &peer;
extern ma::buffer_ring &ring;
extern ma::recv_stream &stream;
extern ma::buffer_set &set;
extern ma::fixed_buffer &buffer;
extern ma::writer &w;
extern ma::process &p;
extern ma::signals &sig;

static_assert(noexcept(ma::file("", ec)));
static_assert(noexcept(ma::file("", 0, ec)));
static_assert(noexcept(ma::file("", 0, ma::open_options(), ec)));
static_assert(noexcept(f.close(ec)));
static_assert(noexcept(f.read(to, ec)) && noexcept(f.read(to, 0, ec)));
static_assert(noexcept(f.read_all(to, ec)) && noexcept(f.read_all(to, 0, ec)));
static_assert(noexcept(f.write(from, ec)) && noexcept(f.write(from, 0, ec)));
static_assert(noexcept(f.write_all(from, ec)) && noexcept(f.write_all(from, 0, ec)));
static_assert(noexcept(f.readv(parts, 1, ec)) && noexcept(f.readv(parts, 1, 0, 0, ec)));
static_assert(noexcept(f.writev(parts, 1, ec)) && noexcept(f.writev(parts, 1, 0, 0, ec)));
static_assert(noexcept(f.sync(ec)) && noexcept(f.sync_data(ec)));
static_assert(noexcept(f.sync_range(0, 0, 0, ec)));
static_assert(noexcept(f.allocate(0, 1, ec)) && noexcept(f.allocate(0, 1, 0, ec)));
static_assert(noexcept(f.truncate(0, ec)) && noexcept(f.advise(0, 0, 0, ec)));
static_assert(noexcept(f.stat(ec)));
static_assert(noexcept(ma::path_unlink("", ec)) && noexcept(ma::path_unlink("", 0, ec)));
static_assert(noexcept(ma::path_rename("", "", ec)) && noexcept(ma::path_rename("", "", 0, ec)));
static_assert(noexcept(ma::path_mkdir("", ec)) && noexcept(ma::path_mkdir("", 0, ec)));
static_assert(noexcept(ma::path_link("", "", ec)) && noexcept(ma::path_symlink("", "", ec)));
static_assert(noexcept(ma::path_stat("", ec)) && noexcept(ma::path_stat("", 0, ec)));
static_assert(noexcept(ma::order(f, ec)));
static_assert(noexcept(ma::to_plain(f, ec)) && noexcept(ma::to_plain(s, ec)));
static_assert(noexcept(ma::pass(f, ref, ec)) && noexcept(ma::pass(s, ref, ec)));
static_assert(noexcept(ma::socket(0, 0, ec)) && noexcept(ma::socket(0, 0, 0, 0, ec)));
static_assert(noexcept(ma::socket::tcp("", 0, ec)) && noexcept(ma::connect(text, text, ec)));
static_assert(noexcept(s.connect(address, 0, ec)) && noexcept(s.bind(peer, ec)));
static_assert(noexcept(s.recv(to, ec)) && noexcept(s.recv(to, 0, ec)));
static_assert(noexcept(s.recv_exact(to, ec)));
static_assert(noexcept(s.send(from, ec)) && noexcept(s.send(from, 0, ec)));
static_assert(noexcept(s.send_all(from, ec)));
static_assert(noexcept(s.recvmsg(m, ec)) && noexcept(s.recvmsg(m, 0, ec)));
static_assert(noexcept(s.sendmsg(m, ec)) && noexcept(s.sendmsg(m, 0, ec)));
static_assert(noexcept(s.shutdown(0, ec)) && noexcept(s.close(ec)) && noexcept(s.port(ec)));
static_assert(noexcept(s.local_address(ec)) && noexcept(s.peer_address(ec)));
static_assert(noexcept(s.option<int>(0, 0, ec)) && noexcept(s.set_option(0, 0, 1, ec)));
static_assert(noexcept(ma::listener::tcp(0, ec)) && noexcept(ma::listener::tcp(0, "", 1, ec)));
static_assert(noexcept(ma::listener::on(std::move(s), ec)));
static_assert(noexcept(ma::listener::on(std::move(s), 1, ec)));
static_assert(noexcept(l.accept(ec)) && noexcept(l.accept(0, ec)));
static_assert(noexcept(l.accept(peer, ec)) && noexcept(l.accept(peer, 0, ec)));
static_assert(noexcept(ma::poll(0, 0, ec)));
static_assert(noexcept(ma::buffer_ring(1, 1, ec)) && noexcept(ma::buffer_ring(ex, 1, 1, ec)));
static_assert(noexcept(ma::recv_stream(s, ring, ec)) && noexcept(ma::recv_stream(s, ring, 0, ec)));
static_assert(noexcept(stream.next(ec)));
static_assert(noexcept(ma::buffer_set(1, 1, ec)) && noexcept(ma::buffer_set(ex, 1, 1, ec)));
static_assert(noexcept(set.share(ec)) && noexcept(set.clone(ec)) && noexcept(set.claim(ec)));
static_assert(noexcept(buffer.read(f.native_handle(), 0, 1, ec)));
static_assert(noexcept(buffer.write(f.native_handle(), 0, 1, ec)));
static_assert(noexcept(w.write(from, ec)) && noexcept(w.flush(ec)) && noexcept(w.recv(to, ec)));
static_assert(noexcept(p.wait(ec)) && noexcept(ma::signals({1}, ec)) && noexcept(sig.wait(ec)));

} // namespace both

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
    EXPECT_EQ(t.name(), std::string(options.name.substr(0, 31)));
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

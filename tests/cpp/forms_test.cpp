// The forms with an error_code: each can be called where nothing may be thrown, also with what may
// be left out left out (which tests/rust/documented.rs asks of every call), and says what the other
// form throws.
#include "support.hpp"

#include <monad/async/barrier.hpp>
#include <monad/async/blocking.hpp>
#include <monad/async/buffer.hpp>
#include <monad/async/buffer_set.hpp>
#include <monad/async/channel.hpp>
#include <monad/async/condition.hpp>
#include <monad/async/connect.hpp>
#include <monad/async/direct.hpp>
#include <monad/async/event.hpp>
#include <monad/async/file.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/metrics.hpp>
#include <monad/async/mutex.hpp>
#include <monad/async/ordered.hpp>
#include <monad/async/path.hpp>
#include <monad/async/poll.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/process.hpp>
#include <monad/async/reader.hpp>
#include <monad/async/rw_lock.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/semaphore.hpp>
#include <monad/async/wait_group.hpp>
#include <monad/async/writer.hpp>

#include <array>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace {

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
extern ma::reader &in_parts;
extern ma::process &p;
extern ma::signals &sig;
extern std::vector<std::string> &words;
extern ma::mutex &mutex;
extern ma::rw_lock &rw;
extern ma::event &event;
extern ma::semaphore &semaphore;
extern ma::wait_group &all;
extern ma::barrier &barrier;
extern ma::condition &condition;
extern std::unique_lock<ma::mutex> &lock;
extern ma::channel<int> &ch;
extern ma::task_group &group;
extern ma::future<int> &future;
extern ma::thread_pool &pool;
extern int number;
extern ma::metrics &counted;
constexpr std::chrono::milliseconds in(1);
constexpr std::chrono::steady_clock::time_point by;
constexpr auto body = [] {};
constexpr auto high = ma::priority::high;

static_assert(noexcept(ma::file("", ec)));
static_assert(noexcept(ma::file("", 0, ec)));
static_assert(noexcept(ma::file("", 0, ma::open_options(), ec)));
static_assert(noexcept(f.close(ec)));
static_assert(noexcept(f.read(to, ec)) && noexcept(f.read(to, 0, ec)));
static_assert(noexcept(f.read_all(to, ec)) && noexcept(f.read_all(to, 0, ec)));
static_assert(noexcept(f.write(from, ec)) && noexcept(f.write(from, 0, ec)));
static_assert(noexcept(f.write_all(from, ec)) && noexcept(f.write_all(from, 0, ec)));
static_assert(noexcept(f.readv(parts, 1, ec)) && noexcept(f.readv(parts, 1, 0, ec)));
static_assert(noexcept(f.readv(parts, 1, 0, 0, ec)) && noexcept(f.writev(parts, 1, 0, 0, ec)));
static_assert(noexcept(f.writev(parts, 1, ec)) && noexcept(f.writev(parts, 1, 0, ec)));
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
static_assert(noexcept(ma::socket(0, 0, ec)) && noexcept(ma::socket(0, 0, 0, ec)));
static_assert(noexcept(ma::socket(0, 0, 0, 0, ec)));
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
static_assert(noexcept(ma::metrics(ex, ec)) && noexcept(ma::metrics(pool, ec)));
static_assert(noexcept(counted.read(ec)) && noexcept(counted.read(1, ec)));
static_assert(noexcept(counted.text(ec)));
static_assert(noexcept(ma::listener::local("", ec)) && noexcept(ma::listener::local("", 1, ec)));
static_assert(noexcept(ma::listener::at(peer, ec)) && noexcept(ma::listener::at(peer, 1, ec)));
static_assert(noexcept(ma::socket::local("", ec)) && noexcept(s.connect(peer, ec)));
static_assert(noexcept(ma::listener::tcp(0, ec)) && noexcept(ma::listener::tcp(0, "", ec)));
static_assert(noexcept(ma::listener::tcp(0, "", 1, ec)));
static_assert(noexcept(ma::listener::on(std::move(s), ec)));
static_assert(noexcept(ma::listener::on(std::move(s), 1, ec)));
static_assert(noexcept(l.accept(ec)) && noexcept(l.accept(0, ec)));
static_assert(noexcept(l.accept(peer, ec)) && noexcept(l.accept(peer, 0, ec)));
static_assert(noexcept(ma::poll(0, 0, ec)));
static_assert(noexcept(ma::buffer_ring(1, 1, ec)) && noexcept(ma::buffer_ring(ex, 1, 1, ec)));
static_assert(noexcept(ma::recv_stream(s, ring, ec)) && noexcept(ma::recv_stream(s, ring, 0, ec)));
static_assert(noexcept(ma::recv_stream(0, ring, ec)));
static_assert(noexcept(ma::recv_stream(s.native_handle(), ring, ec)));
static_assert(noexcept(stream.next(ec)) && noexcept(stream.stop(ec)));
static_assert(noexcept(ma::buffer_set(1, 1, ec)) && noexcept(ma::buffer_set(ex, 1, 1, ec)));
static_assert(noexcept(set.share(ec)) && noexcept(set.clone(ec)) && noexcept(set.claim(ec)));
static_assert(noexcept(buffer.read(f.native_handle(), 0, ec)));
static_assert(noexcept(buffer.read(f.native_handle(), 0, 1, ec)));
static_assert(noexcept(buffer.write(f.native_handle(), 0, ec)));
static_assert(noexcept(buffer.write(f.native_handle(), 0, 1, ec)));
static_assert(noexcept(buffer.give(nullptr, ec)));
static_assert(noexcept(w.write(from, ec)) && noexcept(w.flush(ec)) && noexcept(w.recv(to, ec)));
static_assert(noexcept(ma::write_all(s, {from}, ec)) && noexcept(ma::write_all(f, &from, 1, ec)));
static_assert(noexcept(ma::read_exactly(s, {to}, ec)) && noexcept(ma::read_exactly(f, &to, 1, ec)));
static_assert(noexcept(in_parts.fill(ec)) && noexcept(in_parts.read(to, ec)));
static_assert(noexcept(in_parts.peek(ec)) && noexcept(in_parts.peek(1, ec)));
static_assert(noexcept(in_parts.read_until("", ec)) && noexcept(in_parts.read_until("", 1, ec)));
static_assert(noexcept(in_parts.read_line(ec)) && noexcept(in_parts.read_line(1, ec)));
static_assert(noexcept(in_parts.read_exactly(1, ec)) && noexcept(in_parts.read_exactly(to, ec)));
static_assert(noexcept(ma::process(words, ec)) && noexcept(p.wait(ec)));
static_assert(noexcept(ma::signals(ec)) && noexcept(ma::signals({1}, ec)));
static_assert(noexcept(sig.wait(ec)));

static_assert(noexcept(group.spawn(body, ec)) && noexcept(group.wait(ec)));
static_assert(noexcept(group.cancel(ec)));
static_assert(noexcept(ex.spawn(body, ec)) && noexcept(ex.submit(body, ec)));
static_assert(noexcept(ref.spawn(body, ec)) && noexcept(ref.submit(body, ec)));
static_assert(noexcept(ex.poll_fd(ec)));
static_assert(noexcept(future.get(ec)) && noexcept(future.wait(ec)));
static_assert(noexcept(future.wait_for(in, ec)));
static_assert(noexcept(mutex.lock(ec)) && noexcept(mutex.try_lock(ec)));
static_assert(noexcept(mutex.try_lock_for(in, ec)) && noexcept(mutex.try_lock_until(by, ec)));
static_assert(noexcept(mutex.unlock(ec)));
static_assert(noexcept(rw.lock(ec)) && noexcept(rw.try_lock(ec)) && noexcept(rw.unlock(ec)));
static_assert(noexcept(rw.try_lock_for(in, ec)) && noexcept(rw.try_lock_until(by, ec)));
static_assert(noexcept(rw.lock_shared(ec)) && noexcept(rw.try_lock_shared(ec)));
static_assert(noexcept(rw.try_lock_shared_for(in, ec)));
static_assert(noexcept(rw.try_lock_shared_until(by, ec)) && noexcept(rw.unlock_shared(ec)));
static_assert(noexcept(event.wait(ec)) && noexcept(event.wait_for(in, ec)));
static_assert(noexcept(event.wait_until(by, ec)) && noexcept(event.set(ec)));
static_assert(noexcept(event.reset(ec)) && noexcept(event.is_set(ec)));
static_assert(noexcept(semaphore.acquire(ec)) && noexcept(semaphore.acquire(1, ec)));
static_assert(noexcept(semaphore.try_acquire(ec)) && noexcept(semaphore.try_acquire(1, ec)));
static_assert(noexcept(semaphore.try_acquire_for(in, ec)));
static_assert(noexcept(semaphore.try_acquire_for(in, 1, ec)));
static_assert(noexcept(semaphore.try_acquire_until(by, ec)));
static_assert(noexcept(semaphore.try_acquire_until(by, 1, ec)));
static_assert(noexcept(semaphore.release(ec)) && noexcept(semaphore.release(1, ec)));
static_assert(noexcept(all.add(ec)) && noexcept(all.add(1, ec)));
static_assert(noexcept(all.done(ec)) && noexcept(all.done(1, ec)) && noexcept(all.wait(ec)));
static_assert(noexcept(all.wait_for(in, ec)) && noexcept(all.wait_until(by, ec)));
static_assert(noexcept(barrier.arrive_and_wait(ec)));
static_assert(noexcept(barrier.arrive_and_wait_for(in, ec)));
static_assert(noexcept(condition.wait(lock, ec)) && noexcept(condition.wait_for(lock, in, ec)));
static_assert(noexcept(condition.wait_until(lock, by, ec)));
static_assert(noexcept(condition.notify_one(ec)) && noexcept(condition.notify_all(ec)));
static_assert(noexcept(ch.send(1, ec)) && noexcept(ch.send(number, ec)));
static_assert(noexcept(ch.try_send(1, ec)) && noexcept(ch.try_send(number, ec)));
static_assert(noexcept(ch.recv(ec)) && noexcept(ch.try_recv(ec)));
static_assert(noexcept(ch.close(ec)) && noexcept(ch.size(ec)));

static_assert(noexcept(ma::resolve(text, text, ec)) && noexcept(ma::resolve(text, text, 1, ec)));
static_assert(noexcept(ma::resolve(text, text, 1, 0, ec)));
static_assert(noexcept(pool.submit(body, ec)) && noexcept(pool.submit(body, high, ec)));
static_assert(noexcept(pool.spawn(body, ec)) && noexcept(pool.spawn(body, high, ec)));
static_assert(noexcept(pool.wait(ec)) && noexcept(pool.wait(1, ec)));
static_assert(noexcept(pool.wait_begun(ec)) && noexcept(pool.wait_begun(1, ec)));
static_assert(noexcept(pool.resize(1, ec)) && noexcept(pool.worker(0, ec)));

} // namespace both

std::error_code stale()
{
    return std::make_error_code(std::errc::io_error);
}

template <class Objects> struct objects_of {
    using mutex = ma::basic_mutex<Objects>;
    using rw_lock = ma::basic_rw_lock<Objects>;
    using event = ma::basic_event<Objects>;
    using semaphore = ma::basic_semaphore<Objects>;
    using wait_group = ma::basic_wait_group<Objects>;
    using barrier = ma::basic_barrier<Objects>;
    using condition = ma::basic_condition<Objects>;
    using channel = ma::channel<std::unique_ptr<int>, Objects>;
};

template <class Objects> class Forms : public testing::Test {
protected:
    ma::executor ex;
    std::error_code ec = stale();

    // The errno of the call before, which has set it.
    int said() { return std::exchange(ec, stale()).value(); }
};
using both_forms =
    testing::Types<objects_of<ma::detail::shared_objects>, objects_of<ma::detail::local_objects>>;
TYPED_TEST_SUITE(Forms, both_forms);

constexpr auto moment = 1ms;
auto const past = std::chrono::steady_clock::now() - 1s;

// What is held, or too late, is no error; a scope that is over, and a misuse, are.
TYPED_TEST(Forms, of_a_mutex)
{
    typename TypeParam::mutex m;
    auto &ec = this->ec;
    run_task(this->ex, [&] {
        EXPECT_TRUE(m.try_lock(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(m.try_lock_for(moment, ec));
        EXPECT_EQ(this->said(), EDEADLK);
        ma::task other;
        other.attach(this->ex, [&] {
            EXPECT_FALSE(m.try_lock(ec));
            EXPECT_EQ(this->said(), 0);
            EXPECT_FALSE(m.try_lock_for(moment, ec));
            EXPECT_EQ(this->said(), 0);
            EXPECT_FALSE(m.try_lock_until(past, ec));
            EXPECT_EQ(this->said(), 0);
            m.unlock(ec);
            EXPECT_EQ(this->said(), EPERM);
            ma::scope const over(0ms);
            EXPECT_FALSE(m.try_lock_until(past, ec));
            EXPECT_EQ(this->said(), ETIME);
        });
        other.join();
        m.unlock(ec);
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(m.try_lock_until(past, ec));
        EXPECT_EQ(this->said(), 0);
        m.unlock();
    });
}

TYPED_TEST(Forms, of_an_rw_lock)
{
    typename TypeParam::rw_lock rw;
    auto &ec = this->ec;
    run_task(this->ex, [&] {
        rw.unlock(ec);
        EXPECT_EQ(this->said(), EPERM);
        rw.unlock_shared(ec);
        EXPECT_EQ(this->said(), EPERM);
        EXPECT_TRUE(rw.try_lock_shared(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(rw.try_lock_shared_for(moment, ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(rw.try_lock(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(rw.try_lock_for(moment, ec));
        EXPECT_EQ(this->said(), 0);
        rw.unlock_shared(ec);
        EXPECT_EQ(this->said(), 0);
        rw.unlock_shared();
        EXPECT_TRUE(rw.try_lock_until(past, ec));
        EXPECT_EQ(this->said(), 0);
        ma::task other;
        other.attach(this->ex, [&] {
            EXPECT_FALSE(rw.try_lock_shared(ec));
            EXPECT_EQ(this->said(), 0);
            EXPECT_FALSE(rw.try_lock_shared_until(past, ec));
            EXPECT_EQ(this->said(), 0);
            ma::scope s;
            s.cancel();
            EXPECT_FALSE(rw.try_lock_shared_for(1h, ec));
            EXPECT_EQ(this->said(), ECANCELED);
            EXPECT_FALSE(rw.try_lock_for(1h, ec));
            EXPECT_EQ(this->said(), ECANCELED);
        });
        other.join();
        rw.unlock(ec);
        EXPECT_EQ(this->said(), 0);
    });
}

TYPED_TEST(Forms, of_an_event_a_barrier_and_a_condition)
{
    typename TypeParam::event e;
    typename TypeParam::barrier two(2);
    typename TypeParam::condition c;
    auto &ec = this->ec;
    run_task(this->ex, [&] {
        EXPECT_FALSE(e.is_set(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(e.wait_for(moment, ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(e.wait_until(past, ec));
        EXPECT_EQ(this->said(), 0);
        e.set(ec);
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(e.is_set(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(e.wait_until(past, ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(e.reset(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(e.reset(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(two.arrive_and_wait_for(moment, ec));
        EXPECT_EQ(this->said(), 0);
        c.notify_one(ec);
        EXPECT_EQ(this->said(), 0);
        c.notify_all(ec);
        EXPECT_EQ(this->said(), 0);
        ma::scope const over(0ms);
        EXPECT_FALSE(e.wait_for(1h, ec));
        EXPECT_EQ(this->said(), ETIME);
        EXPECT_FALSE(two.arrive_and_wait_for(1h, ec));
        EXPECT_EQ(this->said(), ETIME);
    });
}

TYPED_TEST(Forms, of_a_channel_and_what_is_one)
{
    typename TypeParam::channel ch(1);
    typename TypeParam::semaphore s(1);
    typename TypeParam::wait_group g;
    auto &ec = this->ec;
    run_task(this->ex, [&] {
        EXPECT_TRUE(ch.try_send(std::make_unique<int>(1), ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_EQ(ch.size(ec), 1u);
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(ch.close(ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(ch.close(ec));
        EXPECT_EQ(this->said(), 0);
        s.acquire(ec);
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(s.try_acquire(ec));
        EXPECT_EQ(this->said(), 0);
        s.release(ec);
        EXPECT_EQ(this->said(), 0);
        EXPECT_TRUE(s.try_acquire_for(moment, ec));
        EXPECT_EQ(this->said(), 0);
        EXPECT_FALSE(s.try_acquire_until(past, ec));
        EXPECT_EQ(this->said(), 0);
        g.add(ec);
        EXPECT_EQ(this->said(), 0);
        g.done(ec);
        EXPECT_EQ(this->said(), 0);
        g.done(ec);
        EXPECT_EQ(this->said(), EINVAL);
    });
}

// A local object outside the tasks of its executor.
TEST(FormsOfLocal, say_where_they_are_not_for)
{
    ma::local_event e;
    ma::local_condition c;
    ma::local_channel<int> ch(1);
    ma::local_rw_lock rw;
    std::error_code ec;
    auto const said = [&ec] { return std::exchange(ec, stale()).value(); };
    e.set(ec);
    EXPECT_EQ(said(), EPERM);
    EXPECT_FALSE(e.reset(ec));
    EXPECT_EQ(said(), EPERM);
    EXPECT_FALSE(e.is_set(ec));
    EXPECT_EQ(said(), EPERM);
    c.notify_one(ec);
    EXPECT_EQ(said(), EPERM);
    c.notify_all(ec);
    EXPECT_EQ(said(), EPERM);
    EXPECT_EQ(ch.size(ec), 0u);
    EXPECT_EQ(said(), EPERM);
    EXPECT_FALSE(ch.close(ec));
    EXPECT_EQ(said(), EPERM);
    int const number = 1;
    EXPECT_FALSE(ch.try_send(number, ec));
    EXPECT_EQ(said(), EPERM);
    EXPECT_FALSE(rw.try_lock(ec));
    EXPECT_EQ(said(), EPERM);
    EXPECT_FALSE(rw.try_lock_shared(ec));
    EXPECT_EQ(said(), EPERM);
}

TEST(FormsOfSpawn, say_what_the_others_throw)
{
    std::error_code ec = stale();
    ma::executor_ref gone;
    int runs = 0;
    {
        ma::executor ex;
        ex.spawn([&] { ++runs; }, ec);
        EXPECT_FALSE(ec);
        ec = stale();
        auto seven = ex.submit([] { return 7; }, ec);
        EXPECT_FALSE(ec);
        EXPECT_FALSE(seven.wait_for(0ms, ec));
        EXPECT_EQ(ec.value(), EDEADLK) << "nobody would run it";
        seven.wait(ec);
        EXPECT_EQ(ec.value(), EDEADLK);
        EXPECT_FALSE(seven.get(ec).has_value());
        EXPECT_EQ(ec.value(), EDEADLK);
        EXPECT_TRUE(seven.valid());
        ex.run_until_idle();
        EXPECT_TRUE(seven.wait_for(0ms, ec));
        EXPECT_FALSE(ec);
        EXPECT_EQ(seven.get(ec), 7);
        EXPECT_FALSE(ec);
        EXPECT_FALSE(seven.valid());
        EXPECT_FALSE(seven.get(ec).has_value());
        EXPECT_EQ(ec.value(), EINVAL) << "of nothing";
        gone = ex.ref();
    }
    EXPECT_EQ(runs, 1);
    // With what it has: a callable that is not launched is destroyed.
    auto const kept = std::make_shared<int>(0);
    gone.spawn([kept] {}, ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
    auto none = gone.submit([kept] { return std::array<char, 1000>(); }, ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
    EXPECT_FALSE(none.valid());
    EXPECT_EQ(kept.use_count(), 1);
    ma::executor_ref().spawn([] {}, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_FALSE(ma::executor_ref().submit([] {}, ec).valid());
    EXPECT_EQ(ec.value(), EINVAL);
}

// What the callable threw is asked for so: nobody else is told of it.
TEST(FormsOfSpawn, a_future_gives_the_errno_of_what_was_thrown)
{
    ma::executor_options options;
    int told = 0;
    options.on_unobserved = [&told](std::exception_ptr const &) { ++told; };
    ma::executor ex{options};
    std::error_code ec;
    run_task(ex, [&] {
        auto none = ex.submit([] { throw std::bad_alloc(); });
        EXPECT_FALSE(none.get(ec).has_value());
        EXPECT_EQ(ec.value(), ENOMEM);
        auto done = ex.submit([] {});
        EXPECT_TRUE(done.get(ec).has_value());
        EXPECT_FALSE(ec);
        auto sleeps = ex.submit([] { ma::this_task::sleep_for(1h); });
        {
            ma::scope const over(0ms);
            EXPECT_FALSE(sleeps.get(ec).has_value());
            EXPECT_EQ(ec.value(), ETIME);
            EXPECT_FALSE(sleeps.wait_for(0ms, ec));
            EXPECT_EQ(ec.value(), ETIME);
        }
        EXPECT_TRUE(sleeps.valid());
        EXPECT_FALSE(sleeps.wait_for(0ms, ec));
        EXPECT_FALSE(ec);
        sleeps.cancel();
        EXPECT_FALSE(sleeps.get(ec).has_value());
        EXPECT_EQ(ec.value(), ECANCELED);
        EXPECT_FALSE(sleeps.valid());
    });
    EXPECT_EQ(told, 0);
}

TEST(FormsOfSpawn, of_a_group)
{
    ma::executor ex;
    std::error_code ec = stale();
    run_task(ex, [&] {
        ma::task_group g;
        g.spawn([] {}, ec);
        EXPECT_FALSE(ec);
        ec = stale();
        g.wait(ec);
        EXPECT_FALSE(ec);
        g.spawn([] { throw std::system_error(EDOM, std::system_category()); });
        g.wait(ec);
        EXPECT_EQ(ec.value(), EDOM);
        g.wait(ec);
        EXPECT_FALSE(ec) << "it is as new";
        g.spawn([] { ma::this_task::sleep_for(1h); });
        {
            ma::scope const over(0ms);
            g.wait(ec);
            EXPECT_EQ(ec.value(), ETIME);
        }
        g.cancel(ec);
        EXPECT_FALSE(ec);
        g.spawn([] {}, ec);
        EXPECT_EQ(ec.value(), ECANCELED);
        g.wait(ec);
        EXPECT_EQ(ec.value(), ECANCELED);
    });
}

// Both forms, where a child has thrown and none is left, and the wait is interrupted all the same: it
// tells of the child, and the next wait does not.
TEST(FormsOfSpawn, a_group_tells_of_a_child_once_though_interrupted)
{
    ma::executor ex;
    std::error_code ec;
    auto const fails = [] { throw std::system_error(EDOM, std::system_category()); };
    run_task(ex, [&] {
        for (bool const throws : {false, true}) {
            ma::task_group g;
            g.spawn(fails);
            ma::this_task::yield();
            {
                ma::scope over;
                over.cancel();
                if (throws) {
                    EXPECT_EQ(errno_thrown_by([&] { g.wait(); }), EDOM);
                } else {
                    g.wait(ec);
                    EXPECT_EQ(ec.value(), EDOM);
                }
            }
            g.spawn([] {}, ec);
            EXPECT_FALSE(ec);
            g.wait(ec);
            EXPECT_FALSE(ec) << "told already";
        }
    });
}

TEST(FormsOfSpawn, of_a_pool)
{
    ma::thread_pool pool(1);
    std::error_code ec = stale();
    std::atomic<int> runs{0};
    auto const big = std::make_shared<int>(0);
    EXPECT_EQ(pool.submit([] { return 3; }, ec).get(), 3);
    EXPECT_FALSE(ec);
    ec = stale();
    EXPECT_EQ(pool.submit([] { return 4; }, ma::priority::high, ec).get(), 4);
    EXPECT_FALSE(ec);
    ec = stale();
    pool.spawn([&runs] { ++runs; }, ec);
    EXPECT_FALSE(ec);
    ec = stale();
    pool.spawn([&runs, big] { ++runs; }, ma::priority::low, ec);
    EXPECT_FALSE(ec);
    ec = stale();
    pool.wait(ec);
    EXPECT_FALSE(ec);
    EXPECT_EQ(runs, 2);
    ec = stale();
    pool.wait_begun(ec);
    EXPECT_FALSE(ec);
    ec = stale();
    EXPECT_TRUE(pool.worker(0, ec));
    EXPECT_FALSE(ec);
    EXPECT_FALSE(pool.worker(1, ec));
    EXPECT_EQ(ec.value(), ENOENT);
    pool.quit();
    EXPECT_FALSE(pool.submit([] {}, ec).valid());
    EXPECT_EQ(ec.value(), ESHUTDOWN);
    pool.spawn([] {}, ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
    ec.clear();
    pool.spawn([big] {}, ec);
    EXPECT_EQ(ec.value(), ESHUTDOWN);
}

TEST(FormsOfSpawn, of_blocking_work)
{
    ma::executor ex;
    std::error_code ec = stale();
    run_task(ex, [&] {
        EXPECT_EQ(ma::offload([] { return std::make_unique<int>(5); }, ec).value().operator*(), 5);
        EXPECT_FALSE(ec);
        ec = stale();
        EXPECT_TRUE(ma::offload([] {}, ec).has_value());
        EXPECT_GE(ma::blocking_helpers(), 1U);
        EXPECT_FALSE(ec);
        EXPECT_EQ(errno_thrown_by([&] {
                      (void)ma::offload(
                          [] { throw std::system_error(EDOM, std::system_category()); }, ec);
                  }),
                  EDOM)
            << "that is the callable's own";
        ma::scope over;
        over.cancel();
        EXPECT_FALSE(ma::offload([] { ADD_FAILURE() << "it runs"; }, ec).has_value());
        EXPECT_EQ(ec.value(), ECANCELED);
        EXPECT_TRUE(ma::resolve("127.0.0.1", "80", ec).empty());
        EXPECT_EQ(ec.value(), ECANCELED);
    });
    EXPECT_FALSE(ma::offload([] { return 1; }, ec).has_value());
    EXPECT_EQ(ec.value(), EPERM);
}

} // namespace

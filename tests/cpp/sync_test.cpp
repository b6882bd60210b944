// Locks, events and the like, in both forms, from tasks of one executor, of two, and from threads.

#include "support.hpp"

#include <monad/async/barrier.hpp>
#include <monad/async/condition.hpp>
#include <monad/async/event.hpp>
#include <monad/async/mutex.hpp>
#include <monad/async/rw_lock.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/semaphore.hpp>
#include <monad/async/wait_group.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <system_error>
#include <thread>

namespace {

template <class Objects> struct Sync : testing::Test {
    using mutex = ma::basic_mutex<Objects>;
    using condition = ma::basic_condition<Objects>;
    using semaphore = ma::basic_semaphore<Objects>;
    using event = ma::basic_event<Objects>;
    using barrier = ma::basic_barrier<Objects>;
    using wait_group = ma::basic_wait_group<Objects>;
    using rw_lock = ma::basic_rw_lock<Objects>;

    ma::executor ex{ma::executor_options::compute_only()};
    std::string log;

    // Passes until `t` waits for something, or is done.
    void until_waiting(ma::task &t)
    {
        while (!t.done() && !t.native_handle()->is_suspended_awaiting) {
            ex.poll();
        }
    }
};

using Forms = testing::Types<ma::detail::shared_objects, ma::detail::local_objects>;
TYPED_TEST_SUITE(Sync, Forms, );

ma::task_options with_priority(ma::priority p)
{
    ma::task_options options;
    options.priority = p;
    return options;
}

} // namespace

TYPED_TEST(Sync, checked_mutexes_refuse_a_cycle)
{
    typename TestFixture::mutex first{ma::checked}, second{ma::checked};
    ma::task a, b;
    a.attach(this->ex, [&] {
        std::lock_guard const one(first);
        ma::this_task::yield();
        std::lock_guard const two(second);
    });
    int error = 0;
    b.attach(this->ex, [&] {
        std::lock_guard const one(second);
        ma::this_task::yield();
        try {
            std::lock_guard const two(first);
        } catch (std::system_error const &e) {
            error = e.code().value();
        }
    });
    testing::internal::CaptureStderr();
    this->ex.run_until_idle();
    auto const said = testing::internal::GetCapturedStderr();
    a.get();
    b.get();
    EXPECT_EQ(error, EDEADLK);
    EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 2) << said;
}

TYPED_TEST(Sync, a_mutex_is_handed_over_by_priority_and_then_in_order)
{
    typename TestFixture::mutex m;
    ma::task owner;
    std::vector<ma::task> waiters;
    ma::priority const levels[] = {ma::priority::low, ma::priority::normal, ma::priority::high,
                                   ma::priority::normal, ma::priority::high};
    owner.attach(this->ex, [&] {
        std::lock_guard const lock(m);
        ma::this_task::park();
    });
    this->until_waiting(owner);
    for (std::size_t i = 0; i < 5; ++i) {
        waiters.emplace_back(with_priority(levels[i]));
        waiters.back().attach(this->ex, [&, i] {
            std::lock_guard const lock(m);
            this->log += static_cast<char>('0' + i);
            ma::this_task::yield();
        });
        this->until_waiting(waiters.back());
    }
    (void)monad_async_task_unpark(owner.native_handle());
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "24130");
}

TYPED_TEST(Sync, who_is_woken_has_the_mutex_already)
{
    typename TestFixture::mutex m;
    ma::task first, second;
    bool tried = true;
    first.attach(this->ex, [&] {
        m.lock();
        ma::this_task::park();
        m.unlock();
        tried = m.try_lock(); // before the other had a turn
    });
    this->until_waiting(first);
    second.attach(this->ex, [&] {
        std::lock_guard const lock(m);
        this->log += "second";
    });
    this->until_waiting(second);
    (void)monad_async_task_unpark(first.native_handle());
    this->ex.run_until_idle();
    EXPECT_FALSE(tried);
    EXPECT_EQ(this->log, "second");
}

TYPED_TEST(Sync, mistakes_with_a_mutex_are_told)
{
    typename TestFixture::mutex m;
    run_task(this->ex, [&] {
        EXPECT_EQ(errno_thrown_by([&] { m.unlock(); }), EPERM);
        m.lock();
        EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), EDEADLK);
        EXPECT_FALSE(m.try_lock());
        ma::task other;
        other.attach(this->ex, [&] {
            EXPECT_EQ(errno_thrown_by([&] { m.unlock(); }), EPERM);
            EXPECT_FALSE(m.try_lock());
        });
        other.join();
        m.unlock();
        EXPECT_EQ(errno_thrown_by([&] { m.unlock(); }), EPERM);
        EXPECT_TRUE(m.try_lock());
        m.unlock();
    });
}

TYPED_TEST(Sync, a_cancelled_waiter_does_not_get_the_mutex)
{
    typename TestFixture::mutex m;
    ma::task owner, victim, last;
    owner.attach(this->ex, [&] {
        std::lock_guard const lock(m);
        ma::this_task::park();
    });
    this->until_waiting(owner);
    victim.attach(this->ex, [&] {
        EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), ECANCELED);
        this->log += 'v';
    });
    this->until_waiting(victim);
    last.attach(this->ex, [&] {
        std::lock_guard const lock(m);
        this->log += 'l';
    });
    this->until_waiting(last);
    // In one pass: the cancel, then the unlock, before the victim has had a turn.
    victim.cancel();
    (void)monad_async_task_unpark(owner.native_handle());
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "vl");
}

TYPED_TEST(Sync, a_cancel_after_the_hand_over_takes_nothing_back)
{
    typename TestFixture::mutex m;
    ma::task owner, second;
    owner.attach(this->ex, [&] {
        m.lock();
        ma::this_task::park();
        m.unlock();      // handed over
        second.cancel(); // too late for that wait
    });
    this->until_waiting(owner);
    second.attach(this->ex, [&] {
        m.lock();
        EXPECT_EQ(errno_thrown_by([] { ma::this_task::park(); }), ECANCELED);
        m.unlock();
        this->log += "had it";
    });
    this->until_waiting(second);
    (void)monad_async_task_unpark(owner.native_handle());
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "had it");
}

TYPED_TEST(Sync, a_wait_for_a_mutex_ends_with_its_time)
{
    typename TestFixture::mutex m;
    ma::task owner;
    owner.attach(this->ex, [&] {
        std::lock_guard const lock(m);
        ma::this_task::park();
    });
    this->until_waiting(owner);
    run_task(this->ex, [&] {
        EXPECT_FALSE(m.try_lock_for(1ms));
        EXPECT_FALSE(m.try_lock_for(0ms));
        EXPECT_FALSE(m.try_lock_until(std::chrono::steady_clock::now() + 1ms));
        EXPECT_EQ(errno_thrown_by([&] { ma::with_timeout(1ms, [&] { m.lock(); }); }), ETIME);
        (void)monad_async_task_unpark(owner.native_handle());
        EXPECT_TRUE(m.try_lock_for(1h));
        m.unlock();
    });
}

TYPED_TEST(Sync, an_interrupted_task_locks_nothing_but_unlocks)
{
    typename TestFixture::mutex m;
    run_task(this->ex, [&] {
        m.lock();
        ma::scope s;
        s.cancel();
        EXPECT_EQ(errno_thrown_by([&] { m.unlock(); }), 0);
        EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), ECANCELED);
        ma::shield const shield;
        m.lock();
        m.unlock();
    });
}

TYPED_TEST(Sync, a_condition_wakes_with_the_mutex)
{
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    int ready = 0;
    std::vector<ma::task> tasks(3);
    for (auto &t : tasks) {
        t.attach(this->ex, [&] {
            std::unique_lock lock(m);
            c.wait(lock, [&] { return ready > 0; });
            --ready;
            EXPECT_FALSE(m.try_lock());
            ma::this_task::yield();
            this->log += 'x';
        });
        this->until_waiting(t);
    }
    run_task(this->ex, [&] {
        {
            std::lock_guard const lock(m);
            ready = 1;
            c.notify_one();
        }
        while (this->log.size() < 1) {
            ma::this_task::yield();
        }
        std::lock_guard const lock(m);
        ready = 2;
        c.notify_all();
    });
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "xxx");
    EXPECT_EQ(ready, 0);
}

TYPED_TEST(Sync, a_notified_waiter_is_not_cancelled_any_more)
{
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    ma::task waiter;
    waiter.attach(this->ex, [&] {
        std::unique_lock lock(m);
        EXPECT_EQ(errno_thrown_by([&] { c.wait(lock); }), 0);
        this->log += 'n';
        EXPECT_EQ(errno_thrown_by([&] { c.wait(lock); }), ECANCELED);
        EXPECT_TRUE(lock.owns_lock());
        this->log += 'c';
    });
    this->until_waiting(waiter);
    run_task(this->ex, [&] {
        m.lock();
        c.notify_one();
        waiter.cancel();
        ma::this_task::yield();
        EXPECT_EQ(this->log, ""); // It has to wait for the mutex.
        m.unlock();
    });
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "nc");
}

TYPED_TEST(Sync, a_condition_that_is_interrupted_says_so_without_a_throw)
{
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    std::error_code ec;
    std::unique_lock<typename TestFixture::mutex> none;
    static_assert(noexcept(c.wait(none, ec)));
    run_task(this->ex, [&] {
        c.wait(none, ec);
        EXPECT_EQ(ec.value(), EPERM);
        std::unique_lock lock(m);
        ma::task notifying;
        notifying.attach(this->ex, [&] { c.notify_one(); });
        c.wait(lock, ec);
        EXPECT_FALSE(ec);
        ma::scope const soon(1ms);
        c.wait(lock, ec);
        EXPECT_EQ(ec.value(), ETIME);
        EXPECT_FALSE(m.try_lock()) << "it has it again";
    });
}

// The time of the call itself is no error; that of a scope, a cancel and a misuse are.
TYPED_TEST(Sync, what_waits_for_a_time_tells_errors_from_it_without_a_throw)
{
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    std::error_code ec;
    std::unique_lock<typename TestFixture::mutex> none;
    constexpr std::chrono::milliseconds moment(1);
    auto const past = std::chrono::steady_clock::now() - 1s;
    static_assert(noexcept(c.wait_for(none, moment, ec)) && noexcept(c.wait_until(none, past, ec)));
    auto const never = [] { return false; };
    auto const always = [] { return true; };
    run_task(this->ex, [&] {
        EXPECT_EQ(c.wait_for(none, 1ms, ec), std::cv_status::no_timeout);
        EXPECT_EQ(ec.value(), EPERM);
        std::unique_lock lock(m);
        EXPECT_EQ(c.wait_for(lock, 1ms, ec), std::cv_status::timeout);
        EXPECT_FALSE(ec);
        ec = std::make_error_code(std::errc::io_error);
        EXPECT_TRUE(c.wait_until(lock, past, always, ec));
        EXPECT_FALSE(ec);
        EXPECT_FALSE(c.wait_for(lock, 1ms, never, ec));
        EXPECT_FALSE(ec);
        c.wait(lock, always, ec);
        EXPECT_FALSE(ec);
        ma::task notifying;
        notifying.attach(this->ex, [&] { c.notify_one(); });
        EXPECT_EQ(c.wait_until(lock, std::chrono::steady_clock::now() + 1h, ec),
                  std::cv_status::no_timeout);
        EXPECT_FALSE(ec);
        ma::scope s;
        s.cancel();
        EXPECT_EQ(c.wait_until(lock, past + 1h, ec), std::cv_status::no_timeout);
        EXPECT_EQ(ec.value(), ECANCELED);
        int asked = 0;
        c.wait(lock, [&] { return ++asked == 2; }, ec);
        EXPECT_EQ(ec.value(), ECANCELED);
        EXPECT_EQ(asked, 1);
        EXPECT_FALSE(c.wait_for(lock, 1h, never, ec));
        EXPECT_EQ(ec.value(), ECANCELED);
    });
    run_task(this->ex, [&] {
        std::unique_lock lock(m);
        ma::scope const over(0ms);
        EXPECT_EQ(c.wait_for(lock, 0ms, ec), std::cv_status::no_timeout) << "or it would loop";
        EXPECT_EQ(ec.value(), ETIME);
    });
}

TYPED_TEST(Sync, a_semaphore_and_a_wait_group_say_errors_without_a_throw)
{
    typename TestFixture::semaphore s(1);
    typename TestFixture::wait_group g;
    std::error_code ec;
    constexpr std::chrono::milliseconds moment(1);
    auto const past = std::chrono::steady_clock::now() - 1s;
    static_assert(noexcept(s.try_acquire(1, ec)) && noexcept(s.release(1, ec)));
    static_assert(noexcept(s.try_acquire_for(moment, 1, ec)));
    static_assert(noexcept(s.try_acquire_until(past, 1, ec)));
    static_assert(noexcept(g.add(1, ec)) && noexcept(g.done(1, ec)));
    static_assert(noexcept(g.wait_for(moment, ec)) && noexcept(g.wait_until(past, ec)));
    run_task(this->ex, [&] {
        ec = std::make_error_code(std::errc::io_error);
        EXPECT_TRUE(s.try_acquire(1, ec));
        EXPECT_FALSE(ec);
        EXPECT_FALSE(s.try_acquire(1, ec));
        EXPECT_FALSE(ec);
        EXPECT_FALSE(s.try_acquire_for(1ms, 1, ec));
        EXPECT_FALSE(ec);
        s.release(UINT64_MAX, ec);
        EXPECT_FALSE(ec);
        s.release(1, ec);
        EXPECT_EQ(ec.value(), EOVERFLOW);
        EXPECT_TRUE(s.try_acquire_until(past, 1, ec));
        EXPECT_FALSE(ec);
        g.done(1, ec);
        EXPECT_EQ(ec.value(), EINVAL);
        g.add(1, ec);
        EXPECT_FALSE(ec);
        EXPECT_FALSE(g.wait_for(1ms, ec));
        EXPECT_FALSE(ec);
        ma::scope const over(0ms);
        EXPECT_FALSE(g.wait_until(past, ec));
        EXPECT_EQ(ec.value(), ETIME);
        g.done(1, ec);
        EXPECT_FALSE(ec);
    });
}

TYPED_TEST(Sync, a_condition_whose_time_is_over_locks_again)
{
    typename TestFixture::mutex m;
    typename TestFixture::condition c;
    run_task(this->ex, [&] {
        std::unique_lock lock(m);
        EXPECT_EQ(c.wait_for(lock, 1ms), std::cv_status::timeout);
        EXPECT_FALSE(c.wait_for(lock, 1ms, [] { return false; }));
        EXPECT_TRUE(c.wait_until(lock, std::chrono::steady_clock::now() - 1s, [] { return true; }));
        EXPECT_FALSE(m.try_lock());
        lock.unlock();
        EXPECT_EQ(errno_thrown_by([&] { c.wait(lock); }), EPERM);
    });
}

TYPED_TEST(Sync, a_semaphore_is_not_passed_by_who_wants_less)
{
    typename TestFixture::semaphore s(1);
    ma::task many, few;
    many.attach(this->ex, [&] {
        s.acquire(3);
        this->log += 'm';
    });
    this->until_waiting(many);
    few.attach(this->ex, [&] {
        s.acquire();
        this->log += 'f';
    });
    this->until_waiting(few);
    run_task(this->ex, [&] {
        EXPECT_FALSE(s.try_acquire());
        s.release();
        ma::this_task::yield();
        EXPECT_EQ(this->log, "");
        s.release(2);
        EXPECT_EQ(errno_thrown_by([&] {
                      s.release(UINT64_MAX);
                      s.release();
                  }),
                  EOVERFLOW);
    });
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "mf");
}

TYPED_TEST(Sync, who_wants_many_and_is_cancelled_lets_others_pass)
{
    typename TestFixture::semaphore s(1);
    ma::task many, few;
    many.attach(this->ex, [&] { EXPECT_EQ(errno_thrown_by([&] { s.acquire(3); }), ECANCELED); });
    this->until_waiting(many);
    few.attach(this->ex, [&] {
        s.acquire();
        this->log += 'f';
    });
    this->until_waiting(few);
    many.cancel();
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "f");
}

TYPED_TEST(Sync, an_event_lets_pass_until_it_is_reset)
{
    typename TestFixture::event e;
    ma::task first, second;
    first.attach(this->ex, [&] {
        e.wait();
        this->log += '1';
    });
    this->until_waiting(first);
    run_task(this->ex, [&] {
        EXPECT_FALSE(e.is_set());
        e.set();
        e.wait(); // at once
        EXPECT_EQ(this->log, "");
        EXPECT_TRUE(e.is_set());
        EXPECT_TRUE(e.reset());
        EXPECT_FALSE(e.reset());
        EXPECT_FALSE(e.wait_for(1ms));
    });
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "1");
}

TYPED_TEST(Sync, a_barrier_lets_all_pass_again_and_again)
{
    typename TestFixture::barrier b(3);
    std::vector<ma::task> tasks(3);
    int last = 0;
    for (auto &t : tasks) {
        t.attach(this->ex, [&] {
            for (int round = 0; round < 5; ++round) {
                this->log += static_cast<char>('0' + round);
                last += b.arrive_and_wait() ? 1 : 0;
            }
        });
    }
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "000111222333444");
    EXPECT_EQ(last, 5);
}

TYPED_TEST(Sync, who_leaves_a_barrier_does_not_count)
{
    typename TestFixture::barrier b(2);
    ma::task victim, other;
    victim.attach(this->ex,
                  [&] { EXPECT_EQ(errno_thrown_by([&] { b.arrive_and_wait(); }), ECANCELED); });
    this->until_waiting(victim);
    victim.cancel();
    this->ex.run_until_idle();
    run_task(this->ex, [&] {
        EXPECT_FALSE(b.arrive_and_wait_for(1ms));
        other.attach(this->ex, [&] { b.arrive_and_wait(); });
        b.arrive_and_wait();
    });
    this->ex.run_until_idle();
}

TYPED_TEST(Sync, who_has_met_passes_a_barrier_though_it_is_cancelled)
{
    typename TestFixture::barrier b(2);
    ma::task victim;
    victim.attach(this->ex, [&] {
        EXPECT_EQ(errno_thrown_by([&] { b.arrive_and_wait(); }), 0);
        this->log += 'v';
    });
    this->until_waiting(victim);
    run_task(this->ex, [&] {
        victim.cancel(); // It is woken, and has not left yet when the other comes.
        EXPECT_TRUE(b.arrive_and_wait());
    });
    this->ex.run_until_idle();
    EXPECT_EQ(this->log, "v");
}

TYPED_TEST(Sync, a_wait_group_waits_for_all)
{
    typename TestFixture::wait_group g;
    run_task(this->ex, [&] {
        g.wait(); // nothing is left
        std::vector<ma::task> tasks(4);
        g.add(4);
        for (auto &t : tasks) {
            t.attach(this->ex, [&] {
                ma::this_task::yield();
                this->log += 'd';
                g.done();
            });
        }
        EXPECT_FALSE(g.wait_for(0ms));
        g.wait();
        EXPECT_EQ(this->log, "dddd");
        EXPECT_EQ(errno_thrown_by([&] { g.done(); }), EINVAL);
    });
}

TYPED_TEST(Sync, phases_of_a_lock_for_readers_and_writers_alternate)
{
    typename TestFixture::rw_lock l;
    std::vector<ma::task> tasks(6);
    auto const reader = [&](char name) {
        return [&, name] {
            std::shared_lock const lock(l);
            this->log += name;
            ma::this_task::park();
        };
    };
    auto const writer = [&](char name) {
        return [&, name] {
            std::unique_lock const lock(l);
            this->log += name;
            ma::this_task::park();
        };
    };
    tasks[0].attach(this->ex, reader('a'));
    this->until_waiting(tasks[0]);
    tasks[1].attach(this->ex, reader('b'));
    this->until_waiting(tasks[1]);
    EXPECT_EQ(this->log, "ab");
    tasks[2].attach(this->ex, writer('W'));
    this->until_waiting(tasks[2]);
    tasks[3].attach(this->ex, reader('c'));
    tasks[4].attach(this->ex, writer('X'));
    tasks[5].attach(this->ex, reader('d'));
    for (int i = 0; i < 10; ++i) {
        this->ex.poll();
    }
    EXPECT_EQ(this->log, "ab"); // No reader passes the writer.
    auto const unpark = [&](int i) {
        (void)monad_async_task_unpark(tasks[static_cast<std::size_t>(i)].native_handle());
        for (int k = 0; k < 10; ++k) {
            this->ex.poll();
        }
    };
    unpark(0);
    EXPECT_EQ(this->log, "ab");
    unpark(1);
    EXPECT_EQ(this->log, "abW");
    unpark(2);
    EXPECT_EQ(this->log, "abWcd"); // all readers that wait
    unpark(3);
    unpark(5);
    EXPECT_EQ(this->log, "abWcdX");
    unpark(4);
    this->ex.run_until_idle();
}

TYPED_TEST(Sync, a_writer_that_is_cancelled_lets_the_readers_pass)
{
    typename TestFixture::rw_lock l;
    ma::task first, writer, second;
    first.attach(this->ex, [&] {
        std::shared_lock const lock(l);
        ma::this_task::park();
    });
    this->until_waiting(first);
    writer.attach(this->ex, [&] { EXPECT_EQ(errno_thrown_by([&] { l.lock(); }), ECANCELED); });
    this->until_waiting(writer);
    second.attach(this->ex, [&] {
        std::shared_lock const lock(l);
        this->log += 'r';
    });
    this->until_waiting(second);
    writer.cancel();
    for (int k = 0; k < 10; ++k) {
        this->ex.poll();
    }
    EXPECT_EQ(this->log, "r");
    (void)monad_async_task_unpark(first.native_handle());
    this->ex.run_until_idle();
    run_task(this->ex, [&] {
        EXPECT_TRUE(l.try_lock());
        EXPECT_FALSE(l.try_lock_shared());
        EXPECT_EQ(errno_thrown_by([&] { l.lock(); }), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { l.lock_shared(); }), EDEADLK);
        EXPECT_EQ(errno_thrown_by([&] { l.unlock_shared(); }), EPERM);
        l.unlock();
        EXPECT_EQ(errno_thrown_by([&] { l.unlock(); }), EPERM);
        EXPECT_TRUE(l.try_lock_shared_for(0ms));
        EXPECT_FALSE(l.try_lock_for(1ms));
        l.unlock_shared();
    });
}

TEST(SyncLocal, is_one_executors)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::executor other{ma::executor_options::compute_only()};
    ma::local_mutex m;
    ma::local_event e;
    EXPECT_EQ(errno_thrown_by([&] { e.set(); }), EPERM); // No executor has used it yet.
    EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), EPERM);
    run_task(ex, [&] {
        m.lock();
        m.unlock();
        e.reset();
    });
    run_task(other, [&] {
        EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), EPERM);
        EXPECT_EQ(errno_thrown_by([&] { (void)m.try_lock(); }), EPERM);
        EXPECT_EQ(errno_thrown_by([&] { e.wait(); }), EPERM);
        EXPECT_EQ(errno_thrown_by([&] { e.set(); }), EPERM);
    });
    // Its thread, between two runs.
    EXPECT_EQ(errno_thrown_by([&] { e.set(); }), 0);
    std::thread([&] { EXPECT_EQ(errno_thrown_by([&] { e.set(); }), EPERM); }).join();
}

TEST(SyncShared, a_thread_and_a_task_take_turns)
{
    ma::executor ex;
    ma::mutex m;
    ma::event begun;
    int count = 0;
    std::thread thread([&] {
        begun.wait();
        for (int i = 0; i < 20000; ++i) {
            std::lock_guard const lock(m);
            ++count;
        }
    });
    run_task(ex, [&] {
        begun.set();
        for (int i = 0; i < 20000; ++i) {
            std::lock_guard const lock(m);
            ++count;
        }
    });
    thread.join();
    EXPECT_EQ(count, 40000);
}

TEST(SyncShared, a_thread_waits_until_its_time)
{
    ma::mutex m;
    ma::condition c;
    ma::event e;
    ma::semaphore s(0);
    EXPECT_FALSE(e.wait_for(1ms));
    EXPECT_FALSE(s.try_acquire_for(1ms));
    std::unique_lock lock(m);
    EXPECT_EQ(c.wait_for(lock, 1ms), std::cv_status::timeout);
    EXPECT_EQ(errno_thrown_by([&] { m.lock(); }), EDEADLK);
    std::thread([&] {
        EXPECT_EQ(errno_thrown_by([&] { m.unlock(); }), EPERM);
        EXPECT_FALSE(m.try_lock_for(1ms));
    }).join();
}

// Two executors and a thread on each object, for a while, with cancels and deadlines that cross.
TEST(SyncShared, real_threads_lose_nothing)
{
    constexpr int rounds = 3000;
    ma::mutex m;
    ma::condition c;
    ma::semaphore s(2);
    ma::rw_lock l;
    ma::barrier b(3);
    int guarded = 0, written = 0, passed = 0;
    std::atomic<int> inside{0};
    auto const use = [&](int who) {
        for (int i = 0; i < rounds; ++i) {
            if ((i + who) % 7 == 0) {
                if (m.try_lock_for(std::chrono::microseconds(i % 50))) {
                    ++guarded;
                    m.unlock();
                }
                continue;
            }
            m.lock();
            ++guarded;
            m.unlock();
            if ((i + who) % 5 == 0 ? s.try_acquire_for(std::chrono::microseconds(i % 30))
                                   : (s.acquire(), true)) {
                EXPECT_LE(inside.fetch_add(1), 1);
                inside.fetch_sub(1);
                s.release();
            }
            if (i % 3 == 0) {
                std::unique_lock const lock(l);
                ++written;
            } else {
                std::shared_lock const lock(l);
                EXPECT_GE(written, 0);
            }
        }
        for (int i = 0; i < rounds / 10; ++i) {
            b.arrive_and_wait();
        }
        std::unique_lock lock(m);
        ++passed;
        c.notify_all();
        c.wait(lock, [&] { return passed == 3; });
    };
    auto const executor = [&](int who) {
        ma::executor ex;
        run_task(ex, [&] { use(who); });
    };
    std::thread one(executor, 1), two(executor, 2);
    use(0);
    one.join();
    two.join();
    EXPECT_EQ(passed, 3);
    EXPECT_GT(guarded, 0);
}

// Tasks of two executors that hand a mutex on, while other threads cancel those who wait.
TEST(SyncShared, cancels_cross_grants)
{
    constexpr int rounds = 2000;
    ma::mutex m;
    std::atomic<int> held{0}, got{0}, canceled{0};
    auto const executor = [&] {
        ma::executor ex;
        std::vector<ma::task> tasks(4);
        for (int round = 0; round < rounds; ++round) {
            for (auto &t : tasks) {
                t.attach(ex, [&] {
                    try {
                        m.lock();
                    } catch (ma::cancelled_error const &) {
                        ++canceled;
                        return;
                    }
                    EXPECT_EQ(held.fetch_add(1), 0);
                    ++got;
                    held.fetch_sub(1);
                    m.unlock();
                });
            }
            tasks[static_cast<std::size_t>(round) % 4].cancel();
            while (std::any_of(tasks.begin(), tasks.end(), [](auto &t) { return !t.done(); })) {
                ex.run();
                tasks[static_cast<std::size_t>(round + 1) % 4].cancel();
            }
        }
    };
    std::thread one(executor), two(executor);
    one.join();
    two.join();
    EXPECT_TRUE(m.try_lock());
    m.unlock();
}

// Three tasks that want two mutexes, given in both orders. By `std::scoped_lock` they go round for ever, each
// with one that it gives back.
TYPED_TEST(Sync, several_are_locked_whatever_order_they_are_given_in)
{
    typename TestFixture::mutex m[2];
    int held = 0;
    int turns = 0;
    ma::task tasks[3];
    for (int i = 0; i < 3; ++i) {
        tasks[i].attach(this->ex, [&, i] {
            for (int n = 0; n < 10; ++n) {
                ma::scoped_lock const both(m[i % 2], m[1 - i % 2]);
                EXPECT_EQ(held++, 0);
                ma::this_task::yield();
                --held;
                ++turns;
            }
        });
    }
    for (int passes = 0; passes < 1000; ++passes) {
        this->ex.poll();
    }
    EXPECT_EQ(turns, 30);
    for (auto &t : tasks) {
        if (t.done()) {
            t.get();
        }
    }
}

TYPED_TEST(Sync, of_several_none_is_locked_where_one_cannot_be)
{
    typename TestFixture::mutex m[3];
    typename TestFixture::rw_lock rw;
    auto const all_are_free = [&] {
        for (auto &one : m) {
            ASSERT_TRUE(one.try_lock());
            one.unlock();
        }
        ASSERT_TRUE(rw.try_lock());
        rw.unlock();
    };
    ma::task owner, waiter;
    owner.attach(this->ex, [&] {
        all_are_free();
        {
            ma::scoped_lock const none;
            ma::scoped_lock const all(m[2], rw, m[0], m[1]);
            EXPECT_FALSE(m[0].try_lock());
            EXPECT_FALSE(rw.try_lock());
        }
        all_are_free();
        EXPECT_EQ(errno_thrown_by([&] { ma::scoped_lock const twice(m[0], rw, m[1], m[0]); }),
                  EDEADLK);
        all_are_free();
        std::lock_guard const lock(m[2]);
        ma::this_task::park();
    });
    this->until_waiting(owner);
    waiter.attach(this->ex, [&] {
        ma::scope s(1ms);
        EXPECT_THROW(ma::scoped_lock const all(m[2], m[1], rw, m[0]), ma::timeout_error);
    });
    while (!waiter.done()) {
        this->ex.run();
    }
    EXPECT_EQ(monad_async_task_unpark(owner.native_handle()).error, 0);
    this->ex.run_until_idle();
    owner.get();
    waiter.get();
    ma::task last;
    last.attach(this->ex, all_are_free);
    this->ex.run_until_idle();
    last.get();
}

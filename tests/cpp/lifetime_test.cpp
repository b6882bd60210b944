// Who may die first: destructors that cancel once and wait, what the bodies see in that time, and
// the end of the process.
#include "support.hpp"

#include <monad/async/event.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>

#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

// As much of this process as is in memory, of tasks' stacks and else.
std::size_t resident_bytes()
{
    std::ifstream statm("/proc/self/statm");
    std::size_t all = 0;
    std::size_t resident = 0;
    statm >> all >> resident;
    return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

constexpr int children = 1200;
constexpr int kept = 512; // By the process, for who makes a task next: 64 MiB.
constexpr std::size_t deep_bytes = 96 << 10;
constexpr std::size_t gone = (children - kept) * deep_bytes * 3 / 4;

void goes_deep()
{
    ma::this_task::yield(); // All of them at a time.
    std::array<unsigned char, deep_bytes> all{};
    for (auto &byte : all) {
        *const_cast<unsigned char volatile *>(&byte) = 1;
    }
}

void burst()
{
    ma::task_group g;
    for (int i = 0; i != children; ++i) {
        g.spawn(goes_deep);
    }
    g.wait();
}

TEST(Lifetime, what_a_burst_has_left_is_given_back)
{
    ma::executor ex;
    ex.spawn(burst);
    ex.run_until_idle();
    auto const before = resident_bytes();
    ex.trim();
    auto const after = resident_bytes();
    EXPECT_LT(after + gone, before);
    // Inside a task, whose own is not kept yet; and there are new ones.
    ex.spawn([&] {
        burst();
        ex.trim();
        burst();
    });
    ex.run_until_idle();
    ex.trim();
    ex.trim();
    EXPECT_LT(resident_bytes() + gone, before);
}

TEST(Lifetime, what_a_burst_has_left_in_a_pool_is_given_back)
{
    ma::thread_pool pool(1);
    ma::event go;
    std::vector<ma::future<void>> all;
    for (int i = 0; i != children; ++i) {
        all.push_back(pool.submit([&go] {
            go.wait();
            goes_deep();
        }));
    }
    pool.wait_begun();
    go.set();
    for (auto &one : all) {
        one.get();
    }
    all.clear();
    pool.wait();
    auto const before = resident_bytes();
    pool.trim();
    EXPECT_LT(resident_bytes() + gone, before);
    EXPECT_EQ(pool.submit([] { return 3; }).get(), 3);
}

TEST(Lifetime, what_a_burst_has_left_on_a_worker_is_given_back)
{
    ma::thread_pool pool(1);
    pool.submit(burst).get();
    auto const before = resident_bytes();
    pool.trim(); // Those are none of its own,
    ma::executor_ref const from_here = pool.submit([] { return ma::this_task::executor(); }).get();
    from_here.trim(); // nor are they this thread's.
    EXPECT_GT(resident_bytes() + gone / 2, before);
    pool.worker(0).submit([] { ma::this_task::executor().trim(); }).get();
    EXPECT_LT(resident_bytes() + gone, before);
    ma::executor_ref().trim();
}

TEST(Lifetime, a_clean_up_that_suspends_comes_through)
{
    // What was lost: asked again after 1 ms, a clean-up that took longer was cancelled too, inside
    // a destructor: std::terminate.
    struct says_goodbye {
        std::string &log;
        ~says_goodbye()
        {
            ma::shield const s;
            for (int i = 0; i < 10; ++i) {
                ma::this_task::sleep_for(2ms);
            }
            log += "goodbye ";
        }
    };
    std::string log;
    auto const body = [&log] {
        says_goodbye const g{log};
        ma::this_task::sleep_for(1h);
    };
    ma::executor ex;
    {
        ma::task t;
        t.attach(ex, body);
        ex.run(1);
    }
    ma::task t;
    t.attach(ex, body);
    ex.run(1);
    ex = ma::executor{};
    EXPECT_EQ(log, "goodbye goodbye ");
    EXPECT_TRUE(t.done());
}

TEST(Lifetime, a_clean_up_during_unwinding_needs_no_shield)
{
    // The destructor of the program in question: it may throw nothing, and knew nothing of shields.
    bool closed = false;
    ma::executor ex;
    {
        ma::task t;
        t.attach(ex, [&] {
            struct connection {
                bool &closed;
                ~connection()
                {
                    ma::this_task::sleep_for(5ms);
                    closed = true;
                }
            } const c{closed};
            ma::this_task::sleep_for(1h);
        });
        ex.run(1);
    }
    EXPECT_TRUE(closed);
}

TEST(Lifetime, bodies_see_a_whole_executor_while_it_ends)
{
    std::string how;
    bool helped = false;
    ma::task helper, cleans;
    {
        ma::executor ex;
        auto *const native = ex.native_handle();
        cleans.attach(ex, [&, native] {
            try {
                ma::this_task::sleep_for(1h);
            } catch (ma::cancelled_error const &) {
                ma::shield const s;
                EXPECT_EQ(ex.native_handle(), native);
                EXPECT_TRUE(ex.has_work());
                ex.wake();
                helper.attach(ex, [&] {
                    ma::this_task::sleep_for(2ms);
                    helped = true;
                });
                helper.join();
                EXPECT_EQ(ma::this_task::executor(), ex.ref());
                how = "cleaned up";
            }
        });
        ex.run(1);
    }
    EXPECT_EQ(how, "cleaned up");
    EXPECT_TRUE(helped);
}

TEST(Lifetime, bodies_see_their_own_task_whole_while_it_ends)
{
    ma::executor ex;
    std::string how;
    {
        ma::task t;
        t.attach(ex, [&] {
            try {
                ma::this_task::sleep_for(1h);
            } catch (ma::cancelled_error const &) {
                how = t.done() ? "done" : "running";
                EXPECT_TRUE(t.cancel());
                t.priority(ma::priority::low);
                EXPECT_EQ(t.native_handle(), ma::this_task::current());
            }
        });
        ex.run(1);
    }
    EXPECT_EQ(how, "running");
}

TEST(Lifetime, what_is_launched_in_a_clean_up_is_cancelled_once_the_others_have_exited)
{
    std::string log;
    ma::task first, late, later;
    {
        ma::executor ex;
        first.attach(ex, [&] {
            try {
                ma::this_task::sleep_for(1h);
            } catch (ma::cancelled_error const &) {
                late.attach(ex, [&] {
                    try {
                        ma::this_task::sleep_for(1h);
                    } catch (ma::cancelled_error const &) {
                        log += "late ";
                        later.attach(ex, [&] { log += "never"; });
                    }
                });
                ma::shield const s;
                ma::this_task::sleep_for(1ms);
                log += "first ";
            }
        });
        ex.run(1);
    }
    EXPECT_EQ(log, "first late ");
    EXPECT_TRUE(later.done());
    EXPECT_FALSE(later.started());
}

TEST(Lifetime, an_executor_ends_inside_a_task_of_another_one)
{
    // What was lost: its tasks could not be run there, and the process ended.
    ma::executor a;
    std::string log;
    ma::task outer, others;
    int rounds = 0;
    bool over = false;
    others.attach(a, [&] {
        while (!over) {
            ma::this_task::yield();
            ++rounds;
        }
    });
    outer.attach(a, [&] {
        ma::task t, pending;
        {
            ma::executor b;
            t.attach(b, [&] {
                EXPECT_EQ(ma::this_task::current(), t.native_handle());
                ma::shield const s;
                for (int i = 0; i < 3; ++i) {
                    ma::this_task::sleep_for(1ms);
                    ma::this_task::yield();
                }
                log += "cleaned up";
            });
            pending.attach(b, [] {});
            t.priority(ma::priority::high);
            // The launch would be cancelled, so it has to be begun; nobody can run b here but its
            // end.
            EXPECT_EQ(errno_thrown_by([&] { b.poll(); }), EDEADLK);
        }
        EXPECT_EQ(ma::this_task::current(), outer.native_handle());
        EXPECT_TRUE(t.done());
        EXPECT_TRUE(pending.done());
        ma::this_task::sleep_for(1ms);
        over = true;
    });
    a.run_until_idle();
    EXPECT_EQ(outer.get(), 0);
}

TEST(Lifetime, an_executor_whose_tasks_have_begun_ends_inside_a_task_of_another_one)
{
    ma::executor a;
    auto b = std::make_unique<ma::executor>();
    std::string log;
    ma::task outer, others, inner;
    inner.attach(*b, [&] {
        try {
            ma::this_task::sleep_for(1h);
        } catch (ma::cancelled_error const &) {
            ma::shield const s;
            for (int i = 0; i < 3; ++i) {
                ma::this_task::sleep_for(1ms);
            }
            log += "inner ";
        }
    });
    b->run(1);
    bool over = false;
    int rounds = 0;
    others.attach(a, [&] {
        while (!over) {
            ma::this_task::sleep_for(100us);
            ++rounds;
        }
    });
    outer.attach(a, [&] {
        b.reset();
        log += "outer";
        over = true;
    });
    a.run_until_idle();
    EXPECT_EQ(log, "inner outer");
    EXPECT_GT(rounds, 0) << "the other executor's tasks ran in that time";
}

TEST(Lifetime, an_executor_that_ends_is_not_run_inside_itself)
{
    // A task of `a` ends `b`, and the thread runs `b` on: a task there waits for one of `a`, and so has
    // the first go on, which finds `b` in the middle of an item.
    ma::executor a;
    auto b = std::make_unique<ma::executor>();
    monad_async_executor const native = b->native_handle();
    bool goes_on = false, over = false;
    int rounds = 0;
    ma::task ends, awaited, waits, other;
    awaited.attach(a, [] { ma::this_task::sleep_for(1h); });
    waits.attach(*b, [&] {
        ma::shield const s;
        while (!goes_on) {
            ma::this_task::yield();
        }
        awaited = ma::task{};
        EXPECT_EQ(ma::this_task::current(), waits.native_handle());
        EXPECT_EQ(errno_thrown_by([] { ma::this_task::yield(); }), 0);
        over = true;
    });
    other.attach(*b, [&] {
        ma::shield const s;
        while (!over) {
            ma::this_task::yield();
            ++rounds;
        }
    });
    b->run(2);
    a.run(1);
    ends.attach(a, [&] { b.reset(); });
    a.run(1);
    EXPECT_GT(rounds, 0);
    EXPECT_FALSE(ends.done());
    goes_on = true;
    timespec const at_once{};
    while (!over) {
        EXPECT_EQ(monad_async_executor_run(native, 1, &at_once).error, 0);
    }
    a.run_until_idle();
    EXPECT_TRUE(ends.done() && waits.done() && other.done());
}

TEST(Lifetime, a_task_of_another_executor_of_the_thread_ends_though_nobody_runs_that)
{
    ma::executor a, b;
    int ends = 0;
    ma::task outer;
    outer.attach(a, [&] {
        ma::task inner;
        inner.attach(b, [&] {
            counts_end const c(ends);
            ma::this_task::sleep_for(1h);
        });
    });
    a.run_until_idle();
    EXPECT_EQ(ends, 0) << "never began";
    ma::task begun;
    begun.attach(b, [&] {
        counts_end const c(ends);
        ma::this_task::sleep_for(1h);
    });
    b.run(1);
    outer.attach(a, [&] { begun = ma::task{}; });
    a.run_until_idle();
    EXPECT_EQ(ends, 1);
}

TEST(Lifetime, one_line_names_the_task_that_does_not_end)
{
    // Once it has been said, the body is let go.
    for (bool const by_executor : {false, true}) {
        std::atomic<bool> over{false};
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        int const real = ::dup(STDERR_FILENO);
        ::dup2(ends[1], STDERR_FILENO);
        std::string said(200, '\0');
        std::thread reads([&] {
            said.resize(static_cast<std::size_t>(::read(ends[0], said.data(), said.size())));
            over = true;
        });
        {
            ma::task_options options;
            options.name = "the stubborn one";
            ma::executor ex;
            ma::task other, t{options};
            t.attach(ex, [&] {
                ma::shield const s;
                while (!over) {
                    ma::this_task::sleep_for(10ms);
                }
            });
            ex.run(1);
            if (by_executor) {
                ex = ma::executor{};
            }
        }
        ::dup2(real, STDERR_FILENO);
        reads.join();
        for (int fd : {real, ends[0], ends[1]}) {
            ::close(fd);
        }
        EXPECT_NE(said.find("\"the stubborn one\""), std::string::npos) << said;
        EXPECT_EQ(said.find('\n'), said.size() - 1) << said;
    }
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool under_asan = true;
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
constexpr bool under_asan = true;
    #else
constexpr bool under_asan = false;
    #endif
#else
constexpr bool under_asan = false;
#endif

class Exit : public testing::Test {
protected:
    void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

// Static objects, made late: what is registered with atexit before them runs after their
// destructors.
struct statics {
    ma::executor ex;
    ma::task suspended, exits;
};

TEST_F(Exit, in_a_task_with_a_static_executor_and_static_tasks)
{
    if (under_asan) {
        GTEST_SKIP() << "LeakSanitizer does not look at the main stack from a task's";
    }
    EXPECT_EXIT(
        {
            ma::executor const used_before;
            static statics s;
            static ma::executor other;
            static ma::task of_other;
            of_other.attach(other, [] { ma::this_task::sleep_for(1h); });
            other.run(1);
            s.suspended.attach(s.ex, [] { ma::this_task::sleep_for(1h); });
            s.exits.attach(s.ex, [] { std::exit(7); });
            s.ex.run_until_idle();
        },
        testing::ExitedWithCode(7), "^$");
}

TEST_F(Exit, on_another_thread_with_a_static_executor_and_static_tasks)
{
    EXPECT_EXIT(
        {
            static statics s;
            s.suspended.attach(s.ex, [] { ma::this_task::sleep_for(1h); });
            s.ex.run(1);
            std::thread([] { std::exit(7); }).join();
        },
        testing::ExitedWithCode(7), "^$");
}

TEST_F(Exit, on_another_thread_while_the_static_executor_runs)
{
    EXPECT_EXIT(
        {
            static statics s;
            s.suspended.attach(s.ex, [] { ma::this_task::sleep_for(1h); });
            s.exits.attach(s.ex, [] { std::thread([] { std::exit(7); }).detach(); });
            s.ex.run_until_idle();
        },
        testing::ExitedWithCode(7), "^$");
}

TEST_F(Exit, in_a_task_of_a_static_pool)
{
    if (under_asan) {
        GTEST_SKIP() << "LeakSanitizer does not look at the main stack from a task's";
    }
    EXPECT_EXIT(
        {
            static ma::thread_pool pool(2);
            pool.spawn([] { ma::this_task::sleep_for(1h); });
            pool.spawn([] { std::exit(7); });
            pool.wait();
        },
        testing::ExitedWithCode(7), "^$");
}

// The destructors waited for the tasks in which, or below which, they ran.
TEST_F(Exit, in_a_task_whose_future_is_static)
{
    if (under_asan) {
        GTEST_SKIP() << "LeakSanitizer does not look at the main stack from a task's";
    }
    EXPECT_EXIT(
        {
            static ma::executor ex;
            static ma::executor other;
            static ma::future<void> own;
            static ma::future<void> suspended;
            static ma::future<void> of_other;
            of_other = other.submit([] { ma::this_task::sleep_for(1h); });
            other.run(1);
            suspended = ex.submit([] { ma::this_task::sleep_for(1h); });
            own = ex.submit([] { std::exit(7); });
            ex.run_until_idle();
        },
        testing::ExitedWithCode(7), "^$");
    EXPECT_EXIT(
        {
            static ma::thread_pool pool(2);
            static ma::future<void> own;
            static ma::future<void> suspended;
            static ma::event are_there;
            suspended = pool.submit([] { ma::this_task::sleep_for(1h); });
            own = pool.submit([] {
                are_there.wait();
                std::exit(7);
            });
            are_there.set();
            pool.wait();
        },
        testing::ExitedWithCode(7), "^$");
}

TEST_F(Exit, on_another_thread_while_nobody_runs_the_static_futures_executor)
{
    EXPECT_EXIT(
        {
            static ma::executor ex;
            static ma::future<void> f;
            f = ex.submit([] { ma::this_task::sleep_for(1h); });
            ex.run(1);
            std::thread([] { std::exit(7); }).join();
        },
        testing::ExitedWithCode(7), "^$");
}

TEST_F(Exit, in_a_destructor_on_the_stack_of_a_task)
{
    if (under_asan) {
        GTEST_SKIP() << "LeakSanitizer does not look at the main stack from a task's";
    }
    EXPECT_EXIT(
        {
            static statics s;
            // One that never returns would be taken for the end of the exception.
            static std::atomic<bool> once{true};
            s.exits.attach(s.ex, [] {
                struct exits {
                    ~exits()
                    {
                        if (once) {
                            std::exit(7);
                        }
                    }
                } const e;
                ma::this_task::sleep_for(1h);
            });
            s.ex.run(1);
            s.exits.cancel();
            s.ex.run_until_idle();
        },
        testing::ExitedWithCode(7), "^$");
}

TEST_F(Exit, outside_tasks_on_the_executors_own_thread_ends_them_in_an_orderly_way)
{
    EXPECT_EXIT(
        {
            static statics s;
            s.suspended.attach(s.ex, [] {
                struct says {
                    ~says()
                    {
                        if (::write(STDERR_FILENO, "cleaned up", 10) < 0) {
                            std::abort();
                        }
                    }
                } const c;
                ma::this_task::sleep_for(1h);
            });
            s.ex.run(1);
            std::exit(7);
        },
        testing::ExitedWithCode(7), "^cleaned up$");
}

} // namespace

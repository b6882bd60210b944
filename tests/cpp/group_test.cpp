// Groups, when_all, when_any, background tasks and futures.

#include "support.hpp"

#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/inspect.h>
#include <monad/async/scope.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <variant>
#include <vector>

#include <malloc.h>

namespace {

void sleep_long()
{
    ma::this_task::sleep_for(1h);
}

struct boom : std::runtime_error {
    boom() : std::runtime_error("boom") {}
};

} // namespace

TEST(TaskGroup, runs_children_and_waits)
{
    ma::executor ex;
    int done = 0;
    run_task(ex, [&] {
        ma::task_group g;
        g.wait();
        for (int i = 0; i < 10; ++i) {
            g.spawn([&done, i] {
                for (int k = 0; k < i; ++k) {
                    ma::this_task::yield();
                }
                ++done;
                return std::string("dropped");
            });
        }
        EXPECT_EQ(g.size(), 10u);
        g.wait();
        EXPECT_EQ(g.size(), 0u);
    });
    EXPECT_EQ(done, 10);
    EXPECT_EQ(errno_thrown_by([] { ma::task_group g; }), EPERM);
    run_task(ex, [] { EXPECT_EQ(errno_thrown_by([] { ma::task_group g{0x100}; }), EINVAL); });
}

TEST(TaskGroup, the_first_that_throws_cancels_the_others)
{
    ma::executor ex;
    run_task(ex, [&] {
        ma::task_group g;
        int cancelled = 0;
        for (int i = 0; i < 3; ++i) {
            g.spawn([&] {
                try {
                    sleep_long();
                } catch (ma::cancelled_error const &) {
                    ++cancelled;
                    throw;
                }
            });
        }
        g.spawn([] { throw boom(); });
        EXPECT_THROW(g.wait(), boom);
        EXPECT_EQ(cancelled, 3);
        g.spawn([] {}); // as new
        g.wait();
        // Its children spawn too.
        g.spawn([&] { g.spawn([&] { ++cancelled; }); });
        g.wait();
        EXPECT_EQ(cancelled, 4);
    });
}

TEST(TaskGroup, its_end_cancels_and_waits)
{
    ma::executor ex;
    int ends = 0;
    run_task(ex, [&] {
        ma::task_group g;
        for (int i = 0; i < 3; ++i) {
            g.spawn([&] {
                counts_end const end(ends);
                sleep_long();
            });
        }
        ma::this_task::yield();
    });
    EXPECT_EQ(ends, 3);
}

TEST(TaskGroup, an_interrupted_wait_leaves_the_children)
{
    ma::executor ex;
    run_task(ex, [&] {
        ma::task_group g;
        g.spawn([] { ma::this_task::sleep_for(3ms); });
        EXPECT_EQ(errno_thrown_by([&] { ma::with_timeout(1ms, [&] { g.wait(); }); }), ETIME);
        EXPECT_EQ(g.size(), 1u);
        g.wait();
    });
}

TEST(WhenAll, gives_all_results)
{
    ma::executor ex;
    run_task(ex, [&] {
        auto r = ma::when_all([] { return 1; }, [] { return std::make_unique<int>(2); },
                              [] { ma::this_task::yield(); }, [] { return std::string(100, 'x'); });
        static_assert(
            std::is_same_v<decltype(r),
                           std::tuple<int, std::unique_ptr<int>, std::monostate, std::string>>);
        EXPECT_EQ(std::get<0>(r), 1);
        EXPECT_EQ(*std::get<1>(r), 2);
        EXPECT_EQ(std::get<3>(r).size(), 100u);
        int ends = 0;
        EXPECT_THROW(ma::when_all(
                         [&] {
                             counts_end const end(ends);
                             sleep_long();
                         },
                         []() -> int { throw boom(); }),
                     boom);
        EXPECT_EQ(ends, 1);
        EXPECT_EQ(errno_thrown_by([&] {
                      ma::with_timeout(1ms, [&] {
                          ma::when_all([&] {
                              counts_end const end(ends);
                              sleep_long();
                          });
                      });
                  }),
                  ETIME);
        EXPECT_EQ(ends, 2);
    });
}

TEST(WhenAll, throws_what_was_thrown_first_and_leaves_nothing_behind)
{
    ma::executor ex;
    run_task(ex, [&] {
        for (int round = 0; round != 3; ++round) {
            int ends = 0;
            auto const waits = [&] {
                counts_end const end(ends);
                sleep_long();
            };
            EXPECT_THROW(ma::when_all(
                             waits,
                             [] {
                                 ma::this_task::yield();
                                 throw std::out_of_range("second");
                             },
                             waits, []() -> int { throw boom(); }),
                         boom);
            EXPECT_EQ(ends, 2);
            // More of them than there were before, and inside each other.
            auto const three = [&] {
                return ma::when_all([] { return 1; }, [] { return 2; }, [] {});
            };
            auto const nine = ma::when_all(three, three, three);
            EXPECT_EQ(std::get<1>(std::get<2>(nine)), 2);
            EXPECT_EQ(ma::when_all(), std::tuple<>());
        }
    });
    EXPECT_EQ(errno_thrown_by([] { ma::when_all([] {}); }), EPERM);
}

TEST(WhenAll, on_an_executor_of_the_C_API)
{
    monad_async_executor ex = nullptr;
    monad_async_executor_attr attr = {};
    ASSERT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
    monad_async_task task = nullptr;
    ASSERT_EQ(monad_async_task_create(&task, nullptr).error, 0);
    task->user_code = [](monad_async_task) {
        auto const r = ma::when_all([] { return 20; }, [] { return 22; });
        return monad_async_make_success(std::get<0>(r) + std::get<1>(r));
    };
    (void)monad_async_task_attach(ex, task);
    while (!monad_async_task_has_exited(task)) {
        (void)monad_async_executor_run(ex, SIZE_MAX, nullptr);
    }
    EXPECT_EQ(task->result.value, 42);
    (void)monad_async_task_destroy(task);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(WhenAny, gives_the_first)
{
    ma::executor ex;
    run_task(ex, [&] {
        int ends = 0;
        auto r = ma::when_any(
            [&] {
                counts_end const end(ends);
                sleep_long();
            },
            [] {
                ma::this_task::yield();
                return std::make_unique<int>(7);
            },
            [&] {
                counts_end const end(ends);
                sleep_long();
                return 1;
            });
        static_assert(
            std::is_same_v<decltype(r), std::variant<std::monostate, std::unique_ptr<int>, int>>);
        ASSERT_EQ(r.index(), 1u);
        EXPECT_EQ(*std::get<1>(r), 7);
        EXPECT_EQ(ends, 2);
        EXPECT_THROW(ma::when_any([] { sleep_long(); }, [] { throw boom(); }), boom);
        EXPECT_EQ(errno_thrown_by(
                      [&] { ma::with_timeout(1ms, [&] { ma::when_any([] { sleep_long(); }); }); }),
                  ETIME);
    });
}

// Interrupted, it waits for its children, which still leave what they return.
TEST(WhenAny, that_is_interrupted_keeps_nothing_of_its_children)
{
    struct counted {
        int *alive;
        explicit counted(int &n) : alive(&n) { ++*alive; }
        counted(counted &&other) noexcept : alive(other.alive) { ++*alive; }
        ~counted() { --*alive; }
    };
    ma::executor ex;
    run_task(ex, [] {
        int alive = 0;
        auto const late = [&] {
            ma::shield const until_it_returns;
            ma::this_task::sleep_for(3ms);
            return counted(alive);
        };
        auto const in_time = [&] { ma::with_timeout(1ms, [&] { (void)ma::when_any(late); }); };
        EXPECT_EQ(errno_thrown_by(in_time), ETIME);
        EXPECT_EQ(alive, 0);
    });
}

// What the first has taken from elsewhere would be lost.
TEST(WhenAny, that_is_interrupted_after_the_first_has_ended_gives_its_result)
{
    ma::executor ex;
    run_task(ex, [] {
        for (bool const throws : {false, true}) {
            int taken = 0, cleaned_up = 0;
            ma::scope around;
            auto const first = [&] {
                ma::this_task::yield(); // The other has begun.
                if (throws) {
                    throw boom();
                }
                return ++taken;
            };
            auto const second = [&] {
                try {
                    sleep_long();
                } catch (ma::cancelled_error const &) {
                    ma::shield const s;
                    around.cancel();
                    ma::this_task::sleep_for(1ms);
                    ++cleaned_up;
                    throw;
                }
            };
            if (throws) {
                EXPECT_THROW((void)ma::when_any(first, second), boom);
            } else {
                auto const r = ma::when_any(first, second);
                ASSERT_EQ(r.index(), 0u);
                EXPECT_EQ(std::get<0>(r), 1);
            }
            EXPECT_EQ(cleaned_up, 1) << "it is awaited";
            EXPECT_THROW(ma::this_task::yield(), ma::cancelled_error) << "the next is told";
        }
    });
}

TEST(Background, runs_from_any_thread)
{
    ma::executor ex;
    std::atomic<int> ran{0};
    ex.spawn([&] { ++ran; });
    std::thread([&, ref = ex.ref()] {
        ex.spawn([&] { ++ran; });
        ref.spawn([&] { ++ran; });
    }).join();
    run_task(ex, [&] {
        ex.spawn([&] {
            ma::this_task::executor().spawn([&] { ++ran; });
            ++ran;
        });
    });
    ex.run_until_idle();
    EXPECT_EQ(ran, 5);
}

TEST(Background, the_executor_ends_it)
{
    int ends = 0;
    ma::executor_ref ref;
    {
        ma::executor ex;
        ref = ex.ref();
        ex.spawn([&] {
            counts_end const end(ends);
            sleep_long();
        });
        ex.poll();
        ex.spawn([&] { ADD_FAILURE() << "it never began"; });
    }
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(errno_thrown_by([&] { ref.spawn([] {}); }), ESHUTDOWN);
    EXPECT_EQ(errno_thrown_by([&] { (void)ref.submit([] {}); }), ESHUTDOWN);
}

TEST(Background, exceptions_go_to_on_exception)
{
    int told = 0;
    ma::executor_options options;
    options.on_exception = [&](std::exception_ptr e) {
        EXPECT_THROW(std::rethrow_exception(e), boom);
        ++told;
    };
    ma::executor ex(options);
    ex.spawn([] { throw boom(); });
    ex.spawn([] { throw ma::cancelled_error("left"); });
    ex.run_until_idle();
    EXPECT_EQ(told, 1);
}

TEST(BackgroundDeathTest, without_on_exception_it_ends_the_process)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ex.spawn([] { throw boom(); });
            ex.run_until_idle();
        },
        "background task");
}

TEST(Background, a_million_allocate_nothing_once_warm)
{
    ma::executor ex{ma::executor_options::compute_only()};
    long ran = 0;
    auto const batch = [&] {
        for (int i = 0; i < 100; ++i) {
            ex.spawn([&ran] { ++ran; });
        }
        ex.run_until_idle();
    };
    batch();
    auto const before = mallinfo2();
    for (int i = 0; i < 10000; ++i) {
        batch();
    }
    // Threads of tests before this one may leave meanwhile, and free what was theirs.
    EXPECT_LE(mallinfo2().uordblks, before.uordblks);
    EXPECT_EQ(ran, 1000100);
}

TEST(Future, gives_results_and_exceptions)
{
    ma::executor ex;
    auto early = ex.submit([] { return std::string("early"); });
    EXPECT_FALSE(early.ready());
    EXPECT_EQ(errno_thrown_by([&] { early.get(); }), EDEADLK);
    ex.run_until_idle();
    EXPECT_TRUE(early.ready());
    EXPECT_EQ(early.get(), "early");
    EXPECT_FALSE(early.valid());
    EXPECT_EQ(errno_thrown_by([&] { early.get(); }), EINVAL);
    run_task(ex, [&] {
        auto a = ex.submit([] { return std::make_unique<int>(3); });
        auto b = ex.submit([] { ma::this_task::sleep_for(2ms); });
        auto c = ex.submit([]() -> int { throw boom(); });
        auto d = ex.submit([x = std::array<char, 500>{}] { return x; });
        EXPECT_FALSE(b.wait_for(1us));
        EXPECT_EQ(*a.get(), 3);
        b.get();
        EXPECT_THROW(c.get(), boom);
        EXPECT_EQ(d.get()[499], 0);
        auto e = ex.submit([] { return 1; });
        e.cancel(); // before it has begun
        EXPECT_EQ(errno_thrown_by([&] { e.get(); }), ECANCELED);
        auto f = ex.submit(sleep_long);
        EXPECT_EQ(errno_thrown_by([&] { ma::with_timeout(1ms, [&] { f.get(); }); }), ETIME);
        EXPECT_TRUE(f.valid());
    });
}

TEST(Future, its_end_cancels_and_waits)
{
    ma::executor ex;
    int ends = 0;
    auto const body = [&ends] {
        counts_end const end(ends);
        sleep_long();
    };
    run_task(ex, [&] {
        auto f = ex.submit(body);
        ma::this_task::yield();
    });
    EXPECT_EQ(ends, 1);
    {
        auto f = ex.submit(body); // on the executor's thread, outside its tasks
        ex.poll();
    }
    EXPECT_EQ(ends, 2);
    {
        auto f = ex.submit(body);
        f = ex.submit([] {});
        ex.run_until_idle();
    }
    EXPECT_EQ(ends, 2); // The first never began.
}

// It waits for the very task that lets go of it, and nothing interrupts that: it was not waited for.
TEST(Future, its_end_waits_for_a_task_that_waits_for_its_own)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::task outer;
    outer.attach(ex, [&] {
        bool ended = false;
        {
            auto const inner = ex.submit([&] {
                ma::shield const until_it_gives_up{20ms};
                std::error_code ec;
                outer.join(ec);
                EXPECT_EQ(ec.value(), ETIME);
                ended = true;
            });
            ma::this_task::yield();
        }
        EXPECT_TRUE(ended);
    });
    ex.run_until_idle();
    outer.get();
}

TEST(Future, awaited_by_a_task_of_its_own_executor)
{
    ma::executor ex;
    run_task(ex, [&] {
        // An interrupted wait leaves it as it was; a cancelled task's own end is no interruption.
        auto slow = ex.submit([] {
            ma::this_task::sleep_for(3ms);
            return 7;
        });
        EXPECT_EQ(errno_thrown_by([&] { ma::with_timeout(1ms, [&] { slow.wait(); }); }), ETIME);
        EXPECT_FALSE(slow.ready());
        EXPECT_EQ(slow.get(), 7);
        auto never = ex.submit([] { return 1; });
        never.cancel();
        never.wait();
        EXPECT_TRUE(never.ready());
        EXPECT_EQ(errno_thrown_by([&] { (void)never.get(); }), ECANCELED);
        auto throws = ex.submit([]() -> int { throw boom(); });
        EXPECT_THROW((void)throws.get(), boom);
        // Its own: nobody would ever end that wait.
        std::optional<ma::future<void>> own;
        own = ex.submit([&] { EXPECT_EQ(errno_thrown_by([&] { own->wait(); }), EDEADLK); });
        own->get();
    });
    // Kept beyond the executor's end, and let go on another thread.
    auto last = std::make_unique<ma::executor>();
    std::vector<ma::future<int>> kept;
    for (int i = 0; i != 3000; ++i) {
        kept.push_back(last->submit([i] { return i; }));
    }
    last->run_until_idle();
    kept.erase(kept.begin(), kept.begin() + 1000);
    std::thread([some = std::vector(std::make_move_iterator(kept.begin() + 500),
                                    std::make_move_iterator(kept.end()))]() mutable {
        EXPECT_EQ(some.back().get(), 2999);
        some.clear();
    }).join();
    last.reset();
    EXPECT_EQ(kept.front().get(), 1000);
}

// The tasks are used again: by one that had made itself low, which many do that have time, all that
// came later were.
TEST(TaskGroup, a_body_leaves_its_priority_to_none)
{
    ma::executor ex;
    auto const lowers = [] {
        auto *const self = ma::this_task::current();
        EXPECT_EQ(self->priority.cpu, monad_async_priority_normal);
        EXPECT_EQ(self->priority.io, monad_async_priority_normal);
        EXPECT_EQ(monad_async_task_set_priorities(self, monad_async_priority_low,
                                                  monad_async_priority_high)
                      .error,
                  0);
    };
    for (int i = 0; i < 2; ++i) {
        ex.spawn(lowers);
        ex.run_until_idle();
        auto result = ex.submit(lowers);
        ex.run_until_idle();
        result.get();
        run_task(ex, [&] {
            ma::task_group g;
            g.spawn(lowers);
            g.wait();
            (void)ma::when_all(lowers, lowers);
            (void)ma::when_any(lowers, lowers);
        });
    }
}

// To a future all tasks of an executor are one thread: the first that goes on has the result, also of
// one whose state is a block of its own, and the others are told.
TEST(Future, that_two_tasks_wait_for_gives_its_result_to_one)
{
    ma::executor ex, other;
    auto const races = [&](auto f, auto &&ends) {
        int had = 0, refused = 0;
        std::vector<ma::task> askers(3);
        for (auto &asker : askers) {
            asker.attach(ex, [&] {
                try {
                    (void)f.get();
                    ++had;
                } catch (std::system_error const &e) {
                    EXPECT_EQ(e.code().value(), EINVAL);
                    ++refused;
                }
            });
        }
        ex.poll();
        ends();
        ex.run_until_idle();
        EXPECT_EQ(had, 1);
        EXPECT_EQ(refused, 2);
    };
    auto const soon = [] { ma::this_task::sleep_for(2ms); };
    auto const large = [&] {
        soon();
        return std::array<char, 500>{};
    };
    races(ex.submit(soon), [] {});
    races(ex.submit(large), [] {});
    races(other.submit(soon), [&] { other.run_until_idle(); });
    races(other.submit(large), [&] { other.run_until_idle(); });
    // The first has the object hold another's result by then, which may lie where that was.
    auto const assigns = [&](auto body) {
        auto f = ex.submit(body);
        ma::task first, second;
        first.attach(ex, [&] {
            (void)f.get();
            f = ex.submit(body);
        });
        second.attach(ex, [&] {
            EXPECT_EQ(errno_thrown_by([&] { (void)f.get(); }), EINVAL);
            (void)f.get();
        });
        ex.run_until_idle();
        first.get();
        second.get();
    };
    assigns(soon);
    assigns(large);
    // What is ended while others wait for it.
    auto const ends = [&](ma::executor &of, auto body) {
        auto f = of.submit(body);
        auto const is_told = [&](auto call) { EXPECT_EQ(errno_thrown_by(call), EINVAL); };
        ma::task waits, until, assigner;
        waits.attach(ex, [&] { is_told([&] { (void)f.get(); }); });
        until.attach(ex, [&] { is_told([&] { (void)f.wait_for(1h); }); });
        ex.poll();
        assigner.attach(ex, [&] { f = of.submit(body); });
        while (!assigner.done() || !waits.done() || !until.done()) {
            ex.poll();
            of.poll();
        }
        waits.get();
        until.get();
        assigner.get();
    };
    ends(ex, soon);
    ends(ex, large);
    ends(other, soon);
    ends(other, large);
    // Interrupted, and the result is another's before it goes on; of an executor that another
    // thread runs, whose end is told by an event.
    std::atomic<bool> over{false};
    ma::executor_ref remote;
    std::atomic<bool> is_there{false};
    std::thread runs([&] {
        ma::executor elsewhere;
        remote = elsewhere.ref();
        is_there = true;
        while (!over) {
            elsewhere.run_for(1ms);
        }
    });
    while (!is_there) {
        std::this_thread::yield();
    }
    auto const comes_late = [&](auto body) {
        std::atomic<bool> is_awaited{false};
        auto f = remote.submit([&is_awaited, body] {
            while (!is_awaited) {
                ma::this_task::sleep_for(1ms);
            }
            return body();
        });
        ma::task waits;
        waits.attach(ex, [&] { EXPECT_EQ(errno_thrown_by([&] { f.wait(); }), EINVAL); });
        run_task(ex, [&] {
            ma::this_task::yield();
            is_awaited = true;
            waits.cancel();
            while (!f.ready()) {
                std::this_thread::yield();
            }
            (void)f.get();
        });
        ex.run_until_idle();
        waits.get();
    };
    comes_late(soon);
    comes_late(large);
    over = true;
    runs.join();
    // And one that is moved while a task waits for it.
    run_task(ex, [&] {
        auto f = ex.submit([&] {
            soon();
            return 5;
        });
        ma::task asker;
        asker.attach(ex, [&] { EXPECT_EQ(errno_thrown_by([&] { (void)f.get(); }), EINVAL); });
        ma::this_task::yield();
        auto moved = std::move(f);
        EXPECT_EQ(moved.get(), 5);
        asker.join();
    });
}

// Submitted on its executor's thread, and waited for by others.
TEST(Future, submitted_at_home_and_awaited_elsewhere)
{
    ma::executor ex;
    bool go = false;
    auto const body = [&go] {
        while (!go) {
            ma::this_task::sleep_for(1ms);
        }
        return std::make_unique<int>(5);
    };
    auto by_thread = ex.submit(body);
    auto by_task = ex.submit(body);
    auto boom_by_thread = ex.submit([]() -> int { throw boom(); });
    auto never = ex.submit([token = std::make_shared<int>(1)] {});
    never.cancel();
    std::atomic<int> waiting{0};
    std::thread thread([&] {
        EXPECT_THROW((void)boom_by_thread.get(), boom);
        EXPECT_EQ(errno_thrown_by([&] { never.get(); }), ECANCELED);
        EXPECT_FALSE(by_thread.wait_for(1ms));
        ++waiting;
        EXPECT_EQ(*by_thread.get(), 5);
        EXPECT_FALSE(by_thread.valid());
    });
    std::thread other([&] {
        ma::executor here;
        run_task(here, [&] {
            EXPECT_FALSE(by_task.wait_for(1ms));
            EXPECT_EQ(errno_thrown_by([&] { ma::with_timeout(1ms, [&] { by_task.wait(); }); }),
                      ETIME);
            ++waiting;
            EXPECT_EQ(*by_task.get(), 5);
        });
    });
    while (waiting != 2) {
        ex.run_for(1ms);
    }
    go = true;
    ex.run_until_idle();
    thread.join();
    other.join();
    // At home, for a time.
    run_task(ex, [&] {
        auto slow = ex.submit([] { ma::this_task::sleep_for(2ms); });
        EXPECT_FALSE(slow.wait_for(1us));
        EXPECT_TRUE(slow.wait_for(1h));
        slow.get();
    });
}

TEST(Future, from_other_threads)
{
    std::atomic<bool> stop{false};
    std::atomic<ma::executor *> executor{nullptr};
    std::thread thread([&] {
        ma::executor ex;
        executor = &ex;
        while (!stop) {
            ex.run_for(1ms);
        }
    });
    while (executor.load() == nullptr) {
    }
    auto &ex = *executor.load();
    long sum = 0;
    int ends = 0;
    for (int i = 0; i < 2000; ++i) {
        auto f = ex.submit([i] { return i; });
        if (i % 3 == 0) {
            (void)f.wait_for(std::chrono::microseconds(i % 40));
            continue; // Its end cancels and waits.
        }
        sum += f.get();
    }
    {
        std::atomic<bool> begun{false};
        auto f = ex.submit([&ends, &begun] {
            counts_end const end(ends);
            begun = true;
            sleep_long();
        });
        while (!begun) { // Else it may be cancelled before, and never begin.
            std::this_thread::yield();
        }
        EXPECT_FALSE(f.wait_for(2ms));
        f.cancel();
    }
    EXPECT_EQ(ends, 1);
    EXPECT_GT(sum, 0);
    stop = true;
    thread.join();
}

namespace {

// A task that the library takes again begins with nothing of the body before: what it was called, and a permit
// that nobody took.
struct leaves_past {
    std::vector<monad_async_task> *tasks;
    void operator()() const
    {
        auto *const self = ma::this_task::current();
        tasks->push_back(self);
        EXPECT_EQ(monad_async_task_name(self, nullptr, 0), 0u) << tasks->size();
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, 100'000, 0).error, 0);
        EXPECT_EQ(monad_async_task_park(self).error, ETIME) << tasks->size();
        EXPECT_EQ(monad_async_scope_leave(self, &scope).error, 0);
        EXPECT_EQ(monad_async_task_set_name(self, "before").error, 0);
        EXPECT_EQ(monad_async_task_unpark(self).error, 0);
    }
};

// Each waited for the other for ever: as two that join each other, which were refused.
TEST(Group, a_child_that_joins_who_waits_for_it_is_refused)
{
    ma::executor ex{ma::executor_options::compute_only()};
    std::vector<int> refused;
    auto const join = [&](auto call) {
        refused.push_back(errno_thrown_by([&] { ma::with_timeout(1s, call); }));
    };
    ma::task parent;
    ma::task joins_parent;
    parent.attach(ex, [&] {
        ma::task_group group;
        group.spawn([&] { join([&] { parent.join(); }); });
        group.spawn([&] { ma::when_all([&] { join([&] { parent.join(); }); }); });
        group.spawn([&] { join([&] { joins_parent.join(); }); });
        group.wait();
    });
    joins_parent.attach(ex, [&] { parent.join(); });
    ex.run_until_idle();
    EXPECT_EQ(refused, (std::vector<int>{EDEADLK, EDEADLK, EDEADLK}));
    ma::future<void> f;
    f = ex.submit([&] { ma::when_all([&] { join([&] { f.get(); }); }); });
    ex.run_until_idle();
    EXPECT_TRUE(f.ready());
    EXPECT_EQ(refused.back(), EDEADLK);
    // No ring: who waits for others.
    parent.attach(ex, [] { ma::when_all([] { ma::this_task::sleep_for(1ms); }); });
    run_task(ex, [&] { ma::when_all([&] { parent.join(); }); });
    EXPECT_EQ(refused.size(), 4u);
}

// The same, where the join came first.
TEST(Group, who_waits_for_a_child_that_joins_it_is_refused)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::task parent, joins_parent;
    std::vector<int> refused, joined;
    auto const joins = [&](ma::task &other) {
        joined.push_back(errno_thrown_by([&] { ma::with_timeout(1h, [&] { other.join(); }); }));
    };
    auto const waits = [&](auto child) {
        parent.attach(ex, [&, child] {
            ma::task_group group;
            group.spawn(child);
            for (int i = 0; i != 8; ++i) {
                ma::this_task::yield(); // Until all join.
            }
            auto const wait = [&] { ma::with_timeout(1s, [&] { group.wait(); }); };
            refused.push_back(errno_thrown_by(wait));
        });
    };
    waits([&] { joins(parent); });
    ex.run_until_idle();
    waits([&] { ma::when_all([] {}, [&] { joins(parent); }); });
    ex.run_until_idle();
    waits([&] { joins(joins_parent); });
    joins_parent.attach(ex, [&] { parent.join(); });
    ex.run_until_idle();
    EXPECT_EQ(refused, (std::vector<int>{EDEADLK, EDEADLK, EDEADLK}));
    EXPECT_EQ(joined, (std::vector<int>{ECANCELED, ECANCELED, ECANCELED}));
    // No ring: who joins the parent is none of its children; or one that goes on is between them.
    waits([] { ma::this_task::sleep_for(1ms); });
    joins_parent.attach(ex, [&] { parent.join(); });
    ex.run_until_idle();
    EXPECT_EQ(refused.back(), 0);
    waits([&] {
        auto *const child = monad_async_task_current();
        ma::when_all([&, child] {
            while (!parent.native_handle()->is_suspended_awaiting) {
                ma::this_task::yield();
            }
            EXPECT_EQ(monad_async_task_cancel(child->current_executor, child).error, 0);
            joins(parent);
        });
    });
    ex.run_until_idle();
    EXPECT_EQ(joined.back(), ECANCELED);
}

} // namespace

TEST(Background, a_task_begins_without_the_name_and_the_permit_of_the_one_before)
{
    ma::executor ex;
    std::vector<monad_async_task> tasks;
    leaves_past const body{&tasks};
    for (int i = 0; i < 2; ++i) {
        ex.spawn(body);
        ex.run_until_idle();
        auto f = ex.submit(body);
        ex.run_until_idle();
        f.get();
        run_task(ex, [&] {
            ma::task_group g;
            g.spawn(body);
            g.wait();
            std::thread([&] { ex.ref().spawn(body); }).join();
            ma::when_all(body, body);
        });
    }
    // By another thread while it runs, and not by the task itself.
    ex.spawn([&] {
        auto *const self = ma::this_task::current();
        std::thread([&] { EXPECT_EQ(monad_async_task_unpark(self).error, 0); }).join();
    });
    ex.run_until_idle();
    ex.spawn(body);
    ex.run_until_idle();
    ASSERT_EQ(tasks.size(), 13u);
    std::sort(tasks.begin(), tasks.end());
    EXPECT_LT(std::unique(tasks.begin(), tasks.end()) - tasks.begin(), 8)
        << "not what is to be tested";
}

class GroupUnobserved : public testing::Test {
protected:
    GroupUnobserved()
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
    static auto throws(char const *what, int yields = 0)
    {
        return [what, yields] {
            for (int i = 0; i != yields; ++i) {
                ma::this_task::yield();
            }
            throw std::runtime_error(what);
        };
    }
    // Cancelled, it throws another one than that.
    static void stubborn()
    {
        try {
            sleep_long();
        } catch (ma::cancelled_error const &) {
            throw std::runtime_error("stubborn");
        }
    }
    std::string told;
    ma::executor_options options;
};

TEST_F(GroupUnobserved, is_told_of_all_but_the_first)
{
    ma::executor ex{options};
    run_task(ex, [&] {
        ma::task_group g(MONAD_ASYNC_GROUP_INDEPENDENT);
        g.spawn(throws("first"));
        g.spawn(throws("second"));
        g.spawn(throws("third"));
        ma::this_task::yield();
        EXPECT_EQ(told, "second third ");
        EXPECT_THROW(g.wait(), std::runtime_error);
    });
    EXPECT_EQ(told, "second third ");
}

TEST_F(GroupUnobserved, is_told_of_the_first_where_nobody_waited)
{
    ma::executor ex{options};
    run_task(ex, [&] {
        {
            ma::task_group g(MONAD_ASYNC_GROUP_INDEPENDENT);
            g.spawn(throws("first"));
            g.spawn(sleep_long);
            ma::this_task::yield();
            EXPECT_EQ(told, "");
        }
        EXPECT_EQ(told, "first ");
        {
            // A cancel is a way to leave.
            ma::task_group g;
            g.spawn(sleep_long);
            ma::this_task::yield();
        }
        std::error_code ec;
        {
            ma::task_group g;
            g.spawn(throws("waited for"));
            g.wait(ec);
        }
        EXPECT_TRUE(ec);
    });
    EXPECT_EQ(told, "first ");
}

TEST_F(GroupUnobserved, is_told_of_those_that_a_cancel_made_throw)
{
    ma::executor ex{options};
    run_task(ex, [&] {
        ma::task_group g;
        g.spawn(stubborn);
        g.spawn(sleep_long);
        g.spawn(throws("first", 1));
        EXPECT_THROW(g.wait(), std::runtime_error);
    });
    EXPECT_EQ(told, "stubborn ");
}

TEST_F(GroupUnobserved, is_told_of_what_when_all_and_when_any_do_not_throw)
{
    ma::executor ex{options};
    run_task(ex, [&] {
        EXPECT_THROW(ma::when_all(stubborn, throws("first", 1), sleep_long), std::runtime_error);
        EXPECT_EQ(std::exchange(told, ""), "stubborn ");
        EXPECT_THROW(ma::when_any(stubborn, throws("first", 1), sleep_long), std::runtime_error);
        EXPECT_EQ(std::exchange(told, ""), "stubborn ");
        auto const r = ma::when_any(stubborn, stubborn, sleep_long, [] { return 1; });
        EXPECT_EQ(r.index(), 3u);
        EXPECT_EQ(std::exchange(told, ""), "stubborn stubborn ");
        // Interrupted, it throws that.
        EXPECT_THROW(ma::with_timeout(1ms, [] { ma::when_all(stubborn, sleep_long); }),
                     ma::timeout_error);
        EXPECT_EQ(std::exchange(told, ""), "stubborn ");
    });
}

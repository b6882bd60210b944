// What becomes of a result, of what a callable has captured, and of the memory of both, whichever way a
// future, a group, when_all or when_any ends. Each way is gone many times: nothing is left alive, and
// from the second time on nothing is allocated that stays.

#include "support.hpp"

#include <monad/async/executor_ref.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/metrics.h>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include <malloc.h>

namespace {

int alive = 0;

// `Bytes` say whether a result lies in the task, or in a block of its own.
template <std::size_t Bytes> struct tracked {
    int *count = &alive;
    unsigned char room[Bytes] = {};
    tracked() { ++*count; }
    tracked(tracked const &other) : count(other.count) { ++*count; }
    tracked(tracked &&other) noexcept : count(other.count) { ++*count; }
    tracked &operator=(tracked const &) = delete;
    ~tracked() { --*count; }
};
using small = tracked<8>;
using large = tracked<600>;

struct boom : std::runtime_error {
    boom() : std::runtime_error("boom") {}
};

void sleep_long()
{
    ma::this_task::sleep_for(1h);
}

// Freed memory is overwritten: who uses it still is seen, in a build without sanitizers too.
struct overwrites_freed {
    overwrites_freed() { mallopt(M_PERTURB, 0xa5); }
    ~overwrites_freed() { mallopt(M_PERTURB, 0); }
};

// Where `way` leaves nothing behind.
template <class F> void leaves_nothing(char const *name, F &&way)
{
    SCOPED_TRACE(name);
    overwrites_freed const freed;
    auto const often = [&] {
        for (int i = 0; i < 20; ++i) {
            way();
        }
    };
    often();
    EXPECT_EQ(alive, 0);
    auto const before = mallinfo2();
    often();
    often();
    EXPECT_EQ(alive, 0);
    // 40 times, so a block that is left each time is seen; what a library keeps is not.
    EXPECT_LT(mallinfo2().uordblks, before.uordblks + 40 * 64);
    alive = 0;
}

template <class T> class Result : public testing::Test {};
using Kinds = testing::Types<small, large>;
TYPED_TEST_SUITE(Result, Kinds, );

TYPED_TEST(Result, of_a_future)
{
    ma::executor ex{ma::executor_options::compute_only()};
    TypeParam const captured;
    auto const gives = [captured] { return TypeParam(captured); };
    auto const sleeps = [captured] {
        TypeParam result;
        sleep_long();
        return result;
    };
    auto const throws = [captured]() -> TypeParam { throw boom(); };
    int const own = std::exchange(alive, 0);
    leaves_nothing("got", [&] {
        auto f = ex.submit(gives);
        ex.run_until_idle();
        (void)f.get();
    });
    leaves_nothing("not asked for", [&] {
        auto const f = ex.submit(gives);
        ex.run_until_idle();
        EXPECT_TRUE(f.ready());
    });
    leaves_nothing("got by a task", [&] { run_task(ex, [&] { (void)ex.submit(gives).get(); }); });
    leaves_nothing("of one that has not begun", [&] { auto const f = ex.submit(gives); });
    leaves_nothing("of one that has begun", [&] {
        auto const f = ex.submit(sleeps);
        ex.poll();
    });
    leaves_nothing("of one that has begun, in a task", [&] {
        run_task(ex, [&] {
            auto const f = ex.submit(sleeps);
            ma::this_task::yield();
        });
    });
    leaves_nothing("another takes its place", [&] {
        auto f = ex.submit(sleeps);
        ex.poll();
        f = ex.submit(gives);
        ex.run_until_idle();
        f = ex.submit(throws);
        f = ma::future<TypeParam>();
    });
    leaves_nothing("thrown", [&] {
        auto f = ex.submit(throws);
        ex.run_until_idle();
        EXPECT_THROW((void)f.get(), boom);
    });
    leaves_nothing("thrown, and not asked for", [&] {
        auto const f = ex.submit(throws);
        ex.run_until_idle();
    });
    leaves_nothing("and then a background task has its place", [&] {
        auto f = ex.submit(gives);
        ex.run_until_idle();
        (void)f.get();
        ex.spawn([captured] {});
        ex.run_until_idle();
    });
    leaves_nothing("cancelled before it began", [&] {
        auto f = ex.submit(gives);
        f.cancel();
        ex.run_until_idle();
        EXPECT_THROW((void)f.get(), ma::cancelled_error);
    });
    alive = own;
}

TYPED_TEST(Result, of_a_future_that_outlives_its_executor)
{
    leaves_nothing("done, got", [] {
        ma::future<TypeParam> kept;
        {
            ma::executor ex{ma::executor_options::compute_only()};
            kept = ex.submit([] { return TypeParam(); });
            ex.run_until_idle();
        }
        (void)kept.get();
    });
    leaves_nothing("while a task of another one waits for it", [] {
        ma::executor other{ma::executor_options::compute_only()};
        std::optional<ma::executor> ex(std::in_place, ma::executor_options::compute_only());
        auto awaited = ex->submit([] { return TypeParam(); });
        other.spawn([&] { (void)awaited.get(); });
        other.poll();
        ex->run_until_idle();
        ex.reset();
        other.run_until_idle();
    });
    leaves_nothing("done, not asked for", [] {
        ma::future<TypeParam> kept;
        ma::executor ex{ma::executor_options::compute_only()};
        kept = ex.submit([] { return TypeParam(); });
        ex.run_until_idle();
    });
    leaves_nothing("ended with its executor", [] {
        ma::future<TypeParam> kept;
        {
            ma::executor ex{ma::executor_options::compute_only()};
            kept = ex.submit([] {
                TypeParam result;
                sleep_long();
                return result;
            });
            ex.poll();
        }
        EXPECT_TRUE(kept.ready());
        EXPECT_THROW((void)kept.get(), ma::cancelled_error);
    });
    ma::executor_ref to;
    {
        ma::executor ex{ma::executor_options::compute_only()};
        to = ex.ref();
    }
    leaves_nothing("refused, as the executor is gone", [&] {
        EXPECT_NE(errno_thrown_by([&] { (void)to.submit([t = TypeParam()] { return t; }); }), 0);
    });
}

// The task that waits in a destructor is cancelled meanwhile: it waits all the same.
TEST(Result, its_end_is_waited_for_by_a_task_that_is_cancelled)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const takes_time = [](bool &over) {
        return [&over] {
            ma::shield const until_it_returns;
            ma::this_task::sleep_for(3ms);
            over = true;
        };
    };
    auto const waits = [&](auto &&body) {
        ma::task waiter;
        bool over = false, over_at_end = false;
        waiter.attach(ex, [&] {
            body(over);
            over_at_end = over;
        });
        ex.poll();
        ex.poll();
        EXPECT_FALSE(over || over_at_end);
        waiter.cancel();
        ex.run_until_idle();
        EXPECT_TRUE(over_at_end);
        (void)waiter.wait();
    };
    waits([&](bool &over) {
        auto const f = ex.submit(takes_time(over));
        ma::this_task::yield();
    });
    waits([&](bool &over) {
        ma::task_group g;
        g.spawn(takes_time(over));
        ma::this_task::yield();
    });
    // Of another executor of the thread: by the event of the future.
    ma::executor other{ma::executor_options::compute_only()};
    bool over = false, over_at_end = false;
    ma::task waiter;
    waiter.attach(ex, [&] {
        {
            auto const f = other.submit([&over] {
                ma::shield const until_it_returns;
                ma::this_task::sleep_for(3ms);
                over = true;
            });
            ma::this_task::yield();
        }
        over_at_end = over;
    });
    ex.poll();
    other.poll();
    ex.poll();
    waiter.cancel();
    while (ex.has_work() || other.has_work()) {
        ex.poll();
        other.poll();
    }
    EXPECT_TRUE(over_at_end);
}

TYPED_TEST(Result, of_the_children_of_a_group)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const in_a_task = [&](auto &&body) { return [&ex, body] { run_task(ex, body); }; };
    auto const sleeps = [] {
        TypeParam const guard;
        sleep_long();
    };
    leaves_nothing("waited for", in_a_task([] {
                       ma::task_group g;
                       for (int i = 0; i < 3; ++i) {
                           g.spawn([t = TypeParam()] { return t; });
                       }
                       g.wait();
                   }));
    leaves_nothing("ended", in_a_task([sleeps] {
                       ma::task_group g;
                       g.spawn(sleeps);
                       ma::this_task::yield();
                       g.spawn([t = TypeParam()] {}); // Never begins.
                   }));
    leaves_nothing("one throws", in_a_task([sleeps] {
                       ma::task_group g;
                       g.spawn(sleeps);
                       g.spawn([t = TypeParam()] { throw boom(); });
                       EXPECT_THROW(g.wait(), boom);
                       // As new: what was thrown is told once.
                       g.spawn([t = TypeParam()] {});
                       g.wait();
                   }));
    leaves_nothing("refused", in_a_task([] {
                       ma::task_group g;
                       g.spawn([] { sleep_long(); });
                       g.cancel();
                       EXPECT_THROW(g.spawn([t = TypeParam()] {}), ma::cancelled_error);
                   }));
    leaves_nothing("the wait is interrupted after one has thrown", in_a_task([] {
                       ma::task_group g;
                       bool over = false;
                       g.spawn([&over, t = TypeParam()] {
                           ma::shield const until_it_returns;
                           ma::this_task::sleep_for(2ms);
                           over = true;
                       });
                       g.spawn([] { throw boom(); });
                       // Not the exception, while a child is left that may use what the catch destroys.
                       EXPECT_THROW(ma::with_timeout(200us, [&] { g.wait(); }), ma::timeout_error);
                       EXPECT_FALSE(over);
                       EXPECT_THROW(g.wait(), boom);
                       EXPECT_TRUE(over);
                   }));
}

TYPED_TEST(Result, of_when_all_and_when_any)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const in_a_task = [&](auto &&body) { return [&ex, body] { run_task(ex, body); }; };
    auto const gives = [t = TypeParam()] { return TypeParam(t); };
    auto const throws = [t = TypeParam()]() -> TypeParam {
        TypeParam const guard;
        throw boom();
    };
    auto const sleeps = [t = TypeParam()] {
        TypeParam result;
        sleep_long();
        return result;
    };
    int const own = std::exchange(alive, 0);
    leaves_nothing("all", in_a_task([&] { (void)ma::when_all(gives, gives, gives); }));
    leaves_nothing("all, one throws", in_a_task([&] {
                       EXPECT_THROW((void)ma::when_all(sleeps, throws, gives), boom);
                   }));
    leaves_nothing("all, interrupted", in_a_task([&] {
                       EXPECT_THROW(
                           ma::with_timeout(200us, [&] { (void)ma::when_all(sleeps, gives); }),
                           ma::timeout_error);
                   }));
    leaves_nothing("all, cancelled before they begin", in_a_task([&] {
                       EXPECT_THROW(
                           ma::with_timeout(0ns, [&] { (void)ma::when_all(gives, gives); }),
                           ma::timeout_error);
                   }));
    leaves_nothing("any", in_a_task([&] { (void)ma::when_any(sleeps, gives, sleeps); }));
    leaves_nothing("any, that throws",
                   in_a_task([&] { EXPECT_THROW((void)ma::when_any(sleeps, throws), boom); }));
    // The first counts, whatever the others do on their way out.
    leaves_nothing("any, others end later", in_a_task([&] {
                       auto const late = [&] {
                           ma::shield const until_it_returns;
                           ma::this_task::sleep_for(100us);
                           return 2;
                       };
                       auto const fails = [&]() -> int {
                           ma::shield const until_it_throws;
                           ma::this_task::sleep_for(100us);
                           throw boom();
                       };
                       EXPECT_EQ(std::get<1>(ma::when_any(late, [] { return 1; })), 1);
                       EXPECT_EQ(std::get<1>(ma::when_any(fails, [] { return 1; })), 1);
                       EXPECT_THROW((void)ma::when_any(late, []() -> int { throw boom(); }), boom);
                       EXPECT_THROW((void)ma::when_any(
                                        [] {
                                            ma::shield const s;
                                            ma::this_task::sleep_for(100us);
                                            throw std::logic_error("");
                                        },
                                        [] { throw boom(); }),
                                    boom);
                   }));
    alive = own;
}

// Interrupted after the first has ended and before the others have: what comes next is told.
TEST(Result, of_when_any_outlives_an_interruption)
{
    ma::executor ex{ma::executor_options::compute_only()};
    run_task(ex, [] {
        bool first = false, over = false;
        ma::scope s;
        auto const won = ma::when_any(
            [&] {
                ma::this_task::yield();
                first = true;
                return 1;
            },
            [&] {
                ma::shield const until_it_returns;
                while (!first) {
                    ma::this_task::yield();
                }
                s.cancel();
                ma::this_task::sleep_for(1ms);
                over = true;
                return 2;
            });
        EXPECT_TRUE(over);
        EXPECT_EQ(std::get<0>(won), 1);
        EXPECT_THROW(ma::this_task::yield(), ma::cancelled_error);
    });
}

// By tasks that lie with an executor which has no object, for as long as they are used.
TEST(Result, of_children_on_an_executor_of_the_c_api)
{
    leaves_nothing("an executor, its group, its futures", [] {
        monad_async_executor ex = nullptr;
        monad_async_executor_attr attr = {};
        ASSERT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
        monad_async_task task = nullptr;
        ASSERT_EQ(monad_async_task_create(&task, nullptr).error, 0);
        task->user_code = [](monad_async_task) {
            (void)ma::when_all([] { return large(); }, [] { return small(); });
            ma::task_group g;
            g.spawn([t = small()] {});
            g.spawn([t = large()] { sleep_long(); });
            return monad_async_make_success(0);
        };
        (void)monad_async_task_attach(ex, task);
        while (!monad_async_task_has_exited(task)) {
            (void)monad_async_executor_run(ex, SIZE_MAX, nullptr);
        }
        EXPECT_EQ(monad_async_task_destroy(task).error, 0);
        EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
    });
}

std::uint64_t stacks_in_use()
{
    ma::executor ex{ma::executor_options::compute_only()};
    monad_async_metrics m = {};
    EXPECT_EQ(monad_async_metrics_start(ex.native_handle()).error, 0);
    EXPECT_EQ(monad_async_executor_metrics(ex.native_handle(), &m).error, 0);
    return m.stacks_in_use;
}

// Plain callables run in tasks of the workers, which go with these. Each has its own priority, whatever
// the one before has done to the task.
TEST(Result, of_a_pool_are_the_tasks_of_its_workers)
{
    auto const before = stacks_in_use();
    for (int i = 0; i < 3; ++i) {
        ma::thread_pool pool(1);
        std::atomic<int> wrong{0};
        for (auto const level : {ma::priority::high, ma::priority::low, ma::priority::normal}) {
            pool.spawn(
                [&wrong, level] {
                    auto *const self = ma::this_task::current();
                    wrong += self->priority.cpu != static_cast<monad_async_priority>(level);
                    wrong += self->priority.io != monad_async_priority_normal;
                    (void)monad_async_task_set_priorities(self, monad_async_priority_low,
                                                          monad_async_priority_high);
                },
                level);
            pool.wait();
        }
        EXPECT_EQ(wrong, 0);
    }
    EXPECT_EQ(stacks_in_use(), before);
}

} // namespace

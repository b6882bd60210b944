// What callables and elements a program may hand over: their namespaces, operators, results and moves.

#include "support.hpp"

#include <monad/async/blocking.hpp>
#include <monad/async/channel.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/metrics.h>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>
#include <monad/async/task_local.hpp>

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

// A program's namespace whose functions take anything: argument-dependent lookup finds them wherever
// the headers call one of theirs by its bare name with something of this namespace.
namespace greedy {

#define MONAD_ASYNC_TEST_TAKES_ANYTHING(name)                                                      \
    template <class... Arguments> int name(Arguments &&...)                                        \
    {                                                                                              \
        static_assert(sizeof...(Arguments) == 99, "found in a namespace of the program: " #name);  \
        return 0;                                                                                  \
    }                                                                                              \
    template <class A, class B> int name(A &&, B &&)                                               \
    {                                                                                              \
        static_assert(sizeof(A) == 0, "found in a namespace of the program: " #name);              \
        return 0;                                                                                  \
    }

MONAD_ASYNC_TEST_TAKES_ANYTHING(all_of)
MONAD_ASYNC_TEST_TAKES_ANYTHING(any_of)
MONAD_ASYNC_TEST_TAKES_ANYTHING(await)
MONAD_ASYNC_TEST_TAKES_ANYTHING(call)
MONAD_ASYNC_TEST_TAKES_ANYTHING(call_child)
MONAD_ASYNC_TEST_TAKES_ANYTHING(check)
MONAD_ASYNC_TEST_TAKES_ANYTHING(exchange)
MONAD_ASYNC_TEST_TAKES_ANYTHING(fail)
MONAD_ASYNC_TEST_TAKES_ANYTHING(forward)
MONAD_ASYNC_TEST_TAKES_ANYTHING(guarded)
MONAD_ASYNC_TEST_TAKES_ANYTHING(interruptible)
MONAD_ASYNC_TEST_TAKES_ANYTHING(invoke)
MONAD_ASYNC_TEST_TAKES_ANYTHING(launch)
MONAD_ASYNC_TEST_TAKES_ANYTHING(launch_spawned)
MONAD_ASYNC_TEST_TAKES_ANYTHING(move)
MONAD_ASYNC_TEST_TAKES_ANYTHING(post)
MONAD_ASYNC_TEST_TAKES_ANYTHING(put_body)
MONAD_ASYNC_TEST_TAKES_ANYTHING(record_of)
MONAD_ASYNC_TEST_TAKES_ANYTHING(relocate)
MONAD_ASYNC_TEST_TAKES_ANYTHING(report)
MONAD_ASYNC_TEST_TAKES_ANYTHING(run_any)
MONAD_ASYNC_TEST_TAKES_ANYTHING(select_of)
MONAD_ASYNC_TEST_TAKES_ANYTHING(share_value)
MONAD_ASYNC_TEST_TAKES_ANYTHING(spawn_background)
MONAD_ASYNC_TEST_TAKES_ANYTHING(start)
MONAD_ASYNC_TEST_TAKES_ANYTHING(submit_by)
MONAD_ASYNC_TEST_TAKES_ANYTHING(submit_to)
MONAD_ASYNC_TEST_TAKES_ANYTHING(suspending)
MONAD_ASYNC_TEST_TAKES_ANYTHING(swap)
MONAD_ASYNC_TEST_TAKES_ANYTHING(waiting)

// Neither its address by `&`, nor a comma behind it.
struct value {
    int number = 0;
    value() = default;
    explicit value(int n) : number(n) {}
    value(value const &other) noexcept : number(other.number) {}
    value &operator=(value const &) = default;
    ~value() {} // NOLINT: so that it is not trivially copyable
    void operator&() const = delete;
    template <class Other> void operator,(Other &&) const = delete;
};

struct gives_value {
    value operator()() const { return value(7); }
    void operator&() const = delete;
    template <class Other> void operator,(Other &&) const = delete;
};

struct gives_number {
    int operator()() const { return 7; }
    void operator&() const = delete;
    template <class Other> void operator,(Other &&) const = delete;
};

struct takes_value {
    int *sum;
    void operator()(value const &v) const { __atomic_fetch_add(sum, v.number, __ATOMIC_RELAXED); }
    void operator()(std::optional<value> v) const { *sum += v->number; }
    void operator()(bool sent) const { *sum += sent; }
    void operator()() const { *sum += 1000; }
    void operator&() const = delete;
    template <class Other> void operator,(Other &&) const = delete;
};

ma::task_local<value> local; // NOLINT: it holds no value

} // namespace greedy

TEST(Callable, of_a_namespace_that_takes_anything)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::thread_pool pool(1);
    EXPECT_EQ(run_task(ex, greedy::gives_number()), 7);
    greedy::gives_number number;
    EXPECT_EQ(run_task(ex,
                       [&] {
                           ma::task t;
                           std::error_code ec;
                           t.attach(ex.ref(), number, ec);
                           int sum = ec ? 1 : static_cast<int>(t.join());
                           t.attach(ex.native_handle(), number);
                           sum += static_cast<int>(t.join());
                           ex.spawn(number);
                           ex.spawn(greedy::gives_value());
                           pool.spawn(number);
                           pool.spawn(greedy::gives_value());
                           ma::task_group group;
                           group.spawn(number);
                           group.spawn(greedy::gives_value());
                           group.wait();
                           sum += ex.submit(greedy::gives_value()).get().number;
                           sum += pool.submit(greedy::gives_value()).get().number;
                           sum += std::get<1>(ma::when_all(number, greedy::gives_value())).number;
                           sum += std::get<0>(ma::when_any(greedy::gives_value())).number;
                           sum += ma::offload(greedy::gives_value()).number;
                           sum += ma::with_timeout(1h, greedy::gives_value()).number;
                           std::array<greedy::value, 3> three{greedy::value(1), greedy::value(2),
                                                              greedy::value(4)};
                           pool.for_each(three, greedy::takes_value{&sum});
                           greedy::local->number = 7;
                           sum += greedy::local.get().number + greedy::local.emplace(7).number;
                           return sum;
                       }),
              11 * 7);
}

TEST(Callable, elements_of_a_namespace_that_takes_anything)
{
    ma::executor ex{ma::executor_options::compute_only()};
    EXPECT_EQ(run_task(ex,
                       [&] {
                           ma::channel<greedy::value> ch(3);
                           greedy::value v(1);
                           int sum = 0;
                           greedy::takes_value const takes{&sum};
                           ch.send(v);
                           ch.send(greedy::value(2));
                           EXPECT_TRUE(ch.try_send(greedy::value(4)));
                           EXPECT_FALSE(ch.try_send(v));
                           sum += ch.recv()->number + ch.try_recv()->number;
                           ma::select(ma::on_recv(ch, takes), ma::on_timeout(1h, takes));
                           ma::select(ma::on_send(ch, v, takes), ma::on_timeout(1h, takes));
                           ch.close();
                           for (auto at = ch.begin(); at != ch.end(); ++at) {
                               sum += at->number + (*at).number;
                           }
                           return sum;
                       }),
              1 + 2 + 4 + 1 + 2);
}

TEST(Callable, what_a_background_task_returns_is_dropped)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const text = std::make_shared<std::string>("of any type");
    auto const gives = [text] { return *text; };
    {
        ma::thread_pool pool(1);
        pool.spawn(gives);
        pool.spawn([text]() -> std::string & { return *text; });
    }
    ex.spawn(gives);
    ex.ref().spawn(gives);
    EXPECT_EQ(text.use_count(), 4);
    ex.run_until_idle();
    EXPECT_EQ(text.use_count(), 2);
}

// Its bytes may be copied, itself not.
TEST(Callable, that_is_moved_as_bytes_only)
{
    struct adds {
        int *sum;
        explicit adds(int *to) : sum(to) {}
        adds(adds const &) = delete;
        adds(adds &&) = default;
        void operator()() const { ++*sum; }
    };
    static_assert(std::is_trivially_copyable_v<adds> && !std::is_copy_constructible_v<adds>);
    int sum = 0;
    {
        ma::thread_pool pool(1);
        pool.spawn(adds(&sum));
        pool.submit(adds(&sum)).get();
    }
    EXPECT_EQ(sum, 2);
}

// The task that was taken for it is kept for the next: it was lost.
TEST(Callable, whose_copy_throws_costs_no_task)
{
    struct throws_when_copied {
        throws_when_copied() = default;
        throws_when_copied(throws_when_copied const &) { throw std::runtime_error("copied"); }
        std::string operator()() const { return {}; }
    };
    ma::executor ex;
    ASSERT_EQ(monad_async_metrics_start(ex.native_handle()).error, 0);
    auto const stacks = [&] {
        auto m = std::make_unique<monad_async_metrics>();
        EXPECT_EQ(monad_async_executor_metrics(ex.native_handle(), m.get()).error, 0);
        return m->stacks_in_use;
    };
    run_task(ex, [&] {
        ma::task_group group;
        throws_when_copied const body;
        EXPECT_THROW(group.spawn(body), std::runtime_error);
        EXPECT_THROW(ex.spawn(body), std::runtime_error);
        auto const before = stacks();
        for (int i = 0; i != 50; ++i) {
            EXPECT_THROW(group.spawn(body), std::runtime_error);
            EXPECT_THROW(ex.spawn(body), std::runtime_error);
            EXPECT_THROW((void)ex.submit(body), std::runtime_error);
        }
        EXPECT_EQ(stacks(), before);
    });
}

// What the first gave could not be moved: that is how it ended. It was taken for a result.
TEST(Callable, whose_result_throws_when_moved)
{
    struct throws_when_moved {
        bool once = false;
        explicit throws_when_moved(bool now) : once(now) {}
        throws_when_moved(throws_when_moved &&other) : once(other.once)
        {
            if (once) {
                throw std::runtime_error("moved");
            }
        }
    };
    ma::executor ex{ma::executor_options::compute_only()};
    bool other_was_cancelled = false;
    run_task(ex, [&] {
        auto const gives = [] { return throws_when_moved(true); };
        auto const waits = [&] {
            std::error_code ec;
            ma::this_task::sleep_for(1h, ec);
            other_was_cancelled = ec == ma::cancelled;
        };
        EXPECT_THROW(ma::when_any(waits, gives), std::runtime_error);
        EXPECT_TRUE(other_was_cancelled);
        EXPECT_THROW(ma::when_all(gives), std::runtime_error);
        EXPECT_THROW(ma::offload(gives), std::runtime_error);
        EXPECT_THROW(ex.submit(gives).get(), std::runtime_error);
    });
}

// Exceptions and suspension: each task has an exception state of its own.
#include "none_of_cpp.hpp"
#include "support.hpp"

#include <monad/async/blocking.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/pool.hpp>

#include <atomic>
#include <exception>
#include <future>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <cxxabi.h>

// Nothing leaves a body but through get(): what the executor calls cannot throw, by its type.
static_assert(
    std::is_nothrow_invocable_v<decltype(&ma::detail::trampoline<void (*)()>), monad_async_task>);

namespace {

template <class E> bool get_throws(ma::task const &t)
{
    try {
        (void)t.get();
    } catch (E const &) {
        return true;
    } catch (...) {
    }
    return false;
}

std::string current_text()
{
    if (!std::current_exception()) {
        return "";
    }
    try {
        std::rethrow_exception(std::current_exception());
    } catch (std::exception const &e) {
        return e.what();
    }
}

struct tracked {
    static inline int alive = 0;
    int id;
    explicit tracked(int i) : id(i) { ++alive; }
    tracked(tracked const &other) : id(other.id) { ++alive; }
    tracked &operator=(tracked const &) = delete;
    ~tracked() { --alive; }
};

// It was lost: `offload` and `when_any` gave a value that there was none of, and a background task
// ended as if nothing had been thrown, or the process by a null pointer.
TEST(Exception, what_is_none_of_cpp_is_told_of_as_an_error)
{
    std::atomic<int> told{0};
    ma::executor_options options;
    options.on_exception = [&told](std::exception_ptr const &what) {
        ASSERT_NE(what, nullptr);
        told += errno_thrown_by([&what] { std::rethrow_exception(what); }) == ENOTRECOVERABLE;
    };
    ma::executor ex{options};
    auto const gives_nothing = [] { throw_none_of_cpp(); };
    auto const gives_text = []() -> std::string { throw_none_of_cpp(); };
    auto const error_of = [](auto f) { EXPECT_EQ(errno_thrown_by(f), ENOTRECOVERABLE); };
    run_task(ex, [&] {
        error_of([&] { (void)ma::offload(gives_text); });
        error_of([&] { ma::offload(gives_nothing); });
        error_of([&] { (void)ma::when_any(gives_text, [] { ma::this_task::sleep_for(1h); }); });
        error_of([&] { (void)ma::when_all(gives_text, [] { ma::this_task::sleep_for(1h); }); });
        error_of([&] {
            ma::task_group group;
            group.spawn(gives_nothing);
            group.wait();
        });
        error_of([&] { (void)ex.submit(gives_text).get(); });
    });
    error_of([&] { run_task(ex, gives_nothing); });
    EXPECT_EQ(told, 0);
    ex.spawn(gives_nothing);
    ex.run_until_idle();
    EXPECT_EQ(told, 1);
    ma::thread_pool_options of_pool;
    of_pool.workers = 1;
    of_pool.executor.on_exception = options.on_exception;
    ma::thread_pool pool(of_pool);
    pool.spawn(gives_nothing);
    pool.spawn([text = std::string("no plain bytes"), gives_nothing] { gives_nothing(); });
    pool.wait();
    EXPECT_EQ(told, 3);
}

TEST(Exception, whatever_is_thrown_comes_out_of_get)
{
    ma::executor ex;
    ma::task t;
    auto const run = [&](auto body) {
        t.attach(ex, body);
        ex.run_until_idle();
    };
    run([] { throw std::runtime_error("text"); });
    EXPECT_TRUE(get_throws<std::runtime_error>(t));
    EXPECT_TRUE(get_throws<std::exception>(t)) << "by its base, and once more";
    run([] { throw 42; });
    EXPECT_TRUE(get_throws<int>(t));
    run([]() -> int { throw "c string"; });
    EXPECT_TRUE(get_throws<char const *>(t));
    run([] { throw std::bad_alloc(); });
    EXPECT_TRUE(get_throws<std::bad_alloc>(t));
    EXPECT_EQ(t.native_handle()->result.error, ENOMEM);
    run([] { throw std::system_error(ENOSPC, std::generic_category()); });
    EXPECT_TRUE(get_throws<std::system_error>(t));
    EXPECT_EQ(t.native_handle()->result.error, ENOSPC) << "a joiner in C sees the errno";
    run([] { throw std::system_error(std::make_error_code(std::future_errc::no_state)); });
    EXPECT_EQ(t.native_handle()->result.error, ENOTRECOVERABLE) << "not an errno";
    run([] { throw std::system_error(0, std::system_category()); });
    EXPECT_TRUE(get_throws<std::system_error>(t));
    EXPECT_EQ(t.native_handle()->result.error, ENOTRECOVERABLE) << "0 would be success";
    run([] {
        try {
            throw std::runtime_error("inner");
        } catch (...) {
            std::throw_with_nested(std::logic_error("outer"));
        }
    });
    try {
        (void)t.get();
        FAIL();
    } catch (std::logic_error const &e) {
        EXPECT_THROW(std::rethrow_if_nested(e), std::runtime_error);
    }
    run([] { return 5; });
    EXPECT_EQ(t.get(), 5) << "nothing is left of the runs before";
}

TEST(Exception, the_exception_object_lives_until_the_next_launch)
{
    ma::executor ex;
    {
        ma::task t;
        t.attach(ex, [] { throw tracked(7); });
        ex.run_until_idle();
        EXPECT_EQ(tracked::alive, 1);
        try {
            (void)t.get();
        } catch (tracked const &e) {
            EXPECT_EQ(e.id, 7);
        }
        EXPECT_EQ(tracked::alive, 1);
        t.attach(ex, [] {});
        EXPECT_EQ(tracked::alive, 0);
        ex.run_until_idle();
        t.attach(ex, [] { throw tracked(8); });
        ex.run_until_idle();
        EXPECT_EQ(tracked::alive, 1);
    }
    EXPECT_EQ(tracked::alive, 0) << "or until the task's end";
}

TEST(Exception, suspended_inside_catch_while_others_throw)
{
    // What is lost without a state per task: `throw;` after the suspension rethrows the other
    // task's exception, and the two catches end in the wrong order.
    ma::executor ex;
    constexpr int tasks_n = 50;
    std::vector<ma::task> tasks(tasks_n);
    int right = 0;
    for (int i = 0; i < tasks_n; ++i) {
        tasks[static_cast<std::size_t>(i)].attach(ex, [i, &right] {
            for (int round = 0; round < 10; ++round) {
                auto const text = std::to_string(i) + "." + std::to_string(round);
                EXPECT_EQ(current_text(), "");
                try {
                    try {
                        throw std::runtime_error(text);
                    } catch (std::runtime_error const &e) {
                        EXPECT_EQ(e.what(), text);
                        ma::this_task::yield();
                        EXPECT_EQ(current_text(), text);
                        EXPECT_EQ(std::uncaught_exceptions(), 0);
                        if (round % 3 == 0) {
                            ma::this_task::sleep_for(std::chrono::microseconds(i * 10));
                        }
                        throw;
                    }
                } catch (std::runtime_error const &e) {
                    EXPECT_EQ(e.what(), text);
                    ma::this_task::yield();
                    EXPECT_EQ(current_text(), text);
                    ++right;
                }
                EXPECT_EQ(current_text(), "");
            }
        });
    }
    ex.run_until_idle();
    for (auto const &t : tasks) {
        EXPECT_EQ(t.get(), 0);
    }
    EXPECT_EQ(right, tasks_n * 10);
}

TEST(Exception, suspended_at_every_depth_of_nested_catches)
{
    ma::executor ex;
    struct nest {
        static void run(int depth, int id)
        {
            if (depth == 0) {
                return;
            }
            auto const text = std::to_string(id) + ":" + std::to_string(depth);
            try {
                throw std::runtime_error(text);
            } catch (std::runtime_error const &) {
                ma::this_task::yield();
                EXPECT_EQ(current_text(), text);
                run(depth - 1, id);
                EXPECT_EQ(current_text(), text);
                ma::this_task::yield();
                EXPECT_EQ(current_text(), text);
            }
        }
    };
    std::vector<ma::task> tasks(8);
    for (int i = 0; i < 8; ++i) {
        tasks[static_cast<std::size_t>(i)].attach(ex, [i] { nest::run(5 + i, i); });
    }
    ex.run_until_idle();
    for (auto const &t : tasks) {
        EXPECT_EQ(t.get(), 0);
    }
}

TEST(Exception, suspended_in_a_destructor_during_unwinding)
{
    ma::executor ex;
    struct suspends {
        std::string &order;
        char c;
        ~suspends()
        {
            EXPECT_EQ(std::uncaught_exceptions(), 1);
            ma::this_task::yield();
            EXPECT_EQ(std::uncaught_exceptions(), 1);
            order += c;
        }
    };
    std::string order;
    ma::task a, b, calm;
    for (auto *t : {&a, &b}) {
        t->attach(ex, [&order, c = t == &a ? 'a' : 'b'] {
            suspends const s{order, c};
            throw std::runtime_error(std::string(1, c));
        });
    }
    calm.attach(ex, [&] {
        for (int i = 0; i < 4; ++i) {
            EXPECT_EQ(std::uncaught_exceptions(), 0);
            EXPECT_EQ(std::current_exception(), nullptr);
            ma::this_task::yield();
        }
    });
    ex.run_until_idle();
    EXPECT_EQ(order, "ab");
    EXPECT_THROW((void)a.get(), std::runtime_error);
    EXPECT_THROW((void)b.get(), std::runtime_error);
    EXPECT_EQ(calm.get(), 0);
}

TEST(Exception, the_callers_state_is_its_own)
{
    // run() inside a catch: the tasks see none of it, and it is there afterwards.
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] {
        EXPECT_EQ(std::current_exception(), nullptr);
        try {
            throw 1;
        } catch (int) {
            ma::this_task::yield();
            EXPECT_NE(std::current_exception(), nullptr);
        }
    });
    try {
        throw std::runtime_error("the caller's");
    } catch (...) {
        ex.run(1);
        EXPECT_EQ(current_text(), "the caller's");
        ex.run_until_idle();
        EXPECT_EQ(current_text(), "the caller's");
        try {
            throw;
        } catch (std::runtime_error const &e) {
            EXPECT_STREQ(e.what(), "the caller's");
        }
    }
    EXPECT_EQ(std::current_exception(), nullptr);
    EXPECT_EQ(t.get(), 0);
}

TEST(Exception, what_a_task_leaves_behind_is_nobodys)
{
    // As if it had jumped out of a destructor during unwinding, with longjmp: the layout is the
    // ABI's.
    struct globals {
        void *caught;
        unsigned uncaught;
    };
    ma::executor ex;
    ma::task jumps, next;
    jumps.attach(ex, [] { reinterpret_cast<globals *>(abi::__cxa_get_globals())->uncaught = 1; });
    next.attach(ex, [] { return std::uncaught_exceptions(); });
    ex.run();
    EXPECT_EQ(std::uncaught_exceptions(), 0);
    EXPECT_EQ(next.get(), 0);
}

TEST(Exception, a_cancelled_launch_after_a_throw_shows_no_old_exception)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { throw std::runtime_error("old"); });
    ex.run_until_idle();
    t.attach(ex, [] {});
    t.cancel();
    EXPECT_EQ(errno_thrown_by([&] { (void)t.get(); }), ECANCELED);
}

TEST(Exception, ten_thousand_tasks_throw_suspend_and_resume)
{
    ma::executor_options options;
    options.io_uring_entries = 64;
    ma::executor ex{options};
    constexpr std::size_t tasks_n = 10'000;
    std::vector<ma::task> tasks;
    tasks.reserve(tasks_n);
    for (std::size_t i = 0; i < tasks_n; ++i) {
        tasks.emplace_back(ma::task_options{32 * 1024});
        tasks.back().attach(ex, [i] {
            try {
                throw tracked(static_cast<int>(i));
            } catch (tracked const &e) {
                ma::this_task::yield();
                if (e.id % 7 == 0) {
                    ma::this_task::sleep_for(std::chrono::microseconds(e.id));
                }
                if (e.id % 5 == 0) {
                    io_uring_sqe nop = {};
                    nop.opcode = IORING_OP_NOP;
                    (void)ma::this_task::io(nop);
                }
                throw;
            }
        });
    }
    ex.run_until_idle();
    for (std::size_t i = 0; i < tasks_n; ++i) {
        try {
            (void)tasks[i].get();
            FAIL() << i;
        } catch (tracked const &e) {
            EXPECT_EQ(e.id, static_cast<int>(i));
        }
    }
    tasks.clear();
    EXPECT_EQ(tracked::alive, 0);
}

} // namespace

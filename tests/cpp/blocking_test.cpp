// offload and resolve: results, exceptions, interruptions; forks, exits and ends of executors while
// helpers are busy.
#include "support.hpp"

#include <monad/async/blocking.hpp>
#include <monad/async/connect.hpp>
#include <monad/async/future.hpp>
#include <monad/async/listener.hpp>
#include <monad/async/scope.hpp>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include <dlfcn.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
    #define MONAD_ASYNC_TESTS_ASAN 1
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
        #define MONAD_ASYNC_TESTS_ASAN 1
    #endif
#endif
#ifndef MONAD_ASYNC_TESTS_ASAN
    #define MONAD_ASYNC_TESTS_ASAN 0
#endif

namespace {

// A name service that does not answer before it is told to.
std::atomic<int> asked{0}, answered{0};
std::atomic<bool> answers{false};

using lookup = int(char const *, char const *, addrinfo const *, addrinfo **);

} // namespace

// In place of the C library's, for this program.
extern "C" int getaddrinfo(char const *host, char const *service, addrinfo const *hints,
                           addrinfo **list)
{
    static auto *const real = reinterpret_cast<lookup *>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    if (host == nullptr || std::strcmp(host, "slow.test") != 0) {
        return real(host, service, hints, list);
    }
    ++asked;
    while (!answers) {
        std::this_thread::sleep_for(100us);
    }
    int const r = real("127.0.0.1", service, hints, list);
    ++answered;
    return r;
}

namespace {

// A task on `ex` that waits for the slow name.
ma::task asking(ma::executor &ex)
{
    answers = false;
    int const before = asked;
    ma::task t;
    t.attach(ex, [] { return static_cast<int>(ma::resolve("slow.test", "80").empty()); });
    while (asked == before) {
        ex.poll();
    }
    return t;
}

// Lets the service answer, once for each that asked.
void answer()
{
    answers = true;
    while (answered != asked) {
        std::this_thread::sleep_for(100us);
    }
}

// How a child that runs `body` ends.
template <class F> int status_of_child(F &&body)
{
    pid_t const child = ::fork();
    if (child == 0) {
        ::alarm(60); // One that waits for ever.
        body();
        ::_exit(1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(offload, gives_results_and_exceptions_while_others_run)
{
    ma::executor ex;
    int steps = 0;
    bool over = false;
    ma::task ticker;
    ticker.attach(ex, [&] {
        while (!over) {
            ++steps;
            ma::this_task::sleep_for(100us);
        }
    });
    run_task(ex, [&] {
        auto const here = std::this_thread::get_id();
        auto const there = ma::offload([] {
            std::this_thread::sleep_for(5ms);
            return std::this_thread::get_id();
        });
        EXPECT_NE(here, there);
        EXPECT_GT(steps, 1);
        auto owner = ma::offload([p = std::make_unique<int>(7)]() mutable { return std::move(p); });
        EXPECT_EQ(*owner, 7);
        int seen = 0;
        ma::offload([&seen] { seen = 1; });
        EXPECT_EQ(seen, 1);
        auto const throws = []() -> int { throw std::out_of_range("from a helper"); };
        EXPECT_THROW((void)ma::offload(throws), std::out_of_range);
        over = true;
    });
    while (!ticker.done()) {
        ex.run();
    }
    EXPECT_EQ(errno_thrown_by([] { ma::offload([] {}); }), EPERM);
}

// What runs is waited for, though the scope has fired, since it uses the task's stack.
TEST(offload, what_has_begun_is_waited_for)
{
    ma::executor ex;
    std::atomic<bool> began{false};
    run_task(ex, [&] {
        bool ended = false;
        ma::scope s;
        ma::this_task::executor().spawn([&] {
            while (!began) {
                ma::this_task::sleep_for(100us);
            }
            s.cancel();
        });
        ma::offload([&] {
            began = true;
            std::this_thread::sleep_for(20ms);
            ended = true;
        });
        EXPECT_THROW(ma::this_task::yield(), ma::cancelled_error);
        EXPECT_TRUE(ended);
    });
}

TEST(resolve, finds_addresses_in_figures_and_tells_what_there_is_not)
{
    ma::executor ex;
    run_task(ex, [] {
        auto const list = ma::resolve("127.0.0.1", "80");
        ASSERT_FALSE(list.empty());
        int count = 0;
        for (auto const &one : list) {
            ++count;
            ASSERT_EQ(one.ai_family, AF_INET);
            sockaddr_in at = {};
            ASSERT_EQ(one.ai_addrlen, sizeof at);
            std::memcpy(&at, one.ai_addr, sizeof at);
            EXPECT_EQ(ntohs(at.sin_port), 80);
            EXPECT_EQ(ntohl(at.sin_addr.s_addr), INADDR_LOOPBACK);
        }
        EXPECT_EQ(count, 1);
        std::error_code ec;
        auto const none = ma::resolve("127.0.0.1", "no-such-service", SOCK_STREAM, AF_INET, ec);
        EXPECT_TRUE(none.empty());
        EXPECT_EQ(ec.value(), ENOENT);
        try {
            (void)ma::resolve("127.0.0.1", "no-such-service");
            ADD_FAILURE();
        } catch (std::system_error const &e) {
            EXPECT_EQ(e.code().value(), ENOENT);
            EXPECT_EQ(e.what(), std::string("monad::async::resolve: ") + gai_strerror(EAI_SERVICE));
        }
        EXPECT_EQ(errno_thrown_by([] { (void)ma::resolve("300.1.1.1.", "80"); }) != 0, true);
        EXPECT_EQ(errno_thrown_by([] { (void)ma::resolve("", ""); }), EINVAL);
        std::string const cut("127.0.0.1\0.example.org", 22); // What stands before it was found.
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::resolve(cut, "80"); }), EINVAL);
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::resolve("127.0.0.1", cut); }), EINVAL);
    });
    EXPECT_EQ(errno_thrown_by([] { (void)ma::resolve("127.0.0.1", "80"); }), EPERM);
}

TEST(connect, goes_to_a_host_by_name_and_tries_its_addresses)
{
    ma::executor ex;
    run_task(ex, [] {
        auto listener = ma::listener::tcp(0);
        auto const port = std::to_string(listener.port());
        // Of the two of localhost one listens.
        auto peer = ma::connect("localhost", port);
        EXPECT_TRUE(peer.is_open());
        EXPECT_TRUE(listener.accept().is_open());
        listener.close();
        std::error_code ec;
        EXPECT_FALSE(ma::connect("127.0.0.1", port, ec).is_open());
        EXPECT_EQ(ec.value(), ECONNREFUSED);
        EXPECT_FALSE(ma::connect("127.0.0.1", "no-such-service", ec).is_open());
        EXPECT_TRUE(ec);
        EXPECT_FALSE(ma::connect(ma::address_list(), ec).is_open());
        EXPECT_EQ(ec.value(), ENOENT);
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::connect("127.0.0.1", port); }), ECONNREFUSED);
        auto const found = ma::resolve("127.0.0.1", port);
        ma::scope const s{0s};
        EXPECT_THROW((void)ma::connect(found), ma::timeout_error);
    });
}

// A cancel, or a deadline, does not wait for the name service.
TEST(resolve, is_interrupted_at_once_and_leaves_nothing)
{
    ma::executor ex;
    for (int i = 0; i != 50; ++i) {
        ma::task t;
        t.attach(ex, [] { (void)ma::resolve("localhost", "80"); });
        ex.run_for(0ms);
        t.cancel();
        while (!t.done()) {
            ex.run();
        }
    }
}

// A name service that does not answer keeps neither other helpers nor who was interrupted waiting.
TEST(resolve, a_slow_name_delays_nobody_else)
{
    ma::executor ex;
    // One helper for blocking work, and it is to be free.
    ma::blocking_limits(1, 5s);
    EXPECT_EQ(errno_thrown_by([] { ma::blocking_limits(0, 5s); }), EINVAL);
    auto slow = asking(ex);
    run_task(ex, [] {
        EXPECT_EQ(ma::offload([] { return 7; }), 7);
        EXPECT_FALSE(ma::resolve("127.0.0.1", "80").empty());
        ma::scope const s{1ms};
        EXPECT_THROW((void)ma::resolve("slow.test", "80"), ma::timeout_error);
    });
    EXPECT_FALSE(slow.done());
    slow.cancel();
    while (!slow.done()) {
        ex.run();
    }
    EXPECT_THROW(slow.get(), ma::cancelled_error);
    answer();
    std::error_code ec;
    ma::blocking_limits(64, 5s, ec);
    EXPECT_FALSE(ec);
}

// Whose executor is gone when the answer comes: the helper frees what it has found.
TEST(resolve, an_executor_ends_before_the_answer)
{
    {
        ma::executor ex;
        auto slow = asking(ex);
        ex.spawn([] { (void)ma::resolve("slow.test", "80"); });
        ex.poll();
    }
    answer();
}

// Who is interrupted leaves the lookup to the helper, which frees it and what it has found. (A thread
// keeps some blocks that it has freed: fewer than there are lookups.)
TEST(resolve, what_nobody_waits_for_any_more_is_freed)
{
    ma::executor ex;
    auto const often = [&] {
        for (int i = 0; i != 60; ++i) {
            auto slow = asking(ex);
            slow.cancel();
            while (!slow.done()) {
                ex.run();
            }
            answer();
        }
    };
    often();
    auto const before = mallinfo2();
    often();
    EXPECT_LT(mallinfo2().uordblks, before.uordblks + 30 * 100);
}

// LeakSanitizer looks at an exit, and cannot suspend the threads of a child.
bool const looks_for_leaks = MONAD_ASYNC_TESTS_ASAN != 0;

// The child of a fork has none of the parent's helpers, and makes its own; nothing waits for theirs.
TEST(resolve, a_child_of_a_fork_and_an_exit_beside_a_busy_helper)
{
    ma::executor ex;
    auto slow = asking(ex);
    EXPECT_EQ(status_of_child([] {
                  ma::executor own;
                  bool const found =
                      run_task(own, [] { return ma::resolve("127.0.0.1", "80").empty(); }) == 0;
                  ::_exit(found ? 5 : 6);
              }),
              5);
    if (!looks_for_leaks) {
        EXPECT_EQ(status_of_child([] {
                      ma::executor own;
                      auto const own_slow = asking(own);
                      std::exit(5);
                  }),
                  5);
    }
    EXPECT_FALSE(slow.done());
    answers = true;
    while (!slow.done()) {
        ex.run();
    }
    EXPECT_EQ(slow.get(), 0);
}

// The end of an executor waits for a function that has begun, which uses the task's stack.
TEST(offload, an_executor_ends_after_what_has_begun)
{
    std::atomic<bool> began{false}, ended{false};
    bool left = false;
    {
        ma::executor ex;
        ex.spawn([&] {
            ma::offload([&] {
                began = true;
                std::this_thread::sleep_for(5ms);
                ended = true;
            });
            left = ended;
        });
        while (!began) {
            ex.poll();
        }
    }
    EXPECT_TRUE(left);
}

// Whether the main thread, a task or a helper calls it.
TEST(offload, the_process_exits_while_helpers_are_busy)
{
    if (looks_for_leaks) {
        GTEST_SKIP() << "LeakSanitizer cannot look at the child of a fork";
    }
    for (int who = 0; who != 3; ++who) {
        EXPECT_EQ(status_of_child([who] {
                      ma::executor ex;
                      std::atomic<bool> began{false};
                      ex.spawn([&] {
                          ma::offload([&] {
                              began = true;
                              std::this_thread::sleep_for(1h);
                          });
                      });
                      while (!began) {
                          ex.poll();
                      }
                      if (who == 0) {
                          std::exit(5);
                      }
                      run_task(ex, [who] {
                          who == 1 ? std::exit(5) : ma::offload([] { std::exit(5); });
                      });
                  }),
                  5);
    }
}

} // namespace

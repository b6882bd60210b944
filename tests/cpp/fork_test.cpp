// After fork the child has copies of the parent's objects, and must be able to drop them.
#include "support.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/buffer_set.hpp>
#include <monad/async/channel.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/io_batch.hpp>
#include <monad/async/operation.hpp>
#include <monad/async/process.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>

#include <atomic>
#include <initializer_list>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

void expect_success_of(pid_t child)
{
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// A task of this executor forks, which makes `child`: it has no executor to run.
void run_until_idle_but_in(pid_t const &child, ma::executor &ex)
{
    int const error = errno_thrown_by([&] { ex.run_until_idle(); });
    if (child == 0) {
        ::_exit(error == EPERM ? 0 : 1);
    }
    EXPECT_EQ(error, 0);
    expect_success_of(child);
}

TEST(Fork, the_child_may_destroy_the_parents_objects_and_nothing_happens)
{
    ma::executor_options options;
    options.io_uring_entries = 8;
    auto ex = std::make_unique<ma::executor>(options);
    auto suspended = std::make_unique<ma::task>();
    auto pending = std::make_unique<ma::task>();
    int ends = 0;
    suspended->attach(*ex, [&] {
        counts_end const c(ends);
        ma::this_task::sleep_for(1ms);
        return 3;
    });
    ex->run(1);
    pending->attach(*ex, [] { return 4; });

    auto const child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        pending.reset();
        suspended.reset();
        ex.reset();
        // And may use the library afresh.
        ma::executor own;
        ::_exit(ends == 0 && run_task(own, [] { return 5; }) == 5 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);

    ex->run_until_idle();
    EXPECT_EQ(suspended->get(), 3);
    EXPECT_EQ(pending->get(), 4);
    EXPECT_EQ(ends, 1);
}

// What the callables hold is the parent's: that of a task that has begun, and of one that has not.
TEST(Fork, the_child_may_leave_futures_of_what_this_thread_submitted)
{
    ma::executor ex;
    auto const held = std::make_shared<int>(3);
    auto const body = [held] {
        ma::this_task::sleep_for(1ms);
        return *held;
    };
    auto begun = std::make_unique<ma::future<int>>(ex.submit(body));
    ex.run(1);
    auto pending = std::make_unique<ma::future<int>>(ex.submit(body));
    auto const holders = held.use_count();

    auto const child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        begun.reset();
        pending.reset();
        ::_exit(held.use_count() == holders ? 0 : 1);
    }
    expect_success_of(child);
    ex.run_until_idle();
    EXPECT_EQ(begun->get(), 3);
    EXPECT_EQ(pending->get(), 3);
}

// One of its moves takes as long as the gate is closed.
struct moves_slowly {
    struct gate {
        int moves_before;
        std::atomic<bool> is_at{false};
        std::atomic<bool> open{false};

        void pass()
        {
            if (moves_before-- == 0) {
                is_at = true;
                wait_for(open);
            }
        }
    };
    gate *at;

    static void wait_for(std::atomic<bool> const &that)
    {
        while (!that) {
            std::this_thread::sleep_for(50us);
        }
    }
    explicit moves_slowly(gate *g) noexcept : at(g) {}
    moves_slowly(moves_slowly &&other) noexcept : at(other.at) { at->pass(); }
    ~moves_slowly() {} // NOLINT(modernize-use-equals-default): not trivial
};

// Threads that the child does not have are in the middle of a send and of a receive: the child
// waited for them for ever.
TEST(Fork, the_child_does_not_wait_for_who_uses_a_channel)
{
    ma::executor const ex;
    // A move to where the element is sent from, one into the channel, one out of it.
    moves_slowly::gate sends{1}, receives{2};
    auto one = std::make_unique<ma::channel<moves_slowly>>(2);
    auto two = std::make_unique<ma::channel<moves_slowly>>(2);
    std::thread sender([&] { (void)one->try_send(moves_slowly(&sends)); });
    ASSERT_TRUE(two->try_send(moves_slowly(&receives)));
    std::thread receiver([&] { (void)two->try_recv(); });
    moves_slowly::wait_for(sends.is_at);
    moves_slowly::wait_for(receives.is_at);
    auto const child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        ::alarm(60); // One that waits for ever is killed.
        int wrong = 0;
        // One that it cannot have leaves the others as they are.
        auto const none = [](auto &&) {};
        auto const selects = [&] {
            (void)ma::select(ma::on_recv(*one, none), ma::on_recv(*two, none));
        };
        wrong += errno_thrown_by(selects) != EPERM;
        for (auto *const ch : {&one, &two}) {
            wrong += errno_thrown_by([&] { (void)(*ch)->try_recv(); }) != EPERM;
            wrong += errno_thrown_by([&] { (*ch)->close(); }) != EPERM;
            ch->reset();
        }
        ::_exit(wrong);
    }
    sends.open = receives.open = true;
    sender.join();
    receiver.join();
    expect_success_of(child);
    EXPECT_TRUE(one->try_recv()); // Here it goes on.
}

TEST(Fork, the_child_may_leave_the_parents_buffers)
{
    ma::executor ex;
    pid_t child = -1;
    {
        ma::buffer_ring const ring(ex, 2, 64);
        ma::buffer_set set(ex, 2, 64);
        ma::fixed_buffer claimed;
        run_task(ex, [&] { claimed = set.claim(); });
        child = ::fork();
        ASSERT_GE(child, 0);
    }
    if (child == 0) {
        ::_exit(0);
    }
    expect_success_of(child);
}

TEST(Fork, inside_a_task_the_child_may_leave_scopes_and_operations)
{
    ma::executor ex;
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ma::task t;
    pid_t child = -1;
    t.attach(ex, [&] {
        ma::scope const outer{1h};
        ma::shield const inner;
        ma::operation op;
        ma::io_batch batch;
        io_uring_sqe poll = {};
        poll.opcode = IORING_OP_POLL_ADD;
        poll.fd = ends[0];
        poll.poll32_events = 1; // POLLIN
        op.begin(poll);
        batch.begin(poll);
        ma::this_task::sleep_for(1ms);
        child = ::fork();
    });
    run_until_idle_but_in(child, ex);
    EXPECT_EQ(t.get(), 0);
    ::close(ends[0]);
    ::close(ends[1]);
}

// Waiting would be for ever: the children are the parent's, and so is who would run them.
TEST(Fork, inside_a_task_the_child_may_leave_groups_and_futures)
{
    ma::executor ex;
    ma::task t;
    pid_t child = -1;
    int thrown = 0;
    t.attach(ex, [&] {
        auto slow = ex.submit([] { ma::this_task::sleep_for(2ms); });
        ma::task_group group;
        group.spawn([] { ma::this_task::sleep_for(2ms); });
        auto const forks = [&] {
            ma::this_task::yield();
            child = ::fork();
            if (child == 0) {
                thrown = errno_thrown_by([&] { slow.wait(); });
                thrown = thrown == EPERM ? errno_thrown_by([&] { group.wait(); }) : thrown;
            }
        };
        forks();
        if (child != 0) {
            group.wait();
            slow.get();
        }
    });
    int const error = errno_thrown_by([&] { ex.run_until_idle(); });
    if (child == 0) {
        ::_exit(error == EPERM && thrown == EPERM ? 0 : 1);
    }
    EXPECT_EQ(error, 0);
    expect_success_of(child);
    EXPECT_EQ(t.get(), 0);
}

// The child of a fork inside a child of `when_all`: the one that waits is the parent's.
TEST(Fork, inside_a_child_of_a_group)
{
    ma::executor ex;
    ma::task t;
    pid_t child = -1;
    t.attach(ex, [&] {
        ma::when_all([] { ma::this_task::sleep_for(2ms); }, [&] { child = ::fork(); });
    });
    run_until_idle_but_in(child, ex);
    EXPECT_EQ(t.get(), 0);
}

// Another thread of the parent has the lock of the list of them nearly all the time: it is long.
TEST(Fork, while_another_thread_makes_signals)
{
    std::vector<std::unique_ptr<ma::signals>> many;
    for (int i = 0; i != 200; ++i) {
        many.push_back(std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR1}));
    }
    std::atomic<bool> ends{false};
    std::thread other([&] {
        while (!ends) {
            ma::signals const one({SIGUSR2});
        }
    });
    for (int i = 0; i != 20; ++i) {
        pid_t const child = ::fork();
        if (child == 0) {
            {
                ma::signals const one({SIGUSR1, SIGUSR2});
            }
            sigset_t now;
            ::pthread_sigmask(SIG_SETMASK, nullptr, &now);
            ::_exit(sigismember(&now, SIGUSR1) == 1 && sigismember(&now, SIGUSR2) == 0 ? 0 : 1);
        }
        expect_success_of(child);
    }
    ends = true;
    other.join();
}

} // namespace

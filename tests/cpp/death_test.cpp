// Where nothing is safe the process ends, and says why. Each case dies in a child.
#include "ends.hpp"
#include "support.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/event.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/io_batch.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace {

class Death : public testing::Test {
protected:
    void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

TEST_F(Death, a_task_destroyed_inside_itself)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            auto t = std::make_unique<ma::task>();
            t->attach(ex, [&] { t.reset(); });
            ex.run_until_idle();
        },
        "a task was destroyed inside itself");
}

// It waited for itself, shielded, without a word.
TEST_F(Death, a_future_destroyed_inside_its_own_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            std::optional<ma::future<void>> f;
            f = ex.submit([&] { f.reset(); });
            ex.run_until_idle();
        },
        "a future was destroyed inside its own task");
    EXPECT_DEATH(
        {
            ma::executor ex;
            ma::future<void> f;
            f = ex.submit([&] { f = {}; });
            ex.run_until_idle();
        },
        "a future was destroyed inside its own task");
    EXPECT_DEATH(
        {
            ma::thread_pool pool(1);
            ma::future<void> f;
            ma::event is_there;
            f = pool.submit([&] {
                is_there.wait();
                f = {};
            });
            is_there.set();
            pool.wait();
        },
        "a future was destroyed inside its own task");
}

TEST_F(Death, an_executor_destroyed_inside_its_own_task)
{
    EXPECT_DEATH(
        {
            auto ex = std::make_unique<ma::executor>();
            ma::task t;
            t.attach(*ex, [&] { ex.reset(); });
            ex->run_until_idle();
        },
        "an executor was destroyed inside one of its own tasks");
}

TEST_F(Death, an_executor_destroyed_on_another_thread)
{
    EXPECT_DEATH(
        {
            auto ex = std::make_unique<ma::executor>();
            std::thread([&] { ex.reset(); }).join();
        },
        "an executor was destroyed on a thread that does not own it");
}

// From here on the kernel refuses this thread io_uring_enter.
void refuse_the_ring()
{
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_enter, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog const program = {std::size(filter), filter};
    ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST_F(Death, an_executor_whose_ring_the_kernel_refuses_says_the_errno)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ex.spawn([] {
                ma::shield const stays;
                ma::this_task::sleep_for(1h);
            });
            ex.run();
            refuse_the_ring();
        },
        "an executor could not be run to its end .errno 13");
    EXPECT_DEATH(
        {
            ma::executor ex;
            ma::task t;
            t.attach(ex, [] {
                ma::shield const stays;
                ma::this_task::sleep_for(1h);
            });
            ex.run();
            refuse_the_ring();
        },
        "a task's executor could not be run .errno 13");
}

// A group of `ex` with a child that sleeps.
std::unique_ptr<ma::task_group> group_with_a_child(ma::executor &ex)
{
    std::unique_ptr<ma::task_group> group;
    run_task(ex, [&] {
        group = std::make_unique<ma::task_group>();
        group->spawn([] { ma::this_task::park(); });
    });
    return group;
}

constexpr char const *misplaced_group = "a task_group with children was destroyed outside the "
                                        "tasks of its executor, or by one of the children";

TEST_F(Death, a_group_with_a_child_destroyed_outside_tasks)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            group_with_a_child(ex).reset();
        },
        misplaced_group);
}

TEST_F(Death, a_group_with_a_child_destroyed_on_another_thread)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            auto group = group_with_a_child(ex);
            std::thread([&] { group.reset(); }).join();
        },
        misplaced_group);
}

TEST_F(Death, a_group_with_a_child_destroyed_in_a_task_of_another_executor)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ma::executor other;
            auto group = group_with_a_child(ex);
            run_task(other, [&] { group.reset(); });
        },
        misplaced_group);
}

TEST_F(Death, a_group_destroyed_by_its_child)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            std::unique_ptr<ma::task_group> group;
            run_task(ex, [&] {
                group = std::make_unique<ma::task_group>();
                group->spawn([&] { group.reset(); });
            });
            ex.run_until_idle();
        },
        misplaced_group);
}

TEST(Group, without_children_ends_anywhere)
{
    ma::executor ex;
    std::unique_ptr<ma::task_group> outside, elsewhere;
    run_task(ex, [&] {
        outside = std::make_unique<ma::task_group>();
        elsewhere = std::make_unique<ma::task_group>();
        elsewhere->spawn([] {});
        elsewhere->wait();
    });
    outside.reset();
    std::thread([&] { elsewhere.reset(); }).join();
}

TEST_F(Death, a_batch_with_a_completion_destroyed_on_another_thread)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ma::io_batch *batch = nullptr;
            run_task(ex, [&] {
                batch = new ma::io_batch;
                io_uring_sqe nop = {};
                batch->begin(nop);
                // Which takes the other's completion, too.
                ma::io_batch second;
                second.begin(nop);
                (void)second.wait_any();
            });
            std::thread([&] { delete batch; }).join();
        },
        "an io_batch was destroyed on another thread than its task's before its completions were "
        "taken");
}

TEST_F(Death, a_view_released_on_another_thread)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ends two;
            ma::buffer_ring ring(ex, 1, 64);
            ma::view data;
            run_task(ex, [&] {
                ma::recv_stream stream(two.a, ring);
                two.b.send_all(std::string("x"));
                data = stream.next();
            });
            std::thread([&] { data.release(); }).join();
        },
        "a view was released by another thread than its ring's executor's");
}

TEST_F(Death, pthread_exit_inside_a_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            run_task(ex, [] { ::pthread_exit(nullptr); });
        },
        "the thread was made to exit \\(pthread_exit, pthread_cancel\\) inside a task");
}

TEST_F(Death, pthread_cancel_inside_a_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            run_task(ex, [] {
                ::pthread_cancel(::pthread_self());
                ::pthread_testcancel();
            });
        },
        "the thread was made to exit");
}

// Which one is what its author has to know.
TEST_F(Death, an_exception_out_of_a_background_task)
{
    EXPECT_DEATH(
        {
            ma::executor ex;
            ex.spawn([] { throw std::runtime_error("out of the background"); });
            ex.run_until_idle();
        },
        "on_exception is not set(.|\n)*out of the background");
}

TEST_F(Death, an_exception_out_of_a_body_of_the_c_api)
{
    // C bodies have no get(): the core lets nothing through either.
    EXPECT_DEATH(
        {
            ma::executor ex;
            ma::task t;
            t.native_handle()->user_code = [](monad_async_task) -> monad_async_result {
                throw std::runtime_error("out of C");
            };
            (void)monad_async_task_attach(ex.native_handle(), t.native_handle());
            try {
                ex.run_until_idle();
            } catch (...) {
                std::_Exit(0);
            }
        },
        "");
}

} // namespace

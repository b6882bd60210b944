// Every row of the errors: a caller's mistake comes back as a number and changes nothing.

#include "support.hpp"

#include <initializer_list>
#include <thread>

using namespace support;

namespace {

// What `f` returns, as an errno, on a thread of its own.
template <class F> int error_elsewhere(F f)
{
    int error = -1;
    std::thread([&] { error = f().error; }).join();
    return error;
}

// What `f` returns, as an errno, inside a task of `ex`.
template <class F> int error_inside(Executor const &ex, F f)
{
    int error = -1;
    Task task([&](monad_async_task self) {
        error = f(self).error;
        return success();
    });
    task.attach(ex);
    ex.finish();
    return error;
}

} // namespace

// ---- wrong thread: EPERM ----

TEST(Errors, run_on_the_wrong_thread)
{
    Executor ex;
    Task task([](monad_async_task) { return success(); });
    task.attach(ex);
    EXPECT_EQ(error_elsewhere([&] { return monad_async_executor_run(ex, 1, &at_once); }), EPERM);
    EXPECT_TRUE(task->is_pending_launch);
    EXPECT_EQ(ex.run(), 1);
}

TEST(Errors, destroy_executor_on_the_wrong_thread)
{
    Executor ex;
    EXPECT_EQ(error_elsewhere([&] { return monad_async_executor_destroy(ex); }), EPERM);
    EXPECT_EQ(error_inside(ex, [](monad_async_task self) { return nop(self); }), 0);
}

TEST(Errors, suspend_on_the_wrong_thread)
{
    Executor ex;
    Task task([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(error_elsewhere([&] { return sleep_ns(task, 0); }), EPERM);
    EXPECT_EQ(error_elsewhere([&] { return nop(task); }), EPERM);
    Task other;
    EXPECT_EQ(error_elsewhere([&] { return monad_async_task_join(task, other); }), EPERM);
    EXPECT_TRUE(task->is_suspended_awaiting);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
}

TEST(Errors, set_priorities_of_an_attached_task_on_the_wrong_thread)
{
    Executor ex;
    Task task([](monad_async_task self) { return yield(self); });
    task.attach(ex);
    EXPECT_EQ(error_elsewhere([&] {
                  return monad_async_task_set_priorities(task, monad_async_priority_high,
                                                         monad_async_priority_high);
              }),
              EPERM);
    EXPECT_EQ(task->priority.cpu, monad_async_priority_normal);
    ex.finish();
}

// ---- not the running task: EPERM ----

TEST(Errors, suspend_of_a_task_that_does_not_run)
{
    Executor ex;
    Task idle([](monad_async_task) { return success(); });
    EXPECT_EQ(sleep_ns(idle, 0).error, EPERM);
    EXPECT_EQ(nop(idle).error, EPERM);
    EXPECT_EQ(monad_async_task_join(idle, idle).error, EPERM);
    EXPECT_EQ(error_inside(ex, [&](monad_async_task) { return sleep_ns(idle, 0); }), EPERM);
    EXPECT_EQ(error_inside(ex, [&](monad_async_task) { return nop(idle); }), EPERM);
    EXPECT_EQ(
        error_inside(ex, [&](monad_async_task self) { return monad_async_task_join(idle, self); }),
        EPERM);
}

// ---- from inside a task: EDEADLK ----

TEST(Errors, run_inside_a_task)
{
    Executor ex, other;
    EXPECT_EQ(
        error_inside(
            ex, [&](monad_async_task) { return monad_async_executor_run(other, 1, &at_once); }),
        EDEADLK);
    EXPECT_EQ(error_inside(
                  ex, [&](monad_async_task) { return monad_async_executor_run(ex, 1, &at_once); }),
              EDEADLK);
}

TEST(Errors, destroy_executor_inside_a_task)
{
    Executor ex;
    EXPECT_EQ(error_inside(ex, [&](monad_async_task) { return monad_async_executor_destroy(ex); }),
              EDEADLK);
    EXPECT_EQ(error_inside(ex, [](monad_async_task self) { return nop(self); }), 0);
}

TEST(Errors, join_itself)
{
    Executor ex;
    EXPECT_EQ(
        error_inside(ex, [](monad_async_task self) { return monad_async_task_join(self, self); }),
        EDEADLK);
}

// ---- wrong state: EBUSY, nothing changed ----

TEST(Errors, destroy_executor_with_a_task_pending_or_suspended)
{
    Executor ex;
    Task task([](monad_async_task self) { return sleep_ns(self, 1); });
    task.attach(ex);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, EBUSY);
    EXPECT_TRUE(task->is_pending_launch);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, EBUSY);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Errors, destroy_attached_task)
{
    Executor ex;
    int when_running = -1;
    Task task([&](monad_async_task self) {
        when_running = monad_async_task_destroy(self).error;
        return sleep_ns(self, 1);
    });
    task.attach(ex);
    EXPECT_EQ(monad_async_task_destroy(task).error, EBUSY);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(when_running, EBUSY);
    EXPECT_EQ(monad_async_task_destroy(task).error, EBUSY);
    EXPECT_EQ(error_elsewhere([&] { return monad_async_task_destroy(task); }), EBUSY);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

TEST(Errors, attach_attached_task)
{
    Executor ex, other;
    int when_running = -1;
    Task task([&](monad_async_task self) {
        when_running = monad_async_task_attach(ex, self).error;
        return sleep_ns(self, 1);
    });
    task.attach(ex);
    EXPECT_EQ(monad_async_task_attach(ex, task).error, EBUSY);
    EXPECT_EQ(monad_async_task_attach(other, task).error, EBUSY);
    EXPECT_EQ(ex.run(1), 1);
    EXPECT_EQ(when_running, EBUSY);
    EXPECT_EQ(monad_async_task_attach(ex, task).error, EBUSY);
    EXPECT_EQ(error_elsewhere([&] { return monad_async_task_attach(other, task); }), EBUSY);
    EXPECT_EQ(task->current_executor, ex);
    EXPECT_EQ(ex->tasks_suspended, 1u);
    ex.finish();
    EXPECT_FALSE(monad_async_executor_has_work(other));
    EXPECT_EQ(other.poll(), 0);
}

// ---- bad argument: EINVAL ----

TEST(Errors, reserved_tails_and_unknown_flags)
{
    monad_async_executor ex = nullptr;
    constexpr size_t executor_words =
        sizeof(monad_async_executor_attr::reserved) / sizeof(uint32_t);
    for (size_t i = 0; i < executor_words; ++i) {
        monad_async_executor_attr attr{};
        attr.reserved[i] = 1;
        EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, EINVAL) << i;
    }
    monad_async_executor_attr attr{};
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        if (bit != MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING) {
            attr.flags = bit;
            EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, EINVAL) << bit;
        }
    }
    EXPECT_EQ(ex, nullptr);

    monad_async_task task = nullptr;
    constexpr size_t task_words = sizeof(monad_async_task_attr::reserved) / sizeof(uint64_t);
    for (size_t i = 0; i < task_words; ++i) {
        monad_async_task_attr task_attr{};
        task_attr.reserved[i] = uint64_t{1} << 63;
        EXPECT_EQ(monad_async_task_create(&task, &task_attr).error, EINVAL) << i;
    }
    EXPECT_EQ(task, nullptr);
}

TEST(Errors, ring_wishes_that_would_change_what_the_executor_does)
{
    monad_async_executor ex = nullptr;
    for (uint32_t const bit :
         {IORING_SETUP_IOPOLL, IORING_SETUP_SQPOLL, IORING_SETUP_SQ_AFF, IORING_SETUP_R_DISABLED,
          IORING_SETUP_SQE128, IORING_SETUP_CQE32, 1u << 30, 1u << 31}) {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = 8;
        attr.io_uring_ring.params.flags = bit;
        EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, EINVAL) << bit;
    }
    EXPECT_EQ(ex, nullptr);
}

TEST(Errors, null_where_an_object_is_wanted)
{
    Executor ex;
    Task task([](monad_async_task) { return success(); });
    monad_async_executor_attr ex_attr{};
    monad_async_task_attr task_attr{};
    EXPECT_EQ(monad_async_executor_create(nullptr, &ex_attr).error, EINVAL);
    EXPECT_EQ(monad_async_task_create(nullptr, &task_attr).error, EINVAL);
    EXPECT_EQ(monad_async_executor_destroy(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_executor_run(nullptr, 1, &at_once).error, EINVAL);
    EXPECT_EQ(monad_async_executor_wake(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_task_destroy(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_task_attach(nullptr, task).error, EINVAL);
    EXPECT_EQ(monad_async_task_attach(ex, nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_task_cancel(nullptr, task).error, ENOENT);
    EXPECT_EQ(monad_async_task_cancel(nullptr, nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_task_unpark(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_task_wait(nullptr, 0).error, EINVAL);
    EXPECT_EQ(monad_async_task_cancel(ex, nullptr).error, EINVAL);
    EXPECT_EQ(sleep_ns(nullptr, 0).error, EINVAL);
    EXPECT_EQ(nop(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_task_set_priorities(nullptr, 0, 0).error, EINVAL);
    EXPECT_EQ(
        error_inside(ex, [](monad_async_task self) { return monad_async_task_io(self, nullptr); }),
        EINVAL);
    EXPECT_EQ(error_inside(
                  ex, [](monad_async_task self) { return monad_async_task_join(self, nullptr); }),
              EINVAL);
}

TEST(Errors, attach_without_user_code)
{
    Executor ex;
    Task task;
    task->user_code = nullptr;
    EXPECT_EQ(monad_async_task_attach(ex, task).error, EINVAL);
    EXPECT_EQ(error_elsewhere([&] { return monad_async_task_attach(ex, task); }), EINVAL);
    EXPECT_FALSE(monad_async_executor_has_work(ex));
    EXPECT_EQ(task->current_executor, nullptr);
}

TEST(Errors, priorities_out_of_range)
{
    Executor ex;
    Task task([](monad_async_task) { return success(); });
    for (int bad : {3, 4, 127, 128, 255}) {
        auto const level = static_cast<monad_async_priority>(bad);
        EXPECT_EQ(monad_async_task_set_priorities(task, level, 0).error, EINVAL) << bad;
        EXPECT_EQ(monad_async_task_set_priorities(task, 0, level).error, EINVAL) << bad;
        EXPECT_EQ(task->priority.cpu, monad_async_priority_normal);
        EXPECT_EQ(task->priority.io, monad_async_priority_normal);
    }
}

// The field may be written at any moment, so it is not checked but taken for the lowest.
TEST(Errors, priority_out_of_range_written_into_the_head)
{
    Executor ex;
    std::vector<int> order;
    auto const tasks = make_tasks(3, [&](monad_async_task self, size_t i) {
        order.push_back(static_cast<int>(i));
        return nop(self);
    });
    for (int bad : {3, 4, 127, 128, 255}) {
        order.clear();
        tasks[0]->priority = {static_cast<monad_async_priority>(bad),
                              static_cast<monad_async_priority>(bad)};
        tasks[1]->priority = {monad_async_priority_low, monad_async_priority_low};
        tasks[2]->priority = {monad_async_priority_normal, monad_async_priority_normal};
        attach_all(tasks, ex);
        ex.finish();
        EXPECT_EQ(order, (std::vector<int>{2, 0, 1})) << bad;
    }
}

TEST(Errors, timeout_that_is_none)
{
    Executor ex;
    for (timespec const bad : {timespec{0, -1}, timespec{0, 1000000000}, timespec{-1, 0}}) {
        EXPECT_EQ(monad_async_executor_run(ex, 1, &bad).error, EINVAL)
            << bad.tv_sec << "s " << bad.tv_nsec << "ns";
    }
}

TEST(Errors, operations_that_do_not_end_with_one_completion_and_drains)
{
    Executor ex;
    std::vector<io_uring_sqe> bad;
    for (unsigned flag :
         {IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK, IOSQE_CQE_SKIP_SUCCESS}) {
        bad.push_back(make_sqe(IORING_OP_NOP));
        bad.back().flags = static_cast<uint8_t>(flag);
    }
    bad.push_back(make_sqe(IORING_OP_POLL_ADD, 0));
    bad.back().len = IORING_POLL_ADD_MULTI;
    bad.push_back(make_sqe(IORING_OP_ACCEPT, 0));
    bad.back().ioprio = IORING_ACCEPT_MULTISHOT;
    bad.push_back(make_sqe(IORING_OP_RECV, 0));
    bad.back().ioprio = IORING_RECV_MULTISHOT;
    bad.push_back(make_sqe(IORING_OP_RECVMSG, 0));
    bad.back().ioprio = IORING_RECV_MULTISHOT;
    constexpr uint8_t op_read_multishot = 49; // newer than the oldest kernel headers
    bad.push_back(make_sqe(op_read_multishot, 0));
    for (size_t i = 0; i < bad.size(); ++i) {
        EXPECT_EQ(error_inside(ex, [&](monad_async_task self) { return do_io(self, bad[i]); }),
                  EINVAL)
            << i;
    }
    EXPECT_EQ(ex->total_io_submitted, 0u);
}

TEST(Errors, join_a_task_that_was_never_attached)
{
    Executor ex;
    Task never([](monad_async_task) { return success(); });
    EXPECT_EQ(
        error_inside(ex, [&](monad_async_task self) { return monad_async_task_join(self, never); }),
        EINVAL);
}

// ---- the rest ----

TEST(Errors, cancel_where_it_is_not_attached)
{
    Executor ex, other;
    Task task([](monad_async_task) { return success(); });
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, ENOENT);
    task.attach(ex);
    EXPECT_EQ(monad_async_task_cancel(other, task).error, ENOENT);
    EXPECT_EQ(ex.run(), 1);
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, ENOENT);
}

TEST(Errors, io_on_a_compute_only_executor)
{
    Executor ex(0);
    EXPECT_EQ(error_inside(ex, [](monad_async_task self) { return nop(self); }), ENOTSUP);
    EXPECT_EQ(ex->total_io_submitted, 0u);
}

TEST(Errors, nothing_in_time)
{
    for (unsigned entries : {0u, 8u}) {
        Executor ex(entries);
        EXPECT_EQ(monad_async_executor_run(ex, 1, &at_once).error, ETIME);
        timespec const short_time{0, 5000000};
        EXPECT_EQ(monad_async_executor_run(ex, 1, &short_time).error, ETIME);
    }
}

TEST(Errors, of_an_operation_are_not_told_by_errno)
{
    Executor ex;
    Task task([](monad_async_task self) {
        errno = 77;
        auto const r = do_io(self, make_sqe(IORING_OP_CLOSE, -1));
        return errno == EBADF ? success() : r;
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, EBADF);
}

TEST(Errors, messages)
{
    EXPECT_STREQ(monad_async_result_message(monad_async_make_success(3)), "Success");
    EXPECT_STREQ(monad_async_result_message(monad_async_make_failure(ENOENT)), strerror(ENOENT));
    EXPECT_STREQ(monad_async_result_message(monad_async_make_failure(ECANCELED)),
                 strerror(ECANCELED));
    for (int odd : {-1, 4095, 1 << 30}) {
        char const *const text = monad_async_result_message(monad_async_make_failure(odd));
        ASSERT_NE(text, nullptr);
        EXPECT_NE(*text, '\0') << odd;
    }
}

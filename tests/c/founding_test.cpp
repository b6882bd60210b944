// The example of use that the project was founded on, with nullptr for NULL: an executor of 64
// entries, one task of high priority that sleeps a second.

#include <monad/async/executor.h>
#include <monad/async/task.h>

#include <gtest/gtest.h>

#include <cstring>
#include <ctime>

#define CHECK_RESULT(...)                                                                          \
    do {                                                                                           \
        monad_async_result const r_ = (__VA_ARGS__);                                               \
        ASSERT_EQ(r_.error, 0) << #__VA_ARGS__ << ": " << monad_async_result_message(r_);          \
    }                                                                                              \
    while (0)

TEST(Founding, example)
{
    monad_async_executor ex;
    struct monad_async_executor_attr ex_attr;
    memset(&ex_attr, 0, sizeof(ex_attr));
    ex_attr.io_uring_ring.entries = 64;
    CHECK_RESULT(monad_async_executor_create(&ex, &ex_attr));

    monad_async_task task;
    struct monad_async_task_attr t_attr;
    memset(&t_attr, 0, sizeof(t_attr));
    CHECK_RESULT(monad_async_task_create(&task, &t_attr));

    struct timespec began, ended;
    clock_gettime(CLOCK_BOOTTIME, &began);

    int did_run = 0;
    task->priority.cpu = monad_async_priority_high;
    task->user_code = [](struct monad_async_task_head *task) -> monad_async_result {
        *(int *)task->user_ptr = 1;
        monad_async_result r = monad_async_task_suspend_for_duration(task, 1000000000ULL);
        if (monad_async_result_has_error(r)) {
            return r;
        }
        *(int *)task->user_ptr = 2;
        return monad_async_make_success(5);
    };
    task->user_ptr = &did_run;
    CHECK_RESULT(monad_async_task_attach(ex, task));

    CHECK_RESULT(monad_async_executor_run(ex, 1, nullptr));
    EXPECT_EQ(did_run, 1);
    CHECK_RESULT(monad_async_executor_run(ex, 1, nullptr));
    EXPECT_EQ(did_run, 2);
    EXPECT_TRUE(monad_async_task_has_exited(task));
    CHECK_RESULT(task->result);
    EXPECT_EQ(task->result.value, 5);

    clock_gettime(CLOCK_BOOTTIME, &ended);
    long long const ns =
        (ended.tv_sec - began.tv_sec) * 1000000000LL + ended.tv_nsec - began.tv_nsec;
    EXPECT_GE(ns, 1000000000LL);

    CHECK_RESULT(monad_async_task_destroy(task));
    CHECK_RESULT(monad_async_executor_destroy(ex));
}

// 256 tasks, on stacks of every colour, each of which stops in a function of a known name.

#include <monad/async.h>

#include <cstdint>
#include <cstdlib>

// Not to be inlined.
#ifdef __clang__
    #define FRAME __attribute__((noinline))
#else
    #define FRAME __attribute__((noinline, noclone))
#endif

FRAME void innermost()
{
    asm volatile("");
}

FRAME monad_async_result stopping(monad_async_task self)
{
    innermost();
    auto const r = monad_async_task_suspend_for_duration(self, 0);
    innermost();
    return r;
}

int main()
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 8;
    monad_async_executor ex;
    monad_async_task_attr const task_attr{16384, {}};
    if (monad_async_executor_create(&ex, &attr).error != 0) {
        return EXIT_FAILURE;
    }
    for (int i = 0; i < 256; ++i) {
        monad_async_task task;
        if (monad_async_task_create(&task, &task_attr).error != 0) {
            return EXIT_FAILURE;
        }
        task->user_code = stopping;
        if (monad_async_task_attach(ex, task).error != 0) {
            return EXIT_FAILURE;
        }
    }
    while (monad_async_executor_has_work(ex)) {
        if (monad_async_executor_run(ex, SIZE_MAX, nullptr).error != 0) {
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

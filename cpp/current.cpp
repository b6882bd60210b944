// Which task runs on the calling thread, and which thread that is. The executor that runs is noted
// once a `run`; its head says which task. Here rather than in Rust, whose thread-locals cost a call
// in a shared library.

#include "monad/async/executor.h"
#include "monad/async/task.h"

#include <cstdint>

// The calling thread's note: the executor inside whose `run` it is; outside, `monad_async_nobody`,
// the head of one that runs nothing. Written by the core, which reads it by name
// (src/sys/thread.rs): so a call in a task asks one question of it, whether that task runs there,
// and not first whether there is one (two instructions of each).
//
// The calling thread's number, which no other thread ever gets; 0 while it has none.
//
// initial-exec: one load relative to the thread pointer. Their 16 bytes fit into what the C library
// reserves for libraries that are loaded late.
extern "C" {
struct monad_async_nobodys {
    monad_async_executor_head head;
    void const *home; // a word behind it, as an executor has it: of none, and no mailbox
};
extern __attribute__((visibility("hidden"))) monad_async_nobodys const monad_async_nobody;
monad_async_nobodys const monad_async_nobody = {{}, &monad_async_nobody};
__attribute__((visibility("hidden"),
               tls_model("initial-exec"))) __thread void const *monad_async_running =
    &monad_async_nobody;
__attribute__((visibility("hidden"),
               tls_model("initial-exec"))) __thread uint64_t monad_async_thread;
}

extern "C" void const **monad_async_running_slot(void) noexcept
{
    return &monad_async_running;
}

extern "C" uint64_t *monad_async_thread_slot(void) noexcept
{
    return &monad_async_thread;
}

extern "C" monad_async_task monad_async_task_current(void) noexcept
{
    return static_cast<monad_async_executor_head const *>(monad_async_running)->current_task;
}

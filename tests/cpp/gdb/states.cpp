// Tasks in all states there are, for a debugger to look at; then a SIGTRAP in a task, and, for who
// goes on, a SIGILL in main. The C++ task is made first, so its number is 1. Built with debug
// information, whatever the build type.
#include <monad/async.hpp>

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <linux/io_uring.h>
#include <stdexcept>
#include <thread>
#include <unistd.h>

namespace ma = monad::async;

using result = monad_async_result;
using task = monad_async_task;

// What stands in debugged code: a value the optimiser does not know, and frames it keeps.
int volatile depth = 3;
#ifdef __clang__
    #define FRAME __attribute__((noinline))
#else
    #define FRAME __attribute__((noinline, noclone))
#endif

namespace {

enum : std::size_t {
    never,
    exited,
    pending,
    yielding,
    sleeping,
    forever,
    reading,
    joining,
    joining_remote,
    remote,
    nested,
    late_1,
    late_2,
    late_3,
    late_4,
    stopping,
    holding,
    queued,
    begun,
    locking,
    waiting,
    queued_high,
    grouping,
    grouped,
    keeping,
    bare,
    count
};
task tasks[count];
monad_async_executor here;
int pipe_fds[2];
bool stopped, held;
char byte;

void check(result r)
{
    if (r.error != 0) {
        std::fprintf(stderr, "error %d\n", r.error);
        std::exit(1);
    }
}

result read_pipe(task self)
{
    struct io_uring_sqe sqe {};
    sqe.opcode = IORING_OP_READ;
    sqe.fd = pipe_fds[0];
    sqe.addr = reinterpret_cast<std::uintptr_t>(&byte);
    sqe.len = 1;
    return monad_async_task_io(self, &sqe);
}

// Keeps the one worker of a pool.
result code_holding(task self)
{
    __atomic_store_n(&held, true, __ATOMIC_RELEASE);
    for (;;) {
        pause();
        depth = self == nullptr;
    }
}
result code_queued(task)
{
    return monad_async_result{};
}

result code_never(task)
{
    return monad_async_result{};
}
result code_exited(task)
{
    return monad_async_result{};
}
result code_pending(task)
{
    return monad_async_result{};
}
result code_yielding(task self)
{
    for (;;) {
        check(monad_async_task_suspend_for_duration(self, 0));
    }
}
result code_sleeping(task self)
{
    return monad_async_task_suspend_for_duration(self, 1000'000'000'000);
}
result code_forever(task self)
{
    return monad_async_task_suspend_for_duration(self, UINT64_MAX);
}
result code_remote(task self)
{
    return monad_async_task_suspend_for_duration(self, UINT64_MAX);
}
result code_reading(task self)
{
    return read_pipe(self);
}
result code_joining(task self)
{
    return monad_async_task_join(self, tasks[sleeping]);
}
result code_joining_remote(task self)
{
    return monad_async_task_join(self, tasks[remote]);
}
// More at once than the ring takes.
result code_late(task self)
{
    check(monad_async_task_suspend_for_duration(self, 0));
    return read_pipe(self);
}
// An operation record in flight, within two scopes.
result code_begun(task self)
{
    monad_async_scope outer, inner;
    check(monad_async_scope_enter(self, &outer, 1000'000'000'000, 0));
    check(monad_async_scope_enter(self, &inner, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD));
    monad_async_op op{};
    op.sqe.opcode = IORING_OP_READ;
    op.sqe.fd = pipe_fds[0];
    op.sqe.addr = reinterpret_cast<std::uintptr_t>(&byte);
    op.sqe.len = 1;
    check(monad_async_op_begin(self, &op));
    return monad_async_task_park(self);
}
// Two that wait for each other.
monad_async_mutex mutex = MONAD_ASYNC_MUTEX_INIT;
result code_locking(task self)
{
    check(monad_async_mutex_lock(self, &mutex));
    return monad_async_task_join(self, tasks[waiting]);
}
result code_waiting(task self)
{
    return monad_async_mutex_lock(self, &mutex);
}
// A wait at an object of its own executor, of which no record is made: it has run before, and so has who
// is next.
monad_async_local_mutex local = MONAD_ASYNC_LOCAL_MUTEX_INIT;
result code_keeping(task self)
{
    check(monad_async_local_mutex_lock(self, &local));
    return monad_async_task_suspend_for_duration(self, UINT64_MAX);
}
result code_bare(task self)
{
    check(monad_async_task_suspend_for_duration(self, 0));
    return monad_async_local_mutex_lock(self, &local);
}
// It waits for its child, which waits for what it holds.
monad_async_mutex grouped_mutex = MONAD_ASYNC_MUTEX_INIT;
result code_grouping(task self)
{
    check(monad_async_mutex_lock(self, &grouped_mutex));
    monad_async_group group;
    check(monad_async_group_init(self, &group, 0));
    check(monad_async_group_spawn(&group, tasks[grouped]));
    return monad_async_group_wait(self, &group);
}
result code_grouped(task self)
{
    return monad_async_mutex_lock(self, &grouped_mutex);
}
FRAME void stop_here()
{
    check(monad_async_task_attach(here, tasks[pending]));
    std::raise(SIGTRAP);
}
result code_stopping(task self)
{
    check(monad_async_task_suspend_for_duration(self, 0));
    stop_here();
    stopped = true;
    return monad_async_task_suspend_for_duration(self, UINT64_MAX);
}

struct at {
    std::size_t which;
    result (*code)(task);
} const codes[] = {
    {never, code_never},       {exited, code_exited},     {pending, code_pending},
    {yielding, code_yielding}, {sleeping, code_sleeping}, {forever, code_forever},
    {reading, code_reading},   {joining, code_joining},   {joining_remote, code_joining_remote},
    {remote, code_remote},     {late_1, code_late},       {late_2, code_late},
    {late_3, code_late},       {late_4, code_late},       {stopping, code_stopping},
    {holding, code_holding},   {queued, code_queued},     {begun, code_begun},
    {locking, code_locking},   {waiting, code_waiting},   {queued_high, code_queued},
    {grouping, code_grouping}, {grouped, code_grouped},   {keeping, code_keeping},
    {bare, code_bare},
};

monad_async_executor make_executor(unsigned entries)
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = entries;
    monad_async_executor ex;
    check(monad_async_executor_create(&ex, &attr));
    return ex;
}

} // namespace

FRAME void innermost(int marker)
{
    ma::this_task::sleep_for(std::chrono::hours{marker});
    depth = marker; // after the call, so that it is none in tail position
}
FRAME void middle(int level)
{
    if (level > 0) {
        middle(level - 1);
        depth = level;
        return;
    }
    try {
        throw std::runtime_error{"suspended while this is caught"};
    } catch (std::runtime_error const &) {
        innermost(4711);
        depth = 0;
    }
}

int main()
{
    check(monad_async_result{0, pipe(pipe_fds), {}});
    pipe_fds[0] = dup2(pipe_fds[0], 77); // A number that check.sh knows.
    here = make_executor(2);
    monad_async_task_attr const attr{};
    ma::task body{ma::task_options{}};
    tasks[nested] = body.native_handle();
    for (auto const &[which, code] : codes) {
        check(monad_async_task_create(&tasks[which], &attr));
        tasks[which]->user_code = code;
        tasks[which]->user_ptr = &tasks[which];
    }
    body.attach(here, [] {
        middle(depth);
        return 0;
    });
    tasks[sleeping]->priority.cpu = monad_async_priority_high;
    tasks[reading]->priority.io = monad_async_priority_high;

    std::thread other{[] {
        auto const ex = make_executor(8);
        check(monad_async_task_attach(ex, tasks[remote]));
        for (;;) {
            (void)monad_async_executor_run(ex, SIZE_MAX, nullptr);
        }
    }};
    while (!__atomic_load_n(&tasks[remote]->is_suspended_awaiting, __ATOMIC_ACQUIRE)) {
        std::this_thread::yield();
    }
    monad_async_pool_attr pool_attr{};
    pool_attr.workers = 1;
    monad_async_pool pool;
    check(monad_async_pool_create(&pool, &pool_attr));
    check(monad_async_pool_submit(pool, tasks[holding]));
    while (!__atomic_load_n(&held, __ATOMIC_ACQUIRE)) {
        std::this_thread::yield();
    }
    check(monad_async_pool_submit(pool, tasks[queued]));
    tasks[queued_high]->priority.cpu = monad_async_priority_high;
    check(monad_async_pool_submit(pool, tasks[queued_high]));
    for (auto const which :
         {exited, yielding, sleeping, forever, reading, joining, joining_remote, begun, locking,
          waiting, grouping, keeping, bare, late_1, late_2, late_3, late_4, stopping}) {
        check(monad_async_task_attach(here, tasks[which]));
    }
    for (int passes_since = 0; passes_since < 2; passes_since += stopped) {
        (void)monad_async_executor_run(here, SIZE_MAX, nullptr);
    }
    __builtin_trap();
}

// Many tasks that are suspended at once, deep in calls: a ThreadSanitizer that is not told of switches
// takes the frames of all of them for one stack, and dies. Each task keeps a value in its frames. `deep c`:
// they suspend in functions of C, of which a library tells that was built for it. Then a task ends with an
// operation in flight, over which the tool must not be called. And tasks wait for a lock of their executor's,
// where they pass to each other and leave no frame of the library's.
#include <monad/async.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include <unistd.h>

namespace ma = monad::async;

namespace {

std::size_t suspended = 0;
bool in_c = false;

void suspend()
{
    ++suspended;
    if (in_c) {
        (void)monad_async_task_park(monad_async_task_current());
        (void)monad_async_task_suspend_for_duration(monad_async_task_current(), 0);
    } else {
        ma::this_task::park();
        ma::this_task::yield();
    }
}

[[gnu::noinline]] unsigned down(unsigned calls, unsigned value)
{
    unsigned volatile mine = value;
    if (calls == 0) {
        suspend();
        return mine;
    }
    return down(calls - 1, value + 1) + mine - value;
}

bool all_come_back(std::size_t count, unsigned calls)
{
    ma::executor ex;
    std::vector<ma::task> tasks;
    tasks.reserve(count);
    suspended = 0;
    for (std::size_t i = 0; i != count; ++i) {
        tasks.emplace_back(ma::task_options{64 * 1024});
        tasks.back().attach(ex, [i, calls] { return down(calls, static_cast<unsigned>(i)); });
    }
    while (suspended != count) {
        ex.poll();
    }
    for (auto &t : tasks) {
        (void)monad_async_task_unpark(t.native_handle());
    }
    ex.run_until_idle();
    std::size_t right = 0;
    for (std::size_t i = 0; i != count; ++i) {
        right += tasks[i].get() == static_cast<std::intptr_t>(i + calls);
    }
    std::printf("%zu of %zu tasks, %u calls deep\n", right, count, calls);
    return right == count;
}

[[gnu::noinline]] unsigned lock_below(unsigned calls, ma::local_mutex &mutex)
{
    unsigned volatile mine = calls;
    if (calls == 0) {
        std::lock_guard<ma::local_mutex> const lock(mutex);
        return mine;
    }
    return lock_below(calls - 1, mutex) + 1 + mine - calls;
}

bool all_lock(unsigned calls)
{
    ma::executor_options options;
    options.time_tracking = false; // So that one pass has them all.
    ma::executor ex(options);
    ma::local_mutex mutex;
    ma::task holder;
    holder.attach(ex, [&mutex] {
        ma::this_task::yield();
        std::lock_guard<ma::local_mutex> const lock(mutex);
        ma::this_task::yield();
    });
    std::vector<ma::task> tasks;
    for (int i = 0; i != 60; ++i) {
        tasks.emplace_back(ma::task_options{512 * 1024});
        tasks.back().attach(ex, [&mutex, calls] {
            ma::this_task::yield(); // Who has suspended before waits so.
            return lock_below(calls, mutex);
        });
    }
    ex.run_until_idle();
    bool right = true;
    for (auto &t : tasks) {
        right &= t.get() == static_cast<std::intptr_t>(calls);
    }
    return right;
}

monad_async_result leaves_one_in_flight(monad_async_task self)
{
    char data[64];
    monad_async_op op{};
    op.sqe.opcode = IORING_OP_READ;
    op.sqe.fd = *static_cast<int *>(self->user_ptr);
    op.sqe.addr = reinterpret_cast<std::uintptr_t>(data);
    op.sqe.len = sizeof data;
    return monad_async_op_begin(self, &op);
}

bool ends_with_one_in_flight()
{
    int ends[2];
    if (::pipe(ends) != 0) {
        return false;
    }
    ma::executor ex;
    ma::task t{ma::task_options{}};
    monad_async_task const head = t.native_handle();
    head->user_code = leaves_one_in_flight;
    head->user_ptr = &ends[0];
    bool right = true;
    for (int i = 0; i != 10; ++i) {
        right &= monad_async_task_attach(ex.native_handle(), head).error == 0;
        ex.run_until_idle();
        right &= head->result.error == 0;
    }
    ::close(ends[0]);
    ::close(ends[1]);
    return right;
}

} // namespace

int main(int argc, char **argv)
{
    in_c = argc > 1 && std::strcmp(argv[1], "c") == 0;
    std::size_t const many = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
    bool const right = all_come_back(1'000, 70) && (many == 0 || all_come_back(many, 8));
    bool const locked = right && all_lock(2'000);
    return locked && (!in_c || ends_with_one_in_flight()) ? EXIT_SUCCESS : EXIT_FAILURE;
}

// Many tasks that are suspended at once, deep in calls: a ThreadSanitizer that is not told of switches
// takes the frames of all of them for one stack, and dies. Each task keeps a value in its frames.
#include <monad/async.hpp>

#include <cstdio>
#include <vector>

namespace ma = monad::async;

namespace {

std::size_t suspended = 0;

[[gnu::noinline]] unsigned down(unsigned calls, unsigned value)
{
    unsigned volatile mine = value;
    if (calls == 0) {
        ++suspended;
        ma::this_task::park();
        ma::this_task::yield();
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

} // namespace

int main()
{
    return all_come_back(1'000, 70) && all_come_back(10'000, 8) ? 0 : 1;
}

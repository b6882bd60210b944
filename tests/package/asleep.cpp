// Threads that sleep in a ring until another wakes them: an executor's, for a plain thread and for a
// helper, and the workers of a pool.
#include <monad/async.hpp>

#include <cstdio>
#include <thread>

namespace ma = monad::async;

int main()
{
    ma::executor ex(ma::executor_options{});
    ma::event event;
    ma::task task;
    int sum = 0;
    task.attach(ex, [&] {
        event.wait();
        sum += ma::offload([] { return 1; });
    });
    std::thread other([&event] { event.set(); });
    ex.run_until_idle();
    task.get();
    other.join();

    ma::thread_pool_options options;
    options.workers = 2;
    options.executor = ma::executor_options{};
    ma::thread_pool pool(options);
    for (int i = 0; i != 10; ++i) {
        sum += pool.submit([] { return 1; }).get();
    }
    std::printf("%d\n", sum);
    return sum == 11 ? 0 : 1;
}

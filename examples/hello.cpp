// A task that sleeps, and the value it leaves behind.
#include <monad/async.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>

namespace ma = monad::async;

int main()
{
    ma::executor ex{ma::executor_options{.io_uring_entries = 64}};
    ma::task t{ma::task_options{}}; // expensive, reusable
    t.priority(ma::priority::high);
    t.attach(ex, [&] { // any callable; captured state is moved in
        ma::this_task::sleep_for(std::chrono::seconds{1});
        return 42;
    });
    while (!t.done()) {
        ex.run();
    }
    std::intptr_t const v = t.get(); // rethrows what the body threw
    std::printf("%jd\n", std::intmax_t{v});
}

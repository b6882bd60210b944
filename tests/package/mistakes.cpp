// Mistakes inside tasks, one an argument, for the sanitizers to see.
#include <monad/async.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

namespace ma = monad::async;

namespace {

// Out of sight of the optimiser.
int opaque(int n)
{
    int volatile v = n;
    return v;
}

void overflow()
{
    char array[8] = {};
    char *volatile p = array;
    ma::this_task::yield();
    p[opaque(8)] = 1;
    std::printf("%d\n", p[opaque(0)]);
}

void integer()
{
    std::printf("%d\n", opaque(std::numeric_limits<int>::max()) + opaque(1));
}

void unset()
{
    int array[8];
    array[opaque(1)] = 1;
    ma::this_task::yield();
    if (array[opaque(2)] == 42) {
        std::puts("unlikely");
    }
}

void leak()
{
    void *volatile p = std::malloc(100);
    p = nullptr;
    (void)p;
}

int shared_by_two = 0;
std::atomic<int> begun{0};

void race()
{
    // At the same time: one after the other would be in order.
    ++begun;
    while (begun < 2) {
        ma::this_task::sleep_for(std::chrono::microseconds{10});
    }
    for (int i = 0; i < 1000; ++i) {
        ++shared_by_two;
        ma::this_task::yield();
    }
}

void run(void (*body)())
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, body);
    ex.run_until_idle();
    (void)t.get();
}

} // namespace

int main(int argc, char **argv)
{
    auto const is = [&](char const *name) { return argc == 2 && std::strcmp(argv[1], name) == 0; };
    if (is("race")) {
        std::thread other([] { run(race); });
        run(race);
        other.join();
    }
    struct mistake {
        char const *name;
        void (*body)();
    };
    for (auto const &[name, body] : {mistake{"overflow", overflow}, mistake{"integer", integer},
                                     mistake{"unset", unset}, mistake{"leak", leak}}) {
        if (is(name)) {
            run(body);
        }
    }
}

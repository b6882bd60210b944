// Coroutines on an executor: one makes numbers, one adds them up, one gives up after a while.
#include <monad/async.hpp>

#include <chrono>
#include <cstdio>

namespace ma = monad::async;
using namespace std::chrono_literals;

//! [coroutines]
ma::coroutine<> make(ma::channel<int> &numbers, int count)
{
    for (int i = 1; i <= count; ++i) {
        co_await 1ms;
        numbers.send(+i); // What a coroutine calls may suspend too.
    }
    numbers.close();
}

ma::coroutine<int> sum(ma::channel<int> &numbers)
{
    int total = 0;
    while (auto const n = co_await numbers) {
        total += *n;
    }
    co_return total;
}

ma::coroutine<bool> in_time()
{
    try {
        ma::scope const s{5ms};
        co_await 1h;
    } catch (ma::timeout_error const &) {
        co_return false;
    }
    co_return true;
}
//! [coroutines]

int main()
{
    ma::executor ex;
    ma::channel<int> numbers;
    auto made = ma::run_coroutine(ex, make(numbers, 10));
    auto total = ma::run_coroutine(ex, sum(numbers));
    auto waited = ma::run_coroutine(ex, in_time());
    ex.run_until_idle();
    made.get();
    std::printf("the sum is %d", total.get());
    std::printf("; an hour was %s\n", waited.get() ? "over" : "too long");
}

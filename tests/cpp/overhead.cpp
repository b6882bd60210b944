// What a hot call costs from C++ and from C, side by side: C++ may add 3 ns at most. A program to
// read, not a test: no machine is quiet enough to fail on a nanosecond.
//
// Rounds of the two alternate and the smallest of each counts, so that a busy moment hits both.
#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>

namespace ma = monad::async;

namespace {

constexpr int rounds = 300;
constexpr int calls = 2000;

template <class F>
double ns_per_call(F &&f)
{
    auto const begun = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) {
        f();
    }
    std::chrono::duration<double, std::nano> const spent = std::chrono::steady_clock::now() - begun;
    return spent.count() / calls;
}

template <class C, class Cpp>
void compare(char const *what, C &&c, Cpp &&cpp)
{
    double best_c = std::numeric_limits<double>::max();
    double best_cpp = best_c;
    for (int i = 0; i < rounds; ++i) {
        best_c = std::min(best_c, ns_per_call(c));
        best_cpp = std::min(best_cpp, ns_per_call(cpp));
    }
    std::printf("%-44s %8.1f %8.1f %+8.1f\n", what, best_c, best_cpp, best_cpp - best_c);
}

monad_async_task make_task()
{
    monad_async_task_attr attr = {};
    monad_async_task task = nullptr;
    (void)monad_async_task_create(&task, &attr);
    return task;
}

} // namespace

int main()
{
    ma::executor ex;
    auto *const native = ex.native_handle();
    std::printf("%-44s %8s %8s %8s\n", "ns, the least of many rounds", "C", "C++", "more");

    timespec const no_wait = {};
    compare(
        "run, nothing ready", [&] { (void)monad_async_executor_run(native, SIZE_MAX, &no_wait); },
        [&] { ex.run(ma::executor::unlimited, std::chrono::seconds{0}); });

    auto *const c_task = make_task();
    c_task->user_code = [](monad_async_task) { return monad_async_make_success(1); };
    ma::task cpp_task;
    compare(
        "attach, run, exit",
        [&] {
            (void)monad_async_task_attach(native, c_task);
            (void)monad_async_executor_run(native, SIZE_MAX, nullptr);
        },
        [&] {
            cpp_task.attach(ex, [] { return 1; });
            ex.run();
        });
    std::array<std::uintptr_t, 8> captured = {};
    compare(
        "the same, 64 bytes captured",
        [&] {
            (void)monad_async_task_attach(native, c_task);
            (void)monad_async_executor_run(native, SIZE_MAX, nullptr);
        },
        [&] {
            cpp_task.attach(ex, [captured] { return captured[7]; });
            ex.run();
        });
    compare(
        "attach, run, exit, has exited, result",
        [&] {
            (void)monad_async_task_attach(native, c_task);
            while (!monad_async_task_has_exited(c_task)) {
                (void)monad_async_executor_run(native, SIZE_MAX, nullptr);
            }
            captured[0] += static_cast<std::uintptr_t>(c_task->result.value);
        },
        [&] {
            cpp_task.attach(ex, [] { return 1; });
            while (!cpp_task.done()) {
                ex.run();
            }
            captured[0] += static_cast<std::uintptr_t>(cpp_task.get());
        });

    // Both loop inside one task, so that only the suspension differs.
    double best_c = std::numeric_limits<double>::max();
    double best_cpp = best_c;
    for (int i = 0; i < rounds; ++i) {
        ma::task t;
        auto const run = [&](auto yield, double &best) {
            t.attach(ex, [&, yield] { best = std::min(best, ns_per_call(yield)); });
            while (!t.done()) {
                (void)monad_async_executor_run(native, SIZE_MAX, nullptr);
            }
        };
        run([self = t.native_handle()] { (void)monad_async_task_suspend_for_duration(self, 0); }, best_c);
        run([] { ma::this_task::yield(); }, best_cpp);
    }
    std::printf("%-44s %8.1f %8.1f %+8.1f\n", "yield, run", best_c, best_cpp, best_cpp - best_c);
    (void)monad_async_task_destroy(c_task);
    return captured[0] == 0 ? 1 : 0;
}

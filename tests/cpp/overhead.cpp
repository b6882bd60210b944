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
#include <system_error>

namespace ma = monad::async;

namespace {

constexpr int rounds = 3000; // Short ones: some fall between the disturbances.
constexpr int calls = 500;
constexpr double limit_ns = 3; // More than C, for each hot call.

template <class F> double ns_per_call(F &&f)
{
    auto const begun = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) {
        f();
    }
    std::chrono::duration<double, std::nano> const spent = std::chrono::steady_clock::now() - begun;
    return spent.count() / calls;
}

// One line: what `calls_n` hot calls cost, and what they may cost more in C++.
template <class C, class Cpp> void compare(char const *what, int calls_n, C &&c, Cpp &&cpp)
{
    double best_c = std::numeric_limits<double>::max();
    double best_cpp = best_c;
    for (int i = 0; i < rounds; ++i) {
        best_c = std::min(best_c, ns_per_call(c));
        best_cpp = std::min(best_cpp, ns_per_call(cpp));
    }
    std::printf("%-44s %8.1f %8.1f %+8.1f %8.1f\n", what, best_c, best_cpp, best_cpp - best_c,
                limit_ns * calls_n);
}

ma::executor make_executor()
{
    try {
        ma::executor_options options;
        options.io_uring_entries = 8;
        return ma::executor(options);
    } catch (std::system_error const &e) {
        std::printf("no I/O here: %s\n", e.what());
        return ma::executor();
    }
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
    auto ex = make_executor();
    auto *const native = ex.native_handle();
    std::printf("%-44s %8s %8s %8s %8s\n", "ns, the least of many rounds", "C", "C++", "more",
                "limit");

    timespec const no_wait = {};
    compare(
        "run, nothing ready", 1,
        [&] { (void)monad_async_executor_run(native, SIZE_MAX, &no_wait); },
        [&] { ex.run(ma::executor::unlimited, std::chrono::seconds{0}); });

    auto *const c_task = make_task();
    c_task->user_code = [](monad_async_task) { return monad_async_make_success(1); };
    ma::task cpp_task;
    compare(
        "attach, run; the body exits", 2,
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
        "the same, 64 bytes captured", 2,
        [&] {
            (void)monad_async_task_attach(native, c_task);
            (void)monad_async_executor_run(native, SIZE_MAX, nullptr);
        },
        [&] {
            cpp_task.attach(ex, [captured] { return captured[7]; });
            ex.run();
        });
    compare(
        "attach, run, done, get", 4,
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

    // Inside a task; the executor runs in the same way for both.
    ma::task inside;
    inside.attach(ex, [] {
        auto *const self = ma::this_task::current();
        compare(
            "yield", 1, [self] { (void)monad_async_task_suspend_for_duration(self, 0); },
            [] { ma::this_task::yield(); });
        io_uring_sqe nop = {};
        nop.opcode = IORING_OP_NOP;
        if (monad_async_task_io(self, &nop).error != 0) {
            return;
        }
        compare(
            "io, a NOP", 1, [&] { (void)monad_async_task_io(self, &nop); },
            [&] { (void)ma::this_task::io(nop); });
    });
    ex.run_until_idle();
    (void)inside.get();
    (void)monad_async_task_destroy(c_task);
    return captured[0] == 0 ? 1 : 0;
}

// Two builds of the shared library, side by side in one process: each workload runs on the one and
// on the other in turns, and the figure is the median of the ratios of the pairs. So what else the
// machine does hits both; and what one thread does is timed by its own CPU time. Knows the C API
// alone, and reaches it by dlsym.
//
//   ab BEFORE.so AFTER.so [rounds [part of a workload's name]]

#include "floors.hpp"
#include "foreign.hpp"
#include "stage.hpp"

#include <monad/async.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

// Uses as much stack as a body with a few calls and a small buffer does.
template <size_t bytes> monad_async_result deep(monad_async_task)
{
    char volatile used[bytes];
    for (size_t i = 0; i < bytes; i += 64) {
        used[i] = 1;
    }
    return {used[0], 0, 0};
}

monad_async_result sleeps(monad_async_task task)
{
    auto &stage = of(task);
    for (unsigned i = stage.left; i != 0; --i) {
        auto const r = stage.build.task_suspend_for_duration(task, stage.sleep_ns);
        if (r.error != 0) {
            return r;
        }
    }
    return {0, 0, 0};
}

monad_async_result nops(monad_async_task task)
{
    auto &stage = of(task);
    for (unsigned i = stage.left; i != 0; --i) {
        io_uring_sqe sqe{};
        sqe.opcode = IORING_OP_NOP;
        auto const r = stage.build.task_io(task, &sqe);
        if (r.error != 0) {
            return r;
        }
    }
    return {0, 0, 0};
}

// The same except for where it suspends.
monad_async_result sleeps_elsewhere(monad_async_task task)
{
    auto &stage = of(task);
    unsigned left = stage.left;
    while (left-- != 0) {
        auto const r = stage.build.task_suspend_for_duration(task, 0);
        if (r.error != 0) {
            return r;
        }
    }
    return {1, 0, 0};
}

// In a scope of so long, a NOP or nothing.
template <uint64_t timeout_ns, bool asks> monad_async_result scoped(monad_async_task task)
{
    auto &stage = of(task);
    monad_async_scope scope;
    for (unsigned i = stage.left; i != 0; --i) {
        (void)stage.build.scope_enter(task, &scope, timeout_ns, 0);
        if (asks) {
            io_uring_sqe sqe{};
            sqe.opcode = IORING_OP_NOP;
            auto const r = stage.build.task_io(task, &sqe);
            if (r.error != 0) {
                return r;
            }
        }
        (void)stage.build.scope_leave(task, &scope);
    }
    return {0, 0, 0};
}

struct Workload {
    char const *name;
    std::function<Round(Build const &)> make;
};

Round launches(Build const &build, bool tracks, size_t count,
               monad_async_result (*body)(monad_async_task) = nothing)
{
    auto stage = std::make_shared<Stage>(build, 0, tracks, count, body);
    stage->left = 1;
    return [stage, count] {
        size_t const times = 40000 / count;
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (size_t i = 0; i < times; ++i) {
            stage->attach_all();
            stage->finish();
        }
        return double(now_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / double(times * count);
    };
}

Round loops(Build const &build, bool tracks, monad_async_result (*body)(monad_async_task),
            unsigned entries, size_t count, unsigned each, uint64_t sleep_ns, clockid_t clock)
{
    auto stage = std::make_shared<Stage>(build, entries, tracks, count, body);
    stage->left = each;
    stage->sleep_ns = sleep_ns;
    return [stage, count, each, clock] {
        auto const begun = now_ns(clock);
        stage->attach_all();
        stage->finish();
        return double(now_ns(clock) - begun) / (double(count) * each);
    };
}

// Yields of 64 tasks, of two bodies in an order without a pattern: what a predictor of returns and
// of jumps makes of it.
Round at_random(Build const &build, bool tracks)
{
    auto stage = std::make_shared<Stage>(build, 0, tracks, 64, sleeps);
    stage->left = 1000;
    unsigned state = 1;
    for (auto *task : stage->tasks) {
        state = state * 1664525u + 1013904223u;
        task->user_code = (state >> 31) == 0 ? sleeps : sleeps_elsewhere;
    }
    return [stage] {
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        stage->attach_all();
        stage->finish();
        return double(now_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / (64.0 * 1000);
    };
}

// As many as memory has room for, or a million: each resumption is of the one that was suspended
// longest. 10,000 a round, without end: the tasks of both builds wait their turn all the time.
struct Many {
    Stage stage;
    bool go = true;
    Many(Build const &build, size_t count) : stage(build, 0, true, count, turns)
    {
        for (auto *task : stage.tasks) {
            task->user_ptr = this;
        }
        stage.attach_all();
        must(build.executor_run(stage.ex, SIZE_MAX, nullptr), "run");
    }
    ~Many()
    {
        go = false;
        stage.finish();
    }
    static monad_async_result turns(monad_async_task task)
    {
        auto &many = *static_cast<Many *>(task->user_ptr);
        while (many.go) {
            auto const r = many.stage.build.task_suspend_for_duration(task, 0);
            if (r.error != 0) {
                return r;
            }
        }
        return {0, 0, 0};
    }
};

Round a_million(Build const &build)
{
    // Header and hot end of the stack; two builds have as many each.
    auto const free_bytes = double(sysconf(_SC_AVPHYS_PAGES)) * double(sysconf(_SC_PAGESIZE));
    static size_t const count = std::min<size_t>(1000000, size_t(free_bytes / 4 / (5 << 10)));
    auto many = std::make_shared<Many>(build, count);
    return [many] {
        constexpr size_t items = 10000;
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        must(many->stage.build.executor_run(many->stage.ex, items, nullptr), "run");
        return double(now_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / double(items);
    };
}

// More than a pool keeps warm, so that most stacks are memory that nobody has touched.
constexpr size_t fresh = 10000;

Round creations(Build const &build)
{
    return [&build] {
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        Stage const stage(build, 0, true, fresh, nothing);
        return double(now_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / double(fresh);
    };
}

// The launch of a task that was just made, up to its first suspension.
Round first_suspensions(Build const &build)
{
    return [&build] {
        Stage stage(build, 0, true, fresh, sleeps);
        stage.left = 1;
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        stage.attach_all();
        must(build.executor_run(stage.ex, SIZE_MAX, nullptr), "run");
        auto const ended = now_ns(CLOCK_THREAD_CPUTIME_ID);
        stage.finish();
        return double(ended - begun) / double(fresh);
    };
}

double resident_bytes()
{
    long pages = 0;
    auto *const file = std::fopen("/proc/self/statm", "r");
    if (file == nullptr || std::fscanf(file, "%*d %ld", &pages) != 1) {
        std::perror("/proc/self/statm");
        std::exit(1);
    }
    std::fclose(file);
    return double(pages) * double(sysconf(_SC_PAGESIZE));
}

// Bytes, and not nanoseconds. What the pool keeps warm is resident before: it is a tenth at most.
Round residents(Build const &build, bool suspended)
{
    return [&build, suspended] {
        auto const before = resident_bytes();
        Stage stage(build, 0, true, fresh, sleeps);
        stage.left = 1;
        if (suspended) {
            stage.attach_all();
            must(build.executor_run(stage.ex, SIZE_MAX, nullptr), "run");
        }
        auto const bytes = resident_bytes() - before;
        stage.finish();
        return bytes / double(fresh);
    };
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 3) {
        std::fprintf(stderr, "usage: ab BEFORE.so AFTER.so [rounds [name]]\n");
        return 2;
    }
    Build const before(argv[1]), after(argv[2]);
    unsigned const rounds = argc > 3 ? unsigned(std::atoi(argv[3])) : 201;
    constexpr bool on = true, off = false;
    constexpr uint64_t ms = 1000000;
    constexpr auto cpu = CLOCK_THREAD_CPUTIME_ID;
    Workload const workloads[] = {
        {"launch, 400 tasks", [](Build const &b) { return launches(b, on, 400); }},
        {"launch, no time tracking", [](Build const &b) { return launches(b, off, 400); }},
        {"launch, 1,024 tasks", [](Build const &b) { return launches(b, on, 1024); }},
        {"launch, 4 at a time", [](Build const &b) { return launches(b, on, 4); }},
        {"launch, 16 at a time", [](Build const &b) { return launches(b, on, 16); }},
        {"launch, 64 at a time", [](Build const &b) { return launches(b, on, 64); }},
        {"launch, 256 at a time", [](Build const &b) { return launches(b, on, 256); }},
        {"launch, 512 bytes of stack",
         [](Build const &b) { return launches(b, on, 400, deep<512>); }},
        {"launch, 2 KiB of stack", [](Build const &b) { return launches(b, on, 400, deep<2048>); }},
        {"launch, 6 KiB of stack", [](Build const &b) { return launches(b, on, 400, deep<6144>); }},
        {"launch, 2 KiB of stack, no time tracking",
         [](Build const &b) { return launches(b, off, 400, deep<2048>); }},
        {"launch, 10,000 tasks", [](Build const &b) { return launches(b, on, 10000); }},
        {"launch, 10,000 tasks, 2 KiB of stack",
         [](Build const &b) { return launches(b, on, 10000, deep<2048>); }},
        {"launch, 10,000 tasks, no time tracking",
         [](Build const &b) { return launches(b, off, 10000); }},
        {"launch, one at a time", [](Build const &b) { return launches(b, on, 1); }},
        {"launch, one yield, finish", [](Build const &b) { return launches(b, on, 400, sleeps); }},
        {"same, no time tracking", [](Build const &b) { return launches(b, off, 400, sleeps); }},
        {"two bodies' yields at random", [](Build const &b) { return at_random(b, on); }},
        {"same, no time tracking", [](Build const &b) { return at_random(b, off); }},
        {"yield among 64",
         [](Build const &b) { return loops(b, on, sleeps, 0, 64, 1000, 0, cpu); }},
        {"yield, no time tracking",
         [](Build const &b) { return loops(b, off, sleeps, 0, 64, 1000, 0, cpu); }},
        {"yield, one at a time",
         [](Build const &b) { return loops(b, on, sleeps, 0, 1, 20000, 0, cpu); }},
        {"NOP among 64", [](Build const &b) { return loops(b, on, nops, 128, 64, 200, 0, cpu); }},
        {"NOP, no time tracking",
         [](Build const &b) { return loops(b, off, nops, 128, 64, 200, 0, cpu); }},
        {"NOP, one at a time",
         [](Build const &b) { return loops(b, on, nops, 128, 1, 2000, 0, cpu); }},
        {"NOP among 4", [](Build const &b) { return loops(b, on, nops, 128, 4, 2000, 0, cpu); }},
        {"NOP among 16", [](Build const &b) { return loops(b, on, nops, 128, 16, 500, 0, cpu); }},
        {"NOP among 256", [](Build const &b) { return loops(b, on, nops, 512, 256, 50, 0, cpu); }},
        {"scope of 5 s",
         [](Build const &b) {
             return loops(b, on, scoped<5000 * ms, false>, 0, 1, 20000, 0, cpu);
         }},
        {"scope of 0.1 s",
         [](Build const &b) { return loops(b, on, scoped<100 * ms, false>, 0, 1, 20000, 0, cpu); }},
        {"scope of 5 s, a NOP among 64",
         [](Build const &b) {
             return loops(b, on, scoped<5000 * ms, true>, 128, 64, 200, 0, cpu);
         }},
        {"scope of 0.1 s, a NOP among 64",
         [](Build const &b) { return loops(b, on, scoped<100 * ms, true>, 128, 64, 200, 0, cpu); }},
        {"yield of the oldest of a million", a_million},
        {"sleep of 50 us among 512",
         [](Build const &b) { return loops(b, on, sleeps, 8, 512, 40, 50000, cpu); }},
        {"sleep of 1 ms among 10,000",
         [](Build const &b) { return loops(b, on, sleeps, 8, 10000, 20, ms, cpu); }},
        {"launch from another thread", foreign},
        {"create, one of 10,000, destroy", creations},
        {"first suspension", first_suspensions},
        {"idle task, resident bytes", [](Build const &b) { return residents(b, false); }},
        {"suspended, resident bytes", [](Build const &b) { return residents(b, true); }},
    };
    // A row: the one in turns with the other.
    auto const compare = [&](char const *name, Round const &a, Round const &b) {
        a();
        b();
        std::vector<double> of_a, of_b, ratios;
        for (unsigned i = 0; i < rounds; ++i) {
            // Who goes first takes turns, too.
            double const first = i % 2 == 0 ? a() : b(), second = i % 2 == 0 ? b() : a();
            of_a.push_back(i % 2 == 0 ? first : second);
            of_b.push_back(i % 2 == 0 ? second : first);
            ratios.push_back(of_b.back() / of_a.back());
        }
        std::sort(ratios.begin(), ratios.end());
        std::printf("%-42s %10.1f %10.1f %8.3f    %.3f to %.3f\n", name, median(of_a), median(of_b),
                    median(ratios), ratios[ratios.size() / 4], ratios[ratios.size() * 3 / 4]);
        std::fflush(stdout);
    };
    auto const wanted = [&](char const *name) {
        return argc <= 4 || std::strstr(name, argv[4]) != nullptr;
    };
    std::printf("%-42s %10s %10s %8s %16s\n", "ns each, medians", "before", "after", "ratio",
                "25% to 75%");
    for (auto const &workload : workloads) {
        if (wanted(workload.name)) {
            compare(workload.name, workload.make(before), workload.make(after));
        }
    }
    // What holds them back: the same next to the least that does it.
    auto const yields = [&](bool tracks) {
        return loops(after, tracks, sleeps, 0, 64, 1000, 0, cpu);
    };
    Workload const floors[] = {
        {"floor: two stamps; launch", [](Build const &) { return stamps(2); }},
        {"floor: bare launch; launch", [](Build const &) { return bare_launches(on); }},
        {"floor: bare launch; no time tracking", [](Build const &) { return bare_launches(off); }},
        {"floor: whole launch; launch", [](Build const &) { return whole_launches(on); }},
        {"floor: whole launch; no time tracking",
         [](Build const &) { return whole_launches(off); }},
        {"floor: one stamp; yield", [](Build const &) { return stamps(1); }},
    };
    Round const against[] = {launches(after, on, 400),  launches(after, on, 400),
                             launches(after, off, 400), launches(after, on, 400),
                             launches(after, off, 400), yields(on)};
    std::printf("%-42s %10s %10s %8s %16s\n", "the same next to a floor", "floor", "after", "ratio",
                "25% to 75%");
    for (size_t i = 0; i < std::size(floors); ++i) {
        if (wanted(floors[i].name)) {
            compare(floors[i].name, floors[i].make(after), against[i]);
        }
    }
}

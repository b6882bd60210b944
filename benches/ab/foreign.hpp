// Launches from another thread, each of the two on a processor of its own.
#pragma once

#include "floors.hpp"
#include "stage.hpp"

#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>

#include <sched.h>

// Nanoseconds that the calling thread wanted a processor and had none.
inline double waited_ns()
{
    unsigned long ran = 0, waited = 0;
    if (auto *const file = std::fopen("/proc/thread-self/schedstat", "r")) {
        (void)!std::fscanf(file, "%lu %lu", &ran, &waited);
        std::fclose(file);
    }
    return double(waited);
}

// The calling thread is on a processor of its own as long as this lives: on the `n`th of those that
// it may use, or, with fewer, on any.
class Bound {
    cpu_set_t before{};

public:
    explicit Bound(unsigned n)
    {
        sched_getaffinity(0, sizeof before, &before);
        for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (CPU_ISSET(cpu, &before) && n-- == 0) {
                cpu_set_t one{};
                CPU_SET(cpu, &one);
                sched_setaffinity(0, sizeof one, &one);
                break;
            }
        }
    }
    ~Bound() { sched_setaffinity(0, sizeof before, &before); }
    Bound(Bound const &) = delete;
};

constexpr unsigned foreign_times = 100;

// What the other thread does, once both are where they belong: launches, again as soon as a task has
// exited. How long it had no processor.
inline double launch_from_here(Stage &stage, std::atomic<unsigned> &at)
{
    Bound const bound(1);
    double const waited = waited_ns();
    at = 1;
    while (at != 2) {
    }
    for (unsigned i = 0; i < foreign_times; ++i) {
        for (auto *task : stage.tasks) {
            while (i != 0 && !stage.build.task_has_exited(task)) {
            }
            must(stage.build.task_attach(stage.ex, task), "attach");
        }
    }
    for (auto *task : stage.tasks) {
        while (!stage.build.task_has_exited(task)) {
        }
    }
    at = 3;
    return waited_ns() - waited;
}

// A thread launches, this one runs, each on a processor of its own: a round in which one of them had
// none for a twentieth of the time does not count, unless there are ten such in a row.
inline Round foreign(Build const &build)
{
    auto stage = std::make_shared<Stage>(build, 0, true, 512, nothing);
    return [stage] {
        double each = 0;
        for (unsigned tries = 0; tries < 10; ++tries) {
            std::atomic<unsigned> at{0};
            double others_wait = 0;
            std::thread other([&] { others_wait = launch_from_here(*stage, at); });
            Bound const bound(0);
            while (at != 1) {
                sched_yield();
            }
            double waited = waited_ns();
            auto const begun = now_ns(CLOCK_MONOTONIC);
            at = 2;
            timespec const at_once{0, 0};
            while (at != 3) {
                (void)stage->build.executor_run(stage->ex, SIZE_MAX, &at_once).error;
            }
            auto const took = double(now_ns(CLOCK_MONOTONIC) - begun);
            waited = waited_ns() - waited;
            other.join();
            each = took / (foreign_times * double(stage->tasks.size()));
            if (waited + others_wait < took / 20) {
                break;
            }
        }
        return each;
    };
}

// What is measured next to a build of the library: the least that does the same. And how.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <vector>

// Nanoseconds an operation, of one round.
using Round = std::function<double()>;

inline uint64_t now_ns(clockid_t clock)
{
    timespec ts{};
    clock_gettime(clock, &ts);
    return static_cast<uint64_t>(ts.tv_sec) * 1000000000 + static_cast<uint64_t>(ts.tv_nsec);
}

// What no build can do without: a launch as its contract has it, and nothing else. The fields of the
// header that anybody may read are written, the task goes into a list and comes out of it, and two
// functions are called by pointers: the one that attaches and the task's. Nothing is checked, and
// nobody may ask, cancel, suspend, or have another priority.
struct alignas(128) Bare {
    Bare *next;
    Bare *(*user_code)(Bare *);
    uint64_t result[2];
    void *executor;
    uint64_t attached;
    uint32_t flags;
    uint32_t state;
    uint64_t detached, awaiting, completed, resumed, executed;
    uint64_t rest[36];
};

struct BareList {
    Bare *head = nullptr, *tail = nullptr;
    uint64_t pending = 0;
    bool tracks;
};

inline uint64_t stamp()
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#endif
}

inline Bare *bare_body(Bare *task)
{
    return task;
}

inline void bare_attach(BareList &list, Bare *task)
{
    task->attached = list.tracks ? stamp() : 0;
    task->detached = task->awaiting = task->completed = task->resumed = task->executed = 0;
    task->executor = &list;
    task->flags = 1;
    task->state = 1;
    task->next = nullptr;
    (list.head == nullptr ? list.head : list.tail->next) = task;
    list.tail = task;
    ++list.pending;
}

inline void bare_run(BareList &list)
{
    uint64_t now = list.tracks ? stamp() : 0;
    while (auto *const task = list.head) {
        list.head = task->next;
        --list.pending;
        task->flags = 256;
        task->resumed = now;
        task->result[0] = reinterpret_cast<uintptr_t>(task->user_code(task));
        task->result[1] = 0;
        now = list.tracks ? stamp() : 0;
        task->executed += now - task->resumed;
        task->detached = now;
        task->flags = 0;
        task->executor = nullptr;
        task->state = 2;
    }
}

inline Round bare_launches(bool tracks)
{
    constexpr size_t count = 400, times = 100;
    auto tasks = std::make_shared<std::vector<Bare>>(count);
    return [tasks, tracks] {
        void (*volatile attach)(BareList &, Bare *) = bare_attach;
        void (*volatile run)(BareList &) = bare_run;
        BareList list;
        list.tracks = tracks;
        for (auto &task : *tasks) {
            task.user_code = bare_body;
        }
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (size_t i = 0; i < times; ++i) {
            for (auto &task : *tasks) {
                attach(list, &task);
            }
            run(list);
        }
        return double(now_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / double(times * count);
    };
}

// So many readings of the counter, one behind the other.
inline Round stamps(unsigned each)
{
    return [each] {
        constexpr unsigned times = 40000;
        uint64_t volatile last = 0;
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (unsigned i = 0; i < times; ++i) {
            for (unsigned n = 0; n < each; ++n) {
                last = stamp();
            }
        }
        (void)last;
        return double(now_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / times;
    };
}

// What is measured next to a build of the library: the least that does the same. And how.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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

// A launch with all that its contract asks for: each check, each word that somebody may read, a list
// for each priority, out of which a task can be taken in the middle. Written by hand, with one stack,
// and nothing that does not belong to a launch.
struct alignas(128) Whole {
    uint8_t cpu, io;
    uint64_t result[2];
    Whole *(*user_code)(Whole *);
    void *user_ptr;
    uint32_t flags;
    void *executor;
    uint64_t attached, detached, awaiting, completed, resumed, executed;
    Whole *next, *prev;
    uint8_t waits, level, marks, opcode;
    uint16_t operation;
    uint8_t state, notes;
    uint64_t outcome, run;
    void *mailbox;
    void **stack;
    uint64_t rest[3];
    uint8_t stack_size;
    uint64_t more[20];
};

struct WholeList {
    Whole *head, *tail;
};

struct Levels {
    Whole *current = nullptr;
    uint64_t pending = 0, owner = 0;
    bool tracks = false, is_looked_at = false, keeps = false, is_child = false;
    uint64_t *exceptions = nullptr;
    void *mailbox = nullptr;
    WholeList lists[3] = {};
    uint32_t occupied = 0;
    uint64_t pushed = 0, popped = 0, last = 0, begun = 0, bound_ticks = ~uint64_t{0};
    void *stack[8] = {};
};

inline thread_local uint64_t this_thread = 1;

inline Whole *whole_body(Whole *task)
{
    return task;
}

inline int whole_attach(Levels *ex, Whole *task)
{
    if (ex == nullptr || task == nullptr) {
        return EINVAL;
    }
    if (ex->owner != this_thread || ex->is_looked_at) {
        return EPERM;
    }
    if ((__atomic_load_n(&task->state, __ATOMIC_ACQUIRE) & 1) != 0) {
        return EBUSY;
    }
    if (task->user_code == nullptr) {
        return EINVAL;
    }
    uint64_t const now = ex->tracks ? stamp() : 0;
    uint8_t const level = task->cpu < 2 ? task->cpu : 2;
    ++task->run;
    task->mailbox = ex->mailbox;
    task->executor = ex;
    task->waits = 1;
    task->level = level;
    task->marks = task->opcode = 0;
    task->flags = 1;
    task->attached = now;
    task->detached = task->awaiting = task->completed = task->resumed = task->executed = 0;
    __atomic_store_n(&task->state, uint8_t{1}, __ATOMIC_RELEASE);
    ++ex->pending;
    auto &list = ex->lists[level];
    task->next = nullptr;
    task->prev = list.tail;
    if (list.head == nullptr) {
        list.head = task;
        ex->occupied |= 1u << level;
    } else {
        list.tail->next = task;
    }
    list.tail = task;
    ++ex->pushed;
    return 0;
}

inline void whole_ends(Whole *task)
{
    task->flags = 0;
    task->executor = nullptr;
    __atomic_store_n(&task->state, uint8_t{2}, __ATOMIC_RELEASE);
}

// What may be launched behind `task`, which has ended; null: it is to be looked at what else there is.
inline Whole *whole_next(Levels *ex, Whole *task, uint64_t &now)
{
    if (task != nullptr) {
        bool const has_exceptions = ex->exceptions[0] != 0 || uint32_t(ex->exceptions[1]) != 0;
        if (ex->popped == ex->last || (task->marks & 0x70) != 0 || has_exceptions || ex->keeps ||
            ex->is_child) {
            return nullptr;
        }
    }
    if (ex->occupied == 0) {
        return nullptr;
    }
    auto &list = ex->lists[__builtin_ctz(ex->occupied)];
    auto *const next = list.head;
    if (next->flags != 1 || (task != nullptr && next->stack_size != task->stack_size)) {
        return nullptr;
    }
    if (ex->tracks) {
        now = stamp();
        if (now - ex->begun >= ex->bound_ticks) {
            return nullptr;
        }
    }
    list.head = next->next;
    if (list.head == nullptr) {
        ex->occupied &= ex->occupied - 1;
    }
    ++ex->popped;
    next->waits = 0;
    return next;
}

inline void whole_run(Levels *ex)
{
    while (ex->occupied != 0) {
        uint64_t now = ex->tracks ? stamp() : 0;
        ex->begun = now;
        ex->last = ex->popped + 64;
        Whole *task = nullptr;
        while (auto *const next = whole_next(ex, task, now)) {
            if (task != nullptr) {
                if (ex->tracks) {
                    task->executed += now - task->resumed;
                    task->detached = now;
                }
                whole_ends(task);
            }
            next->stack = ex->stack;
            ex->stack[2] = next;
            --ex->pending;
            next->flags = 256;
            if (ex->tracks) {
                next->resumed = now;
            }
            ex->current = next;
            task = next;
            if (task->user_code != nullptr) {
                task->result[0] = reinterpret_cast<uintptr_t>(task->user_code(task));
                task->result[1] = 0;
                if ((task->notes & 2) != 0) {
                    std::abort();
                }
            }
            ex = static_cast<Levels *>(task->executor);
        }
        whole_ends(task);
        ex->current = nullptr;
    }
}

inline Round whole_launches(bool tracks)
{
    constexpr size_t count = 400, times = 100;
    auto tasks = std::make_shared<std::vector<Whole>>(count);
    return [tasks, tracks] {
        int (*volatile attach)(Levels *, Whole *) = whole_attach;
        void (*volatile run)(Levels *) = whole_run;
        uint64_t exceptions[2] = {};
        Levels ex;
        ex.tracks = tracks;
        ex.owner = this_thread;
        ex.exceptions = exceptions;
        for (auto &task : *tasks) {
            task.cpu = 1;
            task.user_code = whole_body;
        }
        auto const begun = now_ns(CLOCK_THREAD_CPUTIME_ID);
        for (size_t i = 0; i < times; ++i) {
            for (auto &task : *tasks) {
                if (attach(&ex, &task) != 0) {
                    std::abort();
                }
            }
            run(&ex);
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

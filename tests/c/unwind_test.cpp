// What unwinds a task's stack while the program runs: a sampling profiler, whose signal may arrive
// at any instruction of a switch, and allocators and heap profilers, which unwind at every malloc.
// A backtrace of a task ends at the base of its stack.

#include "support.hpp"

#include <monad/async/file.h>
#include <monad/async/mutex.h>

#include <array>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <set>
#include <stdexcept>

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#if defined(__SANITIZE_ADDRESS__)
    #define UNDER_ASAN
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
        #define UNDER_ASAN
    #endif
#endif

using namespace support;

namespace {

constexpr int frames_max = 100;

struct Backtrace {
    int count = 0;
    void *frames[frames_max];
};

[[maybe_unused]] _Unwind_Reason_Code add_frame(_Unwind_Context *context, void *to)
{
    auto &trace = *static_cast<Backtrace *>(to);
    if (_Unwind_GetIP(context) == 0) {
        return _URC_NO_REASON; // Behind the outermost frame.
    }
    if (trace.count == frames_max) {
        return _URC_END_OF_STACK;
    }
    trace.frames[trace.count++] = reinterpret_cast<void *>(_Unwind_GetIP(context));
    return _URC_NO_REASON;
}

// The first call loads what the others use, which a signal handler must not.
void warm_up()
{
    void *frames[4];
    backtrace(frames, 4);
}

// A signal's handler on a stack of its own, until it goes.
class Handler {
public:
    Handler(int signal, void (*handler)(int, siginfo_t *, void *)) : signal_(signal)
    {
        struct sigaction action {};
        action.sa_sigaction = handler;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER;
        sigaction(signal, &action, &before_);
    }
    Handler(Handler const &) = delete;
    ~Handler() { sigaction(signal_, &before_, nullptr); }

private:
    int signal_;
    struct sigaction before_ {};
};

class AlternateStack {
public:
    AlternateStack()
    {
        stack_t stack{};
        stack.ss_sp = bytes_.data();
        stack.ss_size = bytes_.size();
        sigaltstack(&stack, &before_);
    }
    AlternateStack(AlternateStack const &) = delete;
    ~AlternateStack() { sigaltstack(&before_, nullptr); }

private:
    std::vector<char> bytes_ = std::vector<char>(size_t{1} << 18);
    stack_t before_{};
};

#if defined(__x86_64__) && !defined(UNDER_ASAN) && !defined(UNDER_TSAN)

// Calls `f` of `arg` with the marks of `number` in rbx and rbp, which a switch keeps; gives what they
// are afterwards.
struct Marks {
    uint64_t rbx, rbp;
};
constexpr uint64_t rbx_mark = 0xbb00000000000000, rbp_mark = 0x5500000000000000;
extern "C" Marks unwind_test_marked(void (*f)(void *), void *arg, uint64_t rbx, uint64_t rbp);
extern "C" char const unwind_test_marked_return[];
asm(R"(
    .pushsection .text
    .type unwind_test_marked, @function
unwind_test_marked:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rbx
    movq %rcx, %rbp
    call *%rax
unwind_test_marked_return:
    movq %rbx, %rax
    movq %rbp, %rdx
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
    .cfi_endproc
    .size unwind_test_marked, . - unwind_test_marked
    .popsection
)");

template <class F> void marked(uint64_t number, F f)
{
    auto const call = [](void *arg) { (*static_cast<F *>(arg))(); };
    auto const after = unwind_test_marked(call, &f, rbx_mark | number, rbp_mark | number);
    EXPECT_EQ(after.rbx, rbx_mark | number);
    EXPECT_EQ(after.rbp, rbp_mark | number);
}

struct Step {
    uintptr_t at;
    bool crashed;
    // Of the frame of `unwind_test_marked`: its number, 0 if there is none; and whether rbx and rbp
    // are what they were there.
    uint64_t number;
    bool right;
    Backtrace trace;
};

_Unwind_Reason_Code look_at_frame(_Unwind_Context *context, void *to)
{
    auto &step = *static_cast<Step *>(to);
    constexpr int rbx = 3, rbp = 6; // As debug information has them.
    if (_Unwind_GetIP(context) == reinterpret_cast<uintptr_t>(unwind_test_marked_return)) {
        uint64_t const number = _Unwind_GetGR(context, rbx) ^ rbx_mark;
        step.right = number - 1 < 3 && _Unwind_GetGR(context, rbp) == (rbp_mark | number);
        step.number = number;
    }
    return add_frame(context, &step.trace);
}

std::vector<Step> steps; // reserved: the handler does not allocate
sigjmp_buf out_of_the_unwinder;
sig_atomic_t volatile unwinding;

sig_atomic_t volatile is_over;

void on_step(int, siginfo_t *, void *context)
{
    auto &registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
    if (is_over) {
        registers[REG_EFL] &= ~0x100; // Not by pushfq, which no unwinder knows of.
        return;
    }
    if (steps.size() == steps.capacity()) {
        return;
    }
    steps.push_back({static_cast<uintptr_t>(registers[REG_RIP]), false, 0, true, {}});
    unwinding = 1;
    if (sigsetjmp(out_of_the_unwinder, 1) == 0) {
        _Unwind_Backtrace(look_at_frame, &steps.back());
    } else {
        steps.back().crashed = true;
    }
    unwinding = 0;
}

void on_crash(int signal, siginfo_t *, void *)
{
    if (unwinding) {
        siglongjmp(out_of_the_unwinder, 1);
    }
    std::signal(signal, SIG_DFL);
}

__attribute__((noinline)) void drive(monad_async_executor ex)
{
    is_over = 0;
    asm volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
    for (int i = 0; i < 40 && monad_async_executor_has_work(ex); ++i) {
        (void)monad_async_executor_run(ex, no_bound, nullptr);
    }
    is_over = 1;
}

#endif

// The trap flag stops the program after each instruction of launch, yield, resume, I/O and exit. At
// each, the frames are found, and what rbx and rbp were in those that have marks there.
void expect_frames_at_every_instruction([[maybe_unused]] Executor const &ex,
                                        [[maybe_unused]] int many, [[maybe_unused]] bool has_ring)
{
#if !defined(__x86_64__)
    GTEST_SKIP() << "no trap flag on this processor";
#elif defined(UNDER_ASAN)
    GTEST_SKIP() << "AddressSanitizer's switch is corosensei's";
#elif defined(UNDER_TSAN)
    GTEST_SKIP() << "ThreadSanitizer delays handlers of signals, the one of each instruction, too";
#else
    #ifdef __clang__
    GTEST_SKIP() << "marks frames in registers that clang keeps otherwise";
    #endif
    warm_up();
    constexpr uint64_t by_drive = 3;
    monad_async_local_mutex mutex = MONAD_ASYNC_LOCAL_MUTEX_INIT;
    std::vector<Task> tasks;
    auto const yields = [many](monad_async_task self) {
        for (int i = 0; i < many; ++i) {
            (void)yield(self);
        }
    };
    tasks.emplace_back([yields](monad_async_task self) {
        yields(self);
        return yield(self);
    });
    // The first has it while the second waits, and so on.
    auto const hands_over = [&mutex](monad_async_task self) {
        for (int i = 0; i < 2; ++i) {
            (void)monad_async_local_mutex_lock(self, &mutex);
            (void)yield(self);
            (void)monad_async_local_mutex_unlock(self, &mutex);
        }
    };
    for (uint64_t number : {1, 2}) {
        tasks.emplace_back([number, yields, hands_over](monad_async_task self) {
            marked(number, [self, yields, hands_over] {
                hands_over(self);
                yields(self);
            });
            return success();
        });
    }
    tasks.emplace_back([](monad_async_task self) {
        try {
            throw std::runtime_error{"suspended while this is caught"};
        } catch (std::runtime_error const &) {
            return yield(self);
        }
    });
    // It is what runs next when one ends that it joins: the others are of a lower priority.
    Task joined([](monad_async_task) { return success(); });
    joined.priority(monad_async_priority_high);
    tasks.emplace_back([&joined](monad_async_task self) {
        marked(1, [&joined, self] {
            for (int i = 0; i < 2; ++i) {
                (void)monad_async_task_attach(self->current_executor, joined);
                (void)monad_async_task_join(self, joined);
            }
        });
        return success();
    });
    tasks.back().priority(monad_async_priority_high);
    // When the others have exited, it leaves for the executor by a way of its own. The last one fails.
    std::array<int, 2> const fds = {open("/dev/zero", O_RDONLY | O_CLOEXEC),
                                    open("/dev/null", O_WRONLY | O_CLOEXEC)};
    if (has_ring) {
        tasks.emplace_back(nop);
        tasks.emplace_back([&fds](monad_async_task self) {
            marked(2, [&fds, self] {
                char byte = 1;
                for (int i = 0; i < 20; ++i) {
                    EXPECT_EQ(monad_async_file_read(self, {fds[0], 0}, &byte, 1, 0).value, 1);
                }
                EXPECT_EQ(byte, 0);
                EXPECT_EQ(monad_async_file_read(self, {fds[1], 0}, &byte, 1, 0).error, EBADF);
            });
            return success();
        });
    }
    for (auto const &task : tasks) {
        ASSERT_NO_FATAL_FAILURE(task.attach(ex));
    }
    steps.clear();
    steps.reserve(400000);
    AlternateStack const alternate;
    {
        Handler const trap{SIGTRAP, on_step}, segv{SIGSEGV, on_crash}, bus{SIGBUS, on_crash};
        marked(by_drive, [&] { drive(ex); });
    }
    for (int const fd : fds) {
        close(fd);
    }
    ASSERT_FALSE(monad_async_executor_has_work(ex));
    ASSERT_LT(steps.size(), steps.capacity());
    ASSERT_GT(steps.size(), 1000u);
    printf("measured: %zu instructions\n", steps.size());

    // Who is not called by `drive` is called by the base of a task's stack, a few instructions
    // long.
    std::set<char *> ends_of_tasks;
    size_t in_tasks = 0, marked_in_tasks = 0;
    for (auto const &[at, crashed, number, right, trace] : steps) {
        auto const where = [at = at] {
            Dl_info info{};
            dladdr(reinterpret_cast<void *>(at), &info);
            return ::testing::Message()
                   << "at " << (info.dli_sname ? info.dli_sname : "?") << " " << std::hex << at;
        };
        // Where it installs a context, libgcc is between two frames of its own.
        Dl_info whose{};
        if (dladdr(reinterpret_cast<void *>(at), &whose) != 0 &&
            strstr(whose.dli_fname, "libgcc_s") != nullptr) {
            continue;
        }
        ASSERT_FALSE(crashed) << where();
        ASSERT_GT(trace.count, 0) << where();
        ASSERT_LT(trace.count, frames_max) << where();
        ASSERT_TRUE(right) << where() << ": rbx or rbp of a frame is not what it was there";
        if (number != by_drive) {
            marked_in_tasks += number != 0;
            ++in_tasks;
            ends_of_tasks.insert(static_cast<char *>(trace.frames[trace.count - 1]));
            ASSERT_LE(*ends_of_tasks.rbegin() - *ends_of_tasks.begin(), 16) << where();
        }
    }
    EXPECT_GT(in_tasks, 100u);
    EXPECT_GT(marked_in_tasks, 200u);
#endif
}

} // namespace

TEST(Unwind, at_every_instruction)
{
    expect_frames_at_every_instruction(Executor(8), 2, true);
}

// Slowed down so much, an executor with a ring looks into it after every task. This one does not: a
// task that yields switches straight to the next.
TEST(Unwind, at_every_instruction_of_a_switch_to_the_next)
{
    expect_frames_at_every_instruction(Executor(0, MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING), 10,
                                       false);
}

// backtrace() five thousand times a second, wherever the thread is.
TEST(Unwind, by_a_sampling_profiler)
{
#ifdef UNDER_ASAN
    GTEST_SKIP() << "the sanitizer has frames of its own that cannot be unwound at any instruction";
#elif defined(UNDER_TSAN)
    GTEST_SKIP() << "ThreadSanitizer delays handlers of signals until a call that it knows";
#endif
    static sig_atomic_t volatile samples;
    warm_up();
    Executor ex(64);
    bool stop = false;
    auto const tasks = make_tasks(4, [&](monad_async_task self, size_t) {
        while (!stop) {
            (void)yield(self);
        }
        return success();
    });
    attach_all(tasks, ex);
    Handler const profiler{SIGPROF, [](int, siginfo_t *, void *) {
                               int const kept = errno;
                               void *frames[64];
                               if (backtrace(frames, 64) < 64) {
                                   samples = samples + 1;
                               }
                               errno = kept;
                           }};
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
    timer_t timer{};
    ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    itimerspec const five_kilohertz{{0, 200000}, {0, 200000}};
    ASSERT_EQ(timer_settime(timer, 0, &five_kilohertz, nullptr), 0);
    // As many as 20 s have, or 1 s.
    int const wanted = getenv("MONAD_ASYNC_LONG") != nullptr ? 100000 : 5000;
    while (samples < wanted) {
        ex.run();
    }
    timer_delete(timer);
    stop = true;
    ex.finish();
}

// Stacks begin at 21 different places in a page; above the base of some, nothing is mapped.
TEST(Unwind, tasks_of_every_colour)
{
    warm_up();
    Executor ex(64);
    std::set<int> counts;
    std::set<void *> ends;
    auto const tasks = make_tasks(256, [&](monad_async_task self, size_t) {
        for (int i = 0; i < 2; ++i) {
            Backtrace trace;
            trace.count = backtrace(trace.frames, frames_max);
            counts.insert(trace.count);
            ends.insert(trace.frames[trace.count - 1]);
            (void)yield(self);
        }
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(counts.size(), 1u);
    EXPECT_GT(*counts.begin(), 2);
    EXPECT_LT(*counts.rbegin(), frames_max);
    EXPECT_EQ(ends.size(), 1u) << "every backtrace ends at the base";
}

// What heaptrack does, and jemalloc with --enable-prof-libunwind.
TEST(Unwind, tasks_of_every_colour_by_libunwind)
{
    void *const library = dlopen("libunwind.so.8", RTLD_NOW);
    if (library == nullptr) {
        GTEST_SKIP() << "no libunwind.so.8; apt-get install libunwind8";
    }
    auto const unwind = reinterpret_cast<int (*)(void **, int)>(dlsym(library, "unw_backtrace"));
    ASSERT_NE(unwind, nullptr);
    Executor ex(64);
    std::set<int> counts;
    auto const tasks = make_tasks(
        256,
        [&](monad_async_task self, size_t) {
            // The first call fills a cache, and the later ones read it.
            for (int i = 0; i < 3; ++i) {
                Backtrace trace;
                counts.insert(unwind(trace.frames, frames_max));
                (void)yield(self);
            }
            return success();
        },
        65536);
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_GT(*counts.begin(), 2);
    EXPECT_LT(*counts.rbegin(), frames_max);
}

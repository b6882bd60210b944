// What the tests of the C API share: an executor and tasks that clean up after themselves, a body
// that may be any lambda, clocks, descriptors. Knows of the C API and GoogleTest only.
#pragma once

#include <monad/async/executor.h>
#include <monad/async/task.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

namespace support {

inline constexpr size_t no_bound = SIZE_MAX;
inline constexpr uint64_t ms = 1000000;
inline constexpr timespec at_once{0, 0};

inline monad_async_result success(intptr_t value = 0)
{
    return monad_async_make_success(value);
}

inline uint64_t boot_time_ns()
{
    timespec ts{};
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return static_cast<uint64_t>(ts.tv_sec) * 1000000000 + static_cast<uint64_t>(ts.tv_nsec);
}

// Passes the time without asking the executor or, for the thread, the scheduler.
inline void spin_for(uint64_t ns)
{
    uint64_t const end = boot_time_ns() + ns;
    while (boot_time_ns() < end) {
    }
}

// Spins at first, since that meets the other thread soonest, then lets others run: on a busy machine
// the one waited for may be among them.
#ifdef __SANITIZE_THREAD__
    #define UNDER_TSAN
#elif defined(__has_feature)
    #if __has_feature(thread_sanitizer)
        #define UNDER_TSAN
    #endif
#endif

template <class Condition> void spin_until(Condition condition)
{
    for (unsigned i = 0; !condition(); ++i) {
        if (i > 1000) {
            std::this_thread::yield();
        }
    }
}

// Ends the test's process, as ctest runs a test in its own: skipped, which ctest counts.
[[noreturn]] inline void skip(char const *why)
{
    printf("[  SKIPPED ] %s\n", why);
    fflush(stdout);
    _exit(0);
}

// Skips the test where this machine has no io_uring, or its kernel lacks what is asked for. Whatever
// else goes wrong is no reason to.
inline monad_async_executor create_or_skip(monad_async_executor_attr const &attr)
{
    monad_async_executor ex = nullptr;
    auto const r = monad_async_executor_create(&ex, &attr);
    bool const has_ring = attr.io_uring_ring.entries != 0;
    if (has_ring && (r.error == ENOSYS || r.error == EPERM || r.error == EOPNOTSUPP)) {
        skip(monad_async_last_create_error());
    }
    if (r.error != 0) {
        // Nothing below could be tested; one line says why.
        fprintf(stderr, "executor: %s: %s\n", monad_async_result_message(r),
                monad_async_last_create_error());
        abort();
    }
    return ex;
}

class Executor {
public:
    explicit Executor(unsigned entries = 64, uint32_t flags = 0)
    {
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = entries;
        attr.flags = flags;
        ex_ = create_or_skip(attr);
    }
    struct Made {
        monad_async_executor ex;
    };
    explicit Executor(Made made) : ex_(made.ex) {}
    Executor(Executor const &) = delete;
    ~Executor() { EXPECT_EQ(monad_async_executor_destroy(ex_).error, 0); }

    operator monad_async_executor() const { return ex_; }
    monad_async_executor operator->() const { return ex_; }

    // One pass; what it ran.
    intptr_t run(size_t max_items = no_bound, timespec const *timeout = nullptr) const
    {
        auto const r = monad_async_executor_run(ex_, max_items, timeout);
        EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
        return r.value;
    }
    // One pass that does not wait; 0 where nothing was ready.
    intptr_t poll(size_t max_items = no_bound) const
    {
        auto const r = monad_async_executor_run(ex_, max_items, &at_once);
        EXPECT_TRUE(r.error == 0 || r.error == ETIME) << monad_async_result_message(r);
        return r.error == 0 ? r.value : 0;
    }
    // Until nothing is attached.
    void finish() const
    {
        while (monad_async_executor_has_work(ex_)) {
            run();
        }
    }

private:
    monad_async_executor ex_ = nullptr;
};

// Whether a ring's config string has `part`.
inline bool config_says(std::string const &part)
{
    Executor const ex(4);
    char *const config = monad_async_executor_config_string(ex);
    bool const says = strstr(config, part.c_str()) != nullptr;
    monad_async_free(config);
    return says;
}

// Skips the test where the kernel lacks `what`, as the config string calls it.
inline void skip_without(std::string const &what)
{
    if (config_says(what + " (")) {
        skip((what + ": not in this kernel").c_str());
    }
}

using Body = std::function<monad_async_result(monad_async_task)>;

class Task {
public:
    explicit Task(Body body = {}, size_t stack_size = 0)
        : body_(std::make_unique<Body>(std::move(body)))
    {
        monad_async_task_attr attr{};
        attr.stack_size = stack_size;
        auto const r = monad_async_task_create(&task_, &attr);
        if (r.error != 0) {
            fprintf(stderr, "task: %s\n", monad_async_result_message(r));
            abort();
        }
        task_->user_code = [](monad_async_task task) {
            return (*static_cast<Body *>(task->user_ptr))(task);
        };
        task_->user_ptr = body_.get();
    }
    Task(Task &&other) noexcept
        : body_(std::move(other.body_)), task_(std::exchange(other.task_, nullptr))
    {
    }
    Task &operator=(Task &&) = delete;
    ~Task()
    {
        if (task_ != nullptr) {
            EXPECT_EQ(monad_async_task_destroy(task_).error, 0);
        }
    }

    operator monad_async_task() const { return task_; }
    monad_async_task operator->() const { return task_; }
    void body(Body body) { *body_ = std::move(body); }

    Task &priority(monad_async_priority cpu, monad_async_priority io = monad_async_priority_normal)
    {
        task_->priority.cpu = cpu;
        task_->priority.io = io;
        return *this;
    }
    void attach(monad_async_executor ex) const
    {
        ASSERT_EQ(monad_async_task_attach(ex, task_).error, 0);
    }

private:
    std::unique_ptr<Body> body_; // at one address: the task points to it
    monad_async_task task_ = nullptr;
};

// `count` tasks, the i-th of which runs body(task, i).
template <class F> std::vector<Task> make_tasks(size_t count, F body, size_t stack_size = 16384)
{
    std::vector<Task> tasks;
    tasks.reserve(count);
    for (size_t i = 0; i < count; ++i) {
        tasks.emplace_back([body, i](monad_async_task task) { return body(task, i); }, stack_size);
    }
    return tasks;
}

inline void attach_all(std::vector<Task> const &tasks, monad_async_executor ex)
{
    for (auto const &task : tasks) {
        task.attach(ex);
    }
}

class Fd {
public:
    explicit Fd(int fd = -1) : fd_(fd) {}
    Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd &operator=(Fd &&other) noexcept
    {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd() { reset(); }
    void reset()
    {
        if (fd_ >= 0) {
            close(fd_);
            fd_ = -1;
        }
    }
    operator int() const { return fd_; }

private:
    int fd_;
};

struct Pipe {
    Fd reader, writer;
    Pipe()
    {
        int fds[2];
        if (pipe(fds) != 0) {
            abort();
        }
        reader = Fd(fds[0]);
        writer = Fd(fds[1]);
    }
};

inline io_uring_sqe make_sqe(uint8_t opcode, int fd = -1, void const *addr = nullptr,
                             uint32_t len = 0, uint64_t off = 0)
{
    io_uring_sqe sqe{};
    sqe.opcode = opcode;
    sqe.fd = fd;
    sqe.addr = reinterpret_cast<uintptr_t>(addr);
    sqe.len = len;
    sqe.off = off;
    return sqe;
}

inline monad_async_result do_io(monad_async_task task, io_uring_sqe const &sqe)
{
    return monad_async_task_io(task, &sqe);
}

inline monad_async_result nop(monad_async_task task)
{
    return do_io(task, make_sqe(IORING_OP_NOP));
}

inline constexpr uint64_t current_position = ~uint64_t{0};

inline monad_async_result read_some(monad_async_task task, int fd, void *to, size_t bytes)
{
    return do_io(task,
                 make_sqe(IORING_OP_READ, fd, to, static_cast<uint32_t>(bytes), current_position));
}

inline monad_async_result write_some(monad_async_task task, int fd, void const *from, size_t bytes)
{
    return do_io(
        task, make_sqe(IORING_OP_WRITE, fd, from, static_cast<uint32_t>(bytes), current_position));
}

inline monad_async_result sleep_ns(monad_async_task task, uint64_t ns)
{
    return monad_async_task_suspend_for_duration(task, ns);
}

inline monad_async_result yield(monad_async_task task)
{
    return monad_async_task_suspend_for_duration(task, 0);
}

// Passes until the task is suspended on what it waits for.
inline void run_until_suspended(Executor const &ex, monad_async_task task)
{
    while (!task->is_suspended_awaiting) {
        ex.poll();
    }
}

} // namespace support

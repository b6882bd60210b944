// Waiting for processes and signals.

#include "support.hpp"

#include <monad/async/op.h>
#include <monad/async/process.h>
#include <monad/async/scope.h>

#include <csignal>
#include <cstddef>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

using namespace support;

namespace {

// A child that ends at once with that status, or, with 0, waits for its death.
pid_t child(int status)
{
    pid_t const pid = fork();
    if (pid == 0) {
        while (status == 0) {
            pause();
        }
        _exit(status);
    }
    return pid;
}

} // namespace

TEST(Process, by_an_operation)
{
    Executor ex;
    Task const task([&](monad_async_task self) {
        siginfo_t info{};
        monad_async_op op{};
        pid_t const pid = child(0);
        monad_async_op_process_wait(&op, pid, &info, WEXITED);
        auto r = monad_async_op_begin(self, &op);
        kill(pid, SIGKILL);
        if (r.error == EOPNOTSUPP) {
            EXPECT_EQ(waitpid(pid, nullptr, 0), pid) << "before Linux 6.7";
            return success();
        }
        EXPECT_EQ(r.error, 0);
        r = monad_async_op_wait(self, &op);
        EXPECT_EQ(r.error, 0);
        EXPECT_EQ(info.si_pid, pid);
        EXPECT_EQ(info.si_status, SIGKILL);
        EXPECT_EQ(waitpid(pid, nullptr, 0), -1) << "reaped";
        return success();
    });
    task.attach(ex);
    ex.finish();
}

// As under valgrind.
TEST(Process, is_waited_for_where_there_are_no_descriptors_of_processes)
{
    Executor ex;
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        skip("no seccomp filter may be set");
    }
    Task const task([&](monad_async_task self) {
        monad_async_process_info info{};
        EXPECT_EQ(monad_async_process_wait(self, child(7), &info).error, 0);
        EXPECT_EQ(info.status, 7);
        pid_t const stays = child(0);
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        EXPECT_EQ(monad_async_process_wait(self, stays, &info).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).error, 0);
        kill(stays, SIGKILL);
        EXPECT_EQ(monad_async_process_wait(self, stays, &info).error, 0);
        EXPECT_EQ(info.status, SIGKILL);
        EXPECT_EQ(monad_async_process_wait(self, getpid(), &info).error, ECHILD);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

TEST(Process, is_waited_for_with_no_descriptor_left)
{
    Executor ex;
    Task const task([](monad_async_task self) {
        pid_t const ended = child(7), stays = child(0);
        rlimit before{};
        EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
        rlimit const none{0, before.rlim_max};
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
        monad_async_process_info info{};
        EXPECT_EQ(monad_async_process_wait(self, ended, &info).error, 0);
        EXPECT_EQ(info.status, 7);
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        EXPECT_EQ(monad_async_process_wait(self, stays, &info).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).error, 0);
        sigset_t set;
        sigemptyset(&set);
        EXPECT_EQ(monad_async_signal_wait(self, &set).error, EMFILE);
        kill(stays, SIGKILL);
        EXPECT_EQ(monad_async_process_wait(self, stays, &info).error, 0);
        EXPECT_EQ(info.status, SIGKILL);
        EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

TEST(Process, each_child_is_waited_for_and_reaped)
{
    Executor ex;
    monad_async_process_info infos[8] = {};
    auto const tasks = make_tasks(8, [&](monad_async_task self, size_t i) {
        pid_t const pid = child(static_cast<int>(i) + 10);
        auto const r = monad_async_process_wait(self, pid, &infos[i]);
        EXPECT_EQ(infos[i].pid, pid);
        return r;
    });
    attach_all(tasks, ex);
    ex.finish();
    for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(tasks[static_cast<size_t>(i)]->result.error, 0);
        EXPECT_EQ(infos[i].code, CLD_EXITED);
        EXPECT_EQ(infos[i].status, i + 10);
        EXPECT_EQ(infos[i].user, getuid());
    }
    EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
    EXPECT_EQ(errno, ECHILD);
}

TEST(Process, a_wait_that_is_over_has_reaped_nothing)
{
    Executor ex;
    Task const task([&](monad_async_task self) {
        pid_t const pid = child(0);
        monad_async_process_info info = {};
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        EXPECT_EQ(monad_async_process_wait(self, pid, &info).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).error, 0);
        EXPECT_EQ(info.pid, 0);
        kill(pid, SIGKILL);
        EXPECT_EQ(monad_async_process_wait(self, pid, &info).error, 0);
        EXPECT_EQ(info.code, CLD_KILLED);
        EXPECT_EQ(info.status, SIGKILL);
        int const again = monad_async_process_wait(self, pid, &info).error;
        EXPECT_TRUE(again == ESRCH || again == ECHILD) << again;
        EXPECT_EQ(monad_async_process_wait(self, getpid(), &info).error, ECHILD);
        std::atomic<pid_t> number{0};
        std::atomic<bool> ends{false};
        std::thread thread([&] {
            number = static_cast<pid_t>(syscall(SYS_gettid));
            spin_until([&] { return ends.load(); });
        });
        spin_until([&] { return number != 0; });
        EXPECT_EQ(monad_async_process_wait(self, number, &info).error, ECHILD) << "a thread's";
        ends = true;
        thread.join();
        EXPECT_EQ(monad_async_process_wait(self, 0, &info).error, EINVAL);
        EXPECT_EQ(monad_async_process_wait(self, pid, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_signal_wait(self, nullptr).error, EINVAL);
        return success();
    });
    monad_async_process_info info = {};
    EXPECT_EQ(monad_async_process_wait(task, 1, &info).error, EPERM);
    task.attach(ex);
    ex.finish();
}

// To its parent a child has not ended before who traces it lets it go, but its descriptor is
// readable: the wait asked the kernel again and again, some 300,000 times a second.
TEST(Process, one_that_another_process_traces_is_looked_at_now_and_then)
{
    Executor ex;
    pid_t const pid = child(0);
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    pid_t const tracer = fork();
    if (tracer == 0) {
        bool const traces = ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0;
        (void)!write(ready[1], &traces, sizeof traces);
        siginfo_t ended;
        while (traces && waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOWAIT) != 0) {
        }
        usleep(100'000);
        _exit(0);
    }
    bool traces = false;
    EXPECT_EQ(read(ready[0], &traces, sizeof traces), static_cast<ssize_t>(sizeof traces));
    kill(pid, SIGKILL);
    Task const task([&](monad_async_task self) {
        monad_async_process_info info = {};
        auto const r = monad_async_process_wait(self, pid, &info);
        EXPECT_EQ(info.status, SIGKILL);
        return r;
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(waitpid(tracer, nullptr, 0), tracer);
    close(ready[0]);
    close(ready[1]);
    if (!traces) {
        skip("no process may be traced");
    }
    EXPECT_LT(ex->total_io_submitted, 10u);
}

// Signals and child processes in C++.

#include "ends.hpp"
#include "support.hpp"

#include <monad/async/pool.hpp>
#include <monad/async/process.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/socket.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::string_view_literals;

TEST(Signals, come_to_the_task_that_waits)
{
    ma::signals ends({SIGUSR1, SIGTERM});
    ma::executor ex;
    std::vector<int> got;
    ma::task waiting, raising;
    waiting.attach(ex, [&] {
        got.push_back(ends.wait());
        got.push_back(ends.wait());
        std::error_code ec;
        ma::scope soon(1ms);
        EXPECT_EQ(ends.wait(ec), -1);
        EXPECT_EQ(ec.value(), ETIME);
    });
    raising.attach(ex, [&] {
        kill(getpid(), SIGTERM);
        ma::this_task::sleep_for(1ms);
        kill(getpid(), SIGUSR1);
    });
    ex.run_until_idle();
    waiting.get();
    EXPECT_EQ(got, (std::vector<int>{SIGTERM, SIGUSR1}));
    EXPECT_EQ(errno_thrown_by([] { ma::signals const none({-1}); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([] { ma::signals const never({SIGTERM, SIGKILL}); }), EINVAL);
    EXPECT_EQ(errno_thrown_by([&] { ends.wait(); }), EPERM);
}

// Each object unblocks what it has blocked, whichever ends first, and whatever the program has blocked
// in that time.
TEST(Signals, are_unblocked_by_who_has_blocked_them)
{
    auto const blocked = [] {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        std::vector<int> numbers;
        for (int const number : {SIGUSR1, SIGUSR2, SIGTERM, SIGHUP}) {
            if (sigismember(&mask, number) == 1) {
                numbers.push_back(number);
            }
        }
        return numbers;
    };
    using numbers = std::vector<int>;
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, SIGHUP);
    auto first = std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR1, SIGTERM});
    auto second = std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR2, SIGTERM});
    pthread_sigmask(SIG_BLOCK, &own, nullptr);
    EXPECT_EQ(blocked(), (numbers{SIGUSR1, SIGUSR2, SIGTERM, SIGHUP}));
    second.reset();
    EXPECT_EQ(blocked(), (numbers{SIGUSR1, SIGTERM, SIGHUP}));
    second = std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR2});
    first.reset();
    EXPECT_EQ(blocked(), (numbers{SIGUSR2, SIGHUP}));
    second.reset();
    EXPECT_EQ(blocked(), numbers{SIGHUP});
    // Of one signal: the first to end unblocked it for all.
    first = std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR1, SIGHUP});
    second = std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR1, SIGUSR2});
    auto third = std::make_unique<ma::signals>(std::initializer_list<int>{SIGUSR1, SIGTERM});
    std::thread([&] { // Its own mask is as that of the thread that made it.
        ma::signals const there({SIGUSR1});
    })
        .join();
    first.reset();
    EXPECT_EQ(blocked(), (numbers{SIGUSR1, SIGUSR2, SIGTERM, SIGHUP}));
    third.reset();
    EXPECT_EQ(blocked(), (numbers{SIGUSR1, SIGUSR2, SIGHUP}));
    second.reset();
    EXPECT_EQ(blocked(), numbers{SIGHUP});
    pthread_sigmask(SIG_UNBLOCK, &own, nullptr);
}

// Those that end a server, by default; the other threads, made later, are not disturbed by them, and
// SIGCHLD stays the program's own.
TEST(Signals, that_end_a_server_come_to_its_task_and_SIGCHLD_does_not)
{
    static std::atomic<int> children{0};
    struct sigaction own = {};
    own.sa_handler = [](int) { ++children; };
    ASSERT_EQ(sigaction(SIGCHLD, &own, nullptr), 0);
    ma::signals ends;
    std::atomic<bool> over{false};
    std::thread quiet([&] {
        while (!over.load()) {
            usleep(1000);
        }
    });
    ma::thread_pool pool(1);
    ma::executor ex;
    std::vector<int> got;
    run_task(ex, [&] {
        ma::process p({"true"});
        EXPECT_EQ(p.wait().status, 0);
        for (int const number : {SIGHUP, SIGTERM, SIGINT}) {
            kill(getpid(), number);
            got.push_back(ends.wait());
        }
    });
    EXPECT_EQ(got, (std::vector<int>{SIGHUP, SIGTERM, SIGINT}));
    EXPECT_EQ(children.load(), 1) << "by the handler of the program";
    struct sigaction after = {};
    ASSERT_EQ(sigaction(SIGCHLD, nullptr, &after), 0);
    EXPECT_EQ(after.sa_handler, own.sa_handler);
    over.store(true);
    quiet.join();
}

namespace {

std::string all_of(ma::socket &from)
{
    std::string got;
    char data[4096];
    while (auto const n = from.recv(data)) {
        got.append(data, n);
    }
    return got;
}

} // namespace

TEST(CxxProcess, has_three_streams_and_an_end)
{
    ma::executor ex;
    run_task(ex, [&] {
        ma::process p({"sh", "-c", "cat; echo wrong >&2; exit 7"});
        EXPECT_GT(p.pid(), 0);
        p.input().send_all("through"sv);
        p.input().close();
        EXPECT_EQ(all_of(p.output()), "through");
        EXPECT_EQ(all_of(p.error()), "wrong\n");
        auto const ended = p.wait();
        EXPECT_EQ(ended.code, CLD_EXITED);
        EXPECT_EQ(ended.status, 7);
        EXPECT_EQ(errno_thrown_by([&] { p.wait(); }), ECHILD);
    });
}

TEST(CxxProcess, is_killed_and_reaped_with_its_object)
{
    ma::executor ex;
    pid_t inside = -1, outside = -1;
    run_task(ex, [&] {
        ma::process p({"sleep", "1000"});
        inside = p.pid();
        ma::scope soon(1ms);
        EXPECT_THROW(p.wait(), ma::timeout_error);
        std::error_code ec;
        p.input().send_all("x"sv, ec);
    });
    EXPECT_EQ(kill(inside, 0), -1);
    {
        ma::process const p({"sleep", "1000"});
        outside = p.pid();
    }
    EXPECT_EQ(kill(outside, 0), -1);
    // By what it cannot catch.
    std::string const caught = "/tmp/monad_async_caught." + std::to_string(getpid());
    run_task(ex, [&] {
        ma::process p({"sh", "-c",
                       "trap 'echo >" + caught +
                           "; exit' TERM HUP INT; echo ready; while :; do sleep 0.01; done"});
        char data[6];
        p.output().recv_exact(ma::bytes(data, 6)); // It is there, and its traps are.
    });
    EXPECT_EQ(access(caught.c_str(), F_OK), -1);
    (void)std::remove(caught.c_str());
    // SIGPIPE ends it, which ignores it here.
    auto *const before = signal(SIGPIPE, SIG_IGN);
    run_task(ex, [&] {
        ma::process p({"sh", "-c", "kill -s PIPE $$"});
        auto const ended = p.wait();
        EXPECT_EQ(ended.code, CLD_KILLED);
        EXPECT_EQ(ended.status, SIGPIPE);
    });
    signal(SIGPIPE, before);
    // A signal that is blocked here reaches the child.
    run_task(ex, [&] {
        ma::signals const ends;
        ma::process p({"sleep", "1000"});
        p.kill();
        EXPECT_EQ(p.wait().status, SIGTERM);
    });
}

// The second goes on when the first has reaped it, and there is no child to be asked for: it was
// told EINVAL.
TEST(CxxProcess, that_two_tasks_wait_for_is_told_of_to_one)
{
    ma::executor ex;
    ma::process p({"sleep", "1000"});
    ma::task tasks[2];
    for (auto &t : tasks) {
        t.attach(ex, [&p] { return errno_thrown_by([&p] { p.wait(); }); });
    }
    ex.run(2);
    p.kill(SIGKILL);
    ex.run_until_idle();
    EXPECT_EQ(tasks[0].get() + tasks[1].get(), ECHILD);
}

// As monad_async_process_wait, which has a test of the same.
TEST(CxxProcess, that_another_process_traces_is_looked_at_now_and_then)
{
    ma::executor ex;
    ma::process p({"sleep", "1000"});
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    pid_t const tracer = fork();
    if (tracer == 0) {
        bool const traces = ptrace(PTRACE_SEIZE, p.pid(), nullptr, nullptr) == 0;
        (void)!write(ready[1], &traces, sizeof traces);
        siginfo_t ended;
        auto const id = static_cast<id_t>(p.pid());
        while (traces && waitid(P_PID, id, &ended, WEXITED | WNOWAIT) != 0) {
        }
        usleep(100'000);
        _exit(0);
    }
    bool traces = false;
    EXPECT_EQ(read(ready[0], &traces, sizeof traces), static_cast<ssize_t>(sizeof traces));
    p.kill(SIGKILL);
    run_task(ex, [&p] { EXPECT_EQ(p.wait().status, SIGKILL); });
    EXPECT_EQ(waitpid(tracer, nullptr, 0), tracer);
    close(ready[0]);
    close(ready[1]);
    if (traces) {
        EXPECT_LT(ex.native_handle()->total_io_submitted, 10u);
    } else {
        std::printf("not tried: no process may be traced\n");
    }
}

// A child with that number, which sleeps. -1: it cannot be.
pid_t child_of_number(pid_t number)
{
    pid_t const numbers[] = {number};
    struct clone_args args = {};
    args.exit_signal = SIGCHLD;
    args.set_tid = reinterpret_cast<std::uintptr_t>(numbers);
    args.set_tid_size = 1;
    auto const made = syscall(SYS_clone3, &args, sizeof args);
    while (made == 0) {
        pause();
    }
    return static_cast<pid_t>(made);
}

// The same, which blocks SIGUSR1, and is not this one's child.
pid_t stranger_of_number(pid_t number)
{
    auto const between = fork();
    if (between == 0) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, nullptr);
        _exit(child_of_number(number) > 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(between, &status, 0);
    return status == 0 ? number : -1;
}

// Of the process of that number: the signals that it blocks and was sent.
std::string pending_of(pid_t number)
{
    std::ifstream status("/proc/" + std::to_string(number) + "/status");
    std::string line;
    while (std::getline(status, line) && line.rfind("ShdPnd:", 0) != 0) {
    }
    return line;
}
constexpr char const *no_signals = "ShdPnd:\t0000000000000000";

// A handler of SIGCHLD may reap all children, and another process have the number then.
TEST(CxxProcess, that_others_have_reaped_is_no_longer_known_by_its_number)
{
    ma::executor ex;
    run_task(ex, [&] {
        ma::process p({"true"});
        auto const number = p.pid();
        EXPECT_EQ(waitpid(number, nullptr, 0), number);
        if (stranger_of_number(number) == number) {
            p.kill(SIGUSR1);
            EXPECT_EQ(pending_of(number), no_signals);
            ::kill(number, SIGKILL);
        } else {
            std::printf("not tried: to give a process a number takes CAP_CHECKPOINT_RESTORE\n");
        }
        EXPECT_EQ(errno_thrown_by([&] { p.wait(); }), ECHILD);
        EXPECT_EQ(p.pid(), -1);
    });
}

// The kernel reaps then: how a child ended is lost, but nobody waits for ever, nor for a stranger.
TEST(CxxProcess, ends_with_ECHILD_where_SIGCHLD_is_ignored)
{
    auto *const before = signal(SIGCHLD, SIG_IGN);
    {
        ma::process const outside({"sleep", "1000"});
    }
    ma::executor ex;
    run_task(ex, [&] {
        ma::process const left({"sleep", "1000"});
        ma::process killed({"sleep", "1000"});
        killed.kill();
        EXPECT_EQ(errno_thrown_by([&] { killed.wait(); }), ECHILD);
        EXPECT_EQ(killed.pid(), -1);
        ma::process ended({"true"});
        EXPECT_EQ(all_of(ended.output()), "");
        while (::kill(ended.pid(), 0) == 0) {
            ma::this_task::sleep_for(1ms);
        }
        ended.kill();
        EXPECT_EQ(errno_thrown_by([&] { ended.wait(); }), ECHILD);
    });
    // The number becomes that of another child before the task that waits looks again.
    ma::process p({"sleep", "1000"});
    auto const number = p.pid();
    ma::task waits;
    waits.attach(ex, [&p] { return errno_thrown_by([&p] { p.wait(); }); });
    ex.run(1);
    ASSERT_TRUE(waits.native_handle()->is_suspended_awaiting);
    p.kill(SIGKILL);
    while (::kill(number, 0) == 0) {
        std::this_thread::sleep_for(50us);
    }
    auto const other = child_of_number(number);
    ex.run_until_idle();
    EXPECT_EQ(waits.get(), ECHILD);
    if (other == number) {
        EXPECT_EQ(::kill(number, SIGKILL), 0) << "it was killed";
    } else {
        std::printf("not tried: to give a process a number takes CAP_CHECKPOINT_RESTORE\n");
    }
    signal(SIGCHLD, before);
}

// A child that the kernel reaped was known by its number: another child that had it by then was sent
// the signal, killed by the destructor, and waited for.
TEST(CxxProcess, is_not_taken_for_another_child_that_has_its_number)
{
    auto *const before = signal(SIGCHLD, SIG_IGN);
    sigset_t user, mask;
    sigemptyset(&user);
    sigaddset(&user, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &user, &mask); // The other child's mask, too.
    ma::executor ex;
    bool is_tried = true;
    for (bool const waits : {false, true}) {
        run_task(ex, [&] {
            pid_t number = -1, other = -1;
            {
                ma::process p({"true"});
                number = p.pid();
                while (::kill(number, 0) == 0) {
                    ma::this_task::sleep_for(100us);
                }
                other = child_of_number(number);
                is_tried = is_tried && other == number;
                p.kill(SIGUSR1);
                if (is_tried) {
                    EXPECT_EQ(pending_of(number), no_signals) << "it was sent to another";
                }
                if (waits) {
                    EXPECT_EQ(errno_thrown_by([&] { p.wait(); }), ECHILD);
                }
            }
            if (other == number) {
                EXPECT_EQ(::kill(number, SIGKILL), 0) << "killed by the destructor";
            }
        });
    }
    if (!is_tried) {
        std::printf("not tried: to give a process a number takes CAP_CHECKPOINT_RESTORE\n");
    }
    pthread_sigmask(SIG_SETMASK, &mask, nullptr);
    signal(SIGCHLD, before);
}

// One kept its ends of the three streams for as long as it lived.
TEST(CxxProcess, that_could_not_be_started_is_an_errno_and_has_no_descriptors)
{
    auto const open = [] {
        auto const all = std::filesystem::directory_iterator("/proc/self/fd");
        return std::distance(begin(all), end(all));
    };
    auto const before = open();
    EXPECT_EQ(errno_thrown_by([] { ma::process const p({"no such program anywhere"}); }), ENOENT);
    EXPECT_EQ(open(), before);
    std::error_code ec;
    ma::process const none({}, ec);
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_EQ(none.pid(), -1);
    ma::process const cut({std::string("/bin/true\0x", 11)}, ec); // Began /bin/true.
    EXPECT_EQ(ec.value(), EINVAL);
    EXPECT_EQ(cut.pid(), -1);
    ma::process const nothing({"/nonexistent/program"}, ec);
    EXPECT_EQ(ec.value(), ENOENT);
    EXPECT_EQ(nothing.pid(), -1);
    EXPECT_EQ(open(), before);
}

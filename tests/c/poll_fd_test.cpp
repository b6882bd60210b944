// An executor in a loop that is not its own: its descriptor tells of everything that a run would
// find, and of nothing else. Each test with a ring and without.

#include "support.hpp"

#include <atomic>
#include <thread>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

using namespace support;

namespace {

constexpr int forever = -1;
constexpr int at_all = 0;

int poll_fd(monad_async_executor ex)
{
    auto const r = monad_async_executor_poll_fd(ex);
    EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
    return static_cast<int>(r.value);
}

bool is_readable(int fd, int timeout_ms = at_all)
{
    pollfd entry{fd, POLLIN, 0};
    int n;
    do {
        n = ::poll(&entry, 1, timeout_ms);
    } while (n < 0 && errno == EINTR);
    return n == 1;
}

class PollFd : public testing::TestWithParam<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Entries, PollFd, testing::Values(0u, 1u, 64u));

// A foreign loop: waits in epoll for these events, or in poll, and runs what the executor has. Counts.
constexpr uint32_t by_poll = 0;
struct Loop {
    monad_async_executor ex;
    Fd epoll;
    unsigned wakes = 0, in_vain = 0;

    Loop(monad_async_executor ex, uint32_t events) : ex(ex), epoll(epoll_create1(EPOLL_CLOEXEC))
    {
        epoll_event event{};
        event.events = events;
        if (events == by_poll) {
            epoll = Fd(-1);
        } else {
            EXPECT_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, poll_fd(ex), &event), 0);
        }
    }
    void finish(size_t max_items = no_bound)
    {
        while (monad_async_executor_has_work(ex)) {
            if (epoll < 0) {
                ASSERT_TRUE(is_readable(poll_fd(ex), forever));
            } else {
                epoll_event event{};
                int const n = epoll_wait(epoll, &event, 1, forever);
                if (n < 0 && errno == EINTR) {
                    continue;
                }
                ASSERT_EQ(n, 1);
            }
            ++wakes;
            auto const r = monad_async_executor_run(ex, max_items, &at_once);
            ASSERT_TRUE(r.error == 0 || r.error == ETIME) << monad_async_result_message(r);
            in_vain += r.error == ETIME;
        }
    }
};

} // namespace

TEST_P(PollFd, is_one_and_tells_nothing_of_an_idle_executor)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(poll_fd(ex), fd);
    EXPECT_FALSE(is_readable(fd));
    EXPECT_EQ(ex.poll(), 0);
    EXPECT_FALSE(is_readable(fd));
}

TEST_P(PollFd, tells_of_a_launch_and_of_what_max_items_left_over)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    auto const tasks = make_tasks(5, [](monad_async_task, size_t) { return success(); });
    attach_all(tasks, ex);
    for (int left = 5; left > 0; --left) {
        EXPECT_TRUE(is_readable(fd)) << left;
        EXPECT_EQ(ex.run(1, &at_once), 1);
    }
    EXPECT_FALSE(is_readable(fd));
}

TEST_P(PollFd, tells_of_what_was_there_before_it_was_asked_for)
{
    Executor ex(GetParam());
    Task task([](monad_async_task self) { return sleep_ns(self, 0); });
    task.attach(ex);
    int const fd = poll_fd(ex);
    EXPECT_TRUE(is_readable(fd));
    ex.run();
    EXPECT_TRUE(is_readable(fd)); // It has yielded.
    ex.run();
    EXPECT_FALSE(is_readable(fd));
}

TEST_P(PollFd, tells_of_a_deadline_when_it_has_passed_and_not_before)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    uint64_t due_ns = 0;
    Task task([&](monad_async_task self) {
        for (int i = 0; i < 3; ++i) {
            due_ns = boot_time_ns() + 20 * ms;
            EXPECT_EQ(sleep_ns(self, 20 * ms).error, 0);
        }
        return success();
    });
    task.attach(ex);
    ex.run();
    while (monad_async_executor_has_work(ex)) {
        EXPECT_TRUE(is_readable(fd, forever));
        EXPECT_GE(boot_time_ns(), due_ns);
        EXPECT_EQ(ex.poll(), 1);
    }
    EXPECT_FALSE(is_readable(fd, 30));
}

TEST_P(PollFd, tells_nothing_of_a_deadline_that_was_cancelled)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    Task task([&](monad_async_task self) { return sleep_ns(self, 20 * ms); });
    task.attach(ex);
    ex.run();
    EXPECT_FALSE(is_readable(fd));
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0); // Its own thread, outside a run.
    EXPECT_TRUE(is_readable(fd));
    ex.run();
    EXPECT_EQ(task->result.error, ECANCELED);
    EXPECT_FALSE(is_readable(fd, 30));
}

TEST_P(PollFd, tells_of_other_threads)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    Task first([](monad_async_task self) { return monad_async_task_park(self); });
    Task second([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    for (auto const &act : std::vector<std::function<void()>>{
             [&] { first.attach(ex); },
             [&] { EXPECT_EQ(monad_async_task_unpark(first).error, 0); },
             [&] { second.attach(ex); },
             [&] { EXPECT_EQ(monad_async_task_cancel(ex, second).error, 0); },
             [&] { EXPECT_EQ(monad_async_executor_wake(ex).error, 0); },
         }) {
        EXPECT_FALSE(is_readable(fd));
        std::thread(act).join();
        EXPECT_TRUE(is_readable(fd, forever));
        ex.poll();
        // What a wake-up has left in the ring may be found once more.
        for (int again = 0; is_readable(fd); ++again) {
            ASSERT_LT(again, 2);
            ex.poll();
        }
    }
    EXPECT_EQ(second->result.error, ECANCELED);
    EXPECT_FALSE(monad_async_executor_has_work(ex));
}

TEST_P(PollFd, tells_of_an_unpark_of_its_own_thread)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    Task task([](monad_async_task self) { return monad_async_task_park(self); });
    task.attach(ex);
    ex.run();
    EXPECT_FALSE(is_readable(fd));
    EXPECT_EQ(monad_async_task_unpark(task).error, 0);
    EXPECT_TRUE(is_readable(fd));
    ex.run();
    EXPECT_TRUE(monad_async_task_has_exited(task));
}

TEST_P(PollFd, tells_of_a_completion)
{
    if (GetParam() == 0) {
        return;
    }
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    Pipe pipe;
    char byte = 0;
    Task task([&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); });
    task.attach(ex);
    ex.run();
    EXPECT_FALSE(is_readable(fd, 10));
    EXPECT_EQ(write(pipe.writer, "x", 1), 1);
    EXPECT_TRUE(is_readable(fd, forever));
    while (monad_async_executor_has_work(ex)) {
        ex.poll();
    }
    EXPECT_EQ(byte, 'x');
    ex.poll();
    EXPECT_FALSE(is_readable(fd));
}

// Pipes from another thread, sleeps, launches and yields at once, by epoll, level- and edge-triggered,
// and by poll, a few items at a time and all: it ends, so nothing was missed; and it does not spin.
TEST_P(PollFd, drives_a_mixed_load_in_a_foreign_loop)
{
    for (uint32_t const events : {uint32_t{EPOLLIN}, uint32_t{EPOLLIN} | EPOLLET, by_poll}) {
        for (size_t const max_items : {size_t{3}, no_bound}) {
            constexpr unsigned rounds = 200;
            Executor ex(GetParam());
            Loop loop(ex, events);
            bool const has_ring = GetParam() != 0;
            Pipe pipe;
            unsigned got = 0;
            auto tasks = make_tasks(16, [&](monad_async_task self, size_t i) {
                for (unsigned n = 0; n < rounds / 4; ++n) {
                    auto const r = i % 3 == 0 ? sleep_ns(self, (1 + i) * 10000)
                                   : has_ring ? nop(self)
                                              : sleep_ns(self, 0);
                    EXPECT_EQ(r.error, 0);
                }
                return success();
            });
            Task reader([&](monad_async_task self) {
                char bytes[8];
                while (has_ring && got < rounds) {
                    auto const r = read_some(self, pipe.reader, bytes, sizeof bytes);
                    EXPECT_EQ(r.error, 0);
                    got += static_cast<unsigned>(r.value);
                }
                return success();
            });
            Task guest([](monad_async_task) { return success(); });
            Task keeper([&](monad_async_task self) { return monad_async_task_park(self); });
            attach_all(tasks, ex);
            reader.attach(ex);
            keeper.attach(ex);
            std::thread other([&] {
                for (unsigned n = 0; n < rounds; ++n) {
                    EXPECT_EQ(write(pipe.writer, "x", 1), 1);
                    if (n % 16 == 0) {
                        timespec const nap{0, 100000};
                        nanosleep(&nap, nullptr);
                    }
                    guest.attach(ex);
                    spin_until([&] { return monad_async_task_has_exited(guest); });
                }
                EXPECT_EQ(monad_async_task_unpark(keeper).error, 0);
            });
            loop.finish(max_items);
            other.join();
            EXPECT_EQ(got, has_ring ? rounds : 0);
            // Of the wakes, those that found nothing are the ring's own poll, once a wake-up, and on
            // a busy machine completions that the kernel told of late. A loop that spun would make
            // ten times as many as this.
            EXPECT_LE(loop.in_vain, 25 * rounds) << loop.wakes;
        }
    }
}

// An executor that waits for something takes no processor time.
TEST_P(PollFd, does_not_spin)
{
    for (uint32_t const events : {uint32_t{EPOLLIN}, uint32_t{EPOLLIN} | EPOLLET, by_poll}) {
        Executor ex(GetParam());
        Loop loop(ex, events);
        Task task([](monad_async_task self) {
            for (int i = 0; i < 50; ++i) {
                EXPECT_EQ(sleep_ns(self, ms).error, 0);
            }
            return success();
        });
        task.attach(ex);
        loop.finish();
        EXPECT_LE(loop.wakes, 55u) << events;
        EXPECT_LE(loop.in_vain, 4u) << events;
    }
}

TEST_P(PollFd, lets_run_wait_as_before)
{
    Executor ex(GetParam());
    int const fd = poll_fd(ex);
    Task task([](monad_async_task self) { return sleep_ns(self, UINT64_MAX); });
    task.attach(ex);
    ex.run();
    std::thread other([&] {
        timespec const nap{0, 10000000};
        nanosleep(&nap, nullptr);
        EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    });
    ex.finish();
    other.join();
    EXPECT_EQ(task->result.error, ECANCELED);
    ex.poll();
    ex.poll();
    EXPECT_FALSE(is_readable(fd));
}

TEST_P(PollFd, is_refused_to_others)
{
    Executor ex(GetParam());
    std::thread([&] { EXPECT_EQ(monad_async_executor_poll_fd(ex).error, EPERM); }).join();
    EXPECT_EQ(monad_async_executor_poll_fd(nullptr).error, EINVAL);
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlimit none = limit;
    none.rlim_cur = 0;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_EQ(monad_async_executor_poll_fd(ex).error, EMFILE);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_FALSE(is_readable(poll_fd(ex)));
}

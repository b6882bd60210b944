// What a task does to itself.
#include "support.hpp"

#include <cstring>
#include <string>

#include <fcntl.h>
#include <unistd.h>

namespace {

ma::executor_options ring()
{
    ma::executor_options options;
    options.io_uring_entries = 8;
    return options;
}

TEST(ThisTask, outside_a_task)
{
    EXPECT_EQ(ma::this_task::current(), nullptr);
    EXPECT_EQ(errno_thrown_by([] { ma::this_task::yield(); }), EPERM);
    EXPECT_EQ(errno_thrown_by([] { ma::this_task::sleep_for(1s); }), EPERM);
    EXPECT_EQ(errno_thrown_by([] { ma::this_task::sleep_until(std::chrono::steady_clock::now()); }),
              EPERM);
    EXPECT_EQ(errno_thrown_by([] { (void)ma::this_task::io(io_uring_sqe{}); }), EPERM);
    ma::executor ex;
    run_task(ex, [] {});
    EXPECT_EQ(ma::this_task::current(), nullptr) << "nor after a run";
}

TEST(ThisTask, current_is_the_task_that_runs)
{
    ma::executor ex;
    ma::task a, b;
    auto const looks = [](ma::task const &t) {
        return [&t] {
            bool right = ma::this_task::current() == t.native_handle();
            ma::this_task::yield();
            right = right && ma::this_task::current() == t.native_handle();
            ma::this_task::sleep_for(1ms);
            return right && ma::this_task::current() == t.native_handle();
        };
    };
    a.attach(ex, looks(a));
    b.attach(ex, looks(b));
    ex.run_until_idle();
    EXPECT_TRUE(a.get());
    EXPECT_TRUE(b.get());
}

TEST(ThisTask, sleep_for_is_never_short)
{
    ma::executor ex;
    run_task(ex, [] {
        auto const begun = std::chrono::steady_clock::now();
        ma::this_task::sleep_for(3ms);
        EXPECT_GE(std::chrono::steady_clock::now() - begun, 3ms);
        ma::this_task::sleep_for(std::chrono::duration<double, std::milli>(1.5));
        EXPECT_GE(std::chrono::steady_clock::now() - begun, 4500us);
        ma::this_task::sleep_for(std::chrono::duration<int, std::ratio<1, 3000>>(1));
    });
}

TEST(ThisTask, zero_and_negative_durations_yield)
{
    ma::executor ex;
    ma::task a, b;
    std::string order;
    a.attach(ex, [&] {
        order += 'a';
        ma::this_task::sleep_for(0s);
        order += 'A';
        ma::this_task::sleep_for(-1h);
        order += '!';
    });
    b.attach(ex, [&] {
        order += 'b';
        ma::this_task::yield();
        order += 'B';
    });
    ex.run_until_idle();
    EXPECT_EQ(order, "abAB!");
}

TEST(ThisTask, sleep_until_any_clock)
{
    ma::executor ex;
    run_task(ex, [] {
        auto const steady = std::chrono::steady_clock::now() + 2ms;
        ma::this_task::sleep_until(steady);
        EXPECT_GE(std::chrono::steady_clock::now(), steady);
        auto const wall = std::chrono::system_clock::now() + 2ms;
        ma::this_task::sleep_until(wall);
        EXPECT_GE(std::chrono::system_clock::now(), wall);
        ma::this_task::sleep_until(std::chrono::steady_clock::time_point::min());
        ma::this_task::sleep_until(std::chrono::system_clock::time_point{});
    });
}

// In units in which nanoseconds would overflow.
TEST(ThisTask, sleep_until_the_end_of_time)
{
    using namespace std::chrono;
    ma::executor ex;
    ma::task tasks[3];
    tasks[0].attach(ex,
                    [] { ma::this_task::sleep_until(time_point<steady_clock, seconds>::max()); });
    tasks[1].attach(ex, [] { ma::this_task::sleep_until(time_point<system_clock, hours>::max()); });
    tasks[2].attach(ex, [] { ma::this_task::sleep_until(system_clock::time_point::max()); });
    ex.run();
    for (auto &t : tasks) {
        EXPECT_FALSE(t.done());
    }
    ma::task past;
    past.attach(ex, [] { ma::this_task::sleep_until(time_point<system_clock, hours>::min()); });
    while (!past.done()) {
        ex.run();
    }
    for (auto &t : tasks) {
        EXPECT_TRUE(t.cancel());
    }
    ex.run_until_idle();
}

// Shows 0, 0, 1, 5, 5, ... ms.
struct set_back {
    using rep = std::int64_t;
    using period = std::milli;
    using duration = std::chrono::duration<rep, period>;
    using time_point = std::chrono::time_point<set_back>;
    [[maybe_unused]] static constexpr bool is_steady = false;
    static inline int asked = 0;
    static time_point now()
    {
        constexpr rep shows[] = {0, 0, 1, 5};
        return time_point(duration(shows[asked < 3 ? asked++ : 3]));
    }
};

TEST(ThisTask, sleep_until_follows_a_clock_that_is_set_back)
{
    // What is lost: a clock that is set back while the task sleeps makes the first sleep too short.
    set_back::asked = 0;
    ma::executor ex;
    auto const begun = std::chrono::steady_clock::now();
    run_task(ex, [] { ma::this_task::sleep_until(set_back::time_point(set_back::duration(2))); });
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 5ms) << "2, 2 and 1 ms";
}

TEST(ThisTask, an_endless_sleep_ends_by_a_cancel)
{
    ma::executor ex;
    for (auto const how : {0, 1, 2}) {
        ma::task t;
        t.attach(ex, [how] {
            return errno_thrown_by([how] {
                switch (how) {
                case 0: return ma::this_task::sleep_for(std::chrono::hours::max());
                case 1: return ma::this_task::sleep_for(std::chrono::nanoseconds::max());
                default:
                    return ma::this_task::sleep_until(std::chrono::steady_clock::time_point::max());
                }
            });
        });
        EXPECT_EQ(ex.run(1), 1u);
        EXPECT_EQ(ex.run(1, 1ms), 0u);
        t.cancel();
        ex.run_until_idle();
        EXPECT_EQ(t.get(), ECANCELED);
    }
}

TEST(ThisTask, io_returns_the_result_or_throws_the_errno)
{
    ma::executor ex{ring()};
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    char got[16] = {};
    ma::task reader, writer;
    reader.attach(ex, [&] {
        io_uring_sqe sqe = {};
        sqe.opcode = IORING_OP_READ;
        sqe.fd = ends[0];
        sqe.off = static_cast<__u64>(-1);
        sqe.addr = reinterpret_cast<__u64>(got);
        sqe.len = sizeof got;
        return ma::this_task::io(sqe);
    });
    writer.attach(ex, [&] {
        io_uring_sqe sqe = {};
        sqe.opcode = IORING_OP_WRITE;
        sqe.fd = ends[1];
        sqe.off = static_cast<__u64>(-1);
        sqe.addr = reinterpret_cast<__u64>("hello");
        sqe.len = 5;
        return ma::this_task::io(sqe);
    });
    ex.run_until_idle();
    EXPECT_EQ(writer.get(), 5);
    EXPECT_EQ(reader.get(), 5);
    EXPECT_EQ(std::strcmp(got, "hello"), 0);
    ::close(ends[0]);
    ::close(ends[1]);

    run_task(ex, [] {
        io_uring_sqe sqe = {};
        sqe.opcode = IORING_OP_CLOSE;
        sqe.fd = -1;
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::this_task::io(sqe); }), EBADF);
        sqe.flags = IOSQE_IO_LINK;
        EXPECT_EQ(errno_thrown_by([&] { (void)ma::this_task::io(sqe); }), EINVAL);
    });
    ma::executor compute{ma::executor_options::compute_only()};
    run_task(compute, [] {
        EXPECT_EQ(errno_thrown_by([] { (void)ma::this_task::io(io_uring_sqe{}); }), ENOTSUP);
    });
}

} // namespace

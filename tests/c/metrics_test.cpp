// Metrics: what is counted, what another thread reads, and the text, by readers of another make.

#include "support.hpp"

#include <monad/async/inspect.h>
#include <monad/async/metrics.h>
#include <monad/async/op.h>

#include <atomic>
#include <fstream>
#include <numeric>
#include <string>

using namespace support;

namespace {

monad_async_metrics read(monad_async_executor ex)
{
    monad_async_metrics m;
    EXPECT_EQ(monad_async_executor_metrics(ex, &m).error, 0);
    return m;
}

uint64_t count(monad_async_histogram const &h)
{
    return std::accumulate(std::begin(h.buckets), std::end(h.buckets), uint64_t{0});
}

TEST(Metrics, count_what_ran_and_what_was_begun)
{
    Executor ex(64);
    monad_async_metrics m;
    EXPECT_EQ(monad_async_executor_metrics(ex, &m).error, ENODATA);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    Task high([](monad_async_task self) {
        for (int i = 0; i < 10; ++i) {
            io_uring_sqe sqe{};
            sqe.opcode = IORING_OP_NOP;
            EXPECT_EQ(monad_async_task_io(self, &sqe).error, 0);
        }
        monad_async_op op{};
        op.sqe.opcode = IORING_OP_NOP;
        EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        EXPECT_EQ(monad_async_op_wait(self, &op).error, 0);
        return success();
    });
    high.priority(monad_async_priority_high);
    Task low([](monad_async_task self) {
        for (int i = 0; i < 4; ++i) {
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        return monad_async_task_suspend_for_duration(self, 20 * ms);
    });
    low.priority(monad_async_priority_low);
    high.attach(ex);
    low.attach(ex);
    ex.finish();
    m = read(ex);
    EXPECT_EQ(m.launches, 2u);
    EXPECT_EQ(count(m.ready[0]), 12u);
    EXPECT_EQ(count(m.ready[1]), 0u);
    EXPECT_EQ(count(m.ready[2]), 6u);
    EXPECT_EQ(m.operations[IORING_OP_NOP], 11u);
    EXPECT_EQ(m.io_submitted, 11u);
    EXPECT_EQ(m.io_completed, 11u);
    EXPECT_GE(m.sleeps, 1u);
    EXPECT_GE(m.enters, 1u);
    EXPECT_GE(m.stacks_in_use, 2u);
    EXPECT_EQ(m.tasks_suspended, 0u);
    EXPECT_EQ(m.ticks_in_run, ex->total_ticks_in_run);
    EXPECT_EQ(m.ticks_sleeping, ex->total_ticks_sleeping);
    Executor untimed(0, MONAD_ASYNC_EXECUTOR_NO_TIME_TRACKING);
    EXPECT_EQ(monad_async_metrics_start(untimed).error, ENOTSUP);
    EXPECT_EQ(monad_async_metrics_start(nullptr).error, EINVAL);
    EXPECT_EQ(monad_async_executor_metrics(ex, nullptr).error, EINVAL);
}

TEST(Metrics, tell_how_long_a_task_was_ready)
{
    Executor ex(0);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    Task task([](monad_async_task) { return success(); });
    task.attach(ex);
    spin_for(3 * ms);
    ex.finish();
    auto const m = read(ex);
    auto const median = monad_async_histogram_percentile_ns(&m.ready[1], 500);
    auto const exact =
        monad_async_ticks_to_ns(task->ticks_when_resumed - task->ticks_when_attached);
    EXPECT_GE(median, 3 * ms * 99 / 100);
    EXPECT_LE(median, exact + exact / 16);
    EXPECT_GE(median, exact - exact / 1000);
    EXPECT_EQ(m.ready[1].sum_ticks, task->ticks_when_resumed - task->ticks_when_attached);
    EXPECT_EQ(m.ready[1].max_ticks, m.ready[1].sum_ticks);
    EXPECT_EQ(monad_async_histogram_percentile_ns(&m.ready[0], 500), 0u);
    EXPECT_LE(exact, monad_async_histogram_bound_ns(MONAD_ASYNC_HISTOGRAM_BUCKETS - 1));
}

TEST(Metrics, are_read_by_another_thread_meanwhile)
{
    Executor ex(0);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    std::atomic<bool> stop{false};
    std::thread reader([&] {
        uint64_t before = 0;
        while (!stop) {
            auto const now = count(read(ex).ready[1]);
            EXPECT_GE(now, before);
            before = now;
        }
    });
    Task task([](monad_async_task self) {
        for (int i = 0; i < 100000; ++i) {
            EXPECT_EQ(monad_async_task_suspend_for_duration(self, 0).error, 0);
        }
        return success();
    });
    task.attach(ex);
    ex.finish();
    stop = true;
    reader.join();
    EXPECT_EQ(count(read(ex).ready[1]), 100001u);
}

TEST(Metrics, count_wake_ups_by_others)
{
    Executor ex(0);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    for (int i = 0; i < 3; ++i) {
        std::thread([&] { EXPECT_EQ(monad_async_executor_wake(ex).error, 0); }).join();
        ex.run();
    }
    EXPECT_EQ(read(ex).wakeups, 3u);
}

// Other threads may wake as fast as it could look: a wake-up is for `run`, and a look for work leaves it there.
TEST(Metrics, count_no_wake_up_before_run)
{
    Executor ex(0);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    EXPECT_EQ(monad_async_executor_wake(ex).error, 0);
    for (int i = 0; i < 3; ++i) {
        EXPECT_FALSE(monad_async_executor_has_work(ex));
        EXPECT_EQ(read(ex).wakeups, 0u);
    }
    ex.run();
    EXPECT_EQ(read(ex).wakeups, 1u);
}

std::string text_of(std::vector<monad_async_executor> const &executors)
{
    auto const length = monad_async_metrics_text(executors.data(), executors.size(), nullptr, 0);
    EXPECT_EQ(length.error, 0);
    std::string text(static_cast<size_t>(length.value) + 1, '?');
    auto const r =
        monad_async_metrics_text(executors.data(), executors.size(), text.data(), text.size());
    EXPECT_EQ(r.value, length.value);
    EXPECT_EQ(text.back(), '\0');
    text.pop_back();
    return text;
}

// Prometheus' own readers, where they are; what they miss is skipped, and said.
TEST(Metrics, as_text_are_read_by_prometheus_readers)
{
    Executor ex(64), other(0);
    for (monad_async_executor e :
         {static_cast<monad_async_executor>(ex), static_cast<monad_async_executor>(other)}) {
        EXPECT_EQ(monad_async_metrics_start(e).error, 0);
    }
    EXPECT_EQ(monad_async_executor_set_name(ex, "a \"name\"\\\n").error, 0);
    Task task([](monad_async_task self) {
        io_uring_sqe sqe{};
        sqe.opcode = IORING_OP_NOP;
        return monad_async_task_io(self, &sqe);
    });
    task.attach(ex);
    ex.finish();
    auto const text = text_of({ex, other});
    auto const has = [&](char const *line) { return text.find(line) != std::string::npos; };
    char const *const name = "executor=\"a \\\"name\\\"\\\\\\n\"";
    EXPECT_TRUE(has((std::string("monad_async_launches_total{") + name + "} 1\n").c_str())) << text;
    EXPECT_TRUE(has("monad_async_launches_total{executor=\"2\"} 0\n"));
    EXPECT_TRUE(
        has((std::string("ready_seconds_count{") + name + ",priority=\"normal\"} 2\n").c_str()));
    EXPECT_TRUE(has((std::string("operations_total{") + name + ",opcode=\"NOP\"} 1\n").c_str()));
    std::string const path = testing::TempDir() + "monad_async_metrics_" + std::to_string(getpid());
    std::ofstream(path) << text;
    int const promtool = std::system(("promtool check metrics <" + path + " >&2").c_str());
    std::ofstream(path + ".py") << R"(
import sys
try:
    from prometheus_client.parser import text_string_to_metric_families as parse
except ImportError:
    sys.exit(77)
found = {f.name: f for f in parse(open(sys.argv[1]).read())}
ready = found["monad_async_ready_seconds"]
assert ready.type == "histogram", ready
names = {s.labels["executor"] for s in ready.samples}
assert names == {'a "name"\\\n', "2"}, names
counts = [s.value for s in ready.samples if s.name.endswith("_bucket")
          and s.labels["executor"] != "2" and s.labels["priority"] == "normal"]
assert counts == sorted(counts) and counts[-1] == 2, counts
assert found["monad_async_launches"].type == "counter"
)";
    int const python = std::system(("python3 " + path + ".py " + path).c_str());
    unlink(path.c_str());
    unlink((path + ".py").c_str());
    bool const no_promtool = WEXITSTATUS(promtool) == 127;
    bool const no_python = WEXITSTATUS(python) == 127 || WEXITSTATUS(python) == 77;
    EXPECT_TRUE(no_promtool || promtool == 0);
    EXPECT_TRUE(no_python || python == 0);
    if (no_promtool && no_python) {
        GTEST_SKIP() << "neither promtool nor python's prometheus_client here";
    }
}

TEST(Metrics, as_text_are_cut_where_the_buffer_ends)
{
    Executor ex(0);
    monad_async_executor const executors[] = {ex};
    EXPECT_EQ(monad_async_metrics_text(executors, 1, nullptr, 0).error, ENODATA);
    EXPECT_EQ(monad_async_metrics_start(ex).error, 0);
    auto const whole = text_of({ex});
    std::string part(100, '?');
    EXPECT_EQ(monad_async_metrics_text(executors, 1, part.data(), 50).value,
              static_cast<intptr_t>(whole.size()));
    EXPECT_EQ(part.substr(0, 49), whole.substr(0, 49));
    EXPECT_EQ(part[49], '\0');
    EXPECT_EQ(part[50], '?');
    EXPECT_EQ(monad_async_metrics_text(nullptr, 1, nullptr, 0).error, EINVAL);
}

} // namespace

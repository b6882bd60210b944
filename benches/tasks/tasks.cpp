// What callables as children and as futures cost next to launches of empty tasks by the C API, all
// within one executor, in one process, in turns: processor time of the thread. The median of the
// pairs' ratios counts. A floor is the least that waiting costs: tasks of the C API that count down
// to the one that waits, or one that is joined.

#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <time.h>

namespace ma = monad::async;

namespace {

constexpr int rounds = 401, turns = 400;

double cpu_ns()
{
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

void must(monad_async_result r)
{
    if (r.error != 0) {
        std::fprintf(stderr, "%s\n", monad_async_result_message(r));
        std::exit(EXIT_FAILURE);
    }
}

// Tasks of the C API.
struct tasks : std::vector<monad_async_task> {
    explicit tasks(std::size_t count) : std::vector<monad_async_task>(count)
    {
        for (auto &task : *this) {
            must(monad_async_task_create(&task, nullptr));
        }
    }
    tasks(tasks const &) = delete;
    tasks &operator=(tasks const &) = delete;
    ~tasks()
    {
        for (auto *task : *this) {
            (void)monad_async_task_destroy(task);
        }
    }
};

// Tasks of the C API that do nothing, launched so many at a time; with `inside`, by a task that
// lets them run by a yield, else by who runs the executor.
class launches {
public:
    launches(ma::executor &ex, std::size_t count, bool inside)
        : ex_(ex.native_handle()), tasks_(count), inside_(inside)
    {
        for (auto *task : tasks_) {
            task->user_code = [](monad_async_task) { return monad_async_make_success(0); };
        }
    }

    // ns of one row of them.
    double round()
    {
        double const begun = cpu_ns();
        for (int i = 0; i != turns; ++i) {
            for (auto *task : tasks_) {
                must(monad_async_task_attach(ex_, task));
            }
            if (inside_) {
                must(monad_async_task_suspend_for_duration(monad_async_task_current(), 0));
            } else {
                must(monad_async_executor_run(ex_, SIZE_MAX, nullptr));
            }
        }
        return (cpu_ns() - begun) / turns;
    }

private:
    monad_async_executor ex_;
    tasks tasks_;
    bool inside_;
};

// Waits for tasks of the C API.
class floors {
public:
    explicit floors(ma::executor &ex) : ex_(ex.native_handle())
    {
        for (auto *task : tasks_) {
            task->user_ptr = this;
        }
    }
    floors(floors const &) = delete; // They point to it.
    floors &operator=(floors const &) = delete;

    void count_down()
    {
        self_ = monad_async_task_current();
        left_ = tasks_.size();
        for (auto *task : tasks_) {
            task->user_code = [](monad_async_task t) {
                auto &self = *static_cast<floors *>(t->user_ptr);
                if (--self.left_ == 0) {
                    (void)monad_async_task_unpark(self.self_);
                }
                return monad_async_make_success(0);
            };
            must(monad_async_task_attach(ex_, task));
        }
        must(monad_async_task_park(self_));
    }

    void join()
    {
        auto *const task = tasks_[0];
        task->user_code = [](monad_async_task) { return monad_async_make_success(0); };
        must(monad_async_task_attach(ex_, task));
        must(monad_async_task_join(monad_async_task_current(), task));
    }

private:
    monad_async_executor ex_;
    tasks tasks_{8};
    monad_async_task self_ = nullptr;
    std::size_t left_ = 0;
};

template <class F> double inside(ma::executor &ex, F &&f)
{
    double spent = 0;
    ma::task task;
    task.attach(ex, [&] { spent = f(); });
    ex.run_until_idle();
    task.get();
    return spent;
}

template <class F> double each(F &&f)
{
    double const begun = cpu_ns();
    for (int i = 0; i != turns; ++i) {
        f();
    }
    return (cpu_ns() - begun) / turns;
}

double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

void compare(ma::executor &ex, char const *name, std::size_t count, double goal,
             std::function<double()> work)
{
    launches outside_launches(ex, count, false);
    launches inside_launches(ex, count, true);
    std::vector<double> own, launch, inner, ratio, inner_ratio;
    for (int i = 0; i != rounds; ++i) {
        launch.push_back(outside_launches.round());
        own.push_back(inside(ex, work));
        inner.push_back(inside(ex, [&] { return inside_launches.round(); }));
        ratio.push_back(own.back() / launch.back());
        inner_ratio.push_back(own.back() / inner.back());
    }
    double const r = median(ratio);
    std::printf("%-34s %7.1f %9.1f %6.2f %9.1f %6.2f ", name, median(own), median(launch), r,
                median(inner), median(inner_ratio));
    if (goal == 0) {
        std::printf("%6s  floor\n", "");
    } else {
        std::printf("%6.2f  %s\n", goal, r <= goal ? "met" : "missed");
    }
}

void all(bool tracking)
{
    ma::executor_options options;
    options.time_tracking = tracking;
    ma::executor ex(options);
    char const *const suffix = tracking ? "" : ", no time tracking";
    auto const name = [&](char const *what) { return std::string(what) + suffix; };
    compare(ex, name("when_all of 8").c_str(), 8, 1.3, [] {
        auto const f = [] {};
        return each([&] { (void)ma::when_all(f, f, f, f, f, f, f, f); });
    });
    compare(ex, name("task_group of 8").c_str(), 8, 1.3, [] {
        return each([] {
            ma::task_group g;
            for (int i = 0; i != 8; ++i) {
                g.spawn([] {});
            }
            g.wait();
        });
    });
    floors floor(ex);
    compare(ex, name("8 that count down").c_str(), 8, 0,
            [&floor] { return each([&floor] { floor.count_down(); }); });
    compare(ex, name("future").c_str(), 1, 1.5,
            [&ex] { return each([&ex] { ex.submit([] {}).get(); }); });
    compare(ex, name("a join").c_str(), 1, 0,
            [&floor] { return each([&floor] { floor.join(); }); });
    compare(ex, name("64 futures").c_str(), 64, 1.5, [&ex] {
        std::array<ma::future<void>, 64> all;
        return each([&] {
            for (auto &one : all) {
                one = ex.submit([] {});
            }
            for (auto &one : all) {
                one.get();
            }
        });
    });
}

} // namespace

int main()
{
    std::printf("%-34s %7s %9s %6s %9s %6s %6s\n", "ns", "own", "launches", "ratio", "by a task",
                "ratio", "goal");
    all(true);
    all(false);
}

// Executors on several threads of the program's own, each fed by priority from the main thread:
// work in the background, and urgent work that overtakes all of it although it comes last. Where
// the threads need not be the program's own, a pool is shorter: thread_pool.cpp.
#include <monad/async.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <exception>
#include <future>
#include <thread>
#include <vector>

namespace ma = monad::async;

namespace {

// A thread with an executor of its own, which runs until the worker is destroyed.
class worker {
public:
    worker()
    {
        std::promise<ma::executor_ref> made;
        auto executor = made.get_future();
        thread_ = std::thread([&made] { main(made); });
        executor_ = executor.get(); // Rethrows what kept the executor from being made.
    }

    //! [stopping a worker]
    ~worker()
    {
        executor_.stop(); // A reference may outlive the executor.
        thread_.join();
    }
    //! [stopping a worker]

    worker(worker const &) = delete;
    worker &operator=(worker const &) = delete;

    // Any thread may attach tasks to it.
    [[nodiscard]] ma::executor_ref const &executor() const { return executor_; }

private:
    //! [a worker's thread]
    static void main(std::promise<ma::executor_ref> &made)
    try {
        ma::executor executor;
        made.set_value(executor.ref());
        executor.run_until_stopped();
    } catch (...) {
        made.set_exception(std::current_exception());
    }
    //! [a worker's thread]

    ma::executor_ref executor_;
    std::thread thread_;
};

// A few hundred microseconds of work, a slice at a time: it yields now and then, so that what
// is more important need not wait for all of it.
std::uint64_t collatz_steps(std::uint64_t from)
{
    std::uint64_t steps = 0;
    for (std::uint64_t begin = from; begin < from + 2000; ++begin) {
        for (std::uint64_t n = begin; n != 1; n = n % 2 == 0 ? n / 2 : 3 * n + 1) {
            ++steps;
        }
        if (begin % 200 == 0) {
            ma::this_task::yield();
        }
    }
    return steps;
}

struct piece {
    ma::task task;
    int done_as = 0; // The how many-th on its worker.
};

} // namespace

int main()
try {
    constexpr std::size_t workers_n = 3, background_n = 100, urgent_n = 5;
    // Tasks outlive their executors here; the other way round is as good.
    std::vector<std::deque<piece>> pieces(workers_n);
    std::vector<std::atomic<int>> done(workers_n);
    std::deque<worker> workers(workers_n);

    for (std::size_t w = 0; w < workers_n; ++w) {
        auto const attach = [&](ma::priority priority) {
            auto &p = pieces[w].emplace_back();
            p.task.priority(priority);
            p.task.attach(workers[w].executor(), [&p, &count = done[w], from = pieces[w].size()] {
                auto const steps = collatz_steps(from);
                p.done_as = ++count;
                return steps;
            });
        };
        for (std::size_t i = 0; i < background_n; ++i) {
            attach(ma::priority::low);
        }
        for (std::size_t i = 0; i < urgent_n; ++i) {
            attach(ma::priority::high);
        }
    }

    std::uint64_t steps = 0;
    for (auto const &of_worker : pieces) {
        for (auto const &p : of_worker) {
            steps += static_cast<std::uint64_t>(p.task.wait());
        }
    }
    std::printf("%zu workers, %llu steps\n", workers_n, static_cast<unsigned long long>(steps));

    int overtaken_least = background_n;
    for (auto const &of_worker : pieces) {
        // Attached last, done as: urgent_n is the best.
        int const last_urgent = of_worker.back().done_as;
        overtaken_least = std::min<int>(overtaken_least, background_n + urgent_n - last_urgent);
    }
    std::printf("the urgent ones came last and overtook %d of %zu or more on every worker\n",
                overtaken_least, background_n);
    return overtaken_least > 0 ? 0 : 1;
} catch (std::exception const &e) {
    std::fprintf(stderr, "workers: %s\n", e.what());
    return 1;
}

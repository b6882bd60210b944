// Empty tasks to two workers, from one thread and from two, and elements through a channel: ours and
// what others have, in one process, in turns. Of a task or an element the wall time, from the first
// submission until all have run, and the processor time of all threads, on a busy machine the better
// measure; the medians of the rounds.
//
//   peers [--test] [part of a name]

#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <sched.h>
#include <time.h>

#if __has_include(<boost/asio/thread_pool.hpp>)
    #include <boost/asio/post.hpp>
    #include <boost/asio/thread_pool.hpp>
    #define HAS_ASIO 1
#endif
#if __has_include(<BS_thread_pool.hpp>)
    #include <BS_thread_pool.hpp>
    #define HAS_BS 1
#endif

namespace ma = monad::async;

namespace {

constexpr unsigned workers = 2, rounds = 15;
constexpr long tasks = 100'000;

std::atomic<long> ran{0};

// What a program writes first.
class plain {
public:
    plain()
    {
        for (unsigned i = 0; i != workers; ++i) {
            threads_.emplace_back([this] { work(); });
        }
    }
    ~plain()
    {
        {
            std::lock_guard const lock(mutex_);
            ends_ = true;
        }
        some_.notify_all();
        for (auto &thread : threads_) {
            thread.join();
        }
    }
    void post(std::function<void()> f)
    {
        {
            std::lock_guard const lock(mutex_);
            queue_.push_back(std::move(f));
        }
        some_.notify_one();
    }

private:
    void work()
    {
        std::unique_lock lock(mutex_);
        for (;;) {
            some_.wait(lock, [this] { return ends_ || !queue_.empty(); });
            if (queue_.empty()) {
                return;
            }
            auto const f = std::move(queue_.front());
            queue_.pop_front();
            lock.unlock();
            f();
            lock.lock();
        }
    }
    std::mutex mutex_;
    std::condition_variable some_;
    std::deque<std::function<void()>> queue_;
    bool ends_ = false;
    std::vector<std::thread> threads_;
};

double cpu_ns()
{
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

struct figures {
    std::vector<double> wall, cpu;
};

struct pool {
    char const *name;
    // Submits one task, which counts; from any thread.
    std::function<void()> submit;
    // By submitters - 1.
    std::array<figures, 2> ns{};

    pool(char const *its_name, std::function<void()> its_submit)
        : name(its_name), submit(std::move(its_submit))
    {
    }
};

// Begins when it is made.
class stretch {
public:
    // Of `count` that it was for.
    void end(figures &ns, long count) const
    {
        std::chrono::duration<double, std::nano> const took = clock::now() - begun_;
        auto const each = static_cast<double>(count);
        ns.wall.push_back(took.count() / each);
        ns.cpu.push_back((cpu_ns() - cpu_begun_) / each);
    }

private:
    using clock = std::chrono::steady_clock;
    double cpu_begun_ = cpu_ns();
    clock::time_point begun_ = clock::now();
};

void round(pool &p, unsigned submitters)
{
    ran = 0;
    stretch const took;
    std::vector<std::thread> others;
    auto const half = [&] {
        for (long i = 0; i != tasks / submitters; ++i) {
            p.submit();
        }
    };
    for (unsigned i = 1; i != submitters; ++i) {
        others.emplace_back(half);
    }
    half();
    for (auto &other : others) {
        other.join();
    }
    while (ran != tasks / submitters * submitters) {
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    took.end(p.ns[submitters - 1], tasks);
}

// Of an element through a channel between tasks of two executors, each on a thread of its own.
void channel_round(figures &ns)
{
    constexpr long elements = 1'000'000;
    ma::channel<std::uint64_t> channel(256);
    long received = 0;
    stretch const took;
    std::thread sender([&] {
        ma::executor ex(ma::executor_options::compute_only());
        ma::task t;
        t.attach(ex, [&] {
            for (long n = 0; n != elements; ++n) {
                channel.send(static_cast<std::uint64_t>(n));
            }
            (void)channel.close();
        });
        ex.run_until_idle();
    });
    ma::executor ex(ma::executor_options::compute_only());
    ma::task t;
    t.attach(ex, [&] {
        for (auto const element : channel) {
            received += element == static_cast<std::uint64_t>(received) ? 1 : 0;
        }
    });
    ex.run_until_idle();
    sender.join();
    took.end(ns, elements);
    if (received != elements) {
        std::fprintf(stderr, "elements were lost\n");
        std::exit(EXIT_FAILURE);
    }
}

// The least that does the same on one processor: a ring without a lock, of which each thread uses up
// its turn and yields.
void bare_round(figures &ns)
{
    constexpr unsigned long elements = 1'000'000, capacity = 256;
    static std::uint64_t ring[capacity];
    std::atomic<unsigned long> sent{0}, received{0};
    stretch const took;
    std::thread sender([&] {
        for (unsigned long n = 0; n != elements; ++n) {
            while (n - received.load(std::memory_order_acquire) == capacity) {
                std::this_thread::yield();
            }
            ring[n % capacity] = n;
            sent.store(n + 1, std::memory_order_release);
        }
    });
    unsigned long right = 0;
    for (unsigned long n = 0; n != elements; ++n) {
        while (n == sent.load(std::memory_order_acquire)) {
            std::this_thread::yield();
        }
        right += ring[n % capacity] == n ? 1 : 0;
        received.store(n + 1, std::memory_order_release);
    }
    sender.join();
    took.end(ns, elements);
    if (right != elements) {
        std::fprintf(stderr, "elements were lost\n");
        std::exit(EXIT_FAILURE);
    }
}

double median(std::vector<double> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

// "name | ns wall | ns CPU"
void print(char const *name, char const *more, figures const &ns)
{
    if (!ns.wall.empty()) {
        std::printf("%s%s | %.0f | %.0f\n", name, more, median(ns.wall), median(ns.cpu));
    }
}

} // namespace

int main(int argc, char **argv)
{
    bool const quick = argc > 1 && std::string(argv[1]) == "--test";
    std::string const part = argc > 1 + quick ? argv[1 + quick] : "";
    auto const wanted = [&](std::string const &name) { return name.find(part) != name.npos; };
    auto const count = [] { ran.fetch_add(1, std::memory_order_relaxed); };
    ma::thread_pool ours(workers);
    ma::thread_pool bounded(workers);
    plain boxes;
    std::vector<pool> pools;
    pools.emplace_back("monad_async thread_pool", [&] { ours.spawn(count); });
    // Its submitters wait while more than so many have not begun: tasks stay in the caches.
    std::atomic<unsigned> submitted{0};
    pools.emplace_back("monad_async thread_pool, wait_begun(256)", [&] {
        bounded.spawn(count);
        if (submitted.fetch_add(1, std::memory_order_relaxed) % 128 == 0) {
            bounded.wait_begun(256);
        }
    });
    pools.emplace_back("boxes behind a mutex", [&] { boxes.post(count); });
#ifdef HAS_ASIO
    boost::asio::thread_pool asio(workers);
    pools.emplace_back("Boost.Asio thread_pool", [&] { boost::asio::post(asio, count); });
#else
    std::printf("skipped: Boost.Asio is not installed (libboost-dev)\n");
#endif
#ifdef HAS_BS
    BS::thread_pool bs(workers);
    #ifdef BS_THREAD_POOL_VERSION_MAJOR
    pools.emplace_back("BS::thread_pool", [&] { bs.detach_task(count); });
    #else
    pools.emplace_back("BS::thread_pool", [&] { bs.push_task(count); });
    #endif
#else
    std::printf("skipped: no BS_thread_pool.hpp of BS::thread_pool here\n");
#endif
    for (unsigned r = 0; r != (quick ? 1 : rounds); ++r) {
        for (auto &p : pools) {
            for (unsigned submitters : {1u, 2u}) {
                if (wanted(p.name)) {
                    round(p, submitters);
                }
            }
        }
    }
    figures channels;
    figures bare;
    char const *const channel = "monad_async channel";
    cpu_set_t cpus;
    bool const is_one = sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) == 1;
    for (unsigned r = 0; r != (quick ? 1 : rounds); ++r) {
        if (wanted(channel)) {
            channel_round(channels);
            if (is_one) {
                bare_round(bare);
            }
        }
    }
    for (auto const &p : pools) {
        for (unsigned submitters : {1u, 2u}) {
            print(p.name, submitters == 1 ? ", 1 to 2" : ", 2 to 2", p.ns[submitters - 1]);
        }
    }
    print(channel, is_one ? ", one processor" : "", channels);
    print("bare ring and yields, channel", ", one processor", bare);
}

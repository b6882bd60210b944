// Which launches allocate, counted at malloc; and what happens where an allocation fails.
#include "support.hpp"

#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/reader.hpp>
#include <monad/async/writer.hpp>

#include <array>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <thread>
#include <tuple>
#include <variant>

#include <dlfcn.h>
#include <sys/socket.h>

#if defined(__SANITIZE_ADDRESS__)
    #define UNDER_ASAN 1
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
        #define UNDER_ASAN 1
    #endif
#endif

namespace {

std::atomic<long> allocations{0};

#if !defined(UNDER_ASAN)
// Allocations of this thread until the one that fails; negative: none does.
thread_local long until_failure = -1;
// Called before it fails.
thread_local void (*before_failure)() = nullptr;

bool counted_may_succeed()
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    if (until_failure < 0 || until_failure-- != 0) {
        return true;
    }
    if (before_failure != nullptr) {
        before_failure();
    }
    return false;
}
#endif

} // namespace

#if !defined(UNDER_ASAN)
// malloc itself: operator new, Rust and the C library all end there.
extern "C" void *__libc_malloc(std::size_t);
extern "C" void *malloc(std::size_t bytes)
{
    return counted_may_succeed() ? __libc_malloc(bytes) : nullptr;
}
extern "C" void *__libc_memalign(std::size_t, std::size_t);
extern "C" void *aligned_alloc(std::size_t alignment, std::size_t bytes)
{
    return counted_may_succeed() ? __libc_memalign(alignment, bytes) : nullptr;
}
extern "C" int posix_memalign(void **out, std::size_t alignment, std::size_t bytes)
{
    *out = counted_may_succeed() ? __libc_memalign(alignment, bytes) : nullptr;
    return *out != nullptr ? 0 : ENOMEM;
}

namespace {

template <class F> long allocations_in(F &&f)
{
    auto const before = allocations.load();
    f();
    return allocations.load() - before;
}

TEST(Malloc, the_counter_counts)
{
    EXPECT_GE(allocations_in([] { ::operator delete(::operator new(sizeof(int))); }), 1);
    EXPECT_GE(allocations_in([] {
                  ::operator delete(::operator new(64, std::align_val_t{64}), std::align_val_t{64});
              }),
              1);
}

TEST(Malloc, none_for_a_callable_of_64_bytes_not_even_the_first_time)
{
    ma::executor ex;
    ma::task t;
    run_task(ex, [] {}); // What a first run may set up.
    std::array<char, 64> payload{};
    payload[63] = 1;
    auto const body = [payload] { return payload[63]; };
    static_assert(sizeof body == 64);
    EXPECT_EQ(allocations_in([&] {
                  for (int i = 0; i < 1000; ++i) {
                      t.attach(ex, body);
                      ex.run();
                  }
              }),
              0);
    EXPECT_EQ(t.get(), 1);
}

TEST(Malloc, none_for_a_larger_one_from_the_second_time_on)
{
    ma::executor ex;
    ma::task t;
    std::array<char, 1000> payload{};
    auto const large = [payload] { return payload[0]; };
    auto const small = [] {};
    t.attach(ex, large);
    ex.run();
    EXPECT_EQ(allocations_in([&] {
                  for (int i = 0; i < 100; ++i) {
                      t.attach(ex, small);
                      ex.run();
                      t.attach(ex, large);
                      ex.run();
                  }
              }),
              0);
    std::array<char, 1010> slightly_larger{};
    EXPECT_EQ(allocations_in([&] {
                  t.attach(ex, [slightly_larger] { return slightly_larger[0]; });
                  ex.run();
              }),
              0);
}

TEST(Malloc, none_for_suspensions_and_priorities)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] {
        for (;;) {
            ma::this_task::yield();
            ma::this_task::sleep_for(1us);
        }
    });
    ex.run();
    EXPECT_EQ(allocations_in([&] {
                  for (int i = 0; i < 100; ++i) {
                      ex.run(1, 1s);
                      t.priority(i % 2 == 0 ? ma::priority::high : ma::priority::low);
                  }
              }),
              0);
}

// The nth allocation of `story` fails, for n = 0, 1, ... until it asks for no more. How often it
// threw.
template <class F> int failures_of(F &&story)
{
    int thrown = 0;
    for (long n = 0;; ++n) {
        until_failure = n;
        bool threw = false, no_memory = false;
        try {
            story();
        } catch (std::bad_alloc const &) {
            threw = no_memory = true;
        } catch (std::system_error const &e) {
            threw = true;
            no_memory = e.code() == std::errc::not_enough_memory;
        }
        bool const all_had = until_failure >= 0;
        until_failure = -1;
        EXPECT_EQ(threw, no_memory) << "allocation " << n;
        thrown += threw;
        if (all_had || n > 1000) {
            EXPECT_FALSE(threw);
            return thrown;
        }
    }
}

TEST(Malloc, an_executor_without_memory_is_an_exception)
{
    // The box in which the bridge hands it over used to end the process.
    {
        ma::executor const what_is_made_once_a_thread;
    }
    EXPECT_GE(failures_of([] { ma::executor const ex; }), 2);
    try {
        until_failure = 1; // The first is the object's own: a std::bad_alloc.
        ma::executor const ex;
        ADD_FAILURE() << "it takes no memory?";
    } catch (std::system_error const &e) {
        EXPECT_NE(std::string(e.what()).find("memory"), std::string::npos) << e.what();
    }
    until_failure = -1;
}

// On a thread of its own, which has no sentence yet.
TEST(Malloc, a_failure_that_cannot_be_explained_for_want_of_memory_has_a_sentence_too)
{
    std::thread{[] {
        monad_async_executor ex = nullptr;
        monad_async_executor_attr attr = MONAD_ASYNC_EXECUTOR_ATTR_INIT;
        attr.flags = UINT32_MAX;
        EXPECT_STREQ(monad_async_last_create_error(), "");
        until_failure = 0;
        auto const r = monad_async_executor_create(&ex, &attr);
        bool const asked_for_memory = until_failure < 0;
        until_failure = -1;
        EXPECT_EQ(r.error, EINVAL);
        EXPECT_TRUE(asked_for_memory);
        EXPECT_NE(std::string(monad_async_last_create_error()).find("no memory"),
                  std::string::npos);
        EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, EINVAL);
        EXPECT_NE(std::string(monad_async_last_create_error()).find("flags"), std::string::npos);
    }}.join();
}

TEST(Malloc, a_task_without_memory_is_an_exception)
{
    EXPECT_GE(failures_of([] { ma::task const t; }), 2);
}

TEST(Malloc, a_launch_without_memory_leaves_the_task_idle)
{
    ma::executor ex;
    std::array<char, 1000> payload{};
    payload[999] = 7;
    ma::task t;
    until_failure = 0;
    EXPECT_THROW(t.attach(ex, [payload] { return payload[0]; }), std::bad_alloc);
    until_failure = -1;
    EXPECT_TRUE(t.done());
    t.attach(ex, [payload] { return payload[999]; });
    ex.run_until_idle();
    EXPECT_EQ(t.get(), 7);
}

// Children, background tasks and futures of the executor that runs the calling task.
void use_warm_tasks()
{
    auto const all = ma::when_all([] { return 1; },
                                  [] {
                                      ma::this_task::yield();
                                      return 2;
                                  },
                                  [] { return 3; });
    EXPECT_EQ(std::get<0>(all) + std::get<1>(all) + std::get<2>(all), 6);
    auto const any = ma::when_any([] { return 4; }, [] { ma::this_task::sleep_for(1h); });
    EXPECT_EQ(std::get<0>(any), 4);
    ma::task_group group;
    for (int i = 0; i != 4; ++i) {
        group.spawn([] {});
    }
    group.wait();
    auto const here = ma::this_task::executor();
    here.spawn([] {});
    EXPECT_EQ(here.submit([] { return 5; }).get(), 5);
    ma::this_task::yield();
}

long allocations_when_warm()
{
    for (int i = 0; i != 3; ++i) {
        use_warm_tasks();
    }
    return allocations_in([] {
        for (int i = 0; i != 100; ++i) {
            use_warm_tasks();
        }
    });
}

// Each call used to make its tasks anew there: only an executor object kept any.
TEST(Malloc, none_for_children_of_a_pools_worker_once_warm)
{
    ma::thread_pool pool(1);
    EXPECT_EQ(pool.submit([] { return allocations_when_warm(); }).get(), 0);
    // Another worker has its own.
    pool.resize(2);
    pool.resize(1);
    EXPECT_EQ(pool.submit([] { return allocations_when_warm(); }).get(), 0);
}

// So many at a time, by the executor's thread outside its tasks and by another thread, which each
// have their own store.
TEST(Malloc, none_for_background_tasks_and_futures_of_any_thread_once_warm)
{
    ma::executor ex{ma::executor_options::compute_only()};
    auto const ref = ex.ref();
    std::array<ma::future<int>, 50> futures;
    long ran = 0;
    auto const batch = [&] {
        for (auto &f : futures) {
            ref.spawn([&ran] { ++ran; });
            f = ref.submit([] { return 1; });
        }
    };
    auto const finish = [&] {
        ex.run_until_idle();
        for (auto &f : futures) {
            ran += f.get();
        }
    };
    constexpr int rounds = 20;
    for (int i = 0; i != rounds; ++i) {
        long count = allocations_in(batch);
        count += allocations_in(finish);
        EXPECT_EQ(count == 0, i != 0) << "here, round " << i << ": " << count;
        std::thread([&] { count = allocations_in(batch); }).join();
        count += allocations_in(finish);
        EXPECT_EQ(count == 0, i != 0) << "elsewhere, round " << i << ": " << count;
    }
    EXPECT_EQ(ran, 2L * rounds * 100);
}

TEST(Malloc, none_for_children_on_an_executor_of_the_C_API_once_warm)
{
    monad_async_executor ex = nullptr;
    ASSERT_EQ(monad_async_executor_create(&ex, nullptr).error, 0);
    {
        ma::task t;
        long count = -1;
        auto const body = [&count] { count = allocations_when_warm(); };
        monad_async_remote remote = nullptr;
        ASSERT_EQ(monad_async_remote_acquire(ex, &remote).error, 0);
        ma::executor_ref kept;
        t.attach(ex, [&] {
            body();
            kept = ma::this_task::executor();
        });
        while (!t.done()) {
            ASSERT_EQ(monad_async_executor_run(ex, SIZE_MAX, nullptr).error, 0);
        }
        EXPECT_EQ(count, 0);
        EXPECT_EQ(kept.native_handle(), remote);
        monad_async_remote_release(remote);
        EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
        // A reference outlives it, with what it kept.
        EXPECT_EQ(errno_thrown_by([&] { kept.spawn([] {}); }), ESHUTDOWN);
    }
}

// The nth allocation of `story` inside a task of a fresh executor fails, for n = 0, 1, ...; it works
// the next time. How often it threw.
template <class Run, class F> int failures_in_a_task(Run run, F const &story)
{
    int thrown = 0;
    for (long n = 0; n != 1000; ++n) {
        bool all_had = false;
        run([&] {
            bool threw = false;
            until_failure = n;
            try {
                story();
            } catch (std::bad_alloc const &) {
                threw = true;
            } catch (std::system_error const &e) {
                threw = e.code() == std::errc::not_enough_memory;
            }
            all_had = until_failure >= 0;
            until_failure = -1;
            EXPECT_NE(threw, all_had) << "allocation " << n;
            thrown += threw;
            story();
        });
        if (all_had) {
            return thrown;
        }
    }
    ADD_FAILURE() << "it has no end";
    return thrown;
}

void in_an_executor(std::function<void()> const &body)
{
    ma::executor ex(ma::executor_options::compute_only());
    run_task(ex, body);
}

void in_a_pool(std::function<void()> const &body)
{
    ma::thread_pool pool(1);
    pool.submit(body).get();
}

TEST(Malloc, when_all_without_memory_runs_nothing_and_leaves_nothing_behind)
{
    int ran = 0;
    auto const story = [&ran] {
        int const before = ran;
        try {
            ma::when_all([&ran] { ++ran; }, [&ran] { ++ran; }, [&ran] { ++ran; });
        } catch (...) {
            EXPECT_EQ(ran, before);
            throw;
        }
        EXPECT_EQ(ran, before + 3);
    };
    // The object and the task of each child; on a worker what keeps them comes first.
    int const plain = failures_in_a_task(&in_an_executor, story);
    EXPECT_GE(plain, 6);
    EXPECT_GT(failures_in_a_task(&in_a_pool, story), plain);
}

// A worker is with an element, which waits for another worker or its own cancel, when there is no
// memory for the task of that other. It once went on to all the other elements.
TEST(Malloc, for_each_that_cannot_tell_a_worker_to_begin_ends_what_it_has_begun)
{
    static constexpr int size = 160, at_once = size / (2 * 8);
    static std::atomic<int> begun, ended;
    static ma::thread_pool *pool;
    int thrown = 0;
    bool is_over = false;
    for (long n = 0; !is_over; ++n) {
        ma::thread_pool two(2);
        pool = &two;
        begun = ended = 0;
        std::array<int, size> elements = {};
        auto const element = [](int &) {
            ++begun;
            try {
                while (begun < 2) { // The other worker has one, too.
                    ma::this_task::yield();
                }
            } catch (ma::cancelled_error const &) {
            }
            ++ended;
        };
        before_failure = [] {
            while (pool->unfinished() != 0 && begun == 0) {
                std::this_thread::yield();
            }
        };
        until_failure = n;
        bool threw = false;
        try {
            two.for_each(elements, element);
        } catch (std::bad_alloc const &) {
            threw = true;
        } catch (std::system_error const &e) {
            threw = e.code() == std::errc::not_enough_memory;
        }
        is_over = until_failure >= 0;
        until_failure = -1;
        EXPECT_EQ(ended, begun) << "allocation " << n;
        EXPECT_EQ(ended, is_over ? size : begun == 0 ? 0 : at_once) << "allocation " << n;
        EXPECT_NE(threw, is_over) << "allocation " << n;
        thrown += threw && begun != 0;
    }
    EXPECT_GE(thrown, 1);
}

TEST(Malloc, none_for_a_reader_and_a_writer_once_made)
{
    ma::executor ex;
    run_task(ex, [] {
        int fds[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        ma::socket a(monad_async_socket_adopt(fds[0])), b(monad_async_socket_adopt(fds[1]));
        ma::writer out(a, 64);
        ma::reader in(b, 64);
        std::string const line(40, 'x');
        char frame[100];
        long lines = 0;
        EXPECT_EQ(allocations_in([&] {
                      for (int i = 0; i != 100; ++i) {
                          out.write(line);
                          out.write({"\r\n", 2});
                          out.write({frame, sizeof frame});
                          out.flush();
                          lines += in.read_line() == line;
                          in.read_exactly(frame);
                      }
                  }),
                  0);
        EXPECT_EQ(lines, 100);
    });
}

TEST(Malloc, when_any_and_groups_without_memory_run_nothing)
{
    auto const any = [] {
        EXPECT_EQ(std::get<0>(ma::when_any([] { return 1; }, [] { return 2; })), 1);
    };
    EXPECT_GE(failures_in_a_task(&in_a_pool, any), 5);
    auto const group = [] {
        ma::task_group g;
        g.spawn([] {});
        g.spawn([] {});
        g.wait();
    };
    EXPECT_GE(failures_in_a_task(&in_a_pool, group), 5);
}

} // namespace
#endif

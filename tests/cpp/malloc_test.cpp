// Which launches allocate: counted at operator new and at malloc.
#include "support.hpp"

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>

#include <dlfcn.h>

#if defined(__SANITIZE_ADDRESS__)
    #define UNDER_ASAN 1
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
        #define UNDER_ASAN 1
    #endif
#endif

namespace {

std::atomic<long> allocations{0};

}

#if !defined(UNDER_ASAN)
// malloc itself: operator new, Rust and the C library all end there.
extern "C" void *__libc_malloc(std::size_t);
extern "C" void *malloc(std::size_t bytes)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_malloc(bytes);
}
extern "C" void *__libc_memalign(std::size_t, std::size_t);
extern "C" void *aligned_alloc(std::size_t alignment, std::size_t bytes)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    return __libc_memalign(alignment, bytes);
}
extern "C" int posix_memalign(void **out, std::size_t alignment, std::size_t bytes)
{
    allocations.fetch_add(1, std::memory_order_relaxed);
    *out = __libc_memalign(alignment, bytes);
    return *out != nullptr ? 0 : ENOMEM;
}

namespace {

template <class F>
long allocations_in(F &&f)
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

} // namespace
#endif

// What LeakSanitizer says of memory that a stack alone refers to: nothing, wherever the program is.
// The exit status is 0 if it says what it should.
#include <monad/async.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <unistd.h>

// <sanitizer/lsan_interface.h>, which not every clang comes with.
extern "C" int __lsan_do_recoverable_leak_check(void);

namespace ma = monad::async;

namespace {

int leaks()
{
    return __lsan_do_recoverable_leak_check();
}

template <class Body> int run(Body body)
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, body);
    ex.run_until_idle();
    return 0;
}

// What is on no other stack and in no register by the time of the check.
__attribute__((noinline)) void hold(void (*held)())
{
    auto const array = std::make_unique<int[]>(1000);
    asm volatile("" ::"r"(array.get()) : "memory");
    held();
    asm volatile("" ::"r"(array.get()) : "memory");
}

// Overwrites what calls left below.
__attribute__((noinline)) void scrub()
{
    char volatile bytes[4096];
    for (char volatile &byte : bytes) {
        byte = 0;
    }
}

int found = 0;

int suspended()
{
    ma::executor ex;
    ma::task t;
    t.attach(ex, [] { hold([] { ma::this_task::sleep_for(std::chrono::hours{1}); }); });
    ex.run(1, std::chrono::milliseconds{0});
    scrub();
    int const result = leaks();
    std::fflush(stdout);
    _exit(result);
}

int running()
{
    run([] { hold([] { found = leaks(); }); });
    return found;
}

int below()
{
    hold([] { run([] { found = leaks(); }); });
    return found;
}

// The exit looks for leaks itself.
int exits()
{
    hold([] { run([] { std::exit(0); }); });
    return 1;
}

int exits_on_a_pool()
{
    ma::thread_pool pool(1);
    pool.submit([] { std::exit(0); }).wait();
    return 1;
}

int leak()
{
    run([] {
        hold([] {});
        [] {
            auto *volatile lost = new int[1000];
            lost = nullptr;
            (void)lost;
        }();
        scrub();
    });
    scrub();
    return leaks() != 0 ? 0 : 1;
}

} // namespace

int main(int argc, char **argv)
{
    struct test {
        char const *name;
        int (*body)();
    };
    for (auto const &[name, body] :
         {test{"suspended", suspended}, test{"running", running}, test{"below", below},
          test{"exits", exits}, test{"exits_on_a_pool", exits_on_a_pool}, test{"leak", leak}}) {
        if (argc == 2 && std::strcmp(argv[1], name) == 0) {
            std::fflush(stdout);
            _exit(body());
        }
    }
    return 2;
}

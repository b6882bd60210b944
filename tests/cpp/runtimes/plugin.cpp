// A plugin with a C++ runtime of its own inside: two of its tasks suspend while each handles its
// exception.
#include <monad/async.hpp>

#include <chrono>
#include <exception>

namespace ma = monad::async;

namespace {

// Suspends in every way inside a catch, then rethrows; and in a destructor during unwinding.
int wrong_of(int id, ma::task &other)
{
    int wrong = 0;
    struct suspends {
        int &wrong;
        ~suspends()
        {
            wrong += std::uncaught_exceptions() != 1;
            ma::this_task::yield();
            wrong += std::uncaught_exceptions() != 1;
        }
    };
    for (int i = 0; i < 4; ++i) {
        try {
            try {
                suspends const s{wrong};
                throw id;
            } catch (int) {
                switch (i) {
                case 0: ma::this_task::yield(); break;
                case 1: ma::this_task::sleep_for(std::chrono::microseconds{10}); break;
                case 2: {
                    io_uring_sqe nop = {};
                    nop.opcode = IORING_OP_NOP;
                    ma::this_task::io(nop);
                    break;
                }
                default: // Its end waits for a task that sleeps.
                    other = ma::task{};
                }
                throw;
            }
        } catch (int caught) {
            wrong += caught != id;
        }
    }
    return wrong;
}

void throws_5()
{
    throw 5;
}

// What a callable of the plugin throws on a pool is caught by the plugin's runtime.
int wrong_of_pool()
{
    int thrown = 0;
    ma::thread_pool_options options;
    options.workers = 1;
    options.executor.on_exception = [&](std::exception_ptr what) {
        try {
            std::rethrow_exception(what);
        } catch (int caught) {
            thrown = caught;
        }
    };
    {
        ma::thread_pool pool(options);
        pool.spawn(&throws_5);
    }
    return thrown != 5;
}

} // namespace

// How many exceptions were another task's. The executor is the host's.
extern "C" __attribute__((visibility("default"))) int plugin_main(monad_async_executor ex)
{
    ma::task a, b, of_a, of_b;
    for (auto *const t : {&of_a, &of_b}) {
        t->attach(ex, [] {
            ma::shield const s;
            ma::this_task::sleep_for(std::chrono::milliseconds{5});
        });
    }
    a.attach(ex, [&] { return wrong_of(1, of_a); });
    b.attach(ex, [&] { return wrong_of(2, of_b); });
    while (!a.done() || !b.done()) {
        if (monad_async_executor_run(ex, SIZE_MAX, nullptr).error != 0) {
            return -1;
        }
    }
    return static_cast<int>(a.get() + b.get()) + wrong_of_pool();
}

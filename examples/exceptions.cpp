// Exceptions and tasks: what leaves a body comes out of get(); each task has its own exception
// state, so suspending inside a catch is like any other suspension; and a task that is cancelled
// leaves by an exception, through its destructors.
#include <monad/async.hpp>

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <system_error>

namespace ma = monad::async;
using namespace std::chrono_literals;

namespace {

//! [get rethrows]
void get_rethrows(ma::executor &ex)
{
    ma::task t;
    t.attach(ex, []() -> int { throw std::runtime_error("thrown in the body"); });
    ex.run_until_idle();
    try {
        t.get();
    } catch (std::runtime_error const &e) {
        std::printf("get: %s\n", e.what());
    }
}
//! [get rethrows]

// Both are inside their catch at the same time, and each rethrows its own.
void suspended_inside_catch(ma::executor &ex)
{
    auto const body = [](std::string name) {
        return [name] {
            try {
                throw std::runtime_error(name);
            } catch (std::runtime_error const &) {
                ma::this_task::sleep_for(1ms);
                throw;
            }
        };
    };
    ma::task a, b;
    a.attach(ex, body("a's"));
    b.attach(ex, body("b's"));
    ex.run_until_idle();
    for (auto *t : {&a, &b}) {
        try {
            t->get();
        } catch (std::runtime_error const &e) {
            std::printf("suspended inside catch, rethrown: %s\n", e.what());
        }
    }
}

//! [cancelling]
void cancelled(ma::executor &ex)
{
    struct guard {
        ~guard() { std::puts("cancelled: the body's objects are destroyed"); }
    };
    ma::task t;
    t.attach(ex, [] {
        guard const g;
        ma::this_task::sleep_for(1h);
    });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    try {
        t.get();
    } catch (ma::cancelled_error const &) {
        std::puts("cancelled: and get says so");
    }
}
//! [cancelling]

//! [an operation that fails]
// A failed operation is a std::system_error with the errno.
void failed_io(ma::executor &ex)
{
    ma::task t;
    t.attach(ex, [] {
        io_uring_sqe sqe = {};
        sqe.opcode = IORING_OP_CLOSE;
        sqe.fd = -1;
        ma::this_task::io(sqe);
    });
    ex.run_until_idle();
    try {
        t.get();
    } catch (std::system_error const &e) {
        std::printf("io: %s\n", e.what());
    }
}
//! [an operation that fails]

} // namespace

int main()
{
    ma::executor ex;
    get_rethrows(ex);
    suspended_inside_catch(ex);
    cancelled(ex);
    failed_io(ex);
}

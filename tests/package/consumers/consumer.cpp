// Uses enough of the library that a missing piece shows: exceptions, destruction while attached.
#include <monad/async.hpp>

#include <chrono>
#include <stdexcept>
#include <string>

namespace ma = monad::async;

int main()
{
    auto const compiled = std::to_string(MONAD_ASYNC_VERSION_MAJOR) + "." +
                          std::to_string(MONAD_ASYNC_VERSION_MINOR) + "." +
                          std::to_string(MONAD_ASYNC_VERSION_PATCH);
    if (compiled != monad_async_version()) {
        return 1;
    }
    ma::executor ex;
    ma::task throws, throws_too, sleeps;
    bool cleaned_up = false;
    // Each is suspended while it handles its own exception.
    auto const rethrow = [](char const *what, std::chrono::microseconds time) {
        try {
            throw std::runtime_error(what);
        } catch (std::runtime_error const &) {
            ma::this_task::sleep_for(time);
            throw;
        }
    };
    throws.attach(ex, [=] { rethrow("inside", std::chrono::microseconds{2}); });
    throws_too.attach(ex, [=] { rethrow("too", std::chrono::microseconds{1}); });
    sleeps.attach(ex, [&] {
        struct sets {
            bool &flag;
            ~sets() { flag = true; }
        } const s{cleaned_up};
        ma::this_task::sleep_for(std::chrono::hours{1});
    });
    while (!throws.done() || !throws_too.done()) {
        ex.run();
    }
    auto const threw = [](ma::task const &task, std::string const &what) {
        try {
            (void)task.get();
        } catch (std::runtime_error const &e) {
            return e.what() == what;
        }
        return false;
    };
    if (!threw(throws, "inside")) {
        return 2;
    }
    if (!threw(throws_too, "too")) {
        return 3;
    }
    {
        ma::task const gone = std::move(sleeps);
    }
    return cleaned_up ? 0 : 4;
}

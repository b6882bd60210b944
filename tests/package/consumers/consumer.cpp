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
    ma::task throws, sleeps;
    bool cleaned_up = false;
    throws.attach(ex, [] {
        try {
            throw std::runtime_error("inside");
        } catch (std::runtime_error const &) {
            ma::this_task::sleep_for(std::chrono::microseconds{1});
            throw;
        }
    });
    sleeps.attach(ex, [&] {
        struct sets {
            bool &flag;
            ~sets() { flag = true; }
        } const s{cleaned_up};
        ma::this_task::sleep_for(std::chrono::hours{1});
    });
    while (!throws.done()) {
        ex.run();
    }
    try {
        (void)throws.get();
        return 2;
    } catch (std::runtime_error const &e) {
        if (e.what() != std::string("inside")) {
            return 3;
        }
    }
    { ma::task const gone = std::move(sleeps); }
    return cleaned_up ? 0 : 4;
}

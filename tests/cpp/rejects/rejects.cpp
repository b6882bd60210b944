// Mistakes, each behind its macro; without any, this compiles.
#include <monad/async/executor.hpp>
#include <monad/async/reader.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/socket.hpp>
#include <monad/async/task.hpp>
#include <monad/async/writer.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace ma = monad::async;

void mistake(ma::executor &ex, ma::task &t)
{
    t.attach(ex, [] { return 1; });
#if defined(TAKES_ARGUMENTS)
    t.attach(ex, [](int n) { return n; });
#elif defined(RETURNS_A_STRING)
    t.attach(ex, [] { return std::string("not an integer"); });
#elif defined(CANNOT_BE_MOVED_IN)
    auto const move_only = [p = std::make_unique<int>(1)] { return *p; };
    t.attach(ex, move_only);
#elif defined(THROWS_WHEN_DESTROYED)
    struct bomb {
        bomb() = default;
        bomb(bomb &&) noexcept {}
        ~bomb() noexcept(false) {}
        void operator()() const {}
    };
    t.attach(ex, bomb{});
#elif defined(DROPS_A_SCOPE)
    ma::scope(std::chrono::seconds(1)); // Its end is here.
#elif defined(DROPS_A_SHIELD)
    ma::shield();
#elif defined(COPIES_A_TASK)
    ma::task copy = t;
#elif defined(SENDS_AN_ARRAY)
    char const some[3] = {1, 2, 0};
    ma::socket().send_all(some);
#elif defined(SENDS_MORE_THAN_A_TEXT)
    ma::socket().send_all("one\0two"); // Without consteval no literal is taken.
#elif defined(READS_WHAT_IS_NO_STREAM)
    ma::reader in(t);
#elif defined(WRITES_WHAT_IS_NO_STREAM)
    ma::writer out(t);
#endif
}

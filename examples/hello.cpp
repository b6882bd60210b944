// Counts a file's lines in a task, and gives up after a second. hello [FILE]
#include <monad/async.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace ma = monad::async;

int main(int argc, char **argv)
{
    char const *const path = argc > 1 ? argv[1] : "/etc/passwd";
    ma::executor ex;                // of this thread, with an io_uring of its own
    ma::task t{ma::task_options{}}; // expensive, reusable
    t.priority(ma::priority::high);
    t.attach(ex, [path] { // any callable; captured state is moved in
        return ma::with_timeout(std::chrono::seconds{1}, [path] {
            ma::file in(path); // throws std::system_error, or ma::timeout_error
            char data[4096];
            std::intmax_t lines = 0;
            while (std::size_t const n = in.read(data)) { // others run while it waits
                lines += std::count(data, data + n, '\n');
            }
            return lines;
        });
    });
    ex.run_until_idle();
    try {
        std::printf("%jd lines\n", std::intmax_t{t.get()}); // rethrows what the body threw
    } catch (std::exception const &e) {
        std::fprintf(stderr, "%s: %s\n", path, e.what());
        return EXIT_FAILURE;
    }
}

#ifndef MONAD_ASYNC_TESTS_CPP_SUPPORT_HPP
#define MONAD_ASYNC_TESTS_CPP_SUPPORT_HPP

// What the C++ tests share. Includes only what nearly each of them needs: a test includes the headers
// that it tries, so that a change of one builds these tests again and no others.

#include <monad/async/executor.hpp>
#include <monad/async/task.hpp>
#include <monad/async/this_task.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace ma = monad::async;
using namespace std::chrono_literals;

// The errno that `f` throws, 0 if it throws nothing; another exception is the test's failure.
template <class F> int errno_thrown_by(F &&f)
{
    try {
        f();
    } catch (std::system_error const &e) {
        EXPECT_EQ(e.code().category(), std::system_category()) << e.what();
        return e.code().value();
    }
    return 0;
}

// Runs `body` as a task to its end, and gives what it returned or throws what it threw.
template <class F> std::intptr_t run_task(ma::executor &ex, F &&body)
{
    ma::task t;
    t.attach(ex, std::forward<F>(body));
    while (!t.done()) {
        ex.run();
    }
    return t.get();
}

// Counts its destructions: shows that a stack was cleaned up.
struct counts_end {
    int *ends;
    explicit counts_end(int &n) : ends(&n) {}
    counts_end(counts_end const &) = delete;
    counts_end &operator=(counts_end const &) = delete;
    ~counts_end() { ++*ends; }
};

#endif

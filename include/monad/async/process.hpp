#ifndef MONAD_ASYNC_PROCESS_HPP
#define MONAD_ASYNC_PROCESS_HPP

/** @file process.hpp
 *  Signals that a task waits for.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of process.h. */

#include "config.h"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "process.h"
#include "task.h"

#include <cerrno>
#include <initializer_list>
#include <system_error>

#include <pthread.h>
#include <signal.h>

namespace monad::async {
inline namespace v0 {

/** Signals that come to a task, and not to a handler. They are blocked in the thread that makes
 *  the object and in the threads that it makes later: so make it at the beginning of `main`. Its
 *  destructor puts the thread's mask back. Does not move. */
class signals {
public:
    /** Blocks them. EXPENSIVE.
     *  @param numbers `SIGTERM` and so on
     *  @throws std::system_error `EINVAL`: no such signal */
    signals(std::initializer_list<int> numbers)
    {
        int const saved = errno;
        sigemptyset(&set_);
        int error = 0;
        for (int const number : numbers) {
            if (sigaddset(&set_, number) != 0) {
                error = EINVAL;
            }
        }
        errno = saved;
        if (error == 0) {
            error = pthread_sigmask(SIG_BLOCK, &set_, &before_);
        }
        detail::check(error, "monad::async::signals");
    }
    /** `SIGTERM`, `SIGINT` and `SIGHUP`: what asks a program to end. */
    signals() : signals({SIGTERM, SIGINT, SIGHUP}) {}
    ~signals() { (void)pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    signals(signals const &) = delete;
    signals &operator=(signals const &) = delete;

    /** SUSPENDS until one of them comes, and takes it.
     *  @return its number
     *  @throws std::system_error its errno; `EPERM`: outside a task
     *  @throws cancelled_error the task or a scope was cancelled
     *  @throws timeout_error a scope's deadline passed */
    MONAD_ASYNC_LOCAL int wait()
    {
        return static_cast<int>(value_or_throw(take(), "monad::async::signals::wait"));
    }

    /** As the other `wait`.
     *  @param[out] ec the error
     *  @return its number; -1 with an error */
    MONAD_ASYNC_LOCAL int wait(std::error_code &ec) noexcept
    {
        return static_cast<int>(detail::report(take(), ec));
    }

private:
    MONAD_ASYNC_LOCAL monad_async_result take()
    {
        auto *const self = monad_async_task_current();
        return detail::interruptible(self, [&] { return monad_async_signal_wait(self, &set_); });
    }

    sigset_t set_;
    sigset_t before_;
};

} // namespace v0
} // namespace monad::async

#endif

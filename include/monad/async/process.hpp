#ifndef MONAD_ASYNC_PROCESS_HPP
#define MONAD_ASYNC_PROCESS_HPP

/** @file process.hpp
 *  Child processes, and signals that a task waits for.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of process.h. */

#include "config.h"
#include "detail/executor_block.hpp"
#include "detail/runtime.hpp"
#include "detail/spin_lock.hpp"
#include "error.hpp"
#include "poll.h"
#include "process.h"
#include "scope.hpp"
#include "socket.hpp"
#include "task.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace monad::async {
inline namespace v0 {

/** Signals that come to a task, and not to a handler. They are blocked in the thread that makes
 *  the object and in the threads that it makes later: so make it at the beginning of `main`. Its
 *  destructor, on that thread, unblocks those that it has blocked: one that came and was not taken,
 *  a second Ctrl-C for one, then does what it did before, which is to end the process. Who writes
 *  something at the end keeps the object until that is done. Of several objects of one thread for
 *  one signal the last to end unblocks it. Does not move.
 *  @see monad_async_signal_wait() */
class signals {
public:
    /** Blocks them. EXPENSIVE.
     *  @param numbers `SIGTERM` and so on
     *  @throws std::system_error `EINVAL`: no such signal, or one that nobody can take */
    signals(std::initializer_list<int> numbers)
    {
        detail::check(block(numbers), "monad::async::signals");
    }
    /** As that constructor.
     *  @param numbers `SIGTERM` and so on
     *  @param[out] ec the error: then none is blocked */
    signals(std::initializer_list<int> numbers, std::error_code &ec) noexcept
    {
        detail::report(block(numbers), ec);
    }

    /** `SIGTERM`, `SIGINT` and `SIGHUP`: what asks a program to end. */
    signals() : signals({SIGTERM, SIGINT, SIGHUP}) {}
    /** As that constructor.
     *  @param[out] ec the error: then none is blocked */
    explicit signals(std::error_code &ec) noexcept : signals({SIGTERM, SIGINT, SIGHUP}, ec) {}
    ~signals()
    {
        leave();
        (void)pthread_sigmask(SIG_UNBLOCK, &blocked_, nullptr);
    }
    signals(signals const &) = delete;
    signals &operator=(signals const &) = delete;

    /** SUSPENDS until one of them comes, and takes it.
     *  @return its number
     *  @throws std::system_error its errno; `EPERM`: outside a task; `EMFILE`, `ENFILE`: no more
     *  descriptors
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
    // The errno.
    int block(std::initializer_list<int> numbers) noexcept
    {
        int const saved = errno;
        sigemptyset(&set_);
        sigemptyset(&blocked_);
        int error = 0;
        for (int const number : numbers) {
            bool const comes_to_none = number == SIGKILL || number == SIGSTOP;
            if (comes_to_none || sigaddset(&set_, number) != 0) {
                error = EINVAL;
            }
        }
        errno = saved;
        if (error != 0) {
            sigemptyset(&set_);
            return error;
        }
        sigset_t before;
        error = pthread_sigmask(SIG_BLOCK, &set_, &before);
        for (int const number : numbers) {
            if (error == 0 && sigismember(&before, number) == 0) {
                sigaddset(&blocked_, number);
            }
        }
        if (error == 0 && lock_all()) {
            next_ = std::exchange(all_, this);
            detail::spin_unlock(all_lock_);
        }
        return error;
    }

    // False in the child of a fork, where a thread that it does not have holds it for ever.
    // So the word says whose thread took it. (The library's own number of a process does not change
    // before there is an executor.)
    static bool lock_all() noexcept
    {
        int const here = ::getpid();
        for (unsigned attempts = 0;; detail::spin(attempts)) {
            int holder = 0;
            if (__atomic_compare_exchange_n(&all_lock_, &holder, here, false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED)) {
                return true;
            }
            if (holder != here) {
                return false;
            }
        }
    }

    // What it has blocked it leaves to others of its thread that take it, too.
    void leave() noexcept
    {
        if (!lock_all()) {
            return;
        }
        for (auto **at = &all_; *at != nullptr; at = &(*at)->next_) {
            if (*at == this) {
                *at = next_;
                break;
            }
        }
        for (auto *other = all_; other != nullptr; other = other->next_) {
            for (int number = 1; number < NSIG; ++number) {
                if (pthread_equal(other->thread_, thread_) != 0 &&
                    sigismember(&blocked_, number) == 1 && sigismember(&other->set_, number) == 1) {
                    sigdelset(&blocked_, number);
                    sigaddset(&other->blocked_, number);
                }
            }
        }
        detail::spin_unlock(all_lock_);
    }

    MONAD_ASYNC_LOCAL monad_async_result take()
    {
        auto *const self = monad_async_task_current();
        return detail::interruptible(self, [&] { return monad_async_signal_wait(self, &set_); });
    }

    sigset_t set_;
    sigset_t blocked_; // Those that were not before.
    pthread_t const thread_ = pthread_self();
    signals *next_ = nullptr;
    // Of the process, under the lock.
    static inline signals *all_ = nullptr;
    static inline int all_lock_ = 0;
};

/** A child process and its three streams. They are pairs of Unix sockets, so that a write to a
 *  child that is gone is `EPIPE` and no SIGPIPE; sockets cannot be opened by a name, so that
 *  `> /dev/stderr` fails in the child (`>&2` does not). The child begins without blocked signals,
 *  and with SIGPIPE as it is by default, though this process may ignore it.
 *
 *  The destructor kills it and reaps it, if nobody has waited for it. `SIGCHLD` stays the program's
 *  own. Where that is ignored, how a child ended is lost (`ECHILD`). The object has a descriptor of
 *  the child (pidfd): so its number, which is another process's some time after it was reaped, is
 *  not what it is known by, except where there is no descriptor to be had. Used by tasks of one
 *  executor, one of which is told how it ended; does not move.
 *  @see monad_async_process_wait() */
class process {
public:
    /** Starts a program. EXPENSIVE; does not suspend.
     *  @param arguments the program, looked for in `PATH`, and what it is given
     *  @throws std::system_error `ENOENT` and so on: it could not be started; `EINVAL`: no name;
     *  `ENOMEM`; `EAGAIN`: no more processes; `EMFILE`, `ENFILE`: no more descriptors */
    explicit process(std::vector<std::string> const &arguments)
    {
        std::error_code ec;
        start(arguments, ec);
        detail::check(ec.value(), "monad::async::process");
    }

    /** As the other constructor.
     *  @param arguments the program and what it is given
     *  @param[out] ec the error: then there is no child */
    process(std::vector<std::string> const &arguments, std::error_code &ec) noexcept
    {
        start(arguments, ec);
    }

    /** SUSPENDS inside a task, whatever scopes have fired, and blocks outside: kills a child that
     *  was not waited for, and reaps it. */
    ~process()
    {
        if (is_child()) {
            int const saved = errno;
            kill(SIGKILL);
            if (!reap_in_task()) {
                while (ask(nullptr, WEXITED) < 0 && errno == EINTR) {
                }
            }
            errno = saved;
        }
        forget();
    }
    process(process const &) = delete;
    process &operator=(process const &) = delete;

    /** SUSPENDS until it has ended, and reaps it. A time-out is a scope around it; interrupted, it
     *  goes on.
     *  @return how it ended
     *  @throws std::system_error its errno; `ECHILD`: waited for already, also by another
     *  task during this wait, or reaped by others or by the kernel, as `SIGCHLD` is ignored
     *  @throws cancelled_error the task or a scope was cancelled
     *  @throws timeout_error a scope's deadline passed */
    MONAD_ASYNC_LOCAL monad_async_process_info wait()
    {
        std::error_code ec;
        auto const ended = wait(ec);
        detail::check(ec.value(), "monad::async::process::wait");
        return ended;
    }

    /** As the other `wait`.
     *  @param[out] ec the error
     *  @return how it ended */
    MONAD_ASYNC_LOCAL monad_async_process_info wait(std::error_code &ec) noexcept
    {
        monad_async_process_info info = {};
        auto *const self = monad_async_task_current();
        auto const r = detail::interruptible(self, [&] { return reap(self, info); });
        detail::report(r.error, ec);
        if (r.error == 0 || r.error == ECHILD) {
            forget();
        }
        return info;
    }

    /** Sends it a signal. Does not suspend; nothing happens once it was waited for, by others too.
     *  @param number the signal */
    void kill(int number = SIGTERM) noexcept
    {
        if (is_child()) {
            int const saved = errno;
            bool const is_sent =
                pidfd_ >= 0 && (syscall(SYS_pidfd_send_signal, pidfd_, number, nullptr, 0) == 0 ||
                                (errno != ENOSYS && errno != EPERM));
            if (!is_sent) {
                (void)::kill(pid_, number); // A sandbox may know no such call.
            }
            errno = saved;
        }
    }

    /** @return its number; -1 once it was waited for */
    [[nodiscard]] pid_t pid() const noexcept { return pid_; }

    /** @return to its standard input: `close` it where the child is to see the end */
    [[nodiscard]] socket &input() noexcept { return streams_[0]; }

    /** @return from its standard output */
    [[nodiscard]] socket &output() noexcept { return streams_[1]; }

    /** @return from its standard error */
    [[nodiscard]] socket &error() noexcept { return streams_[2]; }

private:
    // `waitid` of the child: by P_PIDFD, which older headers lack, or by its number.
    int ask(siginfo_t *info, int how) const noexcept
    {
        return pidfd_ >= 0 ? waitid(static_cast<idtype_t>(3), static_cast<id_t>(pidfd_), info, how)
                           : waitid(P_PID, static_cast<id_t>(pid_), info, how);
    }

    // Not waited for, by others neither.
    [[nodiscard]] bool is_child() const noexcept
    {
        int const saved = errno;
        siginfo_t info;
        bool const is_ours =
            pid_ > 0 && pidfd_ != reaped && ask(&info, WEXITED | WNOHANG | WNOWAIT) == 0;
        errno = saved;
        return is_ours;
    }

    // It was reaped.
    void forget() noexcept
    {
        pid_ = -1;
        if (pidfd_ >= 0) {
            ::close(std::exchange(pidfd_, -1));
        }
    }

    // SUSPENDS until it has ended, by its descriptor if there is one; it is reaped then.
    MONAD_ASYNC_LOCAL monad_async_result reap(monad_async_task self, monad_async_process_info &info)
    {
        constexpr std::uint64_t pause_max_ns = 20'000'000;
        std::uint64_t pause_ns = 0;
        for (;;) {
            // Again behind each wait: another task may have reaped it.
            if (pid_ <= 0 || pidfd_ == reaped) {
                return monad_async_make_failure(ECHILD);
            }
            if (self == nullptr || pidfd_ < 0) {
                break;
            }
            int const saved = errno;
            siginfo_t ended;
            ended.si_pid = 0; // It stays so until the child has ended.
            int const error = ask(&ended, WEXITED | WNOHANG) == 0 ? 0 : errno;
            errno = saved;
            if (error != 0 && error != EINTR) {
                return monad_async_make_failure(error);
            }
            if (error == 0 && ended.si_pid != 0) {
                info = {ended.si_pid, ended.si_code, ended.si_status, ended.si_uid};
                return monad_async_make_success(0);
            }
            // It has ended and is not ours yet: who traces it has it first, and no event says when.
            auto const r = pause_ns == 0 ? monad_async_poll(self, pidfd_, POLLIN)
                                         : monad_async_task_suspend_for_duration(self, pause_ns);
            if (r.error != 0) {
                return r;
            }
            pause_ns = pause_ns == 0 ? 100'000 : std::min(pause_ns * 2, pause_max_ns);
        }
        auto const r = monad_async_process_wait(self, pid_, &info);
        return r.error == ESRCH ? monad_async_make_failure(ECHILD) : r;
    }

    // Whether it was called in a task, and the child is reaped.
    bool reap_in_task() noexcept
    {
        auto *const self = monad_async_task_current();
        monad_async_scope shield;
        auto const flags = MONAD_ASYNC_SCOPE_SHIELD;
        if (self == nullptr ||
            monad_async_scope_enter(self, &shield, UINT64_MAX, flags).error != 0) {
            return false;
        }
        monad_async_process_info info;
        int const error = detail::suspending([&] { return reap(self, info); }).error;
        (void)monad_async_scope_leave(self, &shield);
        return error == 0 || error == ECHILD;
    }

    void start(std::vector<std::string> const &arguments, std::error_code &ec) noexcept
    {
        std::unique_ptr<char *[]> const words(new (std::nothrow) char *[arguments.size() + 1]);
        if (words == nullptr) {
            detail::report(ENOMEM, ec);
            return;
        }
        auto *at = words.get();
        for (auto const &word : arguments) {
            if (word.find('\0') != std::string::npos) {
                detail::report(EINVAL, ec); // It would be another word, and of another length.
                return;
            }
            *at++ = const_cast<char *>(word.c_str()); // As posix_spawn wants it.
        }
        *at = nullptr;
        int const saved = errno;
        detail::report(arguments.empty() ? EINVAL : spawn(words.get()), ec);
        errno = saved;
    }

    // The errno.
    int spawn(char *const *words) noexcept
    {
        socket theirs[3];
        posix_spawn_file_actions_t files;
        posix_spawnattr_t attributes;
        int wrong = posix_spawn_file_actions_init(&files);
        if (wrong != 0) {
            return wrong;
        }
        wrong = posix_spawnattr_init(&attributes);
        if (wrong == 0) {
            for (int i = 0; i < 3 && wrong == 0; ++i) {
                wrong = connect(i, theirs[i], &files);
            }
            sigset_t none;
            sigemptyset(&none);
            if (wrong == 0) {
                wrong = posix_spawnattr_setsigmask(&attributes, &none);
            }
            // Programs count on being ended by it; this one may ignore it, as servers do.
            sigaddset(&none, SIGPIPE);
            if (wrong == 0) {
                wrong = posix_spawnattr_setsigdefault(&attributes, &none);
            }
            if (wrong == 0) {
                auto const flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
                wrong = posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
            }
            if (wrong == 0) {
                wrong = posix_spawnp(&pid_, words[0], &files, &attributes, words, environ);
            }
            posix_spawnattr_destroy(&attributes);
        }
        posix_spawn_file_actions_destroy(&files);
        close_all(theirs); // The child has its own.
        if (wrong != 0) {
            close_all(streams_);
            pid_ = -1;
            return wrong;
        }
        int const saved = errno;
        pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)); // It is FD_CLOEXEC.
        if (pidfd_ < 0 && errno == ESRCH) {
            pidfd_ = reaped; // By the kernel.
        }
        errno = saved;
        return 0;
    }

    // No operation was ever on these.
    static void close_all(socket (&ends)[3]) noexcept
    {
        for (auto &end : ends) {
            auto const handle = end.release();
            if (handle.fd >= 0) {
                ::close(handle.fd);
            }
        }
    }

    int connect(int stream, socket &end, posix_spawn_file_actions_t *files) noexcept
    {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
            return errno;
        }
        streams_[stream] = socket(monad_async_socket_adopt(fds[0]));
        end = socket(monad_async_socket_adopt(fds[1]));
        // Onto itself it would keep its FD_CLOEXEC; out of the way of the streams that follow.
        if (fds[1] <= STDERR_FILENO) {
            int const moved = fcntl(fds[1], F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
            if (moved < 0) {
                return errno;
            }
            ::close(end.release().fd);
            end = socket(monad_async_socket_adopt(moved));
        }
        return posix_spawn_file_actions_adddup2(files, end.native_handle().fd, stream);
    }

    pid_t pid_ = -1;
    // Of the child. -1 where the kernel has none (valgrind hides them), or no room for it.
    int pidfd_ = -1;
    static constexpr int reaped = -2;
    socket streams_[3];
};

} // namespace v0
} // namespace monad::async

#endif

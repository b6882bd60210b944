#ifndef MONAD_ASYNC_BLOCKING_HPP
#define MONAD_ASYNC_BLOCKING_HPP

/** @file blocking.hpp
 *  Callables that block, and names of hosts: on helper threads, while only their task waits.
 *
 *  The words ANY THREAD, SUSPENDS and EXPENSIVE are those of executor.h. */

#include "blocking.h"
#include "config.h"
#include "detail/runtime.hpp"
#include "detail/time.hpp"
#include "detail/tsan.hpp"
#include "error.hpp"
#include "result.h"
#include "task.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

#include <netdb.h>
#include <sys/socket.h>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// On the stack of the task that waits.
template <class F> struct offloaded {
    using result = std::invoke_result_t<F>;
    using value_type = std::conditional_t<std::is_void_v<result>, std::monostate, result>;

    F &&f;
    std::optional<value_type> value = {};
    std::exception_ptr thrown = nullptr;

    // The monad_async_blocking_fn. What f throws must not leave it.
    static monad_async_result run(void *ptr) noexcept
    {
        auto &self = *static_cast<offloaded *>(ptr);
        tsan_acquire(ptr);
        try {
            if constexpr (std::is_void_v<result>) {
                std::invoke(std::forward<F>(self.f));
                self.value.emplace();
            } else {
                self.value.emplace(std::invoke(std::forward<F>(self.f)));
            }
        } catch (...) {
            self.thrown = caught();
        }
        tsan_release(ptr);
        return monad_async_make_success(0);
    }

    // SUSPENDS. The errno. Throws what f did.
    MONAD_ASYNC_LOCAL int await()
    {
        auto *const self = monad_async_task_current();
        tsan_release(this);
        auto const r = interruptible(
            self, [self, this] { return monad_async_run_blocking(self, &offloaded::run, this); });
        tsan_acquire(this);
        if (thrown) {
            std::rethrow_exception(std::move(thrown));
        }
        return r.error;
    }
};

} // namespace detail
/** @endcond */

/** SUSPENDS until `f` has returned on a helper thread, as `monad_async_run_blocking`: other tasks
 *  of the executor go on. EXPENSIVE. Once it runs, a cancel waits for its return, so it
 *  may use what is on the task's stack.
 *  @param f called once, on another thread, outside every task
 *  @return what `f` returns; a movable value
 *  @throws what `f` throws
 *  @throws cancelled_error, timeout_error interrupted before `f` began: it never runs
 *  @throws std::system_error `EPERM`: outside a task; `EAGAIN`, `ENOMEM`: no helper;
 *  `ENOTRECOVERABLE`: `f` threw what is none of C++
 *  @see monad_async_run_blocking(), pool.hpp */
template <class F> MONAD_ASYNC_LOCAL std::invoke_result_t<F> offload(F &&f)
{
    static_assert(!std::is_reference_v<std::invoke_result_t<F>>,
                  "what an offloaded callable returns is moved out: return a pointer");
    detail::offloaded<F> call{std::forward<F>(f)};
    detail::check(call.await(), "monad::async::offload");
    if constexpr (!std::is_void_v<std::invoke_result_t<F>>) {
        return std::move(*call.value);
    }
}

/** As the other `offload`.
 *  @param f called once, on another thread, outside every task
 *  @param[out] ec the error of the call: `f` never ran
 *  @return what `f` returns, `std::monostate` for nothing; no value with an error
 *  @throws what `f` throws */
template <class F>
MONAD_ASYNC_LOCAL std::optional<typename detail::offloaded<F>::value_type>
offload(F &&f, std::error_code &ec)
{
    static_assert(!std::is_reference_v<std::invoke_result_t<F>>,
                  "what an offloaded callable returns is moved out: return a pointer");
    detail::offloaded<F> call{std::forward<F>(f)};
    detail::report(call.await(), ec);
    return std::move(call.value);
}

/** As `monad_async_blocking_set_limits`: how many helpers the process may have, and how long one
 *  stays without work. ANY THREAD. EXPENSIVE: wakes those that are idle.
 *  @param helpers_max at most so many; 64 unless set
 *  @param idle so long; 5 seconds unless set; zero and less: not at all
 *  @throws std::system_error `EINVAL`: no helper at all
 *  @see monad_async_blocking_set_limits() */
template <class Rep, class Period>
void blocking_limits(std::uint32_t helpers_max, std::chrono::duration<Rep, Period> idle)
{
    auto const r = monad_async_blocking_set_limits(helpers_max, detail::to_ns(idle));
    detail::check(r.error, "monad::async::blocking_limits");
}

/** As the other `blocking_limits`.
 *  @param helpers_max at most so many
 *  @param idle so long
 *  @param[out] ec the error */
template <class Rep, class Period>
void blocking_limits(std::uint32_t helpers_max, std::chrono::duration<Rep, Period> idle,
                     std::error_code &ec) noexcept
{
    detail::report(monad_async_blocking_set_limits(helpers_max, detail::to_ns(idle)).error, ec);
}

/** How many helpers there are, busy or idle. ANY THREAD.
 *  @return at this moment
 *  @see monad_async_blocking_helpers() */
[[nodiscard]] inline std::uint32_t blocking_helpers() noexcept
{
    return monad_async_blocking_helpers();
}

/** Addresses that `resolve` found, in the order in which they are to be tried. Move-only; a range
 *  of `addrinfo`.
 *  @see monad_async_resolve(), connect.hpp */
class address_list {
public:
    /** Over the addresses. */
    class iterator {
    public:
        /** @cond as every iterator */
        using iterator_category = std::forward_iterator_tag;
        using value_type = addrinfo;
        using difference_type = std::ptrdiff_t;
        using pointer = addrinfo const *;
        using reference = addrinfo const &;
        iterator() noexcept = default;
        explicit iterator(addrinfo const *at) noexcept : at_(at) {}
        reference operator*() const noexcept { return *at_; }
        pointer operator->() const noexcept { return at_; }
        iterator &operator++() noexcept
        {
            at_ = at_->ai_next;
            return *this;
        }
        iterator operator++(int) noexcept
        {
            auto const before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(iterator a, iterator b) noexcept { return a.at_ == b.at_; }
        friend bool operator!=(iterator a, iterator b) noexcept { return a.at_ != b.at_; }
        /** @endcond */

    private:
        addrinfo const *at_ = nullptr;
    };

    /** Without any. */
    address_list() noexcept = default;

    /** @return the first */
    [[nodiscard]] iterator begin() const noexcept { return iterator(list_.get()); }

    /** @return behind the last */
    [[nodiscard]] iterator end() const noexcept { return iterator(); }

    /** @return whether there is none */
    [[nodiscard]] bool empty() const noexcept { return list_ == nullptr; }

    /** @cond no API */
    explicit address_list(addrinfo *list) noexcept : list_(list) {}
    /** @endcond */

private:
    struct deleter {
        void operator()(addrinfo *list) const noexcept { ::freeaddrinfo(list); }
    };
    std::unique_ptr<addrinfo, deleter> list_;
};

/** @cond no API */
namespace detail {

MONAD_ASYNC_LOCAL inline monad_async_result find_addresses(std::string const &host,
                                                           std::string const &service, int kind,
                                                           int family, addrinfo *&list)
{
    if (host.find('\0') != std::string::npos || service.find('\0') != std::string::npos) {
        return monad_async_make_failure(EINVAL); // What stands before it would be found.
    }
    addrinfo hints = {};
    hints.ai_socktype = kind;
    hints.ai_family = family;
    auto const *const name = host.empty() ? nullptr : host.c_str();
    auto const *const port = service.empty() ? nullptr : service.c_str();
    auto *const self = monad_async_task_current();
    return interruptible(self,
                         [&] { return monad_async_resolve(self, name, port, &hints, &list); });
}

} // namespace detail
/** @endcond */

/** @cond no API */
namespace detail {

// Its text ends with what the name service says: that of the errno would speak of files.
class name_error final : public std::system_error {
public:
    name_error(int error, int said) : std::system_error(error, std::system_category())
    {
        std::snprintf(text_, sizeof text_, "monad::async::resolve: %s", ::gai_strerror(said));
    }
    [[nodiscard]] char const *what() const noexcept override { return text_; }

private:
    char text_[120];
};

[[noreturn, gnu::cold, gnu::noinline]] inline void not_resolved(monad_async_result r)
{
    // -1 is also what the library's own errors have; of EAI_SYSTEM the errno says more.
    if (r.value < -1 && r.value != EAI_SYSTEM) {
        throw name_error(r.error, static_cast<int>(r.value));
    }
    fail(r.error, "monad::async::resolve");
}

} // namespace detail
/** @endcond */

/** Finds the addresses of a host: SUSPENDS until the name service has answered on a helper thread,
 *  as `monad_async_resolve`. A cancel and a deadline end it at once.
 *  @param host a name, or an address in figures; empty: this machine
 *  @param service a name, or a port in figures; empty: none
 *  @param kind `SOCK_STREAM`, `SOCK_DGRAM`
 *  @param family `AF_UNSPEC`: any
 *  @return one or more
 *  @throws std::system_error `ENOENT`: there is no such host or service, as its text says;
 *  `EAGAIN`: the name service does not answer for now; `EPERM`: outside a task
 *  @throws cancelled_error, timeout_error
 *  @see monad_async_resolve(), connect.hpp */
[[nodiscard]] MONAD_ASYNC_LOCAL inline address_list resolve(std::string const &host,
                                                            std::string const &service,
                                                            int kind = SOCK_STREAM,
                                                            int family = AF_UNSPEC)
{
    addrinfo *list = nullptr;
    auto const r = detail::find_addresses(host, service, kind, family, list);
    if (r.error != 0) {
        detail::not_resolved(r);
    }
    return address_list(list);
}

/** As the other `resolve`, of any family.
 *  @param host a name, or an address in figures; empty: this machine
 *  @param service a name, or a port in figures; empty: none
 *  @param kind `SOCK_STREAM`, `SOCK_DGRAM`
 *  @param[out] ec the error
 *  @return none on an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline address_list
resolve(std::string const &host, std::string const &service, int kind, std::error_code &ec) noexcept
{
    addrinfo *list = nullptr;
    detail::report(detail::find_addresses(host, service, kind, AF_UNSPEC, list), ec);
    return address_list(list);
}

/** As the other `resolve`, for streams of any family.
 *  @param host a name, or an address in figures; empty: this machine
 *  @param service a name, or a port in figures; empty: none
 *  @param[out] ec the error
 *  @return none on an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline address_list
resolve(std::string const &host, std::string const &service, std::error_code &ec) noexcept
{
    return resolve(host, service, SOCK_STREAM, ec);
}

/** As the other `resolve`.
 *  @param host a name, or an address in figures; empty: this machine
 *  @param service a name, or a port in figures; empty: none
 *  @param kind `SOCK_STREAM`, `SOCK_DGRAM`
 *  @param family `AF_UNSPEC`: any
 *  @param[out] ec the error
 *  @return none on an error */
[[nodiscard]] MONAD_ASYNC_LOCAL inline address_list resolve(std::string const &host,
                                                            std::string const &service, int kind,
                                                            int family,
                                                            std::error_code &ec) noexcept
{
    addrinfo *list = nullptr;
    detail::report(detail::find_addresses(host, service, kind, family, list), ec);
    return address_list(list);
}

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_SELECT_HPP
#define MONAD_ASYNC_SELECT_HPP

/** @file select.hpp
 *  Waits for several things at once; one happens, and its callable is called.
 *
 *  The rules are those of select.h. The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "channel.hpp"
#include "detail/time.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"
#include "operation.hpp"
#include "select.h"
#include "task.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

inline monad_async_select_case case_of_send(monad_async_channel *ch, void *element) noexcept
{
    return monad_async_case_send(ch, element);
}

inline monad_async_select_case case_of_send(monad_async_local_channel *ch, void *element) noexcept
{
    return monad_async_case_local_send(ch, element);
}

inline monad_async_select_case case_of_recv(monad_async_channel *ch, void *element) noexcept
{
    return monad_async_case_recv(ch, element);
}

inline monad_async_select_case case_of_recv(monad_async_local_channel *ch, void *element) noexcept
{
    return monad_async_case_local_recv(ch, element);
}

// A case has `make`, which gives the record; then `happened` with its result, or `lost`.
template <class T, class Objects, class F> struct recv_case {
    channel<T, Objects> *from;
    F f;
    room<T> element;

    recv_case(channel<T, Objects> &ch, F &&callable) : from(&ch), f(std::move(callable)) {}
    recv_case(recv_case &&other) : from(other.from), f(std::move(other.f)) {}

    monad_async_select_case make() { return case_of_recv(from->native_handle(), &element.value); }
    void lost() noexcept {}
    void happened(monad_async_result r)
    {
        std::optional<T> value;
        if (r.error == 0) {
            value.emplace(std::move(element.value));
            element.value.~T();
        }
        std::move(f)(std::move(value));
    }
};

template <class T, class Objects, class F> struct send_case {
    channel<T, Objects> *to;
    T *value;
    F f;
    room<T> element;

    send_case(channel<T, Objects> &ch, T &v, F &&callable)
        : to(&ch), value(&v), f(std::move(callable))
    {
    }
    send_case(send_case &&other) : to(other.to), value(other.value), f(std::move(other.f)) {}

    monad_async_select_case make()
    {
        ::new (static_cast<void *>(&element.value)) T(std::move(*value));
        return case_of_send(to->native_handle(), &element.value);
    }
    void lost() noexcept
    {
        value->~T();
        ::new (static_cast<void *>(value)) T(std::move(element.value));
        element.value.~T();
    }
    void happened(monad_async_result r)
    {
        if (r.error != 0) {
            lost();
        } else if constexpr (std::is_trivially_copyable_v<T>) {
            element.value.~T(); // Its bytes were copied.
        }
        std::move(f)(r.error == 0);
    }
};

template <class F> struct join_case {
    monad_async_task task;
    F f;

    monad_async_select_case make() const noexcept { return monad_async_case_join(task); }
    void lost() noexcept {}
    void happened(monad_async_result) { std::move(f)(); }
};

template <class F> struct op_case {
    operation *op;
    F f;

    monad_async_select_case make() const noexcept
    {
        return monad_async_case_op(op->native_handle());
    }
    void lost() noexcept {}
    void happened(monad_async_result r) { std::move(f)(r); }
};

template <class F> struct timeout_case {
    std::uint64_t ns;
    F f;

    monad_async_select_case make() const noexcept { return monad_async_case_timeout(ns); }
    void lost() noexcept {}
    void happened(monad_async_result) { std::move(f)(); }
};

template <class... Cases, std::size_t... I>
MONAD_ASYNC_LOCAL std::size_t select_of(
    std::tuple<Cases...> &cases, std::index_sequence<I...>)
{
    monad_async_select_case records[] = {std::get<I>(cases).make()...};
    auto *const first = &records[0];
    auto const r = waiting([first](monad_async_task self) {
        return monad_async_select(self, first, sizeof...(Cases));
    });
    auto const won = r.error == 0 ? static_cast<std::size_t>(r.value) : sizeof...(Cases);
    ((I == won ? void() : std::get<I>(cases).lost()), ...);
    check(r.error, "monad::async::select");
    ((I == won ? std::get<I>(cases).happened(records[I].result) : void()), ...);
    return won;
}

} // namespace detail
/** @endcond */

/** A case of `select` that receives.
 *  @param ch from which
 *  @param f called with a `std::optional<T>`, which is empty if the channel is closed and empty
 *  @return the case */
template <class T, class Objects, class F>
[[nodiscard]] detail::recv_case<T, Objects, std::decay_t<F>> on_recv(
    channel<T, Objects> &ch, F &&f)
{
    return {ch, std::decay_t<F>(std::forward<F>(f))};
}

/** A case of `select` that sends.
 *  @param ch to which
 *  @param value moved away if it was sent; else it stays. Lives until `select` returns
 *  @param f called with true if it was sent, false if the channel is closed
 *  @return the case */
template <class T, class Objects, class F>
[[nodiscard]] detail::send_case<T, Objects, std::decay_t<F>> on_send(
    channel<T, Objects> &ch, T &value, F &&f)
{
    return {ch, value, std::decay_t<F>(std::forward<F>(f))};
}

/** A case of `select` that waits for the exit of a task.
 *  @param t which; `get` gives its result
 *  @param f called without arguments
 *  @return the case */
template <class F>
[[nodiscard]] detail::join_case<std::decay_t<F>> on_join(task &t, F &&f)
{
    return {t.native_handle(), std::forward<F>(f)};
}

/** A case of `select` that waits for a completion of an operation, and takes it.
 *  @param op in flight
 *  @param f called with its `monad_async_result`
 *  @return the case */
template <class F>
[[nodiscard]] detail::op_case<std::decay_t<F>> on_operation(operation &op, F &&f)
{
    return {&op, std::forward<F>(f)};
}

/** A case of `select` that waits for time to pass.
 *  @param timeout from now on; zero: at once, if nothing before it can happen
 *  @param f called without arguments
 *  @return the case */
template <class Rep, class Period, class F>
[[nodiscard]] detail::timeout_case<std::decay_t<F>> on_timeout(
    std::chrono::duration<Rep, Period> timeout, F &&f)
{
    return {detail::to_ns(timeout), std::forward<F>(f)};
}

/** SUSPENDS until one of the cases happens, then calls its callable, whose exceptions leave it. A
 *  thread blocks. Of several that can happen at once the first does. No malloc.
 *
 *  `ma::select(ma::on_recv(ch, [](auto x) {}), ma::on_timeout(1s, [] {}));`
 *  @param cases made by `on_recv`, `on_send`, `on_join`, `on_operation`, `on_timeout`
 *  @return which happened, from 0
 *  @throws std::system_error as `monad_async_select`; nothing happened
 *  @throws cancelled_error, timeout_error the wait was interrupted; nothing happened */
template <class... Cases> std::size_t select(Cases... cases)
{
    static_assert(sizeof...(Cases) != 0, "a select of nothing would wait for ever");
    std::tuple<Cases...> all(std::move(cases)...);
    return detail::select_of(all, std::index_sequence_for<Cases...>());
}

} // namespace v0
} // namespace monad::async

#endif

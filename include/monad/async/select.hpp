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
    static_assert(
        std::is_invocable_v<F, std::optional<T>>,
        "the callable of on_recv takes a std::optional: empty where the channel is closed");

    channel<T, Objects> *from;
    F f;
    room<T> element;

    recv_case(channel<T, Objects> &ch, F &&callable) : from(&ch), f(std::move(callable)) {}
    recv_case(recv_case &&other) : from(other.from), f(std::move(other.f)) {}

    monad_async_select_case make()
    {
        return case_of_recv(from->native_handle(), std::addressof(element.value));
    }
    void lost(void const *) noexcept {}
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
    static_assert(std::is_invocable_v<F, bool>,
                  "the callable of on_send takes a bool: false where the channel is closed");

    channel<T, Objects> *to;
    T *value;
    // Where the value lies while it is offered: in `element`, or in that of an earlier case.
    T *offered = nullptr;
    F f;
    room<T> element;

    send_case(channel<T, Objects> &ch, T &v, F &&callable)
        : to(&ch), value(std::addressof(v)), f(std::move(callable))
    {
    }
    send_case(send_case &&other) : to(other.to), value(other.value), f(std::move(other.f)) {}

    monad_async_select_case make()
    {
        if (offered == nullptr) {
            offered = std::addressof(element.value);
            ::new (static_cast<void *>(offered)) T(std::move(*value));
        }
        return case_of_send(to->native_handle(), offered);
    }
    // `sent`: the element that left by another case, or null.
    void lost(void const *sent) noexcept
    {
        if (offered == std::addressof(element.value) && offered != sent) {
            value->~T();
            ::new (static_cast<void *>(value)) T(std::move(element.value));
            element.value.~T();
        }
    }
    void happened(monad_async_result r)
    {
        if (r.error != 0) {
            lost(nullptr);
        }
        std::move(f)(r.error == 0);
    }
};

// Two cases that send the same object offer one element: whichever happens takes it.
template <class Case, class Earlier> void share_value(Case &, Earlier &) noexcept {}

template <class T, class Objects, class F, class OtherObjects, class OtherF>
void share_value(send_case<T, Objects, F> &later,
                 send_case<T, OtherObjects, OtherF> &earlier) noexcept
{
    if (later.value == earlier.value) {
        later.offered = earlier.offered;
    }
}

template <class F> struct join_case {
    monad_async_task task;
    F f;

    monad_async_select_case make() const noexcept { return monad_async_case_join(task); }
    void lost(void const *) noexcept {}
    void happened(monad_async_result) { std::move(f)(); }
};

template <class F> struct op_case {
    operation *op;
    F f;

    monad_async_select_case make() const noexcept { return monad_async_case_op(op->record()); }
    void lost(void const *) noexcept {}
    void happened(monad_async_result r)
    {
        (void)op->result(); // It was asked for.
        std::move(f)(r);
    }
};

template <class F> struct timeout_case {
    std::uint64_t ns;
    F f;

    monad_async_select_case make() const noexcept { return monad_async_case_timeout(ns); }
    void lost(void const *) noexcept {}
    void happened(monad_async_result) { std::move(f)(); }
};

template <std::size_t I, class... Cases, std::size_t... Earlier>
monad_async_select_case record_of(std::tuple<Cases...> &cases, std::index_sequence<Earlier...>)
{
    auto &made = std::get<I>(cases);
    (detail::share_value(made, std::get<Earlier>(cases)), ...);
    return made.make();
}

inline constexpr char const *what_select = "monad::async::select";

template <class... Cases, std::size_t... I>
MONAD_ASYNC_LOCAL std::size_t select_of(std::tuple<Cases...> &cases, std::index_sequence<I...>)
{
    monad_async_select_case records[] = {
        detail::record_of<I>(cases, std::make_index_sequence<I>())...};
    auto *const first = &records[0];
    auto const r = waiting([first](monad_async_task self) {
        return monad_async_select(self, first, sizeof...(Cases));
    });
    auto const won = r.error == 0 ? static_cast<std::size_t>(r.value) : sizeof...(Cases);
    void const *const sent =
        r.error == 0 && records[won].result.error == 0 ? records[won].element : nullptr;
    ((I == won ? void() : std::get<I>(cases).lost(sent)), ...);
    check(r.error, what_select);
    if (records[won].kind == monad_async_select_timeout) {
        check_own_time(what_select);
    }
    ((I == won ? std::get<I>(cases).happened(records[I].result) : void()), ...);
    return won;
}

} // namespace detail
/** @endcond */

/** A case of `select` that receives.
 *  @param ch from which
 *  @param f called with a `std::optional<T>`, which is empty if the channel is closed and empty
 *  @return the case
 *  @see monad_async_select() */
template <class T, class Objects, class F>
[[nodiscard]] detail::recv_case<T, Objects, std::decay_t<F>> on_recv(channel<T, Objects> &ch, F &&f)
{
    return {ch, std::decay_t<F>(std::forward<F>(f))};
}

/** A case of `select` that sends.
 *  @param ch to which
 *  @param value moved away if it was sent; else it stays. Lives until `select` returns. Several
 *  cases may offer the same object: one of them sends it
 *  @param f called with true if it was sent, false if the channel is closed
 *  @return the case
 *  @see monad_async_select() */
template <class T, class Objects, class F>
[[nodiscard]] detail::send_case<T, Objects, std::decay_t<F>> on_send(channel<T, Objects> &ch,
                                                                     T &value, F &&f)
{
    return {ch, value, std::decay_t<F>(std::forward<F>(f))};
}

/** A case of `select` that waits for the exit of a task.
 *  @param t which; `get` gives its result
 *  @param f called without arguments
 *  @return the case
 *  @see monad_async_select() */
template <class F> [[nodiscard]] detail::join_case<std::decay_t<F>> on_join(task &t, F &&f)
{
    return {t.native_handle(), std::forward<F>(f)};
}

/** A case of `select` that waits for a completion of an operation, and takes it.
 *  @param op in flight. Where the task's `io_batch` has taken its completion it is not, and
 *  `select` throws `ENOENT`: ask `in_flight` first; `wait` gives what was taken
 *  @param f called with its `monad_async_result`
 *  @return the case
 *  @see monad_async_select() */
template <class F> [[nodiscard]] detail::op_case<std::decay_t<F>> on_operation(operation &op, F &&f)
{
    return {&op, std::forward<F>(f)};
}

/** A case of `select` that waits for time to pass.
 *  @param timeout from now on; zero: at once, if nothing before it can happen. Where the deadline
 *  of a scope has passed, too, `select` throws that
 *  @param f called without arguments
 *  @return the case
 *  @see monad_async_select() */
template <class Rep, class Period, class F>
[[nodiscard]] detail::timeout_case<std::decay_t<F>>
on_timeout(std::chrono::duration<Rep, Period> timeout, F &&f)
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
 *  @throws cancelled_error, timeout_error the wait was interrupted; nothing happened
 *  @see monad_async_select(), channel.hpp */
template <class... Cases> std::size_t select(Cases... cases)
{
    static_assert(sizeof...(Cases) != 0, "a select of nothing would wait for ever");
    std::tuple<Cases...> all(std::move(cases)...);
    return detail::select_of(all, std::index_sequence_for<Cases...>());
}

} // namespace v0
} // namespace monad::async

#endif

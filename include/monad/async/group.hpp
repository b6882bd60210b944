#ifndef MONAD_ASYNC_GROUP_HPP
#define MONAD_ASYNC_GROUP_HPP

/** @file group.hpp
 *  Callables that run as children of the task: `task_group`, `when_all`, `when_any`.
 *
 *  Their tasks come from a store that each executor keeps warm until it ends, a pool's workers
 *  among them.
 *
 *  The rules are those of group.h. The word SUSPENDS is that of executor.h. */

#include "detail/die.hpp"
#include "detail/executor_block.hpp"
#include "detail/runtime.hpp"
#include "detail/spawn.hpp"
#include "error.hpp"
#include "group.h"
#include "scope.h"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// SUSPENDS, shielded: cancels the children and waits for their end; what the first that failed
// returned.
MONAD_ASYNC_LOCAL inline monad_async_result end_group(monad_async_group &native) noexcept
{
    auto *const self = monad_async_task_current();
    auto *const group = &native;
    monad_async_scope shield;
    (void)monad_async_group_cancel(group);
    (void)monad_async_scope_enter(self, &shield, UINT64_MAX, MONAD_ASYNC_SCOPE_SHIELD);
    auto const r = suspending([self, group] { return monad_async_group_wait(self, group); });
    (void)monad_async_scope_leave(self, &shield);
    return r;
}

} // namespace detail
/** @endcond */

/** Children of the running task, on its executor, by tasks that the executor keeps warm. The first
 *  that throws cancels the others. Lies on the stack of the task that makes it, which alone uses
 *  it; its children may spawn too.
 *
 *  @snippet groups.cpp a group of tasks
 *  @see group.h, scope.hpp */
class [[nodiscard]] task_group {
public:
    /** Without children.
     *  @param flags 0 or `MONAD_ASYNC_GROUP_INDEPENDENT`: one that throws cancels nobody
     *  @throws std::system_error `EPERM`: outside a task; `EINVAL`: flags that this version does
     *  not know. std::bad_alloc */
    explicit task_group(std::uint32_t flags = 0)
        : head_(executor_of(monad_async_task_current())), block_(detail::block_here(head_))
    {
        // `exited` keeps a task that succeeded, and that is all.
        flags |= MONAD_ASYNC_GROUP_SHORT_EXITS;
        auto const made = monad_async_group_init(monad_async_task_current(), &native_, flags);
        detail::check(made.error, "monad::async::task_group");
        (void)monad_async_group_on_exit(&native_, &exited);
    }

    /** SUSPENDS, shielded, while there are children: cancels and awaits them. Of what they threw,
     *  and no `wait` has, `on_unobserved` is told. Ends the process, with a message, where there
     *  are some and it is destroyed outside the tasks of its executor, or by one of them. */
    ~task_group() { end(); }

    task_group(task_group const &) = delete;
    task_group &operator=(task_group const &) = delete;

    /** Runs `body` as a child. Does not suspend. No malloc once the executor has so many tasks, and
     *  the callable has at most 64 bytes.
     *  @param body any callable; what it returns is dropped
     *  @throws cancelled_error the group was cancelled, or a child has thrown
     *  @throws std::system_error `ENOMEM`; `EPERM`: another executor's thread. std::bad_alloc */
    template <class F> void spawn(F &&body)
    {
        detail::settle_spawn(launch(std::forward<F>(body)), "monad::async::task_group::spawn");
    }

    /** As the other `spawn`.
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ECANCELED`: the group was cancelled, or a child has thrown;
     *  `ENOMEM` too */
    template <class F>
    void spawn(F &&body, std::error_code &ec) noexcept(detail::moves_twice_without_throw<F>)
    {
        detail::settle_spawn(launch(std::forward<F>(body)), ec);
    }

    /** SUSPENDS until no child is left. The group is as new then.
     *  @throws what the first child that threw did; of that of others `on_unobserved` was told
     *  @throws cancelled_error, timeout_error the wait was interrupted: children are left */
    void wait()
    {
        std::exception_ptr first;
        int const error = wait_for_all(first);
        if (first) {
            std::rethrow_exception(first);
        }
        detail::check(error, "monad::async::task_group::wait");
    }

    /** As the other `wait`.
     *  @param[out] ec the error; of what the first child that threw did: its errno, `ENOMEM` for a
     *  `std::bad_alloc`, `ENOTRECOVERABLE` for what has none */
    void wait(std::error_code &ec) noexcept
    {
        std::exception_ptr first;
        detail::report(wait_for_all(first), ec);
    }

    /** Cancels the children. Does not suspend. `wait` throws what the first that throws leaves by
     *  then, a `cancelled_error`, though its caller was not cancelled.
     *  @throws std::system_error `EPERM`: another executor's thread */
    void cancel()
    {
        detail::check(monad_async_group_cancel(&native_).error, "monad::async::task_group::cancel");
    }

    /** As the other `cancel`.
     *  @param[out] ec the error */
    void cancel(std::error_code &ec) noexcept
    {
        detail::report(monad_async_group_cancel(&native_).error, ec);
    }

    /** @return how many children have not ended */
    [[nodiscard]] std::size_t size() noexcept
    {
        return static_cast<std::size_t>(monad_async_group_count(&native_).value);
    }

    /** @return the record, for the C API */
    [[nodiscard]] monad_async_group *native_handle() noexcept { return &native_; }

    /** @cond no API */
    // The errno. As `wait`, but what children threw stays.
    MONAD_ASYNC_LOCAL int wait_for_children()
    {
        auto *const self = monad_async_task_current();
        auto *const group = &native_;
        return detail::interruptible(self,
                                     [self, group] { return monad_async_group_wait(self, group); })
            .error;
    }
    // What the first that threw did has been seen.
    void observed() noexcept { first_ = nullptr; }
    /** @endcond */

private:
    // The errno, or `no_room`.
    template <class F> int launch(F &&body)
    {
        auto *const self = monad_async_task_current();
        if (__builtin_expect(self == nullptr || self->current_executor != head_, false)) {
            return EPERM;
        }
        int error = 0;
        auto *const s = detail::take_spawned(block_, true, error);
        if (__builtin_expect(s == nullptr, false)) {
            return error;
        }
        s->of = this;
        return detail::launch_spawned(*s, detail::group_target{&native_}, std::forward<F>(body));
    }

    // SUSPENDS. The errno; with no child left, `first` is what the first that threw did.
    int wait_for_all(std::exception_ptr &first)
    {
        int const error = wait_for_children();
        if (__builtin_expect(!first_ || size() != 0, true)) {
            return error;
        }
        first = std::exchange(first_, nullptr);
        // Interrupted though none is left: the C group has yet to tell of that child.
        int const told =
            error == ECANCELED || error == ETIME ? detail::end_group(native_).error : 0;
        return told != 0 ? told : error;
    }

    // Told of the exit of any child, by the C group.
    static void exited(monad_async_task task, monad_async_result) noexcept
    {
        auto &s = detail::spawned_of(task);
        detail::tsan_acquire(task);
        if (s.thrown) {
            auto &self = *static_cast<task_group *>(s.of);
            if (!self.first_) {
                self.first_ = s.thrown;
                self.first_is_cancelled_ = s.asked;
            } else {
                detail::dropped(*s.block, s.asked, s.thrown);
            }
        }
        detail::keep_spawned(s, true);
    }

    static monad_async_executor executor_of(monad_async_task self)
    {
        detail::check(self == nullptr ? EPERM : 0, "monad::async::task_group");
        return self->current_executor;
    }

    MONAD_ASYNC_LOCAL void end() noexcept
    {
        if (size() != 0) {
            end_children();
        }
        if (__builtin_expect(bool(first_), false)) {
            detail::dropped(block_, first_is_cancelled_, first_);
        }
    }

    MONAD_ASYNC_LOCAL void end_children() noexcept
    {
        auto *const self = monad_async_task_current();
        bool const is_here = self != nullptr && self->current_executor == head_;
        if (is_here) {
            (void)detail::end_group(native_);
        }
        // They would go on, and tell of their ends what is no more.
        if ((!is_here || size() != 0) && block_.is_of_this_process()) {
            detail::die("a task_group with children was destroyed outside the tasks of its "
                        "executor, or by one of the children");
        }
    }

    monad_async_group native_;
    monad_async_executor head_;
    detail::executor_block &block_;
    std::exception_ptr first_;
    bool first_is_cancelled_ = false;
};

/** @cond no API */
namespace detail {

template <class F>
using child_result = std::conditional_t<std::is_void_v<std::invoke_result_t<F>>, std::monostate,
                                        std::decay_t<std::invoke_result_t<F>>>;

template <class F> child_result<F> call_child(F &f)
{
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
        std::invoke(std::forward<F>(f));
        return {};
    } else {
        return std::invoke(std::forward<F>(f));
    }
}

// Which child was first, and how it ended.
template <class Variant> struct first_of {
    std::optional<Variant> value;
    std::exception_ptr thrown;
    bool decided = false;
    // Destroyed before the rest, in which its children leave what they have.
    task_group group{MONAD_ASYNC_GROUP_INDEPENDENT};
};

template <std::size_t I, class F, class Variant> void run_any(F &f, first_of<Variant> &first)
{
    bool is_first = false;
    try {
        auto value = detail::call_child<F>(f);
        is_first = !std::exchange(first.decided, true);
        if (is_first) {
            first.value.emplace(std::in_place_index<I>, std::move(value));
            first.group.cancel();
        }
    } catch (...) {
        // Moving its result may have thrown.
        if (is_first || !std::exchange(first.decided, true)) {
            first.thrown = detail::caught();
            first.group.cancel();
        }
        throw;
    }
}

// So many children of the running task, which begin together. They come from the front of the warm
// list, and go back there as the chain that they are: so a list that is warm is hardly touched.
template <std::size_t N> class children {
public:
    static constexpr char const *what = "monad::async::when_all";

    explicit children(monad_async_task self)
        : self_(self), block_(block_here(self->current_executor))
    {
        auto *next = block_.warm;
        while (size_ != N && next != nullptr) {
            all_[size_++] = next;
            next = next->next;
        }
        if (__builtin_expect(size_ != N, false)) {
            take_each();
        } else {
            block_.warm = next;
        }
        (void)monad_async_group_init(self, &group_, MONAD_ASYNC_GROUP_AT_ONCE);
    }

    children(children const &) = delete;
    children &operator=(children const &) = delete;

    // None is attached by now.
    ~children()
    {
        if (__builtin_expect(is_chain_, true)) {
            all_[N - 1]->next = std::exchange(block_.warm, all_[0]);
        } else {
            keep_each();
        }
    }

    template <class F> void set(std::size_t i, F body) noexcept
    {
        static_assert(task_state::fits<F>, "it would take memory");
        begin_anew(*all_[i]);
        (void)put_body(*all_[i], body);
        heads_[i] = all_[i]->head;
    }

    // SUSPENDS until all have ended.
    MONAD_ASYNC_LOCAL void run()
    {
        auto r = monad_async_group_spawn_many(&group_, heads_, N);
        if (__builtin_expect(r.error != 0, false)) {
            is_chain_ = false;
            fail(r.error, what);
        }
        auto *const self = self_;
        auto *const group = &group_;
        r = interruptible(self, [self, group] { return monad_async_group_wait(self, group); });
        for (auto *const head : heads_) {
            tsan_acquire(head);
        }
        if (__builtin_expect(r.error != 0, false)) {
            failed(r);
        }
    }

private:
    [[gnu::cold, gnu::noinline]] void take_each()
    {
        is_chain_ = false;
        size_ = 0;
        try {
            while (size_ != N) {
                all_[size_] = &take_or_throw(block_, true, what);
                ++size_;
            }
        } catch (...) {
            keep_each();
            throw;
        }
    }

    [[gnu::cold, gnu::noinline]] void keep_each() noexcept
    {
        while (size_ != 0) {
            keep_spawned(*all_[--size_], true);
        }
    }

    [[gnu::cold, gnu::noinline, noreturn]] void failed(monad_async_result r)
    {
        is_chain_ = false;
        bool const interrupted = monad_async_group_count(&group_).value != 0;
        // What a child threw, if that was waited for, even where an interruption came with it.
        auto const first = interrupted || !is_of_child(r) ? end_group(group_) : r;
        if (monad_async_group_count(&group_).value != 0) {
            die("a child of when_all, shielded, joins the task that waits for it");
        }
        std::exception_ptr told;
        for (auto const *s : all_) {
            if (!interrupted && first.value == value_of(*s)) {
                told = s->thrown;
            } else if (s->thrown) {
                dropped(block_, s->asked, s->thrown);
            }
        }
        if (told) {
            std::rethrow_exception(told);
        }
        fail(r.error, what);
    }

    static std::intptr_t value_of(task_state const &state) noexcept
    {
        return reinterpret_cast<std::intptr_t>(&state);
    }

    bool is_of_child(monad_async_result r) const noexcept
    {
        for (auto const *s : all_) {
            if (r.value == value_of(*s)) {
                return true;
            }
        }
        return false;
    }

    monad_async_task self_;
    executor_block &block_;
    monad_async_group group_;
    std::size_t size_ = 0;
    // As they were in the list, and with nothing of what they ran to be destroyed.
    bool is_chain_ = true;
    spawned *all_[N];
    monad_async_task heads_[N];
};

template <std::size_t... I, class... F>
MONAD_ASYNC_LOCAL auto all_of(std::index_sequence<I...>, F &&...f)
{
    auto *const self = monad_async_task_current();
    check(self == nullptr ? EPERM : 0, children<1>::what);
    std::tuple<std::optional<child_result<F>>...> results;
    if constexpr (sizeof...(F) != 0) {
        children<sizeof...(F)> all(self);
        (all.set(I, [&f, &r = std::get<I>(results)] { r.emplace(detail::call_child<F>(f)); }), ...);
        all.run();
    }
    return std::tuple<child_result<F>...>(std::move(*std::get<I>(results))...);
}

template <std::size_t... I, class... F>
MONAD_ASYNC_LOCAL auto any_of(std::index_sequence<I...>, F &&...f)
{
    using variant = std::variant<child_result<F>...>;
    first_of<variant> first;
    (first.group.spawn([&f, &first] { detail::run_any<I, F>(f, first); }), ...);
    int const error = first.group.wait_for_children();
    if (!first.decided) {
        check(error, "monad::async::when_any");
    }
    if (__builtin_expect(first.group.size() != 0, false)) {
        // Interrupted while the others ended: what the first has is there, and is not lost.
        (void)end_group(*first.group.native_handle());
    }
    if (first.thrown) {
        first.group.observed();
        std::rethrow_exception(first.thrown);
    }
    return variant(std::move(*first.value));
}

} // namespace detail
/** @endcond */

/** SUSPENDS: runs callables as children of the task, and waits for all. The first that throws
 *  cancels the others; interrupted, it cancels and awaits all. Of what others threw
 *  `executor_options::on_unobserved` is told.
 *  @param f callables
 *  @return a tuple of what they returned; `std::monostate` for nothing
 *  @throws what the first that threw did; cancelled_error, timeout_error: interrupted
 *  @throws std::system_error `EPERM`: outside a task; `ENOMEM`. std::bad_alloc
 *  @see monad_async_group_spawn_many(), select.hpp */
template <class... F> auto when_all(F &&...f)
{
    return detail::all_of(std::index_sequence_for<F...>(), std::forward<F>(f)...);
}

/** SUSPENDS: runs callables as children of the task until the first has ended. The others are
 *  cancelled and awaited. What they return is dropped, bytes that a `recv` took too, where both end
 *  together: let it `poll`, or keep them by reference. `on_unobserved` is told of what they throw.
 *  @param f callables
 *  @return a variant of what the first returned; its index says which; `std::monostate` for
 *  nothing. An interruption while the others are awaited is left to the next call that suspends
 *  @throws what the first did; cancelled_error, timeout_error: interrupted before the first had
 *  ended, with all of them cancelled and awaited
 *  @throws std::system_error `EPERM`: outside a task; `ENOMEM`. std::bad_alloc
 *  @see select.hpp, scope.hpp */
template <class... F> auto when_any(F &&...f)
{
    static_assert(sizeof...(F) != 0, "the first of none would never end");
    return detail::any_of(std::index_sequence_for<F...>(), std::forward<F>(f)...);
}

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_CHANNEL_HPP
#define MONAD_ASYNC_CHANNEL_HPP

/** @file channel.hpp
 *  A channel of objects, which may be move-only.
 *
 *  The rules are those of channel.h. The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "channel.h"
#include "detail/sync_calls.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// Room for an object that comes and goes.
template <class T> union room {
    room() noexcept {}
    ~room() {}
    room(room const &) = delete;
    room &operator=(room const &) = delete;

    char nothing = 0;
    T value;
};

// A constructor and a destructor on whatever thread meets the element: neither may throw.
template <class T> void relocate(void *to, void *from, std::size_t) noexcept
{
    auto *const element = static_cast<T *>(from);
    ::new (to) T(std::move(*element));
    element->~T();
}

// What is inside of a channel that nobody uses any more, for any thread to receive: the two forms
// are alike except for their first word, and a local one's executor may be gone.
template <class Native> monad_async_channel channel_rest(Native const &o) noexcept
{
    static_assert(sizeof o == sizeof(monad_async_channel), "they are alike");
    monad_async_channel rest;
    std::memcpy(&rest, &o, sizeof rest);
    rest.reserved[0] = 0;
    return rest;
}

} // namespace detail
/** @endcond */

/** Objects in the order in which they were sent. Any number of tasks and threads may send and
 *  receive. `channel<T>` is for every task and thread, `local_channel<T>` for the tasks of one
 *  executor.
 *
 *  As a range it gives what is received, until it is closed and empty:
 *  `for (auto &&x : ch) { ... }`.
 *  @see channel.h, select.hpp */
template <class T, class Objects = detail::shared_objects> class channel {
    static_assert(std::is_object_v<T> && !std::is_array_v<T> &&
                      std::is_same_v<T, std::remove_cv_t<T>>,
                  "a channel holds objects that can be moved: no references, arrays or constants");
    static_assert(
        std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
        "what a channel holds is moved by other threads, which could not catch what that throws");

public:
    /** What is sent. */
    using value_type = T;
    /** The record of the C API. */
    using native_type = typename Objects::channel;

    /** EXPENSIVE: one allocation, unless the capacity is 0. ANY THREAD.
     *  @param capacity how many may be inside; 0: each sender meets a receiver
     *  @throws std::bad_alloc; std::system_error `EINVAL`: an absurd capacity */
    explicit channel(std::size_t capacity = 0)
    {
        if (capacity > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) {
            detail::fail(EINVAL, "monad::async::channel");
        }
        if (capacity != 0) {
            storage_ = std::allocator<T>().allocate(capacity);
            capacity_ = capacity;
        }
        (void)Objects::channel_init(&native_, storage_, capacity, sizeof(T));
        if constexpr (!std::is_trivially_copyable_v<T>) {
            (void)Objects::channel_set_relocate(&native_, &detail::relocate<T>);
        }
    }

    /** Destroys what is inside. Nobody may be waiting. A call of another thread's that has sent
     *  what was received here, and has yet to return, is waited for: a handful of instructions. */
    ~channel()
    {
        // Behind both ends, each of which may have been used by its own latch.
        (void)Objects::channel_count(&native_);
        if constexpr (!std::is_trivially_destructible_v<T>) {
            auto rest = detail::channel_rest(native_);
            int error = 0;
            while (received(error, [&rest](detail::room<T> &room) {
                       return monad_async_channel_try_recv(&rest, std::addressof(room.value)).error;
                   }).has_value()) {
            }
        }
        if (storage_ != nullptr) {
            std::allocator<T>().deallocate(storage_, capacity_);
        }
    }

    channel(channel const &) = delete;
    channel &operator=(channel const &) = delete;

    /** SUSPENDS while it is full; a thread blocks.
     *  @param value is moved away if it was sent; else it stays
     *  @throws std::system_error `EPIPE`: closed; `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted */
    void send(T &&value) { detail::check(do_send(value), "monad::async::channel::send"); }

    /** As the other `send`.
     *  @param value is moved away if it was sent; else it stays
     *  @param[out] ec the error */
    void send(T &&value, std::error_code &ec) noexcept { detail::report(do_send(value), ec); }

    /** As the other `send`.
     *  @param value is copied
     *  @throws as the other `send`, and what copying does */
    void send(T const &value)
    {
        T copy(value);
        send(std::move(copy));
    }

    /** As the other `send`.
     *  @param value is copied
     *  @param[out] ec the error
     *  @throws what copying does */
    void send(T const &value, std::error_code &ec) noexcept(std::is_nothrow_copy_constructible_v<T>)
    {
        T copy(value);
        send(std::move(copy), ec);
    }

    /** Sends if there is room, or a receiver. Does not suspend.
     *  @param value is moved away if it was sent; else it stays
     *  @return whether there was room, or a receiver
     *  @throws std::system_error `EPIPE`: closed; `EPERM`: a local one, elsewhere */
    [[nodiscard]] bool try_send(T &&value)
    {
        int const error = sent(value, [this](void *element) {
            return Objects::channel_try_send(&native_, element).error;
        });
        if (error != 0 && error != EAGAIN) {
            detail::fail(error, "monad::async::channel::try_send");
        }
        return error == 0;
    }

    /** As the other `try_send`.
     *  @param value is moved away if it was sent; else it stays
     *  @param[out] ec the error; none where there is no room
     *  @return whether there was room, or a receiver */
    [[nodiscard]] bool try_send(T &&value, std::error_code &ec) noexcept
    {
        int const error = sent(value, [this](void *element) {
            return Objects::channel_try_send(&native_, element).error;
        });
        detail::report(error == EAGAIN ? 0 : error, ec);
        return error == 0;
    }

    /** As the other `try_send`.
     *  @param value is copied
     *  @return whether there was room, or a receiver
     *  @throws as the other `try_send`, and what copying does */
    [[nodiscard]] bool try_send(T const &value)
    {
        T copy(value);
        return try_send(std::move(copy));
    }

    /** As the other `try_send`.
     *  @param value is copied
     *  @param[out] ec the error; none where there is no room
     *  @return whether there was room, or a receiver
     *  @throws what copying does */
    [[nodiscard]] bool
    try_send(T const &value, std::error_code &ec) noexcept(std::is_nothrow_copy_constructible_v<T>)
    {
        T copy(value);
        return try_send(std::move(copy), ec);
    }

    /** SUSPENDS while it is empty; a thread blocks.
     *  @return what was sent; nothing: it is closed, and empty
     *  @throws std::system_error `EPERM`: a local one, elsewhere
     *  @throws cancelled_error, timeout_error the wait was interrupted: nothing was taken */
    [[nodiscard, gnu::always_inline]] std::optional<T> recv()
    {
        // Made where it is used: returned in registers it would be loaded right after it was stored
        // in parts.
        detail::room<T> room;
        int const error = do_recv(room);
        if (error != 0) {
            if (error != EPIPE) {
                detail::fail(error, "monad::async::channel::recv");
            }
            return std::nullopt;
        }
        ending const ends{room.value};
        return std::optional<T>(std::in_place, std::move(room.value));
    }

    /** As the other `recv`.
     *  @param[out] ec the error; `EPIPE`: it is closed, and empty
     *  @return what was sent */
    [[nodiscard]] std::optional<T> recv(std::error_code &ec) noexcept
    {
        int error = 0;
        auto value = received(error, [this](detail::room<T> &room) { return do_recv(room); });
        detail::report(error, ec);
        return value;
    }

    /** Receives if there is something. Does not suspend.
     *  @return what was sent; nothing: it is empty, closed it may be
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] std::optional<T> try_recv()
    {
        int error = 0;
        auto value = try_receive(error);
        if (error != 0 && error != EAGAIN && error != EPIPE) {
            detail::fail(error, "monad::async::channel::try_recv");
        }
        return value;
    }

    /** As the other `try_recv`.
     *  @param[out] ec the error; `EPIPE`: it is closed, and empty; none where it is only empty
     *  @return what was sent */
    [[nodiscard]] std::optional<T> try_recv(std::error_code &ec) noexcept
    {
        int error = 0;
        auto value = try_receive(error);
        detail::report(error == EAGAIN ? 0 : error, ec);
        return value;
    }

    /** Nothing can be sent any more; what is inside can be received. Who waits goes on.
     *  @return whether it was open
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    bool close()
    {
        return value_or_throw(Objects::channel_close(&native_), "monad::async::channel::close") !=
               0;
    }

    /** As the other `close`.
     *  @param[out] ec the error
     *  @return whether it was open; false with an error */
    bool close(std::error_code &ec) noexcept
    {
        return detail::report(Objects::channel_close(&native_), ec) == 1;
    }

    /** @return how many are inside, of which others may take some at once
     *  @throws std::system_error `EPERM`: a local one, elsewhere */
    [[nodiscard]] std::size_t size()
    {
        return static_cast<std::size_t>(
            value_or_throw(Objects::channel_count(&native_), "monad::async::channel::size"));
    }

    /** As the other `size`.
     *  @param[out] ec the error
     *  @return how many are inside; 0 with an error */
    [[nodiscard]] std::size_t size(std::error_code &ec) noexcept
    {
        auto const r = Objects::channel_count(&native_);
        detail::report(r.error, ec);
        return r.error == 0 ? static_cast<std::size_t>(r.value) : 0;
    }

    /** What has been received, once each: an input iterator, whose increment SUSPENDS. */
    class iterator {
    public:
        /** @cond iterator_traits */
        using iterator_category = std::input_iterator_tag;
        using value_type = T;
        using difference_type = std::ptrdiff_t;
        using pointer = T *;
        using reference = T &;
        iterator() noexcept = default;
        explicit iterator(channel &of) : of_(&of), value_(of.recv()) {}
        iterator(iterator const &) = default;
        iterator(iterator &&) = default;
        // Of what can be made but not assigned, too.
        iterator &operator=(iterator other) noexcept
        {
            of_ = other.of_;
            value_.reset();
            if (other.value_) {
                value_.emplace(std::move(*other.value_));
            }
            return *this;
        }
        ~iterator() = default;
        T &operator*() const noexcept { return *value_; }
        T *operator->() const noexcept { return std::addressof(*value_); }
        iterator &operator++()
        {
            value_.reset();
            if (auto next = of_->recv()) {
                value_.emplace(std::move(*next));
            }
            return *this;
        }
        void operator++(int) { ++*this; }
        friend bool operator==(iterator const &a, iterator const &b) noexcept
        {
            return a.value_.has_value() == b.value_.has_value();
        }
        friend bool operator!=(iterator const &a, iterator const &b) noexcept { return !(a == b); }
        [[nodiscard]] bool is_at_end() const noexcept { return !value_.has_value(); }
        /** @endcond */

    private:
        channel *of_ = nullptr;
        mutable std::optional<T> value_;
    };

    /** The end of a range whose iterators cannot be copied, as its elements cannot. */
    struct end_of_range {
        /** @cond as every end of a range */
        friend bool operator==(iterator const &a, end_of_range) noexcept { return a.is_at_end(); }
        friend bool operator==(end_of_range, iterator const &a) noexcept { return a.is_at_end(); }
        friend bool operator!=(iterator const &a, end_of_range) noexcept { return !a.is_at_end(); }
        friend bool operator!=(end_of_range, iterator const &a) noexcept { return !a.is_at_end(); }
        /** @endcond */
    };
    /** What `end` gives: an iterator where it can be copied. */
    using end_type = std::conditional_t<std::is_copy_constructible_v<T>, iterator, end_of_range>;

    /** SUSPENDS, as `recv`.
     *  @return of what is received */
    [[nodiscard]] iterator begin() { return iterator(*this); }
    /** @return of a channel that is closed and empty */
    [[nodiscard]] end_type end() noexcept { return end_type(); }

    /** @return the record, for the C API */
    [[nodiscard]] native_type *native_handle() noexcept { return &native_; }

private:
    // `call` takes the address of an element; the errno. The value stays where it fails.
    template <class Call> static int sent(T &value, Call call)
    {
        if constexpr (std::is_trivially_copyable_v<T>) {
            return call(static_cast<void *>(std::addressof(value)));
        } else {
            detail::room<T> room;
            auto *const element = std::addressof(room.value);
            ::new (static_cast<void *>(element)) T(std::move(value));
            int const error = call(static_cast<void *>(element));
            if (error != 0) {
                value.~T();
                ::new (static_cast<void *>(std::addressof(value))) T(std::move(room.value));
                room.value.~T();
            }
            return error;
        }
    }

    // What was received has been moved on.
    struct ending {
        T &value;
        ~ending() { value.~T(); }
    };

    template <class Call> static std::optional<T> received(int &error, Call call)
    {
        detail::room<T> room;
        error = call(room);
        if (error != 0) {
            return std::nullopt;
        }
        // Made where the caller has it: a copy would be loaded right after it was stored in parts.
        ending const ends{room.value};
        return std::optional<T>(std::in_place, std::move(room.value));
    }

    int do_send(T &value)
    {
        return sent(value, [this](void *element) {
            auto const call = [this, element](monad_async_task self) {
                return Objects::channel_send(self, &native_, element);
            };
            return detail::waiting(call).error;
        });
    }

    int do_recv(detail::room<T> &room)
    {
        auto const call = [this, &room](monad_async_task self) {
            return Objects::channel_recv(self, &native_, std::addressof(room.value));
        };
        return detail::waiting(call).error;
    }

    std::optional<T> try_receive(int &error)
    {
        return received(error, [this](detail::room<T> &room) {
            return Objects::channel_try_recv(&native_, std::addressof(room.value)).error;
        });
    }

    T *storage_ = nullptr;
    std::size_t capacity_ = 0;
    native_type native_;
};

/** For the tasks of one executor: no atomics.
 *  @see channel.h */
template <class T> using local_channel = channel<T, detail::local_objects>;

} // namespace v0
} // namespace monad::async

#endif

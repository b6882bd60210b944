#ifndef MONAD_ASYNC_BUFFER_HPP
#define MONAD_ASYNC_BUFFER_HPP

/** @file buffer.hpp
 *  Buffers that many connections share, as C++ objects: so that an idle connection holds none.
 *
 *  The words OWNER'S THREAD, EXPENSIVE and SUSPENDS are those of executor.h, the rules those of
 *  buffer.h. */

#include "buffer.h"
#include "config.h"
#include "detail/die.hpp"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "executor.hpp"
#include "operation.hpp"
#include "socket.h"
#include "socket_handle.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// Whether the ring's executor is this process's parent's.
MONAD_ASYNC_API bool is_of_a_parent(monad_async_buffer_ring ring) noexcept;

} // namespace detail
/** @endcond */

/** A ring of equal buffers, which the kernel chooses from. Must outlive its streams and views; it
 *  ends the process, with a message, where it does not. It and its views may outlive the executor.
 *  Move-only. OWNER'S THREAD, or any after its executor has ended.
 *  @see monad_async_buffer_ring_create(), buffer_set.hpp */
class buffer_ring {
public:
    /** Makes a ring of buffers. EXPENSIVE. OWNER'S THREAD.
     *  @param ex the executor
     *  @param count how many: a power of two, 32,768 at most
     *  @param bytes the size of each
     *  @throws std::system_error as `monad_async_buffer_ring_create` */
    buffer_ring(executor const &ex, std::uint32_t count, std::uint32_t bytes)
    {
        auto const r = monad_async_buffer_ring_create(ex.native_handle(), &ring_, count, bytes);
        detail::check(r.error, "monad::async::buffer_ring");
    }

    /** As that constructor.
     *  @param ex the executor
     *  @param count how many
     *  @param bytes the size of each
     *  @param[out] ec the error: then it has no buffers */
    buffer_ring(executor const &ex, std::uint32_t count, std::uint32_t bytes,
                std::error_code &ec) noexcept
    {
        auto const r = monad_async_buffer_ring_create(ex.native_handle(), &ring_, count, bytes);
        detail::report(r.error, ec);
    }

    /** Makes a ring of the executor that runs the calling task, a worker of a pool say. EXPENSIVE.
     *  @param count how many: a power of two, 32,768 at most
     *  @param bytes the size of each
     *  @throws std::system_error `EPERM`: outside a task; as `monad_async_buffer_ring_create` */
    buffer_ring(std::uint32_t count, std::uint32_t bytes)
    {
        detail::check(create_here(count, bytes), "monad::async::buffer_ring");
    }

    /** As that constructor.
     *  @param count how many
     *  @param bytes the size of each
     *  @param[out] ec the error: then it has no buffers */
    buffer_ring(std::uint32_t count, std::uint32_t bytes, std::error_code &ec) noexcept
    {
        detail::report(create_here(count, bytes), ec);
    }

    /** Takes over a ring of the C API.
     *  @param native to be destroyed by this object */
    explicit buffer_ring(monad_async_buffer_ring native) noexcept : ring_(native) {}

    /** Takes the ring over.
     *  @param other has none afterwards */
    buffer_ring(buffer_ring &&other) noexcept : ring_(std::exchange(other.ring_, nullptr)) {}
    buffer_ring &operator=(buffer_ring &&) = delete;
    ~buffer_ring()
    {
        int const error = monad_async_buffer_ring_destroy(ring_).error;
        if (error != 0 && !detail::is_of_a_parent(ring_)) {
            detail::die("a buffer_ring was destroyed before its streams and views, or by another "
                        "thread than its executor's");
        }
    }

    /** @return what an entry's `buf_group` is to hold */
    [[nodiscard]] std::uint16_t group() const noexcept
    {
        return monad_async_buffer_ring_group(ring_);
    }

    /** @return the ring of the C API; null after it was moved from */
    [[nodiscard]] monad_async_buffer_ring native_handle() const noexcept { return ring_; }

private:
    // The errno.
    [[nodiscard]] int create_here(std::uint32_t count, std::uint32_t bytes) noexcept
    {
        auto *const self = monad_async_task_current();
        return self == nullptr
                   ? EPERM
                   : monad_async_buffer_ring_create(self->current_executor, &ring_, count, bytes)
                         .error;
    }

    monad_async_buffer_ring ring_ = nullptr;
};

/** Data that was received, in a buffer of a ring, which gets it back when the view ends. A range of
 *  bytes. Move-only. OWNER'S THREAD, or that which has the ring after its executor has ended: on
 *  another one its end, and `release`, end the process, with a message.
 *  @see monad_async_view_release() */
class view {
public:
    /** Of nothing. */
    view() noexcept = default;

    /** Takes over a view of the C API.
     *  @param native to be released by this object */
    explicit view(monad_async_view native) noexcept : view_(native) {}
    /** Takes the data over.
     *  @param other of nothing afterwards */
    view(view &&other) noexcept : view_(std::exchange(other.view_, monad_async_view{})) {}
    /** Exchanges the data.
     *  @param other has what this one had
     *  @return this view */
    view &operator=(view &&other) noexcept
    {
        std::swap(view_, other.view_);
        return *this;
    }
    ~view() { release(); }

    /** @return the first byte */
    [[nodiscard]] char *data() const noexcept { return static_cast<char *>(view_.data); }

    /** @return how many there are */
    [[nodiscard]] std::size_t size() const noexcept { return view_.length; }

    /** @return whether there is none */
    [[nodiscard]] bool empty() const noexcept { return view_.length == 0; }

    /** @return the first byte */
    [[nodiscard]] char *begin() const noexcept { return data(); }

    /** @return behind the last byte */
    [[nodiscard]] char *end() const noexcept { return data() + size(); }

    /** @return whether there is data: not at the end of a stream */
    explicit operator bool() const noexcept { return !empty(); }

    /** Gives the buffer back now; the view is of nothing then. */
    void release() noexcept
    {
        if (view_.data != nullptr && monad_async_view_release(&view_).error == EPERM &&
            !detail::is_of_a_parent(view_.ring)) {
            detail::die("a view was released by another thread than its ring's executor's");
        }
    }

private:
    monad_async_view view_ = {};
};

/** What comes on a socket, view by view: `while (auto data = stream.next()) ...`. Begun by the task
 *  that uses it. Does not move. Its end drops what has come and was not taken.
 *  @see monad_async_recv_stream_begin(), monad_async_recv_stream_next() */
class recv_stream {
public:
    /** Begins to receive. Does not suspend.
     *  @param fd a connected stream socket's descriptor, which must stay open
     *  @param ring where the data goes
     *  @param flags as of `monad_async_recv_stream_begin`
     *  @throws std::system_error as `monad_async_recv_stream_begin`; `EPERM`: outside a task */
    recv_stream(int fd, buffer_ring const &ring, std::uint32_t flags = 0)
        : recv_stream(monad_async_socket_adopt(fd), ring, flags)
    {
    }

    /** As the other constructor.
     *  @param socket a connected stream socket
     *  @param ring where the data goes
     *  @param flags as of `monad_async_recv_stream_begin`
     *  @throws std::system_error as there */
    recv_stream(monad_async_socket socket, buffer_ring const &ring, std::uint32_t flags = 0)
        : task_(monad_async_task_current())
    {
        detail::check(start(socket, ring, flags), "monad::async::recv_stream");
    }

    /** As the other constructor.
     *  @param peer a connected stream socket, which must stay open
     *  @param ring where the data goes
     *  @param flags as of `monad_async_recv_stream_begin`
     *  @throws std::system_error as there */
    recv_stream(socket_handle const &peer, buffer_ring const &ring, std::uint32_t flags = 0)
        : recv_stream(peer.native_handle(), ring, flags)
    {
    }

    /** As that constructor.
     *  @param fd a connected stream socket's descriptor, which must stay open
     *  @param ring where the data goes
     *  @param flags as of `monad_async_recv_stream_begin`
     *  @param[out] ec the error: then nothing comes of it */
    recv_stream(int fd, buffer_ring const &ring, std::uint32_t flags, std::error_code &ec) noexcept
        : recv_stream(monad_async_socket_adopt(fd), ring, flags, ec)
    {
    }

    /** As that constructor.
     *  @param socket a connected stream socket
     *  @param ring where the data goes
     *  @param flags as of `monad_async_recv_stream_begin`
     *  @param[out] ec the error: then nothing comes of it */
    recv_stream(monad_async_socket socket, buffer_ring const &ring, std::uint32_t flags,
                std::error_code &ec) noexcept
        : task_(monad_async_task_current())
    {
        detail::report(start(socket, ring, flags), ec);
    }

    /** As that constructor.
     *  @param peer a connected stream socket, which must stay open
     *  @param ring where the data goes
     *  @param flags as of `monad_async_recv_stream_begin`
     *  @param[out] ec the error: then nothing comes of it */
    recv_stream(socket_handle const &peer, buffer_ring const &ring, std::uint32_t flags,
                std::error_code &ec) noexcept
        : recv_stream(peer.native_handle(), ring, flags, ec)
    {
    }

    /** As that constructor, with flags 0.
     *  @param fd a connected stream socket's descriptor, which must stay open
     *  @param ring where the data goes
     *  @param[out] ec the error: then nothing comes of it */
    recv_stream(int fd, buffer_ring const &ring, std::error_code &ec) noexcept
        : recv_stream(fd, ring, 0, ec)
    {
    }

    /** As that constructor, with flags 0.
     *  @param socket a connected stream socket
     *  @param ring where the data goes
     *  @param[out] ec the error: then nothing comes of it */
    recv_stream(monad_async_socket socket, buffer_ring const &ring, std::error_code &ec) noexcept
        : recv_stream(socket, ring, 0, ec)
    {
    }

    /** As that constructor, with flags 0.
     *  @param peer a connected stream socket, which must stay open
     *  @param ring where the data goes
     *  @param[out] ec the error: then nothing comes of it */
    recv_stream(socket_handle const &peer, buffer_ring const &ring, std::error_code &ec) noexcept
        : recv_stream(peer, ring, 0, ec)
    {
    }

    /** SUSPENDS until the kernel has let go of it, whatever scopes have fired. What it has taken
     *  off the socket, and nobody took by `next`, is dropped: no other call on the socket has it.
     *  Before going on with `recv`, `stop` it, and take the rest. */
    ~recv_stream()
    {
        auto const end = [&] { return monad_async_recv_stream_end(&stream_); };
        bool const is_ours = task_ != nullptr && !detail::is_of_a_parent(task_);
        if (is_ours && detail::suspending(end).error != 0) {
            detail::die("a recv_stream was destroyed outside the task that began it");
        }
    }
    recv_stream(recv_stream const &) = delete;
    recv_stream &operator=(recv_stream const &) = delete;

    /** SUSPENDS until there is data. Nothing is lost by a cancel or a deadline.
     *  @return the data; empty at the end of the stream, and once it was stopped and has no more
     *  @throws std::system_error its errno; `ENOBUFS`, `EDEADLK` as `monad_async_recv_stream_next`
     *  @throws cancelled_error the task or a scope was cancelled
     *  @throws timeout_error a scope's deadline passed */
    [[nodiscard]] MONAD_ASYNC_LOCAL view next()
    {
        monad_async_view received = {};
        (void)value_or_throw(take(received), "monad::async::recv_stream::next");
        return view(received);
    }

    /** As the other `next`.
     *  @param[out] ec the error
     *  @return the data; empty at the end of the stream, and with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL view next(std::error_code &ec) noexcept
    {
        monad_async_view received = {};
        detail::report(take(received), ec);
        return view(received);
    }

    /** Takes no more off the socket; does not suspend. `next` hands out what was taken, then a view
     *  of nothing, and then the rest is the socket's: `s.stop(); while (auto data = s.next()) ...`.
     *  @throws std::system_error as `monad_async_recv_stream_stop` */
    void stop()
    {
        detail::check(monad_async_recv_stream_stop(&stream_).error,
                      "monad::async::recv_stream::stop");
    }

    /** As the other `stop`.
     *  @param[out] ec the error */
    void stop(std::error_code &ec) noexcept
    {
        detail::report(monad_async_recv_stream_stop(&stream_).error, ec);
    }

private:
    // The errno.
    [[nodiscard]] int start(monad_async_socket socket, buffer_ring const &ring,
                            std::uint32_t flags) noexcept
    {
        auto *const native = ring.native_handle();
        return task_ == nullptr
                   ? EPERM
                   : monad_async_recv_stream_begin(task_, &stream_, socket, native, flags).error;
    }

    [[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result take(monad_async_view &received)
    {
        return detail::interruptible(
            task_, [&] { return monad_async_recv_stream_next(&stream_, &received); });
    }

    // As in buffer.h.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
    monad_async_recv_stream stream_ = {};
#pragma GCC diagnostic pop
    monad_async_task task_;
};

} // namespace v0
} // namespace monad::async

#endif

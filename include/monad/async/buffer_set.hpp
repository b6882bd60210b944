#ifndef MONAD_ASYNC_BUFFER_SET_HPP
#define MONAD_ASYNC_BUFFER_SET_HPP

/** @file buffer_set.hpp
 *  Registered buffers, as C++ objects. Each call has two forms: one throws, one takes a
 *  `std::error_code &`.
 *
 *  The words OWNER'S THREAD, EXPENSIVE and SUSPENDS are those of executor.h, the rules those of
 *  buffer_set.h. */

#include "buffer_set.h"
#include "config.h"
#include "detail/die.hpp"
#include "detail/runtime.hpp"
#include "error.hpp"
#include "executor.hpp"
#include "file.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** @cond no API */
namespace detail {

// Whether the set's executor is this process's parent's.
MONAD_ASYNC_API bool is_of_a_parent(monad_async_buffer_set set) noexcept;

} // namespace detail
/** @endcond */

/** A buffer that was claimed from a set, which gets it back when this ends. Move-only. Ends the
 *  process, with a message, where an operation on it is in flight.
 *  @see buffer_set.h, file.hpp */
class fixed_buffer {
public:
    /** None. */
    fixed_buffer() noexcept = default;

    /** Takes over a buffer of the C API.
     *  @param native to be released by this object */
    explicit fixed_buffer(monad_async_buffer native) noexcept : buffer_(native) {}

    /** Takes the buffer over.
     *  @param other has none afterwards */
    fixed_buffer(fixed_buffer &&other) noexcept
        : buffer_(std::exchange(other.buffer_, monad_async_buffer{}))
    {
    }

    /** Releases its own and takes the other's over.
     *  @param other has none afterwards
     *  @return this buffer */
    fixed_buffer &operator=(fixed_buffer &&other) noexcept
    {
        fixed_buffer taken(std::move(other));
        std::swap(buffer_, taken.buffer_);
        return *this;
    }
    ~fixed_buffer() { release(); }

    /** @return the first byte */
    [[nodiscard]] unsigned char *data() const noexcept
    {
        return static_cast<unsigned char *>(buffer_.data);
    }

    /** @return how many there are */
    [[nodiscard]] std::size_t size() const noexcept { return buffer_.length; }

    /** @return whether there is one */
    explicit operator bool() const noexcept { return buffer_.data != nullptr; }

    /** Gives the buffer back now; there is none then. */
    void release() noexcept
    {
        if (buffer_.data != nullptr && monad_async_buffers_release(&buffer_).error != 0 &&
            !detail::is_of_a_parent(buffer_.set)) {
            detail::die("a fixed_buffer was destroyed with an operation on it in flight, or by "
                        "another thread than its executor's");
        }
    }

    /** Says who will release it, where that is not the task that has claimed it: what a task holds
     *  that waits for one more is held for nothing, and a claim may end with `EDEADLK` for it.
     *  @param task who has it from now on; null: nobody who claims
     *  @throws std::system_error as `monad_async_buffers_give`; it is whose it was then */
    void give(monad_async_task task)
    {
        detail::check(monad_async_buffers_give(&buffer_, task).error,
                      "monad::async::fixed_buffer::give");
    }

    /** As the other `give`.
     *  @param task who has it from now on; null: nobody who claims
     *  @param[out] ec the error */
    void give(monad_async_task task, std::error_code &ec) noexcept
    {
        detail::report(monad_async_buffers_give(&buffer_, task).error, ec);
    }

    /** Reads from a file into the buffer. SUSPENDS.
     *  @param file where from
     *  @param offset in the file; -1: the current position
     *  @param bytes how many at most; more than there is room for: as many as that
     *  @return how many were read; 0: the end of the file
     *  @throws std::system_error as `monad_async_file_read_fixed`
     *  @throws cancelled_error the task or a scope was cancelled
     *  @throws timeout_error a scope's deadline passed */
    MONAD_ASYNC_LOCAL std::size_t read(monad_async_file file, std::int64_t offset,
                                       std::size_t bytes = SIZE_MAX)
    {
        return static_cast<std::size_t>(
            value_or_throw(move_data(monad_async_file_read_fixed, file, offset, bytes),
                           "monad::async::fixed_buffer::read"));
    }

    /** As the other `read`, of the whole buffer.
     *  @param file where from
     *  @param offset in the file; -1: the current position
     *  @param[out] ec the error
     *  @return how many were read; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t read(monad_async_file file, std::int64_t offset,
                                       std::error_code &ec) noexcept
    {
        return read(file, offset, SIZE_MAX, ec);
    }

    /** As the other `read`.
     *  @param file where from
     *  @param offset in the file; -1: the current position
     *  @param bytes how many at most
     *  @param[out] ec the error
     *  @return how many were read; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t read(monad_async_file file, std::int64_t offset,
                                       std::size_t bytes, std::error_code &ec) noexcept
    {
        return counted(move_data(monad_async_file_read_fixed, file, offset, bytes), ec);
    }

    /** Writes from the buffer to a file. SUSPENDS.
     *  @param file where to
     *  @param offset in the file; -1: the current position
     *  @param bytes how many, from the first on; more than there are: all
     *  @return how many were written; may be fewer, on a full disk for one
     *  @throws std::system_error as `monad_async_file_write_fixed`
     *  @throws cancelled_error the task or a scope was cancelled
     *  @throws timeout_error a scope's deadline passed */
    MONAD_ASYNC_LOCAL std::size_t write(monad_async_file file, std::int64_t offset,
                                        std::size_t bytes = SIZE_MAX)
    {
        return static_cast<std::size_t>(
            value_or_throw(move_data(monad_async_file_write_fixed, file, offset, bytes),
                           "monad::async::fixed_buffer::write"));
    }

    /** As the other `write`, of the whole buffer.
     *  @param file where to
     *  @param offset in the file; -1: the current position
     *  @param[out] ec the error
     *  @return how many were written; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t write(monad_async_file file, std::int64_t offset,
                                        std::error_code &ec) noexcept
    {
        return write(file, offset, SIZE_MAX, ec);
    }

    /** As the other `write`.
     *  @param file where to
     *  @param offset in the file; -1: the current position
     *  @param bytes how many at most
     *  @param[out] ec the error
     *  @return how many were written; 0 with an error */
    MONAD_ASYNC_LOCAL std::size_t write(monad_async_file file, std::int64_t offset,
                                        std::size_t bytes, std::error_code &ec) noexcept
    {
        return counted(move_data(monad_async_file_write_fixed, file, offset, bytes), ec);
    }

    /** @return the buffer of the C API, which stays this object's */
    [[nodiscard]] monad_async_buffer const *native_handle() const noexcept { return &buffer_; }

private:
    template <class Call>
    [[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result move_data(Call call, monad_async_file file,
                                                                 std::int64_t offset,
                                                                 std::size_t bytes)
    {
        auto *const self = monad_async_task_current();
        std::size_t const count = bytes < buffer_.length ? bytes : buffer_.length;
        return detail::interruptible(self,
                                     [&] { return call(self, file, &buffer_, 0, count, offset); });
    }

    [[nodiscard]] static std::size_t counted(monad_async_result r, std::error_code &ec) noexcept
    {
        detail::report(r, ec);
        return r.error == 0 ? static_cast<std::size_t>(r.value) : 0;
    }

    monad_async_buffer buffer_ = {};
};

/** A set of registered buffers, as one executor has it. Must outlive what was claimed from it; it
 *  ends the process, with a message, where it does not. Move-only. OWNER'S THREAD, or any after
 *  its executor has ended.
 *  @see buffer_set.h, buffer.hpp */
class buffer_set {
public:
    /** Makes a set and registers it. EXPENSIVE. OWNER'S THREAD.
     *  @param ex the executor
     *  @param count how many
     *  @param bytes the size of each
     *  @throws std::system_error as `monad_async_buffers_register` */
    buffer_set(executor const &ex, std::uint32_t count, std::uint32_t bytes)
    {
        auto const r = monad_async_buffers_register(ex.native_handle(), &set_, count, bytes);
        detail::check(r.error, "monad::async::buffer_set");
    }

    /** As that constructor.
     *  @param ex the executor
     *  @param count how many
     *  @param bytes the size of each
     *  @param[out] ec the error: then it has no buffers */
    buffer_set(executor const &ex, std::uint32_t count, std::uint32_t bytes,
               std::error_code &ec) noexcept
    {
        auto const r = monad_async_buffers_register(ex.native_handle(), &set_, count, bytes);
        detail::report(r.error, ec);
    }

    /** Makes a set of the executor that runs the calling task, a worker of a pool say, and
     *  registers it. EXPENSIVE.
     *  @param count how many
     *  @param bytes the size of each
     *  @throws std::system_error `EPERM`: outside a task; as `monad_async_buffers_register` */
    buffer_set(std::uint32_t count, std::uint32_t bytes)
    {
        detail::check(register_here(count, bytes), "monad::async::buffer_set");
    }

    /** As that constructor.
     *  @param count how many
     *  @param bytes the size of each
     *  @param[out] ec the error: then it has no buffers */
    buffer_set(std::uint32_t count, std::uint32_t bytes, std::error_code &ec) noexcept
    {
        detail::report(register_here(count, bytes), ec);
    }

    /** The same buffers for another executor, whose thread this is. EXPENSIVE.
     *  @param ex the other executor
     *  @param shared a set on which `share` was called
     *  @throws std::system_error as `monad_async_buffers_clone` */
    buffer_set(executor const &ex, buffer_set const &shared)
    {
        auto const r = monad_async_buffers_clone(ex.native_handle(), &set_, shared.native_handle());
        detail::check(r.error, "monad::async::buffer_set");
    }

    /** As that constructor.
     *  @param ex the other executor
     *  @param shared a set on which `share` was called
     *  @param[out] ec the error: then it has no buffers */
    buffer_set(executor const &ex, buffer_set const &shared, std::error_code &ec) noexcept
    {
        auto const r = monad_async_buffers_clone(ex.native_handle(), &set_, shared.native_handle());
        detail::report(r.error, ec);
    }

    /** Takes over a set of the C API.
     *  @param native to be unregistered by this object */
    explicit buffer_set(monad_async_buffer_set native) noexcept : set_(native) {}

    /** Takes the set over.
     *  @param other has none afterwards */
    buffer_set(buffer_set &&other) noexcept : set_(std::exchange(other.set_, nullptr)) {}
    buffer_set &operator=(buffer_set &&) = delete;
    ~buffer_set()
    {
        int const error = monad_async_buffers_unregister(set_).error;
        if (error != 0 && !detail::is_of_a_parent(set_)) {
            detail::die("a buffer_set was destroyed before what was claimed from it, before an "
                        "operation on a buffer was over, or by another thread than its executor's");
        }
    }

    /** From now on other executors may have the set, and every thread may release its buffers.
     *  @throws std::system_error as `monad_async_buffers_share` */
    void share()
    {
        detail::check(monad_async_buffers_share(set_).error, "monad::async::buffer_set::share");
    }

    /** As the other `share`.
     *  @param[out] ec the error */
    void share(std::error_code &ec) noexcept
    {
        detail::report(monad_async_buffers_share(set_).error, ec);
    }

    /** The same buffers for the executor that runs the calling task, a worker of a pool say.
     *  EXPENSIVE. `share` was called before.
     *  @return that executor's set
     *  @throws std::system_error `EPERM`: outside a task; as `monad_async_buffers_clone` */
    [[nodiscard]] buffer_set clone() const
    {
        std::error_code ec;
        auto made = clone(ec);
        detail::check(ec.value(), "monad::async::buffer_set::clone");
        return made;
    }

    /** As the other `clone`.
     *  @param[out] ec the error
     *  @return that executor's set; without buffers with an error */
    [[nodiscard]] buffer_set clone(std::error_code &ec) const noexcept
    {
        auto *const self = monad_async_task_current();
        monad_async_buffer_set made = nullptr;
        int const error =
            self == nullptr ? EPERM
                            : monad_async_buffers_clone(self->current_executor, &made, set_).error;
        detail::report(error, ec);
        return buffer_set(made);
    }

    /** SUSPENDS until a buffer is free.
     *  @return the buffer
     *  @throws std::system_error as `monad_async_buffers_claim`
     *  @throws cancelled_error the task or a scope was cancelled
     *  @throws timeout_error a scope's deadline passed */
    [[nodiscard]] MONAD_ASYNC_LOCAL fixed_buffer claim()
    {
        monad_async_buffer claimed = {};
        (void)value_or_throw(take(claimed), "monad::async::buffer_set::claim");
        return fixed_buffer(claimed);
    }

    /** As the other `claim`.
     *  @param[out] ec the error
     *  @return the buffer; none with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL fixed_buffer claim(std::error_code &ec) noexcept
    {
        monad_async_buffer claimed = {};
        detail::report(take(claimed), ec);
        return fixed_buffer(claimed);
    }

    /** Claims a buffer that is free. Does not suspend.
     *  @return the buffer; none where none is free, outside tasks, and on another executor */
    [[nodiscard]] fixed_buffer try_claim() noexcept
    {
        monad_async_buffer claimed = {};
        auto *const self = monad_async_task_current();
        if (self != nullptr) {
            (void)monad_async_buffers_try_claim(self, set_, &claimed);
        }
        return fixed_buffer(claimed);
    }

    /** @return the set of the C API; null after it was moved from */
    [[nodiscard]] monad_async_buffer_set native_handle() const noexcept { return set_; }

private:
    // The errno.
    [[nodiscard]] int register_here(std::uint32_t count, std::uint32_t bytes) noexcept
    {
        auto *const self = monad_async_task_current();
        return self == nullptr
                   ? EPERM
                   : monad_async_buffers_register(self->current_executor, &set_, count, bytes)
                         .error;
    }

    [[nodiscard]] MONAD_ASYNC_LOCAL monad_async_result take(monad_async_buffer &claimed)
    {
        auto *const self = monad_async_task_current();
        return detail::interruptible(
            self, [&] { return monad_async_buffers_claim(self, set_, &claimed); });
    }

    monad_async_buffer_set set_ = nullptr;
};

} // namespace v0
} // namespace monad::async

#endif

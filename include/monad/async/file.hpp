#ifndef MONAD_ASYNC_FILE_HPP
#define MONAD_ASYNC_FILE_HPP

/** @file file.hpp
 *  Files that close themselves. Each call has two forms: one throws, one takes a
 *  `std::error_code &`.
 *
 *  The words EXPENSIVE and SUSPENDS are those of executor.h, the rules those of file.h. */

#include "bytes.hpp"
#include "config.h"
#include "detail/file_calls.hpp"
#include "error.hpp"
#include "file.h"
#include "open_options.hpp"
#include "path.hpp"
#include "task.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <sys/stat.h>

namespace monad::async {
inline namespace v0 {

/** An open file. Move-only. All calls are made by the task that runs; outside: `EPERM`.
 *  @see file.h, path.hpp, ordered.hpp */
class file : detail::file_calls {
public:
    /** The offset that stands for the current position. */
    static constexpr std::int64_t current = -1;

    /** None. */
    file() noexcept = default;

    /** Takes over a file of the C API; a descriptor by `monad_async_file_adopt(fd)`.
     *  @param native to be closed by this object */
    explicit file(monad_async_file native) noexcept { file_ = native; }

    /** Opens a file. SUSPENDS.
     *  @param path its name
     *  @param open_flags `O_RDONLY` and so on
     *  @param options what else there is to say
     *  @throws std::system_error its errno */
    explicit file(pathname path, int open_flags = O_RDONLY, open_options const &options = {})
    {
        int const error = start(path, open_flags, options);
        detail::check(error, detail::opening(error, options));
    }

    /** As that constructor. SUSPENDS.
     *  @param path its name
     *  @param open_flags `O_RDONLY` and so on
     *  @param options what else there is to say
     *  @param[out] ec the error */
    file(pathname path, int open_flags, open_options const &options, std::error_code &ec) noexcept
    {
        detail::report(start(path, open_flags, options), ec);
    }

    /** As that constructor, without options. SUSPENDS.
     *  @param path its name
     *  @param open_flags `O_RDONLY` and so on
     *  @param[out] ec the error */
    file(pathname path, int open_flags, std::error_code &ec) noexcept
        : file(path, open_flags, open_options(), ec)
    {
    }

    /** As that constructor, to read. SUSPENDS.
     *  @param path its name
     *  @param[out] ec the error */
    file(pathname path, std::error_code &ec) noexcept : file(path, O_RDONLY, ec) {}

    /** @param other is left without a file */
    file(file &&other) noexcept { file_ = other.release(); }

    /** Exchanges the two, and closes nothing: what this one had is closed when `other` ends. Where
     *  `other` is a variable that lives on, call `close` before, or `other.close()` after.
     *  @param other has this one's file then
     *  @return this */
    file &operator=(file &&other) noexcept
    {
        std::swap(file_, other.file_);
        return *this;
    }

    /** Closes it, after what any task has in flight on it was ended. SUSPENDS inside a task,
     *  whatever scopes have fired, if there is something, or its file system flushes (NFS, FUSE,
     *  overlayfs); else no other task runs in that time. Outside tasks, or in another executor's, a
     *  plain descriptor is closed, and a direct one stays until its executor ends. */
    ~file() { (void)shut(false); }

    /** Closes it now; SUSPENDS as the destructor. Nothing happens where there is none.
     *  @throws std::system_error the errno of the close: what was written may be lost;
     *  `EPERM`: a direct or ordered one of another executor, which stays open */
    void close() { detail::check(shut(true), "monad::async::file::close"); }

    /** As the other `close`.
     *  @param[out] ec the error */
    void close(std::error_code &ec) noexcept { detail::report(shut(true), ec); }

    /** @return whether there is one */
    [[nodiscard]] bool is_open() const noexcept { return file_.fd >= 0; }

    /** @return the handle of the C API; -1 in it if there is none */
    [[nodiscard]] monad_async_file native_handle() const noexcept { return file_; }

    /** Gives the handle up.
     *  @return the handle, to be closed by the caller */
    [[nodiscard]] monad_async_file release() noexcept
    {
        return std::exchange(file_, monad_async_file{-1, 0});
    }

    /** Reads. SUSPENDS.
     *  @param to where it goes
     *  @param offset where in the file
     *  @return how many bytes were read; 0: the end of the file
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read(bytes to, std::int64_t offset = current)
    {
        return size_of(value_or_throw(get(to, offset), "monad::async::file::read"));
    }

    /** As the other `read`.
     *  @param to where it goes
     *  @param offset where in the file
     *  @param[out] ec the error
     *  @return how many bytes were read; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read(bytes to, std::int64_t offset,
                                                     std::error_code &ec) noexcept
    {
        return counted(get(to, offset), ec);
    }

    /** As the other `read`, at the current position.
     *  @param to where it goes
     *  @param[out] ec the error
     *  @return how many bytes were read; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read(bytes to, std::error_code &ec) noexcept
    {
        return read(to, current, ec);
    }

    /** SUSPENDS until the room is full or the file ends.
     *  @param to where it goes
     *  @param offset where in the file
     *  @return how many bytes were read; fewer than there is room for: the file ended
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read_all(bytes to, std::int64_t offset = current)
    {
        return size_of(value_or_throw(get_all(to, offset), "monad::async::file::read_all"));
    }

    /** As the other `read_all`.
     *  @param to where it goes
     *  @param offset where in the file
     *  @param[out] ec the error
     *  @return how many bytes were read, with an error too */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read_all(bytes to, std::int64_t offset,
                                                         std::error_code &ec) noexcept
    {
        return partly(get_all(to, offset), ec);
    }

    /** As the other `read_all`, at the current position.
     *  @param to where it goes
     *  @param[out] ec the error
     *  @return how many bytes were read, with an error too */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t read_all(bytes to, std::error_code &ec) noexcept
    {
        return read_all(to, current, ec);
    }

    /** Writes. SUSPENDS.
     *  @param from what to write
     *  @param offset where in the file
     *  @return how many bytes were written
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t write(const_bytes from,
                                                      std::int64_t offset = current)
    {
        return size_of(value_or_throw(put(from, offset), "monad::async::file::write"));
    }

    /** As the other `write`.
     *  @param from what to write
     *  @param offset where in the file
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too where the file is ordered */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t write(const_bytes from, std::int64_t offset,
                                                      std::error_code &ec) noexcept
    {
        return partly(put(from, offset), ec);
    }

    /** As the other `write`, at the current position.
     *  @param from what to write
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too where the file is ordered */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t write(const_bytes from,
                                                      std::error_code &ec) noexcept
    {
        return write(from, current, ec);
    }

    /** SUSPENDS until all is written.
     *  @param from what to write
     *  @param offset where in the file
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void write_all(const_bytes from, std::int64_t offset = current)
    {
        detail::check(put_all(from, offset).error, "monad::async::file::write_all");
    }

    /** As the other `write_all`.
     *  @param from what to write
     *  @param offset where in the file
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too */
    MONAD_ASYNC_LOCAL std::size_t write_all(const_bytes from, std::int64_t offset,
                                            std::error_code &ec) noexcept
    {
        return partly(put_all(from, offset), ec);
    }

    /** As the other `write_all`, at the current position.
     *  @param from what to write
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too */
    MONAD_ASYNC_LOCAL std::size_t write_all(const_bytes from, std::error_code &ec) noexcept
    {
        return write_all(from, current, ec);
    }

    /** As `preadv2`. SUSPENDS.
     *  @param parts where it goes
     *  @param count how many parts
     *  @param offset where in the file
     *  @param flags 0, or `RWF_...`
     *  @return how many bytes were read; 0: the end of the file
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t readv(iovec const *parts, int count,
                                                      std::int64_t offset = current, int flags = 0)
    {
        return size_of(
            value_or_throw(get_parts(parts, count, offset, flags), "monad::async::file::readv"));
    }

    /** As the other `readv`.
     *  @param parts where it goes
     *  @param count how many parts
     *  @param offset where in the file
     *  @param flags 0, or `RWF_...`
     *  @param[out] ec the error
     *  @return how many bytes were read; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t readv(iovec const *parts, int count,
                                                      std::int64_t offset, int flags,
                                                      std::error_code &ec) noexcept
    {
        return counted(get_parts(parts, count, offset, flags), ec);
    }

    /** As the other `readv`, without flags.
     *  @param parts where it goes
     *  @param count how many parts
     *  @param offset where in the file
     *  @param[out] ec the error
     *  @return how many bytes were read; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t
    readv(iovec const *parts, int count, std::int64_t offset, std::error_code &ec) noexcept
    {
        return readv(parts, count, offset, 0, ec);
    }

    /** As the other `readv`, at the current position.
     *  @param parts where it goes
     *  @param count how many parts
     *  @param[out] ec the error
     *  @return how many bytes were read; 0 with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t readv(iovec const *parts, int count,
                                                      std::error_code &ec) noexcept
    {
        return readv(parts, count, current, 0, ec);
    }

    /** As `pwritev2`. SUSPENDS.
     *  @param parts what to write
     *  @param count how many parts
     *  @param offset where in the file
     *  @param flags 0, or `RWF_...`
     *  @return how many bytes were written
     *  @throws std::system_error its errno */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t writev(iovec const *parts, int count,
                                                       std::int64_t offset = current, int flags = 0)
    {
        return size_of(
            value_or_throw(put_parts(parts, count, offset, flags), "monad::async::file::writev"));
    }

    /** As the other `writev`.
     *  @param parts what to write
     *  @param count how many parts
     *  @param offset where in the file
     *  @param flags 0, or `RWF_...`
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too where the file is ordered */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t writev(iovec const *parts, int count,
                                                       std::int64_t offset, int flags,
                                                       std::error_code &ec) noexcept
    {
        return partly(put_parts(parts, count, offset, flags), ec);
    }

    /** As the other `writev`, without flags.
     *  @param parts what to write
     *  @param count how many parts
     *  @param offset where in the file
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too where the file is ordered */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t
    writev(iovec const *parts, int count, std::int64_t offset, std::error_code &ec) noexcept
    {
        return writev(parts, count, offset, 0, ec);
    }

    /** As the other `writev`, at the current position.
     *  @param parts what to write
     *  @param count how many parts
     *  @param[out] ec the error
     *  @return how many bytes were written, with an error too where the file is ordered */
    [[nodiscard]] MONAD_ASYNC_LOCAL std::size_t writev(iovec const *parts, int count,
                                                       std::error_code &ec) noexcept
    {
        return writev(parts, count, current, 0, ec);
    }

    /** SUSPENDS until what was written is on the disk.
     *  @throws std::system_error its errno: a write that had returned may have failed since */
    MONAD_ASYNC_LOCAL void sync()
    {
        detail::check(call(monad_async_file_sync).error, "monad::async::file::sync");
    }

    /** As the other `sync`.
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void sync(std::error_code &ec) noexcept
    {
        detail::report(call(monad_async_file_sync).error, ec);
    }

    /** As `sync`, without what is not needed to read the data. SUSPENDS.
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void sync_data()
    {
        detail::check(call(monad_async_file_sync_data).error, "monad::async::file::sync_data");
    }

    /** As the other `sync_data`.
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void sync_data(std::error_code &ec) noexcept
    {
        detail::report(call(monad_async_file_sync_data).error, ec);
    }

    /** As `sync_file_range`. SUSPENDS.
     *  @param offset the first byte
     *  @param count how many; 0: to the end
     *  @param flags `SYNC_FILE_RANGE_...`
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void sync_range(std::int64_t offset, std::int64_t count, std::uint32_t flags)
    {
        detail::check(flush_range(offset, count, flags).error, "monad::async::file::sync_range");
    }

    /** As the other `sync_range`.
     *  @param offset the first byte
     *  @param count how many; 0: to the end
     *  @param flags `SYNC_FILE_RANGE_...`
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void sync_range(std::int64_t offset, std::int64_t count, std::uint32_t flags,
                                      std::error_code &ec) noexcept
    {
        detail::report(flush_range(offset, count, flags).error, ec);
    }

    /** As `fallocate`. SUSPENDS.
     *  @param offset the first byte
     *  @param count how many
     *  @param mode 0, or `FALLOC_FL_...`
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void allocate(std::int64_t offset, std::int64_t count, int mode = 0)
    {
        detail::check(reserve(offset, count, mode).error, "monad::async::file::allocate");
    }

    /** As the other `allocate`.
     *  @param offset the first byte
     *  @param count how many
     *  @param mode 0, or `FALLOC_FL_...`
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void allocate(std::int64_t offset, std::int64_t count, int mode,
                                    std::error_code &ec) noexcept
    {
        detail::report(reserve(offset, count, mode).error, ec);
    }

    /** As the other `allocate`, in mode 0.
     *  @param offset the first byte
     *  @param count how many
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void allocate(std::int64_t offset, std::int64_t count,
                                    std::error_code &ec) noexcept
    {
        allocate(offset, count, 0, ec);
    }

    /** As `ftruncate`. SUSPENDS.
     *  @param length its new length
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void truncate(std::int64_t length)
    {
        auto const r = call(monad_async_file_truncate, length);
        detail::check(r.error, "monad::async::file::truncate");
    }

    /** As the other `truncate`.
     *  @param length its new length
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void truncate(std::int64_t length, std::error_code &ec) noexcept
    {
        detail::report(call(monad_async_file_truncate, length).error, ec);
    }

    /** As `posix_fadvise`. SUSPENDS.
     *  @param offset the first byte
     *  @param count how many; 0: to the end
     *  @param advice `POSIX_FADV_...`
     *  @throws std::system_error its errno */
    MONAD_ASYNC_LOCAL void advise(std::int64_t offset, std::int64_t count, int advice)
    {
        auto const r = call(monad_async_file_advise, offset, count, advice);
        detail::check(r.error, "monad::async::file::advise");
    }

    /** As the other `advise`.
     *  @param offset the first byte
     *  @param count how many; 0: to the end
     *  @param advice `POSIX_FADV_...`
     *  @param[out] ec the error */
    MONAD_ASYNC_LOCAL void advise(std::int64_t offset, std::int64_t count, int advice,
                                  std::error_code &ec) noexcept
    {
        detail::report(call(monad_async_file_advise, offset, count, advice).error, ec);
    }

    /** What is known of it. SUSPENDS.
     *  @return the basic fields, and when it was made
     *  @throws std::system_error its errno; `EOPNOTSUPP`: a direct one */
    [[nodiscard]] MONAD_ASYNC_LOCAL struct statx stat()
    {
        struct statx status = {};
        detail::check(ask(status).error, "monad::async::file::stat");
        return status;
    }

    /** As the other `stat`.
     *  @param[out] ec the error
     *  @return what is known of it; zeros with an error */
    [[nodiscard]] MONAD_ASYNC_LOCAL struct statx stat(std::error_code &ec) noexcept
    {
        struct statx status = {};
        detail::report(ask(status).error, ec);
        return status;
    }
};

} // namespace v0
} // namespace monad::async

#endif

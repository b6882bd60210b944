#ifndef MONAD_ASYNC_DETAIL_FILE_CALLS_HPP
#define MONAD_ASYNC_DETAIL_FILE_CALLS_HPP

// What a file of file.hpp is made of: its handle, and the calls of the C API on it.

#include "../bytes.hpp"
#include "../config.h"
#include "../error.hpp"
#include "../file.h"
#include "../open_options.hpp"
#include "../path.hpp"
#include "../task.h"
#include "handle.hpp"
#include "runtime.hpp"

#include <cstddef>
#include <cstdint>
#include <system_error>

#include <sys/stat.h>

namespace monad::async {
inline namespace v0 {
namespace detail {

class file_calls {
protected:
    static std::size_t size_of(std::intptr_t value) noexcept
    {
        return static_cast<std::size_t>(value);
    }

    static std::size_t counted(monad_async_result r, std::error_code &ec) noexcept
    {
        detail::report(r.error, ec);
        return r.error == 0 ? size_of(r.value) : 0;
    }

    // With an error the value says how far it came.
    static std::size_t partly(monad_async_result r, std::error_code &ec) noexcept
    {
        detail::report(r.error, ec);
        return r.value > 0 ? size_of(r.value) : 0;
    }

    // A function of the C API with the running task, this file, and what else it takes.
    template <class Function, class... Args>
    MONAD_ASYNC_LOCAL monad_async_result call(Function function, Args... args) const
    {
        auto const on = file_;
        return detail::own_call([=](monad_async_task self) { return function(self, on, args...); });
    }

    // Made again where an exception unwinds the stack, it goes on where it was.
    template <class Function, class Bytes>
    MONAD_ASYNC_LOCAL monad_async_result call_on(Function function, Bytes data,
                                                 std::int64_t offset) const
    {
        std::size_t done = 0;
        auto r = detail::own_call([&](monad_async_task self) {
            auto const at = offset == -1 ? -1 : offset + std::int64_t(done);
            auto const more = function(self, file_, data.data() + done, data.size() - done, at);
            done += more.value > 0 ? size_of(more.value) : 0;
            return more;
        });
        r.value = static_cast<std::intptr_t>(done);
        return r;
    }

    MONAD_ASYNC_LOCAL int start(pathname path, int open_flags, open_options const &o) noexcept
    {
        return detail::own_call([&](monad_async_task self) {
                   return monad_async_file_open(self, &file_, o.directory, path.c_str(), open_flags,
                                                o.mode, o.resolve, o.flags);
               })
            .error;
    }

    MONAD_ASYNC_LOCAL monad_async_result get(bytes to, std::int64_t offset) const
    {
        return call(monad_async_file_read, to.data(), to.size(), offset);
    }

    MONAD_ASYNC_LOCAL monad_async_result get_all(bytes to, std::int64_t offset) const
    {
        return call_on(monad_async_file_read_all, to, offset);
    }

    MONAD_ASYNC_LOCAL monad_async_result get_parts(iovec const *parts, int count,
                                                   std::int64_t offset, int flags) const
    {
        return call(monad_async_file_readv, parts, count, offset, flags);
    }

    MONAD_ASYNC_LOCAL monad_async_result put(const_bytes from, std::int64_t offset) const
    {
        return call(monad_async_file_write, from.data(), from.size(), offset);
    }

    MONAD_ASYNC_LOCAL monad_async_result put_all(const_bytes from, std::int64_t offset) const
    {
        return call_on(monad_async_file_write_all, from, offset);
    }

    MONAD_ASYNC_LOCAL monad_async_result put_parts(iovec const *parts, int count,
                                                   std::int64_t offset, int flags) const
    {
        return call(monad_async_file_writev, parts, count, offset, flags);
    }

    MONAD_ASYNC_LOCAL monad_async_result flush_range(std::int64_t offset, std::int64_t count,
                                                     std::uint32_t flags) const
    {
        return call(monad_async_file_sync_range, offset, count, flags);
    }

    MONAD_ASYNC_LOCAL monad_async_result reserve(std::int64_t offset, std::int64_t count,
                                                 int mode) const
    {
        return call(monad_async_file_allocate, mode, offset, count);
    }

    MONAD_ASYNC_LOCAL monad_async_result ask(struct statx &status) const
    {
        std::uint32_t const mask = STATX_BASIC_STATS | STATX_BTIME;
        return call(monad_async_file_stat, mask, &status);
    }

    // `keeps`: see `detail::close_handle`.
    MONAD_ASYNC_LOCAL int shut(bool keeps) noexcept
    {
        constexpr auto direct = MONAD_ASYNC_FILE_DIRECT, known = direct | MONAD_ASYNC_FILE_ORDERED;
        return detail::close_handle(file_, direct, known, keeps, monad_async_file_close);
    }

    monad_async_file file_ = {-1, 0};
};

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

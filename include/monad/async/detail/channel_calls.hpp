#ifndef MONAD_ASYNC_DETAIL_CHANNEL_CALLS_HPP
#define MONAD_ASYNC_DETAIL_CHANNEL_CALLS_HPP

// The C functions of channel.h, both forms of each by one name, for templates of either.

#include "../channel.h"

#include <cstddef>
#include <cstdint>

namespace monad::async {
inline namespace v0 {
namespace detail {

inline monad_async_result channel_init(monad_async_channel &o, void *storage, std::size_t capacity,
                                       std::size_t bytes) noexcept
{
    return monad_async_channel_init(&o, storage, capacity, bytes);
}

inline monad_async_result channel_init(monad_async_local_channel &o, void *storage,
                                       std::size_t capacity, std::size_t bytes) noexcept
{
    return monad_async_local_channel_init(&o, storage, capacity, bytes);
}

inline monad_async_result channel_set_relocate(monad_async_channel &o,
                                               monad_async_relocate relocate) noexcept
{
    return monad_async_channel_set_relocate(&o, relocate);
}

inline monad_async_result channel_set_relocate(monad_async_local_channel &o,
                                               monad_async_relocate relocate) noexcept
{
    return monad_async_local_channel_set_relocate(&o, relocate);
}

inline monad_async_result channel_send(monad_async_task task, monad_async_channel &o,
                                       void *element) noexcept
{
    return monad_async_channel_send(task, &o, element);
}

inline monad_async_result channel_send(monad_async_task task, monad_async_local_channel &o,
                                       void *element) noexcept
{
    return monad_async_local_channel_send(task, &o, element);
}

inline monad_async_result channel_recv(monad_async_task task, monad_async_channel &o,
                                       void *element) noexcept
{
    return monad_async_channel_recv(task, &o, element);
}

inline monad_async_result channel_recv(monad_async_task task, monad_async_local_channel &o,
                                       void *element) noexcept
{
    return monad_async_local_channel_recv(task, &o, element);
}

inline monad_async_result channel_try_send(monad_async_channel &o, void *element) noexcept
{
    return monad_async_channel_try_send(&o, element);
}

inline monad_async_result channel_try_send(monad_async_local_channel &o, void *element) noexcept
{
    return monad_async_local_channel_try_send(&o, element);
}

inline monad_async_result channel_try_recv(monad_async_channel &o, void *element) noexcept
{
    return monad_async_channel_try_recv(&o, element);
}

inline monad_async_result channel_try_recv(monad_async_local_channel &o, void *element) noexcept
{
    return monad_async_local_channel_try_recv(&o, element);
}

inline monad_async_result channel_close(monad_async_channel &o) noexcept
{
    return monad_async_channel_close(&o);
}

inline monad_async_result channel_close(monad_async_local_channel &o) noexcept
{
    return monad_async_local_channel_close(&o);
}

inline monad_async_result channel_count(monad_async_channel &o) noexcept
{
    return monad_async_channel_count(&o);
}

inline monad_async_result channel_count(monad_async_local_channel &o) noexcept
{
    return monad_async_local_channel_count(&o);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

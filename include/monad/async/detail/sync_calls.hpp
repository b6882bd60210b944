#ifndef MONAD_ASYNC_DETAIL_SYNC_CALLS_HPP
#define MONAD_ASYNC_DETAIL_SYNC_CALLS_HPP

// The records and C functions of sync.h and channel.h in their two forms, each by one name, for the
// templates of both. One list makes them: neither form can call what is the other's.

#include "../channel.h"
#include "../sync.h"

namespace monad::async {
inline namespace v0 {
namespace detail {

#define MONAD_ASYNC_CALL(form, name) static constexpr auto name = monad_async_##form##name
#define MONAD_ASYNC_OBJECTS(name, form) \
    struct name { \
        using mutex = monad_async_##form##mutex; \
        MONAD_ASYNC_CALL(form, mutex_lock_until); \
        MONAD_ASYNC_CALL(form, mutex_try_lock); \
        MONAD_ASYNC_CALL(form, mutex_unlock); \
        using condition = monad_async_##form##condition; \
        MONAD_ASYNC_CALL(form, condition_notify_all); \
        MONAD_ASYNC_CALL(form, condition_notify_one); \
        MONAD_ASYNC_CALL(form, condition_wait_until); \
        using semaphore = monad_async_##form##semaphore; \
        MONAD_ASYNC_CALL(form, semaphore_acquire_until); \
        MONAD_ASYNC_CALL(form, semaphore_release); \
        MONAD_ASYNC_CALL(form, semaphore_try_acquire); \
        using event = monad_async_##form##event; \
        MONAD_ASYNC_CALL(form, event_is_set); \
        MONAD_ASYNC_CALL(form, event_reset); \
        MONAD_ASYNC_CALL(form, event_set); \
        MONAD_ASYNC_CALL(form, event_wait_until); \
        using barrier = monad_async_##form##barrier; \
        MONAD_ASYNC_CALL(form, barrier_wait_until); \
        using wait_group = monad_async_##form##wait_group; \
        MONAD_ASYNC_CALL(form, wait_group_add); \
        MONAD_ASYNC_CALL(form, wait_group_done); \
        MONAD_ASYNC_CALL(form, wait_group_wait_until); \
        using rw_lock = monad_async_##form##rw_lock; \
        MONAD_ASYNC_CALL(form, rw_lock_lock_shared_until); \
        MONAD_ASYNC_CALL(form, rw_lock_lock_until); \
        MONAD_ASYNC_CALL(form, rw_lock_try_lock); \
        MONAD_ASYNC_CALL(form, rw_lock_try_lock_shared); \
        MONAD_ASYNC_CALL(form, rw_lock_unlock); \
        MONAD_ASYNC_CALL(form, rw_lock_unlock_shared); \
        using channel = monad_async_##form##channel; \
        MONAD_ASYNC_CALL(form, channel_close); \
        MONAD_ASYNC_CALL(form, channel_count); \
        MONAD_ASYNC_CALL(form, channel_init); \
        MONAD_ASYNC_CALL(form, channel_recv); \
        MONAD_ASYNC_CALL(form, channel_send); \
        MONAD_ASYNC_CALL(form, channel_set_relocate); \
        MONAD_ASYNC_CALL(form, channel_try_recv); \
        MONAD_ASYNC_CALL(form, channel_try_send); \
    }

// For every thread.
MONAD_ASYNC_OBJECTS(shared_objects, );
// For the tasks of one executor.
MONAD_ASYNC_OBJECTS(local_objects, local_);

#undef MONAD_ASYNC_OBJECTS
#undef MONAD_ASYNC_CALL

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_DETAIL_SYNC_CALLS_HPP
#define MONAD_ASYNC_DETAIL_SYNC_CALLS_HPP

// The C functions of sync.h, both forms of each by one name, for templates of either. Those of
// channel.h: channel_calls.hpp.

#include "../channel.h"
#include "../sync.h"
#include "../task.h"

#include <cstddef>
#include <cstdint>

namespace monad::async {
inline namespace v0 {
namespace detail {

// For every thread.
struct shared_objects {
    using mutex = monad_async_mutex;
    using condition = monad_async_condition;
    using semaphore = monad_async_semaphore;
    using event = monad_async_event;
    using barrier = monad_async_barrier;
    using wait_group = monad_async_wait_group;
    using rw_lock = monad_async_rw_lock;
    using channel = monad_async_channel;
};

// For the tasks of one executor.
struct local_objects {
    using mutex = monad_async_local_mutex;
    using condition = monad_async_local_condition;
    using semaphore = monad_async_local_semaphore;
    using event = monad_async_local_event;
    using barrier = monad_async_local_barrier;
    using wait_group = monad_async_local_wait_group;
    using rw_lock = monad_async_local_rw_lock;
    using channel = monad_async_local_channel;
};

inline monad_async_result mutex_lock(monad_async_task task, monad_async_mutex &o) noexcept
{
    return monad_async_mutex_lock(task, &o);
}

inline monad_async_result mutex_lock(monad_async_task task, monad_async_local_mutex &o) noexcept
{
    return monad_async_local_mutex_lock(task, &o);
}

inline monad_async_result mutex_lock_until(monad_async_task task, monad_async_mutex &o,
                                           std::uint64_t boot_ns) noexcept
{
    return monad_async_mutex_lock_until(task, &o, boot_ns);
}

inline monad_async_result mutex_lock_until(monad_async_task task, monad_async_local_mutex &o,
                                           std::uint64_t boot_ns) noexcept
{
    return monad_async_local_mutex_lock_until(task, &o, boot_ns);
}

inline monad_async_result mutex_try_lock(monad_async_task task, monad_async_mutex &o) noexcept
{
    return monad_async_mutex_try_lock(task, &o);
}

inline monad_async_result mutex_try_lock(monad_async_task task, monad_async_local_mutex &o) noexcept
{
    return monad_async_local_mutex_try_lock(task, &o);
}

inline monad_async_result mutex_unlock(monad_async_task task, monad_async_mutex &o) noexcept
{
    return monad_async_mutex_unlock(task, &o);
}

inline monad_async_result mutex_unlock(monad_async_task task, monad_async_local_mutex &o) noexcept
{
    return monad_async_local_mutex_unlock(task, &o);
}

inline monad_async_result condition_wait(monad_async_task task, monad_async_condition &o,
                                         monad_async_mutex &mutex) noexcept
{
    return monad_async_condition_wait(task, &o, &mutex);
}

inline monad_async_result condition_wait(monad_async_task task, monad_async_local_condition &o,
                                         monad_async_local_mutex &mutex) noexcept
{
    return monad_async_local_condition_wait(task, &o, &mutex);
}

inline monad_async_result condition_wait_until(monad_async_task task, monad_async_condition &o,
                                               monad_async_mutex &mutex,
                                               std::uint64_t boot_ns) noexcept
{
    return monad_async_condition_wait_until(task, &o, &mutex, boot_ns);
}

inline monad_async_result condition_wait_until(monad_async_task task,
                                               monad_async_local_condition &o,
                                               monad_async_local_mutex &mutex,
                                               std::uint64_t boot_ns) noexcept
{
    return monad_async_local_condition_wait_until(task, &o, &mutex, boot_ns);
}

inline monad_async_result condition_notify_one(monad_async_condition &o) noexcept
{
    return monad_async_condition_notify_one(&o);
}

inline monad_async_result condition_notify_one(monad_async_local_condition &o) noexcept
{
    return monad_async_local_condition_notify_one(&o);
}

inline monad_async_result condition_notify_all(monad_async_condition &o) noexcept
{
    return monad_async_condition_notify_all(&o);
}

inline monad_async_result condition_notify_all(monad_async_local_condition &o) noexcept
{
    return monad_async_local_condition_notify_all(&o);
}

inline monad_async_result semaphore_acquire(monad_async_task task, monad_async_semaphore &o,
                                            std::uint64_t count) noexcept
{
    return monad_async_semaphore_acquire(task, &o, count);
}

inline monad_async_result semaphore_acquire(monad_async_task task, monad_async_local_semaphore &o,
                                            std::uint64_t count) noexcept
{
    return monad_async_local_semaphore_acquire(task, &o, count);
}

inline monad_async_result semaphore_acquire_until(monad_async_task task, monad_async_semaphore &o,
                                                  std::uint64_t count,
                                                  std::uint64_t boot_ns) noexcept
{
    return monad_async_semaphore_acquire_until(task, &o, count, boot_ns);
}

inline monad_async_result semaphore_acquire_until(monad_async_task task,
                                                  monad_async_local_semaphore &o,
                                                  std::uint64_t count,
                                                  std::uint64_t boot_ns) noexcept
{
    return monad_async_local_semaphore_acquire_until(task, &o, count, boot_ns);
}

inline monad_async_result semaphore_try_acquire(monad_async_semaphore &o,
                                                std::uint64_t count) noexcept
{
    return monad_async_semaphore_try_acquire(&o, count);
}

inline monad_async_result semaphore_try_acquire(monad_async_local_semaphore &o,
                                                std::uint64_t count) noexcept
{
    return monad_async_local_semaphore_try_acquire(&o, count);
}

inline monad_async_result semaphore_release(monad_async_semaphore &o, std::uint64_t count) noexcept
{
    return monad_async_semaphore_release(&o, count);
}

inline monad_async_result semaphore_release(monad_async_local_semaphore &o,
                                            std::uint64_t count) noexcept
{
    return monad_async_local_semaphore_release(&o, count);
}

inline monad_async_result event_wait(monad_async_task task, monad_async_event &o) noexcept
{
    return monad_async_event_wait(task, &o);
}

inline monad_async_result event_wait(monad_async_task task, monad_async_local_event &o) noexcept
{
    return monad_async_local_event_wait(task, &o);
}

inline monad_async_result event_wait_until(monad_async_task task, monad_async_event &o,
                                           std::uint64_t boot_ns) noexcept
{
    return monad_async_event_wait_until(task, &o, boot_ns);
}

inline monad_async_result event_wait_until(monad_async_task task, monad_async_local_event &o,
                                           std::uint64_t boot_ns) noexcept
{
    return monad_async_local_event_wait_until(task, &o, boot_ns);
}

inline monad_async_result event_set(monad_async_event &o) noexcept
{
    return monad_async_event_set(&o);
}

inline monad_async_result event_set(monad_async_local_event &o) noexcept
{
    return monad_async_local_event_set(&o);
}

inline monad_async_result event_reset(monad_async_event &o) noexcept
{
    return monad_async_event_reset(&o);
}

inline monad_async_result event_reset(monad_async_local_event &o) noexcept
{
    return monad_async_local_event_reset(&o);
}

inline monad_async_result event_is_set(monad_async_event &o) noexcept
{
    return monad_async_event_is_set(&o);
}

inline monad_async_result event_is_set(monad_async_local_event &o) noexcept
{
    return monad_async_local_event_is_set(&o);
}

inline monad_async_result barrier_wait(monad_async_task task, monad_async_barrier &o) noexcept
{
    return monad_async_barrier_wait(task, &o);
}

inline monad_async_result barrier_wait(monad_async_task task, monad_async_local_barrier &o) noexcept
{
    return monad_async_local_barrier_wait(task, &o);
}

inline monad_async_result barrier_wait_until(monad_async_task task, monad_async_barrier &o,
                                             std::uint64_t boot_ns) noexcept
{
    return monad_async_barrier_wait_until(task, &o, boot_ns);
}

inline monad_async_result barrier_wait_until(monad_async_task task, monad_async_local_barrier &o,
                                             std::uint64_t boot_ns) noexcept
{
    return monad_async_local_barrier_wait_until(task, &o, boot_ns);
}

inline monad_async_result wait_group_add(monad_async_wait_group &o, std::uint64_t count) noexcept
{
    return monad_async_wait_group_add(&o, count);
}

inline monad_async_result wait_group_add(monad_async_local_wait_group &o,
                                         std::uint64_t count) noexcept
{
    return monad_async_local_wait_group_add(&o, count);
}

inline monad_async_result wait_group_done(monad_async_wait_group &o, std::uint64_t count) noexcept
{
    return monad_async_wait_group_done(&o, count);
}

inline monad_async_result wait_group_done(monad_async_local_wait_group &o,
                                          std::uint64_t count) noexcept
{
    return monad_async_local_wait_group_done(&o, count);
}

inline monad_async_result wait_group_wait(monad_async_task task, monad_async_wait_group &o) noexcept
{
    return monad_async_wait_group_wait(task, &o);
}

inline monad_async_result wait_group_wait(monad_async_task task,
                                          monad_async_local_wait_group &o) noexcept
{
    return monad_async_local_wait_group_wait(task, &o);
}

inline monad_async_result wait_group_wait_until(monad_async_task task, monad_async_wait_group &o,
                                                std::uint64_t boot_ns) noexcept
{
    return monad_async_wait_group_wait_until(task, &o, boot_ns);
}

inline monad_async_result wait_group_wait_until(monad_async_task task,
                                                monad_async_local_wait_group &o,
                                                std::uint64_t boot_ns) noexcept
{
    return monad_async_local_wait_group_wait_until(task, &o, boot_ns);
}

inline monad_async_result rw_lock_lock_shared(monad_async_task task,
                                              monad_async_rw_lock &o) noexcept
{
    return monad_async_rw_lock_lock_shared(task, &o);
}

inline monad_async_result rw_lock_lock_shared(monad_async_task task,
                                              monad_async_local_rw_lock &o) noexcept
{
    return monad_async_local_rw_lock_lock_shared(task, &o);
}

inline monad_async_result rw_lock_lock_shared_until(monad_async_task task, monad_async_rw_lock &o,
                                                    std::uint64_t boot_ns) noexcept
{
    return monad_async_rw_lock_lock_shared_until(task, &o, boot_ns);
}

inline monad_async_result rw_lock_lock_shared_until(monad_async_task task,
                                                    monad_async_local_rw_lock &o,
                                                    std::uint64_t boot_ns) noexcept
{
    return monad_async_local_rw_lock_lock_shared_until(task, &o, boot_ns);
}

inline monad_async_result rw_lock_try_lock_shared(monad_async_task task,
                                                  monad_async_rw_lock &o) noexcept
{
    return monad_async_rw_lock_try_lock_shared(task, &o);
}

inline monad_async_result rw_lock_try_lock_shared(monad_async_task task,
                                                  monad_async_local_rw_lock &o) noexcept
{
    return monad_async_local_rw_lock_try_lock_shared(task, &o);
}

inline monad_async_result rw_lock_unlock_shared(monad_async_task task,
                                                monad_async_rw_lock &o) noexcept
{
    return monad_async_rw_lock_unlock_shared(task, &o);
}

inline monad_async_result rw_lock_unlock_shared(monad_async_task task,
                                                monad_async_local_rw_lock &o) noexcept
{
    return monad_async_local_rw_lock_unlock_shared(task, &o);
}

inline monad_async_result rw_lock_lock(monad_async_task task, monad_async_rw_lock &o) noexcept
{
    return monad_async_rw_lock_lock(task, &o);
}

inline monad_async_result rw_lock_lock(monad_async_task task, monad_async_local_rw_lock &o) noexcept
{
    return monad_async_local_rw_lock_lock(task, &o);
}

inline monad_async_result rw_lock_lock_until(monad_async_task task, monad_async_rw_lock &o,
                                             std::uint64_t boot_ns) noexcept
{
    return monad_async_rw_lock_lock_until(task, &o, boot_ns);
}

inline monad_async_result rw_lock_lock_until(monad_async_task task, monad_async_local_rw_lock &o,
                                             std::uint64_t boot_ns) noexcept
{
    return monad_async_local_rw_lock_lock_until(task, &o, boot_ns);
}

inline monad_async_result rw_lock_try_lock(monad_async_task task, monad_async_rw_lock &o) noexcept
{
    return monad_async_rw_lock_try_lock(task, &o);
}

inline monad_async_result rw_lock_try_lock(monad_async_task task,
                                           monad_async_local_rw_lock &o) noexcept
{
    return monad_async_local_rw_lock_try_lock(task, &o);
}

inline monad_async_result rw_lock_unlock(monad_async_task task, monad_async_rw_lock &o) noexcept
{
    return monad_async_rw_lock_unlock(task, &o);
}

inline monad_async_result rw_lock_unlock(monad_async_task task,
                                         monad_async_local_rw_lock &o) noexcept
{
    return monad_async_local_rw_lock_unlock(task, &o);
}

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

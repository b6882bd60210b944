#ifndef MONAD_ASYNC_DETAIL_TASK_STATE_HPP
#define MONAD_ASYNC_DETAIL_TASK_STATE_HPP

// What stands behind a task object: pinned, so that the object may move while the task runs.
//
//        task object            task_state (malloc)              the core's task
//      +-------------+        +---------------------+          +------------------+
//      | state ------+------->| head ---------------+--------->| user_code, -ptr  |
//      +-------------+        | drop, thrown        |<---------+-- user_ptr       |
//                             | room: 64 bytes      |          | the task's stack |
//                             | heap, heap_bytes ---+--> more  +------------------+
//                             +---------------------+
//
// Who may touch it: between attach and exit, the body's trampoline on the executor's thread; else
// the holder of the task object. `has_exited` and `is_attached`, which acquire, are the border.
//
//   callable   drop        thrown
//   there      its drop    null            from attach to the end of the body, and on where a launch
//                                          was cancelled
//   none       null        what the last body threw, or null
//
// A body that threw leaves a result that says so: the state's address, and which of its throws it was.
// So what was thrown is told from an error of C's, of the join's, of another run and of another task,
// wherever the result went. Who joins on another thread may ask while the next launch clears it: hence
// the lock, which nobody takes where nothing was thrown.
//
// Who joins a task uses its state beside the task object, which may be gone by the time the joiner
// runs again: the last of them deletes the state, and `last` tells then how the task ended.

#include "../config.h"
#include "../error.hpp"
#include "../task.h"
#include "tsan.hpp"

#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <utility>

namespace monad::async_bridge {
struct Task; // Rust's; never seen through.
}

namespace monad::async::detail {

// Callables up to this size never need the heap.
inline constexpr std::size_t room_bytes = 64;
inline constexpr std::size_t heap_align = 64;

struct task_state {
    monad_async_task head = nullptr;
    // Destroys the callable; null when there is none.
    void (*drop)(task_state &) noexcept = nullptr;
    // What the last callable threw, and how many have thrown (never 0 once one has). Written by who may
    // touch the state, under the lock; read by others under the lock.
    std::exception_ptr thrown;
    std::int32_t throws = 0;
    mutable std::int32_t thrown_lock = 0;
    // Where larger callables live; kept for the next one. `heap_align`ed or more.
    void *heap = nullptr;
    std::size_t heap_bytes = 0;
    std::size_t heap_alignment = heap_align;
    async_bridge::Task *owner = nullptr;
    alignas(std::max_align_t) unsigned char room[room_bytes];
    // The result of the last run, once the task object is gone.
    monad_async_result last = {};
    // The task object, and who joins. Atomic: they may be on several threads.
    unsigned users = 1;
    // The task object is gone, and `head` with it.
    bool closed = false;

    task_state() = default;
    task_state(task_state const &) = delete;
    task_state &operator=(task_state const &) = delete;
    ~task_state()
    {
        clear();
        release_heap();
    }

    template <class F>
    static constexpr bool fits = sizeof(F) <= room_bytes && alignof(F) <= alignof(std::max_align_t);

    // Where a callable of type F goes; the same answer until the next `prepare`.
    template <class F>
    void *place() noexcept
    {
        if constexpr (fits<F>) {
            return room;
        } else {
            return heap;
        }
    }

    template <class F>
    F &callable() noexcept
    {
        return *std::launder(static_cast<F *>(place<F>()));
    }

    // Makes room for a callable of type F; allocates only for one larger than all before.
    template <class F>
    void prepare()
    {
        if constexpr (!fits<F>) {
            if (heap_bytes < sizeof(F) || heap_alignment < alignof(F)) {
                grow(sizeof(F), alignof(F));
            }
        }
    }

    // Destroys what an earlier launch left.
    void clear() noexcept
    {
        if (drop != nullptr) {
            drop(*this);
        }
        if (thrown) {
            keep(nullptr);
        }
    }

    // Replaces what was thrown. What it was is destroyed outside the lock.
    [[gnu::cold, gnu::noinline]] void keep(std::exception_ptr what) noexcept
    {
        lock_thrown();
        std::swap(thrown, what);
        unlock_thrown();
    }

    // The result of a body that threw `what`.
    monad_async_result threw(std::exception_ptr what, int error) noexcept
    {
        monad_async_result r = monad_async_make_failure(error);
        r.value = reinterpret_cast<std::intptr_t>(this);
        lock_thrown();
        std::swap(thrown, what);
        throws = throws == INT32_MAX ? 1 : throws + 1;
        r.reserved = throws;
        unlock_thrown();
        return r;
    }

    [[nodiscard]] bool is_attached() const noexcept
    {
        if (monad_async_task_is_attached(head)) {
            return true;
        }
        tsan_acquire(head);
        return false;
    }

    [[nodiscard]] bool has_exited() const noexcept
    {
        if (!monad_async_task_has_exited(head)) {
            return false;
        }
        tsan_acquire(head);
        return true;
    }

    // How a run with this result ended.
    std::intptr_t outcome(monad_async_result r, char const *what) const
    {
        if (r.error != 0 && r.reserved != 0 && r.value == reinterpret_cast<std::intptr_t>(this)) {
            rethrow(r.reserved);
        }
        return value_or_throw(r, what);
    }

    // The task object goes; the task is not attached.
    void close() noexcept
    {
        last = head->result;
        if (drop != nullptr) {
            drop(*this); // Not later than the object, whoever joins.
        }
        __atomic_store_n(&closed, true, __ATOMIC_RELEASE);
    }

    [[nodiscard]] bool is_closed() const noexcept
    {
        return __atomic_load_n(&closed, __ATOMIC_ACQUIRE);
    }

    void use() noexcept { __atomic_fetch_add(&users, 1, __ATOMIC_RELAXED); }

    void leave() noexcept
    {
        if (__atomic_fetch_sub(&users, 1, __ATOMIC_ACQ_REL) == 1) {
            delete this;
        }
    }

private:
    // Returns if it is there no more.
    [[gnu::cold, gnu::noinline]] void rethrow(std::int32_t number) const
    {
        std::exception_ptr what;
        lock_thrown();
        if (number == throws) {
            what = thrown;
        }
        unlock_thrown();
        if (what) {
            std::rethrow_exception(std::move(what));
        }
    }

    // Held for a few instructions.
    void lock_thrown() const noexcept
    {
        while (__atomic_exchange_n(&thrown_lock, 1, __ATOMIC_ACQUIRE) != 0) {
        }
    }

    void unlock_thrown() const noexcept { __atomic_store_n(&thrown_lock, 0, __ATOMIC_RELEASE); }

    [[gnu::cold, gnu::noinline]] void grow(std::size_t bytes, std::size_t alignment)
    {
        release_heap();
        // To a multiple of 64, so that a slightly larger callable fits the next time.
        bytes = (bytes + (heap_align - 1)) & ~(heap_align - 1);
        alignment = alignment < heap_align ? heap_align : alignment;
        heap = ::operator new(bytes, std::align_val_t{alignment});
        heap_bytes = bytes;
        heap_alignment = alignment;
    }

    void release_heap() noexcept
    {
        if (heap != nullptr) {
            ::operator delete(heap, std::align_val_t{heap_alignment});
            heap = nullptr;
            heap_bytes = 0;
        }
    }
};

// Keeps a state, for who joins.
class state_use {
public:
    explicit state_use(task_state &state) noexcept : state_(state) { state_.use(); }
    ~state_use() { state_.leave(); }
    state_use(state_use const &) = delete;
    state_use &operator=(state_use const &) = delete;

private:
    task_state &state_;
};

// Plain data only across the border, as in executor.hpp.
MONAD_ASYNC_API monad_async_result
task_open(monad_async_task_attr const *attr, task_state *state) noexcept;
// Cancels, runs the executor or waits for its thread to, until the task has exited; destroys it. False:
// the process forked since, the body is the parent's, and the state must stay as it is.
MONAD_ASYNC_API bool task_close(task_state *state) noexcept;

} // namespace monad::async::detail

#endif

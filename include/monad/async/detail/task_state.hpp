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
// the holder of the task object. `has_exited`, which acquires, is the border.
//
//   callable   drop        thrown
//   there      its drop    null            from attach to the end of the body, and on where a launch
//                                          was cancelled
//   none       null        what the last body threw, or null
//
// user_code is null until the first launch, by whomever; afterwards it is a trampoline or C's.
//
// Who joins a task uses its state beside the task object, which may be gone by the time the joiner
// runs again: the last of them deletes the state, and `last` tells then how the task ended.

#include "../config.h"
#include "../error.hpp"
#include "../task.h"
#include "tsan.hpp"

#include <cstddef>
#include <exception>
#include <new>

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
    // What the last run of a callable threw; null where that run was C's.
    std::exception_ptr thrown;
    // The trampoline that `thrown` came through.
    monad_async_result (*thrown_by)(monad_async_task_head *) = nullptr;
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
            thrown = nullptr;
        }
    }

    // The task is attached as far as the caller's thread can know.
    [[nodiscard]] bool is_attached() const noexcept
    {
        if (__atomic_load_n(&head->current_executor, __ATOMIC_ACQUIRE) != nullptr) {
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

    [[nodiscard]] bool is_done() const noexcept
    {
        // Without code it never was launched.
        return has_exited() || head->user_code == nullptr;
    }

    // The task object goes; the task has exited.
    void close() noexcept
    {
        last = head->result;
        if (head->user_code != thrown_by) {
            thrown = nullptr; // Older than `last`, which is of C's.
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

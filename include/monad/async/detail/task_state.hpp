#ifndef MONAD_ASYNC_DETAIL_TASK_STATE_HPP
#define MONAD_ASYNC_DETAIL_TASK_STATE_HPP

// What stands behind a task object: pinned, so that the object may move while the task runs.
//
//        task object            task_state (malloc)              the core's task
//      +-------------+        +---------------------+          +------------------+
//      | state ------+------->| name, head ---------+--------->| user_code, -ptr  |
//      +-------------+        | drop, thrown        |<---------+-- user_ptr       |
//                             | room: 64 bytes      |          | the task's stack |
//                             | heap, heap_bytes ---+--> more  +------------------+
//                             +---------------------+
//
// Who may touch it: between attach and exit, the body's trampoline on the executor's thread; else
// the holder of the task object. `has_exited` and `is_attached`, which acquire, are the border.
//
//   callable   drop        thrown
//   there      its drop    null            from attach to the end of the body, and on where a
//   launch
//                                          was cancelled
//   none       null        what the last body threw, or null
//
// A body that threw leaves a result that says so: the state's address, and which of its throws it
// was. So what was thrown is told from an error of C's, of the join's, of another run and of
// another task, wherever the result went. Who joins on another thread may ask while the next launch
// clears it: hence the lock, which nobody takes where nothing was thrown.
//
// Of what was thrown and nobody asked for, the executor that the task was last attached to is told,
// if it wants to know: its block is kept for that (`told`).
//
// Who joins a task uses its state as well as the task object, which may be gone by the time the
// joiner runs again: the last of them deletes the state, and `last` tells then how the task ended.

#include "../config.h"
#include "../error.hpp"
#include "../inspect.h"
#include "../task.h"
#include "executor_block.hpp"
#include "spin_lock.hpp"
#include "tsan.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <string_view>
#include <utility>

namespace monad::async_bridge {
struct Task; // Rust's; never seen through.
}

namespace monad::async {
inline namespace v0 {
namespace detail {

// Callables up to this size never need the heap.
inline constexpr std::size_t room_bytes = 64;
inline constexpr std::size_t heap_align = 64;
// What a state is aligned to.
inline constexpr std::size_t line_bytes = 64;

// What a message reads of a task's state, by a copy: it cannot know whose a `user_ptr` is.
struct task_label {
    static constexpr std::uint64_t is_one = 0x6d6f6e61'6474736b;
    std::uint64_t mark = is_one;
    monad_async_task head = nullptr;
    char name[MONAD_ASYNC_NAME_BYTES + 1] = {};
};

// First what a run of a small callable does not touch. What it does touch lies in one line, with
// the first words of the callable: 64 tasks take as many lines less of the nearest cache.
struct task_state {
    task_label label;
    // Counted; whom to tell of what nobody asked for; null: nobody.
    executor_block *told = nullptr;
    // Where larger callables live; kept for the next one. `heap_align`ed or more.
    void *heap = nullptr;
    std::size_t heap_bytes = 0;
    std::size_t heap_alignment = heap_align;
    async_bridge::Task *owner = nullptr;
    // The result of the last run, once the task object is gone.
    monad_async_result last = {};
    // The task object, and who joins. Atomic: they may be on several threads.
    unsigned users = 1;
    mutable int thrown_lock = 0;
    // Under the lock, too: somebody asked for it, or it is a cancelled task's way to leave.
    mutable bool asked = false;
    // The task object is gone, and `head` with it.
    bool closed = false;

    alignas(line_bytes) monad_async_task head = nullptr;
    // Destroys the callable; null when there is none.
    void (*drop)(task_state &) noexcept = nullptr;
    // What the last callable threw, and how many have thrown (never 0 once one has). Written by who
    // may touch the state, under the lock; read by others under the lock.
    std::exception_ptr thrown;
    std::int32_t throws = 0;
    // The body of the last attach has begun. Atomic.
    bool begun = false;
    // Of a task that no object stands for: see spawned.hpp. It keeps the block, for as long as it
    // is taken.
    bool holds_block = false;
    bool is_from_elsewhere = false;
    spawned *next = nullptr;
    executor_block *block = nullptr;
    alignas(std::max_align_t) unsigned char room[room_bytes];

    task_state() = default;
    task_state(task_state const &) = delete;
    task_state &operator=(task_state const &) = delete;
    ~task_state()
    {
        clear();
        tell_from_now_on(nullptr);
        release_heap();
    }

    void set_name(std::string_view name) noexcept
    {
        auto n = std::min(name.size(), sizeof label.name - 1);
        // Cut between two characters of UTF-8.
        while (n != 0 && n != name.size() && (name[n] & 0xc0) == 0x80) {
            --n;
        }
        name.copy(label.name, n);
    }

    // Of what the next run throws.
    void tell_from_now_on(executor_block *of_executor) noexcept
    {
        bool const tells = of_executor != nullptr && of_executor->on_unobserved() != nullptr;
        if (auto *const to = tells ? of_executor : nullptr; to != told) {
            if (to != nullptr) {
                to->use();
            }
            if (auto *const told_before = std::exchange(told, to)) {
                told_before->leave();
            }
        }
    }

    template <class F>
    static constexpr bool fits = sizeof(F) <= room_bytes && alignof(F) <= alignof(std::max_align_t);

    // Where a callable of type F goes; the same answer until the next `prepare`.
    template <class F> void *place() noexcept
    {
        if constexpr (fits<F>) {
            return room;
        } else {
            return heap;
        }
    }

    template <class F> F &callable() noexcept
    {
        return *std::launder(static_cast<F *>(place<F>()));
    }

    // Makes room for a callable of type F; allocates only for one larger than all before. False: no
    // memory.
    template <class F> [[nodiscard]] bool prepare() noexcept
    {
        if constexpr (!fits<F>) {
            if (heap_bytes < sizeof(F) || heap_alignment < alignof(F)) {
                return grow(sizeof(F), alignof(F));
            }
        }
        return true;
    }

    // Destroys what an earlier launch left.
    void clear() noexcept
    {
        if (drop != nullptr) {
            drop(*this);
        }
        if (thrown) {
            forget_thrown();
        }
    }

    // What it was is destroyed, and told of, outside the lock.
    [[gnu::cold, gnu::noinline]] void forget_thrown() noexcept
    {
        std::exception_ptr what;
        lock_thrown();
        std::swap(thrown, what);
        bool const tell = !asked && told != nullptr;
        unlock_thrown();
        if (tell) {
            (*told->on_unobserved())(std::move(what));
        }
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
        asked = error == ECANCELED;
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
        if (is_of_a_throw(r)) {
            if (auto const thrown_then = ask(r.reserved)) {
                std::rethrow_exception(thrown_then);
            }
        }
        return value_or_throw(r, what);
    }

    // The same without a throw: the errno alone.
    std::intptr_t outcome(monad_async_result r, std::error_code &ec) const noexcept
    {
        if (is_of_a_throw(r)) {
            (void)ask(r.reserved);
        }
        return report(r, ec);
    }

    // The task object goes; the task is not attached.
    void close() noexcept
    {
        last = head->result;
        if (drop != nullptr) {
            drop(*this); // Not later than the object, no matter who joins.
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
    [[nodiscard]] bool is_of_a_throw(monad_async_result r) const noexcept
    {
        return r.error != 0 && r.reserved != 0 && r.value == reinterpret_cast<std::intptr_t>(this);
    }

    // Null if it is there no more.
    [[gnu::cold, gnu::noinline]] std::exception_ptr ask(std::int32_t number) const noexcept
    {
        std::exception_ptr what;
        lock_thrown();
        if (number == throws) {
            what = thrown;
            asked = true;
        }
        unlock_thrown();
        return what;
    }

    void lock_thrown() const noexcept { spin_lock(thrown_lock); }

    void unlock_thrown() const noexcept { spin_unlock(thrown_lock); }

    [[gnu::cold, gnu::noinline]] bool grow(std::size_t bytes, std::size_t alignment) noexcept
    {
        release_heap();
        // To a multiple of 64, so that a slightly larger callable fits the next time.
        bytes = (bytes + (heap_align - 1)) & ~(heap_align - 1);
        alignment = alignment < heap_align ? heap_align : alignment;
        heap = ::operator new(bytes, std::align_val_t{alignment}, std::nothrow);
        heap_bytes = heap != nullptr ? bytes : 0;
        heap_alignment = alignment;
        return heap != nullptr;
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

// Plain data only across the border, as in executor_block.hpp.
MONAD_ASYNC_API monad_async_result task_open(monad_async_task_attr const *attr,
                                             task_state *state) noexcept;
// Of an idle one: its name, and a permit that nobody took.
MONAD_ASYNC_API void task_forget_past(monad_async_task task) noexcept;
// Cancels once, runs the executor or waits for its thread to, until the task has exited; destroys
// it. False: the process forked since and the body is the parent's, or it is about to exit and
// nobody would run the task to its end: the state must stay as it is.
MONAD_ASYNC_API bool task_close(task_state *state) noexcept;

} // namespace detail
} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_TASK_LOCAL_HPP
#define MONAD_ASYNC_TASK_LOCAL_HPP

/** @file task_local.hpp
 *  Variables of which each run of a task has its own. */

#include "error.hpp"
#include "task_local.h"

#include <cerrno>
#include <memory>
#include <utility>

namespace monad::async {
inline namespace v0 {

/** A variable of which each run of a task has its own, as each thread has its own of a
 *  `thread_local` one. Made when the run first asks for it, destroyed when its body has returned,
 *  on the task's stack, newest first: its destructor may suspend.
 *
 *  The object names the variable and holds no value; it may be static, and must outlive the runs
 *  that have one. Any task of any executor may use it. Making a value is one malloc; finding it
 *  costs a load for each variable that the run has made since.
 *  @see task_local.h */
template <class T> class task_local {
public:
    task_local() = default;
    task_local(task_local const &) = delete;
    task_local &operator=(task_local const &) = delete;
    ~task_local() = default;

    /** The running task's own value; `T()` the first time.
     *  @return stays in place until the run has ended, or `reset`
     *  @throws std::system_error `EPERM`: outside a task
     *  @throws std::bad_alloc, and what making a `T` throws */
    T &get()
    {
        T *const found = find();
        return found != nullptr ? *found : emplace();
    }

    /** Replaces the running task's own value.
     *  @param arguments to make the new one of
     *  @return the new one
     *  @throws as `get`; then the old one is there */
    template <class... Arguments> T &emplace(Arguments &&...arguments)
    {
        auto made = std::make_unique<node>(std::forward<Arguments>(arguments)...);
        made->key = this;
        made->destroy = &destroy;
        auto *const self = monad_async_task_current();
        reset();
        detail::check(self == nullptr ? EPERM : monad_async_task_local_add(self, made.get()).error,
                      "monad::async::task_local");
        return made.release()->value;
    }

    /** @return the running task's own value; null: it has none, or no task runs here */
    [[nodiscard]] T *find() const noexcept
    {
        auto *const local = monad_async_task_local_find(monad_async_task_current(), this);
        return local != nullptr ? std::addressof(static_cast<node *>(local)->value) : nullptr;
    }

    /** Destroys the running task's own value, if it has one. */
    void reset() noexcept
    {
        if (auto *const local = monad_async_task_local_remove(monad_async_task_current(), this)) {
            destroy(local);
        }
    }

    /** @return as `get` */
    T &operator*() { return get(); }

    /** @return as `get` */
    T *operator->() { return std::addressof(get()); }

private:
    struct node : monad_async_task_local {
        template <class... Arguments>
        explicit node(Arguments &&...arguments)
            : monad_async_task_local(), value(std::forward<Arguments>(arguments)...)
        {
        }

        T value;
    };

    static void destroy(monad_async_task_local *local) noexcept
    {
        delete static_cast<node *>(local);
    }
};

} // namespace v0
} // namespace monad::async

#endif

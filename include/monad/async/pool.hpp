#ifndef MONAD_ASYNC_POOL_HPP
#define MONAD_ASYNC_POOL_HPP

/** @file pool.hpp
 *  The pool as a C++ object: callables that the threads of a pool run, by priority.
 *
 *  @snippet thread_pool.cpp a pool
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "detail/each.hpp"
#include "detail/executor_block.hpp"
#include "detail/posted.hpp"
#include "detail/runtime.hpp"
#include "detail/spawn.hpp"
#include "detail/waiting.hpp"
#include "error.hpp"
#include "executor_options.hpp"
#include "executor_ref.hpp"
#include "future.hpp"
#include "pool.h"
#include "priority.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace monad::async {
inline namespace v0 {

/** How to make a pool.
 *  @see monad_async_pool_create() */
struct thread_pool_options {
    /** How many workers; 0: as many as the calling thread may use CPUs. */
    unsigned workers = 0;
    /** The CPUs of the workers, one each, in turn; see `monad_async_pool_attr`. Empty: the kernel
     *  chooses. */
    std::vector<std::uint32_t> cpus = {};
    /** How to make each worker's executor: without a ring, unless it says otherwise. Of the rest,
     *  `name` is not used: they are called "pool worker" and a number. */
    executor_options executor = executor_options::compute_only();
    /** Of the trace that each worker records: see `monad_async_pool_attr`. 0: none. */
    std::size_t trace_bytes = 0;
};

/** What becomes of that which has not begun, when a pool is told to quit.
 *  @see monad_async_pool_quit() */
enum class pool_quit : std::uint32_t {
    /** It is begun, and then the workers leave. */
    drain = MONAD_ASYNC_POOL_DRAIN,
    /** It never is: its futures say `cancelled_error`. */
    hand_back = MONAD_ASYNC_POOL_RETURN,
};

/** @cond no API */
namespace detail {

struct pool_target {
    monad_async_pool pool;
    priority level;
    friend bool operator==(pool_target const &t, std::nullptr_t) { return t.pool == nullptr; }
};

inline monad_async_result start(pool_target to, monad_async_task task) noexcept
{
    if (to.level > priority::low) {
        return monad_async_make_failure(EINVAL); // The queue has no such level.
    }
    task->priority.cpu = static_cast<monad_async_priority>(to.level);
    return monad_async_pool_spawn(to.pool, task, &spawned_exited);
}

} // namespace detail
/** @endcond */

/** Threads that run callables, each as a task of an executor of its own: what they run may suspend,
 *  and do I/O if the executors have rings. What has a higher priority begins first, and the oldest
 *  among equals. Neither copied nor moved; ANY THREAD may use it.
 *  @see pool.h, future.hpp */
class thread_pool {
public:
    /** EXPENSIVE. Executors without rings: I/O is `ENOTSUP` in their tasks; the other constructor
     *  gives them rings.
     *  @param workers how many; 0: as many as the calling thread may use CPUs
     *  @throws std::system_error as the other constructor */
    explicit thread_pool(unsigned workers = 0) : thread_pool(with(workers)) {}

    /** EXPENSIVE. The workers are there when it returns.
     *  @param options how to make it
     *  @throws std::system_error as `executor`; `EAGAIN`: no more threads; `EINVAL`: a CPU that the
     *  process may not use
     *  @throws std::bad_alloc */
    explicit thread_pool(thread_pool_options const &options)
    {
        monad_async_pool_attr attr = {};
        detail::fill(attr.executor, options.executor);
        attr.workers = options.workers;
        attr.cpus = options.cpus.data();
        attr.stack_size = options.executor.stack_size;
        attr.cpus_count = static_cast<std::uint32_t>(options.cpus.size());
        attr.trace_bytes = options.trace_bytes;
        auto block = std::make_unique<detail::executor_block>();
        block->set_functions(options.executor.on_unobserved, options.executor.on_exception);
        block->stack_size = options.executor.stack_size;
        auto const r = monad_async_pool_create(&pool_, &attr);
        detail::check_created(r.error);
        block_ = block.release();
        detail::set_block_of_pool(pool_, block_);
    }

    /** Drains, and waits until the workers have left: until everything that was submitted, or
     *  launched on a worker's executor, has ended, and then their thread-local objects. SUSPENDS
     *  inside a task, shielded; blocks outside. Call `quit` before, to have what has not begun
     *  handed back. Ends the process, with a message, inside a task of the pool's own; but where
     *  that called `exit`, which destroys a static pool, and in a child after `fork`, it leaves
     *  the pool as it is. */
    ~thread_pool()
    {
        auto *const pool = pool_;
        (void)monad_async_pool_quit(pool, MONAD_ASYNC_POOL_DRAIN);
        auto const r = detail::suspending([pool] { return monad_async_pool_destroy(pool); });
        if (r.error == EDEADLK) {
            if (detail::process_exits()) {
                return; // In a task of ours, which is in the middle of it.
            }
            detail::die("a thread_pool was destroyed inside one of its own tasks");
        }
        block_->leave();
    }

    thread_pool(thread_pool const &) = delete;
    thread_pool &operator=(thread_pool const &) = delete;

    /** Has a worker call `body`. Does not suspend; a lock that is held for some instructions, and
     *  no malloc once the pool is warm and `body` fits 64 bytes.
     *  @param body any callable; moved in
     *  @param level what begins first
     *  @return for what it returns or throws; `cancelled_error`: it was cancelled before it began,
     *  or handed back
     *  @throws std::system_error `ESHUTDOWN`: the pool was told to quit; `EINVAL`: no such level;
     *  `ENOMEM`: no task
     *  @throws std::bad_alloc
     *  @throws what moving `body` does */
    template <class F>
    [[nodiscard]] future<std::invoke_result_t<std::decay_t<F>>>
    submit(F &&body, priority level = priority::normal)
    {
        return submit_or(std::forward<F>(body), level, what_submit);
    }

    /** As the other `submit`.
     *  @param body any callable; throws only if moving it does
     *  @param level what begins first
     *  @param[out] ec the error; `ENOMEM` too
     *  @return for what it returns or throws; of nothing with an error */
    template <class F>
    [[nodiscard]] future<std::invoke_result_t<std::decay_t<F>>>
    submit(F &&body, priority level,
           std::error_code &ec) noexcept(detail::moves_twice_without_throw<F>)
    {
        return submit_or(std::forward<F>(body), level, ec);
    }

    /** As the other `submit`, at normal priority.
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too
     *  @return for what it returns or throws; of nothing with an error */
    template <class F>
    [[nodiscard]] future<std::invoke_result_t<std::decay_t<F>>>
    submit(F &&body, std::error_code &ec) noexcept(detail::moves_twice_without_throw<F>)
    {
        return submit_or(std::forward<F>(body), priority::normal, ec);
    }

    /** As `submit`, for whose result nobody waits: an exception goes to
     *  `executor_options::on_exception`. A callable that is trivially copyable and has 40 bytes at
     *  most waits as a copy, and becomes a task when it begins.
     *  @param body any callable; moved in
     *  @param level what begins first
     *  @throws std::system_error, std::bad_alloc as `submit` */
    template <class F> void spawn(F &&body, priority level = priority::normal)
    {
        detail::settle_spawn(launch(std::forward<F>(body), level),
                             "monad::async::thread_pool::spawn");
    }

    /** As the other `spawn`.
     *  @param body any callable; throws only if moving it does
     *  @param level what begins first
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void spawn(F &&body, priority level,
               std::error_code &ec) noexcept(detail::moves_twice_without_throw<F>)
    {
        detail::settle_spawn(launch(std::forward<F>(body), level), ec);
    }

    /** As the other `spawn`, at normal priority.
     *  @param body any callable; throws only if moving it does
     *  @param[out] ec the error; `ENOMEM` too */
    template <class F>
    void spawn(F &&body, std::error_code &ec) noexcept(detail::moves_twice_without_throw<F>)
    {
        detail::settle_spawn(launch(std::forward<F>(body), priority::normal), ec);
    }

    /** Has the workers call `f` with each element, some at a time, in no order; returns when all
     *  are done. SUSPENDS inside a task, one of the pool's too; blocks outside. An exception ends
     *  it early: elements that nobody has taken are left out, and the first one is thrown here,
     *  once no worker calls `f` any more. So it is where a worker could not be told to begin; those
     *  that were are cancelled.
     *
     *  A worker takes an eighth of its even share at a time, elements in a row, one at least: an
     *  element that takes long keeps those behind it in its row waiting, and no others.
     *  @param range with random access
     *  @param f called by several threads at once
     *  @param level what begins first
     *  @throws what `f` throws
     *  @throws std::system_error, std::bad_alloc as `submit` */
    template <class Range, class F>
    void for_each(Range &&range, F &&f, priority level = priority::normal)
    {
        using std::begin;
        using std::end;
        static_assert(detail::has_random_access<decltype(begin(range)), decltype(end(range))>,
                      "for_each takes a range with random access");
        auto first = begin(range);
        auto const size = static_cast<std::size_t>(end(range) - first);
        auto const workers = std::max<std::size_t>(this->workers(), 1);
        using shared_type = detail::each<decltype(first), std::remove_reference_t<F>>;
        // Some rounds each, so that one slow element does not keep the others waiting.
        shared_type shared{first, size, std::max<std::size_t>(size / (workers * 8), 1),
                           std::addressof(f)};
        // Destroyed before `shared`: a future waits for its task.
        std::vector<future<void>> all;
        all.reserve(std::min(workers, size));
        try {
            while (all.size() != std::min(workers, size)) {
                all.push_back(submit([&shared] { shared.work(); }, level));
            }
        } catch (...) {
            shared.stop(); // `all` takes back what has not begun, and waits for what has.
            throw;
        }
        std::exception_ptr told;
        for (auto &one : all) {
            try {
                one.get();
            } catch (...) { // Or the wait was interrupted, or it never began.
                shared.failed();
                told = told ? told : std::current_exception();
            }
        }
        all.clear(); // Waits for those that are left.
        if (shared.first) {
            std::rethrow_exception(std::move(shared.first));
        }
        if (told) {
            std::rethrow_exception(std::move(told));
        }
    }

    /** Waits until everything that was submitted has ended, or all but so many. SUSPENDS inside a
     *  task; blocks outside.
     *  @param at_most so many may be left
     *  @throws cancelled_error, timeout_error interrupted
     *  @throws std::system_error `EDEADLK`: none may be left, in a task that was submitted to this
     *  pool itself; the kernel refuses every worker for long: see `kernel_error` */
    void wait(std::size_t at_most = 0)
    {
        detail::check(wait_for_left(at_most, MONAD_ASYNC_POOL_UNFINISHED), what_wait);
    }

    /** As the other `wait`, until nothing is left.
     *  @param[out] ec the error */
    void wait(std::error_code &ec) noexcept { wait(0, ec); }

    /** As the other `wait`.
     *  @param at_most so many may be left
     *  @param[out] ec the error */
    void wait(std::size_t at_most, std::error_code &ec) noexcept
    {
        detail::report(wait_for_left(at_most, MONAD_ASYNC_POOL_UNFINISHED), ec);
    }

    /** Waits until everything that was submitted has begun, or all but so many: so a producer
     *  keeps within bounds. SUSPENDS inside a task; blocks outside.
     *  @param at_most so many may be left
     *  @throws cancelled_error, timeout_error interrupted
     *  @throws std::system_error the kernel refuses every worker for long: see `kernel_error` */
    void wait_begun(std::size_t at_most = 0)
    {
        detail::check(wait_for_left(at_most, MONAD_ASYNC_POOL_QUEUED), what_wait);
    }

    /** As the other `wait_begun`, until everything has.
     *  @param[out] ec the error */
    void wait_begun(std::error_code &ec) noexcept { wait_begun(0, ec); }

    /** As the other `wait_begun`.
     *  @param at_most so many may be left
     *  @param[out] ec the error */
    void wait_begun(std::size_t at_most, std::error_code &ec) noexcept
    {
        detail::report(wait_for_left(at_most, MONAD_ASYNC_POOL_QUEUED), ec);
    }

    /** @return how many that were submitted have not begun, at this moment */
    [[nodiscard]] std::size_t queued() const noexcept
    {
        return number(monad_async_pool_left(pool_, MONAD_ASYNC_POOL_QUEUED));
    }

    /** @return how many that were submitted have not ended, at this moment */
    [[nodiscard]] std::size_t unfinished() const noexcept
    {
        return number(monad_async_pool_left(pool_, MONAD_ASYNC_POOL_UNFINISHED));
    }

    /** Makes workers, or dismisses some, which end what they have begun. EXPENSIVE.
     *  @param workers how many there are to be, one at least
     *  @throws std::system_error as the constructor; `EINVAL`: 0; `ESHUTDOWN`: the pool was told to
     *  quit */
    void resize(unsigned workers)
    {
        auto const r = monad_async_pool_resize(pool_, workers);
        detail::check(r.error, "monad::async::thread_pool::resize");
    }

    /** As the other `resize`.
     *  @param workers how many there are to be, one at least
     *  @param[out] ec the error */
    void resize(unsigned workers, std::error_code &ec) noexcept
    {
        detail::report(monad_async_pool_resize(pool_, workers).error, ec);
    }

    /** @return how many workers begin tasks */
    [[nodiscard]] std::size_t workers() const noexcept
    {
        return number(monad_async_pool_workers(pool_));
    }

    /** @param index which worker
     *  @return a reference to its executor, to launch tasks there directly
     *  @throws std::system_error `ENOENT`: there is no such worker
     *  @throws std::bad_alloc */
    [[nodiscard]] executor_ref worker(std::size_t index) const
    {
        int error = 0;
        auto found = find_worker(index, error);
        detail::settle_spawn(error, "monad::async::thread_pool::worker");
        return found;
    }

    /** As the other `worker`.
     *  @param index which worker
     *  @param[out] ec the error; `ENOMEM` too
     *  @return a reference to its executor; to none with an error */
    [[nodiscard]] executor_ref worker(std::size_t index, std::error_code &ec) const noexcept
    {
        int error = 0;
        auto found = find_worker(index, error);
        detail::settle_spawn(error, ec);
        return found;
    }

    /** Asks whether the kernel refuses a worker to go on, which tries again each millisecond: what
     *  it has begun stands still. ANY THREAD.
     *  @param[out] index the first such worker, for `worker`; untouched if there is none; null: not
     *  wanted
     *  @return why; none: there is no such worker
     *  @see monad_async_pool_kernel_error() */
    [[nodiscard]] std::error_code kernel_error(std::size_t *index = nullptr) const noexcept
    {
        auto const error = number(monad_async_pool_kernel_error(pool_, index));
        return {static_cast<int>(error), std::system_category()};
    }

    /** Takes nothing more. Does not wait: see `wait`.
     *  @param how what becomes of that which has not begun; one that drains may still be told to
     *  hand back
     *  @return how many were handed back */
    std::size_t quit(pool_quit how = pool_quit::hand_back) noexcept
    {
        return number(monad_async_pool_quit(pool_, static_cast<std::uint32_t>(how)));
    }

    /** As `executor::trim`, of what is kept for the next `submit` and `for_each` here. The tasks
     *  of a `spawn` of what is copied (40 bytes at most) are their worker's until that leaves.
     *  What tasks spawn themselves their worker keeps: `executor_ref::trim`. EXPENSIVE. */
    void trim() noexcept { block_->forget_spawned(); }

    /** The pool of the C API; this object keeps it.
     *  @return never null */
    [[nodiscard]] monad_async_pool native_handle() const noexcept { return pool_; }

private:
    static thread_pool_options with(unsigned workers)
    {
        thread_pool_options options;
        options.workers = workers;
        return options;
    }

    static std::size_t number(monad_async_result r) noexcept
    {
        return r.error == 0 ? static_cast<std::size_t>(r.value) : 0;
    }

    static constexpr char const *what_submit = "monad::async::thread_pool::submit";
    static constexpr char const *what_wait = "monad::async::thread_pool::wait";

    // `how`: see `settle_spawn`.
    template <class F, class How>
    future<std::invoke_result_t<std::decay_t<F>>> submit_or(F &&body, priority level, How &how)
    {
        using result = std::invoke_result_t<std::decay_t<F>>;
        detail::future_base *made = nullptr;
        detail::settle_spawn(detail::submit_by<result, false>(*block_,
                                                              detail::pool_target{pool_, level},
                                                              std::forward<F>(body), made),
                             how);
        return future<result>(made);
    }

    // The errno, or `no_room`.
    template <class F> int launch(F &&body, priority level)
    {
        using body_type = std::decay_t<F>;
        if constexpr (detail::is_plain<body_type>) {
            static_assert(std::is_invocable_v<body_type>, "it is called without arguments");
            auto const at = static_cast<monad_async_priority>(level);
            int const error = detail::post<body_type>(*block_, pool_, at, body);
            return error == ENOMEM ? detail::no_room : error;
        } else {
            return detail::spawn_by(*block_, false, detail::pool_target{pool_, level},
                                    std::forward<F>(body));
        }
    }

    executor_ref find_worker(std::size_t index, int &error) const noexcept
    {
        std::unique_ptr<detail::executor_block> block(new (std::nothrow) detail::executor_block);
        if (block == nullptr) {
            error = detail::no_room;
            return executor_ref();
        }
        block->set_options_of(*block_);
        error = monad_async_pool_worker(pool_, index, &block->remote).error;
        return error == 0 ? executor_ref(block.release()) : executor_ref();
    }

    int wait_for_left(std::size_t at_most, std::uint32_t what)
    {
        auto *const pool = pool_;
        auto const r = detail::waiting(
            [=](monad_async_task) { return monad_async_pool_wait(pool, at_most, what); });
        return r.error;
    }

    monad_async_pool pool_ = nullptr;
    detail::executor_block *block_ = nullptr;
};

} // namespace v0
} // namespace monad::async

#endif

#ifndef MONAD_ASYNC_STOP_TOKEN_HPP
#define MONAD_ASYNC_STOP_TOKEN_HPP

/** @file stop_token.hpp
 *  Cancels of tasks and scopes, and `std::stop_token` of C++20, each told of the other. Before
 *  C++20, and without the standard library's part, this header is empty.
 *
 *  The words ANY THREAD and SUSPENDS are those of executor.h. */

#include "config.h"

#if defined(__cplusplus) && __cplusplus >= 202002L && __has_include(<stop_token>)
    #include <version>
#endif
#if defined(__cpp_lib_jthread)

    #include "detail/spawn.hpp"
    #include "error.hpp"
    #include "executor_ref.hpp"
    #include "future.hpp"
    #include "scope.hpp"
    #include "this_task.hpp"

    #include <functional>
    #include <memory>
    #include <optional>
    #include <stop_token>
    #include <system_error>
    #include <type_traits>
    #include <utility>

namespace monad::async {
inline namespace v0 {

/** A scope that a stop request cancels, from ANY THREAD. From then on every suspending call inside
 *  it throws `cancelled_error`. It is at once where the request was there before; else it takes
 *  effect with the executor's next look.
 *  @see scope.hpp */
class [[nodiscard]] stop_scope {
public:
    /** Enters the scope, and takes what a request needs, so that none can fail. One or two mallocs
     *  once the executor has tasks to spare; EXPENSIVE before.
     *  @param token who asks for the stop
     *  @throws std::system_error `EPERM`: outside a task; `ENOMEM`. std::bad_alloc */
    explicit stop_scope(std::stop_token token) : link_(std::make_shared<link>(&scope_))
    {
        if (token.stop_requested()) {
            scope_.cancel();
            return;
        }
        callback_.emplace(std::move(token), request{link_});
    }

    /** Leaves it. Waits for a request that is being made at this moment. */
    ~stop_scope()
    {
        callback_.reset();
        link_->of = nullptr;
    }

    stop_scope(stop_scope const &) = delete;
    stop_scope &operator=(stop_scope const &) = delete;

    /** @return whether the stop, or another cancel of the scope, has come */
    [[nodiscard]] bool fired() const noexcept { return scope_.fired(); }

private:
    // Held by the scope and by the message to its executor, whose thread alone follows `of`.
    struct link {
        scope *of;
        executor_ref to;
        // The task of the message: taken beforehand, as a request must not fail for want of memory.
        detail::spawned *message;

        explicit link(scope *s) : of(s), to(this_task::executor())
        {
            message = &detail::take_or_throw(*to.block(), false, "monad::async::stop_scope");
        }
        link(link const &) = delete;
        link &operator=(link const &) = delete;
        ~link()
        {
            if (message != nullptr) {
                detail::keep_spawned(*message, false);
            }
        }
    };
    // An executor that ends cancels all that it has, and that is not meant for a request, which is
    // sent again: the scope may lie in a shield, and not end before.
    static void came(detail::spawned &message, monad_async_result r) noexcept
    {
        if (r.error != ECANCELED ||
            detail::spawn_message(*message.block, message.head, &detail::spawned_exited) != 0) {
            detail::keep_spawned(message, true);
        }
    }
    struct request {
        std::shared_ptr<link> to;
        void operator()() const noexcept
        {
            auto &message = *std::exchange(to->message, nullptr);
            auto cancel = [to = to] {
                if (to->of != nullptr) {
                    to->of->cancel();
                }
            };
            static_assert(detail::task_state::fits<decltype(cancel)>);
            message.on_done = &came;
            // ESHUTDOWN: the executor is gone, and the scope with it.
            (void)detail::launch_spawned(message, detail::message_target{to->to.block()},
                                         std::move(cancel));
        }
    };

    scope scope_;
    std::shared_ptr<link> link_;
    std::optional<std::stop_callback<request>> callback_;
};

/** Calls a function with a stop token that is asked to stop when the running task is cancelled, or
 *  a scope around the call fires. SUSPENDS until the function has returned, also then: it leaves by
 *  itself. It runs in a background task of the same executor, so it may suspend, or hand the token
 *  to other threads and wait for them.
 *  @param f called with a `std::stop_token`
 *  @return what it returns
 *  @throws what it throws; std::system_error, std::bad_alloc as `executor::submit`
 *  @see scope.hpp */
template <class F> std::invoke_result_t<F &, std::stop_token> with_stop_token(F f)
{
    std::stop_source source;
    auto done = this_task::executor().submit(
        [&f, token = source.get_token()]() -> std::invoke_result_t<F &, std::stop_token> {
            return std::invoke(f, token);
        });
    try {
        done.wait();
    } catch (cancelled_error const &) {
        source.request_stop();
    } catch (timeout_error const &) {
        source.request_stop();
    }
    shield const until_it_returns;
    return done.get();
}

} // namespace v0
} // namespace monad::async

#endif // std::stop_token

#endif

// Select: one case happens, the others leave no trace; every pair of cases that come in one pass, in
// either order, before the wait and during it.

#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/op.h>
#include <monad/async/operation.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <unistd.h>

namespace {

io_uring_sqe read_of(int fd, char *to, unsigned bytes)
{
    io_uring_sqe sqe{};
    sqe.opcode = IORING_OP_READ;
    sqe.fd = fd;
    sqe.off = ~0ULL;
    sqe.addr = reinterpret_cast<std::uintptr_t>(to);
    sqe.len = bytes;
    return sqe;
}

enum class kind {
    recv,
    send,
    local_recv,
    local_send,
    meet_recv,
    meet_send,
    join,
    op,
    other_join,
    closed_recv,
    closed_send,
    timeout
};
constexpr int kinds = 12;
constexpr auto time_out = 300us;

// One thing to wait for, what makes it happen, and what must be left if it lost.
struct thing {
    kind k;
    ma::executor &ex;
    ma::executor_ref elsewhere;
    ma::channel<std::string> ch{1}, meet{0};
    ma::local_channel<std::string> local{1};
    std::string mine = "mine, and too long for the inside of a string";
    std::string got;
    ma::task task;
    int fds[2] = {-1, -1};
    char bytes[8] = {};
    std::optional<ma::operation> op;
    bool triggered = false, delivered = false;
    std::optional<std::chrono::steady_clock::time_point> begun;

    thing(kind which, ma::executor &e, ma::executor_ref other) : k(which), ex(e), elsewhere(other)
    {
    }
    ~thing()
    {
        op.reset();
        if (fds[0] >= 0) {
            close(fds[0]);
            close(fds[1]);
        }
    }

    // In the selecting task, before.
    void prepare()
    {
        switch (k) {
        case kind::send:
        case kind::closed_send: ch.send("full"); break;
        case kind::local_send: local.send("full"); break;
        case kind::join: task.attach(ex, [] { ma::this_task::park(); }); break;
        case kind::other_join: task.attach(elsewhere, [] { ma::this_task::park(); }); break;
        case kind::op:
            ASSERT_EQ(pipe(fds), 0);
            op.emplace(read_of(fds[0], bytes, 4));
            break;
        default: break;
        }
    }

    monad_async_select_case record()
    {
        void *const to = &slot;
        switch (k) {
        case kind::recv:
        case kind::closed_recv: return monad_async_case_recv(ch.native_handle(), to);
        case kind::timeout:
            begun = std::chrono::steady_clock::now();
            return monad_async_case_timeout(std::chrono::nanoseconds(time_out).count());
        case kind::send:
        case kind::closed_send: return monad_async_case_send(ch.native_handle(), make());
        case kind::local_recv: return monad_async_case_local_recv(local.native_handle(), to);
        case kind::local_send: return monad_async_case_local_send(local.native_handle(), make());
        case kind::meet_recv: return monad_async_case_recv(meet.native_handle(), to);
        case kind::meet_send: return monad_async_case_send(meet.native_handle(), make());
        case kind::join:
        case kind::other_join: return monad_async_case_join(task.native_handle());
        case kind::op: return monad_async_case_op(op->native_handle());
        }
        return {};
    }

    // In another task.
    void trigger()
    {
        triggered = true;
        switch (k) {
        case kind::recv: ch.send("theirs"); break;
        case kind::local_recv: local.send("theirs"); break;
        case kind::meet_recv: delivered = meet.try_send("theirs"); break;
        case kind::send: EXPECT_EQ(ch.recv(), "full"); break;
        case kind::local_send: EXPECT_EQ(local.recv(), "full"); break;
        case kind::meet_send:
            if (auto x = meet.try_recv()) {
                got = *x;
            }
            break;
        case kind::join:
        case kind::other_join:
            EXPECT_EQ(monad_async_task_unpark(task.native_handle()).error, 0);
            break;
        case kind::op: ASSERT_EQ(write(fds[1], "data", 4), 4); break;
        case kind::closed_recv:
        case kind::closed_send: ch.close(); break;
        case kind::timeout: // Over by the time anybody looks; not begun yet, if it is `before`.
            std::this_thread::sleep_until(begun.value_or(std::chrono::steady_clock::now()) +
                                          2 * time_out);
            break;
        }
    }

    // Whether it may have won: what passes by itself needs nobody.
    [[nodiscard]] bool may_win() const { return triggered || k == kind::timeout; }

    // In the selecting task, afterwards.
    void check(bool won, monad_async_result r)
    {
        switch (k) {
        case kind::recv:
        case kind::local_recv:
        case kind::meet_recv: check_recv(won, r); break;
        case kind::send:
        case kind::local_send:
        case kind::meet_send: check_send(won, r); break;
        case kind::join:
        case kind::other_join:
            if (!won && !triggered) {
                EXPECT_FALSE(task.done());
            }
            if (won) {
                EXPECT_EQ(r.error, 0);
            }
            (void)monad_async_task_unpark(task.native_handle());
            task.join();
            break;
        case kind::op:
            if (won) {
                EXPECT_EQ(r.value, 4);
                EXPECT_FALSE(op->in_flight());
            } else {
                EXPECT_TRUE(op->in_flight());
                if (!triggered) {
                    ASSERT_EQ(write(fds[1], "data", 4), 4);
                }
                EXPECT_EQ(op->wait(), 4); // no byte is lost
            }
            EXPECT_EQ(std::string(bytes, 4), "data");
            break;
        case kind::closed_recv:
            if (won) {
                EXPECT_EQ(r.error, EPIPE);
            }
            break;
        case kind::closed_send:
            EXPECT_EQ(slot.value, mine); // It was not moved away.
            slot.value.~basic_string();
            if (won) {
                EXPECT_EQ(r.error, EPIPE);
            }
            EXPECT_EQ(ch.recv(), "full");
            break;
        case kind::timeout:
            if (won) {
                EXPECT_EQ(r.error, 0);
                EXPECT_GE(std::chrono::steady_clock::now() - *begun, time_out);
            }
            break;
        }
    }

private:
    std::string *make() { return ::new (static_cast<void *>(&slot)) std::string(mine); }

    void check_recv(bool won, monad_async_result r)
    {
        if (won) {
            EXPECT_EQ(r.error, 0);
            EXPECT_EQ(slot.value, "theirs");
            slot.value.~basic_string();
        } else if (k == kind::meet_recv) {
            EXPECT_FALSE(delivered); // Nobody took it.
        } else if (triggered) {
            EXPECT_EQ(k == kind::recv ? ch.try_recv() : local.try_recv(), "theirs");
        }
        EXPECT_EQ(ch.size(), 0u);
    }

    void check_send(bool won, monad_async_result r)
    {
        if (!won) {
            EXPECT_EQ(slot.value, mine); // It was not moved away.
            slot.value.~basic_string();
            EXPECT_EQ(got, "");
            EXPECT_EQ(meet.try_recv(), std::nullopt);
            return;
        }
        EXPECT_EQ(r.error, 0);
        if (k == kind::meet_send) {
            EXPECT_EQ(got, mine);
        } else {
            EXPECT_EQ(k == kind::send ? ch.try_recv() : local.try_recv(), mine);
        }
    }

    ma::detail::room<std::string> slot;
};

} // namespace

TEST(Select, every_pair_in_one_pass_in_either_order)
{
    ma::executor ex;
    // A second one, for the tasks that are joined from elsewhere.
    std::atomic<monad_async_executor> native{nullptr};
    std::atomic<bool> stop{false};
    std::promise<ma::executor_ref> promise;
    auto future = promise.get_future();
    std::thread thread([&] {
        ma::executor other;
        promise.set_value(other.ref());
        native = other.native_handle();
        while (!stop) {
            other.run_for(1ms);
        }
    });
    auto const elsewhere = future.get();
    // By pair and case, where both had come before the task went on.
    int wins[kinds][kinds][2] = {};
    for (int a = 0; a < kinds; ++a) {
        for (int b = 0; b < kinds; ++b) {
            for (int how = 0; how < 12; ++how) {
                bool const b_first = (how & 1) != 0, before = (how & 2) != 0;
                int const which = how / 4; // both; the first alone; the second alone
                thing one(static_cast<kind>(a), ex, elsewhere);
                thing two(static_cast<kind>(b), ex, elsewhere);
                bool waiting = false;
                ma::task selecting;
                SCOPED_TRACE("pair " + std::to_string(a) + ", " + std::to_string(b) + ", " +
                             std::to_string(how));
                auto const trigger = [&] {
                    thing *const order[] = {b_first ? &two : &one, b_first ? &one : &two};
                    for (auto *t : order) {
                        if (which == 0 || (which == 1 && t == &one) || (which == 2 && t == &two)) {
                            t->trigger();
                        }
                    }
                };
                selecting.attach(ex, [&] {
                    one.prepare();
                    two.prepare();
                    waiting = true;
                    if (before) {
                        ma::this_task::park();
                    }
                    // A join of another thread's task comes when that thread has run.
                    auto const comes = [](thing const &t) {
                        return t.triggered && t.k == kind::other_join;
                    };
                    monad_async_select_case cases[] = {
                        one.record(), two.record(),
                        monad_async_case_timeout(comes(one) || comes(two) ? UINT64_MAX : 1000000)};
                    auto const r =
                        monad_async_select(monad_async_task_current(), cases, before ? 3 : 2);
                    ASSERT_EQ(r.error, 0) << monad_async_result_message(r);
                    ASSERT_LT(r.value, 3);
                    if (r.value < 2) {
                        EXPECT_TRUE((r.value == 0 ? one : two).may_win());
                        if (one.triggered && two.triggered) {
                            ++wins[a][b][r.value];
                        }
                    }
                    one.check(r.value == 0, cases[0].result);
                    two.check(r.value == 1, cases[1].result);
                });
                while (!waiting) {
                    ex.poll();
                }
                ex.poll();
                run_task(ex, trigger);
                (void)monad_async_task_unpark(selecting.native_handle());
                ex.run_until_idle();
                ASSERT_TRUE(selecting.done());
            }
        }
    }
    stop = true;
    thread.join();
    for (int a = 0; a < kinds; ++a) {
        for (int b = 0; b < kinds; ++b) {
            // Four times each; two that meet nobody before the select waits have not come then.
            auto const meets = [](kind k) { return k == kind::meet_recv || k == kind::meet_send; };
            auto const one = static_cast<kind>(a), two = static_cast<kind>(b);
            EXPECT_EQ(wins[a][b][0] + wins[a][b][1], meets(one) && meets(two) ? 2 : 4)
                << a << ", " << b;
            // Each of the two has won some, as it came first or stands first, except what is seen
            // when the pass ends, after all that came in it.
            if (one != kind::timeout && one != kind::other_join) {
                EXPECT_GT(wins[a][b][0] + wins[b][a][1], 0) << a << ", " << b;
            }
        }
    }
}

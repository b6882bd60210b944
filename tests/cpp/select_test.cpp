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
        case kind::join:
            task.attach(ex, [] { ma::this_task::park(); });
            break;
        case kind::other_join:
            task.attach(elsewhere, [] { ma::this_task::park(); });
            break;
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
        case kind::other_join: EXPECT_EQ(monad_async_task_unpark(task.native_handle()).error, 0); break;
        case kind::op: ASSERT_EQ(write(fds[1], "data", 4), 4); break;
        case kind::closed_recv:
        case kind::closed_send: ch.close(); break;
        case kind::timeout: // Over by the time anybody looks; not begun yet, if it is `before`.
            std::this_thread::sleep_until(
                begun.value_or(std::chrono::steady_clock::now()) + 2 * time_out);
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
                    monad_async_select_case cases[] = {one.record(), two.record(),
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

TEST(Select, ready_ones_go_by_priority_then_in_order)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::local_channel<int> a(4), b(4);
    run_task(ex, [&] {
        a.send(1);
        b.send(2);
        int x = 0;
        monad_async_select_case cases[] = {monad_async_case_timeout(0),
            monad_async_case_local_recv(a.native_handle(), &x),
            monad_async_case_local_recv(b.native_handle(), &x)};
        auto *const self = monad_async_task_current();
        EXPECT_EQ(monad_async_select(self, cases, 3).value, 0);
        cases[0].priority = 2;
        cases[1].priority = 1;
        EXPECT_EQ(monad_async_select(self, cases, 3).value, 2);
        EXPECT_EQ(x, 2);
        EXPECT_EQ(monad_async_select(self, cases, 3).value, 1);
        EXPECT_EQ(x, 1);
        EXPECT_EQ(monad_async_select(self, cases, 3).value, 0);
        EXPECT_EQ(monad_async_select(self, cases, 0).error, EINVAL);
        cases[0].kind = 0;
        EXPECT_EQ(monad_async_select(self, cases, 3).error, EINVAL);
        auto join = monad_async_case_join(self);
        EXPECT_EQ(monad_async_select(self, &join, 1).error, EDEADLK);
        monad_async_op op{};
        auto idle = monad_async_case_op(&op);
        EXPECT_EQ(monad_async_select(self, &idle, 1).error, ENOENT);
    });
}

TEST(Select, callables_get_what_happened)
{
    ma::executor ex;
    ma::channel<std::unique_ptr<int>> in, out;
    std::string log;
    ma::task peer;
    run_task(ex, [&] {
        auto mine = std::make_unique<int>(7);
        EXPECT_EQ(ma::select(ma::on_recv(in, [&](auto) { log += 'r'; }),
                      ma::on_send(out, mine, [&](bool) { log += 's'; }),
                      ma::on_timeout(1ms, [&] { log += 't'; })),
            2u);
        ASSERT_NE(mine, nullptr); // It was not sent.
        peer.attach(ex, [&] { log += std::to_string(**out.recv()); });
        EXPECT_EQ(ma::select(ma::on_recv(in, [&](auto) { log += 'r'; }),
                      ma::on_send(out, mine, [&](bool sent) { log += sent ? 'S' : 's'; })),
            1u);
        EXPECT_EQ(mine, nullptr);
        EXPECT_EQ(ma::select(ma::on_join(peer, [&] { log += 'j'; })), 0u);
        in.close();
        ma::select(ma::on_recv(in, [&](auto x) { log += x ? 'r' : 'c'; }));
        auto again = std::make_unique<int>(8);
        ma::select(ma::on_send(in, again, [&](bool sent) { log += sent ? 'S' : 'n'; }));
        EXPECT_NE(again, nullptr);
        EXPECT_EQ(errno_thrown_by([&] {
            ma::with_timeout(1ms, [&] { ma::select(ma::on_recv(out, [](auto) {})); });
        }),
            ETIME);
        ma::scope s;
        s.cancel();
        EXPECT_EQ(errno_thrown_by([&] {
            ma::select(ma::on_send(out, again, [](bool) {}), ma::on_timeout(0ms, [] {}));
        }),
            ECANCELED);
        EXPECT_NE(again, nullptr);
    });
    EXPECT_EQ(log, "t7Sjcn");
}

TEST(Select, two_selects_meet)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::channel<int> ch;
    int got = 0;
    ma::task sender;
    sender.attach(ex, [&] {
        int x = 5, y = 6;
        ma::select(ma::on_recv(ch, [](auto) { FAIL() << "its own"; }),
            ma::on_send(ch, x, [](bool) {}));
        ma::select(ma::on_send(ch, y, [](bool) {}), ma::on_recv(ch, [](auto) { FAIL(); }));
    });
    run_task(ex, [&] {
        for (int i = 0; i < 2; ++i) {
            ma::select(ma::on_recv(ch, [&](auto x) { got += *x; }), ma::on_timeout(1h, [] {}));
        }
    });
    ex.run_until_idle();
    EXPECT_EQ(got, 11);
}

// The case that was named second sent what the first had left of it: nothing.
TEST(Select, one_object_is_offered_to_several_channels)
{
    ma::executor ex{ma::executor_options::compute_only()};
    std::string const text = "mine, and too long for the inside of a string";
    run_task(ex, [&] {
        for (std::size_t open = 0; open != 4; ++open) {
            ma::channel<std::string> a, b(open == 1 ? 1 : 0);
            ma::local_channel<std::string> c(open == 2 ? 1 : 0);
            std::string mine = text;
            bool was_sent = false;
            auto const sent = [&](bool s) { was_sent = s; };
            auto const offer = [&] {
                return ma::select(ma::on_send(a, mine, sent), ma::on_send(b, mine, sent),
                    ma::on_send(c, mine, sent), ma::on_timeout(1ms, [] {}));
            };
            if (open == 0) {
                a.close(); // Refused: it stays.
                EXPECT_EQ(offer(), 0u);
                EXPECT_EQ(mine, text);
                continue;
            }
            EXPECT_EQ(offer(), open);
            EXPECT_EQ(was_sent, open != 3);
            EXPECT_EQ(b.try_recv().value_or(""), open == 1 ? text : "");
            EXPECT_EQ(c.try_recv().value_or(""), open == 2 ? text : "");
            EXPECT_EQ(mine, open == 3 ? text : "");
        }
    });
}

// Threads and executors whose selects meet on the same channels in either order: nothing is lost.
TEST(Select, real_threads_lose_nothing)
{
    constexpr int each = 5000;
    ma::channel<int> a, b(2);
    std::atomic<long> sum{0};
    auto const send = [&] {
        for (int i = 1; i <= each; ++i) {
            int x = i, y = i;
            bool done = false;
            while (!done) {
                ma::select(ma::on_send(b, x, [&](bool) { done = true; }),
                    ma::on_send(a, y, [&](bool) { done = true; }),
                    ma::on_timeout(std::chrono::microseconds(i % 20), [] {}));
            }
        }
    };
    auto const receive = [&] {
        for (bool open = true; open;) {
            auto const take = [&](std::optional<int> x) {
                open = x.has_value();
                sum += x.value_or(0);
            };
            ma::select(ma::on_recv(a, take), ma::on_recv(b, take), ma::on_timeout(1ms, [] {}));
        }
        for (auto x = b.try_recv(); x; x = b.try_recv()) {
            sum += *x;
        }
    };
    std::thread sender(send), receiver(receive), executors([&] {
        ma::executor ex;
        ma::task other;
        other.attach(ex, receive);
        run_task(ex, send);
        sender.join();
        a.close();
        b.close();
        ex.run_until_idle();
    });
    executors.join();
    receiver.join();
    EXPECT_EQ(sum, 2L * each * (each + 1) / 2);
}

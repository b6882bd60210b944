// Select: which case it takes of those that are ready, what its callables get, selects that meet each
// other, on threads of their own too.

#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/op.h>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

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

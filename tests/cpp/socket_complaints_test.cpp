// What users of Boost.Asio, Seastar, tokio-uring, folly::fibers and liburing have complained of, of
// sockets, timers, cancels and channels, tried here.
#include "direct.hpp"
#include "ends.hpp"

#include <monad/async/buffer.hpp>
#include <monad/async/channel.hpp>
#include <monad/async/event.hpp>
#include <monad/async/future.hpp>
#include <monad/async/group.hpp>
#include <monad/async/pool.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>
#include <monad/async/socket.hpp>

#include <dirent.h>
#include <memory>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

std::size_t open_descriptors()
{
    std::unique_ptr<DIR, int (*)(DIR *)> const dir(opendir("/proc/self/fd"), &closedir);
    std::size_t n = 0;
    while (readdir(dir.get()) != nullptr) {
        ++n;
    }
    return n;
}

// An accept that is cancelled as a client connects leaks the connection: the kernel has accepted it,
// and nobody takes it. With four places of direct descriptors, a leak is seen at the fifth.
TEST(SocketComplaints, an_accept_that_is_cut_short_leaks_no_connection)
{
    SKIP_WITHOUT_TABLES();
    std::size_t const before = open_descriptors();
    int left_over = 0;
    {
        ma::executor ex(with_table(4));
        run_task(ex, [&] {
            auto listener = ma::listener::tcp(0);
            for (std::uint32_t const flags : {0U, MONAD_ASYNC_SOCKET_DIRECT}) {
                for (int i = 0; i != 100; ++i) {
                    ma::task_group group;
                    group.spawn([&] {
                        for (int yields = i % 5; yields != 0; --yields) {
                            ma::this_task::yield();
                        }
                        auto const client = ma::socket::tcp("127.0.0.1", listener.port());
                    });
                    ma::scope cut;
                    group.spawn([&cut, i] {
                        for (int yields = i % 7; yields != 0; --yields) {
                            ma::this_task::yield();
                        }
                        cut.cancel();
                    });
                    std::error_code ec;
                    auto const peer = listener.accept(flags, ec);
                    EXPECT_TRUE(!ec || ec.value() == ECANCELED) << ec.message();
                    ma::shield const until_both_end;
                    group.wait();
                    // The connection was accepted, or is the listener's still.
                    if (ec) {
                        auto const left = listener.accept(flags);
                        ++left_over;
                    }
                }
            }
        });
    }
    EXPECT_GT(left_over, 0);
    EXPECT_EQ(open_descriptors(), before);
}

// A receive whose time is up as an element comes takes the element, and drops it.
TEST(SocketComplaints, nothing_is_lost_where_a_receive_and_its_deadline_cross)
{
    constexpr int count = 2000;
    ma::channel<std::unique_ptr<int>> ch(1);
    std::thread sender([&] {
        for (int i = 0; i != count; ++i) {
            ch.send(std::make_unique<int>(i));
        }
        ch.close();
    });
    ma::executor ex;
    int next = 0, late = 0;
    run_task(ex, [&] {
        for (bool open = true; open;) {
            try {
                auto const got = ma::with_timeout(std::chrono::microseconds(late % 20),
                                                  [&] { return ch.recv(); });
                open = got.has_value();
                if (open) {
                    EXPECT_EQ(**got, next);
                    ++next;
                }
            } catch (ma::timeout_error const &) {
                ++late;
            }
        }
    });
    sender.join();
    EXPECT_EQ(next, count);
}

// A try_send right after its receiver was cancelled fails, though there is room; or it goes to the
// receiver that leaves.
TEST(SocketComplaints, a_try_send_after_a_cancelled_receive_goes_inside)
{
    for (bool const several : {false, true}) {
        ma::executor ex;
        ma::channel<int> ch(several ? 16 : 1);
        ma::task receiver;
        receiver.attach(ex, [&] { return ch.recv().value_or(-1); });
        ex.run();
        receiver.cancel();
        EXPECT_TRUE(ch.try_send(7));
        ex.run_until_idle();
        EXPECT_THROW(receiver.get(), ma::cancelled_error);
        EXPECT_EQ(ch.try_recv(), 7);
    }
}

// Of two receives of which one is to happen, both do: an element is gone.
TEST(SocketComplaints, a_select_takes_one_element_of_two)
{
    constexpr int count = 1000;
    ma::channel<int> a, b(3);
    std::thread first([&] {
        for (int i = 0; i != count; ++i) {
            a.send(1);
        }
        a.close();
    });
    std::thread second([&] {
        for (int i = 0; i != count; ++i) {
            b.send(1000);
        }
        b.close();
    });
    ma::executor ex;
    int sum = 0, closed = 0;
    run_task(ex, [&] {
        auto const take = [&](std::optional<int> got) {
            sum += got.value_or(0);
            closed += !got;
        };
        while (closed == 0) {
            ma::select(ma::on_recv(a, take), ma::on_recv(b, take));
        }
        for (auto *rest : {&a, &b}) {
            for (int const x : *rest) {
                sum += x;
            }
        }
    });
    first.join();
    second.join();
    EXPECT_EQ(sum, count * 1001);
}

// A time-out that fires between two operations finds none to cancel, and the next one waits for ever.
TEST(SocketComplaints, a_cancel_between_two_receives_ends_the_second)
{
    ma::executor ex;
    ends e;
    run_task(ex, [&] {
        ma::scope s(1ms);
        char c = 0;
        e.b.send(ma::const_bytes("x", 1));
        EXPECT_EQ(e.a.recv({&c, 1}), 1U);
        std::this_thread::sleep_for(2ms); // busy, while the time passes
        EXPECT_THROW((void)e.a.recv({&c, 1}), ma::timeout_error);
    });
}

// A shutdown of the input does not wake who receives, with io_uring; nor does the end of a listener
// who accepts.
TEST(SocketComplaints, a_shutdown_ends_who_receives_and_a_close_who_accepts)
{
    ma::executor ex;
    ends e;
    auto listener = ma::listener::tcp(0);
    run_task(ex, [&] {
        std::size_t got = 1;
        std::error_code accepted;
        ma::task_group group;
        group.spawn([&] {
            char c = 0;
            got = e.a.recv({&c, 1});
        });
        group.spawn([&] { (void)listener.accept(accepted); });
        ma::this_task::sleep_for(1ms);
        e.a.shutdown(SHUT_RD);
        listener.close();
        group.wait();
        EXPECT_EQ(got, 0U);
        EXPECT_EQ(accepted.value(), ECANCELED);
    });
}

// A connect to a peer that does not answer cannot be given up, with io_uring.
TEST(SocketComplaints, a_connect_that_nobody_answers_is_given_up)
{
    ma::executor ex;
    auto const listener = ma::listener::tcp(0, "127.0.0.1", 0);
    run_task(ex, [&] {
        auto const port = listener.port();
        std::vector<ma::socket> waiting; // Until the listener's queue is full.
        bool given_up = false;
        while (!given_up && waiting.size() != 100) {
            try {
                ma::with_timeout(20ms,
                                 [&] { waiting.push_back(ma::socket::tcp("127.0.0.1", port)); });
            } catch (ma::timeout_error const &) {
                given_up = true;
            }
        }
        EXPECT_TRUE(given_up);
    });
}

// What was waited for in vain, until a time, cannot be waited for again.
TEST(SocketComplaints, a_wait_that_was_too_long_is_begun_again)
{
    ma::executor ex;
    ma::event happened;
    auto const ref = ex.ref();
    auto const wait = [&](auto &what) {
        EXPECT_FALSE(what.wait_for(1ms));
        EXPECT_FALSE(what.wait_for(0ms));
    };
    run_task(ex, [&] {
        wait(happened);
        auto answer = ref.submit([&] {
            happened.wait();
            return 42;
        });
        wait(answer);
        happened.set();
        EXPECT_TRUE(happened.wait_for(0ms));
        EXPECT_EQ(answer.get(), 42);
    });
    std::thread outside([&] {
        happened.reset();
        wait(happened);
        happened.set();
        EXPECT_TRUE(happened.wait_for(0ms));
    });
    outside.join();
}

// What a timer's callback holds stays for as long as the timer would have, though that was cancelled.
TEST(SocketComplaints, a_sleep_that_was_cancelled_holds_nothing)
{
    ma::executor ex;
    auto held = std::make_shared<int>(1);
    std::weak_ptr<int> const seen = held;
    ex.spawn([held = std::move(held)] {
        ma::scope s;
        s.cancel();
        EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
    });
    auto sleeps = ex.submit([seen, held = seen.lock()] { ma::this_task::sleep_for(1h); });
    EXPECT_FALSE(seen.expired());
    ex.run();
    sleeps.cancel();
    ex.run_until_idle();
    EXPECT_THROW(sleeps.get(), ma::cancelled_error);
    EXPECT_TRUE(seen.expired());
}

// Connections that share a ring of buffers get each other's bytes, or bytes out of order, where the
// buffers are few. On a pool's workers, each with a ring of its own.
TEST(SocketComplaints, who_shares_buffers_gets_his_own_bytes_in_order)
{
    static constexpr int connections = 16, bytes = 5000;
    ma::thread_pool_options options;
    options.workers = 2;
    options.executor = ma::executor_options();
    ma::thread_pool pool(options);
    auto const serve = [] {
        ma::buffer_ring ring(2, 64);
        std::vector<ends> all(connections);
        ma::task_group group;
        for (int i = 0; i != connections; ++i) {
            group.spawn([&all, i] {
                std::string text(bytes, char('a' + i));
                for (int n = 0; n != bytes; n += 100) {
                    text[std::size_t(n)] = char('0' + n / 100 % 10);
                }
                all[std::size_t(i)].b.send_all(text);
                all[std::size_t(i)].b.shutdown(SHUT_WR);
            });
            group.spawn([&all, &ring, i] {
                ma::recv_stream stream(all[std::size_t(i)].a, ring);
                int n = 0;
                while (auto const data = stream.next()) {
                    for (char const c : data) {
                        EXPECT_EQ(c, n % 100 == 0 ? char('0' + n / 100 % 10) : char('a' + i));
                        ++n;
                    }
                }
                EXPECT_EQ(n, bytes);
            });
        }
        group.wait();
    };
    auto one = pool.submit(serve), other = pool.submit(serve);
    one.get();
    other.get();
}

} // namespace

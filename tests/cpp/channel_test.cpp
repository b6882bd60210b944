// Channels, in both forms: order, capacity, rendezvous, closing, cancels, move-only elements.

#include "support.hpp"

#include <monad/async/channel.hpp>
#include <monad/async/scope.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#if __cplusplus >= 202002L
    #include <ranges>
#endif

namespace {

template <class Objects> struct Channel : testing::Test {
    template <class T> using channel = ma::channel<T, Objects>;
    ma::executor ex{ma::executor_options::compute_only()};

    void until_waiting(ma::task &t)
    {
        while (!t.done() && !t.native_handle()->is_suspended_awaiting) {
            ex.poll();
        }
    }
};

using Forms = testing::Types<ma::detail::shared_objects, ma::detail::local_objects>;
TYPED_TEST_SUITE(Channel, Forms, );

// Tells when it is not where it thinks it is, as a copy of its bytes would.
struct knows_its_place {
    knows_its_place *self = this;
    int value = 0;
    explicit knows_its_place(int v) : value(v) { ++alive; }
    knows_its_place(knows_its_place &&other) noexcept : value(other.value)
    {
        EXPECT_EQ(other.self, &other);
        other.value = -1;
        ++alive;
    }
    knows_its_place &operator=(knows_its_place &&) = delete;
    ~knows_its_place()
    {
        EXPECT_EQ(self, this);
        --alive;
    }
    static inline int alive = 0;
};

} // namespace

TYPED_TEST(Channel, gives_what_was_sent_in_order)
{
    for (std::size_t capacity : {0u, 1u, 3u, 100u}) {
        typename TestFixture::template channel<int> ch(capacity);
        ma::task sender;
        std::vector<int> got;
        sender.attach(this->ex, [&] {
            for (int i = 0; i < 50; ++i) {
                ch.send(i);
            }
            EXPECT_TRUE(ch.close());
            EXPECT_FALSE(ch.close());
        });
        run_task(this->ex, [&] {
            for (int x : ch) {
                got.push_back(x);
            }
        });
        this->ex.run_until_idle();
        ASSERT_EQ(got.size(), 50u);
        for (int i = 0; i < 50; ++i) {
            EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
        }
    }
}

TYPED_TEST(Channel, is_full_at_its_capacity)
{
    typename TestFixture::template channel<int> ch(2);
    run_task(this->ex, [&] {
        EXPECT_TRUE(ch.try_send(1));
        EXPECT_TRUE(ch.try_send(2));
        EXPECT_FALSE(ch.try_send(3));
        EXPECT_EQ(ch.size(), 2u);
        EXPECT_EQ(ch.recv(), 1);
        EXPECT_TRUE(ch.try_send(4));
        EXPECT_EQ(ch.try_recv(), 2);
        EXPECT_EQ(ch.try_recv(), 4);
        EXPECT_EQ(ch.try_recv(), std::nullopt);
        typename TestFixture::template channel<int> meeting;
        EXPECT_FALSE(meeting.try_send(1));
        EXPECT_EQ(meeting.try_recv(), std::nullopt);
    });
}

// What `try_recv` finds nothing in may be closed: the form with an error_code says which.
TYPED_TEST(Channel, tries_tell_a_closed_one_from_one_that_has_nothing)
{
    typename TestFixture::template channel<std::unique_ptr<int>> ch(1);
    run_task(this->ex, [&] {
        std::error_code ec = std::make_error_code(std::errc::io_error);
        EXPECT_FALSE(ch.try_recv(ec));
        EXPECT_FALSE(ec);
        ec = std::make_error_code(std::errc::io_error);
        auto one = std::make_unique<int>(1), two = std::make_unique<int>(2);
        EXPECT_TRUE(ch.try_send(std::move(one), ec));
        EXPECT_FALSE(ec);
        EXPECT_FALSE(ch.try_send(std::move(two), ec));
        EXPECT_FALSE(ec);
        EXPECT_EQ(*two, 2);
        ch.close();
        EXPECT_FALSE(ch.try_send(std::move(two), ec));
        EXPECT_EQ(ec.value(), EPIPE);
        EXPECT_EQ(*two, 2);
        auto const got = ch.try_recv(ec);
        EXPECT_FALSE(ec);
        EXPECT_TRUE(got && **got == 1);
        EXPECT_FALSE(ch.try_recv(ec));
        EXPECT_EQ(ec.value(), EPIPE);
    });
}

TYPED_TEST(Channel, objects_are_moved_and_none_is_lost_or_doubled)
{
    {
        typename TestFixture::template channel<knows_its_place> ch(3);
        ma::task sender, victim;
        run_task(this->ex, [&] {
            for (int i = 0; i < 3; ++i) {
                ch.send(knows_its_place(i));
            }
            victim.attach(this->ex, [&] {
                knows_its_place mine(77);
                EXPECT_EQ(errno_thrown_by([&] { ch.send(std::move(mine)); }), ECANCELED);
                EXPECT_EQ(mine.value, 77); // not sent, so not moved away
            });
            ma::this_task::yield();
            sender.attach(this->ex, [&] { ch.send(knows_its_place(3)); });
            ma::this_task::yield();
            victim.cancel();
            EXPECT_EQ(ch.recv()->value, 0);
            ma::this_task::yield();
            EXPECT_EQ(ch.recv()->value, 1);
            EXPECT_EQ(ch.recv()->value, 2);
            EXPECT_EQ(ch.recv()->value, 3);
            ch.send(knows_its_place(4)); // stays inside
        });
        this->ex.run_until_idle();
        EXPECT_EQ(knows_its_place::alive, 1);
    }
    EXPECT_EQ(knows_its_place::alive, 0);
}

TYPED_TEST(Channel, move_only_and_large_elements)
{
    typename TestFixture::template channel<std::unique_ptr<std::string>> ch;
    ma::task sender;
    sender.attach(this->ex, [&] { ch.send(std::make_unique<std::string>("hello")); });
    run_task(this->ex, [&] { EXPECT_EQ(**ch.recv(), "hello"); });
    this->ex.run_until_idle();
}

TYPED_TEST(Channel, closing_ends_all_waits)
{
    typename TestFixture::template channel<int> empty, full(1);
    ma::task receiver, sender;
    int ended = 0;
    receiver.attach(this->ex, [&] {
        EXPECT_EQ(empty.recv(), std::nullopt);
        std::error_code ec;
        EXPECT_EQ(empty.recv(ec), std::nullopt);
        EXPECT_EQ(ec.value(), EPIPE);
        ++ended;
    });
    sender.attach(this->ex, [&] {
        full.send(1);
        EXPECT_EQ(errno_thrown_by([&] { full.send(2); }), EPIPE);
        EXPECT_EQ(errno_thrown_by([&] { (void)full.try_send(3); }), EPIPE);
        ++ended;
    });
    this->until_waiting(receiver);
    this->until_waiting(sender);
    run_task(this->ex, [&] {
        empty.close();
        full.close();
        EXPECT_EQ(full.recv(), 1);
        EXPECT_EQ(full.recv(), std::nullopt);
    });
    this->ex.run_until_idle();
    EXPECT_EQ(ended, 2);
}

TYPED_TEST(Channel, a_receiver_that_is_cancelled_takes_nothing)
{
    typename TestFixture::template channel<int> ch;
    ma::task first, second;
    int got = 0;
    first.attach(this->ex,
                 [&] { EXPECT_EQ(errno_thrown_by([&] { (void)ch.recv(); }), ECANCELED); });
    this->until_waiting(first);
    second.attach(this->ex, [&] { got = *ch.recv(); });
    this->until_waiting(second);
    run_task(this->ex, [&] {
        first.cancel();
        ch.send(5); // before the first has had a turn
        EXPECT_EQ(errno_thrown_by([&] { ma::with_timeout(1ms, [&] { (void)ch.recv(); }); }), ETIME);
    });
    this->ex.run_until_idle();
    EXPECT_EQ(got, 5);
}

TEST(ChannelShared, between_two_executors_and_a_thread)
{
    constexpr int each = 20000;
    ma::channel<std::unique_ptr<int>> ch(16);
    std::atomic<long> sum{0};
    std::atomic<int> left{2};
    auto const send = [&] {
        for (int i = 1; i <= each; ++i) {
            ch.send(std::make_unique<int>(i));
        }
        if (--left == 0) {
            ch.close();
        }
    };
    auto const receive = [&] {
        for (auto &&x : ch) {
            sum += *x;
        }
    };
    std::thread one([&] {
        ma::executor ex;
        run_task(ex, send);
    });
    std::thread two([&] {
        ma::executor ex;
        ma::task other;
        other.attach(ex, receive);
        run_task(ex, receive);
        ex.run_until_idle();
    });
    std::thread three(receive);
    send();
    one.join();
    two.join();
    three.join();
    EXPECT_EQ(sum, 2L * each * (each + 1) / 2);
}

TEST(ChannelLocal, is_one_executors)
{
    ma::executor ex{ma::executor_options::compute_only()};
    ma::local_channel<int> ch(1);
    EXPECT_EQ(errno_thrown_by([&] { (void)ch.try_send(1); }), EPERM);
    run_task(ex, [&] { ch.send(1); });
    EXPECT_EQ(ch.try_recv(), 1); // its thread
    std::thread([&] { EXPECT_EQ(errno_thrown_by([&] { (void)ch.recv(); }), EPERM); }).join();
}

// Whose tasks use it outlives it most often: what was inside then was never destroyed.
TEST(ChannelLocal, destroys_what_is_inside_after_its_executor)
{
    auto const inside = std::make_shared<int>();
    {
        ma::local_channel<std::shared_ptr<int>> ch(3);
        {
            ma::executor ex{ma::executor_options::compute_only()};
            run_task(ex, [&] {
                for (int i = 0; i < 5; ++i) { // Round the end, too.
                    ch.send(std::shared_ptr<int>(inside));
                    if (i < 2) {
                        (void)ch.recv();
                    }
                }
            });
        }
        EXPECT_EQ(inside.use_count(), 4);
    }
    EXPECT_EQ(inside.use_count(), 1);
}

// A sender that has let go of its element, and not of the channel yet, by the word that it holds.
TEST(ChannelShared, waits_for_a_call_that_has_sent_and_not_returned)
{
    std::optional<ma::channel<int>> ch(std::in_place, 1);
    ch->send(1);
    EXPECT_EQ(ch->recv(), 1);
    auto *const latch = reinterpret_cast<std::uint32_t *>(ch->native_handle());
    ASSERT_EQ(__atomic_exchange_n(latch, 1u, __ATOMIC_ACQUIRE), 0u);
    std::atomic<bool> returns = false;
    std::thread sender([&] {
        std::this_thread::sleep_for(20ms);
        returns = true;
        __atomic_store_n(latch, 0u, __ATOMIC_RELEASE);
    });
    ch.reset();
    EXPECT_TRUE(returns);
    sender.join();
}

TYPED_TEST(Channel, takes_copies)
{
    typename TestFixture::template channel<std::string> ch(2);
    std::string const text = "ours, and too long for the inside of a string";
    run_task(this->ex, [&] {
        std::error_code ec;
        EXPECT_TRUE(ch.try_send(text));
        ch.send(text, ec);
        EXPECT_FALSE(ec);
        EXPECT_FALSE(ch.try_send(text));
        ch.close();
        ch.send(text, ec);
        EXPECT_EQ(ec.value(), EPIPE);
        int received = 0;
        for (auto const &x : ch) {
            EXPECT_EQ(x, text);
            ++received;
        }
        EXPECT_EQ(received, 2);
    });
}

// As a range, of what cannot be copied, or assigned, too.
TYPED_TEST(Channel, is_a_range_of_what_can_only_be_moved)
{
    struct fixed {
        int const number;
    };
    using pointers = typename TestFixture::template channel<std::unique_ptr<int>>;
    using constants = typename TestFixture::template channel<fixed>;
#if __cplusplus >= 202002L
    static_assert(std::ranges::input_range<pointers>);
    static_assert(std::ranges::input_range<constants>);
    static_assert(std::ranges::common_range<constants>);
    static_assert(std::ranges::input_range<typename TestFixture::template channel<std::string>>);
#endif
    run_task(this->ex, [&] {
        pointers ch(3);
        for (int i = 1; i <= 3; ++i) {
            ch.send(std::make_unique<int>(i));
        }
        ch.close();
        int sum = 0;
        for (auto &p : ch) {
            sum = 10 * sum + *p;
        }
        EXPECT_EQ(sum, 123);
        constants two(2);
        two.send(fixed{4});
        two.send(fixed{5});
        auto at = two.begin(), next = two.begin();
        at = std::move(next);
        EXPECT_EQ(at->number, 5);
        at = typename constants::iterator();
        EXPECT_TRUE(at == typename constants::iterator());
    });
}

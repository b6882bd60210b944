// Buffers that connections share: streams into them, what becomes of each buffer, and who waits for
// one.

#include "support.hpp"

#include <monad/async/buffer.h>
#include <monad/async/op.h>
#include <monad/async/scope.h>
#include <monad/async/socket.h>

#include <atomic>
#include <deque>
#include <string>
#include <thread>

#include <sys/ioctl.h>
#include <sys/socket.h>

using namespace support;

namespace {

// Both ends of a connection.
struct Connection {
    Fd here, there;
    Connection()
    {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
            abort();
        }
        here = Fd(fds[0]);
        there = Fd(fds[1]);
    }
    void send(std::string const &text) const
    {
        EXPECT_EQ(::send(there, text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size()));
    }
};

class Ring {
public:
    Ring(monad_async_executor ex, uint32_t count, uint32_t bytes)
    {
        auto const r = monad_async_buffer_ring_create(ex, &ring_, count, bytes);
        EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
    }
    // Every buffer came back.
    ~Ring() { EXPECT_EQ(monad_async_buffer_ring_destroy(ring_).error, 0); }
    operator monad_async_buffer_ring() const { return ring_; }

private:
    monad_async_buffer_ring ring_ = nullptr;
};

int release(monad_async_view &view)
{
    return monad_async_view_release(&view).error;
}

// The kernel's header ends the entry with an array of no size.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

// A stream, ended at the end of the block, as a task that cares does.
struct Stream {
    monad_async_recv_stream stream{};
    int begin(monad_async_task self, Connection const &c, monad_async_buffer_ring ring,
              uint32_t flags = 0)
    {
        return monad_async_recv_stream_begin(self, &stream, monad_async_socket_adopt(c.here), ring,
                                             flags)
            .error;
    }
    monad_async_result next(monad_async_view &view)
    {
        return monad_async_recv_stream_next(&stream, &view);
    }
    ~Stream() { EXPECT_EQ(monad_async_recv_stream_end(&stream).error, 0); }
};

#pragma GCC diagnostic pop

std::string text_of(monad_async_view const &view)
{
    return {static_cast<char const *>(view.data), view.length};
}

// Runs `body` as the only task of an executor.
void run_one(std::function<void(monad_async_executor, monad_async_task)> const &body)
{
    Executor ex(8);
    Task task([&](monad_async_task self) {
        body(ex, self);
        return success();
    });
    task.attach(ex);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

} // namespace

TEST(Buffer, stream_hands_out_what_comes_and_stays_at_its_end)
{
    Connection c;
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 4, 64);
        {
            Stream stream;
            ASSERT_EQ(stream.begin(self, c, ring), 0);
            EXPECT_EQ(stream.begin(self, c, ring), EBUSY);
            monad_async_view view{};
            for (std::string const text : {"one", "two", "three"}) {
                c.send(text);
                EXPECT_EQ(stream.next(view).value, intptr_t(text.size()));
                EXPECT_EQ(text_of(view), text);
                EXPECT_EQ(release(view), 0);
                EXPECT_EQ(release(view), EINVAL);
            }
            c.there.reset();
            for (int i = 0; i < 2; ++i) {
                auto const r = stream.next(view);
                EXPECT_EQ(r.error, 0);
                EXPECT_EQ(r.value, 0);
            }
        }
    });
}

// More than a buffer holds, and more than all of them: the rest waits in the socket.
TEST(Buffer, nothing_is_lost_where_more_comes_than_the_ring_holds)
{
    Connection c;
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 2, 8);
        {
            Stream stream;
            ASSERT_EQ(stream.begin(self, c, ring), 0);
            std::string sent, got;
            for (int i = 0; i < 20; ++i) {
                sent += std::to_string(i) + ",";
            }
            c.send(sent);
            c.there.reset();
            monad_async_view view{};
            while (stream.next(view).value > 0) {
                got += text_of(view);
                EXPECT_EQ(release(view), 0);
            }
            EXPECT_EQ(got, sent);
        }
    });
}

TEST(Buffer, who_keeps_all_views_is_told_and_gets_the_rest_after_a_release)
{
    Connection c;
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 2, 4);
        {
            Stream stream, impatient;
            ASSERT_EQ(stream.begin(self, c, ring), 0);
            c.send("aaaabbbbcccc");
            monad_async_view a{}, b{}, none{};
            EXPECT_EQ(stream.next(a).value, 4);
            EXPECT_EQ(stream.next(b).value, 4);
            EXPECT_EQ(stream.next(none).error, EDEADLK);
            EXPECT_EQ(text_of(a), "aaaa"); // Nobody wrote over it.
            EXPECT_EQ(text_of(b), "bbbb");
            EXPECT_EQ(release(b), 0);
            EXPECT_EQ(stream.next(b).value, 4);
            EXPECT_EQ(text_of(b), "cccc");
            Connection other;
            ASSERT_EQ(impatient.begin(self, other, ring, MONAD_ASYNC_RECV_STREAM_NO_WAIT), 0);
            other.send("x");
            EXPECT_EQ(impatient.next(none).error, ENOBUFS);
            EXPECT_EQ(release(a), 0);
            EXPECT_EQ(impatient.next(a).value, 1);
            EXPECT_EQ(release(a), 0);
            EXPECT_EQ(release(b), 0);
        }
    });
}

// One buffer; the first task holds it and sleeps, the second waits, and gets on by the release.
TEST(Buffer, a_release_wakes_who_waits)
{
    Executor ex(8);
    Ring ring(ex, 1, 16);
    Connection first, second;
    first.send("1");
    second.send("2");
    std::string order;
    Task holder([&](monad_async_task self) {
        Stream stream;
        EXPECT_EQ(stream.begin(self, first, ring), 0);
        monad_async_view view{};
        EXPECT_EQ(stream.next(view).value, 1);
        order += text_of(view);
        EXPECT_EQ(sleep_ns(self, 5 * ms).error, 0);
        order += "released";
        EXPECT_EQ(release(view), 0);
        return success();
    });
    Task waiter([&](monad_async_task self) {
        EXPECT_EQ(sleep_ns(self, ms).error, 0);
        Stream stream;
        EXPECT_EQ(stream.begin(self, second, ring), 0);
        monad_async_view view{};
        EXPECT_EQ(stream.next(view).value, 1);
        order += text_of(view);
        EXPECT_EQ(release(view), 0);
        return success();
    });
    holder.attach(ex);
    waiter.attach(ex);
    ex.finish();
    EXPECT_EQ(order, "1released2");
}

TEST(Buffer, all_held_by_tasks_that_wait_is_a_deadlock_told_to_the_last)
{
    Executor ex(8);
    Ring ring(ex, 2, 4);
    Connection connections[2];
    int errors[2] = {-1, -1};
    auto const tasks = make_tasks(2, [&](monad_async_task self, size_t i) {
        Stream stream;
        EXPECT_EQ(stream.begin(self, connections[i], ring), 0);
        connections[i].send("x");
        monad_async_view view{}, more{};
        EXPECT_EQ(stream.next(view).value, 1);
        EXPECT_EQ(sleep_ns(self, ms).error, 0);
        connections[i].send("y");
        errors[i] = stream.next(more).error;
        if (errors[i] == EDEADLK) {
            EXPECT_EQ(release(view), 0);
            EXPECT_EQ(stream.next(more).value, 1);
            EXPECT_EQ(release(more), 0);
        } else {
            EXPECT_EQ(release(more), 0);
            EXPECT_EQ(release(view), 0);
        }
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(errors[0] + errors[1], EDEADLK);
}

// The task that receives hands its views to another, which is the one that releases them: with all of
// them out it waits, and is not told of a deadlock.
TEST(Buffer, views_may_be_released_by_another_task_than_their_receiver)
{
    constexpr int rounds = 40;
    Executor ex(8);
    Ring ring(ex, 2, 4);
    Connection c;
    std::string const sent(rounds * 4, 'x');
    c.send(sent);
    c.there.reset();
    std::deque<monad_async_view> passed;
    bool is_over = false;
    size_t received = 0, released = 0;
    Task releaser([&](monad_async_task self) {
        for (;;) {
            EXPECT_EQ(monad_async_task_park(self).error, 0);
            while (!passed.empty()) {
                monad_async_view view = passed.front();
                passed.pop_front();
                released += view.length;
                // Not at once: by then the receiver waits.
                EXPECT_EQ(released % 8 != 0 ? sleep_ns(self, 100000).error : nop(self).error, 0);
                EXPECT_EQ(release(view), 0);
            }
            if (is_over) {
                return success();
            }
        }
    });
    Task receiver([&](monad_async_task self) {
        Stream stream;
        EXPECT_EQ(stream.begin(self, c, ring, MONAD_ASYNC_RECV_STREAM_PASSES_ON), 0);
        for (;;) {
            monad_async_view view{};
            auto const r = stream.next(view);
            EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
            is_over = r.value <= 0;
            if (!is_over) {
                received += view.length;
                passed.push_back(view);
            }
            EXPECT_EQ(monad_async_task_unpark(releaser).error, 0);
            if (is_over) {
                return success();
            }
        }
    });
    releaser.attach(ex);
    receiver.attach(ex);
    ex.finish();
    EXPECT_EQ(received, sent.size());
    EXPECT_EQ(released, sent.size());
}

// Who keeps all views is told, whatever others wait for; but where others may release them, only once nobody
// is left.
TEST(Buffer, a_deadlock_is_told_as_soon_as_it_is_known)
{
    for (unsigned const flags : {0u, MONAD_ASYNC_RECV_STREAM_PASSES_ON}) {
        Executor ex(8);
        Ring ring(ex, 1, 4);
        Connection c;
        c.send("twoviews");
        bool is_told = false, has_left = false;
        Task other([&](monad_async_task self) {
            for (int i = 0; i < (flags == 0 ? 100 : 1) && !is_told; ++i) {
                EXPECT_EQ(sleep_ns(self, 50 * ms).error, 0);
            }
            has_left = true;
            return success();
        });
        Task keeper([&](monad_async_task self) {
            Stream stream;
            EXPECT_EQ(stream.begin(self, c, ring, flags), 0);
            monad_async_view view{}, more{};
            EXPECT_EQ(stream.next(view).value, 4);
            EXPECT_EQ(stream.next(more).error, EDEADLK);
            is_told = true;
            EXPECT_EQ(has_left, flags != 0);
            EXPECT_EQ(release(view), 0);
            EXPECT_EQ(stream.next(more).value, 4);
            EXPECT_EQ(release(more), 0);
            return success();
        });
        other.attach(ex);
        keeper.attach(ex);
        ex.finish();
    }
}

// A task that has ended with a view out has passed it on. Who holds it was noted by the task, and the next run
// of that one waits for a buffer: not in vain, but it was told so.
TEST(Buffer, who_has_ended_holds_nothing)
{
    Executor ex(8);
    Ring ring(ex, 1, 4);
    Connection first, second;
    first.send("1");
    second.send("2");
    monad_async_view passed{};
    bool is_second = false;
    Task both([&](monad_async_task self) {
        Stream stream;
        EXPECT_EQ(stream.begin(self, is_second ? second : first, ring), 0);
        monad_async_view view{};
        auto const r = stream.next(view);
        EXPECT_EQ(r.value, 1) << monad_async_result_message(r);
        if (!is_second) {
            passed = view;
            return success();
        }
        EXPECT_EQ(text_of(view), "2");
        EXPECT_EQ(release(view), 0);
        return success();
    });
    both.attach(ex);
    ex.finish();
    is_second = true;
    Task releaser([&](monad_async_task self) {
        EXPECT_EQ(sleep_ns(self, 5 * ms).error, 0);
        EXPECT_EQ(release(passed), 0);
        return success();
    });
    both.attach(ex);
    releaser.attach(ex);
    ex.finish();
}

// Of a datagram that was larger than a buffer the rest was lost, and an empty one was the end of the stream.
TEST(Buffer, a_stream_is_not_of_messages)
{
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 1, 4);
        for (int const type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
            int fds[2];
            ASSERT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
            Fd const here(fds[0]), there(fds[1]);
            monad_async_recv_stream stream{};
            auto const socket = monad_async_socket_adopt(here);
            auto const r = monad_async_recv_stream_begin(self, &stream, socket, ring, 0);
            EXPECT_EQ(r.error, EOPNOTSUPP);
            EXPECT_EQ(monad_async_recv_stream_end(&stream).error, 0);
        }
    });
}

// What a stream had taken off the socket was lost to who went on without it, behind a header for one. It stops first:
// with data in its buffers, with none free, where nothing has come, and where all has.
TEST(Buffer, a_stream_that_was_stopped_hands_out_the_rest)
{
    for (std::string const before : {"", "abcdef", "abcdefghijklmnopqrstuvwxyz"}) {
        for (size_t const first : {0, 1, 2}) {
            Connection c;
            run_one([&](monad_async_executor ex, monad_async_task self) {
                Ring ring(ex, 4, 3);
                Stream stream;
                EXPECT_EQ(monad_async_recv_stream_stop(&stream.stream).error, EINVAL);
                ASSERT_EQ(stream.begin(self, c, ring), 0);
                c.send(before);
                EXPECT_EQ(yield(self).error, 0);
                std::string got;
                std::deque<monad_async_view> views;
                monad_async_view view{};
                auto const take = [&] {
                    auto const r = stream.next(view);
                    EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
                    if (r.value > 0) {
                        got += text_of(view);
                        views.push_back(view); // All of them: the stream has no buffer then.
                    }
                    return r.value > 0;
                };
                for (size_t i = 0; i < first && !before.empty(); ++i) {
                    take();
                }
                EXPECT_EQ(monad_async_recv_stream_stop(&stream.stream).error, 0);
                EXPECT_EQ(monad_async_recv_stream_stop(&stream.stream).error, 0);
                while (take()) {
                }
                EXPECT_FALSE(take());
                c.send("ABC");
                for (auto &each : views) {
                    EXPECT_EQ(release(each), 0);
                }
                EXPECT_FALSE(take());
                // The rest is the socket's.
                char rest[64];
                std::string const all = before + "ABC";
                while (got.size() < all.size()) {
                    auto const r = monad_async_socket_recv(self, monad_async_socket_adopt(c.here),
                                                           rest, sizeof rest, 0);
                    ASSERT_GT(r.value, 0);
                    got.append(rest, size_t(r.value));
                }
                EXPECT_EQ(got, all);
                // It may begin anew.
                ASSERT_EQ(stream.begin(self, c, ring), 0);
                c.send("again");
                EXPECT_EQ(stream.next(view).value, 3);
                EXPECT_EQ(release(view), 0);
            });
        }
    }
    EXPECT_EQ(monad_async_recv_stream_stop(nullptr).error, EINVAL);
}

// An executor in a foreign loop never waits: it looks, and is told so all the same.
TEST(Buffer, a_deadlock_is_told_where_run_does_not_wait)
{
    Executor ex(8);
    Ring ring(ex, 1, 4);
    Connection c;
    c.send("twoviews");
    int error = -1;
    Task keeper([&](monad_async_task self) {
        Stream stream;
        EXPECT_EQ(stream.begin(self, c, ring), 0);
        monad_async_view view{}, more{};
        EXPECT_EQ(stream.next(view).value, 4);
        error = stream.next(more).error;
        EXPECT_EQ(release(view), 0);
        return success();
    });
    keeper.attach(ex);
    for (int looks = 0; looks != 1000 && error == -1; ++looks) {
        timespec const at_once{};
        (void)monad_async_executor_run(ex, SIZE_MAX, &at_once);
    }
    EXPECT_EQ(error, EDEADLK);
    ex.finish();
}

// The first view that another task has released tells that it is not known who has which.
TEST(Buffer, a_view_that_another_task_has_released_tells_that_they_are_passed_on)
{
    Executor ex(8);
    Ring ring(ex, 2, 4);
    Connection c;
    c.send("sixteen bytes ok");
    monad_async_view views[2]{};
    Task other([&](monad_async_task self) {
        EXPECT_EQ(release(views[0]), 0);
        EXPECT_EQ(sleep_ns(self, ms).error, 0);
        EXPECT_EQ(release(views[1]), 0);
        return success();
    });
    Task receiver([&](monad_async_task) {
        Stream stream;
        EXPECT_EQ(stream.begin(receiver, c, ring), 0);
        EXPECT_EQ(stream.next(views[0]).value, 4);
        EXPECT_EQ(stream.next(views[1]).value, 4);
        other.attach(ex);
        monad_async_view third{}, fourth{};
        EXPECT_EQ(stream.next(third).value, 4);
        EXPECT_EQ(stream.next(fourth).error, 0);
        EXPECT_EQ(release(third), 0);
        EXPECT_EQ(release(fourth), 0);
        return success();
    });
    receiver.attach(ex);
    ex.finish();
}

TEST(Buffer, what_nobody_took_goes_back_when_the_task_exits)
{
    Executor ex(8);
    Ring ring(ex, 4, 16);
    for (int round = 0; round < 20; ++round) {
        Connection c;
        Task task([&](monad_async_task self) {
            // Zeroed, begun and forgotten; the task's stack stays until it is over.
            monad_async_recv_stream stream{};
            EXPECT_EQ(monad_async_recv_stream_begin(self, &stream, monad_async_socket_adopt(c.here),
                                                    ring, 0)
                          .error,
                      0);
            c.send("never taken");
            EXPECT_EQ(sleep_ns(self, 100000).error, 0);
            c.send("nor this");
            return success();
        });
        task.attach(ex);
        ex.finish();
    }
}

TEST(Buffer, a_cancel_and_a_deadline_lose_no_data)
{
    Executor ex(8);
    Ring ring(ex, 4, 16);
    Connection c;
    Task task([&](monad_async_task self) {
        Stream stream;
        monad_async_view view{};
        EXPECT_EQ(stream.begin(self, c, ring), 0);
        EXPECT_EQ(stream.next(view).error, ECANCELED);
        c.send("data");
        EXPECT_EQ(stream.next(view).error, ECANCELED); // It is sticky.
        EXPECT_EQ(monad_async_task_uncancel(self).error, 0);
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, 0, 0).error, 0);
        EXPECT_EQ(stream.next(view).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        EXPECT_EQ(stream.next(view).value, 4);
        EXPECT_EQ(text_of(view), "data");
        EXPECT_EQ(release(view), 0);
        return success();
    });
    task.attach(ex);
    ex.run();
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
}

// Waiting for a buffer is a wait like any other.
TEST(Buffer, a_wait_for_a_buffer_can_be_cancelled)
{
    Executor ex(8);
    Ring ring(ex, 1, 16);
    Connection first, second;
    first.send("1");
    second.send("2");
    Task holder([&](monad_async_task self) {
        Stream stream;
        monad_async_view view{};
        EXPECT_EQ(stream.begin(self, first, ring), 0);
        EXPECT_EQ(stream.next(view).value, 1);
        EXPECT_EQ(monad_async_task_park(self).error, 0);
        EXPECT_EQ(release(view), 0);
        return success();
    });
    Task waiter([&](monad_async_task self) {
        Stream stream;
        monad_async_view view{};
        EXPECT_EQ(stream.begin(self, second, ring), 0);
        monad_async_scope scope;
        EXPECT_EQ(monad_async_scope_enter(self, &scope, ms, 0).error, 0);
        EXPECT_EQ(stream.next(view).error, ETIME);
        EXPECT_EQ(monad_async_scope_leave(self, &scope).value, 1);
        EXPECT_EQ(monad_async_task_unpark(holder).error, 0);
        EXPECT_EQ(stream.next(view).value, 1);
        EXPECT_EQ(release(view), 0);
        return success();
    });
    holder.attach(ex);
    ex.run();
    waiter.attach(ex);
    ex.finish();
}

// As operations: several completions that nobody took yet are each there, in order.
TEST(Buffer, an_operation_keeps_every_completion)
{
    skip_without("streams of receives");
    Connection c;
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 8, 16);
        monad_async_op op{};
        op.sqe = make_sqe(IORING_OP_RECV, c.here);
        op.sqe.flags = IOSQE_BUFFER_SELECT;
        op.sqe.ioprio = IORING_RECV_MULTISHOT;
        op.sqe.buf_group = monad_async_buffer_ring_group(ring);
        EXPECT_EQ(do_io(self, op.sqe).error, EINVAL); // Who would know of the buffer?
        ASSERT_EQ(monad_async_op_begin(self, &op).error, 0);
        for (char const *text : {"1", "22", "333"}) {
            c.send(text);
            EXPECT_EQ(sleep_ns(self, 200000).error, 0);
        }
        monad_async_view view{};
        for (char const *text : {"1", "22", "333", "4444"}) {
            if (text[0] == '2') { // Among those that wait.
                c.send("4444");
                EXPECT_EQ(sleep_ns(self, 200000).error, 0);
                c.there.reset();
                EXPECT_EQ(sleep_ns(self, 200000).error, 0);
            }
            monad_async_op *any = nullptr;
            EXPECT_EQ(monad_async_op_wait_any(self, &any).error, 0);
            EXPECT_EQ(any, &op);
            EXPECT_NE(op.cqe_flags & IORING_CQE_F_MORE, 0u);
            EXPECT_EQ(monad_async_buffer_ring_view(ring, &op, &view).value, intptr_t(strlen(text)));
            EXPECT_EQ(text_of(view), text);
            EXPECT_EQ(release(view), 0);
            EXPECT_EQ(monad_async_buffer_ring_view(ring, &op, &view).error, EINVAL);
        }
        auto const last = monad_async_op_wait(self, &op);
        EXPECT_EQ(last.error, 0);
        EXPECT_EQ(last.value, 0);
        EXPECT_EQ(op.cqe_flags & IORING_CQE_F_MORE, 0u);
        if (monad_async_buffer_ring_view(ring, &op, &view).error == 0) {
            EXPECT_EQ(release(view), 0); // A kernel that takes a buffer for the end.
        }
        EXPECT_FALSE(op.is_in_flight);
    });
}

TEST(Buffer, a_single_read_takes_one_buffer)
{
    Pipe pipe;
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 2, 16);
        for (int round = 0; round < 5; ++round) {
            monad_async_op op{};
            op.sqe = make_sqe(IORING_OP_READ, pipe.reader, nullptr, 0, current_position);
            op.sqe.flags = IOSQE_BUFFER_SELECT;
            op.sqe.buf_group = monad_async_buffer_ring_group(ring);
            ASSERT_EQ(monad_async_op_begin(self, &op).error, 0);
            EXPECT_EQ(write(pipe.writer, "pipe", 4), 4);
            EXPECT_EQ(monad_async_op_wait(self, &op).value, 4);
            monad_async_view view{};
            EXPECT_EQ(monad_async_buffer_ring_view(ring, &op, &view).value, 4);
            EXPECT_EQ(text_of(view), "pipe");
            EXPECT_EQ(monad_async_buffer_ring_destroy(ring).error, EBUSY);
            EXPECT_EQ(release(view), 0);
        }
    });
}

TEST(Buffer, mistakes_are_errors)
{
    Executor ex(8), compute_only(0);
    monad_async_buffer_ring ring = nullptr;
    EXPECT_EQ(monad_async_buffer_ring_create(compute_only, &ring, 4, 16).error, ENOTSUP);
    EXPECT_EQ(monad_async_buffer_ring_create(nullptr, &ring, 4, 16).error, EINVAL);
    EXPECT_EQ(monad_async_buffer_ring_create(ex, nullptr, 4, 16).error, EINVAL);
    for (uint32_t const count : {0u, 3u, 65536u}) {
        EXPECT_EQ(monad_async_buffer_ring_create(ex, &ring, count, 16).error, EINVAL);
    }
    EXPECT_EQ(monad_async_buffer_ring_create(ex, &ring, 4, 0).error, EINVAL);
    EXPECT_EQ(ring, nullptr);
    EXPECT_EQ(monad_async_buffer_ring_destroy(nullptr).error, 0);
    EXPECT_EQ(monad_async_buffer_ring_group(nullptr), 0);
    EXPECT_EQ(monad_async_view_release(nullptr).error, EINVAL);
    monad_async_view empty{};
    EXPECT_EQ(monad_async_view_release(&empty).error, EINVAL);
    Ring made(ex, 4, 16);
    std::thread([&] {
        EXPECT_EQ(monad_async_buffer_ring_create(ex, &ring, 4, 16).error, EPERM);
        EXPECT_EQ(monad_async_buffer_ring_destroy(made).error, EPERM);
    }).join();
    // No executor but its own.
    Connection c;
    Executor other(8);
    Task task([&](monad_async_task self) {
        monad_async_recv_stream stream{};
        auto const socket = monad_async_socket_adopt(c.here);
        EXPECT_EQ(monad_async_recv_stream_begin(self, &stream, socket, made, 0).error, EPERM);
        EXPECT_EQ(monad_async_recv_stream_begin(self, &stream, socket, made, 8).error, EINVAL);
        EXPECT_EQ(monad_async_recv_stream_begin(self, nullptr, socket, made, 0).error, EINVAL);
        EXPECT_EQ(monad_async_recv_stream_begin(self, &stream, socket, nullptr, 0).error, EINVAL);
        EXPECT_EQ(monad_async_recv_stream_next(&stream, &empty).error, EINVAL);
        EXPECT_EQ(monad_async_recv_stream_next(nullptr, &empty).error, EINVAL);
        EXPECT_EQ(monad_async_recv_stream_end(&stream).error, 0);
        monad_async_op op{};
        op.sqe = make_sqe(IORING_OP_RECV, c.here);
        op.sqe.flags = IOSQE_BUFFER_SELECT;
        op.sqe.buf_group = monad_async_buffer_ring_group(made);
        EXPECT_EQ(monad_async_op_begin(self, &op).error, EINVAL); // Not a group of this one.
        return success();
    });
    task.attach(other);
    other.finish();
    Task bad([&](monad_async_task self) {
        monad_async_recv_stream stream{};
        auto const begin = [&](int fd) {
            auto const socket = monad_async_socket_adopt(fd);
            return monad_async_recv_stream_begin(self, &stream, socket, made, 0).error;
        };
        EXPECT_EQ(begin(-1), EBADF);
        EXPECT_EQ(begin(1 << 20), EBADF) << "which is not open";
        EXPECT_EQ(begin(Pipe().reader), ENOTSOCK);
        EXPECT_EQ(monad_async_recv_stream_next(&stream, &empty).error, EINVAL) << "not begun";
        return success();
    });
    bad.attach(ex);
    ex.finish();
}

// A thousand idle connections cost no buffer; then each gets its bytes through sixteen.
TEST(Buffer, many_connections_share_few_buffers)
{
    constexpr size_t count = 400;
    constexpr unsigned rounds = 20;
    Executor ex(64);
    Ring ring(ex, 16, 32);
    std::vector<Connection> connections(count);
    std::vector<std::string> got(count);
    auto const tasks = make_tasks(count, [&](monad_async_task self, size_t i) {
        Stream stream;
        EXPECT_EQ(stream.begin(self, connections[i], ring), 0);
        monad_async_view view{};
        for (;;) {
            auto const r = stream.next(view);
            EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
            if (r.value <= 0) {
                return success();
            }
            got[i] += text_of(view);
            if (i % 3 == 0) {
                EXPECT_EQ(sleep_ns(self, 0).error, 0); // It keeps its view for a while.
            }
            EXPECT_EQ(release(view), 0);
        }
    });
    attach_all(tasks, ex);
    std::thread peer([&] {
        for (unsigned round = 0; round < rounds; ++round) {
            for (auto const &c : connections) {
                c.send("message " + std::to_string(round) + ";");
            }
        }
        for (auto &c : connections) {
            c.there.reset();
        }
    });
    ex.finish();
    peer.join();
    std::string all;
    for (unsigned round = 0; round < rounds; ++round) {
        all += "message " + std::to_string(round) + ";";
    }
    for (auto const &text : got) {
        EXPECT_EQ(text, all);
    }
}

// The one buffer was filled for another stream of the same task, which would never come to take it.
TEST(Buffer, data_that_a_waiting_task_has_not_taken_is_a_deadlock_too)
{
    skip_without("buffer rings"); // There nothing is received before somebody waits for it.
    Connection a, b;
    run_one([&](monad_async_executor ex, monad_async_task self) {
        Ring ring(ex, 1, 64);
        {
            Stream first, second;
            a.send("first");
            ASSERT_EQ(first.begin(self, a, ring), 0);
            while (first.stream.op.is_in_flight && nop(self).error == 0) {
                int waiting = 0;
                if (ioctl(a.here, FIONREAD, &waiting) == 0 && waiting == 0) {
                    break;
                }
            }
            b.send("second");
            ASSERT_EQ(second.begin(self, b, ring), 0);
            monad_async_view view{};
            EXPECT_EQ(second.next(view).error, EDEADLK);
            EXPECT_EQ(first.next(view).value, 5);
            EXPECT_EQ(release(view), 0);
            EXPECT_EQ(second.next(view).value, 6);
            EXPECT_EQ(text_of(view), "second");
            EXPECT_EQ(release(view), 0);
        }
    });
}

// Registered buffers: who gets one, what reads and writes do with it, and that the kernel is done with
// one before anybody else has it.

#include "scopes.hpp"
#include "support.hpp"

#include <monad/async/buffer_set.h>
#include <monad/async/file.h>
#include <monad/async/op.h>
#include <monad/async/scope.h>
#include <monad/async/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>

using namespace support;

namespace {

class Set {
public:
    Set(monad_async_executor ex, uint32_t count, uint32_t bytes)
    {
        auto const r = monad_async_buffers_register(ex, &set_, count, bytes);
        EXPECT_EQ(r.error, 0) << monad_async_result_message(r);
    }
    explicit Set(monad_async_buffer_set set) : set_(set) {}
    Set(Set const &) = delete;
    // Every buffer came back.
    ~Set() { EXPECT_EQ(monad_async_buffers_unregister(set_).error, 0); }
    operator monad_async_buffer_set() const { return set_; }

private:
    monad_async_buffer_set set_ = nullptr;
};

int claim(monad_async_task self, monad_async_buffer_set set, monad_async_buffer &buffer)
{
    return monad_async_buffers_claim(self, set, &buffer).error;
}

int release(monad_async_buffer &buffer)
{
    return monad_async_buffers_release(&buffer).error;
}

Fd scratch_file()
{
    Fd fd(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (fd < 0) {
        fd = Fd(memfd_create("buffers", MFD_CLOEXEC));
    }
    EXPECT_GE(fd, 0);
    return fd;
}

// Runs `body` as the only task of an executor.
void run_alone(std::function<void(monad_async_executor, monad_async_task)> const &body,
               unsigned entries = 8)
{
    Executor ex(entries);
    Task task([&](monad_async_task self) {
        body(ex, self);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

} // namespace

TEST(BufferSet, a_claim_stands_until_it_is_released)
{
    run_alone([](monad_async_executor ex, monad_async_task self) {
        Set set(ex, 2, 100);
        monad_async_buffer a{}, b{}, c{};
        ASSERT_EQ(claim(self, set, a), 0);
        ASSERT_EQ(claim(self, set, b), 0);
        EXPECT_EQ(a.length, 100u);
        EXPECT_EQ(std::abs(static_cast<char *>(a.data) - static_cast<char *>(b.data)), 100);
        memset(a.data, 'a', a.length);
        memset(b.data, 'b', b.length);
        EXPECT_EQ(monad_async_buffers_try_claim(self, set, &c).error, EAGAIN);
        EXPECT_EQ(monad_async_buffers_unregister(set).error, EBUSY);
        auto const copy = a;
        EXPECT_EQ(release(a), 0);
        EXPECT_EQ(a.data, nullptr);
        EXPECT_EQ(release(a), EINVAL);
        // The same buffer, another claim: the old copy does not count for it.
        ASSERT_EQ(claim(self, set, c), 0);
        EXPECT_EQ(c.data, copy.data);
        auto stale = copy;
        EXPECT_EQ(release(stale), EINVAL);
        EXPECT_EQ(
            monad_async_file_read_fixed(self, monad_async_file_adopt(0), &stale, 0, 1, 0).error,
            EINVAL);
        EXPECT_EQ(release(c), 0);
        EXPECT_EQ(release(b), 0);
    });
}

// By a direct descriptor a call is made up in another way: what is beyond its buffer is the next one's.
TEST(BufferSet, what_is_wrong_by_a_direct_descriptor_is_said)
{
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 8;
    attr.direct_descriptors = 1;
    monad_async_executor const ex = create_or_skip(attr);
    Task const task([&](monad_async_task self) {
        Set set(ex, 2, 64);
        monad_async_buffer first{}, second{};
        EXPECT_EQ(claim(self, set, first), 0);
        EXPECT_EQ(claim(self, set, second), 0);
        for (auto const *const one : {&first, &second}) {
            memset(one->data, 'x', 64);
        }
        monad_async_file zero{-1, 0};
        EXPECT_EQ(monad_async_file_open(self, &zero, AT_FDCWD, "/dev/zero", O_RDWR, 0, 0,
                                        MONAD_ASYNC_FILE_DIRECT)
                      .error,
                  0);
        using Transfer = decltype(&monad_async_file_read_fixed);
        for (Transfer const f : {&monad_async_file_read_fixed, &monad_async_file_write_fixed}) {
            auto const moved = [&](monad_async_buffer const &buffer, size_t at, size_t bytes) {
                return f(self, zero, &buffer, at, bytes, 0).error;
            };
            EXPECT_EQ(moved(first, 0, 65), EINVAL);
            EXPECT_EQ(moved(first, 1, 64), EINVAL);
            EXPECT_EQ(moved(first, 65, 0), EINVAL);
            EXPECT_EQ(moved(first, 1, SIZE_MAX), EINVAL);
            EXPECT_EQ(moved(first, SIZE_MAX, 2), EINVAL);
            EXPECT_EQ(moved({}, 0, 1), EINVAL);
        }
        std::string const untouched(64, 'x');
        for (auto const *const one : {&first, &second}) {
            EXPECT_EQ(std::string(static_cast<char const *>(one->data), 64), untouched);
        }
        auto const stale = first;
        EXPECT_EQ(monad_async_file_read_fixed(self, zero, &first, 60, 4, 0).value, 4);
        EXPECT_EQ(release(first), 0);
        EXPECT_EQ(monad_async_file_read_fixed(self, zero, &stale, 0, 4, 0).error, EINVAL);
        EXPECT_EQ(release(second), 0);
        return monad_async_file_close(self, zero);
    });
    task.attach(ex);
    while (monad_async_executor_has_work(ex)) {
        EXPECT_EQ(monad_async_executor_run(ex, no_bound, nullptr).error, 0);
    }
    EXPECT_EQ(task->result.error, 0);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(BufferSet, what_is_wrong_is_said)
{
    run_alone([](monad_async_executor ex, monad_async_task self) {
        monad_async_buffer_set none = nullptr;
        for (auto const &[count, bytes] :
             {std::pair{0u, 8u}, {8u, 0u}, {1u << 25, 8u}, {1u, 1u << 31}}) {
            EXPECT_EQ(monad_async_buffers_register(ex, &none, count, bytes).error, EINVAL);
        }
        EXPECT_EQ(monad_async_buffers_register(ex, nullptr, 1, 1).error, EINVAL);
        EXPECT_EQ(monad_async_buffers_register(nullptr, &none, 1, 1).error, EINVAL);
        EXPECT_EQ(monad_async_buffers_unregister(nullptr).error, 0);
        Set set(ex, 1, 64);
        monad_async_buffer buffer{};
        EXPECT_EQ(claim(self, nullptr, buffer), EINVAL);
        EXPECT_EQ(monad_async_buffers_claim(nullptr, set, &buffer).error, EINVAL);
        EXPECT_EQ(monad_async_buffers_claim(self, set, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_buffers_clone(ex, &none, set).error, EPERM) << "not shared";
        ASSERT_EQ(claim(self, set, buffer), 0);
        auto const read = [&](monad_async_file file, size_t at, size_t bytes) {
            return monad_async_file_read_fixed(self, file, &buffer, at, bytes, 0).error;
        };
        Fd const file = scratch_file();
        auto const good = monad_async_file_adopt(file);
        EXPECT_EQ(read(good, 0, 64), 0);
        EXPECT_EQ(read(good, 64, 0), 0);
        EXPECT_EQ(read(good, 65, 0), EINVAL);
        EXPECT_EQ(read(good, 1, 64), EINVAL);
        EXPECT_EQ(read(good, 1, SIZE_MAX), EINVAL);
        EXPECT_EQ(read({-1, 0}, 0, 1), EBADF);
        EXPECT_EQ(read({file, 1}, 0, 1), EINVAL);
        EXPECT_EQ(read({1 << 20, 0}, 0, 1), EBADF);
        std::thread([&] {
            EXPECT_EQ(monad_async_buffers_release(&buffer).error, EPERM);
            EXPECT_EQ(monad_async_buffers_unregister(set).error, EPERM);
        }).join();
        EXPECT_EQ(release(buffer), 0);
    });
    Executor compute(0);
    monad_async_buffer_set none = nullptr;
    EXPECT_EQ(monad_async_buffers_register(compute, &none, 1, 1).error, ENOTSUP);
}

TEST(BufferSet, what_was_written_is_read)
{
    run_alone([](monad_async_executor ex, monad_async_task self) {
        Set first(ex, 3, 5000), set(ex, 4, 4096);
        Fd const fd = scratch_file();
        auto const file = monad_async_file_adopt(fd);
        monad_async_buffer from{}, to{};
        ASSERT_EQ(claim(self, set, from), 0);
        ASSERT_EQ(claim(self, first, to), 0);
        auto *const sent = static_cast<unsigned char *>(from.data);
        auto *const got = static_cast<unsigned char *>(to.data);
        for (size_t i = 0; i < from.length; ++i) {
            sent[i] = static_cast<unsigned char>(i * 7);
        }
        EXPECT_EQ(monad_async_file_write_fixed(self, file, &from, 96, 4000, 10).value, 4000);
        EXPECT_EQ(monad_async_file_read_fixed(self, file, &to, 500, 4010, 0).value, 4010);
        EXPECT_TRUE(std::all_of(got + 500, got + 510, [](int c) { return c == 0; }));
        EXPECT_EQ(memcmp(got + 510, sent + 96, 4000), 0);
        // By an operation, twice with one record.
        monad_async_op op{};
        monad_async_op_read_fixed(&op, file, &to, 1, 8, 10);
        for (int i = 0; i < 2; ++i) {
            ASSERT_EQ(monad_async_op_begin(self, &op).error, 0);
            EXPECT_EQ(release(to), EBUSY);
            EXPECT_EQ(monad_async_op_wait(self, &op).value, 8);
            EXPECT_EQ(memcmp(got + 1, sent + 96, 8), 0);
        }
        // Outside, over a border, of nobody.
        for (size_t const at : {size_t{4993}, size_t{20000}}) {
            monad_async_op_read_fixed(&op, file, &to, at, 8, 10);
            EXPECT_EQ(monad_async_op_begin(self, &op).error, EINVAL);
        }
        monad_async_op_read_fixed(&op, file, &to, 0, 8, 10);
        EXPECT_EQ(release(to), 0);
        EXPECT_EQ(monad_async_op_begin(self, &op).error, EINVAL);
        EXPECT_EQ(release(from), 0);
    });
}

// Those of a higher priority first, then in order; a hand-over is direct.
TEST(BufferSet, waiters_are_served_by_priority_then_in_order)
{
    Executor ex(8);
    Set set(ex, 1, 64);
    std::vector<size_t> order;
    monad_async_buffer held{};
    Task holder([&](monad_async_task self) {
        EXPECT_EQ(claim(self, set, held), 0);
        for (int i = 0; i < 10; ++i) {
            (void)yield(self);
        }
        monad_async_buffer more{};
        EXPECT_EQ(monad_async_buffers_try_claim(self, set, &more).error, EAGAIN);
        EXPECT_EQ(release(held), 0);
        // It is somebody's already.
        EXPECT_EQ(monad_async_buffers_try_claim(self, set, &more).error, EAGAIN);
        return success();
    });
    holder.attach(ex);
    ex.run(1);
    auto tasks = make_tasks(6, [&](monad_async_task self, size_t i) {
        monad_async_buffer mine{};
        EXPECT_EQ(claim(self, set, mine), 0);
        order.push_back(i);
        (void)yield(self);
        EXPECT_EQ(release(mine), 0);
        return success();
    });
    for (size_t i = 0; i < tasks.size(); ++i) {
        tasks[i].priority(static_cast<monad_async_priority>(2 - i / 2));
        tasks[i].attach(ex);
    }
    ex.finish();
    EXPECT_EQ(order, (std::vector<size_t>{4, 5, 2, 3, 0, 1}));
}

// All are with tasks that wait for one more: the last of them is told, and the rest goes on.
TEST(BufferSet, a_deadlock_is_told_to_the_youngest_and_the_rest_goes_on)
{
    constexpr size_t count = 5;
    Executor ex(8);
    Set set(ex, count, 64);
    size_t deadlocks = 0, done = 0, holding = 0, waiting = 0;
    auto tasks = make_tasks(count, [&](monad_async_task self, size_t) {
        monad_async_buffer one{}, two{};
        EXPECT_EQ(claim(self, set, one), 0);
        ++holding;
        while (holding < count) {
            (void)yield(self);
        }
        size_t const place = ++waiting;
        int const error = claim(self, set, two);
        if (error == EDEADLK) {
            ++deadlocks;
            EXPECT_EQ(place, count);
        } else {
            EXPECT_EQ(error, 0);
            EXPECT_EQ(release(two), 0);
        }
        EXPECT_EQ(release(one), 0);
        ++done;
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    EXPECT_EQ(deadlocks, 1u);
    EXPECT_EQ(done, count);
}

TEST(BufferSet, what_others_will_release_is_no_deadlock)
{
    Executor ex(8);
    Set set(ex, 1, 64);
    monad_async_buffer handed{};
    Task other([&](monad_async_task self) {
        while (handed.data == nullptr) {
            (void)yield(self);
        }
        for (int i = 0; i < 5; ++i) {
            (void)yield(self);
        }
        EXPECT_EQ(release(handed), 0);
        return success();
    });
    Task task([&](monad_async_task self) {
        monad_async_buffer again{};
        EXPECT_EQ(claim(self, set, handed), 0);
        auto copy = handed;
        EXPECT_EQ(claim(self, set, again), EDEADLK);
        EXPECT_EQ(monad_async_buffers_give(&copy, other).error, 0);
        EXPECT_EQ(claim(self, set, again), 0);
        EXPECT_EQ(release(again), 0);
        return success();
    });
    other.attach(ex);
    task.attach(ex);
    ex.finish();
}

// What a run has claimed is with others once it is over: a later one of the same task, as a spawned
// callable's may be, waits for it.
TEST(BufferSet, what_an_earlier_run_has_claimed_is_no_deadlock)
{
    Executor ex(8);
    Set set(ex, 2, 64);
    monad_async_buffer kept[2] = {};
    Task task([&](monad_async_task self) {
        for (auto &each : kept) {
            EXPECT_EQ(claim(self, set, each), 0);
        }
        return success();
    });
    task.attach(ex);
    ex.finish();
    Task other([&](monad_async_task self) {
        while (monad_async_task_is_attached(task) && !task->is_suspended_awaiting) {
            (void)yield(self);
        }
        for (auto &each : kept) {
            EXPECT_EQ(release(each), 0);
        }
        return success();
    });
    task.body([&](monad_async_task self) {
        monad_async_buffer one{};
        EXPECT_EQ(claim(self, set, one), 0);
        EXPECT_EQ(release(one), 0);
        return success();
    });
    task.attach(ex);
    other.attach(ex);
    ex.finish();
    // Given to a task, they are its own in whichever run.
    task.body([&](monad_async_task self) {
        monad_async_buffer one{};
        EXPECT_EQ(claim(self, set, one), EDEADLK);
        for (auto &each : kept) {
            EXPECT_EQ(release(each), 0);
        }
        return success();
    });
    other.body([&](monad_async_task self) {
        for (auto &each : kept) {
            EXPECT_EQ(claim(self, set, each), 0);
            EXPECT_EQ(monad_async_buffers_give(&each, task).error, 0);
        }
        return success();
    });
    other.attach(ex);
    ex.finish();
    task.attach(ex);
    ex.finish();
}

// What a task that waits is given is of use to nobody either: who would make that all is told, and
// who waits for one when it is all.
TEST(BufferSet, what_is_given_to_a_task_that_waits_counts_for_a_deadlock)
{
    Executor ex(8);
    Set set(ex, 2, 64);
    monad_async_buffer first{}, second{};
    Task waiter([&](monad_async_task self) {
        monad_async_buffer more{};
        EXPECT_EQ(claim(self, set, first), 0);
        EXPECT_EQ(claim(self, set, more), 0);
        EXPECT_EQ(release(more), 0);
        EXPECT_EQ(release(first), 0);
        return success();
    });
    Task giver([&](monad_async_task self) {
        EXPECT_EQ(claim(self, set, second), 0);
        for (int i = 0; i < 5; ++i) {
            (void)yield(self);
        }
        EXPECT_TRUE(waiter->is_suspended_awaiting);
        EXPECT_EQ(monad_async_buffers_give(&second, waiter).error, EDEADLK);
        // Nothing has changed: it is this one's, who would wait for what it has.
        monad_async_buffer more{};
        EXPECT_EQ(
            monad_async_buffers_claim_until(self, set, &more, monad_async_now_ns() + 1000 * ms)
                .error,
            EDEADLK);
        // Nobody's who claims: the waiter's is the only one that is held for nothing.
        EXPECT_EQ(monad_async_buffers_give(&second, nullptr).error, 0);
        EXPECT_EQ(monad_async_buffers_give(&second, waiter).error, EDEADLK);
        EXPECT_EQ(release(second), 0);
        return success();
    });
    giver.attach(ex); // It is the first to claim.
    waiter.attach(ex);
    ex.finish();
}

TEST(BufferSet, who_waits_when_the_last_was_given_to_one_that_waits_is_told)
{
    Executor ex(8);
    Set set(ex, 3, 64);
    monad_async_buffer kept{}, given{};
    bool is_told = false;
    Task waiter([&](monad_async_task self) {
        monad_async_buffer more{};
        EXPECT_EQ(claim(self, set, kept), 0);
        EXPECT_EQ(claim(self, set, given), 0);
        auto other = given;
        (void)yield(self); // It is given to `third`, and back while this one waits.
        EXPECT_EQ(claim(self, set, more), 0);
        for (auto *const b : {&more, &other, &kept}) {
            EXPECT_EQ(release(*b), 0);
        }
        return success();
    });
    Task third([&](monad_async_task self) {
        monad_async_buffer mine{}, more{};
        EXPECT_EQ(monad_async_buffers_give(&given, self).error, 0);
        EXPECT_EQ(claim(self, set, mine), 0);
        for (int i = 0; i < 5; ++i) {
            (void)yield(self);
        }
        EXPECT_TRUE(waiter->is_suspended_awaiting);
        EXPECT_EQ(monad_async_buffers_give(&given, waiter).error, 0);
        // All three are with tasks that wait: two of the first one's, and this one's.
        auto const until = monad_async_now_ns() + 1000 * ms;
        is_told = monad_async_buffers_claim_until(self, set, &more, until).error == EDEADLK;
        EXPECT_EQ(release(mine), 0);
        return success();
    });
    waiter.attach(ex);
    third.attach(ex);
    ex.finish();
    EXPECT_TRUE(is_told);
}

TEST(BufferSet, a_claim_ends_by_a_cancel_a_scope_and_a_time_and_leaves_nothing)
{
    Executor ex(8);
    Set set(ex, 1, 64);
    monad_async_buffer held{};
    Task holder([&](monad_async_task self) {
        EXPECT_EQ(claim(self, set, held), 0);
        return success();
    });
    holder.attach(ex);
    ex.finish();
    bool timed_out = false;
    Task task([&](monad_async_task self) {
        monad_async_buffer b{};
        EXPECT_EQ(monad_async_buffers_claim_until(self, set, &b, monad_async_now_ns() + ms).error,
                  ETIME);
        monad_async_scope scope;
        EXPECT_EQ(enter(self, scope, ms), 0);
        EXPECT_EQ(claim(self, set, b), ETIME);
        EXPECT_EQ(leave(self, scope), 1);
        timed_out = true;
        EXPECT_EQ(claim(self, set, b), ECANCELED);
        EXPECT_EQ(monad_async_task_uncancel(self).error, 0);
        EXPECT_EQ(release(held), 0);
        EXPECT_EQ(claim(self, set, b), 0) << "nobody waits any more";
        EXPECT_EQ(release(b), 0);
        return success();
    });
    task.attach(ex);
    while (!timed_out) {
        ex.poll();
    }
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    EXPECT_EQ(task->result.error, 0);
}

// A buffer is poisoned by its next claimer; what was meant for the claimer before never gets in.
// In each state that an operation can be in, ended in each way.
TEST(BufferSet, the_kernel_is_done_with_a_buffer_before_another_has_it)
{
    enum State { waits_for_room, in_the_kernel, complete };
    enum End { by_op_cancel, by_op_end, by_exit, by_scope, by_close };
    for (State const state : {waits_for_room, in_the_kernel, complete}) {
        for (End const end : {by_op_cancel, by_op_end, by_exit, by_scope, by_close}) {
            SCOPED_TRACE(testing::Message() << "state " << state << " end " << end);
            Executor ex(2);
            Set set(ex, 1, 64);
            Pipe pipe;
            int const reader = dup(pipe.reader);
            monad_async_op op{};
            monad_async_buffer buffer{};
            std::array<monad_async_op, 4> fill{};
            Task task([&](monad_async_task self) {
                EXPECT_EQ(claim(self, set, buffer), 0);
                monad_async_op_read_fixed(&op, monad_async_file_adopt(reader), &buffer, 0, 64, -1);
                if (state == waits_for_room) {
                    for (auto &f : fill) {
                        f.sqe = make_sqe(IORING_OP_NOP);
                        EXPECT_EQ(monad_async_op_begin(self, &f).error, 0);
                    }
                }
                EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
                if (state != waits_for_room) {
                    (void)nop(self);
                }
                if (state == complete) {
                    EXPECT_EQ(::write(pipe.writer, "data", 4), 4);
                    for (int i = 0; i < 50; ++i) {
                        (void)nop(self);
                    }
                } else {
                    EXPECT_EQ(release(buffer), EBUSY);
                }
                switch (end) {
                case by_exit: return success();
                case by_op_cancel: EXPECT_EQ(monad_async_op_cancel(self, &op).error, 0); break;
                case by_op_end: EXPECT_EQ(monad_async_op_end(self, &op).error, 0); break;
                case by_close:
                    EXPECT_EQ(
                        monad_async_socket_close(self, monad_async_socket_adopt(reader)).error, 0);
                    break;
                case by_scope: {
                    monad_async_scope scope;
                    EXPECT_EQ(enter(self, scope, 0), 0);
                    (void)monad_async_op_wait(self, &op);
                    EXPECT_GE(leave(self, scope), 0);
                    EXPECT_EQ(monad_async_op_end(self, &op).error, 0);
                    break;
                }
                }
                if (op.is_in_flight) {
                    auto const r = monad_async_op_wait(self, &op);
                    EXPECT_TRUE(r.error == ECANCELED || r.value == 4) << r.error;
                }
                return success();
            });
            task.attach(ex);
            ex.finish();
            EXPECT_EQ(release(buffer), 0);
            Task next([&](monad_async_task self) {
                monad_async_buffer mine{};
                EXPECT_EQ(claim(self, set, mine), 0);
                memset(mine.data, 0xA5, mine.length);
                (void)!::write(pipe.writer, "late", 4);
                for (int i = 0; i < 20; ++i) {
                    (void)nop(self);
                }
                auto const *const bytes = static_cast<unsigned char const *>(mine.data);
                EXPECT_TRUE(std::all_of(bytes, bytes + 64, [](int c) { return c == 0xA5; }));
                EXPECT_EQ(release(mine), 0);
                return success();
            });
            next.attach(ex);
            ex.finish();
            if (end != by_close) {
                close(reader);
            }
        }
    }
}

// The task of `body` is suspended on its buffer, of 64 bytes, and is cancelled: so long it keeps it.
static void keep_until_cancelled(
    std::function<void(monad_async_task, monad_async_buffer const &, Pipe const &)> const &body)
{
    Executor ex(8);
    Set set(ex, 2, 64);
    Pipe pipe;
    monad_async_buffer buffer{};
    Task task([&](monad_async_task self) {
        EXPECT_EQ(claim(self, set, buffer), 0);
        body(self, buffer, pipe);
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(release(buffer), EBUSY);
    EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
    ex.finish();
    EXPECT_EQ(release(buffer), 0);
}

// A call that is suspended holds the buffer, too.
TEST(BufferSet, a_read_that_waits_keeps_its_buffer_until_it_is_cancelled)
{
    keep_until_cancelled([](monad_async_task self, auto const &buffer, Pipe const &pipe) {
        auto const file = monad_async_file_adopt(pipe.reader);
        EXPECT_EQ(monad_async_file_read_fixed(self, file, &buffer, 0, 64, -1).error, ECANCELED);
    });
}

// So does an entry that was filled by hand; one on a buffer that nobody has is refused.
TEST(BufferSet, an_entry_filled_by_hand_keeps_its_buffer)
{
    keep_until_cancelled([](monad_async_task self, auto const &buffer, Pipe const &pipe) {
        auto sqe = make_sqe(IORING_OP_READ_FIXED);
        sqe.fd = pipe.reader;
        sqe.off = static_cast<uint64_t>(-1);
        sqe.addr = reinterpret_cast<uintptr_t>(buffer.data);
        sqe.len = 64;
        sqe.buf_index = buffer.index;
        EXPECT_EQ(monad_async_task_io(self, &sqe).error, ECANCELED);
        EXPECT_EQ(monad_async_task_uncancel(self).error, 0);
        EXPECT_EQ(::write(pipe.writer, "data", 4), 4);
        EXPECT_EQ(monad_async_task_io(self, &sqe).value, 4);
        EXPECT_EQ(memcmp(buffer.data, "data", 4), 0);
        for (uint64_t const wrong : std::array<uint64_t, 3>{sqe.addr + 64, sqe.addr + 1, 64}) {
            sqe.addr = wrong;
            EXPECT_EQ(monad_async_task_io(self, &sqe).error, EINVAL);
        }
    });
}

TEST(BufferSet, a_descriptor_that_would_not_wait_is_waited_for)
{
    Executor ex(8);
    Set const other(ex, 1, 64); // which has the first place of the table
    Set set(ex, 1, 64);
    Pipe pipe;
    ASSERT_EQ(fcntl(pipe.reader, F_SETFL, O_NONBLOCK), 0);
    Task task([&](monad_async_task self) {
        monad_async_buffer buffer{};
        EXPECT_EQ(claim(self, set, buffer), 0);
        auto const file = monad_async_file_adopt(pipe.reader);
        EXPECT_EQ(monad_async_file_read_fixed(self, file, &buffer, 0, 64, -1).value, 4);
        EXPECT_EQ(release(buffer), 0);
        return success();
    });
    task.attach(ex);
    run_until_suspended(ex, task);
    EXPECT_EQ(::write(pipe.writer, "some", 4), 4);
    ex.finish();
}

// The rare ways of a call get its entry by its words: each has to arrive at its place.
TEST(BufferSet, a_read_in_a_scope_and_one_that_waits_for_room_are_what_was_asked_for)
{
    constexpr unsigned count = 16, bytes = 64;
    Executor ex(2);                // entries: most wait for one
    Set const other(ex, 1, bytes); // which has the first place of the table
    Set set(ex, count, bytes);
    Fd const fd = scratch_file();
    for (unsigned i = 0; i < count; ++i) {
        std::string const data(bytes, static_cast<char>('a' + i));
        ASSERT_EQ(pwrite(fd, data.data(), bytes, i * bytes), bytes);
    }
    std::vector<std::unique_ptr<Task>> tasks;
    for (unsigned i = 0; i < count; ++i) {
        auto body = [&, i](monad_async_task self) {
            monad_async_buffer buffer{};
            EXPECT_EQ(claim(self, set, buffer), 0);
            for (bool const in_scope : {false, true}) {
                memset(buffer.data, '-', bytes);
                monad_async_scope scope;
                if (in_scope) {
                    EXPECT_EQ(enter(self, scope, hour), 0);
                }
                auto const r = monad_async_file_read_fixed(self, monad_async_file_adopt(fd),
                                                           &buffer, 8, 32, i * bytes);
                EXPECT_EQ(r.value, 32) << monad_async_result_message(r);
                std::string const data(static_cast<char *>(buffer.data), bytes);
                EXPECT_EQ(data, std::string(8, '-') + std::string(32, static_cast<char>('a' + i)) +
                                    std::string(24, '-'));
                if (in_scope) {
                    EXPECT_EQ(leave(self, scope), 0);
                }
            }
            EXPECT_EQ(release(buffer), 0);
            return success();
        };
        tasks.push_back(std::make_unique<Task>(body));
        tasks.back()->attach(ex);
    }
    ex.finish();
}

TEST(BufferSet, places_are_used_again_and_run_out)
{
    Executor ex(8);
    for (int i = 0; i < 600; ++i) {
        Set set(ex, 1, 4096);
    }
    std::vector<std::unique_ptr<Set>> sets;
    for (int i = 0; i < 256; ++i) {
        sets.push_back(std::make_unique<Set>(ex, 1u, 64u));
    }
    monad_async_buffer_set one_more = nullptr;
    bool const has_table = monad_async_buffers_register(ex, &one_more, 1, 64).error == ENOSPC;
    if (!has_table) {
        EXPECT_EQ(monad_async_buffers_unregister(one_more).error, 0);
    }
    sets.erase(sets.begin() + 100);
    Set const in_the_gap(ex, 1, 64);
}

TEST(BufferSet, outlives_its_executor)
{
    monad_async_buffer_set set = nullptr;
    monad_async_buffer buffer{};
    {
        Executor ex(8);
        ASSERT_EQ(monad_async_buffers_register(ex, &set, 2, 64).error, 0);
        Task task([&](monad_async_task self) {
            EXPECT_EQ(claim(self, set, buffer), 0);
            return success();
        });
        task.attach(ex);
        ex.finish();
    }
    memset(buffer.data, 1, buffer.length);
    EXPECT_EQ(monad_async_buffers_unregister(set).error, EBUSY);
    EXPECT_EQ(release(buffer), 0);
    EXPECT_EQ(monad_async_buffers_unregister(set).error, 0);
}

// Two executors claim from one set, on two threads; what one's task has read, the other's writes.
TEST(BufferSet, one_set_serves_several_executors)
{
    constexpr int rounds = 2000;
    Executor ex(32);
    Set set(ex, 3, 512);
    ASSERT_EQ(monad_async_buffers_share(set).error, 0);
    Fd const fd = scratch_file();
    auto const file = monad_async_file_adopt(fd);
    std::atomic<monad_async_buffer *> passed{nullptr};
    std::atomic<bool> is_registered{false};
    auto const work = [&](monad_async_task self, monad_async_buffer_set mine, size_t i) {
        for (int round = 0; round < rounds; ++round) {
            monad_async_buffer b{};
            ASSERT_EQ(claim(self, mine, b), 0);
            auto *const bytes = static_cast<unsigned char *>(b.data);
            auto const byte = static_cast<int>(i + 1);
            memset(bytes, byte, 512);
            auto const at = static_cast<int64_t>(i * 512);
            ASSERT_EQ(monad_async_file_write_fixed(self, file, &b, 0, 512, at).value, 512);
            memset(bytes, 0, 512);
            ASSERT_EQ(monad_async_file_read_fixed(self, file, &b, 0, 512, at).value, 512);
            ASSERT_TRUE(std::all_of(bytes, bytes + 512, [=](int c) { return c == byte; }));
            ASSERT_EQ(release(b), 0);
        }
    };
    std::thread other([&] {
        Executor there(32);
        monad_async_buffer_set handle = nullptr;
        ASSERT_EQ(monad_async_buffers_clone(there, &handle, set).error, 0);
        Set const theirs(handle);
        is_registered = true;
        auto tasks = make_tasks(4, [&](monad_async_task self, size_t i) {
            work(self, theirs, 4 + i);
            if (i == 0) {
                monad_async_buffer *b = nullptr;
                while ((b = passed.load()) == nullptr) {
                    (void)yield(self);
                }
                // Claimed over there.
                EXPECT_EQ(monad_async_file_write_fixed(self, file, b, 0, 4, 9000).value, 4);
                EXPECT_EQ(release(*b), 0);
                passed = nullptr;
            }
            return success();
        });
        attach_all(tasks, there);
        there.finish();
    });
    spin_until([&] { return is_registered.load(); });
    auto tasks = make_tasks(4, [&](monad_async_task self, size_t i) {
        work(self, set, i);
        if (i == 0) {
            monad_async_buffer b{};
            EXPECT_EQ(claim(self, set, b), 0);
            EXPECT_EQ(monad_async_buffers_give(&b, nullptr).error, 0);
            memcpy(b.data, "over", 4);
            passed = &b;
            while (passed.load() != nullptr) {
                (void)sleep_ns(self, ms);
            }
        }
        return success();
    });
    attach_all(tasks, ex);
    ex.finish();
    other.join();
    char got[4];
    EXPECT_EQ(pread(fd, got, 4, 9000), 4);
    EXPECT_EQ(std::string(got, 4), "over");
}

// A clone may use what another executor's task has claimed: while it does, its registration stays.
TEST(BufferSet, a_clone_with_an_operation_on_another_ones_buffer_stays)
{
    Executor here(8), there(8);
    Set set(here, 1, 64);
    ASSERT_EQ(monad_async_buffers_share(set).error, 0);
    monad_async_buffer_set clone = nullptr;
    ASSERT_EQ(monad_async_buffers_clone(there, &clone, set).error, 0);
    monad_async_buffer buffer{};
    Task claimer([&](monad_async_task self) {
        EXPECT_EQ(claim(self, set, buffer), 0);
        return success();
    });
    claimer.attach(here);
    here.finish();
    Pipe pipe;
    auto const file = monad_async_file_adopt(pipe.reader);
    // One suspends in its read, the other has begun one.
    Task suspended([&](monad_async_task self) {
        EXPECT_EQ(monad_async_file_read_fixed(self, file, &buffer, 0, 4, -1).value, 4);
        return success();
    });
    Task beginner([&](monad_async_task self) {
        monad_async_op op{};
        monad_async_op_read_fixed(&op, file, &buffer, 4, 4, -1);
        EXPECT_EQ(monad_async_op_begin(self, &op).error, 0);
        EXPECT_EQ(monad_async_op_wait(self, &op).value, 4);
        return success();
    });
    for (auto *const task : {&suspended, &beginner}) {
        task->attach(there);
        run_until_suspended(there, *task);
        EXPECT_EQ(monad_async_buffers_unregister(clone).error, EBUSY);
        EXPECT_EQ(release(buffer), EBUSY);
        EXPECT_EQ(write(pipe.writer, "data", 4), 4);
        there.finish();
    }
    EXPECT_EQ(std::string(static_cast<char *>(buffer.data), 8), "datadata");
    EXPECT_EQ(monad_async_buffers_unregister(clone).error, 0);
    EXPECT_EQ(release(buffer), 0);
}

// An executor that the set was not cloned to is refused.
TEST(BufferSet, a_stranger_may_not)
{
    Executor here(8), there(8);
    Set set(here, 2, 64);
    ASSERT_EQ(monad_async_buffers_share(set).error, 0);
    monad_async_buffer buffer{};
    Task task([&](monad_async_task self) {
        EXPECT_EQ(claim(self, set, buffer), 0);
        return success();
    });
    task.attach(here);
    here.finish();
    Task stranger([&](monad_async_task self) {
        Fd const fd = scratch_file();
        auto const file = monad_async_file_adopt(fd);
        monad_async_buffer other{};
        EXPECT_EQ(claim(self, set, other), EPERM);
        EXPECT_EQ(monad_async_file_read_fixed(self, file, &buffer, 0, 64, 0).error, EPERM);
        return success();
    });
    stranger.attach(there);
    there.finish();
    EXPECT_EQ(release(buffer), 0);
}

// A reader that is gone raises no signal; an ordered file is written by the operation.
TEST(BufferSet, writes_raise_no_signal_and_keep_an_order)
{
    run_alone([](monad_async_executor ex, monad_async_task self) {
        Set set(ex, 1, 64);
        monad_async_buffer buffer{};
        ASSERT_EQ(claim(self, set, buffer), 0);
        Pipe pipe;
        pipe.reader.reset();
        auto const gone = monad_async_file_adopt(pipe.writer);
        EXPECT_EQ(monad_async_file_write_fixed(self, gone, &buffer, 0, 4, -1).error, EPIPE);
        monad_async_op op{};
        monad_async_op_write_fixed(&op, gone, &buffer, 0, 4, -1);
        ASSERT_EQ(monad_async_op_begin(self, &op).error, 0);
        EXPECT_EQ(monad_async_op_wait(self, &op).error, EPIPE);
        monad_async_file file{};
        ASSERT_EQ(monad_async_file_open(self, &file, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600, 0,
                                        MONAD_ASYNC_FILE_ORDERED)
                      .error,
                  0);
        memcpy(buffer.data, "first", 5);
        EXPECT_EQ(monad_async_file_write_fixed(self, file, &buffer, 0, 5, 0).error, EOPNOTSUPP);
        monad_async_op_write_fixed(&op, file, &buffer, 0, 5, 0);
        ASSERT_EQ(monad_async_op_begin(self, &op).error, 0);
        EXPECT_EQ(release(buffer), EBUSY);
        EXPECT_EQ(monad_async_op_wait(self, &op).value, 5);
        memset(buffer.data, 0, 5);
        EXPECT_EQ(monad_async_file_read_fixed(self, file, &buffer, 0, 64, 0).value, 5);
        EXPECT_EQ(memcmp(buffer.data, "first", 5), 0);
        EXPECT_EQ(monad_async_file_close(self, file).error, 0);
        EXPECT_EQ(release(buffer), 0);
    });
}

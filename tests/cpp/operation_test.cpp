// Operations that are begun and awaited apart, and batches of them.
#include "support.hpp"

#include <monad/async/file.h>
#include <monad/async/io_batch.hpp>
#include <monad/async/operation.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/select.hpp>

#include <array>
#include <cstring>
#include <new>
#include <string>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace {

struct pipe_ends {
    int fd[2] = {-1, -1};
    pipe_ends() { EXPECT_EQ(::pipe(fd), 0); }
    ~pipe_ends()
    {
        ::close(fd[0]);
        ::close(fd[1]);
    }
    pipe_ends(pipe_ends const &) = delete;
    pipe_ends &operator=(pipe_ends const &) = delete;
    void put(char const *text) const
    {
        EXPECT_GT(::write(fd[1], text, std::string(text).size()), 0);
    }
};

io_uring_sqe read_of(pipe_ends const &p, char &to)
{
    io_uring_sqe sqe = {};
    sqe.opcode = IORING_OP_READ;
    sqe.fd = p.fd[0];
    sqe.off = static_cast<__u64>(-1);
    sqe.addr = reinterpret_cast<__u64>(&to);
    sqe.len = 1;
    return sqe;
}

io_uring_sqe nop()
{
    io_uring_sqe sqe = {};
    sqe.opcode = IORING_OP_NOP;
    return sqe;
}

TEST(Operation, is_begun_and_awaited_apart)
{
    ma::executor ex;
    pipe_ends p;
    run_task(ex, [&] {
        char c = 0;
        ma::operation op{read_of(p, c)};
        EXPECT_TRUE(op.in_flight());
        EXPECT_EQ(errno_thrown_by([&] { op.begin(nop()); }), EBUSY);
        p.put("a");
        EXPECT_EQ(op.wait(), 1);
        EXPECT_EQ(c, 'a');
        EXPECT_FALSE(op.in_flight());
        EXPECT_EQ(op.result().value, 1);
        op.begin(nop());
        EXPECT_EQ(op.wait(), 0) << "once more";
        io_uring_sqe bad = {};
        bad.opcode = IORING_OP_CLOSE;
        bad.fd = -1;
        op.begin(bad);
        std::error_code ec;
        EXPECT_EQ(op.wait(ec), -1);
        EXPECT_EQ(ec.value(), EBADF);
    });
}

TEST(Operation, refused)
{
    EXPECT_EQ(errno_thrown_by([] { ma::operation const op{nop()}; }), EPERM);
    ma::executor compute{ma::executor_options::compute_only()};
    run_task(compute,
             [] { EXPECT_EQ(errno_thrown_by([] { ma::operation const op{nop()}; }), ENOTSUP); });
    ma::executor ex;
    run_task(ex, [] {
        auto linked = nop();
        linked.flags = IOSQE_IO_LINK;
        ma::operation op;
        std::error_code ec;
        op.begin(linked, ec);
        EXPECT_EQ(ec.value(), EINVAL);
        op.cancel(); // Idle: nothing happens.
    });
}

TEST(Operation, a_wait_that_times_out_leaves_it_in_flight)
{
    ma::executor ex;
    pipe_ends p;
    run_task(ex, [&] {
        char c = 0;
        ma::operation op{read_of(p, c)};
        EXPECT_THROW(ma::with_timeout(1ms, [&] { (void)op.wait(); }), ma::timeout_error);
        EXPECT_TRUE(op.in_flight());
        p.put("b");
        EXPECT_EQ(op.wait(), 1);
        EXPECT_EQ(c, 'b');
    });
}

TEST(Operation, is_cancelled_and_its_outcome_awaited)
{
    ma::executor ex;
    pipe_ends p;
    run_task(ex, [&] {
        char c = 0;
        ma::operation op{read_of(p, c)};
        op.cancel();
        EXPECT_THROW((void)op.wait(), ma::cancelled_error);
        EXPECT_FALSE(op.in_flight());
        ma::this_task::yield();
    });
}

TEST(Operation, its_destructor_cancels_and_awaits_it_even_where_the_task_was_cancelled)
{
    ma::executor ex;
    pipe_ends p;
    ma::task t;
    bool gone = false;
    t.attach(ex, [&] {
        char c = 0;
        {
            ma::operation const op{read_of(p, c)};
            EXPECT_THROW(ma::this_task::sleep_for(1h), ma::cancelled_error);
        }
        gone = true;
    });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    EXPECT_TRUE(gone);
    auto const *const head = ex.native_handle();
    EXPECT_EQ(head->total_io_submitted, head->total_io_completed);
}

TEST(IoBatch, gives_completions_in_their_order)
{
    ma::executor ex;
    std::array<pipe_ends, 4> pipes;
    run_task(ex, [&] {
        std::array<char, 4> bytes = {};
        ma::io_batch batch;
        EXPECT_EQ(errno_thrown_by([&] { (void)batch.wait_any(); }), ENOENT);
        for (std::size_t i = 0; i < 4; ++i) {
            EXPECT_EQ(batch.begin(read_of(pipes[i], bytes[i])), i);
        }
        EXPECT_EQ(batch.in_flight(), 4u);
        for (std::size_t const i : {2u, 0u, 3u, 1u}) {
            pipes[i].put("x");
            auto const c = batch.wait_any();
            EXPECT_EQ(c.id, i);
            EXPECT_EQ(c.value(), 1);
            EXPECT_EQ(bytes[i], 'x');
        }
        EXPECT_EQ(batch.in_flight(), 0u);
        EXPECT_EQ(batch.begin(nop()), 4u) << "numbers go on";
        EXPECT_EQ(batch.wait_any().id, 4u);
    });
}

TEST(IoBatch, its_destructor_cancels_and_awaits_what_is_left)
{
    ma::executor ex;
    std::array<pipe_ends, 8> pipes;
    EXPECT_THROW(run_task(ex,
                          [&] {
                              std::array<char, 8> bytes = {};
                              ma::io_batch batch;
                              for (std::size_t i = 0; i < 8; ++i) {
                                  batch.begin(read_of(pipes[i], bytes[i]));
                              }
                              pipes[5].put("x");
                              EXPECT_EQ(batch.wait_any().id, 5u);
                              throw std::runtime_error("out");
                          }),
                 std::runtime_error);
    auto const *const head = ex.native_handle();
    EXPECT_EQ(head->total_io_submitted, 8u);
    EXPECT_EQ(head->total_io_completed, 8u);
}

TEST(IoBatch, operations_of_it_are_cancelled)
{
    ma::executor ex;
    std::array<pipe_ends, 2> pipes;
    run_task(ex, [&] {
        std::array<char, 2> bytes = {};
        ma::io_batch batch;
        batch.begin(read_of(pipes[0], bytes[0]));
        batch.begin(read_of(pipes[1], bytes[1]));
        batch.cancel(1);
        auto const c = batch.wait_any();
        EXPECT_EQ(c.id, 1u);
        EXPECT_EQ(c.result.error, ECANCELED);
        EXPECT_THROW((void)c.value(), ma::cancelled_error);
        batch.cancel();
        EXPECT_EQ(batch.wait_any().id, 0u);
    });
}

TEST(IoBatch, two_of_one_task_keep_each_others_completions)
{
    ma::executor ex;
    pipe_ends p, q;
    run_task(ex, [&] {
        char c = 0, d = 0;
        ma::io_batch outer;
        ma::operation op{nop()};
        outer.begin(nop());
        outer.begin(read_of(p, c));
        {
            ma::io_batch inner;
            inner.begin(read_of(q, d));
            ma::this_task::sleep_for(1ms); // The others complete.
            p.put("p");
            ma::this_task::sleep_for(1ms);
            q.put("q");
            EXPECT_EQ(inner.wait_any().id, 0u);
            EXPECT_EQ(d, 'q');
        }
        EXPECT_EQ(op.wait(), 0);
        EXPECT_EQ(outer.in_flight(), 2u);
        EXPECT_EQ(outer.wait_any().id, 0u);
        EXPECT_EQ(outer.wait_any().id, 1u);
        EXPECT_EQ(c, 'p');
        EXPECT_EQ(outer.in_flight(), 0u);
    });
}

monad_async_op opens_a_file(std::uint32_t flags = 0)
{
    monad_async_op open{};
    monad_async_op_open(&open, AT_FDCWD, "/etc/passwd", O_RDONLY, 0, flags);
    return open;
}

int lowest_free()
{
    int const fd = ::open("/", O_PATH | O_CLOEXEC);
    ::close(fd);
    return fd;
}

// A wait for what began later takes its completion: `other` has no operation else.
void another_one_meets(ma::io_batch &other, int before)
{
    while (lowest_free() == before) {
        ma::this_task::yield(); // Until it is open.
    }
    other.begin(nop());
    (void)other.wait_any();
    EXPECT_NE(lowest_free(), before) << "it waits to be taken";
}

// What was opened is nobody's then: as where nobody takes the completion, it is closed.
TEST(IoBatch, what_another_ones_wait_has_met_and_nobody_took_is_closed)
{
    ma::executor ex;
    auto const open = opens_a_file();
    int const before = lowest_free();
    run_task(ex, [&] {
        ma::io_batch other;
        auto const meets = [&] { another_one_meets(other, before); };
        {
            ma::io_batch batch;
            batch.begin(open.sqe);
            meets();
        }
        EXPECT_EQ(lowest_free(), before) << "a batch's";
        {
            ma::operation op{open.sqe};
            meets();
            EXPECT_FALSE(op.in_flight());
        }
        EXPECT_EQ(lowest_free(), before) << "an operation's";
        ma::operation op{open.sqe};
        meets();
        EXPECT_EQ(op.wait(), before);
        ::close(static_cast<int>(op.result().value));
        int taken = -1;
        {
            ma::operation asked{open.sqe};
            meets();
            taken = static_cast<int>(asked.result().value);
        }
        EXPECT_EQ(::close(taken), 0) << "is who asked for it's";
    });
}

TEST(Operation, who_has_the_record_closes_what_it_has_opened)
{
    ma::executor ex;
    auto const open = opens_a_file();
    run_task(ex, [&] {
        int fd = -1;
        {
            ma::operation op;
            auto *const kept = op.native_handle();
            op.begin(open.sqe);
            ASSERT_EQ(monad_async_op_wait(monad_async_task_current(), kept).error, 0);
            fd = static_cast<int>(kept->result.value);
        }
        EXPECT_EQ(::close(fd), 0);
    });
}

TEST(Operation, the_next_one_closes_what_nobody_has_asked_for)
{
    ma::executor ex;
    auto const open = opens_a_file();
    int const before = lowest_free();
    run_task(ex, [&] {
        ma::io_batch other;
        ma::operation op{open.sqe};
        another_one_meets(other, before);
        op.begin(nop());
        EXPECT_EQ(lowest_free(), before);
        EXPECT_EQ(op.result().error, ECANCELED) << "no descriptor that is closed";
        EXPECT_EQ(op.wait(), 0);

        op.begin(open.sqe);
        another_one_meets(other, before);
        auto never = nop();
        never.opcode = 255;
        std::error_code ec;
        op.begin(never, ec);
        EXPECT_TRUE(ec);
        EXPECT_EQ(lowest_free(), before) << "though it is refused";
        EXPECT_EQ(op.wait(ec), -1);
        EXPECT_EQ(ec.value(), ECANCELED);

        op.begin(open.sqe);
        another_one_meets(other, before);
        int const taken = static_cast<int>(op.result().value);
        op.begin(nop());
        EXPECT_EQ(::close(taken), 0) << "is who asked for it's";
        EXPECT_EQ(op.wait(), 0);
    });
}

TEST(Operation, a_select_has_asked_for_what_happened_only)
{
    ma::executor ex;
    auto const open = opens_a_file();
    int const before = lowest_free();
    run_task(ex, [&] {
        {
            ma::io_batch other;
            ma::operation op{open.sqe};
            bool has_come = false;
            EXPECT_EQ(
                ma::select(ma::on_timeout(0s, [] {}),
                           ma::on_operation(op, [&](monad_async_result) { has_come = true; })),
                0u);
            EXPECT_FALSE(has_come);
            another_one_meets(other, before);
        }
        EXPECT_EQ(lowest_free(), before);
        int fd = -1;
        {
            ma::operation op{open.sqe};
            ma::select(ma::on_operation(
                op, [&](monad_async_result r) { fd = static_cast<int>(r.value); }));
        }
        EXPECT_EQ(::close(fd), 0) << "is the callable's";
    });
}

// Both open a file each, and nobody asks them.
static void leaves_unseen(ma::operation &op, ma::io_batch &batch, io_uring_sqe const &open)
{
    ma::io_batch other;
    op.begin(open);
    batch.begin(open);
    while (op.in_flight()) {
        other.begin(nop());
        (void)other.wait_any();
    }
    for (int i = 0; i < 1000; ++i) { // The batch's, too.
        other.begin(nop());
        (void)other.wait_any();
    }
}

// The place has the same number in the other's table.
TEST(Operation, what_stays_idle_closes_nothing_of_a_later_runs_executor)
{
    ma::executor_options options;
    options.direct_descriptors = 4;
    std::optional<ma::executor> first, second;
    try {
        first.emplace(options);
        second.emplace(options);
    } catch (std::system_error const &e) {
        GTEST_SKIP() << e.what();
    }
    auto const open = opens_a_file(MONAD_ASYNC_FILE_DIRECT);
    auto op = std::make_unique<ma::operation>();
    auto batch = std::make_unique<ma::io_batch>();
    ma::task t;
    t.attach(*first, [&] { leaves_unseen(*op, *batch, open.sqe); });
    while (!t.done()) {
        first->run();
    }
    (void)t.get();
    t.attach(*second, [&] {
        auto *const self = monad_async_task_current();
        monad_async_file files[2] = {};
        for (auto &f : files) {
            auto const r = monad_async_file_open(self, &f, AT_FDCWD, "/etc/passwd", O_RDONLY, 0, 0,
                                                 MONAD_ASYNC_FILE_DIRECT);
            ASSERT_EQ(r.error, 0);
        }
        op.reset();
        batch.reset();
        char c = 0;
        for (auto const &f : files) {
            EXPECT_EQ(monad_async_file_read(self, f, &c, 1, 0).error, 0);
            EXPECT_EQ(monad_async_file_close(self, f).error, 0);
        }
    });
    while (!t.done()) {
        second->run();
    }
    (void)t.get();
}

// Nor of one that was made where its own executor was.
TEST(Operation, what_stays_idle_closes_nothing_of_an_executor_at_the_same_address)
{
    ma::executor_options options;
    options.direct_descriptors = 4;
    std::optional<ma::executor> ex;
    try {
        ex.emplace(options);
    } catch (std::system_error const &e) {
        GTEST_SKIP() << e.what();
    }
    auto const open = opens_a_file(MONAD_ASYNC_FILE_DIRECT);
    auto op = std::make_unique<ma::operation>();
    auto batch = std::make_unique<ma::io_batch>();
    ma::task t;
    t.attach(*ex, [&] { leaves_unseen(*op, *batch, open.sqe); });
    ex->run_until_idle();
    (void)t.get();
    auto *const before = ex->native_handle();
    std::vector<ma::executor> elsewhere;
    for (int i = 0;; ++i) {
        ex.reset();
        ex.emplace(options);
        if (ex->native_handle() == before) {
            break;
        }
        if (i == 16) {
            GTEST_SKIP() << "no executor is made where one was";
        }
        elsewhere.push_back(std::move(*ex));
    }
    t.attach(*ex, [&] {
        auto *const self = monad_async_task_current();
        monad_async_file files[2] = {};
        for (auto &f : files) {
            auto const r = monad_async_file_open(self, &f, AT_FDCWD, "/etc/passwd", O_RDONLY, 0, 0,
                                                 MONAD_ASYNC_FILE_DIRECT);
            ASSERT_EQ(r.error, 0);
        }
        op.reset();
        batch.reset();
        char c = 0;
        for (auto const &f : files) {
            EXPECT_EQ(monad_async_file_read(self, f, &c, 1, 0).error, 0);
            EXPECT_EQ(monad_async_file_close(self, f).error, 0);
        }
    });
    ex->run_until_idle();
    (void)t.get();
}

TEST(IoBatch, hands_out_a_stream)
{
    ma::executor ex;
    if (ex.config().find("multishot poll (") != std::string::npos) {
        GTEST_SKIP() << "this kernel's polls are one-shot: " << ex.config();
    }
    pipe_ends p;
    run_task(ex, [&] {
        io_uring_sqe sqe = {};
        sqe.opcode = IORING_OP_POLL_ADD;
        sqe.fd = p.fd[0];
        sqe.poll32_events = POLLIN;
        sqe.len = IORING_POLL_ADD_MULTI;
        ma::io_batch batch;
        batch.begin(sqe);
        for (int i = 0; i < 3; ++i) {
            p.put("x");
            auto const c = batch.wait_any();
            EXPECT_EQ(c.value() & POLLIN, POLLIN);
            EXPECT_NE(c.cqe_flags & IORING_CQE_F_MORE, 0u);
            EXPECT_EQ(batch.in_flight(), 1u);
        }
    });
}

// Nothing of it may be in the list of the first thread still, which another batch's wait goes
// through.
TEST(IoBatch, ends_on_any_thread_once_all_was_taken)
{
    struct place {
        alignas(ma::io_batch) unsigned char bytes[sizeof(ma::io_batch)];
    };
    ma::executor ex;
    std::array<place, 3> places;
    std::array<ma::io_batch *, 3> batches = {};
    run_task(ex, [&] {
        for (std::size_t i = 0; i < 3; ++i) {
            batches[i] = new (places[i].bytes) ma::io_batch;
            batches[i]->begin(nop());
        }
        for (auto *const batch : batches) { // The first is handed what the others have.
            (void)batch->wait_any();
        }
    });
    std::thread([&] {
        for (std::size_t i = 0; i < 3; ++i) {
            batches[i]->~io_batch();
            std::memset(places[i].bytes, 0x55, sizeof places[i].bytes);
        }
    }).join();
    run_task(ex, [&] {
        ma::operation op{nop()};
        ma::io_batch batch;
        batch.begin(nop());
        EXPECT_EQ(batch.wait_any().id, 0u);
        EXPECT_EQ(op.wait(), 0);
    });
}

TEST(IoBatch, belongs_to_one_task)
{
    ma::executor ex;
    run_task(ex, [&] {
        ma::io_batch batch;
        batch.begin(nop());
        ma::task other;
        int begins = 0, waits = 0;
        other.attach(ma::this_task::executor(), [&] {
            begins = errno_thrown_by([&] { batch.begin(nop()); });
            waits = errno_thrown_by([&] { (void)batch.wait_any(); });
        });
        other.join();
        EXPECT_EQ(begins, EPERM);
        EXPECT_EQ(waits, EPERM);
        EXPECT_EQ(batch.wait_any().id, 0u);
    });
}

} // namespace

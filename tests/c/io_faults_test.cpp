// Faults of operations that were found in use, each as the order of events that showed it.

#include "support.hpp"

#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

using namespace support;

namespace {

// A ring of the test's own, by the system calls alone: it sends completions into an executor's.
class Ring {
public:
    Ring()
    {
        io_uring_params params{};
        fd_ = Fd(static_cast<int>(syscall(SYS_io_uring_setup, 8, &params)));
        EXPECT_GE(fd_, 0);
        sqe_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
        ring_bytes_ = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
        ring_ = map(ring_bytes_, IORING_OFF_SQ_RING);
        sqes_ = reinterpret_cast<io_uring_sqe *>(map(sqe_bytes_, IORING_OFF_SQES));
        tail_ = reinterpret_cast<uint32_t *>(ring_ + params.sq_off.tail);
        mask_ = *reinterpret_cast<uint32_t *>(ring_ + params.sq_off.ring_mask);
        array_ = reinterpret_cast<uint32_t *>(ring_ + params.sq_off.array);
    }
    Ring(Ring const &) = delete;
    ~Ring()
    {
        munmap(ring_, ring_bytes_);
        munmap(sqes_, sqe_bytes_);
    }

    // A completion with these in the ring `to`.
    void message(int to, uint64_t user_data, int32_t res) const
    {
        uint32_t const at = *tail_ & mask_;
        io_uring_sqe sqe{};
        sqe.opcode = IORING_OP_MSG_RING;
        sqe.fd = to;
        sqe.len = static_cast<uint32_t>(res);
        sqe.off = user_data;
        // Our own completion queue is small, and nobody looks at it.
        sqe.flags = IOSQE_CQE_SKIP_SUCCESS;
        sqes_[at] = sqe;
        array_[at] = at;
        __atomic_store_n(tail_, *tail_ + 1, __ATOMIC_RELEASE);
        EXPECT_EQ(syscall(SYS_io_uring_enter, static_cast<int>(fd_), 1, 0, 0, nullptr, 0), 1);
    }

private:
    char *map(size_t bytes, off_t what) const
    {
        void *const at =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, what);
        EXPECT_NE(at, MAP_FAILED);
        return static_cast<char *>(at);
    }

    Fd fd_;
    size_t sqe_bytes_, ring_bytes_;
    char *ring_;
    io_uring_sqe *sqes_;
    uint32_t *tail_, *array_;
    uint32_t mask_;
};

} // namespace

// The executor kept the caller's pointer while the queue was full, and read the entry when there
// was room: 8 tasks that share one wrote "AB.....H", and each was told 1 byte.
TEST(IoFaults, entries_are_copied_before_the_call_suspends)
{
    Executor ex(2);
    char path[] = "/tmp/monad_async_XXXXXX";
    Fd const file(mkstemp(path));
    ASSERT_GE(file, 0);
    unlink(path);
    static io_uring_sqe shared;
    char const letters[] = "ABCDEFGH";
    auto tasks = make_tasks(8, [&](monad_async_task self, size_t i) {
        shared = make_sqe(IORING_OP_WRITE, file, &letters[i], 1, i);
        auto const r = monad_async_task_io(self, &shared);
        EXPECT_EQ(r.value, 1);
        return r;
    });
    attach_all(tasks, ex);
    ex.finish();
    char got[9] = {};
    EXPECT_EQ(pread(file, got, 8, 0), 8);
    EXPECT_STREQ(got, letters);
}

// Any user_data was taken for the address of a record.
TEST(IoFaults, completions_that_are_not_ours_are_dropped)
{
    skip_without("direct descriptors passed on"); // By messages, as here.
    Executor ex(8);
    Ring const ring;
    int const to = monad_async_executor_ring_fd(ex);
    Pipe pipe;
    char byte = 0;
    Task reader([&](monad_async_task self) { return read_some(self, pipe.reader, &byte, 1); });
    Task sleeper([](monad_async_task self) { return sleep_ns(self, 20 * ms); });
    reader.attach(ex);
    sleeper.attach(ex);
    run_until_suspended(ex, reader);
    auto const completed = ex->total_io_completed;
    std::vector<uint64_t> names{0,
                                0xdeadbeef,
                                ~uint64_t{0},
                                uint64_t{1} << 63,
                                0x7fffffffffffffff,
                                4096,
                                reinterpret_cast<uintptr_t>(static_cast<monad_async_task>(reader)),
                                reinterpret_cast<uintptr_t>(static_cast<monad_async_task>(sleeper)),
                                reinterpret_cast<uintptr_t>(static_cast<monad_async_executor>(ex))};
    for (uint64_t low = 1; low < 80; ++low) {
        names.push_back(low);
        names.push_back(~low);
    }
    for (uint64_t const name : names) {
        for (int32_t const res : {0, 1, -ECANCELED}) {
            ring.message(to, name, res);
        }
        ex.poll();
    }
    ex.poll();
    EXPECT_EQ(ex->total_io_completed, completed);
    EXPECT_TRUE(reader->is_suspended_awaiting);
    EXPECT_EQ(write(pipe.writer, "m", 1), 1);
    ex.finish();
    EXPECT_EQ(reader->result.value, 1);
    EXPECT_EQ(byte, 'm');
    EXPECT_EQ(sleeper->result.error, 0);
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

// The kernel worker's own restart codes, 512 and above, came out; the clean-up was cancelled too.
TEST(IoFaults, cancelled_operation_on_a_kernel_worker_is_ECANCELED)
{
    Executor ex(8);
    Pipe a, b;
    char dir[] = "/tmp/monad_async_XXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    std::string const fifo = std::string(dir) + "/fifo";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    auto splice = make_sqe(IORING_OP_SPLICE, b.writer, nullptr, 1, ~uint64_t{0});
    splice.splice_fd_in = a.reader;
    splice.splice_off_in = ~uint64_t{0};
    auto tee = splice;
    tee.opcode = IORING_OP_TEE;
    tee.off = 0;
    tee.splice_off_in = 0;
    auto open = make_sqe(IORING_OP_OPENAT, AT_FDCWD, fifo.c_str());
    open.open_flags = O_RDONLY | O_CLOEXEC;
    open.flags = IOSQE_ASYNC;
    for (auto const &sqe : {splice, tee, open}) {
        int first = -1, cleanup = -1;
        Task task([&](monad_async_task self) {
            first = do_io(self, sqe).error;
            EXPECT_EQ(monad_async_task_uncancel(self).value, 1);
            cleanup = sleep_ns(self, ms).error;
            return success();
        });
        task.attach(ex);
        run_until_suspended(ex, task);
        timespec const a_while{0, 30000000}; // a worker has taken it by then
        EXPECT_EQ(monad_async_executor_run(ex, no_bound, &a_while).error, ETIME);
        EXPECT_EQ(monad_async_task_cancel(ex, task).error, 0);
        ex.finish();
        EXPECT_EQ(first, ECANCELED) << unsigned{sqe.opcode};
        EXPECT_EQ(cleanup, 0);
    }
    unlink(fifo.c_str());
    rmdir(dir);
}

// Operations waited in the submission queue for as long as something else was ready.
TEST(IoFaults, run_returns_with_everything_handed_to_the_kernel)
{
    for (size_t const max_items : {size_t{1}, size_t{2}, no_bound}) {
        Executor ex(8);
        Pipe pipe;
        bool stop = false;
        Task yielding([&](monad_async_task self) {
            while (!stop) {
                EXPECT_EQ(yield(self).error, 0);
            }
            return success();
        });
        Task writer([&](monad_async_task self) { return write_some(self, pipe.writer, "k", 1); });
        yielding.attach(ex);
        writer.attach(ex);
        while (!writer->is_suspended_awaiting) {
            ex.run(max_items);
        }
        // Without another pass: a pipe with room is written to in the call that submits, or, by
        // 5.11, soon after it.
        EXPECT_EQ(fcntl(pipe.reader, F_SETFL, O_NONBLOCK), 0);
        char byte = 0;
        for (int i = 0; i < 100000 && read(pipe.reader, &byte, 1) != 1; ++i) {
            std::this_thread::yield();
        }
        EXPECT_EQ(byte, 'k');
        stop = true;
        ex.finish();
    }
}

TEST(IoFaults, run_of_no_items_hands_everything_to_the_kernel)
{
    Executor ex(2);
    constexpr size_t count = 40;
    Pipe pipe;
    auto tasks = make_tasks(count, [&](monad_async_task self, size_t) {
        return write_some(self, pipe.writer, "0", 1);
    });
    attach_all(tasks, ex);
    for (size_t i = 0; i < count; ++i) {
        ex.run(1);
    }
    for (size_t i = 0; i < count; ++i) {
        ex.run(0);
    }
    EXPECT_EQ(fcntl(pipe.reader, F_SETFL, O_NONBLOCK), 0);
    char bytes[count + 1];
    EXPECT_EQ(read(pipe.reader, bytes, sizeof bytes), ssize_t{count});
    ex.finish();
}

TEST(IoFaults, total_io_submitted_never_goes_backwards)
{
    Executor ex(2);
    Pipe pipe;
    char bytes[64];
    auto tasks = make_tasks(64, [&](monad_async_task self, size_t i) {
        return read_some(self, pipe.reader, &bytes[i], 1);
    });
    attach_all(tasks, ex);
    uint64_t last = 0;
    auto const look = [&] {
        EXPECT_GE(ex->total_io_submitted, last);
        EXPECT_GE(ex->total_io_submitted, ex->total_io_completed);
        last = ex->total_io_submitted;
    };
    for (size_t i = 0; i < tasks.size(); ++i) {
        ex.poll(1);
        look();
        if (i % 2 == 1) { // some wait for room still
            EXPECT_EQ(monad_async_task_cancel(ex, tasks[i]).error, 0);
            look();
        }
    }
    for (auto const &task : tasks) {
        (void)monad_async_task_cancel(ex, task).error;
        look();
    }
    while (monad_async_executor_has_work(ex)) {
        ex.run();
        look();
    }
    EXPECT_EQ(ex->total_io_submitted, ex->total_io_completed);
}

// Those of the operation before were left: a provided buffer would have been given back twice.
TEST(IoFaults, completion_flags_are_0_where_there_was_no_completion)
{
    Executor ex(8);
    Pipe pipe;
    Task task([&](monad_async_task self) {
        char buffer[16]{};
        auto provide = make_sqe(IORING_OP_PROVIDE_BUFFERS, 1, buffer, sizeof buffer, 5);
        provide.buf_group = 3;
        auto read = make_sqe(IORING_OP_READ, pipe.reader, nullptr, sizeof buffer, current_position);
        read.flags = IOSQE_BUFFER_SELECT;
        read.buf_group = 3;
        auto const with_flags = [&] {
            EXPECT_EQ(do_io(self, provide).error, 0);
            EXPECT_EQ(write(pipe.writer, "f", 1), 1);
            EXPECT_EQ(do_io(self, read).value, 1);
            EXPECT_NE(monad_async_task_io_cqe_flags(self) & IORING_CQE_F_BUFFER, 0u);
        };
        with_flags();
        EXPECT_EQ(do_io(self, make_sqe(255)).error, EINVAL);
        EXPECT_EQ(monad_async_task_io_cqe_flags(self), 0u);
        with_flags();
        EXPECT_EQ(monad_async_task_io(self, nullptr).error, EINVAL);
        EXPECT_EQ(monad_async_task_io_cqe_flags(self), 0u);
        with_flags();
        EXPECT_EQ(monad_async_task_cancel(nullptr, self).error, 0);
        EXPECT_EQ(nop(self).error, ECANCELED);
        EXPECT_EQ(monad_async_task_io_cqe_flags(self), 0u);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

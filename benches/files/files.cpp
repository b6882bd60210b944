// What calls on files cost next to raw io_uring in C doing the same, in one process, in turns:
// processor time of the thread. The best of the rounds counts, as only others can make one slower.
//
// Reads: 4 KiB of a cached file at random offsets, 64 in flight. Writes: 4 KiB to a cached file by
// 64 tasks, ordered beside unordered, wall time, as some file systems write by kernel threads.

#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <liburing.h>
#include <time.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

constexpr unsigned in_flight = 64, reads = 64 * 400, writes = 64 * 100, rounds = 9;
constexpr std::size_t block = 4096, blocks = 4096; // 16 MiB

[[noreturn]] void die(char const *what)
{
    std::perror(what);
    std::exit(EXIT_FAILURE);
}

double clock_ns(clockid_t clock)
{
    timespec t;
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

struct random_offsets {
    std::uint64_t state = 1;
    std::int64_t next()
    {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::int64_t>((state >> 33) % blocks * block);
    }
};

char *room()
{
    alignas(block) static char memory[in_flight * block];
    return memory;
}

int temporary(char const *directory)
{
    int const fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        die(directory);
    }
    std::string const data(block, 'x');
    for (std::size_t i = 0; i < blocks; ++i) {
        if (pwrite(fd, data.data(), block, static_cast<off_t>(i * block)) != block) {
            die("pwrite");
        }
    }
    return fd;
}

void raw_reads(int fd)
{
    static io_uring *const ring = [] {
        static io_uring made;
        io_uring_params p = {};
        p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        if (io_uring_queue_init_params(256, &made, &p) != 0) {
            die("io_uring_queue_init_params");
        }
        io_uring_register_ring_fd(&made);
        return &made;
    }();
    random_offsets at;
    unsigned begun = 0, done = 0;
    auto const begin = [&](unsigned slot) {
        auto *const sqe = io_uring_get_sqe(ring);
        io_uring_prep_read(sqe, fd, room() + slot * block, block,
                           static_cast<std::uint64_t>(at.next()));
        io_uring_sqe_set_data64(sqe, slot);
        ++begun;
    };
    for (unsigned slot = 0; slot < in_flight; ++slot) {
        begin(slot);
    }
    while (done < reads) {
        io_uring_submit_and_wait(ring, 1);
        io_uring_cqe *cqe;
        unsigned head, n = 0;
        std::array<unsigned, 512> slots;
        io_uring_for_each_cqe(ring, head, cqe)
        {
            if (cqe->res != static_cast<int>(block)) {
                die("read");
            }
            slots[n++] = static_cast<unsigned>(cqe->user_data);
        }
        io_uring_cq_advance(ring, n);
        done += n;
        for (unsigned i = 0; i < n && begun < reads; ++i) {
            begin(slots[i]);
        }
    }
}

void by_tasks(ma::executor &ex, int fd)
{
    random_offsets at;
    static std::vector<ma::task> tasks(in_flight);
    unsigned slot = 0;
    for (auto &task : tasks) {
        task.attach(ex, [&at, fd, data = room() + slot++ * block] {
            auto *const self = monad_async_task_current();
            auto const file = monad_async_file_adopt(fd);
            for (unsigned i = 0; i < reads / in_flight; ++i) {
                if (monad_async_file_read(self, file, data, block, at.next()).value != block) {
                    die("monad_async_file_read");
                }
            }
        });
    }
    ex.run_until_idle();
}

void by_operations(ma::executor &ex, int fd)
{
    static ma::task task;
    task.attach(ex, [fd] {
        static std::array<monad_async_op, in_flight> ops;
        auto *const self = monad_async_task_current();
        auto const file = monad_async_file_adopt(fd);
        random_offsets at;
        unsigned begun = 0;
        auto const begin = [&](monad_async_op &op) {
            auto const slot = static_cast<std::size_t>(&op - ops.data());
            monad_async_op_read(&op, file, room() + slot * block, block, at.next());
            (void)monad_async_op_begin(self, &op);
            ++begun;
        };
        for (auto &op : ops) {
            begin(op);
        }
        for (unsigned done = 0; done < reads; ++done) {
            monad_async_op *op;
            if (monad_async_op_wait_any(self, &op).error != 0 || op->result.value != block) {
                die("monad_async_op_wait_any");
            }
            if (begun < reads) {
                begin(*op);
            }
        }
    });
    ex.run_until_idle();
}

void write_by_tasks(ma::executor &ex, int fd, bool ordered)
{
    static std::vector<ma::task> tasks(in_flight);
    auto file = monad_async_file_adopt(fd);
    if (ordered) {
        tasks[0].attach(ex, [&] {
            (void)monad_async_file_set_ordered(monad_async_task_current(), &file);
        });
        ex.run_until_idle();
    }
    std::size_t next = 0;
    for (auto &task : tasks) {
        task.attach(ex, [&next, file] {
            auto *const self = monad_async_task_current();
            for (unsigned i = 0; i < writes / in_flight; ++i) {
                auto const at = static_cast<std::int64_t>(next++ % blocks * block);
                if (monad_async_file_write(self, file, room(), block, at).value != block) {
                    die("monad_async_file_write");
                }
            }
        });
    }
    ex.run_until_idle();
}

struct measured {
    char const *name;
    std::function<void()> run;
    double best_ns = 1e18;
};

void measure(std::vector<measured> &all, clockid_t clock, unsigned count)
{
    for (unsigned round = 0; round < rounds; ++round) {
        for (auto &each : all) {
            double const begun = clock_ns(clock);
            each.run();
            each.best_ns = std::min(each.best_ns, (clock_ns(clock) - begun) / count);
        }
    }
    for (auto const &each : all) {
        std::printf("%-44s %8.0f ns %7.3f\n", each.name, each.best_ns,
                    all.front().best_ns / each.best_ns);
    }
}

} // namespace

int main(int argc, char **argv)
{
    char const *const directory = argc > 1 ? argv[1] : "/tmp";
    int const fd = temporary(directory), written = temporary(directory),
              in_memory = temporary("/dev/shm");
    ma::executor ex;
    std::printf("the last column: the rate as a part of the first line's\n\n");
    std::vector<measured> all = {
        {"read 4 KiB, raw ring", [&] { raw_reads(fd); }},
        {"... 64 tasks", [&] { by_tasks(ex, fd); }},
        {"... one task, op_begin and wait_any", [&] { by_operations(ex, fd); }},
    };
    measure(all, CLOCK_THREAD_CPUTIME_ID, reads);
    for (int const to : {written, in_memory}) {
        std::printf("\n");
        all = {
            {to == written ? "write 4 KiB, unordered, a disk's file" : "... tmpfs, unordered",
             [&] { write_by_tasks(ex, to, false); }},
            {"... ordered", [&] { write_by_tasks(ex, to, true); }},
        };
        measure(all, CLOCK_MONOTONIC, writes);
    }
}

// What calls on files cost next to raw io_uring in C doing the same, in one process, in turns:
// processor time of the thread. The best of the rounds counts, as only others can make one slower.
//
// Reads: 4 KiB of a cached file at random offsets, 64 in flight; and the same into registered
// buffers by a registered file. Writes: 4 KiB to a cached file by 64 tasks, ordered and unordered,
// each behind the one before or at random offsets; wall time, as some file systems write by kernel
// threads. Next to those at random the floors of writes in order: on a raw ring one chain of links
// at a time, and one pwrite after the other. Scopes: what one costs that is entered and left and
// does not fire, with nothing inside, and with an operation.

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

io_uring *raw_ring(int fd)
{
    static io_uring *const ring = [fd] {
        static io_uring made;
        io_uring_params p = {};
        p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        if (io_uring_queue_init_params(256, &made, &p) != 0) {
            die("io_uring_queue_init_params");
        }
        io_uring_register_ring_fd(&made);
        std::array<iovec, in_flight> pieces;
        for (unsigned slot = 0; slot < in_flight; ++slot) {
            pieces[slot] = {room() + slot * block, block};
        }
        if (io_uring_register_buffers(&made, pieces.data(), in_flight) != 0 ||
            io_uring_register_files(&made, &fd, 1) != 0) {
            die("io_uring_register");
        }
        return &made;
    }();
    return ring;
}

void raw_reads(int fd, bool fixed)
{
    auto *const ring = raw_ring(fd);
    random_offsets at;
    unsigned begun = 0, done = 0;
    auto const begin = [&](unsigned slot) {
        auto *const sqe = io_uring_get_sqe(ring);
        auto *const to = room() + slot * block;
        auto const offset = static_cast<std::uint64_t>(at.next());
        if (fixed) {
            io_uring_prep_read_fixed(sqe, 0, to, block, offset, static_cast<int>(slot));
            io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
        } else {
            io_uring_prep_read(sqe, fd, to, block, offset);
        }
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

// Into registered buffers, by a direct descriptor.
void by_tasks_fixed(ma::executor &ex, int fd)
{
    static std::vector<ma::task> tasks(in_flight);
    static monad_async_file file = {-1, 0};
    static ma::buffer_set set(ex, in_flight, block);
    if (file.fd < 0) {
        tasks[0].attach(ex, [fd] {
            ma::open_options options;
            options.flags = MONAD_ASYNC_FILE_DIRECT;
            file = ma::file("/proc/self/fd/" + std::to_string(fd), O_RDONLY, options).release();
        });
        ex.run_until_idle();
        tasks[0].get();
    }
    random_offsets at;
    for (auto &task : tasks) {
        task.attach(ex, [&at] {
            auto *const self = monad_async_task_current();
            auto const buffer = set.claim();
            auto const *const native = buffer.native_handle();
            for (unsigned i = 0; i < reads / in_flight; ++i) {
                auto const r = monad_async_file_read_fixed(self, file, native, 0, block, at.next());
                if (r.value != block) {
                    die("monad_async_file_read_fixed");
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

// 64 writers' writes in the order in which they are called, as a raw ring has it: of those that
// wait one chain of links, and the next when all of that is done.
void raw_linked(int fd)
{
    auto *const ring = raw_ring(fd);
    random_offsets at;
    for (unsigned done = 0; done < writes; done += in_flight) {
        for (unsigned i = 0; i < in_flight; ++i) {
            auto *const sqe = io_uring_get_sqe(ring);
            auto const offset = static_cast<std::uint64_t>(at.next());
            io_uring_prep_write(sqe, fd, room(), block, offset);
            io_uring_sqe_set_flags(sqe, i + 1 < in_flight ? IOSQE_IO_LINK : 0);
        }
        unsigned left = in_flight;
        while (left != 0) {
            io_uring_submit_and_wait(ring, left);
            io_uring_cqe *cqe;
            unsigned head, n = 0;
            io_uring_for_each_cqe(ring, head, cqe)
            {
                if (cqe->res != static_cast<int>(block)) {
                    die("linked write");
                }
                ++n;
            }
            io_uring_cq_advance(ring, n);
            left -= n;
        }
    }
}

// By a thread that does nothing else: without links, order takes one system call each.
void calls(int fd)
{
    random_offsets at;
    for (unsigned i = 0; i < writes; ++i) {
        if (pwrite(fd, room(), block, at.next()) != static_cast<ssize_t>(block)) {
            die("pwrite");
        }
    }
}

void write_by_tasks(ma::executor &ex, int fd, bool ordered, bool at_random)
{
    static std::vector<ma::task> tasks(in_flight);
    auto file = monad_async_file_adopt(fd);
    if (ordered) {
        tasks[0].attach(
            ex, [&] { (void)monad_async_file_set_ordered(monad_async_task_current(), &file); });
        ex.run_until_idle();
    }
    std::size_t next = 0;
    random_offsets random;
    for (auto &task : tasks) {
        task.attach(ex, [&next, &random, at_random, file] {
            auto *const self = monad_async_task_current();
            for (unsigned i = 0; i < writes / in_flight; ++i) {
                auto const at =
                    at_random ? random.next() : static_cast<std::int64_t>(next++ % blocks * block);
                if (monad_async_file_write(self, file, room(), block, at).value != block) {
                    die("monad_async_file_write");
                }
            }
        });
    }
    ex.run_until_idle();
}

constexpr unsigned nops = 64 * 4000;

// By 64 tasks, each in a scope of its own or in none.
void nops_by_tasks(ma::executor &ex, bool in_scope)
{
    static std::vector<ma::task> tasks(in_flight);
    for (auto &task : tasks) {
        task.attach(ex, [in_scope] {
            auto *const self = monad_async_task_current();
            io_uring_sqe sqe = {}; // IORING_OP_NOP
            monad_async_scope scope;
            for (unsigned i = 0; i < nops / in_flight; ++i) {
                if (in_scope) {
                    (void)monad_async_scope_enter(self, &scope, 1000000000, 0);
                }
                if (monad_async_task_io(self, &sqe).error != 0) {
                    die("monad_async_task_io");
                }
                if (in_scope) {
                    (void)monad_async_scope_leave(self, &scope);
                }
            }
        });
    }
    ex.run_until_idle();
}

void empty_scopes(ma::executor &ex)
{
    static ma::task task;
    task.attach(ex, [] {
        auto *const self = monad_async_task_current();
        monad_async_scope scope;
        for (unsigned i = 0; i < nops; ++i) {
            (void)monad_async_scope_enter(self, &scope, 1000000000, 0);
            (void)monad_async_scope_leave(self, &scope);
        }
    });
    ex.run_until_idle();
}

void stamps()
{
    for (unsigned i = 0; i < nops; ++i) {
        (void)monad_async_get_ticks_count();
    }
}

// What each is a call of `run`, the best of the rounds.
void measure_scopes(ma::executor &ex)
{
    double stamp = 1e18, empty = 1e18, without = 1e18, within = 1e18;
    auto const ns = [](auto const &run) {
        double const begun = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        run();
        return (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun) / nops;
    };
    for (unsigned round = 0; round < rounds; ++round) {
        stamp = std::min(stamp, ns(stamps));
        empty = std::min(empty, ns([&] { empty_scopes(ex); }));
        without = std::min(without, ns([&] { nops_by_tasks(ex, false); }));
        within = std::min(within, ns([&] { nops_by_tasks(ex, true); }));
    }
    std::printf("\na stamp of the counter, of which a scope takes one: %.1f ns\n", stamp);
    std::printf("a scope with nothing inside, at most 6: %.1f ns\n", empty);
    std::printf("a NOP among 64 tasks: %.1f ns; in a scope, at most 25 more: %.1f ns, %.1f more\n",
                without, within, within - without);
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
    ma::executor_options options;
    options.direct_descriptors = 1;
    ma::executor ex(options);
    std::printf("the last column: the rate as a part of the first line's\n\n");
    std::vector<measured> all = {
        {"read 4 KiB, raw ring", [&] { raw_reads(fd, false); }},
        {"... 64 tasks", [&] { by_tasks(ex, fd); }},
        {"... one task, op_begin and wait_any", [&] { by_operations(ex, fd); }},
    };
    measure(all, CLOCK_THREAD_CPUTIME_ID, reads);
    std::printf("\n");
    all = {
        {"... raw ring, registered file and buffers", [&] { raw_reads(fd, true); }},
        {"... 64 tasks, the same", [&] { by_tasks_fixed(ex, fd); }},
    };
    measure(all, CLOCK_THREAD_CPUTIME_ID, reads);
    measure_scopes(ex);
    for (int const to : {written, in_memory}) {
        std::printf("\n");
        for (bool const at_random : {false, true}) {
            std::string const name =
                std::string(to == written ? "write 4 KiB, a disk's file" : "... tmpfs") +
                (at_random ? ", at random" : ", one behind the other");
            all = {
                {name.c_str(), [&] { write_by_tasks(ex, to, false, at_random); }},
                {"... ordered", [&] { write_by_tasks(ex, to, true, at_random); }},
            };
            if (at_random) {
                all.push_back({"... raw ring, linked in rows of 64", [&] { raw_linked(to); }});
                all.push_back({"... pwrite, one after the other", [&] { calls(to); }});
            }
            measure(all, CLOCK_MONOTONIC, writes);
        }
    }
}

// What calls on files cost next to raw io_uring in C doing the same, in one process, in turns:
// processor time of the thread.
//
// Everything in short turns, a round of which begins with another one each time; a figure is the
// median of the rounds' ratios, or differences. A turn begins with some work that is not timed, so
// that what the one before has left in the caches, and threads that have slept since, do not count.
//
// Reads: 4 KiB of a cached file at random offsets, 64 in flight; and the same into registered
// buffers by a registered file. In several processes, one after the other, a figure the median of
// theirs: which pages the kernel gives to rings, stacks and headers is up to a fiftieth of a read,
// either way, and stays what it is for the life of a process.
//
// Writes: 4 KiB to a cached file by 64 tasks, at random also by 16 and by 4, ordered and unordered,
// each behind the one before or at random offsets; wall time, as some file systems write by kernel
// threads. Next to those at random the floors of writes in order: on a raw ring one chain of links
// at a time, and one pwrite after the other. Scopes: what one costs that is entered and left and
// does not fire, with nothing inside, and with an operation.

#include "raw.hpp"
#include "turns.hpp"

#include <monad/async.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace bench;

namespace {

// Of a turn, and before it, not timed.
constexpr unsigned reads = 64 * 100, before_reads = 64 * 4, read_rounds = 20, processes = 15;
constexpr unsigned writes = 64 * 20, before_writes = 64 * 4, write_rounds = 41;
constexpr unsigned nops = 64 * 400, before_nops = 64 * 4, nop_rounds = 61;

void by_tasks(ma::executor &ex, int fd, unsigned count)
{
    random_offsets at;
    static std::vector<ma::task> tasks(in_flight);
    unsigned slot = 0;
    for (auto &task : tasks) {
        task.attach(ex, [&at, fd, count, data = room() + slot++ * block] {
            auto *const self = monad_async_task_current();
            auto const file = monad_async_file_adopt(fd);
            for (unsigned i = 0; i < count / in_flight; ++i) {
                if (monad_async_file_read(self, file, data, block, at.next()).value != block) {
                    die("monad_async_file_read");
                }
            }
        });
    }
    ex.run_until_idle();
}

// Into registered buffers, by a direct descriptor.
void by_tasks_fixed(ma::executor &ex, int fd, unsigned count)
{
    static std::vector<ma::task> tasks(in_flight);
    static monad_async_file file = {-1, 0};
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
        task.attach(ex, [&ex, &at, count] {
            auto *const self = monad_async_task_current();
            auto const buffer = buffers(ex).claim();
            auto const *const native = buffer.native_handle();
            for (unsigned i = 0; i < count / in_flight; ++i) {
                auto const r = monad_async_file_read_fixed(self, file, native, 0, block, at.next());
                if (r.value != block) {
                    die("monad_async_file_read_fixed");
                }
            }
        });
    }
    ex.run_until_idle();
}

void by_operations(ma::executor &ex, int fd, unsigned count)
{
    static ma::task task;
    task.attach(ex, [fd, count] {
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
        for (unsigned done = 0; done < count; ++done) {
            monad_async_op *op;
            if (monad_async_op_wait_any(self, &op).error != 0 || op->result.value != block) {
                die("monad_async_op_wait_any");
            }
            if (begun < count) {
                begin(*op);
            }
        }
    });
    ex.run_until_idle();
}

monad_async_file ordered(ma::executor &ex, int fd)
{
    auto file = monad_async_file_adopt(fd);
    ma::task task;
    task.attach(ex, [&file] {
        if (monad_async_file_set_ordered(monad_async_task_current(), &file).error != 0) {
            die("monad_async_file_set_ordered");
        }
    });
    ex.run_until_idle();
    return file;
}

// By the first `writers` of 64 tasks.
void write_by_tasks(ma::executor &ex, monad_async_file file, bool at_random, unsigned writers,
                    unsigned count)
{
    static std::vector<ma::task> tasks(in_flight);
    static std::size_t next = 0;
    random_offsets random;
    for (unsigned n = 0; n < writers; ++n) {
        tasks[n].attach(ex, [&random, at_random, writers, count, file] {
            auto *const self = monad_async_task_current();
            for (unsigned i = 0; i < count / writers; ++i) {
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

// A usual time-out of I/O, and one that is short enough to be taken from the tick counter.
constexpr std::uint64_t long_ns = 5'000'000'000, short_ns = 100'000'000;

// By 64 tasks, each in a scope of its own or, of no time, in none.
void nops_by_tasks(ma::executor &ex, std::uint64_t timeout_ns, unsigned count)
{
    static std::vector<ma::task> tasks(in_flight);
    for (auto &task : tasks) {
        task.attach(ex, [timeout_ns, count] {
            auto *const self = monad_async_task_current();
            io_uring_sqe sqe = {}; // IORING_OP_NOP
            monad_async_scope scope;
            for (unsigned i = 0; i < count / in_flight; ++i) {
                if (timeout_ns != 0) {
                    (void)monad_async_scope_enter(self, &scope, timeout_ns, 0);
                }
                if (monad_async_task_io(self, &sqe).error != 0) {
                    die("monad_async_task_io");
                }
                if (timeout_ns != 0) {
                    (void)monad_async_scope_leave(self, &scope);
                }
            }
        });
    }
    ex.run_until_idle();
}

void empty_scopes(ma::executor &ex, std::uint64_t timeout_ns, unsigned count)
{
    static ma::task task;
    task.attach(ex, [timeout_ns, count] {
        auto *const self = monad_async_task_current();
        monad_async_scope scope;
        for (unsigned i = 0; i < count; ++i) {
            (void)monad_async_scope_enter(self, &scope, timeout_ns, 0);
            (void)monad_async_scope_leave(self, &scope);
        }
    });
    ex.run_until_idle();
}

void stamps(unsigned count)
{
    for (unsigned i = 0; i < count; ++i) {
        (void)monad_async_get_ticks_count();
    }
}

struct read_kind {
    char const *name;
    double goal;
    bool fixed;
    void (*ours)(ma::executor &, int, unsigned);
};

constexpr std::array<read_kind, 3> read_kinds = {{
    {"64 tasks", 0.97, false, by_tasks},
    {"64 tasks, registered file and buffers", 0.97, true, by_tasks_fixed},
    {"one task, op_begin and wait_any", 0.98, false, by_operations},
}};

ma::executor_options with_direct_descriptors()
{
    ma::executor_options options;
    options.direct_descriptors = 1;
    return options;
}

// Of each kind: the raw ring's time, ours, and the rate.
using read_figures = std::array<std::array<double, 3>, read_kinds.size()>;

read_figures measure_reads_here(int fd)
{
    ma::executor ex(with_direct_descriptors());
    read_figures figures;
    for (std::size_t n = 0; n < read_kinds.size(); ++n) {
        auto const &kind = read_kinds[n];
        std::vector<measured> all = {
            {"", [&](unsigned count) { raw_reads(ex, fd, kind.fixed, count); }},
            {"", [&](unsigned count) { kind.ours(ex, fd, count); }},
        };
        measure(all, {CLOCK_THREAD_CPUTIME_ID, read_rounds, before_reads, reads});
        figures[n] = {median(all[0].ns), median(all[1].ns), median(rates(all[1], all[0]))};
    }
    return figures;
}

// In a process that does nothing else.
read_figures measure_reads_apart(int fd)
{
    std::array<int, 2> ends;
    read_figures figures;
    if (pipe2(ends.data(), O_CLOEXEC) != 0) {
        die("pipe2");
    }
    pid_t const child = fork();
    if (child == 0) {
        figures = measure_reads_here(fd);
        bool const told = write(ends[1], &figures, sizeof figures) == sizeof figures;
        _exit(told ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &figures, sizeof figures) != sizeof figures) {
        die("a process that reads");
    }
    close(ends[0]);
    waitpid(child, nullptr, 0);
    return figures;
}

// Before there are threads, which a fork would leave behind.
void measure_reads(int fd)
{
    std::vector<read_figures> all;
    for (unsigned n = 0; n < processes; ++n) {
        all.push_back(measure_reads_apart(fd));
    }
    std::printf("%-44s %6s %6s %8s  %-14s %6s\n", "reads of 4 KiB next to the raw ring's", "raw ns",
                "ns", "rate", "of 8 in 10", "goal");
    for (std::size_t n = 0; n < read_kinds.size(); ++n) {
        auto const column = [&](std::size_t at) {
            std::vector<double> figures;
            for (auto const &process : all) {
                figures.push_back(process[n][at]);
            }
            return figures;
        };
        auto const rate = column(2);
        std::printf("%-44s %6.0f %6.0f %8.3f  %.3f to %.3f %6.2f\n", read_kinds[n].name,
                    median(column(0)), median(column(1)), median(rate), quantile(rate, 0.1),
                    quantile(rate, 0.9), read_kinds[n].goal);
    }
    std::fflush(stdout);
}

void measure_scopes(ma::executor &ex)
{
    std::vector<measured> all = {
        {"", stamps},
        {"", [&](unsigned count) { empty_scopes(ex, long_ns, count); }},
        {"", [&](unsigned count) { empty_scopes(ex, short_ns, count); }},
        {"", [&](unsigned count) { nops_by_tasks(ex, 0, count); }},
        {"", [&](unsigned count) { nops_by_tasks(ex, long_ns, count); }},
        {"", [&](unsigned count) { nops_by_tasks(ex, short_ns, count); }},
    };
    measure(all, {CLOCK_THREAD_CPUTIME_ID, nop_rounds, before_nops, nops});
    std::printf("\na stamp of the counter, of which a short scope takes one: %.1f ns\n",
                median(all[0].ns));
    std::printf("a scope of 5 s with nothing inside, at most 6: %.1f ns; of 0.1 s: %.1f ns\n",
                median(all[1].ns), median(all[2].ns));
    std::printf("a NOP among 64 tasks: %.1f ns\n", median(all[3].ns));
    for (std::size_t n = 4; n < 6; ++n) {
        auto const more = pairwise(all[n], all[3], std::minus<>());
        std::printf("in a scope of %s s, at most 25 more: %.1f ns, %.1f more, 8 in 10 %.1f to "
                    "%.1f\n",
                    n == 4 ? "5" : "0.1", median(all[n].ns), median(more), quantile(more, 0.1),
                    quantile(more, 0.9));
    }
}

// The first line is of unordered writes, which the rates are next to; the last column is next to
// the last line.
void measure_writes(std::vector<measured> all, bool has_floor)
{
    measure(all, {CLOCK_MONOTONIC, write_rounds, before_writes, writes});
    for (auto const &each : all) {
        auto const rate = rates(each, all.front());
        std::printf("%-44s %6.0f %8.3f  %.3f to %.3f", each.name, median(each.ns), median(rate),
                    quantile(rate, 0.1), quantile(rate, 0.9));
        if (has_floor) {
            std::printf(" %8.3f", median(rates(each, all.back())));
        }
        std::printf("\n");
    }
}

} // namespace

int main(int argc, char **argv)
{
    char const *const directory = argc > 1 ? argv[1] : "/tmp";
    int const fd = temporary(directory), written = temporary(directory),
              in_memory = temporary("/dev/shm");
    measure_reads(fd);
    ma::executor ex(with_direct_descriptors());
    measure_scopes(ex);
    std::printf("\n%-44s %6s %8s  %-14s %8s\n", "writes of 4 KiB; goal of ordered ones: 0.8", "ns",
                "rate", "of 8 in 10", "pwrite's");
    for (int const to : {written, in_memory}) {
        auto const plain = monad_async_file_adopt(to), in_order = ordered(ex, to);
        std::printf("\n");
        for (unsigned const kind : {0, 64, 16, 4}) {
            bool const at_random = kind != 0;
            unsigned const writers = at_random ? kind : in_flight;
            std::string const name =
                std::string(to == written ? "a disk's file" : "tmpfs") +
                (at_random ? ", at random" : ", one behind the other") +
                (writers != in_flight ? ", by " + std::to_string(writers) : "");
            auto const by_tasks_to = [&](monad_async_file file) -> work {
                return [&ex, file, at_random, writers](unsigned count) {
                    write_by_tasks(ex, file, at_random, writers, count);
                };
            };
            std::vector<measured> all = {
                {name.c_str(), by_tasks_to(plain)},
                {"... ordered", by_tasks_to(in_order)},
            };
            if (at_random && writers == in_flight) {
                all.push_back({"... raw ring, linked in rows of 64",
                               [&](unsigned count) { raw_linked(ex, to, count); }});
            }
            if (at_random) {
                all.push_back(
                    {"... pwrite, one after the other", [&](unsigned count) { calls(to, count); }});
            }
            measure_writes(std::move(all), at_random);
        }
    }
}

// What the calls are measured next to: a raw ring's reads and linked writes, and pwrite; and the
// memory and the offsets of all.

#pragma once

#include "turns.hpp"

#include <monad/async.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

namespace bench {

namespace ma = monad::async;

constexpr unsigned in_flight = 64;
constexpr std::size_t block = 4096, blocks = 4096; // 16 MiB
struct random_offsets {
    static inline std::uint64_t made = 0;
    std::uint64_t state;
    // Each has its own: the second of a pair would find in the caches what the first has read.
    random_offsets() : state(++made * 0x9e3779b97f4a7c15u) {}
    std::int64_t next()
    {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::int64_t>((state >> 33) % blocks * block);
    }
};

inline char *room()
{
    alignas(block) static char memory[in_flight * block];
    return memory;
}

inline int temporary(char const *directory)
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

inline ma::buffer_set &buffers(ma::executor &ex)
{
    static ma::buffer_set set(ex, in_flight, block);
    return set;
}

// The memory of that set: what lies where in the processor's caches is the same for both then.
inline char *registered_room(ma::executor &ex)
{
    static char *const memory = [&ex] {
        char *first = nullptr;
        ma::task task;
        // No other was claimed so far.
        task.attach(ex, [&] { first = reinterpret_cast<char *>(buffers(ex).claim().data()); });
        ex.run_until_idle();
        task.get();
        return first;
    }();
    return memory;
}

inline io_uring *raw_ring(ma::executor &ex, int fd)
{
    static io_uring *const ring = [&ex, fd] {
        static io_uring made;
        io_uring_params p = {};
        p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
        if (io_uring_queue_init_params(256, &made, &p) != 0) {
            die("io_uring_queue_init_params");
        }
        io_uring_register_ring_fd(&made);
        iovec const piece = {registered_room(ex), in_flight * block};
        if (io_uring_register_buffers(&made, &piece, 1) != 0 ||
            io_uring_register_files(&made, &fd, 1) != 0) {
            die("io_uring_register");
        }
        return &made;
    }();
    return ring;
}

inline void raw_reads(ma::executor &ex, int fd, bool fixed, unsigned count)
{
    auto *const ring = raw_ring(ex, fd);
    auto *const memory = fixed ? registered_room(ex) : room();
    random_offsets at;
    unsigned begun = 0, done = 0;
    auto const begin = [&](unsigned slot) {
        auto *const sqe = io_uring_get_sqe(ring);
        auto *const to = memory + slot * block;
        auto const offset = static_cast<std::uint64_t>(at.next());
        if (fixed) {
            io_uring_prep_read_fixed(sqe, 0, to, block, offset, 0);
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
    while (done < count) {
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
        for (unsigned i = 0; i < n && begun < count; ++i) {
            begin(slots[i]);
        }
    }
}

// 64 writers' writes in the order in which they are called, as a raw ring has it: of those that
// wait one chain of links, and the next when all of that is done.
inline void raw_linked(ma::executor &ex, int fd, unsigned count)
{
    auto *const ring = raw_ring(ex, fd);
    random_offsets at;
    for (unsigned done = 0; done < count; done += in_flight) {
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
inline void calls(int fd, unsigned count)
{
    random_offsets at;
    for (unsigned i = 0; i < count; ++i) {
        if (pwrite(fd, room(), block, at.next()) != static_cast<ssize_t>(block)) {
            die("pwrite");
        }
    }
}

} // namespace bench

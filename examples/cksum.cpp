// cksum: POSIX cksum of every regular file below the directories given, through monad_async: cksum.c
// once more, in about half its length. One task a file, at most 256 in flight, small files before large
// ones. A body is a lambda, an error is an exception, and a descriptor closes itself.
#include "posix_crc.h"

#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fts.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef CKSUM_DEFAULT_DIRECTORY
    #define CKSUM_DEFAULT_DIRECTORY "." // The build may name another.
#endif

namespace ma = monad::async;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t max_waiting = 4096;     // Enough to choose the small ones from.
constexpr unsigned buffer_bytes = 128 * 1024; // Two such fit a second-level cache.

struct file {
    std::string path;
    bool was_named; // On the command line, where a symbolic link is followed.
};

// A file that is open. All but its size is asked of io_uring, so that others run meanwhile.
class open_file {
public:
    // What was a file when it was found may be a pipe by now, whose open waits: O_NONBLOCK.
    explicit open_file(file const &f)
        : fd_(static_cast<int>(ask(IORING_OP_OPENAT, AT_FDCWD, f.path.c_str(), 0, 0,
              O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (f.was_named ? 0 : O_NOFOLLOW))))
    {
    }
    open_file(open_file const &) = delete;
    open_file &operator=(open_file const &) = delete;
    ~open_file()
    {
        try {
            (void)ask(IORING_OP_CLOSE, fd_, nullptr, 0, 0, 0);
        } catch (std::system_error const &) {
            // Nothing was written, so no error of close can matter.
        }
    }

    // The inode is in memory since the open: a system call that cannot wait. -1: no regular file.
    [[nodiscard]] off_t size() const
    {
        struct stat st = {};
        return ::fstat(fd_, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
    }

    [[nodiscard]] std::size_t read(unsigned char *buffer, std::uint64_t offset) const
    {
        return static_cast<std::size_t>(ask(IORING_OP_READ, fd_, buffer, buffer_bytes, offset, 0));
    }

private:
    static std::intptr_t ask(unsigned char opcode, int fd, void const *address, unsigned bytes,
        std::uint64_t offset, int flags)
    {
        io_uring_sqe sqe = {};
        sqe.opcode = opcode;
        sqe.fd = fd;
        sqe.addr = reinterpret_cast<std::uintptr_t>(address);
        sqe.len = bytes;
        sqe.off = offset;
        sqe.open_flags = static_cast<unsigned>(flags);
        for (;;) {
            try {
                return ma::this_task::io(sqe);
            } catch (std::system_error const &e) {
                // Where a file system cannot promise that a read will not wait, as in /proc,
                // io_uring takes O_NONBLOCK at its word.
                bool const waits = e.code().value() == EAGAIN && ::fcntl(fd, F_SETFL, 0) == 0;
                if (opcode == IORING_OP_CLOSE || (e.code().value() != EINTR && !waits)) {
                    throw;
                }
            }
        }
    }

    int fd_;
};

// CRC and bytes. Reads to the end of file, wherever that is by then: the size is no more than a hint,
// of a file that grows or shrinks, and of one of /proc, whose size is said to be 0.
std::pair<std::uint32_t, std::uint64_t> sum_of(file const &f, unsigned char *buffer)
{
    open_file const opened(f);
    auto const size = opened.size();
    if (size < 0) {
        throw std::system_error(ENXIO, std::system_category());
    }
    std::uint32_t crc = 0;
    std::uint64_t bytes = 0;
    while (auto const n = opened.read(buffer, bytes)) {
        crc = posix_crc_update(crc, buffer, n);
        bytes += n;
        if (n < buffer_bytes && bytes == static_cast<std::uint64_t>(size)) {
            break; // Short and at the size it was opened with: that was the end.
        }
    }
    return {posix_crc_finish(crc, bytes), bytes};
}

// Each file in flight holds one; a few are for the ring, the walk and what was open before us.
unsigned descriptors_to_spare()
{
    rlimit limit = {};
    (void)::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<unsigned>(std::clamp<rlim_t>(limit.rlim_cur, 17, 16 + 256) - 16);
}

class job {
public:
    // The walk is started here, as it refuses an empty name.
    explicit job(std::vector<char *> paths)
    {
        for (auto n = std::erase_if(paths, [](char const *p) { return *p == '\0'; }); n > 0; --n) {
            complain("''", ENOENT);
        }
        paths.push_back(nullptr);
        if (paths.size() > 1) {
            walk_.reset(::fts_open(paths.data(), FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, nullptr));
        }
    }

    // True if all went well.
    bool run()
    {
        for (;;) {
            if (write_error_ == 0) {
                find();
                launch();
            }
            if (in_flight_ == 0) {
                break; // Nothing waits either, or nobody reads what we write.
            }
            ex_.run(ma::executor::unlimited, is_terminal_ ? 200ms : std::chrono::nanoseconds::max());
            show_progress();
        }
        if (std::fflush(stdout) != 0 || write_error_ != 0) {
            complain("write error", write_error_ != 0 ? write_error_ : errno);
        }
        hide_progress();
        return !failed_;
    }

    void say_stats() const
    {
        auto const &ex = *ex_.native_handle();
        auto const ms = [](monad_async_cpu_ticks_count_t ticks) {
            return static_cast<double>(monad_async_ticks_to_ns(ticks)) / 1e6;
        };
        std::fprintf(stderr,
            "cksum: %" PRIu64 " files, %" PRIu64 " bytes in %.3f ms: %.1f MB/s; at most %u in flight\n"
            "cksum: launching %.3f ms, completing %.3f ms, I/O %.3f ms, sleeping %.3f ms\n",
            files_, bytes_, elapsed_ms(), static_cast<double>(bytes_) / 1e3 / elapsed_ms(),
            most_in_flight_, ms(ex.total_ticks_in_task_launch), ms(ex.total_ticks_in_task_completion),
            ms(ex.total_ticks_in_io_uring), ms(ex.total_ticks_sleeping));
    }

private:
    // A task and what it reads into, used for one file after the other.
    struct slot {
        ma::task task;
        std::unique_ptr<unsigned char[]> buffer{new unsigned char[buffer_bytes]};
    };

    // Finds files until enough of them wait, or there are no more.
    void find()
    {
        while (walk_ && waiting_[0].size() + waiting_[1].size() + waiting_[2].size() < max_waiting) {
            auto *const entry = ::fts_read(walk_.get());
            if (entry == nullptr) {
                return walk_.reset();
            }
            bool const was_named = entry->fts_level == FTS_ROOTLEVEL;
            auto const kind = entry->fts_info;
            if (kind == FTS_F) {
                auto const size = entry->fts_statp->st_size;
                auto const level = size <= 64 << 10 ? 0u : size <= 4 << 20 ? 1u : 2u;
                waiting_[level].push_back({entry->fts_path, was_named});
            } else if (kind == FTS_DNR || kind == FTS_ERR || kind == FTS_NS) {
                complain(entry->fts_path, entry->fts_errno);
            } else if (kind == FTS_DC || kind == FTS_SLNONE) {
                complain(entry->fts_path, kind == FTS_DC ? ELOOP : ENOENT);
            } else if (kind == FTS_DEFAULT && was_named) {
                complain(entry->fts_path, ENXIO); // A device, a pipe, a socket.
            }
        }
    }

    void launch()
    {
        for (std::size_t level = 0; level < waiting_.size(); ++level) {
            auto &queue = waiting_[level];
            for (; !queue.empty() && in_flight_ < max_in_flight_; queue.pop_front()) {
                if (free_.empty()) {
                    free_.push_back(&slots_.emplace_back());
                }
                auto *const s = free_.back();
                free_.pop_back();
                s->task.priority(ma::priority(level), ma::priority(level));
                s->task.attach(ex_, [this, s, f = std::move(queue.front())] { do_file(s, f); });
                most_in_flight_ = std::max(most_in_flight_, ++in_flight_);
            }
        }
    }

    // A task's body.
    void do_file(slot *s, file const &f)
    {
        try {
            auto const [crc, bytes] = sum_of(f, s->buffer.get());
            hide_progress();
            if (std::printf("%" PRIu32 " %" PRIu64 " %s\n", crc, bytes, f.path.c_str()) < 0) {
                write_error_ = errno;
            }
            ++files_;
            bytes_ += bytes;
        } catch (std::system_error const &e) {
            complain(f.path, e.code().value());
        }
        free_.push_back(s);
        --in_flight_;
    }

    void complain(std::string path, int error)
    {
        hide_progress();
        failed_ = true;
        // A name must not drive the terminal that reads about it.
        std::replace_if(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 127; }, '?');
        std::fprintf(stderr, "cksum: %s: %s\n", path.c_str(),
            error == ENXIO ? "No regular file" : std::strerror(error));
    }

    [[nodiscard]] double elapsed_ms() const
    {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began_).count();
    }

    void hide_progress()
    {
        if (std::exchange(shows_progress_, false)) {
            std::fputs("\r\033[K", stderr);
        }
    }

    void show_progress()
    {
        if (auto const ms = elapsed_ms(); is_terminal_ && ms >= progress_due_ms_) {
            progress_due_ms_ = ms + 200;
            std::fflush(stdout);
            std::fprintf(stderr, "\r\033[Kcksum: %" PRIu64 " files, %.1f MB/s, %u in flight", files_,
                static_cast<double>(bytes_) / 1e3 / ms, in_flight_);
            shows_progress_ = true;
        }
    }

    std::chrono::steady_clock::time_point const began_ = std::chrono::steady_clock::now();
    bool const is_terminal_ = ::isatty(STDERR_FILENO) == 1;
    bool failed_ = false, shows_progress_ = false;
    double progress_due_ms_ = 1000;
    int write_error_ = 0;
    std::uint64_t files_ = 0, bytes_ = 0;
    unsigned in_flight_ = 0, most_in_flight_ = 0;
    unsigned const max_in_flight_ = descriptors_to_spare();
    std::unique_ptr<FTS, int (*)(FTS *)> walk_{nullptr, ::fts_close}; // Null: all is found.
    std::array<std::deque<file>, 3> waiting_; // By size: small, medium, large.
    ma::executor ex_{ma::executor_options{.io_uring_entries = max_in_flight_}};
    std::deque<slot> slots_; // Never moved: bodies know where theirs is.
    std::vector<slot *> free_;
};

} // namespace

int main(int argc, char **argv)
try {
    static char default_directory[] = CKSUM_DEFAULT_DIRECTORY;
    std::vector<char *> paths(argv + 1, argv + argc);
    bool const wants_stats = !paths.empty() && paths[0] == std::string_view("--stats");
    paths.erase(paths.begin(), paths.begin() + wants_stats);
    if (!paths.empty() && paths[0] == std::string_view("--")) {
        paths.erase(paths.begin());
    } else if (!paths.empty() && paths[0][0] == '-' && paths[0][1] != '\0') {
        bool const asked = paths[0] == std::string_view("--help");
        std::fputs("usage: cksum_cpp [--stats] [--] [FILE|DIRECTORY]...\n", asked ? stdout : stderr);
        return asked ? 0 : 1;
    }
    if (paths.empty()) {
        paths.push_back(default_directory);
    }
    posix_crc_init();
    job j(std::move(paths));
    bool const all_well = j.run();
    if (wants_stats) {
        j.say_stats();
    }
    return all_well ? 0 : 1;
} catch (std::exception const &e) {
    std::fprintf(stderr, "cksum: %s\n", e.what());
    return 1;
}

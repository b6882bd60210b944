// cksum: POSIX cksum of every regular file below the directories given, through monad_async:
// cksum.c once more, in half its length. One task a file, at most 256 in flight, small files before
// large ones. A body is a lambda, an error is an exception, and whatever is opened closes itself.
#include "posix_crc.h"

#include <monad/async.hpp>
#include <monad/async/metrics.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <list>
#include <map>
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

// CRC and bytes. Reads to the end of file, wherever that is by then: the size is no more than a
// hint, of a file that grows or shrinks, and of one of /proc, whose size is said to be 0.
std::pair<std::uint32_t, std::uint64_t> sum_of(file const &f, unsigned char *buffer)
{
    // What was a file when it was found may be a pipe by now: this open does not wait for a writer.
    ma::file fd(f.path, O_RDONLY | O_NOCTTY | (f.was_named ? 0 : O_NOFOLLOW));
    // The inode is in memory since the open: a system call that cannot wait.
    struct stat st = {};
    if (::fstat(fd.native_handle().fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        throw std::system_error(ENXIO, std::system_category());
    }
    std::uint32_t crc = 0;
    std::uint64_t bytes = 0;
    while (auto const n = fd.read({buffer, buffer_bytes}, static_cast<std::int64_t>(bytes))) {
        crc = posix_crc_update(crc, buffer, n);
        bytes += n;
        if (n < buffer_bytes && bytes == static_cast<std::uint64_t>(st.st_size)) {
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

void must(monad_async_result r)
{
    if (r.error != 0) {
        throw std::system_error(r.error, std::system_category(), "metrics");
    }
}

class job {
public:
    explicit job(std::vector<char *> paths)
    {
        // The walk would refuse all for one empty name.
        for (auto n = std::erase_if(paths, [](char const *p) { return *p == '\0'; }); n > 0; --n) {
            complain("''", ENOENT);
        }
        paths.push_back(nullptr);
        if (paths.size() > 1) {
            walk_.reset(
                ::fts_open(paths.data(), FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, nullptr));
            if (!walk_) {
                throw std::system_error(errno, std::system_category(), "directories");
            }
        }
        if (::isatty(STDERR_FILENO) == 1) {
            progress_.attach(ex_, [this] {
                for (auto pause = 1000ms;; pause = 200ms) {
                    ma::this_task::sleep_for(pause);
                    std::fflush(stdout);
                    std::fprintf(
                        stderr, "\r\033[Kcksum: %" PRIu64 " files, %.1f MB/s, %zu in flight",
                        files_, static_cast<double>(bytes_) / 1e3 / elapsed_ms(), busy_.size());
                    shows_progress_ = true;
                }
            });
        }
    }

    // True if all went well.
    bool run(bool wants_stats)
    {
        if (wants_stats) {
            must(monad_async_metrics_start(ex_.native_handle()));
        }
        for (launch(); !busy_.empty(); launch()) {
            ex_.run();
        }
        if (std::fflush(stdout) != 0 || write_error_ != 0) {
            complain("write error", write_error_ != 0 ? write_error_ : errno);
        }
        hide_progress();
        if (wants_stats) {
            say_stats();
        }
        return !failed_;
    }

private:
    // A task and what it reads into, used for one file after the other.
    struct slot {
        ma::task task;
        std::unique_ptr<unsigned char[]> buffer{new unsigned char[buffer_bytes]};
    };
    using slots = std::list<slot>;                   // Never moved: a body knows where its slot is.
    using files = std::multimap<ma::priority, file>; // Smallest class first, in it the oldest.

    // Until enough of them wait, or there are no more.
    void find()
    {
        while (walk_ && waiting_.size() < max_waiting) {
            errno = 0;
            auto *const entry = ::fts_read(walk_.get());
            if (entry == nullptr) {
                if (errno != 0) {
                    complain("directories", errno);
                }
                return walk_.reset();
            }
            bool const was_named = entry->fts_level == FTS_ROOTLEVEL;
            auto const kind = entry->fts_info;
            if (kind == FTS_F) {
                auto const size = entry->fts_statp->st_size;
                auto const level = size <= 64 << 10  ? ma::priority::high
                                   : size <= 4 << 20 ? ma::priority::normal
                                                     : ma::priority::low;
                waiting_.emplace(level, file{entry->fts_path, was_named});
            } else if (kind == FTS_DNR || kind == FTS_ERR || kind == FTS_NS) {
                complain(entry->fts_path, entry->fts_errno);
            } else if (kind == FTS_DC || kind == FTS_SLNONE) {
                complain(entry->fts_path, kind == FTS_DC ? ELOOP : ENOENT);
            } else if (kind == FTS_DEFAULT && was_named) {
                complain(entry->fts_path, ENXIO); // A device, a pipe, a socket.
            }
        }
    }

    // As many as may be in flight; no more where nobody reads what we write.
    void launch()
    {
        find();
        while (!waiting_.empty() && busy_.size() < max_in_flight_ && write_error_ == 0) {
            if (idle_.empty()) {
                idle_.emplace_back();
            }
            busy_.splice(busy_.begin(), idle_, idle_.begin());
            auto const s = busy_.begin();
            auto found = waiting_.extract(waiting_.begin());
            s->task.priority(found.key(), found.key());
            s->task.attach(ex_,
                           [this, s, found = std::move(found)] { do_file(s, found.mapped()); });
        }
    }

    // A task's body.
    void do_file(slots::iterator s, file const &f)
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
        idle_.splice(idle_.begin(), busy_, s);
    }

    void complain(std::string path, int error)
    {
        hide_progress();
        failed_ = true;
        // A name must not drive the terminal that reads about it.
        std::replace_if(
            path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 127; }, '?');
        std::fprintf(stderr, "cksum: %s: %s\n", path.c_str(),
                     error == ENXIO ? "No regular file" : std::strerror(error));
    }

    void say_stats() const
    {
        monad_async_metrics m;
        must(monad_async_executor_metrics(ex_.native_handle(), &m));
        auto const ms = [](auto ticks) {
            return static_cast<double>(monad_async_ticks_to_ns(ticks)) / 1e6;
        };
        std::fprintf(
            stderr,
            "cksum: %" PRIu64 " files, %" PRIu64
            " bytes in %.3f ms: %.1f MB/s; at most %zu in flight\n"
            "cksum: launching %.3f ms, completing %.3f ms, I/O %.3f ms, sleeping %.3f ms\n",
            files_, bytes_, elapsed_ms(), static_cast<double>(bytes_) / 1e3 / elapsed_ms(),
            idle_.size(), ms(m.ticks_in_task_launch), ms(m.ticks_in_task_completion),
            ms(m.ticks_in_io_uring), ms(m.ticks_sleeping));
        for (auto const &ready : m.ready) {
            if (ready.sum_ticks != 0) {
                auto const us = [&](unsigned n) {
                    return static_cast<double>(monad_async_histogram_percentile_ns(&ready, n)) /
                           1e3;
                };
                std::fprintf(
                    stderr,
                    "cksum: ready before it ran, priority %td: median %.1f us, 99%% %.1f us\n",
                    &ready - m.ready, us(500), us(990));
            }
        }
    }

    [[nodiscard]] double elapsed_ms() const
    {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began_)
            .count();
    }

    void hide_progress()
    {
        if (std::exchange(shows_progress_, false)) {
            std::fputs("\r\033[K", stderr);
        }
    }

    std::chrono::steady_clock::time_point const began_ = std::chrono::steady_clock::now();
    bool failed_ = false, shows_progress_ = false;
    int write_error_ = 0;
    std::uint64_t files_ = 0, bytes_ = 0;
    unsigned const max_in_flight_ = descriptors_to_spare();
    std::unique_ptr<FTS, int (*)(FTS *)> walk_{nullptr, ::fts_close}; // Null: all is found.
    files waiting_;
    ma::executor ex_{ma::executor_options{.io_uring_entries = max_in_flight_}};
    slots idle_, busy_;
    ma::task progress_;
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
        std::fputs("usage: cksum_cpp [--stats] [--] [FILE|DIRECTORY]...\n",
                   asked ? stdout : stderr);
        return asked ? 0 : 1;
    }
    if (paths.empty()) {
        paths.push_back(default_directory);
    }
    posix_crc_init();
    return job(std::move(paths)).run(wants_stats) ? 0 : 1;
} catch (std::exception const &e) {
    std::fprintf(stderr, "cksum: %s\n", e.what());
    return 1;
}

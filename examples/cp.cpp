// cp: copies files and trees, many files in flight; holes, modes, times and links are kept. No file
// stands half-written under its final name, whenever this is killed: it has another name first, and
// renamed when it is whole.
//
//   cp [--verify] FROM... TO       TO is a directory, or is made for the one FROM
#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <new>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ma = monad::async;
namespace fs = std::filesystem;

namespace {

constexpr std::size_t buffer_bytes = 1 << 20;
constexpr unsigned most_in_flight = 64;

struct totals {
    std::uint64_t files = 0, bytes = 0, found_files = 0, found_bytes = 0;
    unsigned failed = 0;
    bool is_found = false;
};

void complain(fs::path const &path, std::error_code ec, totals &t)
{
    std::fprintf(stderr, "\r\033[Kcp: %s: %s\n", path.c_str(), ec.message().c_str());
    ++t.failed;
}

timespec time_of(statx_timestamp const &t)
{
    return {static_cast<time_t>(t.tv_sec), static_cast<long>(t.tv_nsec)};
}

// Owner where that is allowed, then the mode, which a change of owner may cut, then the times.
void take_over(struct statx const &status, int fd)
{
    timespec const times[] = {time_of(status.stx_atime), time_of(status.stx_mtime)};
    ma::offload([&] {
        (void)!::fchown(fd, status.stx_uid, status.stx_gid);
        if (::fchmod(fd, status.stx_mode & 07777u) != 0 || ::futimens(fd, times) != 0) {
            throw std::system_error(errno, std::system_category());
        }
    });
}

// A file next to the one that is to be; removed again unless it was renamed.
class draft {
public:
    explicit draft(fs::path final) : final_(std::move(final))
    {
        static std::uint64_t number = 0;
        auto const name = ".cp-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
        path_ = final_.parent_path() / name;
    }
    draft(draft const &) = delete;
    ~draft()
    {
        if (!done_) {
            ma::shield const always;
            std::error_code ec;
            ma::path_unlink(path_, 0, ec);
        }
    }
    [[nodiscard]] fs::path const &path() const { return path_; }
    void finish()
    {
        ma::path_rename(path_, final_);
        done_ = true;
    }

private:
    fs::path final_, path_;
    bool done_ = false;
};

struct job {
    fs::path from, to;
    struct statx status;
};

// The next stretch of data at or behind `at`; its end is where the next hole begins.
std::pair<std::int64_t, std::int64_t> data_behind(int fd, std::int64_t at, std::int64_t size)
{
    off_t const begin = ::lseek(fd, at, SEEK_DATA);
    if (begin < 0) {
        // ENXIO: nothing but a hole is left. Else the file system cannot tell: all is data.
        return errno == ENXIO ? std::pair{size, size} : std::pair{at, size};
    }
    off_t const end = ::lseek(fd, begin, SEEK_HOLE);
    return {begin, end < 0 ? size : end};
}

void copy_data(ma::file &in, ma::file &out, std::int64_t size, std::vector<char> &buffer, totals &t)
{
    int const fd = in.native_handle().fd;
    in.advise(0, 0, POSIX_FADV_SEQUENTIAL);
    for (std::int64_t at = 0; at < size;) {
        auto const [begin, end] = data_behind(fd, at, size);
        t.bytes += static_cast<std::uint64_t>(begin - at);
        for (at = begin; at < end;) {
            auto const want = std::min<std::int64_t>(end - at, buffer_bytes);
            auto const n = in.read({buffer.data(), static_cast<std::size_t>(want)}, at);
            if (n == 0) {
                out.truncate(at); // It has become shorter.
                return;
            }
            out.write_all({buffer.data(), n}, at);
            at += static_cast<std::int64_t>(n);
            t.bytes += n;
        }
    }
    out.truncate(size); // A hole at the end.
}

void copy_file(job const &j, std::vector<char> &buffer, totals &t)
{
    ma::file in(j.from, O_RDONLY | O_NOFOLLOW);
    draft d(j.to);
    ma::open_options how;
    how.mode = 0600;
    ma::file out(d.path(), O_WRONLY | O_CREAT | O_EXCL, how);
    copy_data(in, out, static_cast<std::int64_t>(j.status.stx_size), buffer, t);
    take_over(j.status, out.native_handle().fd);
    out.close();
    d.finish();
    ++t.files;
}

void copy_link(job const &j)
{
    auto const target = ma::offload([&] { return fs::read_symlink(j.from); });
    draft d(j.to);
    ma::path_symlink(target, d.path());
    timespec const times[] = {time_of(j.status.stx_atime), time_of(j.status.stx_mtime)};
    (void)::utimensat(AT_FDCWD, d.path().c_str(), times, AT_SYMLINK_NOFOLLOW);
    (void)!::lchown(d.path().c_str(), j.status.stx_uid, j.status.stx_gid);
    d.finish();
}

void verify(job const &j)
{
    ma::file a(j.from), b(j.to);
    std::vector<char> one(buffer_bytes), two(buffer_bytes);
    for (std::int64_t at = 0;; at += buffer_bytes) {
        auto const n = a.read_all(one, at), m = b.read_all(two, at);
        if (n != m || std::memcmp(one.data(), two.data(), n) != 0) {
            throw std::system_error(EIO, std::system_category(), "the copy differs");
        }
        if (n < buffer_bytes) {
            return;
        }
    }
}

std::array<std::uint64_t, 3> identity(struct statx const &s)
{
    return {s.stx_dev_major, s.stx_dev_minor, s.stx_ino};
}

class copier {
public:
    copier(totals &t, bool verifies) : t_(t), verifies_(verifies)
    {
        rlimit limit = {};
        (void)::getrlimit(RLIMIT_NOFILE, &limit);
        auto const spare = limit.rlim_cur > 32 ? (limit.rlim_cur - 24) / 3 : 2;
        places_ = static_cast<unsigned>(std::min<rlim_t>(spare, most_in_flight));
        buffers_.resize(places_);
        for (auto &buffer : buffers_) {
            free_.push_back(&buffer);
        }
        room_.release(places_);
    }

    // What was named: not onto itself, nor a directory into itself.
    void copy_named(fs::path const &from, fs::path const &to)
    {
        bool const is_wrong = ma::offload([&] {
            std::error_code ec; // A name of which nothing can be said is complained of by `copy`.
            auto const source = fs::weakly_canonical(fs::absolute(from, ec), ec);
            auto const target = ec ? fs::path() : fs::weakly_canonical(fs::absolute(to, ec), ec);
            auto const same =
                std::mismatch(source.begin(), source.end(), target.begin(), target.end());
            bool const is_inside = same.first == source.end() && !fs::is_symlink(from, ec);
            return !source.empty() && (is_inside || source == target);
        });
        if (is_wrong) {
            return complain(from, std::make_error_code(std::errc::invalid_argument), t_);
        }
        copy(from, to);
    }

    // Directories get their times when all is in them.
    void finish()
    {
        t_.is_found = true;
        tasks_.wait();
        for (auto j = directories_.rbegin(); j != directories_.rend(); ++j) {
            try {
                ma::file const d(j->to, O_RDONLY | O_DIRECTORY);
                take_over(j->status, d.native_handle().fd);
            } catch (std::system_error const &e) {
                complain(j->to, e.code(), t_);
            }
        }
    }

private:
    using names = std::pair<fs::path, fs::path>;

    // By a list: trees are deeper than stacks.
    void copy(fs::path const &from, fs::path const &to)
    {
        std::vector<names> left = {{from, to}};
        while (!left.empty()) {
            auto const next = std::move(left.back());
            left.pop_back();
            copy(next, left);
        }
    }

    void copy(names const &next, std::vector<names> &left)
    {
        auto const &[from, to] = next;
        std::error_code ec;
        job j{from, to, ma::path_stat(from, AT_SYMLINK_NOFOLLOW, ec)};
        if (ec) {
            return complain(from, ec, t_);
        }
        ++t_.found_files;
        if (S_ISDIR(j.status.stx_mode)) {
            // One that was made here, by whatever name: it would be copied into itself for ever.
            if (made_.count(identity(j.status)) != 0) {
                return complain(from, std::make_error_code(std::errc::invalid_argument), t_);
            }
            return copy_directory(j, left);
        }
        if (!S_ISREG(j.status.stx_mode) && !S_ISLNK(j.status.stx_mode)) {
            return complain(from, std::make_error_code(std::errc::not_supported), t_);
        }
        t_.found_bytes += S_ISREG(j.status.stx_mode) ? j.status.stx_size : 0;
        room_.acquire();
        tasks_.spawn([this, j = std::move(j)] { one(j); });
    }

    void copy_directory(job const &j, std::vector<names> &left)
    {
        std::error_code ec;
        ma::path_mkdir(j.to, 0700, ec);
        if (ec && ec.value() != EEXIST) {
            return complain(j.to, ec, t_);
        }
        auto const made = ma::path_stat(j.to, 0, ec);
        if (ec) {
            return complain(j.to, ec, t_);
        }
        made_.insert(identity(made));
        directories_.push_back(j);
        // A directory is read by system calls that may wait for a disk.
        ma::offload([&] {
            fs::directory_iterator it(j.from, ec);
            for (; !ec && it != fs::directory_iterator(); it.increment(ec)) {
                auto const name = it->path().filename();
                left.emplace_back(j.from / name, j.to / name);
            }
        });
        if (ec) {
            complain(j.from, ec, t_);
        }
    }

    void one(job const &j)
    {
        struct place {
            copier &whose;
            std::vector<char> *const buffer = whose.free_.back();

            explicit place(copier &c) : whose(c) { whose.free_.pop_back(); }
            place(place const &) = delete;
            ~place()
            {
                whose.free_.push_back(buffer);
                whose.room_.release();
            }
        } const mine(*this);
        try {
            mine.buffer->resize(buffer_bytes);
            if (S_ISLNK(j.status.stx_mode)) {
                copy_link(j);
            } else {
                copy_file(j, *mine.buffer, t_);
                if (verifies_) {
                    verify(j);
                }
            }
        } catch (ma::cancelled_error const &) {
            throw;
        } catch (std::system_error const &e) {
            complain(j.from, e.code(), t_);
        } catch (std::bad_alloc const &) {
            complain(j.from, std::make_error_code(std::errc::not_enough_memory), t_);
        }
    }

    totals &t_;
    bool verifies_;
    unsigned places_ = 0;
    std::vector<std::vector<char>> buffers_;
    std::vector<std::vector<char> *> free_;
    std::vector<job> directories_;
    std::set<std::array<std::uint64_t, 3>> made_;
    ma::local_semaphore room_{0};
    ma::task_group tasks_{MONAD_ASYNC_GROUP_INDEPENDENT};
};

// On a terminal, four times a second: how far, how fast, how long yet.
void show_progress(totals const &t)
{
    using namespace std::chrono;
    auto const begun = steady_clock::now();
    for (std::string bar;; ma::this_task::sleep_for(milliseconds(250))) {
        double const seconds = duration<double>(steady_clock::now() - begun).count();
        double const rate = seconds > 0 ? static_cast<double>(t.bytes) / seconds : 0;
        double const part = t.found_bytes == 0
                                ? 0
                                : static_cast<double>(t.bytes) / static_cast<double>(t.found_bytes);
        bar.assign(static_cast<std::size_t>(std::min(part, 1.0) * 30), '#');
        double const left = rate > 0 && t.found_bytes > t.bytes
                                ? static_cast<double>(t.found_bytes - t.bytes) / rate
                                : 0;
        std::fprintf(stderr,
                     "\r\033[K[%-30s] %" PRIu64 "/%" PRIu64 "%s files  %.0f MB/s  %.0f s left",
                     bar.c_str(), t.files, t.found_files, t.is_found ? "" : "+", rate / 1e6, left);
    }
}

} // namespace

int main(int argc, char **argv)
{
    std::vector<fs::path> names(argv + 1, argv + argc);
    bool const verifies = !names.empty() && names[0] == "--verify";
    if (verifies) {
        names.erase(names.begin());
    }
    if (names.size() < 2) {
        std::fprintf(stderr, "usage: cp [--verify] FROM... TO\n");
        return EXIT_FAILURE;
    }
    fs::path const to = names.back();
    names.pop_back();
    bool const into = fs::is_directory(to);
    if (!into && names.size() > 1) {
        std::fprintf(stderr, "cp: %s: not a directory\n", to.c_str());
        return EXIT_FAILURE;
    }
    totals t;
    ma::executor ex;
    ma::task copying, showing;
    copying.attach(ex, [&] {
        struct end {
            ma::task &bar;
            ~end() { bar.cancel(); }
        } const last{showing};
        copier c(t, verifies);
        for (auto const &from : names) {
            auto const name = from.has_filename() ? from.filename() : from.parent_path().filename();
            c.copy_named(from, into ? to / name : to);
        }
        c.finish();
    });
    if (::isatty(STDERR_FILENO) != 0) {
        showing.attach(ex, [&] { show_progress(t); });
    }
    ex.run_until_idle();
    if (::isatty(STDERR_FILENO) != 0) {
        std::fprintf(stderr, "\r\033[K");
    }
    try {
        copying.get();
    } catch (std::exception const &e) {
        std::fprintf(stderr, "cp: %s\n", e.what());
        return EXIT_FAILURE;
    }
    return t.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

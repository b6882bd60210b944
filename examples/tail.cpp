// tail: the last lines of files, and with -f what is appended to them, told by inotify: renamed and
// cut files are followed. Standard input as "-": a pipe is read by READ_MULTISHOT into a ring of
// buffers, or by plain reads where the kernel has none.
//
//   tail [-n LINES] [-f] [FILE...]
#include <monad/async.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <list>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

unsigned failed = 0;

void complain(std::string const &name, std::error_code ec)
{
    std::fprintf(stderr, "tail: %s: %s\n", name.c_str(), ec.message().c_str());
    ++failed;
}

// What is wrong with the output is not said of a file.
struct output_error : std::system_error {
    using std::system_error::system_error;
};

// False: something is wrong with the file, which was said.
template <class F> bool of_file(std::string const &name, F f)
{
    try {
        f();
        return true;
    } catch (ma::cancelled_error const &) {
        throw;
    } catch (output_error const &) {
        throw;
    } catch (std::system_error const &e) {
        complain(name, e.code());
    } catch (std::bad_alloc const &) {
        complain(name, std::make_error_code(std::errc::not_enough_memory));
    }
    return false;
}

// Output goes in the order of the calls, as a whole: standard output is an ordered file.
class output {
public:
    output() : file_(monad_async_file_adopt(::dup(STDOUT_FILENO))) { ma::order(file_); }
    void write(std::string_view text)
    {
        std::error_code ec;
        if (!text.empty()) {
            file_.write_all(text, ma::file::current, ec);
        }
        if (ec == ma::cancelled) {
            throw ma::cancelled_error("standard output");
        }
        if (ec) {
            throw output_error(ec, "standard output");
        }
    }
    // Says whose what follows is, where there are several.
    void begin(std::string const &name)
    {
        if (several && name != last_) {
            write((last_.empty() ? "==> " : "\n==> ") + name + " <==\n");
            last_ = name;
        }
    }
    bool several = false;

private:
    ma::file file_;
    std::string last_;
};

// Where the last lines of so many bytes begin.
std::int64_t begin_of_lines(ma::file &f, std::int64_t size, unsigned lines)
{
    char block[65536];
    // The newline at the end ends the last line, and begins none.
    unsigned seen = 0;
    for (std::int64_t end = size; end > 0 && lines > 0;) {
        auto const bytes = std::min<std::int64_t>(end, sizeof block);
        auto const n = static_cast<std::int64_t>(
            f.read_all({block, static_cast<std::size_t>(bytes)}, end - bytes));
        for (std::int64_t i = n - 1; i >= 0; --i) {
            std::int64_t const at = end - bytes + i;
            if (block[i] == '\n' && at != size - 1 && ++seen == lines) {
                return at + 1;
            }
        }
        end -= bytes;
    }
    return lines == 0 ? size : 0;
}

class follower {
public:
    follower(std::string name, unsigned lines, output &out) : name_(std::move(name)), out_(out)
    {
        file_ = ma::file(name_);
        auto const status = file_.stat();
        opened_ = status;
        auto const size = static_cast<std::int64_t>(status.stx_size);
        at_ = begin_of_lines(file_, size, lines);
        show();
    }

    // What was appended; from its start again if it was cut; another file of that name.
    void look()
    {
        std::error_code ec;
        auto const status = file_.stat(ec);
        if (!ec && static_cast<std::int64_t>(status.stx_size) < at_) {
            std::fprintf(stderr, "tail: %s: file truncated\n", name_.c_str());
            at_ = 0;
        }
        show();
        auto const named = ma::path_stat(name_, 0, ec);
        if (!ec && !is_opened(named)) {
            ma::file other(name_, O_RDONLY, {}, ec);
            if (!ec) {
                std::fprintf(stderr, "tail: %s: has been replaced\n", name_.c_str());
                auto const status = other.stat(ec);
                file_ = std::move(other);
                opened_ = ec ? named : status;
                at_ = 0;
                show();
            }
        }
    }

    [[nodiscard]] std::string const &name() const { return name_; }

private:
    // An inode's number is one of its device.
    [[nodiscard]] bool is_opened(struct statx const &s) const
    {
        return s.stx_ino == opened_.stx_ino && s.stx_dev_major == opened_.stx_dev_major &&
               s.stx_dev_minor == opened_.stx_dev_minor;
    }

    void show()
    {
        char block[65536];
        while (auto const n = file_.read(block, at_)) {
            out_.begin(name_);
            out_.write({block, n});
            at_ += static_cast<std::int64_t>(n);
        }
    }

    std::string name_;
    output &out_;
    ma::file file_;
    std::int64_t at_ = 0;
    struct statx opened_ = {};
};

// Any number of changes wakes the reader once: it looks at all the files then. One that it cannot
// read is followed no longer.
void follow(std::list<follower> &files)
{
    ma::file changes(monad_async_file_adopt(::inotify_init1(IN_CLOEXEC)));
    if (!changes.is_open()) {
        throw std::system_error(errno, std::system_category(), "inotify_init1");
    }
    int const fd = changes.native_handle().fd;
    auto const watch = [&] {
        for (auto const &f : files) {
            // The file itself, and its directory, where another may get the name.
            auto const slash = f.name().rfind('/');
            auto const directory = slash == std::string::npos ? "." : f.name().substr(0, slash + 1);
            (void)::inotify_add_watch(fd, f.name().c_str(), IN_MODIFY | IN_ATTRIB);
            (void)::inotify_add_watch(fd, directory.c_str(), IN_CREATE | IN_MOVED_TO);
        }
    };
    watch();
    for (alignas(inotify_event) char events[16384];;) {
        files.remove_if([](follower &f) { return !of_file(f.name(), [&] { f.look(); }); });
        if (files.empty()) {
            return;
        }
        (void)changes.read(events);
        watch();
    }
}

// The lines of standard input, of which nobody knows the end before it is there.
class last_lines {
public:
    explicit last_lines(unsigned most) : most_(most) {}
    void add(std::string_view text)
    {
        while (!text.empty()) {
            if (lines_.empty() || lines_.back().back() == '\n') {
                lines_.emplace_back();
            }
            auto const end = std::min(text.find('\n'), text.size() - 1) + 1;
            lines_.back().append(text.substr(0, end));
            text.remove_prefix(end);
            if (lines_.size() > most_) {
                lines_.pop_front();
            }
        }
    }
    [[nodiscard]] std::deque<std::string> const &lines() const { return lines_; }

private:
    unsigned most_;
    std::deque<std::string> lines_;
};

// True: to the end. False: the kernel has no such reads, or not of such a file.
bool by_stream(last_lines &lines)
{
    auto *const self = ma::this_task::current();
    monad_async_buffer_ring ring = nullptr;
    auto *const ex = self->current_executor;
    if (monad_async_buffer_ring_create(ex, &ring, 8, 16384).error != 0) {
        return false;
    }
    monad_async_op op = {};
    bool ended = false;
    for (bool goes_on = true; goes_on;) {
        if (!op.is_in_flight) {
            op.sqe = {};
            op.sqe.opcode = 49; // IORING_OP_READ_MULTISHOT, which older headers lack
            op.sqe.fd = STDIN_FILENO;
            op.sqe.off = ~std::uint64_t{0};
            op.sqe.flags = IOSQE_BUFFER_SELECT;
            op.sqe.buf_group = monad_async_buffer_ring_group(ring);
            if (monad_async_op_begin(self, &op).error != 0) {
                break;
            }
        }
        auto const r = monad_async_op_wait(self, &op);
        monad_async_view view = {};
        if (monad_async_buffer_ring_view(ring, &op, &view).error == 0) {
            lines.add({static_cast<char const *>(view.data), view.length});
            (void)monad_async_view_release(&view);
        }
        ended = r.error == 0 && r.value == 0;
        // ENOBUFS: they are free again by now.
        goes_on = r.error == ENOBUFS || (r.error == 0 && !ended);
    }
    (void)monad_async_op_end(self, &op);
    (void)monad_async_buffer_ring_destroy(ring);
    return ended;
}

void from_input(unsigned most, output &out)
{
    last_lines lines(most);
    if (!by_stream(lines)) {
        char block[16384];
        ma::file in(monad_async_file_adopt(::dup(STDIN_FILENO)));
        while (auto const n = in.read(block)) {
            lines.add({block, n});
        }
    }
    out.begin("standard input");
    for (auto const &line : lines.lines()) {
        out.write(line);
    }
}

} // namespace

int main(int argc, char **argv)
try {
    unsigned lines = 10;
    bool follows = false;
    for (int c; (c = ::getopt(argc, argv, "n:f")) != -1;) {
        if (c == 'n') {
            lines = static_cast<unsigned>(std::strtoul(optarg, nullptr, 10));
        } else if (c == 'f') {
            follows = true;
        } else {
            std::fputs("usage: tail [-n LINES] [-f] [FILE...]\n", stderr);
            return EXIT_FAILURE;
        }
    }
    std::vector<std::string> names(argv + optind, argv + argc);
    if (names.empty()) {
        names.emplace_back("-");
    }
    ma::signals ends; // SIGTERM, SIGINT, SIGHUP
    ma::executor ex;
    ma::task showing, ending;
    showing.attach(ex, [&] {
        output out;
        out.several = names.size() > 1;
        std::list<follower> files;
        for (auto const &name : names) {
            of_file(name, [&] {
                if (name == "-") {
                    from_input(lines, out);
                } else {
                    files.emplace_back(name, lines, out);
                }
            });
        }
        if (follows && !files.empty()) {
            follow(files);
        }
    });
    ending.attach(ex, [&] { ends.wait(), showing.cancel(); });
    while (!showing.done()) {
        ex.run();
    }
    ending.cancel();
    ex.run_until_idle();
    try {
        showing.get();
    } catch (ma::cancelled_error const &) {
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (std::exception const &e) {
    std::fprintf(stderr, "tail: %s\n", e.what());
    return EXIT_FAILURE;
}

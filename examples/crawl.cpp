// How often each word stands in the files of trees. A task walks, some tasks read, a pool counts,
// and channels lie between them: a stage that is slower than the one before it makes that one wait.
// The blocks that are read come from a fixed number, so memory is bounded, except for the words.
//
//   crawl [--threads N] [--progress] [DIRECTORY...]
//
// A word is a row of ASCII letters; capitals count as small ones. Prints "COUNT WORD" lines, the
// most frequent first. As
//   find -type f -print0 | xargs -0 cat | tr A-Z a-z | tr -cs a-z '\n' | sort | uniq -c
#include <monad/async.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ma = monad::async;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t block_bytes = 256 << 10, blocks_at_once = 64, readers = 16;

struct hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept
    {
        return std::hash<std::string_view>()(text);
    }
};
using counts = std::unordered_map<std::string, std::uint64_t, hash, std::equal_to<>>;

struct progress {
    std::atomic<std::uint64_t> files{0}, bytes{0}, failed{0};
    std::atomic<bool> done{false};
} now;

void complain(std::string const &path, std::error_code ec)
{
    std::fprintf(stderr, "crawl: %s: %s\n", path.c_str(), ec.message().c_str());
    ++now.failed;
}

struct listing {
    std::vector<std::string> files, directories;
    int error = 0;
};

// The kernel's ring lists no directories: this is called on a helper thread.
listing list(std::string const &path)
{
    listing found;
    DIR *const directory = ::opendir(path.c_str());
    if (directory == nullptr) {
        found.error = errno;
        return found;
    }
    errno = 0;
    while (dirent const *const entry = ::readdir(directory)) {
        std::string_view const name = entry->d_name;
        if (name == "." || name == "..") {
            continue;
        }
        std::string full = path + "/" + entry->d_name;
        auto type = entry->d_type;
        struct stat status;
        if (type == DT_UNKNOWN && ::lstat(full.c_str(), &status) == 0) {
            type = S_ISDIR(status.st_mode) ? DT_DIR : S_ISREG(status.st_mode) ? DT_REG : DT_LNK;
        }
        if (type == DT_DIR) {
            found.directories.push_back(std::move(full));
        } else if (type == DT_REG) {
            found.files.push_back(std::move(full));
        }
        errno = 0;
    }
    found.error = errno;
    ::closedir(directory);
    return found;
}

class crawler {
public:
    crawler()
    {
        for (std::size_t i = 0; i != blocks_at_once; ++i) {
            (void)free_.try_send(std::string());
        }
    }

    // A task's: sends the names of all files.
    void walk(std::vector<std::string> roots)
    {
        for (auto &root : roots) {
            struct stat status;
            if (::lstat(root.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
                paths_.send(std::move(root));
                continue;
            }
            std::vector<std::string> left = {std::move(root)};
            while (!left.empty()) {
                std::string const directory = std::move(left.back());
                left.pop_back();
                auto found = ma::offload([&] { return list(directory); });
                if (found.error != 0) {
                    complain(directory, {found.error, std::system_category()});
                }
                for (auto &path : found.files) {
                    paths_.send(std::move(path));
                }
                left.insert(left.end(), std::make_move_iterator(found.directories.begin()),
                            std::make_move_iterator(found.directories.end()));
            }
        }
        paths_.close();
    }

    // The tasks': sends the files' contents, cut between words.
    void read()
    {
        for (auto &&path : paths_) {
            std::error_code ec;
            ma::file file(path, O_RDONLY | O_NOFOLLOW, {}, ec);
            if (!ec) {
                read(file, ec);
            }
            if (ec) {
                complain(path, ec);
            }
            ++now.files;
        }
    }

    void end_of_reading() { blocks_.close(); }

    // The pool's.
    counts count()
    {
        counts words;
        for (auto &&block : blocks_) {
            count(block, words);
            block.clear();
            free_.send(std::move(block));
        }
        return words;
    }

private:
    static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

    void read(ma::file &file, std::error_code &ec)
    {
        std::string rest; // The beginning of a word.
        std::uint64_t at = 0;
        for (bool more = true; more;) {
            auto block = *free_.recv();
            std::size_t const begun = rest.size();
            block.resize(begun + block_bytes);
            std::copy(rest.begin(), rest.end(), block.begin());
            rest.clear();
            std::size_t const n =
                file.read({block.data() + begun, block_bytes}, std::int64_t(at), ec);
            at += n;
            now.bytes += n;
            block.resize(begun + n);
            more = n != 0;
            if (more) {
                auto const end = std::find_if_not(block.rbegin(), block.rend(), is_letter).base();
                rest.assign(end, block.end());
                block.erase(end, block.end());
            }
            // One without a whole word goes round for the next read.
            if (block.empty()) {
                free_.send(std::move(block));
            } else {
                blocks_.send(std::move(block));
            }
        }
    }

    static void count(std::string &block, counts &words)
    {
        char *const end = block.data() + block.size();
        for (char *at = block.data(); at != end;) {
            at = std::find_if(at, end, is_letter);
            char *const begin = at;
            for (; at != end && is_letter(*at); ++at) {
                *at = static_cast<char>(*at | 0x20);
            }
            if (at == begin) {
                return;
            }
            std::string_view const word(begin, static_cast<std::size_t>(at - begin));
            auto const known = words.find(word);
            if (known != words.end()) {
                ++known->second;
            } else {
                words.emplace(word, 1);
            }
        }
    }

    ma::channel<std::string> paths_{256}, blocks_{blocks_at_once}, free_{blocks_at_once};
};

void show_progress()
{
    while (!now.done) {
        std::fprintf(stderr, "\r%lu files, %lu MiB ", now.files.load(), now.bytes.load() >> 20);
        ma::this_task::sleep_for(200ms);
    }
    std::fprintf(stderr, "\r%lu files, %lu MiB \n", now.files.load(), now.bytes.load() >> 20);
}

} // namespace

int main(int argc, char **argv)
try {
    unsigned threads = 0;
    bool shows = false;
    std::vector<std::string> roots;
    for (int i = 1; i < argc; ++i) {
        std::string_view const argument = argv[i];
        if (argument == "--threads" && i + 1 < argc) {
            threads = static_cast<unsigned>(std::atoi(argv[++i]));
        } else if (argument == "--progress") {
            shows = true;
        } else if (argument.substr(0, 2) == "--") {
            std::fprintf(stderr, "usage: crawl [--threads N] [--progress] [DIRECTORY...]\n");
            return 2;
        } else {
            roots.emplace_back(argument);
        }
    }
    if (roots.empty()) {
        roots.emplace_back(".");
    }

    crawler c;
    counts words;
    ma::thread_pool pool(threads);
    ma::executor ex;
    ma::task all, showing;
    all.attach(ex, [&] {
        struct end {
            ~end() { now.done = true; }
        } const last;
        std::vector<ma::future<counts>> counting;
        for (std::size_t i = 0; i != pool.workers(); ++i) {
            counting.push_back(pool.submit([&c] { return c.count(); }));
        }
        ma::task_group reading;
        reading.spawn([&] { c.walk(std::move(roots)); });
        for (std::size_t i = 0; i != readers; ++i) {
            reading.spawn([&c] { c.read(); });
        }
        reading.wait();
        c.end_of_reading();
        for (auto &one : counting) {
            for (auto &&[word, n] : one.get()) {
                words[word] += n;
            }
        }
    });
    if (shows) {
        showing.attach(ex, show_progress);
    }
    ex.run_until_idle();
    all.get();

    std::vector<counts::value_type const *> sorted;
    for (auto const &word : words) {
        sorted.push_back(&word);
    }
    std::sort(sorted.begin(), sorted.end(), [](auto const *a, auto const *b) {
        return a->second != b->second ? a->second > b->second : a->first < b->first;
    });
    for (auto const *word : sorted) {
        std::printf("%lu %s\n", word->second, word->first.c_str());
    }
    bool const written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    return written && now.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (std::exception const &e) {
    std::fprintf(stderr, "crawl: %s\n", e.what());
    return EXIT_FAILURE;
}

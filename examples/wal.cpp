// wal: a key-value store with a write-ahead log, over a Unix socket. A set is answered when it is
// on the disk: many share one fdatasync. After a kill -9 nothing that was answered is lost, and
// what was torn is cut off; a log that is damaged in the middle is refused.
//
//   wal serve DIRECTORY       "set KEY VALUE": "ok" or "error WHY"; "get KEY": "is VALUE" or "none"
//   wal load DIRECTORY KEYS   sets each key to 1, 2, 3..., and gets it by another connection, until
//                             the server goes; prints what it was told
//   wal check DIRECTORY FILE  compares the store with what `load` has printed
#include <monad/async.hpp>

#include "posix_crc.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <sys/file.h>
#include <unistd.h>

namespace ma = monad::async;
using std::string;
using std::string_view;

namespace {

//! [a record of the log]
// Where it lies is part of the sum, so that nothing that was once elsewhere is taken for one.
struct header {
    std::uint32_t crc;
    std::uint32_t key_bytes;
    std::uint64_t value_bytes;
    std::uint64_t synced; // So much of the log was on the disk before this was written.
};
static_assert(sizeof(header) == 24, "no padding, which would be in the sum");

std::uint32_t sum_of(string_view record, std::uint64_t offset)
{
    auto const *const data = reinterpret_cast<unsigned char const *>(record.data());
    std::uint32_t const crc =
        posix_crc_update(0, data + sizeof(header::crc), record.size() - sizeof(header::crc));
    return posix_crc_finish(crc, offset);
}

string record_of(string_view key, string_view value, std::uint64_t offset, std::uint64_t synced)
{
    header h{0, static_cast<std::uint32_t>(key.size()), value.size(), synced};
    string record(sizeof h, 0);
    std::memcpy(record.data(), &h, sizeof h);
    record.append(key).append(value);
    h.crc = sum_of(record, offset);
    std::memcpy(record.data(), &h, sizeof h);
    return record;
}

// The record at `offset`, and nothing where there is none that is whole.
std::optional<header> header_at(string_view log, std::uint64_t offset)
{
    header h;
    auto const rest = log.substr(offset);
    if (rest.size() < sizeof h) {
        return std::nullopt;
    }
    std::memcpy(&h, rest.data(), sizeof h);
    auto const most = rest.size() - sizeof h;
    if (h.key_bytes > most || h.value_bytes > most - h.key_bytes ||
        sum_of(rest.substr(0, sizeof h + h.key_bytes + h.value_bytes), offset) != h.crc) {
        return std::nullopt;
    }
    return h;
}

// What is behind the last record that is whole, was it torn by a crash? That can be no more than
// what was not on the disk yet, in whatever order the disk wrote that. A later record that says the
// bytes at `end` were on the disk already shows that they were damaged since.
bool is_damaged(string_view log, std::uint64_t end)
{
    for (auto at = end + 1; at < log.size(); ++at) {
        auto const h = header_at(log, at);
        if (h && h->synced > end && h->synced <= at) { // None knows of more than was before it.
            return true;
        }
    }
    return false;
}
//! [a record of the log]

class store {
public:
    // By the running task: reads the log, and cuts off what is torn. Where the disk is too full for
    // that, it is written over: a record's sum is right in one place only.
    explicit store(string const &directory)
        : lock_(directory, O_RDONLY | O_DIRECTORY),
          log_(directory + "/log", O_RDWR | O_CREAT, in_order())
    {
        // Two servers would write over each other's records. It goes with the process, however that
        // ends: nothing in flight keeps it, as it may the log.
        if (::flock(lock_.native_handle().fd, LOCK_EX | LOCK_NB) != 0) {
            throw std::system_error(errno, std::system_category(), directory);
        }
        string all(log_.stat().stx_size, 0);
        all.resize(log_.read_all(all, 0));
        while (take(all)) {
        }
        if (is_damaged(all, end_)) {
            throw std::runtime_error(directory + "/log: damaged at byte " + std::to_string(end_) +
                                     ": what follows was written later, and is whole");
        }
        if (end_ != all.size()) {
            std::fprintf(stderr, "wal: %zu bytes that were torn are cut off at byte %" PRIu64 "\n",
                         std::size_t(all.size() - end_), end_);
        }
        cut(end_);
        log_.sync();
        // The name of a new log is on the disk too.
        ma::file(directory, O_RDONLY | O_DIRECTORY).sync();
        synced_ = end_;
    }

    // Returns when it is on the disk.
    void set(string const &key, string const &value)
    {
        while (repairing_) {
            repaired_.wait();
        }
        auto const at = end_;
        string const record = record_of(key, value, at, synced_);
        end_ += record.size();
        // Ordered: behind what was called before, as one write with what waits too.
        std::error_code ec;
        log_.write_all(record, static_cast<std::int64_t>(at), ec);
        if (ec) {
            repair(ec, at);
            throw std::system_error(ec);
        }
        values_[key] = {value, at + record.size()};
        commit(at + record.size());
    }

    // What is told is on the disk, and not what others have set until then.
    std::optional<string> get(string const &key)
    {
        auto const found = values_.find(key);
        if (found == values_.end()) {
            return std::nullopt;
        }
        entry told = found->second;
        commit(told.end);
        return std::move(told.text);
    }

private:
    struct entry {
        string text;
        std::uint64_t end; // Of its record.
    };

    static ma::open_options in_order()
    {
        ma::open_options how;
        how.flags = MONAD_ASYNC_FILE_ORDERED;
        return how;
    }

    // One record. False: there is no more that is whole.
    bool take(string const &log)
    {
        auto const h = header_at(log, end_);
        if (h) {
            auto const key = end_ + sizeof *h, value = key + h->key_bytes;
            end_ = value + h->value_bytes;
            values_[log.substr(key, h->key_bytes)] = {log.substr(value, h->value_bytes), end_};
        }
        return h.has_value();
    }

    void cut(std::uint64_t end)
    {
        std::error_code ec;
        log_.truncate(static_cast<std::int64_t>(end), ec);
        if (ec && ec.value() != EDQUOT && ec.value() != ENOSPC) {
            throw std::system_error(ec);
        }
    }

    // The first whose write failed cuts the log there; those behind it were not written.
    void repair(std::error_code ec, std::uint64_t at)
    {
        if (ec.value() == ECANCELED) {
            return;
        }
        ma::shield const whatever_happens;
        repairing_ = true;
        repaired_.reset();
        try {
            cut(at);
        } catch (std::exception const &e) {
            std::fprintf(stderr, "wal: %s\n", e.what()); // Nobody could write any more.
            std::_Exit(EXIT_FAILURE);
        }
        end_ = at;
        repairing_ = false;
        repaired_.set();
    }

    // Group commit: who finds nobody at it syncs for all that are written by then.
    void commit(std::uint64_t end)
    {
        written_ = std::max(written_, end);
        while (synced_ < end) {
            std::unique_lock lock(syncing_);
            if (synced_ >= end) {
                return;
            }
            auto const until = written_;
            std::error_code ec;
            log_.sync_data(ec);
            if (ec.value() == ECANCELED || ec.value() == ETIME) {
                throw std::system_error(ec);
            }
            if (ec) {
                // What the kernel has dropped nobody knows. The next start reads what is there.
                std::fprintf(stderr, "wal: %s\n", ec.message().c_str());
                std::_Exit(EXIT_FAILURE);
            }
            synced_ = std::max(synced_, until);
        }
    }

    ma::file lock_, log_;
    std::unordered_map<string, entry> values_;
    std::uint64_t end_ = 0, written_ = 0, synced_ = 0;
    ma::local_mutex syncing_;
    bool repairing_ = false;
    ma::local_event repaired_;
};

// Lines of no more than 1 MiB: memory that no line has needed yet is not touched.
struct lines : ma::reader {
    explicit lines(ma::socket &socket) : reader(socket, 1 << 20) {}
};

string answer(store &s, string const &line)
{
    auto const first = line.find(' '), second = line.find(' ', first + 1);
    try {
        if (line.compare(0, 4, "set ") == 0 && second != string::npos) {
            s.set(line.substr(4, second - 4), line.substr(second + 1));
            return "ok\n";
        }
        if (line.compare(0, 4, "get ") == 0) {
            auto const value = s.get(line.substr(4));
            return value ? "is " + *value + "\n" : "none\n";
        }
        return "error what is that?\n";
    } catch (std::system_error const &e) {
        return string("error ") + e.code().message() + "\n";
    }
}

// No descriptors, or no memory for them.
bool is_short(std::error_code const &ec)
{
    return ec == std::errc::too_many_files_open || ec == std::errc::too_many_files_open_in_system ||
           ec == std::errc::no_buffer_space || ec == std::errc::not_enough_memory;
}

void serve(string const &directory)
{
    store s(directory);
    string const name = directory + "/socket";
    ::unlink(name.c_str()); // Nobody's: the directory is ours.
    auto listener = ma::listener::local(name);
    std::puts("ready");
    std::fflush(stdout);
    ma::task_group connections(MONAD_ASYNC_GROUP_INDEPENDENT);
    while (true) {
        std::error_code ec;
        auto accepted = listener.accept(ec);
        if (is_short(ec)) { // Until some connections are closed.
            ma::this_task::sleep_for(std::chrono::milliseconds{100});
            continue;
        }
        if (ec == ma::cancelled) { // Or the listener was closed.
            throw ma::cancelled_error("accept");
        }
        if (ec == std::errc::bad_file_descriptor || ec == std::errc::invalid_argument ||
            ec == std::errc::not_a_socket) { // For good.
            throw std::system_error(ec, "accept");
        }
        if (ec) { // Who was accepted has gone.
            continue;
        }
        auto serving = [&s, peer = std::move(accepted)]() mutable {
            lines in(peer);
            while (auto const line = in.read_line()) {
                peer.send_all(answer(s, string(*line)));
            }
        };
        connections.spawn(std::move(serving), ec); // Without memory it is closed.
    }
}

ma::socket connect_to(string const &directory)
{
    return ma::socket::local(directory + "/socket");
}

// A value that shows where it is torn.
string value_of(std::uint64_t n)
{
    string value;
    for (auto i = n % 50; i > 0; --i) {
        value += std::to_string(n) + ",";
    }
    return value + std::to_string(n);
}

std::string ask(ma::socket &socket, lines &in, string const &question)
{
    socket.send_all(question);
    auto const line = in.read_line();
    return line ? string(*line) : throw std::system_error(EPIPE, std::system_category());
}

void load(string const &directory, int keys)
{
    ma::task_group clients(MONAD_ASYNC_GROUP_INDEPENDENT);
    int setting = keys;
    for (int k = 0; k < keys; ++k) {
        clients.spawn([&directory, &setting, key = "key" + std::to_string(k)] {
            try {
                auto socket = connect_to(directory);
                lines in(socket);
                auto const is = ask(socket, in, "get " + key + "\n");
                std::uint64_t n = is == "none" ? 0 : std::strtoull(is.c_str() + 3, nullptr, 10);
                do {
                    // What was told once is there for good, too.
                    std::printf("%s %" PRIu64 "\n", key.c_str(), n);
                    std::fflush(stdout);
                } while (ask(socket, in, "set " + key + " " + value_of(++n) + "\n") == "ok");
            } catch (std::system_error const &) {
                // The server has gone, as it was to.
            }
            --setting;
        });
        clients.spawn([&directory, &setting, key = "key" + std::to_string(k)] {
            try {
                auto socket = connect_to(directory);
                lines in(socket);
                std::uint64_t before = 0;
                while (setting != 0) {
                    auto const is = ask(socket, in, "get " + key + "\n");
                    auto const n = is == "none" ? 0 : std::strtoull(is.c_str() + 3, nullptr, 10);
                    if (n != before) {
                        std::printf("%s %" PRIu64 "\n", key.c_str(), std::uint64_t{n});
                        std::fflush(stdout);
                    }
                    before = n;
                }
            } catch (std::system_error const &) {
                // As above.
            }
        });
    }
    clients.wait();
}

// Each key has the last value that was answered, or the next one.
bool check(string const &directory, char const *file)
{
    std::map<string, std::uint64_t> answered;
    std::ifstream in(file);
    string key;
    for (std::uint64_t n; in >> key >> n;) {
        answered[key] = std::max(answered[key], n);
    }
    auto socket = connect_to(directory);
    lines answers(socket);
    bool all = true;
    for (auto const &[name, n] : answered) {
        auto const is = ask(socket, answers, "get " + name + "\n");
        bool const is_first = n == 0 && is == "none";
        if (!is_first && is != "is " + value_of(n) && is != "is " + value_of(n + 1)) {
            std::printf("%s: %" PRIu64 " was answered, and it %s\n", name.c_str(), n, is.c_str());
            all = false;
        }
    }
    return all;
}

} // namespace

int main(int argc, char **argv)
try {
    string const what = argc > 2 ? argv[1] : "";
    string const directory = argc > 2 ? argv[2] : "";
    if (what != "serve" && (argc != 4 || (what != "load" && what != "check"))) {
        std::fputs("usage: wal serve DIRECTORY | load DIRECTORY KEYS | check DIRECTORY FILE\n",
                   stderr);
        return EXIT_FAILURE;
    }
    posix_crc_init();
    ma::signals ends; // SIGTERM, SIGINT, SIGHUP
    ma::executor ex;
    ma::task working, ending;
    bool good = true;
    working.attach(ex, [&] {
        if (what == "serve") {
            serve(directory);
        } else if (what == "load") {
            load(directory, std::atoi(argv[3]));
        } else {
            good = check(directory, argv[3]);
        }
        ending.cancel();
    });
    ending.attach(ex, [&] { ends.wait(), working.cancel(); });
    while (!working.done()) {
        ex.run();
    }
    ending.cancel();
    ex.run_until_idle();
    try {
        working.get();
    } catch (ma::cancelled_error const &) {
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (std::exception const &e) {
    std::fprintf(stderr, "wal: %s\n", e.what());
    return EXIT_FAILURE;
}

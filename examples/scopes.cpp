// Deadlines, shields and several operations at once.
#include <monad/async.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

#include <unistd.h>

namespace ma = monad::async;
using namespace std::chrono_literals;

namespace {

io_uring_sqe transfer(std::uint8_t opcode, int fd, void const *bytes, std::size_t n)
{
    io_uring_sqe sqe = {};
    sqe.opcode = opcode;
    sqe.fd = fd;
    sqe.off = static_cast<std::uint64_t>(-1); // The current position: a pipe has no other.
    sqe.addr = reinterpret_cast<std::uintptr_t>(bytes);
    sqe.len = static_cast<std::uint32_t>(n);
    return sqe;
}

struct pipe_ends {
    pipe_ends()
    {
        if (::pipe(fd.data()) != 0) {
            throw std::system_error(errno, std::system_category(), "pipe");
        }
    }
    ~pipe_ends()
    {
        ::close(fd[0]);
        ::close(fd[1]);
    }
    pipe_ends(pipe_ends const &) = delete;
    pipe_ends &operator=(pipe_ends const &) = delete;
    std::array<int, 2> fd = {};
};

//! [a deadline around two operations]
// Reads a message and writes it back: both within 100 ms, or timeout_error.
std::intptr_t echo(int in, int out)
{
    ma::scope const deadline{100ms};
    std::array<char, 64> message;
    auto const n = ma::this_task::io(transfer(IORING_OP_READ, in, message.data(), message.size()));
    auto const bytes = static_cast<std::size_t>(n);
    return ma::this_task::io(transfer(IORING_OP_WRITE, out, message.data(), bytes));
}
//! [a deadline around two operations]

//! [clean-up that suspends]
// Says goodbye even where its task was cancelled: the shield keeps the cancel away.
class connection {
public:
    explicit connection(int fd) : fd_(fd) {}
    ~connection()
    {
        ma::shield const s{1s}; // For a second at most.
        std::error_code ec;
        ma::this_task::io(transfer(IORING_OP_WRITE, fd_, "bye", 3), ec);
    }
    connection(connection const &) = delete;
    connection &operator=(connection const &) = delete;

private:
    int fd_;
};
//! [clean-up that suspends]

//! [four reads at once]
// One task, four reads in flight. Left early, by an exception say, the batch cancels and awaits the
// rest.
std::intptr_t read_all(std::array<pipe_ends, 4> const &pipes)
{
    std::array<std::array<char, 16>, 4> bytes;
    ma::io_batch reads;
    for (std::size_t i = 0; i < pipes.size(); ++i) {
        reads.begin(transfer(IORING_OP_READ, pipes[i].fd[0], bytes[i].data(), bytes[i].size()));
    }
    std::intptr_t sum = 0;
    while (reads.in_flight() != 0) {
        sum += reads.wait_any().value();
    }
    return sum;
}
//! [four reads at once]

std::string_view what_is_in(pipe_ends const &p, std::array<char, 64> &room)
{
    auto const n = ::read(p.fd[0], room.data(), room.size());
    return {room.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

void write_to(pipe_ends const &p, std::string_view text)
{
    if (::write(p.fd[1], text.data(), text.size()) < 0) {
        throw std::system_error(errno, std::system_category(), "write");
    }
}

} // namespace

int main()
try {
    ma::executor ex; // With a ring.
    ma::task t;
    pipe_ends in, out;
    std::array<pipe_ends, 4> pipes;
    std::array<char, 64> room;

    write_to(in, "hello");
    t.attach(ex, [&] {
        std::printf("%jd bytes came and went in time\n", std::intmax_t{echo(in.fd[0], out.fd[1])});
        try {
            echo(in.fd[0], out.fd[1]);
        } catch (ma::timeout_error const &e) {
            std::printf("nothing came: %s\n", e.what());
        }
    });
    ex.run_until_idle();
    t.get();
    std::printf("the other side has: %s\n", std::string(what_is_in(out, room)).c_str());

    t.attach(ex, [&] {
        connection const c{out.fd[1]};
        ma::this_task::sleep_for(1h);
    });
    ex.run(1);
    t.cancel();
    ex.run_until_idle();
    std::printf("cancelled, it said: %s\n", std::string(what_is_in(out, room)).c_str());

    for (auto const &p : pipes) {
        write_to(p, "quarter");
    }
    t.attach(ex, [&] { return read_all(pipes); });
    ex.run_until_idle();
    std::printf("four reads at once: %jd bytes\n", std::intmax_t{t.get()});
} catch (std::exception const &e) {
    std::fprintf(stderr, "scopes: %s\n", e.what());
    return 1;
}

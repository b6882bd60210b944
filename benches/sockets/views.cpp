// Receiving by view next to raw io_uring and epoll.

#include "sockets.hpp"

#include <monad/async.hpp>

#include <chrono>
#include <cstdint>
#include <functional>

#include <liburing.h>
#include <sys/wait.h>

namespace ma = monad::async;

namespace {

void connect_pairs(std::vector<int> &fds, std::vector<int> &theirs)
{
    for (int i = 0; i < connections; ++i) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
            die("socketpair");
        }
        fds.push_back(pair[0]);
        theirs.push_back(pair[1]);
    }
}

// Messages of a child process over 64 Unix sockets, received and no more.
struct senders {
    static constexpr int each = 4000;
    std::vector<int> fds;
    pid_t child = -1;

    senders()
    {
        std::vector<int> theirs;
        connect_pairs(fds, theirs);
        child = fork();
        if (child == 0) {
            char const data[message_bytes] = {};
            for (int i = 0; i < each; ++i) {
                for (int const fd : theirs) {
                    (void)!::send(fd, data, sizeof data, 0);
                }
            }
            _exit(0);
        }
        for (int const fd : theirs) {
            ::close(fd);
        }
    }
    ~senders() { waitpid(child, nullptr, 0); }
};

// So many that no stream has to be begun anew, for want of a buffer or of room for its completion.
constexpr unsigned view_buffers = 4096, view_completions = 8192;

void receive_by_view(std::vector<int> const &fds)
{
    ma::executor_options options;
    options.completion_entries = view_completions;
    ma::executor ex(options);
    ma::buffer_ring const ring(ex, view_buffers, message_bytes);
    std::vector<ma::task> tasks(fds.size());
    std::size_t received = 0;
    for (std::size_t i = 0; i < fds.size(); ++i) {
        tasks[i].attach(ex, [&, fd = fds[i]] {
            ma::socket const s(monad_async_socket_adopt(fd));
            ma::recv_stream stream(s.native_handle(), ring);
            while (auto const data = stream.next()) {
                received += data.size() == message_bytes;
            }
        });
    }
    ex.run_until_idle();
    if (received != fds.size() * senders::each) {
        die("recv_stream");
    }
}

// A raw ring that receives from `fds` by multishot receives into provided buffers, as the library does.
class raw_views {
public:
    explicit raw_views(std::vector<int> const &fds) : fds_(fds), open_(fds.size())
    {
        io_uring_params params = {};
        params.flags =
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
        params.cq_entries = view_completions;
        if (io_uring_queue_init_params(256, &ring_, &params) != 0) {
            die("io_uring_queue_init_params");
        }
        io_uring_register_ring_fd(&ring_);
        // As older versions of liburing have it.
        void *memory_of_ring = nullptr;
        io_uring_buf_reg registered = {};
        if (posix_memalign(&memory_of_ring, 4096, view_buffers * sizeof(io_uring_buf)) != 0) {
            die("posix_memalign");
        }
        buffers_ = static_cast<io_uring_buf_ring *>(memory_of_ring);
        registered.ring_addr = reinterpret_cast<std::uintptr_t>(buffers_);
        registered.ring_entries = view_buffers;
        io_uring_buf_ring_init(buffers_);
        if (io_uring_register_buf_ring(&ring_, &registered, 0) != 0) {
            die("io_uring_register_buf_ring");
        }
        for (unsigned id = 0; id < view_buffers; ++id) {
            give(id, static_cast<int>(id));
        }
        io_uring_buf_ring_advance(buffers_, static_cast<int>(view_buffers));
        for (std::size_t i = 0; i < fds.size(); ++i) {
            begin(i);
        }
    }
    raw_views(raw_views const &) = delete;
    ~raw_views()
    {
        io_uring_queue_exit(&ring_);
        std::free(buffers_);
    }

    // Connections that have not ended.
    std::size_t open() const { return open_; }

    // Waits, and takes what has come: how many messages.
    std::size_t take()
    {
        io_uring_submit_and_wait(&ring_, 1);
        unsigned head, seen = 0;
        int given = 0;
        std::size_t received = 0;
        io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring_, head, cqe)
        {
            ++seen;
            if (cqe->res > 0) {
                received += cqe->res == int(message_bytes);
                give(cqe->flags >> IORING_CQE_BUFFER_SHIFT, given++);
            }
            if ((cqe->flags & IORING_CQE_F_MORE) != 0) {
                continue;
            }
            if (cqe->res > 0 || cqe->res == -ENOBUFS) {
                begin(cqe->user_data);
            } else {
                ::close(fds_[cqe->user_data]);
                --open_;
            }
        }
        io_uring_buf_ring_cq_advance(&ring_, buffers_, given);
        io_uring_cq_advance(&ring_, seen - static_cast<unsigned>(given));
        return received;
    }

private:
    void give(unsigned id, int at)
    {
        io_uring_buf_ring_add(buffers_, memory_.data() + id * message_bytes, message_bytes,
                              static_cast<unsigned short>(id), io_uring_buf_ring_mask(view_buffers),
                              at);
    }
    void begin(std::size_t i)
    {
        auto *const sqe = io_uring_get_sqe(&ring_);
        io_uring_prep_recv_multishot(sqe, fds_[i], nullptr, 0, 0);
        io_uring_sqe_set_flags(sqe, IOSQE_BUFFER_SELECT);
        sqe->buf_group = 0;
        sqe->user_data = i;
    }

    std::vector<int> const fds_;
    std::size_t open_;
    io_uring ring_;
    io_uring_buf_ring *buffers_;
    std::vector<char> memory_ = std::vector<char>(view_buffers * message_bytes);
};

void receive_raw(std::vector<int> const &fds)
{
    raw_views ring(fds);
    std::size_t received = 0;
    while (ring.open() != 0) {
        received += ring.take();
    }
    if (received != fds.size() * senders::each) {
        die("recv");
    }
}

void receive_by_epoll(std::vector<int> const &fds)
{
    watch_by_epoll(fds, [](int fd) {
        char data[message_bytes];
        return ::recv(fd, data, sizeof data, MSG_DONTWAIT);
    });
}

double per_message(std::function<void(std::vector<int> const &)> const &receive)
{
    senders const s;
    double const before = cpu_ns();
    receive(s.fds);
    return (cpu_ns() - before) / (connections * senders::each);
}

// Sockets whose other ends are ours, too: `send` gives each `burst` messages, outside what is measured.
struct stream_pairs {
    std::vector<int> fds, theirs;

    stream_pairs() { connect_pairs(fds, theirs); }
    stream_pairs(stream_pairs const &) = delete;
    ~stream_pairs()
    {
        for (int const fd : theirs) {
            ::close(fd);
        }
    }

    void send(int burst) const
    {
        char const data[message_bytes] = {};
        for (int k = 0; k < burst; ++k) {
            for (int const fd : theirs) {
                (void)!::send(fd, data, sizeof data, 0);
            }
        }
    }
};

// What `receive` takes a message that is there: it is called until it has returned all of them.
template <class F> double per_message_there(stream_pairs const &pairs, int burst, F receive)
{
    constexpr int times = 200;
    std::size_t const all = std::size_t(burst) * connections;
    double spent = 0;
    for (int i = 0; i < times; ++i) {
        pairs.send(burst);
        double const before = cpu_ns();
        for (std::size_t got = 0; got < all;) {
            got += receive();
        }
        spent += cpu_ns() - before;
    }
    return spent / (double(times) * double(all));
}

} // namespace

double views_there(int burst)
{
    stream_pairs const pairs;
    ma::executor_options options;
    options.completion_entries = view_completions;
    ma::executor ex(options);
    ma::buffer_ring const ring(ex, view_buffers, message_bytes);
    std::vector<ma::task> tasks(connections);
    std::size_t received = 0;
    for (std::size_t i = 0; i < connections; ++i) {
        tasks[i].attach(ex, [&, fd = pairs.fds[i]] {
            ma::socket const s(monad_async_socket_adopt(fd));
            ma::recv_stream stream(s.native_handle(), ring);
            while (auto const data = stream.next()) {
                received += data.size() == message_bytes;
            }
        });
    }
    ex.run(ma::executor::unlimited, std::chrono::nanoseconds(0));
    double const ns = per_message_there(pairs, burst, [&] {
        std::size_t const before = received;
        ex.run();
        return received - before;
    });
    for (int const fd : pairs.theirs) {
        ::shutdown(fd, SHUT_WR);
    }
    ex.run_until_idle();
    return ns;
}

double raw_there(int burst)
{
    stream_pairs const pairs;
    raw_views ring(pairs.fds);
    double const ns = per_message_there(pairs, burst, [&] { return ring.take(); });
    for (int const fd : pairs.theirs) {
        ::shutdown(fd, SHUT_WR);
    }
    while (ring.open() != 0) {
        ring.take();
    }
    return ns;
}

double epoll_there(int burst)
{
    stream_pairs const pairs;
    int const ep = epoll_create1(0);
    for (int const fd : pairs.fds) {
        epoll_event e = {};
        e.events = EPOLLIN;
        e.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
    double const ns = per_message_there(pairs, burst, [&] {
        epoll_event events[connections];
        char data[message_bytes];
        std::size_t received = 0;
        int const n = epoll_wait(ep, events, connections, -1);
        for (int i = 0; i < n; ++i) {
            received += ::recv(events[i].data.fd, data, sizeof data, MSG_DONTWAIT) ==
                        ssize_t(message_bytes);
        }
        return received;
    });
    ::close(ep);
    for (int const fd : pairs.fds) {
        ::close(fd);
    }
    return ns;
}

double by_view_meanwhile()
{
    return per_message(receive_by_view);
}

double raw_meanwhile()
{
    return per_message(receive_raw);
}

double epoll_meanwhile()
{
    return per_message(receive_by_epoll);
}

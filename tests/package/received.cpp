// What came through a ring counts as set: a tool that watches memory has nothing to say of a
// program that looks at each byte. Run under valgrind by sanitizers.sh.
#include <monad/async.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include <sys/socket.h>
#include <sys/uio.h>

namespace ma = monad::async;

namespace {

// From the heap, and unset.
struct room {
    explicit room(std::size_t n) : bytes(static_cast<unsigned char *>(std::malloc(n))), size(n) {}
    ~room() { std::free(bytes); }
    room(room const &) = delete;
    room &operator=(room const &) = delete;
    [[nodiscard]] bool holds(unsigned char c, std::size_t n) const
    {
        for (std::size_t i = 0; i < n; ++i) {
            if (bytes[i] != c) {
                return false;
            }
        }
        return n <= size;
    }
    operator ma::bytes() const { return {bytes, size}; } // NOLINT: meant to convert

    unsigned char *bytes;
    std::size_t size;
};

bool sockets()
{
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        return false;
    }
    ma::socket here(monad_async_socket_adopt(fds[0])), there(monad_async_socket_adopt(fds[1]));
    there.send_all(std::string(300, 'x'));
    room one(100), exact(100), first(60), second(60);
    bool good = here.recv(one) == 100 && one.holds('x', 100);
    here.recv_exact(exact);
    good = good && exact.holds('x', 100);
    iovec parts[] = {{first.bytes, 60}, {second.bytes, 60}};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    auto const r =
        monad_async_socket_recvmsg(ma::this_task::current(), here.native_handle(), &message, 0);
    return good && r.value == 100 && first.holds('x', 60) && second.holds('x', 40);
}

bool files(char const *path)
{
    ma::file f(path, O_RDWR | O_CREAT | O_TRUNC);
    f.write_all(std::string(300, 'y'), 0);
    room one(100), all(400), first(60), second(60);
    bool good = f.read(one, 0) == 100 && one.holds('y', 100);
    good = good && f.read_all(all, 0) == 300 && all.holds('y', 300);
    iovec const parts[] = {{first.bytes, 60}, {second.bytes, 60}};
    good = good && f.readv(parts, 2, 200) == 100 && first.holds('y', 60) && second.holds('y', 40);
    auto const status = std::make_unique<room>(sizeof(struct statx));
    auto *const to = reinterpret_cast<struct statx *>(status->bytes);
    auto *const self = ma::this_task::current();
    auto const r = monad_async_file_stat(self, f.native_handle(), STATX_SIZE, to);
    return good && r.error == 0 && to->stx_size == 300;
}

// Its frame is gone when the library closes the scope.
[[gnu::noinline]] int enter_a_scope(monad_async_task self)
{
    monad_async_scope scope;
    return monad_async_scope_enter(self, &scope, 1'000'000'000, 0).error;
}

// A body that returns with a scope open.
int returns_inside(ma::executor &ex)
{
    ma::task t;
    auto *const task = t.native_handle();
    task->user_code = [](monad_async_task self) {
        return monad_async_make_failure(enter_a_scope(self));
    };
    if (monad_async_task_attach(ex.native_handle(), task).error != 0) {
        return 0;
    }
    ex.run_until_idle();
    return task->result.error;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) {
        return 2;
    }
    ma::executor ex;
    bool good = false;
    ma::task t;
    t.attach(ex, [&] { good = sockets() && files(argv[1]); });
    ex.run_until_idle();
    t.get();
    good = good && returns_inside(ex) == EINVAL;
    std::puts(good ? "as it was sent" : "not as it was sent");
    return good ? 0 : 1;
}

// An echo server under load, traced: the server and its clients, an executor and a thread each, in
// one file. Open it with https://ui.perfetto.dev, or with monad-async-trace. trace [FILE]
#include <monad/async.hpp>
#include <monad/async/trace.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

namespace ma = monad::async;

namespace {

constexpr int clients = 8, rounds = 200;

void name_this_task(std::string const &name)
{
    static_cast<void>(monad_async_task_set_name(ma::this_task::current(), name.c_str()));
}

void echo(ma::socket peer, int number)
{
    name_this_task("connection " + std::to_string(number));
    char data[4096];
    while (auto const n = peer.recv(data)) {
        peer.send_all({data, n});
    }
}

void client(std::uint16_t port, int number)
{
    name_this_task("client " + std::to_string(number));
    auto server = ma::socket::tcp("127.0.0.1", port);
    std::vector<char> data(32u << number);
    for (int i = 0; i < rounds; ++i) {
        server.send_all(data);
        server.recv_exact(data);
    }
}

//! [a trace of some executors]
// Until the executor is gone, its newest events are in the memory.
struct traced_executor {
    std::vector<std::uint64_t> memory;
    ma::executor ex;

    explicit traced_executor(char const *name) : memory(1 << 20), ex(options(name))
    {
        auto const bytes = memory.size() * sizeof memory[0];
        if (monad_async_trace_start(ex.native_handle(), memory.data(), bytes).error != 0) {
            std::abort();
        }
    }
    static ma::executor_options options(char const *name)
    {
        ma::executor_options options;
        options.name = name;
        return options;
    }
};

// All of them, in one file.
bool write_traces(char const *path)
{
    int const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool const written = fd >= 0 && monad_async_trace_write(nullptr, fd).error == 0;
    return close(fd) == 0 && written;
}
//! [a trace of some executors]

} // namespace

int main(int argc, char **argv)
{
    char const *const path = argc > 1 ? argv[1] : "trace.json";
    traced_executor server("echo server");
    auto listener = ma::listener::tcp(0);
    std::uint16_t const port = listener.port();
    ma::task serving;
    serving.attach(server.ex, [&] {
        name_this_task("listener");
        ma::task_group connections(MONAD_ASYNC_GROUP_INDEPENDENT);
        for (int i = 0; i < clients; ++i) {
            connections.spawn(
                [peer = listener.accept(), i]() mutable { echo(std::move(peer), i); });
        }
        connections.wait();
    });
    bool written = false;
    std::thread load([&] {
        traced_executor load("load");
        std::vector<ma::task> tasks(clients);
        for (int i = 0; i < clients; ++i) {
            tasks[static_cast<std::size_t>(i)].attach(load.ex, [=] { client(port, i); });
        }
        load.ex.run_until_idle();
        written = write_traces(path);
    });
    server.ex.run_until_idle();
    load.join();
    std::printf("%d clients, %d rounds each: %s\n", clients, rounds, path);
    return written ? 0 : 1;
}

// A TCP echo server: a task a connection, a time-out; SIGTERM ends it, every answer sent. [PORT]
#include <monad/async.hpp>
#include <cstdio>
#include <cstdlib>
namespace ma = monad::async;
using namespace std::chrono_literals;
//! [a connection]
void echo(ma::socket peer)
{
    char data[4096];
    auto const next = [&] { return peer.recv(data); };
    while (auto const n = ma::with_timeout(30s, next)) {
        ma::shield const answering; // SIGTERM finds it at the next receive.
        ma::with_timeout(30s, [&] { peer.send_all({data, n}); });
    }
}
//! [a connection]
int main(int argc, char **argv)
{
    ma::signals ends; // SIGTERM, SIGINT, SIGHUP
    ma::executor ex;
    auto listener = ma::listener::tcp(std::uint16_t(argc > 1 ? std::atoi(argv[1]) : 0));
    std::printf("port %d\n", listener.port()), std::fflush(stdout);
    ma::task serving, ending;
    serving.attach(ex, [&] {
        ma::task_group connections(MONAD_ASYNC_GROUP_INDEPENDENT);
        for (std::error_code ec; ec != std::errc::bad_file_descriptor;) { // Until it is closed.
            if (auto peer = listener.accept(ec); !ec) { // Without memory it is closed.
                connections.spawn([p = std::move(peer)]() mutable { echo(std::move(p)); }, ec);
            } else { // Cancelled, which the sleep says, or no descriptors until some are closed.
                ma::this_task::sleep_for(100ms);
            }
        }
    });
    ending.attach(ex, [&] { ends.wait(), serving.cancel(); });
    ex.run_until_idle();
}

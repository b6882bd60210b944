// A server of lines and its client: many questions at once, and few sends for the answers. The
// last answer is a frame: a line that tells a size, and so many bytes.
#include <monad/async.hpp>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

namespace ma = monad::async;
using namespace std::chrono_literals;
using namespace std::string_view_literals;

//! [a connection]
// "add N" adds to a sum, "total" tells it; a line of more than 100 bytes ends the connection.
void serve(ma::socket peer)
{
    ma::writer out(peer);     // Gathers the answers,
    ma::reader in(out, 4096); // and sends them before a read waits for more questions.
    long sum = 0;
    while (auto const line = ma::with_timeout(30s, [&] { return in.read_line(100); })) {
        if (line->substr(0, 4) == "add ") { // Valid until the next read.
            sum += std::strtol(std::string(line->substr(4)).c_str(), nullptr, 10);
            out.write("ok\n"sv);
        } else if (*line == "total") {
            std::string const text = std::to_string(sum);
            out.write(std::to_string(text.size()) + "\n" + text);
        } else {
            out.write("what?\n"sv);
        }
    }
    out.flush();
}
//! [a connection]

int main()
try {
    ma::executor ex;
    auto listener = ma::listener::tcp(0);
    ma::task server, client;
    server.attach(ex, [&] { serve(listener.accept()); });
    client.attach(ex, [&] {
        auto peer = ma::socket::tcp("127.0.0.1", listener.port());
        ma::writer out(peer);
        ma::reader in(out);
        for (int i = 1; i <= 1000; ++i) {
            out.write("add " + std::to_string(i) + "\r\n");
        }
        out.write("total\n"sv);
        out.flush();
        peer.shutdown(SHUT_WR);
        for (int i = 1; i <= 1000; ++i) {
            if (in.read_line() != "ok"sv) {
                return EXIT_FAILURE;
            }
        }
        //! [a frame]
        auto const head = in.read_line();
        std::string total(head ? std::strtoul(std::string(*head).c_str(), nullptr, 10) : 0, 0);
        in.read_exactly(total); // Cut short, it throws ma::end_of_stream.
        //! [a frame]
        std::printf("%s\n", total.c_str());
        return total == "500500" && !in.read_line() ? EXIT_SUCCESS : EXIT_FAILURE;
    });
    ex.run_until_idle();
    server.get();
    return static_cast<int>(client.get());
} catch (std::exception const &e) {
    std::fprintf(stderr, "lines: %s\n", e.what());
    return EXIT_FAILURE;
}

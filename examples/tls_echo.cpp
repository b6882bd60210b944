// Lines echoed over TLS, and a client that checks whom it talks to, sends its standard input and
// prints what comes back. The stream is in tls.hpp, by OpenSSL.
//
//   tls_echo serve CERTIFICATE KEY [PORT [MS]]       MS: for a handshake; SIGTERM ends it
//   tls_echo ask HOST PORT [AUTHORITIES [NAME]]      NAME: that of the certificate, if not HOST
//   tls_echo renew ...                               as ask, with new keys every 16 KiB
#include "tls.hpp"

#include <monad/async.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace ma = monad::async;
using namespace std::chrono_literals;
using namespace std::string_view_literals;

namespace {

void echo(ma::socket peer, tls_context const &context, std::chrono::milliseconds patience)
try {
    tls_stream secure(std::move(peer), context);
    ma::with_timeout(patience, [&] { secure.handshake(); });
    ma::writer out(secure);
    ma::reader in(out); // Flushes before it waits.
    auto const next = [&](std::error_code &ec) {
        ma::scope const idle(30s);
        return in.read_line(ec);
    };
    std::error_code ec;
    while (auto const line = next(ec)) {
        ma::shield const answering(30s); // SIGTERM finds it at the next line.
        out.write(*line), out.write("\n"sv);
    }
    if (ec != ma::cancelled) {
        tls::check(ec, "read_line"); // Truncated, for example.
    }
    ma::shield const ending(30s);
    out.flush(), secure.shutdown();
} catch (ma::cancelled_error const &) {
    throw;
} catch (std::exception const &e) {
    std::fprintf(stderr, "tls_echo: a connection: %s\n", e.what());
}

void serve(ma::listener &listener, tls_context const &context, std::chrono::milliseconds patience)
{
    ma::task_group connections(MONAD_ASYNC_GROUP_INDEPENDENT);
    for (std::error_code ec; ec != std::errc::bad_file_descriptor;) { // Until it is closed.
        if (auto peer = listener.accept(ec); !ec) { // Without memory it is closed.
            connections.spawn(
                [&, p = std::move(peer)]() mutable { echo(std::move(p), context, patience); }, ec);
        } else { // Cancelled, which the sleep says, or no descriptors until some are closed.
            ma::this_task::sleep_for(100ms);
        }
    }
}

void ask(std::string const &host, std::string const &port, tls_context const &context,
         std::string const &name, bool renew)
{
    tls_stream secure(ma::connect(host, port), context, name);
    ma::with_timeout(30s, [&] { secure.handshake(); });
    ma::file in(monad_async_file_adopt(0)), out(monad_async_file_adopt(1));
    ma::when_all( // One reads and one writes, at the same time.
        [&] {
            char data[16384];
            while (auto const n = in.read(data)) {
                if (renew) { // Of TLS 1.3; the server renews its own, too.
                    (void)SSL_key_update(secure.native_handle(), SSL_KEY_UPDATE_REQUESTED);
                }
                ma::write_all(secure, {{data, n}});
            }
            secure.shutdown();
        },
        [&] {
            char data[16384];
            while (auto const n = secure.recv(data)) {
                out.write_all({data, n});
            }
        });
}

} // namespace

int main(int argc, char **argv)
try {
    std::string const what = argc > 1 ? argv[1] : "";
    auto const argument = [&](int i, char const *other = "") { return i < argc ? argv[i] : other; };
    bool const renew = what == "renew";
    ma::executor ex;
    ma::task work, ending;
    if (what == "serve" && argc >= 4) {
        ma::signals ends;
        auto const context = tls_context::server(argv[2], argv[3]);
        auto const patience = std::chrono::milliseconds(std::atoi(argument(5, "30000")));
        auto listener = ma::listener::tcp(std::uint16_t(std::atoi(argument(4))));
        std::printf("port %d\n", listener.port()), std::fflush(stdout);
        work.attach(ex, [&] { serve(listener, context, patience); });
        ending.attach(ex, [&] { ends.wait(), work.cancel(); });
        ex.run_until_idle();
    } else if ((what == "ask" || renew) && argc >= 4) {
        auto const context = tls_context::client(argument(4));
        work.attach(ex, [&] { ask(argv[2], argv[3], context, argument(5, argv[2]), renew); });
        ex.run_until_idle();
        work.get();
    } else {
        std::fputs("usage: tls_echo serve CERTIFICATE KEY... | ask HOST PORT...\n", stderr);
        return 2;
    }
} catch (std::exception const &e) {
    std::fprintf(stderr, "tls_echo: %s\n", e.what());
    return EXIT_FAILURE;
}

// TLS over a connection, by OpenSSL 3: a stream of the library (stream.hpp), which ma::reader and
// ma::writer take as they take a socket, and whose calls suspend.
//
// OpenSSL sees memory alone: what came from the peer is put into `came_`, and what is to be sent
// is taken from `leaves_`. So no call of OpenSSL's suspends, and none is under way while another
// task runs. Rules:
//
//  1. An SSL object, and OpenSSL's queue of errors, which is the thread's, are used between two
//     suspensions: errors are read before anything suspends.
//  2. One task receives at a time, the holder of `receiving_`. Who waited for it looks first
//     whether the other has fed what it wanted.
//  3. One task sends at a time, the holder of `sending_`, and goes on until nothing is left:
//     records must leave in the order in which they were made.
//  4. Who reads never waits for sending: a peer that reads nothing until it has written all would
//     wait for ever. What a read has to answer (new keys, an alert) is sent if there is room, else
//     by the next call that sends. Who writes may wait for what is received (a message that came
//     in part).
//
// So one task may read and another one write at the same time, on one executor. Calls that are
// interrupted (ECANCELED, ETIME) may be made again; a time-out is a scope around them.
#ifndef EXAMPLES_TLS_HPP
#define EXAMPLES_TLS_HPP

#include <monad/async/error.hpp>
#include <monad/async/mutex.hpp>
#include <monad/async/socket.hpp>
#include <monad/async/stream.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <sys/socket.h>
#include <sys/uio.h>
#include <system_error>
#include <utility>

namespace ma = monad::async;

namespace tls {

// Its values: X509_V_ERR_... of a certificate that was refused, 1000, and above those OpenSSL's.
class error_category final : public std::error_category {
public:
    static constexpr int truncated = 1000;

    char const *name() const noexcept override { return "tls"; }

    std::string message(int value) const override
    {
        if (value == truncated) {
            return "truncated: the peer ended the connection without close_notify";
        }
        if (value < truncated) {
            return std::string("certificate refused: ") + X509_verify_cert_error_string(value);
        }
        char const *const reason = ERR_reason_error_string(static_cast<unsigned long>(value));
        return reason != nullptr ? reason : "error " + std::to_string(value);
    }
};
inline error_category const category;

// The connection has ended, and the peer had not said that it would: somebody else may have cut it.
inline std::error_code truncated() noexcept
{
    return {error_category::truncated, category};
}

// Of OpenSSL's call just made: what it found first, of which the others are what came of it.
inline std::error_code first_error() noexcept
{
    unsigned long const code = ERR_peek_error();
    if (code == 0) {
        return {EPROTO, std::system_category()};
    }
    return ERR_SYSTEM_ERROR(code) ? std::error_code(ERR_GET_REASON(code), std::system_category())
                                  : std::error_code(static_cast<int>(code), category);
}

inline bool interrupted(std::error_code const &ec) noexcept
{
    return ec == ma::cancelled || ec == std::error_code(ETIME, std::system_category());
}

// Throws what the library's own calls would.
inline void check(std::error_code const &ec, char const *what)
{
    if (ec == ma::cancelled) {
        throw ma::cancelled_error(what);
    }
    if (ec == std::error_code(ETIME, std::system_category())) {
        throw ma::timeout_error(what);
    }
    if (ec) {
        throw std::system_error(ec, what);
    }
}

struct deleter {
    void operator()(SSL_CTX *context) const noexcept { SSL_CTX_free(context); }
    void operator()(SSL *ssl) const noexcept { SSL_free(ssl); }
};

} // namespace tls

// What connections have in common: certificates, versions. Made once; any thread may use it then.
class tls_context {
public:
    // Of a server, with files in PEM's format: its certificate, those in between, and its key.
    static tls_context server(std::string const &certificates, std::string const &key)
    {
        tls_context made(TLS_server_method());
        SSL_CTX *const native = made.native_.get();
        check(SSL_CTX_use_certificate_chain_file(native, certificates.c_str()), certificates);
        check(SSL_CTX_use_PrivateKey_file(native, key.c_str(), SSL_FILETYPE_PEM), key);
        return made;
    }

    // Of clients, which trust the authorities in a file, or else the system's.
    static tls_context client(std::string const &authorities = {})
    {
        tls_context made(TLS_client_method());
        SSL_CTX *const native = made.native_.get();
        check(authorities.empty() ? SSL_CTX_set_default_verify_paths(native)
                                  : SSL_CTX_load_verify_file(native, authorities.c_str()),
              authorities);
        SSL_CTX_set_verify(native, SSL_VERIFY_PEER, nullptr);
        return made;
    }

    SSL_CTX *native_handle() const noexcept { return native_.get(); }

private:
    explicit tls_context(SSL_METHOD const *method) : native_(SSL_CTX_new(method))
    {
        check(native_ != nullptr, "SSL_CTX_new");
        ERR_clear_error();
        SSL_CTX_set_min_proto_version(native_.get(), TLS1_2_VERSION);
        // Of TLS 1.2, a handshake in the middle of data; 1.3 has none.
        SSL_CTX_set_options(native_.get(), SSL_OP_NO_RENEGOTIATION);
        // A write that could not be made is made again from other memory.
        SSL_CTX_set_mode(native_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                            SSL_MODE_RELEASE_BUFFERS);
    }

    static void check(int done, std::string const &what)
    {
        if (done != 1) {
            throw std::system_error(tls::first_error(), what);
        }
    }

    std::unique_ptr<SSL_CTX, tls::deleter> native_;
};

// A connection. Does not move; used by tasks of one executor, one that reads and one that writes.
class tls_stream {
public:
    // A server's end.
    tls_stream(ma::socket &&peer, tls_context const &of) : tls_stream(std::move(peer), of, nullptr)
    {
    }

    // A client's end. The server must have a certificate for this name, or address in figures.
    tls_stream(ma::socket &&peer, tls_context const &of, std::string const &host)
        : tls_stream(std::move(peer), of, &host)
    {
    }
    tls_stream(tls_stream const &) = delete;
    tls_stream &operator=(tls_stream const &) = delete;

    // To be called first; with a time-out around it, as a peer may say nothing.
    void handshake(std::error_code &ec) noexcept
    {
        if (run([&] { return SSL_do_handshake(ssl_.get()); }, 0, ec)) {
            flush(0, ec);
        } else if (!ec) {
            ec = tls::truncated(); // A close_notify in the middle.
        }
    }
    void handshake()
    {
        std::error_code ec;
        handshake(ec);
        tls::check(ec, "tls_stream::handshake");
    }

    // Some bytes. 0 without an error: the peer has said that there is no more; without that, the
    // end is `tls::truncated()`.
    std::size_t recv(ma::bytes to, std::error_code &ec) noexcept
    {
        ec.clear();
        std::size_t n = 0;
        if (!to.empty()) {
            auto const read = [&] { return SSL_read_ex(ssl_.get(), to.data(), to.size(), &n); };
            (void)run(read, MSG_DONTWAIT, ec);
        }
        return n;
    }
    std::size_t recv(ma::bytes to)
    {
        std::error_code ec;
        auto const n = recv(to, ec);
        tls::check(ec, "tls_stream::recv");
        return n;
    }

    // Sends some of several pieces. What is counted is encrypted, and nothing can take it back:
    // interrupted then, the call has succeeded, and the next one, or `shutdown`, sends the rest.
    std::size_t writev(iovec const *parts, int count, std::error_code &ec) noexcept
    {
        std::size_t n = 0;
        if ((SSL_get_shutdown(ssl_.get()) & SSL_SENT_SHUTDOWN) != 0) {
            ec = {EPIPE, std::system_category()};
            return 0;
        }
        if (!flush(0, ec)) { // What was left so.
            return 0;
        }
        for (int i = 0; i != count && n < block_bytes && !ec; ++i) {
            auto const size = std::min(parts[i].iov_len, block_bytes - n);
            std::size_t taken = 0;
            auto const write = [&] {
                return SSL_write_ex(ssl_.get(), parts[i].iov_base, size, &taken);
            };
            if (size != 0 && !run(write, 0, ec) && !ec) {
                ec = {EPIPE, std::system_category()};
            }
            n += taken;
        }
        if (n == 0) {
            return 0;
        }
        ec.clear();
        if (!flush(0, ec) && tls::interrupted(ec)) {
            ec.clear();
        }
        return ec ? 0 : n;
    }
    std::size_t send(ma::const_bytes from, std::error_code &ec) noexcept
    {
        iovec const part = {const_cast<unsigned char *>(from.data()), from.size()};
        return writev(&part, 1, ec);
    }
    std::size_t send(ma::const_bytes from)
    {
        std::error_code ec;
        auto const n = send(from, ec);
        tls::check(ec, "tls_stream::send");
        return n;
    }

    // Says that nothing more will be sent, and sends what is left. The other direction stays open:
    // who wants to know that the peer is done, too, reads to the end.
    void shutdown(std::error_code &ec) noexcept
    {
        // Where a message that came in part is in the way, the rest of it first.
        bool const ready = run([&] { return SSL_do_handshake(ssl_.get()); }, 0, ec);
        if (ready && run([&] { return SSL_shutdown(ssl_.get()) < 0 ? -1 : 1; }, 0, ec)) {
            flush(0, ec);
        }
    }
    void shutdown()
    {
        std::error_code ec;
        shutdown(ec);
        tls::check(ec, "tls_stream::shutdown");
    }

    SSL *native_handle() const noexcept { return ssl_.get(); }
    ma::socket &next_layer() noexcept { return peer_; }

private:
    static constexpr std::size_t block_bytes = 65536;      // That a write encrypts at once.
    static constexpr std::size_t room_bytes = 16384 + 512; // For a record.
    static constexpr std::size_t most_answers_bytes = 2 * block_bytes;

    tls_stream(ma::socket &&peer, tls_context const &of, std::string const *verified)
        : peer_(std::move(peer)), ssl_(SSL_new(of.native_handle())), came_(BIO_new(BIO_s_mem())),
          leaves_(BIO_new(BIO_s_mem()))
    {
        if (ssl_ == nullptr || came_ == nullptr || leaves_ == nullptr) {
            BIO_free(came_);
            BIO_free(leaves_);
            throw std::bad_alloc();
        }
        SSL_set_bio(ssl_.get(), came_, leaves_); // Whose they are from now on.
        if (verified == nullptr) {
            SSL_set_accept_state(ssl_.get());
            return;
        }
        char const *const host = verified->c_str();
        SSL_set_connect_state(ssl_.get());
        // An address is asked for in the certificate alone: as a server's name it is not allowed.
        in6_addr address;
        bool const figures =
            ::inet_pton(AF_INET, host, &address) == 1 || ::inet_pton(AF_INET6, host, &address) == 1;
        SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        // An empty name would be any.
        if (*host == 0 ||
            (figures ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host) != 1
                     : SSL_set1_host(ssl_.get(), host) != 1 ||
                           SSL_set_tlsext_host_name(ssl_.get(), host) != 1)) {
            throw std::system_error(EINVAL, std::system_category(), "tls_stream");
        }
    }

    // Makes a call of OpenSSL's until it has what it needs from the peer. False without an error:
    // the peer sends no more. `flags` are those with which answers are sent (rule 4).
    template <class Call> bool run(Call call, int flags, std::error_code &ec) noexcept
    {
        for (ec = failed_; !ec;) {
            auto const seen = fed_;
            ERR_clear_error();
            int const r = call();
            int const why = r > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), r);
            if (why == SSL_ERROR_SSL || why == SSL_ERROR_SYSCALL) {
                failed_ = ec = reason();
                std::error_code none;
                flush(MSG_DONTWAIT, none); // The alert that tells the peer.
                return false;
            }
            if (flags != 0 || why == SSL_ERROR_WANT_READ) {
                answer(flags, ec);
            }
            if (why == SSL_ERROR_NONE || why == SSL_ERROR_ZERO_RETURN) {
                ec.clear(); // What was answered in vain, the next call will find.
                return why == SSL_ERROR_NONE;
            }
            if (!ec) {
                feed(seen, ec);
            }
        }
        return false;
    }

    std::error_code reason() const noexcept
    {
        long const verified = SSL_get_verify_result(ssl_.get());
        bool const refused = ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED;
        return refused && verified != X509_V_OK
                   ? std::error_code(static_cast<int>(verified), tls::category)
                   : tls::first_error();
    }

    // Sends what there is, or with MSG_DONTWAIT what there is room for, which is no error then:
    // unless the peer asks for ever, and takes no answer.
    void answer(int flags, std::error_code &ec) noexcept
    {
        if (flags == 0) {
            flush(0, ec);
            return;
        }
        std::error_code none; // What is wrong with sending is no matter of who reads.
        flush(flags, none);
        if (BIO_ctrl_pending(leaves_) > most_answers_bytes) {
            failed_ = ec = {ENOBUFS, std::system_category()};
        }
    }

    // Rule 3. With MSG_DONTWAIT it leaves to another sender what is there.
    bool flush(int flags, std::error_code &ec) noexcept
    {
        ec.clear();
        if (begin_ == end_ && BIO_ctrl_pending(leaves_) == 0) {
            return true;
        }
        if (flags == 0) {
            sending_.lock(ec);
        } else if (!sending_.try_lock(ec)) {
            return false;
        }
        if (ec) {
            return false;
        }
        std::lock_guard const lock(sending_, std::adopt_lock);
        for (;;) {
            if (begin_ == end_) {
                int const n = BIO_read(leaves_, out_.get(), room_bytes);
                begin_ = 0;
                end_ = n > 0 ? static_cast<std::size_t>(n) : 0;
                if (end_ == 0) {
                    return true;
                }
            }
            begin_ += peer_.send({out_.get() + begin_, end_ - begin_}, flags, ec);
            if (ec) {
                return false;
            }
        }
    }

    // Rule 2. `seen`: how often it had been fed when something was missing.
    void feed(std::uint64_t seen, std::error_code &ec) noexcept
    {
        receiving_.lock(ec);
        if (ec) {
            return;
        }
        std::lock_guard const lock(receiving_, std::adopt_lock);
        if (fed_ != seen) {
            return;
        }
        auto const n = peer_.recv({in_.get(), room_bytes}, ec);
        if (ec) {
            return;
        }
        if (n == 0) { // OpenSSL has not seen close_notify, or would not ask for more.
            ec = tls::truncated();
        } else if (BIO_write(came_, in_.get(), static_cast<int>(n)) != static_cast<int>(n)) {
            failed_ = ec = {ENOMEM, std::system_category()};
        } else {
            ++fed_;
        }
    }

    ma::socket peer_;
    // The holder's of `receiving_`, and the holder's of `sending_`.
    std::unique_ptr<char[]> in_{new char[room_bytes]}, out_{new char[room_bytes]};
    std::size_t begin_ = 0, end_ = 0; // What of `out_` is yet to be sent.
    std::unique_ptr<SSL, tls::deleter> ssl_;
    BIO *came_, *leaves_; // The SSL object's.
    std::uint64_t fed_ = 0;
    std::error_code failed_; // For good.
    ma::local_mutex receiving_, sending_;
};

static_assert(ma::byte_stream<tls_stream>);

#endif

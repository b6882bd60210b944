// The stream of examples/tls.hpp next to a peer that no program of others is: one that sends a
// message in parts, reads nothing until it has written all, or asks for new keys for ever.
#include "../../examples/tls.hpp"

#include <monad/async/executor.hpp>
#include <monad/async/group.hpp>
#include <monad/async/scope.hpp>
#include <monad/async/task.hpp>
#include <monad/async/this_task.hpp>

#include <gtest/gtest.h>

#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include <sys/socket.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

// A certificate of itself, for localhost, and so many names more.
void use_certificate(SSL_CTX *of, int names, X509_STORE *trusting)
{
    EVP_PKEY *const key = EVP_EC_gen("P-256");
    X509 *const made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    X509_set_pubkey(made, key);
    auto *const name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<unsigned char const *>("localhost"), -1, -1, 0);
    X509_set_issuer_name(made, name);
    std::string all = "DNS:localhost";
    for (int i = 0; i != names; ++i) {
        all += ",DNS:host" + std::to_string(i) + ".of.a.long.name.invalid";
    }
    auto *const extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, &all[0]);
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(made, key, EVP_sha256());
    EXPECT_EQ(SSL_CTX_use_certificate(of, made), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(of, key), 1);
    if (trusting != nullptr) {
        X509_STORE_add_cert(trusting, made);
    }
    X509_free(made);
    EVP_PKEY_free(key);
}

// A server's end on a thread, which decides what leaves when.
class raw_peer {
public:
    raw_peer(SSL_CTX *of, int fd)
        : ssl_(SSL_new(of)), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())), fd_(fd)
    {
        SSL_set_bio(ssl_.get(), in_, out_);
        SSL_set_accept_state(ssl_.get());
    }
    ~raw_peer() { ::close(fd_); }

    SSL *ssl() const { return ssl_.get(); }
    std::size_t waiting() const { return BIO_ctrl_pending(out_); }

    // Of what is to be sent, so much, in pieces; false: nobody is there.
    bool push(std::size_t most = static_cast<std::size_t>(-1), std::size_t piece = 65536)
    {
        char data[65536];
        for (int n; most != 0; most -= static_cast<std::size_t>(n)) {
            n = BIO_read(out_, data, static_cast<int>(std::min({most, piece, sizeof data})));
            if (n <= 0) {
                return true;
            }
            if (::send(fd_, data, static_cast<std::size_t>(n), MSG_NOSIGNAL) != n) {
                return false;
            }
        }
        return true;
    }

    int until(std::function<int()> const &call)
    {
        for (;;) {
            int const r = call();
            if (r > 0 || SSL_get_error(ssl_.get(), r) != SSL_ERROR_WANT_READ || !push()) {
                return r;
            }
            char data[4096];
            auto const n = ::recv(fd_, data, sizeof data, 0);
            if (n <= 0) {
                return 0;
            }
            BIO_write(in_, data, static_cast<int>(n));
        }
    }
    int read(char *to, std::size_t size)
    {
        return until([&] { return SSL_read(ssl_.get(), to, static_cast<int>(size)); });
    }
    bool handshake()
    {
        return until([&] { return SSL_accept(ssl_.get()); }) == 1;
    }
    void end()
    {
        (void)SSL_shutdown(ssl_.get());
        (void)push();
    }

private:
    std::unique_ptr<SSL, tls::deleter> ssl_;
    BIO *in_, *out_;
    int fd_;
};

class Tls : public ::testing::Test {
protected:
    Tls()
    {
        use_certificate(server_.get(), 0, SSL_CTX_get_cert_store(client_.native_handle()));
        // The tickets have it in them, and leave in many records: one message in parts.
        use_certificate(client_.native_handle(), 300, nullptr);
        SSL_CTX_set_verify(server_.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX *) { return 1; });
        auto const *const id = reinterpret_cast<unsigned char const *>("tls");
        SSL_CTX_set_session_id_context(server_.get(), id, 3);
        SSL_CTX_set_max_send_fragment(server_.get(), 512);
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds_), 0);
    }

    // The peer on its thread, and a task with the stream, whose handshake is done.
    void run(std::function<void(raw_peer &)> const &peer,
             std::function<void(tls_stream &)> const &body)
    {
        std::thread other([&] {
            raw_peer one(server_.get(), fds_[1]);
            ASSERT_TRUE(one.handshake());
            peer(one);
        });
        ma::executor ex;
        ma::task task;
        task.attach(ex, [&] {
            tls_stream stream(ma::socket(monad_async_socket_adopt(fds_[0])), client_, "localhost");
            stream.handshake();
            body(stream);
        });
        ex.run_until_idle();
        other.join();
        task.get();
    }

    tls_context client_ = tls_context::client();
    std::unique_ptr<SSL_CTX, tls::deleter> server_{SSL_CTX_new(TLS_server_method())};
    int fds_[2];
};

std::string text(std::size_t size)
{
    std::string made(size, 0);
    for (std::size_t i = 0; i != size; ++i) {
        made[i] = static_cast<char>(i * 7 >> 3);
    }
    return made;
}

void send_all(tls_stream &stream, std::string const &data)
{
    ma::write_all(stream, {data});
}

std::string read_all(tls_stream &stream)
{
    std::string all;
    char data[5000];
    while (auto const n = stream.recv(data)) {
        all.append(data, n);
    }
    return all;
}

// A write is in want of the rest of a message: it waits, may be interrupted, and then goes on.
TEST_F(Tls, a_write_behind_half_a_message)
{
    std::atomic<bool> refused{false};
    std::string const data = text(100000);
    std::string came;
    run(
        [&](raw_peer &peer) {
            ASSERT_GT(peer.waiting(), 4000u);
            peer.push(1500);
            while (!refused) {
                std::this_thread::sleep_for(1ms);
            }
            peer.push(static_cast<std::size_t>(-1), 100);
            char part[4096];
            for (int n; (n = peer.read(part, sizeof part)) > 0;) {
                came.append(part, static_cast<std::size_t>(n));
            }
            SSL_write(peer.ssl(), "done", 4);
            peer.end();
        },
        [&](tls_stream &stream) {
            auto const write = [&] {
                while (!SSL_in_init(stream.native_handle())) { // The half has come.
                    ma::this_task::sleep_for(1ms);
                }
                std::error_code ec;
                {
                    ma::scope const brief(20ms);
                    EXPECT_EQ(stream.send(data, ec), 0u);
                }
                EXPECT_TRUE(tls::interrupted(ec)) << ec.message();
                refused = true;
                send_all(stream, data);
                stream.shutdown();
            };
            ma::when_all([&] { EXPECT_EQ(read_all(stream), "done"); }, write);
        });
    EXPECT_EQ(came, data);
}

// Who reads never waits for room, also where new keys have to be answered.
TEST_F(Tls, a_peer_that_reads_nothing_until_it_has_written_all)
{
    std::string const data = text(6000000), block = text(60000);
    std::string came, all;
    run(
        [&](raw_peer &peer) {
            for (int i = 0; i != 100; ++i) {
                SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED);
                ASSERT_EQ(SSL_write(peer.ssl(), block.data(), 60000), 60000);
                ASSERT_TRUE(peer.push());
            }
            char part[4096];
            for (int n; (n = peer.read(part, sizeof part)) > 0;) {
                came.append(part, static_cast<std::size_t>(n));
            }
            peer.end();
        },
        [&](tls_stream &stream) {
            auto const write = [&] { send_all(stream, data), stream.shutdown(); };
            ma::when_all([&] { all = read_all(stream); }, write);
        });
    EXPECT_EQ(came, data);
    EXPECT_EQ(all.size(), 100 * block.size());
}

// What it is to be answered is bounded.
TEST_F(Tls, a_peer_that_asks_for_ever_and_takes_no_answer)
{
    std::error_code ec;
    run(
        [&](raw_peer &peer) {
            do {
                SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_REQUESTED);
                ASSERT_EQ(SSL_do_handshake(peer.ssl()), 1);
            } while (peer.push());
        },
        [&](tls_stream &stream) {
            char data[10];
            EXPECT_EQ(stream.recv(data, ec), 0u);
        });
    EXPECT_EQ(ec, std::errc::no_buffer_space) << ec.message();
}

// What is counted is sent once, and what is not, not at all.
TEST_F(Tls, writes_that_are_interrupted)
{
    std::string const data = text(3000000);
    std::string came;
    int interrupted = 0;
    run(
        [&](raw_peer &peer) {
            char part[20000];
            for (int n; (n = peer.read(part, sizeof part)) > 0;) {
                came.append(part, static_cast<std::size_t>(n));
                std::this_thread::sleep_for(1ms);
            }
        },
        [&](tls_stream &stream) {
            for (std::size_t n = 0; n != data.size();) {
                std::error_code ec;
                ma::scope const brief(200us);
                n += stream.send({data.data() + n, std::min<std::size_t>(40000, data.size() - n)},
                                 ec);
                ASSERT_TRUE(!ec || tls::interrupted(ec)) << ec.message();
                interrupted += ec ? 1 : 0;
            }
            stream.shutdown();
        });
    EXPECT_EQ(came, data);
    EXPECT_GT(interrupted, 0);
}

} // namespace

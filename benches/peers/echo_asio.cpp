// A TCP echo server on one thread of Boost.Asio: says its port, and serves until it is killed.
#include <boost/asio.hpp>

#include <array>
#include <cstdio>
#include <memory>

using boost::asio::ip::tcp;

struct connection : std::enable_shared_from_this<connection> {
    explicit connection(tcp::socket its) : peer(std::move(its)) {}
    void go_on()
    {
        peer.async_read_some(
            boost::asio::buffer(data),
            [self = shared_from_this()](boost::system::error_code e, std::size_t n) {
                if (!e) {
                    self->answer(n);
                }
            });
    }
    void answer(std::size_t n)
    {
        boost::asio::async_write(
            peer, boost::asio::buffer(data, n),
            [self = shared_from_this()](boost::system::error_code e, std::size_t) {
                if (!e) {
                    self->go_on();
                }
            });
    }
    tcp::socket peer;
    std::array<char, 4096> data;
};

int main()
{
    boost::asio::io_context context(1);
    tcp::acceptor listener(context, {boost::asio::ip::address_v4::loopback(), 0});
    std::printf("port %d\n", listener.local_endpoint().port());
    std::fflush(stdout);
    struct loop {
        tcp::acceptor &listener;
        void operator()(boost::system::error_code e, tcp::socket peer)
        {
            if (!e) {
                peer.set_option(tcp::no_delay(true));
                std::make_shared<connection>(std::move(peer))->go_on();
            }
            listener.async_accept(*this);
        }
    };
    listener.async_accept(loop{listener});
    context.run();
}

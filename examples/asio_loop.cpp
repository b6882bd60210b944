// An executor in the loop of Boost.Asio: Asio waits, also for the executor's descriptor, and has
// the executor run what is ready. Counts how often that was, and how often for nothing.
#include <monad/async.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdio>
#include <thread>

namespace asio = boost::asio;
namespace ma = monad::async;
using namespace std::chrono_literals;

//! [in Asio]
class executor_in_asio {
public:
    executor_in_asio(asio::io_context &loop, ma::executor &ex)
        : ex_(ex), descriptor_(loop, ex.poll_fd())
    {
        wait();
    }
    // The descriptor is the executor's.
    ~executor_in_asio() { descriptor_.release(); }
    executor_in_asio(executor_in_asio const &) = delete;
    executor_in_asio &operator=(executor_in_asio const &) = delete;

    unsigned runs = 0, for_nothing = 0;

private:
    void wait()
    {
        descriptor_.async_wait(asio::posix::stream_descriptor::wait_read,
                               [this](boost::system::error_code const &ec) {
                                   if (!ec) {
                                       ++runs;
                                       for_nothing += ex_.poll() == 0;
                                       wait();
                                   }
                               });
    }

    ma::executor &ex_;
    asio::posix::stream_descriptor descriptor_;
};
//! [in Asio]

int main()
{
    constexpr unsigned sleeps = 20, from_elsewhere = 10;
    asio::io_context loop;
    ma::executor ex;
    executor_in_asio inside(loop, ex);
    unsigned left = 1 + from_elsewhere;
    auto const done = [&] {
        if (--left == 0) {
            loop.stop();
        }
    };
    ex.spawn([&] {
        for (unsigned i = 0; i < sleeps; ++i) {
            ma::this_task::sleep_for(2ms);
        }
        done();
    });
    // Asio's own work goes on in the same loop.
    unsigned ticks = 0;
    asio::steady_timer timer(loop, 1ms);
    auto tick = [&](auto const &self) -> void {
        timer.async_wait([&, self](boost::system::error_code const &) {
            ++ticks;
            timer.expires_after(1ms);
            self(self);
        });
    };
    tick(tick);
    std::thread other([&, to = ex.ref()] {
        for (unsigned i = 0; i < from_elsewhere; ++i) {
            std::this_thread::sleep_for(3ms);
            to.spawn(done);
        }
    });
    loop.run();
    other.join();
    std::printf("%u runs of the executor, %u for nothing; %s\n", inside.runs, inside.for_nothing,
                ticks != 0 ? "Asio's timer went on" : "Asio's timer stood still");
    // A launch, a sleep and a message from elsewhere are one each.
    bool const spins = inside.runs > 2 * (sleeps + from_elsewhere) + 10;
    return spins || ticks == 0 ? 1 : 0;
}

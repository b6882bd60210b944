#ifndef MONAD_ASYNC_TESTS_CPP_LAYERS_HPP
#define MONAD_ASYNC_TESTS_CPP_LAYERS_HPP

// Streams as users write them.

#include "support.hpp"

#include <monad/async/stream.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

// What comes in pieces as they were given, and what was written, each call by itself.
struct pieces {
    std::vector<std::string> to_come, written;
    std::size_t at_once = 1000; // Of a write.
    std::error_code next;       // Fails the next call.
    int reads = 0;

    std::size_t read(ma::bytes to, std::error_code &ec) noexcept
    {
        ++reads;
        ec = std::exchange(next, {});
        if (ec || to_come.empty()) {
            return 0;
        }
        auto &piece = to_come.front();
        auto const n = std::min(piece.size(), to.size());
        std::copy_n(piece.data(), n, to.data());
        piece.erase(0, n);
        if (piece.empty()) {
            to_come.erase(to_come.begin());
        }
        return n;
    }

    std::size_t write(ma::const_bytes from, std::error_code &ec)
    {
        ec = std::exchange(next, {});
        if (ec) {
            return 0;
        }
        auto const n = std::min(from.size(), at_once);
        written.emplace_back(reinterpret_cast<char const *>(from.data()), n);
        return n;
    }
};

// Layered over a socket, as TLS would be: turns each bit round.
class turned {
public:
    explicit turned(ma::socket &below) : below_(below) {}

    std::size_t recv(ma::bytes to, std::error_code &ec) noexcept
    {
        auto const n = below_.recv(to, ec);
        std::transform(to.data(), to.data() + n, to.data(), turn);
        return n;
    }

    std::size_t send(ma::const_bytes from, std::error_code &ec)
    {
        std::vector<unsigned char> to(from.size());
        std::transform(from.data(), from.data() + from.size(), to.begin(), turn);
        return below_.send(to, ec);
    }

private:
    static unsigned char turn(unsigned char c) noexcept { return static_cast<unsigned char>(~c); }

    ma::socket &below_;
};

// Errors of a library that has its own numbers.
struct layer_category : std::error_category {
    [[nodiscard]] char const *name() const noexcept override { return "layer"; }
    [[nodiscard]] std::string message(int) const override { return "bad certificate"; }
    static layer_category const &instance()
    {
        static layer_category const one;
        return one;
    }
};

#endif

// Measuring in short turns: a round begins with another one each time, and a figure is the median
// of the rounds.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include <time.h>

namespace bench {

[[noreturn]] inline void die(char const *what)
{
    std::perror(what);
    std::exit(EXIT_FAILURE);
}

inline double clock_ns(clockid_t clock)
{
    timespec t;
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

inline double quantile(std::vector<double> of, double part)
{
    auto const at = static_cast<std::ptrdiff_t>(static_cast<double>(of.size() - 1) * part + 0.5);
    std::nth_element(of.begin(), of.begin() + at, of.end());
    return of[static_cast<std::size_t>(at)];
}

inline double median(std::vector<double> const &of)
{
    return quantile(of, 0.5);
}

// Does so much of something.
using work = std::function<void(unsigned)>;

struct measured {
    char const *name;
    work run;
    std::vector<double> ns = {}; // Of each round.
};

struct turns {
    clockid_t clock;
    unsigned rounds, before, count;
};

inline void measure(std::vector<measured> &all, turns const &of)
{
    for (unsigned round = 0; round < of.rounds; ++round) {
        for (std::size_t n = 0; n < all.size(); ++n) {
            auto &each = all[(round + n) % all.size()];
            each.run(of.before);
            double const begun = clock_ns(of.clock);
            each.run(of.count);
            each.ns.push_back((clock_ns(of.clock) - begun) / of.count);
        }
    }
}

template <class F>
std::vector<double> pairwise(measured const &left, measured const &right, F const &f)
{
    std::vector<double> all;
    for (std::size_t n = 0; n < left.ns.size(); ++n) {
        all.push_back(f(left.ns[n], right.ns[n]));
    }
    return all;
}

// Of each round, the rate of `one` next to that of `other`.
inline std::vector<double> rates(measured const &one, measured const &other)
{
    return pairwise(other, one, std::divides<>());
}

} // namespace bench

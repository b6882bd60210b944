#ifndef MONAD_ASYNC_TESTS_CPP_DIRECT_HPP
#define MONAD_ASYNC_TESTS_CPP_DIRECT_HPP

// What the tests of direct descriptors share.

#include "support.hpp"

#include <cstdint>

inline ma::executor_options with_table(std::uint32_t places)
{
    ma::executor_options options;
    options.direct_descriptors = places;
    return options;
}

// Whether the kernel has such tables (5.19).
inline bool has_tables()
{
    return errno_thrown_by([] { ma::executor const ex(with_table(1)); }) != EOPNOTSUPP;
}

#define SKIP_WITHOUT_TABLES()                                                                      \
    if (!has_tables()) {                                                                           \
        GTEST_SKIP() << "this kernel has no tables of direct descriptors";                         \
    }

#endif

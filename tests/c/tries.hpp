// What the tests of files and sockets share: the way out of a task whose call failed, and how many
// descriptors are open.
#ifndef MONAD_ASYNC_TESTS_C_TRIES_HPP
#define MONAD_ASYNC_TESTS_C_TRIES_HPP

#include "support.hpp"

#include <dirent.h>

// In a task: a call that fails is the test's failure and the task's end.
#define TRY(call)                                                                                  \
    do {                                                                                           \
        monad_async_result const tried = (call);                                                   \
        EXPECT_EQ(tried.error, 0) << #call << ": " << monad_async_result_message(tried);           \
        if (tried.error != 0) {                                                                    \
            return tried;                                                                          \
        }                                                                                          \
    } while (false)

namespace support {

inline size_t entries_of(char const *directory)
{
    size_t n = 0;
    DIR *const d = opendir(directory);
    while (readdir(d) != nullptr) {
        ++n;
    }
    closedir(d);
    return n;
}

// With the same others at each call: to be compared with itself.
inline size_t open_descriptors()
{
    return entries_of("/proc/self/fd");
}

} // namespace support

#endif

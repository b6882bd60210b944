// What the tests of traces share: a file that goes away, and who looks at it.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

namespace support {

struct File {
    std::string path = testing::TempDir() + "monad_async_trace_XXXXXX";
    int fd = mkstemp(path.data());

    File() = default;
    File(File const &) = delete;
    ~File()
    {
        close(fd);
        unlink(path.c_str());
    }
    std::string text() const
    {
        std::ifstream in(path);
        return {std::istreambuf_iterator<char>(in), {}};
    }
};

// Has python look at the document: see trace_check.py, which `checks` belongs to.
inline void check(File const &file, std::string const &checks)
{
    std::string const script = file.path + ".py";
    std::ofstream(script) << checks << "\n";
    int const status = std::system(
        ("python3 " MONAD_ASYNC_TRACE_CHECK " " + file.path + " " + script + " 2>&1").c_str());
    unlink(script.c_str());
    if (WEXITSTATUS(status) == 127) {
        std::printf("[  SKIPPED ] no python3 here\n");
        std::fflush(stdout);
        _exit(0);
    }
    EXPECT_EQ(status, 0) << file.text().substr(0, 20000);
}

} // namespace support

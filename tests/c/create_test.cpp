// Making an executor: what it says of itself, and what it answers where the kernel has no io_uring,
// a sandbox forbids it, or memory lacks. The refusals are made by a seccomp filter in a child.

#include "support.hpp"

#include <cstddef>
#include <string>
#include <thread>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

using namespace support;

namespace {

// From here on the calling process gets `error` from io_uring_setup.
bool refuse_io_uring(int error)
{
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (static_cast<unsigned>(error) & 0xffff)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{sizeof filter / sizeof *filter, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

struct Refusal {
    int error = -1;
    int compute_only_error = -1;
    std::string text;
};

// What create answers, and what it says, in a child where io_uring_setup fails with `error`.
Refusal create_where_setup_fails(int error)
{
    Pipe pipe;
    pid_t const child = fork();
    if (child == 0) {
        int answers[2] = {-2, -2};
        char const *text = "";
        if (refuse_io_uring(error)) {
            monad_async_executor ex = nullptr;
            monad_async_executor_attr attr{};
            attr.io_uring_ring.entries = 64;
            answers[0] = monad_async_executor_create(&ex, &attr).error;
            text = monad_async_last_create_error();
            std::string const kept = text == nullptr ? "" : text;
            attr.io_uring_ring.entries = 0;
            answers[1] = monad_async_executor_create(&ex, &attr).error;
            bool const wrote =
                write(pipe.writer, answers, sizeof answers) == sizeof answers &&
                write(pipe.writer, kept.data(), kept.size()) == static_cast<ssize_t>(kept.size());
            _exit(wrote ? 0 : 1);
        }
        _exit(2);
    }
    pipe.writer.reset();
    Refusal refusal;
    int answers[2];
    EXPECT_EQ(read(pipe.reader, answers, sizeof answers), static_cast<ssize_t>(sizeof answers));
    refusal.error = answers[0];
    refusal.compute_only_error = answers[1];
    char part[512];
    for (ssize_t n; (n = read(pipe.reader, part, sizeof part)) > 0;) {
        refusal.text.append(part, static_cast<size_t>(n));
    }
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    return refusal;
}

bool says(std::string const &text, char const *part)
{
    return text.find(part) != std::string::npos;
}

// One plain sentence: it begins like one, ends like one, and is on one line.
void expect_sentence(std::string const &text)
{
    ASSERT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_NE(text.back(), ' ') << text;
    EXPECT_GT(text.size(), 20u) << text;
}

std::string config_of(monad_async_executor ex)
{
    char *const text = monad_async_executor_config_string(ex);
    EXPECT_NE(text, nullptr);
    std::string copy = text == nullptr ? "" : text;
    monad_async_free(text);
    return copy;
}

} // namespace

TEST(Create, kernel_without_io_uring_is_ENOSYS)
{
    Refusal const refusal = create_where_setup_fails(ENOSYS);
    EXPECT_EQ(refusal.error, ENOSYS);
    expect_sentence(refusal.text);
    EXPECT_TRUE(says(refusal.text, "kernel")) << refusal.text;
}

// The sentence tells the one from the other where it can.
TEST(Create, forbidden_io_uring_is_EPERM_and_names_sysctl_or_seccomp)
{
    Refusal const refusal = create_where_setup_fails(EPERM);
    EXPECT_EQ(refusal.error, EPERM);
    expect_sentence(refusal.text);
    EXPECT_TRUE(says(refusal.text, "io_uring_disabled") || says(refusal.text, "seccomp"))
        << refusal.text;
}

TEST(Create, lack_of_memory_is_ENOMEM_and_names_memlock)
{
    Refusal const refusal = create_where_setup_fails(ENOMEM);
    EXPECT_EQ(refusal.error, ENOMEM);
    expect_sentence(refusal.text);
    EXPECT_TRUE(says(refusal.text, "memlock") || says(refusal.text, "MEMLOCK") ||
                says(refusal.text, "ulimit -l"))
        << refusal.text;
}

TEST(Create, compute_only_needs_no_io_uring)
{
    for (int error : {ENOSYS, EPERM, ENOMEM}) {
        EXPECT_EQ(create_where_setup_fails(error).compute_only_error, 0) << strerror(error);
    }
}

TEST(Create, failure_leaves_no_descriptor_behind)
{
    Fd const before(dup(0));
    monad_async_executor ex = nullptr;
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 64;
    attr.reserved[0] = 1;
    EXPECT_EQ(monad_async_executor_create(&ex, &attr).error, EINVAL);
    Fd const after(dup(0));
    EXPECT_EQ(int(after), int(before) + 1);
}

TEST(Create, destroy_gives_every_descriptor_back)
{
    {
        Executor warm_up;
    }
    int const before = int(Fd(dup(0)));
    for (int i = 0; i < 100; ++i) {
        Executor ring(8);
        Executor compute_only(0);
    }
    EXPECT_EQ(int(Fd(dup(0))), before);
}

TEST(Create, config_string_tells_kernel_and_ring)
{
    Executor ex(64);
    std::string const text = config_of(ex);
    EXPECT_TRUE(says(text, "kernel")) << text;
    EXPECT_TRUE(says(text, "64")) << text;
    EXPECT_TRUE(says(text, "SINGLE_ISSUER") || says(text, "single_issuer")) << text;
}

TEST(Create, entries_are_rounded_up_and_cut_at_the_limit)
{
    constexpr std::pair<unsigned, char const *> expected[] = {
        {0, "ring: none"},
        {1, "ring: 1 submission entries, 2 completion"},
        {3, "ring: 4 submission entries, 8 completion"},
        {4, "ring: 4 submission entries, 8 completion"},
        {32768, "ring: 32768 submission entries, 65536 completion"},
        {32769, "ring: 32768 submission entries, 65536 completion"},
        {1u << 20, "ring: 32768 submission entries, 65536 completion"},
        {UINT32_MAX, "ring: 32768 submission entries, 65536 completion"}};
    for (auto const &[entries, text] : expected) {
        monad_async_executor made = nullptr;
        monad_async_executor_attr attr{};
        attr.io_uring_ring.entries = entries;
        auto const r = monad_async_executor_create(&made, &attr);
        // The largest takes megabytes in one piece, which a machine in use may not have.
        if (r.error == ENOMEM && entries >= 32768) {
            GTEST_SKIP() << monad_async_last_create_error();
        }
        ASSERT_EQ(r.error, 0) << monad_async_last_create_error();
        Executor ex(Executor::Made{made});
        EXPECT_TRUE(says(config_of(ex), text)) << entries << ": " << config_of(ex);
        bool const has_ring = entries != 0; // C++17 captures no structured binding.
        Task task([&](monad_async_task self) { return has_ring ? nop(self) : success(); });
        task.attach(ex);
        ex.finish();
        EXPECT_EQ(task->result.error, 0);
    }
}

TEST(Create, config_string_of_compute_only_says_so)
{
    Executor ex(0);
    std::string const text = config_of(ex);
    EXPECT_TRUE(says(text, "compute only")) << text;
    char *elsewhere = nullptr;
    std::thread([&] { elsewhere = monad_async_executor_config_string(ex); }).join();
    EXPECT_EQ(elsewhere, nullptr);
    EXPECT_NE(text, config_of(Executor(64)));
}

TEST(Create, free_takes_null)
{
    monad_async_free(nullptr);
}

TEST(Create, version_is_that_of_the_headers)
{
    std::string const version = std::to_string(MONAD_ASYNC_VERSION_MAJOR) + "." +
                                std::to_string(MONAD_ASYNC_VERSION_MINOR) + "." +
                                std::to_string(MONAD_ASYNC_VERSION_PATCH);
    EXPECT_EQ(version, monad_async_version());
}

TEST(Create, wishes_to_the_kernel_that_are_kept)
{
    monad_async_executor ex = nullptr;
    monad_async_executor_attr attr{};
    attr.io_uring_ring.entries = 4;
    attr.io_uring_ring.params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    attr.io_uring_ring.params.cq_entries = 1024;
    ASSERT_EQ(monad_async_executor_create(&ex, &attr).error, 0);
    EXPECT_TRUE(says(config_of(ex), "1024")) << config_of(ex);
    EXPECT_EQ(monad_async_executor_destroy(ex).error, 0);
}

TEST(Create, several_on_one_thread)
{
    Executor a, b(0), c(2);
    int ran = 0;
    Task one([&](monad_async_task task) { return ++ran, nop(task); });
    Task two([&](monad_async_task task) { return ++ran, yield(task); });
    Task three([&](monad_async_task task) { return ++ran, nop(task); });
    one.attach(a);
    two.attach(b);
    three.attach(c);
    c.finish();
    EXPECT_EQ(ran, 1);
    b.finish();
    a.finish();
    EXPECT_EQ(ran, 3);
    EXPECT_EQ(one->result.error + two->result.error + three->result.error, 0);
}

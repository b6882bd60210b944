// A user with no more of the disk: EDQUOT, by a file system of the test's own with a limit, which is
// Btrfs, as it counts for root too.

#include "support.hpp"

#include <monad/async/file.h>
#include <monad/async/op.h>

#include <array>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>

using namespace support;

namespace {

constexpr intptr_t limit = 1 << 20;

bool run(std::string const &command)
{
    return system((command + " >/dev/null 2>&1").c_str()) == 0;
}

struct Limited {
    std::string place = "/tmp/monad_async_quota_XXXXXX";
    bool made = false;
    Limited()
    {
        if (mkdtemp(place.data()) == nullptr) {
            abort();
        }
        std::string const image = place + "/image", on = place + "/on";
        made = run("truncate -s 128M " + image + " && mkfs.btrfs -q " + image + " && mkdir " + on +
                   " && mount -o loop " + image + " " + on);
        made = made && run("btrfs quota enable " + on) &&
               run("btrfs qgroup limit " + std::to_string(limit) + " " + on);
    }
    Limited(Limited const &) = delete;
    ~Limited()
    {
        (void)run("umount -l " + place + "/on"); // Files that were closed may be busy a moment.
        (void)run("rm -rf " + place);
    }
    int create(char const *name) const
    {
        int const fd = open((place + "/on/" + name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        EXPECT_GE(fd, 0);
        return fd;
    }
};

intptr_t bytes_of(int fd)
{
    struct stat status {};
    EXPECT_EQ(fstat(fd, &status), 0);
    return status.st_size;
}

} // namespace

TEST(Quota, what_is_over_it_is_told_so)
{
    std::string const data(2 * limit, 'x');
    Executor const ex;
    {
        Limited const disk;
        if (!disk.made) {
            skip("no Btrfs with a quota may be mounted here (mkfs.btrfs: btrfs-progs; root)");
        }
        Fd const fd(disk.create("calls"));
        Task const task([&](monad_async_task self) {
            auto const file = monad_async_file_adopt(fd);
            auto const r = monad_async_file_write_all(self, file, data.data(), data.size(), 0);
            EXPECT_EQ(r.error, EDQUOT) << monad_async_result_message(r);
            EXPECT_GT(r.value, 0);
            EXPECT_LE(r.value, limit);
            EXPECT_EQ(r.value, bytes_of(fd)) << "the bytes that are there";
            EXPECT_EQ(monad_async_file_allocate(self, file, 0, 0, 2 * limit).error, EDQUOT);
            return success();
        });
        task.attach(ex);
        ex.finish();
    }
    Limited const disk;
    Fd const fd(disk.create("ordered"));
    Task const task([&](monad_async_task self) {
        auto file = monad_async_file_adopt(fd);
        EXPECT_EQ(monad_async_file_set_ordered(self, &file).error, 0);
        constexpr size_t block = limit / 16;
        std::array<monad_async_op, 32> ops{};
        for (size_t i = 0; i < ops.size(); ++i) {
            monad_async_op_write(&ops[i], file, data.data(), block, int64_t(i * block));
            EXPECT_EQ(monad_async_op_begin(self, &ops[i]).error, 0);
        }
        intptr_t written = 0, canceled = 0;
        bool failed = false;
        for (auto &op : ops) {
            auto const r = monad_async_op_wait(self, &op);
            if (failed) {
                EXPECT_EQ(r.error, ECANCELED);
                ++canceled;
                continue;
            }
            failed = r.error != 0;
            EXPECT_EQ(r.error, failed ? EDQUOT : 0) << monad_async_result_message(r);
            written += r.value;
        }
        EXPECT_TRUE(failed);
        EXPECT_EQ(written, bytes_of(fd)) << "the bytes that are there";
        int64_t where = 0;
        auto const broken = monad_async_file_row_error(self, file, &where);
        EXPECT_EQ(broken.error, EDQUOT);
        EXPECT_EQ(broken.value, canceled);
        EXPECT_EQ(where, written);
        return success();
    });
    task.attach(ex);
    ex.finish();
}

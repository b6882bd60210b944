//! Calls on files that wait for a disk, made where the ring has no operation for them: on a helper
//! thread. They leave errno alone. A path or a record that is passed is valid for the call.

use core::ffi::{c_char, c_int};

use super::fd::quietly;
use crate::error::Res;

/// Whether the kernel knows such a flag of a write: tried on a pipe.
pub fn knows_write_flag(flag: i32) -> bool {
    let mut ends = [-1; 2];
    // SAFETY: room for two.
    if quietly(|| unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }).is_err() {
        return false;
    }
    let part = libc::iovec { iov_base: (&raw mut ends).cast(), iov_len: 1 };
    // SAFETY: one byte of ours.
    let written = quietly(|| unsafe { libc::pwritev2(ends[1], &part, 1, -1, flag) as c_int });
    ends.into_iter().for_each(super::fd::close);
    written.is_ok()
}

/// Of a file system, without borders between what is written.
pub fn is_regular(fd: i32) -> bool {
    // SAFETY: plain numbers.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: our own record.
    let known = quietly(|| unsafe { libc::fstat(fd, &mut status) }).is_ok();
    known && status.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// By which two files are told from each other: inode and device; 0: not known.
pub fn identity(fd: i32) -> u64 {
    // SAFETY: plain numbers.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: our own record.
    let known = quietly(|| unsafe { libc::fstat(fd, &mut status) }).is_ok();
    // Their types differ between architectures.
    #[allow(clippy::unnecessary_cast)]
    let identity = status.st_ino as u64 ^ (status.st_dev as u64).rotate_left(32);
    if known {
        identity
    } else {
        0
    }
}

/// What is written to it goes to memory first, and nothing waits for the disk.
pub fn is_buffered(fd: i32) -> bool {
    const WAITS: c_int = libc::O_DIRECT | libc::O_DSYNC | libc::O_SYNC;
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::fcntl(fd, libc::F_GETFL) }).is_ok_and(|flags| flags & WAITS == 0)
}

/// What is read and written goes past the kernel's memory.
pub fn is_unbuffered(fd: i32) -> bool {
    has_flags(fd, libc::O_DIRECT)
}

/// One of these, at least.
fn has_flags(fd: i32, some: c_int) -> bool {
    // SAFETY: refers to no memory.
    let flags = quietly(|| unsafe { libc::fcntl(fd, libc::F_GETFL) });
    flags.is_ok_and(|flags| flags & some != 0)
}

/// Of a file system that writes to memory without blocking if it can (since Linux 6.0 and 6.1; what
/// blocks all the same is the kernel's to pass on). The others refuse to try.
pub fn writes_at_once(fd: i32) -> bool {
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    matches!(file_system(fd), Some(XFS | BTRFS))
}

/// Of a file system that a process performs: this one, maybe.
pub fn is_served_by_a_process(fd: i32) -> bool {
    const FUSE: u64 = 0x6573_5546;
    file_system(fd) == Some(FUSE)
}

/// Its kind.
fn file_system(fd: i32) -> Option<u64> {
    // SAFETY: plain numbers.
    let mut status: libc::statfs = unsafe { core::mem::zeroed() };
    // SAFETY: our own record.
    let known = quietly(|| unsafe { libc::fstatfs(fd, &mut status) }).is_ok();
    // Its type differs between architectures.
    #[allow(clippy::unnecessary_cast)]
    let kind = status.f_type as u64;
    known.then_some(kind)
}

/// `preadv2` or `pwritev2`; the offset -1 is the current position.
///
/// # Safety
/// So many parts are there, and what they name.
pub unsafe fn transfer(
    fd: i32,
    writes: bool,
    (parts, count): (*const libc::iovec, u32),
    offset: u64,
    flags: u32,
) -> Res<usize> {
    let (count, offset, flags) = (count as c_int, offset as i64, flags as c_int);
    // SAFETY: the caller's. As much as one call moves fits.
    let moved = quietly(|| unsafe {
        match writes {
            false => libc::preadv2(fd, parts, count, offset, flags) as c_int,
            true => libc::pwritev2(fd, parts, count, offset, flags) as c_int,
        }
    })?;
    Ok(moved as usize)
}

/// `pwrite`: some 40 ns less than `pwritev2` takes for the same. Without the C library's function,
/// at which a thread may be cancelled: that takes 50 instructions, two of them locked.
///
/// # Safety
/// What it names is there.
pub unsafe fn write_at(fd: i32, part: libc::iovec, offset: u64) -> Res<usize> {
    // SAFETY: the caller's. As much as one call moves fits.
    let moved = quietly(|| unsafe {
        libc::syscall(libc::SYS_pwrite64, fd, part.iov_base, part.iov_len, offset) as c_int
    })?;
    Ok(moved as usize)
}

/// The current position. ESPIPE: there is none.
pub fn position(fd: i32) -> Res<i64> {
    moved(fd, 0, libc::SEEK_CUR)
}

/// Moves the current position on.
pub fn move_on(fd: i32, bytes: i64) -> Res<i64> {
    moved(fd, bytes, libc::SEEK_CUR)
}

/// Moves the current position behind what was written there: to the end, where that is where it
/// went. `appends`: what the call has said of that; `None`: it is as the file was opened.
pub fn move_behind(fd: i32, bytes: i64, appends: Option<bool>) -> Res<i64> {
    match appends.unwrap_or_else(|| has_flags(fd, libc::O_APPEND)) {
        true => moved(fd, 0, libc::SEEK_END),
        false => move_on(fd, bytes),
    }
}

/// `lseek`, of which no part waits for a disk.
fn moved(fd: i32, bytes: i64, from: c_int) -> Res<i64> {
    let mut at = -1;
    // SAFETY: refers to no memory.
    quietly(|| unsafe {
        at = libc::lseek(fd, bytes, from);
        at.min(0) as c_int
    })?;
    Ok(at)
}

/// Sees to it that the current position is behind `bytes`, which a short write has put there,
/// by a kernel that may have left it where it was. `appends`: as for `move_behind`.
pub fn came_short(fd: i32, bytes: usize, appends: Option<bool>) {
    // SAFETY: plain numbers.
    let mut status: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: our own record.
    let known = quietly(|| unsafe { libc::fstat(fd, &mut status) }).is_ok();
    let (kind, bytes) = (status.st_mode & libc::S_IFMT, bytes as i64);
    let appends = appends.unwrap_or_else(|| has_flags(fd, libc::O_APPEND));
    let left_it = match position(fd) {
        // Were the bytes behind it, the file would not end before they do.
        Ok(at) if kind == libc::S_IFREG => appends || status.st_size >= at.saturating_add(bytes),
        Ok(_) => kind == libc::S_IFBLK,
        Err(_) => false,
    };
    if known && left_it {
        let _ = move_behind(fd, bytes, Some(appends));
    }
}

pub fn truncate(fd: i32, bytes: i64) -> Res<i32> {
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::ftruncate(fd, bytes) })
}

/// Its value is the error, for once.
pub fn advise(fd: i32, offset: i64, bytes: i64, advice: c_int) -> Res<i32> {
    // SAFETY: refers to no memory.
    match unsafe { libc::posix_fadvise(fd, offset, bytes, advice) } {
        0 => Ok(0),
        error => Err(crate::error::Errno(error)),
    }
}

pub fn sync_range(fd: i32, offset: i64, bytes: i64, flags: u32) -> Res<i32> {
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::sync_file_range(fd, offset, bytes, flags) })
}

/// # Safety
/// See above.
pub unsafe fn mkdir(directory: i32, path: *const c_char, mode: u32) -> Res<i32> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::mkdirat(directory, path, mode) })
}

/// # Safety
/// See above.
pub unsafe fn symlink(target: *const c_char, directory: i32, path: *const c_char) -> Res<i32> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::symlinkat(target, directory, path) })
}

/// # Safety
/// See above.
pub unsafe fn link(from: Path, to: Path, flags: c_int) -> Res<i32> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::linkat(from.directory, from.path, to.directory, to.path, flags) })
}

/// # Safety
/// See above.
pub unsafe fn rename(from: Path, to: Path, flags: u32) -> Res<i32> {
    let what = libc::SYS_renameat2;
    // SAFETY: the caller's. (Old C libraries have no function for it.)
    quietly(|| unsafe {
        libc::syscall(what, from.directory, from.path, to.directory, to.path, flags) as c_int
    })
}

/// # Safety
/// See above.
pub unsafe fn unlink(directory: i32, path: *const c_char, flags: c_int) -> Res<i32> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::unlinkat(directory, path, flags) })
}

/// A name below a directory, as the calls that end with "at" take it.
#[derive(Clone, Copy)]
pub struct Path {
    pub directory: i32,
    pub path: *const c_char,
}

#[cfg(test)]
mod tests {
    use super::identity;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    /// The roots of these have the same inode each.
    #[test]
    fn files_of_two_devices_are_two() {
        let open = |name| File::open(name).ok();
        let (Some(one), Some(other)) = (open("/proc"), open("/sys")) else { return };
        let inode = |file: &File| file.metadata().unwrap().ino();
        let [first, second] = [&one, &other].map(|file| identity(file.as_raw_fd()));
        assert_ne!(first, second, "inodes {} and {}", inode(&one), inode(&other));
        assert_eq!(first, identity(open("/proc").unwrap().as_raw_fd()));
    }
}

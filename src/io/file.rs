//! The calls on files. Each looks like the POSIX call that it replaces, and suspends its task where
//! that would block its thread. What the kernel's ring does not know is done on a helper thread.

use core::cell::Cell;
use core::ffi::{c_char, c_int, c_void};

use super::call::{answer, home, moved, Call, BYTES_MAX, DIRECT};
use super::direct::Own;
use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::Caller;
use crate::executor::Executor;
use crate::pool::blocking;
use crate::sys::{fd, file as calls};
use crate::task::header::TaskRef;
use crate::uring::abi::{file, fsync};
use crate::uring::kernel::{op, Kernel, Sqe};

/// `monad_async_file`: file.h
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    pub fd: i32,
    pub flags: u32,
}

const _: () = assert!(size_of::<File>() == 8);

/// Of a file's flags: it was opened with O_DIRECT. See `Call::moves`.
pub const UNBUFFERED: u32 = 1 << 29;

/// What `open` is asked for, besides the name: the kernel's `struct open_how`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct How {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

/// Runs `job` on a helper thread: SUSPENDS. Cancelled before it began, it never runs.
pub(super) fn on_helper<K: Kernel, F: Fn() -> Res<i32>>(
    ex: &Executor<K>,
    task: TaskRef,
    job: F,
) -> Res<()> {
    unsafe extern "C" fn call<F: Fn() -> Res<i32>>(job: *mut c_void) -> RawResult {
        // SAFETY: on the stack of the task, which waits.
        let job = unsafe { &*job.cast::<F>() };
        job().map(|n| n as isize).into()
    }
    let job = &raw const job;
    let caller = Caller::task(ex, task);
    // SAFETY: it stays until the call has returned; and it holds numbers, and pointers that are
    // valid on any thread.
    let done = unsafe { blocking::run(&caller, call::<F>, job.cast_mut().cast()) };
    match done.error {
        0 => Ok(()),
        e => Err(Errno(e)),
    }
}

const NONBLOCK: u64 = libc::O_NONBLOCK as u64;

/// Whether what is opened may have to wait for its other end. (O_PATH goes with nothing else.)
fn may_wait(flags: u64) -> bool {
    flags & (NONBLOCK | (libc::O_PATH | libc::O_DIRECTORY) as u64) == 0
}

/// SUSPENDS until the file is open, with O_NONBLOCK while it is opened: so has the ring where it
/// opens by itself, and in a thread of the kernel's the other end of a FIFO would be waited for,
/// which before 5.12 no cancel reaches.
///
/// # Safety
/// `path` is a string.
pub unsafe fn open<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    directory: i32,
    path: *const c_char,
    mut how: How,
    direct: bool,
) -> Res<File> {
    const CLOEXEC: u64 = libc::O_CLOEXEC as u64;
    let creates = how.flags & (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u64 != 0;
    if !creates {
        how.mode = 0; // The kernel refuses one that means nothing; `open` does not look at it.
    }
    // A direct descriptor is of this ring alone, and an exec ends that.
    how.flags = if direct { how.flags & !CLOEXEC } else { how.flags | CLOEXEC };
    let size = size_of::<How>() as u32;
    if direct && !ex.knows_direct() {
        return Err(Errno(libc::ENFILE)); // What a newer kernel says where there is no table.
    }
    let at_once = !direct && may_wait(how.flags) && {
        // Then another thread opens it in any kernel.
        let makes = how.flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0;
        makes || ex.kernel().waits_in_open()
    };
    if at_once {
        how.flags |= NONBLOCK;
    }
    let how = Cell::new(how);
    let opens = || {
        let at = how.as_ptr() as u64;
        let mut sqe = Sqe::new(op::OPENAT2, directory, at, path as u64, size, 0);
        sqe.0[5] = u64::from(if direct { file::INDEX_ALLOC } else { 0 }) << 32;
        // SAFETY: the caller's; `how` is in place until the call returns.
        answer(unsafe { ex.io(task, sqe) }).map(|fd| fd as i32)
    };
    let fd = match opens() {
        Ok(fd) if at_once => {
            fd::waits(fd);
            fd
        }
        // A lease, which its holder gives up in time.
        Err(Errno(libc::EAGAIN)) if at_once => {
            how.set(How { flags: how.get().flags & !NONBLOCK, ..how.get() });
            opens()?
        }
        opened => opened?,
    };
    let how = how.get();
    let unbuffered = how.flags & libc::O_DIRECT as u64 != 0;
    let flags =
        if direct { DIRECT | home(ex) } else { 0 } | if unbuffered { UNBUFFERED } else { 0 };
    Ok(File { fd, flags })
}

impl<K: Kernel> Call<'_, K> {
    fn knows(&self, opcode: u8) -> bool {
        self.ex.kernel().knows(opcode)
    }

    /// On a helper, for what the ring has no operation for: by a descriptor of its own, as the
    /// handle may be closed, and its number be another's, before a helper comes to it. EMFILE;
    /// EOPNOTSUPP: see `to_plain`.
    fn on_helper(&self, job: impl Fn(i32) -> Res<i32>) -> Res<()> {
        let own = Own(self.to_plain()?);
        on_helper(self.ex, self.task, || job(own.0))
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `to` has `bytes`.
    #[inline(always)]
    pub unsafe fn read(&self, to: *mut c_void, bytes: usize, offset: i64) -> Res<usize> {
        let len = bytes.min(BYTES_MAX) as u32;
        let sqe = self.entry(op::READ, offset as u64, to as u64, len, 0);
        // SAFETY: the caller's.
        unsafe { self.moves(sqe, false) }
    }

    /// As `read`, as the last thing that the caller does. None: see `moves_last`.
    ///
    /// # Safety
    /// As `read`.
    #[inline(always)]
    pub unsafe fn read_last(
        &self,
        to: *mut c_void,
        bytes: usize,
        offset: i64,
    ) -> Option<RawResult> {
        if bytes > BYTES_MAX {
            return None;
        }
        // SAFETY: the caller's.
        unsafe { self.moves_last(self.entry(op::READ, offset as u64, to as u64, bytes as u32, 0)) }
    }

    /// As `read_last`, of a task behind which none has its turn.
    ///
    /// # Safety
    /// As `read`.
    #[inline(always)]
    pub unsafe fn read_last_leave(
        &self,
        to: *mut c_void,
        bytes: usize,
        offset: i64,
    ) -> Option<RawResult> {
        if bytes > BYTES_MAX {
            return None;
        }
        let sqe = self.entry(op::READ, offset as u64, to as u64, bytes as u32, 0);
        // SAFETY: the caller's.
        unsafe { self.moves_last_leave(sqe) }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `from` has `bytes`.
    #[inline(always)]
    pub unsafe fn write(&self, from: *const c_void, bytes: usize, offset: i64) -> Res<usize> {
        let len = bytes.min(BYTES_MAX) as u32;
        let sqe = self.entry(op::WRITE, offset as u64, from as u64, len, 0);
        let sqe = sqe.raising_no_signal(self.ex.kernel().knows_no_signal());
        // SAFETY: the caller's.
        unsafe { self.moves(sqe, false) }
    }

    /// As `write`, as the last thing that the caller does. None: see `moves_last`.
    ///
    /// # Safety
    /// As `write`.
    #[inline(always)]
    pub unsafe fn write_last(
        &self,
        from: *const c_void,
        bytes: usize,
        offset: i64,
    ) -> Option<RawResult> {
        if offset == -1 || bytes > BYTES_MAX {
            return None; // At the current position, which it moves: see `moves`.
        }
        let sqe = self.entry(op::WRITE, offset as u64, from as u64, bytes as u32, 0);
        let sqe = sqe.raising_no_signal(self.ex.kernel().knows_no_signal());
        // SAFETY: the caller's.
        unsafe { self.moves_last(sqe) }
    }

    /// SUSPENDS. As `preadv2`.
    ///
    /// # Safety
    /// The parts, and what they name, are valid.
    pub unsafe fn readv(&self, parts: Parts, offset: i64, flags: i32) -> Res<usize> {
        let (at, count) = (parts.at as u64, parts.count);
        let sqe = self.entry(op::READV, offset as u64, at, count, flags as u32);
        // SAFETY: the caller's.
        unsafe { self.moves(sqe, flags & libc::RWF_NOWAIT != 0) }
    }

    /// SUSPENDS. As `pwritev2`.
    ///
    /// # Safety
    /// The parts, and what they name, are valid.
    pub unsafe fn writev(&self, parts: Parts, offset: i64, flags: i32) -> Res<usize> {
        let (at, count) = (parts.at as u64, parts.count);
        let sqe = self.entry(op::WRITEV, offset as u64, at, count, flags as u32);
        let sqe = sqe.raising_no_signal(self.ex.kernel().knows_no_signal());
        // SAFETY: the caller's.
        unsafe { self.moves(sqe, flags & libc::RWF_NOWAIT != 0) }
    }

    /// A descriptor with O_NONBLOCK. For a pipe and its like there is poll; of a file whose file
    /// system cannot promise that it will not wait, /proc for one, the ring never reads then, and
    /// poll says that it may: a helper does, as `read` itself takes no notice of the flag there.
    ///
    /// # Safety
    /// As `transfer`.
    pub(super) unsafe fn without_nonblock(&self, sqe: &Sqe, begun: u64) -> Res<usize> {
        let (writes, of_parts) = match sqe.opcode() {
            op::READ | op::READ_FIXED => (false, false),
            op::READV => (false, true),
            op::WRITE | op::WRITE_FIXED => (true, false),
            _ => (true, true),
        };
        if !self.with_plain(|fd| Ok(calls::is_regular(fd))).unwrap_or(false) {
            let events = if writes { libc::POLLOUT } else { libc::POLLIN };
            // SAFETY: the caller's.
            return unsafe { self.io_after_poll(sqe, events, begun) };
        }
        let (at, len) = (sqe.addr() as *mut c_void, sqe.len());
        let whole = libc::iovec { iov_base: at, iov_len: len as usize };
        let parts = if of_parts { (at.cast_const().cast(), len) } else { (&raw const whole, 1) };
        let mut done = 0;
        let out = &raw mut done;
        self.goes_on(begun)?;
        self.on_helper(|fd| {
            // SAFETY: the caller's; `out` is in place until the helper has returned.
            unsafe { out.write(calls::transfer(fd, writes, parts, sqe.off(), sqe.op_flags())?) };
            Ok(0)
        })?;
        Ok(done)
    }

    /// SUSPENDS until all is read, or the file ends.
    ///
    /// # Safety
    /// As `read`.
    pub unsafe fn read_all(&self, to: *mut c_void, bytes: usize, offset: i64) -> RawResult {
        if bytes == 0 {
            return self.of_nothing();
        }
        let (mut done, begun) = (0, self.begun());
        while done < bytes {
            if let Err(e) = self.goes_on(begun) {
                return moved(done, Err(e));
            }
            // SAFETY: the caller's.
            match unsafe { self.read(to.byte_add(done), bytes - done, behind(offset, done)) } {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) => return moved(done, Err(e)),
            }
        }
        moved(done, Ok(()))
    }

    /// SUSPENDS until all is written.
    ///
    /// # Safety
    /// As `write`.
    pub unsafe fn write_all(&self, from: *const c_void, bytes: usize, offset: i64) -> RawResult {
        if bytes == 0 {
            return self.of_nothing();
        }
        let (mut done, begun) = (0, self.begun());
        while done < bytes {
            if let Err(e) = self.goes_on(begun) {
                return moved(done, Err(e));
            }
            // SAFETY: the caller's.
            match unsafe { self.write(from.byte_add(done), bytes - done, behind(offset, done)) } {
                // A device that takes nothing, and has no error for it.
                Ok(0) => return moved(done, Err(Errno(libc::EIO))),
                Ok(n) => done += n,
                Err(e) => return moved(done, Err(e)),
            }
        }
        moved(done, Ok(()))
    }

    /// SUSPENDS until it is on the disk; `data`: without what is not needed to read it.
    pub fn sync(&self, data: bool) -> Res<()> {
        let flags = if data { fsync::DATASYNC } else { 0 };
        // SAFETY: refers to no memory.
        unsafe { self.io(&self.entry(op::FSYNC, 0, 0, 0, flags)) }.map(drop)
    }

    /// SUSPENDS. As `sync_file_range`.
    pub fn sync_range(&self, offset: i64, bytes: i64, flags: u32) -> Res<()> {
        match u32::try_from(bytes) {
            Ok(len) => {
                let sqe = self.entry(op::SYNC_FILE_RANGE, offset as u64, 0, len, flags);
                // SAFETY: refers to no memory.
                unsafe { self.io(&sqe) }.map(drop)
            }
            // The entry has no room for more.
            Err(_) => self.on_helper(|fd| calls::sync_range(fd, offset, bytes, flags)),
        }
    }

    /// SUSPENDS. As `fallocate`.
    pub fn allocate(&self, mode: i32, offset: i64, bytes: i64) -> Res<()> {
        let sqe = self.entry(op::FALLOCATE, offset as u64, bytes as u64, mode as u32, 0);
        // SAFETY: refers to no memory.
        unsafe { self.io(&sqe) }.map(drop)
    }

    /// SUSPENDS. Linux 6.9; before it on a helper.
    pub fn truncate(&self, bytes: i64) -> Res<()> {
        if !self.knows(op::FTRUNCATE) {
            return self.on_helper(|fd| calls::truncate(fd, bytes));
        }
        // SAFETY: refers to no memory.
        unsafe { self.io(&self.entry(op::FTRUNCATE, bytes as u64, 0, 0, 0)) }.map(drop)
    }

    /// SUSPENDS. As `posix_fadvise`.
    pub fn advise(&self, offset: i64, bytes: i64, advice: c_int) -> Res<()> {
        match u32::try_from(bytes) {
            Ok(len) => {
                let sqe = self.entry(op::FADVISE, offset as u64, 0, len, advice as u32);
                // SAFETY: refers to no memory.
                unsafe { self.io(&sqe) }.map(drop)
            }
            // As in `sync_range`, before 6.11.
            Err(_) => self.on_helper(|fd| calls::advise(fd, offset, bytes, advice)),
        }
    }

    /// SUSPENDS. As `statx` of the descriptor, which the kernel has for plain ones alone: see
    /// `with_plain`.
    ///
    /// # Safety
    /// `to` is valid.
    pub unsafe fn stat(&self, mask: u32, to: *mut libc::statx) -> Res<()> {
        self.with_plain(|fd| {
            let (path, flags) = (c"".as_ptr() as u64, libc::AT_EMPTY_PATH as u32);
            let sqe = Sqe::new(op::STATX, fd, to as u64, path, mask, flags);
            // SAFETY: the caller's, and a constant.
            unsafe { self.io(&sqe) }.map(drop)
        })
    }
}

/// `struct iovec`s, so many.
#[derive(Clone, Copy)]
pub struct Parts {
    pub at: *const libc::iovec,
    pub count: u32,
}

/// So many bytes on; the current position stays what it is.
pub(super) fn behind(offset: i64, bytes: usize) -> i64 {
    match offset {
        -1 => -1,
        at => at.saturating_add(bytes as i64),
    }
}

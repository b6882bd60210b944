//! Address space for stacks: mapping it, guarding parts of it, giving its pages back. What lies
//! where is decided in `stack`; here is only what the kernel is asked, and what it may answer.
//!
//! **Two kinds of guard.** `MADV_GUARD_INSTALL` (Linux 6.13) marks page-table entries, so a guard
//! costs no VMA and the number of stacks is bounded by memory alone. Before 6.13 a guard is a piece
//! of the mapping that stays `PROT_NONE`: two VMAs a stack, of which `vm.max_map_count` (65,530 by
//! default) allows a process so many. Which one is in use is probed once, by effect and not by
//! version: an emulator may answer 0 to advice that it ignores.
//!
//! **Reserved first.** Address space for stacks is mapped without access and opened piece by piece.
//! So what no task has used yet is neither locked for a process that called mlockall, nor charged
//! where memory is not overcommitted.
//!
//! ANY THREAD, all of it. Nothing here allocates.

use crate::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use crate::error::{Errno, Res};
use core::ffi::c_void;
use core::ptr::NonNull;

// Newer than the oldest kernel headers that the libc crate was made from.
const MADV_DONTNEED_LOCKED: i32 = 24; // 5.18
const MADV_GUARD_INSTALL: i32 = 102; // 6.13

/// How stacks are guarded; see the top of this file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL`: no VMA each.
    Marker,
    /// `PROT_NONE`: two VMAs each.
    Mprotect,
}

impl GuardKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Marker => "MADV_GUARD_INSTALL",
            Self::Mprotect => "mprotect, at most about vm.max_map_count * 2 / 5 stacks",
        }
    }
}

/// Bytes in a page.
pub fn page_bytes() -> usize {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    let known = PAGE.load(Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: sysconf takes no pointer.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    assert!(bytes.is_power_of_two() && bytes >= 4096);
    PAGE.store(bytes, Relaxed);
    bytes
}

/// What the kernel needs of a stack to deliver one signal on it: the registers it saves there.
/// With AVX-512 that is about 3 KiB, with AMX 12 KiB, far more than the MINSIGSTKSZ of the headers.
pub fn signal_frame_bytes() -> usize {
    // SAFETY: getauxval takes no pointer. 0 where the kernel does not say (before 5.14 on x86-64).
    let told = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    told.max(libc::MINSIGSTKSZ)
}

/// Address space without memory, and whether mlockall had locked it.
pub struct Reserved {
    pub at: NonNull<u8>,
    pub locked: bool,
}

/// Takes `bytes` (whole pages) of address space, of which nothing can be accessed until it is
/// [`open`]ed: so nothing is locked by mlockall, nor charged where memory is not overcommitted.
/// ENOMEM where address space, RLIMIT_AS, RLIMIT_MEMLOCK or the VMAs end.
pub(crate) fn reserve(bytes: usize) -> Res<Reserved> {
    // SAFETY: at an address of the kernel's choice it touches nothing there is.
    unsafe { map_closed(core::ptr::null_mut(), bytes, 0) }
}

/// Closes a range again: its pages are gone, and what it was charged for. Such ranges and guards by
/// mprotect next to each other are one VMA. On an error nothing has changed.
///
/// # Safety
/// Whole pages of one [`reserve`], which nobody uses any more.
pub unsafe fn close(at: NonNull<u8>, bytes: usize) -> Res<()> {
    // SAFETY: by this function's contract.
    unsafe { map_closed(at.as_ptr().cast(), bytes, libc::MAP_FIXED) }.map(|_| ())
}

/// # Safety
/// With MAP_FIXED, the range is ours and nobody uses it.
unsafe fn map_closed(at: *mut c_void, bytes: usize, fixed: i32) -> Res<Reserved> {
    debug_assert!(bytes != 0 && bytes.is_multiple_of(page_bytes()));
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: by this function's contract.
    let at = unsafe { libc::mmap(at, bytes, libc::PROT_NONE, flags | fixed, -1, 0) };
    if at == libc::MAP_FAILED {
        // EAGAIN: mlockall(MCL_FUTURE) and RLIMIT_MEMLOCK reached. To the caller it is the same.
        return Err(Errno(libc::ENOMEM));
    }
    // SAFETY: the mapping is ours, and the advice changes no contents. A huge page would turn one
    // touched page a task into 512. Refused where the kernel knows no huge pages: fine, too.
    unsafe { libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE) };
    let at = NonNull::new(at.cast()).expect("the kernel maps nothing at 0 unasked");
    // SAFETY: ours, and empty.
    Ok(Reserved { at, locked: unsafe { unlock(at, bytes) } })
}

/// Whether mlockall had locked the range, which it is not any more.
///
/// # Safety
/// Whole pages of a mapping of ours, the first of which holds nothing that anybody needs.
unsafe fn unlock(at: NonNull<u8>, bytes: usize) -> bool {
    let at = at.as_ptr().cast();
    // SAFETY: by this function's contract. Of locked pages the kernel refuses this advice.
    unsafe {
        let locked = libc::madvise(at, page_bytes(), libc::MADV_DONTNEED) != 0
            && Errno::last().0 == libc::EINVAL;
        if locked {
            libc::munlock(at, bytes);
        }
        locked
    }
}

/// Makes a range readable and writable; it reads as zeros and takes no memory until it is touched.
/// Whether it had been locked, by an mlockall since. ENOMEM where RLIMIT_DATA, the commit limit or
/// the VMAs end.
///
/// # Safety
/// Whole pages of one [`reserve`] that are not open.
pub unsafe fn open(at: NonNull<u8>, bytes: usize) -> Res<bool> {
    // SAFETY: by this function's contract there is nothing in the range. If it were locked, opening
    // it would touch all of it.
    unsafe {
        let locked = unlock(at, bytes);
        match libc::mprotect(at.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) {
            0 => Ok(locked),
            _ => Err(Errno(libc::ENOMEM)),
        }
    }
}

/// For a process that wants its memory locked: the pages of the range are, each once it is touched.
/// Not before the guards, as locked memory takes no markers. Where RLIMIT_MEMLOCK is reached, they
/// are not.
///
/// # Safety
/// Whole pages of one [`reserve`], open except for guards.
pub(crate) unsafe fn lock_what_is_touched(at: NonNull<u8>, bytes: usize) {
    const MLOCK_ONFAULT: u32 = 1;
    // SAFETY: changes no contents.
    unsafe { libc::syscall(libc::SYS_mlock2, at.as_ptr(), bytes, MLOCK_ONFAULT) };
}

/// Maps `bytes` (whole pages) of zeros, readable and writable, taking no memory until touched.
/// ENOMEM as [`reserve`] and [`open`].
pub fn map(bytes: usize) -> Res<NonNull<u8>> {
    let reserved = reserve(bytes)?;
    // SAFETY: just reserved.
    match unsafe { open(reserved.at, bytes) } {
        Ok(_) => Ok(reserved.at),
        Err(e) => {
            // SAFETY: as above, and nobody uses it.
            unsafe { unmap(reserved.at, bytes) };
            Err(e)
        }
    }
}

/// So many bytes of a file or a device from `offset` on, shared with it; no child has them.
pub(crate) fn map_file(fd: i32, offset: i64, bytes: usize) -> Res<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let (flags, anywhere) = (libc::MAP_SHARED, core::ptr::null_mut());
    // SAFETY: where the kernel likes.
    let at = unsafe { libc::mmap(anywhere, bytes, access, flags, fd, offset) };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: mapped just now.
    unsafe { libc::madvise(at, bytes, libc::MADV_DONTFORK) };
    NonNull::new(at.cast()).ok_or(Errno(libc::ENOMEM))
}

/// Takes away what [`map`] or [`reserve`] gave.
///
/// # Safety
/// Exactly one earlier `map` or `reserve`, of which nothing is used any more, by any thread.
pub(crate) unsafe fn unmap(at: NonNull<u8>, bytes: usize) {
    // SAFETY: by this function's contract nobody uses the range.
    let r = unsafe { libc::munmap(at.as_ptr().cast(), bytes) };
    debug_assert_eq!(r, 0);
}

/// Makes every access to the range end in SIGSEGV (EFAULT inside a system call), for good: the
/// guard stays through [`drop_pages`]. ENOMEM where page tables or VMAs end; then the range is
/// still usable memory. (What is not [`open`] needs no guard.)
///
/// # Safety
/// Whole pages of one [`map`] or [`reserve`], open, whose contents nobody needs.
pub unsafe fn guard(at: NonNull<u8>, bytes: usize, kind: GuardKind) -> Res<()> {
    let p = at.as_ptr().cast();
    // SAFETY: by this function's contract the range is ours and its contents are not needed.
    let r = unsafe {
        match kind {
            GuardKind::Marker => libc::madvise(p, bytes, MADV_GUARD_INSTALL),
            GuardKind::Mprotect => libc::mprotect(p, bytes, libc::PROT_NONE),
        }
    };
    match r {
        0 => Ok(()),
        _ => Err(Errno(libc::ENOMEM)),
    }
}

/// Gives the pages back to the kernel: the range reads as zeros afterwards and takes no memory.
/// An error (memory locked, before Linux 5.18) means that nothing may be assumed of its contents.
///
/// # Safety
/// Whole pages of one [`map`], whose contents nobody needs. They may be read during the call, as
/// atomics: each byte is then the old one or 0.
pub(crate) unsafe fn drop_pages(at: NonNull<u8>, bytes: usize) -> Res<()> {
    let p = at.as_ptr().cast();
    for advice in [libc::MADV_DONTNEED, MADV_DONTNEED_LOCKED] {
        // SAFETY: by this function's contract the contents are not needed.
        if unsafe { libc::madvise(p, bytes, advice) } == 0 {
            return Ok(());
        }
    }
    Err(Errno::last())
}

/// The most VMAs that a process may have.
pub(crate) fn mappings_max() -> usize {
    const DEFAULT: usize = 65_530;
    let mut text = [0u8; 24];
    // SAFETY: reads a file into a buffer of our own, as much as fits, and closes it.
    let len = unsafe {
        let fd =
            libc::open(c"/proc/sys/vm/max_map_count".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return DEFAULT;
        }
        let len = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        len
    };
    let told = text.get(..len.max(0) as usize).unwrap_or_default();
    core::str::from_utf8(told).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(DEFAULT)
}

/// Which kind of guard stacks get. Probed on first use.
pub fn guard_kind() -> GuardKind {
    const UNKNOWN: u8 = 0;
    const MARKER: u8 = 1;
    const MPROTECT: u8 = 2;
    static KIND: AtomicU8 = AtomicU8::new(UNKNOWN);

    if FORCE_MPROTECT.load(Relaxed) {
        return GuardKind::Mprotect;
    }
    let mut kind = KIND.load(Relaxed);
    if kind == UNKNOWN {
        // Two threads may both probe: they find the same.
        kind = if markers_work() { MARKER } else { MPROTECT };
        KIND.store(kind, Relaxed);
    }
    if kind == MARKER {
        GuardKind::Marker
    } else {
        GuardKind::Mprotect
    }
}

/// The lowest page of a range of mapped, whole pages that is in memory, if any. One system call for
/// each 256 pages up to it.
pub fn lowest_resident(start: usize, end: usize) -> Res<Option<usize>> {
    const PAGES: usize = 256;
    let page = page_bytes();
    let mut at = start;
    while at < end {
        let mut resident = [0u8; PAGES];
        let pages = ((end - at) / page).min(PAGES);
        // SAFETY: writes a byte a page; an address that is not mapped is ENOMEM.
        let asked =
            || unsafe { libc::mincore(at as *mut c_void, pages * page, resident.as_mut_ptr()) };
        super::fd::quietly(asked)?;
        if let Some(i) = resident[..pages].iter().position(|&byte| byte & 1 != 0) {
            return Ok(Some(at + i * page));
        }
        at += pages * page;
    }
    Ok(None)
}

static FORCE_MPROTECT: AtomicBool = AtomicBool::new(false);

/// For tests: guards from now on as on a kernel before 6.13.
pub fn force_mprotect_guards(on: bool) {
    FORCE_MPROTECT.store(on, Relaxed);
}

/// Installs a marker on a page of its own and looks whether it bites.
fn markers_work() -> bool {
    let Ok(at) = map(page_bytes()) else { return false };
    // SAFETY: the page was just mapped and is nobody else's. clock_gettime then writes the time to
    // it, or finds that it cannot (EFAULT): a system call sees a guard without a signal being sent,
    // and this one is never forbidden by a sandbox, nor looked into by valgrind. Through syscall(),
    // since the C library would write the time itself.
    let bites = unsafe {
        libc::madvise(at.as_ptr().cast(), page_bytes(), MADV_GUARD_INSTALL) == 0
            && libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, at.as_ptr()) == -1
            && Errno::last().0 == libc::EFAULT
    };
    // SAFETY: mapped above, used by nobody.
    unsafe { unmap(at, page_bytes()) };
    bites
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a system call can read the byte, that is whether a guard lies there.
    fn readable(at: NonNull<u8>) -> bool {
        let mut fds = [0; 2];
        // SAFETY: a pipe of our own; write only reads `at`, and answers EFAULT where it cannot.
        unsafe {
            assert_eq!(libc::pipe(fds.as_mut_ptr()), 0);
            let r = libc::write(fds[1], at.as_ptr().cast(), 1);
            libc::close(fds[0]);
            libc::close(fds[1]);
            r == 1
        }
    }

    #[test]
    fn a_guard_bites_and_outlives_a_drop_of_the_pages() {
        let page = page_bytes();
        let at = map(3 * page).unwrap();
        // SAFETY: the mapping is the test's own; only its first and last page are touched.
        unsafe {
            let middle = at.add(page);
            let last = at.add(2 * page);
            at.write(1);
            last.write(2);
            guard(middle, page, guard_kind()).unwrap();
            assert!(readable(at) && !readable(middle) && readable(last));
            drop_pages(at, page).unwrap();
            drop_pages(last, page).unwrap();
            assert_eq!((at.read(), last.read()), (0, 0), "dropped pages read as zeros");
            if guard_kind() == GuardKind::Marker {
                drop_pages(at, 3 * page).unwrap();
            } else {
                println!("skipped: no MADV_GUARD_INSTALL here");
            }
            assert!(!readable(middle), "the guard is gone");
            unmap(at, 3 * page);
        }
    }

    #[test]
    fn too_much_address_space_is_enomem() {
        assert_eq!(map(1 << 60), Err(Errno(libc::ENOMEM)));
    }

    #[test]
    fn a_signal_frame_has_a_size() {
        assert!((2048..1 << 20).contains(&signal_frame_bytes()));
    }
}

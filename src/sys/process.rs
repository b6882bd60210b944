//! Processes and signals as descriptors, by plain system calls that leave errno alone.

use super::fd::quietly;
use crate::error::{Errno, Res};

/// A descriptor that is readable once the process has ended (5.3).
pub fn pidfd(pid: i32) -> Res<i32> {
    // SAFETY: refers to no memory. A descriptor fits.
    quietly(|| unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32 })
}

/// `monad_async_process_info`: process.h
#[repr(C)]
pub struct Ended {
    pid: i32,
    code: i32,
    status: i32,
    user: u32,
}

// As in process.h.
const _: () = assert!(size_of::<Ended>() == 16);

/// Which child.
#[derive(Clone, Copy)]
pub enum Child {
    Number(i32),
    /// By a descriptor of it (5.4), which is never another's.
    Descriptor(i32),
}

/// How it has ended, if it has.
pub fn ended(child: Child) -> Res<Option<Ended>> {
    let (by, id) = match child {
        Child::Number(pid) => (libc::P_PID, pid),
        Child::Descriptor(fd) => (libc::P_PIDFD, fd),
    };
    let how = libc::WEXITED | libc::WNOHANG;
    // SAFETY: plain numbers; all of them stay 0 where there is nothing to tell.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    // SAFETY: our own record.
    quietly(|| unsafe { libc::waitid(by, id as libc::id_t, &mut info, how) })?;
    // SAFETY: of a child, or all zeros.
    let (pid, status, user) = unsafe { (info.si_pid(), info.si_status(), info.si_uid()) };
    Ok((pid != 0).then_some(Ended { pid, code: info.si_code, status, user }))
}

/// A descriptor that is readable while one of these is pending.
///
/// # Safety
/// `set` is valid.
pub unsafe fn signals(set: *const libc::sigset_t) -> Res<i32> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })
}

/// Takes the first one. None: another was faster.
pub fn next_signal(fd: i32) -> Res<Option<i32>> {
    // SAFETY: plain numbers.
    let mut info: libc::signalfd_siginfo = unsafe { core::mem::zeroed() };
    let bytes = size_of_val(&info);
    // SAFETY: so many bytes of ours.
    match quietly(|| unsafe { libc::read(fd, (&raw mut info).cast(), bytes) as i32 }) {
        Ok(_) => Ok(Some(info.ssi_signo as i32)),
        Err(Errno(libc::EAGAIN)) => Ok(None),
        Err(e) => Err(e),
    }
}

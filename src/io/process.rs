//! Waiting for processes and signals.

use crate::error::{Errno, Res};
use crate::executor::Executor;
use crate::sys::process::{Child, Ended};
use crate::sys::{fd, process};
use crate::task::header::TaskRef;
use crate::uring::kernel::{op, Kernel, Sqe};

/// Closed at its end.
struct Own(i32);

impl Drop for Own {
    fn drop(&mut self) {
        fd::close(self.0);
    }
}

fn readable<K: Kernel>(ex: &Executor<K>, task: TaskRef, fd: i32) -> Res<()> {
    let poll = Sqe::new(op::POLL_ADD, fd, 0, 0, 0, libc::POLLIN as u32);
    // SAFETY: refers to no memory.
    match unsafe { ex.io(task, poll) } {
        0.. => Ok(()),
        e => Err(Errno(-e)),
    }
}

/// Between two looks at a child of whose end nothing tells: at first, and at most.
const PAUSE_NS: u64 = 100_000;
const PAUSE_MAX_NS: u64 = 20_000_000;

/// SUSPENDS until a child has ended, which is reaped by this. By a descriptor of the process, which
/// a cancel leaves as it was; where there are none (valgrind, gVisor), or none is left, by looking
/// at it now and then.
pub fn wait<K: Kernel>(ex: &Executor<K>, task: TaskRef, pid: i32) -> Res<Ended> {
    let process = match process::pidfd(pid) {
        // A sandbox may say so of a call that it does not know.
        Err(Errno(libc::ENOSYS | libc::EPERM)) => None,
        // The child is there whatever the program has open.
        Err(Errno(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => None,
        // One of this process' threads, for which `waitid` has this word.
        Err(Errno(libc::EINVAL | libc::ENOENT)) => return Err(Errno(libc::ECHILD)),
        made => Some(Own(made?)),
    };
    let (mut pause_ns, mut has_ended) = (PAUSE_NS, false);
    // Where there is a descriptor its number is asked for once: it stays nobody else's while the
    // child is a zombie, but where SIGCHLD is ignored it is none.
    let child = process.as_ref().map_or(Child::Number(pid), |process| Child::Descriptor(process.0));
    // Not a child of ours, or reaped: ECHILD at once.
    loop {
        if let Some(ended) = process::ended(child)? {
            return Ok(ended);
        }
        // Once it is readable the child has ended: if it is not ours yet, who traces it has it
        // first, and no event says when.
        if let Some(process) = process.as_ref().filter(|_| !has_ended) {
            readable(ex, task, process.0)?;
            has_ended = true;
            continue;
        }
        match ex.sleep(task, pause_ns) {
            0.. => pause_ns = (pause_ns * 2).min(PAUSE_MAX_NS),
            e => return Err(Errno(-e)),
        }
    }
}

/// SUSPENDS until one of these is pending, and takes it.
///
/// # Safety
/// `set` is valid.
pub unsafe fn signal<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    set: *const libc::sigset_t,
) -> Res<i32> {
    // SAFETY: the caller's.
    let pending = Own(unsafe { process::signals(set) }?);
    loop {
        readable(ex, task, pending.0)?;
        if let Some(number) = process::next_signal(pending.0)? {
            return Ok(number);
        }
    }
}

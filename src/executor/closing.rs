//! Closing handles. OWNER'S THREAD.
//!
//! Where nothing is in flight on a handle, and the kernel closes it within the call that submits
//! the entry, its close does not suspend: destructors close, in the middle of what containers and
//! pointers do, which other tasks must not see half done. The kernel does so except where the file
//! system has something to flush (NFS, FUSE, overlayfs), or a socket lingers.

use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::null;

use super::budget::STEP;
use super::due::MOST;
use super::operations::noted;
use super::ordered::Ordered;
use super::scope::{NEVER_NS, SHIELD};
use super::watch::by;
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::reactor::operation::{bit, Op, CLOSED, KEPT_FROM, RETRIES_MAX};
use crate::sys::fd;
use crate::task::header::{TaskRef, Waits};
use crate::trace::Ring;
use crate::uring::abi::{file, sqe as flag, uring_cmd_socket};
use crate::uring::kernel::{op, Kernel, Sqe};

/// Of `Closes`, by the number: any number of closes may be under way at once.
const LISTS: usize = 512;

/// Closes of direct descriptors, and of ordered files, that have begun. A second one of the same,
/// which nobody should ask for, may be performed behind the first one and what got its place next,
/// or close what is written still: so it is refused. Each is on the stack of its task, which waits.
/// (Not an array: executors are made on small stacks.)
pub(super) struct Closes(Vec<Cell<*const Close>>);

pub(super) struct Close {
    fd: i32,
    direct: bool,
    task: TaskRef,
    /// What had been found on closed handles before anything was looked for.
    found: u64,
    /// Its entry is the one that closes.
    is_last: Cell<bool>,
    next: Cell<*const Close>,
}

impl Close {
    fn new(task: TaskRef, fd: i32, direct: bool, found: u64) -> Self {
        Self { fd, direct, task, found, is_last: Cell::new(false), next: Cell::new(null()) }
    }

    /// It is open still, and of a direct one, the kernel has not said so far that it is over:
    /// another has no such place yet. (A plain number may be any thread's next one by then.)
    fn is_under_way(&self) -> bool {
        use Waits::{Completion, CompletionCancelQueued, Operation};
        let waits = self.task.waits.get();
        let asked = matches!(waits, Completion | CompletionCancelQueued | Operation);
        !self.is_last.get() || self.direct && asked
    }
}

impl Closes {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Before all else. ENOMEM.
    pub(super) fn make_lists(&mut self) -> Res<()> {
        self.0.try_reserve_exact(LISTS).map_err(|_| Errno(libc::ENOMEM))?;
        self.0.resize(LISTS, Cell::new(null()));
        Ok(())
    }

    fn list(&self, fd: i32) -> &Cell<*const Close> {
        &self.0[fd as u32 as usize % LISTS]
    }

    pub(super) fn has(&self, fd: i32, direct: bool) -> bool {
        // SAFETY: null, or in place until it is removed.
        let next = |at: *const Close| unsafe { at.as_ref() };
        let mut all =
            core::iter::successors(next(self.list(fd).get()), |close| next(close.next.get()));
        all.any(|close| (close.fd, close.direct) == (fd, direct) && close.is_under_way())
    }

    /// # Safety
    /// `close` is in place until it is removed.
    pub(super) unsafe fn add(&self, close: &Close) {
        close.next.set(self.list(close.fd).replace(close));
    }

    pub(super) fn remove(&self, close: &Close) {
        let mut at = self.list(close.fd);
        while !core::ptr::eq(at.get(), close) {
            // SAFETY: it was added, so it is in there; and as in `has`.
            at = unsafe { &(*at.get()).next };
        }
        at.set(close.next.get());
    }
}

/// The entry that closes a handle.
fn close(fd: i32, direct: bool) -> Sqe {
    let mut sqe = Sqe::new(op::CLOSE, if direct { 0 } else { fd }, 0, 0, 0, 0);
    if direct {
        sqe.0[5] = ((fd as u32).wrapping_add(1) as u64) << 32;
    }
    sqe
}

/// What the kernel says of a close.
fn said_of(closed: i32) -> Res<()> {
    match closed {
        0 | CLOSED => Ok(()),
        // Of the file's own close: by then the descriptor is gone. The calls' own say that it is
        // not.
        e if matches!(-e, libc::EPERM | libc::ENOTSUP) => Err(Errno(libc::EIO)),
        e => Err(Errno(-e)),
    }
}

impl<K: Kernel> Executor<K> {
    /// How many handles have been closed: for `is_closed_since`.
    #[inline(always)]
    pub fn closings(&self) -> u64 {
        self.reactor.closings.count()
    }

    /// Whether there can be direct descriptors: sockets came with their tables (5.19). Before 5.15
    /// the kernel leaves the field that says "direct" unread, and opens, or closes, a plain one.
    pub fn knows_direct(&self) -> bool {
        self.reactor.kernel.knows(op::SOCKET)
    }

    /// Whether a handle of that number has been closed since. What is there now is another.
    #[inline(always)]
    pub fn is_closed_since(&self, fd: i32, direct: bool, closings: u64) -> bool {
        self.reactor.closings.is_closed(fd, direct, closings)
    }

    /// The same of the handle that an entry is for.
    pub(super) fn is_handle_closed(&self, sqe: &Sqe, closings: u64) -> bool {
        self.reactor.closings.concern_entry(sqe, closings)
    }

    /// SUSPENDS, shielded, unless nothing is in flight on it, and the kernel closes it at once.
    /// `task` runs now. Ends what any task of ours has in flight on a handle, with ECANCELED, and
    /// closes it. EBADF: no such handle.
    pub fn close_handle(&self, task: TaskRef, fd: i32, direct: bool) -> Res<()> {
        if self.closes.has(fd, direct) {
            return Err(Errno(libc::EBADF));
        }
        match self.reactor.rows.of(fd, direct) {
            Some(row) => self.close_ordered(task, Ordered { fd, direct, row }),
            None => self.close_alone(&self.close_of(task, fd, direct), false),
        }
    }

    /// The same of a socket, whose close waits for nothing unless it lingers.
    pub fn close_socket(&self, task: TaskRef, fd: i32, direct: bool) -> Res<()> {
        let is_alone = !direct && self.reactor.is_used_by_none_but(task, fd);
        if is_alone && !self.closes.has(fd, false) && self.reactor.rows.of(fd, false).is_none() {
            if let Some(closed) = self.close_unused(&self.close_of(task, fd, false)) {
                return closed;
            }
        }
        self.close_handle(task, fd, direct)
    }

    /// What no other task has in the ring, or on its way there, is closed past it: nothing is
    /// submitted, and nothing asked. None: that is for the ring.
    fn close_unused(&self, this: &Close) -> Option<Res<()>> {
        let &Close { fd, .. } = this;
        if fd::lingers_known(fd) {
            return None;
        }
        // Calls of several operations, and who waits for a buffer, have nothing in the ring.
        let ends = |record: &_| self.record_completed(record, true, self.stamp());
        self.reactor.closing(fd, false, ends);
        self.buffers_close((fd, false));
        if self.has_found(this) {
            return None;
        }
        let closed = self.reactor.close_socket(fd)?;
        Some(said_of(closed))
    }

    /// Before anything is looked for.
    pub(super) fn close_of(&self, task: TaskRef, fd: i32, direct: bool) -> Close {
        Close::new(task, fd, direct, self.reactor.closings.all_found())
    }

    /// Something was in flight on a handle that was closed since it began.
    fn has_found(&self, close: &Close) -> bool {
        self.reactor.closings.all_found() != close.found
    }

    /// The same of a handle without a row, or whose row is over; `is_listed`: in `closes`.
    pub(super) fn close_alone(&self, this: &Close, is_listed: bool) -> Res<()> {
        let &Close { fd, direct, task, .. } = this;
        if fd < 0 {
            return Err(Errno(libc::EBADF));
        }
        if !self.reactor.kernel.has_ring() {
            return Err(Errno(libc::ENOTSUP));
        }
        if direct && !self.knows_direct() {
            return Err(Errno(libc::EBADF));
        }
        let lists = direct && !is_listed;
        let mut shield = MaybeUninit::uninit();
        // SAFETY: in place until it is left below; the entries refer to no memory.
        let res = unsafe {
            self.enter_scope(task, shield.as_mut_ptr(), NEVER_NS, SHIELD);
            // Before all else: what others begin meanwhile the cancel finds.
            let begun = self.closings();
            let lingers = fd::may_linger() && self.lingers(task, fd, direct);
            if direct && self.is_closed_since(fd, true, begun) {
                self.leave_scope(task, shield.as_ptr())?;
                return Err(Errno(libc::EBADF)); // What has its place now is another.
            }
            if lists {
                self.closes.add(this);
            }
            let now = self.stamp();
            let ends = |record: &_| self.record_completed(record, true, now);
            let cancel = self.reactor.closing(fd, direct, ends);
            self.buffers_close((fd, direct));
            if !direct {
                self.reactor.forget_users(fd); // Not who begins while a cancel waits for room.
            }
            self.cancel_on_handle(task, cancel);
            let mut entry = close(fd, direct);
            if lingers {
                entry = entry.by_a_worker(); // In the thread that closes it.
            }
            this.is_last.set(true);
            let waits = lingers || self.has_found(this);
            let res = if waits { self.io(task, entry) } else { self.io_within(task, &entry) };
            if lists {
                self.closes.remove(this);
            }
            if !direct {
                self.reactor.close_is_over(task, fd);
            }
            if !waits && !is_listed && self.has_found(this) {
                // The tasks whose operations it has ended get out of them, and of what holds the
                // handle, before it goes on. Not of a row, which has the number still.
                self.sleep(task, 0);
            }
            self.leave_scope(task, shield.as_ptr())?;
            res
        };
        match res {
            // No such place in the table, or no table.
            e if direct && matches!(-e, libc::EINVAL | libc::ENXIO) => Err(Errno(libc::EBADF)),
            res => said_of(res),
        }
    }

    /// As `ask_kernel` and `reap`, for a task that runs: the time is that of its item.
    #[inline(never)]
    fn ask_now(&self) {
        let now = self.stamp();
        self.since_enter.set(0);
        self.last_enter.set(now);
        // An error of the kernel's that lasts meets the loop.
        let _ = self.reactor.submit();
        self.reap_for_others();
    }

    /// `reap`, whose causes are not the task that runs, as a trace would have it.
    fn reap_for_others(&self) {
        let now = self.stamp();
        if !self.watches(by::TRACED) {
            return self.reap(now);
        }
        let set = |(task, since)| self.trace.with(|writer| writer.ring.set_running(task, since));
        let before = self.trace().map_or((0, 0), Ring::running);
        let running = self.head.current_task.replace(core::ptr::null_mut());
        set((0, 0));
        self.reap(now);
        set(before);
        self.head.current_task.set(running);
    }

    /// As `io`, in a shield, of what the kernel mostly performs within the call that submits it:
    /// makes that call, and SUSPENDS only if it is not over then.
    ///
    /// # Safety
    /// As `io`.
    unsafe fn io_within(&self, task: TaskRef, sqe: &Sqe) -> i32 {
        let record = Op::internal(sqe);
        // SAFETY: in place until it is over, which is waited for below; the rest is the caller's.
        unsafe { self.begin(task, &record, *sqe, noted(sqe) | bit::INTERNAL, None, 0) };
        self.ask_now();
        // Behind what others had in the same call, however long that took.
        for _ in 0..MOST / STEP {
            if record.pending.get() != 0 || !self.reactor.has_completed() {
                break;
            }
            self.reap_for_others();
        }
        if record.pending.get() == 0 {
            self.arm_all(task);
            self.suspend_for(task, Some(&record));
        }
        record.take();
        match record.outcome.get() {
            // It did not perform it. Here it was asked again at once; there it is after pauses.
            // SAFETY: the caller's.
            KEPT_FROM if record.retries.get() == RETRIES_MAX => unsafe { self.io(task, sqe) },
            res => res,
        }
    }

    /// Whether the close of a handle may wait until what was sent has arrived. The ring asks a
    /// direct one (Linux 6.7): SUSPENDS, in a shield. Where there is no answer, it may.
    ///
    /// # Safety
    /// `task` runs now.
    unsafe fn lingers(&self, task: TaskRef, fd: i32, direct: bool) -> bool {
        if !direct {
            return fd::lingers(fd);
        }
        let mut set = fd::NO_LINGER;
        let value = (&raw mut set as u64, size_of::<libc::linger>() as u32);
        let option = (libc::SOL_SOCKET, libc::SO_LINGER);
        // SAFETY: `set` has as much, until it is over.
        let res = unsafe {
            self.io_within(task, &Sqe::option(fd, uring_cmd_socket::GETSOCKOPT, option, value))
        };
        // A kernel that makes plain ones of them (6.8) would answer.
        let untold = !self.reactor.kernel.knows(op::FIXED_FD_INSTALL);
        match -res {
            ..=0 => fd::is_for_a_time(&set),
            // No socket, or one whose protocol knows no ioctl either (up to 6.19).
            // SAFETY: the caller's.
            libc::EOPNOTSUPP if !untold => unsafe { self.plain_lingers(task, fd) },
            libc::EOPNOTSUPP | libc::EBADF => untold, // An old kernel, or no descriptor.
            _ => true,
        }
    }

    /// As `lingers`, of a direct one by a plain one of the same, whose close is the last only where
    /// another task has closed the direct one meanwhile.
    ///
    /// # Safety
    /// `task` runs now.
    #[cold]
    unsafe fn plain_lingers(&self, task: TaskRef, fd: i32) -> bool {
        let mut install = Sqe::new(op::FIXED_FD_INSTALL, fd, 0, 0, 0, 0);
        install.0[0] |= u64::from(flag::FIXED_FILE) << 8;
        // SAFETY: refers to no memory.
        let plain = unsafe { self.io_within(task, &install) };
        if plain < 0 {
            return true;
        }
        let lingers = fd::lingers(plain);
        fd::close(plain);
        lingers
    }

    /// In a shield.
    ///
    /// # Safety
    /// `task` runs now.
    pub(super) unsafe fn cancel_on_handle(&self, task: TaskRef, cancel: Option<Sqe>) {
        if let Some(sqe) = cancel {
            if self.reactor.push_closing(task, sqe).is_err() {
                // SAFETY: it refers to no memory.
                if unsafe { self.io_within(task, &sqe) } > 0 {
                    self.reactor.closings.found();
                }
            }
        }
    }

    /// An operation has opened something, and nobody takes it. `index` is its entry's.
    pub(super) fn close_unclaimed(&self, result: RawResult, direct: bool, index: u32) {
        if result.error != 0 {
            return;
        }
        let opened = result.value as i32;
        // With an index of the caller's the result is 0.
        let given = direct && index != file::INDEX_ALLOC;
        self.close_end(if given { index.wrapping_sub(1) as i32 } else { opened }, direct);
    }

    /// The same of an end of a pipe.
    pub(super) fn close_end(&self, end: i32, direct: bool) {
        match direct {
            true => self.reactor.kernel.close_direct(end as u32),
            false => fd::close(end),
        }
    }
}

//! Closing a handle that operations are in flight on: they end with ECANCELED, and none is begun
//! again on what gets the same number next.
//!
//! 1. The kernel cancels by the file, which may have other descriptors: an operation on one of
//!    those is begun again, as with every cancel that nobody asked for.
//! 2. Completions that were cancelled may arrive behind that of the close, and a retry may be
//!    pausing. So each operation notes how many handles had been closed when it began, and
//!    compares: what was begun before its handle was closed is not begun again.
//! 3. A call of several operations compares in the same way before each but the first: a task that
//!    is ready and has not gone on has nothing in flight that a close could find.
//! 4. Of each number it is kept when a handle was last closed that had it. Where there is no memory
//!    for that, it counts as a closing of every handle.
//! 5. A kernel that does not cancel by handle (before 6.0) is asked to cancel one by one. So there
//!    each operation is a record, also that of a call, and while the kernel has it, it is in a list
//!    by its handle, until it is over or somebody has asked for its end.

use core::cell::{Cell, RefCell};

use super::operation::{bit, Op, State};
use super::rows::Row;
use super::{name, Reactor, TAG_CANCEL, TAG_MASK};
use crate::error::{Errno, Res};
use crate::intrusive::Fifo;
use crate::sys::fd;
use crate::task::header::TaskRef;
use crate::uring::abi::{cancel, sqe as flag};
use crate::uring::kernel::{op, Kernel, Sqe};

const BUCKETS: usize = 256;

/// Of the lists of rule 5.
const LISTS: usize = 64;

/// Larger numbers are made room for if there is such a descriptor.
const BELIEVED: usize = 1 << 16;

/// As many places as the kernel allows in a table of direct descriptors.
pub(super) const DIRECT_MAX: usize = 1 << 20;

pub struct Closings {
    count: Cell<u64>,
    /// Changes whenever something was in flight on a handle that is closed.
    found: Cell<u64>,
    /// By descriptor, and by place in the table of direct ones: what `count` became when that was
    /// last closed. 0: never.
    last: [RefCell<Vec<u64>>; 2],
    /// The same for all numbers that there was no memory for.
    unknown: Cell<u64>,
    /// How many records wait for an entry, by their handles, so that a close does not look for one
    /// among those of all others.
    waiting: [Cell<u32>; BUCKETS],
    /// What the kernel has, by its handle: see rule 5. None, where it cancels by handle: executors
    /// are made on small stacks.
    listed: Vec<Fifo>,
}

/// The descriptor, and whether it is a direct one.
pub(super) fn handle(fd: i32, direct: bool) -> u64 {
    u64::from(fd as u32) | u64::from(direct) << 32
}

/// A plain descriptor's that was closed elsewhere, and is no other's so far.
pub(super) fn is_gone(handle: u64) -> bool {
    i32::try_from(handle).is_ok_and(|fd| !fd::is_open(fd))
}

/// The handle that an entry is for. Some operations have another number in that place, a process's
/// for one: they are for none, and -1 is never closed.
fn handle_of(sqe: &Sqe) -> u64 {
    match sqe.opcode() {
        op::NOP | op::TIMEOUT | op::FILES_UPDATE | op::MADVISE => handle(-1, false),
        op::PROVIDE_BUFFERS | op::REMOVE_BUFFERS => handle(-1, false),
        op::CLOSE if sqe.file_index() != 0 => handle(-1, false), // A direct one, by its index.
        op::SETXATTR | op::GETXATTR | op::SOCKET | op::WAITID => handle(-1, false),
        op::FUTEX_WAIT..=op::FUTEX_WAITV | op::PIPE => handle(-1, false),
        _ => handle(sqe.fd(), sqe.flags() & flag::FIXED_FILE != 0),
    }
}

/// Which list is that of a handle.
fn list_of(handle: u64) -> usize {
    handle as usize % LISTS
}

/// Where it is in `last`.
pub(super) fn place(handle: u64) -> (usize, usize) {
    ((handle >> 32) as usize, handle as u32 as usize)
}

impl Closings {
    pub const fn new() -> Self {
        Self {
            count: Cell::new(0),
            found: Cell::new(0),
            last: [const { RefCell::new(Vec::new()) }; 2],
            unknown: Cell::new(0),
            waiting: [const { Cell::new(0) }; BUCKETS],
            listed: Vec::new(),
        }
    }

    /// For a kernel that does not cancel by handle. ENOMEM.
    pub fn make_lists(&mut self) -> Res<()> {
        self.listed.try_reserve_exact(LISTS).map_err(|_| Errno(libc::ENOMEM))?;
        self.listed.resize_with(LISTS, Fifo::new);
        Ok(())
    }

    fn waiting_of(&self, handle: u64) -> &Cell<u32> {
        &self.waiting[handle as usize % BUCKETS]
    }

    /// A record with that entry begins to wait, or does no more.
    pub(super) fn waits(&self, sqe: &Sqe, does: bool) {
        let waiting = self.waiting_of(handle_of(sqe));
        waiting.set(waiting.get().wrapping_add_signed(if does { 1 } else { -1 }));
    }

    /// Where `count` is.
    pub(super) const COUNT_AT: usize = core::mem::offset_of!(Closings, count);

    /// How many handles have been closed.
    #[inline(always)]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Something was in flight on a handle that is closed.
    pub fn found(&self) {
        self.found.set(self.found.get().wrapping_add(1));
    }

    /// What it has changed to.
    pub fn all_found(&self) -> u64 {
        self.found.get()
    }

    fn add(&self, handle: u64) {
        let count = self.count.get() + 1;
        self.count.set(count);
        let (table, at) = place(handle);
        let mut last = self.last[table].borrow_mut();
        if at >= last.len() {
            let is_one = match table {
                0 => at < BELIEVED || fd::is_open(at as i32),
                _ => at < DIRECT_MAX,
            };
            if !is_one {
                return; // Nothing can be in flight on it.
            }
            let more = (at + 1).next_power_of_two() - last.len();
            if last.try_reserve_exact(more).is_err() {
                return self.unknown.set(count);
            }
            let room = last.capacity();
            last.resize(room, 0);
        }
        last[at] = count;
    }

    /// Whether a handle of that number has been closed since the count was `since`.
    #[inline(always)]
    pub fn is_closed(&self, fd: i32, direct: bool, since: u64) -> bool {
        since != self.count.get() && self.concern(handle(fd, direct), since)
    }

    /// The same of the handle that an entry is for.
    pub fn concern_entry(&self, sqe: &Sqe, since: u64) -> bool {
        since != self.count.get() && self.concern(handle_of(sqe), since)
    }

    #[cold]
    fn concern(&self, handle: u64, since: u64) -> bool {
        let (table, at) = place(handle);
        let last = self.last[table].borrow().get(at).copied();
        self.unknown.get().max(last.unwrap_or(0)) > since
    }
}

impl Default for Closings {
    fn default() -> Self {
        Self::new()
    }
}

impl Row {
    /// Two writes may be done as one: of a regular file.
    pub fn merges(&self) -> bool {
        self.parts.is_some()
    }
}

impl<K: Kernel> Reactor<K> {
    /// Whether the handle of `record` has been closed since that was begun.
    pub(super) fn is_handle_closed(&self, record: &Op) -> bool {
        self.closings.concern_entry(&record.sqe.get(), record.closings.get())
    }

    /// The handle is about to be closed: ends what waits for an entry, and says so to `each`.
    /// Returns the entry that cancels what the kernel has; `None`: that is under way.
    pub fn closing(&self, fd: i32, direct: bool, mut each: impl FnMut(&Op)) -> Option<Sqe> {
        let closed = handle(fd, direct);
        self.closings.add(closed);
        if self.closings.waiting_of(closed).get() != 0 {
            for queue in &self.entry_queues {
                let others = Fifo::new();
                while let Some(link) = queue.pop_front() {
                    // SAFETY: only records in flight are in that queue.
                    let record = unsafe { Op::from_link(link) };
                    debug_assert!(record.state.get() == State::Queued);
                    if handle_of(&record.sqe.get()) == closed {
                        self.closings.waits(&record.sqe.get(), false);
                        self.count_queued(-1);
                        record.completed(-libc::ECANCELED, 0, true);
                        self.closings.found();
                        each(record);
                    } else {
                        // SAFETY: in no queue, and in place while in flight.
                        unsafe { others.push_back(link) };
                    }
                }
                while let Some(link) = others.pop_front() {
                    // SAFETY: as above.
                    unsafe { queue.push_back(link) };
                }
            }
        }
        if !self.kernel.cancels_by_handle() {
            self.cancel_listed(closed);
            return None;
        }
        let by = if direct { cancel::FD | cancel::FD_FIXED } else { cancel::FD };
        Some(Sqe::new(op::ASYNC_CANCEL, fd, 0, 0, 0, by | cancel::ALL))
    }

    /// `task` runs, and no other can have an operation on a plain descriptor in flight, or in the
    /// submission queue.
    pub fn is_used_by_none_but(&self, task: TaskRef, fd: i32) -> bool {
        self.users.has_no_other(fd, task)
    }

    /// It is about to be closed: what is pushed from now on is for what has its number next.
    pub fn forget_users(&self, fd: i32) {
        self.users.clear(fd);
    }

    /// `task` runs, and has closed it by entries, which are noted as its own: if nothing else is,
    /// the next one of that number is nobody's.
    pub fn close_is_over(&self, task: TaskRef, fd: i32) {
        if self.users.has_no_other(fd, task) {
            self.forget_users(fd);
        }
    }

    /// Closes one that is used by none, a socket that does not linger, past the ring. None: this
    /// kernel does not.
    pub fn close_socket(&self, fd: i32) -> Option<i32> {
        let closed = self.kernel.close_socket(fd)?;
        self.forget_users(fd);
        Some(closed)
    }

    /// The kernel has got `record`.
    pub(super) fn list(&self, record: &Op) {
        let handle = handle_of(&record.sqe.get());
        if self.kernel.cancels_by_handle() || handle as i32 == -1 {
            return;
        }
        let at = list_of(handle);
        record.level.set(at as u8);
        record.state.set(State::Listed);
        // SAFETY: its cancel request does not wait, and it is in place while in flight.
        unsafe { self.closings.listed[at].push_back(record.cancel()) };
    }

    /// Takes a record that the kernel has off its list, if it is in one.
    pub(super) fn unlist(&self, record: &Op) {
        if record.state.get() == State::Listed {
            record.state.set(State::Kernel);
            // SAFETY: its state has said so.
            unsafe { self.closings.listed[record.level.get() as usize].remove(record.cancel()) };
        }
    }

    /// Asks for the end of all that the kernel has on a handle (rule 5). O(what is in flight), by
    /// the number of lists.
    #[cold]
    fn cancel_listed(&self, closed: u64) {
        let (list, others) = (&self.closings.listed[list_of(closed)], Fifo::new());
        while let Some(link) = list.pop_front() {
            // SAFETY: only records in flight are in that list, by this link.
            let record = unsafe { Op::from_cancel(link) };
            let its = handle_of(&record.sqe.get());
            if its == closed {
                record.state.set(State::Kernel);
                self.cancel_record(record);
                self.closings.found();
            } else {
                // SAFETY: in no list, and in place while in flight.
                unsafe { others.push_back(link) };
            }
        }
        list.append(others);
    }

    /// The same for a row that is closing: what is linked begins later, and is found only then.
    pub fn cancel_row(&self, row: &Row) {
        let all = Fifo::new();
        while let Some(link) = row.flying.pop_front() {
            // SAFETY: records in flight are in there, by this link; out of it now.
            let record = unsafe {
                all.push_back(link);
                Op::from_link(link)
            };
            if !record.has(bit::CANCEL_QUEUED) {
                record.clear(bit::ASKED); // Once more.
                self.cancel_record(record);
            }
        }
        row.flying.append(all);
    }

    /// The handle of `row` is about to be closed: nothing is begun any more, and what waits is
    /// over, which `each` is told.
    pub fn row_closes(&self, row: &Row, mut each: impl FnMut(&Op)) {
        row.is_closing.set(true);
        while let Some(link) = row.waiting.pop_front() {
            // SAFETY: records in flight are in there, by this link.
            let record = unsafe { Op::from_link(link) };
            record.completed(record.withdrawn(), 0, true);
            self.closings.found();
            each(record);
        }
    }

    /// Submits such an entry, whose answer nobody waits for, in the name of `task`, if there is
    /// room for it.
    pub fn push_closing(&self, task: TaskRef, mut sqe: Sqe) -> Result<(), Errno> {
        if self.queued.get() != 0 || self.kernel.sq_space() == 0 {
            return Err(Errno(libc::EAGAIN));
        }
        sqe.set_user_data(name(task) & !TAG_MASK | TAG_CANCEL);
        self.cancels.set(self.cancels.get() + 1);
        // SAFETY: refers to no memory.
        unsafe { self.kernel.push(&sqe) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_no_handle_is_not_concerned() {
        let closings = Closings::new();
        closings.add(handle(7, false));
        let concerned = |opcode| closings.concern_entry(&Sqe::new(opcode, 7, 0, 0, 0, 0), 0);
        assert!(concerned(op::READ) && concerned(op::OPENAT2) && concerned(op::FIXED_FD_INSTALL));
        let none = [op::NOP, op::TIMEOUT, op::SOCKET, op::WAITID, op::FUTEX_WAKE, op::PIPE];
        assert!(!none.into_iter().any(concerned), "7 is no descriptor there");
    }

    #[test]
    fn what_was_begun_before_its_handle_was_closed_is_concerned() {
        let closings = Closings::new();
        closings.add(handle(5, false));
        let (one, two) = (closings.count(), closings.count() + 1);
        assert!(closings.is_closed(5, false, 0));
        assert!(!closings.is_closed(5, false, one), "the next one of that number");
        assert!(!closings.is_closed(6, false, 0));
        assert!(!closings.is_closed(5, true, 0));
        closings.add(handle(7, true));
        assert!(closings.is_closed(7, true, one));
        assert!(!closings.is_closed(7, true, two));
        assert!(!closings.is_closed(7, false, one));
        for n in 0..1000 {
            closings.add(handle(100 + n, false));
        }
        assert!(!closings.is_closed(9, false, two), "however many others were");
        assert!(!closings.is_closed(7, true, two));
        assert!(closings.is_closed(5, false, 0));
        let before = closings.count();
        closings.add(handle(i32::MAX, false));
        closings.add(handle(i32::MAX, true));
        assert!(!closings.is_closed(9, false, before), "there is no such handle");
        assert!(closings.last[0].borrow().len() <= BELIEVED);
    }
}

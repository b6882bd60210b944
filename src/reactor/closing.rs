//! Closing a handle that operations are in flight on: they end with ECANCELED, and none is begun
//! again on what gets the same number next.
//!
//! 1. The kernel cancels by the file, which may have other descriptors: an operation on one of
//!    those is begun again, as with every cancel that nobody asked for.
//! 2. Completions that were cancelled may arrive behind that of the close, and a retry may be
//!    pausing. So each operation notes how many handles had been closed when it began, and
//!    compares: what was begun before its handle was closed is not begun again.
//! 3. The latest closings are kept; older ones count as closings of every handle. At worst an
//!    operation that the kernel would not perform for a reason of its own is not tried again.

use core::cell::Cell;

use super::operation::{Op, State};
use super::{name, Reactor, TAG_CANCEL, TAG_MASK};
use crate::error::Errno;
use crate::intrusive::Fifo;
use crate::task::header::TaskRef;
use crate::uring::abi::{cancel, sqe as flag};
use crate::uring::kernel::{op, Kernel, Sqe};

const KEPT: usize = 64;
const BUCKETS: usize = 256;

pub struct Closings {
    count: Cell<u64>,
    latest: [Cell<u64>; KEPT],
    /// How many records wait for an entry, by their handles, so that a close does not look for one
    /// among those of all others.
    waiting: [Cell<u32>; BUCKETS],
}

/// The descriptor, and whether it is a direct one.
pub(super) fn handle(fd: i32, direct: bool) -> u64 {
    u64::from(fd as u32) | u64::from(direct) << 32
}

fn handle_of(sqe: &Sqe) -> u64 {
    handle(sqe.fd(), sqe.flags() & flag::FIXED_FILE != 0)
}

impl Closings {
    pub const fn new() -> Self {
        Self {
            count: Cell::new(0),
            latest: [const { Cell::new(0) }; KEPT],
            waiting: [const { Cell::new(0) }; BUCKETS],
        }
    }

    fn waiting_of(&self, handle: u64) -> &Cell<u32> {
        &self.waiting[handle as usize % BUCKETS]
    }

    /// A record with that entry begins to wait, or does no more.
    pub(super) fn waits(&self, sqe: &Sqe, does: bool) {
        let waiting = self.waiting_of(handle_of(sqe));
        waiting.set(waiting.get().wrapping_add_signed(if does { 1 } else { -1 }));
    }

    /// How many handles have been closed.
    #[inline(always)]
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    fn add(&self, handle: u64) {
        let count = self.count.get();
        self.latest[count as usize % KEPT].set(handle);
        self.count.set(count + 1);
    }

    /// Whether the handle of `sqe` has been closed since the count was `since`.
    #[cold]
    pub fn concern(&self, sqe: &Sqe, since: u64) -> bool {
        let count = self.count.get();
        let handle = handle_of(sqe);
        count - since > KEPT as u64
            || (since..count).any(|n| self.latest[n as usize % KEPT].get() == handle)
    }
}

impl Default for Closings {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kernel> Reactor<K> {
    /// Whether the handle of `record` has been closed since that was begun.
    pub(super) fn is_handle_closed(&self, record: &Op) -> bool {
        let since = record.closings.get();
        since != self.closings.count() && self.closings.concern(&record.sqe.get(), since)
    }

    /// The handle is about to be closed: ends what waits for an entry, and says so to `each`.
    /// Returns the entry that cancels what the kernel has.
    pub fn closing(&self, fd: i32, direct: bool, mut each: impl FnMut(&Op)) -> Sqe {
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
                        self.queued.set(self.queued.get() - 1);
                        record.completed(-libc::ECANCELED, 0, true);
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
        let by = if direct { cancel::FD | cancel::FD_FIXED } else { cancel::FD };
        Sqe::new(op::ASYNC_CANCEL, fd, 0, 0, 0, by | cancel::ALL)
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
    fn what_was_begun_before_its_handle_was_closed_is_concerned() {
        let closings = Closings::new();
        let on = |fd, flags: u8| {
            let mut sqe = Sqe::new(op::RECV, fd, 0, 0, 0, 0);
            sqe.0[0] |= u64::from(flags) << 8;
            sqe
        };
        closings.add(handle(5, false));
        let (one, two) = (closings.count(), closings.count() + 1);
        assert!(closings.concern(&on(5, 0), 0));
        assert!(!closings.concern(&on(5, 0), one), "the next one of that number");
        assert!(!closings.concern(&on(6, 0), 0));
        assert!(!closings.concern(&on(5, flag::FIXED_FILE), 0));
        closings.add(handle(7, true));
        assert!(closings.concern(&on(7, flag::FIXED_FILE), one));
        assert!(!closings.concern(&on(7, flag::FIXED_FILE), two));
        for _ in 0..KEPT {
            assert!(!closings.concern(&on(9, 0), two), "kept so far");
            closings.add(handle(8, false));
        }
        assert!(!closings.concern(&on(9, 0), two));
        closings.add(handle(8, false));
        assert!(closings.concern(&on(9, 0), two), "nobody knows any more");
    }
}

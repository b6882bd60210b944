//! Records that are plain, as most are: each completes once, with a result that is its caller's as
//! it is, and nothing of its entry has to be noted. Here is all that they come by, from begin to
//! end.

use core::mem::offset_of;
use core::ptr::NonNull;

use super::operation::{bit, Op, State};
use crate::error::RawResult;
use crate::task::header::{mark, TaskRef};

/// `is_in_flight`, `state`, `level` and `bits`, of a record that is in flight and of no level: what
/// lies next to each other is asked for, and written, as one.
const fn status(state: State, bits: u8) -> u32 {
    u32::from_ne_bytes([1, state as u8, 0, bits])
}

impl Op {
    /// It is in flight, in that state, completes once, with a result that is its caller's as it is,
    /// unless that is an error, and the kernel was not asked to cancel it.
    #[inline(always)]
    pub(super) fn is_plain(&self, state: State) -> bool {
        // SAFETY: four bytes of ours, aligned (asserted at `Op`).
        let is = unsafe { self.status_ptr().read() };
        is & !u32::from_ne_bytes([0, 0, 0, bit::INTERNAL]) == status(state, 0)
    }

    #[inline(always)]
    fn status_ptr(&self) -> NonNull<u32> {
        // SAFETY: within the record.
        unsafe { NonNull::from(self).byte_add(offset_of!(Op, is_in_flight)).cast() }
    }

    /// From idle to the kernel, of a plain one, which has no use for the rest.
    #[inline(always)]
    pub fn begun_at_once(&self, task: TaskRef) {
        // SAFETY: as in `is_plain`; each byte is valid for its field.
        unsafe { self.status_ptr().write(status(State::Kernel, 0)) };
        self.begun_by(task);
    }

    /// The kernel has it, or the submission queue.
    #[inline(always)]
    pub(super) fn is_in_kernel(&self) {
        // SAFETY: as in `begun_at_once`.
        unsafe { self.status_ptr().write(status(State::Kernel, self.bits.get())) };
    }

    /// The only completion of a plain one has come.
    #[inline(always)]
    pub(super) fn ends(&self, res: i32, flags: u32) {
        debug_assert!(self.pending.get() == 0);
        self.outcome.set(res);
        self.outcome_flags.set(flags);
        self.pending.set(1);
        // SAFETY: in flight, and as in `pend`.
        unsafe { self.owner().completed.push_back(self.link()) };
        self.done();
    }

    /// Takes the only completion of a plain one, of `task`. False: that is not what is pending, and
    /// nothing was done.
    #[inline(always)]
    pub fn take_plain(&self, task: TaskRef) -> bool {
        if !self.is_plain(State::Done) {
            return false;
        }
        // SAFETY: pending, so in that list (rule 2).
        unsafe { task.completed.remove(self.link()) };
        self.taken(task, RawResult::from_kernel(self.outcome.get()));
        true
    }

    /// As `take_plain`, of the one whose completion is the next to be taken, and no error.
    #[inline(always)]
    pub fn take_first(&self, task: TaskRef) -> bool {
        let res = self.outcome.get();
        if !self.is_plain(State::Done) || res < 0 {
            return false;
        }
        // SAFETY: the first of that list, says the caller.
        unsafe { task.completed.take_front(self.link()) };
        self.taken(task, RawResult::success(res as isize));
        true
    }

    /// The only completion of a plain one, which is in no list of those.
    #[inline(always)]
    fn taken(&self, task: TaskRef, result: RawResult) {
        debug_assert!(self.pending.get() == 1 && self.buffers.get().is_null());
        self.pending.set(0);
        self.result.set(result);
        self.cqe_flags.set(self.outcome_flags.get());
        // SAFETY: as in `begun_at_once`: idle, and nothing else.
        unsafe { self.status_ptr().write(0) };
        // SAFETY: in flight until now, so in that list.
        if unsafe { task.operations.remove(self.of_task()) } {
            task.unmark(mark::OPERATIONS);
        }
    }
}

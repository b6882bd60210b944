//! From a completion to what it completes. Runs no task.

use core::ffi::c_void;
use core::ptr::NonNull;

use super::operation::{
    bit, is_closed, is_not_performed, Op, State, CLOSED, KEPT_FROM, RETRIES_MAX,
};
use super::{Reactor, ADDRESS_MASK, TAG_CANCEL, TAG_CUT, TAG_INLINE, TAG_MASK};
use crate::stack::headers;
use crate::task::header::{Task, TaskRef, Waits};
use crate::uring::abi::cqe;
use crate::uring::kernel::{Cqe, Kernel, CUT};

/// The tag, and what is 0 of the address of a header.
pub(super) const HEADER_MASK: u64 = align_of::<Task>() as u64 - 1;
const _: () = assert!(TAG_INLINE == 0 && TAG_MASK & HEADER_MASK == TAG_MASK);

impl<K: Kernel> Reactor<K> {
    /// `reap` would find something. (It may find nothing: a wake of the kernel object's own.)
    #[inline(always)]
    pub fn has_completed(&self) -> bool {
        self.kernel.has_completions() || self.has_ended()
    }

    /// Takes the completions that are visible, `max` at most, for the executor at `executor`. In
    /// the order of completion `inline` is told of each task whose inline operation is over, in no
    /// list; `record` of each record that has a completion to be taken, and whether it is over. How
    /// many there were. What has ended in rows is for `pop_ended`, if there `has_ended` some.
    #[inline(always)]
    pub fn reap(
        &self,
        executor: *mut c_void,
        max: usize,
        mut inline: impl FnMut(TaskRef),
        mut record: impl FnMut(&Op, bool),
    ) -> usize {
        self.kernel.for_each_completion(max, |cqe| {
            // By one question: it has the tag, and names what is aligned as a header is.
            if cqe.user_data & HEADER_MASK == TAG_INLINE {
                if let Some(task) = self.complete(cqe, executor) {
                    inline(task);
                }
                return;
            }
            let Some(found) = self.record_of(cqe.user_data) else {
                return self.complete_other(cqe.user_data, cqe.res);
            };
            if self.complete_plain(found, cqe) {
                record(found, true);
            } else if let Some((_, over)) = self.complete_record(found, cqe.res, cqe.flags) {
                record(found, over);
            }
        })
    }

    #[inline(always)]
    fn complete(&self, cqe: Cqe, executor: *mut c_void) -> Option<TaskRef> {
        let address = (cqe.user_data & ADDRESS_MASK) as usize;
        if !headers::covers(address) {
            return None; // Not ours.
        }
        // SAFETY: not null, as a header lies there.
        let task = unsafe { TaskRef::new(NonNull::new_unchecked(address as *mut Task)) };
        let ours = task.op.get() == (cqe.user_data >> 48) as u16 && task.executor() == executor;
        let once = cqe.flags & (cqe::MORE | cqe::NOTIF) == 0;
        if !ours || task.waits.get() != Waits::Completion || !once {
            return if ours { self.complete_rarely(task, cqe.res, cqe.flags) } else { None };
        }
        task.head.outcome.set(cqe.res);
        // They are 0 where it began: so most of the time a line less of the header is touched.
        if cqe.flags != 0 {
            task.cqe_flags.set(cqe.flags);
        }
        // Its `waits` goes on saying what it waited for, until it is ready.
        Some(task)
    }

    /// A completion of the last inline operation of a task of ours, which may not wait for one, or
    /// have two to come, or a cancel request that waits.
    #[cold]
    #[inline(never)]
    fn complete_rarely(&self, task: TaskRef, res: i32, flags: u32) -> Option<TaskRef> {
        if !matches!(task.waits.get(), Waits::Completion | Waits::CompletionCancelQueued) {
            return None; // Not ours.
        }
        let cqe = Cqe { user_data: 0, res, flags };
        if cqe.flags & (cqe::MORE | cqe::NOTIF) != 0 && !Self::complete_twice(task, cqe) {
            return None;
        } else if cqe.flags & cqe::NOTIF == 0 {
            task.head.outcome.set(cqe.res);
            task.cqe_flags.set(cqe.flags);
        }
        if task.waits.get() == Waits::CompletionCancelQueued {
            self.unqueue_cancel(task);
        }
        Some(task)
    }

    /// What most records complete with: a result, of an operation of which nothing else is noted.
    /// False: it is for `complete_record`.
    #[inline(always)]
    fn complete_plain(&self, record: &Op, cqe: Cqe) -> bool {
        // By one question what is not so most of the time: all bits are those of an error.
        let is_error = (cqe.res >> 31) as u32;
        let flagged = (cqe.flags | is_error) & (cqe::MORE | cqe::NOTIF | cqe::BUFFER);
        if !record.is_plain(State::Kernel) || flagged != 0 {
            return false;
        }
        record.ends(cqe.res, cqe.flags);
        true
    }

    /// A zero-copy send: its result, then the notification that its buffers are free. True: over.
    #[cold]
    fn complete_twice(task: TaskRef, cqe: Cqe) -> bool {
        if cqe.flags & cqe::NOTIF == 0 {
            task.head.outcome.set(cqe.res);
            task.cqe_flags.set(cqe.flags);
        }
        cqe.flags & cqe::MORE == 0
    }

    /// A completion of neither a task nor a record.
    #[inline(never)]
    fn complete_other(&self, user_data: u64, res: i32) {
        match user_data & TAG_MASK {
            // The operation's own completion says all else: of one operation this is 0, or an
            // error; of a handle, how many were cancelled.
            TAG_CANCEL if self.is_request(user_data) => {
                self.cancels.set(self.cancels.get().saturating_sub(1));
                if res > 0 {
                    self.closings.found();
                }
            }
            TAG_CUT => {
                let Some(record) = self.unsealed(user_data & !CUT) else { return };
                if record.state.get() == State::Kernel && record.has(bit::ORDERED) {
                    self.row_cut(record);
                }
            }
            _ => {}
        }
    }

    /// Whether `user_data`, with the tag of a cancel request, is one of ours: the request may
    /// outlive what it was about, so nothing is read there.
    fn is_request(&self, user_data: u64) -> bool {
        let address = user_data & ADDRESS_MASK & !TAG_MASK;
        headers::contains(address as usize) || user_data & !TAG_MASK == self.seal(address)
    }

    /// By the fields of the completion: where it is called, they are in registers.
    #[inline(never)]
    fn complete_record<'a>(&self, record: &'a Op, res: i32, flags: u32) -> Option<(&'a Op, bool)> {
        if !matches!(record.state.get(), State::Kernel | State::Listed) {
            return None;
        }
        // What most streams complete with; a record that receives into buffers is one.
        let brings = flags & (cqe::MORE | cqe::BUFFER) == cqe::MORE | cqe::BUFFER && res >= 0;
        if brings && record.received(res, flags, false) {
            return Some((record, false));
        }
        self.complete_any(record, res, flags)
    }

    /// The rest of `complete_record`.
    #[inline(never)]
    fn complete_any<'a>(&self, record: &'a Op, res: i32, flags: u32) -> Option<(&'a Op, bool)> {
        let cqe = Cqe { user_data: 0, res, flags };
        let more = cqe.flags & cqe::MORE != 0;
        if record.has(bit::ORDERED) {
            self.row_performed(record, cqe.res);
            return None; // See `pop_ended`.
        }
        if !more {
            self.unlist(record);
        }
        if record.has(bit::STREAM) {
            if !more {
                self.unqueue_record_cancel(record);
            }
            if cqe.flags & cqe::BUFFER == 0 {
                record.completed(self.outcome(record, cqe.res), cqe.flags, !more);
            } else if cqe.res < 0 || !record.received(cqe.res, cqe.flags, !more) {
                self.received_nothing(record, cqe);
            }
            return Some((record, !more));
        }
        if cqe.flags & cqe::NOTIF == 0 {
            record.outcome.set(cqe.res);
            record.outcome_flags.set(cqe.flags);
        }
        if more {
            return None;
        }
        self.unqueue_record_cancel(record);
        let (res, flags) = (record.outcome.get(), record.outcome_flags.get());
        if record.has(bit::CLOSES) && is_closed(res) {
            record.completed(CLOSED, flags, true);
            return Some((record, true));
        }
        if is_not_performed(res) && self.is_handle_closed(record) {
            record.completed(-libc::ECANCELED, flags, true);
            return Some((record, true));
        }
        if is_not_performed(res) && !record.has(bit::ASKED) && record.retries.get() < RETRIES_MAX {
            self.begin_again(record);
            return None;
        }
        record.completed(self.outcome(record, res), flags, true);
        Some((record, true))
    }

    /// An error, for which a kernel up to 5.19 keeps the buffer that it took: that is its again,
    /// and the record's owner has none.
    #[cold]
    fn received_nothing(&self, record: &Op, cqe: Cqe) {
        if let Some(buffers) = record.refuses(cqe.flags) {
            self.provide(buffers);
        }
        let flags = cqe.flags & cqe::MORE;
        record.completed(self.outcome(record, cqe.res), flags, flags == 0);
    }

    /// What the kernel's `res` is to the record's owner.
    fn outcome(&self, record: &Op, res: i32) -> i32 {
        match is_not_performed(res) {
            true if record.has(bit::ASKED) || self.is_handle_closed(record) => -libc::ECANCELED,
            true => KEPT_FROM,
            false => res,
        }
    }
}

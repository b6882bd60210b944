//! Joins that are one case of a wait for several things; see `sync::select`.
//!
//! The record is that of a join, and goes the same ways. When the joined task has exited it claims
//! the wait, if nothing else has. It is withdrawn before the call returns: taken out of its list,
//! or, where it has travelled, called back and waited for.
//!
//! A task that waits in the queue of a pool has no executor to ask. Until it leaves the queue the
//! case stands in the queue's list of those who want to know; when it leaves, the case claims the
//! wait, and the call looks at all its cases again: by then the task is attached, or its run over.

use core::cell::Cell;
use core::ptr::{self, NonNull};

use super::grant::{Caller, Wait};
use super::join::{JoinRecord, Joiner};
use super::known::{look, result_of, Known, CHANGING_NS};
use super::mailbox::Posted;
use super::queue_left::LeaveCase;
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::sys::backoff::Backoff;
use crate::task::header::TaskRef;
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

/// Room for a case.
pub enum JoinCase {
    /// There was nothing to register.
    Nothing,
    Joins(JoinRecord),
    Leaves(LeaveCase),
}

/// What became of the beginning of a case.
pub enum Begun {
    Waits,
    /// The task has exited since.
    Over(RawResult),
    /// The wait is a local one, and what ends this case is not.
    Elsewhere,
}

/// What a case that is withdrawn has come to.
pub enum Withdrawn {
    /// Nothing, or what `Begun::Over` said.
    Nothing,
    Over(RawResult),
    /// The task has left its queue, if the case happened: see there.
    Left,
}

impl<K: Kernel> Executor<K> {
    /// The result of a run that is over; None: not yet. `run`: which; 0: the last one.
    pub fn join_result(other: TaskRef, run: Run) -> Option<RawResult> {
        match look(other) {
            Known::Over(result) if run == 0 => Some(result),
            Known::Over(_) => Some(result_of(other.state(), run)),
            Known::Under(now, _) if run != 0 && now != run => Some(result_of(other.state(), run)),
            _ => None,
        }
    }

    /// SUSPENDS while another thread is in the middle of attaching `other`. EINVAL: never attached.
    pub fn settle_join_case(&self, task: TaskRef, other: TaskRef) -> Res<()> {
        loop {
            match look(other) {
                Known::Never => return Err(Errno(libc::EINVAL)),
                Known::Changing if other.is_queued() => return Ok(()),
                Known::Changing => match self.sleep(task, CHANGING_NS) {
                    0 => {}
                    e => return Err(Errno(-e)),
                },
                _ => return Ok(()),
            }
        }
    }

    /// Registers the case `index` of `wait`, for that run, or, where it is 0, for the one that is
    /// under way, whose number it becomes.
    ///
    /// # Safety
    /// `place` is memory for a case, which stays, as `wait` does, until `end_join_case`.
    pub unsafe fn begin_join_case(
        &self,
        other: TaskRef,
        joined: &Cell<Run>,
        wait: &Wait,
        index: u32,
        place: *mut JoinCase,
    ) -> Begun {
        // SAFETY: the caller's.
        let put = |case| unsafe {
            place.write(case);
            &*place
        };
        put(JoinCase::Nothing);
        let failure = |errno| Begun::Over(RawResult::failure(Errno(errno)));
        let is_other_run = |run| joined.get() != 0 && joined.get() != run;
        let mut backoff = Backoff::new();
        let (run, away) = loop {
            match look(other) {
                // The parent's.
                Known::Under(_, away) if !away.is_of_this_process() => return failure(libc::EPERM),
                Known::Under(run, away) => break (run, away),
                Known::Over(result) if joined.get() == 0 => return Begun::Over(result),
                Known::Over(_) => return Begun::Over(result_of(other.state(), joined.get())),
                Known::Never => return failure(libc::EINVAL),
                Known::Changing => {}
            }
            let Some((run, leaves)) = LeaveCase::of::<K>(other, wait, index) else {
                backoff.wait(); // A handful of instructions of another thread's.
                continue;
            };
            if is_other_run(run) {
                return Begun::Over(result_of(other.state(), joined.get()));
            }
            if let Err(Errno(e)) = leaves.check_process() {
                return failure(e);
            }
            if wait.is_local() {
                return Begun::Elsewhere;
            }
            joined.set(run);
            if let JoinCase::Leaves(leaves) = put(JoinCase::Leaves(leaves)) {
                // SAFETY: the place stays until `end_join_case`, which takes it out.
                if unsafe { leaves.list(run) } {
                    return Begun::Waits;
                }
            }
            put(JoinCase::Nothing);
        };
        if is_other_run(run) {
            return Begun::Over(result_of(other.state(), joined.get()));
        }
        joined.set(run);
        let joiner = Joiner::Case(NonNull::from(wait), index, self.mailbox);
        let JoinCase::Joins(record) =
            put(JoinCase::Joins(JoinRecord::new(joiner, other, run, away)))
        else {
            return Begun::Waits; // Cannot be: it was just put there.
        };
        if ptr::eq(away, self.mailbox) {
            self.register(record);
            return Begun::Waits;
        }
        record.owed.set(1);
        loop {
            // SAFETY: the record stays until `owed` is 0, which `end_join_case` waits for.
            match unsafe { record.post_join() } {
                Posted::Queued => return Begun::Waits,
                Posted::Over => {
                    record.owed.set(0);
                    return Begun::Over(result_of(other.state(), run));
                }
                Posted::Closed => backoff.wait(),
            }
        }
    }

    /// JOINED or UNJOINED has come back, and no link is on its way any more.
    pub(super) fn join_case_answered(&self, record: &JoinRecord, wait: NonNull<Wait>, index: u32) {
        match record.settled.take() {
            // SAFETY: its task waits until now.
            Some(settled) => unsafe { settled.as_ref() }.wake::<K>(),
            None => self.join_case_over(wait, index),
        }
    }

    /// The joined task has exited, and the record has its result.
    pub(super) fn join_case_over(&self, wait: NonNull<Wait>, index: u32) {
        // SAFETY: its task is in the call that made the case.
        let wait = unsafe { wait.as_ref() };
        if wait.claim_case(index) {
            wait.wake::<K>();
        }
    }

    /// SUSPENDS if `other` is another executor's, until it has been called back. `task` runs now.
    ///
    /// # Safety
    /// `place` was given to `begin_join_case`.
    pub unsafe fn end_join_case(&self, task: TaskRef, place: *const JoinCase) -> Withdrawn {
        // SAFETY: the caller's.
        let record = match unsafe { &*place } {
            JoinCase::Nothing => return Withdrawn::Nothing,
            JoinCase::Joins(record) => record,
            JoinCase::Leaves(leaves) => {
                leaves.unlist();
                return Withdrawn::Left;
            }
        };
        if record.other_here(self.mailbox).is_some() {
            self.end_join_case_here(record);
        } else if record.owed.get() != 0 {
            self.unjoin_remote(record);
            let settled = Caller::task(self, task).wait_for_sure(true);
            record.settled.set(Some(NonNull::from(&settled)));
            let waited = self.await_grant(task, &settled);
            debug_assert!(waited.is_ok(), "nothing else ends such a wait");
        }
        if record.has_result.get() {
            Withdrawn::Over(record.result.get())
        } else {
            Withdrawn::Nothing
        }
    }

    fn end_join_case_here(&self, record: &JoinRecord) {
        if self.is_registered(record) {
            self.unregister(record);
        } else if record.registered.replace(false) {
            // It waits to be woken: the next in that list has its result from this one.
            // SAFETY: only records are in that list, and this one is.
            unsafe {
                if let Some(next) = NonNull::new(record.link().as_ref().peek_next()) {
                    if record.has_result.get() {
                        JoinRecord::from_link(next).inherit(record.result.get());
                    }
                }
                self.woken_joins.remove(record.link());
            }
        }
    }
}

//! Joins that are one case of a wait for several things; see `sync::select`.
//!
//! The record is that of a join, and goes the same ways. When the joined task has exited it claims
//! the wait, if nothing else has. It is withdrawn before the call returns: taken out of its list,
//! or, where it has travelled, called back and waited for.

use core::ptr::{self, NonNull};

use super::grant::{Caller, Wait};
use super::join::{JoinRecord, Joiner};
use super::known::{look, result_of, Known, CHANGING_NS};
use super::mailbox::Posted;
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::sys::backoff::Backoff;
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

/// Room for a case: `None` if there was nothing to register.
pub struct JoinCase(Option<JoinRecord>);

impl<K: Kernel> Executor<K> {
    /// The result of a run that is over; None: not yet.
    pub fn join_result(other: TaskRef) -> Option<RawResult> {
        match look(other) {
            Known::Over(result) => Some(result),
            _ => None,
        }
    }

    /// SUSPENDS while another thread is in the middle of attaching `other`. EINVAL: never attached;
    /// EBUSY: in the queue of a pool.
    pub fn settle_join_case(&self, task: TaskRef, other: TaskRef) -> Res<()> {
        loop {
            match look(other) {
                Known::Never => return Err(Errno(libc::EINVAL)),
                Known::Changing if other.is_queued() => return Err(Errno(libc::EBUSY)),
                Known::Changing => match self.sleep(task, CHANGING_NS) {
                    0 => {}
                    e => return Err(Errno(-e)),
                },
                _ => return Ok(()),
            }
        }
    }

    /// Registers the case `index` of `wait`. The result, if `other` has exited since.
    ///
    /// # Safety
    /// `place` is memory for a case, which stays, as `wait` does, until `end_join_case`.
    pub unsafe fn begin_join_case(
        &self,
        other: TaskRef,
        wait: &Wait,
        index: u32,
        place: *mut JoinCase,
    ) -> Option<RawResult> {
        // SAFETY: the caller's.
        let put = |record| unsafe {
            place.write(JoinCase(record));
            (*place).0.as_ref()
        };
        put(None);
        let mut backoff = Backoff::new();
        let (run, away) = loop {
            match look(other) {
                Known::Under(_, away) if !away.is_of_this_process() => {
                    return Some(RawResult::failure(Errno(libc::EPERM))); // The parent's.
                }
                Known::Under(run, away) => break (run, away),
                Known::Over(result) => return Some(result),
                Known::Never => return Some(RawResult::failure(Errno(libc::EINVAL))),
                Known::Changing if other.is_queued() => {
                    return Some(RawResult::failure(Errno(libc::EBUSY)));
                }
                Known::Changing => backoff.wait(), // A handful of instructions of another thread's.
            }
        };
        let joiner = Joiner::Case(NonNull::from(wait), index, self.mailbox);
        let record = put(Some(JoinRecord::new(joiner, other, run, away)))?;
        if ptr::eq(away, self.mailbox) {
            self.register(record);
            return None;
        }
        record.owed.set(1);
        loop {
            // SAFETY: the record stays until `owed` is 0, which `end_join_case` waits for.
            match unsafe { record.post_join() } {
                Posted::Queued => return None,
                Posted::Over => {
                    record.owed.set(0);
                    return Some(result_of(other.state(), run));
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
    /// The result, if the joined task has exited.
    ///
    /// # Safety
    /// `place` was given to `begin_join_case`.
    pub unsafe fn end_join_case(&self, task: TaskRef, place: *const JoinCase) -> Option<RawResult> {
        // SAFETY: the caller's.
        let record = unsafe { &*place }.0.as_ref()?;
        if record.other_here(self.mailbox).is_some() {
            self.end_join_case_here(record);
        } else if record.owed.get() != 0 {
            self.unjoin_remote(record);
            let settled = Caller::task(self, task).wait_for_sure(true);
            record.settled.set(Some(NonNull::from(&settled)));
            let waited = self.await_grant(task, &settled);
            debug_assert!(waited.is_ok(), "nothing else ends such a wait");
        }
        record.has_result.get().then(|| record.result.get())
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

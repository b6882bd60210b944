//! Waiting for another task's exit, on the same executor or on another.
//!
//! On another executor, a [`Record`] on the joiner's stack travels: JOIN to the other's mailbox,
//! JOINED back with the result. A cancel sends the record's second link after it: UNJOIN there,
//! UNJOINED back. The joiner resumes when all that were sent are back, so nobody touches the record
//! after that.
//!
//! 1. `registered` belongs to the thread of `away`, `owed` and `asked` to that of `home`; `result`
//!    and `canceled` are written by `away` before it posts JOINED, and read by `home` after.
//! 2. Whoever posts a link back never touches it afterwards.
//! 3. Mailboxes outlive everything; a closed one means its executor is gone, and with it `other` has
//!    exited: an executor is not destroyed while a task is attached, and answers all JOINs it has
//!    when it is.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr::NonNull;

use super::mailbox::{kind, Mailbox};
use super::suspend::take_cancel;
use super::Executor;
use crate::error::{Errno, RawResult};
use crate::intrusive::Link;
use crate::task::header::{Cancel, Flags, TaskRef, Waits, ECANCELED};
use crate::task::state;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Record {
    link: Link,
    unlink: Link,
    joiner: TaskRef,
    other: TaskRef,
    /// Which of `other`'s runs is meant.
    seq: u64,
    home: &'static Mailbox,
    away: &'static Mailbox,
    result: Cell<RawResult>,
    canceled: Cell<bool>,
    /// In `other.remote_joiners`.
    registered: Cell<bool>,
    /// Links that are on their way.
    owed: Cell<u8>,
    /// UNJOIN was sent, or is not needed.
    asked: Cell<bool>,
}

impl Record {
    pub const OTHER_AT: usize = offset_of!(Record, other);

    /// # Safety
    /// `link` is the `link` of a record whose joiner waits.
    pub unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Record {
        // SAFETY: the caller's; `link` was made from a pointer to the whole record.
        unsafe { link.cast().as_ref() }
    }

    /// # Safety
    /// `link` is the `unlink` of a record whose joiner waits.
    pub unsafe fn from_unlink<'a>(link: NonNull<Link>) -> &'a Record {
        // SAFETY: as above.
        unsafe { link.byte_sub(offset_of!(Record, unlink)).cast().as_ref() }
    }

    fn link(&self) -> NonNull<Link> {
        NonNull::from(self).cast()
    }

    fn unlink(&self) -> NonNull<Link> {
        // SAFETY: within the record.
        unsafe { NonNull::from(self).byte_add(offset_of!(Record, unlink)).cast() }
    }
}

/// The run is over, and a later one elsewhere may be overwriting its result.
const GONE: RawResult = RawResult::failure(Errno(libc::ESRCH));

impl<K: Kernel> Executor<K> {
    /// SUSPENDS. `task` runs now. EDEADLK on itself, EINVAL on one that was never attached, ESRCH if
    /// the run that was meant is over and its result gone, as other threads launched `other` again.
    pub fn join(&self, task: TaskRef, other: TaskRef) -> RawResult {
        if other == task {
            return RawResult::failure(Errno(libc::EDEADLK));
        }
        if task.cancel.get() == Cancel::Next {
            return RawResult::from_kernel(take_cancel(task));
        }
        loop {
            match other.state().run_state() {
                state::ATTACHED => break,
                state::FRESH => return RawResult::failure(Errno(libc::EINVAL)),
                state::EXITED => {
                    if let Some(result) = other.settled_result() {
                        return result;
                    }
                }
                // Another thread is in the middle of attaching it; let it.
                _ => {
                    let yielded = self.sleep(task, 0);
                    if yielded != 0 {
                        return RawResult::from_kernel(yielded);
                    }
                }
            }
        }
        let away = other.state().mailbox().cast::<Mailbox>();
        // SAFETY: attached, so it was set, and mailboxes live for ever.
        let away = unsafe { &*away };
        if core::ptr::eq(away, self.mailbox) {
            self.join_here(task, other)
        } else {
            self.join_remote(task, other, away)
        }
    }

    fn join_here(&self, task: TaskRef, other: TaskRef) -> RawResult {
        task.head.flags.set(Flags::AWAITING);
        task.waits.set(Waits::Join);
        task.peer.set(other.as_head().cast());
        other.joined.set(true);
        // SAFETY: running, so in no list; it stays until it is woken.
        unsafe { other.joiners.push_back(task.link_ptr()) };
        task.outcome.set(0);
        self.leave(task);
        match task.outcome.get() {
            0 => task.join_result.get(),
            _ => task.outcome(),
        }
    }

    /// `task` waits for one of ours, and no longer should.
    pub(super) fn unjoin_here(&self, task: TaskRef) {
        // SAFETY: `peer` is whom it joins, which is attached, else the wait were over.
        let other = unsafe { TaskRef::from_head(task.peer.get().cast()) };
        // SAFETY: in that list, says `waits`.
        unsafe { other.joiners.remove(task.link_ptr()) };
        task.waits.set(Waits::Nothing);
    }

    #[inline(never)]
    fn join_remote(&self, task: TaskRef, other: TaskRef, away: &'static Mailbox) -> RawResult {
        let record = Record {
            link: Link::new(),
            unlink: Link::new(),
            joiner: task,
            other,
            seq: other.state().seq(),
            home: self.mailbox,
            away,
            result: RawResult::default().into(),
            canceled: false.into(),
            registered: false.into(),
            owed: 1.into(),
            asked: false.into(),
        };
        task.head.flags.set(Flags::AWAITING);
        task.waits.set(Waits::JoinRemote);
        task.peer.set((&raw const record).cast());
        // SAFETY: the record stays until `owed` is 0, which ends the suspension below.
        if !unsafe { away.post_pinned(record.link(), kind::JOIN) } {
            task.waits.set(Waits::Nothing); // Rule 3.
            task.head.flags.set(Flags::RUNNING);
            return other.settled_result().unwrap_or(GONE);
        }
        self.leave(task);
        if task.cancel.get() == Cancel::Asked {
            task.cancel.set(if record.canceled.get() { Cancel::No } else { Cancel::Next });
        }
        record.result.get()
    }

    /// A cancel of a task that waits for one on another executor.
    pub(super) fn unjoin_remote(&self, record: &Record) {
        if record.asked.replace(true) {
            return;
        }
        record.joiner.cancel.set(Cancel::Asked);
        record.owed.set(record.owed.get() + 1);
        // SAFETY: as for JOIN.
        if !unsafe { record.away.post_pinned(record.unlink(), kind::UNJOIN) } {
            record.owed.set(record.owed.get() - 1); // Rule 3: the answer is on its way.
        }
    }

    /// JOIN has arrived.
    pub(super) fn join_asked(&self, record: &Record) {
        let other = record.other;
        let state = other.state();
        if state.is_attached_to(self.address()) && state.seq() == record.seq {
            record.registered.set(true);
            other.joined.set(true);
            // SAFETY: taken out of the mailbox, so in no list; it stays until we answer.
            unsafe { other.remote_joiners.push_back(record.link()) };
        } else if state.is_of(self.address()) {
            // A later run of it is ours: of results, we alone write the next.
            answer(record, other.result(), false);
        } else {
            answer(record, other.settled_result().unwrap_or(GONE), false);
        }
    }

    /// UNJOIN has arrived.
    pub(super) fn unjoin_asked(&self, record: &Record) {
        let (home, unlink) = (record.home, record.unlink());
        if record.registered.replace(false) {
            // SAFETY: in that list, says `registered`.
            unsafe { record.other.remote_joiners.remove(record.link()) };
            answer(record, RawResult::failure(ECANCELED), true);
        }
        // SAFETY: `owed` counts this link, so the record is still there (rule 2 from here on).
        let posted = unsafe { home.post_pinned(unlink, kind::UNJOINED) };
        debug_assert!(posted, "its executor has the joiner attached");
    }

    /// JOINED or UNJOINED has come back.
    pub(super) fn join_answered(&self, record: &Record) {
        record.owed.set(record.owed.get() - 1);
        if record.owed.get() == 0 {
            let task = record.joiner;
            task.waits.set(Waits::Nothing);
            self.make_ready(task, self.stamp());
        }
    }

    /// `task` has exited, and is joined: publishes that, then wakes who joins it, who may launch it
    /// again or destroy it at once, from another thread. O(number of its joiners).
    #[cold]
    #[inline(never)]
    pub(super) fn finish_joined(&self, task: TaskRef, now: u64) {
        let result = task.result();
        let (joiners, remote_joiners) = (task.joiners.take_all(), task.remote_joiners.take_all());
        task.joined.set(false);
        task.state().exited();
        while let Some(link) = joiners.pop_front() {
            // SAFETY: only tasks that join are in this list.
            let joiner = unsafe { TaskRef::from_link(link) };
            joiner.join_result.set(result);
            joiner.waits.set(Waits::Nothing);
            self.make_ready(joiner, now);
        }
        while let Some(link) = remote_joiners.pop_front() {
            // SAFETY: only records of joiners that wait are in this list.
            let record = unsafe { Record::from_link(link) };
            record.registered.set(false);
            answer(record, result, false);
        }
    }
}

/// Posts JOINED. The record is not ours any more afterwards (rule 2).
fn answer(record: &Record, result: RawResult, canceled: bool) {
    record.result.set(result);
    record.canceled.set(canceled);
    let (home, link) = (record.home, record.link());
    // SAFETY: `owed` counts this link; it is in no list.
    let posted = unsafe { home.post_pinned(link, kind::JOINED) };
    debug_assert!(posted, "its executor has the joiner attached");
}

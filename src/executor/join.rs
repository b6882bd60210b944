//! Waiting for another task's exit: on the same executor, on another, and by a thread that runs no
//! task.
//!
//! A [`JoinRecord`] waits in the joined task's list, for a run. On the same executor it goes there
//! at once. From elsewhere it travels: JOIN to the other's mailbox, JOINED back with the result. A
//! cancel sends the record's second link after it: UNJOIN there, UNJOINED back. The joiner goes on
//! when all that were sent are back, so nobody touches the record after that. A plain thread's
//! record lies on the heap, and is freed by the last who holds it (see `wait`).
//!
//! 1. `registered` belongs to the thread of the joined task's executor, `owed` and `asked` to that
//!    of the joiner's; `result` and `canceled` are written by the former before it posts JOINED,
//!    and read by the latter after.
//! 2. A thread that posts a link back never touches it afterwards.
//! 3. Mailboxes outlive everything; a closed one means its executor is gone, and with it `other`
//!    has exited: an executor is not destroyed while a task is attached, and answers all JOINs it
//!    has when it is. A launch that it refused is undone by the thread that asked for it, which
//!    answers those who joined that run. An executor may live on, and nobody run it any more: so
//!    nothing is posted about a run that is over, and `has_work` does not say no before what was
//!    posted is answered.
//! 4. The answer is the result of the run that was asked for, and of no other.

use core::cell::Cell;
use core::mem::{offset_of, MaybeUninit};
use core::ptr::{self, NonNull};

use super::exit::Told;
use super::grant::Wait;
use super::join_elsewhere::ask;
use super::known::{result_of, GONE};
use super::mailbox::{kind, Mailbox, Posted};
use super::wait::Waiter;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, RawResult};
use crate::intrusive::Link;
use crate::sys::backoff::Backoff;
use crate::task::annex::note;
use crate::task::header::{mark, TaskRef, Waits, ECANCELED};
use crate::task::joins::{Joined, CHAIN_MAX};
use crate::task::state::Run;
use crate::uring::kernel::Kernel;

/// Who waits.
#[derive(Clone, Copy)]
pub(super) enum Joiner {
    Task(TaskRef, &'static Mailbox),
    /// A thread that runs no task.
    Thread(&'static Waiter),
    /// One case of a task's wait for several things; see `join_case`.
    Case(NonNull<Wait>, u32, &'static Mailbox),
}

#[repr(C)]
pub struct JoinRecord {
    /// Both are written by who posts them, or puts them into a list.
    link: MaybeUninit<Link>,
    unlink: MaybeUninit<Link>,
    pub(super) joiner: Joiner,
    pub(super) other: TaskRef,
    /// Which of `other`'s runs is meant.
    pub(super) run: Run,
    pub(super) away: &'static Mailbox,
    pub(super) result: Cell<RawResult>,
    canceled: Cell<bool>,
    /// Was put into `joiners` of the task; see `is_registered`.
    pub(super) registered: Cell<bool>,
    /// Woken: `result` is set; else it is that of the record before.
    pub(super) has_result: Cell<bool>,
    /// Links that are on their way.
    pub(super) owed: Cell<u8>,
    /// UNJOIN was sent, or is not needed.
    asked: Cell<bool>,
    /// Of a case that is being withdrawn: to be woken when no link is on its way.
    pub(super) settled: Cell<Option<NonNull<Wait>>>,
}

impl JoinRecord {
    pub(crate) const OTHER_AT: usize = offset_of!(JoinRecord, other);

    pub(super) fn other(&self) -> TaskRef {
        self.other
    }

    pub(super) fn new(joiner: Joiner, other: TaskRef, run: Run, away: &'static Mailbox) -> Self {
        Self {
            link: MaybeUninit::uninit(),
            unlink: MaybeUninit::uninit(),
            joiner,
            other,
            run,
            away,
            result: RawResult::default().into(),
            canceled: false.into(),
            registered: false.into(),
            has_result: false.into(),
            owed: 0.into(),
            asked: false.into(),
            settled: None.into(),
        }
    }

    /// # Safety
    /// `link` is the `link` of a record whose joiner waits.
    pub(crate) unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; `link` was made from a pointer to the whole record.
        unsafe { link.cast().as_ref() }
    }

    /// # Safety
    /// `link` is the `unlink` of a record whose joiner waits.
    pub(crate) unsafe fn from_unlink<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: as above.
        unsafe { link.byte_sub(offset_of!(JoinRecord, unlink)).cast().as_ref() }
    }

    /// # Safety
    /// The record stays until what is posted is answered.
    pub(super) unsafe fn post_join(&self) -> Posted {
        // SAFETY: the caller's; it is in no list.
        unsafe { self.away.post_of_run(self.link(), kind::JOIN, self.other.state(), self.run) }
    }

    /// False: the run is over, and JOIN answered, or about to be.
    ///
    /// # Safety
    /// As `post_join`, and once only.
    pub(super) unsafe fn post_unjoin(&self) -> bool {
        let mut backoff = Backoff::new();
        loop {
            let state = self.other.state();
            // SAFETY: the caller's.
            match unsafe { self.away.post_of_run(self.unlink(), kind::UNJOIN, state, self.run) } {
                Posted::Queued => return true,
                Posted::Over => return false,
                Posted::Closed => backoff.wait(), // It is about to go, or to open again.
            }
        }
    }

    /// Of the list that it is in.
    #[inline(always)]
    fn is_last(&self) -> bool {
        // SAFETY: written by the push that put it there.
        unsafe { self.link.assume_init_ref() }.peek_next().is_null()
    }

    pub(super) fn link(&self) -> NonNull<Link> {
        NonNull::from(self).cast()
    }

    pub(super) fn unlink(&self) -> NonNull<Link> {
        // SAFETY: within the record.
        unsafe { NonNull::from(self).byte_add(offset_of!(JoinRecord, unlink)).cast() }
    }

    /// What `task.joins()` says while the joiner, a task, waits.
    #[inline(always)]
    pub(super) fn joined(&self) -> Joined {
        Joined::new(self.other.addr(), self.run)
    }

    /// The record before it in the list of those that are woken has that result.
    pub(super) fn inherit(&self, result: RawResult) {
        if !self.has_result.replace(true) {
            self.result.set(result);
        }
    }

    /// The run is over.
    #[inline(always)]
    pub(super) fn tell(&self, result: RawResult) {
        self.result.set(result);
        self.has_result.set(true);
    }

    /// Whom the joiner of this record waits for, if that is on the executor with this mailbox too.
    pub(super) fn other_here(&self, mailbox: &'static Mailbox) -> Option<TaskRef> {
        ptr::eq(self.away, mailbox).then_some(self.other)
    }
}

impl<K: Kernel> Executor<K> {
    /// SUSPENDS. `task` runs now. EDEADLK on itself, and on one that joins it, through others it
    /// may be, EINVAL on one that was never attached, ESRCH if the run that was meant is over and
    /// its result gone, as other threads launched `other` again.
    pub fn join(&self, task: TaskRef, other: TaskRef) -> RawResult {
        if other == task {
            return RawResult::failure(Errno(libc::EDEADLK));
        }
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return RawResult::from_kernel(stopped);
            }
        }
        if other.state().is_attached_to(self.address()) && self.is_of_this_process() {
            let run = other.state().run();
            let record =
                JoinRecord::new(Joiner::Task(task, self.mailbox), other, run, self.mailbox);
            return self.join_here(task, other, &record);
        }
        self.join_elsewhere(task, other)
    }

    /// `other`, which is here, joins. Whether `task` may join it; else it would wait for itself,
    /// through others it may be.
    #[inline(never)]
    fn may_join(&self, task: TaskRef, other: TaskRef, joined: Joined) -> bool {
        let mut next = other;
        for _ in 0..CHAIN_MAX {
            // None: its join was cancelled on another executor, which has not answered yet.
            let Some(joins) = next.joins().get().filter(|_| next.waits.get() == Waits::Join) else {
                return !Self::awaits_child(next, task);
            };
            // SAFETY: the address of a task, which was there when it was joined.
            next = unsafe { TaskRef::from_head(joins.task() as *const _) };
            let state = next.state();
            if !joins.is_last_of(state) {
                return true; // It has its result, and is about to be woken.
            }
            if next == task {
                return false;
            }
            if !state.is_attached_to(self.address()) {
                return ask(task, joined);
            }
        }
        true
    }

    #[inline(always)]
    pub(super) fn join_here(
        &self,
        task: TaskRef,
        other: TaskRef,
        record: &JoinRecord,
    ) -> RawResult {
        let joined = record.joined();
        if other.waits.get() == Waits::Join && !self.may_join(task, other, joined)
            || other.waits.get() == Waits::Grant && Self::awaits_child(other, task)
        {
            return RawResult::failure(Errno(libc::EDEADLK));
        }
        task.joins().set(joined);
        self.register(record);
        self.await_join(task, record)
    }

    /// Puts a record into the list of the task it is about, which is attached here.
    pub(super) fn register(&self, record: &JoinRecord) {
        record.registered.set(true);
        record.other.mark(mark::JOINED);
        // SAFETY: in no list; it stays until it is answered.
        unsafe { record.other.joiners.push_back(record.link()) };
    }

    #[inline(always)]
    pub(super) fn await_join(&self, task: TaskRef, record: &JoinRecord) -> RawResult {
        task.waits.set(Waits::Join);
        task.peer.set(ptr::from_ref(record).cast());
        task.head.outcome.set(0);
        task.awaits();
        self.leave(task);
        task.joins().clear();
        match task.head.outcome.get() {
            0 if record.canceled.get() => {
                let reason = super::scope::interruption(task);
                RawResult::failure(Errno(if reason != 0 { reason } else { ECANCELED.0 }))
            }
            0 => record.result.get(),
            _ => task.outcome(),
        }
    }

    /// A cancel of a task that joins. True: the wait is over, the task in no list.
    pub(super) fn cancel_join(&self, task: TaskRef) -> bool {
        // SAFETY: the record of a task that waits so is on its stack.
        let record = unsafe { &*task.peer.get().cast::<JoinRecord>() };
        if record.other_here(self.mailbox).is_none() {
            self.unjoin_remote(record);
            return false;
        }
        if !self.is_registered(record) {
            return false; // It has its result, and is about to be woken.
        }
        self.unregister(record);
        task.waits.set(Waits::Nothing);
        true
    }

    /// In `joiners` of its task. When that run ends, all of them go to `woken_joins` at once.
    pub(super) fn is_registered(&self, record: &JoinRecord) -> bool {
        let state = record.other.state();
        record.registered.get() && state.is_run_attached_to(self.address(), record.run)
    }

    pub(super) fn unregister(&self, record: &JoinRecord) {
        record.registered.set(false);
        // SAFETY: in that list, says `is_registered`.
        unsafe { record.other.joiners.remove(record.link()) };
    }

    #[inline(never)]
    pub(super) fn unjoin_remote(&self, record: &JoinRecord) {
        if record.asked.replace(true) {
            return;
        }
        record.owed.set(record.owed.get() + 1);
        // SAFETY: as for JOIN.
        if !unsafe { record.post_unjoin() } {
            record.owed.set(record.owed.get() - 1); // Rule 3: the answer is on its way.
        }
    }

    /// JOIN has arrived.
    pub(super) fn join_asked(&self, record: &JoinRecord) {
        let (other, run) = (record.other, record.run);
        let state = other.state();
        if state.is_run_attached_to(self.address(), run) {
            self.register(record);
        } else if state.is_run_attached_to(self.address(), run + 1)
            && other.waits.get() != Waits::Closing
        {
            // The next run of it is ours, and has not written its result: we alone do.
            answer(record, RawResult::from_words(state.result()), false);
        } else {
            answer(record, result_of(state, run), false);
        }
    }

    /// UNJOIN has arrived.
    pub(super) fn unjoin_asked(&self, record: &JoinRecord) {
        let (joiner, unlink) = (record.joiner, record.unlink());
        if self.is_registered(record) {
            self.unregister(record);
            answer(record, RawResult::failure(ECANCELED), true);
        }
        match joiner {
            Joiner::Task(_, home) | Joiner::Case(.., home) => {
                // SAFETY: `owed` counts this link, so the record is still there (rule 2 from here
                // on).
                let posted = unsafe { home.post_pinned(unlink, kind::UNJOINED) };
                debug_assert!(posted, "its executor has the joiner attached");
            }
            Joiner::Thread(waiter) => waiter.release(),
        }
    }

    /// JOINED or UNJOINED has come back.
    pub(super) fn join_answered(&self, record: &JoinRecord) {
        record.owed.set(record.owed.get() - 1);
        if record.owed.get() != 0 {
            return;
        }
        match record.joiner {
            Joiner::Task(task, _) => {
                task.waits.set(Waits::Nothing);
                self.make_ready(task, self.stamp());
            }
            Joiner::Case(wait, index, _) => self.join_case_answered(record, wait, index),
            Joiner::Thread(_) => {}
        }
    }

    /// `task` has exited, and is joined: publishes that, then wakes who joins it, who may launch it
    /// again or destroy it at once, from another thread.
    #[cold]
    #[inline(never)]
    pub(super) fn finish_joined(&self, task: TaskRef, now: u64) {
        let result = task.result();
        let joiners = task.joiners.take_all();
        let told = Told::take(task);
        if task.notes(note::POOLED) {
            task.set_pooled(false);
            self.pooled_ended.set(self.pooled_ended.get() + 1);
        }
        task.unmark(mark::JOINED);
        task.state().exited();
        if let Some(first) = joiners.front() {
            // SAFETY: only records of joiners that wait are in this list.
            let first = unsafe { JoinRecord::from_link(first) };
            first.tell(result);
            if !self.wakes_the_only(first, now) {
                self.woken_joins.append(joiners);
                self.wake_joiners(now);
            }
        }
        if let Some(told) = told {
            // No task runs, for who is told: a call that suspends is refused, and does not suspend
            // the one that has just exited, or that cancels.
            let current = self.head.current_task.replace(ptr::null());
            let tells = self.tells.replace(true);
            if self.watches(by::TRACED) {
                self.watched_told(task, || told.call(task, result));
            } else {
                told.call(task, result);
            }
            self.tells.set(tells);
            self.head.current_task.set(current);
        }
    }

    /// Wakes the joiner of a task that has exited, if that is a task of ours, and the only one.
    /// True: it did.
    #[inline(always)]
    fn wakes_the_only(&self, record: &JoinRecord, now: u64) -> bool {
        let only = self.only(record);
        if let Some(joiner) = only {
            record.registered.set(false);
            joiner.waits.set(Waits::Nothing);
            self.make_ready(joiner, now);
        }
        only.is_some()
    }

    /// The joiner, if that is a task of ours, and nobody else joins, or is about to be woken.
    #[inline(always)]
    fn only(&self, record: &JoinRecord) -> Option<TaskRef> {
        match record.joiner {
            Joiner::Task(joiner, home)
                if ptr::eq(home, self.mailbox)
                    && record.is_last()
                    && self.woken_joins.is_empty() =>
            {
                Some(joiner)
            }
            _ => None,
        }
    }

    /// As `only`, of a task that is joined, and its record.
    #[inline(always)]
    pub(super) fn only_joiner(&self, task: TaskRef) -> Option<(TaskRef, &JoinRecord)> {
        let first = task.joiners.front()?;
        // SAFETY: only records of joiners that wait are in this list.
        let record = unsafe { JoinRecord::from_link(first) };
        Some((self.only(record)?, record))
    }

    /// Wakes those whose task has exited, so many at most: the result goes from record to record.
    pub(super) fn wake_joiners(&self, now: u64) {
        let mut budget = self.budget(now);
        while budget.take() {
            let Some(link) = self.woken_joins.pop_front() else { return };
            // SAFETY: only records of joiners that wait are in this list.
            let record = unsafe { JoinRecord::from_link(link) };
            let result = record.result.get();
            if let Some(next) = self.woken_joins.front() {
                // SAFETY: as above.
                unsafe { JoinRecord::from_link(next) }.inherit(result);
            }
            record.registered.set(false);
            match record.joiner {
                Joiner::Task(joiner, home) if ptr::eq(home, self.mailbox) => {
                    joiner.waits.set(Waits::Nothing);
                    self.make_ready(joiner, now);
                }
                Joiner::Case(wait, index, home) if ptr::eq(home, self.mailbox) => {
                    self.join_case_over(wait, index);
                }
                _ => answer(record, result, false),
            }
        }
    }
}

/// THE THREAD whose launch of `task` was refused, before it gives it up; the executor is gone.
pub(super) fn answer_refused(task: TaskRef) {
    let joiners = task.joiners.take_all();
    task.unmark(mark::JOINED);
    while let Some(link) = joiners.pop_front() {
        // SAFETY: only records of joiners that wait are in this list.
        let record = unsafe { JoinRecord::from_link(link) };
        record.registered.set(false);
        answer(record, GONE, false);
    }
}

/// Posts JOINED. The record is not ours any more afterwards (rule 2). A function of its own: the
/// local path ends here, as what follows concerns another thread.
#[inline(never)]
fn answer(record: &JoinRecord, result: RawResult, canceled: bool) {
    record.result.set(result);
    record.canceled.set(canceled);
    record.has_result.set(!canceled);
    match record.joiner {
        Joiner::Task(_, home) | Joiner::Case(.., home) => {
            // SAFETY: `owed` counts this link; it is in no list.
            let posted = unsafe { home.post_pinned(record.link(), kind::JOINED) };
            debug_assert!(posted, "its executor has the joiner attached");
        }
        Joiner::Thread(waiter) => waiter.answer(result),
    }
}

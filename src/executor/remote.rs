//! What other threads may ask, and how the owner takes it in.

use core::cell::Cell;
use core::ops::Range;
use core::ptr::{self, NonNull};

use super::head::inc;
use super::join::{self, JoinRecord};
use super::mailbox::{kind, Mailbox};
use super::park::ParkRecord;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::intrusive::{Chain, Link, Reversal};
use crate::stack::asked::Walk;
use crate::sys::backoff::Backoff;
use crate::task::header::{mark, Task, TaskRef, Waits};
use crate::task::requests::{look_at, Marked};
use crate::ticks;
use crate::uring::kernel::Kernel;

/// How many entries of an inbox are turned round in one look: each is a line from another
/// processor.
const TURNED_MAX: usize = 1024;

/// So many launches in one look are a stream of them, with which this executor keeps up. Then each
/// look takes the mailbox's line from who launches, for a few: so it is given some 0.2 us to bring
/// more. Who waits for an answer to what it sent comes alone.
const FEW: Range<usize> = 4..64;
const PAUSES: usize = 16;

/// How many words of marks are read in one look: of 64 tasks each, in a row.
const WORDS_MAX: usize = 4096;

/// ANY THREAD. Lock-free. Wakes the executor only if it sleeps or is about to. ESHUTDOWN, with the
/// task as it was, if the mailbox is closed, which only a pin without the caller's word can meet.
pub fn attach(mailbox: &'static Mailbox, task: TaskRef) -> Res<()> {
    let before = attach_begin(mailbox, task)?;
    attach_end(mailbox, task, before)
}

/// The first half: claims the task. The executor does not know of it yet, but a request to cancel
/// it may come by another way and overtake it. (In two halves for the simulation.) What the task
/// was before.
pub fn attach_begin(mailbox: &'static Mailbox, task: TaskRef) -> Res<u8> {
    attach_begin_with(mailbox, task, || 0)
}

/// The same; `fill` is called once the task is claimed, and gives its first marks.
pub(super) fn attach_begin_with(
    mailbox: &'static Mailbox,
    task: TaskRef,
    fill: impl FnOnce() -> u8,
) -> Res<u8> {
    // Its lines are at the processor that ran it last: asked for together, they come together.
    task.prefetch_to_write();
    mailbox.inbox.prefetch();
    if task.head.user_code.get().is_none() {
        return Err(Errno(libc::EINVAL));
    }
    let before = task.state().claim().ok_or(Errno(libc::EBUSY))?;
    let now = if mailbox.tracks() { ticks::now() } else { 0 };
    let marks = fill();
    let mailbox_at = ptr::from_ref(mailbox).cast_mut().cast();
    task.prepare(mailbox.executor(), mailbox_at, now, (Waits::Nothing, 0), marks);
    Ok(before)
}

/// Posts a task that `attach_begin` has claimed.
pub fn attach_end(mailbox: &'static Mailbox, task: TaskRef, before: u8) -> Res<()> {
    // SAFETY: the task was idle, so its link is free, and it stays until it has exited. The
    // executor is kept by the caller's word or a pin.
    let post = || unsafe { mailbox.post(task.link_ptr(), kind::LAUNCH) };
    let mut backoff = Backoff::new();
    while !post() {
        // Closed by this very thread: who is told of an exit during the last mail, and would wait
        // for itself.
        if mailbox.is_gone() || mailbox.is_mine() {
            return Err(refused(task, before));
        }
        backoff.wait(); // It goes, or has found work, and opens again.
    }
    Ok(())
}

/// The executor is gone: the task is idle again, and who joined this run in between is told.
#[cold]
fn refused(task: TaskRef, before: u8) -> Errno {
    join::answer_refused(task);
    task.unmark(mark::HOOKED);
    task.exited();
    task.state().unclaim(before);
    Errno(libc::ESHUTDOWN)
}

/// ANY THREAD. Lock-free. The run that is attached now, to the executor with that mailbox, or to
/// any: ENOENT if there is none. Takes effect when the executor looks at its mailbox, if it is
/// attached still.
pub fn cancel(expected: Option<&'static Mailbox>, task: TaskRef) -> Res<()> {
    let (run, mailbox) = task.state().attached_run().ok_or(Errno(libc::ENOENT))?;
    // SAFETY: attached, so it was set, and mailboxes live for ever.
    let mailbox = unsafe { &*mailbox.cast::<Mailbox>() };
    if expected.is_some_and(|expected| !ptr::eq(expected, mailbox)) {
        return Err(Errno(libc::ENOENT));
    }
    if !mailbox.is_of_this_process() {
        return Err(Errno(libc::EPERM));
    }
    if task.state().ask_cancel(run) {
        mailbox.pinned(|| mailbox.request(task));
    }
    Ok(())
}

impl TaskRef {
    /// Readies an idle task, the caller's, for its launch, and says that it is attached; `place` is
    /// where it waits for that, and at which level.
    #[inline(always)]
    pub(super) fn prepare(
        self,
        executor: *mut core::ffi::c_void,
        mailbox: *mut core::ffi::c_void,
        now: u64,
        place: (Waits, u8),
        marks: u8,
    ) {
        self.state().begin(executor, mailbox);
        self.begin_in(place, marks);
        self.launched(now);
        self.state().attached();
    }
}

impl<K: Kernel> Executor<K> {
    /// ANY THREAD, also in a signal handler.
    pub fn wake(&self) {
        self.mailbox.ask_wake();
    }

    pub fn mailbox(&self) -> &'static Mailbox {
        self.mailbox
    }

    /// Mail that has not been dealt with.
    #[inline(always)]
    pub(super) fn has_mail_left(&self) -> bool {
        self.mailbox.inbox.has_any() || self.mail_taken.get()
    }

    /// Some of that is of a run, or a launch. As nothing is attached, no more comes of the first,
    /// once nobody asks: see `Mailbox::post_of_run`.
    pub(super) fn has_posts(&self) -> bool {
        let (mail, turning) =
            (self.mail.replace(Chain::EMPTY), self.turning.replace(Reversal::NONE));
        let any = !mail.is_empty() || !turning.is_empty() || self.mailbox.inbox.has_entries();
        self.mail.set(mail);
        self.turning.set(turning);
        any
    }

    /// Takes in what other threads left: so much at most, in order.
    #[cold]
    #[inline(never)]
    pub(super) fn collect_mailbox(&self, now: u64) {
        let mut turning = self.turning.replace(Reversal::NONE);
        let mut mail = self.mail.replace(Chain::EMPTY);
        if mail.is_empty() {
            if turning.is_empty() && self.mailbox.inbox.has_any() {
                if FEW.contains(&self.launches_came.take()) {
                    (0..PAUSES).for_each(|_| core::hint::spin_loop());
                }
                let taken = self.mailbox.inbox.take();
                turning = taken.entries;
                self.more_mail.set(!turning.is_empty());
                if taken.notified {
                    self.notified();
                }
                // A wake-up, and no mail.
                if self.walk.get().is_over() && turning.is_empty() {
                    return self.mail_taken.set(false);
                }
            }
            let turned = turning.step(TURNED_MAX, |link, what| {
                if what == kind::LAUNCH {
                    // SAFETY: `kind` says what the link is part of.
                    unsafe { TaskRef::from_link(link) }.prefetch_to_write();
                }
            });
            mail = turned.unwrap_or(Chain::EMPTY);
        }
        let turns = !turning.is_empty();
        self.more_mail.set(turns || !mail.is_empty());
        if !self.walk.get().is_over() {
            self.walk_marked(now);
        }
        self.deal_with_mail(&mut mail, turns, now);
        let is_over = mail.is_empty() && turning.is_empty() && self.walk.get().is_over();
        self.mail_taken.set(!is_over);
        self.more_mail.set(false);
        self.turning.set(turning);
        self.mail.set(mail);
    }

    /// Some of what was taken out, in order; `turns`: more comes behind it.
    ///
    /// Most mail is launches: those in a row become ready as a batch, and are counted as one. What
    /// may call a function of others', which may look at the executor, finds all settled.
    #[inline(always)]
    fn deal_with_mail(&self, mail: &mut Chain, turns: bool, now: u64) {
        let (ready, launches) = (self.ready.several(), Cell::new(0));
        let settle = || {
            ready.finish();
            let (pending, came) = (&self.head.tasks_pending_launch, launches.take());
            pending.set(pending.get() + came);
            self.launches_came.set(self.launches_came.get() + came);
        };
        let mut budget = self.budget(now);
        loop {
            let step = budget.take_step();
            for _ in 0..step {
                let Some((link, what)) = mail.pop() else { return settle() };
                // SAFETY: `kind` says what the link is part of.
                if what == kind::LAUNCH && self.is_launched(unsafe { TaskRef::from_link(link) }) {
                    // SAFETY: as above.
                    ready.push(unsafe { TaskRef::from_link(link) });
                    launches.set(launches.get() + 1);
                    continue;
                }
                settle();
                self.more_mail.set(turns || !mail.is_empty());
                self.deal_with(link, what);
            }
            if step == 0 {
                return settle();
            }
        }
    }

    fn notified(&self) {
        if let Some(meter) = self.meter() {
            meter.wakeups.add(1);
        }
        if self.mailbox.take_wake() {
            self.woken.set(true);
        }
        let all = self.mailbox.requests.take(|address| {
            // SAFETY: others add addresses of tasks.
            let task = unsafe { TaskRef::new(NonNull::new_unchecked(address as *mut Task)) };
            self.cancel_requested(task);
        });
        if !all {
            match self.walk.get().is_over() {
                true => self.walk.set(Walk::new()),
                false => self.walk_again.set(true),
            }
        }
    }

    /// Looks at tasks that were marked, as there was no place for their names: some, and the rest
    /// at the next look.
    fn walk_marked(&self, now: u64) {
        let (mut walk, mut words) = (self.walk.get(), WORDS_MAX);
        let mut budget = self.budget(now);
        while budget.take() {
            let Some(place) = walk.step(&mut words) else { break };
            // SAFETY: only tasks are marked, and headers are never unmapped.
            let task = unsafe { TaskRef::new(place.header().cast()) };
            match look_at(task.state(), self.address(), || place.unmark()) {
                Marked::Cancel => self.cancel_here(task),
                Marked::AskAgain(mailbox) => {
                    // SAFETY: of an executor that has or had the task, and they live for ever.
                    let mailbox = unsafe { &*mailbox.cast::<Mailbox>() };
                    mailbox.pinned(|| mailbox.request(task));
                }
                Marked::Nothing => {}
            }
        }
        if walk.is_over() && self.walk_again.take() {
            walk = Walk::new();
        }
        self.walk.set(walk);
    }

    /// Somebody may have asked to cancel a run of `task`.
    fn cancel_requested(&self, task: TaskRef) {
        if task.state().take_cancel(self.address()) {
            self.cancel_here(task);
        }
    }

    pub(super) fn deal_with(&self, link: NonNull<Link>, what: usize) {
        // SAFETY: `kind` says what each link is part of, and posting handed it over to us.
        unsafe {
            match what {
                kind::LAUNCH => self.launched(TaskRef::from_link(link)),
                kind::JOIN => self.join_asked(JoinRecord::from_link(link)),
                kind::JOINED => self.join_answered(JoinRecord::from_link(link)),
                kind::UNJOIN => self.unjoin_asked(JoinRecord::from_unlink(link)),
                kind::UNJOINED => self.join_answered(JoinRecord::from_unlink(link)),
                kind::UNPARK => self.unparked(ParkRecord::task_of(link)),
                kind::GRANT => self.grant_arrived(link),
                kind::BATCH => self.batch_is_back(link),
                _ => debug_assert!(false, "no such message"),
            }
        }
    }

    /// What was launched elsewhere is to become ready; false: it was cancelled before it came.
    #[inline(always)]
    fn is_launched(&self, task: TaskRef) -> bool {
        debug_assert!(task.waits.get() == Waits::Nothing);
        // The link of a header is in no other inbox than that of who has the task.
        debug_assert!(task.state().is_attached_to(self.address()));
        if task.has(mark::ASKED) {
            return false;
        }
        if self.watches(by::TRACED) {
            self.watched_launch(task, true);
        }
        true
    }

    fn launched(&self, task: TaskRef) {
        if !self.is_launched(task) {
            return self.never_launch(task);
        }
        inc(&self.head.tasks_pending_launch);
        self.ready.push(task);
    }
}

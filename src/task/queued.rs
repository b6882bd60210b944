//! A task that waits in a queue for an executor: rule 6 of `task::state`. The loom models run this
//! code, too.

use core::ffi::c_void;

use super::state::{Run, TaskState, ATTACHED, QUEUED};
use crate::atomic::Ordering::{Relaxed, Release};

/// In the address of a queue where a mailbox is expected.
const QUEUE_BIT: usize = 1;

#[inline(always)]
pub(super) fn is_queue(at: *mut c_void) -> bool {
    at.addr() & QUEUE_BIT != 0
}

/// What tells a queue from a mailbox, for words that name either.
pub fn queue_mark(queue: *mut c_void) -> *mut c_void {
    queue.map_addr(|at| at | QUEUE_BIT)
}

/// The queue that was marked; None: it is a mailbox.
pub fn marked_queue(at: *mut c_void) -> Option<*mut c_void> {
    is_queue(at).then(|| at.map_addr(|at| at & !QUEUE_BIT))
}

/// Where a look from outside finds a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Queue(Run, *mut c_void),
    Leaving,
    /// Attached, over, or not begun.
    Elsewhere,
}

/// Any thread, at any time.
impl TaskState<'_> {
    /// The run that is queued, and where; None if it is not. Out of date at once, unless one holds
    /// the lock of that queue.
    pub fn queued_run(self) -> Option<(Run, *mut c_void)> {
        let run = self.run_begun();
        let queued = self.run_state() == QUEUED;
        // A mailbox by now: the run was taken in between.
        let queue = marked_queue(self.place())?;
        // Relaxed: read after the acquires above.
        (queued && self.run.load(Relaxed) == run).then_some((run, queue))
    }

    /// As `queued_run`; and a run that is about to leave its queue is told from one that is in
    /// none: an executor takes it, and has it attached a handful of instructions later.
    pub fn place_of_run(self) -> Place {
        match self.queued_run() {
            Some((run, queue)) => Place::Queue(run, queue),
            // In this order: the place shows it first.
            None if self.run_state() == QUEUED && !is_queue(self.place()) => Place::Leaving,
            None => Place::Elsewhere,
        }
    }
}

impl TaskState<'_> {
    /// The next run begins, in a queue, by who holds its lock. The plain fields are filled in.
    pub fn queued(self, queue: *mut c_void) {
        // Release, all: as in `begin`, and `attached`.
        self.run.store(self.run.load(Relaxed) + 1, Release);
        self.mailbox.store(queue_mark(queue), Release);
        self.run_state.store(QUEUED, Release);
    }

    /// The run that is queued leaves for an executor of these addresses; by the executor's thread,
    /// which holds the queue's lock.
    pub fn taken(self, executor: *mut c_void, mailbox: *mut c_void) {
        // Release, both: as in `begin`, and `attached`. The place before the state: who sees it
        // attached must not take the queue for its mailbox.
        self.mailbox.store(mailbox, Release);
        // Relaxed: only the executor's own thread, which this is, looks for this address there.
        self.executor.store(executor, Relaxed);
        self.run_state.store(ATTACHED, Release);
    }

    /// A claim is given up, and no run began.
    pub fn give_up(self, before: u8) {
        // Release: what the claim was for wrote to the plain fields.
        self.run_state.store(before, Release);
    }
}

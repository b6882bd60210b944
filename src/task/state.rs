//! What threads share of a task: where it stands between attach and exit, which run that is, and
//! who asked to cancel it. These words of its header, and every operation on them. Touches nothing
//! else; the loom models run this code, at the orderings it asks for.
//!
//! ```text
//!            claim                attached                exited
//! FRESH  ------------> CLAIMED --------------> ATTACHED ----------> EXITED
//!   |      (foreign)   |  ^                    ^  ^                 |  |
//!   `------------------|--|---- attached ------|--+-----------------'  |
//!               queued |  |     (owner)        | taken                 |
//!                      |  `--------------- claim ----------------------'
//!                      '------> QUEUED --------'
//! ```
//!
//! A task in the queue of a pool is QUEUED: of no executor yet, and the queue's. It leaves that to
//! be ATTACHED, or ends without having begun.
//!
//! A **run** is one attachment, from attach to exit. Its number differs from that of every other
//! run of any task that ever lived at the same address, and grows. Whatever one thread tells
//! another about a task names (task, run).
//!
//! Rules:
//!
//! 1. Who attaches a task, owner or foreign, first saw (acquire) that its last run was over.
//! 2. `run` and `executor` say which run it is, and whose, before `run_state` says that it is
//!    attached; until then the plain fields are those of the thread that attaches it.
//! 3. An executor's thread alone ends what is attached there: of `executor` and `run_state`, it may
//!    find out of date only what others do.
//! 4. `result` is published with its run: [`TaskState::result_of`] gives it for that run alone.
//! 5. `run` changes before everything else of a new run: who reads it, then other words, then finds
//!    it unchanged, has words of that run or of the one before its attach.
//! 6. A run is queued once at most, before it is attached. While it is, its words and plain fields
//!    are those of who holds the queue's lock, and `mailbox` names the queue, by a set lowest bit:
//!    who has read that takes the lock, and looks again.

use core::ffi::c_void;
use core::ptr;

use super::queued;
use crate::atomic::{
    fence, AtomicPtr, AtomicU64, AtomicU8,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Never attached.
pub const FRESH: u8 = 0;
/// From attach until its exit is published.
pub const ATTACHED: u8 = 1;
/// Its last run is over; `result` may be read.
pub const EXITED: u8 = 2;
/// Claimed by a thread that attaches it, and says so before it has filled it in.
pub const CLAIMED: u8 = 3;
/// In the queue of a pool.
pub const QUEUED: u8 = 5;

/// Somebody's: neither to be attached nor to be destroyed.
#[inline(always)]
const fn is_taken(run_state: u8) -> bool {
    run_state & 1 != 0
}

/// The number of a run. No run has number 0.
pub type Run = u64;

/// The shared words of one task, wherever its header keeps them.
#[derive(Clone, Copy)]
pub struct TaskState<'a> {
    pub run_state: &'a AtomicU8,
    /// The number of the run that is attached, or was last.
    pub run: &'a AtomicU64,
    /// The executor it was last attached to; never null once attached.
    pub mailbox: &'a AtomicPtr<c_void>,
    /// Null while idle. Any thread may compare it, only the owner follows it.
    pub executor: &'a AtomicPtr<c_void>,
    /// A `RawResult`.
    pub result: &'a [AtomicU64; 2],
    /// The run that other threads asked to cancel; 0: none, or the owner has taken it.
    pub cancel_run: &'a AtomicU64,
}

/// Any thread, at any time, also of a task that was destroyed.
impl TaskState<'_> {
    #[inline(always)]
    pub fn run_state(self) -> u8 {
        // Acquire: pairs with `attached` (where, and which run) and `exited` (the result).
        self.run_state.load(Acquire)
    }

    #[inline(always)]
    pub fn is_taken(self) -> bool {
        is_taken(self.run_state())
    }

    #[inline(always)]
    pub fn has_exited(self) -> bool {
        self.run_state() == EXITED
    }

    /// The mailbox of who has it attached, or had last, or will have at once; null while it is
    /// queued.
    #[inline(always)]
    pub fn mailbox(self) -> *mut c_void {
        let at = self.place();
        if queued::is_queue(at) {
            return ptr::null_mut();
        }
        at
    }

    /// Whether `mailbox` would give this one.
    #[inline(always)]
    pub fn is_of(self, mailbox: *const c_void) -> bool {
        self.place().cast_const() == mailbox // None is where a queue is.
    }

    #[inline(always)]
    pub(super) fn place(self) -> *mut c_void {
        // Acquire: pairs with the release in `begin`; the mailbox was made before.
        self.mailbox.load(Acquire)
    }

    /// The run that began last.
    #[inline(always)]
    pub(super) fn run_begun(self) -> Run {
        // Acquire: pairs with the release in `begin` (rule 5); the run before this one is seen to
        // be over.
        self.run.load(Acquire)
    }

    /// The run that is attached, and the mailbox of its executor; None if none is.
    pub fn attached_run(self) -> Option<(Run, *mut c_void)> {
        let run = self.run_begun();
        // Acquire, both: words of a later run show that its `run` was written.
        let attached = self.run_state() == ATTACHED;
        let mailbox = self.mailbox();
        // Relaxed: read after the acquires above.
        (attached && self.run.load(Relaxed) == run).then_some((run, mailbox))
    }

    /// The last run, and its result; None unless that is over, and while another thread attaches
    /// the task again, whose executor may be writing the next.
    ///
    /// An owner's attach publishes `run` before `run_state`: a read that starts between the two,
    /// and ends when that run is over, finds the number unchanged all the same, with a word of one
    /// result and a word of the other. One that starts after it does not. So two reads, which must
    /// agree.
    pub fn settled(self) -> Option<(Run, [u64; 2])> {
        let first = self.look()?;
        (self.look()? == first).then_some(first)
    }

    /// The result of that run; None if it is not over, or a later one may have overwritten it.
    pub fn result_of(self, run: Run) -> Option<[u64; 2]> {
        self.settled().and_then(|(last, result)| (last == run).then_some(result))
    }

    fn look(self) -> Option<(Run, [u64; 2])> {
        let run = self.run_begun();
        if !self.has_exited() {
            return None;
        }
        let result = self.result();
        // Pairs with the release in `set_result`: if that was of a later run, it shows below.
        fence(Acquire);
        (self.run.load(Relaxed) == run).then_some((run, result))
    }

    /// Claims an idle task for a thread that is not its executor's. What it was before, for
    /// `unclaim`; None: it is somebody's, or another thread was faster.
    #[inline(always)]
    #[must_use]
    pub fn claim(self) -> Option<u8> {
        let idle = self.run_state.load(Relaxed);
        // Acquire: rule 1. An exchange, as another thread may be at the same.
        let claimed = !is_taken(idle)
            && self.run_state.compare_exchange(idle, CLAIMED, Acquire, Relaxed).is_ok();
        claimed.then_some(idle)
    }

    /// A run that is attached is to be cancelled, and its executor has not taken that in: the
    /// mailbox of that.
    pub(super) fn cancel_asked(self) -> Option<*mut c_void> {
        // Relaxed: it is at least what was asked by whom the mark is of, which the caller took by
        // an acquire. Who has asked since tells the executor itself.
        let asked = self.cancel_run.load(Relaxed);
        self.attached_run().and_then(|(run, mailbox)| (run == asked).then_some(mailbox))
    }

    /// Notes that `run`, seen attached, is to be cancelled. True: the caller must tell the
    /// executor; else a request that is on its way, or a later run, makes it needless.
    #[must_use]
    pub fn ask_cancel(self, run: Run) -> bool {
        // The greatest stays: a slow caller must not overwrite what was asked of a later run.
        // Release: what the caller wrote before is visible to the owner that takes it. Acquire: as
        // the request that this one joins may be the caller's own news.
        self.cancel_run.fetch_max(run, AcqRel) < run
    }
}

/// Who has the task: who claimed it; its executor's thread where it is or was not taken.
impl TaskState<'_> {
    /// The next run begins, on the executor of these addresses. The plain fields come next.
    #[inline(always)]
    pub fn begin(self, executor: *mut c_void, mailbox: *mut c_void) {
        // Release, all: a thread that acquires one of them sees that the run before is over, and
        // its state with it, CLAIMED at least if a foreign thread is at it.
        self.run.store(self.run.load(Relaxed) + 1, Release);
        self.mailbox.store(mailbox, Release);
        self.executor.store(executor, Release);
    }

    #[inline(always)]
    pub fn attached(self) {
        // Release: rule 2.
        self.run_state.store(ATTACHED, Release);
    }

    /// The run that began comes to nothing: the executor is gone. The task is what it was before
    /// `claim`, except for the number: who asks for the result of this run must not get that of the
    /// one before.
    pub fn unclaim(self, before: u8) {
        let unused = self.run.load(Relaxed) + 1;
        // Relaxed: told by the next. Who sees that number must not see it attached.
        self.run_state.store(CLAIMED, Relaxed);
        // Release, both: as in `begin`, and in `exited`.
        self.run.store(unused, Release);
        self.executor.store(ptr::null_mut(), Relaxed); // As in `exited`.
        self.run_state.store(before, Release);
    }

    #[inline(always)]
    pub fn set_result(self, result: [u64; 2]) {
        // ThreadSanitizer is not told: that is a call, on the stack of a task that has ended, where
        // operations in flight may lie. It is told of `run_state`'s release, which comes later.
        #[cfg(feature = "tsan")]
        {
            self.result[0].store_untold(result[0]);
            self.result[1].store_untold(result[1]);
        }
        // Release: who reads one of them unasked sees that this run has begun.
        #[cfg(not(feature = "tsan"))]
        {
            self.result[0].store(result[0], Release);
            self.result[1].store(result[1], Release);
        }
    }

    /// The last touch of a run: from here on the task may be attached elsewhere, or destroyed.
    #[inline(always)]
    pub fn exited(self) {
        // Relaxed: tells nothing; an executor only looks for its own address.
        self.executor.store(ptr::null_mut(), Relaxed);
        // Release: the result, all stamps and what user_code wrote come first.
        self.run_state.store(EXITED, Release);
    }

    /// The task is destroyed.
    pub(crate) fn forget(self) {
        // Relaxed: nobody may use it any more, and who does finds it idle.
        self.run_state.store(FRESH, Relaxed);
    }
}

/// The thread of the executor at `executor`.
impl TaskState<'_> {
    /// It is attached here, so its plain fields are ours. In this order: the other way round it
    /// might be attached elsewhere at the first look, and be about to come here at the second.
    #[inline(always)]
    pub fn is_attached_to(self, executor: *mut c_void) -> bool {
        // Acquire: pairs with the release in `begin`.
        self.executor.load(Acquire) == executor && self.run_state() == ATTACHED
    }

    /// The one question of every message: whether that very run is attached here. The number is
    /// looked at last: what is attached here stays what it is, as this thread alone ends it (rule
    /// 3).
    #[inline(always)]
    pub fn is_run_attached_to(self, executor: *mut c_void, run: Run) -> bool {
        self.is_attached_to(executor) && self.run() == run
    }

    /// Which run this is. While attached here, or as a number that may be out of date.
    #[inline(always)]
    pub fn run(self) -> Run {
        // Relaxed: our own, or a number to compare with.
        self.run.load(Relaxed)
    }

    /// Takes the request to cancel the run that is attached here, if there is one. Requests for
    /// other runs stay: those of earlier ones do no harm, and a later one is another executor's.
    #[must_use]
    pub fn take_cancel(self, executor: *mut c_void) -> bool {
        // Relaxed: a number to compare with.
        let run = self.cancel_run.load(Relaxed);
        if run == 0 || !self.is_run_attached_to(executor, run) {
            return false;
        }
        // It cannot have grown, as this run is attached. Who asks from here on must tell us again.
        // Acquire: pairs with `ask_cancel`.
        self.cancel_run.swap(0, Acquire) == run
    }

    /// As of now. In EXITED, or on the thread that writes the next.
    #[inline(always)]
    pub fn result(self) -> [u64; 2] {
        [self.result[0].load(Relaxed), self.result[1].load(Relaxed)]
    }
}

//! Where a task stands between attach and exit, as other threads may see it: the words of its header
//! that they share, and every operation on them. Touches nothing else; `tests/loom_cancel.rs` and
//! `tests/loom_join.rs` try it under the interleavings that loom finds, at the orderings it asks for.
//!
//! ```text
//!            claim                attached                exited
//! FRESH  ------------> CLAIMED --------------> ATTACHED ----------> EXITED
//!   |      (foreign)      ^                       ^                 |  |
//!   `---------------------|---- attached ---------+-----------------'  |
//!                         |     (owner)                                |
//!                         `--------------- claim ----------------------'
//! ```
//!
//! Rules:
//!
//! 1. Who attaches a task, owner or foreign, first saw (acquire) that its last run was over.
//! 2. `seq` and `executor` say which run it is, and whose, before `run_state` says that it is attached;
//!    while it was not said, the plain fields are those of the thread that attaches it.
//! 3. An executor's thread alone ends what is attached there: of `executor` and `run_state`, it may
//!    find out of date only what others do.
//! 4. `result` may be read by anyone in EXITED, and by who does not know what others do with the
//!    task only by [`TaskState::settled_result`].

use core::ffi::c_void;
use core::ptr;
#[cfg(not(loom))]
use core::sync::atomic::{
    fence, AtomicPtr, AtomicU64, AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};
#[cfg(loom)]
use loom::sync::atomic::{
    fence, AtomicPtr, AtomicU64, AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};

/// Never attached.
pub const FRESH: u8 = 0;
/// From attach until its exit is published.
pub const ATTACHED: u8 = 1;
/// Its last run is over; `result` may be read.
pub const EXITED: u8 = 2;
/// Claimed by a thread that attaches it, and says so before it has filled it in.
pub const CLAIMED: u8 = 3;

/// Somebody's: neither to be attached nor to be destroyed.
#[inline(always)]
const fn is_taken(run_state: u8) -> bool {
    run_state & 1 != 0
}

/// The shared words of one task, wherever its header keeps them.
#[derive(Clone, Copy)]
pub struct TaskState<'a> {
    pub run_state: &'a AtomicU8,
    /// Attachments so far, never the same number twice at one address.
    pub seq: &'a AtomicU64,
    /// Of the executor it was last attached to; never null once attached.
    pub mailbox: &'a AtomicPtr<c_void>,
    /// Null while idle. Any thread may compare it, only the owner follows it.
    pub executor: &'a AtomicPtr<c_void>,
    /// A `RawResult`.
    pub result: &'a [AtomicU64; 2],
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

    /// Which run this is.
    #[inline(always)]
    pub fn seq(self) -> u64 {
        // Relaxed: a number to compare with; what is touched because of it waits for the state.
        self.seq.load(Relaxed)
    }

    /// The mailbox of who has it attached, or had last, or will have at once.
    #[inline(always)]
    pub fn mailbox(self) -> *mut c_void {
        // Acquire: pairs with the release in `begin`; the mailbox was made before.
        self.mailbox.load(Acquire)
    }

    /// The result of its last run; None if another thread has attached it again meanwhile, whose
    /// executor may be writing the next.
    ///
    /// Of an owner's attach the number is seen before the state: a look that begins between the two,
    /// and ends when that run is over, finds the number unchanged all the same, with a word of one
    /// result and a word of the other. One that begins after it does not: so two looks, which must
    /// agree.
    pub fn settled_result(self) -> Option<[u64; 2]> {
        let first = self.look()?;
        (self.look()? == first).then_some(first.1)
    }

    fn look(self) -> Option<(u64, [u64; 2])> {
        // Acquire: pairs with the release in `begin`; the run before this one is seen to be over.
        let seq = self.seq.load(Acquire);
        if !self.has_exited() {
            return None;
        }
        let result = self.result();
        // Pairs with the release in `set_result`: if that was of a later run, it shows below.
        fence(Acquire);
        (self.seq() == seq).then_some((seq, result))
    }

    /// Claims an idle task for a thread that is not its executor's. False: it is somebody's, or
    /// another thread was faster.
    #[inline(always)]
    #[must_use]
    pub fn claim(self) -> bool {
        let idle = self.run_state.load(Relaxed);
        // Acquire: rule 1. An exchange, as another thread may be at the same.
        !is_taken(idle) && self.run_state.compare_exchange(idle, CLAIMED, Acquire, Relaxed).is_ok()
    }
}

/// Who has the task: who claimed it; its executor's thread where it is or was not taken.
impl TaskState<'_> {
    /// The next run begins, on the executor of these addresses. The plain fields come next.
    #[inline(always)]
    pub fn begin(self, executor: *mut c_void, mailbox: *mut c_void) {
        // Release, all: whoever acquires one of them sees that the run before is over, and its run_state
        // with it, CLAIMED at least if a foreign thread is at it.
        self.seq.store(self.seq.load(Relaxed) + 1, Release);
        self.mailbox.store(mailbox, Release);
        self.executor.store(executor, Release);
    }

    #[inline(always)]
    pub fn attached(self) {
        // Release: rule 2.
        self.run_state.store(ATTACHED, Release);
    }

    #[inline(always)]
    pub fn set_result(self, result: [u64; 2]) {
        // Release: who reads one of them unasked sees that this run has begun.
        self.result[0].store(result[0], Release);
        self.result[1].store(result[1], Release);
    }

    /// The last touch of a run: from here on the task may be attached elsewhere, or destroyed.
    #[inline(always)]
    pub fn exited(self) {
        // Release, both: the result, all stamps and what user_code wrote come first.
        self.executor.store(ptr::null_mut(), Release);
        self.run_state.store(EXITED, Release);
    }

    /// The task is destroyed.
    pub fn forget(self) {
        // Relaxed: nobody may use it any more, and who does finds it idle.
        self.run_state.store(FRESH, Relaxed);
    }
}

/// The thread of the executor at `executor`.
impl TaskState<'_> {
    /// It is the last it was given to; the run before, if not this one, is over.
    #[inline(always)]
    pub fn is_of(self, executor: *mut c_void) -> bool {
        // Acquire: pairs with the release in `begin`.
        self.executor.load(Acquire) == executor
    }

    /// It is attached here, so its plain fields are ours. In this order: the other way round it might
    /// be attached elsewhere at the first look, and be about to come here at the second.
    #[inline(always)]
    pub fn is_attached_to(self, executor: *mut c_void) -> bool {
        self.is_of(executor) && self.run_state() == ATTACHED
    }

    /// As of now. In EXITED, or on the thread that writes the next.
    #[inline(always)]
    pub fn result(self) -> [u64; 2] {
        [self.result[0].load(Relaxed), self.result[1].load(Relaxed)]
    }
}

//! Where jobs are put while many wait: behind a lock of its own, so that who puts them in and who
//! takes what waits do not take the lines of the queue from each other for each.
//!
//! 1. It is opened and shut under the queue's lock, its own taken inside that. While it is open no
//!    worker sleeps, more are queued than anybody waits for, no task waits in the queue, and the
//!    queue is not closed: who puts a job in has nobody to wake or to tell, and no other order to
//!    keep. Before anything of that changes it is shut (`lock_whole`, `stay_far`).
//! 2. What is in here came after all that waits at its level in the queue. All of it is moved
//!    there, behind that, when a worker finds nothing as high in the queue, and when it is shut:
//!    O(levels).
//! 3. Its chunks are the queue's, which it has while it is open; where it has no more it is shut.
//! 4. It is shut, too, where it brought few: then the one lock is less than two.

use core::ptr::{self, NonNull};

use super::jobs::{Apart, Chunk, Posted};
use super::queue::{Queue, State, NO_LEVEL};
use crate::atomic::Ordering::Relaxed;
use crate::prefetch;
use crate::sys::lock::{Guard, Lock};

/// What is moved at a time pays for the second lock if it is so many.
const FEW: usize = 8;

#[repr(C, align(128))]
pub(super) struct Intake(Lock<Inside>);

#[repr(C)]
struct Inside {
    is_open: bool,
    /// How many are in here.
    count: usize,
    /// Of each of them: see `Posted`. No task waits that came later, says rule 1.
    number: usize,
    apart: Apart,
}

// SAFETY: what it points to is touched under the lock alone.
unsafe impl Send for Inside {}

/// What became of a job.
pub(super) enum Put {
    Done,
    /// The intake is shut, or has no chunk for it: it is for the queue, which has all.
    NotHere,
}

impl Intake {
    pub(super) const fn new() -> Self {
        Self(Lock::new(Inside { is_open: false, count: 0, number: 0, apart: Apart::new() }))
    }
}

impl Queue {
    /// A hint: the intake is open.
    #[inline(always)]
    pub(super) fn parts(&self) -> bool {
        // Relaxed: who finds it shut, and has not seen what came before, shuts it. Nobody is sent
        // past his own jobs in there, whose intake he has seen open.
        self.fixed.parts.load(Relaxed)
    }

    /// Asks for the line of its lock.
    #[inline(always)]
    pub(super) fn fetch_intake(&self) {
        prefetch::line_to_write(ptr::from_ref(&self.intake).addr());
    }

    /// ANY THREAD.
    #[inline(always)]
    pub(super) fn put_apart(&self, mut job: Posted, level: u8) -> Put {
        let mut inside = self.intake.0.lock();
        if !inside.is_open {
            return Put::NotHere;
        }
        job.number = inside.number;
        let before = inside.apart.levels();
        if !inside.apart.push(job, level) {
            return Put::NotHere;
        }
        inside.count += 1;
        let levels = inside.apart.levels();
        if levels != before {
            // Relaxed: a hint, as `occupied`.
            self.came.store(levels, Relaxed);
        }
        Put::Done
    }

    /// Under the lock: more wait than a few. Opens it, if rule 1 lets.
    #[inline(always)]
    pub(super) fn part(&self, state: &mut State) {
        let may = state.idle.is_null() && state.is_far() && state.levels.may_lend();
        if may && !(state.parts || state.closed || state.levels.has_tasks()) {
            self.open_intake(state);
        }
    }

    #[cold]
    #[inline(never)]
    fn open_intake(&self, state: &mut State) {
        let mut inside = self.intake.0.lock();
        inside.is_open = true;
        inside.number = state.number;
        state.levels.lend(&inside.apart);
        drop(inside);
        state.parts = true;
        self.fixed.parts.store(true, Relaxed);
    }

    /// Under the lock, of a worker that takes what is next: rule 2.
    #[inline(always)]
    pub(super) fn take_in(&self, state: &mut State) {
        let came = self.came.load(Relaxed);
        if came != 0 && came.trailing_zeros() < u32::from(state.level()) {
            self.move_all(state, FEW);
        }
    }

    /// Under the lock, of a worker that is about to take what is next: whoever waits is to be told
    /// in time.
    #[inline(always)]
    pub(super) fn stay_far(&self, state: &mut State) {
        if state.parts && state.until_near() == 0 {
            self.move_all(state, usize::MAX);
        }
    }

    /// The lock, with nothing in the intake, which is shut.
    #[inline(always)]
    pub(super) fn lock_whole(&self) -> Guard<'_, State> {
        let mut state = self.lock_row();
        if state.parts {
            self.move_all(&mut state, usize::MAX);
        }
        state
    }

    /// The lock, with nothing in the intake.
    pub(super) fn lock_counted(&self) -> Guard<'_, State> {
        let mut state = self.lock_row();
        if state.parts {
            self.move_all(&mut state, 0);
        }
        state
    }

    /// ANY THREAD. A chunk for it, which it has until it is shut.
    pub(super) fn add_to_intake(&self, chunk: NonNull<Chunk>) {
        self.intake.0.lock().apart.add(chunk);
    }

    /// Under the lock; it is shut. What it has is the queue's.
    pub(super) fn empty_intake(&self, state: &State) {
        state.levels.take_back(&self.intake.0.lock().apart);
    }

    /// Under the lock. Shuts it where it has fewer than `shut_below`.
    #[cold]
    #[inline(never)]
    fn move_all(&self, state: &mut State, shut_below: usize) {
        let mut inside = self.intake.0.lock();
        state.levels.append(&inside.apart);
        let count = core::mem::take(&mut inside.count);
        state.queued += count;
        self.note(state);
        // After the other hint: what waits is to be seen in one of them.
        self.came.store(0, Relaxed);
        if count < shut_below {
            inside.is_open = false;
            state.levels.take_back(&inside.apart);
            state.parts = false;
            self.fixed.parts.store(false, Relaxed);
        }
        debug_assert!(state.level() != NO_LEVEL || count == 0);
    }
}

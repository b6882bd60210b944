//! How workers take jobs without the queue's lock while many wait: one after the other, in order,
//! those of one chunk, by one exchange each.
//!
//! The window on them is opened under the lock, of who takes one there, and shut under it before
//! anything is done with what waits. It is open only while the intake is: see the rules there. What
//! was taken by it, and what has ended since, is counted when it is shut; nobody waits who could be
//! told before.

use core::mem::MaybeUninit;
use core::ptr;

use super::jobs::{Chunk, Posted};
use super::queue::{Queue, Seat, State, NO_LEVEL, SOME};
use crate::atomic::{AtomicPtr, AtomicU8, Ordering::Relaxed};
use crate::intrusive::window::{Window, GONE_MAX};
use crate::prefetch;
use crate::sys::lock::Guard;

/// Fewer pay for nothing.
const ROW_MIN: usize = 4;

/// A line of its own: it goes from one worker to the other for each job, and nothing else does.
#[repr(C, align(128))]
pub(super) struct Front {
    window: Window,
    /// Of what the window is on; of another one, if it was opened again since.
    chunk: AtomicPtr<Chunk>,
    level: AtomicU8,
}

impl Front {
    pub(super) const fn new() -> Self {
        Self {
            window: Window::new(),
            chunk: AtomicPtr::new(ptr::null_mut()),
            level: AtomicU8::new(NO_LEVEL),
        }
    }
}

impl Queue {
    /// A worker's thread, which is not on its way since it was woken. The next job, which is of
    /// that level, the highest. So many that it took before have ended. False: it is to look under
    /// the lock, and nothing is counted.
    #[inline(always)]
    pub(super) fn take_of_row(
        &self,
        seat: &Seat,
        level: u8,
        ended: u32,
        posted: &mut MaybeUninit<Posted>,
    ) -> bool {
        if !self.parts() || ended > GONE_MAX {
            return false;
        }
        let front = &self.front;
        prefetch::line_to_write(ptr::from_ref(front).addr());
        let taken = front.window.take(ended, |at| {
            // One opened since a resize has told this worker to leave has that in it.
            if front.level.load(Relaxed) != level || seat.is_leaving() {
                return None;
            }
            // SAFETY: it was open, so there is one; chunks are freed when workers have left.
            unsafe { &*front.chunk.load(Relaxed) }.peek(at, posted);
            Some(())
        });
        taken.is_some()
    }

    /// Under the lock; it is shut. More wait than a few: opens it, if they are jobs in a row.
    #[inline(always)]
    pub(super) fn open_row(&self, state: &mut State) {
        if !state.parts {
            return;
        }
        let level = state.level();
        let Some(row) = state.levels.row(level) else { return };
        let len = ((row.end - row.next) as usize).min(state.until_near());
        if len < ROW_MIN {
            return;
        }
        let front = &self.front;
        front.chunk.store(row.chunk.as_ptr(), Relaxed);
        front.level.store(level, Relaxed);
        front.window.open(row.next, row.next + len as u32);
        state.row = level;
    }

    /// Under the lock. Shuts it, and counts what was taken by it.
    #[inline(always)]
    pub(super) fn shut_row(&self, state: &mut State) {
        let level = core::mem::replace(&mut state.row, NO_LEVEL);
        if level != NO_LEVEL {
            let (next, gone) = self.front.window.shut();
            let taken = next - state.levels.next_of_row(level);
            state.levels.leave_out(level, taken);
            state.queued -= taken as usize;
            state.begun = state.begun + taken as usize - gone as usize;
            self.note(state);
        }
    }

    /// The lock, with the window shut.
    #[inline(always)]
    pub(super) fn lock_row(&self) -> Guard<'_, State> {
        let mut state = self.lock();
        self.shut_row(&mut state);
        state
    }
}

impl State {
    /// So many may begin before anybody who waits is to be told.
    pub(super) fn until_near(&self) -> usize {
        if self.waiting == 0 {
            return usize::MAX;
        }
        self.queued.saturating_sub(self.most_awaited() + 1)
    }

    /// Nobody waits, or there is time to look whether that is over.
    pub(super) fn is_far(&self) -> bool {
        self.waiting == 0 || self.until_near() > SOME
    }
}

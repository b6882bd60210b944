//! One end of a bounded queue whose two ends are used at the same time, each behind a latch of its
//! own: where it stands, and what it knows of the other. The loom models run this code.
//!
//! ```text
//!   latch -- End (putting)   at --->  slot slot slot slot  <--- at   End (taking) -- latch
//! ```
//!
//! 1. A position counts slots, and starts again after twice the capacity: so a full queue is told
//!    from an empty one. Each end moves its own, with its latch closed, once the slot is written or
//!    read; the other end learns of it by that.
//! 2. As long as it knows of room, or of something to take, an end does not look at the other: its
//!    line stays with the thread that uses it.
//! 3. `alone` says that this end may be used behind its latch alone: nobody waits at either, and
//!    the queue is open. It changes behind both latches, so who holds one of them may go by it.

#[cfg(not(loom))]
use core::cell::Cell;
#[cfg(loom)]
use loom::cell::Cell;

use crate::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use super::turns::Turns;

/// Zeros are the end of an empty queue, that takes both latches.
#[repr(C)]
pub struct End {
    at: AtomicUsize,
    /// Where the other end was when it was looked at last.
    other: Cell<usize>,
    alone: AtomicBool,
    /// A hint, of any thread's.
    pub turns: Turns,
}

/// How many slots lie between the two positions.
fn between(put: usize, taken: usize, capacity: usize) -> usize {
    if put >= taken {
        put - taken
    } else {
        2 * capacity - (taken - put)
    }
}

/// The latch of this end is closed, and `capacity` is at most `isize::MAX` and never changes.
impl End {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let (at, other, alone) = (AtomicUsize::new(0), Cell::new(0), AtomicBool::new(false));
        Self { at, other, alone, turns: Turns::new() }
    }

    /// Also without the latch: a hint then.
    #[inline(always)]
    pub fn is_alone(&self) -> bool {
        // Relaxed: rule 3.
        self.alone.load(Relaxed)
    }

    /// Both latches are closed.
    #[inline(always)]
    pub fn set_alone(&self, alone: bool) {
        // Not written where it is so already: the line is the end's.
        if self.alone.load(Relaxed) != alone {
            self.alone.store(alone, Relaxed);
        }
    }

    /// The slot that is next at this end.
    #[inline(always)]
    pub fn slot(&self, capacity: usize) -> usize {
        let at = self.at.load(Relaxed);
        if at < capacity {
            at
        } else {
            at - capacity
        }
    }

    /// The slot that is next is written, or read.
    #[inline(always)]
    pub fn advance(&self, capacity: usize) {
        let next = self.at.load(Relaxed) + 1;
        // Release: what was done with the slot, for the other end.
        self.at.store(if next == 2 * capacity { 0 } else { next }, Release);
    }

    /// This end has to wait: whether to yield to who uses the other one, if that is near.
    #[inline]
    pub fn is_yield_due(&self, capacity: usize) -> bool {
        self.turns.is_due(self.at.load(Relaxed), capacity)
    }

    /// Who uses this end, on that processor, is about to sleep until the other one's comes.
    #[inline]
    pub fn meet(&self, other: &End, cpu: Option<u32>, thread: u64) {
        self.turns.meet(self.at.load(Relaxed), &other.turns, cpu, thread);
    }

    /// Of the end that puts: whether there is room for one more.
    #[inline(always)]
    pub fn has_room(&self, taking: &End, capacity: usize) -> bool {
        let at = self.at.load(Relaxed);
        if between(at, self.other.get(), capacity) < capacity {
            return true;
        }
        self.other.set(taking.look());
        between(at, self.other.get(), capacity) < capacity
    }

    /// Of the end that takes: whether there is something.
    #[inline(always)]
    pub fn has_some(&self, putting: &End) -> bool {
        let at = self.at.load(Relaxed);
        if self.other.get() != at {
            return true;
        }
        self.other.set(putting.look());
        self.other.get() != at
    }

    /// So many are inside as far as this end knows: at most, if it is the one that puts; at least,
    /// if it takes.
    #[inline(always)]
    pub fn known_inside(&self, puts: bool, capacity: usize) -> usize {
        let (at, other) = (self.at.load(Relaxed), self.other.get());
        if puts {
            between(at, other, capacity)
        } else {
            between(other, at, capacity)
        }
    }

    /// The other end, at any time.
    #[inline(always)]
    fn look(&self) -> usize {
        // Acquire: rule 1.
        self.at.load(Acquire)
    }
}

/// ANY THREAD, with both latches closed, or for a hint: how many are inside.
#[inline(always)]
pub fn count(putting: &End, taking: &End, capacity: usize) -> usize {
    // In this order: of a hint, the taking end is never ahead of the other.
    let taken = taking.look();
    between(putting.look(), taken, capacity)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_inside_is_a_bound_on_each_side() {
        const CAPACITY: usize = 3;
        let (putting, taking) = (End::new(), End::new());
        let known = || {
            let puts = putting.known_inside(true, CAPACITY);
            (puts, taking.known_inside(false, CAPACITY))
        };
        for inside in 1..=CAPACITY {
            assert!(putting.has_room(&taking, CAPACITY));
            putting.advance(CAPACITY);
            assert_eq!(known(), (inside, 0));
        }
        assert!(!putting.has_room(&taking, CAPACITY));
        for left in (0..CAPACITY).rev() {
            assert!(taking.has_some(&putting));
            taking.advance(CAPACITY);
            assert_eq!(known(), (CAPACITY, left));
        }
        // Around the end, where positions start again.
        for _ in 0..3 * CAPACITY {
            assert!(putting.has_room(&taking, CAPACITY));
            putting.advance(CAPACITY);
            assert!(taking.has_some(&putting));
            taking.advance(CAPACITY);
            let (most, least) = known();
            assert!((0..=CAPACITY).contains(&most) && least == 0, "{most} {least}");
        }
    }
}

//! Two threads at the ends of a queue that take turns on one processor: there, to look again for
//! the other is to keep it from running, and to yield to it costs less than a sleep and a wake-up.
//!
//! All of it is a hint, which threads may overwrite; no order hangs on it. A yield is tried after a
//! long turn, in which elements came in a stream: who waits for one at a time sleeps, and is woken
//! at once. One that finds nothing, or that took long as others want the processor too, is left out
//! the next times.

use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// A yield that took longer was for more than the other end's turn.
pub const LONGEST_NS: u64 = 50_000;

/// Whether it pays to look again for who uses the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Other {
    /// On another processor, or not known.
    Elsewhere = 0,
    /// Another thread, on this processor.
    Near = 1,
    /// This thread.
    Here = 2,
}
use Other::{Elsewhere, Here, Near};

/// Where there is room for more, two switches are little for each.
const CAPACITY_MAX: usize = 1 << 14;

// Bits of `Turns::state`: an `Other`; how often in a row a yield was of no use; and how often to
// leave it out.
const OTHER: u16 = 3;
const FAILED_AT: u32 = 2;
const FAILED_MAX: u16 = 5;
const LEFT_OUT_AT: u32 = 5;

/// In `Turns::user`: somebody.
const KNOWN: u16 = 1 << 15;

/// At an end of a queue. Zeros know nothing.
#[repr(C)]
pub struct Turns {
    state: AtomicU16,
    /// The processor and the thread of who had to wait here last, by some low bits of their
    /// numbers: who is taken for another is hinted at wrongly.
    user: AtomicU16,
    /// Where this end stood then, its low bits.
    stood: AtomicU16,
}

/// Not written where it is so already: the line may be another's.
fn set(at: &AtomicU16, value: u16) {
    if at.load(Relaxed) != value {
        at.store(value, Relaxed);
    }
}

impl Turns {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { state: AtomicU16::new(0), user: AtomicU16::new(0), stood: AtomicU16::new(0) }
    }

    /// Who uses this end, which stands at `at`, is about to sleep until the one at `other` comes.
    pub fn meet(&self, at: usize, other: &Self, cpu: Option<u32>, thread: u64) {
        set(&self.stood, at as u16);
        let user = cpu.map_or(0, |cpu| KNOWN | (cpu as u16 & 0x7f) << 8 | thread as u16 & 0xff);
        set(&self.user, user);
        let found = other.user.load(Relaxed);
        let way = if user & found & KNOWN == 0 || user >> 8 != found >> 8 {
            Elsewhere
        } else if user == found {
            Here
        } else {
            Near
        };
        set(&self.state, self.state.load(Relaxed) & !OTHER | way as u16);
    }

    /// As of the last `meet`.
    #[inline]
    pub fn other(&self) -> Other {
        match self.state.load(Relaxed) & OTHER {
            0 => Elsewhere,
            1 => Near,
            _ => Here,
        }
    }

    /// This end has to wait at `at`, which starts again after twice the capacity. Whether to yield
    /// this time, if the other is near.
    pub fn is_due(&self, at: usize, capacity: usize) -> bool {
        let stood = usize::from(self.stood.load(Relaxed));
        set(&self.stood, at as u16);
        if capacity > CAPACITY_MAX {
            return false;
        }
        let moved = if at >= stood { at - stood } else { at + 2 * capacity - stood };
        let is_long = 2 * moved >= capacity;
        let seen = self.state.load(Relaxed);
        let is_left_out = seen >> LEFT_OUT_AT != 0;
        if is_long && is_left_out {
            self.state.store(seen - (1 << LEFT_OUT_AT), Relaxed);
        }
        is_long && !is_left_out
    }

    /// What came of a yield: after one of no use it is left out 3 times, and up to 1023 times after
    /// several.
    pub fn yielded(&self, was_of_use: bool) {
        let seen = self.state.load(Relaxed);
        let failed = seen >> FAILED_AT & 7;
        let (failed, left_out) = if was_of_use {
            (failed.saturating_sub(1), 0)
        } else {
            let failed = (failed + 1).min(FAILED_MAX);
            (failed, (1 << (2 * failed)) - 1)
        };
        set(&self.state, seen & OTHER | failed << FAILED_AT | left_out << LEFT_OUT_AT);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_is_near_is_another_thread_on_this_processor() {
        let (a, b) = (Turns::new(), Turns::new());
        assert_eq!(a.other(), Elsewhere);
        a.meet(0, &b, Some(0), 1);
        assert_eq!(a.other(), Elsewhere, "the other is not known");
        b.meet(0, &a, Some(0), 2);
        assert_eq!(b.other(), Near);
        b.meet(0, &a, Some(1), 2);
        assert_eq!(b.other(), Elsewhere);
        b.meet(0, &a, Some(0), 1);
        assert_eq!(b.other(), Here);
        a.meet(0, &b, None, 1);
        b.meet(0, &a, None, 2);
        assert_eq!(b.other(), Elsewhere, "two processors that are not known are not one");
    }

    #[test]
    fn a_yield_is_for_a_stream() {
        let turns = Turns::new();
        assert!(!turns.is_due(1, 256) && !turns.is_due(128, 256));
        assert!(turns.is_due(256, 256) && turns.is_due(384, 256));
        assert!(!turns.is_due(500, 256));
        // Around the end, where positions start again.
        assert!(turns.is_due(116, 256) && !turns.is_due(243, 256));
        assert!(!turns.is_due(CAPACITY_MAX, CAPACITY_MAX + 1));
    }

    #[test]
    fn what_is_of_no_use_is_left_out() {
        let (turns, other) = (Turns::new(), Turns::new());
        other.meet(0, &turns, Some(3), 7);
        turns.meet(0, &other, Some(3), 8);
        let mut at = 0;
        let mut is_due = || {
            at = (at + 2) % 4;
            turns.is_due(at, 2)
        };
        let mut tried = 0;
        for _ in 0..10_240 {
            if is_due() {
                turns.yielded(false);
                tried += 1;
            }
        }
        assert!((13..=15).contains(&tried), "{tried}");
        assert_eq!(turns.other(), Near);
        // It pays again: tried each time, and after one that did not again soon.
        while !is_due() {}
        for _ in 0..5 {
            turns.yielded(true);
            assert!(is_due());
        }
        turns.yielded(false);
        assert_eq!((0..3).filter(|_| is_due()).count(), 0);
        assert!(is_due());
    }
}

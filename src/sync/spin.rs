//! Looking again for a moment before a sleep, where that has paid before.

use core::hint::spin_loop;

use crate::atomic::{AtomicU8, Ordering::Relaxed};

/// Pauses between two looks: each twice as many as before, to 2 to the power of this. What is
/// handed over during them is found at one look, so long ones leave the lines to who writes them.
const LONGEST: u8 = 6;
/// Looks of the longest kind, after which it is given up: some microseconds in all.
const LAST: u32 = 4;

const LOW_BITS: u32 = 5;
const LOW: u8 = (1 << LOW_BITS) - 1;

/// In the high bits how often in a row it was of no use. If it was not, in the low bits how often
/// to leave it out; if it was, how long to wait before the first look, as a power of two of pauses.
/// Zero is one that has not tried yet. A hint: threads may overwrite what another writes.
pub struct Spin(AtomicU8);

impl Spin {
    /// Whether to try this time.
    pub fn is_due(&self) -> bool {
        let seen = self.0.load(Relaxed);
        let is_left_out = seen > LOW && seen & LOW != 0;
        if is_left_out {
            self.0.store(seen - 1, Relaxed);
        }
        !is_left_out
    }

    /// Until `look` finds something, or it has taken too long. `look` says how much there is.
    pub fn until(&self, mut look: impl FnMut() -> usize) -> bool {
        let seen = self.0.load(Relaxed);
        let (failed, first) = if seen > LOW { (seen >> LOW_BITS, 0) } else { (0, seen) };
        let (mut at, mut last, mut found) = (first, LAST, 0);
        while found == 0 && last != 0 {
            (0..1 << at).for_each(|_| spin_loop());
            found = look();
            if at == LONGEST {
                last -= 1;
            } else {
                at += 1;
            }
        }
        let next = match found {
            0 => Self::left_out(failed),
            _ => Self::first_after(first, if at == first + 1 { found } else { 0 }),
        };
        // Not written where it is so already: the line is not the caller's alone.
        if next != seen {
            self.0.store(next, Relaxed);
        }
        found != 0
    }

    /// After each time that it was of no use it is left out more often, 31 times of 32 in the end.
    fn left_out(failed: u8) -> u8 {
        let failed = (failed + 1).min(LOW_BITS as u8);
        failed << LOW_BITS | ((1 << failed) - 1)
    }

    /// Where the first look finds about as much as there were pauses, elements come without an end,
    /// and a later look costs both threads less for each. Where it does not, they are waited for,
    /// and an earlier one is sooner.
    fn first_after(first: u8, found: usize) -> u8 {
        let pauses = 1 << first;
        if 2 * found >= pauses {
            (first + 1).min(LONGEST - 1)
        } else if 4 * found < pauses {
            first.saturating_sub(1)
        } else {
            first
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_no_use_is_left_out() {
        let spin = Spin(AtomicU8::new(0));
        let mut tried = 0;
        for _ in 0..3200 {
            if spin.is_due() {
                assert!(!spin.until(|| 0));
                tried += 1;
            }
        }
        assert!((100..=110).contains(&tried), "{tried}");
        while !spin.is_due() {}
        assert!(spin.until(|| 1));
        assert!(spin.is_due() && spin.is_due());
    }

    #[test]
    fn a_first_look_that_finds_much_is_later_the_next_time() {
        // An element a pause, then one element at a time.
        let spin = Spin(AtomicU8::new(0));
        let first = || spin.0.load(Relaxed);
        for _ in 0..20 {
            let pauses = 1 << first();
            assert!(spin.until(|| pauses));
        }
        assert_eq!(first(), LONGEST - 1);
        for _ in 0..20 {
            assert!(spin.until(|| 1));
        }
        assert!(1 << first() <= 4, "{}", first());
        // Nothing at the first look: too early for as many.
        spin.0.store(3, Relaxed);
        let mut looks = 0;
        assert!(spin.until(|| {
            looks += 1;
            if looks == 2 {
                100
            } else {
                0
            }
        }));
        assert_eq!(first(), 2);
        // Of no use: from the start again.
        assert!(!spin.until(|| 0));
        while !spin.is_due() {}
        assert!(spin.until(|| 1));
        assert!(first() <= 1, "{}", first());
    }
}

//! Looking again for a moment before a sleep, where that has paid before.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Pauses between two looks: 1, 2, 4, ... to this. What is handed over during them is found at one
/// look, so long ones leave the lines to who writes them.
const LONGEST: u32 = 64;
/// Looks of the longest kind, after which it is given up: some microseconds in all.
const LAST: u32 = 4;

const SKIPS_BITS: u32 = 5;

/// How often to leave it out, in the low bits; and how often in a row it was of no use. Zero is one
/// that has not tried yet. A hint: threads may overwrite what another counts.
pub struct Spin(AtomicU8);

impl Spin {
    /// Whether to try this time.
    pub fn is_due(&self) -> bool {
        let seen = self.0.load(Relaxed);
        let skips = seen & ((1 << SKIPS_BITS) - 1);
        if skips != 0 {
            self.0.store(seen - 1, Relaxed);
        }
        skips == 0
    }

    /// It was tried: after each time that it was of no use it is left out more often, 31 times of
    /// 32 in the end.
    fn tell(&self, was_of_use: bool) {
        let failed = self.0.load(Relaxed) >> SKIPS_BITS;
        let next = if was_of_use {
            0
        } else {
            let failed = (failed + 1).min(SKIPS_BITS as u8);
            failed << SKIPS_BITS | ((1 << failed) - 1)
        };
        self.0.store(next, Relaxed);
    }

    /// Until `look` finds something, or it has taken too long.
    pub fn until(&self, mut look: impl FnMut() -> bool) -> bool {
        let (mut pauses, mut last, mut found) = (1, LAST, false);
        while !found && last != 0 {
            (0..pauses).for_each(|_| spin_loop());
            found = look();
            if pauses == LONGEST {
                last -= 1;
            } else {
                pauses *= 2;
            }
        }
        self.tell(found);
        found
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
                assert!(!spin.until(|| false));
                tried += 1;
            }
        }
        assert!((100..=110).contains(&tried), "{tried}");
        while !spin.is_due() {}
        assert!(spin.until(|| true));
        assert!(spin.is_due() && spin.is_due());
    }
}

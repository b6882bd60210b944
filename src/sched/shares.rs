//! Shares of the levels, for who asks for them: level l runs 1 item in `every[l]`, while it has any
//! ready. The rest is strict priority.
//!
//! This is a pinwheel schedule by least slack first: a level that has waited for `every - 1` items
//! has no slack left. With k levels that have a share and are ready, one whose slack is below k is
//! picked, the one with the least first; so they are not all due at once. The shares add up to one
//! at most, which `set` checks. Then no window of `every` items is without the level, if one or two
//! have a share. Three such distances cannot always be kept (2, 3 and any other), and there it is
//! `every + 2`.

use core::cell::Cell;

use crate::error::{Errno, Res};
use crate::task::header::PRIORITIES;

#[derive(Default)]
pub struct Shares {
    /// 0: none; it gets what is left, by its priority.
    every: [Cell<u32>; PRIORITIES],
    /// Items that have run since the level last did, or became ready.
    waited: [Cell<u32>; PRIORITIES],
}

impl Shares {
    /// EINVAL: they add up to more than one.
    pub fn set(&self, every: [u32; PRIORITIES]) -> Res<()> {
        // 1/a + 1/b + 1/c <= 1, times all of them.
        let whole: u128 = every.iter().filter(|&&n| n != 0).map(|&n| u128::from(n)).product();
        let parts = every.iter().filter(|&&n| n != 0).map(|&n| whole / u128::from(n));
        if parts.sum::<u128>() > whole {
            return Err(Errno(libc::EINVAL));
        }
        for (to, from) in self.every.iter().zip(every) {
            to.set(from);
        }
        Ok(())
    }

    /// Which level the next item is of; bit n of `occupied`: level n is ready, one of them
    /// is; bits above the levels do not count.
    pub fn pick(&self, occupied: u32) -> usize {
        let has_share = |level: usize| self.every[level].get() != 0 && occupied & 1 << level != 0;
        let due_below = (0..PRIORITIES).filter(|&level| has_share(level)).count() as u32;
        let mut picked = occupied.trailing_zeros() as usize;
        let mut least = due_below;
        for level in (0..PRIORITIES).filter(|&level| has_share(level)) {
            let slack = (self.every[level].get() - 1).saturating_sub(self.waited[level].get());
            if slack < least {
                (picked, least) = (level, slack);
            }
        }
        for level in 0..PRIORITIES {
            let waits = has_share(level) && level != picked;
            let waited = self.waited[level].get();
            self.waited[level].set(if waits { waited.saturating_add(1) } else { 0 });
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All shares up to 8 that add up to one at most, under all patterns of readiness of some
    /// lengths: no level waits for longer than its share says.
    #[test]
    fn no_level_waits_for_longer_than_its_share_says() {
        let mut sets = 0;
        let mut seed = 1u32;
        for code in 0..9 * 9 * 9 {
            let every = [code % 9, code / 9 % 9, code / 81];
            let shares = Shares::default();
            if shares.set(every).is_err() {
                continue;
            }
            sets += 1;
            let mut waited = [0; PRIORITIES];
            let mut occupied = 7;
            for step in 0..2000 {
                // All ready for a while, then each comes and goes.
                if step > 500 {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    occupied = (seed >> 24 & 7).max(1);
                }
                let picked = shares.pick(occupied);
                assert!(occupied & 1 << picked != 0, "{every:?}: an empty level");
                for level in 0..PRIORITIES {
                    let waits = occupied & 1 << level != 0 && level != picked;
                    waited[level] = if waits { waited[level] + 1 } else { 0 };
                    let late = if every.contains(&0) { 0 } else { 2 };
                    let most = every[level] + late;
                    assert!(every[level] == 0 || waited[level] < most, "{every:?}: level {level}");
                }
            }
        }
        assert!(sets > 300, "{sets}");
    }

    #[test]
    fn shares_that_are_more_than_all_are_refused() {
        let shares = Shares::default();
        for (every, fits) in [
            ([0, 0, 0], true),
            ([2, 2, 0], true),
            ([2, 3, 6], true),
            ([2, 3, 5], false),
            ([1, 0, u32::MAX], false),
            ([u32::MAX, u32::MAX, u32::MAX], true),
        ] {
            assert_eq!(shares.set(every).is_ok(), fits, "{every:?}");
        }
    }

    #[test]
    fn without_shares_the_highest_is_picked() {
        let shares = Shares::default();
        for occupied in 1..8 {
            assert_eq!(shares.pick(occupied), occupied.trailing_zeros() as usize);
        }
    }
}

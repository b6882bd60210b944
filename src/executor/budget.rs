//! How much one look takes in: completions, timers, mail, joiners, each so many at most, and no
//! more once the look as a whole has taken its time. The rest stays queued, in order.

use super::Executor;
use crate::ticks;
use crate::uring::kernel::Kernel;

/// A few times what runs between two looks, so that a look keeps up.
pub const BUDGET: usize = 256;

/// The clock is looked at after so many: so few are taken in however late it is.
pub const STEP: usize = 64;

pub(super) struct Budget {
    left: usize,
    begun: u64,
    ticks: u64,
}

impl<K: Kernel> Executor<K> {
    /// For a look that began at that stamp. Without time tracking there is no time to run out of.
    #[inline(always)]
    pub(super) fn budget(&self, begun: u64) -> Budget {
        Budget { left: BUDGET, begun, ticks: self.look_ticks }
    }
}

impl Budget {
    /// One more is taken in; false: no more.
    #[inline(always)]
    pub fn take(&mut self) -> bool {
        if self.left.is_multiple_of(STEP) && self.left != BUDGET && self.is_spent() {
            return false;
        }
        self.left -= 1;
        true
    }

    fn is_spent(&self) -> bool {
        let late = || ticks::now().wrapping_sub(self.begun) >= self.ticks;
        self.left == 0 || self.ticks != u64::MAX && late()
    }

    /// How many of a kind that is taken in at once, after those before; 0: no more.
    #[inline(always)]
    pub fn take_step(&mut self) -> usize {
        if !self.take() {
            return 0;
        }
        self.left -= STEP - 1;
        STEP
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, BUDGET, STEP};

    fn taken(ticks: u64) -> usize {
        let mut budget = Budget { left: BUDGET, begun: 0, ticks };
        (0..2 * BUDGET).take_while(|_| budget.take()).count()
    }

    fn taken_in_steps(ticks: u64) -> usize {
        let mut budget = Budget { left: BUDGET, begun: 0, ticks };
        core::iter::repeat_with(|| budget.take_step()).take_while(|&n| n != 0).sum()
    }

    #[test]
    fn a_look_ends_by_number_or_by_time() {
        assert_eq!([taken(u64::MAX), taken_in_steps(u64::MAX)], [BUDGET; 2]);
        assert_eq!([taken(1), taken_in_steps(1)], [STEP; 2]);
    }
}

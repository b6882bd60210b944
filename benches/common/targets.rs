//! What is to be reached, as ratios to one NOP on the bare ring, 64 a batch.

use super::raw::RawRing;
use super::rounds::{By, Meter, Outcome, Pairs, Work};
use monad_async::ticks;

pub const REMOTE: f64 = 1.50;
/// CPU time.
pub const SLEEP: f64 = 1.30;
/// Against a bare ring that polls an eventfd, not against a NOP.
pub const WAKE: f64 = 1.25;

/// What one stamp costs, in NOPs of the bare ring: processors differ in it more than in anything
/// else, so goals with time tracking are so much above it.
pub struct Stamp(pub Outcome);

impl Stamp {
    pub fn measure(raw: &mut RawRing, rounds: usize) -> Self {
        const STAMPS: usize = 4096;
        let mut pairs = Pairs::default();
        for _ in 0..rounds {
            let base = By::Wall.per_op(raw.round());
            let meter = Meter::start();
            for _ in 0..STAMPS {
                core::hint::black_box(ticks::now());
            }
            pairs.add(By::Wall.per_op(meter.stop(STAMPS)), base);
        }
        Self(pairs.outcome())
    }

    /// A launch takes two.
    pub fn launch(&self, track: bool) -> f64 {
        if track {
            2.0 * self.0.ratio + 0.06
        } else {
            0.22
        }
    }

    pub fn yielding(&self, track: bool) -> f64 {
        if track {
            self.0.ratio + 0.10
        } else {
            0.18
        }
    }

    pub fn nop(&self, track: bool) -> Option<f64> {
        track.then_some(self.0.ratio + 1.22)
    }
}

/// Two switches included.
pub fn hand_over(track: bool) -> f64 {
    if track {
        0.50
    } else {
        0.25
    }
}

//! What is to be reached, as ratios to one NOP on the bare ring, 64 a batch.

pub const LAUNCH: f64 = 0.42;
pub const LAUNCH_UNTRACKED: f64 = 0.22;
pub const YIELD: f64 = 0.45;
pub const YIELD_UNTRACKED: f64 = 0.28;
pub const NOP: f64 = 1.40;
pub const REMOTE: f64 = 1.50;
/// CPU time.
pub const SLEEP: f64 = 2.00;
/// Against a bare ring that polls an eventfd, not against a NOP.
pub const WAKE: f64 = 1.25;

/// With time tracking, and without, if there is one.
pub fn launch(track: bool) -> Option<f64> {
    Some(if track { LAUNCH } else { LAUNCH_UNTRACKED })
}

/// Two switches included.
pub fn hand_over(track: bool) -> f64 {
    if track {
        0.50
    } else {
        0.25
    }
}

pub fn yielding(track: bool) -> Option<f64> {
    Some(if track { YIELD } else { YIELD_UNTRACKED })
}

//! `cargo bench --bench together`: what tasks hand to each other, next to the bare ring's NOP.

mod common;

use common::compare::{compare, criterion};
use common::raw::RawRing;
use common::rounds::By;
use common::together::Together;
use common::{targets, OFF, ON};

fn main() {
    let c = &mut criterion();
    let raw = &mut RawRing::new();
    for (track, suffix) in [(ON, ""), (OFF, ", no time tracking")] {
        for (local, form) in [(true, "local "), (false, "")] {
            // A shared one is measured against the local one, in nanoseconds: no ratio to reach.
            let target = local.then_some(targets::hand_over(track));
            let name = |what: &str| format!("{form}{what}{suffix}");
            let own = &mut Together::mutex(track, local);
            compare(c, &name("mutex hand-over"), By::Wall, own, ("raw nop", raw), target);
            let own = &mut Together::semaphore(track, local);
            compare(c, &name("semaphore turn"), By::Wall, own, ("raw nop", raw), target);
            let own = &mut Together::channel(track, local);
            compare(c, &name("channel send, receive"), By::Wall, own, ("raw nop", raw), target);
        }
        let own = &mut Together::park(track);
        let target = Some(targets::hand_over(track));
        compare(c, &format!("unpark, park{suffix}"), By::Wall, own, ("raw nop", raw), target);
    }
    c.final_summary();
}

//! `cargo bench --bench many`: CPU time of a sleep among 10,000 sleepers, and the resumption of the
//! oldest of a million suspended tasks.

mod common;

use common::compare::{compare, criterion};
use common::many::{Million, Sleepers};
use common::raw::RawRing;
use common::rounds::By;
use common::{targets, OFF, ON};

fn main() {
    let c = &mut criterion();
    let raw = &mut RawRing::new();
    for (track, name) in [(ON, "sleep, CPU time"), (OFF, "sleep, CPU time, no time tracking")] {
        let own = &mut Sleepers::new(track);
        let target = track.then_some(targets::SLEEP);
        compare(c, name, By::Cpu, own, ("raw nop", raw), target);
    }
    let own = &mut Million::new(ON);
    let name = format!("resume the oldest of {}", own.len());
    compare(c, &name, By::Wall, own, ("raw nop", raw), None);
    c.final_summary();
}

//! `cargo bench --bench threads`: launches from one other thread, and the latency of a wake-up.

mod common;

use std::cell::RefCell;

use common::compare::{compare, criterion};
use common::raw::RawRing;
use common::rounds::By;
use common::threads::{How, Remote, Wakes};
use common::{targets, OFF, ON};

fn main() {
    let c = &mut criterion();
    let raw = &mut RawRing::new();
    for (track, name) in
        [(ON, "launch from another thread"), (OFF, "launch from another thread, no time tracking")]
    {
        let own = &mut Remote::new(track);
        compare(c, name, By::Wall, own, ("raw nop", raw), Some(targets::REMOTE));
    }
    let wakes = RefCell::new(Wakes::new(ON));
    let round = |how| {
        let wakes = &wakes;
        move || wakes.borrow_mut().round(how)
    };
    for (name, how, against, other, target) in [
        ("wake by a launch", How::Attach, "eventfd of a bare ring", How::Eventfd, true),
        ("wake by a launch, and the floor", How::Attach, "futex", How::Futex, false),
        ("wake by executor_wake", How::Wake, "eventfd of a bare ring", How::Eventfd, true),
    ] {
        let target = target.then_some(targets::WAKE);
        compare(c, name, By::Wall, &mut round(how), (against, &mut round(other)), target);
    }
    c.final_summary();
}

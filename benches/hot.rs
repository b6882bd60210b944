//! `cargo bench --bench hot`: launch, yield and NOP on one thread, with time tracking and without.

mod common;

use common::compare::{compare, criterion};
use common::hot::{Launch, Looping};
use common::raw::RawRing;
use common::rounds::By;
use common::targets::Stamp;
use common::{OFF, ON};

fn main() {
    let c = &mut criterion();
    let raw = &mut RawRing::new();
    if raw.plain {
        println!("the kernel refuses the executor's ring flags: the bare ring has none of them");
    }
    let again = &mut RawRing::new();
    compare(c, "nop, bare ring, 64 a batch", By::Wall, again, ("the same", raw), None);
    let stamp = Stamp::measure(raw, 200);
    for (track, suffix) in [(ON, ""), (OFF, ", no time tracking")] {
        let name = |what: &str| format!("{what}{suffix}");
        let own = &mut Launch::new(track);
        let target = Some(stamp.launch(track));
        compare(c, &name("launch, run, finish"), By::Wall, own, ("raw nop", raw), target);
        let own = &mut Looping::yields(track);
        let target = Some(stamp.yielding(track));
        compare(c, &name("yield among 64"), By::Wall, own, ("raw nop", raw), target);
        let own = &mut Looping::nops(track);
        let target = stamp.nop(track);
        compare(c, &name("nop among 64"), By::Wall, own, ("raw nop", raw), target);
    }
    c.final_summary();
}

//! Ordered writes, registered buffers and closes against a simulated kernel: random programs of
//! several tasks, a kernel that comes short, fails, does not perform, and takes its time; what it has
//! written is compared with what the tasks were told.
//!
//! `FILES_SEED` plays one program; `FILES_COUNT` says how many.

mod kernel;
mod play;
#[path = "../../support/mod.rs"]
mod support;

use play::{play, Broken};
use support::rng::{number, replay, CpuLimit};

fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 4_000,
        (false, false) => 30_000,
        (_, true) => 1_000_000,
    }
}

#[test]
fn what_is_told_is_what_was_written() {
    let mut limit = CpuLimit::new("FILES_CPU_S");
    let one = number("FILES_SEED");
    let count = number("FILES_COUNT").unwrap_or_else(default_count);
    let begun = std::time::Instant::now();
    let mut writes = 0;
    for seed in one.map_or(1..count + 1, |seed| seed..seed + 1) {
        limit.next();
        match play(seed) {
            Ok(n) => writes += n,
            Err(Broken(text)) => {
                panic!("{text}\n{}", replay(&format!("FILES_SEED={seed}"), "files_sim --"))
            }
        }
    }
    assert!(one.is_some() || writes > count, "the programs write next to nothing");
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    println!("measured: {count} programs, {writes} writes, {rate:.0} programs a second");
}

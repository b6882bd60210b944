//! Simulation: the executor's own loop on a kernel made of chance. A seed decides the program (tasks
//! that launch, yield, sleep, operate, join, cancel, ...), what other threads do at every moment, and
//! every liberty that a kernel has; a model says what must happen.
//!
//! `SIM_COUNT` and `SIM_FROM` say how many programs, and which; `SIM_SEED` plays one and prints it.

mod body;
mod driver;
mod hunt;
mod kernel;
mod mail;
mod model;
mod program;
mod ring;
mod rng;
mod world;

/// Enough to be of use in an unoptimised build, where a program takes ten times as long.
const DEFAULT_COUNT: u64 = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };

#[test]
fn programs() {
    if let Some(seed) = hunt::number("SIM_SEED") {
        return hunt::play_one(seed);
    }
    let from = hunt::number("SIM_FROM").unwrap_or(1);
    let count = hunt::number("SIM_COUNT").unwrap_or(DEFAULT_COUNT);
    if let Ok(status) = std::env::var("SIM_WORKER") {
        return hunt::play_range(from, count, &status);
    }
    let begun = std::time::Instant::now();
    if let Some(seed) = hunt::hunt(from, count) {
        panic!("{}", hunt::report(seed));
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{count} programs, {:.0} a second", count as f64 / seconds);
}

//! Simulation: the executor's own loop on a kernel made of chance. A seed decides the program
//! (tasks that launch, yield, sleep, operate, join, cancel, ...), what other threads do at every
//! moment, and every liberty that a kernel has; a model says what must happen.
//!
//! `SIM_COUNT` and `SIM_FROM` say how many programs, and which; `SIM_SEED` plays one and prints it.

mod body;
mod calls;
mod comings;
mod crowd;
mod draw;
mod driver;
mod hunt;
mod kernel;
mod levels;
mod mail;
mod model;
mod operate;
mod ops;
mod program;
mod ring;
#[path = "../../support/rng.rs"]
mod rng;
mod seeds;
mod world;

/// How many programs. Enough to be of use in an unoptimised build, where one takes ten times as
/// long; optimised, what the rarest bug of tests/rust/mutants needs, nearly twice; for some minutes
/// where long tests are asked for.
fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 30_000,
        (false, false) => 400_000,
        (true, true) => 1_000_000,
        (false, true) => 30_000_000,
    }
}

#[test]
fn programs() {
    if let Some(seed) = rng::number("SIM_SEED") {
        return hunt::play_one(seed);
    }
    let from = rng::number("SIM_FROM").unwrap_or(1);
    let count = rng::number("SIM_COUNT").unwrap_or_else(default_count);
    if let Ok(status) = std::env::var("SIM_WORKER") {
        return hunt::play_range(from, count, &status);
    }
    let begun = std::time::Instant::now();
    if let Some(seed) = hunt::hunt(from, count) {
        panic!("{}", hunt::report(seed));
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("measured: {count} programs, {:.0} a second", count as f64 / seconds);
}

#[test]
fn programs_that_once_failed() {
    for found in seeds::FOUND {
        if let Some(text) = hunt::verdict(found.seed, &Default::default()) {
            panic!("{} is back: program {}: {text}", found.bug, found.seed);
        }
    }
}

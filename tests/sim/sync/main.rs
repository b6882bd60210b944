//! What tasks wait for of each other: random programs over every object of `sync`, with cancels and
//! time-outs that cross, in both forms; over groups, joins, parks and operations. Each is played by
//! the executor and by a model; each step must return the same, in the same order. What was crossed
//! is counted: no pair may be missing (`crossings`).
//!
//! `SYNC_SEED` plays one program and prints it; `SYNC_COUNT` says how many.

mod crossings;
mod kernel;
mod model;
mod operations;
mod play;
mod program;
#[path = "../../support/mod.rs"]
mod support;
mod team;

use crossings::Crossings;
use model::Model;
use monad_async::sync::{Local, Shared};
use play::play;
use program::Program;
use support::rng::replay;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 30_000,
        (true, true) | (false, false) => 200_000,
        (false, true) => 5_000_000,
    }
}

#[test]
fn every_step_returns_what_the_model_says() {
    if let Some(seconds) = number("SYNC_CPU_S") {
        let limit = libc::rlimit { rlim_cur: seconds, rlim_max: seconds };
        // SAFETY: reads a struct of our own.
        unsafe { libc::setrlimit(libc::RLIMIT_CPU, &limit) };
    }
    let one = number("SYNC_SEED");
    let count = number("SYNC_COUNT").unwrap_or_else(default_count);
    let (mut steps, mut waited) = (0, 0);
    let mut crossings = Crossings::default();
    for seed in one.map_or(1..count + 1, |seed| seed..seed + 1) {
        let program = Program::new(seed);
        let predicted = Model::predict(&program, &mut crossings);
        if one.is_some() {
            println!("{program:#?}\n{predicted:?}");
        }
        for (form, played) in
            [("shared", play::<Shared>(&program)), ("local", play::<Local>(&program))]
        {
            let differ =
                (0..played.len().max(predicted.len())).find(|&i| played.get(i) != predicted.get(i));
            if let Some(i) = differ {
                let (got, due) = (played.get(i), predicted.get(i));
                let again = replay(&format!("SYNC_SEED={seed}"), "sync --");
                panic!("{form}, step {i}: {got:?}, predicted {due:?}\n{again}");
            }
        }
        steps += predicted.len();
        waited += predicted.iter().filter(|(_, out)| *out == -i64::from(libc::ETIME)).count();
    }
    println!("measured: {count} programs, {steps} steps, {waited} time-outs");
    let missing = crossings.missing();
    println!("{crossings}");
    assert!(one.is_some() || count < 200_000 || missing.is_empty(), "never crossed: {missing:#?}");
    assert!(one.is_some() || waited > 100, "the programs do not wait");
}

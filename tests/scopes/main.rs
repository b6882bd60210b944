//! What calls return inside scopes: random nests of scopes, deadlines, cancels and shields around random
//! operations. Each program is played once by the executor, on a kernel that does as it is told, and once by
//! a model, and each call must return the same.
//!
//! `SCOPES_SEED` plays one program and prints it; `SCOPES_COUNT` says how many.

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod kernel;
mod model;
mod play;
mod program;
#[path = "../sim/rng.rs"]
mod rng;

use program::Program;
use std::rc::Rc;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 50_000,
        (true, true) | (false, false) => 1_000_000,
        (false, true) => 30_000_000,
    }
}

#[test]
fn every_call_returns_what_the_model_says() {
    let stage = play::Stage::new();
    let one = number("SCOPES_SEED");
    let count = number("SCOPES_COUNT").unwrap_or_else(default_count);
    let begun = std::time::Instant::now();
    let mut calls = 0;
    for seed in one.map_or(1..count + 1, |seed| seed..seed + 1) {
        let program = Rc::new(Program::new(seed));
        let predicted = model::predict(&program);
        if one.is_some() {
            println!("{program:#?}");
        }
        let played = stage.play(&program, seed % 4 == 0);
        calls += predicted.0.len();
        if played.as_ref() == Ok(&predicted) {
            continue;
        }
        let (predicted, operations) = predicted;
        match played {
            Err(text) => panic!("SCOPES_SEED={seed}: {text}"),
            Ok((log, begun)) => {
                let differ = log.iter().zip(&predicted).position(|(a, b)| a != b);
                let at = differ.unwrap_or(log.len().min(predicted.len()));
                panic!(
                    "SCOPES_SEED={seed}, step {at}, {:?}: {:?}, predicted {:?}; {begun} operations, \
                     predicted {operations}",
                    program.steps.get(at),
                    log.get(at),
                    predicted.get(at),
                );
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("measured: {count} programs, {calls} calls, {:.0} programs a second", count as f64 / seconds);
}

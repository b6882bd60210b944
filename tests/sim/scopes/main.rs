//! What calls return inside scopes: random nests of scopes, deadlines, cancels and shields around
//! random operations. Each program is played once by the executor, on a kernel that does as it is
//! told, and once by a model, and each call must return the same.
//!
//! `SCOPES_SEED` plays one program and prints it; `SCOPES_COUNT` says how many.

mod calls;
mod kernel;
mod model;
mod ops;
mod play;
mod program;
#[path = "../../support/mod.rs"]
mod support;

use program::Program;
use std::rc::Rc;
use support::rng::{limit_cpu, number, replay};

fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 40_000,
        (false, false) => 300_000,
        (true, true) => 1_000_000,
        (false, true) => 30_000_000,
    }
}

type Log = (Vec<model::Out>, u64);

fn agree(program: &Program, predicted: &Log, played: Result<Log, String>) -> Result<(), String> {
    let (log, began) = played?;
    // Each time that a call begins its operation again counts.
    let counted = began == predicted.1 || program.troubled && began > predicted.1;
    if log == predicted.0 && counted {
        return Ok(());
    }
    let differ = log.iter().zip(&predicted.0).position(|(a, b)| a != b);
    let at = differ.unwrap_or(log.len().min(predicted.0.len()));
    let (step, played, due) = (program.steps.get(at), log.get(at), predicted.0.get(at));
    let counts = format!("{began} operations, predicted {}", predicted.1);
    Err(format!("step {at}, {step:?}: {played:?}, predicted {due:?}; {counts}"))
}

/// What the kernel does not perform, though nobody cancelled it, is begun again, but not for ever.
#[test]
fn what_is_not_performed_is_begun_again() {
    let stage = play::Stage::new(false);
    for errno in program::TROUBLE {
        let program = Rc::new(Program::in_vain(errno));
        let predicted = model::predict(&program);
        let due: Vec<i32> = predicted.0[3..6].iter().map(|out| out.error).collect();
        assert_eq!(due, [libc::EAGAIN, 0, libc::EAGAIN], "the model's own word");
        agree(&program, &predicted, stage.play(&program, false)).unwrap();
    }
}

#[test]
fn every_call_returns_what_the_model_says() {
    limit_cpu("SCOPES_CPU_S");
    let stages = [false, true].map(play::Stage::new);
    let one = number("SCOPES_SEED");
    let count = number("SCOPES_COUNT").unwrap_or_else(default_count);
    let begun = std::time::Instant::now();
    let mut calls = 0;
    for seed in one.map_or(1..count + 1, |seed| seed..seed + 1) {
        let program = Rc::new(Program::new(seed));
        if one.is_some() {
            println!("{program:#?}");
        }
        let predicted = model::predict(&program);
        let played = stages[usize::from(program.tracked)].play(&program, seed % 4 == 0);
        if let Err(text) = agree(&program, &predicted, played) {
            panic!("{text}\n{}", replay(&format!("SCOPES_SEED={seed}"), "scopes --"));
        }
        calls += predicted.0.len();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "measured: {count} programs, {calls} calls, {:.0} programs a second",
        count as f64 / seconds
    );
}

//! A pool with several workers, and helpers for what blocks: random programs of its tasks and of a
//! thread outside, with cancels and time-outs that cross. The workers are threads, each with an
//! executor on a simulated kernel; one thread goes on at a time, and the seed says which
//! (`world`). A model goes along (`model`): it knows which task each worker has to begin next, who
//! is to be woken by which step, and what each call returns.
//!
//! `CREW_SEED` plays one program and prints it; one for each ten of `SYNC_COUNT` are played.

mod actor;
mod joins;
mod model;
mod play;
mod world;

use crate::support::rng::{number, CpuLimit, Rng};
use monad_async::executor::queue_left::Left;
use monad_async::pool::workers::How;

/// How many a program may ever make.
pub const WORKERS_MAX: usize = 4;
pub const TASKS: usize = 6;
/// A function and its number, that a worker makes a task of.
pub const JOBS: usize = 2;
pub const ALL: usize = TASKS + JOBS;
/// Each begins so often, so that a program ends.
const RUNS_MAX: u32 = 3;
const HELPERS_MAX: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Submit(usize),
    /// So many, from that one on.
    SubmitMany(usize, usize),
    /// Of the nth job.
    Post(usize),
    SetLevel(usize, u8),
    Cancel(usize),
    /// Until so few are left.
    Wait(Left, usize),
    /// Calls a function that blocks.
    Call,
    /// That of this task may return.
    Finish(usize),
    Park,
    Unpark(usize),
    Join(usize),
    Sleep(u64),
    /// It runs on, and others do.
    Hold,
    /// It runs on, time passes, and others do.
    Work(u64),
    /// The pool has one worker more, or less.
    Grow,
    Shrink,
    Quit(How),
}

pub struct Program {
    pub workers: usize,
    pub helpers: u32,
    /// Workers look at what came after each item: they know how late it is, and it is late.
    pub tracks: bool,
    /// The kernel refuses workers now and then.
    pub refuses: bool,
    /// Somebody is told of the exits of tasks that are submitted one by one.
    pub is_told: bool,
    pub levels: [u8; ALL],
    /// With a time-out in slots, where the step may wait.
    pub bodies: Vec<Vec<(Step, Option<u64>)>>,
    /// Of the thread outside.
    pub outside: Vec<Step>,
}

const THEMES: u32 = 8;

fn step(r: &mut Rng, theme: u32) -> Step {
    let n = r.below(TASKS as u32) as usize;
    let any = r.below(ALL as u32) as usize;
    let few = r.below(4) as usize;
    let queued = Left::Queued;
    match theme {
        0 => [
            Step::Submit(n),
            Step::Submit(n),
            Step::SubmitMany(n, 2 + few),
            Step::Post(n % JOBS),
            Step::SetLevel(n, r.below(3) as u8),
            Step::Cancel(any),
        ][r.below(6) as usize],
        1 => [Step::Call, Step::Call, Step::Finish(any), Step::Finish(any), Step::Cancel(any)]
            [r.below(5) as usize],
        2 => [
            Step::Wait(queued, few / 2),
            Step::Wait(queued, few),
            Step::Wait(Left::Unfinished, few),
            Step::SubmitMany(n / 2, 2 + few),
            Step::Work(1 + u64::from(r.below(2))),
        ][r.below(5) as usize],
        3 => [Step::Hold, Step::Hold, Step::Sleep(r.below(4).into())][r.below(3) as usize],
        4 if r.one_in(8) => Step::Quit(if r.one_in(2) { How::Drain } else { How::Return }),
        4 => [Step::Grow, Step::Shrink, Step::Hold][r.below(3) as usize],
        5 => [Step::Park, Step::Park, Step::Unpark(n), Step::Unpark(n), Step::Cancel(n)]
            [r.below(5) as usize],
        6 => {
            let others = [Step::Submit(n), Step::Hold, Step::Hold, Step::Cancel(n)];
            if r.one_in(2) {
                Step::Join(n)
            } else {
                others[r.below(4) as usize]
            }
        }
        _ => [Step::Cancel(any), Step::Work(1 + u64::from(r.below(3)))][r.below(2) as usize],
    }
}

impl Program {
    pub fn new(seed: u64) -> Self {
        let r = &mut Rng::new(seed, 7);
        let themes = [seed, seed / u64::from(THEMES)].map(|n| (n % u64::from(THEMES)) as u32);
        let timed = 1 + r.below(4);
        let one = |r: &mut Rng| {
            let theme = match r.below(4) {
                0 => r.below(THEMES),
                _ => themes[r.below(2) as usize],
            };
            step(r, theme)
        };
        let body = |r: &mut Rng| {
            let count = r.below(6);
            let timed = |r: &mut Rng| r.one_in(timed).then(|| r.below(4).into());
            (0..count).map(|_| (one(r), timed(r))).collect()
        };
        let bodies = (0..ALL).map(|_| body(r)).collect();
        // There is something to do, most often.
        let mut outside = vec![Step::SubmitMany(0, 1 + r.below(TASKS as u32) as usize)];
        outside.extend((0..r.below(10)).map(|_| one(r)));
        Self {
            workers: 1 + r.below(3) as usize,
            helpers: 1 + r.below(HELPERS_MAX),
            tracks: r.one_in(2),
            refuses: r.one_in(4),
            is_told: r.one_in(2),
            levels: std::array::from_fn(|_| r.below(3) as u8),
            bodies,
            outside,
        }
    }
}

fn default_count() -> u64 {
    match (cfg!(debug_assertions), std::env::var_os("MONAD_ASYNC_LONG").is_some()) {
        (true, false) => 5_000,
        (true, true) | (false, false) => 10_000,
        (false, true) => 300_000,
    }
}

#[test]
fn workers_and_helpers_do_what_the_model_says() {
    let mut limit = CpuLimit::new("SYNC_CPU_S");
    let one = number("CREW_SEED");
    let count = number("SYNC_COUNT").map_or_else(default_count, |count| count / 10);
    for seed in one.map_or(1..count + 1, |seed| seed..seed + 1) {
        limit.next();
        let program = Program::new(seed);
        if one.is_some() {
            println!("{} workers, {} helpers", program.workers, program.helpers);
            for (t, body) in program.bodies.iter().enumerate() {
                println!("task {t}, level {}: {body:?}", program.levels[t]);
            }
            println!("outside: {:?}", program.outside);
        }
        play::play(program, seed, one.is_some());
    }
    let seen = world::lock().seen.clone();
    println!("measured: {count} programs; {seen:?}");
    let never: Vec<_> = seen.iter().filter(|(_, times)| **times == 0).collect();
    assert!(one.is_some() || count < 5_000 || never.is_empty(), "never seen: {never:?}");
}

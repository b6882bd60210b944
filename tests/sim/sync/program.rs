//! Random programs: what each task does with the objects, one step after the other.

use crate::support::rng::Rng;

pub const TASKS_MAX: usize = 5;
/// A unit of time.
pub const SLOT_NS: u64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Lock,
    TryLock,
    Unlock,
    CondWait,
    Notify(usize),
    Acquire(u64),
    TryAcquire(u64),
    Release(u64),
    Send(usize),
    Recv(usize),
    TrySend(usize),
    TryRecv(usize),
    Close(usize),
    EventWait,
    EventSet,
    EventReset,
    Meet,
    Read,
    Write,
    TryRead,
    TryWrite,
    EndRead,
    EndWrite,
    GroupAdd,
    GroupDone,
    GroupWait,
    /// Over the two channels: send to the first or receive from the second, and the other way round.
    Select(bool),
    Yield,
    Sleep(u64),
    Cancel(usize),
}

#[derive(Clone, Debug)]
pub struct Body {
    pub level: u8,
    /// With a time-out in slots, where the step may wait.
    pub steps: Vec<(Step, Option<u64>)>,
}

#[derive(Clone, Debug)]
pub struct Program {
    pub bodies: Vec<Body>,
}

fn step(r: &mut Rng, tasks: usize, about: u32) -> Step {
    let channel = r.below(2) as usize;
    match about {
        0 => [
            Step::Lock,
            Step::Lock,
            Step::Unlock,
            Step::Unlock,
            Step::TryLock,
            Step::CondWait,
            Step::Notify(1),
            Step::Notify(9),
        ][r.below(8) as usize],
        1 => [
            Step::Acquire(1),
            Step::Acquire(2),
            Step::TryAcquire(1),
            Step::Release(1),
            Step::Release(2),
        ][r.below(5) as usize],
        2 => [
            Step::Send(channel),
            Step::Recv(channel),
            Step::TrySend(channel),
            Step::TryRecv(channel),
            Step::Send(channel),
            Step::Recv(channel),
            Step::Select(channel == 0),
            Step::Select(channel == 1),
        ][r.below(8) as usize],
        3 => [
            Step::EventWait,
            Step::EventSet,
            Step::EventReset,
            Step::GroupAdd,
            Step::GroupDone,
            Step::GroupWait,
        ][r.below(6) as usize],
        4 => Step::Meet,
        5 => [
            Step::Read,
            Step::Write,
            Step::EndRead,
            Step::EndWrite,
            Step::EndRead,
            Step::EndWrite,
            Step::TryRead,
            Step::TryWrite,
        ][r.below(8) as usize],
        6 => Step::Sleep(r.below(4).into()),
        7 => Step::Cancel(r.below(tasks as u32) as usize),
        8 if r.below(6) == 0 => Step::Close(channel),
        _ => Step::Yield,
    }
}

impl Program {
    pub fn new(seed: u64) -> Self {
        let r = &mut Rng::new(seed, 0);
        let tasks = 2 + r.below(TASKS_MAX as u32 - 1) as usize;
        // Each about few objects, so that tasks meet.
        let first = r.below(6);
        let kinds = [first, if r.one_in(2) { first } else { r.below(6) }];
        let body = |r: &mut Rng| {
            let level = if r.one_in(2) { r.below(3) as u8 } else { 1 };
            let count = 2 + r.below(8);
            let one = |r: &mut Rng| {
                let about = if r.below(10) < 6 { kinds[r.below(2) as usize] } else { r.below(10) };
                let step = step(r, tasks, about);
                (step, (r.below(4) == 0).then(|| r.below(4).into()))
            };
            Body { level, steps: (0..count).map(|_| one(r)).collect() }
        };
        Self { bodies: (0..tasks).map(|_| body(r)).collect() }
    }
}

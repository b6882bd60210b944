//! Random programs: what each task does with the objects, one step after the other.

use crate::support::rng::Rng;

pub const TASKS_MAX: usize = 5;
/// Tasks that are not attached at first: children of the team, for `Spawn`.
pub const CHILDREN: usize = 3;
/// Nor those: for the pool, or to be let go.
pub const POOLED: usize = 2;
/// Operations of each task.
pub const OPS: usize = 2;
pub const CASES_MAX: usize = 4;
pub const CAPACITY_MAX: usize = 3;
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
    Select([Option<Case>; CASES_MAX]),
    /// The task's nth operation, which ends in so many slots.
    Begin(usize, u64),
    /// What it has brought, if that is there.
    TakeOp(usize),
    /// It ends now, of that task.
    Complete(usize, usize),
    WaitOp(usize),
    /// For whichever ends first.
    WaitAny,
    CancelOp(usize),
    /// Cancels it, and waits until it is over, whatever else comes.
    EndOp(usize),
    /// Of the nth child.
    Spawn(usize),
    SpawnAll,
    CancelTeam,
    WaitTeam,
    Join(usize),
    Park,
    Unpark(usize),
    /// Of the nth that is for the pool.
    Submit(usize),
    SubmitAll,
    /// The same, by the executor itself.
    Attach(usize),
    SetLevel(usize, u8),
    /// Until so few have not begun.
    WaitQueued(usize),
    /// Or are not over.
    WaitUnfinished(usize),
    /// Until its exit was told.
    WaitTold(usize),
    CancelQueue,
    CloseQueue,
    Yield,
    Sleep(u64),
    /// So long it runs on: time passes, and nobody sleeps.
    Work(u64),
    Cancel(usize),
}

/// A case of a select, and its priority.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case(pub What, pub u8);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Send(usize),
    Recv(usize),
    Join(usize),
    Timeout(u64),
    Op(usize),
}

impl What {
    pub const KINDS: usize = 5;

    pub fn kind(self) -> usize {
        match self {
            What::Send(_) => 0,
            What::Recv(_) => 1,
            What::Join(_) => 2,
            What::Timeout(_) => 3,
            What::Op(_) => 4,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Body {
    pub level: u8,
    /// The task returns an error.
    pub fails: bool,
    /// With a time-out in slots, where the step may wait.
    pub steps: Vec<(Step, Option<u64>)>,
}

#[derive(Clone, Debug)]
pub struct Program {
    /// The children behind the tasks, and those for the pool last.
    pub bodies: Vec<Body>,
    /// The executor is a worker's of a pool.
    pub is_fed: bool,
    /// Somebody is told of the exits of those.
    pub is_told: bool,
    /// A child that fails does not cancel the others.
    pub independent: bool,
    /// Nobody is told of the children's exits.
    pub quiet: bool,
    /// Who is told calls nothing of the library.
    pub short: bool,
    /// Of each channel. At the first one a sender meets a receiver.
    pub capacity: [usize; 2],
}

fn select(r: &mut Rng, tasks: usize, of_operations: bool) -> Step {
    let count = 1 + r.below(CASES_MAX as u32) as usize;
    Step::Select(std::array::from_fn(|i| {
        let what = match r.below(if of_operations { 15 } else { 9 }) {
            9.. => What::Op(usize::from(r.one_in(4))),
            0 | 1 => What::Send(r.below(2) as usize),
            2 | 3 => What::Recv(r.below(2) as usize),
            4 => What::Timeout(r.below(4).into()),
            5 | 6 => What::Op(r.below(OPS as u32) as usize),
            _ => What::Join(r.below(tasks as u32) as usize),
        };
        let priority = if r.one_in(3) { r.below(2) as u8 } else { 0 };
        (i < count).then_some(Case(what, priority))
    }))
}

/// What a step is about: the objects first.
const OBJECTS: u32 = 10;
const POOL: u32 = 9;
const SLEEP: u32 = OBJECTS;
const CANCEL: u32 = OBJECTS + 1;
const CLOSE: u32 = OBJECTS + 2;

fn step(r: &mut Rng, tasks: usize, is_fed: bool, is_child: bool, about: u32) -> Step {
    let channel = r.below(2) as usize;
    let anybody = r.below(tasks as u32) as usize;
    let one_of_the_first = r.below((tasks - CHILDREN - POOLED) as u32) as usize;
    match about {
        0 => [
            Step::Lock,
            Step::Lock,
            Step::Unlock,
            Step::Unlock,
            Step::TryLock,
            Step::CondWait,
            Step::CondWait,
            Step::CondWait,
            Step::Notify(1),
            Step::Notify(9),
        ][r.below(10) as usize],
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
            select(r, tasks, false),
            select(r, tasks, false),
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
            Step::Read,
            Step::Write,
            Step::EndRead,
            Step::EndWrite,
            Step::EndRead,
            Step::EndWrite,
            Step::TryRead,
            Step::TryWrite,
        ][r.below(10) as usize],
        // Children spawn nobody, so that every program ends.
        6 if is_child => [Step::WaitTeam, Step::CancelTeam, Step::Yield][r.below(3) as usize],
        6 => [
            Step::Spawn(r.below(CHILDREN as u32) as usize),
            Step::Spawn(r.below(CHILDREN as u32) as usize),
            Step::SpawnAll,
            Step::CancelTeam,
            Step::WaitTeam,
            Step::WaitTeam,
        ][r.below(6) as usize],
        7 => [Step::Park, Step::Unpark(anybody), Step::Join(anybody)][r.below(3) as usize],
        8 => {
            let n = usize::from(r.one_in(4));
            [
                Step::Begin(n, r.below(6).into()),
                Step::Begin(n, r.below(6).into()),
                Step::Begin(n, r.below(6).into()),
                Step::Begin(1, r.below(6).into()),
                Step::WaitOp(n),
                Step::WaitAny,
                Step::TakeOp(n),
                Step::Complete(one_of_the_first, n),
                Step::Complete(one_of_the_first, n),
                Step::WaitOp(n),
                Step::WaitOp(n),
                Step::WaitAny,
                Step::WaitAny,
                Step::CancelOp(n),
                Step::EndOp(n),
                select(r, tasks, true),
                select(r, tasks, true),
                select(r, tasks, true),
                select(r, tasks, true),
            ][r.below(19) as usize]
        }
        // As above; and those that were submitted submit nobody.
        POOL if is_child => Step::Yield,
        POOL => {
            let n = r.below(POOLED as u32) as usize;
            let left = r.below(3) as usize;
            [
                if is_fed { Step::Submit(n) } else { Step::Attach(n) },
                if is_fed { Step::Submit(n) } else { Step::Attach(n) },
                if is_fed { Step::SubmitAll } else { Step::Attach(n) },
                Step::Attach(n),
                Step::SetLevel(n, r.below(3) as u8),
                Step::WaitQueued(left),
                Step::WaitUnfinished(left),
                Step::WaitTold(n),
                Step::Join(tasks - POOLED + n),
                Step::Join(tasks - POOLED + n),
                Step::Cancel(tasks - POOLED + n),
                [Step::CancelQueue, Step::CloseQueue, Step::Yield, Step::Yield]
                    [r.below(4) as usize],
                select(r, tasks, false),
                Step::WaitQueued(left / 2),
                Step::WaitUnfinished(left / 2),
                Step::Work(1),
                Step::Cancel(anybody),
                Step::WaitUnfinished(0),
                Step::WaitQueued(0),
                Step::WaitQueued(0),
                Step::Join(tasks - POOLED + n),
            ][r.below(21) as usize]
        }
        SLEEP if r.one_in(4) => Step::Work(r.below(4).into()),
        SLEEP => Step::Sleep(r.below(4).into()),
        CANCEL if r.one_in(2) => Step::Cancel(one_of_the_first),
        CANCEL => Step::Cancel(anybody),
        CLOSE if r.below(6) == 0 => Step::Close(channel),
        _ => Step::Yield,
    }
}

/// What comes before a step that would wait for nothing.
fn first(r: &mut Rng, step: Step, tasks: usize, submits: bool) -> Option<Step> {
    let begins = |n: usize, r: &mut Rng| Some(Step::Begin(n, 1 + u64::from(r.below(5))));
    match step {
        Step::WaitOp(n) => begins(n, r),
        Step::WaitAny => begins(0, r),
        Step::Select(cases) => cases.iter().flatten().find_map(|&Case(what, _)| match what {
            What::Op(n) => begins(n, r),
            _ => None,
        }),
        Step::WaitQueued(_) | Step::WaitUnfinished(_) if submits => Some(Step::SubmitAll),
        Step::Join(other) if submits && other >= tasks - POOLED => {
            Some(Step::Submit(other - (tasks - POOLED)))
        }
        _ => None,
    }
}

impl Program {
    pub fn new(seed: u64) -> Self {
        let r = &mut Rng::new(seed, 0);
        let tasks = 2 + r.below(TASKS_MAX as u32 - 1) as usize;
        let all = tasks + CHILDREN + POOLED;
        // Each about few objects, so that tasks meet; every pair of them in turn.
        let kinds = [seed, seed / u64::from(OBJECTS)].map(|n| (n % u64::from(OBJECTS)) as u32);
        let (is_fed, is_told) = (kinds.contains(&POOL) || r.one_in(4), r.one_in(2));
        // How many steps have a time-out, and in how many programs time passes often.
        let (timed, sleepy) = (1 + r.below(5), r.below(4));
        let body = |r: &mut Rng, is_child: bool, is_pooled: bool| {
            // Who is submitted waits for its turn, most often.
            let level = if r.one_in(2) { r.below(3) as u8 } else { 1 + u8::from(is_pooled) };
            let count = if is_child { r.below(5) } else { 2 + r.below(8) };
            let one = |r: &mut Rng| {
                let about = match r.below(20) {
                    0..=12 => kinds[r.below(2) as usize],
                    13 => CANCEL,
                    14..=16 if sleepy == 0 => SLEEP,
                    _ => r.below(OBJECTS + 4),
                };
                let step = step(r, all, is_fed, is_child, about);
                (step, r.one_in(timed).then(|| r.below(4).into()))
            };
            let mut steps = Vec::new();
            for _ in 0..count {
                let step = one(r);
                // Most often there is something to wait for.
                let first = first(r, step.0, all, is_fed && !is_child);
                steps.extend(first.filter(|_| !r.one_in(3)).map(|first| (first, None)));
                steps.push(step);
            }
            Body { level, fails: is_child && r.one_in(3), steps }
        };
        let bodies = (0..all).map(|t| body(r, t >= tasks, t >= tasks + CHILDREN)).collect();
        let (independent, quiet, short) = (r.one_in(3), r.one_in(3), r.one_in(2));
        // Most often of one place, so that senders wait.
        let places = if r.one_in(2) { 1 } else { 1 + r.below(CAPACITY_MAX as u32) as usize };
        let capacity = [0, places];
        Self { bodies, is_fed, is_told, independent, quiet, short, capacity }
    }

    /// Those that are attached at first.
    pub fn tasks(&self) -> usize {
        self.bodies.len() - CHILDREN - POOLED
    }
}

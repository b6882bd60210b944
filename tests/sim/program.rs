//! What a seed stands for: the tasks and their steps, what the driver does between passes, what
//! other threads do meanwhile, and how the simulated kernel is disposed. Any piece may be taken out,
//! so that a program that fails can be shrunk.

use crate::rng::Rng;

/// What an operation's end looks like to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Full,
    /// So many bytes less than asked for.
    Short(u8),
    Errno(i32),
    /// Not before it is cancelled.
    Never,
}

/// What becomes of a cancel request that finds the operation in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OnCancel {
    /// -ECANCELED, and 0 for the request; `true`: the request is answered first.
    Wins(bool),
    /// A kernel worker is interrupted: -EINTR, and -EALREADY for the request.
    Interrupts,
    /// -EALREADY, and the operation takes its course.
    Loses,
    /// The operation ended at that moment: its real result, and -ENOENT; `true`: answered first.
    Crosses(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Nop,
    Read,
    Write,
    Poll,
    SendZc,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Io {
    pub op: Op,
    pub len: u8,
    pub end: End,
    pub delay_ns: u32,
    pub on_cancel: OnCancel,
    /// IOSQE_IO_DRAIN: begins when all before it have ended, and nothing after it before.
    pub drain: bool,
}

/// One thing that a task does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Yield,
    Sleep(u32),
    SleepForEver,
    Io(Io),
    Join(u8),
    Cancel(u8),
    Attach {
        task: u8,
        ex: u8,
    },
    /// Of a task: to these levels.
    Priorities(u8, u8, u8),
    /// Its own, by writing the public field.
    WritePriority(u8),
    Wake(u8),
    HasWork,
    /// A call that must be refused.
    Misuse(u8),
    /// Ends this life here, with this errno.
    Exit(i32),
}

/// One thing that the driver does between passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drive {
    Run {
        ex: u8,
        max: u32,
        timeout_ns: Option<u32>,
    },
    Attach {
        task: u8,
        ex: u8,
    },
    Cancel {
        task: u8,
        ex: u8,
    },
    Priorities(u8, u8, u8),
    HasWork(u8),
    DestroyBusy(u8),
    /// Destroys a task and makes another, most likely in the same place.
    Recreate(u8),
    Pass(u32),
}

/// One thing that another thread does, at any moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Foreign {
    Wake(u8),
    /// It takes that thread so many moments from claiming the task to posting it.
    Attach {
        task: u8,
        ex: u8,
        slow: u32,
    },
    /// On the executor it is attached to, or on the given one whatever.
    Cancel {
        task: u8,
        ex: Option<u8>,
    },
    /// Several threads at once, to one executor: launches, cancels, in any order.
    Storm(u8),
    /// The other executor's thread gets so many items done.
    Run {
        max: u32,
    },
}

/// How the kernel is disposed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temper {
    pub sq_entries: u32,
    pub cq_entries: usize,
    /// Completions show up only on an enter (DEFER_TASKRUN).
    pub deferred: bool,
    /// One enter in so many is refused or interrupted; 0: none.
    pub faults: u32,
    /// -ENOMEM is among the faults.
    pub nomem: bool,
    /// An enter may take some of the entries only.
    pub partial: bool,
    /// One sleep in so many ends for no reason; 0: none.
    pub spurious: u32,
    /// How far the clock goes each time it is looked at, at most.
    pub step_ns: u32,
}

pub struct Program {
    pub seed: u64,
    pub executors: usize,
    pub ring: [bool; 2],
    pub track: bool,
    pub tempers: [Temper; 2],
    /// cpu and io level of each task at the start.
    pub levels: Vec<(u8, u8)>,
    /// Of each task, of each of its lives, the range in `steps`.
    pub lives: Vec<Vec<(u32, u32)>>,
    pub steps: Vec<Option<Step>>,
    pub drive: Vec<Option<Drive>>,
    /// After so many more moments.
    pub foreign: Vec<Option<(u32, Foreign)>>,
}

const ERRNOS: [i32; 8] = [
    libc::EIO,
    libc::EBADF,
    libc::EAGAIN,
    libc::ENOSPC,
    libc::ECONNRESET,
    libc::EINTR,
    libc::ECANCELED,
    libc::EINVAL,
];

impl Program {
    pub fn new(seed: u64) -> Self {
        let mut r = Rng::new(seed, 1);
        // Few programs are wide: the bound of 64 items needs more tasks than that.
        let wide = r.one_in(64);
        let tasks = if wide { 66 + r.below(40) } else { 1 + r.below(7) } as u8;
        let executors = if r.one_in(3) { 2 } else { 1 };
        let ring = [!r.one_in(8), !r.one_in(8)];
        let mut p = Self {
            seed,
            executors,
            ring,
            track: r.one_in(4),
            tempers: [temper(&mut r), temper(&mut r)],
            levels: (0..tasks).map(|_| (level(&mut r), level(&mut r))).collect(),
            lives: Vec::with_capacity(tasks as usize),
            steps: Vec::with_capacity(64),
            drive: Vec::with_capacity(16),
            foreign: Vec::with_capacity(8),
        };
        let mix = Mix::new(&mut r);
        let long = if wide { 3 } else { 2 + r.below(9) };
        for _ in 0..tasks {
            let lives = if r.one_in(3) { 2 } else { 1 };
            let mut ranges = Vec::with_capacity(lives);
            for _ in 0..lives {
                let from = p.steps.len() as u32;
                for _ in 0..r.below(long + 1) {
                    p.steps.push(Some(mix.step(&mut r, tasks, executors as u8)));
                }
                ranges.push((from, p.steps.len() as u32));
            }
            p.lives.push(ranges);
        }
        p.plan_drive(&mut r, tasks, wide);
        let (most, gap) = (r.pick(&[1, 5, 10, 20]), r.pick(&[2, 10, 60]));
        for _ in 0..r.below(most) {
            let gap = if r.one_in(3) { 0 } else { r.below(gap) };
            p.foreign.push(Some((gap, foreign(&mut r, tasks, executors as u8))));
        }
        p
    }

    fn plan_drive(&mut self, r: &mut Rng, tasks: u8, wide: bool) {
        let e = self.executors as u32;
        for task in 0..tasks {
            if wide || !r.one_in(4) {
                self.drive.push(Some(Drive::Attach { task, ex: r.below(e) as u8 }));
            }
            if !wide && r.one_in(4) {
                self.drive.push(Some(run(r, e)));
            }
        }
        for _ in 0..r.below(8) {
            let (task, ex) = (r.below(u32::from(tasks)) as u8, r.below(e) as u8);
            self.drive.push(Some(match r.below(12) {
                0 | 1 => Drive::Attach { task, ex },
                2 => Drive::Cancel { task, ex },
                3 => Drive::Priorities(task, level(r), level(r)),
                4 => Drive::HasWork(ex),
                5 => Drive::DestroyBusy(ex),
                6 if r.one_in(4) => Drive::Recreate(task),
                7 => Drive::Pass(r.below(3000)),
                _ => run(r, e),
            }));
        }
    }

    /// How many pieces `drop_piece` knows.
    pub fn pieces(&self) -> usize {
        self.steps.len() + self.drive.len() + self.foreign.len() + TEMPERS
    }

    /// Takes one piece out: a step, something the driver or another thread does, a fault.
    pub fn drop_piece(&mut self, n: usize) {
        let (s, d, f) = (self.steps.len(), self.drive.len(), self.foreign.len());
        if n < s {
            self.steps[n] = None;
        } else if n < s + d {
            self.drive[n - s] = None;
        } else if n < s + d + f {
            self.foreign[n - s - d] = None;
        } else {
            for t in &mut self.tempers {
                match n - s - d - f {
                    0 => t.faults = 0,
                    1 => t.nomem = false,
                    2 => t.partial = false,
                    3 => t.spurious = 0,
                    4 => t.cq_entries = 1000,
                    5 => t.sq_entries = 64,
                    6 => t.deferred = false,
                    _ => t.step_ns = 0,
                }
            }
        }
    }

    /// For a reader.
    pub fn print(&self) {
        eprintln!("seed {}: {} executors, rings {:?}", self.seed, self.executors, self.ring);
        for t in &self.tempers[..self.executors] {
            eprintln!("  kernel {t:?}");
        }
        for (i, lives) in self.lives.iter().enumerate() {
            for (n, &(from, to)) in lives.iter().enumerate() {
                let steps: Vec<_> =
                    self.steps[from as usize..to as usize].iter().flatten().collect();
                eprintln!("  task {i} {:?} life {n}: {steps:?}", self.levels[i]);
            }
        }
        eprintln!("  driver: {:?}", self.drive.iter().flatten().collect::<Vec<_>>());
        eprintln!("  others: {:?}", self.foreign.iter().flatten().collect::<Vec<_>>());
    }
}

const TEMPERS: usize = 8;

/// What a program's steps are made of: each program has a few favourites, so that unlikely
/// meetings of likely things happen in some programs all the time.
struct Mix {
    weights: [u32; 12],
    /// One operation in so many drains; 0: none.
    drains: u32,
}

impl Mix {
    fn new(r: &mut Rng) -> Self {
        let mut weights = [3, 3, 1, 6, 2, 2, 2, 1, 1, 1, 1, 1];
        for w in &mut weights {
            *w *= r.pick(&[0, 1, 1, 4]);
        }
        weights[0] += 1;
        Self { weights, drains: r.pick(&[0, 0, 0, 4]) }
    }

    fn step(&self, r: &mut Rng, tasks: u8, executors: u8) -> Step {
        let task = r.below(u32::from(tasks)) as u8;
        let ex = r.below(u32::from(executors)) as u8;
        let mut at = r.below(self.weights.iter().sum());
        let mut kind = 0;
        while at >= self.weights[kind] {
            at -= self.weights[kind];
            kind += 1;
        }
        match kind {
            0 => Step::Yield,
            1 => Step::Sleep(1 + r.below(3000)),
            2 => Step::SleepForEver,
            3 => Step::Io(io(r, self.drains)),
            4 => Step::Join(task),
            5 => Step::Cancel(task),
            6 => Step::Attach { task, ex },
            7 => Step::Priorities(task, level(r), level(r)),
            8 => Step::WritePriority(level(r)),
            9 => Step::Wake(ex),
            10 if r.one_in(2) => Step::HasWork,
            10 => Step::Exit(r.pick(&ERRNOS)),
            _ => Step::Misuse(r.below(8) as u8),
        }
    }
}

fn level(r: &mut Rng) -> u8 {
    r.pick(&[0, 1, 1, 1, 2, 2])
}

fn io(r: &mut Rng, drains: u32) -> Io {
    Io {
        op: r.pick(&[Op::Nop, Op::Read, Op::Read, Op::Write, Op::Poll, Op::SendZc]),
        len: 1 + r.below(32) as u8,
        end: match r.below(8) {
            0 => End::Short(r.below(33) as u8),
            1 => End::Errno(r.pick(&ERRNOS)),
            2 => End::Never,
            _ => End::Full,
        },
        delay_ns: r.pick(&[0, 0, 100, 1000, 5000]),
        on_cancel: match r.below(6) {
            0 => OnCancel::Wins(true),
            1 => OnCancel::Wins(false),
            2 => OnCancel::Interrupts,
            3 => OnCancel::Loses,
            4 => OnCancel::Crosses(true),
            _ => OnCancel::Crosses(false),
        },
        drain: drains != 0 && r.one_in(drains),
    }
}

fn foreign(r: &mut Rng, tasks: u8, executors: u8) -> Foreign {
    let (task, ex) = (r.below(u32::from(tasks)) as u8, r.below(u32::from(executors)) as u8);
    match r.below(10) {
        0 | 1 => Foreign::Wake(ex),
        2..=4 => Foreign::Attach { task, ex, slow: r.pick(&[0, 0, 1, 2, 5, 20]) },
        5 => Foreign::Cancel { task, ex: Some(ex) },
        6 => Foreign::Cancel { task, ex: None },
        7 => Foreign::Storm(ex),
        _ => Foreign::Run { max: 1 + r.below(4) },
    }
}

fn run(r: &mut Rng, executors: u32) -> Drive {
    Drive::Run {
        ex: r.below(executors) as u8,
        max: r.pick(&[0, 1, 1, 2, 3, 64, 65, u32::MAX, u32::MAX]),
        timeout_ns: r.pick(&[None, Some(0), Some(0), Some(500), Some(20_000)]),
    }
}

fn temper(r: &mut Rng) -> Temper {
    Temper {
        sq_entries: r.pick(&[1, 1, 2, 4, 64]),
        cq_entries: r.pick(&[1, 2, 4, 128, 128]),
        deferred: r.one_in(2),
        faults: r.pick(&[0, 0, 2, 8]),
        nomem: r.one_in(4),
        partial: r.one_in(3),
        spurious: r.pick(&[0, 0, 4]),
        step_ns: r.pick(&[1, 40, 400]),
    }
}

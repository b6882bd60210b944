//! Draws a program from a seed: one number in, one program out.

use crate::program::{Drive, End, Foreign, Io, OnCancel, Op, Program, Step, Temper, OPS};
use crate::rng::Rng;

/// Those that mean something to an executor, or to a ring.
const ERRNOS: [i32; 8] = [
    libc::EIO,
    libc::EBADF,
    libc::EAGAIN,
    libc::ENOSPC,
    libc::ECONNRESET,
    libc::ENOBUFS,
    libc::ETIME,
    libc::EINVAL,
];

/// What the kernel says of an operation that it gave up, whether it was asked to or not.
const GIVEN_UP: [i32; 7] = [libc::ECANCELED, libc::EINTR, 512, 513, 514, 515, 516];

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
            looks: r.one_in(2),
            tempers: [temper(&mut r), temper(&mut r)],
            levels: (0..tasks).map(|_| (level(&mut r), level(&mut r))).collect(),
            lives: Vec::with_capacity(tasks as usize),
            steps: Vec::with_capacity(64),
            drive: Vec::with_capacity(16),
            foreign: Vec::with_capacity(8),
        };
        let mix = Mix::new(&mut r, tasks);
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
        let restless = executors == 2 && r.one_in(3);
        let (most, gap) = (r.pick(&[1, 5, 10, 20]), r.pick(&[2, 10, 60]));
        for _ in 0..r.below(most) {
            let gap = if r.one_in(3) { 0 } else { r.below(gap) };
            p.foreign.push(Some((gap, foreign(&mut r, tasks, executors as u8, restless))));
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
            self.drive.push(Some(match r.below(13) {
                12 => Drive::Unpark { task, ex },
                0 | 1 => Drive::Attach { task, ex },
                2 => Drive::Cancel { task, ex },
                3 => Drive::Priorities(task, level(r), level(r)),
                4 => Drive::HasWork(ex),
                5 => Drive::Turn(ex),
                6 if r.one_in(4) => Drive::Recreate(task),
                6 if r.one_in(3) => Drive::Retire(ex),
                7 if r.one_in(4) => Drive::CancelAll(ex),
                7 => Drive::Pass(r.below(3000)),
                _ => run(r, e),
            }));
        }
    }
}

/// What a program's steps are made of: each program has a few favourites, so that unlikely
/// meetings of likely things happen in some programs all the time.
struct Mix {
    weights: [u32; 18],
    /// One operation in so many drains; 0: none.
    drains: u32,
    /// A task that much is done to.
    favourite: Option<u8>,
}

impl Mix {
    fn new(r: &mut Rng, tasks: u8) -> Self {
        let mut weights = [6, 6, 2, 12, 4, 4, 4, 2, 2, 2, 2, 2, 1, 8, 6, 6, 3, 3];
        for w in &mut weights {
            *w *= r.pick(&[0, 1, 1, 4]);
        }
        weights[0] += 1;
        let favourite = r.one_in(2).then(|| r.below(u32::from(tasks)) as u8);
        Self { weights, drains: r.pick(&[0, 0, 0, 4]), favourite }
    }

    fn step(&self, r: &mut Rng, tasks: u8, executors: u8) -> Step {
        let mut task = r.below(u32::from(tasks)) as u8;
        if let Some(favourite) = self.favourite.filter(|_| r.one_in(2)) {
            task = favourite;
        }
        let ex = r.below(u32::from(executors)) as u8;
        let mut at = r.below(self.weights.iter().sum());
        let mut kind = 0;
        while at >= self.weights[kind] {
            at -= self.weights[kind];
            kind += 1;
        }
        match kind {
            0 => Step::Yield,
            1 if r.one_in(3) => Step::SleepUntil(r.below(3000)),
            1 => Step::Sleep(1 + r.below(3000)),
            2 => Step::SleepForEver,
            3 => Step::Io(io(r, self.drains, false)),
            4 => Step::Join(task),
            5 => Step::Cancel(task),
            6 => Step::Attach { task, ex },
            7 => Step::Priorities(task, level(r), level(r)),
            8 => Step::WritePriority(level(r)),
            9 => Step::Wake(ex),
            10 if r.one_in(2) => Step::HasWork,
            10 => Step::Exit(errno(r)),
            11 => Step::Misuse(r.below(8) as u8),
            12 => Step::CancelAll,
            13 => match r.below(8) {
                0..=3 => {
                    let timeout_ns = match r.below(3) {
                        0 => None,
                        1 => Some(r.pick(&[0, 0, 1, 100, 1000])),
                        _ => Some(1 + r.below(3000)),
                    };
                    // Nothing from outside would end a shield that has no deadline.
                    Step::Enter { timeout_ns, shield: timeout_ns.is_some() && r.one_in(2) }
                }
                4..=6 => Step::Leave,
                _ => Step::LeaveOutermost,
            },
            14 => match r.below(6) {
                0 | 1 => Step::Begin(r.below(OPS as u32) as u8, io(r, self.drains, true)),
                2 => Step::Wait(r.below(OPS as u32) as u8),
                3 | 4 => Step::WaitAny,
                _ => Step::OpCancel { task, op: r.below(OPS as u32) as u8 },
            },
            15 if r.one_in(2) => Step::Park,
            15 => Step::Unpark(task),
            16 => Step::Fire { task, depth: r.below(3) as u8 },
            _ => Step::Uncancel,
        }
    }
}

/// Any that there is.
fn errno(r: &mut Rng) -> i32 {
    if r.one_in(2) {
        r.pick(&ERRNOS)
    } else {
        1 + r.below(133) as i32
    }
}

fn level(r: &mut Rng) -> u8 {
    r.pick(&[0, 1, 1, 1, 2, 2])
}

fn io(r: &mut Rng, drains: u32, records: bool) -> Io {
    Io {
        op: match r.pick(&[Op::Nop, Op::Read, Op::Read, Op::Write, Op::Poll, Op::SendZc]) {
            Op::Poll if records => Op::Stream(r.below(4) as u8),
            op => op,
        },
        len: 1 + r.below(32) as u8,
        end: match r.below(8) {
            0 => End::Short(r.below(33) as u8),
            1 => match errno(r) {
                libc::EINTR | libc::ECANCELED => End::Errno(libc::EIO),
                e => End::Errno(e),
            },
            2 => End::Never,
            _ => End::Full,
        },
        delay_ns: r.pick(&[0, 0, 100, 1000, 5000]),
        on_cancel: match r.below(6) {
            0 => OnCancel::Wins(true),
            1 => OnCancel::Wins(false),
            2 => OnCancel::Interrupts(r.pick(&GIVEN_UP)),
            3 => OnCancel::Loses,
            4 => OnCancel::Crosses(true),
            _ => OnCancel::Crosses(false),
        },
        trouble: match r.below(32) {
            0..=2 => (1 + r.below(3) as u8, r.pick(&GIVEN_UP)),
            // Only records: calls take breaks from the fifth time on.
            3 if records && r.one_in(8) => (200, r.pick(&GIVEN_UP)),
            _ => (0, 0),
        },
        drain: drains != 0 && r.one_in(drains),
    }
}

fn foreign(r: &mut Rng, tasks: u8, executors: u8, restless: bool) -> Foreign {
    if restless && r.one_in(3) {
        return r.pick(&[Foreign::Turn, Foreign::Turn, Foreign::Retire]);
    }
    let (task, ex) = (r.below(u32::from(tasks)) as u8, r.below(u32::from(executors)) as u8);
    match r.below(11) {
        0 | 1 => Foreign::Wake(ex),
        10 => Foreign::Unpark(task),
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
        garbage: r.pick(&[0, 0, 0, 3]),
        step_ns: r.pick(&[1, 40, 400]),
    }
}

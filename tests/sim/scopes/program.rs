//! What a program is: the steps of one task, and what happens to it from outside at fixed times.
//!
//! No two things happen at one time: each kind has its own remainder of [`SLOT_NS`], so that what a
//! call returns never depends on who of two was first.

use crate::support::rng::Rng;

pub const SLOT_NS: u64 = 16;
pub const OPS: usize = 4;
pub const TARGETS: usize = 3;
/// When the janitor first looks in, and how often from then on: cancels all that can be cancelled.
pub const JANITOR_NS: u64 = 20_000 + JANITOR;
pub const JANITOR_EVERY_NS: u64 = 2_000;

/// Remainders. The four operations have `OP` and the following ones, the call's own the one after
/// them.
pub const DEADLINE: u64 = 1;
pub const SLEEP: u64 = 2;
pub const ACTOR: u64 = 3;
pub const JANITOR: u64 = 4;
pub const TARGET: u64 = 5;
pub const OP: u64 = 8;
pub const OWN: usize = OPS;

/// The next time of this remainder after `delay_ns`.
pub fn at(now_ns: u64, delay_ns: u64, remainder: u64) -> u64 {
    ((now_ns + delay_ns) / SLOT_NS + 1) * SLOT_NS + remainder
}

/// When a scope's time is over.
pub fn deadline(now_ns: u64, timeout_ns: u64) -> u64 {
    if timeout_ns == 0 {
        now_ns
    } else {
        at(now_ns, timeout_ns, DEADLINE)
    }
}

/// How often the coarse clock moves on, what of it is no matter, and for which time-outs it is.
pub const TICK_NS: u64 = 16 * SLOT_NS;
pub const SLACK_NS: u64 = 2 * TICK_NS;
pub const COARSE_FROM_NS: u64 = 600;

/// Of a scope that was entered by the coarse clock: what a time-out that is armed now is later than
/// now, less it; and what has passed by that clock. The remainder stays that of deadlines.
pub fn coarsely(entered_ns: u64, now_ns: u64) -> (u64, u64) {
    let ticks = now_ns / TICK_NS - entered_ns / TICK_NS;
    let passed_ns = (ticks * TICK_NS).saturating_sub(SLACK_NS);
    let later_ns = (now_ns - entered_ns).next_multiple_of(SLOT_NS) - (now_ns - entered_ns);
    (later_ns, passed_ns)
}

/// Work stops before anybody else would act, so that no more than deadlines pass in it.
pub fn worked(p: &Program, now_ns: u64, ns: u64) -> u64 {
    let janitor_ns = (0..).map(|n| JANITOR_NS + n * JANITOR_EVERY_NS).find(|&ns| ns > now_ns);
    let others = p.acts.iter().map(|a| a.0).chain(p.targets).chain(janitor_ns);
    let next_ns = others.filter(|&ns| ns > now_ns).min().expect("the janitor comes for ever");
    (now_ns + ns).min(next_ns - 1)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Full(i32),
    Errno(i32),
    /// Not before it is cancelled.
    Never,
}

/// What becomes of a cancel request that finds the operation in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OnCancel {
    /// It ends at once with this errno: ECANCELED, EINTR, or one of the kernel's own.
    Ends(i32),
    /// It takes its course.
    Loses,
    /// It ended at that moment.
    Crosses,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Script {
    /// A delay, until the step is taken.
    pub due_ns: u64,
    /// Of the times at which it ends.
    pub remainder: u64,
    pub end: End,
    pub on_cancel: OnCancel,
    /// It fails so many times with this errno first, though nobody cancelled it.
    pub trouble: (u8, i32),
    /// A stream: so many completions come before the last.
    pub more: u8,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Enter {
        timeout_ns: Option<u64>,
        shield: bool,
    },
    Leave,
    /// Of the outermost, which is refused if it is not the innermost.
    LeaveOutermost,
    Fire(u8),
    CancelSelf,
    Uncancel,
    /// Time passes while the task runs.
    Work(u64),
    Yield,
    Sleep(u64),
    Forever,
    Io(Script),
    Begin(u8, Script),
    Wait(u8),
    WaitAny,
    OpCancel(u8),
    Park,
    Unpark,
    Join(u8),
}

/// What another task of the executor does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    Cancel,
    Fire(u8),
    Unpark,
    OpCancel(u8),
}

#[derive(Debug)]
pub struct Program {
    pub steps: Vec<Step>,
    /// After how long from the beginning, in order.
    pub acts: Vec<(u64, Act)>,
    /// When the tasks exit that are joined.
    pub targets: [u64; TARGETS],
    pub sq_entries: u32,
    /// Operations have trouble, so that some are begun again; then time passes only in suspensions.
    pub troubled: bool,
    /// The executor tracks time, so that it enters scopes by the coarse clock.
    pub tracked: bool,
}

impl Script {
    /// As it is once it begins, in this place.
    pub fn begun(mut self, now_ns: u64, place: usize) -> Self {
        self.remainder = OP + place as u64;
        let never = self.end == End::Never && self.more == 0;
        self.due_ns = if never { u64::MAX } else { at(now_ns, self.due_ns, self.remainder) };
        self
    }

    /// Its last completion comes after all, once a cancel has not ended it.
    pub fn after_all(&self, now_ns: u64) -> u64 {
        at(now_ns, 100, self.remainder)
    }
}

pub const TROUBLE: [i32; 7] = [libc::EINTR, libc::ECANCELED, 512, 513, 514, 515, 516];

fn script(r: &mut Rng, trouble: bool) -> Script {
    Script {
        due_ns: r.pick(&[1, 100, 1000, 3000]) + u64::from(r.below(500)),
        remainder: 0,
        end: match r.below(6) {
            0 => End::Never,
            1 => End::Errno(r.pick(&[
                libc::EIO,
                libc::EBADF,
                libc::ENOBUFS,
                libc::ETIME,
                libc::EAGAIN,
            ])),
            _ => End::Full(r.below(64) as i32),
        },
        on_cancel: match r.below(5) {
            0 => OnCancel::Loses,
            1 => OnCancel::Crosses,
            _ => OnCancel::Ends(r.pick(&TROUBLE)),
        },
        trouble: match r.below(8) {
            0 if trouble => (1 + r.below(3) as u8, r.pick(&TROUBLE)),
            _ => (0, 0),
        },
        more: 0,
    }
}

fn step(r: &mut Rng, troubled: bool) -> Step {
    let delay_ns = |r: &mut Rng| r.pick(&[1, 50, 500, 2000]) + u64::from(r.below(300));
    match r.below(36) {
        0..=7 => Step::Enter {
            timeout_ns: match r.below(5) {
                0 | 1 => None,
                2 => Some(0),
                _ => Some(delay_ns(r)),
            },
            shield: r.one_in(4),
        },
        8..=11 => Step::Leave,
        12 if r.one_in(4) => Step::LeaveOutermost,
        12 => Step::Fire(r.below(5) as u8),
        13 => Step::CancelSelf,
        14 | 15 => Step::Uncancel,
        16 if !troubled => Step::Work(delay_ns(r)),
        16 | 17 => Step::Yield,
        18..=20 => Step::Sleep(delay_ns(r)),
        21 => Step::Forever,
        22..=24 => {
            let mut s = script(r, troubled);
            // From the fifth time on, the call takes breaks.
            s.trouble.0 = s.trouble.0.min(3);
            Step::Io(s)
        }
        25..=27 => {
            let mut s = script(r, troubled);
            if troubled {
                // It may wait for an entry again when it is cancelled, and then it ends at once.
                s.on_cancel = OnCancel::Ends(libc::ECANCELED);
            }
            if r.one_in(3) {
                s.more = r.below(4) as u8;
            }
            if s.more != 0 {
                // It would end at once: when, in the order of all, depends on who waits for
                // entries.
                s.trouble.0 = 0;
            }
            Step::Begin(r.below(OPS as u32) as u8, s)
        }
        28 | 29 => Step::Wait(r.below(OPS as u32) as u8),
        30 | 31 => Step::WaitAny,
        // As above: one that waits for an entry again is over before others that are not.
        32 if troubled => Step::WaitAny,
        32 => Step::OpCancel(r.below(OPS as u32) as u8),
        33 => Step::Park,
        34 if r.one_in(3) => Step::Unpark,
        34 => Step::Park,
        _ => Step::Join(r.below(TARGETS as u32) as u8),
    }
}

impl Program {
    /// Operations that the kernel never performs, and one that it performs in the end.
    pub fn in_vain(errno: i32) -> Self {
        let (end, on_cancel) = (End::Full(7), OnCancel::Ends(libc::ECANCELED));
        let never =
            Script { due_ns: 1, remainder: 0, end, on_cancel, trouble: (200, errno), more: 0 };
        let once = Script { trouble: (100, errno), ..never };
        let mut steps = vec![Step::Begin(0, never), Step::Begin(1, once)];
        // Of a stream, nobody knows what has come already.
        steps.push(Step::Begin(2, Script { trouble: (1, errno), more: 2, ..never }));
        steps.extend([Step::Wait(0), Step::Wait(1), Step::Wait(2)]);
        let (acts, targets) = (vec![], [TARGET; TARGETS]);
        Self { steps, acts, targets, sq_entries: 2, troubled: true, tracked: false }
    }

    pub fn new(seed: u64) -> Self {
        let mut r = Rng::new(seed, 7);
        let troubled = r.one_in(2);
        let acts = r.below(6);
        let mut times: Vec<u64> =
            (0..acts).map(|_| at(0, u64::from(r.below(8000)), ACTOR)).collect();
        times.sort_unstable();
        times.dedup();
        Self {
            steps: (0..1 + r.below(20)).map(|_| step(&mut r, troubled)).collect(),
            acts: times
                .into_iter()
                .map(|t| {
                    let act = match r.below(8) {
                        0..=2 => Act::Cancel,
                        3..=5 => Act::Fire(r.below(4) as u8),
                        6 => Act::Unpark,
                        _ => Act::OpCancel(r.below(OPS as u32) as u8),
                    };
                    (t, act)
                })
                .collect(),
            targets: [0; TARGETS].map(|_| at(0, u64::from(r.below(9000)), TARGET)),
            sq_entries: r.pick(&[1, 2, 8]),
            troubled,
            tracked: seed & 2 != 0,
        }
    }
}

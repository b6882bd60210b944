//! What must happen: a model of the executors' promises, simple enough to be believed, that follows
//! the program step by step and says at every step what comes next.
//!
//! The model learns three moments from outside, which the promises leave open: when a completion was
//! taken (`pop` of the simulated kernel), that a mailbox was emptied, and that expired sleepers were
//! collected. All else it knows by itself; each moment has a latest time, which `bound` checks.

use std::collections::VecDeque;

use crate::mail::Mail;
use crate::program::Io;
use crate::ring::Ring;
use crate::rng::Rng;
use monad_async::error::{Errno, RawResult};

pub const BOUND: u64 = 64;
pub const CANCELED: RawResult = RawResult::failure(Errno(libc::ECANCELED));

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    Idle,
    /// Claimed by another thread that has not posted it yet.
    Claimed,
    /// Attached by another thread, not yet seen by its executor.
    Mail,
    Ready,
    Running,
    /// Asleep since it was at this time on the clock; the deadline is in `sleepers` once known.
    Sleep,
    ForEver,
    /// Has an operation that waits for a submission entry.
    Entry,
    Flight,
    Join(u8),
    /// Joins a task of the other executor; so many messages are on their way.
    Away {
        other: u8,
        owed: u8,
        registered: bool,
        asked: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cancel {
    No,
    Asked,
    Next,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub ex: u8,
    pub stage: Stage,
    pub launch: bool,
    pub level: u8,
    pub io_level: u8,
    pub cpu: u8,
    pub io: u8,
    pub cancel: Cancel,
    /// What the suspension it is in will return.
    pub outcome: RawResult,
    /// Of its last run.
    pub result: RawResult,
    pub attached: u64,
    pub ran: u64,
    pub fresh: bool,
    pub joiners: Vec<u8>,
    pub away_joiners: Vec<u8>,
    pub op: Option<Io>,
    /// The result of a zero-copy send whose notification is still to come.
    pub sent: i32,
    pub life: usize,
    pub at: u32,
    pub until: u32,
}

#[derive(Default)]
pub struct Executor {
    pub alive: bool,
    /// It is being destroyed: nobody may call it, and it looks at no mail.
    pub closing: bool,
    /// It cancels all: what comes meanwhile comes later, as the model does it in one go.
    pub sweeping: bool,
    pub in_run: bool,
    pub current: Option<u8>,
    pub ready: [VecDeque<u8>; 3],
    /// By deadline, then by order of insertion.
    pub sleepers: Vec<(u64, u8)>,
    /// Just went to sleep at this time for so long: the deadline is not known yet.
    pub dozing: Option<(u8, u64, u64)>,
    /// Its last completion was taken at the last moment.
    pub ended: Option<u8>,
    pub entries: [VecDeque<u8>; 3],
    pub cancels: VecDeque<u8>,
    pub mail: VecDeque<Mail>,
    pub notified: bool,
    pub woken: bool,
    /// Items run, ever; and when what waits to be looked at came.
    pub items: u64,
    pub mail_since: Option<u64>,
    pub due_since: Option<u64>,
    pub pending: usize,
    pub suspended: usize,
    pub submitted: u64,
    pub completed: u64,
    /// The clock as the executor last read it.
    pub read_ns: u64,
    /// An error that ends a pass came from the kernel in this one.
    pub hard: Option<i32>,
    /// Of the pass it is in.
    pub timeout_ns: Option<u64>,
    /// Items ready when the first of this pass was picked.
    pub budget: Option<usize>,
    pub ring: Ring,
}

pub struct State {
    pub rng: Rng,
    pub clock_ns: u64,
    pub moments: u64,
    pub tasks: Vec<Task>,
    /// Where the real ones are.
    pub addresses: Vec<usize>,
    pub ex: [Executor; 2],
    pub next_foreign: usize,
    pub countdown: u32,
    pub janitor: u32,
    /// Tasks claimed, for which executor, and for how many more moments.
    pub claims: Vec<(u8, u8, u32)>,
    pub trace: bool,
    pub ending: bool,
}

impl Executor {
    pub fn ready_len(&self) -> usize {
        self.ready.iter().map(VecDeque::len).sum()
    }
    /// Something waits for a submission entry, and could have one.
    pub fn could_submit(&self) -> bool {
        self.queued() != 0 && self.ring.sq_space() != 0
    }
    pub fn queued(&self) -> usize {
        self.entries.iter().map(VecDeque::len).sum::<usize>() + self.cancels.len()
    }
}

fn remove(from: &mut VecDeque<u8>, task: u8) {
    let at = from.iter().position(|&t| t == task);
    from.remove(at.expect("the model's own queue"));
}

impl State {
    pub fn t(&mut self, i: u8) -> &mut Task {
        &mut self.tasks[i as usize]
    }

    pub fn is_attached(&self, i: u8) -> bool {
        self.tasks[i as usize].stage != Stage::Idle
    }

    pub fn attached(&self, ex: u8) -> usize {
        self.tasks.iter().filter(|t| t.stage != Stage::Idle && t.ex == ex).count()
    }

    pub fn begin(&mut self, i: u8, ex: u8) {
        let t = self.t(i);
        t.ex = ex;
        t.attached += 1;
        t.launch = true;
        t.fresh = false;
        t.cancel = Cancel::No;
    }

    pub fn push_ready(&mut self, i: u8) {
        let t = self.t(i);
        t.stage = Stage::Ready;
        t.level = t.cpu.min(2);
        let (ex, level) = (t.ex, t.level);
        self.ex[ex as usize].ready[level as usize].push_back(i);
    }

    pub fn wake(&mut self, i: u8, outcome: RawResult) {
        self.t(i).outcome = outcome;
        self.push_ready(i);
    }

    /// `i` begins or goes on: it must be the oldest of the highest priority.
    pub fn picked(&mut self, i: u8) -> Result<(), String> {
        match self.t(i).stage {
            Stage::Ready => {}
            Stage::Flight => {
                return Err(format!("task {i} goes on while the kernel has its buffer"))
            }
            Stage::Idle => return Err(format!("task {i} runs, and was not launched")),
            stage => return Err(format!("task {i} goes on, and waits: {stage:?}")),
        }
        let ex = self.t(i).ex as usize;
        let len = self.ex[ex].ready_len();
        let e = &mut self.ex[ex];
        if let Some(other) = e.current {
            return Err(format!("task {i} runs, while task {other} neither waits nor is ready"));
        }
        e.budget.get_or_insert(len);
        let Some(level) = (0..3).find(|&l| !e.ready[l].is_empty()) else {
            return Err(format!("task {i} runs, but nothing is ready"));
        };
        let first = e.ready[level].pop_front().expect("not empty");
        if first != i {
            return Err(format!("task {i} runs before task {first} of level {level}"));
        }
        e.items += 1;
        e.current = Some(i);
        let t = &mut self.tasks[i as usize];
        if t.launch {
            e.pending -= 1;
        } else {
            e.suspended -= 1;
        }
        t.stage = Stage::Running;
        t.launch = false;
        Ok(())
    }

    /// `i` stops running.
    pub fn left(&mut self, i: u8, stage: Stage) {
        let ex = self.t(i).ex as usize;
        self.t(i).stage = stage;
        self.ex[ex].current = None;
        self.ex[ex].suspended += 1;
    }

    pub fn exited(&mut self, i: u8, result: RawResult) {
        let ex = self.t(i).ex as usize;
        self.ex[ex].current = None;
        self.finish(i, result);
    }

    pub fn never_launched(&mut self, i: u8) {
        let ex = self.t(i).ex as usize;
        // It may have been the last: whoever runs the executor must see that.
        self.ex[ex].woken |= self.ex[ex].in_run;
        self.finish(i, CANCELED);
    }

    fn finish(&mut self, i: u8, result: RawResult) {
        let t = self.t(i);
        t.result = result;
        t.stage = Stage::Idle;
        t.launch = false;
        for j in std::mem::take(&mut t.joiners) {
            self.wake(j, result);
        }
        for j in std::mem::take(&mut self.t(i).away_joiners) {
            self.answer(j, result, false);
        }
    }

    /// What the call returns.
    pub fn cancel(&mut self, i: u8, ex: u8) -> bool {
        let e = ex as usize;
        if !self.is_attached(i) || self.t(i).ex != ex {
            return false;
        }
        let t = &mut self.tasks[i as usize];
        match t.stage {
            Stage::Idle => unreachable!("it is attached"),
            // The request has overtaken the launch.
            Stage::Claimed | Stage::Mail => t.cancel = Cancel::Next,
            Stage::Ready if t.launch => {
                remove(&mut self.ex[e].ready[t.level as usize], i);
                self.ex[e].pending -= 1;
                self.never_launched(i);
            }
            Stage::Ready | Stage::Running => t.cancel = Cancel::Next,
            Stage::Sleep => {
                self.ex[e].sleepers.retain(|s| s.1 != i);
                self.wake(i, CANCELED);
            }
            Stage::ForEver => self.wake(i, CANCELED),
            Stage::Entry => {
                remove(&mut self.ex[e].entries[t.io_level as usize], i);
                self.ex[e].submitted -= 1;
                self.wake(i, CANCELED);
            }
            Stage::Flight => {
                if t.cancel == Cancel::No {
                    t.cancel = Cancel::Asked;
                    self.ex[e].cancels.push_back(i);
                }
            }
            Stage::Join(other) => {
                self.t(other).joiners.retain(|&j| j != i);
                self.wake(i, CANCELED);
            }
            Stage::Away { asked: true, .. } => {}
            Stage::Away { other, owed, registered, .. } => {
                t.cancel = Cancel::Asked;
                // Where there is no executor any more, the answer is on its way.
                let sent = self.ex[1 - e].alive;
                let owed = owed + u8::from(sent);
                self.t(i).stage = Stage::Away { other, owed, registered, asked: true };
                if sent {
                    self.post(1 - ex, Mail::Unjoin { joiner: i });
                }
            }
        }
        true
    }

    /// The last completion of `i`'s operation was taken, with this result.
    pub fn completed(&mut self, i: u8, res: i32) {
        let ex = self.t(i).ex as usize;
        self.ex[ex].completed += 1;
        self.ex[ex].ended = Some(i);
        self.ex[ex].cancels.retain(|&t| t != i);
        let t = self.t(i);
        t.op = None;
        let mut outcome = RawResult::from_kernel(res);
        if t.cancel == Cancel::Asked {
            let canceled = matches!(-res, libc::ECANCELED | libc::EINTR);
            t.cancel = if canceled { Cancel::No } else { Cancel::Next };
            if canceled {
                outcome = CANCELED;
            }
        }
        self.wake(i, outcome);
    }

    pub fn set_priorities(&mut self, i: u8, cpu: u8, io: u8) {
        let t = &mut self.tasks[i as usize];
        let (cpu_changed, io_changed) = (t.cpu != cpu, t.io != io);
        (t.cpu, t.io) = (cpu, io);
        let e = &mut self.ex[t.ex as usize];
        if t.stage == Stage::Ready && cpu_changed {
            remove(&mut e.ready[t.level as usize], i);
            self.push_ready(i);
        } else if t.stage == Stage::Entry && io_changed {
            remove(&mut e.entries[t.io_level as usize], i);
            t.io_level = io.min(2);
            e.entries[t.io_level as usize].push_back(i);
        }
    }

    /// What came more than 64 items ago was looked at.
    pub fn bound(&mut self, ex: u8) -> Result<(), String> {
        let clock_ns = self.clock_ns;
        let e = &mut self.ex[ex as usize];
        match e.sleepers.first() {
            Some(&(deadline_ns, _)) if deadline_ns <= clock_ns => {
                e.due_since.get_or_insert(e.items);
            }
            _ => e.due_since = None,
        }
        for (since, what, bound) in [
            (e.mail_since, "the mailbox", BOUND),
            (e.due_since, "an expired sleeper", BOUND),
            (e.ring.cq_since, "a completion", BOUND),
            // What is submitted late completes late, but nobody waits behind more than two bounds.
            (e.ring.sq_since, "a submission", 2 * BOUND),
        ] {
            if since.is_some_and(|s| e.items - s > bound) {
                return Err(format!("{what} waited while more than {bound} items ran"));
            }
        }
        Ok(())
    }
}

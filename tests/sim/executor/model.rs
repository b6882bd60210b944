//! What must happen: a model of the executors' promises, simple enough to be believed, that follows
//! the program step by step and says at every step what comes next.
//!
//! The model learns three moments from outside, which the promises leave open: when a completion
//! was taken (`pop` of the simulated kernel), that a mailbox was emptied, and that expired sleepers
//! were collected. All else it knows by itself; each moment has a latest time, which `bound`
//! checks.

use std::collections::VecDeque;

use crate::levels::{Arming, Level};
use crate::mail::Mail;
use crate::ops::{Op, Place};
use crate::ring::Ring;
use crate::rng::Rng;
use monad_async::error::{Errno, RawResult};

pub const BOUND: u64 = 64;
pub const CANCELED: RawResult = RawResult::failure(Errno(libc::ECANCELED));
pub const DONE: RawResult = RawResult::success(0);

pub const fn failure(errno: i32) -> RawResult {
    RawResult::failure(Errno(errno))
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    Idle,
    /// Claimed by another thread that has not posted it yet.
    Claimed,
    /// Attached by another thread, not yet seen by its executor.
    Mail,
    Ready,
    Running,
    /// Asleep; the deadline is in `timers` once known.
    Sleep,
    ForEver,
    /// Until an operation of its own is over.
    Io,
    /// For a completion of that operation, or of any.
    Op(Option<u8>),
    /// `claimed`: unparked by another thread, whose message is on its way.
    Park {
        claimed: bool,
    },
    Join(u8),
    /// Joins a task of the other executor; so many messages are on their way.
    Away {
        other: u8,
        run: u64,
        owed: u8,
        registered: bool,
        asked: bool,
    },
    /// Has returned, and its operations have not all ended.
    Closing,
}

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timer {
    Task(u8),
    /// The deadline of a task's scope of this depth; the task itself is at depth 0.
    Scope(u8, u8),
}

#[derive(Clone, Debug)]
pub struct Task {
    pub ex: u8,
    pub stage: Stage,
    pub launch: bool,
    pub level: u8,
    pub cpu: u8,
    pub io: u8,
    /// The task itself, then its scopes, the innermost last.
    pub levels: Vec<Level>,
    /// Of which run other threads asked the cancel that is on its way.
    pub cancel_run: u64,
    /// What the suspension it is in will return, or the call that returned at once.
    pub outcome: RawResult,
    pub at_once: Option<RawResult>,
    /// Its operation was not performed, which it finds out when it runs.
    pub again: bool,
    /// A join that was cancelled says why when it returns.
    pub unjoined: bool,
    /// Of its last run.
    pub result: RawResult,
    pub attached: u64,
    pub ran: u64,
    pub fresh: bool,
    pub joiners: Vec<(u8, bool)>,
    pub permit: bool,
    pub ops: [Op; crate::program::OPS + 1],
    /// Those in flight, in the order in which they began, and those with a completion to be taken.
    pub in_flight: Vec<u8>,
    pub done: VecDeque<u8>,
    pub life: usize,
    pub at: u32,
    pub until: u32,
}

#[derive(Default)]
pub struct Executor {
    pub alive: bool,
    /// It is being destroyed: nobody may call it, and it looks at no mail.
    pub closing: bool,
    /// It cancels all: what comes during that comes later, as the model does it in one go.
    pub sweeping: bool,
    pub in_run: bool,
    pub current: Option<u8>,
    pub ready: [VecDeque<u8>; 3],
    /// By deadline, then by order of insertion.
    pub timers: Vec<(u64, Timer)>,
    /// Just went to sleep at this time for so long: the deadline is not known yet.
    pub dozing: Option<(u8, u64, u64)>,
    /// The deadlines of the running task's scopes are being armed.
    pub arming: Option<Arming>,
    /// The last completion of its call was taken at the last moment.
    pub ended: Option<u8>,
    /// Who waits for a submission entry: operations, by I/O priority; before them, requests to
    /// cancel inline ones, and before other ones.
    pub entries: [VecDeque<Place>; 3],
    pub cancels: [VecDeque<Place>; 2],
    /// What is pushed at once, in this order, and has not been seen yet.
    pub due_pushes: VecDeque<(Place, bool)>,
    pub mail: VecDeque<Mail>,
    /// Tasks that other threads asked to cancel.
    pub requests: Vec<u8>,
    pub notified: bool,
    pub wake_asked: bool,
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
    /// Errors that end a pass and came from the kernel in this one.
    pub hard: Vec<i32>,
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
    pub pool_order: Vec<u8>,
    /// Where their operation records are.
    pub records: Vec<usize>,
    /// Names the bytes of operations.
    pub keys: u64,
    pub ex: [Executor; 2],
    pub next_foreign: usize,
    pub countdown: u32,
    pub janitor: u32,
    /// Tasks claimed, for which executor, for how many more moments, and what they were before.
    pub claims: Vec<(u8, u8, u32, u8)>,
    pub trace: bool,
    /// Executors look around after each item.
    pub looks: bool,
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
        let cancels = self.cancels.iter().map(VecDeque::len).sum::<usize>();
        self.entries.iter().map(VecDeque::len).sum::<usize>() + cancels
    }
    pub fn put_timer(&mut self, deadline_ns: u64, timer: Timer) {
        let at = self.timers.partition_point(|t| t.0 <= deadline_ns);
        self.timers.insert(at, (deadline_ns, timer));
    }
}

pub fn remove<T: PartialEq>(from: &mut VecDeque<T>, what: T) {
    let at = from.iter().position(|t| *t == what);
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
        t.levels = vec![Level::default()];
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
            Stage::Io | Stage::Closing => {
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
        e.ring.taken = 0;
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

    /// `user_code` of `i` returns.
    pub fn exited(&mut self, i: u8, result: RawResult) {
        let ex = self.t(i).ex as usize;
        self.ex[ex].current = None;
        let open = self.close_scopes(i);
        let result = if open { failure(libc::EINVAL) } else { result };
        self.t(i).result = result;
        if self.close_ops(i) {
            self.t(i).stage = Stage::Closing;
            self.ex[ex].suspended += 1;
        } else {
            self.finish(i, result);
        }
    }

    pub fn never_launched(&mut self, i: u8) {
        let ex = self.t(i).ex as usize;
        // It may have been the last: who runs the executor must see that.
        self.ex[ex].woken |= self.ex[ex].in_run;
        self.finish(i, CANCELED);
    }

    pub fn finish(&mut self, i: u8, result: RawResult) {
        let t = self.t(i);
        t.result = result;
        t.stage = Stage::Idle;
        t.launch = false;
        for (j, away) in std::mem::take(&mut t.joiners) {
            if away {
                self.answer(j, result, false);
            } else {
                self.wake(j, result);
            }
        }
    }

    pub fn set_priorities(&mut self, i: u8, cpu: u8, io: u8) {
        let t = &mut self.tasks[i as usize];
        let (cpu_changed, io_changed) = (t.cpu != cpu, t.io != io);
        (t.cpu, t.io) = (cpu, io);
        let attached = t.stage != Stage::Idle;
        if t.stage == Stage::Ready && cpu_changed {
            let e = &mut self.ex[t.ex as usize];
            remove(&mut e.ready[t.level as usize], i);
            self.push_ready(i);
        }
        if io_changed && attached {
            self.requeue(i);
        }
    }

    /// What came more than 64 items ago was looked at.
    pub fn bound(&mut self, ex: u8) -> Result<(), String> {
        let clock_ns = self.clock_ns;
        let most = if self.looks { 1 } else { BOUND };
        let e = &mut self.ex[ex as usize];
        match e.timers.first() {
            Some(&(deadline_ns, _)) if deadline_ns <= clock_ns => {
                e.due_since.get_or_insert(e.items);
            }
            _ => e.due_since = None,
        }
        for (since, what, bound) in [
            (e.mail_since, "the mailbox", most),
            (e.due_since, "what is due", most),
            (e.ring.cq_since, "a completion", most),
            // What is submitted late completes late, but nobody waits behind more than two bounds.
            (e.ring.sq_since, "a submission", 2 * most),
        ] {
            if since.is_some_and(|s| e.items - s > bound) {
                return Err(format!("{what} waited while more than {bound} items ran"));
            }
        }
        Ok(())
    }
}

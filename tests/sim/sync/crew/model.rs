//! What the workers of a pool, its queue and the helpers are to do. It goes along with them: told of
//! each step and of each task that is begun or goes on, it says whether that was to be.

use super::joins::Join;
use super::{Program, Step, ALL, TASKS, WORKERS_MAX};
use crate::model::{Out, EBUSY, ECANCELED, EDEADLK, ESHUTDOWN, ETIME};
use crate::pool::{level_of, BOUND, NO_LEVEL};
use crate::program::SLOT_NS;
use monad_async::executor::queue_left::Left;
use monad_async::pool::workers::How;
use std::collections::VecDeque;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    Idle,
    Queued,
    On(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Does {
    Runs,
    Sleeps,
    /// In line at the helpers, or until few are left.
    Waits,
    /// Its function has begun, and is waited for whatever comes.
    Blocks,
    /// Another task: `join` says which.
    Joins,
    /// What it waited for has come, by mail.
    Granted,
    Ready,
}

#[derive(Clone, Copy)]
pub struct Task {
    pub at: At,
    pub does: Does,
    level: usize,
    pub runs: u32,
    /// What the call it is in gives.
    pub out: Out,
    pub until_ns: u64,
    /// It waits for its permit, or was given that; and it has one.
    parks: bool,
    has_permit: bool,
    pub is_canceled: bool,
    /// Another thread has asked for it.
    is_asked: bool,
    pub is_told: bool,
    pub told: u32,
    pub result: Out,
    /// Whom it joins, until it goes on; and whom others see it join.
    pub join: Option<Join>,
    pub word: Option<(usize, u32)>,
}

#[derive(Clone, Copy)]
pub enum Mail {
    Grant(usize),
    /// Of a run.
    Cancel(usize, u32),
    /// Of the one that joins; and back.
    Join(usize),
    Unjoin(usize),
    Joined(usize),
    Unjoined(usize),
}

#[derive(Default)]
pub struct Worker {
    pub leaves: bool,
    /// It was asked to look, and has seen that.
    is_asked: bool,
    has_seen: bool,
    /// Its sleep was ended for what waits, and nothing in its mail says so: if the kernel refuses
    /// it then, it has not been told.
    is_roused: bool,
    /// In one wait, which may take several sleeps.
    waits: bool,
    /// If it sleeps, somebody has woken it since the last step.
    pub is_due: bool,
    pub mail: Vec<Mail>,
    ready: Vec<usize>,
    fed_last: bool,
    /// Of what it has begun, what is over and was not counted.
    ended: usize,
    items: usize,
    /// It was woken for the queue, and has not begun anything since.
    is_woken_for_it: bool,
}

struct LeftWait {
    task: usize,
    what: Left,
    at_most: usize,
}

pub struct Model {
    levels: [VecDeque<usize>; NO_LEVEL],
    begun: usize,
    pub is_closed: bool,
    drains: bool,
    tracks: bool,
    /// The last to fall asleep is the last.
    idle: Vec<usize>,
    /// Was woken for the queue, and has not looked.
    waking: Option<usize>,
    /// The jobs last.
    pub tasks: [Task; ALL],
    /// Those who join each, as its worker knows.
    pub joiners: [Vec<usize>; ALL],
    pub workers: [Worker; WORKERS_MAX + 1],
    /// Those that begin tasks, in the order in which they came.
    pub seats: Vec<usize>,
    waits: Vec<LeftWait>,
    helpers_max: usize,
    calls: [VecDeque<usize>; NO_LEVEL],
    /// Those whose functions have begun; and all that ever did, in order.
    pub running: Vec<usize>,
    pub calls_begun: Vec<usize>,
    /// The first thing that was not to be.
    pub wrong: Option<String>,
    pub seen: Vec<usize>,
}

/// What is to come about in some program.
pub const SEEN: &[&str] = &[
    "a task begins while another worker is in one",
    "a worker is woken for one task",
    "a worker that was woken has the next woken",
    "two sleep, and one is woken",
    "a level goes before another",
    "a wait ends as few are left",
    "a wait for what has not begun is cancelled",
    "a wait for what has not begun is out of time",
    "a wait for what is not over is cancelled",
    "a wait for what is not over is out of time",
    "a wait for a function that has not begun is cancelled",
    "a wait for a function that has not begun is out of time",
    "a function is waited for after a cancel",
    "a function is waited for after its time",
    "a function begins as another returns",
    "a function of a higher level begins first",
    "a worker leaves with nothing",
    "a worker leaves what it has begun to its end",
    "a queue is handed back",
    "a drain begins what waits",
    "a cancel in the queue",
    "a cancel of another worker's",
    "a cancel comes too late",
    "a level changes in the queue",
    "a park is cancelled",
    "a park is out of time",
    "an unpark of another worker's",
    "a permit was there before",
    "a permit comes after a cancel",
    "a job is handed back",
    "a job begins before a task that came later",
    "a sleep is cancelled",
    "a worker that cannot go on has another woken",
    "a join of a task of another worker",
    "a join of a task of its own worker",
    "a join of what is over",
    "a join finds a run over",
    "a join is cancelled",
    "a join is out of time",
    "a join of another worker's task is cancelled",
    "a join is answered as it is cancelled",
    "a ring of joins is refused",
    "a ring of joins of several workers is refused",
];

impl Model {
    pub fn new(program: &Program) -> Self {
        let task = |level: u8| Task {
            at: At::Idle,
            does: Does::Runs,
            level: level.into(),
            runs: 0,
            out: 0,
            until_ns: u64::MAX,
            parks: false,
            has_permit: false,
            is_canceled: false,
            is_asked: false,
            is_told: false,
            told: 0,
            result: 0,
            join: None,
            word: None,
        };
        Self {
            levels: Default::default(),
            begun: 0,
            is_closed: false,
            drains: false,
            tracks: program.tracks,
            idle: Vec::new(),
            waking: None,
            tasks: program.levels.map(task),
            joiners: Default::default(),
            workers: Default::default(),
            seats: Vec::new(),
            waits: Vec::new(),
            helpers_max: program.helpers as usize,
            calls: Default::default(),
            running: Vec::new(),
            calls_begun: Vec::new(),
            wrong: None,
            seen: Vec::new(),
        }
    }

    fn check(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(text());
        }
    }

    pub fn see(&mut self, name: &str) {
        let at = SEEN.iter().position(|of| *of == name).expect("one of the list");
        self.seen.push(at);
    }

    fn queued(&self) -> usize {
        self.levels.iter().map(VecDeque::len).sum()
    }

    // The queue.

    fn wake_one(&mut self) {
        if self.waking.is_some() || self.queued() == 0 {
            return;
        }
        let Some(w) = self.idle.pop() else { return };
        if !self.idle.is_empty() {
            self.see("two sleep, and one is woken");
        }
        self.see("a worker is woken for one task");
        self.waking = Some(w);
        if self.workers[w].is_due {
            return self.ask(w); // Something else has ended its sleep.
        }
        self.workers[w].is_roused = true;
        self.workers[w].is_due = true;
    }

    fn ask(&mut self, w: usize) {
        self.workers[w].is_asked = true;
        self.workers[w].is_due = true;
    }

    fn looked(&mut self, w: usize) {
        self.waking = self.waking.filter(|&of| of != w);
    }

    fn unlist(&mut self, w: usize) {
        self.idle.retain(|&of| of != w);
    }

    fn pass_on(&mut self, w: usize) {
        self.looked(w);
        self.unlist(w);
        self.wake_one();
    }

    /// Those who waited until so few are left; `here`: the worker that says so.
    fn satisfied(&mut self, here: Option<usize>) {
        let (queued, begun) = (self.queued(), self.begun);
        let is_over = |wait: &LeftWait| {
            wait.at_most >= if wait.what == Left::Queued { queued } else { queued + begun }
        };
        let (over, left) = std::mem::take(&mut self.waits).into_iter().partition(is_over);
        self.waits = left;
        for LeftWait { task, .. } in over as Vec<LeftWait> {
            self.see("a wait ends as few are left");
            self.grant(task, 0, here);
        }
    }

    fn grant(&mut self, t: usize, out: Out, here: Option<usize>) {
        let At::On(w) = self.tasks[t].at else { return };
        self.tasks[t].out = out;
        if here == Some(w) {
            return self.make_ready(t, w);
        }
        self.tasks[t].does = Does::Granted;
        self.workers[w].mail.push(Mail::Grant(t));
        self.workers[w].is_due = true;
    }

    pub fn make_ready(&mut self, t: usize, w: usize) {
        self.tasks[t].does = Does::Ready;
        self.workers[w].ready.push(t);
    }

    fn tell_ended(&mut self, w: usize) {
        let ended = std::mem::take(&mut self.workers[w].ended);
        if ended != 0 {
            self.begun -= ended;
            self.satisfied(Some(w));
        }
    }

    fn put(&mut self, t: usize, is_told: bool) {
        let Task { level, runs, told, .. } = self.tasks[t];
        let again = Task { at: At::Queued, runs: runs + 1, is_told, told, ..self.tasks[t] };
        self.tasks[t] = Task { is_canceled: false, is_asked: false, ..again };
        self.levels[level].push_back(t);
    }

    pub fn submit(&mut self, t: usize, is_told: bool) -> Out {
        if self.tasks[t].at != At::Idle {
            return EBUSY;
        }
        if self.is_closed {
            return ESHUTDOWN;
        }
        self.put(t, is_told);
        self.wake_one();
        0
    }

    /// A job, of which somebody is told whatever becomes of it.
    pub fn post(&mut self, t: usize) -> Out {
        self.submit(t, true)
    }

    pub fn submit_many(&mut self, tasks: impl Iterator<Item = usize>) -> Out {
        let (mut count, mut refused) = (0, 0);
        for t in tasks {
            if self.is_closed || self.tasks[t].at != At::Idle {
                refused = if self.is_closed { ESHUTDOWN } else { EBUSY };
                break;
            }
            self.put(t, false);
            count += 1;
        }
        self.wake_one();
        if count == 0 {
            refused
        } else {
            count
        }
    }

    pub fn set_level(&mut self, t: usize, level: u8) {
        let from = std::mem::replace(&mut self.tasks[t].level, level.into());
        if from != usize::from(level) {
            self.see("a level changes in the queue");
            self.levels[from].retain(|&of| of != t);
            self.levels[usize::from(level)].push_back(t);
        }
    }

    fn end_queued(&mut self, t: usize, here: Option<usize>) {
        let level = self.tasks[t].level;
        self.levels[level].retain(|&of| of != t);
        self.satisfied(here);
        self.over(t, ECANCELED);
    }

    fn over(&mut self, t: usize, result: Out) {
        self.tasks[t].at = At::Idle;
        self.tasks[t].result = result;
        self.tasks[t].told += u32::from(self.tasks[t].is_told);
    }

    pub fn cancel(&mut self, t: usize, here: Option<usize>) {
        match self.tasks[t].at {
            At::Idle => {}
            At::Queued => {
                self.see("a cancel in the queue");
                self.end_queued(t, here);
            }
            At::On(w) if here == Some(w) => self.cancel_here(t, w),
            At::On(w) if !std::mem::replace(&mut self.tasks[t].is_asked, true) => {
                self.see("a cancel of another worker's");
                let run = self.tasks[t].runs;
                self.workers[w].mail.push(Mail::Cancel(t, run));
                self.workers[w].is_due = true;
            }
            At::On(_) => {}
        }
    }

    fn cancel_here(&mut self, t: usize, w: usize) {
        if !std::mem::replace(&mut self.tasks[t].is_canceled, true) {
            self.interrupt(t, w, ECANCELED);
        }
    }

    fn interrupt(&mut self, t: usize, w: usize, out: Out) {
        let is_cancel = out == ECANCELED;
        match self.tasks[t].does {
            Does::Waits => {
                let parks = std::mem::take(&mut self.tasks[t].parks);
                let what = self.waits.iter().find(|wait| wait.task == t).map(|wait| wait.what);
                self.see(match (what, is_cancel) {
                    (None, true) if parks => "a park is cancelled",
                    (None, false) if parks => "a park is out of time",
                    (None, true) => "a wait for a function that has not begun is cancelled",
                    (None, false) => "a wait for a function that has not begun is out of time",
                    (Some(Left::Queued), true) => "a wait for what has not begun is cancelled",
                    (Some(Left::Queued), false) => "a wait for what has not begun is out of time",
                    (Some(_), true) => "a wait for what is not over is cancelled",
                    (Some(_), false) => "a wait for what is not over is out of time",
                });
                self.waits.retain(|wait| wait.task != t);
                self.calls.iter_mut().for_each(|level| level.retain(|&of| of != t));
            }
            Does::Sleeps if is_cancel => self.see("a sleep is cancelled"),
            Does::Sleeps => {}
            Does::Blocks => {
                self.tasks[t].until_ns = u64::MAX;
                return self.see(match is_cancel {
                    true => "a function is waited for after a cancel",
                    false => "a function is waited for after its time",
                });
            }
            Does::Joins => {
                if !self.interrupt_join(t, w, is_cancel) {
                    return;
                }
            }
            Does::Granted if is_cancel => return self.see("a cancel comes too late"),
            _ => return,
        }
        self.tasks[t].out = out;
        self.make_ready(t, w);
    }

    pub fn quit(&mut self, how: How, here: Option<usize>) -> Out {
        self.is_closed = true;
        if how == How::Drain {
            self.drains = true;
            if self.queued() != 0 {
                self.see("a drain begins what waits");
            }
            for w in self.seats.clone() {
                self.ask(w);
            }
            return 0;
        }
        for w in std::mem::take(&mut self.seats) {
            self.dismiss(w);
        }
        let mut count = 0;
        while let Some(&t) = self.levels.iter().find_map(VecDeque::front) {
            if t >= TASKS {
                self.see("a job is handed back");
            }
            self.end_queued(t, here);
            count += 1;
        }
        if count != 0 {
            self.see("a queue is handed back");
        }
        count
    }

    pub fn shrink(&mut self) {
        if let Some(w) = self.seats.pop() {
            self.dismiss(w);
        }
    }

    fn dismiss(&mut self, w: usize) {
        self.see(match self.has_tasks(w) {
            true => "a worker leaves what it has begun to its end",
            false => "a worker leaves with nothing",
        });
        self.workers[w].leaves = true;
        self.pass_on(w);
        self.ask(w);
    }

    fn has_tasks(&self, w: usize) -> bool {
        self.tasks.iter().any(|task| task.at == At::On(w))
    }

    // What a worker does.

    /// It takes in what came.
    fn collect(&mut self, w: usize, now_ns: u64) {
        self.workers[w].has_seen |= std::mem::take(&mut self.workers[w].is_asked);
        for mail in std::mem::take(&mut self.workers[w].mail) {
            match mail {
                Mail::Grant(t) => self.make_ready(t, w),
                Mail::Cancel(t, run) => {
                    if self.tasks[t].at == At::On(w) && self.tasks[t].runs == run {
                        self.tasks[t].is_asked = false; // It may be asked for again.
                        self.cancel_here(t, w);
                    }
                }
                mail => self.of_joins(mail, w),
            }
        }
        for t in 0..ALL {
            if self.tasks[t].at == At::On(w) && self.tasks[t].until_ns <= now_ns {
                let out = if self.tasks[t].does == Does::Sleeps { 0 } else { ETIME };
                self.interrupt(t, w, out);
            }
        }
    }

    fn ready_level(&self, w: usize) -> usize {
        let levels = self.workers[w].ready.iter().map(|&t| self.tasks[t].level);
        levels.min().unwrap_or(NO_LEVEL)
    }

    pub fn begins_work(&mut self, w: usize) {
        self.workers[w] = Worker::default();
        self.seats.push(w);
    }

    pub fn passes(&mut self, w: usize, now_ns: u64) {
        self.collect(w, now_ns);
        self.workers[w].items = 0;
    }

    /// It falls asleep.
    pub fn sleeps(&mut self, w: usize) {
        let is_ready = !self.workers[w].ready.is_empty();
        self.check(!is_ready, || format!("worker {w} sleeps, and has something ready"));
        let has_seen = self.workers[w].has_seen;
        self.check(!has_seen, || format!("worker {w} sleeps, and was told to look"));
        if std::mem::replace(&mut self.workers[w].waits, true) {
            return; // It goes on to wait.
        }
        self.looked(w);
        if self.workers[w].leaves {
            let has_tasks = self.has_tasks(w);
            self.check(has_tasks, || format!("worker {w} is to leave, and sleeps"));
            return self.wake_one();
        }
        let is_empty = self.queued() == 0;
        self.check(is_empty, || format!("worker {w} sleeps, and a task waits"));
        let drains = self.drains;
        self.check(!drains, || format!("worker {w} sleeps, and nothing comes any more"));
        self.idle.push(w);
    }

    pub fn wakes(&mut self, w: usize, now_ns: u64) {
        self.collect(w, now_ns);
        self.workers[w].has_seen |= std::mem::take(&mut self.workers[w].is_roused);
        let ready = self.ready_level(w);
        if ready == NO_LEVEL && !std::mem::take(&mut self.workers[w].has_seen) {
            return; // It sleeps again.
        }
        self.workers[w].waits = false;
        self.workers[w].is_woken_for_it = self.waking == Some(w);
        self.looked(w);
        self.unlist(w);
        let begins = level_of(&self.levels) < ready && !self.workers[w].leaves;
        if !begins {
            self.wake_one();
        }
    }

    /// The kernel refuses it as it wakes: what it was woken for is another's.
    pub fn is_refused(&mut self, w: usize) {
        let was_woken = self.waking == Some(w);
        self.workers[w].waits = false;
        self.workers[w].is_roused = false;
        self.pass_on(w);
        if was_woken && self.waking.is_some() {
            self.see("a worker that cannot go on has another woken");
        }
    }

    fn bound(&self) -> usize {
        if self.tracks {
            1
        } else {
            BOUND
        }
    }

    /// A task begins on it, or goes on.
    pub fn item(&mut self, w: usize, t: usize) {
        let is_bound = self.workers[w].items == self.bound();
        self.check(!is_bound, || format!("task {t} comes before a look at what came"));
        let new = if self.workers[w].leaves { NO_LEVEL } else { level_of(&self.levels) };
        let ready = self.ready_level(w);
        let takes_turns = new == ready && !self.workers[w].fed_last;
        self.workers[w].items += 1;
        let is_new = new != NO_LEVEL && (new < ready || takes_turns);
        self.workers[w].fed_last = is_new;
        if !is_new {
            self.tell_ended(w);
            let is_next =
                self.workers[w].ready.contains(&t) && self.tasks[t].level == self.ready_level(w);
            let due = self.workers[w].ready.clone();
            self.check(is_next, || format!("task {t} goes on, and one of these was to: {due:?}"));
            self.workers[w].ready.retain(|&of| of != t);
            self.tasks[t].does = Does::Runs;
            return;
        }
        self.begun -= std::mem::take(&mut self.workers[w].ended);
        let was_woken = std::mem::take(&mut self.workers[w].is_woken_for_it);
        self.looked(w);
        let due = self.levels[new].pop_front();
        self.check(due == Some(t), || format!("task {t} begins, {due:?} was to"));
        if t >= TASKS && self.levels[new].iter().any(|&of| of < TASKS) {
            self.see("a job begins before a task that came later");
        }
        if self.queued() > self.levels[new].len() {
            self.see("a level goes before another");
        }
        let runs_elsewhere =
            |task: &Task| task.does == Does::Runs && matches!(task.at, At::On(other) if other != w);
        if self.tasks.iter().any(runs_elsewhere) {
            self.see("a task begins while another worker is in one");
        }
        self.begun += 1;
        self.tasks[t].at = At::On(w);
        self.tasks[t].does = Does::Runs;
        self.wake_one();
        if was_woken && self.waking.is_some() {
            self.see("a worker that was woken has the next woken");
        }
        self.satisfied(Some(w));
    }

    /// The task that runs on it is over.
    pub fn ends(&mut self, w: usize, t: usize) -> Out {
        let result = (t as Out + 1) * 100 + Out::from(self.tasks[t].runs);
        self.workers[w].ended += 1;
        self.over(t, result);
        self.tell_joiners(t, w, result);
        result
    }

    /// It has done what it could in one go.
    pub fn returned(&mut self, w: usize, leaves: bool) {
        if leaves && !self.workers[w].leaves {
            let may = self.drains && self.queued() == 0;
            self.check(may, || format!("worker {w} leaves, and nobody told it to"));
            self.workers[w].leaves = true;
        }
        self.check(leaves == self.workers[w].leaves, || format!("worker {w} was told to leave"));
        self.tell_ended(w);
        if self.workers[w].items < self.bound() {
            let is_done = self.workers[w].ready.is_empty() && (leaves || self.queued() == 0);
            self.check(is_done, || format!("worker {w} leaves something undone"));
            self.workers[w].fed_last = false;
        }
        self.workers[w].has_seen = false;
        if self.workers[w].items == 0 {
            self.looked(w);
            self.wake_one();
        }
    }

    pub fn left(&mut self, w: usize) {
        let has_tasks = self.has_tasks(w);
        self.check(!has_tasks, || format!("worker {w} has left what it has begun"));
        for mail in std::mem::take(&mut self.workers[w].mail) {
            if !matches!(mail, Mail::Cancel(..)) {
                self.of_joins(mail, w); // Of runs that are over, as are those of cancels.
            }
        }
        self.seats.retain(|&of| of != w);
        self.pass_on(w);
    }

    // What a task does that may wait.

    /// None: it waits, and its `out` says what comes of it.
    pub fn begins(
        &mut self,
        t: usize,
        w: usize,
        step: Step,
        timeout: Option<u64>,
        now_ns: u64,
    ) -> Option<Out> {
        if step == Step::Join(t) {
            return Some(EDEADLK);
        }
        if self.tasks[t].is_canceled {
            return Some(ECANCELED);
        }
        let mut slots = timeout;
        match step {
            Step::Sleep(0) => {
                self.tasks[t].out = 0;
                self.make_ready(t, w);
                return None;
            }
            Step::Sleep(ns) => {
                self.tasks[t].does = Does::Sleeps;
                slots = Some(ns);
            }
            Step::Park if timeout == Some(0) => return Some(ETIME),
            Step::Park if std::mem::take(&mut self.tasks[t].has_permit) => {
                self.see("a permit was there before");
                return Some(0);
            }
            Step::Park => {
                self.tasks[t].does = Does::Waits;
                self.tasks[t].parks = true;
            }
            Step::Join(_) if timeout == Some(0) => return Some(ETIME),
            Step::Join(other) => {
                if let Some(out) = self.begins_join(t, w, other) {
                    return Some(out);
                }
                self.tasks[t].does = Does::Joins;
            }
            Step::Wait(what, at_most) => {
                let left = self.queued() + if what == Left::Queued { 0 } else { self.begun };
                if left <= at_most || timeout == Some(0) {
                    return Some(if left <= at_most { 0 } else { ETIME });
                }
                self.tasks[t].does = Does::Waits;
                self.waits.push(LeftWait { task: t, what, at_most });
            }
            _ => {
                self.tasks[t].does = Does::Waits;
                let level = self.tasks[t].level;
                self.calls[level].push_back(t);
                self.begin_calls();
            }
        }
        self.tasks[t].until_ns = slots.map_or(u64::MAX, |slots| now_ns + slots * SLOT_NS);
        None
    }

    /// It goes on.
    pub fn goes_on(&mut self, t: usize) -> Out {
        if std::mem::take(&mut self.tasks[t].parks) {
            self.tasks[t].has_permit = false; // All that came until now were one.
        }
        self.tasks[t].until_ns = u64::MAX;
        self.joined(t);
        self.tasks[t].out
    }

    pub fn unpark(&mut self, t: usize, here: Option<usize>) {
        let Task { at, does, parks, .. } = self.tasks[t];
        self.tasks[t].has_permit = true;
        if does == Does::Waits && parks {
            if here.is_some_and(|w| at != At::On(w)) {
                self.see("an unpark of another worker's");
            }
            self.grant(t, 0, here);
        } else if does == Does::Ready && self.tasks[t].out == ECANCELED {
            self.see("a permit comes after a cancel");
        }
    }

    fn begin_calls(&mut self) {
        while self.running.len() < self.helpers_max {
            let level = level_of(&self.calls);
            let Some(t) = self.calls.get_mut(level).and_then(VecDeque::pop_front) else { return };
            if self.calls.iter().any(|level| !level.is_empty()) {
                self.see("a function of a higher level begins first");
            }
            self.tasks[t].does = Does::Blocks;
            self.running.push(t);
            self.calls_begun.push(t);
        }
    }

    /// The function that a task called returns.
    pub fn finish(&mut self, t: usize, out: Out) {
        self.running.retain(|&of| of != t);
        self.grant(t, out, None);
        let begun = self.calls_begun.len();
        self.begin_calls();
        if self.calls_begun.len() > begun {
            self.see("a function begins as another returns");
        }
    }

    /// Nobody can go on.
    pub fn stands_still(&mut self) {
        let none = self.queued() == 0;
        self.check(none, || "a task waits, and nobody begins it".into());
        for w in 1..=WORKERS_MAX {
            let mail = self.workers[w].mail.len() + self.workers[w].ready.len();
            self.check(mail == 0, || format!("worker {w} sleeps, and has something to do"));
        }
    }
}

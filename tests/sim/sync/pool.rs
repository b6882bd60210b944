//! The model of a pool's queue with one worker, of what waits for tasks in it, and of tasks that are
//! let go: somebody is told of their exits, as of those behind futures.

use crate::model::*;
use crate::program::*;
use std::collections::VecDeque;

/// So many items between two looks.
pub const BOUND: usize = 64;
pub const NO_LEVEL: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    Queued,
    Unfinished,
}

pub struct LeftWait {
    pub task: usize,
    what: Left,
    at_most: usize,
}

#[derive(Default)]
pub struct Pool {
    levels: [VecDeque<usize>; NO_LEVEL],
    pub closed: bool,
    /// Begun, and, of those, over, which the queue has not heard of.
    begun: usize,
    ended: usize,
    /// The item before came from the queue.
    fed_last: bool,
    /// In order.
    pub waits: Vec<LeftWait>,
    /// Of which tasks the exit was told.
    pub told: [bool; POOLED],
}

impl Pool {
    fn left(&self, what: Left) -> usize {
        let queued = self.levels.iter().map(VecDeque::len).sum();
        if what == Left::Queued {
            queued
        } else {
            queued + self.begun
        }
    }
}

pub fn level_of(levels: &[VecDeque<usize>; NO_LEVEL]) -> usize {
    levels.iter().position(|level| !level.is_empty()).unwrap_or(NO_LEVEL)
}

impl Model<'_> {
    fn pooled(&self, n: usize) -> usize {
        self.program.tasks() + CHILDREN + n
    }

    /// A run begins: of what was before, little stays.
    pub fn begins(&mut self, t: usize, state: State) {
        let Task { permit, level, run, .. } = self.tasks[t];
        self.tasks[t] = Task { permit, run: run + 1, ..Task::new(state, level) };
    }

    pub fn attach(&mut self, n: usize) -> Out {
        let t = self.pooled(n);
        if self.tasks[t].state != State::Done {
            return EBUSY;
        }
        self.begins(t, State::Ready);
        self.tasks[t].is_told = self.program.is_told;
        self.make_ready(t);
        self.pool.told[n] = false;
        0
    }

    pub fn submit(&mut self, n: usize) -> Out {
        let submitted = self.submit_untold(n);
        if submitted == 0 {
            let t = self.pooled(n);
            self.tasks[t].is_told = self.program.is_told;
        }
        submitted
    }

    fn submit_untold(&mut self, n: usize) -> Out {
        let t = self.pooled(n);
        if self.tasks[t].state != State::Done {
            return EBUSY;
        }
        if self.pool.closed {
            return ESHUTDOWN;
        }
        self.begins(t, State::Queued);
        self.tasks[t].is_pooled = true;
        let level = self.level(t);
        self.pool.levels[level].push_back(t);
        self.pool.told[n] = false;
        0
    }

    pub fn submit_all(&mut self) -> Out {
        for n in 0..POOLED {
            if self.pool.closed {
                return ESHUTDOWN;
            }
            match self.submit_untold(n) {
                0 => {}
                error if n == 0 => return error,
                _ => return n as Out,
            }
        }
        POOLED as Out
    }

    /// While it is queued; it goes to the end of its new level.
    pub fn set_level(&mut self, n: usize, level: u8) -> Out {
        let t = self.pooled(n);
        if self.tasks[t].state != State::Queued || self.tasks[t].level == level {
            return 0;
        }
        self.unqueue(t);
        self.tasks[t].level = level;
        self.pool.levels[level as usize].push_back(t);
        0
    }

    fn unqueue(&mut self, t: usize) {
        self.pool.levels.iter_mut().for_each(|level| level.retain(|&of| of != t));
    }

    /// Those who waited until so few are left; they go on when `wake_left` says so.
    fn satisfied(&mut self) -> Vec<Entry> {
        let mut over = Vec::new();
        for what in [Left::Queued, Left::Unfinished] {
            let left = self.pool.left(what);
            let is_over = |wait: &&LeftWait| wait.what == what && wait.at_most >= left;
            let mut waits: Vec<(usize, usize)> =
                self.pool.waits.iter().filter(is_over).map(|of| (of.at_most, of.task)).collect();
            // Who waits for most is first.
            waits.sort_by_key(|&(at_most, _)| std::cmp::Reverse(at_most));
            self.pool.waits.retain(|wait| !is_over(&wait));
            for (_, t) in waits {
                if self.tasks[t].state == (State::Waits { armed: true }) {
                    self.tasks[t].state = State::Waits { armed: false };
                    over.push(self.entry(t));
                }
            }
        }
        over
    }

    /// `t` has left the queue: those who wait for that.
    fn leavers(&mut self, t: usize) -> Vec<Entry> {
        let queue = Queue::Leaves(t);
        self.note_passed(queue);
        let mut left = Vec::new();
        let waits = |m: &Self, e: &Entry| {
            e.queue == queue && m.tasks[e.task].state == (State::Waits { armed: true })
        };
        while let Some(i) = (0..self.entries.len()).find(|&i| waits(self, &self.entries[i])) {
            let entry = self.entries.remove(i);
            self.entries.retain(|e| e.task != entry.task);
            self.tasks[entry.task].state = State::Waits { armed: false };
            self.tasks[entry.task].left = true;
            left.push(entry);
        }
        left
    }

    fn wake_left(&mut self, over: Vec<Entry>) {
        for Entry { task, .. } in over {
            // The scope around a join goes on; a select begins anew.
            match self.step_of(task) {
                Some(Step::Join(_)) => self.make_ready(task),
                _ => self.wake(task, 0),
            }
        }
    }

    pub fn cancel_queued(&mut self, t: usize) {
        self.unqueue(t);
        let mut over = self.satisfied();
        over.extend(self.leavers(t));
        self.exit(t, ECANCELED);
        self.wake_left(over);
    }

    pub fn cancel_queue(&mut self) -> Out {
        let mut count = 0;
        while let Some(&t) = self.pool.levels.iter().find_map(VecDeque::front) {
            self.cancel_queued(t);
            count += 1;
        }
        count
    }

    pub fn wait_left(&mut self, task: usize, what: Left, at_most: usize) -> Option<Out> {
        if self.pool.left(what) <= at_most {
            return Some(0);
        }
        self.pool.waits.push(LeftWait { task, what, at_most });
        None
    }

    pub fn exit_pooled(&mut self, t: usize, result: Out) {
        let n = t - self.pooled(0);
        if self.tasks[t].is_pooled && self.tasks[t].begun {
            self.pool.ended += 1;
        }
        if std::mem::take(&mut self.tasks[t].is_told) {
            self.log.push((t, TOLD + result));
            self.pool.told[n] = true;
            self.wake_all(Queue::Told(n));
        }
    }

    fn tell_ended(&mut self) {
        let ended = std::mem::take(&mut self.pool.ended);
        if ended != 0 {
            self.pool.begun -= ended;
            let over = self.satisfied();
            self.wake_left(over);
        }
    }

    fn is_idle(&self) -> bool {
        level_of(&self.ready) == NO_LEVEL && level_of(&self.pool.levels) == NO_LEVEL
    }

    /// What a worker does in one go. False: it has nothing left.
    pub fn fed_pass(&mut self) -> bool {
        self.tell_ended();
        if self.is_idle() {
            if !self.sleeps() {
                return false;
            }
            self.tell_ended();
        }
        for _ in 0..BOUND {
            let Some(t) = self.next_fed() else { break };
            self.resume(t);
        }
        self.tell_ended();
        self.submits();
        true
    }

    fn next_fed(&mut self) -> Option<usize> {
        let (new, ready) = (level_of(&self.pool.levels), level_of(&self.ready));
        let takes_turns = new == ready && !self.pool.fed_last;
        if new == NO_LEVEL || new > ready || (new == ready && !takes_turns) {
            self.tell_ended();
            self.pool.fed_last = false;
            return self.ready.iter_mut().find_map(VecDeque::pop_front);
        }
        self.pool.begun -= std::mem::take(&mut self.pool.ended);
        let t = self.pool.levels[new].pop_front()?;
        self.pool.begun += 1;
        self.tasks[t].state = State::Ready;
        let mut over = self.satisfied();
        over.extend(self.leavers(t));
        self.wake_left(over);
        self.pool.fed_last = true;
        Some(t)
    }

    /// The result of that run of `t`, 0: of the last one. None: it is not over.
    pub fn result_of(&self, t: usize, run: u64) -> Option<Out> {
        let task = &self.tasks[t];
        let is_other = run != 0 && run != task.run;
        match task.state {
            State::Queued => None,
            _ if is_other => Some(ESRCH),
            State::Done => task.result,
            _ => None,
        }
    }

    /// What a task waits for has left the queue of the pool: it is under way, or was.
    pub fn goes_on_after_leaving(&mut self, t: usize, step: Step) -> Option<Out> {
        let Task { canceled, fired, joined, .. } = self.tasks[t];
        match step {
            Step::Join(other) => {
                // One that is queued again is another run.
                if self.tasks[other].run != joined[0] {
                    return Some(ESRCH);
                }
                if self.tasks[other].state == State::Done {
                    return self.tasks[other].result;
                }
                if canceled || fired {
                    return Some(if canceled { ECANCELED } else { ETIME });
                }
                let refused = self.join_here(t, other);
                if refused.is_none() {
                    self.tasks[t].state = State::Waits { armed: true };
                }
                refused
            }
            Step::Select(_) if canceled => Some(ECANCELED),
            Step::Select(cases) => {
                let happened = self.select_at_once(t, &cases);
                happened.or_else(|| self.waits(t, step))
            }
            _ => unreachable!("nobody else waits for that"),
        }
    }
}

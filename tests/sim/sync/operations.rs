//! The model of operations: each task has one record. It ends at its time, when nobody is ready, or
//! when a task says so, and is looked at before the next pass. A select takes what it has brought,
//! or leaves it for who asks later.

use crate::model::*;
use crate::program::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Idle,
    /// When it ends, and as which it was begun.
    Flight(u64, u64, Out),
    /// Its completion is to be seen, or has been: to be taken.
    Posted(Out),
    Done(Out),
}

use Operation::*;

impl Model<'_> {
    pub fn begin_operation(&mut self, t: usize, slots: u64) -> Out {
        if self.tasks[t].operation != Idle {
            return EBUSY;
        }
        self.begun += 1;
        let result = value(t, self.tasks[t].at);
        self.tasks[t].operation = Flight(self.now + slots * SLOT_NS, self.begun, result);
        0
    }

    pub fn take_operation(&mut self, t: usize) -> Option<Out> {
        let Done(result) = self.tasks[t].operation else { return None };
        self.tasks[t].operation = Idle;
        Some(result)
    }

    /// The kernel ends it.
    pub fn post(&mut self, t: usize) -> Out {
        if let Flight(.., result) = self.tasks[t].operation {
            self.tasks[t].operation = Posted(result);
            self.posted.push(t);
        }
        0
    }

    /// What the kernel has told of it is looked at.
    pub fn completes(&mut self, t: usize) {
        if let Some(result) = self.tasks[t].closes {
            return self.exit(t, result);
        }
        let (Flight(.., result) | Posted(result)) = self.tasks[t].operation else { return };
        self.tasks[t].operation = Done(result);
        let Some(Step::Select(cases)) = self.step_of(t) else { return };
        let case = cases.iter().position(|case| matches!(case, Some(Case(What::Op, _))));
        if let (Some(i), State::Waits { armed: true }) = (case, self.tasks[t].state) {
            self.tasks[t].operation = Idle;
            self.entries.retain(|e| e.task != t);
            self.wake(t, of_case(i as Out, result));
        }
    }

    pub fn first_due(&self) -> Option<u64> {
        let due = |task: &Task| match task.operation {
            Flight(due, ..) => Some(due),
            _ => None,
        };
        self.tasks.iter().filter_map(due).min()
    }

    pub fn completes_due(&mut self) {
        let due = |t: usize| match self.tasks[t].operation {
            Flight(due, begun, _) if due <= self.now => Some((due, begun, t)),
            _ => None,
        };
        let mut over: Vec<_> = (0..self.tasks.len()).filter_map(due).collect();
        over.sort();
        over.into_iter().for_each(|(.., t)| self.completes(t));
    }

    /// A task has returned: its operation is cancelled, and awaited. False: there is none.
    pub fn closes(&mut self, t: usize, result: Out) -> bool {
        if !matches!(self.tasks[t].operation, Flight(..) | Posted(_)) {
            return false;
        }
        self.tasks[t].closes = Some(result);
        self.closing.push(t);
        true
    }

    /// The kernel has what was begun, and what was cancelled, at the end of a pass.
    pub fn submits(&mut self) {
        for t in std::mem::take(&mut self.closing) {
            if matches!(self.tasks[t].operation, Flight(..)) {
                self.tasks[t].operation = Posted(0);
                self.ended.push(t);
            }
        }
    }
}

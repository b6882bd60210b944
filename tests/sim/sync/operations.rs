//! The model of operations: each task has two records. One ends at its time, when nobody is ready, or
//! when a task says so, and is looked at before the next pass. Who waits takes what it has brought,
//! or, if something else came first, leaves it for who asks later.

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
    pub fn begin_operation(&mut self, t: usize, n: usize, slots: u64) -> Out {
        if self.tasks[t].operations[n] != Idle {
            return EBUSY;
        }
        self.begun += 1;
        let result = value(t, self.tasks[t].at);
        self.tasks[t].operations[n] = Flight(self.now + slots * SLOT_NS, self.begun, result);
        0
    }

    pub fn take_operation(&mut self, t: usize, n: usize) -> Option<Out> {
        let Done(result) = self.tasks[t].operations[n] else { return None };
        self.tasks[t].operations[n] = Idle;
        self.tasks[t].completed.retain(|&of| of != n);
        Some(result)
    }

    /// The first of the task's that has ended.
    pub fn take_any(&mut self, t: usize) -> Option<Out> {
        let first = *self.tasks[t].completed.first()?;
        self.take_operation(t, first)
    }

    pub fn has_operations(&self, t: usize) -> bool {
        self.tasks[t].operations.iter().any(|&of| of != Idle)
    }

    /// The kernel ends it.
    pub fn post(&mut self, t: usize, n: usize) -> Out {
        if let Flight(.., result) = self.tasks[t].operations[n] {
            self.tasks[t].operations[n] = Posted(result);
            self.posted.push((t, n));
        }
        0
    }

    pub fn cancel_operation(&mut self, t: usize, n: usize) -> Out {
        match self.tasks[t].operations[n] {
            Idle => return ENOENT,
            Flight(..) => self.cancels.push((t, n)),
            Posted(_) | Done(_) => {}
        }
        0
    }

    /// What the kernel has told of it is looked at.
    pub fn completes(&mut self, (t, n): (usize, usize)) {
        let (Flight(.., result) | Posted(result)) = self.tasks[t].operations[n] else { return };
        if let Some(of_task) = self.tasks[t].closes {
            self.tasks[t].operations[n] = Idle;
            if !self.has_operations(t) {
                self.exit(t, of_task);
            }
            return;
        }
        self.tasks[t].operations[n] = Done(result);
        self.tasks[t].completed.push(n);
        if self.tasks[t].state != (State::Waits { armed: true }) {
            return;
        }
        match self.step_of(t) {
            Some(Step::WaitAny) => self.wake(t, 0),
            Some(Step::WaitOp(of) | Step::EndOp(of)) if of == n => self.wake(t, 0),
            Some(Step::Select(cases)) => {
                let is_it =
                    |case: &Option<Case>| matches!(case, Some(Case(What::Op(of), _)) if *of == n);
                if let Some(i) = cases.iter().position(is_it) {
                    let _ = self.take_operation(t, n);
                    self.entries.retain(|e| e.task != t);
                    self.wake(t, of_case(i as Out, result));
                }
            }
            _ => {}
        }
    }

    fn all(&self) -> impl Iterator<Item = (usize, usize)> {
        let count = self.tasks.len();
        (0..count).flat_map(|t| (0..OPS).map(move |n| (t, n)))
    }

    pub fn first_due(&self) -> Option<u64> {
        let due = |(t, n): (usize, usize)| match self.tasks[t].operations[n] {
            Flight(due, ..) => Some(due),
            _ => None,
        };
        self.all().filter_map(due).min()
    }

    pub fn completes_due(&mut self) {
        let due = |(t, n): (usize, usize)| match self.tasks[t].operations[n] {
            Flight(due, begun, _) if due <= self.now => Some((due, begun, (t, n))),
            _ => None,
        };
        let mut over: Vec<_> = self.all().filter_map(due).collect();
        over.sort();
        over.into_iter().for_each(|(.., of)| self.completes(of));
    }

    /// A task has returned: its operations are cancelled, and awaited. False: there are none.
    pub fn closes(&mut self, t: usize, result: Out) -> bool {
        let mut flights: Vec<(u64, usize)> = Vec::new();
        for n in 0..OPS {
            match self.tasks[t].operations[n] {
                Flight(_, begun, _) => flights.push((begun, n)),
                Done(_) => _ = self.take_operation(t, n),
                Idle | Posted(_) => {}
            }
        }
        flights.sort();
        self.cancels.extend(flights.into_iter().map(|(_, n)| (t, n)));
        let has_some = self.has_operations(t);
        if has_some {
            self.tasks[t].closes = Some(result);
        }
        has_some
    }

    /// The kernel has what was begun, and what was cancelled, at the end of a pass.
    pub fn submits(&mut self) {
        for (t, n) in std::mem::take(&mut self.cancels) {
            if matches!(self.tasks[t].operations[n], Flight(..)) {
                self.tasks[t].operations[n] = Posted(ECANCELED);
                self.ended.push((t, n));
            }
        }
    }
}

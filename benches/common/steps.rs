//! A task on its own, step by step, by the stamps that the executor leaves in its head.

use core::cell::Cell;

use monad_async::error::RawResult;
use monad_async::ticks;

use super::api::{self, Executor, Task, TaskPtr};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    AttachToBegin,
    BeginToEnd,
    BeginToSuspended,
    CompletedToResumed,
    ResumedToEnd,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::AttachToBegin => "attach to body begins",
            Step::BeginToEnd => "body begins to wound up",
            Step::BeginToSuspended => "body begins to suspended on a NOP",
            Step::CompletedToResumed => "NOP completed to resumed",
            Step::ResumedToEnd => "resumed to wound up",
        }
    }

    fn has_io(self) -> bool {
        !matches!(self, Step::AttachToBegin | Step::BeginToEnd)
    }
}

pub struct Steps {
    step: Step,
    ex: Executor,
    task: Task,
    begun: Box<Cell<u64>>,
}

unsafe extern "C" fn empty(_: TaskPtr) -> RawResult {
    RawResult::success(0)
}

/// A NOP; keeps the stamp of its launch, which the resumption replaces.
unsafe extern "C" fn one_nop(task: TaskPtr) -> RawResult {
    // SAFETY: the task that runs; the cell outlives it.
    unsafe {
        api::user::<Cell<u64>>(task).set((*task).ticks.when_resumed.get());
        api::nop(task)
    }
}

impl Steps {
    pub fn new(step: Step) -> Self {
        let begun = Box::new(Cell::new(0));
        let body = if step.has_io() { one_nop } else { empty };
        let task = Task::new(16 << 10, body, (&raw const *begun).cast());
        Self { step, ex: Executor::new(64, true), task, begun }
    }

    /// Nanoseconds of the step, as often as a round is long.
    pub fn round(&mut self) -> Vec<f64> {
        (0..500).map(|_| self.one()).collect()
    }

    fn one(&self) -> f64 {
        let head = self.task.head();
        self.ex.attach(&self.task);
        while !self.task.has_exited() {
            self.ex.run(1);
        }
        let t = &head.ticks;
        let (from, to) = match self.step {
            Step::AttachToBegin => (head.ticks_when_attached.get(), t.when_resumed.get()),
            Step::BeginToEnd => (t.when_resumed.get(), t.when_detached.get()),
            Step::BeginToSuspended => (self.begun.get(), t.when_suspended_awaiting.get()),
            Step::CompletedToResumed => (t.when_suspended_completed.get(), t.when_resumed.get()),
            Step::ResumedToEnd => (t.when_resumed.get(), t.when_detached.get()),
        };
        // As a fraction: a tick is less than a nanosecond.
        let mega = ticks::per_second() as f64 / 1e6;
        (to.wrapping_sub(from) as i64) as f64 * 1e3 / mega
    }
}

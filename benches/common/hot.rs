//! The hot loops of one thread: launch, yield, NOP.

use core::cell::Cell;
use core::ptr;

use monad_async::error::RawResult;

use super::api::{self, Executor, Task, TaskPtr};
use super::rounds::{Meter, Sample, Work};

/// Stacks are reused from a pool, and only what is touched counts.
const STACK_BYTES: usize = 16 << 10;

unsafe extern "C" fn empty(_: TaskPtr) -> RawResult {
    RawResult::success(0)
}

/// Attach, run, finish 1,024 empty tasks, again and again.
pub struct Launch {
    ex: Executor,
    tasks: Vec<Task>,
}

pub const LAUNCHES: usize = 1024;

impl Launch {
    pub fn new(track: bool) -> Self {
        let this = Self {
            ex: Executor::new(64, track),
            tasks: (0..LAUNCHES).map(|_| Task::new(STACK_BYTES, empty, ptr::null())).collect(),
        };
        this.lap();
        let stamped = this.tasks[0].head().ticks_when_attached.get() != 0;
        assert!(stamped == track, "what is measured is not what it is called");
        this
    }

    pub fn lap(&self) {
        for task in &self.tasks {
            self.ex.attach(task);
        }
        let ran = self.ex.run(usize::MAX);
        assert!(ran == self.tasks.len());
    }
}

impl Work for Launch {
    fn round(&mut self) -> Sample {
        const LAPS: usize = 4;
        let meter = Meter::start();
        for _ in 0..LAPS {
            self.lap();
        }
        meter.stop(LAPS * LAUNCHES)
    }
}

/// Tasks that do one thing until told to stop, driven by passes of `run`.
pub struct Looping {
    // Dropped first: it waits for the tasks to exit.
    ex: Executor,
    tasks: Vec<Task>,
    go: Box<Cell<bool>>,
    passes: usize,
}

pub const AMONG: usize = 64;

unsafe extern "C" fn yields(task: TaskPtr) -> RawResult {
    // SAFETY: the flag outlives the task.
    let go: &Cell<bool> = unsafe { api::user(task) };
    while go.get() {
        // SAFETY: the task that runs.
        let r = unsafe { api::suspend(task, 0) };
        assert!(r.error == 0);
    }
    RawResult::success(0)
}

unsafe extern "C" fn nops(task: TaskPtr) -> RawResult {
    // SAFETY: the flag outlives the task.
    let go: &Cell<bool> = unsafe { api::user(task) };
    while go.get() {
        // SAFETY: the task that runs.
        let r = unsafe { api::nop(task) };
        assert!(r.error == 0);
    }
    RawResult::success(0)
}

impl Looping {
    fn new(track: bool, body: api::Body, passes: usize) -> Self {
        let go = Box::new(Cell::new(true));
        let user = (&raw const *go).cast();
        let ex = Executor::new(AMONG as u32, track);
        let tasks: Vec<_> = (0..AMONG).map(|_| Task::new(STACK_BYTES, body, user)).collect();
        for task in &tasks {
            ex.attach(task);
        }
        ex.run(usize::MAX);
        Self { ex, tasks, go, passes }
    }

    pub fn yields(track: bool) -> Self {
        Self::new(track, yields, 64)
    }

    pub fn nops(track: bool) -> Self {
        Self::new(track, nops, 32)
    }

    pub fn executor(&self) -> &Executor {
        &self.ex
    }
}

impl Work for Looping {
    fn round(&mut self) -> Sample {
        let mut ran = 0;
        let meter = Meter::start();
        for _ in 0..self.passes {
            ran += self.ex.run(usize::MAX);
        }
        let sample = meter.stop(ran);
        assert!(ran == self.passes * AMONG, "{ran} of {} passes", self.passes);
        sample
    }
}

impl Drop for Looping {
    fn drop(&mut self) {
        self.go.set(false);
        self.ex.finish();
    }
}

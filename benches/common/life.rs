//! What is not the hottest loop: making tasks, their first suspension, short runs, batches of all
//! sizes, bodies that the branch predictor cannot foresee, and the memory that all of it takes.

use core::cell::Cell;
use core::ptr;

use monad_async::error::RawResult;

use super::api::{self, Body, Executor, Task, TaskPtr};
use super::rounds::{Meter, Sample, Work};

const STACK_BYTES: usize = 16 << 10;

unsafe extern "C" fn nothing(_: TaskPtr) -> RawResult {
    RawResult::success(0)
}

unsafe extern "C" fn yields_once(task: TaskPtr) -> RawResult {
    // SAFETY: the task that runs.
    unsafe { api::suspend(task, 0) }
}

unsafe extern "C" fn nop_once(task: TaskPtr) -> RawResult {
    // SAFETY: the task that runs.
    unsafe { api::nop(task) }
}

/// Yields twice, from places of its own.
#[inline(never)]
unsafe extern "C" fn yields_elsewhere(task: TaskPtr) -> RawResult {
    // SAFETY: the task that runs.
    let first = unsafe { api::suspend(task, 0) };
    assert!(first.error == 0);
    // SAFETY: as above.
    let second = unsafe { api::suspend(task, 0) };
    assert!(second.error == 0);
    RawResult::success(1)
}

/// Runs the same tasks from launch to exit, again and again.
pub struct Runs {
    ex: Executor,
    tasks: Vec<Task>,
    laps: usize,
}

impl Runs {
    fn new(track: bool, tasks: Vec<Task>) -> Self {
        let laps = 4096_usize.div_ceil(tasks.len());
        let this = Self { ex: Executor::new(256, track), tasks, laps };
        this.lap();
        this
    }

    fn of(track: bool, count: usize, body: Body) -> Self {
        Self::new(track, (0..count).map(|_| Task::new(STACK_BYTES, body, ptr::null())).collect())
    }

    pub fn launches(track: bool, count: usize) -> Self {
        Self::of(track, count, nothing)
    }

    pub fn with_a_yield(track: bool, count: usize) -> Self {
        Self::of(track, count, yields_once)
    }

    pub fn with_a_nop(track: bool, count: usize) -> Self {
        Self::of(track, count, nop_once)
    }

    /// Two bodies in an order without a pattern: one yields once, one twice, from other places.
    pub fn of_two_kinds(track: bool) -> Self {
        let mut state = 1u32;
        let body = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let body = if state >> 31 == 0 { yields_once } else { yields_elsewhere as Body };
            Task::new(STACK_BYTES, body, ptr::null())
        };
        Self::new(track, (0..1024).map(body).collect())
    }

    fn lap(&self) -> usize {
        for task in &self.tasks {
            self.ex.attach(task);
        }
        let mut ran = 0;
        while self.ex.has_work() {
            ran += self.ex.run(usize::MAX);
        }
        ran
    }
}

impl Work for Runs {
    /// An operation is a task's whole run.
    fn round(&mut self) -> Sample {
        let meter = Meter::start();
        for _ in 0..self.laps {
            self.lap();
        }
        meter.stop(self.laps * self.tasks.len())
    }
}

/// More than the pool keeps warm, so that most of the memory is the kernel's in between.
pub const FRESH: usize = 10_000;

fn make(body: Body, user: *const core::ffi::c_void) -> Vec<Task> {
    (0..FRESH).map(|_| Task::new(STACK_BYTES, body, user)).collect()
}

/// Creates and destroys tasks that nobody launches.
pub struct Creations;

impl Work for Creations {
    fn round(&mut self) -> Sample {
        let meter = Meter::start();
        drop(make(nothing, ptr::null()));
        meter.stop(FRESH)
    }
}

/// From the attach of a task that was just made to its first suspension.
pub struct FirstSuspensions(pub bool);

impl Work for FirstSuspensions {
    fn round(&mut self) -> Sample {
        let ex = Executor::new(0, self.0);
        let tasks = make(yields_once, ptr::null());
        let meter = Meter::start();
        for task in &tasks {
            ex.attach(task);
        }
        ex.run(usize::MAX);
        let sample = meter.stop(FRESH);
        ex.finish();
        sample
    }
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    // SAFETY: asks for a number.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64
}

unsafe extern "C" fn yields_until_told(task: TaskPtr) -> RawResult {
    // SAFETY: the flag outlives the task.
    let go: &Cell<bool> = unsafe { api::user(task) };
    while go.get() {
        // SAFETY: the task that runs.
        let r = unsafe { api::suspend(task, 0) };
        assert!(r.error == 0);
    }
    RawResult::success(0)
}

/// Resident bytes of a task that was made, and of one that is suspended. What the pool kept warm is
/// resident before: a tenth of it at most.
pub fn resident_bytes_each() -> (f64, f64) {
    let go = Cell::new(true);
    let before = resident_bytes();
    let ex = Executor::new(0, true);
    let tasks = make(yields_until_told, (&raw const go).cast());
    let idle = resident_bytes() - before;
    for task in &tasks {
        ex.attach(task);
    }
    ex.run(usize::MAX);
    let suspended = resident_bytes() - before;
    go.set(false);
    ex.finish();
    (idle / FRESH as f64, suspended / FRESH as f64)
}

//! Many tasks: ten thousand that sleep, a million that wait their turn.

use core::cell::Cell;

use monad_async::error::RawResult;

use super::api::{self, Executor, Task, TaskPtr};
use super::rounds::{Meter, Sample, Work};

const STACK_BYTES: usize = 16 << 10;

struct Control {
    go: Cell<bool>,
    slept: Cell<usize>,
}

/// Each sleeps 1 ms in a loop.
pub struct Sleepers {
    ex: Executor,
    tasks: Vec<Task>,
    control: Box<Control>,
}

pub const SLEEPERS: usize = 10_000;
pub const NAP_NS: u64 = 1_000_000;

unsafe extern "C" fn naps(task: TaskPtr) -> RawResult {
    // SAFETY: the control outlives the task.
    let control: &Control = unsafe { api::user(task) };
    while control.go.get() {
        // SAFETY: the task that runs.
        let r = unsafe { api::suspend(task, NAP_NS) };
        assert!(r.error == 0);
        control.slept.set(control.slept.get() + 1);
    }
    RawResult::success(0)
}

impl Sleepers {
    pub fn new(track: bool) -> Self {
        let control = Box::new(Control { go: Cell::new(true), slept: Cell::new(0) });
        let user = (&raw const *control).cast();
        let ex = Executor::new(64, track);
        let tasks: Vec<_> = (0..SLEEPERS).map(|_| Task::new(STACK_BYTES, naps, user)).collect();
        for task in &tasks {
            ex.attach(task);
        }
        let mut this = Self { ex, tasks, control };
        this.round();
        this
    }
}

impl Work for Sleepers {
    /// Every sleeper about twice. The time asleep is in the wall time and not in the CPU time.
    fn round(&mut self) -> Sample {
        let begun = self.control.slept.get();
        let meter = Meter::start();
        while self.control.slept.get() - begun < 2 * SLEEPERS {
            self.ex.run(usize::MAX);
        }
        meter.stop(self.control.slept.get() - begun)
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.control.go.set(false);
        self.ex.finish();
    }
}

/// Each yields in a loop, so that each resumption is of the one that was suspended longest, whose
/// header and stack have long left the caches.
pub struct Million {
    ex: Executor,
    tasks: Vec<Task>,
    go: Box<Cell<bool>>,
}

/// Header and top of the stack share a page; page tables and slabs take the rest.
const BYTES_EACH: usize = 5 << 10;

unsafe extern "C" fn waits_its_turn(task: TaskPtr) -> RawResult {
    // SAFETY: the flag outlives the task.
    let go: &Cell<bool> = unsafe { api::user(task) };
    while go.get() {
        // SAFETY: the task that runs.
        let r = unsafe { api::suspend(task, 0) };
        assert!(r.error == 0);
    }
    RawResult::success(0)
}

impl Million {
    /// A million, or as many as three quarters of the free memory hold.
    pub fn new(track: bool) -> Self {
        let n = (available_bytes() / 4 * 3 / BYTES_EACH).min(1_000_000);
        Self::of(n, track)
    }

    pub fn of(n: usize, track: bool) -> Self {
        let go = Box::new(Cell::new(true));
        let user = (&raw const *go).cast();
        let ex = Executor::new(64, track);
        let tasks: Vec<_> = (0..n).map(|_| Task::new(STACK_BYTES, waits_its_turn, user)).collect();
        for task in &tasks {
            ex.attach(task);
        }
        ex.run(usize::MAX);
        Self { ex, tasks, go }
    }

    pub fn len(&self) -> usize {
        self.tasks.len()
    }
}

impl Work for Million {
    fn round(&mut self) -> Sample {
        const ITEMS: usize = 10_000;
        let meter = Meter::start();
        let ran = self.ex.run(ITEMS);
        meter.stop(ran)
    }
}

impl Drop for Million {
    fn drop(&mut self) {
        self.go.set(false);
        self.ex.finish();
    }
}

fn available_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.map_or(usize::MAX, |k| k << 10)
}

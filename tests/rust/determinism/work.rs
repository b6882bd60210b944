//! The hot operations, driven from one thread through the C API.

use std::cell::Cell;
use std::hint::black_box;

use monad_async::error::RawResult;

use super::api::{self, Executor, Task, TaskPtr};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Kind {
    /// Attach, run, finish.
    Launch,
    Yield,
    Nop,
    Sleep,
    /// Not hot: what the counts must see.
    Allocate,
    SystemCall,
}

pub const KINDS: [Kind; 4] = [Kind::Launch, Kind::Yield, Kind::Nop, Kind::Sleep];

const TASKS: usize = 64;
const SLEEPERS: usize = 1000;
/// From the executor's own wait to the expiry of many at once, all of it is met.
const NAP_NS: u64 = 20_000;

pub struct Work {
    // Dropped first: it waits for the tasks to exit.
    ex: Executor,
    tasks: Vec<Task>,
    shared: Box<Shared>,
}

struct Shared {
    kind: Kind,
    stop: Cell<bool>,
    done: Cell<usize>,
}

unsafe extern "C" fn body(task: TaskPtr) -> RawResult {
    // SAFETY: outlives the task.
    let shared: &Shared = unsafe { api::user(task) };
    loop {
        shared.done.set(shared.done.get() + 1);
        // SAFETY: the task that runs.
        let r = unsafe {
            match shared.kind {
                Kind::Launch => return RawResult::success(0),
                Kind::Yield => api::suspend(task, 0),
                Kind::Nop => api::nop(task),
                Kind::Sleep => api::suspend(task, NAP_NS),
                Kind::Allocate => {
                    black_box(Box::new(task));
                    return RawResult::success(0);
                }
                Kind::SystemCall => {
                    libc::getppid();
                    return RawResult::success(0);
                }
            }
        };
        assert!(r.error == 0);
        if shared.stop.get() {
            return r;
        }
    }
}

impl Work {
    pub fn new(kind: Kind, track: bool) -> Self {
        let shared = Shared { kind, stop: Cell::new(false), done: Cell::new(0) };
        let shared = Box::new(shared);
        let user = (&raw const *shared).cast();
        let n = if kind == Kind::Sleep { SLEEPERS } else { TASKS };
        let tasks: Vec<_> = (0..n).map(|_| Task::new(16 << 10, body, user)).collect();
        let this = Self { ex: Executor::new(64, track), tasks, shared };
        if this.stays() {
            this.launch(n);
        }
        this
    }

    /// Its tasks stay attached, and suspend.
    fn stays(&self) -> bool {
        matches!(self.shared.kind, Kind::Yield | Kind::Nop | Kind::Sleep)
    }

    fn launch(&self, n: usize) {
        for task in &self.tasks[..n] {
            self.ex.attach(task);
        }
    }

    /// Some more operations: launches exactly as many, of the others at least as many.
    pub fn go(&self, operations: usize) {
        let end = self.shared.done.get() + operations;
        while self.shared.done.get() < end {
            if !self.stays() {
                self.launch(TASKS.min(end - self.shared.done.get()));
            }
            self.ex.run(usize::MAX);
        }
        assert!(self.stays() || (self.shared.done.get() == end && !self.ex.has_work()));
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.shared.stop.set(true);
        self.ex.finish();
    }
}

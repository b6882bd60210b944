//! One billion launches on two executors, a thread each, every sixteenth of them on the other's:
//! each ran, in its turn, none twice. `MONAD_ASYNC_LAUNCHES` sets another number for a quick run.

#[path = "../../benches/common/api.rs"]
#[allow(dead_code)]
mod api;

use std::cell::Cell;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use api::{Executor, Task, TaskPtr};
use monad_async::capi::ExecutorPtr;
use monad_async::error::RawResult;
use monad_async::uring::{RealKernel, RingOptions};

/// Launched by the thread that runs them.
const LOCAL: usize = 960;
/// Launched by the one thread, run by the other.
const REMOTE: usize = 64;

/// What a task's `user_ptr` points to. `launched` is its launcher's, the rest its runner's; attach
/// and exit hand each side's writes to the other.
struct Tally {
    launched: Cell<u64>,
    ran: Cell<u64>,
    /// Which of all local launches this is due for.
    ticket: Cell<u64>,
    /// Local launches that ran on this thread; null in a remote task.
    turn: *const Cell<u64>,
}

unsafe extern "C" fn body(task: TaskPtr) -> RawResult {
    // SAFETY: outlives the task.
    let tally: &Tally = unsafe { api::user(task) };
    tally.ran.set(tally.ran.get() + 1);
    assert!(tally.ran.get() == tally.launched.get(), "a launch was lost, or ran twice");
    // SAFETY: null, or a counter of this thread that outlives the task.
    if let Some(turn) = unsafe { tally.turn.as_ref() } {
        assert!(turn.get() == tally.ticket.get(), "a launch was overtaken");
        turn.set(turn.get() + 1);
    }
    RawResult::success(0)
}

/// Tasks with their tallies, which may be launched by one thread and run by another.
struct Pool {
    tasks: Vec<Task>,
    tallies: Box<[Tally]>,
}

// SAFETY: see `Tally`; attach and has_exited may be called by any thread.
unsafe impl Send for Pool {}

impl Pool {
    fn new(n: usize, turn: *const Cell<u64>) -> Self {
        let zero = || Cell::new(0);
        let tally = |_| Tally { launched: zero(), ran: zero(), ticket: zero(), turn };
        let tallies: Box<[_]> = (0..n).map(tally).collect();
        let new = |t: &Tally| Task::new(16 << 10, body, (&raw const *t).cast());
        Self { tasks: tallies.iter().map(new).collect(), tallies }
    }

    /// Task `i`, idle, on `ex`.
    fn launch(&self, i: usize, ex: ExecutorPtr) {
        let launched = &self.tallies[i].launched;
        launched.set(launched.get() + 1);
        // SAFETY: both are alive until the end of the test.
        let r = unsafe { api::attach(ex, self.tasks[i].ptr()) };
        assert!(r.error == 0, "attach: errno {}", r.error);
    }

    /// All have exited. Launches, runs.
    fn sums(&self) -> (u64, u64) {
        let sum = |f: fn(&Tally) -> u64| self.tallies.iter().map(f).sum();
        (sum(|t| t.launched.get()), sum(|t| t.ran.get()))
    }
}

/// What each thread tells the other.
#[derive(Default)]
struct Side {
    ex: AtomicU64,
    launched_all: AtomicBool,
}

/// Launches `share`, and runs what both launch here. Launches, runs, counted by `run`.
fn work(mine: &Side, other: &Side, end: &Barrier, entries: u32, share: u64) -> (u64, u64, u64) {
    let turn = Box::new(Cell::new(0));
    let (local, remote) = (Pool::new(LOCAL, &*turn), Pool::new(REMOTE, std::ptr::null()));
    let ex = Executor::new(entries, true);
    mine.ex.store(ex.ptr() as u64, Release);
    let there = loop {
        match other.ex.load(Acquire) {
            0 => thread::yield_now(),
            at => break at as ExecutorPtr,
        }
    };
    let (mut launched, mut ran) = (0, 0);
    while launched < share {
        for i in 0..LOCAL.min((share - launched) as usize) {
            local.tallies[i].ticket.set(turn.get() + i as u64);
            local.launch(i, ex.ptr());
            launched += 1;
        }
        for i in 0..REMOTE.min((share - launched) as usize) {
            // Else it goes in another lap.
            if remote.tallies[i].launched.get() == 0 || remote.tasks[i].has_exited() {
                remote.launch(i, there);
                launched += 1;
            }
        }
        let lap = turn.get() + local.tasks.iter().filter(|t| !t.has_exited()).count() as u64;
        while turn.get() < lap {
            ran += ex.run(usize::MAX) as u64;
        }
    }
    mine.launched_all.store(true, Release);
    // SAFETY: not destroyed before both have come to the end.
    unsafe { api::wake(there) };
    while !other.launched_all.load(Acquire) || ex.has_work() {
        ran += ex.run(usize::MAX) as u64;
    }
    // From here on nobody launches, wakes, or runs a task of the other's.
    end.wait();
    let (l, r) = (local.sums(), remote.sums());
    (l.0 + r.0, l.1 + r.1, ran)
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes many minutes unoptimised: cargo test --release")]
fn one_billion_launches() {
    let wanted = std::env::var("MONAD_ASYNC_LAUNCHES")
        .map_or(1_000_000_000, |n| n.parse().expect("MONAD_ASYNC_LAUNCHES is a number"));
    // Without io_uring: compute only.
    let ring = RealKernel::new(&RingOptions { entries: 8, ..RingOptions::default() });
    let entries = if ring.is_ok() { 64 } else { 0 };
    drop(ring);
    let (a, b, end) = (Side::default(), Side::default(), Barrier::new(2));
    let begun = Instant::now();
    let (x, y) = thread::scope(|s| {
        let there = s.spawn(|| work(&b, &a, &end, entries, wanted / 2));
        (work(&a, &b, &end, entries, wanted - wanted / 2), there.join().expect("no panic"))
    });
    let ns = begun.elapsed().as_nanos() as f64;
    let (launched, ran, counted) = (x.0 + y.0, x.1 + y.1, x.2 + y.2);
    let _ = writeln!(
        std::io::stderr(),
        "measured: {launched} launches, {ran} ran, {counted} counted by run, {:.1} ns each",
        ns / launched as f64
    );
    assert_eq!((launched, ran, counted), (wanted, wanted, wanted));
}

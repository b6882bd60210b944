//! Eight threads launch on two executors as fast as they can: every launch runs once, on the
//! executor it was launched on. Five seconds; a minute with MONAD_ASYNC_LONG=1.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::task::header::{TaskHead, TaskRef};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

const THREADS: usize = 8;
/// Of each thread.
const TASKS: usize = 64;

/// What a task says of its runs; the executor's thread writes, the submitter reads after the exit.
struct Says {
    runs: AtomicU64,
    ran_on: AtomicU64,
}

unsafe extern "C" fn body(head: *const TaskHead) -> RawResult {
    // SAFETY: the executor passes the task that runs, whose user_ptr is its `Says`.
    let (task, says) = unsafe {
        let task = TaskRef::from_head(head);
        (task, &*task.head.user_ptr.get().cast::<Says>())
    };
    says.ran_on.store(task.executor() as u64, Ordering::Relaxed);
    let n = says.runs.fetch_add(1, Ordering::Relaxed);
    if n % 16 == 3 {
        return nop(task);
    }
    if n % 16 == 9 {
        return Handle::<Real>::sleep(task, 0);
    }
    RawResult::success(0)
}

/// Launches until told to stop; how many on each executor.
fn submit(on: [Shared<Handle<Real>>; 2], stop: &AtomicBool, nth: usize) -> [u64; 2] {
    let says: Vec<Says> =
        (0..TASKS).map(|_| Says { runs: AtomicU64::new(0), ran_on: AtomicU64::new(0) }).collect();
    let tasks: Vec<TaskRef> = says
        .iter()
        .map(|says| {
            let t = new_task();
            t.head.user_code.set(Some(body));
            t.head.user_ptr.set((&raw const *says).cast_mut().cast::<c_void>());
            t
        })
        .collect();
    let mut launched = [0; 2];
    let mut expected = [(0, 0); TASKS];
    while !stop.load(Ordering::Relaxed) {
        let mut idle = 0;
        for (i, &t) in tasks.iter().enumerate() {
            let (runs, place) = expected[i];
            if runs != 0 {
                if !t.has_exited() {
                    continue;
                }
                assert_eq!(t.head.result.get(), RawResult::success(0));
                assert_eq!(says[i].runs.load(Ordering::Relaxed), runs, "lost, or ran twice");
                assert_eq!(says[i].ran_on.load(Ordering::Relaxed), place, "ran elsewhere");
            }
            idle += 1;
            let which = (i + nth + runs as usize) % 2;
            let ex = on[which].0;
            expected[i] = (runs + 1, ex.as_ptr() as u64);
            ex.attach(t).unwrap();
            launched[which] += 1;
        }
        if idle == 0 {
            thread::yield_now();
        }
    }
    for t in tasks {
        while !t.has_exited() {
            thread::yield_now();
        }
        monad_async::api::destroy_task(t).unwrap();
    }
    let runs: u64 = says.iter().map(|s| s.runs.load(Ordering::Relaxed)).sum();
    assert_eq!(runs, launched[0] + launched[1]);
    launched
}

#[test]
fn eight_threads_on_two_executors() {
    let seconds = match (std::env::var_os("MONAD_ASYNC_LONG"), cfg!(debug_assertions)) {
        (Some(_), _) => 60,
        (None, true) => 2,
        (None, false) => 5,
    };
    static STOP: AtomicBool = AtomicBool::new(false);
    static DONE: AtomicBool = AtomicBool::new(false);
    let (tx, rx) = mpsc::channel::<Shared<Handle<Real>>>();
    let all_woken = Arc::new(Barrier::new(3));
    let executors: Vec<_> = (0..2)
        .map(|_| {
            let (tx, all_woken) = (tx.clone(), all_woken.clone());
            thread::spawn(move || {
                let ex = executor(16);
                tx.send(Shared(ex)).unwrap();
                let mut items = 0;
                while !DONE.load(Ordering::Acquire) || ex.has_work() {
                    items += ex.run(usize::MAX, None).unwrap() as u64;
                }
                let io = ex.executor().head.total_io_completed.get();
                assert_eq!(io, ex.executor().head.total_io_submitted.get());
                let at = ex.as_ptr() as u64;
                all_woken.wait();
                ex.destroy().unwrap();
                (at, items, io)
            })
        })
        .collect();
    let on = [rx.recv().unwrap(), rx.recv().unwrap()];
    let at = on.map(|ex| ex.0.as_ptr() as u64);
    let submitters: Vec<_> =
        (0..THREADS).map(|nth| thread::spawn(move || submit(on, &STOP, nth))).collect();
    let began = Instant::now();
    thread::sleep(Duration::from_secs(seconds));
    STOP.store(true, Ordering::Relaxed);
    let mut launched = [0; 2];
    for s in submitters {
        let of_one = s.join().unwrap();
        launched = [launched[0] + of_one[0], launched[1] + of_one[1]];
    }
    let took = began.elapsed();
    DONE.store(true, Ordering::Release);
    on.iter().for_each(|ex| ex.0.wake().unwrap());
    all_woken.wait();
    let (mut items, mut io) = (0, 0);
    for e in executors {
        let (place, ran, completed) = e.join().unwrap();
        let mine = launched[usize::from(place == at[1])];
        assert!(ran >= mine && ran <= mine + mine / 4 + 512, "{ran} items for {mine} launches");
        items += ran;
        io += completed;
    }
    let total = launched[0] + launched[1];
    // One run in sixteen is a NOP, another a yield: as many of each, except each task's last few.
    let suspended = items - total;
    assert!(suspended.abs_diff(2 * io) <= (THREADS * TASKS) as u64, "{suspended} and {io}");
    assert!(launched[0] != 0 && launched[1] != 0);
    println!("measured: {total} launches by {THREADS} threads on 2 executors in {took:?}");
}

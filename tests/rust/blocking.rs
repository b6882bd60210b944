//! Functions that block, on helpers: their results, cancels before and after they begin, the bound,
//! and forks.

#[path = "../support/mod.rs"]
mod support;

use core::ffi::c_void;
use monad_async::capi::blocking::{
    monad_async_blocking_helpers as helpers, monad_async_blocking_set_limits as set_limits,
    monad_async_resolve, monad_async_run_blocking,
};
use monad_async::error::{Errno, RawResult};
use monad_async::task::header::TaskRef;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use support::*;

const SECOND_NS: u64 = 1_000_000_000;

/// The limits are the process's: one test at a time.
fn alone(helpers_max: u32) -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(set_limits(helpers_max, 5 * SECOND_NS), RawResult::success(0));
    guard
}

unsafe extern "C" fn call(f: *mut c_void) -> RawResult {
    // SAFETY: from `blocking`, which waits for this.
    RawResult::success(unsafe { &*f.cast::<&(dyn Fn() -> isize + Sync)>() }())
}

fn blocking(task: TaskRef, f: &(dyn Fn() -> isize + Sync)) -> RawResult {
    // SAFETY: the closure stays until the call returns, and is Sync.
    unsafe { monad_async_run_blocking(task.as_head(), Some(call), (&raw const f) as *mut c_void) }
}

fn run_until_idle(ex: Handle) {
    while ex.has_work() {
        let _ = ex.run(usize::MAX, Some(SECOND_NS));
    }
}

type Handle = monad_async::api::Handle<Real>;

/// A gate that a function waits at, on its helper.
#[derive(Default)]
struct Gate {
    begun: AtomicBool,
    open: AtomicBool,
}

impl Gate {
    fn pass(&self) -> isize {
        self.begun.store(true, SeqCst);
        while !self.open.load(SeqCst) {
            thread::sleep(Duration::from_micros(100));
        }
        7
    }
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

#[test]
fn other_tasks_run_while_a_function_blocks() {
    let _alone = alone(4);
    let ex = executor(8);
    let gate: &Gate = leak(Gate::default());
    let (a, b) = (new_task(), new_task());
    let here = thread::current().id();
    set_body(a, move |t| {
        blocking(t, &move || {
            assert_ne!(thread::current().id(), here);
            gate.pass()
        })
    });
    // Would never come to its turn if `a` blocked the executor.
    set_body(b, move |_| {
        gate.open.store(true, SeqCst);
        RawResult::success(0)
    });
    ex.attach(a).unwrap();
    ex.attach(b).unwrap();
    run_until_idle(ex);
    assert_eq!(a.head.result.get(), RawResult::success(7));
    destroy(ex, [a, b]);
}

/// One helper, which is busy: what waits for it is withdrawn by a cancel at once, and never runs;
/// what it runs has its own result, as late as that comes.
#[test]
fn a_cancel_withdraws_what_has_not_begun_and_waits_for_what_has() {
    let _alone = alone(1);
    let ex = executor(8);
    let gate: &Gate = leak(Gate::default());
    let ran: &AtomicBool = leak(AtomicBool::new(false));
    let (a, b) = (new_task(), new_task());
    let again = Rc::new(Cell::new(RawResult::default()));
    let told = again.clone();
    set_body(a, move |t| {
        let result = blocking(t, &|| gate.pass());
        told.set(blocking(t, &|| 8)); // The cancel is sticky.
        result
    });
    set_body(b, move |t| {
        blocking(t, &|| {
            ran.store(true, SeqCst);
            9
        })
    });
    ex.attach(a).unwrap();
    while !gate.begun.load(SeqCst) {
        let _ = ex.run(usize::MAX, Some(0));
    }
    ex.attach(b).unwrap();
    let _ = ex.run(usize::MAX, Some(0));
    assert!(b.is_attached());
    ex.cancel(a).unwrap();
    ex.cancel(b).unwrap();
    while b.is_attached() {
        let _ = ex.run(usize::MAX, Some(0));
    }
    assert_eq!(b.head.result.get(), RawResult::failure(Errno(libc::ECANCELED)));
    assert!(a.is_attached(), "its function runs still, and uses what is on its stack");
    gate.open.store(true, SeqCst);
    run_until_idle(ex);
    assert_eq!(a.head.result.get(), RawResult::success(7));
    assert_eq!(again.get(), RawResult::failure(Errno(libc::ECANCELED)));
    assert!(!ran.load(SeqCst));
    destroy(ex, [a, b]);
}

/// The helper finds the call of a task that was cancelled and has not gone on since, and so has not
/// taken it out itself: it passes it over.
#[test]
fn a_helper_passes_over_what_was_cancelled() {
    let _alone = alone(1);
    let ex = executor(8);
    let gate: &Gate = leak(Gate::default());
    let ran: &AtomicBool = leak(AtomicBool::new(false));
    let passed: &AtomicBool = leak(AtomicBool::new(false));
    let tasks: Vec<TaskRef> = (0..3).map(|_| new_task()).collect();
    let sets = |flag: &'static AtomicBool| {
        move |t| {
            blocking(t, &|| {
                flag.store(true, SeqCst);
                1
            })
        }
    };
    set_body(tasks[0], move |t| blocking(t, &|| gate.pass()));
    set_body(tasks[1], sets(ran));
    set_body(tasks[2], sets(passed));
    tasks.iter().for_each(|&task| ex.attach(task).unwrap());
    while !gate.begun.load(SeqCst) {
        let _ = ex.run(usize::MAX, Some(0));
    }
    ex.cancel(tasks[1]).unwrap();
    gate.open.store(true, SeqCst);
    while !passed.load(SeqCst) {
        thread::yield_now(); // Nothing runs here.
    }
    assert!(!ran.load(SeqCst));
    run_until_idle(ex);
    assert_eq!(tasks[1].head.result.get(), RawResult::failure(Errno(libc::ECANCELED)));
    destroy(ex, tasks);
}

#[test]
fn helpers_grow_to_their_bound_and_leave() {
    const CALLS: usize = 400;
    let _alone = alone(8);
    let ex = executor(8);
    let now: &AtomicU32 = leak(AtomicU32::new(0));
    let most: &AtomicU32 = leak(AtomicU32::new(0));
    let tasks: Vec<TaskRef> = (0..CALLS).map(|_| new_task()).collect();
    for (i, &task) in tasks.iter().enumerate() {
        set_body(task, move |t| {
            blocking(t, &move || {
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                thread::sleep(Duration::from_millis(1));
                now.fetch_sub(1, SeqCst);
                i as isize
            })
        });
        ex.attach(task).unwrap();
    }
    run_until_idle(ex);
    for (i, task) in tasks.iter().enumerate() {
        assert_eq!(task.head.result.get(), RawResult::success(i as isize));
    }
    assert!((2..=8).contains(&most.load(SeqCst)), "{most:?} at once");
    assert!((1..=8).contains(&helpers()));
    // Too many, and idle: they go at once. Then the last one, after its time.
    assert_eq!(set_limits(1, 5 * SECOND_NS), RawResult::success(0));
    while helpers() > 1 {
        thread::yield_now();
    }
    assert_eq!(set_limits(1, 1_000_000), RawResult::success(0));
    while helpers() != 0 {
        thread::yield_now();
    }
    destroy(ex, tasks);
}

/// The only helper is busy when the bound grows: the calls that wait do not wait for it.
#[test]
fn a_bound_that_grows_serves_what_waits() {
    let _alone = alone(1);
    let ex = executor(8);
    let gate: &Gate = leak(Gate::default());
    let tasks: Vec<TaskRef> = (0..3).map(|_| new_task()).collect();
    set_body(tasks[0], move |t| blocking(t, &|| gate.pass()));
    set_body(tasks[1], move |t| blocking(t, &|| 1));
    set_body(tasks[2], move |t| blocking(t, &|| 2));
    tasks.iter().for_each(|&task| ex.attach(task).unwrap());
    while !gate.begun.load(SeqCst) {
        let _ = ex.run(usize::MAX, Some(0));
    }
    assert_eq!(set_limits(2, 5 * SECOND_NS), RawResult::success(0));
    while tasks[1].is_attached() || tasks[2].is_attached() {
        let _ = ex.run(usize::MAX, Some(SECOND_NS));
    }
    assert!(tasks[0].is_attached());
    gate.open.store(true, SeqCst);
    run_until_idle(ex);
    destroy(ex, tasks);
}

/// All helpers are busy, and more calls wait than there are: the executor does what else there is, and
/// nothing but that. Each tick is one item, and each call two, of which the second is its return.
#[test]
fn a_ticker_goes_on_during_a_thousand_calls() {
    const CALLS: usize = 1000;
    const TICKS: usize = 50;
    const TICK_NS: u64 = 1_000_000;
    let _alone = alone(64);
    let ex = executor(8);
    let gate: &Mutex<()> = leak(Mutex::new(()));
    let shut = gate.lock().unwrap();
    let left: &AtomicU32 = leak(AtomicU32::new(CALLS as u32));
    let calls: Vec<TaskRef> = (0..CALLS).map(|_| new_task()).collect();
    for &task in &calls {
        set_body(task, move |t| {
            blocking(t, &move || {
                drop(gate.lock().unwrap());
                left.fetch_sub(1, SeqCst) as isize
            })
        });
        ex.attach(task).unwrap();
    }
    let ticker = new_task();
    set_body(ticker, move |t| {
        for _ in 0..TICKS {
            assert_eq!(Handle::sleep(t, TICK_NS), RawResult::success(0));
        }
        RawResult::success(left.load(SeqCst) as isize)
    });
    ex.attach(ticker).unwrap();
    let mut items = 0;
    while ticker.is_attached() {
        items += ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!(ticker.head.result.get(), RawResult::success(CALLS as isize), "calls returned");
    assert_eq!(items, CALLS + 1 + TICKS);
    assert!((1..=64).contains(&helpers()));
    drop(shut);
    while ex.has_work() {
        items += ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!((items, left.load(SeqCst)), (2 * CALLS + 1 + TICKS, 0));
    destroy(ex, calls.into_iter().chain([ticker]));
}

/// A process ends while its helpers are busy, by whichever thread, and says what it was to say.
#[test]
fn a_process_ends_while_helpers_are_busy() {
    let _alone = alone(2);
    for from_helper in [false, true] {
        // SAFETY: the child has a helper of its own, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let ex = executor(8);
            let gate: &Gate = leak(Gate::default()); // Stays shut.
            let tasks = [new_task(), new_task()];
            set_body(tasks[0], move |t| blocking(t, &|| gate.pass()));
            set_body(tasks[1], move |t| {
                // SAFETY: ends the child.
                blocking(t, &|| if from_helper { unsafe { libc::exit(7) } } else { gate.pass() })
            });
            tasks.iter().for_each(|&task| ex.attach(task).unwrap());
            while !gate.begun.load(SeqCst) || from_helper {
                let _ = ex.run(usize::MAX, Some(1_000_000));
            }
            // SAFETY: as above.
            unsafe { libc::exit(7) };
        }
        let mut status = 0;
        // SAFETY: the child's status is written to where one is kept.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 7));
    }
}

/// A task whose function has begun, on its helper, and waits at the gate.
fn held(ex: Handle) -> (&'static Gate, TaskRef) {
    let gate: &Gate = leak(Gate::default());
    let task = new_task();
    set_body(task, move |t| blocking(t, &|| gate.pass()));
    ex.attach(task).unwrap();
    while !gate.begun.load(SeqCst) {
        let _ = ex.run(usize::MAX, Some(0));
    }
    (gate, task)
}

/// An executor has a task that waits for a helper: it is not destroyed. Once cancelled, the task ends
/// when its function has, and the executor goes.
#[test]
fn an_executor_is_not_destroyed_under_a_function() {
    let _alone = alone(1);
    let ex = executor(8);
    let (gate, task) = held(ex);
    assert_eq!(ex.destroy(), Err(Errno(libc::EBUSY)));
    ex.cancel_all().unwrap();
    let _ = ex.run(usize::MAX, Some(0));
    assert_eq!(ex.destroy(), Err(Errno(libc::EBUSY)));
    gate.open.store(true, SeqCst);
    run_until_idle(ex);
    assert_eq!(task.head.result.get(), RawResult::success(7));
    destroy(ex, [task]);
}

/// Names have helpers of their own: all that work may have are held.
#[test]
fn a_name_is_resolved_as_it_was_asked_for_while_no_helper_is_free() {
    let _alone = alone(1);
    let ex = executor(8);
    let (gate, holder) = held(ex);
    let task = new_task();
    set_body(task, move |t| {
        // SAFETY: zeros are hints that ask for nothing.
        let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
        (hints.ai_flags, hints.ai_socktype) = (libc::AI_NUMERICHOST, libc::SOCK_DGRAM);
        let mut list = std::ptr::null_mut();
        let (host, service) = (c"127.0.0.1".as_ptr(), c"80".as_ptr());
        // SAFETY: the task that runs, and its memory; the list is the caller's then.
        unsafe {
            let found = monad_async_resolve(t.as_head(), host, service, &hints, &mut list);
            assert_eq!(found, RawResult::success(0));
            let (first, at) = (&*list, &*(*list).ai_addr.cast::<libc::sockaddr_in>());
            assert_eq!(
                (first.ai_socktype, first.ai_next),
                (libc::SOCK_DGRAM, std::ptr::null_mut())
            );
            assert_eq!(u16::from_be(at.sin_port), 80);
            libc::freeaddrinfo(list);
        }
        gate.open.store(true, SeqCst);
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    run_until_idle(ex);
    assert_eq!(task.head.result.get(), RawResult::success(0));
    destroy(ex, [task, holder]);
}

/// The child has no helper of its parent's, and makes its own.
#[test]
fn a_child_of_a_fork_has_helpers_of_its_own() {
    let _alone = alone(1);
    let ex = executor(8);
    let (gate, task) = held(ex);
    // SAFETY: the child runs a task of its own and exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let ex = executor(8);
        let task = new_task();
        set_body(task, move |t| blocking(t, &|| 5));
        ex.attach(task).unwrap();
        run_until_idle(ex);
        let code = i32::from(task.head.result.get() != RawResult::success(5));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: the child's status is written to where one is kept.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 0));
    gate.open.store(true, SeqCst);
    run_until_idle(ex);
    assert_eq!(task.head.result.get(), RawResult::success(7));
    destroy(ex, [task]);
}

#[test]
fn misuse_is_told() {
    let _alone = alone(1);
    let (einval, eperm) = (RawResult::failure(Errno(libc::EINVAL)), Errno(libc::EPERM));
    assert_eq!(set_limits(0, 0), einval);
    let task = new_task();
    let null = core::ptr::null_mut();
    // SAFETY: refused.
    unsafe {
        assert_eq!(monad_async_run_blocking(core::ptr::null(), Some(call), null), einval);
        assert_eq!(monad_async_run_blocking(task.as_head(), None, null), einval);
    }
    assert_eq!(blocking(task, &|| 1), RawResult::failure(eperm));
    destroy_task(task);
}

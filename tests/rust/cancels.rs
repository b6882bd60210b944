//! Cancels from other threads, more at a time than there are places for their names.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::{Errno, RawResult};
use monad_async::executor::grant::Caller;
use monad_async::io::call::Call;
use monad_async::sync::event::Event;
use monad_async::sync::Shared as Everybodys;
use monad_async::task::header::{Flags, TaskRef};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::thread;
use support::*;

/// Tasks that sleep until they are cancelled; one after the other is of the next executor.
fn sleepers(executors: &[Handle<Real>], count: usize) -> Vec<TaskRef> {
    let tasks: Vec<_> = (0..count).map(|_| new_task()).collect();
    for (i, &task) in tasks.iter().enumerate() {
        set_body(task, |task| Handle::<Real>::sleep(task, u64::MAX));
        executors[i % executors.len()].attach(task).unwrap();
    }
    for ex in executors {
        while tasks.iter().any(|t| t.executor() == ex.as_ptr().cast() && !sleeps(*t)) {
            ex.run(usize::MAX, Some(0)).unwrap();
        }
    }
    tasks
}

fn sleeps(task: TaskRef) -> bool {
    task.head.flags.get() == Flags::AWAITING
}

fn cancel_elsewhere(tasks: impl Iterator<Item = TaskRef>) {
    let tasks: Vec<_> = tasks.map(Shared).collect();
    let cancel = move || {
        for task in tasks {
            Handle::<Real>::cancel_anywhere(task.get()).unwrap();
        }
    };
    thread::spawn(cancel).join().unwrap();
}

fn run(ex: Handle<Real>) {
    while ex.run(usize::MAX, Some(0)).is_ok() {}
}

fn count(tasks: &[TaskRef], f: impl Fn(TaskRef) -> bool) -> usize {
    tasks.iter().filter(|&&task| f(task)).count()
}

fn is_canceled(task: TaskRef) -> bool {
    task.has_exited() && task.head.result.get().error == libc::ECANCELED
}

/// One look takes in some, and the rest stays for the next ones. One that was not meant sleeps on.
#[test]
fn a_look_takes_in_some_of_many() {
    let ex = executor(0);
    let tasks = sleepers(&[ex], 3_000);
    let meant: Vec<_> = tasks.iter().copied().step_by(3).collect();
    cancel_elsewhere(meant.iter().copied());
    ex.run(0, Some(0)).unwrap();
    let taken = count(&tasks, |task| !sleeps(task));
    assert!((64..=64 + 256).contains(&taken), "{taken} by one look");
    run(ex);
    assert_eq!(count(&meant, is_canceled), meant.len());
    assert_eq!(count(&tasks, sleeps), tasks.len() - meant.len());
    // All at once, as a program does that is about to end.
    cancel_elsewhere(tasks.iter().copied().filter(|&task| sleeps(task)));
    run(ex);
    assert_eq!(count(&tasks, is_canceled), tasks.len());
    destroy(ex, tasks);
}

/// Their stacks lie side by side: an executor that looks leaves the other's for that.
#[test]
fn another_executors_are_left_for_it() {
    let executors = [executor(0), executor(0)];
    let tasks = sleepers(&executors, 1_200);
    cancel_elsewhere(tasks.iter().copied());
    for (i, ex) in executors.into_iter().enumerate() {
        run(ex);
        assert_eq!(count(&tasks, is_canceled), (i + 1) * tasks.len() / 2);
    }
    // What was left over is about nothing any more.
    let more = sleepers(&executors, 600);
    cancel_elsewhere(more.iter().copied());
    executors.into_iter().rev().for_each(run);
    assert_eq!(count(&more, is_canceled), more.len());
    let [first, second] = executors;
    destroy(first, tasks);
    destroy(second, more);
}

fn cpu_ns() -> u64 {
    // SAFETY: zeros are a time, to which the clock's is written.
    unsafe {
        let mut at: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut at), 0);
        at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64
    }
}

/// A look used to walk over all tasks of the process for one more than there are places.
#[test]
fn a_look_does_not_walk_over_all_tasks() {
    let ex = executor(0);
    let crowd: Vec<_> = (0..20_000).map(|_| new_task()).collect();
    for &task in &crowd {
        set_body(task, |_| RawResult::success(0));
        ex.attach(task).unwrap();
    }
    let least_ns = |cancels: usize| {
        let look = |round: usize| {
            cancel_elsewhere(crowd[round * 128..].iter().copied().take(cancels));
            let before = cpu_ns();
            ex.run(0, Some(0)).unwrap();
            let looked = cpu_ns() - before;
            again(ex, &crowd[round * 128..][..128]);
            looked
        };
        (0..150).map(look).min().unwrap() // the machine may be busy
    };
    let (few, many) = (least_ns(60), least_ns(128));
    println!("measured: a look at 60 cancels {few} ns, at 128 {many} ns, among 20,000 tasks");
    if few == 0 {
        skip::skip("the clock of this thread counts ticks of the kernel's");
    } else {
        assert!(many < 10 * few, "{many} ns, {few} with places");
    }
    run(ex);
    destroy(ex, crowd);
}

/// Those that were cancelled are launched again.
fn again(ex: Handle<Real>, tasks: &[TaskRef]) {
    for &task in tasks.iter().filter(|task| task.has_exited()) {
        assert_eq!(task.head.result.get().error, libc::ECANCELED);
        ex.attach(task).unwrap();
    }
}

/// A body that takes every error for one to be passed by, cancelled in its wait, calls on and on:
/// each call is refused at once. The others run all the same, and `run` returns.
fn refused_for_ever(call: impl Fn(Handle<Real>, TaskRef) -> i32 + 'static) {
    let ex = executor(8);
    let (stubborn, other) = (new_large_task(), new_large_task());
    let has_ended = Rc::new(Cell::new(false));
    let ends = has_ended.clone();
    set_body(stubborn, move |task| {
        let first = Handle::<Real>::sleep(task, u64::MAX);
        assert_eq!(first.error, libc::ECANCELED);
        while !ends.get() {
            assert_eq!(call(ex, task), -libc::ECANCELED);
        }
        // In a `shield` all is as it was.
        let mut shield = MaybeUninit::uninit();
        // SAFETY: in place until it is left.
        unsafe {
            Handle::<Real>::enter_scope(task, shield.as_mut_ptr(), u64::MAX, 1).unwrap();
            let slept = Handle::<Real>::sleep(task, 1_000);
            Handle::<Real>::leave_scope(task, shield.as_ptr()).unwrap();
            slept
        }
    });
    set_body(other, move |task| {
        Handle::<Real>::cancel_anywhere(stubborn).unwrap();
        let slept = Handle::<Real>::sleep(task, 10_000_000);
        has_ended.set(true);
        slept
    });
    ex.attach(stubborn).unwrap();
    ex.run(usize::MAX, Some(0)).unwrap();
    ex.attach(other).unwrap();
    run_all(ex);
    for task in [stubborn, other] {
        assert_eq!(task.head.result.get(), RawResult::success(0));
    }
    destroy(ex, [stubborn, other]);
}

fn run_all(ex: Handle<Real>) {
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
}

#[test]
fn sleeps_that_are_refused_again_and_again_give_way() {
    refused_for_ever(|_, task| -Handle::<Real>::sleep(task, 1_000).error);
}

#[test]
fn yields_that_are_refused_again_and_again_give_way() {
    refused_for_ever(|_, task| -Handle::<Real>::sleep(task, 0).error);
}

#[test]
fn operations_that_are_refused_again_and_again_give_way() {
    refused_for_ever(|_, task| -nop(task).error);
}

#[test]
fn joins_that_are_refused_again_and_again_give_way() {
    let idle = new_task();
    refused_for_ever(move |ex, task| -ex.executor().join(task, idle).error);
    destroy_task(idle);
}

#[test]
fn parks_that_are_refused_again_and_again_give_way() {
    refused_for_ever(|_, task| -Handle::<Real>::park(task).error);
}

#[test]
fn waits_that_are_refused_again_and_again_give_way() {
    refused_for_ever(|ex, task| {
        let caller = Caller::task(ex.executor(), task);
        -caller.start().err().map_or(0, |e| e.0)
    });
}

#[test]
fn calls_of_nothing_that_are_refused_again_and_again_give_way() {
    refused_for_ever(|ex, task| {
        let call = Call { ex: ex.executor(), task, fd: -1, flags: 0 };
        // SAFETY: of no bytes.
        -unsafe { call.read_all(std::ptr::null_mut(), 0, 0) }.error
    });
}

/// No cancel, and no scope of the caller's: the time of the call itself is over.
#[test]
fn waits_whose_time_is_over_again_and_again_give_way() {
    let ex = executor(8);
    let (asks, other) = (new_large_task(), new_large_task());
    let has_ended = Rc::new(Cell::new(false));
    let ends = has_ended.clone();
    set_body(asks, move |task| {
        // SAFETY: zeros are an event that is not set.
        let event: Box<Event<Everybodys>> = Box::new(unsafe { std::mem::zeroed() });
        while !ends.get() {
            let caller = Caller::task(ex.executor(), task);
            assert_eq!(event.wait(&caller, 1), Err(Errno(libc::ETIME)));
        }
        RawResult::success(0)
    });
    set_body(other, move |_| {
        has_ended.set(true);
        RawResult::success(0)
    });
    ex.attach(asks).unwrap();
    ex.attach(other).unwrap();
    run_all(ex);
    destroy(ex, [asks, other]);
}

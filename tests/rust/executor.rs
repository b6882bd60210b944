//! The executor through its handles, against the real kernel: what does not need C to be seen.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::{self, Handle};
use monad_async::error::{Errno, RawResult};
use monad_async::task::header::{Flags, TaskRef};
use monad_async::ticks;
use monad_async::uring::abi;
use monad_async::uring::kernel::Sqe;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use support::*;

#[test]
fn a_launch_runs_once() {
    let ex = executor(64);
    let t = new_task();
    let ran = Rc::new(Cell::new(0));
    let r = ran.clone();
    set_body(t, move |_| {
        r.set(r.get() + 1);
        RawResult::success(42)
    });
    for round in 1..=3 {
        ex.attach(t).unwrap();
        assert_eq!(ex.attach(t), errno(libc::EBUSY));
        assert!(!t.has_exited());
        assert_eq!(ex.run(1, None), Ok(1));
        assert!(t.has_exited());
        assert_eq!(ran.get(), round);
        assert_eq!(t.head.result.get(), RawResult::success(42));
    }
    destroy(ex, [t]);
}

#[test]
fn yields_take_turns() {
    let ex = executor(0);
    let log = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<TaskRef> = (0..3)
        .map(|i| {
            let t = new_task();
            let log = log.clone();
            set_body(t, move |t| {
                for round in 0..3 {
                    log.borrow_mut().push((round, i));
                    assert_eq!(Handle::<Real>::sleep(t, 0), RawResult::success(0));
                }
                RawResult::success(0)
            });
            ex.attach(t).unwrap();
            t
        })
        .collect();
    assert_eq!(ex.run(usize::MAX, Some(0)), Ok(3));
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    let expected: Vec<_> = (0..3).flat_map(|r| (0..3).map(move |i| (r, i))).collect();
    assert_eq!(*log.borrow(), expected);
    destroy(ex, tasks);
}

/// A task that suspends goes straight to the next one: what it leaves behind must be what the loop
/// would have counted.
#[test]
fn the_counts_are_right_as_seen_from_tasks_that_follow_each_other() {
    const TASKS: usize = 8;
    let ex = executor(0);
    // Pending launch, and suspended, by what the bodies do themselves.
    let counts = Rc::new((Cell::new(0), Cell::new(0)));
    let later = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<TaskRef> = (0..TASKS)
        .map(|i| {
            let (t, counts, later) = (new_task(), counts.clone(), later.clone());
            set_body(t, move |t| {
                let head = &ex.executor().head;
                let (pending, suspended) = (&counts.0, &counts.1);
                let looks = || {
                    assert_eq!(head.current_task.get(), t.as_head());
                    assert_eq!(head.tasks_running.get(), 1);
                    assert_eq!(head.tasks_pending_launch.get(), pending.get());
                    assert_eq!(head.tasks_suspended.get(), suspended.get());
                    assert!(t.head.flags.get() == Flags::RUNNING);
                };
                pending.set(pending.get() - 1);
                looks();
                for _ in 0..2 + i % 3 {
                    let more: Option<TaskRef> = later.borrow_mut().pop();
                    if let Some(more) = more {
                        ex.attach(more).unwrap();
                        pending.set(pending.get() + 1);
                    }
                    suspended.set(suspended.get() + 1);
                    assert_eq!(Handle::<Real>::sleep(t, 0), RawResult::success(0));
                    suspended.set(suspended.get() - 1);
                    looks();
                }
                RawResult::success(0)
            });
            t
        })
        .collect();
    for passes in [usize::MAX, 3, 1] {
        counts.0.set(TASKS / 2);
        *later.borrow_mut() = tasks[TASKS / 2..].to_vec();
        for &t in &tasks[..TASKS / 2] {
            ex.attach(t).unwrap();
        }
        while ex.has_work() {
            ex.run(passes, None).unwrap();
        }
        assert_eq!((counts.0.get(), counts.1.get()), (0, 0));
        assert!(tasks.iter().all(|t| t.has_exited()));
    }
    destroy(ex, tasks);
}

#[test]
fn nops_with_a_tiny_queue_and_sleepers() {
    let ex = executor(2);
    let done = Rc::new(Cell::new(0));
    let tasks: Vec<TaskRef> = (0..6000)
        .map(|i| {
            let t = new_task();
            let done = done.clone();
            set_body(t, move |t| {
                let r = if i % 2 == 0 { Handle::<Real>::sleep(t, 1_000_000 + i) } else { nop(t) };
                assert_eq!(r, RawResult::success(0));
                done.set(done.get() + 1);
                RawResult::success(0)
            });
            ex.attach(t).unwrap();
            t
        })
        .collect();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!(done.get(), 6000);
    let head = &ex.executor().head;
    assert_eq!(head.total_io_submitted.get(), 3000);
    assert_eq!(head.total_io_completed.get(), 3000);
    destroy(ex, tasks);
}

#[test]
fn the_parts_of_run_add_up() {
    let ex = executor(64);
    let t = new_task();
    set_body(t, |t| {
        for _ in 0..50 {
            Handle::<Real>::sleep(t, 100_000);
            nop(t);
            Handle::<Real>::sleep(t, 0);
        }
        RawResult::success(0)
    });
    ex.attach(t).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    let h = &ex.executor().head;
    let parts = h.total_ticks_in_task_launch.get()
        + h.total_ticks_in_io_uring.get()
        + h.total_ticks_sleeping.get()
        + h.total_ticks_in_task_completion.get();
    let run = h.total_ticks_in_run.get();
    assert!(parts <= run && parts * 100 >= run * 95, "{parts} of {run}");
    destroy(ex, [t]);
}

/// The kernel holds back a drain, and all that comes after it, until all that is in flight has
/// ended: also the poll of the executor's that never does, and a request to cancel what the drain
/// waits for.
#[test]
fn a_drain_is_refused_and_stops_nothing() {
    let ex = executor(8);
    let t = new_task();
    set_body(t, |t| {
        let mut sqe = Sqe::zeroed();
        sqe.0[0] |= u64::from(abi::sqe::IO_DRAIN) << 8;
        // SAFETY: a NOP refers to no memory.
        let refused = unsafe { Handle::<Real>::io(t, &sqe) };
        RawResult::success((refused == RawResult::failure(Errno(libc::EINVAL))).into())
    });
    ex.attach(t).unwrap();
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!(t.head.result.get(), RawResult::success(1));
    assert_eq!(ex.executor().head.total_io_submitted.get(), 0);
    destroy(ex, [t]);
}

/// A level above the lowest counts as that, whatever it is: with nothing else ready, too, in the
/// middle of a chunk.
#[test]
fn a_task_of_any_level_yields_alone() {
    for level in [2, 3, 31, 32, 64, 255] {
        let ex = executor(0);
        let (t, other) = (new_task(), new_task());
        set_body(other, |_| RawResult::success(0));
        let yields = move |t: TaskRef| {
            assert_eq!(Handle::<Real>::sleep(t, 0), RawResult::success(0));
            // It would have been the next.
            ex.cancel(other).unwrap();
            for _ in 0..3 {
                assert_eq!(Handle::<Real>::sleep(t, 0), RawResult::success(0));
            }
            RawResult::success(0)
        };
        set_body(t, yields);
        t.head.cpu.set(level);
        other.head.cpu.set(level);
        ex.attach(t).unwrap();
        ex.run(1, None).unwrap();
        ex.attach(other).unwrap();
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        assert_eq!(t.head.result.get(), RawResult::success(0));
        assert_eq!(other.head.result.get().error, libc::ECANCELED);
        destroy(ex, [t, other]);
    }
}

/// A launch that yields passes to a task that has run before: from there on the time is not that of
/// launches. A task with a large stack of its own yields in another way from the first time on.
#[test]
fn what_follows_a_launch_that_yields_is_not_counted_as_one() {
    const LONG_NS: u64 = 40_000;
    for bytes in [16 << 10, 2 << 20] {
        let ex = executor(0);
        let rest: Vec<TaskRef> = (0..3).map(|_| new_task()).collect();
        let spun = Rc::new(Cell::new(0));
        for &task in &rest {
            let spun = spun.clone();
            set_body(task, move |task| {
                for _ in 0..2 {
                    assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
                }
                let begun = ticks::now();
                while ticks::to_ns(ticks::now() - begun) < LONG_NS {}
                spun.set(spun.get() + ticks::now() - begun);
                RawResult::success(0)
            });
            ex.attach(task).unwrap();
        }
        assert_eq!(ex.run(3, None), Ok(3));
        let launch = api::create_task(bytes).unwrap();
        set_body(launch, |task| Handle::<Real>::sleep(task, 0));
        ex.attach(launch).unwrap();
        assert_eq!(ex.run(3, None), Ok(3));
        let head = &ex.executor().head;
        let before = head.total_ticks_in_task_completion.get();
        while ex.has_work() {
            ex.run(usize::MAX, None).unwrap();
        }
        let counted = head.total_ticks_in_task_completion.get() - before;
        assert!(counted >= spun.get(), "{counted} of {}", spun.get());
        destroy(ex, rest.into_iter().chain([launch]));
    }
}

/// Who has given itself another priority and yields to a task of that one is ready there: who runs
/// then may move it once more.
#[test]
fn who_yields_at_a_new_priority_is_found_at_that() {
    let ex = executor(0);
    let log = Rc::new(RefCell::new(Vec::new()));
    let (changes, moves) = (new_task(), new_task());
    let rest: Vec<TaskRef> = (0..4).map(|_| new_task()).collect();
    let seen = log.clone();
    set_body(changes, move |task| {
        assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
        Handle::<Real>::unpark(moves);
        task.head.cpu.set(0);
        assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
        seen.borrow_mut().push("changes");
        RawResult::success(0)
    });
    let seen = log.clone();
    set_body(moves, move |task| {
        assert_eq!(Handle::<Real>::park(task), RawResult::success(0));
        seen.borrow_mut().push("moves");
        Handle::<Real>::set_priorities(changes, 2, 1).unwrap();
        RawResult::success(0)
    });
    moves.head.cpu.set(0);
    for &task in &rest {
        let seen = log.clone();
        set_body(task, move |task| {
            for _ in 0..2 {
                assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
            }
            seen.borrow_mut().push("rest");
            RawResult::success(0)
        });
    }
    let all: Vec<TaskRef> = [moves, changes].into_iter().chain(rest).collect();
    for &task in &all {
        ex.attach(task).unwrap();
    }
    while ex.has_work() {
        ex.run(usize::MAX, None).unwrap();
    }
    assert_eq!(*log.borrow(), ["moves", "rest", "rest", "rest", "rest", "changes"]);
    destroy(ex, all);
}

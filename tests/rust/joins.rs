//! Joins across executors at their edges: an executor that goes while it is launched on, more
//! joiners than one look takes in, and who waits for whom. All on one thread, step by step.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::error::RawResult;
use monad_async::executor::remote;
use monad_async::task::annex::TaskLocal;
use monad_async::task::header::{TaskHead, TaskRef};
use monad_async::uring::RingOptions;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use support::*;

/// More than one look wakes.
const CROWD: usize = 300;

const NOTHING: RawResult = RawResult::failure(monad_async::error::Errno(libc::ENOMSG));

/// Tasks that join `other`, and what each got.
fn joiners(other: TaskRef, count: usize) -> (Vec<TaskRef>, Rc<Vec<Cell<RawResult>>>) {
    let got = Rc::new(vec![Cell::new(NOTHING); count]);
    let tasks = (0..count).map(|i| {
        let (task, got) = (new_task(), got.clone());
        set_body(task, move |task| {
            got[i].set(Handle::<Real>::join(task, other));
            RawResult::success(0)
        });
        task
    });
    (tasks.collect(), got)
}

/// As far as it goes without waiting.
fn run_dry(ex: Handle<Real>) {
    for _ in 0..CROWD {
        let _ = ex.run(usize::MAX, Some(0));
    }
}

/// A launch from elsewhere claims the task, then the executor goes, and the launch is refused. Who
/// joined that run in between is told so, and does not get the result of another.
#[test]
fn a_launch_that_is_refused_strands_no_joiner() {
    let (gone, home) = (executor(0), executor(0));
    let task = new_task();
    set_body(task, |_| RawResult::success(3));
    home.attach(task).unwrap();
    run_dry(home);
    let mailbox = gone.executor().mailbox();
    let before = remote::attach_begin(mailbox, task).unwrap();
    let (tasks, got) = joiners(task, 2);
    home.attach(tasks[0]).unwrap();
    run_dry(home); // JOIN is in the mail.
    assert!(!gone.has_work()); // It is in the task's list.
    home.attach(tasks[1]).unwrap();
    run_dry(home); // In the mail, when the executor goes.
    gone.destroy().unwrap();
    assert_eq!(remote::attach_end(mailbox, task, before), errno(libc::ESHUTDOWN));
    run_dry(home);
    for got in got.iter() {
        assert_eq!(got.get().error, libc::ESRCH);
    }
    assert!(!home.has_work());
    // As it was, and fit for the next run.
    assert_eq!(task.head.result.get(), RawResult::success(3));
    let (late, got) = joiners(task, 1);
    home.attach(late[0]).unwrap();
    run_dry(home);
    assert_eq!(got[0].get(), RawResult::success(3));
    home.attach(task).unwrap();
    run_dry(home);
    destroy(home, tasks.into_iter().chain(late).chain([task]));
}

/// An executor whose last task has exited says that it has no work, and its caller comes no more.
#[test]
fn joiners_elsewhere_are_woken_before_an_executor_has_no_work() {
    let (away, home) = (executor(0), executor(0));
    let task = new_task();
    set_body(task, |_| RawResult::success(7));
    away.attach(task).unwrap();
    let (tasks, got) = joiners(task, CROWD);
    for &task in &tasks {
        home.attach(task).unwrap();
    }
    run_dry(home);
    for _ in 0..3 {
        away.run(0, Some(0)).unwrap(); // All of them are in its list.
    }
    while away.has_work() {
        away.run(usize::MAX, Some(0)).unwrap();
    }
    run_dry(home);
    assert!(got.iter().all(|got| got.get() == RawResult::success(7)));
    destroy(away, []);
    destroy(home, tasks.into_iter().chain([task]));
}

/// A launch that waits behind more mail than one look takes in is no time-out.
#[test]
fn what_one_look_does_not_take_in_is_no_time_out() {
    let (away, home) = (executor(0), executor(0));
    let task = new_task();
    set_body(task, |task| Handle::<Real>::sleep(task, u64::MAX));
    away.attach(task).unwrap();
    away.run(usize::MAX, Some(0)).unwrap();
    let (tasks, _) = joiners(task, CROWD);
    for &task in &tasks {
        home.attach(task).unwrap();
    }
    run_dry(home);
    let late = new_task();
    set_body(late, |_| RawResult::success(0));
    remote::attach(away.executor().mailbox(), late).unwrap();
    assert_eq!(away.run(usize::MAX, Some(0)), Ok(0));
    assert_eq!(away.run(usize::MAX, Some(0)), Ok(1));
    assert_eq!(away.run(usize::MAX, Some(0)), errno(libc::ETIME));
    away.cancel(task).unwrap();
    run_dry(away);
    run_dry(home);
    destroy(away, [late]);
    destroy(home, tasks.into_iter().chain([task]));
}

/// Of many joiners of a run that is over, the last has not been woken when the task, launched
/// again, joins it: neither waits for ever.
#[test]
fn a_joiner_about_to_be_woken_waits_for_nobody() {
    let ex = executor(0);
    let task = new_task();
    let (tasks, got) = joiners(task, CROWD);
    let last = *tasks.last().unwrap();
    let second = Rc::new(Cell::new(NOTHING));
    let (run, joined) = (Cell::new(0), second.clone());
    set_body(task, move |task| {
        run.set(run.get() + 1);
        if run.get() == 1 {
            Handle::<Real>::sleep(task, 0); // Until all of them wait.
        } else {
            joined.set(Handle::<Real>::join(task, last));
        }
        RawResult::success(run.get())
    });
    // The first to be woken launches it again, ahead of all.
    let (first, again) = (tasks[0], got.clone());
    set_body(first, move |first| {
        again[0].set(Handle::<Real>::join(first, task));
        ex.executor().set_priorities(task, 0, 1);
        ex.attach(task).unwrap();
        RawResult::success(0)
    });
    ex.attach(task).unwrap();
    for &task in &tasks {
        ex.attach(task).unwrap();
    }
    // So that one pass has room for more than the exit.
    let others: Vec<_> = (0..10).map(|_| new_task()).collect();
    for &other in &others {
        set_body(other, |other| {
            (0..9).for_each(|_| _ = Handle::<Real>::sleep(other, 0));
            RawResult::success(0)
        });
        ex.executor().set_priorities(other, 2, 1);
        ex.attach(other).unwrap();
    }
    run_dry(ex);
    assert_eq!(second.get(), RawResult::success(0));
    assert!(got.iter().all(|got| got.get() == RawResult::success(1)));
    destroy(ex, tasks.into_iter().chain(others).chain([task]));
}

/// One look wakes so many of those who joined a task; who joins the next one, alone, is woken behind
/// those that are left, and not at once.
#[test]
fn a_joiner_of_the_next_exit_is_woken_behind_those_that_are_left_of_many() {
    let ex = executor(0);
    let order = Rc::new(RefCell::new(Vec::new()));
    let [many, one] = [new_task(), new_task()];
    for task in [many, one] {
        set_body(task, |task| Handle::<Real>::sleep(task, 0)); // Until all of them wait.
    }
    let joins = |number: usize, other| {
        let (task, order) = (new_task(), order.clone());
        set_body(task, move |task| {
            let r = Handle::<Real>::join(task, other);
            order.borrow_mut().push(number);
            r
        });
        task
    };
    let mut tasks = vec![many];
    tasks.extend((0..CROWD).map(|number| joins(number, many)));
    tasks.extend([one, joins(CROWD, one)]);
    for &task in &tasks {
        ex.attach(task).unwrap();
    }
    run_dry(ex);
    assert!(order.borrow().iter().copied().eq(0..=CROWD), "{:?}", order.borrow());
    destroy(ex, tasks);
}

/// Who is told of an exit may end other tasks that wait to be launched, and is no task itself.
#[test]
fn an_exit_hook_may_cancel_and_does_not_suspend() {
    use core::ffi::c_void;
    use monad_async::api::Handle as H;
    use std::cell::RefCell;

    struct Told {
        ex: H<Real>,
        others: RefCell<Vec<TaskRef>>,
        log: RefCell<Vec<i32>>,
    }
    unsafe extern "C" fn on_exit(of: *const c_void, task: TaskRef, result: RawResult, _: u64) {
        // SAFETY: what the hook was written with.
        let told = unsafe { &*of.cast::<Told>() };
        told.log.borrow_mut().push(result.error);
        assert!(told.ex.executor().current_task().is_none());
        assert_eq!(H::<Real>::sleep(task, 0).error, libc::EPERM);
        let next = told.others.borrow_mut().pop();
        if let Some(next) = next {
            told.ex.cancel(next).unwrap();
        }
    }
    let ex = executor(0);
    let tasks: Vec<_> = (0..5).map(|_| new_task()).collect();
    let others = tasks[1..].to_vec();
    let told = Told { ex, others: others.into(), log: RefCell::default() };
    for &task in &tasks {
        set_body(task, |_| RawResult::success(0));
        // SAFETY: `told` is there until all have exited.
        unsafe { ex.executor().attach_hooked(task, on_exit, (&raw const told).cast()) }.unwrap();
    }
    while ex.has_work() {
        ex.run(usize::MAX, Some(0)).unwrap();
    }
    let canceled = libc::ECANCELED;
    assert_eq!(*told.log.borrow(), [0, canceled, canceled, canceled, canceled]);
    destroy(ex, tasks);
}

/// `monad_async_task_local`.
#[repr(C)]
struct Local {
    next: *const TaskLocal,
    /// Its task.
    key: *const TaskHead,
    destroy: unsafe extern "C" fn(*const TaskLocal),
}

unsafe extern "C" fn yields(local: *const TaskLocal) {
    // SAFETY: a record of ours, of the task that runs.
    let task = unsafe { TaskRef::from_head((*local.cast::<Local>()).key) };
    assert_eq!(Handle::<Real>::sleep(task, 0), RawResult::success(0));
}

/// The join of a run comes to be looked at once the next one has returned, and ends what it has of
/// its own: it got the next one's result.
#[test]
fn a_join_that_meets_the_next_run_at_its_end_gets_its_own_result() {
    // Without time tracking: no look comes early, however long the first run takes.
    let ex = Handle::new(Real::new(&RingOptions::default()).unwrap(), false).unwrap();
    let (task, again, third) = (new_task(), new_task(), new_task());
    task.head.cpu.set(0); // Launched again, it is the next.
    let (asks, asked) = mpsc::channel();
    let at = Shared(task);
    let joined = thread::spawn(move || {
        let (home, task) = (executor(0), at.get());
        let (joiners, got) = joiners(task, 1);
        home.attach(joiners[0]).unwrap();
        asks.send(()).unwrap();
        while home.has_work() {
            home.run(usize::MAX, None).unwrap();
        }
        destroy(home, joiners);
        got[0].get()
    });
    let mut local = Local { next: ptr::null(), key: task.as_head(), destroy: yields };
    let mut run = 0;
    set_body(task, move |me| {
        run += 1;
        if run == 1 {
            asked.recv().unwrap();
            while !ex.executor().has_mail() {
                thread::yield_now();
            }
        } else {
            let at = (&raw mut local).cast::<TaskLocal>();
            // SAFETY: a record of that kind, which stays until it has ended.
            Handle::<Real>::add_local(me, unsafe { &*at }).unwrap();
        }
        RawResult::success(run)
    });
    set_body(again, move |_| {
        ex.attach(task).unwrap();
        RawResult::success(0)
    });
    set_body(third, |_| RawResult::success(0));
    for task in [task, again, third] {
        ex.attach(task).unwrap();
    }
    // The first run, and the second until it yields at its end: with no look in between.
    assert_eq!(ex.run(usize::MAX, Some(0)), Ok(3));
    assert!(task.is_attached());
    run_dry(ex);
    assert_eq!(joined.join().unwrap(), RawResult::success(1));
    assert!(!ex.has_work());
    destroy(ex, [task, again, third]);
}

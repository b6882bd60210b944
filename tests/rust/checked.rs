//! Checked mutexes whose owners are of two executors, on one thread, step by step; what threads and
//! the workers of a pool see of them is in tests/c/sync_test.cpp.

#[path = "../support/mod.rs"]
mod support;

use monad_async::api::Handle;
use monad_async::capi::mutex::{
    monad_async_mutex_init, monad_async_mutex_lock, monad_async_mutex_unlock,
};
use monad_async::capi::task::monad_async_task_suspend_for_duration;
use monad_async::error::RawResult;
use monad_async::sync::awaited::Awaited;
use monad_async::sync::mutex::{Mutex, CHECKED};
use monad_async::sync::Shared;
use monad_async::task::header::TaskRef;
use std::cell::RefCell;
use std::mem::zeroed;
use std::rc::Rc;
use support::child::alone;
use support::*;

/// Mutexes by number, and what became of each step: of whom, and which errno.
struct Table {
    mutexes: [Mutex<Shared>; 3],
    said: RefCell<Vec<(char, i32)>>,
}

#[derive(Clone, Copy)]
enum Step {
    Lock(usize),
    Unlock(usize),
    Yield,
    Cancel(TaskRef),
}
use Step::*;

impl Table {
    fn new() -> Rc<Self> {
        // SAFETY: zeros are unlocked ones.
        let table = Rc::new(Self { mutexes: unsafe { zeroed() }, said: RefCell::default() });
        for m in &table.mutexes {
            // SAFETY: nobody's yet.
            let r = unsafe { monad_async_mutex_init((&raw const *m).cast_mut(), CHECKED) };
            assert_eq!(r, RawResult::success(0));
        }
        table
    }

    /// A task that does so much, and says what its locks gave.
    fn task(self: &Rc<Self>, ex: Handle<Real>, name: char, steps: &[Step]) -> TaskRef {
        let (table, steps) = (self.clone(), steps.to_vec());
        let task = new_task();
        set_body(task, move |task| {
            let at = |n: usize| (&raw const table.mutexes[n]).cast_mut();
            for &step in &steps {
                // SAFETY: the task that runs, and mutexes of the table's.
                let r = unsafe {
                    match step {
                        Lock(n) => monad_async_mutex_lock(task.as_head(), at(n)),
                        Unlock(n) => monad_async_mutex_unlock(task.as_head(), at(n)),
                        Yield => monad_async_task_suspend_for_duration(task.as_head(), 0),
                        Cancel(other) => {
                            ex.cancel(other).unwrap();
                            RawResult::success(0)
                        }
                    }
                };
                match step {
                    Lock(_) => table.said.borrow_mut().push((name, r.error)),
                    Yield => assert!(matches!(r.error, 0 | libc::ECANCELED)),
                    _ => assert_eq!(r.error, 0, "{name}"),
                }
            }
            RawResult::success(0)
        });
        ex.attach(task).unwrap();
        task
    }
}

fn pass(ex: Handle<Real>) {
    let _ = ex.run(usize::MAX, Some(0));
}

fn finish(exs: [Handle<Real>; 2]) {
    for _ in 0..1000 {
        if !exs.iter().any(|ex| ex.has_work()) {
            return;
        }
        exs.iter().for_each(|&ex| pass(ex));
    }
    panic!("they wait for each other");
}

#[test]
fn a_cycle_across_executors_is_refused() {
    let (here, there) = (executor(0), executor(0));
    let table = Table::new();
    let a = table.task(here, 'a', &[Lock(0), Yield, Yield, Lock(1), Unlock(0)]);
    pass(here);
    let b = table.task(there, 'b', &[Lock(1), Lock(0), Unlock(0), Unlock(1)]);
    pass(there);
    finish([here, there]);
    assert_eq!(*table.said.borrow(), [('a', 0), ('b', 0), ('a', libc::EDEADLK), ('b', 0)]);
    destroy(here, [a]);
    destroy(there, [b]);
}

/// It takes its own record out of the list, and none of another's.
#[test]
fn who_has_waited_leaves_the_others_records() {
    let (here, there) = (executor(0), executor(0));
    let table = Table::new();
    let a = table.task(
        here,
        'a',
        &[Lock(0), Lock(2), Yield, Unlock(2), Yield, Yield, Yield, Lock(1), Unlock(0)],
    );
    pass(here);
    let c = table.task(there, 'c', &[Lock(2), Unlock(2)]); // Its record is the first.
    pass(there);
    let b = table.task(there, 'b', &[Lock(1), Lock(0), Unlock(0), Unlock(1)]);
    pass(there);
    finish([here, there]);
    let said = table.said.borrow();
    assert_eq!(said[..4], [('a', 0), ('a', 0), ('b', 0), ('c', 0)]);
    assert_eq!(said[4..], [('a', libc::EDEADLK), ('b', 0)]);
    destroy(here, [a]);
    destroy(there, [b, c]);
}

/// Of one's own executor it is known though the task has not run since.
#[test]
fn a_wait_that_was_cancelled_closes_no_cycle() {
    let (here, there) = (executor(0), executor(0));
    let table = Table::new();
    let a = table.task(here, 'a', &[Lock(0), Yield, Lock(1), Unlock(0)]);
    let b =
        table.task(here, 'b', &[Lock(1), Yield, Yield, Cancel(a), Lock(0), Unlock(0), Unlock(1)]);
    finish([here, there]);
    let expected = [('a', 0), ('b', 0), ('a', libc::ECANCELED), ('b', 0)];
    assert_eq!(*table.said.borrow(), expected);
    destroy(here, [a, b]);
    destroy(there, []);
}

/// Whose record is the parent's still waits for nobody in the child, which may lock the list though
/// somebody held it at that moment.
#[test]
fn a_child_of_fork_has_a_list_of_its_own() {
    alone("a_child_of_fork_has_a_list_of_its_own", || {
        let (here, there) = (executor(0), executor(0));
        let table = Table::new();
        let a = table.task(here, 'a', &[Lock(0), Yield, Yield, Unlock(0)]);
        pass(here);
        let b = table.task(there, 'b', &[Lock(0), Unlock(0)]);
        pass(there);
        let held = Awaited::close();
        // SAFETY: the child makes executors of its own, and ends by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            std::mem::forget(held); // The parent's.
                                    // SAFETY: this process, whatever it has come to.
            unsafe { libc::alarm(20) };
            let who = b.addr();
            let is_empty = Awaited::close().owner_for(who).is_none();
            let ended = std::panic::catch_unwind(a_cycle_across_executors_is_refused);
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(ended.is_err() || !is_empty)) };
        }
        drop(held);
        let mut status = -1;
        // SAFETY: room for one.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child's");
        finish([here, there]);
        assert_eq!(*table.said.borrow(), [('a', 0), ('b', 0)]);
        destroy(here, [a]);
        destroy(there, [b]);
    });
}

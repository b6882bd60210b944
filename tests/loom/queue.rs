//! A task that waits in the queue of a pool: it is submitted, taken by a worker and cancelled by
//! other threads, under every interleaving that loom finds for a few of them, at the weakest memory
//! ordering that src/task/queued.rs asks for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_queue
//! ```
//!
//! Shared with the pool: the words of the task. Restated in world: what is done behind the queue's
//! lock.
#![cfg(loom)]

mod world;

use loom::thread;
use monad_async::task::state::QUEUED;
use std::sync::Arc;
use world::check;
use world::queue::{Found, World};

fn spawn<T: 'static>(world: &Arc<World>, f: fn(&World) -> T) -> thread::JoinHandle<T> {
    let world = world.clone();
    thread::spawn(move || f(&world))
}

/// A cancel of a run that is under way ends it in the queue, or finds the worker that has it; only
/// when it is over nobody has it. (While a worker took the task, it was in no queue and not
/// attached, and the cancel was lost.)
#[test]
fn a_cancel_meets_the_worker_that_takes() {
    fn cancel(w: &World) -> (Found, bool) {
        (w.cancel(), w.state().settled() == Some((1, [1, 1])))
    }
    fn after(w: &World, ran: Option<u64>, (found, over): (Found, bool)) {
        match found {
            Found::Queued => assert_eq!((ran, w.ends()), (None, vec![(1, false)])),
            Found::Attached(0) => assert_eq!(ran, Some(1)),
            Found::Idle => assert!(over, "under way, and nobody has it"),
            Found::Attached(_) => panic!("the other worker"),
        }
    }
    check(3, || {
        let world = World::queued();
        let worker = spawn(&world, |w| w.work(0));
        let canceled = cancel(&world);
        after(&world, worker.join().unwrap(), canceled);
    });
    check(3, || {
        let world = World::queued();
        let canceler = spawn(&world, cancel);
        let ran = world.work(0);
        after(&world, ran, canceler.join().unwrap());
    });
}

/// Of two workers and a cancel one gets the run.
#[test]
fn one_of_several_gets_the_run() {
    check(2, || {
        let world = World::queued();
        let others = [spawn(&world, |w| w.work(0)), spawn(&world, |w| w.work(1))];
        let canceled = world.cancel() == Found::Queued;
        let ran = others.map(|t| t.join().unwrap()).iter().flatten().count();
        assert_eq!(ran + usize::from(canceled), 1);
        assert_eq!(world.ends(), [(1, !canceled)]);
    });
}

/// The run ends, and the task is submitted again by another thread, to the next worker: a cancel
/// ends one of the runs, once, or neither, and never takes the one's place for the other's.
#[test]
fn a_cancel_during_the_next_submission() {
    fn again(w: &World) {
        if w.submit() {
            w.work(1);
        }
    }
    fn after(w: &World, found: Found) {
        w.work(0);
        let canceled = w.ends().iter().filter(|(_, ran)| !ran).count();
        assert_eq!(canceled, usize::from(found == Found::Queued));
    }
    check(2, || {
        let world = World::queued();
        let others = (spawn(&world, |w| w.work(0)), spawn(&world, again));
        let found = world.cancel();
        others.0.join().unwrap();
        others.1.join().unwrap();
        after(&world, found);
    });
    check(2, || {
        let world = World::queued();
        let others = (spawn(&world, |w| w.work(0)), spawn(&world, World::cancel));
        again(&world);
        others.0.join().unwrap();
        after(&world, others.1.join().unwrap());
    });
}

/// Who sees the run attached sees where: the queue is not taken for a mailbox, nor the worker of the
/// run before for its own.
#[test]
fn who_is_seen_to_be_attached_is_seen_where() {
    check(3, || {
        let world = World::queued();
        let worker = spawn(&world, |w| w.work(0));
        if let Some((run, mailbox)) = world.state().attached_run() {
            assert!(run == 1 && !mailbox.is_null());
        }
        worker.join().unwrap();
        assert!(world.submit());
        let worker = spawn(&world, |w| w.work(1));
        match world.cancel() {
            Found::Attached(n) => assert_eq!(n, 1),
            Found::Queued | Found::Idle => {}
        }
        worker.join().unwrap();
        assert_eq!(world.ends().len(), 2);
    });
}

/// Who sees it queued sees which run.
#[test]
fn who_is_seen_to_be_queued_is_seen_with_its_run() {
    fn look(w: &World) {
        if w.state().run_state() == QUEUED {
            assert_eq!(w.state().run(), 2);
        }
    }
    fn idle() -> Arc<World> {
        let world = World::queued();
        assert_eq!(world.work(0), Some(1));
        world
    }
    check(3, || {
        let world = idle();
        let submitter = spawn(&world, World::submit);
        look(&world);
        assert!(submitter.join().unwrap());
    });
    check(3, || {
        let world = idle();
        let other = spawn(&world, look);
        assert!(world.submit());
        other.join().unwrap();
    });
}

/// The queue was closed: the next submission, by another thread, finds the task as it was.
#[test]
fn a_submission_that_is_refused_hands_the_task_on() {
    check(3, || {
        let world = World::new();
        let other = spawn(&world, World::submit_in_vain);
        let submitted = world.submit();
        other.join().unwrap();
        assert!(submitted || world.submit());
        assert_eq!(world.work(0), Some(1));
    });
}

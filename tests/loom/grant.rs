//! A wait that others grant, the cancel and the deadline that cross it, and the latch of the queue it
//! stands in, under every interleaving that loom finds for a few threads, at the weakest memory
//! ordering that src/task/grant.rs and src/task/latch.rs ask for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_grant
//! ```
//!
//! Shared with the executor: the word, the latch and the inbox. Restated in world: the queue, which
//! is a cell behind the latch, and the rest of src/executor/grant.rs. Each model runs twice, with
//! another thread as the main one.
#![cfg(loom)]

mod world;

use loom::thread;
use std::sync::Arc;
use world::check;
use world::grant::{Outcome, World};

fn check_both_ways(
    preemptions: usize,
    queued: bool,
    owner: fn(&World) -> Outcome,
    others: &'static [fn(&World)],
    after: fn(&World, Outcome),
) {
    let spawn = |world: &Arc<World>, f: fn(&World)| {
        let world = world.clone();
        thread::spawn(move || f(&world))
    };
    check(preemptions, move || {
        let world = World::new(queued);
        let others: Vec<_> = others.iter().map(|&f| spawn(&world, f)).collect();
        let outcome = owner(&world);
        others.into_iter().for_each(|t| t.join().unwrap());
        after(&world, outcome);
    });
    check(preemptions, move || {
        let world = World::new(queued);
        let of_owner = world.clone();
        let owner = thread::spawn(move || owner(&of_owner));
        let rest: Vec<_> = others[1..].iter().map(|&f| spawn(&world, f)).collect();
        others[0](&world);
        rest.into_iter().for_each(|t| t.join().unwrap());
        after(&world, owner.join().unwrap());
    });
}

/// What was granted is the waiter's, once, and it sees what came with it.
fn given_once(world: &World, outcome: Outcome) {
    let kept = world.kept();
    match outcome {
        Outcome::Granted => assert_eq!(kept, 0, "given twice"),
        Outcome::Canceled => assert_eq!(kept, 1, "given to nobody, and lost"),
        Outcome::AtOnce => assert_eq!(kept, 0, "taken, and still there"),
    }
}

/// A task waits, and another thread gives.
#[test]
fn a_grant_meets_a_wait() {
    check_both_ways(
        0,
        false,
        |w| w.task_waits(false),
        &[World::give],
        |w, outcome| {
            assert_ne!(outcome, Outcome::Canceled);
            given_once(w, outcome);
        },
    );
}

/// The task's own cancel, or its deadline, crosses the grant: one of the two ends the wait.
#[test]
fn a_cancel_crosses_a_grant() {
    check_both_ways(0, false, |w| w.task_waits(true), &[World::give], given_once);
}

/// The same where the cancel is another thread's.
#[test]
fn a_cancel_from_elsewhere_crosses_a_grant() {
    check_both_ways(
        2,
        false,
        |w| w.task_waits(false),
        &[World::give, World::ask_cancel],
        given_once,
    );
}

/// A wait in two queues, as a select's: of two that give, one keeps what it has.
#[test]
fn two_queues_grant_one_wait() {
    fn after(w: &World, outcome: Outcome) {
        assert_ne!(outcome, Outcome::Canceled);
        assert_eq!(w.kept() + w.kept_by_other(), 1, "both gave, or none");
    }
    check_both_ways(
        2,
        true,
        |w| w.task_waits_twice(false),
        &[World::give, World::give_other],
        after,
    );
}

/// The same, and a cancel crosses both.
#[test]
fn a_cancel_crosses_two_queues() {
    fn after(w: &World, outcome: Outcome) {
        let kept = w.kept() + w.kept_by_other();
        assert_eq!(kept, if outcome == Outcome::Canceled { 2 } else { 1 });
    }
    check_both_ways(
        2,
        true,
        |w| w.task_waits_twice(true),
        &[World::give, World::give_other],
        after,
    );
}

/// A thread that runs no task waits on the word itself.
#[test]
fn a_grant_meets_a_thread() {
    check_both_ways(
        0,
        false,
        |w| w.thread_waits(false),
        &[World::give],
        |w, outcome| {
            assert_ne!(outcome, Outcome::Canceled);
            given_once(w, outcome);
        },
    );
}

/// The thread's time is over while the grant is on its way.
#[test]
fn a_threads_deadline_crosses_a_grant() {
    check_both_ways(0, false, |w| w.thread_waits(true), &[World::give], given_once);
}

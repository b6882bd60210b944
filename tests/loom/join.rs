//! Joining a task of another executor, under every interleaving that loom finds for a few threads,
//! at the weakest memory ordering that src/task/state.rs and src/intrusive/mpsc.rs ask for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_join
//! ```
//!
//! Shared with the executor: `task::state`, `task::joins` and the inbox. Restated in world: the rules of
//! src/executor/join.rs. The main thread is the joiner's; its record is overwritten as soon as the
//! joiner goes on, and an executor's waker as soon as it is destroyed. `cargo test --test mutants
//! -- --ignored` breaks orderings, checks and rules one by one, and expects one of the models to
//! fail.
#![cfg(loom)]

mod world;

use world::join::{Joining, CANCELED, GONE};
use world::ring::{Ring, LIKE};
use world::{check, result, spawn, World, A, B, C};

/// The thread of an executor that is destroyed once its task has run and its mail is read.
fn lives_on(w: &World) {
    w.collect(B);
    assert!(w.run(B));
    w.collect(B);
    w.destroy(B);
}

/// The executor of the task runs it and is destroyed, while a join travels to it: before the exit,
/// after it, or to a mailbox that is closed, the joiner gets the result.
#[test]
fn a_join_meets_the_exit_and_the_end_of_the_executor() {
    check(3, || {
        let world = World::new();
        assert!(world.attach(B));
        let other = spawn(&world, lives_on);
        let (_, joining) = world.join(A, false);
        assert_eq!(joining, Joining::Over(result(1)));
        world.destroy(A);
        other.join().unwrap();
    });
}

/// JOINED crosses UNJOIN, or UNJOIN comes first, or nobody is there for it any more: one outcome,
/// and nobody touches the record once the joiner goes on.
#[test]
fn an_answer_crosses_the_cancel_of_the_join() {
    check(3, || {
        let world = World::new();
        assert!(world.attach(B));
        let other = spawn(&world, lives_on);
        let (_, joining) = world.join(A, true);
        assert!([result(1), CANCELED].map(Joining::Over).contains(&joining), "{joining:?}");
        world.destroy(A);
        other.join().unwrap();
    });
}

/// As `lives_on`, but the executor stays, and nobody runs it any more.
fn rests(w: &World) {
    w.collect(B);
    assert!(w.run(B));
    w.rest(B);
}

/// A join that travels to an executor that has nothing to do any more is answered, or not sent.
#[test]
fn a_join_meets_the_exit_and_an_executor_that_rests() {
    check(3, || {
        let world = World::new();
        assert!(world.attach(B));
        let other = spawn(&world, rests);
        let (_, joining) = world.join(A, false);
        assert_eq!(joining, Joining::Over(result(1)));
        world.destroy(A);
        other.join().unwrap();
    });
}

/// The same with the cancel that follows it.
#[test]
fn a_cancel_of_a_join_meets_an_executor_that_rests() {
    check(3, || {
        let world = World::new();
        assert!(world.attach(B));
        let other = spawn(&world, rests);
        let (_, joining) = world.join(A, true);
        assert!([result(1), CANCELED].map(Joining::Over).contains(&joining), "{joining:?}");
        world.destroy(A);
        other.join().unwrap();
    });
}

/// A third thread launches the task again on the same executor: a join that was for the run before
/// is answered at once, and does not wait for the next.
#[test]
fn a_join_finds_a_later_run() {
    check(2, || {
        let world = World::new();
        assert!(world.attach(B));
        let launcher = spawn(&world, |w| w.attach_remote(B));
        let other = spawn(&world, move |w| {
            assert!(w.run(B));
            w.collect(B);
            launcher.join().unwrap();
            w.collect(B);
            w.run(B);
            w.destroy(B);
        });
        let (run, joining) = world.join(A, false);
        if let Joining::Over(got) = joining {
            let right = match run {
                // At the first look.
                0 => got == result(1) || got == result(2),
                run => got == result(run) || run == 1 && got == GONE,
            };
            assert!(right, "run {run} joined, {got:?}");
        }
        other.join().unwrap();
    });
}

/// The task exits, and another executor attaches it, its owner's way, and runs it: who was asked
/// first cannot know the result of either run but by a look from outside.
#[test]
fn a_join_finds_the_task_gone_elsewhere() {
    check(2, || {
        let world = World::new();
        assert!(world.attach(B));
        let third = spawn(&world, |w| {
            w.attach(C);
            w.run(C);
        });
        let other = spawn(&world, |w| {
            assert!(w.run(B));
            w.destroy(B);
        });
        let (run, joining) = world.join(A, false);
        if let Joining::Over(got) = joining {
            let looked = run == 0 && [result(1), result(2)].contains(&got);
            assert!(looked || [result(1), GONE].contains(&got), "run {run} joined, {got:?}");
        }
        other.join().unwrap();
        third.join().unwrap();
    });
}

fn look(world: &World) {
    if let Some(got) = world.task().state().settled().map(|(_, result)| result) {
        assert!([result(1), result(2)].contains(&got), "{got:?}");
    }
}

/// A look at the result from outside, while an executor's owner attaches the task and runs it: no
/// result, or one that was.
#[test]
fn a_look_at_the_result_is_of_one_run() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(B) && world.run(B));
        let other = spawn(&world, look);
        assert!(world.attach(B) && world.run(B));
        other.join().unwrap();
    });
}

/// The same while it runs it twice, with the first result again in the end.
#[test]
fn a_look_at_the_result_crosses_two_runs() {
    check(6, || {
        let world = World::new();
        assert!(world.attach(B) && world.run(B));
        let other = spawn(&world, look);
        for _ in 0..2 {
            assert!(world.attach(B) && world.run(B));
        }
        other.join().unwrap();
    });
}

/// The same where another thread attaches it.
#[test]
fn a_look_at_the_result_crosses_a_launch_from_elsewhere() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(B) && world.run(B));
        let other = spawn(&world, look);
        let launcher = spawn(&world, |w| assert!(w.attach_remote(C)));
        world.collect(C);
        world.run(C);
        launcher.join().unwrap();
        world.collect(C);
        world.run(C);
        other.join().unwrap();
    });
}

/// Joins in their order on one other thread, while the task `me` asks for `other`: whether it was
/// refused, and how many of the others were.
fn crossed(
    ring: impl Fn() -> std::sync::Arc<Ring>,
    there: fn(&Ring) -> usize,
    (me, other): (usize, usize),
) -> (usize, usize) {
    let ring = ring();
    let others = ring.clone();
    let there = loom::thread::spawn(move || there(&others));
    let refused = usize::from(!ring.ask(me, other));
    (refused, there.join().unwrap())
}

fn refused(ring: &Ring, me: usize, other: usize) -> usize {
    usize::from(!ring.ask(me, other))
}

/// Two tasks on two executors join each other, either first, or both at once: one is refused.
#[test]
fn of_two_that_join_each_other_one_is_refused() {
    for (there, here) in [
        ((|ring| refused(ring, 0, 1)) as fn(&Ring) -> usize, (1, 0)),
        (|ring| refused(ring, 1, 0), (0, 1)),
    ] {
        check(0, move || {
            let (one, other) = crossed(Ring::new, there, here);
            assert_eq!(one + other, 1);
        });
    }
}

/// The same of three on three threads.
#[test]
fn of_three_that_join_each_other_one_is_refused() {
    check(2, || {
        let ring = Ring::new();
        let join = |task: usize| {
            let ring = ring.clone();
            loom::thread::spawn(move || refused(&ring, task, (task + 1) % 3))
        };
        let others = [0, 1].map(join);
        let here = refused(&ring, 2, 0);
        let there: usize = others.into_iter().map(|other| other.join().unwrap()).sum();
        assert_eq!(here + there, 1);
    });
}

/// One of the joins is of a task of the same executor, which joins nobody yet: it does not ask.
#[test]
fn of_a_ring_with_a_join_that_did_not_ask_one_is_refused() {
    fn there(ring: &Ring) -> usize {
        ring.join_here(0, 1);
        refused(ring, 1, 2)
    }
    check(0, || {
        let (one, other) = crossed(Ring::new, there, (2, 0));
        assert_eq!(one + other, 1);
    });
}

/// A task has not gone on that joined a run which is over; in its next one that task is asked to be
/// joined, and joins: nobody waits for himself.
#[test]
fn who_joined_the_run_before_joins_nobody() {
    fn ring() -> std::sync::Arc<Ring> {
        let ring = Ring::new();
        ring.join_here(0, 1);
        ring
    }
    fn there(ring: &Ring) -> usize {
        ring.end(1);
        ring.begin(1);
        refused(ring, 1, 2)
    }
    check(0, || assert_eq!(crossed(ring, there, (2, 0)), (0, 0)));
}

/// A join is cancelled before the one begins that would have closed the ring: each was there at some
/// moment, and all at none.
#[test]
fn a_join_that_was_cancelled_closes_no_ring() {
    fn ring() -> std::sync::Arc<Ring> {
        let ring = Ring::new();
        ring.join_here(1, 2);
        ring
    }
    fn there(ring: &Ring) -> usize {
        ring.leave(1);
        refused(ring, 2, 0)
    }
    check(0, || assert_eq!(crossed(ring, there, (0, 1)), (0, 0)));
}

/// The same where that run has the lower bits of the one that was joined.
#[test]
fn who_joined_a_run_of_a_like_number_joins_nobody() {
    fn ring() -> std::sync::Arc<Ring> {
        let ring = Ring::new();
        ring.join_here(0, 1);
        ring
    }
    fn there(ring: &Ring) -> usize {
        ring.begin_like(1);
        refused(ring, 1, 2)
    }
    check(0, || assert_eq!(crossed(ring, there, (2, 0)), (0, 0)));
}

/// The words of a task that goes on from one join to the next are read: of both joins, or of none.
#[test]
fn words_of_two_joins_are_not_taken_for_one() {
    check(0, || {
        let ring = Ring::new();
        ring.join_here(0, 1);
        let others = ring.clone();
        let there = loom::thread::spawn(move || {
            others.leave(0);
            others.join_run_here(0, 2, LIKE);
        });
        let seen = ring.joined_by(0);
        assert!([None, Some((1, 1)), Some((2, LIKE))].map(Ring::named).contains(&seen), "{seen:?}");
        there.join().unwrap();
    });
}

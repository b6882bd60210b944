//! Attaching and cancelling from other threads, under every interleaving that loom finds for a few of
//! them, at the weakest memory ordering that src/task/state.rs asks for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_cancel
//! ```
//!
//! Shared with the executor: `task::state` and the inbox. Restated from its source, in loom_world: what
//! an owner does between them. `cargo test --test mutants -- --ignored` breaks both, an ordering or a
//! check at a time, and expects one of the models to fail.
#![cfg(loom)]

mod loom_world;

use loom_world::{check, result, spawn, End, World, A, B};

/// Who is slower finds the task taken, and touches nothing of it.
#[test]
fn of_two_threads_that_attach_one_wins() {
    check(0, || {
        let world = World::new();
        let others = [A, A].map(|ex| spawn(&world, move |w| w.attach_remote(ex)));
        world.collect(A);
        world.run(A);
        let won = others.map(|t| t.join().unwrap());
        world.collect(A);
        world.run(A);
        // Both, if the one came when the other's run was over.
        assert_ne!(won, [false, false]);
        world.check_ends(won.iter().filter(|&&w| w).count() as u64);
    });
}

/// As above, on an executor each: both at once would be two that run it.
#[test]
fn of_two_executors_one_gets_the_task() {
    check(0, || {
        let world = World::new();
        let others = [A, B].map(|ex| spawn(&world, move |w| w.attach_remote(ex)));
        let won = others.map(|t| t.join().unwrap());
        assert_eq!(won.iter().filter(|&&w| w).count(), 1);
        world.collect(A);
        world.collect(B);
        assert!(world.run(A) != world.run(B));
        world.check_ends(1);
    });
}

/// A cancel meets the run that it was meant for, or none: not the next one, which another thread
/// launches as soon as it may.
#[test]
fn a_cancel_crosses_the_exit_and_a_relaunch() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(A));
        let canceller = spawn(&world, |w| w.cancel_remote(A));
        let launcher = spawn(&world, |w| w.attach_remote(A));
        for _ in 0..2 {
            world.collect(A);
            world.run(A);
        }
        let (meant, launched) = (canceller.join().unwrap(), launcher.join().unwrap());
        world.collect(A);
        world.run(A);
        for (seq, end) in world.check_ends(1 + u64::from(launched)) {
            assert!(end == End::Ran || seq == meant, "run {seq} cancelled, {meant} was meant");
        }
    });
}

/// The next run is on another executor, whose task it is now; the cancel asks the first.
#[test]
fn a_cancel_finds_the_task_gone_elsewhere() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(A));
        let canceller = spawn(&world, |w| w.cancel_remote(A));
        let other = spawn(&world, |w| w.attach(B) && w.run(B));
        world.collect(A);
        world.run(A);
        world.collect(A);
        let meant = canceller.join().unwrap();
        world.collect(A);
        let launched = other.join().unwrap();
        world.collect(A);
        let ends = world.check_ends(1 + u64::from(launched));
        assert!(ends[0].1 == End::Ran || meant == 1);
        assert!(ends.get(1).is_none_or(|e| e.1 == End::Ran), "cancelled from elsewhere");
    });
}

/// The task is seen to be attached before its launch has arrived, and cancelled by a message that
/// overtakes it: it is never launched.
#[test]
fn a_cancel_overtakes_the_launch() {
    check(0, || {
        let world = World::new();
        let launcher = spawn(&world, |w| w.attach_remote(A));
        let canceller = spawn(&world, |w| {
            let attached = w.task.state().is_taken();
            attached.then(|| w.cancel_remote(A))
        });
        world.collect(A);
        world.run(A);
        canceller.join().unwrap();
        world.collect(A);
        world.run(A);
        assert!(launcher.join().unwrap());
        world.collect(A);
        world.run(A);
        world.check_ends(1);
    });
}

/// The owner cancels while the task exits on another executor, and a third thread launches it here:
/// either it is not here yet, and the owner touches nothing of it, or it is, and never runs.
#[test]
fn an_owner_cancels_what_is_about_to_come() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(B));
        let other = spawn(&world, |w| assert!(w.run(B)));
        let launcher = spawn(&world, |w| w.attach_remote(A));
        let here = world.cancel(A);
        other.join().unwrap();
        let launched = launcher.join().unwrap();
        assert!(launched || !here);
        world.collect(A);
        world.run(A);
        world.check_ends(1 + u64::from(launched));
    });
}

/// Who sees that a task has exited sees its result, and what it wrote, and may use both.
#[test]
fn an_exit_shows_the_result() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(B));
        let owner = spawn(&world, |w| assert!(w.run(B)));
        if world.task.state().has_exited() {
            assert_eq!(world.task.state().result(), result(1));
            assert_eq!(world.task.wrote.get(), 1);
            world.task.wrote.set(7);
        }
        owner.join().unwrap();
    });
}

/// A task goes from thread to thread, each by what the state alone told it.
#[test]
fn an_exit_hands_the_task_on() {
    check(0, || {
        let world = World::new();
        assert!(world.attach(A));
        let others = [B, B].map(|ex| spawn(&world, move |w| w.attach_remote(ex)));
        assert!(world.run(A));
        // No join: whoever launched it tells by the inbox.
        world.collect(B);
        world.run(B);
        let won = others.map(|t| t.join().unwrap());
        world.collect(B);
        world.run(B);
        world.check_ends(1 + won.iter().filter(|&&w| w).count() as u64);
    });
}

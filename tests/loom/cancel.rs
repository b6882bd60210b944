//! Attaching and cancelling from other threads, under every interleaving that loom finds for a few
//! of them, at the weakest memory ordering that src/task asks for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_cancel
//! ```
//!
//! Shared with the executor: `task::state`, `task::requests` and the inbox. Restated from its
//! source, in world: what an owner does between them. Three threads are interrupted two or
//! three times at most, but each model runs twice, with another thread as the main one. `cargo test
//! --test mutants -- --ignored` breaks orderings and checks one by one, and expects one of the
//! models to fail.
#![cfg(loom)]

mod world;

use monad_async::task::state::Run;
use std::sync::Arc;
use world::{check, check_both_ways, result, spawn, End, World, A, B};

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

/// A cancel meets the run that was attached when it was asked, or none: not the next one, which
/// another thread launches as soon as it may.
#[test]
fn a_cancel_crosses_the_exit_and_a_relaunch() {
    fn owner(w: &World) {
        for _ in 0..2 {
            w.collect(A);
            w.run(A);
        }
    }
    check_both_ways(
        3,
        attached_to_a,
        owner,
        &[|w| w.cancel_remote().unwrap_or(0), |w| u64::from(w.attach_remote(A))],
        |w, (), others| {
            w.collect(A);
            w.run(A);
            w.check_ends(1 + others[1]);
        },
    );
}

/// The next run is on another executor, whose task it is now; the cancel asks the first.
#[test]
fn a_cancel_finds_the_task_gone_elsewhere() {
    fn owner(w: &World) {
        w.collect(A);
        w.run(A);
        w.collect(A);
    }
    fn other(w: &World) -> u64 {
        if !w.attach(B) {
            return 0;
        }
        w.collect(B);
        w.run(B);
        1
    }
    check_both_ways(
        3,
        attached_to_a,
        owner,
        &[|w| w.cancel_remote().unwrap_or(0), other],
        |w, (), others| {
            w.collect(A);
            w.collect(B);
            w.check_ends(1 + others[1]);
        },
    );
}

/// The task is seen to be attached before its launch has arrived, and cancelled by a request that
/// overtakes it: it is never launched.
#[test]
fn a_cancel_overtakes_the_launch() {
    fn owner(w: &World) {
        w.collect(A);
        w.run(A);
        w.collect(A);
        w.run(A);
    }
    check_both_ways(
        3,
        World::new,
        owner,
        &[|w| w.cancel_remote().is_some(), |w| w.attach_remote(A)],
        |w, (), others| {
            assert!(others[1]);
            w.collect(A);
            w.run(A);
            w.check_ends(1);
        },
    );
}

fn attached_to_a() -> Arc<World> {
    let world = World::new();
    assert!(world.attach(A));
    world
}

/// As `attached_to_a`, and its owner looks at once.
fn noticed() -> Arc<World> {
    let world = attached_to_a();
    world.notify_before(A);
    world
}

/// As `attached_to_a`, and there is no place for a request.
fn crowded() -> Arc<World> {
    let world = attached_to_a();
    world.crowd(A);
    world
}

/// One run ends, the next stays attached until it is cancelled.
fn runs_then_suspends(w: &World) {
    w.collect(A);
    w.run(A);
    w.collect(A);
    assert!(w.attach(A));
    w.suspend(A);
    w.collect(A);
}

/// Those who asked, of the run that stays attached, are heard; and that is not cancelled if it was
/// the other that they saw.
fn heard(w: &World, (): (), asked: Vec<Option<Run>>) {
    w.collect(A);
    let canceled = w.task().ends().len() == 2;
    assert_eq!(canceled, asked.contains(&Some(2)), "{asked:?}: {:?}", w.task().ends());
    if canceled {
        w.check_ends(2);
    } else {
        w.check_ends(1);
    }
}

/// A run ends and another begins while a thread asks to cancel, with a place for its request or
/// without.
#[test]
fn a_request_meets_the_run_that_was_attached() {
    check_both_ways(0, attached_to_a, runs_then_suspends, &[World::cancel_remote], heard);
    check_both_ways(0, noticed, runs_then_suspends, &[World::cancel_remote], heard);
    check_both_ways(0, crowded, runs_then_suspends, &[World::cancel_remote], heard);
}

/// A look of the owner for another reason meets half a request: it is taken as a whole, then or
/// later.
#[test]
fn a_look_meets_half_a_request() {
    for world in [noticed, crowded] {
        check_both_ways(
            0,
            world,
            |w| w.suspend_until_cancelled(A, 1),
            &[World::cancel_remote],
            |w, (), _| assert_eq!(w.check_ends(1), [(1, End::Canceled)]),
        );
    }
}

/// A look at where a run is attached, while it ends and the next begins elsewhere.
#[test]
fn a_run_is_attached_where_it_is() {
    fn owner(w: &World) {
        w.run(A);
        assert!(w.attach(B));
    }
    fn look(w: &World) {
        if let Some((run, mailbox)) = w.task().state().attached_run() {
            assert_eq!(mailbox, w.address([A, B][run as usize - 1]), "run {run}");
        }
    }
    check_both_ways(0, attached_to_a, owner, &[look], |_, (), _| {});
}

/// An attach fails, as the executor is gone: the task may be attached by the next thread.
#[test]
fn an_attach_that_fails_hands_the_task_on() {
    fn gone() -> Arc<World> {
        let world = World::new();
        world.destroy(B);
        world
    }
    check_both_ways(
        0,
        gone,
        |w| assert!(!w.attach_remote(B)),
        &[|w| w.attach_remote(A)],
        |w, (), won| {
            w.collect(A);
            w.run(A);
            assert_eq!(w.task().state().has_exited(), won[0]);
        },
    );
}

/// The number that keeps the result of a run that came to nothing apart from the one before is no
/// run's: nobody sees it attached.
#[test]
fn a_run_that_came_to_nothing_is_not_seen() {
    fn b_is_gone() -> Arc<World> {
        let world = attached_to_a();
        world.destroy(B);
        world
    }
    fn owner(w: &World) {
        w.run(A);
        assert!(!w.attach_remote(B));
    }
    fn look(w: &World) {
        if let Some((run, _)) = w.task().state().attached_run() {
            assert!(run < 3, "run {run}");
        }
    }
    check_both_ways(0, b_is_gone, owner, &[look], |_, (), _| {});
}

/// The same with two threads: the one may be about to ask for the run that is over, when the other
/// asks for the next.
#[test]
fn requests_for_two_runs_cross() {
    const BOTH: &[fn(&World) -> Option<Run>] = &[World::cancel_remote, World::cancel_remote];
    check_both_ways(3, attached_to_a, runs_then_suspends, BOTH, heard);
    check_both_ways(2, crowded, runs_then_suspends, BOTH, heard);
}

/// An old request for the run before is in the word when that which stays attached is asked for.
#[test]
fn a_request_follows_one_that_came_too_late() {
    fn too_late() -> Arc<World> {
        let world = attached_to_a();
        assert_eq!(world.cancel_remote(), Some(1));
        assert!(world.run(A));
        assert!(world.attach(A));
        world
    }
    check_both_ways(
        0,
        too_late,
        |w| w.suspend_until_cancelled(A, 1),
        &[World::cancel_remote],
        |w, (), asked| {
            assert_eq!(asked, [Some(2)]);
            assert_eq!(w.check_ends(2), [(1, End::Ran), (2, End::Canceled)]);
        },
    );
}

/// Two threads ask for the same run; one of them tells its executor, which may be asleep. Of both
/// it sees what they wrote before.
#[test]
fn requests_for_one_run_join() {
    for world in [attached_to_a, crowded] {
        check_both_ways(
            2,
            world,
            |w| w.suspend_until_cancelled(A, 1),
            &[World::say_and_cancel::<0>, World::say_and_cancel::<1>],
            |w, (), told| {
                assert!(told.contains(&Some(true)));
                w.check_ends(1);
                for (i, told) in told.into_iter().enumerate() {
                    // It joined the other's request, so it came before that was taken.
                    assert!(told != Some(false) || w.was_heard(i), "what it wrote is not visible");
                }
            },
        );
    }
}

/// There was no place, and the task was marked, when the owner of another executor looks for marks:
/// it leaves this one, or asks again.
#[test]
fn another_owner_meets_the_mark() {
    fn both_full() -> Arc<World> {
        let world = crowded();
        world.flood(B);
        world
    }
    fn other(w: &World) -> Option<Run> {
        w.collect(B);
        None
    }
    check_both_ways(
        2,
        both_full,
        |w| w.suspend_until_cancelled(A, 1),
        &[World::cancel_remote, other],
        |w, (), _| assert_eq!(w.check_ends(1), [(1, End::Canceled)]),
    );
}

/// Two tasks, two threads that ask, and one place at most: the owner looks at all that are marked,
/// and sees both requests.
#[test]
fn requests_for_two_tasks_share_the_places() {
    fn two() -> Arc<World> {
        let world = World::of_tasks(2);
        assert!(world.attach_of(A, 0) && world.attach_of(A, 1));
        world
    }
    fn two_crowded() -> Arc<World> {
        let world = two();
        world.crowd(A);
        world
    }
    for world in [two, two_crowded] {
        check_both_ways(
            3,
            world,
            |w| {
                w.suspend(A);
                w.collect(A);
            },
            &[|w| w.cancel_remote_of(0), |w| w.cancel_remote_of(1)],
            |w, (), asked| {
                assert_eq!(asked, [Some(1); 2]);
                w.collect(A);
                w.check_ends_of(0, 1);
                w.check_ends_of(1, 1);
            },
        );
    }
}

/// The task of another executor is asked for, then attached here, as its owner reads the word of
/// the one.
#[test]
fn a_request_goes_to_the_executor_that_has_the_run() {
    fn elsewhere(w: &World) {
        w.run(A);
        w.collect(A);
    }
    fn here(w: &World) -> Option<Run> {
        if !w.attach(B) {
            return None;
        }
        w.suspend(B);
        w.collect(B);
        Some(0)
    }
    check_both_ways(3, attached_to_a, elsewhere, &[World::cancel_remote, here], |w, (), others| {
        w.collect(A);
        w.collect(B);
        let launched = others[1].is_some();
        let canceled = others[0] == Some(2);
        w.check_ends(1 + u64::from(launched && canceled));
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
        if world.task().state().has_exited() {
            assert_eq!(world.task().state().result(), result(1));
            assert_eq!(world.task().wrote.get(), 1);
            world.task().wrote.set(7);
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
        // No join: who launched it tells by the inbox.
        world.collect(B);
        world.run(B);
        let won = others.map(|t| t.join().unwrap());
        world.collect(B);
        world.run(B);
        world.check_ends(1 + won.iter().filter(|&&w| w).count() as u64);
    });
}

//! Park, unpark and the cancel that crosses them, under every interleaving that loom finds for a
//! few threads, at the weakest memory ordering that src/task/permit.rs asks for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_park
//! ```
//!
//! Shared with the executor: `task::permit` and the inbox. Restated in world: the rest of
//! src/executor/park.rs. The record is overwritten as soon as the task goes on. Each model runs
//! twice, with another thread as the main one.
#![cfg(loom)]

mod world;

use world::check;
use world::park::{spawn, Park};

/// The task's thread is the main one at first, then the first of the others is.
fn check_both_ways(
    preemptions: usize,
    owner: fn(&Park) -> bool,
    others: &'static [fn(&Park)],
    after: fn(&Park, bool),
) {
    check(preemptions, move || {
        let park = Park::new();
        let others: Vec<_> = others.iter().map(|&f| spawn(&park, f)).collect();
        let unparked = owner(&park);
        others.into_iter().for_each(|t| t.join().unwrap());
        after(&park, unparked);
    });
    check(preemptions, move || {
        let park = Park::new();
        let owner = spawn(&park, owner);
        let rest: Vec<_> = others[1..].iter().map(|&f| spawn(&park, f)).collect();
        others[0](&park);
        rest.into_iter().for_each(|t| t.join().unwrap());
        let unparked = owner.join().unwrap();
        after(&park, unparked);
    });
}

/// Before, while or after the task parks: it goes on, and sees what came before.
#[test]
fn an_unpark_meets_a_park() {
    fn owner(p: &Park) -> bool {
        assert!(p.park(0, false));
        assert_eq!(p.read(0), 1);
        true
    }
    check_both_ways(0, owner, &[|p| p.unpark(0)], |p, _| assert!(!p.take(), "one permit too many"));
}

/// A cancel and an unpark cross: the one ends the park, or the other, and then its permit is left
/// for the next.
#[test]
fn a_cancel_crosses_an_unpark() {
    fn owner(p: &Park) -> bool {
        let unparked = p.park(0, true);
        if !unparked {
            assert!(p.park(1, false));
        }
        assert_eq!(p.read(0), 1);
        unparked
    }
    check_both_ways(0, owner, &[|p| p.unpark(0)], |p, _| assert!(!p.take(), "one permit too many"));
}

/// The same where the cancel is another thread's, and may wake the task's executor.
#[test]
fn a_cancel_from_elsewhere_crosses_an_unpark() {
    fn owner(p: &Park) -> bool {
        let unparked = p.park(0, false);
        if !unparked {
            assert!(p.park(1, false));
        }
        assert_eq!(p.read(0), 1);
        unparked
    }
    fn after(p: &Park, _: bool) {
        assert!(!p.take(), "one permit too many");
    }
    check_both_ways(2, owner, &[|p| p.unpark(0), Park::ask_cancel], after);
    check_both_ways(2, owner, &[Park::ask_cancel, |p| p.unpark(0)], after);
}

/// Two threads unpark: the park ends, and one permit is left at most.
#[test]
fn two_unparks_meet_a_park() {
    fn owner(p: &Park) -> bool {
        p.park(0, false)
    }
    fn after(p: &Park, unparked: bool) {
        assert!(unparked);
        // Of the second, if it came too late for the park.
        p.take();
        assert_eq!([p.read(0), p.read(1)], [1, 1]);
    }
    check_both_ways(3, owner, &[|p| p.unpark(0), |p| p.unpark(1)], after);
}

/// Who went on by its own thread's unpark has seen the other's; or that one's permit is left.
fn or_is_left_a_permit(p: &Park) -> bool {
    if !p.sees() {
        assert!(p.park(1, false));
        assert_eq!(p.read(0), 1);
    }
    true
}

/// An unpark of its executor's thread and another's: who goes on has seen the other's, or its
/// permit is left.
#[test]
fn its_own_thread_and_another_unpark() {
    fn owner(p: &Park) -> bool {
        p.park_and_unpark(0);
        or_is_left_a_permit(p)
    }
    fn after(p: &Park, _: bool) {
        p.take();
        assert_eq!(p.read(0), 1);
    }
    check_both_ways(3, owner, &[|p| p.unpark(0)], after);
}

/// The same, before it parks: the two are one permit, or the other is left.
#[test]
fn its_own_thread_and_another_leave_a_permit() {
    fn owner(p: &Park) -> bool {
        let has_come = !p.is_none();
        p.leave_here();
        assert!(p.park(0, false));
        assert!(!has_come || p.is_none(), "two permits");
        or_is_left_a_permit(p)
    }
    fn after(p: &Park, _: bool) {
        p.take();
        assert!(!p.take(), "one permit too many");
        assert_eq!(p.read(0), 1);
    }
    check_both_ways(3, owner, &[|p| p.unpark(0)], after);
}

/// Between two runs: it is forgotten, or the next run is told that there is something to forget.
#[test]
fn a_permit_is_left_while_permits_are_forgotten() {
    fn owner(p: &Park) -> bool {
        p.forget();
        true
    }
    fn after(p: &Park, _: bool) {
        assert!(p.is_none() || p.has_past(), "a permit that nobody forgets");
    }
    check_both_ways(3, owner, &[|p| p.unpark(0)], after);
}

//! What a hot operation never does, counted over a million of each kind through the C API: allocate
//! memory, ask the kernel for anything but io_uring_enter, lock a cache line. Each count is shown
//! to see what it looks for.

#[path = "../../../benches/common/api.rs"]
#[allow(dead_code)]
mod api;
mod disassembly;
mod heap;
#[path = "../../support/skip.rs"]
mod skip;
mod trace;
mod work;

use std::collections::BTreeMap;
use std::io::Write;

use monad_async::uring::{RealKernel, RingOptions};
use work::{Kind, Work, KINDS};

/// Of each kind. Unoptimised they take ten times as long, and go through the same code.
const OPERATIONS: usize = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };

/// Not through `println`, which the harness swallows.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// False, and the test is skipped, where io_uring does not exist or is forbidden.
fn has_ring() -> bool {
    let made = RealKernel::new(&RingOptions { entries: 8, ..RingOptions::default() });
    if let Err(e) = &made {
        skip::skip(&*e.text);
    }
    made.is_ok()
}

#[test]
fn a_million_operations_allocate_nothing() {
    if !has_ring() {
        return;
    }
    for kind in KINDS {
        for track in [true, false] {
            let work = Work::new(kind, track);
            work.go(1000);
            let before = heap::allocations();
            work.go(OPERATIONS);
            assert_eq!(heap::allocations() - before, 0, "{kind:?}");
        }
    }
}

#[test]
fn the_count_sees_allocations_of_rust_of_c_and_of_a_task() {
    if !has_ring() {
        return;
    }
    let before = heap::allocations();
    std::hint::black_box(Box::new(1));
    assert_eq!(heap::allocations() - before, 1);
    // SAFETY: a C string; what strdup gives is freed.
    unsafe { libc::free(std::hint::black_box(libc::strdup(c"by the C library".as_ptr())).cast()) };
    assert_eq!(heap::allocations() - before, 2);
    let work = Work::new(Kind::Allocate, true);
    work.go(1000);
    let before = heap::allocations();
    work.go(1000);
    assert_eq!(heap::allocations() - before, 1000);
}

/// By number; not those of an io_uring_enter.
fn others(calls: &BTreeMap<i64, u64>) -> BTreeMap<i64, u64> {
    calls.iter().filter(|c| *c.0 != libc::SYS_io_uring_enter).map(|(n, c)| (*n, *c)).collect()
}

#[test]
fn a_million_operations_make_no_system_call_but_enter() {
    let name = "a_million_operations_make_no_system_call_but_enter";
    if !has_ring() {
        return;
    }
    let Some(counts) = trace::count(name, || {
        for kind in KINDS {
            let work = Work::new(kind, true);
            work.go(1000);
            trace::begin(kind as usize);
            work.go(OPERATIONS);
            trace::end();
        }
    }) else {
        return;
    };
    for kind in KINDS {
        let calls = &counts[&(kind as usize)];
        assert_eq!(others(calls), BTreeMap::new(), "{kind:?}: by number");
        let enters = calls.get(&libc::SYS_io_uring_enter).copied().unwrap_or(0) as usize;
        // A yield asks for nothing; 64 NOPs go in one call, and may take a second.
        let most = match kind {
            Kind::Launch | Kind::Yield => 0,
            Kind::Nop => OPERATIONS / 64 * 2 + 2,
            _ => OPERATIONS,
        };
        assert!(enters <= most, "{kind:?}: {enters} calls of io_uring_enter");
    }
}

#[test]
fn the_count_sees_a_system_call_of_a_task() {
    let name = "the_count_sees_a_system_call_of_a_task";
    if !has_ring() {
        return;
    }
    let Some(counts) = trace::count(name, || {
        let work = Work::new(Kind::SystemCall, true);
        trace::begin(7);
        work.go(100);
        trace::end();
    }) else {
        return;
    };
    assert_eq!(others(&counts[&7]), BTreeMap::from([(libc::SYS_getppid, 100)]));
}

/// What a launch, a pass and a suspension go through, from the C functions down.
const LOCAL: &[&str] = &[
    "monad_async_task_attach",
    "monad_async_executor_run",
    "monad_async_executor_has_work",
    "monad_async_task_suspend_for_duration",
    "monad_async_task_io",
    "monad_async_task_has_exited",
];

/// Where the local path ends: what follows concerns another thread, or is the end of the process.
/// Each is a function of its own, never inlined.
const REMOTE: &[&str] = &[
    // attach, called by another thread
    "Handle<K>::attach_remote",
    // run, when another thread left something
    "collect_mailbox",
    // has_work, when nothing is attached: looks for those who are about to join from elsewhere, and
    // waits for them
    "has_askers",
    "has_late_work",
    // run, when nothing is ready: announces that it sleeps
    "Executor<K>>::wait",
    // run, when nothing is ready, without a ring
    "Sleeper::sleep",
    "Waker::take",
    // run, when a task exits that others join, maybe from another thread
    "finish_joined",
    // run, when it wakes a joiner that is elsewhere
    "join::answer",
    // a join, when the task that is joined joins one elsewhere, through others it may be
    "join_elsewhere::ask",
    // run, when a scope fires while its task joins one that is elsewhere
    "unjoin_remote",
    // run, when a parked task is cancelled, which another thread may be waking
    "unpark_canceled",
    // run, when a wait that other threads may end is cancelled, ended by a completion, or granted
    "cancel_shared",
    "claim_shared",
    "wake_elsewhere",
    // run, when ordered writes go to a thread that may block
    "Elsewhere::send",
    // run, between two runs in a foreign loop
    "end_rest",
    "Executor<K>>::rest",
    // run, at an executor's first launch of a task with stacks of a size
    "WarmStacks::first",
    // scopes with a deadline, the first time in the process
    "Rate::learn",
];

#[test]
#[cfg_attr(debug_assertions, ignore = "reads what the optimiser made: cargo test --release")]
fn the_local_path_locks_nothing() {
    let Some(program) = disassembly::Program::read() else { return };
    let found = program.follow(LOCAL, REMOTE);
    for line in &found.locked {
        say(line);
    }
    assert!(found.locked.is_empty(), "locked instructions on the local path: see above");
    assert!(found.functions.len() >= LOCAL.len() && found.instructions > 500);
    for stop in REMOTE {
        // Of what nothing here calls the linker may have left out all.
        let is_reached = found.stops.contains(stop) || !program.has(stop);
        assert!(is_reached, "{stop} is not reached: take it off the list");
    }
    say(&format!(
        "measured: {} instructions of {} functions on the local path, none locked",
        found.instructions,
        found.functions.len()
    ));
}

#[test]
#[cfg_attr(debug_assertions, ignore = "reads what the optimiser made: cargo test --release")]
fn the_disassembly_shows_locks_where_there_are_some() {
    let Some(program) = disassembly::Program::read() else { return };
    for (root, path) in [
        ("monad_async_executor_wake", REMOTE),
        ("monad_async_task_attach", &REMOTE[1..]),
        ("monad_async_executor_run", &[REMOTE[0], REMOTE[2], REMOTE[3]]),
    ] {
        let found = program.follow(&[root], path);
        assert!(!found.locked.is_empty(), "{root} locks, and nothing was seen");
    }
}

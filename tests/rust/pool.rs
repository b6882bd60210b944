//! What the stack pool takes from the rest of the process, and gives back: VMAs, locked memory,
//! memory that is charged, its lock.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::Errno;
use monad_async::stack::pool::{acquire, for_each_in_use, stats, Slot};
use monad_async::sys::memory::force_mprotect_guards;
use support::child::{alone, free, header, touch, HEADER, SMALL};

/// A figure of this process, in KiB, from /proc/self/status.
fn status_kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn max_map_count() -> usize {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn acquire_many(count: usize, bytes: usize) -> Vec<Slot> {
    let slots: Vec<_> = (0..count).map(|_| acquire(bytes, HEADER).unwrap()).collect();
    slots.iter().for_each(|slot| touch(slot, 1));
    slots
}

/// Before Linux 6.13 a stack takes two VMAs. What no task has any more takes none.
#[test]
fn free_stacks_give_their_mappings_back() {
    alone("free_stacks_give_their_mappings_back", || {
        force_mprotect_guards(true);
        let before = mappings();
        for _ in 0..3 {
            let slots = acquire_many(10_000, SMALL);
            assert!(mappings() > before + 20_000);
            free(slots);
            let warm = stats().slots_warm;
            assert!(warm <= 1024 && mappings() <= before + 2 * warm + 64, "{}", mappings());
        }
    });
}

/// With all VMAs taken nobody could start a thread, map memory or load a library.
#[test]
fn a_fifth_of_the_mappings_is_left_to_others() {
    alone("a_fifth_of_the_mappings_is_left_to_others", || {
        force_mprotect_guards(true);
        let allowed = max_map_count();
        if allowed > 200_000 {
            println!("skipped: vm.max_map_count is {allowed}");
            return;
        }
        let before = mappings();
        let mut slots = Vec::new();
        let error = loop {
            match acquire(SMALL, HEADER) {
                Ok(slot) => slots.push(slot),
                Err(e) => break e,
            }
        };
        assert_eq!(error, Errno(libc::ENOMEM));
        assert!(mappings() <= before + allowed / 5 * 4 + 64, "{} of {allowed}", mappings());
        // Of another size, and again: still ENOMEM, and still room.
        assert_eq!(acquire(1 << 20, HEADER).unwrap_err(), Errno(libc::ENOMEM));
        let threads: Vec<_> = (0..100).map(|_| std::thread::spawn(|| ())).collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        free(slots);
    });
}

/// Sizes of stacks, each of which takes a slab.
const SIZES: [usize; 5] = [SMALL, 32 << 10, 128 << 10, 1 << 20, 8 << 20];

/// After mlockall a stack is locked as it is used, page by page; what nobody touched is not there.
#[test]
fn memory_that_nobody_touched_is_not_locked() {
    alone("memory_that_nobody_touched_is_not_locked", || {
        // SAFETY: locks this process's memory, present and future.
        if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
            println!("skipped: mlockall: {}", std::io::Error::last_os_error());
            return;
        }
        let before = (status_kib("VmRSS:"), status_kib("VmLck:"));
        let slots: Vec<_> = SIZES.iter().map(|&bytes| acquire_many(1, bytes)).collect();
        let taken = (status_kib("VmRSS:") - before.0, status_kib("VmLck:") - before.1);
        println!("measured: {} KiB resident, {} KiB lockable, for {SIZES:?}", taken.0, taken.1);
        // Three pages each, and page tables; of address space, the stacks and what lies around
        // them.
        assert!(taken.0 < 2 << 10, "{} KiB resident", taken.0);
        assert!(taken.1 < 32 << 10, "{} KiB locked", taken.1);
        assert!(taken.1 > 8 << 10, "what is touched is to be locked");
        slots.into_iter().for_each(free);
    });
}

/// The same where mlockall comes later, and locks what is there.
#[test]
fn memory_that_nobody_touched_is_not_locked_later_either() {
    alone("memory_that_nobody_touched_is_not_locked_later_either", || {
        let before = status_kib("VmRSS:");
        let first = acquire_many(1, SMALL);
        // SAFETY: locks this process's memory.
        if unsafe { libc::mlockall(libc::MCL_CURRENT) } != 0 {
            println!("skipped: mlockall: {}", std::io::Error::last_os_error());
            return;
        }
        let others = status_kib("VmRSS:") - before;
        let slots = acquire_many(200, SMALL);
        let taken = status_kib("VmRSS:") - before - others;
        println!("measured: {others} KiB locked with one stack, {taken} KiB more with 200 more");
        // Libraries and the threads' own stacks, but not 64 MiB of address space; then three pages
        // of six each, and headers.
        assert!(others < 56 << 10 && taken < 200 * 16, "{others} and {taken} KiB");
        free(slots);
        free(first);
    });
}

/// Where memory is not overcommitted (vm.overcommit_memory 2), all that may be written is charged.
#[test]
fn memory_that_nobody_has_is_not_charged() {
    alone("memory_that_nobody_has_is_not_charged", || {
        let before = status_kib("VmData:");
        let slots: Vec<_> = SIZES.iter().map(|&bytes| acquire_many(1, bytes)).collect();
        let taken = status_kib("VmData:") - before;
        println!("measured: {taken} KiB writable for {SIZES:?}");
        // The stacks take 9.2 MiB; the rest are headers, and a step ahead.
        assert!(taken < 24 << 10, "{taken} KiB");
        slots.into_iter().for_each(free);
    });
}

/// A program that once had many large stacks and now has small ones: those are kept warm.
#[test]
fn a_size_that_nobody_uses_any_more_makes_room() {
    alone("a_size_that_nobody_uses_any_more_makes_room", || {
        free(acquire_many(64, 1 << 20));
        let full = stats();
        assert!(full.slots_warm > 50 && full.warm_bytes <= 64 << 20);
        for _ in 0..3 {
            free(acquire_many(1000, SMALL));
            assert!(stats().warm_bytes <= 64 << 20);
        }
        let slots: Vec<_> = (0..1000).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        let warm = slots.iter().filter(|s| !s.known_zero).count();
        assert_eq!(warm, 1000, "of the size that is in use");
        free(slots);
        // What is left of the large ones is used again, and makes room in turn.
        free(acquire_many(64, 1 << 20));
        assert!(stats().slots_warm < 1000 && stats().warm_bytes <= 64 << 20);
    });
}

/// Who looks at all tasks (cancel_all does) leaves the pool to others: they acquire and release.
#[test]
fn the_pool_is_not_locked_while_slots_are_looked_at() {
    alone("the_pool_is_not_locked_while_slots_are_looked_at", || {
        // SAFETY: ends the child where the pool is locked, which would be for ever.
        unsafe { libc::alarm(30) };
        let slots = acquire_many(3000, SMALL);
        let mut seen = std::collections::HashSet::new();
        for_each_in_use(|at| {
            if seen.len() % 1000 == 0 {
                free(acquire_many(1, 32 << 10));
                std::thread::spawn(|| free(acquire_many(1, 64 << 10))).join().unwrap();
            }
            seen.insert(at.as_ptr());
        });
        assert!(slots.iter().all(|slot| seen.contains(&header(slot))));
        free(slots);
    });
}

//! The stack pool against the real kernel: what a slot is, what stays resident, where it ends.

#[path = "../support/mod.rs"]
mod support;

use monad_async::error::Errno;
use monad_async::stack::pool::{acquire, guard_kind, stats, GuardKind, Slot};
use monad_async::stack::slab::{find, COLOURS, GUARD_BYTES, HEADER_ALIGN};
use monad_async::sys::memory::{force_mprotect_guards, page_bytes, signal_frame_bytes};
use std::collections::{BTreeMap, HashSet};
use support::child::{alone, free, header, readable, touch, HEADER, SMALL};
use support::skip::skip;

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

#[test]
fn a_slot_is_what_was_asked_for() {
    for asked in [0, 1, SMALL, SMALL + 1, 100_000, 128 << 10, 1 << 20, 100 << 20] {
        let slot = acquire(asked, HEADER).unwrap();
        let told = if asked == 0 { 128 << 10 } else { asked };
        assert!(slot.stack_bytes() >= told);
        assert!(slot.stack_bytes() >= SMALL && slot.stack_bytes() >= signal_frame_bytes() + 8192);
        assert_eq!(header(&slot) as usize % HEADER_ALIGN, 0);
        assert_eq!(slot.stack_base % HEADER_ALIGN, 0);
        assert_eq!(slot.stack_limit % page_bytes(), 0);
        assert!(slot.stack_base - slot.stack_limit >= slot.stack_bytes());
        assert_eq!(slot.generation % 2, 1);
        touch(&slot, 7);
        // The whole header, too.
        // SAFETY: the header is the slot's.
        unsafe { header(&slot).write_bytes(9, HEADER) };
        for at in [slot.stack_limit - 1, slot.stack_limit - GUARD_BYTES, slot.stack_base - 1] {
            let hit = find(at).unwrap();
            assert_eq!(hit.header, header(&slot));
            assert_eq!(hit.stack_limit, slot.stack_limit);
            assert_eq!(hit.stack_base, slot.stack_base);
            assert_eq!(hit.stack_bytes, slot.stack_bytes());
        }
        free(vec![slot]);
    }
    assert_eq!(find(0), None);
    assert_eq!(find(usize::MAX), None);
    assert_eq!(find(&HEADER as *const _ as usize), None);
}

#[test]
fn absurd_sizes_are_einval() {
    for bytes in [(1 << 40) + 1, usize::MAX, isize::MAX as usize] {
        assert_eq!(acquire(bytes, HEADER).unwrap_err(), Errno(libc::EINVAL));
    }
}

#[test]
fn a_size_beyond_the_address_space_is_enomem() {
    // 1 TiB fits a few times; half a PiB of it does not.
    let mut slots = Vec::new();
    let error = loop {
        match acquire(1 << 40, HEADER) {
            Ok(slot) => slots.push(slot),
            Err(e) => break e,
        }
        assert!(slots.len() < 512);
    };
    assert_eq!(error, Errno(libc::ENOMEM));
    for slot in &slots {
        touch(slot, 1);
    }
    free(slots);
}

#[test]
fn a_reused_slot_says_what_it_holds() {
    alone("a_reused_slot_says_what_it_holds", || {
        let first = acquire(SMALL, HEADER).unwrap();
        assert!(first.known_zero);
        let (at, generation) = (header(&first), first.generation);
        touch(&first, 42);
        free(vec![first]);
        // SAFETY: slots are type-stable: a destroyed task's header may be read for ever.
        assert_eq!(unsafe { at.read_volatile() }, 42, "free slots are left alone");
        // Last in, first out: what is warm in the cache is used first.
        let again = acquire(SMALL, HEADER).unwrap();
        assert_eq!(header(&again), at);
        assert_eq!(again.generation, generation + 2);
        assert!(!again.known_zero);
        free(vec![again]);

        // More than the pool keeps warm: what it dropped reads as zeros, and says so.
        let slots: Vec<_> = (0..4096).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        for slot in &slots {
            touch(slot, 43);
        }
        let headers: Vec<_> = slots.iter().map(header).collect();
        free(slots);
        assert_eq!(stats().slots_warm, 1024);
        // SAFETY: as above.
        let left = headers.iter().filter(|&&h| unsafe { h.read_volatile() } == 43).count();
        // A header goes when all of its 32 neighbours do: at the ends of the run they may not.
        assert!((1024..1024 + 64).contains(&left), "{left} headers are left");
        let slots: Vec<_> = (0..4096).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        for slot in &slots {
            // SAFETY: the slot is ours.
            let s = unsafe { ((slot.stack_base - 1) as *const u8).read() };
            assert_eq!(s, if slot.known_zero { 0 } else { 43 });
            assert!(slot.generation >= 3, "generations outlive the pages");
        }
        assert_eq!(slots.iter().filter(|s| !s.known_zero).count(), 1024);
        free(slots);
    });
}

#[test]
fn large_free_stacks_are_bounded_by_bytes() {
    alone("large_free_stacks_are_bounded_by_bytes", || {
        let slots: Vec<_> = (0..64).map(|_| acquire(8 << 20, HEADER).unwrap()).collect();
        for slot in &slots {
            for at in (slot.stack_limit..slot.stack_base).step_by(page_bytes()) {
                // SAFETY: on the slot's own stack.
                unsafe { (at as *mut u8).write(1) };
            }
        }
        assert!(status_kib("VmRSS:") > 500 << 10);
        free(slots);
        assert!(stats().warm_bytes <= 64 << 20);
        assert!(status_kib("VmRSS:") < 100 << 10, "{} KiB", status_kib("VmRSS:"));
    });
}

#[test]
#[should_panic(expected = "a slot was released twice")]
fn releasing_twice_is_caught() {
    let slot = acquire(SMALL, HEADER).unwrap();
    // SAFETY: a copy of the claim, which is the very mistake under test.
    let copy = unsafe { std::ptr::read(&slot) };
    free(vec![slot, copy]);
}

#[test]
fn colours_spread_over_the_sets_of_the_cache() {
    alone("colours_spread_over_the_sets_of_the_cache", || {
        let slots: Vec<_> =
            (0..COLOURS.len() * 10).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        let mut at: BTreeMap<usize, usize> = BTreeMap::new();
        for slot in &slots {
            *at.entry(slot.stack_base % 4096).or_default() += 1;
        }
        assert_eq!(at.len(), COLOURS.len(), "{at:?}");
        assert!(at.values().all(|&n| n == 10), "{at:?}");
        // Odd strides: the hot pages of 32 neighbours fall into 32 different sets of a TLB of 32.
        let pages: HashSet<_> =
            slots[..32].iter().map(|s| (s.stack_base - 1) / page_bytes() % 32).collect();
        assert_eq!(pages.len(), 32);
        free(slots);
    });
}

#[test]
fn a_hundred_thousand_stacks_cost_no_vma_each() {
    alone("a_hundred_thousand_stacks_cost_no_vma_each", || {
        if guard_kind() == GuardKind::Mprotect {
            skip("no MADV_GUARD_INSTALL here");
            return;
        }
        const N: usize = 100_000;
        let before = mappings();
        for round in 0..2 {
            let slots: Vec<_> = (0..N).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
            assert!(mappings() < before + 64, "{} mappings", mappings());
            let different: HashSet<_> = slots.iter().map(header).collect();
            assert_eq!(different.len(), N);
            for slot in slots.iter().step_by(97) {
                assert!(round > 0 || slot.known_zero);
                touch(slot, 1);
            }
            free(slots);
        }
        println!("measured: {N} stacks, {} mappings, of {} allowed", mappings(), max_map_count());
    });
}

#[test]
fn a_million_stacks_take_a_page_each_and_give_it_back() {
    alone("a_million_stacks_take_a_page_each_and_give_it_back", || {
        // It is the kernel that takes its time, optimised or not.
        const N: usize = if cfg!(debug_assertions) { 250_000 } else { 1_000_000 };
        let available = {
            let info = std::fs::read_to_string("/proc/meminfo").unwrap();
            let line = info.lines().find(|l| l.starts_with("MemAvailable:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
        };
        if guard_kind() == GuardKind::Mprotect || available < 6 << 20 {
            skip(format_args!("{:?}, {available} KiB of memory", guard_kind()));
            return;
        }
        let mut slots = Vec::with_capacity(N);
        let mut first_after = usize::MAX;
        // The second, of fewer, shows what the first has left.
        for round in 0..if cfg!(debug_assertions) { 1 } else { 2 } {
            let n = if round == 0 { N } else { N / 4 };
            let before = status_kib("VmRSS:");
            let t0 = std::time::Instant::now();
            slots.extend((0..n).map(|_| acquire(SMALL, HEADER).unwrap()));
            let t1 = std::time::Instant::now();
            for slot in &slots {
                // As an idle task does: its header, and the hot end of its stack.
                // SAFETY: the slot is ours.
                unsafe {
                    header(slot).write_bytes(1, HEADER);
                    (slot.stack_base as *mut u8).sub(512).write_bytes(1, 512);
                }
            }
            let t2 = std::time::Instant::now();
            let full = status_kib("VmRSS:");
            let tables = status_kib("VmPTE:");
            slots.drain(..).for_each(|slot| free(vec![slot]));
            let t3 = std::time::Instant::now();
            let after = status_kib("VmRSS:");
            println!(
                "measured: round {round}: {n} stacks: acquire {} ns, touch {} ns, release {} ns \
                 each; resident {} -> {} -> {} MiB, page tables {} MiB",
                (t1 - t0).as_nanos() as usize / n,
                (t2 - t1).as_nanos() as usize / n,
                (t3 - t2).as_nanos() as usize / n,
                before >> 10,
                full >> 10,
                after >> 10,
                tables >> 10
            );
            let each = (full - before) * 1024 / n;
            // Their page, their header and SlotMeta, and the test's own Slot.
            let most = page_bytes() + HEADER + 24 + size_of::<Slot>() + 32;
            assert!(each < most, "{each} bytes a stack, {most} expected");
            // SlotMetas and Slots stay, and what the pool keeps warm.
            first_after = first_after.min(after);
            assert!(after < 128 << 10 && after < first_after + (4 << 10), "{after} KiB left");
        }
    });
}

#[test]
fn four_threads_at_once() {
    alone("four_threads_at_once", || {
        let threads: Vec<_> = (0..4u64)
            .map(|t| {
                std::thread::spawn(move || {
                    let mut random = t * 2 + 1;
                    let mut mine: Vec<(Slot, u64)> = Vec::new();
                    for i in 0..if cfg!(debug_assertions) { 10_000 } else { 40_000 } {
                        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
                        if (random >> 60) < 8 || mine.is_empty() {
                            let bytes = [SMALL, 40_000, 0][(random >> 33) as usize % 3];
                            let slot = acquire(bytes, HEADER).unwrap();
                            let mark = t << 56 | i;
                            // SAFETY: the slot is this thread's.
                            unsafe { header(&slot).cast::<u64>().write(mark) };
                            touch_low(&slot, mark);
                            mine.push((slot, mark));
                        } else {
                            let at = (random >> 20) as usize % mine.len();
                            let (slot, mark) = mine.swap_remove(at);
                            // SAFETY: as above.
                            let found = unsafe {
                                (
                                    header(&slot).cast::<u64>().read(),
                                    (slot.stack_limit as *const u64).read(),
                                )
                            };
                            assert_eq!(found, (mark, mark), "another thread had the same slot");
                            free(vec![slot]);
                        }
                    }
                    mine
                })
            })
            .collect();
        let left: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        let different: HashSet<_> = left.iter().map(|(slot, _)| header(slot)).collect();
        assert_eq!(different.len(), left.len());
        assert_eq!(stats().slots_in_use, left.len());
        free(left.into_iter().map(|(slot, _)| slot).collect());
        assert_eq!(stats().slots_in_use, 0);
    });

    fn touch_low(slot: &Slot, mark: u64) {
        // SAFETY: the lowest bytes of the slot's own stack.
        unsafe { (slot.stack_limit as *mut u64).write(mark) };
    }
}

/// Acquires until ENOMEM, then checks that all of it works, and that it works again.
fn acquire_until_it_ends() -> usize {
    let mut counts = Vec::new();
    for _ in 0..2 {
        let mut slots = Vec::with_capacity(1 << 20);
        let error = loop {
            assert!(slots.len() < slots.capacity(), "no end");
            match acquire(SMALL, HEADER) {
                Ok(slot) => slots.push(slot),
                Err(e) => break e,
            }
        };
        assert_eq!(error, Errno(libc::ENOMEM));
        assert_eq!(
            acquire(SMALL, HEADER).unwrap_err(),
            Errno(libc::ENOMEM),
            "ends once, and again"
        );
        for slot in &slots {
            touch(slot, 5);
        }
        counts.push(slots.len());
        let last = slots.pop().unwrap();
        free(vec![last]);
        slots.push(acquire(SMALL, HEADER).unwrap());
        free(slots);
    }
    assert_eq!(counts[0], counts[1]);
    counts[0]
}

#[test]
fn without_markers_the_end_is_enomem() {
    alone("without_markers_the_end_is_enomem", || {
        force_mprotect_guards(true);
        assert_eq!(guard_kind(), GuardKind::Mprotect);
        let allowed = max_map_count();
        if allowed > 200_000 {
            skip(format_args!("vm.max_map_count is {allowed}"));
            return;
        }
        let n = acquire_until_it_ends();
        println!("measured: {n} stacks with mprotect, vm.max_map_count {allowed}");
        assert!(n > allowed * 2 / 5 - 1000 && n <= allowed * 2 / 5);
    });
}

fn limit(which: u32, bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: setrlimit only reads the struct.
    assert_eq!(unsafe { libc::setrlimit(which as _, &limit) }, 0);
}

#[test]
fn a_limited_address_space_ends_in_enomem() {
    alone("a_limited_address_space_ends_in_enomem", || {
        let used = (status_kib("VmSize:") as u64) << 10;
        let room = 200 << 20;
        limit(libc::RLIMIT_AS, used + room);
        let n = acquire_until_it_ends();
        let slot_bytes = 11 * page_bytes();
        println!("measured: {n} stacks in {} MiB of address space", room >> 20);
        // The test's own Vec takes 64 MiB; what is left is used up, to the last small slab.
        assert!(n * slot_bytes > 110 << 20, "{n}");
    });
}

#[test]
fn less_address_space_than_a_slab_is_enough_for_a_task() {
    alone("less_address_space_than_a_slab_is_enough_for_a_task", || {
        limit(libc::RLIMIT_AS, ((status_kib("VmSize:") as u64) << 10) + (1 << 20));
        let slot = acquire(SMALL, HEADER).unwrap();
        touch(&slot, 1);
        assert_eq!(acquire(2 << 20, HEADER).unwrap_err(), Errno(libc::ENOMEM));
        touch(&slot, 1);
        free(vec![slot]);
    });
}

/// Memory that mlockall locked takes no markers, and is not dropped by MADV_DONTNEED.
#[test]
fn locked_memory_works_too() {
    alone("locked_memory_works_too", locked);
}

/// The same, but the kind of guard was probed before.
#[test]
fn memory_locked_later_works_too() {
    alone("memory_locked_later_works_too", || {
        free(vec![acquire(SMALL, HEADER).unwrap()]);
        locked();
    });
}

fn locked() {
    // SAFETY: locks this process's memory, present and future.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) } != 0 {
        skip(format_args!("mlockall: {}", std::io::Error::last_os_error()));
        return;
    }
    for _ in 0..2 {
        let slots: Vec<_> = (0..3000).map(|_| acquire(SMALL, HEADER).unwrap()).collect();
        for slot in &slots {
            // SAFETY: the slot is ours.
            let last = unsafe { ((slot.stack_base - 1) as *const u8).read() };
            assert!(!slot.known_zero || last == 0);
            touch(slot, 1);
            assert_eq!(find(slot.stack_limit - 1).unwrap().header, header(slot));
            assert!(!readable(slot.stack_limit - 1), "no guard");
            assert!(!readable(slot.stack_limit - GUARD_BYTES), "no guard");
        }
        free(slots);
    }
    assert_eq!(stats().slots_warm, 1024, "the others could not be dropped");
}

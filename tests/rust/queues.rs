//! The view of the two queues that a ring shares with the kernel, against a kernel that is a few
//! lines of this file: on the same thread, step by step and from fixed seeds, with every index about
//! to wrap; and on another thread. Also under Miri, which sees what no processor shows: an ordering
//! that is too weak.
//!
//! ```text
//! cargo +nightly miri test --test queues
//! ```
//!
//! tests/rust/mutants plants bugs that these tests must find.
#![cfg(not(loom))]

#[path = "../support/rng.rs"]
mod rng;

use monad_async::uring::kernel::{Cqe, Sqe};
use monad_async::uring::queues::{Places, Queues};
use rng::Rng;
use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const STEPS: u32 = if cfg!(miri) { 300 } else { 20_000 };
// Unoptimised, where it is tried what is asserted, a part of them.
const SEEDS: u64 = match (cfg!(miri), cfg!(debug_assertions)) {
    (true, _) => 3,
    (false, true) => 10,
    (false, false) => 50,
};

/// Few enough that the queues are full and empty all the time.
const SQES: u32 = 4;
const CQES: u32 = 8;
/// All indices begin here.
const BEGIN: u32 = u32::MAX - 20;

/// In every place that nobody has written, or whose contents nobody may read any more.
const STALE: u64 = 0xa5a5_a5a5_a5a5_a5a5;

const NEED_WAKEUP: u32 = 1 << 0;
const CQ_OVERFLOW: u32 = 1 << 1;
const TASKRUN: u32 = 1 << 2;

/// The memory of a ring, and the kernel's side of it.
struct Kernel {
    sq_head: AtomicU32,
    sq_tail: AtomicU32,
    sq_flags: AtomicU32,
    cq_head: AtomicU32,
    cq_tail: AtomicU32,
    sqes: [UnsafeCell<Sqe>; SQES as usize],
    cqes: [UnsafeCell<Cqe>; CQES as usize],
}

// SAFETY: the entries are handed over by the words, as those of a ring.
unsafe impl Sync for Kernel {}

impl Kernel {
    fn new() -> Self {
        let word = || AtomicU32::new(BEGIN);
        Self {
            sq_head: word(),
            sq_tail: word(),
            sq_flags: AtomicU32::new(0),
            cq_head: word(),
            cq_tail: word(),
            sqes: std::array::from_fn(|_| UnsafeCell::new(Sqe([STALE; 8]))),
            cqes: std::array::from_fn(|_| UnsafeCell::new(STALE_CQE)),
        }
    }

    fn queues(&self) -> Queues {
        let at = Places {
            sq_head: NonNull::from(&self.sq_head),
            sq_tail: NonNull::from(&self.sq_tail),
            sq_flags: NonNull::from(&self.sq_flags),
            cq_head: NonNull::from(&self.cq_head),
            cq_tail: NonNull::from(&self.cq_tail),
            sqes: NonNull::from(&self.sqes).cast(),
            cqes: NonNull::from(&self.cqes).cast(),
            sq_entries: SQES,
            cq_entries: CQES,
        };
        // SAFETY: of this kernel, which outlives them.
        unsafe { Queues::new(at) }
    }

    /// Entries that it may take.
    fn offered(&self) -> u32 {
        self.sq_tail.load(Acquire).wrapping_sub(self.sq_head.load(Relaxed))
    }

    /// Takes the oldest of those, one at least.
    fn take(&self) -> Sqe {
        let head = self.sq_head.load(Relaxed);
        let at = self.sqes[(head % SQES) as usize].get();
        // SAFETY: offered, so it was written and is left alone until `sq_head` says so.
        let sqe = unsafe { at.replace(Sqe([STALE; 8])) };
        self.sq_head.store(head.wrapping_add(1), Release);
        sqe
    }

    /// Completions that are in the queue.
    fn completed(&self) -> u32 {
        self.cq_tail.load(Relaxed).wrapping_sub(self.cq_head.load(Acquire))
    }

    /// There is room.
    fn complete(&self, cqe: Cqe) {
        let tail = self.cq_tail.load(Relaxed);
        // SAFETY: given back, so nobody reads it until `cq_tail` says so.
        unsafe { self.cqes[(tail % CQES) as usize].get().write(cqe) };
        self.cq_tail.store(tail.wrapping_add(1), Release);
    }

    /// What was given back is not to be read again.
    fn spoil(&self) {
        let (head, tail) = (self.cq_head.load(Acquire), self.cq_tail.load(Relaxed));
        for n in tail.wrapping_sub(head)..CQES {
            let at = self.cqes[(head.wrapping_add(n) % CQES) as usize].get();
            // SAFETY: as in `complete`.
            unsafe { at.write(STALE_CQE) };
        }
    }
}

const STALE_CQE: Cqe = Cqe { user_data: STALE, res: STALE as i32, flags: STALE as u32 };

fn entry(rng: &mut Rng) -> Sqe {
    // Zeros, too: that a word is zero must be written.
    Sqe(std::array::from_fn(|_| rng.next() * u64::from(rng.below(2))))
}

fn push(queues: &Queues, sqe: Sqe) -> bool {
    // SAFETY: refers to no memory.
    unsafe { queues.try_push(sqe) }
}

#[test]
fn entries_arrive_whole_and_in_order() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed, 0);
        let kernel = Kernel::new();
        let queues = kernel.queues();
        // What the kernel has been told of, and what it has not.
        let (mut told, mut pushed) = (VecDeque::new(), VecDeque::new());
        // As many as `queues` knows to be taken.
        let mut known = 0;
        for _ in 0..STEPS {
            match rng.below(6) {
                0..=2 => {
                    let sqe = entry(&mut rng);
                    let full = told.len() + pushed.len() + known == SQES as usize;
                    assert_eq!(push(&queues, sqe), !full);
                    if !full {
                        pushed.push_back(sqe.0);
                    }
                }
                3 => {
                    queues.publish();
                    told.append(&mut pushed);
                }
                4 => {
                    for _ in 0..rng.below(SQES).min(kernel.offered()) {
                        assert_eq!(Some(kernel.take().0), told.pop_front());
                        known += 1;
                    }
                }
                _ => {
                    queues.taken();
                    known = 0;
                }
            }
            assert_eq!(kernel.offered() as usize, told.len(), "told of what was published alone");
            let pending = told.len() + pushed.len() + known;
            assert_eq!(queues.pending() as usize, pending);
            assert_eq!(queues.space() as usize, SQES as usize - pending);
            let head = kernel.sq_head.load(Relaxed).wrapping_sub(known as u32);
            assert_eq!(queues.first_pending(), head);
        }
    }
}

#[test]
fn completions_arrive_whole_once_and_in_order() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed, 1);
        let kernel = Kernel::new();
        let queues = kernel.queues();
        let mut there = VecDeque::new();
        for _ in 0..STEPS {
            match rng.below(4) {
                0 | 1 if kernel.completed() < CQES => {
                    let (user_data, res) = (rng.next(), rng.next() as i32);
                    let cqe = Cqe { user_data, res, flags: rng.next() as u32 };
                    kernel.complete(cqe);
                    there.push_back(cqe);
                }
                2 if rng.one_in(2) => assert_eq!(queues.take(), there.pop_front()),
                2 => {
                    let max = [0, 1, 3, usize::MAX][rng.below(4) as usize];
                    let mut wanted = 0;
                    let taken = queues.take_run(max, |run| {
                        // Up to where the queue ends, at least one.
                        assert!(
                            run.len() <= max && run.is_empty() <= (max == 0 || there.is_empty())
                        );
                        assert!(run.iter().eq(there.iter().take(run.len())));
                        wanted = rng.below(run.len() as u32 + 1) as usize;
                        wanted
                    });
                    assert_eq!(taken, wanted);
                    there.drain(..taken);
                }
                _ => {
                    let max = [0, 1, 3, usize::MAX][rng.below(4) as usize];
                    let before = there.len();
                    let mut n = 0;
                    let count = queues.drain(max, |index, cqe| {
                        assert_eq!((queues.behind(index), Some(cqe)), (n, there.pop_front()));
                        n += 1;
                    });
                    assert_eq!((count, count), (n as usize, before.min(max)));
                }
            }
            assert_eq!(queues.visible() as usize, there.len());
            assert_eq!(
                kernel.completed() as usize,
                there.len(),
                "all that was taken is given back"
            );
            kernel.spoil();
        }
    }
}

#[test]
fn what_waits_inside_the_kernel_is_seen() {
    let kernel = Kernel::new();
    let queues = kernel.queues();
    for flags in 0..8 {
        kernel.sq_flags.store(flags, Relaxed);
        assert_eq!(queues.needs_enter(), flags & (CQ_OVERFLOW | TASKRUN) != 0, "{flags}");
    }
    kernel.sq_flags.store(NEED_WAKEUP, Relaxed);
    assert!(!queues.needs_enter());
}

/// Neither of a copy nor on the way to the kernel.
#[test]
fn no_word_of_an_entry_is_lost() {
    let mut rng = Rng::new(0, 2);
    for _ in 0..100 {
        let sqe = entry(&mut rng);
        let mut expected = sqe.0;
        assert_eq!(sqe.copied().0, expected);
        let (ioprio, user_data) = (rng.next() as u16, rng.next());
        expected[0] = expected[0] & !0xffff_0000 | u64::from(ioprio) << 16;
        expected[4] = user_data;
        assert_eq!(sqe.with(ioprio, user_data).0, expected);
    }
}

/// A kernel that takes and completes whenever it likes: what it reads was written before, what it
/// writes over was read before, and nothing is lost.
#[test]
fn a_kernel_on_another_thread() {
    const COUNT: u64 = if cfg!(miri) { 60 } else { 100_000 };
    let sqe = |n: u64| Sqe(std::array::from_fn(|word| n * 8 + word as u64));
    let kernel = Kernel::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                while kernel.offered() == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(kernel.take().0, sqe(n).0);
                while kernel.completed() == CQES {
                    std::thread::yield_now();
                }
                kernel.complete(Cqe { user_data: n, res: n as i32, flags: !n as u32 });
            }
        });
        let queues = kernel.queues();
        let (mut begun, mut ended) = (0, 0);
        while ended < COUNT {
            while begun < COUNT && push(&queues, sqe(begun)) {
                begun += 1;
            }
            queues.publish();
            let drained = queues.drain(3, |_, cqe| {
                let expected = Cqe { user_data: ended, res: ended as i32, flags: !ended as u32 };
                assert_eq!(cqe, expected);
                ended += 1;
            });
            if drained == 0 {
                std::thread::yield_now();
            }
            queues.taken();
        }
    });
}

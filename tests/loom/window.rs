//! Entries that several threads take by a window while another one shuts it and opens it on others in
//! the same memory, under every interleaving that loom finds for a few threads, at the weakest
//! memory ordering that src/intrusive/window.rs asks for:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release --test loom_window
//! ```
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
use loom::thread;
use monad_async::intrusive::Window;
use std::sync::Arc;

const LEN: usize = 2;

struct World {
    window: Window,
    entries: [AtomicU64; LEN],
    /// What the first of a taker's left behind, told by its second.
    left: UnsafeCell<u64>,
}

// SAFETY: loom watches the cell.
unsafe impl Sync for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            window: Window::new(),
            entries: [AtomicU64::new(0), AtomicU64::new(0)],
            left: UnsafeCell::new(0),
        })
    }

    /// Entries of two digits: which opening, and which one.
    fn open(&self, nth: u64) {
        for (n, entry) in self.entries.iter().enumerate() {
            entry.store(10 * nth + n as u64, Relaxed);
        }
        self.window.open(0, LEN as u32);
    }

    fn take(&self, gone: u32) -> Option<u64> {
        self.window.take(gone, |at| Some(self.entries[at as usize].load(Relaxed)))
    }

    /// Those that nobody has taken.
    fn shut(&self) -> (Vec<u64>, u32) {
        let (next, gone) = self.window.shut();
        (self.entries[next as usize..].iter().map(|e| e.load(Relaxed)).collect(), gone)
    }
}

fn check(f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(f);
}

#[test]
fn each_entry_is_taken_once() {
    check(|| {
        let world = World::new();
        let takers = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || world.take(0))
        });
        world.open(1);
        let (mut all, _) = world.shut();
        all.extend(takers.into_iter().filter_map(|taker| taker.join().unwrap()));
        all.sort_unstable();
        assert_eq!(all, [10, 11]);
    });
}

/// Who has read an entry of the first opening does not take one of the second for it.
#[test]
fn what_was_read_before_it_was_shut_is_forgotten() {
    check(|| {
        let world = World::new();
        world.open(1);
        let taker = {
            let world = world.clone();
            thread::spawn(move || world.take(0))
        };
        let (mut all, _) = world.shut();
        world.open(2);
        all.extend(world.shut().0);
        all.extend(taker.join().unwrap());
        all.sort_unstable();
        assert_eq!(all, [10, 11, 20, 21]);
    });
}

#[test]
fn who_shuts_it_sees_what_is_gone() {
    check(|| {
        let world = World::new();
        world.open(1);
        let taker = {
            let world = world.clone();
            thread::spawn(move || {
                if world.take(0).is_some() {
                    // SAFETY: nobody else looks before it is told.
                    world.left.with_mut(|left| unsafe { *left = 1 });
                    world.take(1);
                }
            })
        };
        let (rest, gone) = world.shut();
        if gone == 1 {
            assert!(rest.is_empty());
            // SAFETY: told of.
            assert_eq!(world.left.with(|left| unsafe { *left }), 1);
        }
        taker.join().unwrap();
    });
}

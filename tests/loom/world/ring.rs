//! Tasks that join each other, as src/executor/join_elsewhere.rs has it: the words, and who asks, are
//! the real ones. What becomes of a join that may wait is `world::join`'s.

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;
use monad_async::task::joins::{ask, Headers, Joined, Joins};
use monad_async::task::state::TaskState;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::words::Words;

struct Member {
    joins: AtomicU64,
    joins_high: AtomicU32,
    words: Words,
}

impl Member {
    fn new() -> Self {
        let (joins, joins_high) = (AtomicU64::new(0), AtomicU32::new(0));
        Self { joins, joins_high, words: Words::fresh() }
    }
}

/// Of a run whose number has the lower bits of the first.
pub const LIKE: u64 = 1 + (1 << 22);

/// All are in their first run at first.
pub struct Ring([Member; 3]);

fn address(task: usize) -> usize {
    (task + 1) << 7
}

impl Headers for Ring {
    fn at(&self, task: usize) -> (Joins<'_>, TaskState<'_>) {
        let Member { joins, joins_high, words } = &self.0[(task >> 7) - 1];
        (Joins { word: joins, high: joins_high }, words.state())
    }
}

impl Ring {
    pub fn new() -> Arc<Self> {
        let ring = Self([0; 3].map(|_| Member::new()));
        (0..3).for_each(|task| ring.begin(task));
        Arc::new(ring)
    }

    fn joined(other: usize, run: u64) -> Joined {
        Joined::new(address(other), run)
    }

    /// The thread of its executor, as the next. A run begins.
    pub fn begin(&self, task: usize) {
        let state = self.at(address(task)).1;
        state.begin(null_mut(), null_mut());
        state.attached();
    }

    pub fn end(&self, task: usize) {
        self.at(address(task)).1.exited();
    }

    /// It is over; another begins whose number has the same lower bits: run [`LIKE`].
    pub fn begin_like(&self, task: usize) {
        self.end(task);
        let state = self.at(address(task)).1;
        state.run.store(LIKE - 1, Relaxed);
        self.begin(task);
    }

    /// A join that need not ask.
    pub fn join_here(&self, task: usize, other: usize) {
        self.join_run_here(task, other, 1);
    }

    pub fn join_run_here(&self, task: usize, other: usize, run: u64) {
        self.at(address(task)).0.set(Self::joined(other, run));
    }

    /// Any thread.
    pub fn joined_by(&self, task: usize) -> Option<Joined> {
        self.at(address(task)).0.get()
    }

    pub fn named(of: Option<(usize, u64)>) -> Option<Joined> {
        of.map(|(other, run)| Self::joined(other, run))
    }

    /// The join was cancelled.
    pub fn leave(&self, task: usize) {
        self.at(address(task)).0.clear();
    }

    /// False: refused. The run of `other` is its first.
    pub fn ask(&self, task: usize, other: usize) -> bool {
        ask(self, address(task), Self::joined(other, 1), thread::yield_now)
    }
}

//! Tasks that join each other, as src/executor/join_elsewhere.rs has it: the words, and who asks, are
//! the real ones. What becomes of a join that may wait is `world::join`'s.

use loom::thread;
use monad_async::task::joins::{ask, Headers, Joined, Joins};
use monad_async::task::state::TaskState;
use std::ptr::null_mut;
use std::sync::Arc;

use super::words::Words;

struct Member {
    joins: Joins,
    words: Words,
}

/// All are in their first run at first.
pub struct Ring([Member; 3]);

fn address(task: usize) -> usize {
    (task + 1) << 7
}

impl Headers for Ring {
    fn at(&self, task: usize) -> (&Joins, TaskState<'_>) {
        let Member { joins, words } = &self.0[(task >> 7) - 1];
        (joins, words.state())
    }
}

impl Ring {
    pub fn new() -> Arc<Self> {
        let ring = Self([0; 3].map(|_| Member { joins: Joins::nobody(), words: Words::fresh() }));
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

    /// A join that need not ask.
    pub fn join_here(&self, task: usize, other: usize) {
        self.at(address(task)).0.set(Self::joined(other, 1));
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

//! The latch of a queue of waiters that many threads use: held for some instructions, never over a
//! suspension, a system call or an allocation. Touches nothing else; the loom models run this code.
//!
//! A closed one says of which process its holder is, so that the child of a fork does not wait for
//! a thread that it does not have.

use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
#[cfg(not(loom))]
use crate::sys::thread::forks;

/// Nobody forks in a model.
#[cfg(loom)]
fn forks() -> u32 {
    1
}

/// Zero is open, so that memory of zeros is a latch.
#[repr(transparent)]
pub struct Latch(AtomicU32);

impl Latch {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    #[inline(always)]
    #[must_use]
    pub fn try_close(&self) -> bool {
        // Acquire: what the last holder wrote.
        self.0.compare_exchange(0, forks(), Acquire, Relaxed).is_ok()
    }

    /// This is the child of a fork, at which another thread held it: nobody opens it here.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        ![0, forks()].contains(&self.0.load(Relaxed))
    }

    /// A hint, which takes the line from nobody.
    pub fn is_closed(&self) -> bool {
        self.0.load(Relaxed) != 0
    }

    /// The holder.
    #[inline(always)]
    pub fn open(&self) {
        // Release: what was written under it.
        self.0.store(0, Release);
    }
}

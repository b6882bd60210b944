//! The latch of a queue of waiters that many threads use: held for some instructions, never over a
//! suspension, a system call or an allocation. Touches nothing else; the loom models run this code.

use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

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
        self.0.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
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

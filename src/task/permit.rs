//! The park word: one permit, or who waits for it. Touches nothing else; the loom models run this
//! code, at the orderings it asks for.
//!
//! ```text
//!  park word:  0        no permit
//!              PERMIT   one permit
//!              record   the task is parked; the thread that takes the record out must wake it
//! ```
//!
//! The owner's thread alone stores a record, and takes it out again, to cancel the park or as its
//! own unpark, by an exchange each; any thread swaps PERMIT in. So exactly one of them takes the
//! record out. Every change after the first is a read-modify-write: what one unpark released stays
//! so when another one follows.

#[cfg(not(loom))]
use core::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
#[cfg(loom)]
use loom::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const NONE: usize = 0;
pub const PERMIT: usize = 1;

#[repr(transparent)]
pub struct Permit(AtomicUsize);

/// The thread of the task's executor.
impl Permit {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicUsize::new(NONE))
    }

    /// Takes the permit. False: there is none.
    pub fn take(&self) -> bool {
        // Acquire: what came before the unpark is visible. Where it is seen not to be there, `arm`
        // is what decides.
        self.0.load(Relaxed) == PERMIT
            && self.0.compare_exchange(PERMIT, NONE, Acquire, Relaxed).is_ok()
    }

    /// There is none, or one is on its way.
    #[inline(always)]
    pub fn is_none(&self) -> bool {
        // Relaxed: who takes one acquires.
        self.0.load(Relaxed) == NONE
    }

    /// Stores the address of a record, whose task is parked from here on. False: there is a permit,
    /// for `take_any`.
    pub fn arm(&self, record: usize) -> bool {
        // Release: the record, to the acquire of `unpark`.
        self.0.compare_exchange(NONE, record, Release, Relaxed).is_ok()
    }

    /// Takes the record out. False: an unpark was faster.
    pub fn disarm(&self, record: usize) -> bool {
        // Relaxed: the record is our own, and tells nobody anything.
        self.0.compare_exchange(record, NONE, Relaxed, Relaxed).is_ok()
    }

    /// At the end of a park: there is one permit at most, however many unparks came until now.
    pub fn take_any(&self) {
        // None for who was woken by its own thread. One that comes after this look is the next
        // park's.
        if self.0.load(Relaxed) != NONE {
            // Acquire: as in `take`.
            self.0.swap(NONE, Acquire);
        }
    }
}

/// Any thread.
impl Permit {
    /// Leaves a permit. Wait-free. The record that it took out, which the caller must wake.
    #[must_use]
    pub fn unpark(&self) -> Option<usize> {
        // Release: what the caller wrote is visible to who takes the permit. Acquire: the record.
        match self.0.swap(PERMIT, AcqRel) {
            NONE | PERMIT => None,
            record => Some(record),
        }
    }
}

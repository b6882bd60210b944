//! The park word: one permit, or who waits for it. Touches nothing else; the loom models run this
//! code, at the orderings it asks for.
//!
//! ```text
//!  park word:  0        no permit
//!              PERMIT   one permit
//!              record   the task is parked; the thread that takes the record out must wake it
//! ```
//!
//! A permit that the owner's thread leaves for a task that is not parked is a byte of that thread's
//! own, which no instruction locks: it and one in the word are one permit.
//!
//! The owner's thread alone stores a record, and takes it out again, to cancel the park or as its
//! own unpark, by an exchange each; any thread swaps PERMIT in. So exactly one of them takes the
//! record out. Every change after the first is a read-modify-write: what one unpark released stays
//! so when another one follows.

#[cfg(not(loom))]
use core::cell::Cell;
#[cfg(loom)]
use loom::cell::Cell;

use crate::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

pub const NONE: usize = 0;
pub const PERMIT: usize = 1;

/// The park word, and that byte, wherever a task's header keeps them.
#[derive(Clone, Copy)]
pub struct Permit<'a> {
    pub word: &'a AtomicUsize,
    pub here: &'a Cell<bool>,
}

/// The thread of the task's executor.
impl Permit<'_> {
    /// Leaves a permit, for a task that is not parked.
    #[inline(always)]
    pub fn leave_here(self) {
        self.here.set(true);
    }

    /// Takes the permit. False: there is none.
    #[inline(always)]
    pub fn take(self) -> bool {
        // It and one that another thread left are one.
        if self.here.get() {
            self.take_any();
            return true;
        }
        // Acquire: what came before the unpark is visible. Where it is seen not to be there, `arm`
        // is what decides.
        self.word.load(Relaxed) == PERMIT
            && self.word.compare_exchange(PERMIT, NONE, Acquire, Relaxed).is_ok()
    }

    /// There is none, or one is on its way.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        // Relaxed: who takes one acquires.
        self.word.load(Relaxed) == NONE && !self.here.get()
    }

    /// Stores the address of a record, whose task is parked from here on. False: there is a permit,
    /// for `take`.
    #[inline(always)]
    pub fn arm(self, record: usize) -> bool {
        // Release: the record, to the acquire of `unpark`.
        self.word.compare_exchange(NONE, record, Release, Relaxed).is_ok()
    }

    /// Takes the record out. False: an unpark was faster.
    #[inline(always)]
    pub fn disarm(self, record: usize) -> bool {
        // Relaxed: the record is our own, and tells nobody anything.
        self.word.compare_exchange(record, NONE, Relaxed, Relaxed).is_ok()
    }

    /// At the end of a park: there is one permit at most, however many unparks came until now.
    #[inline(always)]
    pub fn take_any(self) {
        self.here.set(false);
        // None for who was woken by its own thread. One that comes after this look is the next
        // park's.
        if self.word.load(Relaxed) != NONE {
            // Acquire: as in `take`.
            self.word.swap(NONE, Acquire);
        }
    }

    /// Between two runs: there is none, whoever has left one until now.
    pub fn forget(self) {
        self.here.set(false);
        // An exchange, whatever is there, and Release: who leaves one from here on sees what was
        // written before; see `forget_past`.
        self.word.swap(NONE, Release);
    }
}

/// Any thread.
impl Permit<'_> {
    /// Leaves a permit. Wait-free. The record that it took out, which the caller must wake.
    #[must_use]
    pub fn unpark(self) -> Option<usize> {
        // Release: what the caller wrote is visible to who takes the permit. Acquire: the record.
        match self.word.swap(PERMIT, AcqRel) {
            NONE | PERMIT => None,
            record => Some(record),
        }
    }
}

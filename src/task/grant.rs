//! Who ends a wait: one word of its record. Touches nothing else; the loom models run this code.
//!
//! ```text
//!              claim              grant
//!   ARMED -------------> CLAIMED -------> GRANTED
//!     |      cancel
//!     `----------------> CANCELED
//! ```
//!
//! LOCAL, a bit besides: all that may claim or cancel are of one thread, which waits by no futex.
//!
//! 1. Exactly one of a claim and a cancel succeeds. Who claims gives the waiter what it waited for,
//!    then wakes it: nothing is given to a waiter that was cancelled, and nothing that was given is
//!    lost.
//! 2. Who claims found the record in a queue, under the queue's latch, which publishes the record.
//!    So a claim orders nothing itself.
//! 3. A task learns of the grant by mail. A thread looks at GRANTED, which publishes what it was
//!    given.

use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

const ARMED: u32 = 0;
const CLAIMED: u32 = 1;
const GRANTED: u32 = 2;
const CANCELED: u32 = 3;
const LOCAL: u32 = 1 << 2;

#[repr(transparent)]
pub struct Grant(AtomicU32);

impl Grant {
    #[inline(always)]
    pub fn armed() -> Self {
        Self(AtomicU32::new(ARMED))
    }

    #[inline(always)]
    pub fn armed_here() -> Self {
        Self(AtomicU32::new(ARMED | LOCAL))
    }

    /// A wait that no cancel ends.
    pub fn claimed() -> Self {
        Self(AtomicU32::new(CLAIMED))
    }

    pub fn claimed_here() -> Self {
        Self(AtomicU32::new(CLAIMED | LOCAL))
    }

    /// It was made by one of those `_here`.
    #[inline(always)]
    pub fn is_local(&self) -> bool {
        self.0.load(Relaxed) & LOCAL != 0
    }

    /// ANY THREAD that has found the record in a queue. False: cancelled, or granted by another
    /// queue.
    #[must_use]
    pub fn claim(&self) -> bool {
        // Relaxed, both: rule 2.
        self.0.compare_exchange(ARMED, CLAIMED, Relaxed, Relaxed).is_ok()
    }

    /// As `claim`, of one that is local. False of any other, too.
    #[inline(always)]
    #[must_use]
    pub fn claim_here(&self) -> bool {
        let armed = self.0.load(Relaxed) == ARMED | LOCAL;
        if armed {
            self.0.store(CLAIMED | LOCAL, Relaxed);
        }
        armed
    }

    /// The waiter. False: it has been claimed, and what it waits for is on its way.
    #[must_use]
    pub fn cancel(&self) -> bool {
        // Relaxed, both: the record is our own, and tells nobody anything.
        self.0.compare_exchange(ARMED, CANCELED, Relaxed, Relaxed).is_ok()
    }

    /// As `cancel`, of one that is local.
    #[must_use]
    pub fn cancel_here(&self) -> bool {
        let armed = self.0.load(Relaxed) == ARMED | LOCAL;
        if armed {
            self.0.store(CANCELED | LOCAL, Relaxed);
        }
        armed
    }

    /// A hint, except on the one thread that claims and cancels a local one.
    #[inline(always)]
    pub fn is_armed(&self) -> bool {
        self.0.load(Relaxed) & !LOCAL == ARMED
    }

    /// Who has claimed it, as the last touch: a thread that waits may go on, and the record be
    /// gone.
    pub fn grant(&self) {
        // Release: rule 3.
        self.0.store(GRANTED, Release);
    }

    /// The thread that waits: the word as it is until it is granted.
    pub fn pending(&self) -> Option<u32> {
        // Acquire: rule 3.
        match self.0.load(Acquire) {
            GRANTED => None,
            word => Some(word),
        }
    }

    /// What a futex compares. None: granted.
    #[cfg(not(loom))]
    pub fn futex_word(&self) -> Option<(&AtomicU32, u32)> {
        self.pending().map(|word| (&self.0, word))
    }
}

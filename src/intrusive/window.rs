//! A window on entries in a row: several threads take them one by one, in order, without a lock.
//! Who opens and shuts it has one, and the entries are in memory that is used again.
//!
//! 1. An entry is read before it is taken: it may be another one by then, if the window was shut
//!    meanwhile. Then the word is another, too, for ever (`epoch`), and what was read is forgotten.
//! 2. So what is read is read by atomic loads, and no memory is given back while somebody may read.
//! 3. Who takes one tells with it how many are gone of those that it took before.
//!
//! ```text
//!   63   epoch   32 31   gone   16 15   end   8 7   next   0     next = end: it is shut, or empty
//! ```

use crate::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// So many entries at most.
pub const LEN_MAX: u32 = 0xff;
/// So many are told to be gone at a time, at most: with each entry of a window that many fit.
pub const GONE_MAX: u32 = 0xff;
/// Others were first so often: the lock is for who waits its turn.
const TRIES: u32 = 4;

const END: u32 = 8;
const GONE: u32 = 16;
const EPOCH: u32 = 32;

pub struct Window(AtomicU64);

#[inline(always)]
fn next_of(word: u64) -> u32 {
    (word & 0xff) as u32
}

impl Window {
    /// One that is shut.
    #[allow(clippy::new_without_default)]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Under the lock; it is shut. On those from `next` to before `end`.
    pub fn open(&self, next: u32, end: u32) {
        debug_assert!(next < end && end <= LEN_MAX);
        // Relaxed: nobody else changes one that is shut.
        let epoch = (self.0.load(Relaxed) >> EPOCH).wrapping_add(1) << EPOCH;
        // Release: the entries, to the acquire of `take`.
        self.0.store(epoch | u64::from(end) << END | u64::from(next), Release);
    }

    /// Under the lock. The next entry that nobody has taken, and how many are gone.
    pub fn shut(&self) -> (u32, u32) {
        // Relaxed: the epoch is the last holder's of the lock.
        let shut = self.0.load(Relaxed) >> EPOCH << EPOCH;
        // Acquire: what takers have read is read before it is written again, by the release of
        // `take`; and what they wrote before they told of it.
        let word = self.0.swap(shut, Acquire);
        (next_of(word), (word >> GONE & 0xffff) as u32)
    }

    /// ANY THREAD. What `read` gives of the next entry, which is the caller's; so many that it took
    /// before are `gone`. None, and nothing is told: `read` gave none, or there is nothing to take.
    #[inline(always)]
    pub fn take<T>(&self, gone: u32, mut read: impl FnMut(u32) -> Option<T>) -> Option<T> {
        debug_assert!(gone <= GONE_MAX);
        for _ in 0..TRIES {
            // Acquire: the entries, by the release of `open`.
            let word = self.0.load(Acquire);
            let next = next_of(word);
            if next == (word >> END & 0xff) as u32 {
                return None;
            }
            let entry = read(next)?;
            let taken = word + 1 + (u64::from(gone) << GONE);
            // Release: it was read before this (rule 1), and what is gone is over. Relaxed: what
            // was read is forgotten.
            if self.0.compare_exchange(word, taken, Release, Relaxed).is_ok() {
                return Some(entry);
            }
        }
        None
    }
}

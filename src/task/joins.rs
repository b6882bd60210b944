//! Whom a task joins: two words of its header, which any thread may read and follow from task to
//! task. So of tasks that would join each other in a ring, on whatever executors, exactly one is
//! refused. Touches nothing else; the loom models run this code, at the orderings it asks for.
//!
//! ```text
//! word:  0                                   nobody
//!        run << 42 | address >> 6 | ASKS     that run of the task at that address
//! high:  run >> 22                           the rest of that number, written before the word
//! ```
//!
//! Headers start at multiples of 128, below 2^48, and are never unmapped. Of the number of a run 54
//! bits are kept: those of a header that the kernel forgot differ in the upper half alone.
//!
//! Rules:
//!
//! 1. The thread of a task's executor alone writes its word: before the task waits, and 0 once it
//!    goes on, or has been told not to wait. So a word is out of date only where the run that it
//!    names is over, whose task joins nobody until its next run has begun.
//! 2. Who may be waited for by the one that it is about to join, through executors of others,
//!    **asks**: it writes its word with ASKS, then (fence) follows the words, then takes ASKS out
//!    and waits, or is refused. Of those that would close a ring the last to write sees the words
//!    of all others, which came before its fence.
//! 3. Several that ask at once may see the ring. Of these the one at the highest address is
//!    refused; any other looks again until that one has decided. Whose word has no ASKS waits.
//! 4. Who joins a task of its own executor need not ask, if the chain from there ends on that
//!    executor at a task that joins nobody: that one joins later, by the same thread. In a ring of
//!    several executors the last of those that so follow each other asks, and its fence shows the
//!    words of all.

use super::state::{Run, TaskState};
use crate::atomic::{
    fence, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// Its task has not decided yet: rule 3.
const ASKS: u64 = 1;
const ADDRESS_SHIFT: u32 = 6;
const RUN_SHIFT: u32 = 42;

/// How far a chain of tasks that join each other is followed.
pub const CHAIN_MAX: usize = 64;

/// A run of a task, for who joins it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    word: u64,
    high: u32,
}

impl Joined {
    #[inline(always)]
    pub fn new(task: usize, run: Run) -> Self {
        debug_assert!(task.is_multiple_of(128) && task >> 48 == 0);
        let word = run << RUN_SHIFT | task as u64 >> ADDRESS_SHIFT;
        Self { word, high: (run >> (64 - RUN_SHIFT)) as u32 }
    }

    pub fn task(self) -> usize {
        ((self.word & ((1 << RUN_SHIFT) - 1) & !ASKS) << ADDRESS_SHIFT) as usize
    }

    fn asks(self) -> bool {
        self.word & ASKS != 0
    }

    /// No later run has begun; `state` is that of the task. Where the run is over, the task joins
    /// nobody.
    pub fn is_last_of(self, state: TaskState<'_>) -> bool {
        Self::new(self.task(), state.run()) == Self { word: self.word & !ASKS, ..self }
    }
}

/// The words of a task, wherever its header keeps them.
#[derive(Clone, Copy)]
pub struct Joins<'a> {
    pub word: &'a AtomicU64,
    pub high: &'a AtomicU32,
}

impl Joins<'_> {
    /// Any thread. None, too, where it changes meanwhile: who joins later looks for itself.
    #[inline]
    pub fn get(self) -> Option<Joined> {
        // Acquire: of a later run of its task, which who reads it has to see.
        let word = self.word.load(Acquire);
        // Acquire: where it is that of a later join, the word shows below that this one is over.
        let high = self.high.load(Acquire);
        let is_whole = (self.word.load(Relaxed) ^ word) & !ASKS == 0;
        (word != 0 && is_whole).then_some(Joined { word, high })
    }

    /// The task's thread (rule 1), as the next.
    #[inline(always)]
    pub fn set(self, other: Joined) {
        // Release, both: as in `get`.
        self.high.store(other.high, Release);
        self.word.store(other.word, Release);
    }

    #[inline(always)]
    pub fn clear(self) {
        // Relaxed: who sees it late has looked early.
        self.word.store(0, Relaxed);
    }
}

/// Finds what threads share of a task by its address.
pub trait Headers {
    fn at(&self, task: usize) -> (Joins<'_>, TaskState<'_>);
}

/// Rules 2 and 3, by the thread of the task at `me`. True: its word says that it joins `other`, and
/// it is to wait. False: it would wait for itself, and joins nobody. `wait` gives another thread
/// time.
pub fn ask(headers: &impl Headers, me: usize, other: Joined, mut wait: impl FnMut()) -> bool {
    let joins = headers.at(me).0;
    joins.set(Joined { word: other.word | ASKS, ..other });
    // See rule 2.
    fence(SeqCst);
    let mut seen = false;
    loop {
        match look(headers, me, other) {
            Chain::Ends => {
                joins.set(other);
                return true;
            }
            // Another look: of what it saw one may have been told not to wait, before the next that
            // it saw began to.
            Chain::Ring if !seen => seen = true,
            Chain::Ring => {
                joins.clear();
                return false;
            }
            Chain::Undecided => wait(),
        }
    }
}

enum Chain {
    Ends,
    /// It comes back.
    Ring,
    /// The same, and another one of it may be refused.
    Undecided,
}

fn look(headers: &impl Headers, me: usize, other: Joined) -> Chain {
    let (mut next, mut ring) = (other, Chain::Ring);
    for _ in 0..CHAIN_MAX {
        let task = next.task();
        let (joins, state) = headers.at(task);
        // In this order: the word is of that run, or of one before it, whose joins are over.
        let joined = joins.get();
        let Some(joined) = joined.filter(|_| next.is_last_of(state)) else { return Chain::Ends };
        if joined.asks() && task > me {
            ring = Chain::Undecided;
        }
        if joined.task() == me {
            return if joined.is_last_of(headers.at(me).1) { ring } else { Chain::Ends };
        }
        next = joined;
    }
    Chain::Ends
}

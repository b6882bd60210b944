//! Tasks that other threads want an executor to look at: a set of at most 64, with a flag for more,
//! which are marked where the task lies (`stack::asked`). What is wanted stands in each task's
//! header, so that a task is a name here, and may be an old one. Touches nothing else; the loom
//! models run this code.
//!
//! ```text
//!  a bit of claimed, ready:   0 0   free
//!                             1 0   a poster writes the place
//!                             1 1   the owner may read it
//! ```
//!
//! 1. A poster claims a place by its bit, writes it, then sets the bit in `ready` (release). The
//!    owner takes all of `ready` (acquire), reads, then frees the claims (release, to the acquire
//!    of the next claim).
//! 2. No place free: the task is marked, then `overflowed` set, and the owner looks at all that are
//!    marked. It clears the flag before it looks. Marks are everybody's: it leaves those of tasks
//!    that another executor has yet to look at, and takes away those that are about nothing any
//!    more; if that has become wrong in between, it asks that executor once more ([`look_at`]).
//! 3. A poster then notifies the owner's inbox, which orders all of this before the owner's look.

use core::array;
#[cfg(not(loom))]
use core::cell::Cell;
use core::ffi::c_void;
#[cfg(loom)]
use loom::cell::Cell;

use super::state::TaskState;
use crate::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(not(loom))]
pub(crate) const PLACES: usize = 64;
/// So that a model runs out of them.
#[cfg(loom)]
pub(crate) const PLACES: usize = 1;

const NO_PLACE: u64 = if PLACES == 64 { 0 } else { !((1 << (PLACES % 64)) - 1) };

pub struct Requests {
    claimed: AtomicU64,
    ready: AtomicU64,
    overflowed: AtomicBool,
    /// A poster's from its claim until it is ready, then the owner's until the claim is freed (rule
    /// 1).
    places: [Cell<usize>; PLACES],
}

// SAFETY: rule 1 hands each place from one thread to the next.
unsafe impl Sync for Requests {}

impl Requests {
    pub fn new() -> Self {
        Self {
            claimed: AtomicU64::new(NO_PLACE),
            ready: AtomicU64::new(0),
            overflowed: AtomicBool::new(false),
            places: array::from_fn(|_| Cell::new(0)),
        }
    }

    /// ANY THREAD. Lock-free: no more tries than there are places; then `mark` marks the task.
    pub fn add(&self, task_address: usize, mark: impl FnOnce()) {
        let mut claimed = self.claimed.load(Relaxed);
        while claimed != u64::MAX {
            let place = claimed.trailing_ones() as usize;
            // Acquire: rule 1, the owner has read what was there.
            let before = self.claimed.fetch_or(1 << place, Acquire);
            if before & 1 << place == 0 {
                self.places[place].set(task_address);
                // Release: rule 1.
                self.ready.fetch_or(1 << place, Release);
                return;
            }
            claimed = before;
        }
        mark();
        // Release: the mark, and what the task's header says, come first. A swap, as a store would
        // end the release of another poster's, whose task the owner then may look at too early.
        self.overflowed.swap(true, Release);
    }

    /// The owner. Calls `each` with the tasks that were added. False: there were more, marked.
    #[must_use]
    pub fn take(&self, mut each: impl FnMut(usize)) -> bool {
        // Relaxed: what the notification that was taken came with is seen (rule 3), and most come
        // with none.
        let is_any = self.ready.load(Relaxed) != 0;
        // Acquire: rule 1.
        let ready = if is_any { self.ready.swap(0, Acquire) } else { 0 };
        let mut left = ready;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            each(self.places[place].get());
        }
        if ready != 0 {
            // Release: rule 1.
            self.claimed.fetch_and(!ready, Release);
        }
        // Acquire: rule 2; who finds no place after this sets it again. Relaxed: as above.
        !(self.overflowed.load(Relaxed) && self.overflowed.swap(false, Acquire))
    }
}

/// What the owner is to do with a task that it has found marked.
#[must_use]
pub enum Marked {
    /// Another executor's, which will look at it; or nobody wants anything any more.
    Nothing,
    /// A run that is attached here is to be cancelled.
    Cancel,
    /// The executor of this mailbox is to be asked again.
    AskAgain(*mut c_void),
}

/// The owner, of a task that it has found marked; `unmark` takes the mark away.
pub fn look_at(state: TaskState<'_>, executor: *mut c_void, unmark: impl FnOnce()) -> Marked {
    if !state.is_attached_to(executor) && state.cancel_asked().is_some() {
        return Marked::Nothing;
    }
    unmark();
    if state.take_cancel(executor) {
        return Marked::Cancel;
    }
    state.cancel_asked().map_or(Marked::Nothing, Marked::AskAgain)
}

impl Default for Requests {
    fn default() -> Self {
        Self::new()
    }
}

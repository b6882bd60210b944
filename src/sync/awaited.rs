//! Who waits for a checked mutex, on whatever executor or thread: so a cycle of locks is seen where
//! its owners are of several. For debugging: one list of the process, behind one lock.
//!
//! 1. A record is put into the list with the latch of its mutex closed, when no cycle would close:
//!    so of those that would close one, the last sees the records of all others.
//! 2. It is taken out by who waited, once it goes on. Its mutex lives until then.
//! 3. Whose mutex it is by then waits for nobody, though its record is still there.

use core::cell::Cell;
use core::ptr;

use crate::atomic::{AtomicUsize, MutexGuard, Ordering};
use crate::sys::fork::{ForkLock, Watch};

/// On the stack of who waits.
pub struct Awaits {
    /// `Caller::identity`
    who: usize,
    /// The mutex's.
    owner: *const AtomicUsize,
    next: Cell<*const Awaits>,
}

/// The record that was put in last.
struct Last(*const Awaits);

// SAFETY: records are touched behind the lock alone.
unsafe impl Send for Last {}

static ALL: ForkLock<Last> = ForkLock::new(Last(ptr::null()));
static WATCH: Watch = Watch::new();

extern "C" fn before_fork() {
    ALL.hold();
}

extern "C" fn in_parent() {
    ALL.let_go(|_| {});
}

/// They are the parent's.
extern "C" fn in_child() {
    ALL.let_go(|last| last.0 = ptr::null());
}

/// All that wait, behind the lock.
pub struct Awaited(MutexGuard<'static, Last>);

impl Awaited {
    pub fn close() -> Self {
        WATCH.ensure(before_fork, in_parent, in_child);
        Self(ALL.lock())
    }

    /// Whose the mutex is that `who` waits for.
    pub fn owner_for(&self, who: usize) -> Option<usize> {
        let mut at = self.0 .0;
        // SAFETY: records in the list, and their mutexes, are alive (rule 2).
        while let Some(record) = unsafe { at.as_ref() } {
            if record.who == who {
                // SAFETY: as above. Relaxed: a number to compare with.
                let owner = unsafe { &*record.owner }.load(Ordering::Relaxed);
                return (owner != who).then_some(owner); // Rule 3.
            }
            at = record.next.get();
        }
        None
    }

    /// # Safety
    /// It stays in place until `take_out`.
    pub unsafe fn put_in(&mut self, record: &Awaits) {
        record.next.set(self.0 .0);
        self.0 .0 = record;
    }

    fn take_out(&mut self, record: &Awaits) {
        let mut before: Option<&Awaits> = None;
        let mut at = self.0 .0;
        // SAFETY: as in `owner_for`.
        while let Some(other) = unsafe { at.as_ref() } {
            if ptr::eq(other, record) {
                match before {
                    Some(before) => before.next.set(other.next.get()),
                    None => self.0 .0 = other.next.get(),
                }
                return;
            }
            before = Some(other);
            at = other.next.get();
        }
    }
}

impl Awaits {
    pub fn new(who: usize, owner: &AtomicUsize) -> Self {
        Self { who, owner, next: Cell::new(ptr::null()) }
    }

    /// It may never have been in, or have been the parent's of this process.
    pub fn take_out(&self) {
        Awaited::close().take_out(self);
    }
}

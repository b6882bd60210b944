//! Who waits for a checked mutex, on whatever executor or thread: so a cycle of locks is seen where
//! its owners are of several. For debugging: one list of the process, behind one lock.
//!
//! 1. A record is put into the list with the latch of its mutex closed, when no cycle would close:
//!    so of those that would close one, the last sees the records of all others.
//! 2. It is taken out by who waited, once it goes on. Its mutex lives until then.
//! 3. Whose mutex it is by then waits for nobody, though its record is still there.
//! 4. Nothing is held over a fork, before which others may call whatever they like: the child, in
//!    which nobody waits, has a list of its own.

use core::cell::{Cell, UnsafeCell};
use core::fmt;
use core::ptr;
use std::sync::PoisonError;

use crate::atomic::{AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::sys::fork::Watch;
use crate::task::header::TaskRef;
use crate::task::named::Kept;

/// Who waits, or owns, by its identity: what is said of it.
#[derive(Clone, Copy)]
pub enum Who {
    Task(Kept),
    Thread,
}

impl Who {
    /// On the thread of the task's executor.
    pub fn of(identity: usize) -> Self {
        match identity & 1 {
            // SAFETY: of a task; headers are never unmapped.
            0 => Self::Task(Kept::of(unsafe { TaskRef::from_head(identity as *const _) })),
            _ => Self::Thread,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => task.fmt(f),
            Self::Thread => f.write_str("a thread"),
        }
    }
}

/// On the stack of who waits.
pub struct Awaits {
    /// `Caller::identity`
    identity: usize,
    who: Who,
    /// The mutex's.
    owner: *const AtomicUsize,
    next: Cell<*const Awaits>,
}

/// The record that was put in last.
struct Last(*const Awaits);

// SAFETY: records are touched behind the lock alone.
unsafe impl Send for Last {}

struct All(UnsafeCell<Mutex<Last>>);

// SAFETY: a mutex, but for `in_child`.
unsafe impl Sync for All {}

static ALL: All = All(UnsafeCell::new(Mutex::new(Last(ptr::null()))));
static WATCH: Watch = Watch::new();

extern "C" fn outside() {}

/// Whoever held it is the parent's, and so are the records.
extern "C" fn in_child() {
    // SAFETY: the child's only thread, which holds no guard: it would be in a call of ours.
    unsafe { ALL.0.get().write(Mutex::new(Last(ptr::null()))) }
}

/// All that wait, behind the lock.
pub struct Awaited(MutexGuard<'static, Last>);

impl Awaited {
    pub fn close() -> Self {
        WATCH.ensure(outside, outside, in_child);
        // SAFETY: written in a child alone, before anybody has it there.
        let all = unsafe { &*ALL.0.get() };
        Self(all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, identity: usize) -> Option<&Awaits> {
        let mut at = self.0 .0;
        // SAFETY: records in the list, and their mutexes, are alive (rule 2).
        while let Some(record) = unsafe { at.as_ref() } {
            if record.identity == identity {
                return Some(record);
            }
            at = record.next.get();
        }
        None
    }

    /// Whose the mutex is that this one waits for.
    pub fn owner_for(&self, identity: usize) -> Option<usize> {
        // SAFETY: as in `of`. Relaxed: a number to compare with.
        let owner = unsafe { &*self.of(identity)?.owner }.load(Ordering::Relaxed);
        (owner != identity).then_some(owner) // Rule 3.
    }

    /// What is said of one that waits.
    pub fn who(&self, identity: usize) -> Option<Who> {
        self.of(identity).map(|record| record.who)
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
        // SAFETY: as in `of`.
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
    /// On the thread of the task's executor.
    pub fn new(identity: usize, owner: &AtomicUsize) -> Self {
        Self { identity, who: Who::of(identity), owner, next: Cell::new(ptr::null()) }
    }

    /// It may never have been in, or have been the parent's of this process.
    pub fn take_out(&self) {
        Awaited::close().take_out(self);
    }
}

//! Whose a queue is: of which process, and what its owner wants to be known of it.

use core::ffi::c_void;
use core::ptr;

use super::queue::Queue;
use super::Executor;
use crate::atomic::{
    AtomicBool, AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::error::{Errno, Res};
use crate::sys::thread;
use crate::uring::kernel::Kernel;

/// What is hardly ever written: a line that everybody has.
#[repr(align(128))]
pub(super) struct Fixed {
    /// `thread::forks` of the process that the queue is of.
    forks: AtomicU32,
    note: AtomicPtr<c_void>,
    /// A hint: the queue's intake is open.
    pub(super) parts: AtomicBool,
}

impl Fixed {
    pub(super) const fn new() -> Self {
        Self {
            forks: AtomicU32::new(0),
            note: AtomicPtr::new(ptr::null_mut()),
            parts: AtomicBool::new(false),
        }
    }
}

impl Queue {
    /// The calling process's from now on.
    pub(super) fn adopt(&self) {
        self.fixed.forks.store(thread::forks(), Relaxed);
        self.set_note(ptr::null_mut());
    }

    /// ANY THREAD. False in the child of a fork, where another thread may hold the lock for ever.
    pub fn is_of_this_process(&self) -> bool {
        self.fixed.forks.load(Relaxed) == thread::forks()
    }

    pub(super) fn check_process(&self) -> Res<()> {
        if self.is_of_this_process() {
            Ok(())
        } else {
            Err(Errno(libc::EPERM))
        }
    }

    /// ANY THREAD. One worker more, whose thread is about to be made.
    pub fn add_worker(&self) {
        self.lock().workers += 1;
    }

    /// ANY THREAD. How many threads of workers there are.
    pub fn workers(&self) -> usize {
        self.lock().workers
    }

    /// ANY THREAD. What `note_of_queue` gives in tasks that are put in from now on.
    pub fn set_note(&self, note: *mut c_void) {
        // Release: what it points to.
        self.fixed.note.store(note, Release);
    }
}

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD. The note of the queue that feeds it; null: without a queue, or a note.
    pub(crate) fn note_of_queue(&self) -> *mut c_void {
        // SAFETY: null, or a queue, and they are never freed.
        let queue = unsafe { self.fed_by.get().as_ref() };
        // Acquire: pairs with `set_note`.
        queue.map_or(ptr::null_mut(), |queue| queue.fixed.note.load(Acquire))
    }
}

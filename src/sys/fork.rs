//! What a fork must not break: locks of ours that another thread holds at that moment, which nobody
//! would ever unlock in the child, and the child's idea of what belongs to it.
//!
//! Holds for `fork` of the C library, which calls who asked to be called; a bare `clone` tells
//! nobody.

use core::cell::UnsafeCell;
use std::sync::PoisonError;

use crate::atomic::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering};

/// A mutex that is held over every fork, so that the child finds it free and what it guards whole.
/// Its holder takes no other lock and does not fork.
pub struct ForkLock<T: 'static> {
    mutex: Mutex<T>,
    /// The thread that forks, while it does.
    held: UnsafeCell<Option<MutexGuard<'static, T>>>,
    /// That thread; 0: none. It may be asked to hold the lock a second time: see `Watch`.
    holder: AtomicUsize,
}

// SAFETY: `held` is touched by who has the mutex locked, alone.
unsafe impl<T: Send> Sync for ForkLock<T> {}

impl<T> ForkLock<T> {
    pub const fn new(value: T) -> Self {
        Self { mutex: Mutex::new(value), held: UnsafeCell::new(None), holder: AtomicUsize::new(0) }
    }

    /// What it guards is never left half changed: a panic of its holder does not matter.
    pub fn lock(&'static self) -> MutexGuard<'static, T> {
        self.mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before the fork.
    pub fn hold(&'static self) {
        if self.is_held_here() {
            return;
        }
        let guard = self.lock();
        // SAFETY: locked, by us.
        unsafe { *self.held.get() = Some(guard) };
        self.holder.store(this_thread(), Ordering::Relaxed);
    }

    /// Relaxed: its own store a thread sees, and what others store is not it.
    fn is_held_here(&self) -> bool {
        self.holder.load(Ordering::Relaxed) == this_thread()
    }

    /// After it, in parent and child; what `inside` does, it does under the lock.
    pub(crate) fn let_go(&'static self, inside: impl FnOnce(&mut T)) {
        if !self.is_held_here() {
            return;
        }
        self.holder.store(0, Ordering::Relaxed);
        // SAFETY: locked, by us, since `hold`.
        if let Some(mut guard) = unsafe { (*self.held.get()).take() } {
            inside(&mut guard);
        }
    }
}

/// Among threads that are alive; the same in the child.
fn this_thread() -> usize {
    // SAFETY: no preconditions.
    unsafe { libc::pthread_self() as usize }
}

/// Functions to call at every fork, from some moment on. Without a lock: the child of a fork that
/// met another thread at this moment would wait for it for ever. So threads that come at once have
/// them called twice at every fork, which `ForkLock` bears.
pub struct Watch(AtomicBool);

impl Watch {
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn ensure(
        &self,
        before: extern "C" fn(),
        in_parent: extern "C" fn(),
        in_child: extern "C" fn(),
    ) {
        if !self.0.load(Ordering::Acquire) {
            watch(before, in_parent, in_child);
            self.0.store(true, Ordering::Release);
        }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls `before` before every fork, then one of the others, all on the thread that forks. For once
/// a process. ENOMEM is nobody's business: without memory for it, a fork is as it would be without
/// us.
pub fn watch(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) {
    let [before, in_parent, in_child] =
        [before, in_parent, in_child].map(|f| f as unsafe extern "C" fn());
    // SAFETY: the handlers are safe functions that live as long as we do: `dlclose` removes them.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    static LOCK: ForkLock<u32> = ForkLock::new(0);

    extern "C" fn before() {
        LOCK.hold();
    }

    extern "C" fn after() {
        LOCK.let_go(|forks| *forks += 1);
    }

    /// As two threads do that come at once.
    #[test]
    fn a_fork_that_is_watched_twice_finds_the_lock_free() {
        for watch in [Watch::new(), Watch::new()] {
            watch.ensure(before, after, after);
            watch.ensure(before, after, after);
        }
        for forks in 1..4 {
            // SAFETY: the child takes a lock and exits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let code = (LOCK.mutex.try_lock().is_ok_and(|n| *n == forks)) as i32;
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(code) };
            }
            let mut status = 0;
            // SAFETY: the child's status is written to where one is kept.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 1));
            assert_eq!(*LOCK.lock(), forks);
        }
    }
}

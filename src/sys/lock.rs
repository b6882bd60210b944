//! A lock for what is held for some instructions, never over a panic: the futex mutex of the
//! standard library (U. Drepper, "Futexes Are Tricky", the third), without its note of panics. That
//! costs each side of a hand-over a line and a dozen instructions.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use super::futex;
use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

const OPEN: u32 = 0;
const HELD: u32 = 1;
/// And somebody sleeps until it is open, or may do so.
const AWAITED: u32 = 2;

/// Looks at a lock that is held, before a sleep.
const TRIES: u32 = 6;

#[repr(C)]
pub struct Lock<T> {
    word: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: one thread at a time has the value, which may be any.
unsafe impl<T: Send> Sync for Lock<T> {}

/// The lock is open again when this is dropped.
#[must_use]
pub struct Guard<'a, T>(&'a Lock<T>, PhantomData<&'a mut T>);

impl<T> Lock<T> {
    pub const fn new(value: T) -> Self {
        Self { word: AtomicU32::new(OPEN), value: UnsafeCell::new(value) }
    }

    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        if !self.try_close() {
            self.await_open();
        }
        Guard(self, PhantomData)
    }

    #[inline(always)]
    fn try_close(&self) -> bool {
        // Acquire: what the last holder wrote.
        self.word.compare_exchange(OPEN, HELD, Acquire, Relaxed).is_ok()
    }

    #[cold]
    #[inline(never)]
    fn await_open(&self) {
        // Held for some instructions: looking again for a moment is less than a sleep. More and
        // more seldom, as each look takes the line from who holds it.
        for n in 0..TRIES {
            (0..1 << n).for_each(|_| core::hint::spin_loop());
            if self.try_close() {
                return;
            }
        }
        // Acquire: as above. Who has slept cannot know whether others do still.
        while self.word.swap(AWAITED, Acquire) != OPEN {
            futex::wait(&self.word, AWAITED, None);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_one(&self) {
        futex::wake(self.word.as_ptr() as usize);
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: held by this.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: what was written under it.
        if self.0.word.swap(OPEN, Release) == AWAITED {
            self.0.wake_one();
        }
    }
}

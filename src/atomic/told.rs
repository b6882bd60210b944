//! The atomics and locks of the standard library, of which ThreadSanitizer is told: see `atomic`.

use core::ops::{Deref, DerefMut};
use core::ptr;
use core::sync::atomic::{self as plain};
pub use core::sync::atomic::{fence, Ordering};
use std::sync::{self, LockResult, PoisonError, TryLockError};

use crate::sys::tsan;

// In line, down to a relaxed load: a task that has ended makes no call, as operations in flight may
// lie on its stack (`executor::next`).
#[inline(always)]
fn acquired<T>(of: &T, order: Ordering) {
    if !matches!(order, Ordering::Relaxed | Ordering::Release) {
        tsan::acquire(of);
    }
}

#[inline(always)]
fn releases<T>(of: &T, order: Ordering) {
    if !matches!(order, Ordering::Relaxed | Ordering::Acquire) {
        tsan::release(of);
    }
}

macro_rules! atomic {
    ($name:ident $(<$t:ident>)?, $of:ty) => {
        #[derive(Debug)]
        #[repr(transparent)]
        pub struct $name $(<$t>)? (plain::$name $(<$t>)?);

        impl $(<$t>)? $name $(<$t>)? {
            pub const fn new(value: $of) -> Self {
                Self(plain::$name::new(value))
            }

            #[inline(always)]
            pub fn load(&self, order: Ordering) -> $of {
                let value = self.0.load(order);
                acquired(self, order);
                value
            }

            #[inline(always)]
            pub fn store(&self, value: $of, order: Ordering) {
                releases(self, order);
                self.0.store(value, order);
            }

            /// A release that nobody is told of, and no call.
            #[inline(always)]
            pub fn store_untold(&self, value: $of) {
                self.0.store(value, Ordering::Release);
            }

            pub fn swap(&self, value: $of, order: Ordering) -> $of {
                self.change(order, |word| word.swap(value, order))
            }

            pub fn compare_exchange(
                &self,
                current: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                releases(self, success);
                let result = self.0.compare_exchange(current, new, success, failure);
                acquired(self, if result.is_ok() { success } else { failure });
                result
            }

            pub fn compare_exchange_weak(
                &self,
                current: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                self.compare_exchange(current, new, success, failure)
            }

            pub fn fetch_update(
                &self,
                set: Ordering,
                fetch: Ordering,
                f: impl FnMut($of) -> Option<$of>,
            ) -> Result<$of, $of> {
                releases(self, set);
                let result = self.0.fetch_update(set, fetch, f);
                acquired(self, if result.is_ok() { set } else { fetch });
                result
            }

            pub fn get_mut(&mut self) -> &mut $of {
                self.0.get_mut()
            }

            pub fn into_inner(self) -> $of {
                self.0.into_inner()
            }

            pub const fn as_ptr(&self) -> *mut $of {
                self.0.as_ptr()
            }

            /// # Safety
            /// As of the standard library's.
            pub const unsafe fn from_ptr<'a>(at: *mut $of) -> &'a Self {
                // SAFETY: the caller's; `Self` is the word.
                unsafe { &*at.cast() }
            }

            fn change(
                &self,
                order: Ordering,
                f: impl FnOnce(&plain::$name $(<$t>)?) -> $of,
            ) -> $of {
                releases(self, order);
                let before = f(&self.0);
                acquired(self, order);
                before
            }
        }
    };
}

macro_rules! number {
    ($name:ident, $of:ty: $($change:ident)*) => {
        atomic!($name, $of);

        impl $name {
            $(pub fn $change(&self, value: $of, order: Ordering) -> $of {
                self.change(order, |word| word.$change(value, order))
            })*
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(Default::default())
            }
        }
    };
}

number!(AtomicBool, bool: fetch_and fetch_or);
number!(AtomicU8, u8: fetch_add fetch_sub fetch_and fetch_or);
number!(AtomicU16, u16: fetch_add fetch_sub);
number!(AtomicU32, u32: fetch_add fetch_sub fetch_and fetch_or fetch_max);
number!(AtomicI32, i32: fetch_add fetch_sub);
number!(AtomicU64, u64: fetch_add fetch_sub fetch_and fetch_or fetch_max);
number!(AtomicUsize, usize: fetch_add fetch_sub fetch_and fetch_or fetch_max);
atomic!(AtomicPtr<T>, *mut T);

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        Self::new(ptr::null_mut())
    }
}

#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

/// Tells of an unlock, right before it.
#[derive(Debug)]
struct Unlocks<'a, T>(&'a Mutex<T>);

impl<T> Drop for Unlocks<'_, T> {
    fn drop(&mut self) {
        releases(self.0, Ordering::Release);
    }
}

/// As the standard library's. Its fields are dropped in this order.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    unlocks: Unlocks<'a, T>,
    guard: sync::MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        Ok(self.locked(self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError<()>> {
        self.0.try_lock().map(|guard| self.locked(guard)).map_err(|_| TryLockError::WouldBlock)
    }

    fn locked<'a>(&'a self, guard: sync::MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        acquired(self, Ordering::Acquire);
        MutexGuard { unlocks: Unlocks(self), guard }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    pub const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    pub fn wait<'a, T>(&self, held: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let MutexGuard { unlocks, guard } = held;
        let of = unlocks.0;
        drop(unlocks);
        Ok(of.locked(self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)))
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

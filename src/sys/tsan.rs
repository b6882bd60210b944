//! What ThreadSanitizer is told: see `atomic`.

use core::ffi::c_void;

extern "C" {
    /// The sanitizer's interface. A program that links this build links ThreadSanitizer.
    fn __tsan_acquire(at: *mut c_void);
    fn __tsan_release(at: *mut c_void);
}

/// What came before `release` of this address comes before what follows.
pub fn acquire<T>(at: &T) {
    // SAFETY: the address is a name.
    unsafe { __tsan_acquire(core::ptr::from_ref(at).cast_mut().cast()) };
}

pub fn release<T>(at: &T) {
    // SAFETY: the address is a name.
    unsafe { __tsan_release(core::ptr::from_ref(at).cast_mut().cast()) };
}

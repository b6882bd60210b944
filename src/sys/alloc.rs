//! Memory from the global allocator, with ENOMEM instead of an abort where it ends.

use core::alloc::Layout;

use crate::error::{Errno, Res};

/// Zeros.
///
/// # Safety
/// They are a `T`.
pub(crate) unsafe fn try_zeroed<T>() -> Res<Box<T>> {
    const { assert!(size_of::<T>() != 0) };
    // SAFETY: not a zero-sized layout.
    let at = unsafe { std::alloc::alloc_zeroed(Layout::new::<T>()) }.cast::<T>();
    if at.is_null() {
        return Err(Errno(libc::ENOMEM));
    }
    // SAFETY: fresh memory of T's layout, a T by the caller's word.
    Ok(unsafe { Box::from_raw(at) })
}

/// `Box::new` that can fail.
pub(crate) fn try_box<T>(value: T) -> Res<Box<T>> {
    const { assert!(size_of::<T>() != 0) };
    // SAFETY: not a zero-sized layout.
    let at = unsafe { std::alloc::alloc(Layout::new::<T>()) }.cast::<T>();
    if at.is_null() {
        return Err(Errno(libc::ENOMEM));
    }
    // SAFETY: fresh memory of T's layout, from the allocator that Box frees to.
    unsafe {
        at.write(value);
        Ok(Box::from_raw(at))
    }
}

//! Memory from the global allocator, with ENOMEM instead of an abort where it ends.

use core::alloc::Layout;
use std::ffi::{CStr, CString};

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

/// `CStr::to_owned` that can fail.
pub(crate) fn try_copy(text: &CStr) -> Res<CString> {
    let bytes = text.to_bytes_with_nul();
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| Errno(libc::ENOMEM))?;
    copy.extend_from_slice(bytes);
    // SAFETY: as in `text`: one zero, at its end.
    Ok(unsafe { CString::from_vec_with_nul_unchecked(copy) })
}

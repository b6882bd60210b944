//! remote.h: check, one call into `api`, map the result.

use core::ptr::NonNull;

use super::task::TaskPtr;
use super::ExecutorPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult, Res};
use crate::executor::reference::Reference;

/// `monad_async_remote`
pub(super) type RemotePtr = *mut Reference;

const EINVAL: Errno = Errno(libc::EINVAL);

/// # Safety
/// `remote` is null or a reference that the caller holds.
pub(super) unsafe fn reference<'a>(remote: RemotePtr) -> Res<&'a Reference> {
    // SAFETY: the caller's.
    unsafe { remote.as_ref() }.ok_or(EINVAL)
}

/// # Safety
/// See remote.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_acquire(
    ex: ExecutorPtr,
    remote: *mut RemotePtr,
) -> RawResult {
    // SAFETY: the caller's handle.
    let ex = match unsafe { Handle::from_ptr(ex) } {
        Ok(ex) if !remote.is_null() => ex,
        _ => return RawResult::failure(EINVAL),
    };
    ex.reference()
        .map(|reference| {
            // SAFETY: not null, and the caller's to write.
            unsafe { *remote = reference.as_ptr() };
            0
        })
        .into()
}

/// # Safety
/// See remote.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_retain(remote: RemotePtr) -> RemotePtr {
    // SAFETY: the caller's reference.
    if let Ok(reference) = unsafe { reference(remote) } {
        reference.retain();
    }
    remote
}

/// # Safety
/// See remote.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_release(remote: RemotePtr) {
    if let Some(reference) = NonNull::new(remote) {
        // SAFETY: the caller's reference, given up.
        unsafe { Reference::release(reference) };
    }
}

/// # Safety
/// See remote.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_attach(remote: RemotePtr, task: TaskPtr) -> RawResult {
    // SAFETY: the caller's reference and handle.
    unsafe { reference(remote).and_then(|remote| remote.attach(api::task(task)?)) }
        .map(|()| 0)
        .into()
}

/// # Safety
/// See remote.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_cancel(remote: RemotePtr, task: TaskPtr) -> RawResult {
    // SAFETY: the caller's reference and handle.
    unsafe { reference(remote).and_then(|remote| remote.cancel(api::task(task)?)) }
        .map(|()| 0)
        .into()
}

/// # Safety
/// See remote.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_remote_wake(remote: RemotePtr) -> RawResult {
    // SAFETY: the caller's reference.
    unsafe { reference(remote) }.and_then(Reference::wake).map(|()| 0).into()
}

//! op.h: check, one call into `api`, map the result.

use super::task::TaskPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult};
use crate::reactor::operation::Op;
use crate::uring::RealKernel;

const EINVAL: RawResult = RawResult::failure(Errno(libc::EINVAL));

/// # Safety
/// See op.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_op_begin(task: TaskPtr, op: *mut Op) -> RawResult {
    // SAFETY: the caller's handle and record.
    if let (Ok(task), Some(op)) = unsafe { (api::task(task), op.as_ref()) } {
        // SAFETY: the record, and what its entry refers to, are the caller's to keep.
        if unsafe { Handle::<RealKernel>::begin_at_once(task, op) } {
            return RawResult::success(0);
        }
    }
    // SAFETY: the caller's.
    unsafe { begin(task, op) }
}

/// `monad_async_op_begin` of what does not begin at once, or not at all: what needs a frame.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn begin(task: TaskPtr, op: *mut Op) -> RawResult {
    // SAFETY: the caller's handle and record.
    match unsafe { (api::task(task), op.as_ref()) } {
        (Ok(task), Some(op)) => {
            // SAFETY: the record, and what its entry refers to, are the caller's to keep.
            let begun = unsafe { Handle::<RealKernel>::begin_operation(task, op) };
            begun.map(|()| 0).into()
        }
        _ => EINVAL,
    }
}

/// # Safety
/// See op.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_op_wait(task: TaskPtr, op: *mut Op) -> RawResult {
    // SAFETY: the caller's handle and record.
    match unsafe { (api::task(task), op.as_ref()) } {
        (Ok(task), Some(op)) => Handle::<RealKernel>::wait_operation(task, op),
        _ => EINVAL,
    }
}

/// # Safety
/// See op.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_op_wait_any(task: TaskPtr, op: *mut *mut Op) -> RawResult {
    // SAFETY: the caller's handle.
    if let (Ok(task), false) = (unsafe { api::task(task) }, op.is_null()) {
        if let Some(taken) = Handle::<RealKernel>::take_any(task) {
            // SAFETY: not null, and the caller's to write.
            unsafe { *op = taken.as_ptr() };
            return RawResult::success(0);
        }
    }
    // SAFETY: the caller's.
    unsafe { wait_any(task, op) }
}

/// `monad_async_op_wait_any` where none has ended that is plain: what needs a frame.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn wait_any(task: TaskPtr, op: *mut *mut Op) -> RawResult {
    // SAFETY: the caller's handle.
    let task = match unsafe { api::task(task) } {
        Ok(task) if !op.is_null() => task,
        _ => return EINVAL,
    };
    Handle::<RealKernel>::wait_any(task)
        .map(|taken| {
            // SAFETY: the caller's.
            unsafe { *op = taken.as_ptr() };
            0
        })
        .into()
}

/// # Safety
/// See op.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_op_end(task: TaskPtr, op: *mut Op) -> RawResult {
    // SAFETY: the caller's handle and record.
    match unsafe { (api::task(task), op.as_ref()) } {
        (Ok(task), Some(op)) => Handle::<RealKernel>::end_operation(task, op).map(|()| 0).into(),
        _ => EINVAL,
    }
}

/// # Safety
/// See op.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_op_cancel(task: TaskPtr, op: *mut Op) -> RawResult {
    // SAFETY: the caller's handle and record.
    match unsafe { (api::task(task), op.as_ref()) } {
        (Ok(task), Some(op)) => Handle::<RealKernel>::cancel_operation(task, op).map(|()| 0).into(),
        _ => EINVAL,
    }
}

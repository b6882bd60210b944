//! op.h: check, one call into `api`, map the result.

use super::task::TaskPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult};
use crate::reactor::operation::Op;
use crate::task::header::TaskRef;
use crate::uring::RealKernel;

const EINVAL: RawResult = RawResult::failure(Errno(libc::EINVAL));

/// # Safety
/// See op.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_op_begin(task: TaskPtr, op: *mut Op) -> RawResult {
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
    let task = match unsafe { api::task(task) } {
        Ok(task) if !op.is_null() => task,
        _ => return EINVAL,
    };
    let Some(taken) = Handle::<RealKernel>::take_any(task) else {
        // SAFETY: not null, and the caller's to write.
        return unsafe { wait_any(task, op) };
    };
    // SAFETY: as above.
    unsafe { *op = taken.as_ptr() };
    RawResult::default()
}

/// The rest of `monad_async_op_wait_any`: what needs a frame.
///
/// # Safety
/// `op` is the caller's to write.
#[inline(never)]
unsafe fn wait_any(task: TaskRef, op: *mut *mut Op) -> RawResult {
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

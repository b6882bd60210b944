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
    Handle::<RealKernel>::wait_any(task)
        .map(|taken| {
            // SAFETY: not null, and the caller's to write.
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

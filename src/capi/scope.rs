//! scope.h: check, one call into `api`, map the result.

use super::task::TaskPtr;
use crate::api::{self, Handle};
use crate::error::RawResult;
use crate::executor::scope::Scope;
use crate::uring::RealKernel;

/// # Safety
/// See scope.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_scope_enter(
    task: TaskPtr,
    scope: *mut Scope,
    timeout_ns: u64,
    flags: u32,
) -> RawResult {
    // SAFETY: the caller's handle, and memory that stays.
    unsafe {
        api::task(task)
            .and_then(|task| Handle::<RealKernel>::enter_scope(task, scope, timeout_ns, flags))
    }
    .map(|()| 0)
    .into()
}

/// # Safety
/// See scope.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_scope_leave(task: TaskPtr, scope: *mut Scope) -> RawResult {
    // SAFETY: the caller's handle and scope.
    unsafe { api::task(task).and_then(|task| Handle::<RealKernel>::leave_scope(task, scope)) }
        .map(isize::from)
        .into()
}

/// # Safety
/// See scope.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_scope_cancel(scope: *mut Scope) -> RawResult {
    // SAFETY: the caller's scope.
    unsafe { Handle::<RealKernel>::cancel_scope(scope) }.map(|()| 0).into()
}

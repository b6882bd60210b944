//! scope.h: check, one call into `api`, map the result.

use super::task::TaskPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult};
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
    let entered = unsafe {
        api::task(task)
            .and_then(|task| Handle::<RealKernel>::enter_scope(task, scope, timeout_ns, flags))
    };
    match entered {
        Ok(()) => RawResult::success(0),
        Err(e) => RawResult::failure_by_call(e),
    }
}

/// # Safety
/// See scope.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_scope_leave(task: TaskPtr, scope: *mut Scope) -> RawResult {
    // SAFETY: the caller's handle and scope.
    match unsafe { api::task(task).and_then(|task| Handle::<RealKernel>::leave_scope(task, scope)) }
    {
        Ok(fired) => RawResult::success(fired.into()),
        Err(e) => not_left(task, scope, e),
    }
}

/// # Safety
/// See scope.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_scope_cancel(scope: *mut Scope) -> RawResult {
    // SAFETY: the caller's scope.
    unsafe { Handle::<RealKernel>::cancel_scope(scope) }.map(|()| 0).into()
}

/// With what it does not need, which so stays where the caller has it.
#[cold]
#[inline(never)]
extern "C" fn not_left(_: TaskPtr, _: *const Scope, e: Errno) -> RawResult {
    RawResult::failure_by_call(e)
}

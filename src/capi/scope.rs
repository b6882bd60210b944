//! scope.h: check, one call into `api`, map the result.

use core::hint::black_box;

use super::task::TaskPtr;
use crate::api::{self, Handle};
use crate::error::{Errno, RawResult};
use crate::executor::scope::Scope;
use crate::uring::RealKernel;

/// The function of this name begins a line of the cache: in the middle of one, an empty scope took
/// a cycle more. It lies in a section of its own, which is as aligned as the most aligned of what
/// is in it; and what is in it before the function is nothing.
macro_rules! begins_line {
    ($name:literal) => {
        #[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
        core::arch::global_asm!(
            concat!(".pushsection .text.", $name, ",\"ax\",@progbits"),
            ".p2align 6",
            ".popsection",
        );
    };
}

begins_line!("monad_async_scope_enter");
begins_line!("monad_async_scope_leave");

const EINVAL: Errno = Errno(libc::EINVAL);

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
        let entered = api::task(task)
            .is_ok_and(|task| Handle::<RealKernel>::enters_alone(task, scope, timeout_ns, flags));
        match entered {
            true => RawResult::success(0),
            false => enter(task, scope, timeout_ns, flags),
        }
    }
}

/// `monad_async_scope_enter` of any scope. Not in there, so that what is most frequent is two lines
/// of the cache, and its jumps are short.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn enter(
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
        // By more than a jump: those of the checks come here then, and are short.
        Err(_) => not_left(task, scope, black_box(EINVAL)),
    }
}

/// # Safety
/// See scope.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_scope_cancel(scope: *mut Scope) -> RawResult {
    // SAFETY: the caller's scope.
    unsafe { Handle::<RealKernel>::cancel_scope(scope) }.map(|()| 0).into()
}

/// What is wrong with a call of `monad_async_scope_leave`, asked once more: so one of which nothing
/// is makes room for no error. `otherwise`: nothing but the scope.
#[cold]
#[inline(never)]
extern "C" fn not_left(task: TaskPtr, _: *const Scope, otherwise: Errno) -> RawResult {
    // SAFETY: the caller's handle.
    let running = unsafe { api::task(task) }.and_then(Handle::<RealKernel>::running);
    RawResult::failure_by_call(running.err().unwrap_or(otherwise))
}

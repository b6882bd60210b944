//! What the objects of `sync` have in common at the border.

use super::task::TaskPtr;
use crate::api;
use crate::error::{Errno, RawResult, Res};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::uring::RealKernel;

/// # Safety
/// Null, or the caller's object, which stays.
#[inline(always)]
pub(super) unsafe fn object<'a, T>(object: *mut T) -> Res<&'a T> {
    // SAFETY: the caller's.
    unsafe { object.as_ref() }.ok_or(Errno(libc::EINVAL))
}

/// Calls `f` for the running task, or the thread if that is null.
///
/// # Safety
/// The caller's handle and object, or null.
#[inline(always)]
pub(super) unsafe fn with<T>(
    task: TaskPtr,
    at: *mut T,
    f: impl FnOnce(&Caller<'_, RealKernel>, &T) -> Res<isize>,
) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { both(task, at) } {
        Ok((caller, object)) => f(&caller, object).into(),
        Err(e) => RawResult::failure(e),
    }
}

/// What `with` calls `f` with, for those that are not to be called.
///
/// # Safety
/// As `with`.
#[inline(always)]
pub(super) unsafe fn both<'a, T>(
    task: TaskPtr,
    at: *mut T,
) -> Res<(Caller<'a, RealKernel>, &'a T)> {
    // SAFETY: the caller's.
    let object = unsafe { object(at) }?;
    // SAFETY: the caller's.
    Ok((unsafe { api::caller(task) }?, object))
}

/// As `both`, of a task that runs here: what is so most often, without a call. None: it is not, or
/// is a mistake, and `both` says which.
///
/// # Safety
/// As `with`.
#[inline(always)]
pub(super) unsafe fn running<'a, T>(
    task: TaskPtr,
    at: *mut T,
) -> Option<(Caller<'a, RealKernel>, &'a T)> {
    if task.is_null() {
        return None;
    }
    // SAFETY: the caller's.
    unsafe { both(task, at) }.ok()
}

/// Calls `f` with the mailbox of the executor that runs here.
///
/// # Safety
/// The caller's object, or null.
#[inline(always)]
pub(super) unsafe fn of<T>(
    at: *mut T,
    f: impl FnOnce(Option<&'static Mailbox>, &T) -> Res<isize>,
) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { object(at) } {
        Ok(object) => f(api::here::<RealKernel>(), object).into(),
        Err(e) => RawResult::failure(e),
    }
}

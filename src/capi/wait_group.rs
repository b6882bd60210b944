//! wait_group.h: check, one call into `sync`, map the result.

use super::sync::{of, with};
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::wait_group::WaitGroup;
use crate::sync::{Local, Shared};
use crate::uring::RealKernel;

/// `monad_async_wait_group`
type SharedWaitGroup = WaitGroup<Shared>;

/// `monad_async_local_wait_group`
type LocalWaitGroup = WaitGroup<Local>;
/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_wait_group_add(
    w: *mut SharedWaitGroup,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(w, |here, w| w.add(here, count).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_wait_group_done(
    w: *mut SharedWaitGroup,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(w, |here, w| w.done::<RealKernel>(here, count).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_wait_group_wait(
    task: TaskPtr,
    w: *mut SharedWaitGroup,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, w, |caller, w| w.wait(caller, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_wait_group_wait_until(
    task: TaskPtr,
    w: *mut SharedWaitGroup,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, w, |caller, w| w.wait(caller, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_wait_group_add(
    w: *mut LocalWaitGroup,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(w, |here, w| w.add(here, count).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_wait_group_done(
    w: *mut LocalWaitGroup,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(w, |here, w| w.done::<RealKernel>(here, count).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_wait_group_wait(
    task: TaskPtr,
    w: *mut LocalWaitGroup,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, w, |caller, w| w.wait(caller, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See wait_group.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_wait_group_wait_until(
    task: TaskPtr,
    w: *mut LocalWaitGroup,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, w, |caller, w| w.wait(caller, boot_ns).map(|()| 0)) }
}

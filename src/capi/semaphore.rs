//! semaphore.h: check, one call into `sync`, map the result.

use super::sync::{of, with};
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::semaphore::Semaphore;
use crate::sync::{Local, Shared};
use crate::uring::RealKernel;

/// `monad_async_semaphore`
type SharedSemaphore = Semaphore<Shared>;

/// `monad_async_local_semaphore`
type LocalSemaphore = Semaphore<Local>;
/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_semaphore_acquire(
    task: TaskPtr,
    s: *mut SharedSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, s, |caller, s| s.acquire(caller, count, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_semaphore_acquire_until(
    task: TaskPtr,
    s: *mut SharedSemaphore,
    count: u64,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, s, |caller, s| s.acquire(caller, count, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_semaphore_try_acquire(
    s: *mut SharedSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(s, |here, s| s.try_acquire(here, count).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_semaphore_release(
    s: *mut SharedSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(s, |here, s| s.release::<RealKernel>(here, count).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_semaphore_acquire(
    task: TaskPtr,
    s: *mut LocalSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, s, |caller, s| s.acquire(caller, count, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_semaphore_acquire_until(
    task: TaskPtr,
    s: *mut LocalSemaphore,
    count: u64,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, s, |caller, s| s.acquire(caller, count, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_semaphore_try_acquire(
    s: *mut LocalSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(s, |here, s| s.try_acquire(here, count).map(|()| 0)) }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_semaphore_release(
    s: *mut LocalSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(s, |here, s| s.release::<RealKernel>(here, count).map(|()| 0)) }
}

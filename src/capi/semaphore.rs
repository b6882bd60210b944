//! semaphore.h: check, one call into `sync`, map the result.

use super::sync::{both, object, of, running};
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::semaphore::Semaphore;
use crate::sync::{Local, Shared, Side};
use crate::uring::RealKernel;

/// `monad_async_semaphore`
type SharedSemaphore = Semaphore<Shared>;

/// `monad_async_local_semaphore`
type LocalSemaphore = Semaphore<Local>;

/// # Safety
/// The caller's handle and object.
#[inline(always)]
unsafe fn acquire<S: Side>(
    task: TaskPtr,
    s: *mut Semaphore<S>,
    count: u64,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { running(task, s) } {
        Some((caller, s)) => s.acquire(&caller, count, boot_ns),
        // SAFETY: the caller's.
        None => unsafe { acquire_otherwise(task, s, count, boot_ns) },
    }
}

/// # Safety
/// As `acquire`.
#[cold]
#[inline(never)]
unsafe extern "C" fn acquire_otherwise<S: Side>(
    task: TaskPtr,
    s: *mut Semaphore<S>,
    count: u64,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { both(task, s) } {
        Ok((caller, s)) => s.acquire(&caller, count, boot_ns),
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// The caller's object.
#[inline(always)]
unsafe fn release<S: Side>(s: *mut Semaphore<S>, count: u64) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { object(s) } {
        Ok(s) => s.release::<RealKernel>(count),
        Err(e) => RawResult::failure_by_call(e),
    }
}

/// # Safety
/// See semaphore.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_semaphore_acquire(
    task: TaskPtr,
    s: *mut SharedSemaphore,
    count: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { acquire(task, s, count, NEVER_NS) }
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
    unsafe { acquire(task, s, count, boot_ns) }
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
    unsafe { release(s, count) }
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
    unsafe { acquire(task, s, count, NEVER_NS) }
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
    unsafe { acquire(task, s, count, boot_ns) }
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
    unsafe { release(s, count) }
}

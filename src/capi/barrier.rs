//! barrier.h: check, one call into `sync`, map the result.

use super::sync::with;
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::barrier::Barrier;
use crate::sync::{Local, Shared};

/// `monad_async_barrier`
type SharedBarrier = Barrier<Shared>;

/// `monad_async_local_barrier`
type LocalBarrier = Barrier<Local>;
/// # Safety
/// See barrier.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_barrier_wait(
    task: TaskPtr,
    b: *mut SharedBarrier,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, b, |caller, b| b.wait(caller, NEVER_NS).map(isize::from)) }
}

/// # Safety
/// See barrier.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_barrier_wait_until(
    task: TaskPtr,
    b: *mut SharedBarrier,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, b, |caller, b| b.wait(caller, boot_ns).map(isize::from)) }
}

/// # Safety
/// See barrier.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_barrier_wait(
    task: TaskPtr,
    b: *mut LocalBarrier,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, b, |caller, b| b.wait(caller, NEVER_NS).map(isize::from)) }
}

/// # Safety
/// See barrier.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_barrier_wait_until(
    task: TaskPtr,
    b: *mut LocalBarrier,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, b, |caller, b| b.wait(caller, boot_ns).map(isize::from)) }
}

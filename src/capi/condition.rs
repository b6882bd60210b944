//! condition.h: check, one call into `sync`, map the result.

use super::mutex::{LocalMutex, SharedMutex};
use super::sync::{object, of, with};
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::condition::Condition;
use crate::sync::{Local, Shared};
use crate::uring::RealKernel;

/// `monad_async_condition`
type SharedCondition = Condition<Shared>;

/// `monad_async_local_condition`
type LocalCondition = Condition<Local>;
/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_condition_wait(
    task: TaskPtr,
    c: *mut SharedCondition,
    mutex: *mut SharedMutex,
) -> RawResult {
    // SAFETY: the caller's handle and objects.
    unsafe { with(task, c, |caller, c| c.wait(caller, object(mutex)?, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_condition_wait_until(
    task: TaskPtr,
    c: *mut SharedCondition,
    mutex: *mut SharedMutex,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and objects.
    unsafe { with(task, c, |caller, c| c.wait(caller, object(mutex)?, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_condition_notify_one(c: *mut SharedCondition) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(c, |here, c| c.notify::<RealKernel>(here, 1).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_condition_notify_all(c: *mut SharedCondition) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(c, |here, c| c.notify::<RealKernel>(here, usize::MAX).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_condition_wait(
    task: TaskPtr,
    c: *mut LocalCondition,
    mutex: *mut LocalMutex,
) -> RawResult {
    // SAFETY: the caller's handle and objects.
    unsafe { with(task, c, |caller, c| c.wait(caller, object(mutex)?, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_condition_wait_until(
    task: TaskPtr,
    c: *mut LocalCondition,
    mutex: *mut LocalMutex,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and objects.
    unsafe { with(task, c, |caller, c| c.wait(caller, object(mutex)?, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_condition_notify_one(
    c: *mut LocalCondition,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(c, |here, c| c.notify::<RealKernel>(here, 1).map(|()| 0)) }
}

/// # Safety
/// See condition.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_condition_notify_all(
    c: *mut LocalCondition,
) -> RawResult {
    // SAFETY: the caller's object.
    unsafe { of(c, |here, c| c.notify::<RealKernel>(here, usize::MAX).map(|()| 0)) }
}

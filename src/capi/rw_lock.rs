//! rw_lock.h: check, one call into `sync`, map the result.

use super::sync::with;
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::executor::scope::NEVER_NS;
use crate::sync::rw_lock::Access::{Read, Write};
use crate::sync::rw_lock::RwLock;
use crate::sync::{Local, Shared};

/// `monad_async_rw_lock`
type SharedRwLock = RwLock<Shared>;

/// `monad_async_local_rw_lock`
type LocalRwLock = RwLock<Local>;
/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_lock_shared(
    task: TaskPtr,
    l: *mut SharedRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Read, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_lock_shared_until(
    task: TaskPtr,
    l: *mut SharedRwLock,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Read, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_try_lock_shared(
    task: TaskPtr,
    l: *mut SharedRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.try_lock(caller, Read).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_unlock_shared(
    task: TaskPtr,
    l: *mut SharedRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.unlock(caller, Read).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_lock(
    task: TaskPtr,
    l: *mut SharedRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Write, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_lock_until(
    task: TaskPtr,
    l: *mut SharedRwLock,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Write, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_try_lock(
    task: TaskPtr,
    l: *mut SharedRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.try_lock(caller, Write).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_rw_lock_unlock(
    task: TaskPtr,
    l: *mut SharedRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.unlock(caller, Write).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_lock_shared(
    task: TaskPtr,
    l: *mut LocalRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Read, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_lock_shared_until(
    task: TaskPtr,
    l: *mut LocalRwLock,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Read, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_try_lock_shared(
    task: TaskPtr,
    l: *mut LocalRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.try_lock(caller, Read).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_unlock_shared(
    task: TaskPtr,
    l: *mut LocalRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.unlock(caller, Read).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_lock(
    task: TaskPtr,
    l: *mut LocalRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Write, NEVER_NS).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_lock_until(
    task: TaskPtr,
    l: *mut LocalRwLock,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.lock(caller, Write, boot_ns).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_try_lock(
    task: TaskPtr,
    l: *mut LocalRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.try_lock(caller, Write).map(|()| 0)) }
}

/// # Safety
/// See rw_lock.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_rw_lock_unlock(
    task: TaskPtr,
    l: *mut LocalRwLock,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, l, |caller, l| l.unlock(caller, Write).map(|()| 0)) }
}

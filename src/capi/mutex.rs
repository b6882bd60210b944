//! mutex.h: check, one call into `sync`, map the result.

use super::sync::{both, running, with};
use super::task::TaskPtr;
use crate::error::RawResult;
use crate::error::{Errno, Res};
use crate::executor::scope::NEVER_NS;
use crate::sync::mutex::{Mutex, CHECKED};
use crate::sync::Side;
use crate::sync::{Local, Shared};

/// `monad_async_mutex`
pub(super) type SharedMutex = Mutex<Shared>;

/// `monad_async_local_mutex`
pub(super) type LocalMutex = Mutex<Local>;

/// # Safety
/// `m` is null, or memory for a mutex that nobody uses.
unsafe fn init<S: Side>(m: *mut Mutex<S>, flags: u32) -> RawResult {
    let init = || -> Res<isize> {
        if m.is_null() || flags & !CHECKED != 0 {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: the caller's; zeros are an unlocked one.
        unsafe {
            m.write_bytes(0, 1);
            (*m).set_flags(flags);
        }
        Ok(0)
    };
    init().into()
}

/// # Safety
/// The caller's handle and object.
#[inline(always)]
unsafe fn lock<S: Side>(task: TaskPtr, m: *mut Mutex<S>, boot_ns: u64) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { running(task, m) } {
        Some((caller, m)) => m.lock(&caller, boot_ns),
        // SAFETY: the caller's.
        None => unsafe { lock_otherwise(task, m, boot_ns) },
    }
}

/// # Safety
/// As `lock`.
#[cold]
#[inline(never)]
unsafe extern "C" fn lock_otherwise<S: Side>(
    task: TaskPtr,
    m: *mut Mutex<S>,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { both(task, m) } {
        Ok((caller, m)) => m.lock(&caller, boot_ns),
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// The caller's handle and object.
#[inline(always)]
unsafe fn unlock<S: Side>(task: TaskPtr, m: *mut Mutex<S>) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { running(task, m) } {
        Some((caller, m)) => m.unlock(&caller),
        // SAFETY: the caller's.
        None => unsafe { unlock_otherwise(task, m) },
    }
}

/// # Safety
/// As `unlock`.
#[cold]
#[inline(never)]
unsafe extern "C" fn unlock_otherwise<S: Side>(task: TaskPtr, m: *mut Mutex<S>) -> RawResult {
    // SAFETY: the caller's.
    match unsafe { both(task, m) } {
        Ok((caller, m)) => m.unlock(&caller),
        Err(e) => RawResult::failure(e),
    }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_mutex_init(m: *mut SharedMutex, flags: u32) -> RawResult {
    // SAFETY: null, or the caller's memory, which nobody uses.
    unsafe { init(m, flags) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_mutex_lock(task: TaskPtr, m: *mut SharedMutex) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { lock(task, m, NEVER_NS) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_mutex_lock_until(
    task: TaskPtr,
    m: *mut SharedMutex,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { lock(task, m, boot_ns) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_mutex_try_lock(
    task: TaskPtr,
    m: *mut SharedMutex,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, m, |caller, m| m.try_lock(caller).map(|()| 0)) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_mutex_unlock(task: TaskPtr, m: *mut SharedMutex) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { unlock(task, m) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_mutex_init(m: *mut LocalMutex, flags: u32) -> RawResult {
    // SAFETY: null, or the caller's memory, which nobody uses.
    unsafe { init(m, flags) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_mutex_lock(
    task: TaskPtr,
    m: *mut LocalMutex,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { lock(task, m, NEVER_NS) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_mutex_lock_until(
    task: TaskPtr,
    m: *mut LocalMutex,
    boot_ns: u64,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { lock(task, m, boot_ns) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_mutex_try_lock(
    task: TaskPtr,
    m: *mut LocalMutex,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { with(task, m, |caller, m| m.try_lock(caller).map(|()| 0)) }
}

/// # Safety
/// See mutex.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_local_mutex_unlock(
    task: TaskPtr,
    m: *mut LocalMutex,
) -> RawResult {
    // SAFETY: the caller's handle and object.
    unsafe { unlock(task, m) }
}

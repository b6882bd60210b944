//! inspect.h and task_local.h: check, one call into `api`, map the result.

use core::ffi::{c_char, c_void};

use super::task::TaskPtr;
use super::ExecutorPtr;
use crate::api::{self, inspect, Handle};
use crate::error::{Errno, RawResult};
use crate::task::annex::{TaskLocal, NAME_BYTES};
use crate::uring::RealKernel;

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_set_name(
    task: TaskPtr,
    text: *const c_char,
) -> RawResult {
    // SAFETY: the caller's handle and text.
    unsafe { api::task(task).and_then(|task| Handle::<RealKernel>::set_task_name(task, text)) }
        .map(|()| 0)
        .into()
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_name(
    task: TaskPtr,
    buffer: *mut c_char,
    bytes: usize,
) -> usize {
    // SAFETY: the caller's handle.
    let task = unsafe { api::task(task) };
    let name = task.ok().and_then(Handle::<RealKernel>::task_name);
    // SAFETY: the caller's buffer.
    unsafe { write(name.map_or([0; NAME_BYTES / 8], |name| name.words()), buffer, bytes) }
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_set_name(
    ex: ExecutorPtr,
    text: *const c_char,
) -> RawResult {
    // SAFETY: the caller's handle and text.
    unsafe { Handle::from_ptr(ex).and_then(|ex| ex.set_name(text)) }.map(|()| 0).into()
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_name(
    ex: ExecutorPtr,
    buffer: *mut c_char,
    bytes: usize,
) -> usize {
    // SAFETY: the caller's handle and buffer.
    unsafe {
        let name = Handle::from_ptr(ex).map(|ex| ex.executor().name().words());
        write(name.unwrap_or([0; NAME_BYTES / 8]), buffer, bytes)
    }
}

/// With a zero behind; its length, whatever fits.
///
/// # Safety
/// `bytes` may be written at `buffer`.
unsafe fn write(words: [u64; NAME_BYTES / 8], buffer: *mut c_char, bytes: usize) -> usize {
    let name = words.map(u64::to_ne_bytes);
    let name = name.as_flattened();
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_BYTES);
    if bytes != 0 && !buffer.is_null() {
        let fits = length.min(bytes - 1);
        // SAFETY: the caller's.
        unsafe {
            core::ptr::copy_nonoverlapping(name.as_ptr().cast(), buffer, fits);
            *buffer.add(fits) = 0;
        }
    }
    length
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_stack_bounds(
    task: TaskPtr,
    low: *mut *mut c_void,
    high: *mut *mut c_void,
) -> RawResult {
    // SAFETY: the caller's handle.
    match unsafe { api::task(task) } {
        Ok(task) if !low.is_null() && !high.is_null() => {
            let bounds = inspect::stack_bounds(task);
            // SAFETY: not null, and the caller's to write.
            unsafe { (*low, *high) = (bounds.0 as *mut c_void, bounds.1 as *mut c_void) };
            RawResult::success(0)
        }
        _ => RawResult::failure(Errno(libc::EINVAL)),
    }
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_stack_used(task: TaskPtr) -> RawResult {
    // SAFETY: the caller's handle.
    let used = unsafe { api::task(task) }.and_then(inspect::stack_used);
    used.map(|bytes| bytes as isize).into()
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_backtrace(
    task: TaskPtr,
    pcs: *mut *mut c_void,
    count: usize,
) -> RawResult {
    // SAFETY: the caller's handle.
    let Ok(task) = (unsafe { api::task(task) }) else {
        return RawResult::failure(Errno(libc::EINVAL));
    };
    if pcs.is_null() && count != 0 {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    let pcs = match count {
        0 => &mut [],
        // SAFETY: the caller's array, of words.
        _ => unsafe { core::slice::from_raw_parts_mut(pcs.cast::<usize>(), count) },
    };
    Handle::<RealKernel>::backtrace(task, pcs).map(|count| count as isize).into()
}

/// # Safety
/// See task_local.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_local_find(
    task: TaskPtr,
    key: *const c_void,
) -> *mut TaskLocal {
    // SAFETY: the caller's handle.
    let task = unsafe { api::task(task) };
    task.map_or(core::ptr::null(), |task| Handle::<RealKernel>::local(task, key)).cast_mut()
}

/// # Safety
/// See task_local.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_local_add(
    task: TaskPtr,
    local: *mut TaskLocal,
) -> RawResult {
    // SAFETY: the caller's handle and record.
    match unsafe { (api::task(task), local.as_ref()) } {
        (Ok(task), Some(local)) => Handle::<RealKernel>::add_local(task, local).map(|()| 0).into(),
        _ => RawResult::failure(Errno(libc::EINVAL)),
    }
}

/// # Safety
/// See task_local.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_task_local_remove(
    task: TaskPtr,
    key: *const c_void,
) -> *mut TaskLocal {
    // SAFETY: the caller's handle.
    let task = unsafe { api::task(task) };
    task.map_or(core::ptr::null(), |task| Handle::<RealKernel>::remove_local(task, key)).cast_mut()
}

/// # Safety
/// See inspect.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_executor_waits_text(
    ex: ExecutorPtr,
    buffer: *mut c_char,
    bytes: usize,
) -> RawResult {
    if buffer.is_null() && bytes != 0 {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    let mut none = [];
    let room = match bytes {
        0 => &mut none[..],
        // SAFETY: the caller's buffer.
        _ => unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) },
    };
    // SAFETY: the caller's handle.
    let written = unsafe { Handle::from_ptr(ex) }.and_then(|ex| ex.waits_text(room));
    if let (Ok(length), Some(last)) = (written, room.len().checked_sub(1)) {
        room[length.min(last)] = 0;
    }
    written.map(|length| length as isize).into()
}

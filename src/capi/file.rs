//! file.h, the calls on an open file: check, one call below, map the result.

use core::ffi::{c_char, c_void};

use super::border::{self, caller, done, give, of};
use super::task::TaskPtr;
use crate::error::{Errno, RawResult, Res};
use crate::io::call::{nothing, Call, DIRECT};
use crate::io::file::{self, File, How, Parts};
use crate::io::ordered::{self, ORDERED};
use crate::uring::RealKernel;

const EINVAL: Errno = Errno(libc::EINVAL);

/// What a call on a file needs.
///
/// # Safety
/// As `border::caller`.
#[inline(always)]
pub(super) unsafe fn call<'a>(task: TaskPtr, file: File) -> Res<Call<'a, RealKernel>> {
    // SAFETY: the caller's.
    unsafe { border::call(task, file.fd, file.flags, ordered::are_flags(file.flags)) }
}

fn parts(at: *const libc::iovec, count: i32) -> Res<Parts> {
    match u32::try_from(count) {
        Ok(count) if !at.is_null() || count == 0 => Ok(Parts { at, count }),
        _ => Err(EINVAL),
    }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_open(
    task: TaskPtr,
    out: *mut File,
    directory: i32,
    path: *const c_char,
    open_flags: i32,
    mode: u32,
    resolve: u64,
    flags: u32,
) -> RawResult {
    let how = How { flags: u64::from(open_flags as u32), mode: mode.into(), resolve };
    let open = || {
        if path.is_null() || flags & !(DIRECT | ORDERED) != 0 {
            return Err(EINVAL);
        }
        // SAFETY: the caller's handle.
        let (ex, task) = unsafe { caller(task) }?;
        // SAFETY: the caller's path.
        let made = unsafe { file::open(ex, task, directory, path, how, flags & DIRECT != 0) }?;
        if flags & ORDERED == 0 {
            return Ok(made);
        }
        ordered::order(ex, made).inspect_err(|_| {
            // What it would have said is of no use to anybody.
            let _ = ex.close_handle(task, made.fd, flags & DIRECT != 0);
        })
    };
    // SAFETY: null, or the caller's memory.
    unsafe { give(out, open) }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_set_ordered(task: TaskPtr, file: *mut File) -> RawResult {
    // SAFETY: null, or the caller's file, which is read where it is not null; the caller's handle.
    unsafe { give(file, || call(task, *file).and_then(|c| ordered::order(c.ex, *file))) }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_row_error(
    task: TaskPtr,
    file: File,
    offset: *mut i64,
) -> RawResult {
    // SAFETY: the caller's handle.
    let broken = unsafe { call(task, file) }.and_then(|c| match c.is_ordered() {
        true => c.row_error(),
        false => Err(EINVAL),
    });
    let broken = match broken {
        Ok(broken) => broken,
        Err(e) => return RawResult::failure(e),
    };
    if !offset.is_null() {
        // SAFETY: the caller's to write.
        unsafe { offset.write(broken.offset) };
    }
    RawResult { value: broken.canceled as isize, error: broken.error, reserved: 0 }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_close(task: TaskPtr, file: File) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| match c.is_ordered() {
        true => c.close_in_order(),
        false => c.close(),
    }))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_read(
    task: TaskPtr,
    file: File,
    to: *mut c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe {
        if let Some(c) = border::plain_call(task, file.fd, file.flags) {
            if let Some(moved) = c.read_last(to, bytes, offset) {
                return moved;
            }
        }
        read_leave(task, file, to, bytes, offset)
    }
}

/// `monad_async_file_read`, of a task behind which none has its turn: see
/// `Executor::io_last_leave`.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn read_leave(
    task: TaskPtr,
    file: File,
    to: *mut c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe {
        if let Some(c) = border::plain_call(task, file.fd, file.flags) {
            if let Some(moved) = c.read_last_leave(to, bytes, offset) {
                return moved;
            }
        }
        read(task, file, to, bytes, offset)
    }
}

/// `monad_async_file_read` of any handle, and where anything is in its way: what needs a frame.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn read(
    task: TaskPtr,
    file: File,
    to: *mut c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    of(unsafe { call(task, file).and_then(|c| c.read(to, bytes, offset)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_write(
    task: TaskPtr,
    file: File,
    from: *const c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe {
        if let Some(c) = border::plain_call(task, file.fd, file.flags) {
            if let Some(moved) = c.write_last(from, bytes, offset) {
                return moved;
            }
        }
        write(task, file, from, bytes, offset)
    }
}

/// `monad_async_file_write` to any handle, and where anything is in its way.
///
/// # Safety
/// As that.
#[inline(never)]
unsafe extern "C" fn write(
    task: TaskPtr,
    file: File,
    from: *const c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe {
        match call(task, file) {
            Ok(c) if c.is_ordered() => c.write_in_order(from, bytes, offset),
            c => of(c.and_then(|c| c.write(from, bytes, offset))),
        }
    }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_readv(
    task: TaskPtr,
    file: File,
    at: *const libc::iovec,
    count: i32,
    offset: i64,
    flags: i32,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    of(unsafe { parts(at, count).and_then(|parts| call(task, file)?.readv(parts, offset, flags)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_writev(
    task: TaskPtr,
    file: File,
    at: *const libc::iovec,
    count: i32,
    offset: i64,
    flags: i32,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe {
        match parts(at, count).and_then(|parts| Ok((call(task, file)?, parts))) {
            Ok((c, parts)) if c.is_ordered() => c.writev_in_order(parts, offset, flags),
            c => of(c.and_then(|(c, parts)| c.writev(parts, offset, flags))),
        }
    }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_read_all(
    task: TaskPtr,
    file: File,
    to: *mut c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe { call(task, file).map_or_else(nothing, |c| c.read_all(to, bytes, offset)) }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_write_all(
    task: TaskPtr,
    file: File,
    from: *const c_void,
    bytes: usize,
    offset: i64,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    unsafe {
        match call(task, file) {
            Ok(c) if c.is_ordered() => c.write_all_in_order(from, bytes, offset),
            c => c.map_or_else(nothing, |c| c.write_all(from, bytes, offset)),
        }
    }
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_sync(task: TaskPtr, file: File) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| c.sync(false)))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_sync_data(task: TaskPtr, file: File) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| c.sync(true)))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_sync_range(
    task: TaskPtr,
    file: File,
    offset: i64,
    bytes: i64,
    flags: u32,
) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| c.sync_range(offset, bytes, flags)))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_allocate(
    task: TaskPtr,
    file: File,
    mode: i32,
    offset: i64,
    bytes: i64,
) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| c.allocate(mode, offset, bytes)))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_truncate(
    task: TaskPtr,
    file: File,
    bytes: i64,
) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| c.truncate(bytes)))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_advise(
    task: TaskPtr,
    file: File,
    offset: i64,
    bytes: i64,
    advice: i32,
) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, file) }.and_then(|c| c.advise(offset, bytes, advice)))
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_stat(
    task: TaskPtr,
    file: File,
    mask: u32,
    to: *mut libc::statx,
) -> RawResult {
    if to.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and record.
    done(unsafe { call(task, file).and_then(|c| c.stat(mask, to)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_poll(task: TaskPtr, fd: i32, events: u32) -> RawResult {
    let Ok(events) = u16::try_from(events) else { return RawResult::failure(EINVAL) };
    // SAFETY: the caller's handle.
    of(unsafe { call(task, File { fd, flags: 0 }) }.and_then(|c| c.poll(events as i16)))
}

//! file.h, the calls on names: check, one call below, map the result.

use core::ffi::c_char;

use super::border::{caller, done};
use super::task::TaskPtr;
use crate::error::{Errno, RawResult, Res};
use crate::io::path::{Path, Walk};
use crate::uring::RealKernel;

/// # Safety
/// `task` is null or a live handle.
unsafe fn walk<'a, const N: usize>(
    task: TaskPtr,
    paths: [*const c_char; N],
) -> Res<Walk<'a, RealKernel>> {
    if paths.iter().any(|path| path.is_null()) {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: the caller's.
    let (ex, task) = unsafe { caller(task) }?;
    Ok(Walk { ex, task })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_path_unlink(
    task: TaskPtr,
    directory: i32,
    path: *const c_char,
    flags: i32,
) -> RawResult {
    // SAFETY: the caller's handle and path.
    done(unsafe { walk(task, [path]).and_then(|w| w.unlink(Path { directory, path }, flags)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_path_rename(
    task: TaskPtr,
    directory: i32,
    path: *const c_char,
    new_directory: i32,
    new_path: *const c_char,
    flags: u32,
) -> RawResult {
    let (from, to) = (Path { directory, path }, Path { directory: new_directory, path: new_path });
    // SAFETY: the caller's handle and paths.
    done(unsafe { walk(task, [path, new_path]).and_then(|w| w.rename(from, to, flags)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_path_link(
    task: TaskPtr,
    directory: i32,
    path: *const c_char,
    new_directory: i32,
    new_path: *const c_char,
    flags: i32,
) -> RawResult {
    let (from, to) = (Path { directory, path }, Path { directory: new_directory, path: new_path });
    // SAFETY: the caller's handle and paths.
    done(unsafe { walk(task, [path, new_path]).and_then(|w| w.link(from, to, flags)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_path_symlink(
    task: TaskPtr,
    target: *const c_char,
    directory: i32,
    path: *const c_char,
) -> RawResult {
    let at = Path { directory, path };
    // SAFETY: the caller's handle and strings.
    done(unsafe { walk(task, [target, path]).and_then(|w| w.symlink(target, at)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_path_mkdir(
    task: TaskPtr,
    directory: i32,
    path: *const c_char,
    mode: u32,
) -> RawResult {
    // SAFETY: the caller's handle and path.
    done(unsafe { walk(task, [path]).and_then(|w| w.mkdir(Path { directory, path }, mode)) })
}

/// # Safety
/// See file.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_path_stat(
    task: TaskPtr,
    directory: i32,
    path: *const c_char,
    flags: i32,
    mask: u32,
    to: *mut libc::statx,
) -> RawResult {
    if to.is_null() {
        return RawResult::failure(Errno(libc::EINVAL));
    }
    let at = Path { directory, path };
    // SAFETY: the caller's handle, path and record.
    done(unsafe { walk(task, [path]).and_then(|w| w.stat(at, flags, mask, to)) })
}

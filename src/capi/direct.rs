//! direct.h: check, one call below, map the result.

use super::border::give;
use super::file;
use super::remote::{reference, RemotePtr};
use super::socket;
use super::task::TaskPtr;
use crate::error::{RawResult, Res};
use crate::io::call::Call;
use crate::io::file::{File, UNBUFFERED};
use crate::io::socket::Socket;
use crate::uring::RealKernel;

/// The other executor's index of a handle, and the flags of it.
///
/// # Safety
/// `to` is null or a reference that the caller holds.
unsafe fn pass(call: Res<Call<'_, RealKernel>>, to: RemotePtr) -> Res<(i32, u32)> {
    // SAFETY: the caller's.
    let to = unsafe { reference(to) }?;
    call?.pass(to)
}

/// # Safety
/// See direct.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_to_plain(
    task: TaskPtr,
    file: File,
    plain: *mut File,
) -> RawResult {
    // SAFETY: the caller's handle, and null or the caller's memory.
    unsafe {
        give(plain, || {
            let fd = file::call(task, file)?.to_plain()?;
            Ok(File { fd, flags: file.flags & UNBUFFERED })
        })
    }
}

/// # Safety
/// See direct.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_file_pass(
    task: TaskPtr,
    file: File,
    to: RemotePtr,
    passed: *mut File,
) -> RawResult {
    // SAFETY: the caller's handle and reference, and null or the caller's memory.
    unsafe {
        give(passed, || {
            let (fd, flags) = pass(file::call(task, file), to)?;
            Ok(File { fd, flags: flags | file.flags & UNBUFFERED })
        })
    }
}

/// # Safety
/// See direct.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_to_plain(
    task: TaskPtr,
    socket: Socket,
    plain: *mut Socket,
) -> RawResult {
    // SAFETY: the caller's handle, and null or the caller's memory.
    unsafe { give(plain, || Ok(Socket { fd: socket::call(task, socket)?.to_plain()?, flags: 0 })) }
}

/// # Safety
/// See direct.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_pass(
    task: TaskPtr,
    socket: Socket,
    to: RemotePtr,
    passed: *mut Socket,
) -> RawResult {
    // SAFETY: the caller's handle and reference, and null or the caller's memory.
    unsafe {
        give(passed, || {
            let (fd, flags) = pass(socket::call(task, socket), to)?;
            Ok(Socket { fd, flags })
        })
    }
}

//! direct.h: check, one call below, map the result.

use super::file::{self, done};
use super::remote::{reference, RemotePtr};
use super::socket;
use super::task::TaskPtr;
use crate::error::{Errno, RawResult, Res};
use crate::io::call::{Call, DIRECT};
use crate::io::file::File;
use crate::io::socket::Socket;
use crate::uring::RealKernel;

const EINVAL: Errno = Errno(libc::EINVAL);

/// The other executor's index of a handle.
///
/// # Safety
/// `to` is null or a reference that the caller holds.
unsafe fn pass(call: Res<Call<'_, RealKernel>>, to: RemotePtr) -> Res<i32> {
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
    if plain.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and memory.
    done(unsafe { file::call(task, file) }.and_then(|c| c.to_plain()).map(|fd| {
        // SAFETY: not null, and the caller's to write.
        unsafe { plain.write(File { fd, flags: 0 }) };
    }))
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
    if passed.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle, reference and memory.
    done(unsafe { pass(file::call(task, file), to) }.map(|fd| {
        // SAFETY: not null, and the caller's to write.
        unsafe { passed.write(File { fd, flags: DIRECT }) };
    }))
}

/// # Safety
/// See direct.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_to_plain(
    task: TaskPtr,
    socket: Socket,
    plain: *mut Socket,
) -> RawResult {
    if plain.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and memory.
    done(unsafe { socket::call(task, socket) }.and_then(|c| c.to_plain()).map(|fd| {
        // SAFETY: not null, and the caller's to write.
        unsafe { plain.write(Socket { fd, flags: 0 }) };
    }))
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
    if passed.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle, reference and memory.
    done(unsafe { pass(socket::call(task, socket), to) }.map(|fd| {
        // SAFETY: not null, and the caller's to write.
        unsafe { passed.write(Socket { fd, flags: DIRECT }) };
    }))
}

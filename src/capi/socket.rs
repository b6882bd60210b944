//! socket.h: check, one call below, map the result.

use core::ffi::c_void;

use super::border::{self, caller, done, give, of};
use super::task::TaskPtr;
use crate::error::{Errno, RawResult, Res};
use crate::io::call::{nothing, Call, DIRECT};
use crate::io::socket::{self, Address, Socket};
use crate::uring::RealKernel;

const EINVAL: Errno = Errno(libc::EINVAL);

/// What a call on a socket needs.
///
/// # Safety
/// As `border::caller`.
#[inline(always)]
pub(super) unsafe fn call<'a>(task: TaskPtr, socket: Socket) -> Res<Call<'a, RealKernel>> {
    // SAFETY: the caller's.
    unsafe { border::call(task, socket.fd, socket.flags, socket::are_flags(socket.flags)) }
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_open(
    task: TaskPtr,
    out: *mut Socket,
    domain: i32,
    kind: i32,
    protocol: i32,
    flags: u32,
) -> RawResult {
    let open = || {
        if flags & !DIRECT != 0 {
            return Err(EINVAL);
        }
        // SAFETY: the caller's handle.
        let (ex, task) = unsafe { caller(task) }?;
        socket::open(ex, task, domain, kind, protocol, flags & DIRECT != 0)
    };
    // SAFETY: null, or the caller's memory.
    unsafe { give(out, open) }
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_bind(
    task: TaskPtr,
    socket: Socket,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
) -> RawResult {
    // SAFETY: the caller's handle and address.
    done(unsafe { call(task, socket).and_then(|c| c.bind(Address { at: address, length })) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_listen(
    task: TaskPtr,
    socket: Socket,
    backlog: i32,
) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, socket) }.and_then(|c| c.listen(backlog)))
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_accept(
    task: TaskPtr,
    listener: Socket,
    out: *mut Socket,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
    flags: u32,
) -> RawResult {
    let accept = || {
        if flags & !DIRECT != 0 || address.is_null() != length.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: the caller's handle and memory.
        unsafe { call(task, listener)?.accept(address, length, flags & DIRECT != 0) }
    };
    // SAFETY: null, or the caller's memory.
    unsafe { give(out, accept) }
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_connect(
    task: TaskPtr,
    socket: Socket,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
) -> RawResult {
    // SAFETY: the caller's handle and address.
    done(unsafe { call(task, socket).and_then(|c| c.connect(Address { at: address, length })) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_recv(
    task: TaskPtr,
    socket: Socket,
    to: *mut c_void,
    bytes: usize,
    flags: i32,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    of(unsafe { call(task, socket).and_then(|c| c.recv(to, bytes, flags)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_send(
    task: TaskPtr,
    socket: Socket,
    from: *const c_void,
    bytes: usize,
    flags: i32,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    of(unsafe { call(task, socket).and_then(|c| c.send(from, bytes, flags)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_recv_exact(
    task: TaskPtr,
    socket: Socket,
    to: *mut c_void,
    bytes: usize,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    match unsafe { call(task, socket) } {
        // SAFETY: as above.
        Ok(c) => unsafe { c.recv_exact(to, bytes) },
        Err(e) => nothing(e),
    }
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_send_all(
    task: TaskPtr,
    socket: Socket,
    from: *const c_void,
    bytes: usize,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    match unsafe { call(task, socket) } {
        // SAFETY: as above.
        Ok(c) => unsafe { c.send_all(from, bytes) },
        Err(e) => nothing(e),
    }
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_recvmsg(
    task: TaskPtr,
    socket: Socket,
    message: *mut libc::msghdr,
    flags: i32,
) -> RawResult {
    if message.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and message.
    of(unsafe { call(task, socket).and_then(|c| c.recvmsg(message, flags)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_sendmsg(
    task: TaskPtr,
    socket: Socket,
    message: *const libc::msghdr,
    flags: i32,
) -> RawResult {
    if message.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and message.
    of(unsafe { call(task, socket).and_then(|c| c.sendmsg(message, flags)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_shutdown(
    task: TaskPtr,
    socket: Socket,
    how: i32,
) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, socket) }.and_then(|c| c.shutdown(how)))
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_option_get(
    task: TaskPtr,
    socket: Socket,
    level: i32,
    name: i32,
    value: *mut c_void,
    length: *mut libc::socklen_t,
) -> RawResult {
    if value.is_null() || length.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and memory.
    done(unsafe { call(task, socket).and_then(|c| c.option_get(level, name, value, length)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_option_set(
    task: TaskPtr,
    socket: Socket,
    level: i32,
    name: i32,
    value: *const c_void,
    length: libc::socklen_t,
) -> RawResult {
    // SAFETY: the caller's handle and memory.
    done(unsafe { call(task, socket).and_then(|c| c.option_set(level, name, value, length)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_local_address(
    task: TaskPtr,
    socket: Socket,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> RawResult {
    if address.is_null() || length.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and memory.
    done(unsafe { call(task, socket).and_then(|c| c.address(false, address, length)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_peer_address(
    task: TaskPtr,
    socket: Socket,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> RawResult {
    if address.is_null() || length.is_null() {
        return RawResult::failure(EINVAL);
    }
    // SAFETY: the caller's handle and memory.
    done(unsafe { call(task, socket).and_then(|c| c.address(true, address, length)) })
}

/// # Safety
/// See socket.h.
#[no_mangle]
pub unsafe extern "C" fn monad_async_socket_close(task: TaskPtr, socket: Socket) -> RawResult {
    // SAFETY: the caller's handle.
    done(unsafe { call(task, socket) }.and_then(|c| c.close_socket()))
}

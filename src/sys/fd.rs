//! Descriptors, by plain system calls that leave errno alone.

use core::ffi::{c_int, c_void};
use core::mem::size_of;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::error::{Errno, Res};
use crate::sys::valgrind;

/// Makes a call of the C library: its value, or its errno, with the caller's errno as it was.
/// Begun again where a signal interrupts it.
pub fn quietly(mut call: impl FnMut() -> c_int) -> Res<c_int> {
    // SAFETY: the C library's pointer to this thread's errno is valid for the thread's life.
    let (errno, set_errno) = unsafe {
        let at = libc::__errno_location();
        (move || at.read(), move |value| at.write(value))
    };
    let saved = errno();
    let done = loop {
        match call() {
            -1 if errno() == libc::EINTR => {}
            -1 => break Err(Errno(errno())),
            value => break Ok(value),
        }
    };
    set_errno(saved);
    done
}

/// Makes a call, with the caller's errno as it was.
#[inline]
pub fn with_errno_kept<T>(call: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    // SAFETY: the C library's pointer to this thread's errno is valid for the thread's life.
    let (at, saved) = unsafe {
        let at = libc::__errno_location();
        (at, at.read())
    };
    let done = call();
    if done.is_err() {
        // SAFETY: as above; the same thread.
        unsafe { at.write(saved) };
    }
    done
}

/// Async-signal-safe. All of it, or the error that ended it.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Res<()> {
    while !bytes.is_empty() {
        // SAFETY: reads `bytes`. A count fits, as no more than `c_int` holds is asked for.
        let written = quietly(|| unsafe {
            libc::write(fd, bytes.as_ptr().cast(), bytes.len().min(1 << 20)) as c_int
        })?;
        bytes = &bytes[written as usize..];
    }
    Ok(())
}

/// Whether there is a descriptor of that number.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok()
}

/// One more of the same open file, closed by an exec, and none of the standard streams.
pub fn duplicate(fd: i32) -> Res<i32> {
    let first = libc::STDERR_FILENO + 1;
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, first) })
}

/// Takes O_NONBLOCK off it.
pub fn waits(fd: i32) {
    // SAFETY: refers to no memory.
    if let Ok(flags) = quietly(|| unsafe { libc::fcntl(fd, libc::F_GETFL) }) {
        // SAFETY: as above.
        let _ = quietly(|| unsafe { libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK) });
    }
}

/// Whatever it answers, it is closed.
pub fn close(fd: i32) {
    // SAFETY: the caller's own descriptor. Not begun again: interrupted, it is closed.
    let _ = quietly(|| unsafe {
        libc::close(fd);
        0
    });
}

/// The same, and what it answers: 0, or `-errno`. Interrupted, it is closed.
pub fn close_told(fd: i32) -> i32 {
    let closed = quietly(|| {
        // SAFETY: the caller's own descriptor.
        match unsafe { libc::close(fd) } {
            -1 if Errno::last().0 == libc::EINTR => 0,
            closed => closed,
        }
    });
    closed.map_or_else(|e| -e.0, |_| 0)
}

/// `SCM_PIDFD`, of the kernel's linux/socket.h.
const SCM_PIDFD: i32 = 4;

/// Closes the descriptors that have come with a message, which says afterwards that nothing came
/// with it.
///
/// # Safety
/// A message that was received, and is valid.
pub unsafe fn close_received(message: *mut libc::msghdr) {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    // SAFETY: the caller's. The parts are as the kernel has written them, aligned or not.
    unsafe {
        if valgrind::is_here() {
            valgrind::defined(message as u64, size_of::<libc::msghdr>());
            valgrind::defined((*message).msg_control as u64, (*message).msg_controllen);
        }
        let (mut part, mut left) = ((*message).msg_control, (*message).msg_controllen);
        while left >= HEADER {
            let header = part.cast::<libc::cmsghdr>().read_unaligned();
            let bytes = header.cmsg_len.clamp(HEADER, left);
            let kind = (header.cmsg_level, header.cmsg_type);
            if let (libc::SOL_SOCKET, libc::SCM_RIGHTS | SCM_PIDFD) = kind {
                let fds = part.byte_add(HEADER).cast::<c_int>();
                // In place of a process that is gone there is an errno, below 0.
                (0..(bytes - HEADER) / size_of::<c_int>())
                    .map(|n| fds.add(n).read_unaligned())
                    .filter(|&fd| fd >= 0)
                    .for_each(close);
            }
            let step = bytes.next_multiple_of(align_of::<libc::cmsghdr>()).min(left);
            (part, left) = (part.byte_add(step), left - step);
        }
        (*message).msg_controllen = 0;
    }
}

/// # Safety
/// `address` has `length` bytes.
pub unsafe fn bind(fd: i32, address: *const libc::sockaddr, length: libc::socklen_t) -> Res<()> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::bind(fd, address, length) }).map(drop)
}

pub fn listen(fd: i32, backlog: i32) -> Res<()> {
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::listen(fd, backlog) }).map(drop)
}

pub fn socket(domain: i32, kind: i32, protocol: i32) -> Res<i32> {
    // SAFETY: refers to no memory.
    quietly(|| unsafe { libc::socket(domain, kind, protocol) })
}

/// # Safety
/// `message` and what it refers to are valid.
pub unsafe fn sendmsg(fd: i32, message: *const libc::msghdr, flags: i32) -> Res<usize> {
    // SAFETY: the caller's. No call moves 2 GiB.
    quietly(|| unsafe { libc::sendmsg(fd, message, flags) as i32 }).map(|n| n as usize)
}

/// # Safety
/// As `sendmsg`.
pub unsafe fn recvmsg(fd: i32, message: *mut libc::msghdr, flags: i32) -> Res<usize> {
    // SAFETY: as in `sendmsg`.
    quietly(|| unsafe { libc::recvmsg(fd, message, flags) as i32 }).map(|n| n as usize)
}

/// # Safety
/// `value` has `*length` bytes.
pub unsafe fn option_get(
    fd: i32,
    level: i32,
    name: i32,
    value: *mut c_void,
    length: *mut libc::socklen_t,
) -> Res<()> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::getsockopt(fd, level, name, value, length) }).map(drop)
}

/// # Safety
/// `value` has `length` bytes.
pub unsafe fn option_set(
    fd: i32,
    level: i32,
    name: i32,
    value: *const c_void,
    length: libc::socklen_t,
) -> Res<()> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::setsockopt(fd, level, name, value, length) }).map(drop)
}

/// `false`: maybe.
pub fn is_stream(fd: i32) -> bool {
    let (mut kind, mut length) = (0i32, size_of::<i32>() as libc::socklen_t);
    let (to, name) = ((&raw mut kind).cast(), libc::SO_TYPE);
    // SAFETY: it has `length` bytes.
    let asked = unsafe { option_get(fd, libc::SOL_SOCKET, name, to, &mut length) };
    asked.is_ok() && kind == libc::SOCK_STREAM
}

/// Whether a socket of this process was told to linger for a time. It stays so.
static MAY_LINGER: AtomicBool = AtomicBool::new(false);

/// Notes an option that was set. An accept hands SO_LINGER on, so that it is not known of whom.
///
/// # Safety
/// `value` has `length` bytes.
pub unsafe fn option_was_set(level: i32, name: i32, value: *const c_void, length: libc::socklen_t) {
    let is_linger = level == libc::SOL_SOCKET && name == libc::SO_LINGER;
    if is_linger && length as usize >= size_of::<libc::linger>() {
        // SAFETY: the caller's.
        let set = unsafe { value.cast::<libc::linger>().read_unaligned() };
        if is_for_a_time(&set) {
            MAY_LINGER.store(true, Relaxed);
        }
    }
}

pub fn may_linger() -> bool {
    MAY_LINGER.load(Relaxed)
}

/// Whether the last close of it waits until what was sent has arrived.
pub fn lingers(fd: i32) -> bool {
    let mut set = NO_LINGER;
    let mut length = size_of::<libc::linger>() as libc::socklen_t;
    let at = (&raw mut set).cast();
    // SAFETY: `set` has `length` bytes.
    let asked = unsafe { option_get(fd, libc::SOL_SOCKET, libc::SO_LINGER, at, &raw mut length) };
    asked.is_ok() && is_for_a_time(&set)
}

/// The same, asked only where some socket was told to.
pub fn lingers_known(fd: i32) -> bool {
    may_linger() && lingers(fd)
}

/// What a socket has for SO_LINGER until that is set.
pub const NO_LINGER: libc::linger = libc::linger { l_onoff: 0, l_linger: 0 };

/// Of what SO_LINGER is: a close waits.
pub fn is_for_a_time(set: &libc::linger) -> bool {
    set.l_onoff != 0 && set.l_linger != 0
}

/// What a socket says of itself.
fn socket_says(fd: i32, name: i32) -> Res<i32> {
    let mut value = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    let at = (&raw mut value).cast();
    // SAFETY: `value` has `length` bytes.
    unsafe { option_get(fd, libc::SOL_SOCKET, name, at, &raw mut length) }.map(|()| value)
}

pub fn is_socket(fd: i32) -> bool {
    socket_says(fd, libc::SO_TYPE).is_ok()
}

/// A socket whose messages come one by one, each as a whole. EBADF: no descriptor; ENOTSOCK: no
/// socket. One that does not say is none such.
pub fn is_of_messages(fd: i32) -> Res<bool> {
    match socket_says(fd, libc::SO_TYPE) {
        Err(e @ Errno(libc::EBADF | libc::ENOTSOCK)) => Err(e),
        kind => Ok(kind.is_ok_and(|kind| kind != libc::SOCK_STREAM)),
    }
}

/// A Unix socket.
pub fn is_unix(fd: i32) -> bool {
    socket_says(fd, libc::SO_DOMAIN) == Ok(libc::AF_UNIX)
}

/// The peer of a socket sends no more, whatever of that is there still.
pub fn has_ended(fd: i32) -> bool {
    let mut asked = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry of ours; it does not wait.
    unsafe { libc::poll(&raw mut asked, 1, 0) == 1 }
}

/// # Safety
/// `address` has `*length` bytes.
pub unsafe fn local_address(
    fd: i32,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> Res<()> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::getsockname(fd, address, length) }).map(drop)
}

/// # Safety
/// `address` has `*length` bytes.
pub unsafe fn peer_address(
    fd: i32,
    address: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> Res<()> {
    // SAFETY: the caller's.
    quietly(|| unsafe { libc::getpeername(fd, address, length) }).map(drop)
}

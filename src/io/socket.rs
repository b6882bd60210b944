//! The calls on sockets. Each looks like the POSIX call that it replaces, and suspends its task
//! where that would block.
//!
//! A descriptor with O_NONBLOCK, which others may have set, makes the kernel say EAGAIN where it
//! would have waited: then the call waits by a poll, and asks again.

use core::ffi::c_void;

use crate::error::{Errno, RawResult, Res};
use crate::executor::Executor;
use crate::reactor::operation::KEPT_FROM;
use crate::sys::fd;
use crate::task::header::TaskRef;
use crate::uring::abi::{file, sqe as flag, uring_cmd_socket};
use crate::uring::kernel::{op, Kernel, Sqe};

/// A handle is a direct descriptor: of `Socket::flags`, and of the flags of what opens one.
pub const DIRECT: u32 = 1 << 31;

/// As much as the kernel moves at once: MAX_RW_COUNT.
const BYTES_MAX: usize = 0x7fff_f000;

/// `monad_async_socket`: socket.h
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    pub fd: i32,
    pub flags: u32,
}

const _: () = assert!(size_of::<Socket>() == 8);

/// Who calls, on what.
pub struct Call<'a, K: Kernel> {
    pub ex: &'a Executor<K>,
    pub task: TaskRef,
    pub socket: Socket,
}

/// Where the bytes of an address go or come from, and how many there are.
#[derive(Clone, Copy)]
pub struct Address {
    pub at: *const libc::sockaddr,
    pub length: libc::socklen_t,
}

/// An answer of the kernel as a result.
fn answer(res: i32) -> Res<usize> {
    usize::try_from(res).map_err(|_| Errno(res.saturating_neg()))
}

/// How much was moved before what stopped it: the value, with its error.
fn moved(bytes: usize, stopped: Res<()>) -> RawResult {
    let error = stopped.map_or_else(|e| e.0, |()| 0);
    RawResult { value: bytes as isize, error, reserved: 0 }
}

impl<K: Kernel> Call<'_, K> {
    fn is_direct(&self) -> bool {
        self.socket.flags & DIRECT != 0
    }

    /// The descriptor of a handle that is none of the ring's.
    fn plain(&self) -> Option<i32> {
        (!self.is_direct()).then_some(self.socket.fd)
    }

    fn entry(&self, opcode: u8, off: u64, addr: u64, len: u32, op_flags: u32) -> Sqe {
        let mut sqe = Sqe::new(opcode, self.socket.fd, off, addr, len, op_flags);
        if self.is_direct() {
            sqe.0[0] |= u64::from(flag::FIXED_FILE) << 8;
        }
        sqe
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// What `sqe` refers to stays valid.
    #[inline(always)]
    unsafe fn io(&self, sqe: &Sqe) -> Res<usize> {
        // SAFETY: the caller's.
        answer(unsafe { self.ex.io(self.task, sqe) })
    }

    /// As `io`; where the kernel would not wait, waits for these events of poll and asks again.
    ///
    /// # Safety
    /// As `io`.
    #[inline(always)]
    unsafe fn io_when(&self, sqe: &Sqe, events: i16, dont_wait: bool) -> Res<usize> {
        // SAFETY: the caller's.
        match unsafe { self.ex.io(self.task, sqe) } {
            // SAFETY: the caller's.
            KEPT_FROM if !dont_wait => unsafe { self.io_after_poll(sqe, events) },
            res => answer(res),
        }
    }

    /// # Safety
    /// As `io`.
    #[cold]
    #[inline(never)]
    unsafe fn io_after_poll(&self, sqe: &Sqe, events: i16) -> Res<usize> {
        const FIRST_PAUSE_NS: u64 = 50_000;
        const LONGEST_PAUSE_NS: u64 = 10_000_000;
        let mut pause_ns = 0;
        loop {
            let poll = self.entry(op::POLL_ADD, 0, 0, 0, events as u16 as u32);
            // SAFETY: refers to no memory; then the caller's.
            unsafe {
                self.io(&poll)?;
                match self.ex.io(self.task, sqe) {
                    KEPT_FROM => {}
                    res => return answer(res),
                }
            }
            // A connect to a Unix socket whose queue is full: it is told to be writable.
            if pause_ns != 0 {
                answer(self.ex.sleep(self.task, pause_ns))?;
            }
            pause_ns = (pause_ns * 2).clamp(FIRST_PAUSE_NS, LONGEST_PAUSE_NS);
        }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `to` has `bytes`.
    #[inline(always)]
    pub unsafe fn recv(&self, to: *mut c_void, bytes: usize, flags: i32) -> Res<usize> {
        let len = bytes.min(BYTES_MAX) as u32;
        let sqe = self.entry(op::RECV, 0, to as u64, len, flags as u32);
        // SAFETY: the caller's.
        unsafe { self.io_when(&sqe, libc::POLLIN, flags & libc::MSG_DONTWAIT != 0) }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `from` has `bytes`.
    #[inline(always)]
    pub unsafe fn send(&self, from: *const c_void, bytes: usize, flags: i32) -> Res<usize> {
        let (len, quiet) = (bytes.min(BYTES_MAX) as u32, flags | libc::MSG_NOSIGNAL);
        let sqe = self.entry(op::SEND, 0, from as u64, len, quiet as u32);
        // SAFETY: the caller's.
        unsafe { self.io_when(&sqe, libc::POLLOUT, flags & libc::MSG_DONTWAIT != 0) }
    }

    /// SUSPENDS until all has come, or no more does.
    ///
    /// # Safety
    /// As `recv`.
    pub unsafe fn recv_exact(&self, to: *mut c_void, bytes: usize) -> RawResult {
        let mut done = 0;
        while done < bytes {
            // SAFETY: the caller's.
            match unsafe { self.recv(to.byte_add(done), bytes - done, libc::MSG_WAITALL) } {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) => return moved(done, Err(e)),
            }
        }
        moved(done, Ok(()))
    }

    /// SUSPENDS until all is sent.
    ///
    /// # Safety
    /// As `send`.
    pub unsafe fn send_all(&self, from: *const c_void, bytes: usize) -> RawResult {
        let mut done = 0;
        while done < bytes {
            // SAFETY: the caller's.
            match unsafe { self.send(from.byte_add(done), bytes - done, libc::MSG_WAITALL) } {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) => return moved(done, Err(e)),
            }
        }
        moved(done, Ok(()))
    }

    /// SUSPENDS. Descriptors that come are closed by an exec.
    ///
    /// # Safety
    /// `message` and what it refers to are valid.
    pub unsafe fn recvmsg(&self, message: *mut libc::msghdr, flags: i32) -> Res<usize> {
        let flags = flags | libc::MSG_CMSG_CLOEXEC;
        let sqe = self.entry(op::RECVMSG, 0, message as u64, 1, flags as u32);
        // SAFETY: the caller's.
        unsafe { self.io_when(&sqe, libc::POLLIN, flags & libc::MSG_DONTWAIT != 0) }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `message` and what it refers to are valid.
    pub unsafe fn sendmsg(&self, message: *const libc::msghdr, flags: i32) -> Res<usize> {
        let quiet = flags | libc::MSG_NOSIGNAL;
        let sqe = self.entry(op::SENDMSG, 0, message as u64, 1, quiet as u32);
        // SAFETY: the caller's.
        unsafe { self.io_when(&sqe, libc::POLLOUT, flags & libc::MSG_DONTWAIT != 0) }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `address` and `length` are null, or valid; `address` has `*length` bytes.
    pub unsafe fn accept(
        &self,
        address: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
        direct: bool,
    ) -> Res<Socket> {
        let on = if direct { 0 } else { libc::SOCK_CLOEXEC };
        let mut sqe = self.entry(op::ACCEPT, length as u64, address as u64, 0, on as u32);
        sqe.0[5] = u64::from(if direct { file::INDEX_ALLOC } else { 0 }) << 32;
        // SAFETY: the caller's.
        let fd = unsafe { self.io_when(&sqe, libc::POLLIN, false) }? as i32;
        Ok(Socket { fd, flags: if direct { DIRECT } else { 0 } })
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `to` is valid.
    pub unsafe fn connect(&self, to: Address) -> Res<()> {
        let sqe = self.entry(op::CONNECT, to.length.into(), to.at as u64, 0, 0);
        // SAFETY: the caller's.
        unsafe { self.io_when(&sqe, libc::POLLOUT, false) }.map(drop)
    }

    /// SUSPENDS.
    pub fn shutdown(&self, how: i32) -> Res<()> {
        // SAFETY: refers to no memory.
        unsafe { self.io(&self.entry(op::SHUTDOWN, 0, 0, how as u32, 0)) }.map(drop)
    }

    /// A plain one: a system call, which does not wait. Direct: SUSPENDS, Linux 6.11.
    ///
    /// # Safety
    /// `to` is valid.
    pub unsafe fn bind(&self, to: Address) -> Res<()> {
        // SAFETY: the caller's.
        unsafe {
            match self.plain() {
                Some(fd) => fd::bind(fd, to.at, to.length),
                None => {
                    let sqe = self.entry(op::BIND, to.length.into(), to.at as u64, 0, 0);
                    self.io(&sqe).map(drop)
                }
            }
        }
    }

    /// As `bind`.
    pub fn listen(&self, backlog: i32) -> Res<()> {
        match self.plain() {
            Some(fd) => fd::listen(fd, backlog),
            // SAFETY: refers to no memory.
            None => unsafe { self.io(&self.entry(op::LISTEN, 0, 0, backlog as u32, 0)) }.map(drop),
        }
    }

    /// A command of IORING_OP_URING_CMD to a direct socket: `level` and `name` lie where others
    /// have an address, the value where they have a third address.
    fn option(&self, command: u32, level: i32, name: i32, value: u64, length: u32) -> Sqe {
        let mut sqe = self.entry(op::URING_CMD, command.into(), 0, 0, 0);
        sqe.0[2] = u64::from(level as u32) | u64::from(name as u32) << 32;
        sqe.0[5] = u64::from(length) << 32;
        sqe.0[6] = value;
        sqe
    }

    /// A plain one: a system call. Direct: SUSPENDS, Linux 6.7, SOL_SOCKET only.
    ///
    /// # Safety
    /// `value` has `*length` bytes.
    pub unsafe fn option_get(
        &self,
        level: i32,
        name: i32,
        value: *mut c_void,
        length: *mut libc::socklen_t,
    ) -> Res<()> {
        if let Some(fd) = self.plain() {
            // SAFETY: the caller's.
            return unsafe { fd::option_get(fd, level, name, value, length) };
        }
        // SAFETY: the caller's.
        unsafe {
            let sqe = self.option(uring_cmd_socket::GETSOCKOPT, level, name, value as u64, *length);
            *length = self.io(&sqe)? as libc::socklen_t;
        }
        Ok(())
    }

    /// A plain one: a system call. Direct: SUSPENDS, Linux 6.7.
    ///
    /// # Safety
    /// `value` has `length` bytes.
    pub unsafe fn option_set(
        &self,
        level: i32,
        name: i32,
        value: *const c_void,
        length: libc::socklen_t,
    ) -> Res<()> {
        if let Some(fd) = self.plain() {
            // SAFETY: the caller's.
            return unsafe { fd::option_set(fd, level, name, value, length) };
        }
        let sqe = self.option(uring_cmd_socket::SETSOCKOPT, level, name, value as u64, length);
        // SAFETY: the caller's.
        unsafe { self.io(&sqe) }.map(drop)
    }

    /// A plain one's, by a system call; EOPNOTSUPP for a direct one, of which the kernel cannot
    /// tell.
    ///
    /// # Safety
    /// `address` has `*length` bytes.
    pub unsafe fn address(
        &self,
        peer: bool,
        address: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
    ) -> Res<()> {
        let fd = self.plain().ok_or(Errno(libc::EOPNOTSUPP))?;
        // SAFETY: the caller's.
        unsafe {
            match peer {
                true => fd::peer_address(fd, address, length),
                false => fd::local_address(fd, address, length),
            }
        }
    }

    /// SUSPENDS, shielded.
    pub fn close(&self) -> Res<()> {
        self.ex.close_handle(self.task, self.socket.fd, self.is_direct())
    }
}

/// SUSPENDS. Linux 5.19; before it, and without a ring, a system call where it is not to be a
/// direct one.
pub fn open<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    domain: i32,
    kind: i32,
    protocol: i32,
    direct: bool,
) -> Res<Socket> {
    if !direct {
        // Nothing in it waits: the call is what the kernel would do, without a way round.
        let fd = fd::socket(domain, kind | libc::SOCK_CLOEXEC, protocol)?;
        return Ok(Socket { fd, flags: 0 });
    }
    let mut sqe = Sqe::new(op::SOCKET, domain, kind as u64, 0, protocol as u32, 0);
    sqe.0[5] = u64::from(file::INDEX_ALLOC) << 32;
    // SAFETY: refers to no memory.
    let fd = answer(unsafe { ex.io(task, &sqe) })? as i32;
    Ok(Socket { fd, flags: DIRECT })
}

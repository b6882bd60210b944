//! The calls on sockets. Each looks like the POSIX call that it replaces, and suspends its task
//! where that would block.

use core::ffi::c_void;

pub use super::call::DIRECT;
use super::call::{answer, home, moved, Call, Pause, BYTES_MAX, HOME};
use crate::error::{Errno, RawResult, Res};
use crate::executor::Executor;
use crate::sys::fd;
use crate::task::header::TaskRef;
use crate::uring::abi::{file, uring_cmd_socket};
use crate::uring::kernel::{op, Kernel, Sqe};

/// `monad_async_socket`: socket.h
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    pub fd: i32,
    pub flags: u32,
}

const _: () = assert!(size_of::<Socket>() == 8);

/// Flags that a socket may have.
#[inline(always)]
pub fn are_flags(flags: u32) -> bool {
    flags & !(DIRECT | HOME) == 0 && (flags & DIRECT != 0 || flags == 0)
}

/// How the ring is to send at first: it does not wait. Then of a stream it does, and else the task,
/// by a poll, and asks again: see `sends_on`. A ring that waits for the room of another's socket of
/// datagrams has taken the bytes of the message by then, and sends one of none, with success (seen
/// on Linux 6.18).
#[inline(always)]
fn now(flags: i32) -> i32 {
    let waits = flags & libc::MSG_WAITALL != 0;
    flags | libc::MSG_NOSIGNAL | if waits { 0 } else { libc::MSG_DONTWAIT }
}

/// Events of poll by which what is to be received comes. An error that is queued is told of by
/// POLLERR, whatever else there is.
#[inline(always)]
fn comes_by(flags: i32) -> i16 {
    if flags & libc::MSG_ERRQUEUE != 0 {
        0
    } else {
        libc::POLLIN
    }
}

/// Where the bytes of an address go or come from, and how many there are.
#[derive(Clone, Copy)]
pub struct Address {
    pub at: *const libc::sockaddr,
    pub length: libc::socklen_t,
}

impl<K: Kernel> Call<'_, K> {
    /// SUSPENDS.
    ///
    /// # Safety
    /// `to` has `bytes`.
    #[inline(always)]
    pub unsafe fn recv(&self, to: *mut c_void, bytes: usize, flags: i32) -> Res<usize> {
        let len = bytes.min(BYTES_MAX) as u32;
        let sqe = self.entry(op::RECV, 0, to as u64, len, flags as u32);
        // SAFETY: the caller's.
        unsafe { self.io_when(sqe, comes_by(flags), flags & libc::MSG_DONTWAIT != 0) }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `from` has `bytes`.
    #[inline(always)]
    pub unsafe fn send(&self, from: *const c_void, bytes: usize, flags: i32) -> Res<usize> {
        let (len, now) = (bytes.min(BYTES_MAX) as u32, now(flags));
        let sqe = self.entry(op::SEND, 0, from as u64, len, now as u32);
        // SAFETY: the caller's.
        unsafe { self.io_when(sqe, libc::POLLOUT, flags & libc::MSG_DONTWAIT != 0) }
    }

    /// Has the kernel go on with an operation that came short, where it tells of a part of one that
    /// is cancelled: before 6.1, which brought messages sent without a copy, that was lost.
    fn all_at_once(&self) -> i32 {
        if self.ex.kernel().knows(op::SENDMSG_ZC) {
            libc::MSG_WAITALL
        } else {
            0
        }
    }

    /// SUSPENDS until all has come, or no more does.
    ///
    /// # Safety
    /// As `recv`.
    pub unsafe fn recv_exact(&self, to: *mut c_void, bytes: usize) -> RawResult {
        if bytes == 0 {
            return self.of_nothing();
        }
        let (mut done, begun, all) = (0, self.begun(), self.all_at_once());
        while done < bytes {
            if let Err(e) = self.goes_on(begun) {
                return moved(done, Err(e));
            }
            // SAFETY: the caller's.
            match unsafe { self.recv(to.byte_add(done), bytes - done, all) } {
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
        if bytes == 0 {
            return self.of_nothing();
        }
        let (mut done, begun, all) = (0, self.begun(), self.all_at_once());
        while done < bytes {
            if let Err(e) = self.goes_on(begun) {
                return moved(done, Err(e));
            }
            // What was sent in part is no message: for the rest the ring may wait.
            let flags = if done == 0 { 0 } else { all };
            // SAFETY: the caller's.
            match unsafe { self.send(from.byte_add(done), bytes - done, flags) } {
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
        let (begun, dont_wait) = (self.begun(), flags & libc::MSG_DONTWAIT != 0);
        // SAFETY: the caller's.
        unsafe {
            match self.io_when(sqe, comes_by(flags), dont_wait) {
                Err(Errno(libc::EINVAL)) if self.is_refused(message, flags) => {
                    let call = |flags| fd::recvmsg(self.fd, message, flags);
                    self.by_call(call, comes_by(flags), flags, begun)
                }
                moved => moved,
            }
        }
    }

    /// Whether a ring may have refused this message: before Linux 5.12 one takes none with more
    /// than data. (Links to files came with 5.15.) Where it was not that, the call says EINVAL too.
    ///
    /// # Safety
    /// `message` is valid.
    #[cold]
    unsafe fn is_refused(&self, message: *const libc::msghdr, flags: i32) -> bool {
        // SAFETY: the caller's.
        let message = unsafe { &*message };
        let has_more = !message.msg_control.is_null() || message.msg_controllen != 0;
        let is_whole = flags & libc::MSG_WAITALL != 0; // For which a call alone could wait.
        has_more && !is_whole && !self.is_direct() && !self.ex.kernel().knows(op::LINKAT)
    }

    /// SUSPENDS. By a system call that does not wait, once poll tells that it need not; of which it
    /// tells more than is so: of an unconnected datagram socket, the room of its own alone.
    #[cold]
    #[inline(never)]
    fn by_call(
        &self,
        call: impl Fn(i32) -> Res<usize>,
        events: i16,
        flags: i32,
        begun: u64,
    ) -> Res<usize> {
        let mut pause = Pause::new();
        loop {
            self.goes_on(begun)?;
            match call(flags | libc::MSG_DONTWAIT) {
                Err(Errno(libc::EAGAIN)) if flags & libc::MSG_DONTWAIT == 0 => {}
                moved => return moved,
            }
            pause.next(self)?;
            self.goes_on(begun)?;
            self.poll(events)?;
        }
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `message` and what it refers to are valid.
    pub unsafe fn sendmsg(&self, message: *const libc::msghdr, flags: i32) -> Res<usize> {
        let now = now(flags);
        let sqe = self.entry(op::SENDMSG, 0, message as u64, 1, now as u32);
        let (begun, dont_wait) = (self.begun(), flags & libc::MSG_DONTWAIT != 0);
        // SAFETY: the caller's.
        unsafe {
            match self.io_when(sqe, libc::POLLOUT, dont_wait) {
                Err(Errno(libc::EINVAL)) if self.is_refused(message, flags) => {
                    let call = |flags| fd::sendmsg(self.fd, message, flags);
                    self.by_call(call, libc::POLLOUT, flags | libc::MSG_NOSIGNAL, begun)
                }
                moved => moved,
            }
        }
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
        if direct && !self.ex.knows_direct() {
            return Err(Errno(libc::ENFILE));
        }
        let on = if direct { 0 } else { libc::SOCK_CLOEXEC };
        let mut sqe = self.entry(op::ACCEPT, length as u64, address as u64, 0, on as u32);
        sqe.0[5] = u64::from(if direct { file::INDEX_ALLOC } else { 0 }) << 32;
        // SAFETY: the caller's.
        let fd = unsafe { self.io_when(sqe, libc::POLLIN, false) }? as i32;
        Ok(Socket { fd, flags: if direct { DIRECT | home(self.ex) } else { 0 } })
    }

    /// SUSPENDS.
    ///
    /// # Safety
    /// `to` is valid.
    pub unsafe fn connect(&self, to: Address) -> Res<()> {
        let sqe = self.entry(op::CONNECT, to.length.into(), to.at as u64, 0, 0);
        let begun = self.begun();
        // SAFETY: the caller's.
        let connected = unsafe {
            match self.io_when(sqe, libc::POLLOUT, false) {
                Err(Errno(libc::EALREADY)) => self.goes_on_connecting(&sqe, begun),
                connected => connected,
            }
        };
        connected.map(drop)
    }

    /// SUSPENDS. The socket is connecting already: others have begun that, or this call has, and
    /// the kernel let go of it as another descriptor of the socket was closed. As `connect` of one
    /// that blocks, it waits for the end of that, which the next `connect` tells.
    ///
    /// # Safety
    /// As `connect`.
    #[cold]
    #[inline(never)]
    unsafe fn goes_on_connecting(&self, sqe: &Sqe, begun: u64) -> Res<usize> {
        let mut pause = Pause::new();
        loop {
            self.goes_on(begun)?;
            self.poll(libc::POLLOUT)?;
            self.goes_on(begun)?;
            // SAFETY: the caller's.
            match unsafe { self.io(sqe) } {
                Err(Errno(libc::EALREADY | libc::EAGAIN)) => pause.next(self)?,
                Err(Errno(libc::EISCONN)) => return Ok(0), // It was told who has begun.
                connected => return connected,
            }
        }
    }

    /// SUSPENDS.
    pub fn shutdown(&self, how: i32) -> Res<()> {
        // SAFETY: refers to no memory.
        unsafe { self.io(&self.entry(op::SHUTDOWN, 0, 0, how as u32, 0)) }.map(drop)
    }

    /// The ring's own operation is to do it: a direct descriptor, and the kernel has that.
    fn is_for_ring(&self, opcode: u8) -> bool {
        self.is_direct() && self.ex.kernel().knows(opcode)
    }

    /// A plain one: a system call, which does not wait. Direct: SUSPENDS; by the ring since Linux
    /// 6.11, before it see `with_plain`.
    ///
    /// # Safety
    /// `to` is valid.
    pub unsafe fn bind(&self, to: Address) -> Res<()> {
        if !self.is_for_ring(op::BIND) {
            // SAFETY: the caller's.
            return self.with_plain(|fd| unsafe { fd::bind(fd, to.at, to.length) });
        }
        let sqe = self.entry(op::BIND, to.length.into(), to.at as u64, 0, 0);
        // SAFETY: the caller's.
        unsafe { self.io(&sqe) }.map(drop)
    }

    /// As `bind`.
    pub fn listen(&self, backlog: i32) -> Res<()> {
        if !self.is_for_ring(op::LISTEN) {
            return self.with_plain(|fd| fd::listen(fd, backlog));
        }
        // SAFETY: refers to no memory.
        unsafe { self.io(&self.entry(op::LISTEN, 0, 0, backlog as u32, 0)) }.map(drop)
    }

    /// A plain one: a system call. Direct: SUSPENDS; SOL_SOCKET by the ring (Linux 6.7), others as
    /// `with_plain`.
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
        if !self.is_direct() || level != libc::SOL_SOCKET {
            // SAFETY: the caller's.
            return self.with_plain(|fd| unsafe { fd::option_get(fd, level, name, value, length) });
        }
        // SAFETY: the caller's.
        unsafe {
            let sqe = Sqe::option(
                self.fd,
                uring_cmd_socket::GETSOCKOPT,
                (level, name),
                (value as u64, *length),
            );
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
        // SAFETY: the caller's.
        unsafe {
            if let Some(fd) = self.plain() {
                fd::option_set(fd, level, name, value, length)?;
            } else {
                let command = uring_cmd_socket::SETSOCKOPT;
                self.io(&Sqe::option(self.fd, command, (level, name), (value as u64, length)))?;
            }
            fd::option_was_set(level, name, value, length);
        }
        Ok(())
    }

    /// By a system call; of a direct one see `with_plain`.
    ///
    /// # Safety
    /// `address` has `*length` bytes.
    pub unsafe fn address(
        &self,
        peer: bool,
        address: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
    ) -> Res<()> {
        // SAFETY: the caller's.
        self.with_plain(|fd| unsafe {
            match peer {
                true => fd::peer_address(fd, address, length),
                false => fd::local_address(fd, address, length),
            }
        })
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
    if !ex.knows_direct() {
        return Err(Errno(libc::ENFILE));
    }
    let mut sqe = Sqe::new(op::SOCKET, domain, kind as u64, 0, protocol as u32, 0);
    sqe.0[5] = u64::from(file::INDEX_ALLOC) << 32;
    // SAFETY: refers to no memory.
    let fd = answer(unsafe { ex.io(task, sqe) })? as i32;
    Ok(Socket { fd, flags: DIRECT | home(ex) })
}

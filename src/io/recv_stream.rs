//! Receiving without a buffer for each connection: a stream over one socket, into a ring of buffers
//! that many share.
//!
//! ```text
//!           begin                           ENOBUFS
//!   idle ----------> armed (op in flight) ------------> hungry
//!                      ^   \\  data: next hands it out     |  a buffer was given back
//!                      |    `--> end of file, error: over |
//!                      `----------------------------------'
//! ```
//!
//! One that was stopped is not armed again. The kernel is asked to end what is in flight, and what
//! that brings before it has ended is handed out as always.
//!
//! A kernel without multishot receives (before 6.0) says EINVAL to the first: from then on each
//! receive is one of its own, with the same results. One without rings of buffers (before 5.19)
//! keeps a buffer for a receive that waits: there a poll waits in its place.
//!
//! From 6.17 on the kernel knows of a Unix socket that the data it gave was the last, and waits for
//! more: of an end that was there already it tells only if that had a wake-up of its own. It had
//! none where the stream was armed behind it: always if there was more than a receive takes at once
//! (33 buffers), and else if it came just then. So when a stream has brought the last that there
//! was, for the first time since it was armed, the socket is asked for its end, and the stream is
//! armed anew if that is there: it is told then. Of a direct one, which cannot be asked, if it has
//! brought many: an end that came just then, behind fewer, is lost. TCP's end is more that is
//! there.

use core::cell::Cell;
use core::ptr::NonNull;

use crate::error::{Errno, RawResult, Res};
use crate::executor::Executor;
use crate::io::socket::DIRECT;
use crate::reactor::buffers::Buffers;
use crate::reactor::operation::{bit, Op, KEPT_FROM};
use crate::task::header::TaskRef;
use crate::uring::abi::{cqe, cqe_buffer, op, send_recv, sqe as flag};
use crate::uring::kernel::{Kernel, Sqe};

/// `next` returns ENOBUFS instead of waiting.
pub const NO_WAIT: u32 = 1;
/// Others give back what it has received.
pub const PASSES: u32 = 2;

/// It is a plain Unix socket: the border says so.
pub const UNIX: u32 = 1 << 15;

/// Of `since`: half of what a receive takes at once.
const MANY: u8 = 16;
/// The kernel had no more: maybe it does not know of the end.
const DOUBTED: u8 = 0xfe;
/// It will tell of the end.
const TELLS: u8 = 0xff;

/// `monad_async_recv_stream`: buffer.h
#[repr(C)]
pub struct RecvStream {
    op: Op,
    task: Cell<Option<TaskRef>>,
    buffers: Cell<Option<NonNull<Buffers>>>,
    /// How it ended, once it has.
    last: Cell<RawResult>,
    fd: Cell<i32>,
    flags: Cell<u32>,
    over: Cell<bool>,
    single: Cell<bool>,
    /// What is in flight is a poll, ahead of a receive; it has said that there is data.
    polls: Cell<bool>,
    polled: Cell<bool>,
    /// How many it has brought since it was armed, `MANY` at most, or one of the next two.
    since: Cell<u8>,
    /// It was asked to end, to be armed anew.
    anew: Cell<bool>,
    /// It is armed no more: what it has brought is handed out, then it ends.
    stopped: Cell<bool>,
    reserved: u8,
    /// `Executor::closings` when it began: it is not armed again on another's number.
    begun: Cell<u64>,
}

// As in buffer.h.
const _: () = assert!(size_of::<RecvStream>() == 248);

/// What `next` hands out.
pub struct Received {
    pub data: NonNull<u8>,
    pub length: usize,
}

impl RecvStream {
    pub fn task(&self) -> Option<TaskRef> {
        self.task.get()
    }

    fn is_direct(&self) -> bool {
        self.flags.get() & DIRECT != 0
    }

    pub fn ring(&self) -> *mut Buffers {
        self.buffers.get().map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    /// `task` runs now. Does not suspend.
    ///
    /// # Safety
    /// It was zeroed or has ended, and stays in place until it has ended; `buffers` stay as long.
    pub unsafe fn begin<K: Kernel>(
        &self,
        ex: &Executor<K>,
        task: TaskRef,
        fd: i32,
        buffers: NonNull<Buffers>,
        flags: u32,
    ) -> Res<()> {
        if self.op.is_in_flight.get() {
            return Err(Errno(libc::EBUSY));
        }
        self.task.set(Some(task));
        self.buffers.set(Some(buffers));
        self.fd.set(fd);
        self.flags.set(flags);
        if flags & PASSES != 0 {
            // SAFETY: the caller's.
            unsafe { buffers.as_ref() }.passes.set(true);
        }
        self.over.set(false);
        self.single.set(!ex.kernel().receives_in_streams());
        self.polled.set(false);
        self.stopped.set(false);
        self.begun.set(ex.closings());
        // SAFETY: the caller's.
        unsafe { self.arm(ex, task, buffers.as_ref()) }
    }

    /// # Safety
    /// As `begin`.
    unsafe fn arm<K: Kernel>(&self, ex: &Executor<K>, task: TaskRef, buffers: &Buffers) -> Res<()> {
        let single = self.single.get();
        self.polls.set(single && buffers.is_provided() && !self.polled.replace(false));
        let (opcode, flags) = match self.polls.get() {
            true => (op::POLL_ADD, libc::POLLIN as u32),
            false if single && buffers.is_provided() => (op::RECV, libc::MSG_DONTWAIT as u32),
            false => (op::RECV, 0),
        };
        let mut sqe = Sqe::new(opcode, self.fd.get(), 0, 0, 0, flags);
        if self.is_direct() {
            sqe.0[0] |= u64::from(flag::FIXED_FILE) << 8;
        }
        if opcode == op::RECV {
            sqe.0[0] |= u64::from(flag::BUFFER_SELECT) << 8;
            sqe.0[5] = u64::from(buffers.group);
            if !single {
                sqe.0[0] |= u64::from(send_recv::RECV_MULTISHOT) << 16;
            }
        }
        self.op.sqe.set(sqe);
        self.since.set(match self.flags.get() & (UNIX | DIRECT) {
            _ if single => TELLS,
            0 => TELLS,
            UNIX => MANY,
            _ => 0,
        });
        self.anew.set(false);
        // SAFETY: the caller's.
        let begun = unsafe { ex.begin_operation(task, &self.op) };
        if begun.is_ok() {
            // `is_of_a_stream`; and so it is no plain one, be it a poll.
            self.op.progress.set(u32::MAX);
            self.op.set(bit::STREAM);
        }
        ex.stream_begun(buffers);
        begun
    }

    /// SUSPENDS until there is data: `None` at the end of the stream, at which it stays.
    #[inline(always)]
    pub fn next<K: Kernel>(&self, ex: &Executor<K>, task: TaskRef) -> Res<Option<Received>> {
        let buffers = self.buffers.get().ok_or(Errno(libc::EINVAL))?;
        // SAFETY: they stay while the stream does.
        let buffers = unsafe { buffers.as_ref() };
        if self.is_armed() {
            if let Some((data, length)) = ex.wait_data(task, &self.op, buffers)? {
                return Ok(Some(Received { data, length }));
            }
        }
        self.next_any(ex, task, buffers)
    }

    /// It receives, and will tell of the end: as nearly all do, nearly always.
    #[inline(always)]
    fn is_armed(&self) -> bool {
        let receives = self.op.is_in_flight.get() && !self.polls.get();
        receives && self.since.get() == TELLS && !self.over.get()
    }

    /// The rest of `next`.
    #[inline(never)]
    fn next_any<K: Kernel>(
        &self,
        ex: &Executor<K>,
        task: TaskRef,
        buffers: &Buffers,
    ) -> Res<Option<Received>> {
        loop {
            if self.over.get() {
                let last = self.last.get();
                return if last.error == 0 { Ok(None) } else { Err(Errno(last.error)) };
            }
            if !self.op.is_in_flight.get() {
                let is_direct = self.is_direct();
                let is_closed = || ex.is_closed_since(self.fd.get(), is_direct, self.begun.get());
                if self.stopped.get() && !is_closed() {
                    self.end(RawResult::success(0));
                    continue;
                }
                // A close wakes who waits by then, and nobody who comes later.
                if !buffers.has_free() && !is_closed() {
                    if self.flags.get() & NO_WAIT != 0 {
                        return Err(Errno(libc::ENOBUFS));
                    }
                    ex.await_buffer(task, buffers, (self.fd.get(), is_direct))?;
                }
                if is_closed() {
                    self.end(RawResult::failure(Errno(libc::ECANCELED)));
                    ex.stream_begun(buffers);
                    continue;
                }
                // SAFETY: as `begin` was promised.
                unsafe { self.arm(ex, task, buffers) }?;
            }
            if self.since.get() == DOUBTED {
                self.arm_anew(ex);
            }
            let result = match ex.wait_view(task, &self.op, buffers) {
                Ok((bytes, flags)) => {
                    self.op.cqe_flags.set(flags);
                    RawResult::success(bytes as isize)
                }
                Err(result) => result,
            };
            let flags = self.op.cqe_flags.get();
            match result.error {
                0 if self.polls.get() => self.polled.set(true),
                0 if flags & cqe::BUFFER != 0 => {
                    if self.since.get() != TELLS {
                        self.counts(flags);
                    }
                    let number = (flags >> cqe_buffer::SHIFT) as u16;
                    let (data, length) = (buffers.data(number), result.value as usize);
                    if length != 0 {
                        return Ok(Some(Received { data, length }));
                    }
                    // The end, for which the kernel took a buffer all the same.
                    buffers.give_back(number);
                    ex.buffer_freed(buffers);
                    self.end(result);
                }
                0 => self.end(result),
                _ if self.op.is_in_flight.get() => return Err(Errno(result.error)),
                libc::ENOBUFS => {}
                libc::ECANCELED if self.anew.get() || self.stopped.get() => {}
                e if e == -KEPT_FROM => {}
                libc::EINVAL if !self.single.replace(true) => {}
                _ => self.end(result),
            }
        }
    }

    /// One more since it was armed.
    #[cold]
    fn counts(&self, flags: u32) {
        let since = self.since.get();
        self.since.set(match flags & cqe::SOCK_NONEMPTY {
            0 if since < MANY => TELLS,
            0 => DOUBTED,
            _ => MANY.min(since + 1),
        });
    }

    /// Nothing is lost: what it brings until it ends is taken first. Where no buffer is free it
    /// waits for one, as the end would, which is there, or what comes next by a direct socket.
    #[cold]
    #[inline(never)]
    fn arm_anew<K: Kernel>(&self, ex: &Executor<K>) {
        if !self.op.is_in_flight.get() || self.op.pending.get() != 0 {
            return;
        }
        self.since.set(TELLS);
        if self.is_direct() || ex.kernel().has_ended(self.fd.get()) {
            self.anew.set(ex.cancel_operation(&self.op).is_ok());
        }
    }

    /// Takes no more off the socket. What was taken is handed out, then `next` tells of the end.
    pub fn stop<K: Kernel>(&self, ex: &Executor<K>) -> Res<()> {
        self.stopped.set(true);
        if self.op.is_in_flight.get() {
            ex.cancel_operation(&self.op)?;
        }
        Ok(())
    }

    fn end(&self, last: RawResult) {
        self.last.set(last);
        self.over.set(true);
    }

    /// SUSPENDS until the kernel is done with it. What it has brought, and nobody took, goes back.
    pub fn finish<K: Kernel>(&self, ex: &Executor<K>, task: TaskRef) -> Res<()> {
        self.end(RawResult::failure(Errno(libc::ECANCELED)));
        if self.op.is_in_flight.get() {
            ex.end_operation(task, &self.op)?;
        }
        Ok(())
    }
}

//! A call of a task on a handle: how an entry is made for it, and how the task waits.
//!
//! A descriptor with O_NONBLOCK, which others may have set, makes the kernel say EAGAIN where it
//! would have waited: then the call waits by a poll, and asks again.

use crate::error::{Errno, RawResult, Res};
use crate::executor::home::HOME_SHIFT;
use crate::executor::mailbox::HOMES;
use crate::executor::Executor;
use crate::reactor::operation::KEPT_FROM;
use crate::sys::{fd, valgrind};
use crate::task::header::TaskRef;
use crate::uring::abi::{sqe as flag, uring_cmd_socket};
use crate::uring::kernel::{op, Kernel, Sqe};

pub use crate::executor::home::DIRECT;

/// Of a handle's flags, where it is a direct descriptor or ordered: the executor that knows it, by
/// `Mailbox::home`. 0: the program has put the handle together, and nobody knows.
pub const HOME: u32 = HOMES << HOME_SHIFT;

/// The flags of a handle that this executor alone knows.
#[inline(always)]
pub fn home<K: Kernel>(ex: &Executor<K>) -> u32 {
    home_bits(ex.mailbox().home())
}

#[inline(always)]
pub(super) fn home_bits(home: u32) -> u32 {
    home << HOME_SHIFT
}

/// The flags are those of a handle that another executor knows.
#[inline(always)]
pub fn is_elsewhere<K: Kernel>(ex: &Executor<K>, flags: u32) -> bool {
    let known = flags & HOME;
    known != 0 && known != home(ex)
}

/// As much as the kernel moves at once: MAX_RW_COUNT.
pub const BYTES_MAX: usize = 0x7fff_f000;

/// Who calls, on what.
pub struct Call<'a, K: Kernel> {
    pub ex: &'a Executor<K>,
    pub task: TaskRef,
    pub fd: i32,
    /// `DIRECT`, and what else the handle says.
    pub flags: u32,
}

/// An answer of the kernel as a result.
pub(super) fn answer(res: i32) -> Res<usize> {
    usize::try_from(res).map_err(|_| Errno(res.saturating_neg()))
}

/// As `answer`, to `sqe`.
#[inline(always)]
pub(super) fn answer_to(sqe: &Sqe, res: i32) -> Res<usize> {
    if valgrind::is_here() && res >= 0 {
        tell_valgrind(sqe, res as usize);
    }
    answer(res)
}

/// What the kernel has written for `sqe`, whose result is `res`.
#[cold]
#[inline(never)]
fn tell_valgrind(sqe: &Sqe, res: usize) {
    let parts = |at: *const libc::iovec, count: usize| {
        let mut left = res;
        for n in 0..count {
            // SAFETY: the kernel has just read it there.
            let part = unsafe { *at.add(n) };
            valgrind::defined(part.iov_base as u64, part.iov_len.min(left));
            left -= part.iov_len.min(left);
        }
    };
    match sqe.opcode() {
        op::READ | op::RECV => valgrind::defined(sqe.addr(), res.min(sqe.len() as usize)),
        op::READV => parts(sqe.addr() as *const libc::iovec, sqe.len() as usize),
        op::RECVMSG => {
            // SAFETY: as above.
            let message = unsafe { &*(sqe.addr() as *const libc::msghdr) };
            valgrind::defined(sqe.addr(), size_of::<libc::msghdr>());
            valgrind::defined(message.msg_name as u64, message.msg_namelen as usize);
            valgrind::defined(message.msg_control as u64, message.msg_controllen);
            parts(message.msg_iov, message.msg_iovlen);
        }
        op::STATX => valgrind::defined(sqe.off(), size_of::<libc::statx>()),
        op::ACCEPT if sqe.off() != 0 => {
            // SAFETY: as above.
            let length = unsafe { *(sqe.off() as *const libc::socklen_t) };
            valgrind::defined(sqe.addr(), length as usize);
        }
        _ => {}
    }
}

/// Between two tries where poll tells more than is so: none at first, then longer each time.
pub(super) struct Pause {
    ns: u64,
}

impl Pause {
    const FIRST_NS: u64 = 50_000;
    const LONGEST_NS: u64 = 10_000_000;
    /// A poll that took so long did not tell at once, however busy the others are.
    const WAITED_NS: u64 = 1_000_000;

    pub(super) const fn new() -> Self {
        Self { ns: 0 }
    }

    /// SUSPENDS, but the first time.
    pub(super) fn next<K: Kernel>(&mut self, call: &Call<'_, K>) -> Res<()> {
        if self.ns != 0 {
            answer(call.ex.sleep(call.task, self.ns))?;
        }
        self.ns = (self.ns * 2).clamp(Self::FIRST_NS, Self::LONGEST_NS);
        Ok(())
    }
}

/// A result that is one word, for what is called out of line: a larger one is in memory, in the
/// frame of who calls.
#[inline(always)]
pub(super) fn word(moved: Res<usize>) -> isize {
    moved.map_or_else(|e| -(e.0 as isize), |n| n as isize)
}

/// What `word` has made of it.
#[inline(always)]
pub(super) fn in_word(word: isize) -> Res<usize> {
    usize::try_from(word).map_err(|_| Errno(word.wrapping_neg() as i32))
}

/// As `io_ended`, for who has neither the entry nor the call in memory: see `Given`.
///
/// # Safety
/// As `io`.
#[cold]
#[inline(never)]
unsafe fn ended_by_words<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    (head, off): (u64, u64),
    (addr, len): (u64, u64),
    (group, begun): (u64, u64),
    res: i32,
    how: (Option<i16>, bool),
) -> isize {
    let sqe = Sqe([head, off, addr, len, 0, group, 0, 0]);
    // SAFETY: the caller's.
    word(unsafe { Call::of_entry(ex, task, &sqe).io_ended(&sqe, res, how, begun) })
}

/// What an operation returns that was begun by `io_last`, and whose outcome is below 0: `closings`
/// handles had been closed when it began.
///
/// # Safety
/// Called where that call ends, for its task; `sqe` is its entry.
pub(super) unsafe fn of_entry_failed<K: Kernel>(
    task: TaskRef,
    sqe: &Sqe,
    closings: u64,
) -> RawResult {
    // SAFETY: the task runs, so its executor lives; the rest is the caller's.
    unsafe {
        let ex = &*task.executor().cast::<Executor<K>>();
        let res = ex.io_failed(task, sqe, closings);
        let call = Call::of_entry(ex, task, sqe);
        call.io_ended(sqe, res, (None, false), closings).map(|n| n as isize).into()
    }
}

/// How much was moved before what stopped it: the value, with its error.
pub(super) fn moved(bytes: usize, stopped: Res<()>) -> RawResult {
    let error = stopped.map_or_else(|e| e.0, |()| 0);
    RawResult { value: bytes as isize, error, reserved: 0 }
}

/// Of a call that tells how much it has moved, with an error too: nothing, as it did not begin.
pub fn nothing(e: Errno) -> RawResult {
    moved(0, Err(e))
}

impl<'a, K: Kernel> Call<'a, K> {
    /// On the handle of an entry, of which no more is asked than whether it is a direct one.
    pub(super) fn of_entry(ex: &'a Executor<K>, task: TaskRef, sqe: &Sqe) -> Self {
        let flags = if sqe.flags() & flag::FIXED_FILE != 0 { DIRECT } else { 0 };
        Self { ex, task, fd: sqe.fd(), flags }
    }

    #[inline(always)]
    pub(super) fn is_direct(&self) -> bool {
        self.flags & DIRECT != 0
    }

    /// The descriptor of a handle that is none of the ring's.
    pub(super) fn plain(&self) -> Option<i32> {
        (!self.is_direct()).then_some(self.fd)
    }

    #[inline(always)]
    pub fn entry(&self, opcode: u8, off: u64, addr: u64, len: u32, op_flags: u32) -> Sqe {
        let mut sqe = Sqe::new(opcode, self.fd, off, addr, len, op_flags);
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
    pub(super) unsafe fn io(&self, sqe: &Sqe) -> Res<usize> {
        // SAFETY: the caller's.
        answer_to(sqe, unsafe { self.ex.io(self.task, *sqe) })
    }

    /// What a call returns that is to move nothing, and so asks the kernel nothing: 0, unless what
    /// stops any other stops it.
    #[cold]
    pub(super) fn of_nothing(&self) -> RawResult {
        match self.ex.interrupted(self.task) {
            0 => moved(0, Ok(())),
            _ => nothing(self.ex.refused_at_start(self.task)),
        }
    }

    /// How many handles had been closed when the call began; see `goes_on`.
    #[inline(always)]
    pub(super) fn begun(&self) -> u64 {
        self.ex.closings()
    }

    /// Before each operation of a call but the first. ECANCELED: the handle has been closed, by
    /// another task, while this one had nothing in flight that the close could find. Its number may
    /// be another's by now.
    #[inline(always)]
    pub(super) fn goes_on(&self, begun: u64) -> Res<()> {
        if self.ex.is_closed_since(self.fd, self.is_direct(), begun) {
            return Err(Errno(libc::ECANCELED));
        }
        Ok(())
    }

    /// As `io`; where the kernel would not wait, waits for these events of poll and asks again.
    ///
    /// # Safety
    /// As `io`.
    #[inline(always)]
    pub(super) unsafe fn io_when(&self, sqe: Sqe, events: i16, dont_wait: bool) -> Res<usize> {
        // SAFETY: the caller's.
        unsafe { self.io_or_wait(sqe, (Some(events), dont_wait)) }
    }

    /// As `io`, of a read or a write, which waits by a descriptor with O_NONBLOCK, too.
    ///
    /// # Safety
    /// As `io`.
    #[inline(always)]
    pub unsafe fn transfer(&self, sqe: Sqe, dont_wait: bool) -> Res<usize> {
        // SAFETY: the caller's.
        unsafe { self.io_or_wait(sqe, (None, dont_wait)) }
    }

    /// # Safety
    /// As `io`.
    #[inline(always)]
    unsafe fn io_or_wait(&self, sqe: Sqe, how: (Option<i16>, bool)) -> Res<usize> {
        let begun = self.begun();
        // SAFETY: the caller's.
        let res = unsafe { self.ex.io_since(self.task, sqe, begun) };
        if res >= 0 && !valgrind::is_here() {
            return Ok(res as usize);
        }
        let [head, off, addr, len, _, group, rest @ ..] = sqe.0;
        debug_assert!(rest == [0, 0], "what moves something has no more words");
        // SAFETY: the caller's.
        in_word(unsafe {
            ended_by_words(self.ex, self.task, (head, off), (addr, len), (group, begun), res, how)
        })
    }

    /// # Safety
    /// As `io`.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn io_ended(
        &self,
        sqe: &Sqe,
        res: i32,
        (events, dont_wait): (Option<i16>, bool),
        begun: u64,
    ) -> Res<usize> {
        if res != KEPT_FROM || dont_wait {
            return answer_to(sqe, res);
        }
        // SAFETY: the caller's.
        unsafe {
            match events {
                Some(events) => self.io_after_poll(sqe, events, begun),
                None => self.without_nonblock(sqe, begun),
            }
        }
    }

    /// A send that was not to wait, and has found no room, once more: of a stream the ring waits
    /// for that, holding the socket meanwhile. `KEPT_FROM`: the task is to wait.
    ///
    /// # Safety
    /// As `io`.
    unsafe fn sends_on(&self, sqe: &Sqe, begun: u64) -> i32 {
        const NOW: u64 = (libc::MSG_DONTWAIT as u64) << 32;
        let is_send = matches!(sqe.opcode(), op::SEND | op::SENDMSG);
        if !is_send || sqe.0[3] & NOW == 0 || !self.is_stream() {
            return KEPT_FROM;
        }
        if let Err(e) = self.goes_on(begun) {
            return -e.0;
        }
        let mut sqe = *sqe;
        sqe.0[3] &= !NOW;
        // SAFETY: the caller's.
        unsafe { self.ex.io(self.task, sqe) }
    }

    /// Of a direct one where the ring can ask (Linux 6.7): SUSPENDS. `false`: maybe.
    fn is_stream(&self) -> bool {
        if let Some(fd) = self.plain() {
            return fd::is_stream(fd);
        }
        let mut kind = 0i32;
        let (name, value) = ((libc::SOL_SOCKET, libc::SO_TYPE), (&raw mut kind as u64, 4));
        let sqe = Sqe::option(self.fd, uring_cmd_socket::GETSOCKOPT, name, value);
        // SAFETY: the ring is done with the number when this returns.
        unsafe { self.io(&sqe).is_ok() && (&raw const kind).read_volatile() == libc::SOCK_STREAM }
    }

    /// # Safety
    /// As `io`.
    pub(super) unsafe fn io_after_poll(&self, sqe: &Sqe, events: i16, begun: u64) -> Res<usize> {
        // SAFETY: the caller's.
        match unsafe { self.sends_on(sqe, begun) } {
            KEPT_FROM => {}
            res => return answer_to(sqe, res),
        }
        let (kernel, mut pause) = (self.ex.kernel(), Pause::new());
        loop {
            let poll = self.entry(op::POLL_ADD, 0, 0, 0, events as u16 as u32);
            self.goes_on(begun)?;
            let since_ns = kernel.now_boot_ns();
            // SAFETY: refers to no memory; then the caller's.
            unsafe {
                self.io(&poll)?;
                self.goes_on(begun)?;
                if kernel.now_boot_ns() - since_ns > Pause::WAITED_NS {
                    // It told the truth, and another was sooner.
                    pause = Pause::new();
                }
                match self.ex.io(self.task, *sqe) {
                    KEPT_FROM => {}
                    res => return answer_to(sqe, res),
                }
            }
            // A connect to a Unix socket whose queue is full: it is told to be writable.
            pause.next(self)?;
        }
    }

    /// SUSPENDS until one of these events of poll, or an error; which.
    pub fn poll(&self, events: i16) -> Res<usize> {
        // SAFETY: refers to no memory.
        let are = unsafe { self.io(&self.entry(op::POLL_ADD, 0, 0, 0, events as u16 as u32)) }?;
        // As poll(2): a kernel before 5.13 tells of others, too.
        Ok(are & usize::from((events | libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) as u16))
    }

    /// SUSPENDS, shielded, where it waits for something.
    pub fn close_socket(&self) -> Res<()> {
        self.ex.close_socket(self.task, self.fd, self.is_direct())
    }

    /// SUSPENDS, shielded.
    pub fn close(&self) -> Res<()> {
        self.ex.close_handle(self.task, self.fd, self.is_direct())
    }
}

//! An operation: `struct monad_async_op`, a record in memory of the caller's.
//!
//! ```text
//!         +0  the entry                         the caller's while idle, ours while in flight
//!        +64  result, cqe_flags, is_in_flight   the caller reads
//!        +85  state, level, bits
//!        +88  user_ptr                          the caller's
//!        +96  link        while QUEUED, the queue of its I/O priority; or, with a completion,
//!                         the task's list of those
//!       +112  of_task     in the task's list of its operations, while in flight
//!       +128  cancel      while its cancel request waits for a submission entry; while LISTED
//!       +144  task, the latest completion
//! ```
//!
//! ```text
//!          begin: no room          there is room
//!   IDLE -----------------> QUEUED -------------> KERNEL -----> DONE -----> IDLE
//!     `-------------------------------------------^   the last    its last completion
//!          begin: room                                completion  was taken
//! ```
//!
//! 1. While in flight a record belongs to the thread of its task's executor, and stays where it is.
//! 2. `pending` is not 0 exactly while it is in `completed` of its task: a completion was not
//!    taken. A stream has completions in KERNEL too.
//! 3. What is submitted was checked when it was begun, and is not read again before that from
//!    anywhere the caller may write, except for the retry of an operation that the kernel did not
//!    perform.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use super::buffers::{Buffers, NONE};
use super::fixed;
use crate::atomic::AtomicU32;
use crate::error::{Errno, RawResult, Res};
use crate::intrusive::Link;
use crate::task::header::{mark, TaskRef};
use crate::uring::kernel::Sqe;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    Idle = 0,
    /// Waits for a submission entry.
    Queued = 1,
    /// The kernel has it, or the submission queue.
    Kernel = 2,
    /// Its last completion is there, not taken yet; of a row, maybe not told of yet either.
    Done = 3,
    /// Waits for its turn in a row: see `rows`.
    Row = 4,
    /// The kernel has it, and a list by its handle: see `closing`, rule 5.
    Listed = 5,
}

/// Bits of [`Op::bits`].
pub mod bit {
    /// The kernel was asked to cancel it, or is about to be.
    pub const ASKED: u8 = 1 << 0;
    /// In the queue of cancel requests.
    pub const CANCEL_QUEUED: u8 = 1 << 1;
    pub(crate) const STREAM: u8 = 1 << 2;
    /// Of `task_io`: who waits for it has it cancelled when interrupted.
    pub const INTERNAL: u8 = 1 << 3;
    /// IORING_OP_CLOSE: see `is_closed`.
    pub(crate) const CLOSES: u8 = 1 << 4;
    /// Its result is a descriptor, which is closed if nobody takes it.
    pub(crate) const OPENS: u8 = 1 << 5;
    /// The same, a direct one.
    pub(crate) const OPENS_DIRECT: u8 = 1 << 6;
    /// A write that has its place in a row.
    pub(crate) const ORDERED: u8 = 1 << 7;
}

/// `monad_async_op`: op.h
#[repr(C)]
pub struct Op {
    pub sqe: Cell<Sqe>,
    pub result: Cell<RawResult>,
    pub cqe_flags: Cell<u32>,
    pub is_in_flight: Cell<bool>,
    pub state: Cell<State>,
    /// The level of the queue it waits in; or, while LISTED, which list that is.
    pub level: Cell<u8>,
    pub bits: Cell<u8>,
    pub user_ptr: Cell<*mut c_void>,
    pub link: Link,
    pub of_task: Link,
    pub cancel: Link,
    task: Cell<Option<TaskRef>>,
    /// The latest completion's.
    pub outcome: Cell<i32>,
    pub outcome_flags: Cell<u32>,
    /// Completions not taken; those of a poll are one.
    pub pending: Cell<u32>,
    /// How often it was begun again.
    pub retries: Cell<u32>,
    /// A stream into buffers: where those of its completions are that nobody took. On a registered
    /// buffer: its count of operations in flight, with bit 0 set. Else null.
    pub(super) buffers: Cell<*const u8>,
    /// Of a record of a row, the number of that.
    pub(super) first: Cell<u16>,
    pub(super) last: Cell<u16>,
    /// Of a record of a row: how much of it is written. Of one that opens a direct descriptor: the
    /// number of the executor whose table has it (`Mailbox::home`), which operation.hpp reads.
    pub progress: Cell<u32>,
    /// How many handles had been closed when it was begun: see `closing`.
    pub closings: Cell<u64>,
}

// As in op.h.
const _: () = {
    assert!(offset_of!(Op, result) == 64 && offset_of!(Op, cqe_flags) == 80);
    assert!(offset_of!(Op, is_in_flight) == 84 && offset_of!(Op, user_ptr) == 88);
    assert!(offset_of!(Op, state) == 85 && offset_of!(Op, level) == 86);
    assert!(offset_of!(Op, bits) == 87 && align_of::<Op>() == 8);
    assert!(offset_of!(Op, link) == 96 && size_of::<Op>() == 192);
    assert!(offset_of!(Op, progress) == 180);
};

impl Op {
    /// Of `task_io`, on the task's stack.
    pub(crate) fn internal(sqe: &Sqe) -> Self {
        Self {
            sqe: Cell::new(*sqe),
            result: RawResult::default().into(),
            cqe_flags: 0.into(),
            is_in_flight: false.into(),
            state: State::Idle.into(),
            level: 0.into(),
            bits: bit::INTERNAL.into(),
            user_ptr: Cell::new(core::ptr::null_mut()),
            link: Link::new(),
            of_task: Link::new(),
            cancel: Link::new(),
            task: Cell::new(None),
            outcome: 0.into(),
            outcome_flags: 0.into(),
            pending: 0.into(),
            retries: 0.into(),
            buffers: Cell::new(ptr::null()),
            first: NONE.into(),
            last: NONE.into(),
            progress: 0.into(),
            closings: 0.into(),
        }
    }

    pub fn link(&self) -> NonNull<Link> {
        self.at(offset_of!(Op, link))
    }

    pub fn of_task(&self) -> NonNull<Link> {
        self.at(offset_of!(Op, of_task))
    }

    pub fn cancel(&self) -> NonNull<Link> {
        self.at(offset_of!(Op, cancel))
    }

    fn at(&self, offset: usize) -> NonNull<Link> {
        // SAFETY: within the record.
        unsafe { NonNull::from(self).byte_add(offset).cast() }
    }

    /// # Safety
    /// `link` is the `link` of a record in flight.
    pub(crate) unsafe fn from_link<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; rule 1.
        unsafe { link.byte_sub(offset_of!(Op, link)).cast().as_ref() }
    }

    /// # Safety
    /// `link` is the `of_task` of a record in flight.
    pub(crate) unsafe fn from_of_task<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; rule 1.
        unsafe { link.byte_sub(offset_of!(Op, of_task)).cast().as_ref() }
    }

    /// # Safety
    /// `link` is the `cancel` of a record in flight.
    pub(crate) unsafe fn from_cancel<'a>(link: NonNull<Link>) -> &'a Self {
        // SAFETY: the caller's; rule 1.
        unsafe { link.byte_sub(offset_of!(Op, cancel)).cast().as_ref() }
    }

    /// What the record holds, without its `user_data`: each word read once.
    #[inline(always)]
    pub fn entry(&self) -> Sqe {
        // SAFETY: a Cell of ours or the caller's; nothing writes it while it is read.
        unsafe { &*self.sqe.as_ptr() }.copied()
    }

    /// One word of what the record holds.
    #[inline(always)]
    pub fn word(&self, n: usize) -> u64 {
        // SAFETY: as in `entry`. Volatile: see `Sqe::copied`.
        unsafe { (&raw const (*self.sqe.as_ptr()).0[n]).read_volatile() }
    }

    /// Whose it is. In flight.
    #[inline(always)]
    pub fn task(&self) -> TaskRef {
        self.task.get().expect("an operation in flight is a task's")
    }

    /// As `task`.
    ///
    /// # Safety
    /// In flight.
    #[inline(always)]
    pub(crate) unsafe fn owner(&self) -> TaskRef {
        // SAFETY: noted when it was begun.
        unsafe { self.task.get().unwrap_unchecked() }
    }

    pub(crate) fn is_of(&self, task: TaskRef) -> bool {
        self.task.get() == Some(task)
    }

    /// ENOENT: not in flight. EINVAL: another task's.
    pub fn may_be_awaited_by(&self, task: TaskRef) -> Res<()> {
        if !self.is_in_flight.get() {
            return Err(ENOENT);
        }
        if !self.is_of(task) {
            return Err(Errno(libc::EINVAL));
        }
        Ok(())
    }

    #[inline(always)]
    pub fn has(&self, bits: u8) -> bool {
        self.bits.get() & bits != 0
    }

    pub fn set(&self, bits: u8) {
        self.bits.set(self.bits.get() | bits);
    }

    pub fn clear(&self, bits: u8) {
        self.bits.set(self.bits.get() & !bits);
    }

    /// From idle to in flight.
    #[inline(always)]
    pub fn begun(&self, task: TaskRef, bits: u8) {
        self.bits.set(bits);
        self.progress.set(0);
        self.first.set(NONE);
        self.last.set(NONE);
        self.is_in_flight.set(true);
        self.begun_by(task);
    }

    #[inline(always)]
    pub(super) fn begun_by(&self, task: TaskRef) {
        self.task.set(Some(task));
        self.pending.set(0);
        self.retries.set(0);
        self.buffers.set(ptr::null());
        // SAFETY: idle, so in no list; rule 1.
        if unsafe { task.operations.push_back(self.of_task()) } {
            task.mark(mark::OPERATIONS);
        }
    }

    /// What it opens is of the executor with that number.
    pub fn opens_at(&self, home: u32) {
        self.progress.set(home);
    }

    /// It is of that row.
    pub fn joins(&self, row: u16) {
        self.first.set(row);
    }

    pub fn row(&self) -> u16 {
        self.first.get()
    }

    /// Whether it is a `RecvStream`'s, which alone takes what it brings.
    pub fn is_of_a_stream(&self) -> bool {
        self.has(bit::STREAM) && self.progress.get() == u32::MAX
    }

    /// What it ends with that is not to be finished: how much of it is done, if some is.
    pub(super) fn withdrawn(&self) -> i32 {
        debug_assert!(self.has(bit::ORDERED), "others note nothing of it");
        match self.progress.get() {
            0 => -libc::ECANCELED,
            done => done as i32,
        }
    }

    /// It receives into these, which outlive it.
    pub fn receives_into(&self, buffers: &Buffers) {
        buffers.streams.set(buffers.streams.get() + 1);
        self.buffers.set(ptr::from_ref(buffers).cast());
    }

    /// It is on a registered buffer with this count, which outlives it: the buffer is not given
    /// back while in use.
    pub fn uses(&self, users: &AtomicU32) {
        fixed::used(users);
        self.buffers.set(ptr::from_ref(users).cast::<u8>().wrapping_add(1));
    }

    /// The kernel is done with it.
    #[inline(always)]
    pub(super) fn done(&self) {
        self.state.set(State::Done);
        if self.buffers.get().addr() & 1 != 0 {
            self.done_with_buffer();
        }
    }

    #[inline(never)]
    fn done_with_buffer(&self) {
        let users = self.buffers.replace(ptr::null()).wrapping_sub(1);
        // SAFETY: bit 0 says that it is one; a registration stays while one of its buffers is in
        // use.
        fixed::unused(unsafe { &*users.cast::<AtomicU32>() });
        self.sqe.set(fixed::as_given(&self.sqe.get()));
    }

    #[inline(always)]
    pub(super) fn buffers(&self) -> Option<&Buffers> {
        let kept = self.buffers.get();
        if kept.addr() & 1 != 0 {
            return None;
        }
        // SAFETY: null, or kept by `streams` while in flight.
        unsafe { kept.cast::<Buffers>().as_ref() }
    }

    /// One more to be taken.
    #[inline(always)]
    pub(super) fn pend(&self) {
        if self.pending.get() == 0 {
            // SAFETY: not pending, so not in that list (rule 2), nor in a queue.
            unsafe { self.task().completed.push_back(self.link()) };
        }
        self.pending.set(self.pending.get() + 1);
    }

    /// A completion has come; `over`: the last one. What it brings and its flags are one.
    pub fn completed(&self, res: i32, flags: u32, over: bool) {
        if self.pending.get() == 0 || self.buffers().is_some() {
            self.outcome.set(res);
            self.pend();
        } else {
            // Of a poll: the events of all; an error is the last of it.
            let both = if res < 0 { res } else { self.outcome.get() | res };
            self.outcome.set(both);
        }
        self.outcome_flags.set(flags);
        if over {
            self.done();
        }
    }

    /// One fewer.
    #[inline(always)]
    pub(super) fn unpend(&self, task: TaskRef) {
        self.pending.set(self.pending.get() - 1);
        // SAFETY: pending, so in that list (rule 2); to its end, where others have their turn.
        unsafe {
            task.completed.remove(self.link());
            if self.pending.get() != 0 {
                task.completed.push_back(self.link());
            }
        }
    }

    /// Takes what is pending. True: that was the last.
    pub fn take(&self) -> bool {
        debug_assert!(self.pending.get() != 0);
        let task = self.task();
        let (res, flags) = match self.buffers() {
            Some(buffers) if self.first.get() != NONE => self.take_buffer(buffers, task),
            _ => (self.outcome.get(), self.outcome_flags.get()),
        };
        self.unpend(task);
        let mut result = RawResult::from_kernel(res);
        if res < 0 && self.has(bit::ORDERED) {
            result.value = self.progress.get() as isize; // No byte count is lost.
        }
        self.result.set(result);
        self.cqe_flags.set(flags);
        let over = self.state.get() == State::Done && self.pending.get() == 0;
        if over {
            self.ended();
        }
        over
    }

    /// From DONE to idle.
    #[inline(always)]
    fn ended(&self) {
        let task = self.task();
        self.state.set(State::Idle);
        self.is_in_flight.set(false);
        if let Some(buffers) = self.buffers() {
            buffers.streams.set(buffers.streams.get() - 1);
            self.buffers.set(ptr::null());
        }
        // SAFETY: in flight until now, so in that list.
        if unsafe { task.operations.remove(self.of_task()) } {
            task.unmark(mark::OPERATIONS);
        }
    }
}

/// What the kernel answers where it did not perform an operation: interrupted, or cancelled.
#[inline(always)]
pub fn is_not_performed(res: i32) -> bool {
    // 512 to 516 are ERESTARTSYS and its like, which the kernel keeps to itself elsewhere.
    matches!(res.saturating_neg(), libc::ECANCELED | libc::EINTR | 512..=516)
}

/// An interrupted IORING_OP_CLOSE has closed its descriptor, whose number another thread may have
/// by now: it must not be begun again. What its file system was to write back may be on its way.
pub fn is_closed(res: i32) -> bool {
    is_not_performed(res) && res != -libc::ECANCELED
}

/// What such a close ends with: POSIX's word for it.
pub(crate) const CLOSED: i32 = -libc::EINPROGRESS;

/// What an operation ends with that the kernel would not perform, however often it was asked.
pub const KEPT_FROM: i32 = -libc::EAGAIN;
/// How often it is asked.
pub const RETRIES_MAX: u32 = 100;

pub const ENOENT: Errno = Errno(libc::ENOENT);

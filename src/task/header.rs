//! The pinned task: the public head that C sees, and behind it what the executor needs.
//!
//! ```text
//!             +-------------------------------+
//!    +192     | line 3: sleeping, scopes, ... |  touched by timers and records
//!    +128     | line 2: seq, switch           |  touched by every launch and switch
//!     +64     | line 1: ticks, link, state    |  touched by every transition
//!      +0     | line 0: priority, user_code,  |  touched by attach and launch
//!             |   flags, outcome, executor    |
//!   header -> +-------------------------------+
//! ```
//!
//! Headers lie side by side (`stack::slab`); the stack is elsewhere.
//!
//! Who may touch what: while `run_state` is ATTACHED all plain fields belong to the thread of the
//! executor the task is attached to; otherwise to the thread that owns the handle. What
//! [`TaskState`](super::state::TaskState) has of it may be read by any thread at any time, also
//! after the task was destroyed: slot memory is never unmapped (see `stack::pool`), which is what
//! makes [`TaskRef`] safe to follow.

use core::cell::Cell;
use core::ffi::c_void;
use core::ops::Deref;
use core::ptr::NonNull;

use crate::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Ordering};
use crate::error::{Errno, RawResult};
use crate::intrusive::{Circular, Fifo, Link, TimerNode};
use crate::prefetch;
use crate::stack::asked::Place;
use crate::stack::pool::{Header, Held};
use crate::stack::switch::Switch;
pub use crate::task::room::Room;
use crate::task::state;

pub(crate) const PRIORITIES: usize = 3;
pub(crate) const NORMAL: u8 = 1;

/// `user_code`; the head is the task's handle in C.
pub type UserCode = unsafe extern "C" fn(*const TaskHead) -> RawResult;

/// `struct monad_async_task_head`: every offset is asserted below and in task.h.
#[repr(C)]
pub struct TaskHead {
    pub cpu: Cell<u8>,
    pub io: Cell<u8>,
    pub has_past: AtomicU8,    // Not 0: see `TaskRef::begin_anew`. Any thread.
    pub joins_high: AtomicU32, // See `joins`.
    /// Written, and read across threads, by `state` as two words.
    pub result: Cell<RawResult>,
    pub user_code: Cell<Option<UserCode>>,
    pub user_ptr: Cell<*mut c_void>,
    /// The four public bools, changed by one store; see [`Flags`].
    pub flags: Cell<Flags>,
    /// What the suspension returns: the kernel's `res`, or -errno.
    pub outcome: Cell<i32>,
    /// The executor's head; null while idle. Any thread may compare it, only the owner follows it.
    pub current_executor: AtomicPtr<c_void>,
    pub ticks_when_attached: Cell<u64>,
    pub ticks: Ticks,
}

/// The stamps that `attach` clears, in the public order.
#[derive(Default)]
#[repr(C)]
pub struct Ticks {
    pub when_detached: Cell<u64>,
    pub when_suspended_awaiting: Cell<u64>,
    pub when_suspended_completed: Cell<u64>,
    pub when_resumed: Cell<u64>,
    pub total_executed: Cell<u64>,
}

impl Ticks {
    #[inline(always)]
    pub fn clear(&self) {
        self.when_detached.set(0);
        self.when_suspended_awaiting.set(0);
        self.when_suspended_completed.set(0);
        self.when_resumed.set(0);
        self.total_executed.set(0);
    }
}

/// is_pending_launch, is_running, is_suspended_awaiting, is_suspended_completed: one byte each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Flags(pub u32);

impl Flags {
    pub const IDLE: Flags = Flags(0);
    pub const PENDING_LAUNCH: Flags = Flags(u32::from_ne_bytes([1, 0, 0, 0]));
    pub const RUNNING: Flags = Flags(u32::from_ne_bytes([0, 1, 0, 0]));
    pub const AWAITING: Flags = Flags(u32::from_ne_bytes([0, 0, 1, 0]));
    pub const COMPLETED: Flags = Flags(u32::from_ne_bytes([0, 0, 0, 1]));
}

macro_rules! offsets {
    ($($field:ident = $at:expr),* $(,)?) => {
        $(const _: () = assert!(core::mem::offset_of!(TaskHead, $field) == $at);)*
    };
}
offsets! {
    cpu = 0, io = 1, has_past = 2, joins_high = 4, result = 8, user_code = 24, user_ptr = 32,
    flags = 40, outcome = 44, current_executor = 48, ticks_when_attached = 56, ticks = 64,
}
const _: () = assert!(size_of::<TaskHead>() == 104);
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(Ticks, when_detached) == 0);
    assert!(offset_of!(Ticks, when_suspended_awaiting) == 8);
    assert!(offset_of!(Ticks, when_suspended_completed) == 16);
    assert!(offset_of!(Ticks, when_resumed) == 24);
    assert!(offset_of!(Ticks, total_executed) == 32);
};

/// What a task that is not running waits for, which is also which list its link is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Waits {
    /// In no list: running, idle, or in an inbox.
    Nothing,
    /// In the ready list of `level`.
    Ready,
    /// In the deadline structure.
    Deadline,
    /// Until cancelled; in no list.
    Forever,
    /// For the completion of its inline operation `op`; in no list.
    Completion,
    /// As `Completion`, and its cancel request waits for a submission entry.
    CompletionCancelQueued,
    /// For a completion of the operation record `peer`, or, if that is null, of any of its own; in
    /// no list.
    Operation,
    /// For another task: `peer` is the join record, which is in that one's joiners, or on its way;
    /// in no list.
    Join,
    /// For a permit: `peer` is the park record; in no list.
    Park,
    /// For what others grant: `peer` is the record, a `grant::Wait`, or null, if that is made when
    /// somebody asks for it: `bare::record_of`; in no list.
    Grant,
    /// `user_code` has returned: for the end of its operations; in no list.
    Closing,
    /// For a worker to begin it: in the queue of a pool, at `level`.
    Queue,
}

/// What a task's next suspension or its exit must not pass by: bits of [`Task::marks`], so that a
/// suspension tests one byte for [`STOPS`](mark::STOPS), and an exit the same one for the rest.
pub mod mark {
    /// Asked to be cancelled. Sticky: until the task exits or takes it back.
    pub const ASKED: u8 = 1 << 0;
    /// A level that no shield keeps off has fired: a suspending call returns its error at once.
    pub const INTERRUPTED: u8 = 1 << 1;
    /// A scope's deadline may have no timer yet.
    pub const UNARMED: u8 = 1 << 2;
    /// The kernel was asked to cancel the inline operation.
    pub const OPERATION_ASKED: u8 = 1 << 3;
    /// In a scope.
    pub const SCOPED: u8 = 1 << 4;
    /// Has operation records that are in flight.
    pub const OPERATIONS: u8 = 1 << 5;
    /// Somebody joins this task.
    pub const JOINED: u8 = 1 << 6;
    /// Somebody is told of its exit: `executor::exit`. With JOINED.
    pub const HOOKED: u8 = 1 << 7;

    pub const STOPS: u8 = INTERRUPTED | UNARMED;
    /// An exit has more to do than to say that the task has exited.
    pub const ENDS: u8 = SCOPED | OPERATIONS | JOINED;
}

/// The whole task. 128-aligned; lives among the headers of its stack's slab.
#[repr(C, align(128))]
pub struct Task {
    pub head: TaskHead,
    pub link: Link,
    pub waits: Cell<Waits>,
    pub level: Cell<u8>,
    /// Bits of [`mark`].
    pub marks: Cell<u8>,
    /// IORING_OP_* of the last inline operation, for who debugs.
    pub opcode: Cell<u8>,
    /// Generation of that operation: part of its user_data.
    pub op: Cell<u16>,
    pub run_state: AtomicU8,
    /// Bits of [`note`](crate::task::annex::note): what the annex has.
    pub notes: Cell<u8>,
    // --- line 2
    pub cqe_flags: Cell<u32>,
    /// The number of the run that is attached, or was last: never the same twice at one address.
    pub run: AtomicU64,
    /// The type-stable mailbox of the executor it was last attached to.
    pub mailbox: AtomicPtr<c_void>,
    /// Its first two words are hot, and all of it on x86-64.
    pub switch: Switch,
    /// The stack to its name, and the number of its size: see `warm`.
    pub stack: Held,
    pub stack_size: Cell<u8>,
    /// A permit that its executor's thread has left: see `permit`.
    pub permit_here: Cell<bool>,
    /// The outcome of a wait for a grant that has ended without it, until the task is back; else 0.
    pub ended: Cell<i32>,
    // --- lines 3 and 4
    pub timer: TimerNode,
    /// The record of what this task waits for, where `waits` names one; on its stack, in memory of
    /// its own, or in its header.
    pub peer: Cell<*const c_void>,
    /// A permit to return from park, or the record of the park; see `permit`. Any thread.
    pub park: AtomicUsize,
    /// Whom it joins: see `joins`.
    pub joins: AtomicU64,
    /// The innermost scope, on the task's stack; null outside.
    pub scope: Cell<*const c_void>,
    /// Its operation records in flight, oldest first.
    pub operations: Circular,
    /// The operations that have a completion to be taken, in the order of completion.
    pub completed: Circular,
    /// Records of who joins this task, on this executor and on others.
    pub joiners: Fifo,
    /// See `state`.
    pub cancel_run: AtomicU64,
    /// Given back to the pool by destroy.
    pub header: Cell<Option<Header>>,
    /// See `annex`.
    pub annex: Cell<NonNull<u8>>,
    // --- line 5
    /// For the record of a wait without a frame: `executor::grant::Wait`.
    pub room: Room,
}

const _: () = {
    assert!(core::mem::offset_of!(Task, link) == 104);
    assert!(core::mem::offset_of!(Task, waits) == 120);
    assert!(core::mem::offset_of!(Task, level) == 121);
    assert!(core::mem::offset_of!(Task, marks) == 122);
    assert!(core::mem::offset_of!(Task, opcode) == 123);
    assert!(core::mem::offset_of!(Task, notes) == 127);
    assert!(core::mem::offset_of!(Task, cqe_flags) == 128);
    assert!(core::mem::offset_of!(Task, switch) + 16 <= 192);
    assert!(core::mem::offset_of!(Task, ended) < 192 || !Switch::BORROWS);
    // What a wait for another task touches, on one line: with a node in place of the timer, or the
    // permit.
    assert!(core::mem::offset_of!(Task, timer) == 192 || !Switch::BORROWS);
    assert!(core::mem::offset_of!(Task, scope) == 256 || !Switch::BORROWS);
    // The sanitizer's switch is larger, and so is what it is told of a stack.
    assert!(size_of::<Task>() == 384 || cfg!(feature = "asan"));
};

/// A pinned task. Copying it copies the pointer.
///
/// Invariant: points to a slot's header that was initialised by `Task::create` at least once. As
/// slots are never unmapped, following it is always sound memory; that the task is still the one
/// meant is the business of its holder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct TaskRef(NonNull<Task>);

// SAFETY: a TaskRef is an address. The fields behind it follow the ownership rule at the file's
// top.
unsafe impl Send for TaskRef {}

impl Deref for TaskRef {
    type Target = Task;
    #[inline(always)]
    fn deref(&self) -> &Task {
        // SAFETY: the invariant of TaskRef; all fields are Cells or atomics, so a shared reference
        // asserts nothing about who writes.
        unsafe { self.0.as_ref() }
    }
}

impl TaskRef {
    /// # Safety
    /// `task` points to a header in a slot that `Task::create` initialised.
    #[inline(always)]
    pub const unsafe fn new(task: NonNull<Task>) -> Self {
        Self(task)
    }

    /// # Safety
    /// As `new`; `head` came from `as_head`.
    #[inline(always)]
    pub unsafe fn from_head(head: *const TaskHead) -> Self {
        // SAFETY: the head is the task's first field, and the caller says it is not null.
        Self(unsafe { NonNull::new_unchecked(head as *mut Task) })
    }

    /// # Safety
    /// `link` is the link of a task.
    #[inline(always)]
    pub(crate) unsafe fn from_link(link: NonNull<Link>) -> Self {
        // SAFETY: inverse of `link`.
        Self(unsafe { link.byte_sub(core::mem::offset_of!(Task, link)).cast() })
    }

    /// # Safety
    /// `timer` is the timer node of a task.
    #[inline(always)]
    pub unsafe fn from_timer(timer: NonNull<TimerNode>) -> Self {
        // SAFETY: inverse of `timer_node`.
        Self(unsafe { timer.byte_sub(core::mem::offset_of!(Task, timer)).cast() })
    }

    #[inline(always)]
    pub fn as_head(self) -> *const TaskHead {
        self.0.as_ptr() as *const TaskHead
    }

    /// What attach, launch and every switch touch of the header.
    #[inline(always)]
    pub(crate) fn prefetch_header(self) {
        let at = self.addr();
        prefetch::line(at);
        prefetch::line(at + 64);
        prefetch::line(at + 128);
    }

    /// The same lines, for a task that is with another processor.
    #[inline(always)]
    pub(crate) fn prefetch_to_write(self) {
        let at = self.addr();
        prefetch::line_to_write(at);
        prefetch::line_to_write(at + 64);
        prefetch::line_to_write(at + 128);
    }

    /// What a resume touches of the stack: the lowest frames, and the base of a coroutine's; of a
    /// launch, which runs on another, what comes after it if it `keeps` that one. Reads the header.
    #[inline(always)]
    pub(crate) fn prefetch_stack(self, keeps: bool) {
        if Switch::BORROWS && self.head.flags.get() == Flags::PENDING_LAUNCH {
            if keeps {
                let base = self.stack.base();
                prefetch::line(base - 64);
                prefetch::line(base - 128);
                prefetch::line(base - 192);
                prefetch::line(base - 256);
            }
            return;
        }
        self.prefetch_kept_stack();
    }

    /// As `prefetch_stack`, of one that is to be resumed. Of any other, lines that nobody needs.
    #[inline(always)]
    pub(crate) fn prefetch_kept_stack(self) {
        let sp = self.switch.sp();
        if !Switch::PASSES {
            prefetch::line(self.switch.base());
        }
        prefetch::line(sp - 64);
        prefetch::line(sp);
        prefetch::line(sp + 64);
        prefetch::line(sp + 128);
    }

    /// Where it may be marked; None: it was destroyed. The caller vouches for it.
    pub(crate) fn place(self) -> Option<Place> {
        // SAFETY: changed by who creates and destroys the task alone.
        unsafe { (*self.header.as_ptr()).as_ref() }.map(Place::of)
    }

    #[inline(always)]
    pub fn addr(self) -> usize {
        self.0.as_ptr() as usize
    }

    // Those below keep the whole task's provenance: made from the task's pointer, not from a
    // reference to the field.
    #[inline(always)]
    pub(crate) fn link_ptr(self) -> NonNull<Link> {
        // SAFETY: within the task.
        unsafe { self.0.byte_add(core::mem::offset_of!(Task, link)).cast() }
    }

    #[inline(always)]
    pub(crate) fn timer_ptr(self) -> NonNull<TimerNode> {
        // SAFETY: within the task.
        unsafe { self.0.byte_add(core::mem::offset_of!(Task, timer)).cast() }
    }

    #[inline(always)]
    pub(crate) fn room_ptr(self) -> NonNull<Room> {
        // SAFETY: within the task.
        unsafe { self.0.byte_add(core::mem::offset_of!(Task, room)).cast() }
    }

    pub(crate) const SWITCH_AT: usize = core::mem::offset_of!(Task, switch);
    pub(crate) const OUTCOME_AT: usize = core::mem::offset_of!(TaskHead, outcome);
    pub(crate) const ROOM_AT: usize = core::mem::offset_of!(Task, room);
    pub(crate) const OBJECT_AT: usize = Self::ROOM_AT + Room::OBJECT_AT;

    #[inline(always)]
    pub(crate) fn as_bytes(self) -> NonNull<u8> {
        self.0.cast()
    }

    /// Sets `waits` and `level`. (By one store it would be more instructions.)
    #[inline(always)]
    pub(crate) fn wait_in(self, waits: Waits, level: u8) {
        self.waits.set(waits);
        self.level.set(level);
    }

    /// Sets `waits`, `level` and `marks`, and that no operation was begun, by one store.
    #[inline(always)]
    pub(crate) fn begin_in(self, (waits, level): (Waits, u8), marks: u8) {
        let all = u32::from_ne_bytes([waits as u8, level, marks, 0]);
        // SAFETY: the four are neighbours in the task, in this order and aligned for it (asserted
        // at `Task`), and each byte is valid for its field.
        unsafe { self.0.byte_add(core::mem::offset_of!(Task, waits)).cast::<u32>().write(all) };
    }

    /// The CPU level the user asks for; anything above low counts as low.
    #[inline(always)]
    pub(crate) fn cpu_level(self) -> u8 {
        self.cpu_asked().min(PRIORITIES as u8 - 1)
    }

    /// What stands there.
    #[inline(always)]
    pub(crate) fn cpu_asked(self) -> u8 {
        // SAFETY: the field of a live task. Volatile, as the optimiser reads four bytes where it
        // may, and such a load waits for the store of the one byte that a user has just written.
        unsafe { self.head.cpu.as_ptr().read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn io_asked(self) -> u8 {
        // SAFETY: as above.
        unsafe { self.head.io.as_ptr().read_volatile() }
    }

    /// Any thread.
    #[inline(always)]
    pub fn has_exited(self) -> bool {
        self.state().has_exited()
    }

    /// Any thread. From its launch, or a claim on it, until its exit is published.
    #[inline(always)]
    pub fn is_attached(self) -> bool {
        self.state().is_taken()
    }

    /// Any thread. In the queue of a pool.
    pub fn is_queued(self) -> bool {
        self.state().run_state() == state::QUEUED
    }

    #[inline(always)]
    pub fn executor(self) -> *mut c_void {
        self.head.current_executor.load(Ordering::Relaxed)
    }

    /// For what threads share of it; see `shared`.
    #[inline(always)]
    pub(super) fn shared<'a>(self) -> &'a Task {
        // SAFETY: the invariant of TaskRef: a header, in memory that is never unmapped.
        unsafe { &*self.0.as_ptr() }
    }

    /// The result of its last run. EXITED, or on the thread that writes the next.
    #[inline(always)]
    pub fn result(self) -> RawResult {
        RawResult::from_words(self.state().result())
    }

    #[inline(always)]
    pub fn set_result(self, result: RawResult) {
        self.state().set_result(result.words());
    }

    #[inline(always)]
    pub fn has(self, marks: u8) -> bool {
        self.marks.get() & marks != 0
    }

    #[inline(always)]
    pub fn mark(self, marks: u8) {
        self.marks.set(self.marks.get() | marks);
    }

    #[inline(always)]
    pub fn unmark(self, marks: u8) {
        self.marks.set(self.marks.get() & !marks);
    }

    #[inline(always)]
    pub fn outcome(self) -> RawResult {
        RawResult::from_kernel(self.head.outcome.get())
    }
}

pub const ECANCELED: Errno = Errno(libc::ECANCELED);

//! From slot to task and back: what is expensive is done here, once per task.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicU8, Ordering};

use super::annex::{self, note};
use super::header::*;
use super::permit::Permit;
use super::state;
use crate::error::{Errno, RawResult, Res};
use crate::intrusive::{Circular, Fifo, Link, TimerNode};
use crate::stack::pool;
use crate::stack::switch::{Registration, Switch};
use crate::sys::stack_overflow;

/// At the base of each stack; see `annex`. A multiple of 16.
pub const ANNEX_BYTES: usize = 64;

/// Run numbers of new headers start in a range of their own, so that one that was forgotten by
/// the kernel (`MADV_DONTNEED`) never repeats a number a stale message may hold.
static EPOCH: AtomicU64 = AtomicU64::new(1);

/// What the base of every stack calls at every launch: runs user_code and keeps its result.
///
/// A panic or a foreign exception that leaves `user_code` ends the process: it is called through
/// `extern "C"`, which nothing may unwind out of.
#[inline(always)]
fn launch(task: TaskRef) {
    if let Some(code) = task.head.user_code.get() {
        // SAFETY: the user's function, with the handle it expects.
        let result = unsafe { code(task.as_head()) };
        task.set_result(result);
        if task.notes(note::LOCALS) {
            task.end_locals();
        }
    }
}

/// What an overflow of the stack below `header` is to say; false for a task that does not run. One
/// that is `here` runs, though it may just be about to suspend. Called in a signal handler.
fn describe(header: *const u8, here: bool, line: &mut stack_overflow::Line) -> bool {
    // SAFETY: the pool found the address to be a slot's header, and slots are never unmapped;
    // zeros, if no task ever had it.
    let task = unsafe { TaskRef::from_head(header.cast()) };
    if !here && task.head.flags.get() != Flags::RUNNING {
        return false;
    }
    let code = task.head.user_code.get().map_or(0, |code| code as usize);
    line.text("user_code ").hex(code).text(", user_ptr ").hex(task.head.user_ptr.get() as usize);
    true
}

/// EXPENSIVE. A task that was never attached. ENOMEM where memory ends.
pub fn create(stack_bytes: usize) -> Res<TaskRef> {
    stack_overflow::set_describe(describe);
    let slot = pool::acquire(stack_bytes, size_of::<Task>())?;
    let at = slot.header.cast::<Task>();
    // SAFETY: the stack is ours, and larger than that.
    unsafe { annex::clear(NonNull::new_unchecked((slot.stack_base - ANNEX_BYTES) as *mut u8)) };
    // SAFETY: the slot is ours, and its header bytes are zeros or the previous task's.
    let run = match unsafe { (*ptr::addr_of!((*at.as_ptr()).run)).load(Ordering::Relaxed) } {
        0 => EPOCH.fetch_add(1, Ordering::Relaxed) << 32,
        // One is left out, so that no run of the new task is the next one of an earlier task's run.
        run => run + 1,
    };
    // SAFETY: the range between limit and base belongs to the slot; the switch is pinned in the
    // header before anyone can resume it.
    let switch = unsafe {
        let place = ptr::addr_of!((*at.as_ptr()).switch);
        let task = TaskRef::new(at);
        Switch::new(slot.stack_base - ANNEX_BYTES, slot.stack_limit, move || launch(task), place)
    };
    let task = Task {
        head: TaskHead {
            cpu: NORMAL.into(),
            io: NORMAL.into(),
            result: RawResult::default().into(),
            user_code: None.into(),
            user_ptr: ptr::null_mut::<c_void>().into(),
            flags: Flags::IDLE.into(),
            current_executor: AtomicPtr::new(ptr::null_mut()),
            ticks_when_attached: 0.into(),
            ticks: Ticks::default(),
        },
        link: Link::new(),
        waits: Waits::Nothing.into(),
        level: 0.into(),
        marks: 0.into(),
        run_state: AtomicU8::new(state::FRESH),
        op: 0.into(),
        opcode: 0.into(),
        notes: 0.into(),
        switch,
        outcome: 0.into(),
        cqe_flags: 0.into(),
        timer: TimerNode::new(),
        run: AtomicU64::new(run),
        peer: Cell::new(ptr::null()),
        scope: Cell::new(ptr::null()),
        operations: Circular::new(),
        completed: Circular::new(),
        joiners: Fifo::new(),
        park: Permit::new(),
        cancel_run: AtomicU64::new(0),
        mailbox: AtomicPtr::new(ptr::null_mut()),
        registration: Cell::new(Some(Registration::new(slot.stack_base, slot.stack_limit))),
        slot: Cell::new(Some(slot)),
    };
    // SAFETY: the header is ours. A stale reader (a message that compares `run`) sees the old or
    // the next number, which no run has, or a new range's.
    unsafe { at.as_ptr().write(task) };
    // SAFETY: at its pinned place, and new.
    unsafe { (*at.as_ptr()).switch.settle() };
    // SAFETY: just initialised.
    Ok(unsafe { TaskRef::new(at) })
}

/// EBUSY, with nothing changed, while the task is attached.
pub fn destroy(task: TaskRef) -> Res<()> {
    if task.state().is_taken() {
        return Err(Errno(libc::EBUSY));
    }
    // A late attach by a stale handle is refused rather than run.
    task.head.user_code.set(None);
    task.state().forget();
    task.forget_name();
    let Some(slot) = task.slot.take() else {
        return Err(Errno(libc::EINVAL)); // Destroyed already, as far as one can tell.
    };
    drop(task.registration.take());
    // SAFETY: idle, so nothing runs on the stack; the routine is suspended in its loop and owns
    // nothing that would need dropping.
    unsafe { pool::release(slot) };
    Ok(())
}

//! From slot to task and back: what is expensive is done here, once per task.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

use super::annex::note;
use super::header::*;
use super::permit;
use super::{state, warm};
use crate::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Ordering};
use crate::error::{Errno, RawResult, Res};
use crate::intrusive::{Circular, Fifo, Link, TimerNode};
use crate::stack::pool::{self, Held};
use crate::stack::switch::Switch;
use crate::sys::stack_overflow;

/// Run numbers of new headers start in a range of their own, so that one that was forgotten by
/// the kernel (`MADV_DONTNEED`) never repeats a number a stale message may hold.
static EPOCH: AtomicU64 = AtomicU64::new(1);

/// What the base of a task's own stack calls at a launch: runs user_code and keeps its result.
/// Where launches borrow a stack it is `executor::next` that calls.
extern "C" fn launches(task: *mut u8) -> ! {
    // SAFETY: what the task's switch was made with.
    let task = unsafe { TaskRef::from_head(task.cast()) };
    loop {
        task.performs();
        // SAFETY: on its stack.
        unsafe { task.switch.exit() };
    }
}

impl TaskRef {
    /// What a launch does on the task's stack.
    ///
    /// A panic or a foreign exception that leaves `user_code` ends the process: it is called
    /// through `extern "C"`, which nothing may unwind out of.
    #[inline(always)]
    pub(crate) fn performs(self) {
        if let Some(code) = self.head.user_code.get() {
            // SAFETY: the user's function, with the handle it expects.
            let result = unsafe { code(self.as_head()) };
            if self.notes(note::LOCALS) {
                return self.ends_with_locals(result);
            }
            self.set_result(result);
        }
    }

    /// They may suspend: until they have ended, the result there is that of the run before, for who
    /// joins it still.
    #[cold]
    #[inline(never)]
    fn ends_with_locals(self, result: RawResult) {
        self.end_locals();
        self.set_result(result);
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
    if let Some(name) = task.name().filter(|name| !name.is_empty()) {
        line.text(", called \"").name(name.words().map(u64::to_ne_bytes).as_flattened()).text("\"");
    }
    true
}

/// As [`describe`]: an address in the stack of the task that runs.
fn stack_of(header: *const u8) -> usize {
    // SAFETY: as in `describe`.
    let task = unsafe { TaskRef::from_head(header.cast()) };
    task.stack_bounds().1.wrapping_sub(1)
}

/// EXPENSIVE. A task that was never attached. ENOMEM where memory ends.
pub fn create(stack_bytes: usize) -> Res<TaskRef> {
    stack_overflow::set_describe(describe);
    stack_overflow::set_stack_of(stack_of);
    let slot = pool::acquire(stack_bytes, size_of::<Task>())?;
    let at = slot.header.cast::<Task>();
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
        Switch::new(slot.stack_base, slot.stack_limit, launches, at.as_ptr().cast(), place)
    };
    let (header, stack, annex) = slot.parts();
    let task = Task {
        head: TaskHead {
            cpu: NORMAL.into(),
            io: NORMAL.into(),
            has_past: AtomicU8::new(0),
            joins_high: AtomicU32::new(0),
            result: RawResult::default().into(),
            user_code: None.into(),
            user_ptr: ptr::null_mut::<c_void>().into(),
            flags: Flags::IDLE.into(),
            outcome: 0.into(),
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
        stack_size: warm::size_of_stack(&stack).into(),
        stack: Held::new(stack),
        ended: 0.into(),
        cqe_flags: 0.into(),
        timer: TimerNode::new(),
        run: AtomicU64::new(run),
        peer: Cell::new(ptr::null()),
        scope: Cell::new(ptr::null()),
        operations: Circular::new(),
        completed: Circular::new(),
        joiners: Fifo::new(),
        park: AtomicUsize::new(permit::NONE),
        permit_here: false.into(),
        joins: AtomicU64::new(0),
        cancel_run: AtomicU64::new(0),
        mailbox: AtomicPtr::new(ptr::null_mut()),
        header: Cell::new(Some(header)),
        annex: Cell::new(annex),
        room: Room::of(at.cast()),
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
    let (Some(header), Some(stack)) = (task.header.take(), task.stack.take()) else {
        return Err(Errno(libc::EINVAL)); // Destroyed already, as far as one can tell.
    };
    // SAFETY: idle, so nothing runs on the stack, and nothing on it needs dropping.
    unsafe { pool::release_parts(header, stack) };
    Ok(())
}

//! What the executor counts, in the layout C sees.

use core::cell::Cell;
use core::ptr;

use crate::task::header::TaskHead;

/// `struct monad_async_executor_head`: every offset is asserted below and in executor.h.
#[repr(C)]
pub struct ExecutorHead {
    pub current_task: Cell<*const TaskHead>,
    pub tasks_pending_launch: Cell<usize>,
    pub tasks_running: Cell<usize>,
    pub tasks_suspended: Cell<usize>,
    pub total_ticks_in_run: Cell<u64>,
    pub total_ticks_in_task_launch: Cell<u64>,
    pub total_ticks_in_io_uring: Cell<u64>,
    pub total_ticks_sleeping: Cell<u64>,
    pub total_ticks_in_task_completion: Cell<u64>,
    pub total_io_submitted: Cell<u64>,
    pub total_io_completed: Cell<u64>,
}

impl Default for ExecutorHead {
    fn default() -> Self {
        Self {
            current_task: ptr::null::<TaskHead>().into(),
            tasks_pending_launch: 0.into(),
            tasks_running: 0.into(),
            tasks_suspended: 0.into(),
            total_ticks_in_run: 0.into(),
            total_ticks_in_task_launch: 0.into(),
            total_ticks_in_io_uring: 0.into(),
            total_ticks_sleeping: 0.into(),
            total_ticks_in_task_completion: 0.into(),
            total_io_submitted: 0.into(),
            total_io_completed: 0.into(),
        }
    }
}

macro_rules! offsets {
    ($($field:ident = $at:expr),* $(,)?) => {
        $(const _: () = assert!(core::mem::offset_of!(ExecutorHead, $field) == $at);)*
    };
}
offsets! {
    current_task = 0, tasks_pending_launch = 8, tasks_running = 16, tasks_suspended = 24,
    total_ticks_in_run = 32, total_ticks_in_task_launch = 40, total_ticks_in_io_uring = 48,
    total_ticks_sleeping = 56, total_ticks_in_task_completion = 64, total_io_submitted = 72,
    total_io_completed = 80,
}
const _: () = assert!(size_of::<ExecutorHead>() == 88);

/// `cell += n`
#[inline(always)]
pub fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get().wrapping_add(n));
}

#[inline(always)]
pub fn inc(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

#[inline(always)]
pub fn dec(cell: &Cell<usize>) {
    debug_assert!(cell.get() != 0);
    cell.set(cell.get().wrapping_sub(1));
}

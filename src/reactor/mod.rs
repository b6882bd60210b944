//! Operations in flight: who waits for a submission entry, what the kernel has, what came back.
//!
//! Never imports `sched`: whoever reaps says what to do with a woken task.
//!
//! An operation's in-flight record is its task: a task has one operation at most, and does not
//! resume before the operation's last completion, so whatever the operation points to outlives it.
//! The entry's `user_data` names the record:
//!
//! ```text
//!  63        48 47                        7 6    3 2     0
//! +------------+---------------------------+------+-------+
//! | generation | address of the task       |  0   | tag   |
//! +------------+---------------------------+------+-------+
//! ```
//!
//! User addresses fit 48 bits on both architectures (more are only given to those who ask), and
//! tasks are 128-aligned. The generation counts the task's operations, so that neither a completion
//! nor a cancel request that comes late can be taken for a newer operation's.

mod cancel;
mod priority;
mod reap;
mod submit;
pub mod validate;

use core::cell::Cell;
use core::ptr::NonNull;

use crate::task::header::{Task, TaskRef, PRIORITIES};
use crate::task::list::TaskList;
use crate::uring::kernel::Kernel;

/// What a `user_data` names.
const TAG_OPERATION: u64 = 0;
const TAG_CANCEL: u64 = 1;
const TAG_MASK: u64 = 7;
const ADDRESS_MASK: u64 = (1 << 48) - 1;

const _: () = assert!(align_of::<Task>() > TAG_MASK as usize);

pub struct Reactor<K> {
    pub kernel: K,
    /// Tasks whose operation waits for a free submission entry, by I/O priority.
    entry_queues: [TaskList; PRIORITIES],
    /// Tasks whose cancel request waits for one: they go first.
    cancel_queue: TaskList,
    /// How many wait in the queues above.
    queued: Cell<usize>,
    /// Cancel requests that the kernel has not answered.
    cancels: Cell<usize>,
}

impl<K: Kernel> Reactor<K> {
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            entry_queues: [TaskList::new(), TaskList::new(), TaskList::new()],
            cancel_queue: TaskList::new(),
            queued: Cell::new(0),
            cancels: Cell::new(0),
        }
    }

    /// Nothing of ours is in the kernel or on its way there, if no task is attached: one that is in an
    /// operation does not exit.
    pub fn is_idle(&self) -> bool {
        self.cancels.get() == 0
    }

    /// Entries wait in the queues, and there is room for them: the last burst had its fill.
    pub fn could_submit(&self) -> bool {
        self.queued.get() != 0 && self.kernel.sq_space() != 0
    }

    /// Something waits to be handed to the kernel.
    #[inline(always)]
    pub fn has_unsubmitted(&self) -> bool {
        self.queued.get() != 0 || self.kernel.sq_pending() != 0
    }
}

#[inline(always)]
fn name(task: TaskRef, tag: u64) -> u64 {
    task.addr() as u64 | tag | (task.op.get() as u64) << 48
}

/// The task that `user_data` names.
///
/// # Safety
/// `user_data` was made by [`name`].
#[inline(always)]
unsafe fn named(user_data: u64) -> TaskRef {
    let addr = (user_data & ADDRESS_MASK & !TAG_MASK) as usize;
    // SAFETY: the address of a task, whose slot is never unmapped.
    unsafe { TaskRef::new(NonNull::new_unchecked(addr as *mut Task)) }
}

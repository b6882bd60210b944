//! Completions as most are where there are many: each of the inline operation of a task that waits
//! for it, all at one level. What is asked of every completion (see `reap`) is asked here, too, but
//! nothing is called, so that what is the same for all stays in registers; and what is next to each
//! other is written as one. Of a header two lines are touched: where the kernel has just copied for
//! all of them it is lines that a completion takes the time of, and a third one is fetched while
//! tasks run.

use core::ffi::c_void;
use core::mem::{offset_of, transmute};
use core::ptr::NonNull;

use super::reap::HEADER_MASK;
use super::{Reactor, ADDRESS_MASK, TAG_INLINE};
use crate::intrusive::Batch;
use crate::stack::headers::Near;
use crate::task::header::{Flags, Task, TaskHead, TaskRef, Waits, PRIORITIES};
use crate::uring::abi::cqe;
use crate::uring::kernel::{Cqe, Kernel};

const _: () = {
    assert!(offset_of!(TaskHead, outcome) == offset_of!(TaskHead, flags) + 4);
    assert!(offset_of!(Task, level) == offset_of!(Task, waits) + 1);
};

impl<K: Kernel> Reactor<K> {
    /// As `reap`, of the oldest completions, as long as they are such: their tasks, which are ready
    /// since `now`, and say so, how many, and at which level. None: the oldest is another.
    #[inline(never)]
    pub fn reap_run(
        &self,
        executor: *mut c_void,
        max: usize,
        now: u64,
    ) -> Option<(Batch, usize, u8)> {
        let mut run = None;
        self.kernel.take_run(max, |all| {
            let Some((first, behind)) = all.split_first() else { return 0 };
            let near = Near::of((first.user_data & ADDRESS_MASK) as usize);
            let Some(task) = completed(first, near, executor) else { return 0 };
            let level = task.cpu_asked();
            if level >= PRIORITIES as u8 {
                return 0;
            }
            ready(task, first, level, now);
            // SAFETY: in no list; it lives until it has exited. So do those below.
            let mut batch = unsafe { Batch::with(None, task.link_ptr()) };
            let mut count = 1;
            for cqe in behind {
                let Some(task) = completed(cqe, near, executor) else { break };
                if task.cpu_asked() != level {
                    break;
                }
                ready(task, cqe, level, now);
                // SAFETY: as above.
                batch = unsafe { Batch::with(Some(batch), task.link_ptr()) };
                count += 1;
            }
            run = Some((batch, count, level));
            count
        });
        run
    }
}

/// As `Reactor::complete`, of a task among `near`, and changes nothing. None: it is another.
#[inline(always)]
fn completed(cqe: &Cqe, near: Near, executor: *mut c_void) -> Option<TaskRef> {
    let address = (cqe.user_data & ADDRESS_MASK) as usize;
    if cqe.user_data & HEADER_MASK != TAG_INLINE || !near.covers(address) {
        return None;
    }
    // SAFETY: not null, as a header lies there.
    let task = unsafe { TaskRef::new(NonNull::new_unchecked(address as *mut Task)) };
    let is = task.op.get() == (cqe.user_data >> 48) as u16
        && task.executor() == executor
        && task.waits.get() == Waits::Completion
        && cqe.flags & (cqe::MORE | cqe::NOTIF) == 0;
    is.then_some(task)
}

/// Its wait is over, and it is to be in the ready list of that level.
#[inline(always)]
fn ready(task: TaskRef, cqe: &Cqe, level: u8, now: u64) {
    let waits = u16::from_ne_bytes([Waits::Ready as u8, level]);
    debug_assert_eq!(task.head.flags.get(), Flags::AWAITING);
    if cqe.flags != 0 {
        task.cqe_flags.set(cqe.flags); // A line more of the header: see `complete`.
    }
    task.head.ticks.when_suspended_completed.set(now);
    // SAFETY: the two words are neighbours, in this order, and aligned (asserted above), and so are
    // the two bytes; each is valid for its field.
    unsafe {
        let both = task.as_bytes().byte_add(offset_of!(TaskHead, flags)).cast::<u64>();
        both.write(transmute::<[u32; 2], u64>([Flags::COMPLETED.0, cqe.res as u32]));
        task.as_bytes().byte_add(offset_of!(Task, waits)).cast::<u16>().write(waits);
    }
}

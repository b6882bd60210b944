//! From a completion to the task it wakes. Runs no task.

use super::{named, Reactor, TAG_CANCEL, TAG_MASK};
use crate::task::header::{Cancel, TaskRef, Waits, CANCELED};
use crate::uring::kernel::{Cqe, Kernel};

/// More completions of this operation will come: its buffers are still in use.
const CQE_F_MORE: u32 = 1 << 1;
/// The notification that a zero-copy send's buffers are free again; carries no result.
const CQE_F_NOTIF: u32 = 1 << 3;

impl<K: Kernel> Reactor<K> {
    /// Takes all completions that are visible; `woken` is called for each task whose operation is
    /// over, in the order of completion, with the task in no list.
    #[inline(always)]
    pub fn reap(&self, mut woken: impl FnMut(TaskRef)) {
        self.kernel.for_each_completion(|cqe| {
            if cqe.user_data & TAG_MASK == TAG_CANCEL {
                self.cancels.set(self.cancels.get() - 1);
            } else if let Some(task) = self.complete(cqe) {
                woken(task);
            }
        });
    }

    #[inline(always)]
    fn complete(&self, cqe: Cqe) -> Option<TaskRef> {
        // SAFETY: only the executor's own entries carry this tag.
        let task = unsafe { named(cqe.user_data) };
        if task.op.get() != (cqe.user_data >> 48) as u16 {
            debug_assert!(false, "a completion of an operation that is over");
            return None;
        }
        if cqe.flags & CQE_F_NOTIF == 0 {
            task.outcome.set(cqe.res);
            task.cqe_flags.set(cqe.flags);
        }
        if cqe.flags & CQE_F_MORE != 0 {
            return None;
        }
        if task.waits.get() == Waits::CompletionCancelQueued {
            self.unqueue_cancel(task);
        }
        debug_assert!(task.waits.get() == Waits::Completion);
        task.waits.set(Waits::Nothing);
        if task.cancel.get() == Cancel::Asked {
            // A blocking operation on a kernel worker is cancelled by a signal, hence EINTR.
            if matches!(-task.outcome.get(), libc::ECANCELED | libc::EINTR) {
                task.outcome.set(CANCELED);
                task.cancel.set(Cancel::No);
            } else {
                task.cancel.set(Cancel::Next);
            }
        }
        Some(task)
    }
}

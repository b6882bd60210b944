//! Cancelling a task's operation.

use super::Reactor;
use crate::task::header::{Cancel, TaskRef, Waits, CANCELED};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Reactor<K> {
    /// `task` waits for an entry or a completion. True: its operation never reached the kernel and
    /// is over, the task is in no list. False: the kernel was asked, and `reap` will say how it went.
    pub fn cancel(&self, task: TaskRef) -> bool {
        if task.waits.get() == Waits::Entry {
            self.unqueue(task);
            task.outcome.set(CANCELED);
            return true;
        }
        if task.cancel.get() == Cancel::No {
            task.cancel.set(Cancel::Asked);
            if self.queued.get() == 0 && self.kernel.sq_space() != 0 {
                self.push_cancel(task);
            } else {
                self.queue_cancel(task);
            }
        }
        false
    }
}

//! Cancelling a task's operation.

use super::submit::BURST;
use super::{name, Reactor, TAG_OPERATION};
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
            if self.kernel.holds_back() {
                if !self.kernel.cancel_now(name(task, TAG_OPERATION)) {
                    self.queue_cancel(task);
                }
            } else if self.queued.get() == 0 && self.kernel.sq_space() != 0 {
                self.push_cancel(task);
            } else {
                self.queue_cancel(task);
            }
        }
        false
    }

    /// Where the kernel holds entries back: asks again for what could not be cancelled so far, a
    /// burst of them. An operation that ends of itself takes its request along.
    #[cold]
    pub(super) fn cancel_again(&self) {
        let mut refused = None;
        for _ in 0..BURST {
            // Once round: each asks by a system call.
            if refused.is_some() && self.cancel_queue.front() == refused {
                break;
            }
            let Some(task) = self.cancel_queue.pop_front() else { break };
            if self.kernel.cancel_now(name(task, TAG_OPERATION)) {
                task.waits.set(Waits::Completion);
                self.queued.set(self.queued.get() - 1);
            } else {
                self.cancel_queue.push_back(task);
                refused.get_or_insert(task);
            }
        }
    }
}

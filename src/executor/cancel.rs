//! Cancelling, on the owner's thread: exactly one outcome in every state.

use super::head::dec;
use super::join::Record;
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::task::header::{Cancel, Flags, TaskRef, Waits, CANCELED, ECANCELED};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD, inside its tasks too. ENOENT unless the task is attached here.
    pub fn cancel(&self, task: TaskRef) -> Res<()> {
        if self.has_attached(task) && self.is_arriving(task) {
            // In the mailbox, most likely; then it is over with it before this returns.
            self.collect_mailbox();
            if !self.has_attached(task) {
                return Ok(()); // Another request in there has cancelled it already.
            }
        }
        self.cancel_known(task)
    }

    /// As `cancel`, but looks at no mail: it may be what is being looked at.
    pub(super) fn cancel_known(&self, task: TaskRef) -> Res<()> {
        if !self.has_attached(task) {
            return Err(Errno(libc::ENOENT));
        }
        match task.head.flags.get() {
            // The thread that attaches it has yet to post it, or it is further back in the mail.
            Flags::PENDING_LAUNCH if self.is_arriving(task) => task.cancel.set(Cancel::Next),
            Flags::PENDING_LAUNCH => self.cancel_launch(task),
            Flags::AWAITING => self.cancel_wait(task),
            // Running, or its wait is over: it gets its real result, and then this.
            _ => task.cancel.set(Cancel::Next),
        }
        Ok(())
    }

    fn has_attached(&self, task: TaskRef) -> bool {
        task.state().is_attached_to(self.address())
    }

    /// Attached to us by another thread, and not among the ready yet.
    fn is_arriving(&self, task: TaskRef) -> bool {
        task.head.flags.get() == Flags::PENDING_LAUNCH && task.waits.get() != Waits::Ready
    }

    fn cancel_launch(&self, task: TaskRef) {
        self.ready.remove(task);
        dec(&self.head.tasks_pending_launch);
        self.never_launch(task);
    }

    /// A task that is pending launch, in no list and not counted, exits.
    pub(super) fn never_launch(&self, task: TaskRef) {
        task.set_result(RawResult::failure(ECANCELED));
        let now = self.stamp();
        task.head.ticks.when_detached.set(now);
        self.finish(task, now);
        // The last task may have exited without having run: a `run` that went on to wait for an item
        // would keep its caller from seeing that, for ever.
        if self.is_in_run() {
            self.woken.set(true);
        }
    }

    fn cancel_wait(&self, task: TaskRef) {
        match task.waits.get() {
            Waits::Deadline => self.deadlines.remove(task),
            Waits::Forever => task.waits.set(Waits::Nothing),
            Waits::Entry => {
                let over = self.reactor.cancel(task);
                debug_assert!(over);
                // Never reached the kernel: counted out again.
                let submitted = &self.head.total_io_submitted;
                submitted.set(submitted.get() - 1);
            }
            Waits::Completion | Waits::CompletionCancelQueued => {
                let over = self.reactor.cancel(task);
                debug_assert!(!over);
                return;
            }
            Waits::Join => self.unjoin_here(task),
            Waits::JoinRemote => {
                // SAFETY: the record of a task that waits so is on its stack.
                let record = unsafe { &*task.peer.get().cast::<Record>() };
                return self.unjoin_remote(record);
            }
            Waits::Nothing | Waits::Ready => {
                debug_assert!(false, "awaiting, and in no wait");
                return;
            }
        }
        task.outcome.set(CANCELED);
        self.make_ready(task, self.stamp());
    }
}

//! Cancelling a task, on the owner's thread: sticky, with exactly one outcome for the call it is
//! in.

use super::head::dec;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, RawResult, Res};
use crate::task::header::{mark, Flags, TaskRef, Waits, ECANCELED};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD, inside its tasks too. ENOENT unless the task is attached here.
    pub fn cancel(&self, task: TaskRef) -> Res<()> {
        if !task.state().is_attached_to(self.address()) {
            return Err(Errno(libc::ENOENT));
        }
        self.cancel_here(task);
        self.tell_poll_fd();
        Ok(())
    }

    /// The task is attached here.
    pub(super) fn cancel_here(&self, task: TaskRef) {
        if task.has(mark::ASKED) {
            return;
        }
        task.mark(mark::ASKED);
        if self.watches(by::TRACED) {
            self.watched_cancel(task);
        }
        if task.head.flags.get() != Flags::PENDING_LAUNCH {
            self.levels_changed(task);
        } else if task.waits.get() == Waits::Ready {
            self.cancel_launch(task);
        }
        // Else the thread that attaches it has yet to post it, or it is further back in the mail:
        // seen when it arrives.
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
        // The last task may have exited without having run: a `run` that went on to wait for an
        // item would keep its caller from seeing that, for ever.
        if self.is_in_run() {
            self.woken.set(true);
        }
    }

    /// The task awaits something, and a level of it has fired.
    pub(super) fn cancel_wait(&self, task: TaskRef) {
        let over = match task.waits.get() {
            Waits::Deadline => {
                self.timers.remove(task);
                true
            }
            Waits::Forever => {
                task.waits.set(Waits::Nothing);
                true
            }
            Waits::Completion => {
                self.reactor.cancel_inline(task);
                false
            }
            Waits::Operation => self.cancel_record_wait(task),
            Waits::Join => {
                task.joins().clear(); // It waits for a message at most, which comes.
                self.cancel_join(task)
            }
            Waits::Park => {
                let over = self.unpark_canceled(task);
                if over {
                    task.waits.set(Waits::Nothing);
                }
                over
            }
            Waits::Grant => {
                let over = self.cancel_grant(task);
                if over {
                    task.ended.set(-super::scope::interruption(task));
                }
                over
            }
            Waits::CompletionCancelQueued | Waits::Closing => false,
            Waits::Nothing | Waits::Ready | Waits::Queue => {
                debug_assert!(false, "awaiting, and in no wait");
                false
            }
        };
        if over {
            task.head.outcome.set(-super::scope::interruption(task));
            self.make_ready(task, self.stamp());
        }
    }
}

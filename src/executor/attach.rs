//! Launching: the owner's way, which is hot, and what both ways share.

use super::head::inc;
use super::Executor;
use crate::error::{Errno, Res};
use crate::task::header::{Cancel, Flags, TaskRef, Waits};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD. No lock, no atomic read-modify-write, no malloc, no system call, no loop.
    #[inline(always)]
    pub fn attach(&self, task: TaskRef) -> Res<()> {
        if task.state().is_taken() {
            return Err(Errno(libc::EBUSY));
        }
        if task.head.user_code.get().is_none() {
            return Err(Errno(libc::EINVAL));
        }
        self.prepare(task);
        inc(&self.head.tasks_pending_launch);
        self.ready.push(task);
        Ok(())
    }

    /// Readies an idle task, the caller's, for its launch, and says that it is attached.
    #[inline(always)]
    pub(super) fn prepare(&self, task: TaskRef) {
        task.state().begin(self.address(), self.mailbox as *const _ as *mut _);
        task.head.flags.set(Flags::PENDING_LAUNCH);
        task.head.ticks.clear();
        task.cancel.set(Cancel::No);
        task.head.ticks_when_attached.set(self.stamp());
        task.state().attached();
    }

    /// OWNER'S THREAD. Takes effect at the next decision: a task that is ready, or waits for a
    /// submission entry, goes to the back of its new level.
    pub fn set_priorities(&self, task: TaskRef, cpu: u8, io: u8) {
        let cpu_changed = task.head.cpu.replace(cpu) != cpu;
        let io_changed = task.head.io.replace(io) != io;
        match task.waits.get() {
            Waits::Ready if cpu_changed => {
                self.ready.remove(task);
                self.ready.push(task);
            }
            Waits::Entry if io_changed => self.reactor.requeue(task),
            _ => {}
        }
    }
}

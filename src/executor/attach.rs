//! Launching on the owner's thread, which is hot.

use core::ptr;

use super::head::inc;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, Res};
use crate::task::header::{TaskRef, Waits};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD. No lock, no atomic read-modify-write, no malloc, no system call, no loop.
    #[inline(always)]
    pub fn attach(&self, task: TaskRef) -> Res<()> {
        self.attach_plain(task)?;
        self.tell_attached(task);
        Ok(())
    }

    /// As `attach`, while nobody is to be told of it.
    #[inline(always)]
    pub(crate) fn attach_plain(&self, task: TaskRef) -> Res<()> {
        self.may_attach(task)?;
        self.attach_plain_at(task, self.stamp(), 0);
        Ok(())
    }

    /// OWNER'S THREAD. The error, if the task cannot be attached.
    #[inline(always)]
    pub(super) fn may_attach(&self, task: TaskRef) -> Res<()> {
        if task.state().is_taken() {
            return Err(Errno(libc::EBUSY));
        }
        if task.head.user_code.get().is_none() {
            return Err(Errno(libc::EINVAL));
        }
        Ok(())
    }

    /// OWNER'S THREAD. What `may_attach` lets pass, with a stamp that several may share.
    #[inline(always)]
    pub(super) fn attach_at(&self, task: TaskRef, now: u64, marks: u8) {
        self.attach_plain_at(task, now, marks);
        self.tell_attached(task);
    }

    #[inline(always)]
    fn tell_attached(&self, task: TaskRef) {
        if self.is_watched() {
            self.watched_attach(task);
        }
    }

    /// OWNER'S THREAD. Somebody is told of what happens here.
    #[inline(always)]
    pub(crate) fn is_watched(&self) -> bool {
        self.watches(by::ANY)
    }

    #[inline(always)]
    fn attach_plain_at(&self, task: TaskRef, now: u64, marks: u8) {
        inc(&self.head.tasks_pending_launch);
        self.attach_plain_uncounted(task, now, marks);
    }

    #[inline(always)]
    fn attach_plain_uncounted(&self, task: TaskRef, now: u64, marks: u8) {
        let mailbox = ptr::from_ref(self.mailbox).cast_mut().cast();
        let level = task.cpu_level();
        task.prepare(self.address(), mailbox, now, (Waits::Ready, level), marks);
        self.ready.push_in(task, level);
    }

    /// OWNER'S THREAD. As `attach_at`; the caller counts it as pending.
    #[inline(always)]
    pub(super) fn attach_uncounted(&self, task: TaskRef, now: u64, marks: u8) {
        self.attach_plain_uncounted(task, now, marks);
        self.tell_attached(task);
    }

    /// OWNER'S THREAD. Takes effect at the next decision: a task that is ready goes to the back of
    /// its new level, and so do its operations that wait for a submission entry.
    pub fn set_priorities(&self, task: TaskRef, cpu: u8, io: u8) {
        let cpu_changed = task.head.cpu.replace(cpu) != cpu;
        let io_changed = task.head.io.replace(io) != io;
        if cpu_changed && task.waits.get() == Waits::Ready {
            self.ready.remove(task);
            self.ready.push(task);
        }
        if io_changed {
            self.requeue_operations(task);
        }
    }
}

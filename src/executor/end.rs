//! The end of a run of a task: what it has to do before it is published, and who is told.

use core::ptr;

use super::exit::Told;
use super::head::dec;
use super::watch::by;
use super::Executor;
use crate::error::{Errno, RawResult};
use crate::sys::cxx_eh::Exceptions;
use crate::task::annex::note;
use crate::task::header::{mark, TaskRef, Waits};
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// `task`, which was the item that ran, has returned, with more to do than to say so. True: it
    /// has to wait.
    #[inline(never)]
    pub(super) fn ends(&self, task: TaskRef, now: u64) -> bool {
        if task.has(mark::SCOPED | mark::OPERATIONS) && self.closes(task, now) {
            self.warm.keep(task);
            return true;
        }
        self.warm.give_back(task);
        let alone = task.joiners.is_empty() && !task.notes(note::POOLED);
        if task.has(mark::HOOKED) && alone && !self.watches(by::TRACED) {
            self.finish_told(task);
        } else {
            self.finish(task, now);
        }
        false
    }

    /// As `finish_joined`, after an item, of one whose hook alone is told: the next item, or the
    /// end of the chunk, says who runs then; and nobody else is being told.
    #[inline(always)]
    fn finish_told(&self, task: TaskRef) {
        // In the child of a fork nothing says any more that it runs here.
        debug_assert!(!self.is_mine() || self.is_in_run() && !self.tells.get());
        let result = task.result();
        task.exited();
        let told = Told::take(task);
        task.unmark(mark::JOINED);
        task.state().exited();
        if let Some(told) = told {
            self.head.current_task.set(ptr::null());
            self.tells.set(true);
            told.call(task, result);
            self.tells.set(false);
        }
    }

    /// `task` has returned, with scopes open or operations in flight. True: it has to wait for the
    /// end of some.
    #[cold]
    #[inline(never)]
    fn closes(&self, task: TaskRef, now: u64) -> bool {
        if !self.is_mine() {
            return false; // The child of a fork: ring, timers and operations are the parent's.
        }
        if self.close_scopes(task) {
            task.set_result(RawResult::failure(Errno(libc::EINVAL)));
        }
        if task.has(mark::OPERATIONS) && self.close_operations(task) {
            task.waits.set(Waits::Closing);
            task.closes(now);
            return true;
        }
        false
    }

    /// The last operation of a task that has returned is over.
    pub(super) fn closed(&self, task: TaskRef, now: u64) {
        dec(&self.head.tasks_suspended);
        task.head.ticks.when_detached.set(now);
        self.warm.forget(task);
        if self.watches(by::TRACED) {
            self.watched_closed(task, now);
        }
        self.finish(task, now);
        // As where a launch is cancelled: its caller may wait for just this.
        if self.is_in_run() {
            self.woken.set(true);
        }
    }

    /// A task has exited. It has no exceptions any more, unless it jumped out of a `catch`, which
    /// must not become the next one's.
    #[inline(always)]
    pub(super) fn forget_exceptions(&self) {
        // SAFETY: the owner thread's, which this is.
        unsafe {
            if !(*self.exceptions).is_none() {
                *self.exceptions = Exceptions::NONE;
            }
        }
    }

    /// The run of `task` is over: wake who joins it, publish. Never on the task's stack.
    #[inline(always)]
    pub(super) fn finish(&self, task: TaskRef, now: u64) {
        task.exited();
        if task.has(mark::JOINED) {
            self.finish_joined(task, now);
        } else {
            task.state().exited();
        }
    }
}

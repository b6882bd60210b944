//! The suspending calls: run on the task's own stack, by the task itself.

use super::stats::add;
use super::Executor;
use crate::error::RawResult;
use crate::sys::kernel::{Kernel, Sqe};
use crate::task::header::{Cancel, Flags, TaskRef, Waits, ECANCELED};

impl<K: Kernel> Executor<K> {
    /// SUSPENDS. `task` runs now. 0 yields; `u64::MAX` waits for a cancel.
    #[inline(always)]
    pub fn sleep(&self, task: TaskRef, ns: u64) -> RawResult {
        if task.cancel.get() == Cancel::Next {
            return take_cancel(task);
        }
        task.outcome.set(0);
        if ns == 0 {
            task.head.flags.set(Flags::COMPLETED);
            self.ready.push(task);
        } else {
            self.sleep_until_later(task, ns);
        }
        self.leave(task);
        task.outcome()
    }

    #[inline]
    fn sleep_until_later(&self, task: TaskRef, ns: u64) {
        task.head.flags.set(Flags::AWAITING);
        if ns == u64::MAX {
            task.waits.set(Waits::Forever);
        } else {
            let deadline_ns = self.reactor.kernel.now_boot_ns().saturating_add(ns);
            self.deadlines.insert(task, deadline_ns);
        }
    }

    /// SUSPENDS. `task` runs now; `sqe` was checked.
    ///
    /// # Safety
    /// `sqe` and what it refers to stay valid until the call returns.
    #[inline(always)]
    pub unsafe fn io(&self, task: TaskRef, sqe: &Sqe) -> RawResult {
        if task.cancel.get() == Cancel::Next {
            return take_cancel(task);
        }
        task.head.flags.set(Flags::AWAITING);
        add(&self.head.total_io_submitted, 1);
        // SAFETY: the caller's promise; the call does not return before the task is woken.
        unsafe { self.reactor.start(task, sqe) };
        self.leave(task);
        task.outcome()
    }

    /// Switches to the executor; returns when the task is resumed.
    #[inline(always)]
    pub(super) fn leave(&self, task: TaskRef) {
        // SAFETY: `exceptions` is the owner thread's, which this is.
        let exceptions = unsafe { *self.exceptions };
        // SAFETY: called by the task that runs, hence on its stack.
        unsafe { task.switch.suspend() };
        // SAFETY: as above: a task never migrates.
        unsafe { *self.exceptions = exceptions };
    }
}

/// A cancel that found the task running, or its operation complete.
#[cold]
pub(super) fn take_cancel(task: TaskRef) -> RawResult {
    task.cancel.set(Cancel::No);
    RawResult::failure(ECANCELED)
}

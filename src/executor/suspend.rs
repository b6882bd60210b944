//! The suspending calls: run on the task's own stack, by the task itself. They return what the kernel
//! would: negative is an errno. (One register: a result of two would travel through memory.)

use super::head::add;
use super::Executor;
use crate::sys::cxx_eh::Exceptions;
use crate::task::header::{Cancel, Flags, TaskRef, Waits, CANCELED};
use crate::uring::kernel::{Kernel, Sqe};

impl<K: Kernel> Executor<K> {
    /// SUSPENDS. `task` runs now. 0 yields; `u64::MAX` waits for a cancel.
    #[inline(always)]
    pub fn sleep(&self, task: TaskRef, ns: u64) -> i32 {
        if task.cancel.get() == Cancel::Next {
            return take_cancel(task);
        }
        if ns != 0 {
            return self.sleep_for(task, ns);
        }
        task.head.flags.set(Flags::COMPLETED);
        self.ready.push(task);
        self.leave(task);
        // It waited for nothing that could have failed, or that a cancel could have ended.
        0
    }

    /// Out of line, so that a yield need not save what only this uses.
    #[inline(never)]
    fn sleep_for(&self, task: TaskRef, ns: u64) -> i32 {
        task.outcome.set(0);
        task.head.flags.set(Flags::AWAITING);
        if ns == u64::MAX {
            task.waits.set(Waits::Forever);
        } else {
            let deadline_ns = self.reactor.kernel.now_boot_ns().saturating_add(ns);
            self.deadlines.insert(task, deadline_ns);
        }
        self.leave(task);
        task.outcome.get()
    }

    /// SUSPENDS. `task` runs now; `sqe` was checked.
    ///
    /// # Safety
    /// `sqe` and what it refers to stay valid until the call returns.
    #[inline(always)]
    pub unsafe fn io(&self, task: TaskRef, sqe: &Sqe) -> i32 {
        if task.cancel.get() == Cancel::Next {
            return take_cancel(task);
        }
        task.head.flags.set(Flags::AWAITING);
        add(&self.head.total_io_submitted, 1);
        // SAFETY: the caller's promise; the call does not return before the task is woken.
        unsafe { self.reactor.start(task, sqe) };
        self.leave(task);
        task.outcome.get()
    }

    /// Switches to the executor; returns when the task is resumed. Between items there are no
    /// exceptions: who has some takes them along, so who has none finds none.
    #[inline(always)]
    pub(super) fn leave(&self, task: TaskRef) {
        // SAFETY: `exceptions` is the owner thread's, which this is.
        if unsafe { (*self.exceptions).is_none() } {
            // SAFETY: called by the task that runs, hence on its stack.
            unsafe { task.switch.suspend() };
        } else {
            self.leave_with_exceptions(task);
        }
    }

    /// From inside a `catch`, or from a destructor that runs because of a `throw`.
    #[cold]
    #[inline(never)]
    fn leave_with_exceptions(&self, task: TaskRef) {
        // SAFETY: as in `leave`, and after it too: a task never migrates.
        unsafe {
            let exceptions = self.exceptions.replace(Exceptions::NONE);
            task.switch.suspend();
            self.exceptions.write(exceptions);
        }
    }
}

/// A cancel that found the task running, or its operation complete.
#[cold]
pub(super) fn take_cancel(task: TaskRef) -> i32 {
    task.cancel.set(Cancel::No);
    CANCELED
}

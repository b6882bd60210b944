//! For a foreign loop: a descriptor that is readable whenever a `run` that does not wait has
//! something to do. OWNER'S THREAD.
//!
//! Between two runs the executor is, to other threads, asleep: what they post wakes it, and the
//! wake-up is what the foreign loop sees. What its own thread does between two runs (attach,
//! cancel, unpark) makes the descriptor readable here.

use super::asleep::RETRY_NS;
use super::watch::by;
use super::Executor;
use crate::error::Res;
use crate::uring::kernel::Kernel;

impl<K: Kernel> Executor<K> {
    /// EXPENSIVE the first time. It is the executor's, and closed with it.
    pub fn poll_fd(&self) -> Res<i32> {
        let fd = self.reactor.kernel.poll_fd()?;
        if !self.watches(by::POLLED) {
            self.watch.set(self.watch.get() | by::POLLED);
            if !self.is_in_run() {
                self.rest();
            }
        }
        Ok(fd)
    }

    /// A run begins.
    #[cold]
    #[inline(never)]
    pub(super) fn end_rest(&self) {
        self.mailbox.inbox.end_sleep();
    }

    /// A run has ended. A handful of system calls.
    #[cold]
    #[inline(never)]
    pub(super) fn rest(&self) {
        let kernel = &self.reactor.kernel;
        // Before all looks: what comes after it, or is found by them, makes it readable again.
        kernel.poll_take();
        let now_ns = kernel.now_boot_ns();
        let mut at_ns = self.timers.next_ns();
        let is_idle = self.ready.is_empty()
            && self.may_sleep()
            && at_ns.is_none_or(|at_ns| at_ns > now_ns)
            && kernel.is_quiet()
            && self.mailbox.inbox.try_sleep();
        if self.reactor.has_unsubmitted() {
            // The kernel takes none for now: to be offered again.
            let again_ns = now_ns.saturating_add(RETRY_NS);
            at_ns = Some(at_ns.map_or(again_ns, |at_ns| at_ns.min(again_ns)));
        }
        kernel.poll_deadline(at_ns.filter(|_| is_idle));
        if !is_idle {
            kernel.poll_kick();
        }
    }

    /// Something has become ready, maybe outside a run.
    #[inline(always)]
    pub(super) fn tell_poll_fd(&self) {
        if self.watches(by::POLLED) {
            self.tell_poll_fd_outside();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_poll_fd_outside(&self) {
        if !self.is_in_run() {
            self.reactor.kernel.poll_kick();
        }
    }
}

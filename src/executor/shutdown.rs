//! The end of an executor.

use core::ffi::c_void;

use super::Executor;
use crate::error::{Errno, Res};
use crate::reactor::operation::Op;
use crate::stack::pool;
use crate::task::header::TaskRef;
use crate::task::state::Run;
use crate::uring::kernel::{Kernel, Wait};

/// What is told of the end, and what it is of.
pub type AtEnd = (unsafe extern "C" fn(*mut c_void), *mut c_void);

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD. `destroy` calls it once the executor cannot be launched on any more. One at
    /// a time: the last that was set.
    ///
    /// # Safety
    /// The function may be called until then, on this thread, outside a task of this executor.
    pub unsafe fn set_at_end(&self, at_end: Option<AtEnd>) {
        self.at_end.set(at_end);
    }

    /// OWNER'S THREAD. No other thread launches here any more: `ESHUTDOWN`.
    pub fn refuse_launches(&self) {
        self.mailbox.refuse_launches();
    }

    /// OWNER'S THREAD, inside its tasks too. Cancels every task that is attached. EXPENSIVE: no
    /// list of them is kept, as every launch would pay for it; all stacks of the process are looked
    /// at.
    pub fn cancel_all(&self) {
        if !self.has_work() {
            return;
        }
        pool::for_each_in_use(|header| {
            // SAFETY: headers of slots in use are tasks, or zeros, or what an earlier task left;
            // none of the latter two is attached.
            let task = unsafe { TaskRef::new(header.cast()) };
            // ENOENT: attached elsewhere, or idle.
            let _ = self.cancel(task);
        });
    }

    /// OWNER'S THREAD. Puts every task that is attached into `tasks`, with its run, as far as there
    /// is memory for them. EXPENSIVE, as `cancel_all`.
    pub(crate) fn list_attached(&self, tasks: &mut Vec<(TaskRef, Run)>) {
        tasks.clear();
        if tasks.try_reserve(self.attached()).is_err() {
            return;
        }
        pool::for_each_in_use(|header| {
            // SAFETY: as in `cancel_all`.
            let task = unsafe { TaskRef::new(header.cast()) };
            // Not to grow: the pool is locked.
            if task.state().is_attached_to(self.address()) && tasks.len() < tasks.capacity() {
                tasks.push((task, task.state().run()));
            }
        });
    }

    /// OWNER'S THREAD, outside its tasks. EBUSY, with nothing changed, while tasks are attached.
    pub fn destroy(self: Box<Self>) -> Result<(), (Box<Self>, Errno)> {
        if self.has_work() {
            return Err((self, Errno(libc::EBUSY)));
        }
        self.end_rest();
        while self.has_posts() {
            self.collect_mailbox(self.stamp());
            // A launch from elsewhere. Behind it more may come than this could ever take in.
            if self.attached() != 0 {
                self.tell_poll_fd();
                return Err((self, Errno(libc::EBUSY)));
            }
        }
        let mailbox = self.mailbox;
        for (link, what) in mailbox.close() {
            self.deal_with(link, what);
        }
        // Of joiners elsewhere: none of ours is left.
        while self.has_woken_joins() {
            self.wake_joiners(self.stamp());
        }
        if self.attached() != 0 {
            // A launch crossed the close: against the contract, but it need not cost the task.
            mailbox.inbox.reopen();
            self.tell_poll_fd();
            return Err((self, Errno(libc::EBUSY)));
        }
        let _ = self.stop_trace(); // ENOENT: there was none.
        self.drop_meter();
        mailbox.set_gone();
        self.settle();
        self.reactor.disown_buffers();
        self.reactor.forget_all_fixed();
        if let Some((call, of)) = self.at_end.take() {
            // SAFETY: who set it said so.
            unsafe { call(of) };
        }
        self.release_reference();
        mailbox.recycle();
        Ok(())
    }

    /// The ring is closed with nothing in flight: cancel requests may still be unanswered.
    fn settle(&self) {
        while !self.reactor.is_idle() {
            if self.settle_once().is_err() {
                return;
            }
        }
    }

    fn settle_once(&self) -> Res<()> {
        let soon = self.reactor.kernel.now_boot_ns().saturating_add(1_000_000);
        let reap = || {
            let none = |_: &Op, _| debug_assert!(false);
            self.reactor.reap(self.address(), usize::MAX, |_| debug_assert!(false), none)
        };
        self.reactor.submit()?;
        reap();
        if self.reactor.is_idle() {
            return Ok(());
        }
        match self.reactor.kernel.enter(Wait::Until { boot_ns: soon }) {
            Ok(()) | Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
            Err(e) => return Err(e),
        }
        reap();
        Ok(())
    }
}

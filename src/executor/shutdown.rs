//! The end of an executor.

use super::Executor;
use crate::error::{Errno, Res};
use crate::sys::kernel::{Kernel, Wait};

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD, outside its tasks. EBUSY, with nothing changed, while tasks are attached.
    pub fn destroy(self: Box<Self>) -> Result<(), (Box<Self>, Errno)> {
        if self.has_work() {
            return Err((self, Errno(libc::EBUSY)));
        }
        let mailbox = self.mailbox;
        let late = mailbox.close();
        self.deal_with(late);
        if self.attached() != 0 {
            // A launch crossed the close: against the contract, but it need not cost the task.
            mailbox.inbox.reopen();
            return Err((self, Errno(libc::EBUSY)));
        }
        self.drain();
        mailbox.recycle();
        Ok(())
    }

    /// The ring is closed with nothing in flight: cancel requests may still be unanswered.
    fn drain(&self) {
        while !self.reactor.is_idle() {
            if self.drain_once().is_err() {
                return;
            }
        }
    }

    fn drain_once(&self) -> Res<()> {
        let soon = self.reactor.kernel.now_boot_ns().saturating_add(1_000_000);
        self.reactor.submit()?;
        self.reactor.reap(|_| debug_assert!(false, "no task is attached"));
        if self.reactor.is_idle() {
            return Ok(());
        }
        match self.reactor.kernel.enter(Wait::Until { boot_ns: soon }) {
            Ok(()) | Err(Errno(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
            Err(e) => return Err(e),
        }
        self.reactor.reap(|_| debug_assert!(false, "no task is attached"));
        Ok(())
    }
}

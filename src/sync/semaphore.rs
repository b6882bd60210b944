//! `monad_async_semaphore`, and `monad_async_local_semaphore`.

use core::cell::Cell;

use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Semaphore<S: Side> {
    side: S,
    permits: Cell<u64>,
    waiters: Waiters,
}

// As in semaphore.h.
const _: () = assert!(size_of::<Semaphore<super::Shared>>() == 64);

impl<S: Side> Semaphore<S> {
    /// Whether `count` permits may be taken past all who wait.
    fn take(&self, count: u64) -> bool {
        let free = self.permits.get() >= count && self.waiters.first().is_none();
        if free {
            self.permits.set(self.permits.get() - count);
        }
        free
    }

    /// Serves the first, as long as there are permits: who wants many is not passed by who wants
    /// few.
    fn serve(&self, woken: &mut Woken) {
        while let Some(node) = self.waiters.first() {
            let count = node.data.get() as u64;
            if self.permits.get() < count {
                return;
            }
            self.waiters.remove(node);
            if node.claim() {
                self.permits.set(self.permits.get() - count);
                woken.add(node.wait());
            }
        }
    }

    /// SUSPENDS.
    #[inline(always)]
    pub fn acquire<K: Kernel>(&self, caller: &Caller<'_, K>, count: u64, until_ns: u64) -> Res<()> {
        caller.start()?;
        self.side.close(caller.mailbox())?;
        if self.take(count) {
            self.side.open();
            return Ok(());
        }
        self.acquire_slowly(caller, count, until_ns)
    }

    #[inline(never)]
    fn acquire_slowly<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        count: u64,
        until_ns: u64,
    ) -> Res<()> {
        let wait = caller.wait(S::IS_LOCAL);
        let node = Node::new(&wait, 0, count as usize);
        // SAFETY: taken out before this returns: by who serves it, or below.
        unsafe { self.waiters.push(&node) };
        self.side.open();
        let granted = caller.until_granted_inline(&wait, until_ns);
        if granted.is_err() {
            let mut woken = Woken::none();
            self.side.close(caller.mailbox())?;
            self.waiters.remove(&node);
            self.serve(&mut woken);
            self.side.open();
            woken.wake::<K>();
        }
        granted
    }

    /// EAGAIN: not so many, or others wait.
    pub fn try_acquire(&self, here: Option<&'static Mailbox>, count: u64) -> Res<()> {
        self.side.close(here)?;
        let taken = self.take(count);
        self.side.open();
        taken.then_some(()).ok_or(Errno(libc::EAGAIN))
    }

    /// EOVERFLOW: more than can be counted.
    pub fn release<K: Kernel>(&self, here: Option<&'static Mailbox>, count: u64) -> Res<()> {
        let mut woken = Woken::none();
        self.side.close(here)?;
        let sum = self.permits.get().checked_add(count).ok_or(Errno(libc::EOVERFLOW));
        if let Ok(sum) = sum {
            self.permits.set(sum);
            self.serve(&mut woken);
        }
        self.side.open();
        woken.wake::<K>();
        sum.map(|_| ())
    }
}

//! `monad_async_wait_group`, and `monad_async_local_wait_group`: waits until what was added is
//! done.

use core::cell::Cell;

use super::side::Side;
use super::waiters::{Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct WaitGroup<S: Side> {
    side: S,
    left: Cell<u64>,
    waiters: Waiters,
}

// As in wait_group.h.
const _: () = assert!(size_of::<WaitGroup<super::Shared>>() == 64);

impl<S: Side> WaitGroup<S> {
    /// EOVERFLOW: more than can be counted.
    pub fn add(&self, here: Option<&'static Mailbox>, count: u64) -> Res<()> {
        self.side.close(here)?;
        let sum = self.left.get().checked_add(count).ok_or(Errno(libc::EOVERFLOW));
        if let Ok(sum) = sum {
            self.left.set(sum);
        }
        self.side.open();
        sum.map(|_| ())
    }

    /// EINVAL: more than were added.
    pub fn done<K: Kernel>(&self, here: Option<&'static Mailbox>, count: u64) -> Res<()> {
        let mut woken = Woken::none();
        self.side.close(here)?;
        let left = self.left.get().checked_sub(count).ok_or(Errno(libc::EINVAL));
        if let Ok(left) = left {
            self.left.set(left);
            if left == 0 {
                self.waiters.claim_all(&mut woken);
            }
        }
        self.side.open();
        woken.wake::<K>();
        left.map(|_| ())
    }

    /// SUSPENDS until nothing is left.
    pub fn wait<K: Kernel>(&self, caller: &Caller<'_, K>, until_ns: u64) -> Res<()> {
        caller.start()?;
        self.side.close(caller.mailbox())?;
        if self.left.get() == 0 {
            self.side.open();
            return Ok(());
        }
        self.waiters.wait_in(&self.side, caller, until_ns)
    }
}

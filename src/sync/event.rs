//! `monad_async_event`, and `monad_async_local_event`: set, it lets everybody pass until it is
//! reset.

use core::cell::Cell;

use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::Res;
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Event<S: Side> {
    side: S,
    is_set: Cell<bool>,
    waiters: Waiters,
}

// As in event.h.
const _: () = assert!(size_of::<Event<super::Shared>>() == 64);

impl<S: Side> Event<S> {
    /// SUSPENDS until it is set.
    pub fn wait<K: Kernel>(&self, caller: &Caller<'_, K>, until_ns: u64) -> Res<()> {
        caller.start()?;
        self.side.close(caller.mailbox())?;
        if self.is_set.get() {
            self.side.open();
            return Ok(());
        }
        self.waiters.wait_in(&self.side, caller, until_ns)
    }

    /// Wakes all who wait.
    pub fn set<K: Kernel>(&self, here: Option<&'static Mailbox>) -> Res<()> {
        let mut woken = Woken::none();
        self.side.close(here)?;
        self.is_set.set(true);
        self.waiters.claim_all(&mut woken);
        self.side.open();
        woken.wake::<K>();
        Ok(())
    }

    /// Whether it was set.
    pub fn reset(&self, here: Option<&'static Mailbox>) -> Res<bool> {
        self.side.close(here)?;
        let was_set = self.is_set.replace(false);
        self.side.open();
        Ok(was_set)
    }

    pub fn is_set(&self, here: Option<&'static Mailbox>) -> Res<bool> {
        self.side.close(here)?;
        let is_set = self.is_set.get();
        self.side.open();
        Ok(is_set)
    }
}

impl Waiters {
    /// SUSPENDS until `claim_all`. The side, which is closed, is open afterwards.
    #[inline(never)]
    pub(super) fn wait_in<S: Side, K: Kernel>(
        &self,
        side: &S,
        caller: &Caller<'_, K>,
        until_ns: u64,
    ) -> Res<()> {
        let wait = caller.wait(S::IS_LOCAL);
        let node = Node::new(&wait, 0, 0);
        // SAFETY: taken out before this returns: by who claims it, or below.
        unsafe { self.push(&node) };
        side.open();
        let granted = caller.until_granted(&wait, until_ns);
        if granted.is_err() {
            side.close(caller.mailbox())?;
            self.remove(&node);
            side.open();
        }
        granted
    }

    pub(super) fn claim_all(&self, woken: &mut Woken) {
        while let Some(node) = self.claim() {
            woken.add(node.wait());
        }
    }
}

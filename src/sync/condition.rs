//! `monad_async_condition`, and `monad_async_local_condition`.
//!
//! Who is notified moves from this queue into the mutex's, its wait claimed: from then on neither a
//! cancel nor a deadline ends it, no notification is lost, and of many that are notified each is
//! woken when the mutex is its own.

use super::mutex::Mutex;
use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::executor::mailbox::Mailbox;
use crate::intrusive::Fifo;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Condition<S: Side> {
    side: S,
    waiters: Waiters,
    _reserved: [u64; 1],
}

// As in condition.h.
const _: () = assert!(size_of::<Condition<super::Shared>>() == 64);

/// A place in the queue, and the mutex to be given.
#[repr(C)]
struct Place<S: Side> {
    node: Node,
    mutex: *const Mutex<S>,
}

impl<S: Side> Condition<S> {
    /// SUSPENDS. Unlocks `mutex`, which is the caller's, EPERM if not, and locks it again whatever
    /// the outcome: notified; or ETIME, ECANCELED.
    pub fn wait<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        mutex: &Mutex<S>,
        until_ns: u64,
    ) -> Res<()> {
        mutex.check_owner(caller)?;
        caller.start()?;
        if S::IS_LOCAL && caller.executor().is_none() {
            return Err(Errno(libc::EPERM)); // It would wait for itself, and for the mutex.
        }
        let wait = caller.wait(S::IS_LOCAL);
        let place = Place { node: Node::new(&wait, 0, caller.identity()), mutex };
        self.side.close(caller.mailbox())?;
        // SAFETY: taken out before this returns: by who notifies, or below.
        unsafe { self.waiters.push(&place.node) };
        self.side.open();
        // Who notifies without the mutex may have come in between.
        if mutex.unlock_to_wait(caller, &raw const wait)? {
            return Ok(());
        }
        let notified = caller.until_granted(&wait, until_ns);
        if notified.is_err() {
            self.side.close(caller.mailbox())?;
            self.waiters.remove(&place.node);
            self.side.open();
            mutex.lock_for_sure(caller);
        }
        notified
    }

    /// Notifies the first `count`.
    pub fn notify<K: Kernel>(&self, here: Option<&'static Mailbox>, count: usize) -> Res<()> {
        let notified = Fifo::new();
        self.side.close(here)?;
        for _ in 0..count {
            let Some(node) = self.waiters.claim() else { break };
            // SAFETY: claimed, so it stays, and out of the queue.
            let _ = unsafe { notified.push_back(core::ptr::NonNull::from(node).cast()) };
        }
        self.side.open();
        let mut woken = Woken::none();
        while let Some(link) = notified.pop_front() {
            // SAFETY: only places of this kind of condition are in its queue; claimed, so it stays.
            let place = unsafe { link.cast::<Place<S>>().as_ref() };
            // SAFETY: its waiter waits with it.
            unsafe { &*place.mutex }.hand_to(here, &place.node, &mut woken)?;
        }
        woken.wake::<K>();
        Ok(())
    }
}

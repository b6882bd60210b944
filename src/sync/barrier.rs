//! `monad_async_barrier`, and `monad_async_local_barrier`: where `parties` wait for each other,
//! again and again.
//!
//! Whether somebody who was cancelled counts is decided by the queue: who is still in it leaves,
//! and does not count; who is not was one of those that met, and passes, whatever woke it.

use core::cell::Cell;

use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct Barrier<S: Side> {
    side: S,
    parties: Cell<u64>,
    waiting: Cell<u64>,
    waiters: Waiters,
    _reserved: [u64; 1],
}

// As in barrier.h.
const _: () = assert!(size_of::<Barrier<super::Shared>>() == 80);

impl<S: Side> Barrier<S> {
    /// SUSPENDS. True for the one that came last. EINVAL: made for nobody.
    pub fn wait<K: Kernel>(&self, caller: &Caller<'_, K>, until_ns: u64) -> Res<bool> {
        caller.start()?;
        self.side.close(caller.mailbox())?;
        let waiting = self.waiting.get() + 1;
        if waiting >= self.parties.get() {
            return self.meet::<K>();
        }
        self.waiting.set(waiting);
        let wait = caller.wait(S::IS_LOCAL);
        let node = Node::new(&wait, 0, 0);
        // SAFETY: taken out before this returns: by who comes last, or below.
        unsafe { self.waiters.push(&node) };
        self.side.open();
        let Err(e) = caller.until_granted(&wait, until_ns) else { return Ok(false) };
        self.side.close(caller.mailbox())?;
        let leaves = self.waiters.remove(&node);
        if leaves {
            self.waiting.set(self.waiting.get() - 1);
        }
        self.side.open();
        if leaves {
            Err(e)
        } else {
            Ok(false)
        }
    }

    /// All are there; the side is closed.
    fn meet<K: Kernel>(&self) -> Res<bool> {
        let made = self.parties.get() != 0;
        let mut woken = Woken::none();
        self.waiting.set(0);
        while let Some(node) = self.waiters.pop() {
            if node.claim() {
                woken.add(node.wait());
            }
        }
        self.side.open();
        woken.wake::<K>();
        made.then_some(true).ok_or(Errno(libc::EINVAL))
    }
}

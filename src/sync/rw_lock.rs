//! `monad_async_rw_lock`, and `monad_async_local_rw_lock`: phase-fair (Brandenburg and Anderson,
//! 2009).
//!
//! A reader waits while somebody writes or waits to write, so that no stream of readers starves a
//! writer. After readers comes a writer. After a writer come all readers that wait, unless a writer
//! of a higher priority waits; so no stream of writers starves the readers of its own priority.
//! Among readers, and among writers: by CPU priority, then in order.

use core::cell::Cell;

use super::side::Side;
use super::waiters::{Node, Waiters, Woken};
use crate::error::{Errno, Res};
use crate::executor::grant::Caller;
use crate::task::header::PRIORITIES;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct RwLock<S: Side> {
    side: S,
    readers: Cell<u64>,
    /// `Caller::identity`; 0: nobody writes.
    writer: Cell<usize>,
    to_read: Waiters,
    to_write: Waiters,
    _reserved: [u64; 1],
}

// As in rw_lock.h.
const _: () = assert!(size_of::<RwLock<super::Shared>>() == 128);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}
use Access::{Read, Write};

impl<S: Side> RwLock<S> {
    /// At once, past nobody who is to come first.
    fn take(&self, access: Access, me: usize) -> bool {
        let free = self.writer.get() == 0 && self.to_write.first().is_none();
        match access {
            Read if free => self.readers.set(self.readers.get() + 1),
            Write if free && self.readers.get() == 0 && self.to_read.first().is_none() => {
                self.writer.set(me);
            }
            _ => return false,
        }
        true
    }

    /// Who comes next, after a phase of `before`, or after a waiter has left.
    fn serve(&self, before: Access, woken: &mut Woken) {
        if self.writer.get() != 0 {
            return;
        }
        let level = |waiters: &Waiters| waiters.first().and(waiters.level()).unwrap_or(PRIORITIES);
        let (reads, writes) = (level(&self.to_read), level(&self.to_write));
        let writer_next = writes != PRIORITIES && (before == Read || writes < reads);
        if writer_next || reads == PRIORITIES {
            if self.readers.get() == 0 {
                if let Some(node) = self.to_write.claim() {
                    self.writer.set(node.data.get());
                    return woken.add(node.wait());
                }
            } else {
                return;
            }
        }
        while let Some(node) = self.to_read.claim() {
            self.readers.set(self.readers.get() + 1);
            woken.add(node.wait());
        }
    }

    /// SUSPENDS. EDEADLK: the caller writes.
    pub fn lock<K: Kernel>(
        &self,
        caller: &Caller<'_, K>,
        access: Access,
        until_ns: u64,
    ) -> Res<()> {
        caller.start()?;
        self.side.close(caller.mailbox())?;
        let me = caller.identity();
        if self.take(access, me) {
            self.side.open();
            return Ok(());
        }
        if self.writer.get() == me {
            self.side.open();
            return Err(Errno(libc::EDEADLK));
        }
        let waiters = if access == Read { &self.to_read } else { &self.to_write };
        let wait = caller.wait(S::IS_LOCAL);
        let node = Node::new(&wait, 0, me);
        // SAFETY: taken out before this returns: by who serves it, or below.
        unsafe { waiters.push(&node) };
        self.side.open();
        let granted = caller.until_granted(&wait, until_ns);
        if granted.is_err() {
            let mut woken = Woken::none();
            self.side.close(caller.mailbox())?;
            waiters.remove(&node);
            if self.to_write.first().is_none() {
                self.serve(Write, &mut woken); // It may have kept readers waiting.
            } else if self.readers.get() == 0 {
                self.serve(Read, &mut woken);
            }
            self.side.open();
            woken.wake::<K>();
        }
        granted
    }

    /// EBUSY.
    pub fn try_lock<K: Kernel>(&self, caller: &Caller<'_, K>, access: Access) -> Res<()> {
        self.side.close(caller.mailbox())?;
        let taken = self.take(access, caller.identity());
        self.side.open();
        taken.then_some(()).ok_or(Errno(libc::EBUSY))
    }

    /// EPERM: the caller does not write, or nobody reads.
    pub fn unlock<K: Kernel>(&self, caller: &Caller<'_, K>, access: Access) -> Res<()> {
        let mut woken = Woken::none();
        self.side.close(caller.mailbox())?;
        let held = match access {
            Read => self.readers.get() != 0,
            Write => self.writer.get() == caller.identity(),
        };
        if held {
            match access {
                Read => self.readers.set(self.readers.get() - 1),
                Write => self.writer.set(0),
            }
            if self.readers.get() == 0 {
                self.serve(access, &mut woken);
            }
        }
        self.side.open();
        woken.wake::<K>();
        held.then_some(()).ok_or(Errno(libc::EPERM))
    }
}

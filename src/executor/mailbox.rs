//! Where other threads leave what they want of an executor.
//!
//! Mailboxes are never freed, only recycled: an executor on another thread may hold the address of
//! one (to join a task there) longer than its owner lives. A message that arrives at a mailbox's
//! next owner finds its task is not attached there, which is an answer like any other.

use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicI32, Ordering};
use std::sync::MutexGuard;

use crate::error::Res;
use crate::intrusive::{Chain, Link, MpscQueue, Push};
use crate::sys::alloc;
use crate::sys::backoff::Backoff;
use crate::sys::fork::{ForkLock, Watch};
use crate::sys::thread::OwnerNumber;
use crate::task::header::TaskRef;
use crate::uring::kernel::Waker;

/// What a link in an inbox is part of.
pub mod kind {
    /// A task to launch.
    pub const LAUNCH: usize = 0;
    /// A boxed `remote::CancelMessage`.
    pub const CANCEL: usize = 1;
    /// `join::Record::link`: tell me when `other` has exited.
    pub const JOIN: usize = 2;
    /// The same, answered.
    pub const JOINED: usize = 3;
    /// `join::Record::unlink`: I no longer want to know.
    pub const UNJOIN: usize = 4;
    /// The same, acknowledged.
    pub const UNJOINED: usize = 5;
}

pub struct Mailbox {
    pub inbox: MpscQueue,
    /// The owner's eventfd; negative while it has none.
    eventfd: AtomicI32,
    owner: OwnerNumber,
    /// The next spare one, while this is one. Behind the lock of `SPARE`.
    next: Cell<Option<&'static Mailbox>>,
}

/// Mailboxes without an owner.
static SPARE: ForkLock<Option<&'static Mailbox>> = ForkLock::new(None);

extern "C" fn before_fork() {
    SPARE.hold();
}

extern "C" fn after_fork() {
    SPARE.let_go(|_| {});
}

fn spare() -> MutexGuard<'static, Option<&'static Mailbox>> {
    static WATCH: Watch = Watch::new();
    WATCH.ensure(before_fork, after_fork, after_fork);
    SPARE.lock()
}

// SAFETY: the inbox is made for many threads; links in it belong to whoever the rules in
// `intrusive::mpsc` say. `next` is behind a lock.
unsafe impl Sync for Mailbox {}
// SAFETY: as above.
unsafe impl Send for Mailbox {}

/// A mailbox that takes messages, whose owner `waker` wakes.
pub fn open(waker: Waker) -> Res<&'static Mailbox> {
    let mailbox = match take_spare() {
        Some(mailbox) => mailbox,
        None => {
            let (inbox, eventfd) = (MpscQueue::new(), AtomicI32::new(-1));
            let _ = inbox.close();
            let owner = OwnerNumber::nobody();
            Box::leak(alloc::try_box(Mailbox { inbox, eventfd, owner, next: Cell::new(None) })?)
        }
    };
    mailbox.eventfd.store(waker.eventfd, Ordering::Release);
    mailbox.owner.set_here();
    mailbox.inbox.reopen();
    Ok(mailbox)
}

fn take_spare() -> Option<&'static Mailbox> {
    let mut first = spare();
    let mailbox = first.take()?;
    *first = mailbox.next.take();
    Some(mailbox)
}

impl Mailbox {
    /// That of the executor which `task` is or was attached to last. ANY THREAD.
    pub fn of(task: TaskRef) -> Option<&'static Self> {
        // SAFETY: null, or a mailbox, and they live for ever.
        unsafe { task.state().mailbox().cast::<Self>().as_ref() }
    }

    /// The calling thread owns it.
    pub fn is_mine(&self) -> bool {
        self.owner.is_here()
    }

    /// ANY THREAD. The caller vouches for the owner's state until this returns.
    ///
    /// # Safety
    /// As `MpscQueue::push`, and `kind` is what the link is part of. False: closed, refused.
    pub unsafe fn post(&self, link: NonNull<Link>, kind: usize) -> bool {
        // SAFETY: the caller's.
        match unsafe { self.inbox.push(link, kind) } {
            Push::Queued => true,
            Push::MustWake => {
                self.wake();
                true
            }
            Push::Closed => false,
        }
    }

    /// ANY THREAD. As `post`, where nobody vouches for the owner: its `close` waits for us.
    ///
    /// # Safety
    /// As `post`.
    pub unsafe fn post_pinned(&self, link: NonNull<Link>, kind: usize) -> bool {
        self.inbox.pin();
        // SAFETY: the caller's; the pin keeps the owner.
        let posted = unsafe { self.post(link, kind) };
        self.inbox.unpin();
        posted
    }

    /// ANY THREAD, also in a signal handler.
    pub fn notify(&self) {
        if self.inbox.notify() {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        Waker { eventfd: self.eventfd.load(Ordering::Acquire) }.wake();
    }

    /// The owner leaves: no message comes in any more; what came before is returned. Call `recycle`
    /// once it is dealt with.
    pub fn close(&self) -> Chain {
        self.inbox.close()
    }

    /// Of an executor that never was.
    pub fn abandon(&'static self) {
        let none = self.close();
        debug_assert!(none.is_empty());
        self.recycle();
    }

    /// Waits until no foreign thread is about to wake the owner (a handful of instructions of
    /// theirs), then gives the mailbox to the next executor.
    pub fn recycle(&'static self) {
        let mut backoff = Backoff::new();
        while self.inbox.pinned() {
            backoff.wait();
        }
        self.eventfd.store(-1, Ordering::Release);
        self.owner.set_nobody();
        let mut first = spare();
        self.next.set(*first);
        *first = Some(self);
    }
}

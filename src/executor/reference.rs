//! A counted reference to an executor that may outlive it: its mailbox, which lives for ever, and
//! which of the mailbox's owners is meant.

use core::ptr::NonNull;

use super::mailbox::Mailbox;
use super::{remote, Executor};
use crate::atomic::{AtomicUsize, Ordering};
use crate::error::{Errno, Res};
use crate::sys::thread::Owner;
use crate::sys::{alloc, fd};
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

/// `struct monad_async_remote_reference`
pub struct Reference {
    holders: AtomicUsize,
    mailbox: &'static Mailbox,
    epoch: u64,
    /// For the child of a fork: the executor is its parent's.
    owner: Owner,
}

const ESHUTDOWN: Errno = Errno(libc::ESHUTDOWN);

/// ANY THREAD.
impl Reference {
    pub fn retain(&self) {
        // Relaxed: the caller holds one already.
        self.holders.fetch_add(1, Ordering::Relaxed);
    }

    /// # Safety
    /// The caller holds one, and gives it up.
    pub unsafe fn release(this: NonNull<Self>) {
        // SAFETY: held until here.
        // AcqRel: what all holders did comes before the end.
        if unsafe { this.as_ref() }.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: leaked from a box by `reference`, and this was the last.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }

    /// Calls `f`, which posts, with the mailbox, while its owner is kept.
    pub fn with_mailbox(&self, f: impl FnOnce(&'static Mailbox) -> Res<()>) -> Res<()> {
        self.with_owner(|| f(self.mailbox))
    }

    /// The same of one that launches. ESHUTDOWN also: the owner ends its tasks.
    pub fn with_launches(&self, f: impl FnOnce(&'static Mailbox) -> Res<()>) -> Res<()> {
        self.with_mailbox(|mailbox| match mailbox.takes_launches() {
            true => f(mailbox),
            false => Err(ESHUTDOWN),
        })
    }

    pub fn attach(&self, task: TaskRef) -> Res<()> {
        self.with_launches(|mailbox| remote::attach(mailbox, task))
    }

    pub fn cancel(&self, task: TaskRef) -> Res<()> {
        self.with_owner(|| remote::cancel(Some(self.mailbox), task))
    }

    pub fn wake(&self) -> Res<()> {
        self.with_owner(|| {
            self.mailbox.ask_wake();
            Ok(())
        })
    }

    /// It is that executor's.
    pub fn is_of<K: Kernel>(&self, ex: &Executor<K>) -> bool {
        core::ptr::eq(self.mailbox, ex.mailbox) && self.epoch == ex.mailbox.epoch()
    }

    /// See `Mailbox::home`.
    pub fn home(&self) -> Res<u32> {
        self.with_owner(|| Ok(self.mailbox.home()))
    }

    /// A descriptor of its ring, which the caller closes. EXPENSIVE. ENOTSUP: it has none.
    pub fn ring_descriptor<K: Kernel>(&self) -> Res<i32> {
        self.with_owner(|| {
            // SAFETY: null or the executor, which is kept, and tells a number that never changes.
            let ex = unsafe { self.mailbox.executor_made().cast::<Executor<K>>().as_ref() };
            match ex.ok_or(ESHUTDOWN)?.kernel().ring_fd() {
                ring if ring >= 0 => fd::duplicate(ring),
                _ => Err(Errno(libc::ENOTSUP)),
            }
        })
    }

    fn with_owner<T>(&self, f: impl FnOnce() -> Res<T>) -> Res<T> {
        if !self.owner.is_in_this_process() {
            return Err(Errno(libc::EPERM));
        }
        self.mailbox.with_owner(self.epoch, f).unwrap_or(Err(ESHUTDOWN))
    }
}

impl<K: Kernel> Executor<K> {
    /// OWNER'S THREAD. One more reference. EXPENSIVE the first time.
    pub fn reference(&self) -> Res<NonNull<Reference>> {
        let reference = match self.reference.get() {
            Some(reference) => reference,
            None => {
                let reference = alloc::try_box(Reference {
                    holders: AtomicUsize::new(1), // The executor.
                    mailbox: self.mailbox,
                    epoch: self.mailbox.epoch(),
                    owner: Owner::nobody(),
                })?;
                let reference = Box::leak(reference);
                // SAFETY: in its box, out of which it is not moved.
                unsafe { reference.owner.adopt() };
                let reference = NonNull::from(reference);
                self.reference.set(Some(reference));
                reference
            }
        };
        // SAFETY: the executor holds it.
        unsafe { reference.as_ref() }.retain();
        Ok(reference)
    }

    /// The executor is gone.
    pub(super) fn release_reference(&self) {
        if let Some(reference) = self.reference.take() {
            // SAFETY: the executor's own.
            unsafe { Reference::release(reference) };
        }
    }
}

//! What other threads may ask, and how the owner takes it in.

use core::ptr::NonNull;

use super::head::inc;
use super::join::Record;
use super::mailbox::kind;
use super::Executor;
use crate::error::{Errno, Res};
use crate::intrusive::{Chain, Link};
use crate::sys::alloc;
use crate::task::header::{Cancel, TaskRef, Waits};
use crate::uring::kernel::Kernel;

/// A cancel request on its way. The task may have exited, been launched again, or be gone when it
/// arrives: `seq` tells, and slot memory may always be read.
#[repr(C)]
pub struct CancelMessage {
    link: Link,
    task: TaskRef,
    seq: u64,
}

impl<K: Kernel> Executor<K> {
    /// ANY THREAD. Lock-free. Wakes the executor only if it sleeps or is about to.
    pub fn attach_remote(&self, task: TaskRef) -> Res<()> {
        self.attach_begin(task)?;
        self.attach_end(task);
        Ok(())
    }

    /// The first half: claims the task. The executor does not know of it yet, but a request to
    /// cancel it may come by another way and overtake it. (In two halves for the simulation.)
    pub fn attach_begin(&self, task: TaskRef) -> Res<()> {
        // Its lines are at the processor that ran it last: asked for together, they come together.
        task.prefetch_to_write();
        if task.head.user_code.get().is_none() {
            return Err(Errno(libc::EINVAL));
        }
        if !task.state().claim() {
            return Err(Errno(libc::EBUSY));
        }
        self.prepare(task);
        Ok(())
    }

    /// Posts a task that `attach_begin` has claimed.
    pub fn attach_end(&self, task: TaskRef) {
        // SAFETY: the task was idle, so its link is free, and it stays until it has exited. The
        // caller vouches for the executor.
        let posted = unsafe { self.mailbox.post(task.link_ptr(), kind::LAUNCH) };
        debug_assert!(posted, "the executor outlives the call");
    }

    /// ANY THREAD. ENOMEM, else it takes effect when the executor looks at its mailbox, if the task
    /// is attached to it still.
    pub fn cancel_remote(&self, task: TaskRef) -> Res<()> {
        let seq = task.state().seq();
        let message = alloc::try_box(CancelMessage { link: Link::new(), task, seq })?;
        let message = NonNull::from(Box::leak(message));
        // SAFETY: the message is the mailbox's from here; the caller vouches for the executor.
        if !unsafe { self.mailbox.post(message.cast(), kind::CANCEL) } {
            // SAFETY: refused, so still ours.
            drop(unsafe { Box::from_raw(message.as_ptr()) });
        }
        Ok(())
    }

    /// ANY THREAD, also in a signal handler.
    pub fn wake(&self) {
        self.mailbox.notify();
    }

    /// Takes in all that other threads left.
    #[cold]
    #[inline(never)]
    pub(super) fn collect_mailbox(&self) {
        let taken = self.mailbox.inbox.take_and(|link, what| {
            if what == kind::LAUNCH {
                // SAFETY: `kind` says what the link is part of.
                unsafe { TaskRef::from_link(link) }.prefetch_to_write();
            }
        });
        if taken.notified {
            self.woken.set(true);
        }
        self.deal_with(taken.chain);
    }

    pub(super) fn deal_with(&self, mut chain: Chain) {
        while let Some((link, what)) = chain.pop() {
            // SAFETY: `kind` says what each link is part of, and posting handed it over to us.
            unsafe {
                match what {
                    kind::LAUNCH => self.launched(TaskRef::from_link(link)),
                    kind::CANCEL => {
                        self.cancel_asked(*Box::from_raw(link.cast::<CancelMessage>().as_ptr()))
                    }
                    kind::JOIN => self.join_asked(Record::from_link(link)),
                    kind::JOINED => self.join_answered(Record::from_link(link)),
                    kind::UNJOIN => self.unjoin_asked(Record::from_unlink(link)),
                    kind::UNJOINED => self.join_answered(Record::from_unlink(link)),
                    _ => debug_assert!(false, "no such message"),
                }
            }
        }
    }

    #[inline(always)]
    fn launched(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Nothing);
        if task.cancel.get() != Cancel::No {
            return self.never_launch(task);
        }
        inc(&self.head.tasks_pending_launch);
        self.ready.push(task);
    }

    fn cancel_asked(&self, message: CancelMessage) {
        if message.task.state().seq() == message.seq {
            // ENOENT: it has exited meanwhile, which is no one's loss.
            let _ = self.cancel_known(message.task);
        }
    }
}

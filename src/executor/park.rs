//! Park and unpark: one permit, kept in a word of the task's header, see `task::permit`.
//!
//! 1. Exactly one thread takes a record out of the word (see `task::permit`).
//! 2. One from the executor's own thread takes the record out and leaves no permit, as the park
//!    that it ends would only take it.
//! 3. An unpark that took the record out from another thread posts its link to the task's executor.
//!    The task does not leave its park before that mail has come, so the record stays valid, and
//!    nobody touches it after it was posted.

use core::mem::offset_of;
use core::ptr::NonNull;

use super::mailbox::{kind, Mailbox};
use super::Executor;
use crate::intrusive::Link;
use crate::task::header::{mark, TaskRef, Waits};
use crate::task::permit::PERMIT;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct ParkRecord {
    link: Link,
    task: TaskRef,
    home: &'static Mailbox,
}

const _: () = assert!(align_of::<ParkRecord>() > PERMIT && offset_of!(ParkRecord, link) == 0);

impl ParkRecord {
    /// # Safety
    /// `link` is that of a record whose task is parked.
    pub unsafe fn task_of(link: NonNull<Link>) -> TaskRef {
        // SAFETY: the caller's; `link` is the first field, and was made of a pointer to the record.
        unsafe { link.cast::<Self>().as_ref() }.task
    }
}

impl<K: Kernel> Executor<K> {
    /// SUSPENDS. `task` runs now.
    pub fn park(&self, task: TaskRef) -> i32 {
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return stopped;
            }
        }
        if task.park.take() {
            return 0;
        }
        let record = ParkRecord { link: Link::new(), task, home: self.mailbox };
        // Before all that this thread alone reads: the instruction waits for the stores before it.
        if !task.park.arm((&raw const record) as usize) {
            let taken = task.park.take();
            debug_assert!(taken, "a permit, which nobody else takes");
            return 0;
        }
        task.peer.set((&raw const record).cast());
        task.waits.set(Waits::Park);
        task.outcome.set(0);
        task.awaits();
        self.leave(task);
        if task.outcome.get() == 0 {
            task.park.take_any();
        }
        task.outcome.get()
    }

    /// A cancel of a parked task. False: an unpark was faster, and its mail is on the way (rule 1).
    #[inline(never)]
    pub(super) fn unpark_canceled(&self, task: TaskRef) -> bool {
        Self::takes_record(task)
    }

    /// Of a task of ours that is parked: rule 1.
    #[inline(always)]
    fn takes_record(task: TaskRef) -> bool {
        task.park.disarm(task.peer.get() as usize)
    }

    /// OWNER'S THREAD. True: the task is one of ours, and was parked and goes on (rule 2), or has
    /// its permit. False: nothing was done.
    #[inline(always)]
    pub fn unpark_here(&self, task: TaskRef) -> bool {
        if !task.state().is_attached_to(self.address()) {
            return false;
        }
        if task.waits.get() != Waits::Park {
            task.park.leave_here();
            return true;
        }
        let taken = Self::takes_record(task);
        if taken {
            self.unparked(task);
        }
        taken
    }

    /// The task of ours is to go on: UNPARK has arrived, or its own thread took the record out.
    pub fn unparked(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Park);
        self.ready_again(task, self.stamp());
    }
}

/// A record that an unpark took out: the task is to be woken (rule 1).
#[must_use]
pub struct Parked(NonNull<ParkRecord>);

impl Parked {
    /// The calling thread is the task's executor's.
    pub fn is_here(&self) -> bool {
        // SAFETY: taken out, so ours, and valid until its mail has come (rule 3).
        unsafe { self.0.as_ref() }.home.is_mine()
    }

    /// From another thread.
    pub fn post(self) {
        // SAFETY: as above.
        let home = unsafe { self.0.as_ref() }.home;
        // SAFETY: as above; in no list. The task is attached there until the mail has come.
        let posted = unsafe { home.post_pinned(self.0.cast(), kind::UNPARK) };
        debug_assert!(posted, "its executor has the task attached");
    }
}

/// ANY THREAD. Wait-free. Leaves a permit; what to wake, if the task was parked.
pub fn unpark(task: TaskRef) -> Option<Parked> {
    task.park.unpark().and_then(|at| NonNull::new(at as *mut ParkRecord)).map(Parked)
}

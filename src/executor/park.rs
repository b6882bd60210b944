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

use super::bare::Bare;
use super::free::Free;
use super::grant::{home_of, Wait};
use super::mailbox::{kind, Mailbox};
use super::Executor;
use crate::error::{Errno, RawResult};
use crate::intrusive::Link;
use crate::stack::switch::Over;
use crate::task::header::{mark, Room, TaskRef, Waits};
use crate::task::permit::PERMIT;
use crate::uring::kernel::Kernel;

#[repr(C)]
pub struct ParkRecord {
    link: Link,
    _as_in_a_wait: u64,
    task: TaskRef,
}

const _: () = assert!(align_of::<ParkRecord>() > PERMIT && offset_of!(ParkRecord, link) == 0);
// A task's room says so already.
const _: () = assert!(offset_of!(ParkRecord, task) == Room::TASK_AT);

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
    #[inline(always)]
    pub fn park(&self, task: TaskRef) -> RawResult {
        if task.has(mark::STOPS) || !task.permit().is_none() {
            return Self::park_slowly(task, self);
        }
        match Free::new(self, task).bare::<false>() {
            Some(bare) => self.park_bare(bare),
            None => Self::park_stamped(task, self),
        }
    }

    /// As `park`, with time tracking. Of C's kind, as the next: a C function ends in it by a jump.
    #[inline(never)]
    extern "C" fn park_stamped(task: TaskRef, ex: &Self) -> RawResult {
        match Free::new(ex, task).bare::<true>() {
            Some(bare) => ex.park_bare(bare),
            None => Self::park_slowly(task, ex),
        }
    }

    #[inline(never)]
    extern "C" fn park_slowly(task: TaskRef, ex: &Self) -> RawResult {
        match ex.park_at_once(task) {
            0 => RawResult::success(0),
            e => RawResult::failure(Errno(-e)),
        }
    }

    /// Without a frame. The outcome is `PARKED` until a cancel says otherwise: so who comes back
    /// looks at its permit, see `Parks`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn park_bare<const TRACK: bool>(&self, bare: Bare<'_, K, TRACK>) -> RawResult {
        // A bare wait in the same room relies on what is there of the watcher.
        const _: () = assert!(size_of::<ParkRecord>() <= Wait::WATCHER_AT);
        let task = bare.task();
        let at = task.room_ptr().cast::<ParkRecord>();
        // Room for one, which no other wait of the task's uses, and headers are never unmapped. It
        // says whose it is; the link is written by who posts it.
        // Before all that this thread alone reads: the instruction waits for the stores before it.
        if !task.permit().arm(at.as_ptr() as usize) {
            return Self::park_slowly(task, self);
        }
        bare.leaves();
        task.peer.set(at.as_ptr().cast());
        // SAFETY: of a park, which is at no object.
        unsafe { bare.wait::<Parks>(Waits::Park, Some(PARKED), core::ptr::null(), || {}) }
    }

    /// 0, or a negative errno.
    #[inline(always)]
    fn park_at_once(&self, task: TaskRef) -> i32 {
        if task.has(mark::STOPS) {
            let stopped = self.stop(task);
            if stopped != 0 {
                return stopped;
            }
        }
        if task.permit().take() {
            return 0;
        }
        let record = ParkRecord { link: Link::new(), _as_in_a_wait: 0, task };
        // Before all that this thread alone reads: the instruction waits for the stores before it.
        if !task.permit().arm((&raw const record) as usize) {
            let taken = task.permit().take();
            debug_assert!(taken, "a permit, which nobody else takes");
            return 0;
        }
        task.peer.set((&raw const record).cast());
        task.waits.set(Waits::Park);
        task.head.outcome.set(0);
        task.awaits();
        self.leave(task);
        if task.head.outcome.get() == 0 {
            task.permit().take_any();
        }
        task.head.outcome.get()
    }

    /// A cancel of a parked task. False: an unpark was faster, and its mail is on the way (rule 1).
    #[inline(never)]
    pub(super) fn unpark_canceled(&self, task: TaskRef) -> bool {
        Self::takes_record(task)
    }

    /// Of a task of ours that is parked: rule 1.
    #[inline(always)]
    fn takes_record(task: TaskRef) -> bool {
        task.permit().disarm(task.peer.get() as usize)
    }

    /// OWNER'S THREAD. The task is one of ours, and was parked and goes on (rule 2), or has its
    /// permit. None: nothing was done.
    #[inline(always)]
    pub fn unpark_here(&self, task: TaskRef) -> Option<RawResult> {
        if !task.state().is_attached_to(self.address()) {
            return None;
        }
        if task.waits.get() != Waits::Park {
            task.permit().leave_here();
            task.note_past();
            return Some(RawResult::success_by_call());
        }
        Self::takes_record(task).then(|| self.ready_last(task))
    }

    /// The task of ours is to go on: UNPARK has arrived, or its own thread took the record out.
    pub fn unparked(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Park);
        self.ready_again(task, self.stamp());
    }
}

/// The outcome of a task that was parked without a frame, as long as no cancel came.
const PARKED: i32 = 1;

/// Who comes back from a park without a frame.
struct Parks;

impl Over for Parks {
    const SWITCH_AT: usize = TaskRef::SWITCH_AT;
    const OUTCOME_AT: usize = TaskRef::OUTCOME_AT;
    const OBJECT_AT: usize = TaskRef::OBJECT_AT;

    #[inline(never)]
    extern "C" fn over(task: NonNull<u8>, _: *const u8) -> RawResult {
        // SAFETY: called where such a park ends, for its task.
        let task = unsafe { TaskRef::new(task.cast()) };
        let outcome = task.head.outcome.get();
        if outcome != PARKED {
            return RawResult::failure(Errno(-outcome));
        }
        let permit = task.permit();
        permit.take_any();
        RawResult::success(0)
    }
}

/// A record that an unpark took out: the task is to be woken (rule 1).
#[must_use]
pub struct Parked(NonNull<ParkRecord>);

impl Parked {
    /// The calling thread is the task's executor's.
    pub fn is_here(&self) -> bool {
        self.home().is_mine()
    }

    fn home(&self) -> &'static Mailbox {
        // SAFETY: taken out, so ours, and valid until its mail has come (rule 3).
        home_of(unsafe { self.0.as_ref() }.task)
    }

    /// From another thread.
    pub fn post(self) {
        // SAFETY: as in `home`; in no list. The task is attached there until the mail has come.
        let posted = unsafe { self.home().post_pinned(self.0.cast(), kind::UNPARK) };
        debug_assert!(posted, "its executor has the task attached");
    }
}

/// ANY THREAD. Wait-free. Leaves a permit; what to wake, if the task was parked.
pub fn unpark(task: TaskRef) -> Option<Parked> {
    let record = task.permit().unpark();
    if record.is_none() {
        task.note_past();
    }
    record.and_then(|at| NonNull::new(at as *mut ParkRecord)).map(Parked)
}

//! A wait without a frame: the most frequent one, of a task that has suspended before, for one
//! object, in the middle of a chunk, with a task behind it that was resumed before, too. As with
//! `Executor::turn`, all that could stand in its way is asked before anything is done, and the
//! switch is the last thing that the call does. The record of the wait is in the header, as no
//! frame is there for it; or it is not made before somebody looks for it.
//!
//! What is in line here is so where the optimiser runs: without it each function in line is room in
//! its caller's frame, on the stack of a task.

use core::cell::Cell;
use core::ffi::c_void;
use core::sync::atomic::{compiler_fence, Ordering::Release};

use super::free::Free;
use super::grant::Wait;
use super::watch::by;
use super::Executor;
use crate::atomic::AtomicUsize;
use crate::error::RawResult;
use crate::prefetch;
use crate::stack::switch::{Over, Switch};
use crate::task::grant::Grant;
use crate::task::header::{Flags, Room, Task, TaskRef, Waits, PRIORITIES};
use crate::ticks;
use crate::uring::kernel::Kernel;

/// So far into the timer of a task that waits without a frame at an object of its own executor is
/// the object of its wait's record, as long as that is not made, and `peer` null: the object's
/// address, or for what is no mutex, one more.
pub(crate) const NOTED_AT: usize = 16;

/// So far into it are bits of a node's, this one of them as long as the record is not made: so who
/// grants has one question.
pub(crate) const BITS_AT: usize = 24;
pub(crate) const MADE_LATER: u32 = 1 << 12;

/// What a task of this thread's that waits so waits by. The record is made only once somebody asks
/// for it, and who grants does not: so a line of the header is left alone, and two or three stores
/// are not made.
pub fn record_of(task: TaskRef) -> &'static Wait {
    let at = task.room_ptr().cast::<Wait>();
    if task.peer.get().is_null() {
        // SAFETY: within the header, and this thread's: the room is for this record, which no other
        // wait of the task's uses; what is left out is as `create` made it.
        unsafe {
            let noted = task.timer_ptr().byte_add(NOTED_AT).cast::<*const c_void>();
            let object = noted.read();
            (&raw mut (*at.as_ptr()).word).write(Grant::armed_here());
            (&raw mut (*at.as_ptr()).index).write(Cell::new(0));
            (&raw mut (*at.as_ptr()).object).write(AtomicUsize::new(object.expose_provenance()));
            let object_at = task.room_ptr().byte_add(Room::OBJECT_AT).cast::<*const c_void>();
            object_at.write(object.map_addr(|address| address & !1));
            // In this order for a debugger, which takes what is noted for the object until then.
            task.peer.set(at.as_ptr().cast());
            compiler_fence(Release);
            noted.write(at.as_ptr().cast());
            let bits = task.timer_ptr().byte_add(BITS_AT).cast::<Cell<u32>>().as_ref();
            bits.set(bits.get() & !MADE_LATER);
        }
    }
    // SAFETY: made above, or before; headers are never unmapped.
    unsafe { at.as_ref() }
}

const LINK_AT: usize = core::mem::offset_of!(Task, link);

/// A task that may wait so, and who runs then: as long as nothing else has happened. `TRACK`: of an
/// executor that tracks time; else of one that does not.
pub struct Bare<'a, K: Kernel, const TRACK: bool> {
    ex: &'a Executor<K>,
    task: TaskRef,
    level: usize,
    next: (TaskRef, u8),
    now: u64,
}

/// A number in a whole register from the load on: as one of a byte it would be extended again where
/// it is an index, into another register.
#[inline(always)]
fn whole(byte: u8) -> usize {
    let number = usize::from(byte);
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    let number = {
        let mut number = number;
        // SAFETY: no instruction: the optimiser knows nothing of a value that comes from here.
        unsafe {
            core::arch::asm!(
                "/* {0} */",
                inout(reg) number,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        number
    };
    number
}

impl<'a, K: Kernel> Free<'a, K> {
    /// None: nothing was done.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn bare<const TRACK: bool>(&self) -> Option<Bare<'a, K, TRACK>> {
        let (ex, task) = (self.ex, self.task);
        if !ex.next.is_plain::<TRACK>() || ex.next.is_over(ex.ready.popped()) {
            return None;
        }
        // Read between two questions: the optimiser would make one value of them, and then jump by
        // that, which is three instructions more.
        let level = whole(task.cpu_asked());
        if level >= PRIORITIES {
            return None;
        }
        let next = ex.ready.front_to_resume()?;
        let mut now = 0;
        if TRACK {
            now = ticks::now();
            if ex.span.get().1 != Flags::COMPLETED || ex.next.is_late(now, ex.look_ticks) {
                return None;
            }
        }
        Some(Bare { ex, task, level, next, now })
    }
}

impl<K: Kernel, const TRACK: bool> Bare<'_, K, TRACK> {
    #[inline(always)]
    pub fn task(&self) -> TaskRef {
        self.task
    }

    /// In which order it is served.
    #[inline(always)]
    pub fn level(&self) -> usize {
        self.level
    }

    /// The other is the one that runs: first of all, so that its address needs no register then.
    #[inline(always)]
    pub fn leaves(&self) {
        self.ex.head.current_task.set(self.next.0.as_head());
    }

    /// It waits from here on, as the caller makes come true, for what this thread alone grants: by
    /// a record of `record_of`, for which the caller notes the object.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn begin_later(&self) {
        self.leaves();
        self.task.peer.set(core::ptr::null());
    }

    /// It waits from here on, as the caller makes come true: the record, armed, which notes
    /// `object`, of a wait that other threads may end.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn begin(&self, object: usize) -> &'static Wait {
        const _: () = assert!(size_of::<Wait>() <= Room::OBJECT_AT);
        self.leaves();
        let at = self.task.room_ptr().cast::<Wait>();
        // SAFETY: room for one, which no other wait of the task's uses, and headers are never
        // unmapped. What is left out is written by who uses it, or is as `create` made it: whose
        // room it is, and no watcher.
        unsafe {
            (&raw mut (*at.as_ptr()).word).write(Grant::armed());
            (&raw mut (*at.as_ptr()).index).write(Cell::new(0));
            (&raw mut (*at.as_ptr()).object).write(AtomicUsize::new(object));
            // Last, as the caller stores the same word.
            self.task.peer.set(at.as_ptr().cast());
            at.as_ref()
        }
    }

    /// SUSPENDS. The last thing that the caller does, who has begun, or at least left, and made the
    /// wait one that others can reach once `open` was called: 0 if what `W` looks at is 0 at its
    /// end; else what `W` says of it and `object`. The outcome is `outcome`, or any, until somebody
    /// says otherwise.
    ///
    /// # Safety
    /// `W` is for such a wait and such an object, which stays until the wait is over.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub unsafe fn wait<W: Over>(
        self,
        waits: Waits,
        outcome: Option<i32>,
        object: *const u8,
        open: impl FnOnce(),
    ) -> RawResult {
        let Bare { ex, task, next, now, .. } = self;
        task.waits.set(waits);
        if let Some(outcome) = outcome {
            task.head.outcome.set(outcome);
        }
        if W::OBJECT_AT == TaskRef::OBJECT_AT && !object.is_null() {
            // SAFETY: the last word of the room, which no record uses.
            unsafe { task.room_ptr().byte_add(Room::OBJECT_AT).cast::<*const u8>().write(object) };
        }
        task.awaits();
        open();
        let (next, level) = next;
        if TRACK {
            task.suspended_awaiting(now);
            next.running(now);
        } else {
            next.resumed_unstamped();
        }
        // SAFETY: as `bare` has found it; what has become reachable since is in no list of these.
        if let Some(then) = unsafe { ex.ready.take((next, level)) } {
            if ex.next.many() {
                ex.prefetch_waiters_from::<W, TRACK>(then, waits == Waits::Grant);
            }
        }
        // SAFETY: on the stack of `task`; `next` was ready, so it does not run. And the caller's.
        // (By the address that is at hand: another would want a register.)
        unsafe { Switch::wait_last::<W, LINK_AT>(task.as_bytes(), next.link_ptr().cast()) }
    }
}

impl<K: Kernel> Executor<K> {
    /// As `granted`, as the last thing that a call does, which has succeeded.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub fn granted_last(&self, task: TaskRef) -> RawResult {
        debug_assert!(task.waits.get() == Waits::Grant);
        self.ready_last(task)
    }

    /// What a task of ours has waited for in no list has come; as the last thing that a call does.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn ready_last(&self, task: TaskRef) -> RawResult {
        if self.watches(by::TRACED | by::POLLED | by::STAMPED) {
            return Self::ready_stamped(task, self);
        }
        let level = task.cpu_asked(); // Between two questions, as in `bare`.
        if level >= PRIORITIES as u8 {
            return Self::ready_stamped(task, self);
        }
        task.completed_unstamped();
        self.ready.push_over_in(task, level);
        RawResult::success_by_call()
    }

    /// With time tracking: elsewhere, as what reads the counter takes two registers, for which the
    /// others would have to make room. Or anything else that is special. (In this order, as who
    /// is asked about is the first argument of an unpark.)
    #[inline(never)]
    extern "C" fn ready_stamped(task: TaskRef, ex: &Self) -> RawResult {
        let level = task.cpu_asked();
        if ex.watches(by::TRACED | by::POLLED) || level >= PRIORITIES as u8 {
            return ex.ready_otherwise(task);
        }
        task.completed(ticks::now());
        ex.ready.push_over_in(task, level);
        RawResult::success_by_call()
    }

    #[cold]
    #[inline(never)]
    extern "C" fn ready_otherwise(&self, task: TaskRef) -> RawResult {
        self.ready_again(task, self.stamp());
        RawResult::success_by_call()
    }

    /// As `Ready::prefetch`, where `then` is the next at its level, and taken for one that is to be
    /// resumed.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn prefetch_from(&self, then: TaskRef) {
        then.prefetch_kept_stack();
        let _ = self.ready.prefetch_behind(then);
    }

    /// As `prefetch_from`; both are taken for tasks that wait so again: on a stack nothing below
    /// what is kept there, and in the header one line more. Of the header of `then` two lines are
    /// read here, and two asked for: where its flags are, and its link, as who is behind it is
    /// known no sooner than that has come; with time tracking that gains nothing. `at_object`: at
    /// what it has waited for just now, most likely, for itself or for who waits there; as `W` says
    /// of such an object.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn prefetch_waiters_from<W: Over, const TRACK: bool>(&self, then: TaskRef, at_object: bool) {
        if !TRACK {
            prefetch::line(then.addr());
            prefetch::line(then.addr() + 64);
        }
        let sp = then.switch.sp();
        prefetch::line(sp);
        prefetch::line(sp + 64);
        if at_object {
            // SAFETY: within the header, and this thread's. Whatever is there, it is followed by
            // nothing but a hint.
            let noted = unsafe { then.timer_ptr().byte_add(NOTED_AT).cast::<*const u8>().read() };
            prefetch::line(noted.addr());
            if W::FAR_AT != 0 {
                prefetch::line(noted.addr().wrapping_add(W::FAR_AT));
            }
        }
        if self.next.most() {
            if let Some(after) = self.ready.prefetch_behind(then) {
                prefetch::line(after.timer_ptr().as_ptr() as usize);
            }
        }
    }
}

//! An operation without a frame: as with a bare wait, all that could stand in the way is asked
//! before anything is done, and the switch is the last thing that the call does. So its caller's
//! registers are saved once, and there is a frame less between what a task is resumed in and what
//! that returns to: a line or two of each task, of which none is in the nearest cache where the
//! kernel has just copied for all of them.

use core::mem::offset_of;

use super::head::add;
use super::suspend::Rare;
use super::watch::by;
use super::Executor;
use crate::error::RawResult;
use crate::prefetch;
use crate::reactor::operation::is_not_performed;
use crate::reactor::Reactor;
use crate::stack::switch::{Failed, Switch};
use crate::task::header::{mark, Flags, Task, TaskRef};
use crate::ticks;
use crate::uring::kernel::{Kernel, Sqe};

/// From a task's link to its switch, whose first words are on one line.
const SWITCH_BEHIND_LINK: usize = TaskRef::SWITCH_AT - offset_of!(Task, link);

impl<K: Kernel> Executor<K> {
    pub(crate) const CLOSINGS_AT: usize = offset_of!(Self, reactor) + Reactor::<K>::CLOSINGS_AT;

    /// SUSPENDS. As `io`, as the last thing that the caller does: what it returns is the outcome if
    /// that is not below 0, else what `W` says of it and of `words`; see `Switch::io_last`. None:
    /// nothing was done, as something is in the way, and the call is to be made by `io`.
    ///
    /// # Safety
    /// As `io`; `W` and `COUNTED` are for those words. `begins` is called once it is sure to begin.
    #[inline(always)]
    pub unsafe fn io_last<W: Failed, const COUNTED: bool>(
        &self,
        task: TaskRef,
        sqe: Sqe,
        words: [u64; 4],
        begins: impl FnOnce(),
    ) -> Option<RawResult> {
        // All that may be in the way comes first, and what the others need last: so nothing of the
        // entry has to be kept in registers of the caller's.
        if task.has(mark::STOPS) || self.watches(by::ITEMS | by::VALGRIND) {
            return None;
        }
        let (next, now) = self.bare_lane()?;
        if !self.reactor.takes(task) {
            return None;
        }
        task.awaits();
        let next = self.left_for(task, next, now);
        begins();
        add(&self.head.total_io_submitted, 1);
        // SAFETY: the caller's; the call does not return before the task is woken.
        unsafe { self.reactor.start_at_once(task, &sqe) };
        // SAFETY: on the stack of `task`; `next` was ready, so it does not run. And the caller's.
        Some(unsafe { Switch::io_last::<W, COUNTED>(task.as_bytes(), next.as_bytes(), words) })
    }

    /// As `io_last`, of a task behind which none has its turn in this chunk: it leaves for the
    /// loop. The one of a batch of which all others leave by `io_last`: a path of its own is a
    /// dozen lines of text less that come from far, as those of a batch do.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn io_last_leave<W: Failed, const COUNTED: bool>(
        &self,
        task: TaskRef,
        sqe: Sqe,
        words: [u64; 4],
        begins: impl FnOnce(),
    ) -> Option<RawResult> {
        if task.has(mark::STOPS) || self.watches(by::ITEMS | by::VALGRIND) {
            return None;
        }
        let is_last = self.ready.is_empty() || self.next.is_over(self.ready.popped());
        if !is_last || !self.next.is_plain::<true>() || !self.reactor.takes(task) {
            return None;
        }
        task.awaits();
        begins();
        add(&self.head.total_io_submitted, 1);
        // SAFETY: as in `io_last`; its stack is its own, and there are no exceptions.
        unsafe {
            self.reactor.start_at_once(task, &sqe);
            Some(Switch::io_last_leave::<W, COUNTED>(task.as_bytes(), &self.back, words))
        }
    }

    /// As `lane`, of an executor that tracks time: of any other, calls are made by `io`.
    #[inline(always)]
    fn bare_lane(&self) -> Option<(TaskRef, u64)> {
        let stays = self.next.is_over(self.ready.popped());
        if stays || !self.next.is_plain::<true>() || self.span.get().1 != Flags::COMPLETED {
            return None;
        }
        let (next, _) = self.ready.front_to_resume()?;
        let now = ticks::now();
        (!self.next.is_late(now, self.look_ticks)).then_some((next, now))
    }

    /// All of `leave_by` but the switch, of a task that waits for the kernel: for `next`, the
    /// front, whose level is asked for again, as it would be one more word to be kept.
    #[inline(always)]
    fn left_for(&self, task: TaskRef, next: TaskRef, now: u64) -> TaskRef {
        task.suspended_awaiting(now);
        next.running(now);
        // SAFETY: as it was found, and that is its level.
        if let Some(then) = unsafe { self.ready.take((next, next.level.get())) } {
            if self.next.many() {
                self.prefetch_movers_from(then);
            }
        }
        self.head.current_task.set(next.as_head());
        next
    }

    /// As `prefetch_from`; taken for a task that comes back to `has_moved`, on whose stack nothing
    /// is needed below what is kept there. The header of the one behind it is near, where they are
    /// few: its completion was taken just now.
    #[inline(always)]
    fn prefetch_movers_from(&self, then: TaskRef) {
        let sp = then.switch.sp();
        // What a completion leaves alone of the next header: no other than where that `sp` is.
        prefetch::line(then.link.peek_next().addr().wrapping_add(SWITCH_BEHIND_LINK));
        prefetch::line(sp);
        prefetch::line(sp + 64);
        prefetch::line(sp + 128);
        if self.next.crowd() {
            let _ = self.ready.prefetch_behind(then);
        }
    }

    /// The outcome of an operation that was begun by `io_last` is below 0: what `io` returns then.
    ///
    /// # Safety
    /// `sqe` is its entry, and `closings` how many handles had been closed by then.
    pub unsafe fn io_failed(&self, task: TaskRef, sqe: &Sqe, closings: u64) -> i32 {
        match task.head.outcome.get() {
            // SAFETY: the caller's.
            res if is_not_performed(res) => unsafe {
                self.io_rarely(task, sqe, Rare::NotPerformed { res, closings })
            },
            res => res,
        }
    }
}

//! Every change of a task's flags and stamps: one function each, which asserts where the task came
//! from. Touches the public head, and the stamps alone besides; which list a task is in is its
//! lists' business.
//!
//! ```text
//!            launched        running                 exited
//!   idle ------------> pending ------> running -----------------> idle
//!                                      |     ^
//!                     awaits / yields  v     |  running
//!                              awaiting ---> completed
//!                                  completed
//! ```

use super::header::{Flags, TaskRef};

impl TaskRef {
    /// A launch: the stamps begin anew.
    #[inline(always)]
    pub fn launched(self, now: u64) {
        debug_assert_eq!(self.head.flags.get(), Flags::IDLE);
        self.head.flags.set(Flags::PENDING_LAUNCH);
        self.head.ticks.clear();
        self.head.ticks_when_attached.set(now);
    }

    /// It is given the processor.
    #[inline(always)]
    pub fn running(self, now: u64) {
        debug_assert!(matches!(self.head.flags.get(), Flags::PENDING_LAUNCH | Flags::COMPLETED));
        self.head.flags.set(Flags::RUNNING);
        self.head.ticks.when_resumed.set(now);
    }

    /// As `running`, at its launch without time tracking: all its stamps are 0.
    #[inline(always)]
    pub fn running_unstamped(self) {
        debug_assert_eq!(self.head.flags.get(), Flags::PENDING_LAUNCH);
        debug_assert_eq!(self.head.ticks.when_resumed.get(), 0);
        self.head.flags.set(Flags::RUNNING);
    }

    /// As `running`, at a resumption without time tracking.
    #[inline(always)]
    pub fn resumed_unstamped(self) {
        debug_assert_eq!(self.head.flags.get(), Flags::COMPLETED);
        debug_assert_eq!(self.head.ticks.when_resumed.get(), 0);
        self.head.flags.set(Flags::RUNNING);
    }

    /// It is about to suspend, for something to wait for.
    #[inline(always)]
    pub(crate) fn awaits(self) {
        debug_assert_eq!(self.head.flags.get(), Flags::RUNNING);
        self.head.flags.set(Flags::AWAITING);
    }

    /// It is about to suspend, to let others go first.
    #[inline(always)]
    pub fn yields(self) {
        debug_assert_eq!(self.head.flags.get(), Flags::RUNNING);
        self.head.flags.set(Flags::COMPLETED);
    }

    /// It has left the processor, suspended.
    #[inline(always)]
    pub fn suspended(self, now: u64) {
        self.executed(now);
        self.head.ticks.when_suspended_awaiting.set(now);
        if self.head.flags.get() == Flags::COMPLETED {
            self.head.ticks.when_suspended_completed.set(now);
        }
    }

    /// As `suspended`, of one that yields.
    #[inline(always)]
    pub fn suspended_ready(self, now: u64) {
        debug_assert_eq!(self.head.flags.get(), Flags::COMPLETED);
        self.executed(now);
        self.head.ticks.when_suspended_awaiting.set(now);
        self.head.ticks.when_suspended_completed.set(now);
    }

    /// As `suspended`, of one that waits.
    #[inline(always)]
    pub fn suspended_awaiting(self, now: u64) {
        debug_assert_eq!(self.head.flags.get(), Flags::AWAITING);
        self.executed(now);
        self.head.ticks.when_suspended_awaiting.set(now);
    }

    /// What it waited for is there.
    #[inline(always)]
    pub fn completed(self, now: u64) {
        debug_assert_eq!(self.head.flags.get(), Flags::AWAITING);
        self.head.flags.set(Flags::COMPLETED);
        self.head.ticks.when_suspended_completed.set(now);
    }

    /// As `completed`, without time tracking.
    #[inline(always)]
    pub fn completed_unstamped(self) {
        debug_assert_eq!(self.head.flags.get(), Flags::AWAITING);
        debug_assert_eq!(self.head.ticks.when_suspended_completed.get(), 0);
        self.head.flags.set(Flags::COMPLETED);
    }

    /// It has left the processor, as its `user_code` returned.
    #[inline(always)]
    pub fn returned(self, now: u64) {
        self.executed(now);
        self.head.ticks.when_detached.set(now);
    }

    /// It has returned, and its operations have not all ended.
    pub fn closes(self, now: u64) {
        debug_assert_eq!(self.head.flags.get(), Flags::RUNNING);
        self.head.flags.set(Flags::AWAITING);
        self.head.ticks.when_suspended_awaiting.set(now);
    }

    /// Its run is over, or never began.
    #[inline(always)]
    pub fn exited(self) {
        self.head.flags.set(Flags::IDLE);
    }

    #[inline(always)]
    fn executed(self, now: u64) {
        let ticks = &self.head.ticks;
        let span = now.wrapping_sub(ticks.when_resumed.get());
        ticks.total_executed.set(ticks.total_executed.get().wrapping_add(span));
    }
}

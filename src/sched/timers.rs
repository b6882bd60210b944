//! The sleeping tasks, by deadline on the boot-time clock.

use crate::intrusive::TimerQueue;
use crate::task::header::{TaskRef, Waits};

pub struct Timers(TimerQueue);

impl Timers {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(TimerQueue::new())
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline(always)]
    pub fn next_ns(&self) -> Option<u64> {
        self.0.next_deadline()
    }

    /// The task is in no list.
    #[inline]
    pub fn insert(&self, task: TaskRef, deadline_ns: u64) {
        debug_assert!(task.waits.get() == Waits::Nothing);
        task.waits.set(Waits::Deadline);
        task.timer.deadline_ns.set(deadline_ns);
        // SAFETY: `waits` says it is in no list, and a sleeping task cannot go away.
        unsafe { self.0.insert(task.timer_ptr()) }
    }

    /// Takes out a task whose `waits` is Deadline.
    pub fn remove(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Deadline);
        // SAFETY: it is in here, says `waits`.
        unsafe { self.0.remove(task.timer_ptr()) };
        task.waits.set(Waits::Nothing);
    }

    /// The next task whose time has come.
    #[inline]
    pub fn pop_expired(&self, now_ns: u64) -> Option<TaskRef> {
        let timer = self.0.pop_expired(now_ns)?;
        // SAFETY: only tasks' timers are inserted.
        let task = unsafe { TaskRef::from_timer(timer) };
        task.waits.set(Waits::Nothing);
        Some(task)
    }

    /// Fetches the header of the next sleeper.
    #[inline(always)]
    pub fn prefetch(&self) {
        // SAFETY: only tasks' timers are inserted.
        if let Some(next) = self.0.first().map(|timer| unsafe { TaskRef::from_timer(timer) }) {
            next.prefetch_header();
        }
    }
}

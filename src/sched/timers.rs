//! What is due when, on the boot-time clock: sleeping tasks, and the deadlines of scopes.

use core::ptr::NonNull;

use crate::intrusive::{TimerNode, TimerQueue};
use crate::task::header::{TaskRef, Waits};

pub struct Timers(TimerQueue);

/// Whose time has come.
pub enum Due {
    Task(TaskRef),
    /// The timer of another record.
    Other(NonNull<TimerNode>),
}

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
    #[inline(always)]
    pub fn insert(&self, task: TaskRef, deadline_ns: u64) {
        debug_assert!(task.waits.get() == Waits::Nothing);
        task.waits.set(Waits::Deadline);
        // SAFETY: `waits` says it is in no list, and a sleeping task cannot go away.
        unsafe { self.insert_node(task.timer_ptr(), deadline_ns) }
    }

    /// Takes out a task whose `waits` is Deadline.
    pub fn remove(&self, task: TaskRef) {
        debug_assert!(task.waits.get() == Waits::Deadline);
        self.remove_node(task.timer_ptr());
        task.waits.set(Waits::Nothing);
    }

    /// # Safety
    /// `timer` is not inserted, and stays in place until it has left.
    #[inline]
    pub(crate) unsafe fn insert_node(&self, timer: NonNull<TimerNode>, deadline_ns: u64) {
        // SAFETY: the caller's.
        unsafe {
            timer.as_ref().deadline_ns.set(deadline_ns);
            self.0.insert(timer);
        }
    }

    /// `timer` is inserted.
    pub(crate) fn remove_node(&self, timer: NonNull<TimerNode>) {
        // SAFETY: in here, says the caller, which backs it by the node's own place.
        unsafe { self.0.remove(timer) };
    }

    /// The next whose time has come.
    #[inline]
    pub fn pop_expired(&self, now_ns: u64) -> Option<Due> {
        let timer = self.0.pop_expired(now_ns)?;
        // SAFETY: was in here until now, so valid.
        if unsafe { timer.as_ref() }.is_of_another_kind() {
            return Some(Due::Other(timer));
        }
        // SAFETY: of this kind are the timers of tasks.
        let task = unsafe { TaskRef::from_timer(timer) };
        task.waits.set(Waits::Nothing);
        Some(Due::Task(task))
    }

    /// Fetches the header of the next sleeper.
    #[inline(always)]
    pub fn prefetch(&self) {
        if let Some(next) = self.0.first() {
            // A hint: of a scope's timer, these are lines of its stack.
            // SAFETY: nothing is read through it.
            unsafe { TaskRef::from_timer(next) }.prefetch_header();
        }
    }
}

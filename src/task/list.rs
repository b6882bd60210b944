//! Lists of tasks: `intrusive::Fifo` made safe by the rule that a task is in one list at most, the
//! one its `waits` field names.

use core::ptr::NonNull;

use super::header::TaskRef;
use crate::intrusive::{At, Batch, Ends, Fifo, Fifos, Link, Own, WasEmpty};

pub struct TaskList<E = Own>(Fifo<E>);

impl TaskList {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(Fifo::new())
    }

    /// The task behind `task`, which is in a list.
    #[inline(always)]
    pub fn after(task: TaskRef) -> Option<TaskRef> {
        // SAFETY: in a list of tasks, says the caller, so its neighbour is one.
        NonNull::new(task.link.peek_next()).map(|link| unsafe { TaskRef::from_link(link) })
    }
}

/// Several lists, one a level.
pub struct TaskLists<const N: usize>(Fifos<N>);

impl<const N: usize> TaskLists<N> {
    /// `last` stands as the front of the last one: see `Fifos::ending_in`.
    pub const fn ending_in(last: NonNull<Link>) -> Self {
        Self(Fifos::ending_in(last))
    }

    #[inline(always)]
    pub fn at(&self, level: usize) -> TaskList<At<'_, N>> {
        TaskList(self.0.at(level))
    }

    /// # Safety
    /// There is such a level.
    #[inline(always)]
    pub unsafe fn at_unchecked(&self, level: usize) -> TaskList<At<'_, N>> {
        // SAFETY: the caller's.
        TaskList(unsafe { self.0.at_unchecked(level) })
    }
}

impl<E: Ends> TaskList<E> {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The caller takes the task from wherever it was, and says so in its `waits`.
    #[inline(always)]
    pub fn push_back(&self, task: TaskRef) -> WasEmpty {
        // SAFETY: the rule at the file's top; a task lives until it has exited, and none exits
        // while it is in a list.
        unsafe { self.0.push_back(task.link_ptr()) }
    }

    /// Behind all that are in the list.
    #[inline(always)]
    pub fn append_batch(&self, batch: Batch) {
        self.0.append_batch(batch);
    }

    /// Takes the front, which `task` is; the one behind it.
    ///
    /// # Safety
    /// It is.
    #[inline(always)]
    pub unsafe fn take_front(&self, task: TaskRef) -> Option<TaskRef> {
        // SAFETY: the caller's; only tasks' links are pushed here.
        unsafe { self.0.take_front(task.link_ptr()).map(|link| TaskRef::from_link(link)) }
    }

    /// As `push_back` of the one, then `take_front` of the other.
    ///
    /// # Safety
    /// As for both; the list was not empty before.
    #[inline(always)]
    pub unsafe fn turn(&self, task: TaskRef, front: TaskRef) {
        // SAFETY: the caller's, and as in both.
        unsafe { self.0.turn(task.link_ptr(), front.link_ptr()) }
    }

    #[inline(always)]
    pub fn pop_front(&self) -> Option<TaskRef> {
        // SAFETY: only tasks' links are pushed here.
        self.0.pop_front().map(|link| unsafe { TaskRef::from_link(link) })
    }

    #[inline(always)]
    pub fn front(&self) -> Option<TaskRef> {
        // SAFETY: as above.
        self.0.front().map(|link| unsafe { TaskRef::from_link(link) })
    }

    /// `task` is in this list.
    #[inline(always)]
    pub fn remove(&self, task: TaskRef) {
        // SAFETY: the caller's word, which `waits` backs.
        unsafe { self.0.remove(task.link_ptr()) }
    }
}

//! Who waits, for the paths on which nothing is in the way: a task that runs and that no cancel
//! or deadline stops. Such a path knows it by a few loads; every other caller takes another path.

use super::grant::{Caller, Wait};
use super::home::Home;
use super::Executor;
use crate::error::RawResult;
use crate::task::header::TaskRef;
use crate::uring::kernel::Kernel;

/// A task that runs, and whose next suspension nothing stands in the way of: what a hot path
/// needs to know of a caller. Two words, as that is.
#[repr(C)]
pub struct Free<'a, K: Kernel> {
    pub(super) ex: &'a Executor<K>,
    pub(super) task: TaskRef,
}

impl<K: Kernel> Clone for Free<'_, K> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: Kernel> Copy for Free<'_, K> {}

impl<'a, K: Kernel> Free<'a, K> {
    /// `task` is one, and runs now.
    #[inline(always)]
    pub fn new(ex: &'a Executor<K>, task: TaskRef) -> Self {
        Self { ex, task }
    }

    /// As the functions take them that a hot path ends in: the task is first, as it is in C's, so
    /// that it stays in its register.
    #[inline(always)]
    pub fn parts(&self) -> (TaskRef, &'a Executor<K>) {
        (self.task, self.ex)
    }

    #[inline(always)]
    pub fn caller(&self) -> Caller<'a, K> {
        Caller::task(self.ex, self.task)
    }

    #[inline(always)]
    pub fn home(&self) -> Home {
        self.ex.home()
    }

    /// As `wake_last`, of a wait at an object of this executor's.
    #[inline(always)]
    pub fn wake_last(&self, task: TaskRef) -> RawResult {
        self.ex.granted_last(task)
    }

    /// As `wake_here`, of a wait at an object of this executor's.
    #[inline(always)]
    pub fn wake(&self, task: TaskRef) {
        self.ex.granted(task);
    }
}

/// Who waits in a queue, and until when: a task in a hurry, or any other.
pub trait Waiter<K: Kernel> {
    fn caller(&self) -> Caller<'_, K>;
    /// The task, if it waits for no time.
    fn header(&self) -> Option<TaskRef>;
    /// SUSPENDS. As `Caller::until_granted`; 0, or a negative errno.
    fn until_granted(&self, wait: &Wait) -> i32;
}

impl<K: Kernel> Waiter<K> for Free<'_, K> {
    #[inline(always)]
    fn caller(&self) -> Caller<'_, K> {
        Free::caller(self)
    }
    #[inline(always)]
    fn header(&self) -> Option<TaskRef> {
        Some(self.task)
    }
    /// In the caller's frame: a frame less between two switches.
    #[inline(always)]
    fn until_granted(&self, wait: &Wait) -> i32 {
        self.ex.await_grant_at_once(self.task, wait)
    }
}

impl<K: Kernel> Waiter<K> for (Caller<'_, K>, u64) {
    #[inline(always)]
    fn caller(&self) -> Caller<'_, K> {
        self.0
    }
    #[inline(always)]
    fn header(&self) -> Option<TaskRef> {
        None
    }
    #[inline(always)]
    fn until_granted(&self, wait: &Wait) -> i32 {
        self.0.until_granted(wait, self.1).map_or_else(|e| -e.0, |()| 0)
    }
}

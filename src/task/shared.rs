//! What threads share of a task, by its header's words.

use super::header::{Task, TaskRef};
use super::joins::{Headers, Joins};
use super::permit::Permit;
use super::state::TaskState;

impl TaskRef {
    /// What other threads may see of it. Any thread.
    #[inline(always)]
    pub fn state<'a>(self) -> TaskState<'a> {
        let task = self.shared();
        // SAFETY: two words of 8 bytes, aligned (asserted in error.rs and header.rs); in this crate
        // only `TaskState` writes them, and reads them while another thread may.
        let result = unsafe { &*task.head.result.as_ptr().cast() };
        let Task { run_state, run, mailbox, cancel_run, .. } = task;
        let executor = &task.head.current_executor;
        TaskState { run_state, run, mailbox, executor, result, cancel_run }
    }

    #[inline(always)]
    pub fn permit<'a>(self) -> Permit<'a> {
        let Task { park, permit_here, .. } = self.shared();
        Permit { word: park, here: permit_here }
    }

    #[inline(always)]
    pub fn joins<'a>(self) -> Joins<'a> {
        let Task { head, joins, .. } = self.shared();
        Joins { word: joins, high: &head.joins_high }
    }
}

/// Of all tasks there are.
pub struct All;

impl Headers for All {
    #[inline]
    fn at(&self, task: usize) -> (Joins<'_>, TaskState<'_>) {
        // SAFETY: the address of a task, which somebody joins or joined.
        let task = unsafe { TaskRef::from_head(core::ptr::with_exposed_provenance(task)) };
        (task.joins(), task.state())
    }
}

//! Operations, and the waits for their ends: the calls' checks.

use core::ptr::NonNull;

use super::{Handle, EINVAL};
use crate::error::{Errno, RawResult, Res};
use crate::reactor::operation::Op;
use crate::reactor::validate;
use crate::task::header::TaskRef;
use crate::uring::kernel::{Kernel, Sqe};

impl<K: Kernel> Handle<K> {
    /// # Safety
    /// What `sqe` refers to stays valid until the call returns.
    pub unsafe fn io(task: TaskRef, sqe: &Sqe) -> RawResult {
        let this = match Self::running(task) {
            Ok(this) => this,
            Err(e) => return RawResult::failure(e),
        };
        if !this.executor().kernel().has_ring() {
            return Self::refused(task, Errno(libc::ENOTSUP));
        }
        // SAFETY: the caller's.
        RawResult::from_words(unsafe { this.io_on_ring(task, sqe) })
    }

    /// As `io`, of `task`, which runs here, where there is a ring. (By words: of a result with its
    /// fields the second is put together in memory.)
    ///
    /// # Safety
    /// As `io`.
    #[inline(always)]
    pub unsafe fn io_on_ring(self, task: TaskRef, sqe: &Sqe) -> [u64; 2] {
        // Read once: what is checked here is what is submitted, whatever the caller's memory holds
        // then.
        let sqe = &sqe.copied();
        if !validate::is_plain_once(sqe) {
            // SAFETY: the caller's.
            return unsafe { self.io_looked_at(task, sqe) }.words();
        }
        // SAFETY: the caller's.
        match unsafe { self.executor().io(task, sqe) } {
            res @ 0.. => [res as u64, 0],
            res => RawResult::from_kernel(res).words(),
        }
    }

    /// Out of line: what has to be looked at, or counted.
    ///
    /// # Safety
    /// As `io`; there is a ring.
    #[inline(never)]
    unsafe extern "C" fn io_looked_at(self, task: TaskRef, sqe: &Sqe) -> RawResult {
        let ex = self.executor();
        if let Err(e) = validate::once(sqe).and_then(|()| ex.known(sqe)) {
            return Self::refused(task, e);
        }
        // SAFETY: the caller's.
        match unsafe { ex.io_on_buffer(task, sqe) } {
            Ok(res) => RawResult::from_kernel(res),
            Err(e) => Self::refused(task, e),
        }
    }

    /// Refuses an operation that came without an entry. The flags are another task's to keep unless
    /// `task` runs.
    pub(crate) fn io_without_entry(task: TaskRef) -> RawResult {
        match Self::running(task) {
            Ok(_) => Self::refused(task, EINVAL),
            Err(_) => RawResult::failure(EINVAL),
        }
    }

    /// # Safety
    /// As `Executor::begin_at_once`.
    #[inline(always)]
    pub unsafe fn begin_at_once(task: TaskRef, record: &Op) -> bool {
        // SAFETY: the caller's.
        Self::running(task).is_ok_and(|this| unsafe { this.executor().begin_at_once(task, record) })
    }

    /// # Safety
    /// As `Executor::begin_operation`.
    pub unsafe fn begin_operation(task: TaskRef, record: &Op) -> Res<()> {
        // SAFETY: the caller's.
        unsafe { Self::running(task)?.executor().begin_operation(task, record) }
    }

    pub fn wait_operation(task: TaskRef, record: &Op) -> RawResult {
        match Self::running(task) {
            Ok(this) => this.executor().wait_operation(task, record),
            Err(e) => RawResult::failure(e),
        }
    }

    /// As `Executor::take_any`.
    #[inline(always)]
    pub fn take_any(task: TaskRef) -> Option<NonNull<Op>> {
        Self::running(task).ok()?.executor().take_any(task).map(NonNull::from)
    }

    pub fn wait_any(task: TaskRef) -> Res<NonNull<Op>> {
        if let Some(taken) = Self::take_any(task) {
            return Ok(taken);
        }
        Self::running(task)?.executor().wait_any(task).map(NonNull::from)
    }

    pub fn end_operation(task: TaskRef, record: &Op) -> Res<()> {
        let this = Self::running(task)?;
        match record.may_be_awaited_by(task) {
            Ok(()) => this.executor().end_operation(task, record),
            Err(Errno(libc::ENOENT)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    pub fn cancel_operation(task: TaskRef, record: &Op) -> Res<()> {
        Self::running(task)?.executor().cancel_operation(record)
    }

    /// There was no completion, so it had no flags.
    #[cold]
    fn refused(task: TaskRef, e: Errno) -> RawResult {
        task.cqe_flags.set(0);
        RawResult::failure(e)
    }
}

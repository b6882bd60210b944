//! Traces: who may start, stop and write them.

use super::{Handle, EINVAL, EPERM};
use crate::error::{Errno, Res};
use crate::observe::json;
use crate::trace::Ring;
use crate::uring::kernel::Kernel;

impl<K: Kernel> Handle<K> {
    fn outside_tasks(self) -> Res<()> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        if self.executor().is_in_run() {
            return Err(Errno(libc::EDEADLK));
        }
        Ok(())
    }

    /// # Safety
    /// As `Executor::start_trace`.
    pub unsafe fn start_trace(self, memory: *mut u8, bytes: usize) -> Res<()> {
        self.outside_tasks()?;
        // SAFETY: the caller's.
        unsafe { self.executor().start_trace(memory, bytes) }
    }

    pub fn stop_trace(self) -> Res<()> {
        self.outside_tasks()?;
        self.executor().stop_trace()
    }

    /// Async-signal-safe. The trace of one executor.
    pub fn write_trace(self, fd: i32) -> Res<()> {
        let ring = self.executor().trace().ok_or(Errno(libc::ENOENT))?;
        json::write(core::iter::once(ring), fd)
    }
}

/// Async-signal-safe. All traces of the process.
pub fn write_all_traces(fd: i32) -> Res<()> {
    if Ring::all().next().is_none() {
        return Err(Errno(libc::ENOENT));
    }
    json::write(Ring::all(), fd)
}

/// What an executor has left.
///
/// # Safety
/// As [`Ring::find`].
pub unsafe fn write_memory(memory: *const u8, bytes: usize, fd: i32) -> Res<()> {
    // SAFETY: the caller's.
    let ring = unsafe { Ring::find(memory, bytes) }.ok_or(EINVAL)?;
    json::write(core::iter::once(ring), fd)
}

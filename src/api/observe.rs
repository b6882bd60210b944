//! Traces and metrics: who may start, stop, read and write them.

use super::{Handle, EINVAL, EPERM};
use crate::error::{Errno, Res};
use crate::executor::meter::{Meter, WORDS};
use crate::observe::watchdog::{self, Tell};
use crate::observe::{json, prometheus, waits};
use crate::stack::pool;
use crate::trace::Ring;
use crate::uring::kernel::Kernel;
use core::sync::atomic::Ordering::Relaxed;

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

    /// OWNER'S THREAD. As `Executor::start_meter`.
    pub fn start_metrics(self) -> Res<()> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        self.executor().start_meter()
    }

    /// ANY THREAD. ENODATA: not started.
    pub fn metrics(self) -> Res<[u64; WORDS]> {
        let meter = self.executor().meter().ok_or(Errno(libc::ENODATA))?;
        let mut words = meter.words().each_ref().map(|word| word.load(Relaxed));
        words[core::mem::offset_of!(Meter, stacks_in_use) / 8] = pool::stats().slots_in_use as u64;
        Ok(words)
    }

    /// ANY THREAD. The same, with the name.
    pub fn read_metrics(self) -> Res<prometheus::Read> {
        let mut name = [0; 32];
        name.copy_from_slice(self.executor().name().words().map(u64::to_ne_bytes).as_flattened());
        Ok(prometheus::Read { name, words: self.metrics()? })
    }

    /// OWNER'S THREAD. As much as fits; how much it is. EXPENSIVE.
    pub fn waits_text(self, buffer: &mut [u8]) -> Res<usize> {
        if !self.executor().is_mine() {
            return Err(EPERM);
        }
        let mut tasks = Vec::new();
        self.executor().list_attached(&mut tasks);
        let mut out = prometheus::Out::new(buffer);
        let _ = waits::write(self.executor(), &mut tasks, &mut out);
        Ok(out.whole())
    }

    /// Async-signal-safe. The trace of one executor.
    pub fn write_trace(self, fd: i32) -> Res<()> {
        let ring = self.executor().trace().ok_or(Errno(libc::ENOENT))?;
        json::write(core::iter::once(ring), fd)
    }
}

/// As much as fits; how much it is. EXPENSIVE.
pub fn metrics_text(executors: &[prometheus::Read], buffer: &mut [u8]) -> usize {
    let mut out = prometheus::Out::new(buffer);
    // It cannot fail: what does not fit is counted.
    let _ = prometheus::write(executors, pool::stats().slots_in_use, &mut out);
    out.whole()
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

/// ANY THREAD. As [`watchdog::start`]; None: it is said on standard error.
pub fn start_watchdog(limit_ns: u64, tell: Option<Tell>) -> Res<()> {
    if limit_ns == 0 {
        return Err(EINVAL);
    }
    watchdog::start(limit_ns, tell.unwrap_or(watchdog::say))
}

/// ANY THREAD.
pub fn stop_watchdog() -> Res<()> {
    watchdog::stop()
}

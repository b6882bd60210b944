//! Which thread is this, in one instruction, and has the process forked since.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

/// Forks behind this process, times 2: an executor compares it with the count at its creation, so
/// that a child never touches a ring it shares with its parent.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Differs between any two threads that are alive: the thread pointer.
#[inline(always)]
pub fn token() -> usize {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let token: usize;
        // SAFETY: the psABI keeps the thread pointer's own address at fs:0.
        unsafe {
            core::arch::asm!("mov {}, fs:0", out(reg) token,
                options(nostack, preserves_flags, readonly, pure))
        };
        token
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    {
        let token: usize;
        // SAFETY: reads a register.
        unsafe {
            core::arch::asm!("mrs {}, tpidr_el0", out(reg) token,
                options(nomem, nostack, preserves_flags, pure))
        };
        token
    }
    #[cfg(miri)]
    {
        std::thread_local!(static HERE: u8 = const { 0 });
        HERE.with(|here| here as *const u8 as usize)
    }
}

/// Changes in the child of every `fork`, once `watch_forks` was called.
#[inline(always)]
pub fn fork_count() -> u64 {
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Once a process; later calls do nothing.
pub fn watch_forks() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" {
    /// cpp/current.cpp: the calling thread's note of the executor that runs on it.
    fn monad_async_running_slot() -> *mut *const c_void;
}

/// Where the calling thread notes which executor runs on it, null outside `run`; valid as long as
/// the thread. It serves `monad_async_task_current`, so it lies where a C function finds it in one
/// load.
pub fn running_executor() -> *mut *const c_void {
    // SAFETY: no preconditions.
    unsafe { monad_async_running_slot() }
}

//! Which thread is this, in one instruction; and what a fork does to those who ask.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Once;

use super::fork::{self, ForkLock};

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

/// The thread that what it is part of belongs to. In the child of a fork that is nobody: what belongs
/// to the parent's threads, a ring above all, is the parent's. So the child's copies say so, each of
/// them, and whoever asks need not ask about forks as well.
#[repr(C)]
pub struct Owner {
    /// 0: nobody.
    token: AtomicUsize,
    next: Cell<*const Owner>,
    prev: Cell<*const Owner>,
}

/// The first of the list of all that belong to somebody.
struct First(*const Owner);

// SAFETY: the list is touched under its lock, and its entries are unlinked before they go.
unsafe impl Send for First {}

static OWNERS: ForkLock<First> = ForkLock::new(First(ptr::null()));

extern "C" fn before_fork() {
    OWNERS.hold();
}

extern "C" fn in_parent() {
    OWNERS.let_go(|_| {});
}

extern "C" fn in_child() {
    OWNERS.let_go(|first| {
        let mut next = first.0;
        // SAFETY: entries of the list are valid.
        while let Some(owner) = unsafe { next.as_ref() } {
            owner.token.store(0, Ordering::Relaxed);
            next = owner.next.get();
        }
    });
    // If a task forked, it is on a copy of its stack, and the executor is not the child's.
    // SAFETY: a variable of the one thread that the child has.
    unsafe { *running_executor() = ptr::null() };
}

impl Owner {
    pub const TOKEN_AT: usize = core::mem::offset_of!(Owner, token);

    /// Nobody, yet.
    pub const fn nobody() -> Self {
        Self {
            token: AtomicUsize::new(0),
            next: Cell::new(ptr::null()),
            prev: Cell::new(ptr::null()),
        }
    }

    /// From here on the calling thread. EXPENSIVE.
    ///
    /// # Safety
    /// Once; it stays where it is until it is dropped.
    pub unsafe fn adopt(&self) {
        static WATCHED: Once = Once::new();
        WATCHED.call_once(|| fork::watch(before_fork, in_parent, in_child));
        let mut first = OWNERS.lock();
        self.token.store(token(), Ordering::Relaxed);
        self.next.set(first.0);
        // SAFETY: entries of the list are valid.
        if let Some(next) = unsafe { first.0.as_ref() } {
            next.prev.set(self);
        }
        first.0 = self;
    }

    /// Whether it is the calling thread.
    #[inline(always)]
    pub fn is_here(&self) -> bool {
        // Relaxed: its thread wrote it, or the one thread of a child.
        self.token.load(Ordering::Relaxed) == token()
    }

    /// Whether it is a thread of this process at all.
    pub fn is_in_this_process(&self) -> bool {
        self.token.load(Ordering::Relaxed) != 0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut first = OWNERS.lock();
        let (next, prev) = (self.next.get(), self.prev.get());
        // SAFETY: entries of the list are valid; one that is in none has no neighbours.
        unsafe {
            if let Some(next) = next.as_ref() {
                next.prev.set(prev);
            }
            match prev.as_ref() {
                Some(prev) => prev.next.set(next),
                None if ptr::eq(first.0, self) => first.0 = next,
                None => {}
            }
        }
    }
}

extern "C" {
    /// cpp/current.cpp: the calling thread's note of the executor that runs on it.
    fn monad_async_running_slot() -> *mut *const c_void;
}

/// The calling thread's note: the executor inside whose `run` it is, or null.
#[inline(always)]
pub fn running() -> *const c_void {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        extern "C" {
            /// A thread-local variable, which stable Rust cannot say. Only its name is used.
            #[link_name = "monad_async_running"]
            static RUNNING: *const c_void;
        }
        let running: *const c_void;
        // SAFETY: reads a variable of the thread.
        unsafe {
            core::arch::asm!(
                "mov {it}, qword ptr [rip + {name}@GOTTPOFF]",
                "mov {it}, qword ptr fs:[{it}]",
                name = sym RUNNING,
                it = out(reg) running,
                options(nostack, preserves_flags, readonly, pure),
            )
        };
        running
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    // SAFETY: a variable of the thread.
    unsafe {
        *running_executor()
    }
}

/// Where the calling thread notes which executor runs on it, null outside `run`; valid as long as
/// the thread. It serves `monad_async_task_current`, so it lies where a C function finds it in one
/// load.
pub fn running_executor() -> *mut *const c_void {
    // SAFETY: no preconditions.
    unsafe { monad_async_running_slot() }
}

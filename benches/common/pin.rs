//! Threads on processors of their own. Left alone, a busy machine puts a woken thread on the
//! processor of the one that woke it, and both take turns: that is a figure too, but of the
//! scheduler.

use core::mem::{size_of, zeroed};

/// The calling thread is on one processor until this is dropped, by the same thread.
pub struct Pinned(Option<libc::cpu_set_t>);

/// The processors that the calling thread may use.
pub fn usable() -> Vec<usize> {
    let Some(all) = current() else { return Vec::new() };
    // SAFETY: below the set's size.
    (0..libc::CPU_SETSIZE as usize).filter(|c| unsafe { libc::CPU_ISSET(*c, &all) }).collect()
}

fn current() -> Option<libc::cpu_set_t> {
    // SAFETY: a set of bits.
    let mut all: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: fills in a set of our own.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut all) };
    (rc == 0).then_some(all)
}

impl Pinned {
    /// On none in particular for None.
    pub fn to(cpu: Option<&usize>) -> Self {
        let (Some(cpu), Some(all)) = (cpu, current()) else { return Self(None) };
        // SAFETY: a set of bits.
        let mut one: libc::cpu_set_t = unsafe { zeroed() };
        // SAFETY: below the set's size.
        unsafe { libc::CPU_SET(*cpu, &mut one) };
        set(&one);
        Self(Some(all))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Some(all) = &self.0 {
            set(all);
        }
    }
}

fn set(cpus: &libc::cpu_set_t) {
    // SAFETY: reads a set of ours. A refusal leaves the thread where it is.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) };
}

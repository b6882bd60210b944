//! Which processors a thread may run on.

use core::mem::{size_of, MaybeUninit};

use crate::error::{Errno, Res};

/// The calling thread runs on `cpu` alone from now on. EINVAL: there is no such processor, or it
/// may not have it.
pub fn pin(cpu: u32) -> Res<()> {
    if cpu >= libc::CPU_SETSIZE as u32 {
        return Err(Errno(libc::EINVAL));
    }
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeros are an empty set, which has room for that number; concerns the calling thread.
    let rc = unsafe {
        libc::CPU_SET(cpu as usize, set.assume_init_mut());
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set.as_ptr())
    };
    if rc != 0 {
        return Err(Errno::last());
    }
    Ok(())
}

/// The processor that the calling thread runs on, unless it has been moved since.
pub fn here() -> Option<u32> {
    // Miri has no processors.
    #[cfg(not(miri))]
    // SAFETY: no preconditions.
    let cpu = unsafe { libc::sched_getcpu() };
    #[cfg(miri)]
    let cpu = -1;
    u32::try_from(cpu).ok()
}

/// How many processors the calling thread may run on; 1 at least.
pub fn count() -> u32 {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeros are an empty set, and the kernel writes no more than its size.
    let n = unsafe {
        let rc = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr());
        if rc < 0 {
            1
        } else {
            libc::CPU_COUNT(set.assume_init_ref())
        }
    };
    n.max(1) as u32
}

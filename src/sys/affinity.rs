//! Which processors a thread may run on.
//!
//! A new thread may run where the one that makes it may. So one that was pinned keeps where it
//! might run before, for the threads that the library makes for it: a helper serves the whole
//! process, and the workers of a pool of its own are not told to share a processor.

use core::ffi::c_void;
use core::mem::{size_of, MaybeUninit};

use super::alloc;
use super::thread_pointer::ThreadPointer;
use crate::error::{Errno, Res};

/// Processors that a thread may run on.
#[derive(Clone, Copy)]
pub struct Mask(libc::cpu_set_t);

/// A `Mask`, in a box: the calling thread's before it was pinned.
static BEFORE: ThreadPointer = ThreadPointer::new(forget);

/// # Safety
/// As `ThreadPointer::new` says, of `BEFORE`.
unsafe extern "C" fn forget(mask: *mut c_void) {
    // SAFETY: leaked by `keep`.
    drop(unsafe { Box::from_raw(mask.cast::<Mask>()) });
}

impl Mask {
    /// The calling thread's. None: it does not fit.
    fn current() -> Option<Self> {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: zeros are an empty set, and the kernel writes no more than its size.
        unsafe {
            let rc = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr());
            (rc >= 0).then(|| Self(set.assume_init()))
        }
    }

    /// The calling thread runs there from now on.
    pub fn adopt(&self) -> Res<()> {
        // SAFETY: a set of that size; concerns the calling thread.
        match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) } {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }

    /// Without memory for it, what the thread makes stays where it is.
    fn keep(self) {
        let Ok(mask) = alloc::try_box(self) else { return };
        let mask = Box::into_raw(mask);
        // SAFETY: `forget` takes it.
        if unsafe { BEFORE.set(mask.cast()) }.is_err() {
            // SAFETY: made above, and nobody has it.
            drop(unsafe { Box::from_raw(mask) });
        }
    }
}

/// Where the calling thread might run before it was pinned. None: it was not.
pub fn before_pin() -> Option<Mask> {
    // SAFETY: null, or kept by this thread.
    unsafe { BEFORE.get().cast::<Mask>().as_ref() }.copied()
}

/// The calling thread runs on `cpu` alone from now on. EINVAL: there is no such processor, or it
/// may not have it.
pub fn pin(cpu: u32) -> Res<()> {
    if cpu >= libc::CPU_SETSIZE as u32 {
        return Err(Errno(libc::EINVAL));
    }
    let before = Mask::current().filter(|_| before_pin().is_none());
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeros are an empty set, which has room for that number.
    let alone = unsafe {
        libc::CPU_SET(cpu as usize, set.assume_init_mut());
        Mask(set.assume_init())
    };
    alone.adopt()?;
    if let Some(before) = before {
        before.keep();
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
    // SAFETY: looks at a set.
    let n = Mask::current().map_or(1, |mask| unsafe { libc::CPU_COUNT(&mask.0) });
    n.max(1) as u32
}

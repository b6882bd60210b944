//! The alternate signal stack of a thread: where it is told that another stack has overflowed.

use super::memory::{self, GuardKind};
use super::thread_pointer::ThreadPointer;
use crate::error::{Errno, Res};
use core::ffi::c_void;
use core::mem::zeroed;
use core::ptr::{null, null_mut, NonNull};

/// The alternate signal stack that the thread got from us: where its mapping begins.
static ALTERNATE: ThreadPointer = ThreadPointer::new(take);

/// The kernel's frame, and plenty for a handler further down the chain: one that did not ask for
/// this stack expected the thread's own. Only what is touched takes memory.
fn alternate_stack_bytes() -> usize {
    (memory::signal_frame_bytes() + (256 << 10)).next_multiple_of(memory::page_bytes())
}

fn current() -> Res<libc::stack_t> {
    // SAFETY: all zeros is a valid stack_t; sigaltstack only writes it.
    unsafe {
        let mut current: libc::stack_t = zeroed();
        match libc::sigaltstack(null(), &mut current) {
            0 => Ok(current),
            _ => Err(Errno::last()),
        }
    }
}

/// Gives the thread an alternate stack if it has none, until it exits. ENOMEM: no memory for it;
/// any other error is sigaltstack's.
pub fn give() -> Res<()> {
    if current()?.ss_flags & libc::SS_DISABLE == 0 {
        return Ok(());
    }
    // It may be there from an earlier call, and have been taken off by somebody since.
    let guard_bytes = memory::page_bytes();
    let at = match NonNull::new(ALTERNATE.get().cast::<u8>()) {
        Some(at) => at,
        None => {
            let at = memory::map(guard_bytes + alternate_stack_bytes())?;
            // SAFETY: as `take` wants it.
            if let Err(e) = unsafe { ALTERNATE.set(at.as_ptr().cast()) } {
                // SAFETY: nobody else has its address.
                unsafe { memory::unmap(at, guard_bytes + alternate_stack_bytes()) };
                return Err(e);
            }
            at
        }
    };
    // SAFETY: the mapping is this thread's own and lives until the thread exits, which takes it off
    // first.
    unsafe {
        memory::guard(at, guard_bytes, GuardKind::Mprotect)?;
        let stack = libc::stack_t {
            ss_sp: at.add(guard_bytes).as_ptr().cast(),
            ss_flags: 0,
            ss_size: alternate_stack_bytes(),
        };
        match libc::sigaltstack(&stack, null_mut()) {
            0 => Ok(()),
            _ => Err(Errno::last()),
        }
    }
}

/// At the thread's exit. One that is given later still is taken too: pthreads looks several times.
///
/// # Safety
/// `at` is what the thread has set as `ALTERNATE`.
unsafe extern "C" fn take(at: *mut c_void) {
    let Some(at) = NonNull::new(at.cast::<u8>()) else { return };
    let guard_bytes = memory::page_bytes();
    // SAFETY: the mapping is ours; the kernel no longer uses it once it is taken off, or if
    // somebody put another in its place. Nobody else has its address.
    unsafe {
        let Ok(current) = current() else { return };
        if current.ss_sp == at.add(guard_bytes).as_ptr().cast() {
            let off = libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
            if libc::sigaltstack(&off, null_mut()) != 0 {
                return; // A handler runs on it, and ends the thread from there.
            }
        }
        memory::unmap(at, guard_bytes + alternate_stack_bytes());
    }
}

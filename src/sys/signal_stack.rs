//! The alternate signal stack of a thread: where it is told that another stack has overflowed.

use super::memory::{self, GuardKind};
use crate::error::{Errno, Res};
use core::cell::Cell;
use core::mem::zeroed;
use core::ptr::{null, null_mut, NonNull};

/// An alternate signal stack that the thread got from us.
struct AlternateStack(Cell<Option<NonNull<u8>>>);

thread_local! {
    static ALTERNATE: AlternateStack = const { AlternateStack(Cell::new(None)) };
}

/// The kernel's frame, and plenty for a handler further down the chain: one that did not ask for this
/// stack expected the thread's own. Only what is touched takes memory.
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

/// Gives the thread an alternate stack if it has none, until it exits. ENOMEM: no memory for it; any
/// other error is sigaltstack's.
pub fn give() -> Res<()> {
    if current()?.ss_flags & libc::SS_DISABLE == 0 {
        return Ok(());
    }
    let given = ALTERNATE.try_with(|ours| {
        // It may be there from an earlier call, and have been taken off by somebody since.
        let guard_bytes = memory::page_bytes();
        let at = match ours.0.get() {
            Some(at) => at,
            None => memory::map(guard_bytes + alternate_stack_bytes())?,
        };
        ours.0.set(Some(at));
        // SAFETY: the mapping is this thread's own and lives until its AlternateStack is dropped,
        // which takes it off first.
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
    });
    // The thread is on its way out, or this is the destructor of a C++ program's static: it does
    // without, since nobody would take the stack away again.
    given.unwrap_or(Ok(()))
}

impl Drop for AlternateStack {
    /// At the thread's exit.
    fn drop(&mut self) {
        let Some(at) = self.0.take() else { return };
        let guard_bytes = memory::page_bytes();
        // SAFETY: the mapping is ours; the kernel no longer uses it once it is taken off, or if
        // somebody put another in its place. Nobody else has its address.
        unsafe {
            let Ok(current) = current() else { return };
            if current.ss_sp == at.add(guard_bytes).as_ptr().cast() {
                let off =
                    libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
                if libc::sigaltstack(&off, null_mut()) != 0 {
                    return; // A handler runs on it, and ends the thread from there.
                }
            }
            memory::unmap(at, guard_bytes + alternate_stack_bytes());
        }
    }
}

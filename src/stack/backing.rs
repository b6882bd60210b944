//! Which slots of a slab are memory. Address space is reserved by the slab; what was never used is
//! neither locked nor charged, and takes no VMA (`sys::memory` says why that matters).
//!
//! - With guards that take no VMA, slots are opened in order, some at once, and stay open: one VMA
//!   a slab.
//! - With guards that do, a guard is what stays closed between two stacks. A slot is opened when
//!   somebody gets it, and closed when its pages are dropped: so free slots take no VMA but those
//!   that stay warm.
//!
//! All of it under the pool's lock, except [`Slab::drop_stack`].

use core::ptr::NonNull;

use super::slab::Slab;
use crate::atomic::Ordering::Relaxed;
use crate::error::Res;
use crate::sys::memory::{self, GuardKind};

/// Opened at once, unless a slot needs more.
const STEP_BYTES: usize = 1 << 20;

/// What is left of a stack that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// What the last task left.
    Contents,
    /// Memory that reads as zeros.
    Memory,
    Addresses,
}

impl Slab {
    /// VMAs that an open slot takes.
    pub(crate) fn mappings_each(&self) -> usize {
        match self.guards {
            GuardKind::Marker => 0,
            GuardKind::Mprotect => 2,
        }
    }

    /// Makes the stack of slot `index` memory, guarded below. ENOMEM: nothing that matters has
    /// changed.
    ///
    /// # Safety
    /// `slab` is published; `index` is the first that was never carved, or was carved and is
    /// closed.
    pub(crate) unsafe fn open_stack(slab: NonNull<Slab>, index: u32) -> Res<()> {
        // SAFETY: published.
        let s = unsafe { slab.as_ref() };
        if index < s.opened.load(Relaxed) {
            return Ok(());
        }
        match s.guards {
            // SAFETY: by this function's contract.
            GuardKind::Marker => unsafe { Self::open_some(slab, index) },
            GuardKind::Mprotect => {
                let stack_bytes = s.shape.slot_bytes - s.shape.guard_bytes;
                // SAFETY: by this function's contract nobody uses the slot.
                unsafe {
                    let stack = Self::slot(slab, index).add(s.shape.guard_bytes);
                    if memory::open(stack, stack_bytes)? || s.locked {
                        memory::lock_what_is_touched(stack, stack_bytes);
                    }
                }
                Ok(())
            }
        }
    }

    /// # Safety
    /// `slab` is published; nobody had the slots from `first`, up to which all are open.
    unsafe fn open_some(slab: NonNull<Slab>, first: u32) -> Res<()> {
        // SAFETY: published.
        let s = unsafe { slab.as_ref() };
        let bytes = s.shape.slot_bytes;
        let mut count = (STEP_BYTES / bytes).clamp(1, (s.slots - first) as usize);
        // SAFETY: the slots are nobody's, by this function's contract, and in range.
        unsafe {
            let at = Self::slot(slab, first);
            let locked = match memory::open(at, count * bytes) {
                Err(_) if count > 1 => {
                    count = 1;
                    memory::open(at, bytes)?
                }
                answer => answer?,
            };
            for i in 0..count {
                let guarded = memory::guard(at.add(i * bytes), s.shape.guard_bytes, s.guards);
                match guarded {
                    Err(e) if i == 0 => return Err(e),
                    Err(_) => {
                        count = i;
                        break;
                    }
                    Ok(()) => {}
                }
            }
            if locked || s.locked {
                memory::lock_what_is_touched(at, count * bytes);
            }
        }
        s.opened.store(first + count as u32, Relaxed);
        Ok(())
    }

    /// Gives back what the stack of slot `index` takes, as far as the kernel has it. ANY THREAD.
    ///
    /// # Safety
    /// `slab` is published; the slot is the caller's, and nobody needs what is on its stack.
    pub(crate) unsafe fn drop_stack(slab: NonNull<Slab>, index: u32) -> Left {
        // SAFETY: published.
        let s = unsafe { slab.as_ref() };
        let stack_bytes = s.shape.slot_bytes - s.shape.guard_bytes;
        // SAFETY: the guard is not part of the range, which is the caller's to give.
        unsafe {
            let stack = Self::slot(slab, index).add(s.shape.guard_bytes);
            if s.guards == GuardKind::Mprotect && memory::close(stack, stack_bytes).is_ok() {
                return Left::Addresses;
            }
            match memory::drop_pages(stack, stack_bytes) {
                Ok(()) => Left::Memory,
                Err(_) => Left::Contents,
            }
        }
    }
}

//! What is left of a chain of linked entries of which the kernel has taken the beginning alone. It
//! takes less than it is offered where it has no memory for more requests, and ends the chain
//! there: what is left would be another one, and begin at once.
//!
//! So each entry that is left is made a NOP, and its completion says by [`CUT`] that it was not
//! performed. That needs the entries themselves, which the crate keeps to itself once they are
//! pushed: they are mapped once more.

use std::ptr::NonNull;

use super::abi::{op, sqe as flag};
use super::kernel::{Sqe, CUT};
use crate::error::Errno;
use crate::sys::memory;

/// IORING_OFF_SQES
const OFFSET: i64 = 0x1000_0000;

/// The entries of the submission queue. While the kernel is not in `io_uring_enter` they are ours.
pub(super) struct Entries {
    at: NonNull<Sqe>,
    count: u32,
}

impl Entries {
    /// Of the ring `fd`, which has `count` of them.
    pub(super) fn map(fd: i32, count: u32) -> Result<Self, Errno> {
        let at = memory::map_file(fd, OFFSET, count as usize * size_of::<Sqe>())?;
        Ok(Self { at: at.cast(), count })
    }

    fn place(&self, n: u32) -> NonNull<Sqe> {
        // SAFETY: within the mapping; a power of two, as the kernel has it.
        unsafe { self.at.add((n & (self.count - 1)) as usize) }
    }

    /// The kernel has just taken all before the entry `head`, counted from the ring's first, and
    /// one at least; `pending` are left.
    #[cold]
    pub(super) fn cut(&self, head: u32, pending: u32) {
        let is_linked = |at: NonNull<Sqe>| {
            // SAFETY: one of ours, and nobody writes it.
            unsafe { at.read_volatile() }.flags() & flag::IO_LINK != 0
        };
        let mut before = self.place(head.wrapping_sub(1));
        for n in 0..pending {
            if !is_linked(before) {
                return;
            }
            let at = self.place(head.wrapping_add(n));
            // SAFETY: as above; the kernel looks again in the next enter.
            unsafe {
                let cut = at.read_volatile();
                let mut nop = Sqe::new(op::NOP, -1, 0, 0, 0, 0);
                nop.set_user_data(cut.user_data() | CUT);
                nop.0[0] |= u64::from(cut.flags() & flag::IO_LINK) << 8;
                at.write_volatile(nop);
            }
            before = at;
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and used by nobody else.
        unsafe { memory::unmap(self.at.cast(), self.count as usize * size_of::<Sqe>()) };
    }
}

//! What is left of a chain of linked entries of which the kernel has taken the beginning alone. It
//! takes less than it is offered where it has no memory for more requests, and ends the chain
//! there: what is left would be another one, and begin at once.
//!
//! So each entry that is left is made a NOP, and its completion says by [`CUT`] that it was not
//! performed.

use std::ptr::NonNull;

use super::abi::{op, sqe as flag};
use super::kernel::{Sqe, CUT};
use super::queues::Queues;

/// The kernel has just taken one entry at least, and not all.
#[cold]
pub(super) fn cut(queues: &Queues) {
    let is_linked = |at: NonNull<Sqe>| {
        // SAFETY: one of the queue's, and nobody writes it.
        unsafe { at.read_volatile() }.flags() & flag::IO_LINK != 0
    };
    let head = queues.first_pending();
    let mut before = queues.entry(head.wrapping_sub(1));
    for n in 0..queues.pending() {
        if !is_linked(before) {
            return;
        }
        let at = queues.entry(head.wrapping_add(n));
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

//! Sockets at the current position. A kernel before 5.17 hands one the position -1, and a socket
//! refuses all but 0 (ESPIPE): there each such entry, whoever has made it, is given that before it
//! is submitted.

use super::abi::sqe as flag;
use super::kernel::{op, Sqe};
use super::queues::Queues;
use crate::sys::fd;

/// The offset that says so.
const HERE: u64 = u64::MAX;

/// Of a ring: such entries are given the position 0.
pub(super) const PLACED: u8 = 1 << 0;
/// TEST ONLY: those that are not are given the position 1, which no socket has in any kernel.
pub(super) const REFUSED: u8 = 1 << 1;

/// As `of` says, before what is pending is submitted.
#[cold]
#[inline(never)]
pub(super) fn place(queues: &Queues, of: u8) {
    let first = queues.first_pending();
    for n in 0..queues.pending() {
        let at = queues.entry(first.wrapping_add(n));
        // SAFETY: one of the queue's, which is ours while the kernel is not in an enter.
        let mut sqe = unsafe { at.read_volatile() };
        let is_here = sqe.off() == HERE && sqe.flags() & flag::FIXED_FILE == 0;
        if is_here && fd::is_socket(sqe.fd()) {
            sqe.0[1] = match of {
                _ if of & PLACED != 0 && moves(&sqe) => 0,
                _ if of & REFUSED != 0 => 1,
                _ => continue,
            };
            // SAFETY: as above.
            unsafe { at.write_volatile(sqe) };
        }
    }
}

/// A read or a write. (A direct descriptor is left as it is: no kernel that has those asks for
/// this.)
fn moves(sqe: &Sqe) -> bool {
    matches!(
        sqe.opcode(),
        op::READ | op::WRITE | op::READV | op::WRITEV | op::READ_FIXED | op::WRITE_FIXED
    )
}

/// Of an entry that says whether the kernel refuses it: a read of nothing.
pub(super) fn question(socket: i32) -> Sqe {
    Sqe::new(op::READ, socket, HERE, 0, 0, 0)
}

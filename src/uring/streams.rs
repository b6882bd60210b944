//! Sockets at the current position. A kernel before 5.17 hands one the position -1, and a socket
//! refuses all but 0 (ESPIPE): there each such entry, whoever has made it, is given that before it
//! is submitted.

use super::abi::sqe as flag;
use super::kernel::{op, Sqe};
use super::queues::Queues;
use crate::sys::fd;

/// The offset that says so.
const HERE: u64 = u64::MAX;

/// What is submitted next has this offset, where it is on a socket at the current position.
#[cold]
#[inline(never)]
pub(super) fn place(queues: &Queues, offset: u64) {
    let first = queues.first_pending();
    for n in 0..queues.pending() {
        let at = queues.entry(first.wrapping_add(n));
        // SAFETY: one of the queue's, which is ours while the kernel is not in an enter.
        unsafe {
            let mut sqe = at.read_volatile();
            if is_here(&sqe) && fd::is_socket(sqe.fd()) {
                sqe.0[1] = offset;
                at.write_volatile(sqe);
            }
        }
    }
}

/// A read or a write at the current position. Not of a direct descriptor: no kernel that has those
/// asks for this.
fn is_here(sqe: &Sqe) -> bool {
    let moves = matches!(
        sqe.opcode(),
        op::READ | op::WRITE | op::READV | op::WRITEV | op::READ_FIXED | op::WRITE_FIXED
    );
    moves && sqe.off() == HERE && sqe.flags() & flag::FIXED_FILE == 0
}

/// Of an entry that says whether the kernel refuses it: a read of nothing.
pub(super) fn question(socket: i32) -> Sqe {
    Sqe::new(op::READ, socket, HERE, 0, 0, 0)
}

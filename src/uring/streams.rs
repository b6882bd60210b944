//! What older kernels lack of sockets, entry by entry before it is submitted. One before 5.17 hands
//! a socket the position -1, and that refuses all but 0 (ESPIPE): there each such entry, whoever
//! has made it, is given that. One before 5.12 refuses messages with more than data (EINVAL), which
//! is done here for tests alone: who has called makes the call itself then.

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
/// TEST ONLY: messages with more than data have a flag that no kernel knows.
pub(super) const DATA_ALONE: u8 = 1 << 2;

/// As `of` says, before what is pending is submitted.
#[cold]
#[inline(never)]
pub(super) fn place(queues: &Queues, of: u8) {
    let first = queues.first_pending();
    for n in 0..queues.pending() {
        let at = queues.entry(first.wrapping_add(n));
        // SAFETY: one of the queue's, which is ours while the kernel is not in an enter.
        let mut sqe = unsafe { at.read_volatile() };
        if of & DATA_ALONE != 0 && has_more(&sqe) {
            sqe.0[0] |= 1 << 31; // Of ioprio.
                                 // SAFETY: as above.
            unsafe { at.write_volatile(sqe) };
        }
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

/// A message with more than data.
fn has_more(sqe: &Sqe) -> bool {
    let is_message = matches!(sqe.opcode(), op::SENDMSG | op::RECVMSG);
    // SAFETY: what is in the queue was pushed under `push`'s promise.
    is_message
        && unsafe {
            let message = &*(sqe.addr() as *const libc::msghdr);
            !message.msg_control.is_null() || message.msg_controllen != 0
        }
}

/// Of an entry that says whether the kernel refuses it: a read of nothing.
pub(super) fn question(socket: i32) -> Sqe {
    Sqe::new(op::READ, socket, HERE, 0, 0, 0)
}

//! Entries of ordered writes: how one is known, how much it is to write, and what is left of it.

use core::cell::Cell;

use super::operation::Op;
use super::priority;
use super::rows::{Row, LENGTH_MAX};
use crate::uring::abi::sqe as flag;
use crate::uring::kernel::{op, Sqe};

/// As much as one write moves: MAX_RW_COUNT.
pub(super) const BYTES_MAX: u64 = 0x7fff_f000;

/// What `monad_async_op_write` leaves in `user_data`: this, and the number of the row.
const MARK: u64 = 0x6f72_6465 << 32;

/// In their place: of a file that is not ordered.
const UNORDERED: u64 = 1 << 16;

/// Where a handle's flags have the number of its executor, and so `user_data` of an entry by one
/// that is direct.
const HOME: u64 = 0x1fff << HOME_AT;
const HOME_AT: u32 = 16;

/// Whether an entry was filled in by the library's functions for writes.
#[inline(always)]
pub fn is_marked(sqe: &Sqe) -> bool {
    sqe.user_data() >> 32 == MARK >> 32
}

/// The row that an entry was filled in for.
#[inline(always)]
pub fn named_by(sqe: &Sqe) -> Option<u16> {
    let named = sqe.user_data();
    (is_marked(sqe) && named & UNORDERED == 0).then_some(named as u16)
}

/// Of an entry that the library's functions have filled in: the number of the executor that knows
/// its handle; 0: nobody says.
pub fn home_of(sqe: &Sqe) -> u32 {
    const DIRECT: u64 = 1 << 31;
    let named = sqe.user_data();
    let at = match is_marked(sqe) {
        true => HOME_AT + 1, // Above `UNORDERED`.
        false if sqe.flags() & flag::FIXED_FILE != 0 && named & !HOME == DIRECT => HOME_AT,
        false => return 0,
    };
    (named >> at) as u32 & (HOME >> HOME_AT) as u32
}

/// An entry of that row.
pub fn name(sqe: &mut Sqe, row: u16) {
    sqe.set_user_data(MARK | u64::from(row));
}

/// How many bytes such an entry is to write.
pub fn wanted(sqe: &Sqe) -> u64 {
    match sqe.opcode() {
        op::WRITEV => {
            // SAFETY: the record's owner keeps what its entry refers to while it is in flight.
            let lengths = unsafe { parts(sqe) }.iter().map(|p| p.iov_len as u64);
            lengths.fold(0, |sum, n| BYTES_MAX.min(n.saturating_add(sum)))
        }
        op::NOP => 0,
        _ => sqe.len().into(),
    }
}

/// None where the kernel refuses all of it, for their number or for their place.
///
/// # Safety
/// Of a WRITEV that the kernel has taken, or whose owner vouches for it.
unsafe fn parts(sqe: &Sqe) -> &[libc::iovec] {
    if sqe.len() == 0 || sqe.len() > libc::UIO_MAXIOV as u32 || sqe.addr() == 0 {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { core::slice::from_raw_parts(sqe.addr() as *const libc::iovec, sqe.len() as usize) }
}

/// The entry without its first bytes, which are written. Of a vectored one, what is left of the
/// part in which it came short: a row of its own, until all is done.
pub(super) fn rest(sqe: &Sqe, done: u32) -> Sqe {
    let mut rest = *sqe;
    if done == 0 {
        return rest;
    }
    let (mut at, mut len) = (sqe.addr(), u64::from(sqe.len()));
    let mut skipped = u64::from(done);
    if sqe.opcode() == op::WRITEV {
        // SAFETY: the kernel has taken it before.
        for part in unsafe { parts(sqe) } {
            (at, len) = (part.iov_base as u64, part.iov_len as u64);
            if skipped < len {
                break;
            }
            skipped -= len;
        }
        rest.0[0] = rest.0[0] & !0xff | u64::from(op::WRITE);
    }
    rest.0[2] = at + skipped;
    rest.0[3] = rest.0[3] >> 32 << 32 | (len - skipped).min(BYTES_MAX);
    if sqe.off() != u64::MAX {
        rest.0[1] = sqe.off() + u64::from(done);
    }
    rest
}

/// Of an entry the half that says all of a write: two share a line, which comes from another
/// processor.
#[derive(Clone, Copy)]
pub(super) struct Half([u64; 4]);

impl Half {
    pub(super) fn of(sqe: &Sqe) -> Self {
        let [first, at, from, length, ..] = sqe.0;
        Self([first, at, from, length])
    }

    #[inline(always)]
    pub(super) fn entry(self) -> Sqe {
        let [first, at, from, length] = self.0;
        Sqe([first, at, from, length, 0, 0, 0, 0])
    }
}

/// What a plain write's entry is to write, as a part of a vectored one.
pub(super) fn part_of(sqe: &Sqe) -> libc::iovec {
    libc::iovec { iov_base: sqe.addr() as *mut _, iov_len: sqe.len() as usize }
}

/// Whether `next` goes on where a plain write of so many bytes ends, and may be one with it.
pub(super) fn goes_on(sqe: &Sqe, bytes: u64, next: &Sqe) -> bool {
    let there = match sqe.off() {
        u64::MAX => next.off() == u64::MAX,
        off => next.off() == off.wrapping_add(bytes),
    };
    // Opcode and flags.
    let alike = next.0[0] as u16 == sqe.0[0] as u16 && next.op_flags() == sqe.op_flags();
    let fits = bytes + u64::from(next.len()) <= BYTES_MAX;
    sqe.opcode() == op::WRITE && there && alike && fits
}

/// Makes the first of some writes that go on so the entry of all of them.
pub(super) fn vectored(sqe: &mut Sqe, parts: &[Cell<libc::iovec>], n: u32) {
    sqe.0[0] = sqe.0[0] & !0xff | u64::from(op::WRITEV);
    sqe.0[2] = parts.as_ptr() as u64;
    sqe.0[3] = sqe.0[3] >> 32 << 32 | u64::from(n);
}

impl Row {
    /// Makes the entry of a write that of those behind it too that go on where it ends. True: there
    /// are some.
    pub(super) fn merge(&self, sqe: &mut Sqe, ioprio: u16) -> bool {
        let Some(parts) = self.parts.as_ref().filter(|_| sqe.opcode() == op::WRITE) else {
            return false;
        };
        parts[0].set(part_of(sqe));
        let (mut n, mut bytes) = (1, u64::from(sqe.len()));
        while let Some(link) = self.waiting.front().filter(|_| n < LENGTH_MAX) {
            // SAFETY: records in flight are in there, by this link.
            let record = unsafe { Op::from_link(link) };
            let next = record.sqe.get();
            let ioprio_too = priority::of(&next, priority::level(record.task())) == ioprio;
            if !(goes_on(sqe, bytes, &next) && ioprio_too && record.progress.get() == 0) {
                break;
            }
            parts[n as usize].set(part_of(&next));
            self.take_off();
            (n, bytes) = (n + 1, bytes + u64::from(next.len()));
        }
        self.merged.set(n);
        if n > 1 {
            vectored(sqe, &**parts, n);
        }
        n > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_write() {
        let plain = Sqe::new(op::WRITE, 3, 100, 1000, 50, 0);
        assert_eq!(rest(&plain, 0).0, plain.0);
        let left = rest(&plain, 20);
        assert_eq!((left.off(), left.addr(), left.len()), (120, 1020, 30));
        let here = Sqe::new(op::WRITE, 3, u64::MAX, 1000, 50, 0);
        assert_eq!(rest(&here, 20).off(), u64::MAX);
        let part = |iov_base: usize, iov_len| libc::iovec { iov_base: iov_base as *mut _, iov_len };
        let parts = [part(1000, 10), part(2000, 0), part(3000, 5), part(4000, 7)];
        let vector = Sqe::new(op::WRITEV, 3, 100, parts.as_ptr() as u64, 4, 0);
        assert_eq!(wanted(&vector), 22);
        for (done, addr, len) in [(3, 1003, 7), (10, 3000, 5), (12, 3002, 3), (15, 4000, 7)] {
            let left = rest(&vector, done);
            let got = (left.opcode(), left.addr(), left.len(), left.off());
            assert_eq!(got, (op::WRITE, addr, len, 100 + u64::from(done)), "after {done}");
        }
    }
}

//! Which submission entries a task may pass: an allow-list of opcodes and flags. Nothing passes
//! that could complete other than its caller is told, name another operation, or send completions
//! elsewhere.

use crate::error::{Errno, Res};
use crate::uring::abi::{message, msg_ring, op, send_recv, sqe as flag, LAST_OP};
use crate::uring::kernel::Sqe;

/// Not: drains (with a zero-copy send in flight they wait for ever), links, those that skip their
/// completion.
const ALLOWED_FLAGS: u8 = flag::FIXED_FILE | flag::ASYNC | flag::BUFFER_SELECT;

const fn bit(opcode: u8) -> u64 {
    1 << opcode
}

/// Not: what names another operation's `user_data` (POLL_REMOVE, TIMEOUT_REMOVE, ASYNC_CANCEL,
/// LINK_TIMEOUT), what is multishot by its opcode (READ_MULTISHOT, RECV_ZC), and what is not known
/// here.
const ALLOWED: u64 = {
    let all = u64::MAX >> (63 - LAST_OP);
    all & !(bit(op::POLL_REMOVE)
        | bit(op::TIMEOUT_REMOVE)
        | bit(op::ASYNC_CANCEL)
        | bit(op::LINK_TIMEOUT)
        | bit(op::READ_MULTISHOT)
        | bit(op::RECV_ZC))
};

/// Opcodes some of whose entries complete more than once, or do to others.
const LOOKED_AT: u64 = bit(op::POLL_ADD)
    | bit(op::ACCEPT)
    | bit(op::RECV)
    | bit(op::RECVMSG)
    | bit(op::SEND)
    | bit(op::TIMEOUT)
    | bit(op::URING_CMD)
    | bit(op::MSG_RING);

/// What may be on a registered buffer that is ours, and is counted there.
const BUFFERED: u64 = bit(op::READ_FIXED) | bit(op::WRITE_FIXED) | bit(op::SEND) | bit(op::SEND_ZC);

/// What came after Linux 5.11, the oldest that there may be: the running one is asked.
const LATER: u64 = !(u64::MAX >> (63 - op::UNLINKAT));

/// Whether the kernel may not know an opcode that is known here.
pub fn is_later(opcode: u8) -> bool {
    opcode <= LAST_OP && LATER >> opcode & 1 != 0
}

/// Of which nothing but the flags is looked at, where these are none but the first two.
const PLAIN: u64 = ALLOWED & !LOOKED_AT & !BUFFERED & !LATER;
const _: () = assert!(LAST_OP < 64);
const PLAIN_FLAGS: u8 = flag::FIXED_FILE | flag::ASYNC;

/// Opcodes that are no record's whole story: a descriptor may come of it, or one go; it may be a
/// write with a place in a row, or on a registered buffer. (Some of the later ones, too.)
const NOTED: u64 = BUFFERED
    | bit(op::CLOSE)
    | bit(op::ACCEPT)
    | bit(op::OPENAT)
    | bit(op::OPENAT2)
    | bit(op::WRITE)
    | bit(op::WRITEV);

/// Of most entries of records, by their first word, this is all there is to ask: they pass, and
/// nothing has to be noted.
#[inline(always)]
pub fn is_plain(head: u64) -> bool {
    is_plain_with(head, PLAIN_FLAGS & !flag::FIXED_FILE)
}

/// The same of those by a direct descriptor, too, whose executor has to be asked for.
#[inline(always)]
pub fn is_plain_here(sqe: &Sqe) -> bool {
    is_plain_with(sqe.0[0], PLAIN_FLAGS)
}

#[inline(always)]
fn is_plain_with(head: u64, flags: u8) -> bool {
    is_one_of(PLAIN & !NOTED, head, flags)
}

/// Its opcode is one of those, its flags none but these.
#[inline(always)]
fn is_one_of(opcodes: u64, head: u64, flags: u8) -> bool {
    // By one question: an opcode of 6 bits, and no flag of the others.
    let others = u16::from_le_bytes([!63, !flags]);
    head as u16 & others == 0 && opcodes >> (head & 63) & 1 != 0
}

/// The same of entries of calls: it completes exactly once, and there is nothing to be counted.
#[inline(always)]
pub fn is_plain_once(sqe: &Sqe) -> bool {
    is_one_of(PLAIN, sqe.0[0], PLAIN_FLAGS)
}

/// EINVAL for what does not complete exactly once.
#[inline(always)]
pub fn once(sqe: &Sqe) -> Res<()> {
    if is_plain_once(sqe) {
        return Ok(());
    }
    looked_at(sqe)
}

/// As `once`, of any entry. In line, as what it calls: a call would have the caller keep the
/// entry's words in memory across it.
#[inline(always)]
fn looked_at(sqe: &Sqe) -> Res<()> {
    let opcode = sqe.opcode();
    let known = opcode <= LAST_OP && ALLOWED >> opcode & 1 != 0;
    if !known || sqe.flags() & !ALLOWED_FLAGS != 0 || takes_ours(sqe) {
        return Err(Errno(libc::EINVAL));
    }
    if LOOKED_AT >> opcode & 1 != 0 && !completes_once(sqe) {
        return Err(Errno(libc::EINVAL));
    }
    Ok(())
}

/// How an operation record may complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completes {
    Singly,
    /// The same, where the kernel knows it: see `is_later`.
    SinglyIfKnown,
    /// As a stream of events, which add up.
    Events,
    /// Once or as a stream, with a buffer of that group for each completion.
    Buffers(u16),
}

/// Groups of buffers below are the program's own, registered by the ring's descriptor.
pub const FIRST_GROUP: u16 = 0x8000;

/// From a buffer ring of the library's, which has to know what becomes of each buffer.
#[inline(always)]
fn takes_ours(sqe: &Sqe) -> bool {
    sqe.flags() & flag::BUFFER_SELECT != 0 && sqe.buf_group() >= FIRST_GROUP
}

/// As `once`, for an operation record: a stream passes too, if what the caller gave bounds it.
pub fn record(sqe: &Sqe) -> Res<Completes> {
    let flags = sqe.flags();
    if flags & !ALLOWED_FLAGS == 0 {
        if sqe.opcode() == op::POLL_ADD && sqe.len() == POLL_MULTI {
            return Ok(Completes::Events);
        }
        if takes_ours(sqe) {
            // A length would be that of a multishot's first completion alone; a bundle's completion
            // takes several.
            let receives =
                sqe.opcode() == op::RECV && sqe.ioprio() & send_recv::RECVSEND_BUNDLE == 0;
            let passes = receives || matches!(sqe.opcode(), op::READ | op::READ_MULTISHOT);
            let passes = passes && (sqe.len() == 0 || receives_once(sqe));
            return passes.then(|| Completes::Buffers(sqe.buf_group())).ok_or(Errno(libc::EINVAL));
        }
    }
    if is_plain_once(sqe) {
        return Ok(Completes::Singly);
    }
    let later = is_later(sqe.opcode());
    looked_at(sqe).map(|()| if later { Completes::SinglyIfKnown } else { Completes::Singly })
}

/// With a buffer of ours, in one completion.
pub fn receives_once(sqe: &Sqe) -> bool {
    sqe.opcode() != op::READ_MULTISHOT && completes_once(sqe)
}

/// IORING_POLL_ADD_MULTI, and what updates or removes another poll.
const POLL_MULTI: u32 = 1;

#[inline(always)]
fn completes_once(sqe: &Sqe) -> bool {
    match sqe.opcode() {
        op::POLL_ADD => sqe.len() == 0,
        op::ACCEPT => sqe.ioprio() & 1 == 0,
        // Multishot; and a bundle, which may complete several times.
        op::RECV | op::RECVMSG => sqe.ioprio() & (2 | 16) == 0,
        op::SEND => sqe.ioprio() & 16 == 0,
        op::TIMEOUT => sqe.op_flags() & (1 << 6) == 0,
        op::URING_CMD => sqe.op_flags() & 2 == 0,
        // A descriptor, of which the other ring's tasks are not told: no completion there.
        op::MSG_RING => sqe.addr() == message::SEND_FD && sqe.op_flags() == msg_ring::CQE_SKIP,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(sqe: &Sqe) -> bool {
        once(sqe).is_ok()
    }

    #[test]
    fn only_what_completes_once_passes() {
        let flagged = |flags: u8| {
            let mut s = Sqe::zeroed();
            s.0[0] |= (flags as u64) << 8;
            s
        };
        assert!(ok(&Sqe::zeroed()));
        for bit in 0..8 {
            assert_eq!(ok(&flagged(1 << bit)), [0, 4, 5].contains(&bit), "IOSQE bit {bit}");
        }
        assert!(ok(&Sqe::new(op::POLL_ADD, 0, 0, 0, 0, 0)));
        for len in [1, 2, 4, 8, 3] {
            assert!(!ok(&Sqe::new(op::POLL_ADD, 0, 0, 0, len, 0)), "poll with len {len}");
        }
        assert!(!ok(&Sqe::new(op::TIMEOUT, 0, 0, 0, 1, 1 << 6)));
        let mut accept = Sqe::new(op::ACCEPT, 0, 0, 0, 0, 0);
        assert!(ok(&accept));
        accept.set_ioprio(1);
        assert!(!ok(&accept));
        let mut recv = Sqe::new(op::RECV, 0, 0, 0, 0, 0);
        recv.set_ioprio(1); // IORING_RECVSEND_POLL_FIRST
        assert!(ok(&recv));
        recv.set_ioprio(3);
        assert!(!ok(&recv));
        let mut send = Sqe::new(op::SEND, 0, 0, 0, 0, 0);
        assert!(ok(&send));
        send.set_ioprio(16);
        assert!(!ok(&send));
        for (what, flags) in [(0, 0), (0, 1), (1, 0), (1, 3), (1, 1)] {
            let message = Sqe::new(op::MSG_RING, 0, 0, what, 0, flags);
            assert_eq!(ok(&message), (what, flags) == (1, 1), "message {what} with {flags}");
        }
    }

    #[test]
    fn what_is_plain_passes_the_long_way_too() {
        for head in 0..=u16::MAX {
            let mut sqe = Sqe::zeroed();
            sqe.0[0] = head.into();
            for group in [0, 7, FIRST_GROUP] {
                sqe.0[5] = group.into();
                assert_eq!(once(&sqe), looked_at(&sqe), "{head:#x}");
            }
        }
    }

    #[test]
    fn what_is_later_is_plain_nowhere() {
        for opcode in 0..=255 {
            let sqe = Sqe::new(opcode, 0, 0, 0, 0, 0);
            assert_eq!(is_later(opcode), (op::MKDIRAT..=LAST_OP).contains(&opcode), "{opcode}");
            let plain = is_plain_once(&sqe) || is_plain_here(&sqe) || is_plain(sqe.0[0]);
            assert!(!(plain && is_later(opcode)), "{opcode}");
            let asked = record(&sqe) == Ok(Completes::SinglyIfKnown);
            assert_eq!(asked, is_later(opcode) && once(&sqe).is_ok(), "{opcode}");
        }
    }

    #[test]
    fn what_concerns_others_is_refused() {
        let refused: Vec<u8> =
            (0..=255).filter(|&opcode| !ok(&Sqe::new(opcode, 0, 0, 0, 0, 0))).collect();
        let mut expected = vec![
            op::POLL_REMOVE,
            op::TIMEOUT_REMOVE,
            op::ASYNC_CANCEL,
            op::LINK_TIMEOUT,
            op::MSG_RING,
            op::READ_MULTISHOT,
            op::RECV_ZC,
        ];
        expected.extend(LAST_OP + 1..=255);
        assert_eq!(refused, expected);
    }

    #[test]
    fn a_poll_may_be_a_stream() {
        let poll = |len| Sqe::new(op::POLL_ADD, 0, 0, 0, len, 0);
        assert_eq!(record(&poll(0)), Ok(Completes::Singly));
        assert_eq!(record(&poll(1)), Ok(Completes::Events));
        assert_eq!(record(&poll(3)), Err(Errno(libc::EINVAL)));
        assert_eq!(record(&Sqe::new(op::READ_MULTISHOT, 0, 0, 0, 0, 0)), Err(Errno(libc::EINVAL)));
    }

    #[test]
    fn what_takes_a_buffer_of_ours_is_a_record_that_says_so() {
        let entry = |opcode, len, ioprio, flags: u8, group: u16| {
            let mut s = Sqe::new(opcode, 0, 0, 0, len, 0);
            s.0[0] |= u64::from(flags) << 8;
            s.0[5] = group.into();
            s.set_ioprio(ioprio);
            s
        };
        let select = flag::BUFFER_SELECT;
        let ours = |opcode, ioprio| entry(opcode, 0, ioprio, select, FIRST_GROUP + 3);
        let group = Ok(Completes::Buffers(FIRST_GROUP + 3));
        for (opcode, ioprio) in
            [(op::RECV, 0), (op::RECV, 2), (op::READ, 0), (op::READ_MULTISHOT, 0)]
        {
            assert_eq!(record(&ours(opcode, ioprio)), group);
            assert!(!ok(&ours(opcode, ioprio)), "not by task_io");
        }
        for entry in [
            ours(op::RECV, 2 | 16),
            ours(op::RECVMSG, 0),
            entry(op::RECV, 64, 2, select, FIRST_GROUP),
            entry(op::RECV, 0, 2, select, FIRST_GROUP - 1),
            entry(op::RECV, 0, 2, 0, FIRST_GROUP),
            entry(op::READ_MULTISHOT, 0, 0, select, 7),
            entry(op::READ_MULTISHOT, 64, 0, select, FIRST_GROUP),
        ] {
            assert_eq!(record(&entry), Err(Errno(libc::EINVAL)));
        }
        assert!(ok(&entry(op::RECV, 64, 0, select, 7)), "the program's own");
    }
}

//! Which submission entries a task may pass: any that completes exactly once.

use crate::error::{Errno, Res};
use crate::uring::kernel::{op, Sqe};

const IOSQE_IO_DRAIN: u8 = 1 << 1;
const IOSQE_IO_LINK: u8 = 1 << 2;
const IOSQE_IO_HARDLINK: u8 = 1 << 3;
const IOSQE_CQE_SKIP_SUCCESS: u8 = 1 << 6;
const REFUSED_FLAGS: u8 =
    IOSQE_IO_DRAIN | IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_CQE_SKIP_SUCCESS;

/// EINVAL for what would complete other than once: links, multishot operations, and those that skip
/// their completion. And for drains: the kernel holds back a drain, and all that comes after it,
/// until all that is in flight has ended, and the executor's own poll never does.
#[inline(always)]
pub fn completes_once(sqe: &Sqe) -> Res<()> {
    let refused = sqe.flags() & REFUSED_FLAGS != 0
        || match sqe.opcode() {
            op::POLL_ADD => sqe.len() & 1 != 0,
            op::ACCEPT => sqe.ioprio() & 1 != 0,
            // Multishot; and a bundle, which may complete several times.
            op::RECV | op::RECVMSG => sqe.ioprio() & (2 | 16) != 0,
            op::SEND => sqe.ioprio() & 16 != 0,
            op::TIMEOUT => sqe.op_flags() & (1 << 6) != 0,
            op::URING_CMD => sqe.op_flags() & 2 != 0,
            op::READ_MULTISHOT | op::RECV_ZC => true,
            _ => false,
        };
    if refused {
        Err(Errno(libc::EINVAL))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_completes_once_passes() {
        let ok = |s: &Sqe| completes_once(s).is_ok();
        let flagged = |flags: u8| {
            let mut s = Sqe::zeroed();
            s.0[0] |= (flags as u64) << 8;
            s
        };
        assert!(ok(&Sqe::zeroed()));
        for bit in 0..8 {
            let refused = [1, 2, 3, 6].contains(&bit);
            assert_eq!(ok(&flagged(1 << bit)), !refused, "IOSQE bit {bit}");
        }
        assert!(ok(&Sqe::new(op::POLL_ADD, 0, 0, 0, 0, 0)));
        assert!(!ok(&Sqe::new(op::POLL_ADD, 0, 0, 0, 1, 0)));
        assert!(!ok(&Sqe::new(op::TIMEOUT, 0, 0, 0, 1, 1 << 6)));
        assert!(!ok(&Sqe::new(op::READ_MULTISHOT, 0, 0, 0, 0, 0)));
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
    }
}

//! A task's I/O priority as the kernel's `ioprio`, on reads and writes only: on receive and accept
//! the field means something else, and elsewhere nothing.

use crate::task::header::{TaskRef, NORMAL, PRIORITIES};
use crate::uring::kernel::{op, Sqe};

/// Best effort, which needs no privilege; a real-time class would.
const IOPRIO_CLASS_BE: u16 = 2 << 13;

/// By level: the best of its class, whatever the process has, the last of its class.
const IOPRIO: [u16; PRIORITIES] = [IOPRIO_CLASS_BE, 0, IOPRIO_CLASS_BE | 7];

/// The I/O level that `task` asks for; anything above low counts as low.
pub fn level(task: TaskRef) -> u8 {
    task.io_asked().min(PRIORITIES as u8 - 1)
}

/// `sqe`, of `task`, as it is submitted, with that `user_data`.
#[inline(always)]
pub fn with(sqe: Sqe, task: TaskRef, user_data: u64) -> Sqe {
    // That of the process: what most tasks have, and the shortest way.
    let head = match task.io_asked() {
        NORMAL => sqe.0[0],
        _ => sqe.with(of(&sqe, level(task)), 0).0[0],
    };
    sqe.with_head(head, user_data)
}

/// The `ioprio` to submit `sqe` with: one that its caller has set is left alone.
pub fn of(sqe: &Sqe, level: u8) -> u16 {
    let ioprio = IOPRIO[level as usize];
    if ioprio != 0 && sqe.ioprio() == 0 && is_read_or_write(sqe.opcode()) {
        ioprio
    } else {
        sqe.ioprio()
    }
}

fn is_read_or_write(opcode: u8) -> bool {
    matches!(
        opcode,
        op::READV
            | op::WRITEV
            | op::READ_FIXED
            | op::WRITE_FIXED
            | op::READ
            | op::WRITE
            | op::READV_FIXED
            | op::WRITEV_FIXED
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reads_and_writes_carry_it() {
        for opcode in 0..=62 {
            for level in 0..3 {
                let sqe = Sqe::new(opcode, 3, 0, 0, 0, 0);
                let expected = if is_read_or_write(opcode) { IOPRIO[level as usize] } else { 0 };
                assert_eq!(of(&sqe, level), expected, "opcode {opcode} level {level}");
            }
        }
    }

    #[test]
    fn the_callers_own_stays() {
        let mut sqe = Sqe::new(op::READ, 3, 0, 0, 0, 0);
        sqe.set_ioprio(42);
        assert_eq!(of(&sqe, 0), 42);
    }
}

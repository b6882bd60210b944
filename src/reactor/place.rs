//! The current position of an ordered file, where the ring does not move it; and what comes out of
//! rows.
//!
//! 1. With O_DIRECT the ring never moves it: the disk is still at work when it would have to. So
//!    such writes are handed over with the offsets that they come to, and it is moved when they are
//!    done. Those that append and those that do not are in no row together.
//! 2. Of a write that came short see [`Kernel::leaves_position`].

use core::cell::Cell;

use super::operation::{Op, State};
use super::ordered::{rest, wanted};
use super::Reactor;
use crate::sys::file;
use crate::uring::abi::{sqe as flag, NO_APPEND};
use crate::uring::kernel::{Kernel, Sqe};

/// The offset of what is written at the current position.
pub const HERE: u64 = u64::MAX;

/// What the entry of a write says of where that goes: to the end (true), or not there though the
/// file is appended to. `None`: it is as the file was opened.
pub fn appends(sqe: &Sqe) -> Option<bool> {
    let flags = sqe.op_flags();
    let to_end = flags & libc::RWF_APPEND as u32 != 0;
    (to_end || flags & NO_APPEND != 0).then_some(to_end)
}

/// Where writes at the current position go.
pub struct Place {
    /// Rule 1.
    is_ours: bool,
    /// Where the next one of this row goes; below 0: not known.
    next: Cell<i64>,
    /// Of the last one of this row that is at the position.
    appends: Cell<Option<bool>>,
}

impl Place {
    pub fn new(is_ours: bool) -> Self {
        Self { is_ours, next: Cell::new(-1), appends: Cell::new(None) }
    }

    /// The entry that is the `n`th of a row, with the offset that it comes to.
    pub(super) fn of(&self, mut sqe: Sqe, n: u32) -> Sqe {
        if n == 1 {
            self.next.set(-1);
        }
        if self.is_ours && sqe.off() == HERE {
            self.appends.set(appends(&sqe));
            if self.next.get() < 0 {
                self.next.set(file::position(sqe.fd()).unwrap_or(-1));
            }
            if let Ok(at) = u64::try_from(self.next.get()) {
                self.next.set(at.saturating_add(wanted(&sqe)) as i64);
                sqe.0[1] = at;
            }
        }
        sqe
    }

    /// Where a write goes is known once this row is back: at the position, and of those two, ahead
    /// of it and itself, one appends.
    pub(super) fn is_of_next_row(&self, sqe: &Sqe) -> bool {
        let is_behind = sqe.off() == HERE && self.next.get() >= 0;
        is_behind && appends(sqe) != self.appends.get()
    }
}

impl<K: Kernel> Reactor<K> {
    /// As `row_completed`, of an entry that the ring has performed.
    pub(super) fn row_performed(&self, record: &Op, res: i32) {
        if res > 0 && record.sqe.get().off() == HERE {
            self.moves_on(record, res as u32);
        }
        self.row_completed(record, res);
    }

    fn moves_on(&self, record: &Op, bytes: u32) {
        let (sqe, done) = (record.sqe.get(), record.progress.get());
        if sqe.flags() & flag::FIXED_FILE != 0 {
            return; // There is no call for those.
        }
        let row = self.rows.at(record.row()).expect("it stays while it has records");
        if row.place.is_ours {
            // A pipe has none.
            let _ = file::move_behind(sqe.fd(), bytes.into(), appends(&sqe));
            return;
        }
        let all = match &row.parts {
            Some(parts) if row.merged.get() > 1 => {
                let merged = &parts[..row.merged.get() as usize];
                merged.iter().map(|part| part.get().iov_len as u64).sum()
            }
            _ => wanted(&rest(&sqe, done)),
        };
        if u64::from(bytes) < all && self.kernel.leaves_position() {
            file::came_short(sqe.fd(), bytes as usize, appends(&sqe));
        }
    }

    /// `record`, which is in no list, has ended so, and its task has to be told. Until then nothing
    /// of it is cancelled, in a row or in the kernel: who is told of one before it may cancel its
    /// task.
    pub(super) fn is_to_be_told(&self, record: &Op, outcome: i32) {
        record.outcome.set(outcome);
        record.state.set(State::Done);
        // SAFETY: in no list, and in place while in flight.
        let _ = unsafe { self.rows.ended.push_back(record.link()) };
    }

    /// `pop_ended` has one.
    #[inline(always)]
    pub fn has_ended(&self) -> bool {
        !self.rows.ended.is_empty()
    }

    /// The next record that is over, and whose task has to be told.
    pub fn pop_ended(&self) -> Option<&Op> {
        let link = self.rows.ended.pop_front()?;
        // SAFETY: records in flight are in there, by this link.
        let record = unsafe { Op::from_link(link) };
        record.completed(record.outcome.get(), 0, true);
        Some(record)
    }
}

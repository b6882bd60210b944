//! Jobs that came apart: the intake's.

use core::cell::Cell;
use core::ptr::NonNull;

use super::{set, Chunk, Jobs, Posted, Spare};
use crate::task::header::PRIORITIES;

/// Jobs of each priority that came while others waited, and begin after those: see
/// `executor::intake`.
#[repr(C)]
pub struct Apart {
    /// Bit n: some of level n.
    pub(super) levels: Cell<u8>,
    /// The normal ones first, which so share a line with the lock.
    pub(super) jobs: [Jobs; PRIORITIES],
    pub(super) spare: Spare,
}

impl Apart {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        let jobs = [const { Jobs::new() }; PRIORITIES];
        Self { levels: Cell::new(0), jobs, spare: Spare::new() }
    }

    #[inline(always)]
    pub(super) fn jobs(&self, level: u8) -> &Jobs {
        const PLACES: [usize; PRIORITIES] = [1, 0, 2];
        &self.jobs[PLACES[level as usize]]
    }

    /// Bit n: some of level n.
    #[inline(always)]
    pub fn levels(&self) -> u8 {
        self.levels.get()
    }

    /// Room for more.
    pub fn add(&self, chunk: NonNull<Chunk>) {
        self.spare.push(chunk);
    }

    /// False: there is no room for it.
    #[inline(always)]
    pub fn push(&self, job: Posted, level: u8) -> bool {
        let pushed = self.jobs(level).push(job, &self.spare);
        if pushed {
            set(&self.levels, level);
        }
        pushed
    }
}

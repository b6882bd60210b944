//! The ring's table of registered buffers. There is one a ring, which a program that has the ring's
//! descriptor may have made for itself.

use std::cell::Cell;
use std::io;
use std::ptr;

use io_uring::types::CloneBuffersFlags;
use io_uring::Submitter;

use crate::error::Errno;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// Nobody has asked for it.
    NotYet,
    Made,
    /// The kernel has none (before 5.13).
    Lacking,
}

pub(super) struct FixedTable {
    table: Cell<Table>,
    shares: Cell<bool>,
}

impl FixedTable {
    pub(super) const fn new() -> Self {
        Self { table: Cell::new(Table::NotYet), shares: Cell::new(false) }
    }

    /// Learns what the kernel can, by calls that fail whatever it can, each in its own way. `None`
    /// for what it has: a table, and sharing.
    pub(super) fn probe(&self, to: &Submitter<'_>) -> [Option<Errno>; 2] {
        let nothing = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }];
        // SAFETY: no table has so many places.
        let table = unsafe { to.register_buffers_update(u32::MAX, &nothing, None) };
        // Since 6.13 with a place where to.
        let share = to.register_buffers_clone_offset(-1, 0, 0, 1, CloneBuffersFlags::DST_REPLACE);
        let lacks = |tried: io::Result<()>| {
            tried.err().map(Errno::from).filter(|e| matches!(e.0, libc::EINVAL | libc::EPERM))
        };
        [lacks(table), lacks(share)]
    }

    pub(super) fn lacks_table(&self) {
        self.table.set(Table::Lacking);
    }

    pub(super) fn can_share(&self) {
        self.shares.set(true);
    }

    pub(super) fn make(&self, to: &Submitter<'_>, places: u32) -> Result<(), Errno> {
        match self.table.get() {
            Table::Made => return Ok(()),
            Table::Lacking => return Err(Errno(libc::EOPNOTSUPP)),
            Table::NotYet => {}
        }
        let made = to.register_buffers_sparse(places).or_else(|e| {
            if e.raw_os_error() != Some(libc::EINVAL) {
                return Err(e);
            }
            // Before 5.19: the same by as many pieces of nothing.
            let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
            let mut pieces = Vec::new();
            let room = pieces.try_reserve_exact(places as usize);
            room.map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
            pieces.resize(places as usize, nothing);
            // SAFETY: refers to no memory.
            unsafe { to.register_buffers(&pieces) }
        });
        made.map_err(Errno::from)?;
        self.table.set(Table::Made);
        Ok(())
    }

    /// # Safety
    /// As [`Kernel::set_fixed`](super::kernel::Kernel::set_fixed).
    pub(super) unsafe fn set(
        &self,
        to: &Submitter<'_>,
        place: u32,
        at: u64,
        bytes: usize,
    ) -> Result<(), Errno> {
        let piece = libc::iovec { iov_base: at as *mut _, iov_len: bytes };
        // SAFETY: the caller's.
        Ok(unsafe { to.register_buffers_update(place, &[piece], None) }?)
    }

    pub(super) fn share(
        &self,
        to: &Submitter<'_>,
        ring: i32,
        from: u32,
        place: u32,
        count: u32,
    ) -> Result<(), Errno> {
        if !self.shares.get() {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let replace = CloneBuffersFlags::DST_REPLACE;
        Ok(to.register_buffers_clone_offset(ring, from, place, count, replace)?)
    }
}

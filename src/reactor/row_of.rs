//! Which row a handle has. Whoever closes an ordered file ends its row, also by an older copy of
//! the handle, which does not say that it is ordered: what waits would be written to whatever gets
//! the number next.

use std::cell::RefCell;

use super::closing::{place, DIRECT_MAX};
use super::rows::Rows;
use crate::error::{Errno, Res};
use crate::sys::file;

/// By descriptor, and by place in the table of direct ones: the number of the last row that was
/// opened for it, which may be gone, or another handle's by now.
#[derive(Default)]
pub(super) struct RowOf([RefCell<Vec<Option<u16>>>; 2]);

impl RowOf {
    /// For `set`. EBADF: there is no such place; ENOMEM.
    pub(super) fn make_room(&self, handle: u64) -> Res<()> {
        let (table, at) = place(handle);
        if table != 0 && at >= DIRECT_MAX {
            return Err(Errno(libc::EBADF));
        }
        let mut rows = self.0[table].borrow_mut();
        if at >= rows.len() {
            let more = (at + 1).next_power_of_two() - rows.len();
            rows.try_reserve_exact(more).map_err(|_| Errno(libc::ENOMEM))?;
            let room = rows.capacity();
            rows.resize(room, None);
        }
        Ok(())
    }

    pub(super) fn set(&self, handle: u64, number: u16) {
        let (table, at) = place(handle);
        self.0[table].borrow_mut()[at] = Some(number);
    }

    fn get(&self, handle: u64) -> Option<u16> {
        let (table, at) = place(handle);
        self.0[table].borrow().get(at).copied().flatten()
    }
}

impl Rows {
    /// The row of that handle, unless its close is under way. Not one with writes of a file that
    /// was closed behind our back: those may never end.
    pub fn of(&self, fd: i32, direct: bool) -> Option<u16> {
        let number = self.row_of.get(super::closing::handle(fd, direct))?;
        let row = self.get(number, fd, direct)?;
        let is_same = || direct || row.identity == file::identity(fd);
        (row.is_idle() || is_same()).then_some(number)
    }
}

//! The calls on names of files. What the kernel's ring does not know is done on a helper thread.

use core::ffi::{c_char, c_int};

use super::call::{answer, answer_to};
use super::file::on_helper;
use crate::error::Res;
use crate::executor::Executor;
use crate::sys::file as calls;
pub use crate::sys::file::Path;
use crate::task::header::TaskRef;
use crate::uring::kernel::{op, Kernel, Sqe};

/// Who calls.
pub struct Walk<'a, K: Kernel> {
    pub ex: &'a Executor<K>,
    pub task: TaskRef,
}

impl<K: Kernel> Walk<'_, K> {
    /// By the ring, or `otherwise` on a helper. SUSPENDS.
    ///
    /// # Safety
    /// What the entry refers to is valid.
    unsafe fn perform(&self, sqe: &Sqe, otherwise: impl Fn() -> Res<i32>) -> Res<()> {
        if !self.ex.kernel().knows(sqe.opcode()) {
            return on_helper(self.ex, self.task, otherwise);
        }
        // SAFETY: the caller's.
        answer(unsafe { self.ex.io(self.task, *sqe) }).map(drop)
    }

    /// SUSPENDS. As `unlinkat`.
    ///
    /// # Safety
    /// The path is a string.
    pub unsafe fn unlink(&self, at: Path, flags: c_int) -> Res<()> {
        let Path { directory, path } = at;
        let sqe = Sqe::new(op::UNLINKAT, directory, 0, path as u64, 0, flags as u32);
        // SAFETY: the caller's.
        unsafe { self.perform(&sqe, || calls::unlink(directory, path, flags)) }
    }

    /// SUSPENDS. As `renameat2`.
    ///
    /// # Safety
    /// The paths are strings.
    pub unsafe fn rename(&self, from: Path, to: Path, flags: u32) -> Res<()> {
        let sqe = between(op::RENAMEAT, from, to, flags);
        // SAFETY: the caller's.
        unsafe { self.perform(&sqe, || calls::rename(from, to, flags)) }
    }

    /// SUSPENDS. As `linkat`.
    ///
    /// # Safety
    /// The paths are strings.
    pub unsafe fn link(&self, from: Path, to: Path, flags: c_int) -> Res<()> {
        let sqe = between(op::LINKAT, from, to, flags as u32);
        // SAFETY: the caller's.
        unsafe { self.perform(&sqe, || calls::link(from, to, flags)) }
    }

    /// SUSPENDS. As `symlinkat`.
    ///
    /// # Safety
    /// Both are strings.
    pub unsafe fn symlink(&self, target: *const c_char, at: Path) -> Res<()> {
        let Path { directory, path } = at;
        let sqe = Sqe::new(op::SYMLINKAT, directory, path as u64, target as u64, 0, 0);
        // SAFETY: the caller's.
        unsafe { self.perform(&sqe, || calls::symlink(target, directory, path)) }
    }

    /// SUSPENDS. As `mkdirat`.
    ///
    /// # Safety
    /// The path is a string.
    pub unsafe fn mkdir(&self, at: Path, mode: u32) -> Res<()> {
        let Path { directory, path } = at;
        let sqe = Sqe::new(op::MKDIRAT, directory, 0, path as u64, mode, 0);
        // SAFETY: the caller's.
        unsafe { self.perform(&sqe, || calls::mkdir(directory, path, mode)) }
    }

    /// SUSPENDS. As `statx`.
    ///
    /// # Safety
    /// The path is a string, and `to` valid.
    pub unsafe fn stat(&self, at: Path, flags: c_int, mask: u32, to: *mut libc::statx) -> Res<()> {
        let path = at.path as u64;
        let sqe = Sqe::new(op::STATX, at.directory, to as u64, path, mask, flags as u32);
        // SAFETY: the caller's.
        answer_to(&sqe, unsafe { self.ex.io(self.task, sqe) }).map(drop)
    }
}

/// An entry with two names.
fn between(opcode: u8, from: Path, to: Path, flags: u32) -> Sqe {
    let (old, new) = (from.path as u64, to.path as u64);
    Sqe::new(opcode, from.directory, new, old, to.directory as u32, flags)
}

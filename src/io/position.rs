//! The current position of a file, which the ring does not always move. How it is for writes in a
//! row: `reactor::place`.

use super::call::{in_word, word, Call};
use super::direct::Own;
use super::file::UNBUFFERED;
use crate::error::{Errno, Res};
use crate::executor::Executor;
use crate::reactor::place::{appends, HERE};
use crate::reactor::rows::wanted;
use crate::sys::file;
use crate::task::header::TaskRef;
use crate::uring::kernel::{op, Kernel, Sqe};

#[inline(always)]
fn is_write(sqe: &Sqe) -> bool {
    matches!(sqe.opcode(), op::WRITE | op::WRITEV | op::WRITE_FIXED)
}

/// As `moves_on`, for who has neither the entry nor the call in memory.
///
/// # Safety
/// As `io`.
#[inline(never)]
unsafe fn on_by_words<K: Kernel>(
    ex: &Executor<K>,
    task: TaskRef,
    (flags, dont_wait): (u32, bool),
    (head, group): (u64, u64),
    (addr, len): (u64, u64),
) -> isize {
    let sqe = Sqe([head, HERE, addr, len, 0, group, 0, 0]);
    let call = Call { ex, task, fd: sqe.fd(), flags };
    // SAFETY: the caller's.
    word(unsafe { call.moves_on(&sqe, dont_wait) })
}

impl<K: Kernel> Call<'_, K> {
    /// As `transfer`, of a file: a read or a write at the current position moves that.
    ///
    /// # Safety
    /// As `io`.
    #[inline(always)]
    pub unsafe fn moves(&self, sqe: Sqe, dont_wait: bool) -> Res<usize> {
        if sqe.off() == HERE && (is_write(&sqe) || self.flags & UNBUFFERED != 0) {
            let [head, _, addr, len, _, group, ..] = sqe.0;
            let how = (self.flags, dont_wait);
            // SAFETY: the caller's.
            return in_word(unsafe {
                on_by_words(self.ex, self.task, how, (head, group), (addr, len))
            });
        }
        // SAFETY: the caller's.
        unsafe { self.transfer(sqe, dont_wait) }
    }

    /// # Safety
    /// As `io`.
    #[inline(always)]
    unsafe fn moves_on(&self, sqe: &Sqe, dont_wait: bool) -> Res<usize> {
        let begun = self.begun();
        if self.flags & UNBUFFERED != 0 {
            // SAFETY: the caller's.
            if let Some(moved) = unsafe { self.moves_unbuffered(sqe, dont_wait, begun) } {
                return moved;
            }
        }
        // SAFETY: the caller's.
        let res = unsafe { self.ex.io(self.task, *sqe) };
        let is_short = is_write(sqe) && res > 0 && (res as u64) < wanted(sqe);
        if is_short && self.ex.kernel().leaves_position() {
            self.came_short(res as usize, appends(sqe), begun);
        }
        // SAFETY: the caller's.
        unsafe { self.io_ended(sqe, res, (None, dont_wait), begun) }
    }

    /// A write that did, and has written so much.
    #[cold]
    #[inline(never)]
    fn came_short(&self, bytes: usize, appends: Option<bool>, begun: u64) {
        if self.goes_on(begun).is_ok() {
            let moved = |fd| {
                file::came_short(fd, bytes, appends);
                Ok(())
            };
            let _ = self.with_plain(moved);
        }
    }

    /// Past the kernel's memory. `None`: there is no position.
    ///
    /// # Safety
    /// As `io`.
    #[cold]
    #[inline(never)]
    unsafe fn moves_unbuffered(
        &self,
        sqe: &Sqe,
        dont_wait: bool,
        begun: u64,
    ) -> Option<Res<usize>> {
        let made = match self.plain() {
            Some(_) => None,
            None => match self.to_plain() {
                Ok(fd) => Some(Own(fd)),
                Err(e) => return Some(Err(e)),
            },
        };
        let fd = made.as_ref().map_or(self.fd, |made| made.0);
        let mut there = *sqe;
        match file::position(fd) {
            Ok(at) => there.0[1] = at as u64,
            Err(Errno(libc::ESPIPE)) => return None,
            Err(e) => return Some(Err(e)),
        }
        if let Err(e) = self.goes_on(begun) {
            return Some(Err(e));
        }
        // SAFETY: the caller's.
        let moved = unsafe { self.transfer(there, dont_wait) };
        if let Ok(bytes) = moved {
            if made.is_some() || self.goes_on(begun).is_ok() {
                let bytes = bytes as i64;
                let _ = if is_write(sqe) {
                    file::move_behind(fd, bytes, appends(sqe))
                } else {
                    file::move_on(fd, bytes)
                };
            }
        }
        Some(moved)
    }
}
